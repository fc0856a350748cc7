"""Names of a package that are imported on first use.

A part offers its functions from its own name (``course.ntk``, …) and a chapter loads only the
modules that it needs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module

__all__ = ["lazy"]


def lazy(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """The ``__getattr__``, ``__dir__`` and ``__all__`` of a package that imports on first use.

    Parameters
    ----------
    package : str
        The package's ``__name__``.
    homes : mapping of str to str
        Name to the module that defines it: relative to the package (``".kernels"``) or absolute
        (``"course.activations"``).

    Returns
    -------
    tuple
        ``(__getattr__, __dir__, __all__)``, to be assigned in the package's ``__init__``.

    Examples
    --------
    >>> getattribute, _, names = lazy("course", {"claim": ".claims"})
    >>> names, getattribute("claim").__module__
    (['claim'], 'course.claims')
    """
    names = sorted(homes)

    def getattribute(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name], package), name)

    def directory() -> list[str]:
        return sorted({*vars(sys.modules[package]), *names})

    return getattribute, directory, names
