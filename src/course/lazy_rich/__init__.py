"""Part II, lazy and rich learning: how far the features of a network move."""

from course import exports

__getattr__, __dir__, __all__ = exports.lazy(
    __name__,
    {
        "kernel_distance": ".measures",
        "kernel_alignment": ".measures",
        "weight_change": ".measures",
        "DenseEnsemble": ".ensembles",
        "train": ".ensembles",
        "deep_linear_mode": ".deep_linear",
        "Parametrization": ".feature_learning",
        "coordinate_check": ".feature_learning",
    },
)
