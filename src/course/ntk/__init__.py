"""Part I, the neural tangent kernel: infinitely wide networks and how they train."""

from course import exports

__getattr__, __dir__, __all__ = exports.lazy(
    __name__,
    {
        "infinite_width_kernels": ".kernels",
        "gaussian_moments": "course.activations",
        "activations": "course.activations",
        "empirical_ntk": "course.empirical",
        "DenseNetwork": ".tangent_kernel",
        "lazy_ensemble": ".gradient_flow",
        "gp_posterior": ".gaussian_process",
    },
)
