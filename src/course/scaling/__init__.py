"""Part III, scaling laws: how the error falls with data, parameters and compute."""

from course import exports

__getattr__, __dir__, __all__ = exports.lazy(
    __name__,
    {
        "fit_power_law": ".four_regimes",
        "kernel_ridge_risk": ".kernel_regression",
        "random_feature_risk": ".random_features",
        "compute_optimal": ".compute_phases",
    },
)
