r"""Gaussian averages of the hyperbolic tangent, for noise of any strength.

Mean-field equations of networks of binary neurons consist of averages over a local field
:math:`u=a+sz`, with :math:`z\sim\mathcal N(0,1)`. At low temperature :math:`s` is large, the
tangent becomes a step, and rules with fixed nodes in :math:`z` fail without a warning. Here the
step is integrated in closed form, and what remains is smooth.
"""

from __future__ import annotations

from math import erf, exp, expm1, log1p, pi, sqrt, tanh
from typing import NamedTuple

import numpy as np
from numba import njit

from course import validate

__all__ = ["TanhAverages", "tanh_averages"]


class TanhAverages(NamedTuple):
    r"""Averages over :math:`u=\text{mean}+\text{deviation}\cdot z`: numbers, or arrays.

    Attributes
    ----------
    tanh : float or numpy.ndarray
        :math:`E[\tanh u]`.
    tanh2 : float or numpy.ndarray
        :math:`E[\tanh^2u]`.
    sech4 : float or numpy.ndarray
        :math:`E[\operatorname{sech}^4u]`.
    log2cosh : float or numpy.ndarray
        :math:`E[\ln2\cosh u]`.
    sech2 : float or numpy.ndarray
        :math:`E[\operatorname{sech}^2u]=1-E[\tanh^2u]`, without the cancellation.
    tanh_sech2 : float or numpy.ndarray
        :math:`E[\tanh u\,\operatorname{sech}^2u]`, which appears in derivatives.
    entropy : float or numpy.ndarray
        :math:`E[\ln2\cosh u-u\tanh u]`, the entropy of a spin in the field :math:`u`.
    curvature : float or numpy.ndarray
        :math:`E[(\tanh^2)''(u)]=E[6\operatorname{sech}^4u-4\operatorname{sech}^2u]`: times the
        deviation, it is the derivative of ``tanh2`` with respect to the deviation.
    """

    tanh: float | np.ndarray
    tanh2: float | np.ndarray
    sech4: float | np.ndarray
    log2cosh: float | np.ndarray
    sech2: float | np.ndarray
    tanh_sech2: float | np.ndarray
    entropy: float | np.ndarray
    curvature: float | np.ndarray


# Weak noise: the trapezoidal rule in z, whose error is exp(-2 pi a / h + a^2 / 2) with the distance
# a = pi / (2 s) of the poles of tanh from the real axis; below 1e-16 for s < 1 and h = 1/5.
_STEP = 0.2
_Z = _STEP * np.arange(-63, 64)
_Z_WEIGHTS = _STEP * np.exp(-(_Z**2) / 2) / sqrt(2 * pi)

# Strong noise: the difference from the step decays as exp(-2u); Gauss-Legendre panels on [0, 20].
_PANELS, _ORDER, _WIDTH = 10, 16, 2.0
_LEGENDRE, _LEGENDRE_WEIGHTS = np.polynomial.legendre.leggauss(_ORDER)
_U = (_WIDTH * (np.arange(_PANELS)[:, None] + (_LEGENDRE + 1) / 2)).ravel()
_TAIL = np.tile(_LEGENDRE_WEIGHTS * _WIDTH / 2, _PANELS) / sqrt(2 * pi)
_TAIL_TANH = _TAIL * 2 / (np.exp(2 * _U) + 1)
_TAIL_SECH2 = _TAIL / np.cosh(_U) ** 2
_TAIL_SECH4 = _TAIL / np.cosh(_U) ** 4
_TAIL_ODD = _TAIL * np.tanh(_U) / np.cosh(_U) ** 2
_TAIL_LOG = _TAIL * np.log1p(np.exp(-2 * _U))
_TAIL_ENTROPY = _TAIL_LOG + _U * _TAIL_TANH


@njit(cache=True)
def _weak(mean, deviation):
    tanh1 = tanh2 = sech2 = sech4 = odd = log2cosh = entropy = 0.0
    for k in range(_Z.size):
        u = mean + deviation * _Z[k]
        w = _Z_WEIGHTS[k]
        e = exp(-2 * abs(u))
        t = (1 - e) / (1 + e) if u > 0 else (e - 1) / (1 + e)
        s = 4 * e / (1 + e) ** 2
        tanh1 += w * t
        tanh2 += w * t * t
        sech2 += w * s
        sech4 += w * s * s
        odd += w * t * s
        log2cosh += w * (abs(u) + log1p(e))
        entropy += w * (log1p(e) + abs(u) * 2 * e / (1 + e))
    return tanh1, tanh2, sech4, log2cosh, sech2, odd, entropy, 6 * sech4 - 4 * sech2


