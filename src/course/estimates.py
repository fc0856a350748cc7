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


def _seed_rows(samples: np.ndarray, minimum: int) -> np.ndarray:
    """Return ``samples`` as a float64 array with seeds along axis 0, or raise."""
    if hasattr(samples, "detach"):
        samples = samples.detach().cpu()
    rows = np.asarray(samples, dtype=np.float64)
    if rows.ndim == 0 or rows.shape[0] < minimum:
        raise ValueError(
            f"samples has shape {rows.shape}; needed are at least {minimum} independent seeds "
            "along the first axis"
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
        With fewer than two seeds, or NaN among the samples.

    Notes
    -----
    Taught in the toolbox, section *Standard errors*.
    """
    rows = _seed_rows(np.moveaxis(np.asarray(samples, dtype=np.float64), axis, 0), 2)
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
        With fewer than two seeds, or NaN among the samples.
    """
    rows = _seed_rows(samples, 2)
    seeds = rows.shape[0]
    left_out = np.array([statistic(np.delete(rows, i, axis=0)) for i in range(seeds)])
    spread = ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0)
    return Estimate(
        _scalar(np.asarray(statistic(rows), dtype=np.float64)),
        _scalar(np.sqrt(spread * (seeds - 1) / seeds)),
        seeds,
    )


def _log_slopes(log_x: np.ndarray, values: np.ndarray) -> np.ndarray:
    if (values <= 0).any():
        raise ValueError(
            f"a value of {values.min():.3g} is to be fitted by a power law; "
            "allowed are positive values"
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
        For abscissae that are not positive and increasing, values that are not positive, or
        shapes that do not match.
    """
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 1 or len(x) < 3 or not (x[0] > 0 and (np.diff(x) > 0).all()):
        raise ValueError(f"x is {x}; allowed are at least three positive, increasing values")
    rows = _seed_rows(samples, 2)
    if rows.ndim < 2 or rows.shape[1] != len(x):
        raise ValueError(f"samples has shape {rows.shape}; allowed is (seeds, {len(x)}) to match x")
    log_x = np.log(x)
    if statistic is None:
        if rows.ndim != 2:
            raise ValueError(f"samples has shape {rows.shape}; allowed is (seeds, {len(x)})")
        return estimate(_log_slopes(log_x, rows))
    return jackknife(lambda seeds: _log_slopes(log_x, np.asarray(statistic(seeds))), rows)
