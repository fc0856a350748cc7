"""Part III, scaling laws: how the error falls with data, parameters and compute.

Names are imported on first use, so that a chapter loads only the modules that it needs.
"""

from importlib import import_module

_HOME = {
    "fit_power_law": "four_regimes",
    "kernel_ridge_risk": "kernel_regression",
    "random_feature_risk": "random_features",
    "compute_optimal": "compute_phases",
}

__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
