"""Spectra of regression tasks: what the risks of chapters 3.2 and 3.3 accept."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from course import validate

__all__ = ["Modes", "checked_modes", "nonnegative"]


class Modes(NamedTuple):
    """A checked task, one entry a mode (or a level of equal modes).

    Attributes
    ----------
    eigenvalues : numpy.ndarray
        Eigenvalues of the kernel, not negative.
    power : numpy.ndarray
        The target's squared coefficients, for a level their sum.
    multiplicities : numpy.ndarray or None
        Modes in a level; None if every level is one mode.
    """

    eigenvalues: np.ndarray
    power: np.ndarray
    multiplicities: np.ndarray | None


def checked_modes(eigenvalues, coefficients, multiplicities=None) -> Modes:
    """The task's modes as float64 arrays of one length.

    Parameters
    ----------
    eigenvalues, coefficients : array-like, shape (modes,)
        Numbers that are not negative.
    multiplicities : array-like, shape (modes,), optional
        Positive numbers.

    Returns
    -------
    Modes

    Raises
    ------
    ValueError
        Naming what is not as described, and what is allowed.
    """
    values = validate.array("eigenvalues", eigenvalues, dimensions=1)
    if not values.size:
        raise ValueError(
            "eigenvalues is empty; without a mode there is no kernel and no risk; allowed is one "
            "number >= 0 or more"
        )
    if (values < 0).any():
        worst = int(values.argmin())
        raise ValueError(
            f"eigenvalues has {values[worst]:g} at index {worst}; a kernel has no negative "
            "eigenvalue, and the learnability λ/(λ+κ) of such a mode is undefined; allowed are "
            "numbers >= 0"
        )
    power = validate.array("coefficients", coefficients, dimensions=1)
    if power.shape != values.shape:
        raise ValueError(
            f"coefficients has shape {power.shape}; allowed is one for each eigenvalue, "
            f"{values.shape}"
        )
    if (power < 0).any():
        raise ValueError(
            f"coefficients contains {power.min():g}; they are squares, so allowed are numbers >= 0"
        )
    if multiplicities is None:
        return Modes(values, power, None)
    weights = validate.array("multiplicities", multiplicities, dimensions=1)
    if weights.shape != values.shape or not (weights > 0).all():
        raise ValueError(
            f"multiplicities is {multiplicities!r}; allowed is a positive number for each "
            "eigenvalue"
        )
    return Modes(values, power, weights)


def nonnegative(name: str, value, *, zero: bool = True, infinite: bool = False) -> np.ndarray:
    """A number or an array of numbers, not negative.

    Parameters
    ----------
    name : str
        The parameter, for the message.
    value : float or array-like
        Any shape, not empty.
    zero, infinite : bool
        Whether zero, and whether infinity, is allowed.

    Returns
    -------
    numpy.ndarray

    Raises
    ------
    ValueError
        Naming the parameter, the number, and what is allowed.
    """
    numbers = validate.array(name, value, dimensions=None, empty=False, infinite=infinite)
    good = numbers >= 0 if zero else numbers > 0
    if not good.all():
        bound = ">= 0" if zero else "> 0"
        raise ValueError(f"{name} contains {numbers[~good][0]:g}; allowed are numbers {bound}")
    return numbers
