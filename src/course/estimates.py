"""Estimates with standard errors over independent seeds.

Every measured number in the book is an :class:`Estimate`: a value, its standard error, and the
number of independent seeds behind both. The toolbox page derives the formulas.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

__all__ = ["Estimate", "estimate", "fit_exponent", "jackknife"]


class Estimate(NamedTuple):
    """A measured value with its standard error.

    Attributes
    ----------
    value : float or numpy.ndarray
        The estimate; an array when each seed measured an array.
    stderr : float or numpy.ndarray
        Standard error of ``value``, of the same shape.
    seeds : int
        Number of independent seeds.
    """

    value: float | np.ndarray
    stderr: float | np.ndarray
    seeds: int


def _real(name: str, value) -> np.ndarray:
    """A float64 array of a number, an array or a tensor, or an error that names it."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        given = np.asarray(value)
        if given.dtype.kind in "cSUmM":
            raise ValueError(f"it is of type {given.dtype}")
        return given.astype(np.float64)
    except (TypeError, ValueError) as problem:
        raise ValueError(
            f"{name} is {value!r}; allowed is an array of real numbers: {problem}"
        ) from problem


def _seed_rows(samples, minimum: int, axis: int = 0) -> np.ndarray:
    """Return ``samples`` as a float64 array with seeds along axis 0, or raise."""
    rows = _real("samples", samples)
    if rows.ndim == 0:
        raise ValueError(f"samples is {samples!r}, one number; needed is one for each seed")
    if not isinstance(axis, int | np.integer) or not -rows.ndim <= axis < rows.ndim:
        raise ValueError(
            f"axis is {axis!r}; allowed are {-rows.ndim} to {rows.ndim - 1} for samples of shape "
            f"{rows.shape}"
        )
    rows = np.moveaxis(rows, axis, 0)
    if rows.shape[0] < minimum:
        raise ValueError(
            f"samples has {rows.shape[0]} seeds along axis {axis}; needed are at least {minimum} "
            "independent seeds"
        )
    if not np.isfinite(rows).all():
        raise ValueError("samples contains NaN or infinity; allowed are finite values only")
    return rows


def _scalar(value: np.ndarray) -> float | np.ndarray:
    return float(value) if np.ndim(value) == 0 else np.asarray(value)


def estimate(samples, axis: int = 0) -> Estimate:
    r"""Mean over independent seeds and its standard error.

    .. math:: \bar x=\frac1n\sum_i x_i,\qquad
              s_{\bar x}=\sqrt{\frac{\sum_i(x_i-\bar x)^2}{n(n-1)}}

    Parameters
    ----------
    samples : array_like
        One measurement per seed along ``axis``; each may be an array.
    axis : int
        The axis of the seeds.

    Returns
    -------
    Estimate
        ``value`` and ``stderr`` have the shape of one measurement.

    Raises
    ------
    ValueError
        With fewer than two seeds, another axis than the samples have, or NaN among them.

    Notes
    -----
    Taught in the toolbox, section *Standard errors*.
    """
    rows = _seed_rows(samples, 2, axis)
    seeds = rows.shape[0]
    return Estimate(
        _scalar(rows.mean(axis=0)), _scalar(rows.std(axis=0, ddof=1) / np.sqrt(seeds)), seeds
    )


def jackknife(statistic: Callable[[np.ndarray], float | np.ndarray], samples) -> Estimate:
    r"""Any statistic of all seeds, with its jackknife standard error.

    .. math:: s^2=\frac{n-1}{n}\sum_i\bigl(\hat\theta_{(i)}-\bar\theta_{(\cdot)}\bigr)^2

    where :math:`\hat\theta_{(i)}` is the statistic with seed :math:`i` left out.

    Parameters
    ----------
    statistic : callable
        Maps an array with seeds along axis 0 to a number or an array.
    samples : array_like, shape (seeds, ...)
        Independent measurements. For thousands of seeds, average groups of them first.

    Returns
    -------
    Estimate
        ``value`` is the statistic of all seeds (no bias correction).

    Raises
    ------
    ValueError
        With fewer than two seeds, NaN among the samples, or a statistic that is not finite.
    """
    rows = _seed_rows(samples, 2)
    seeds = rows.shape[0]
    value = _real("statistic", statistic(rows))
    left_out = _real("statistic", [statistic(np.delete(rows, i, axis=0)) for i in range(seeds)])
    if not (np.isfinite(value).all() and np.isfinite(left_out).all()):
        raise ValueError(
            f"statistic is {value} of all seeds and {left_out} with one left out; allowed are "
            "finite values only"
        )
    spread = ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0)
    return Estimate(_scalar(value), _scalar(np.sqrt(spread * (seeds - 1) / seeds)), seeds)


def _log_slopes(log_x: np.ndarray, values: np.ndarray) -> np.ndarray:
    refused = values[~(np.isfinite(values) & (values > 0))]
    if refused.size:
        raise ValueError(
            f"a value of {refused[0]:.3g} is to be fitted by a power law; "
            "allowed are finite, positive values"
        )
    centred = log_x - log_x.mean()
    return np.log(values) @ centred / (centred @ centred)


def fit_exponent(
    x, samples, *, statistic: Callable[[np.ndarray], np.ndarray] | None = None
) -> Estimate:
    r"""Exponent of a power law, with its standard error over seeds.

    Least squares of :math:`\log y` on :math:`\log x`, each seed fitted alone, then averaged; or,
    with a ``statistic``, the statistic over all seeds is fitted and the error is a jackknife.

    Parameters
    ----------
    x : array_like, shape (points,)
        Positive abscissae, at least three of them, strictly increasing.
    samples : array_like, shape (seeds, points) or (seeds, points, ...)
        Independent measurements. Without ``statistic``: positive, two-dimensional.
    statistic : callable, optional
        Maps the samples (seeds first) to one positive value per point, for instance
        ``lambda s: s.std(axis=0)``.

    Returns
    -------
    Estimate
        The exponent. The error covers the scatter of the seeds, not a curvature of the data:
        plot the residuals before you trust it.

    Raises
    ------
    ValueError
        For abscissae that are not finite, positive and increasing, values that are not finite and
        positive, or shapes that do not match.
    """
    x = _real("x", x)
    ordered = x.ndim == 1 and len(x) >= 3 and x[0] > 0 and (np.diff(x) > 0).all()
    if not (ordered and np.isfinite(x).all()):
        raise ValueError(
            f"x is {x}; allowed are at least three positive, increasing, finite values"
        )
    rows = _seed_rows(samples, 2)
    if rows.ndim < 2 or rows.shape[1] != len(x):
        raise ValueError(f"samples has shape {rows.shape}; allowed is (seeds, {len(x)}) to match x")
    log_x = np.log(x)
    if statistic is None:
        if rows.ndim != 2:
            raise ValueError(f"samples has shape {rows.shape}; allowed is (seeds, {len(x)})")
        return estimate(_log_slopes(log_x, rows))

    def slope(seeds: np.ndarray) -> np.ndarray:
        values = _real("statistic", statistic(seeds))
        if values.shape != x.shape:
            raise ValueError(
                f"statistic returns shape {values.shape}; allowed is {x.shape}, one value per point"
            )
        return _log_slopes(log_x, values)

    return jackknife(slope, rows)
