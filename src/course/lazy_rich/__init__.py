"""Part II, lazy and rich learning: how far the features of a network move.

Names are imported on first use, so that a chapter loads only the modules that it needs.
"""

from importlib import import_module

_HOME = {
    "kernel_distance": "measures",
    "kernel_alignment": "measures",
    "weight_change": "measures",
    "DenseEnsemble": "ensembles",
    "train": "ensembles",
    "deep_linear_mode": "deep_linear",
    "Parametrization": "feature_learning",
    "coordinate_check": "feature_learning",
}

__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