@njit(cache=True)
def _strong(mean, deviation):
    size, sign = abs(mean), 1.0 if mean >= 0 else -1.0
    ratio = size / deviation
    tanh1 = erf(ratio / sqrt(2.0))
    log2cosh = deviation * sqrt(2 / pi) * exp(-(ratio**2) / 2) + size * tanh1
    sech2 = sech4 = odd = entropy = curvature = 0.0
    for k in range(_U.size):
        above, below = _U[k] / deviation - ratio, _U[k] / deviation + ratio
        right = exp(-(above**2) / 2) / deviation
        left = exp(-(below**2) / 2) / deviation
        difference = -right * expm1(-2 * _U[k] / deviation * ratio)  # right - left
        tanh1 -= _TAIL_TANH[k] * difference
        odd += _TAIL_ODD[k] * difference
        sech2 += _TAIL_SECH2[k] * (right + left)
        sech4 += _TAIL_SECH4[k] * (right + left)
        log2cosh += _TAIL_LOG[k] * (right + left)
        entropy += _TAIL_ENTROPY[k] * (right + left)
        # the second derivative moves to the density, where nothing cancels
        curvature += _TAIL_SECH2[k] * (right * (1 - above**2) + left * (1 - below**2))
    curvature /= deviation**2
    return sign * tanh1, 1 - sech2, sech4, log2cosh, sech2, sign * odd, entropy, curvature


@njit(cache=True)
def tanh_averages_at(mean, deviation):
    """One point of :func:`tanh_averages`, for compiled code: a tuple, arguments unchecked.

    Parameters
    ----------
    mean, deviation : float
        Finite; the deviation not negative.

    Returns
    -------
    tuple of eight floats
        In the order of :class:`TanhAverages`.
    """
    if deviation == 0.0:
        e = exp(-2 * abs(mean))
        t, s = tanh(mean), 4 * e / (1 + e) ** 2
        rest, entropy = log1p(e), log1p(e) + abs(mean) * 2 * e / (1 + e)
        return t, t * t, s * s, abs(mean) + rest, s, t * s, entropy, 6 * s * s - 4 * s
    if deviation < 1.0:
        return _weak(mean, deviation)
    return _strong(mean, deviation)


@njit(cache=True)
def _fill(means, deviations, result):
    for k in range(means.size):
        found = tanh_averages_at(means[k], deviations[k])
        for j in range(8):
            result[j, k] = found[j]


def tanh_averages(mean, deviation) -> TanhAverages:
    r"""Averages of functions of :math:`\tanh u` over a Gaussian field, at any strength of noise.

    .. math:: u=a+sz,\qquad z\sim\mathcal N(0,1),\qquad a=\text{mean},\ s=\text{deviation}

    For :math:`s<1` the trapezoidal rule in :math:`z` is exact to rounding. For larger :math:`s` the
    tangent is split into a step and a rest that decays as :math:`e^{-2|u|}`:

    .. math:: E[\tanh u]=\operatorname{erf}\frac a{\sqrt2s}
              -\int_0^\infty(1-\tanh u)\,[\varphi(u)-\varphi(-u)]\,du,

    where :math:`\varphi` is the density of :math:`u`; likewise for :math:`\ln2\cosh u=|u|+\dots`

    Parameters
    ----------
    mean, deviation : array_like
        Finite numbers, the deviation not negative; shapes broadcast.

    Returns
    -------
    TanhAverages
        Errors below 1e-12 (those of ``log2cosh`` relative where it exceeds 1) for deviations from
        0 to 1e8 and beyond.

    Raises
    ------
    ValueError
        For a negative deviation, numbers that are not finite, or shapes that do not broadcast.

    Notes
    -----
    Taught in chapter 4.2, "Averages that survive the cold".
    """
    means = validate.array("mean", mean, dimensions=None)
    deviations = validate.array("deviation", deviation, dimensions=None)
    if (deviations < 0).any():
        raise ValueError(f"deviation has an entry {deviations.min():g}; allowed are numbers >= 0")
    try:
        means, deviations = np.broadcast_arrays(means, deviations)
    except ValueError as problem:
        raise ValueError(
            f"mean has shape {means.shape}, deviation {deviations.shape}; allowed are shapes that "
            "broadcast"
        ) from problem
    result = np.empty((8, means.size))
    _fill(means.ravel(), deviations.ravel(), result)
    if means.ndim == 0:
        return TanhAverages(*map(float, result[:, 0]))
    return TanhAverages(*result.reshape(8, *means.shape))
