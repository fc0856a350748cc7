"""Part I, the neural tangent kernel: infinitely wide networks and how they train.

Names are imported on first use, so that a chapter loads only the modules that it needs.
"""

from importlib import import_module

_HOME = {
    "infinite_width_kernels": "course.ntk.kernels",
    "gaussian_moments": "course.activations",
    "activations": "course.activations",
    "empirical_ntk": "course.empirical",
    "DenseNetwork": "course.ntk.tangent_kernel",
    "lazy_ensemble": "course.ntk.gradient_flow",
    "gp_posterior": "course.ntk.gaussian_process",
}

__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
