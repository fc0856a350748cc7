"""Checks of arguments: each returns the value in one form, or raises a ``ValueError``.

The error names the parameter, what it is, and what is allowed.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

__all__ = ["array", "choice", "generator", "real", "real_tensor", "whole"]

_GENERATORS = {
    "numpy": "numpy.random.Generator objects, such as course.runtime.rng(seed)",
    "torch": "torch.Generator objects, such as course.runtime.generator(seed)",
}


def _is_tensor(value) -> bool:
    """Whether this is a tensor, without importing torch: a second, where nothing else needs it."""
    return "torch" in sys.modules and isinstance(value, sys.modules["torch"].Tensor)


def whole(name: str, value, *, low: int = 1) -> int:
    """A whole number that is not too small.

    Parameters
    ----------
    name : str
        The parameter's name, for the error.
    value : int
        A Python or NumPy integer. Booleans and floating-point numbers (2.0 too) are refused.
    low : int
        Smallest value allowed.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        For everything else.
    """
    good = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not good or value < low:
        raise ValueError(f"{name} is {value!r}; allowed are whole numbers >= {low}")
    return int(value)


def real(
    name: str, value, *, low: float | None = None, strict: bool = False, infinite: bool = False
) -> float:
    """One real number within its bounds.

    Parameters
    ----------
    name : str
        The parameter's name, for the error.
    value : float or int
        A Python or NumPy number. Booleans, NaN, complex numbers, strings and arrays are refused.
    low : float, optional
        Lower bound.
    strict : bool
        Whether ``low`` itself is refused.
    infinite : bool
        Whether infinity is allowed.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For everything else.
    """
    bound = "" if low is None else f" {'>' if strict else '>='} {low:g}"
    allowed = f"numbers{bound}, also infinite ones" if infinite else f"finite numbers{bound}"
    error = ValueError(f"{name} is {value!r}; allowed are {allowed}")
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise error
    try:
        number = float(value)
    except OverflowError:  # an integer beyond the largest float
        raise error from None
    if math.isnan(number) or (math.isinf(number) and not infinite):
        raise error
    if low is not None and (number < low or (strict and number == low)):
        raise error
    return number


def choice(name: str, value, allowed: Sequence[str]) -> str:
    """One of a few words.

    Parameters
    ----------
    name : str
        The parameter's name, for the error.
    value : str
    allowed : sequence of str

    Returns
    -------
    str
        ``value``.

    Raises
    ------
    ValueError
        For everything else.
    """
    if not isinstance(value, str) or value not in allowed:
        options = ", ".join(map(repr, allowed))
        raise ValueError(f"{name} is {value!r}; allowed are {options}")
    return value


def array(
    name: str,
    value,
    *,
    dimensions: int | tuple[int, ...] | None,
    empty: bool = True,
    infinite: bool = False,
) -> np.ndarray:
    """Real numbers as a float64 array in C order.

    Parameters
    ----------
    name : str
        The parameter's name, for the error.
    value : array_like
        Numbers, nested sequences of them, an array, or a tensor (it is detached and moved to the
        CPU). Booleans, complex numbers, strings, other objects and ragged sequences are refused.
    dimensions : int, tuple of int, or None
        How many axes are allowed; None allows any number.
    empty : bool
        Whether an array without entries is allowed.
    infinite : bool
        Whether infinite entries are allowed; NaN never is.

    Returns
    -------
    numpy.ndarray
        The argument itself where it is such an array already.

    Raises
    ------
    ValueError
        For everything else.
    """
    try:
        given = value.detach().cpu() if _is_tensor(value) else value
        if given is not value and given.is_floating_point():
            given = given.double()  # NumPy has no bfloat16
        raw = np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} is {value!r}; allowed are arrays of real numbers") from error
    if raw.dtype.kind not in "iuf":
        raise ValueError(f"{name} is {value!r}; allowed are arrays of real numbers")
    counts = (dimensions,) if isinstance(dimensions, int) else dimensions
    if (counts is not None and raw.ndim not in counts) or (raw.size == 0 and not empty):
        wanted = "arrays" if empty else "non-empty arrays"
        if counts is not None:
            wanted += f" of {' or '.join(map(str, counts))} dimension(s)"
        raise ValueError(f"{name} has shape {raw.shape}; allowed are {wanted}")
    result = np.asarray(raw, dtype=np.float64, order="C")
    if np.isnan(result).any() or not (infinite or np.isfinite(result).all()):
        found = "NaN" if infinite else "NaN or infinity"
        raise ValueError(
            f"{name} contains {found}; allowed are {'' if infinite else 'finite '}numbers"
        )
    return result


def generator(name: str, value, kind: type):
    """A source of randomness of the right kind.

    Parameters
    ----------
    name : str
        The parameter's name, for the error.
    value : object
    kind : type
        ``numpy.random.Generator`` or ``torch.Generator``.

    Returns
    -------
    object
        ``value``.

    Raises
    ------
    ValueError
        For everything else: None and whole numbers too, since no generator is made up here.
    """
    if not isinstance(value, kind):
        raise ValueError(
            f"{name} is {value!r}; allowed are {_GENERATORS[kind.__module__.split('.')[0]]}"
        )
    return value


def real_tensor(x: np.ndarray | torch.Tensor, name: str) -> torch.Tensor:
    """Real numbers as a float64 tensor.

    Parameters
    ----------
    x : array_like or torch.Tensor
        Numbers in any order of bytes or axes; a tensor keeps its device and its gradient.
    name : str
        The parameter's name, for the error.

    Returns
    -------
    torch.Tensor

    Raises
    ------
    ValueError
        For everything that is not an array of real numbers.
    """
    import torch

    if isinstance(x, torch.Tensor):
        if x.is_complex():
            raise ValueError(f"{name} has dtype {x.dtype}; allowed are real numbers")
        return x.to(torch.float64)
    try:
        raw = np.asarray(x)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is {x!r}; allowed is an array of real numbers") from error
    if raw.dtype.kind not in "biuf":
        raise ValueError(f"{name} is {x!r} of dtype {raw.dtype}; allowed are real numbers")
    return torch.from_numpy(np.array(raw, dtype=np.float64, order="C"))
