r"""Where replica symmetry breaks in the Hopfield network, and one step beyond it at T = 0.

Replica symmetry is stable as long as (de Almeida and Thouless; for this model Amit, Gutfreund and
Sompolinsky)

.. math:: T^2(1-C)^2>\alpha\,E\operatorname{sech}^4\beta(m+\sqrt{\alpha r}\,z).

At low temperature it is not. One step of symmetry breaking groups the replicas: overlaps are
:math:`q_1` within a group and :math:`q_0` between groups. At T = 0 the inner overlap is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, sqrt
from typing import NamedTuple

import numpy as np
from numba import njit
from scipy.optimize import brentq, minimize_scalar, root
from scipy.special import log_ndtr

from course import validate
from course.hebbian.averages import tanh_averages_at
from course.hebbian.replica import spinodal_ratio

__all__ = [
    "OneStepState", "StabilityLine", "hopfield_1rsb_capacity", "one_step", "stability_end",
    "stability_line", "stability_temperature",
]  # fmt: skip


class StabilityLine(NamedTuple):
    """Points of marginal stability of the retrieval state; arrays of one shape.

    Attributes
    ----------
    load, temperature : numpy.ndarray
        Where the state is; replica symmetry is stable above this temperature.
    overlap : numpy.ndarray
        m.
    """

    load: np.ndarray
    temperature: np.ndarray
    overlap: np.ndarray


@dataclass(frozen=True)
class OneStepState:
    r"""Retrieval state at T = 0 with one step of replica symmetry breaking.

    Attributes
    ----------
    load : float
        The load at which the state exists.
    overlap : float
        m.
    outer_overlap : float
        :math:`q_0`, between groups of replicas; within a group it is 1.
    response : float
        :math:`C=\lim\beta(1-q_1)`.
    breaking : float
        :math:`y=\lim\beta x`, with the number x of replicas in a group.
    energy : float
        Per spin.
    """

    load: float
    overlap: float
    outer_overlap: float
    response: float
    breaking: float
    energy: float


@njit(cache=True)
def _marginal(ratio):
    """Load, temperature and overlap where x^2 E sech^4 = E tanh^2, by bisection in ln x."""
    low, high = -3.0, 3.0 + ratio**2 / 2
    while high - low > 1e-15 * max(1.0, abs(high)):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        x = exp(middle)
        a = tanh_averages_at(x * ratio, x)
        if x**2 * a[2] > a[1]:
            high = middle
        else:
            low = middle
    x = exp(high)
    a = tanh_averages_at(x * ratio, x)
    temperature = a[0] / (x * ratio)
    return x**2 * (temperature - a[4]) ** 2 / a[1], temperature, a[0]


_FARTHEST = 15.0
"""Signal-to-noise ratio beyond which the line is its own asymptote to rounding."""


def stability_line(signal_to_noise) -> StabilityLine:
    r"""Where replica symmetry becomes unstable for solutions with an overlap.

    With :math:`x=\beta\sqrt{\alpha r}` and :math:`t=m/\sqrt{\alpha r}` marginal stability reads

    .. math:: x^2\,E\operatorname{sech}^4x(t+z)=E\tanh^2x(t+z),

    without load or temperature; both follow from x and t.

    Parameters
    ----------
    signal_to_noise : array_like
        t, above 0 and up to 15. Retrieval states are those beyond the spinodal's ratio, about 2.13.

    Returns
    -------
    StabilityLine

    Raises
    ------
    ValueError
        For ratios out of range.

    Notes
    -----
    de Almeida and Thouless (1978); Amit, Gutfreund and Sompolinsky (1987). Taught in chapter 4.2,
    "Is replica symmetry stable?".
    """
    ratios = validate.array("signal_to_noise", signal_to_noise, dimensions=None)
    if ((ratios <= 0) | (ratios > _FARTHEST)).any():
        raise ValueError(
            f"signal_to_noise is {signal_to_noise}; allowed are numbers above 0 and up to "
            f"{_FARTHEST:g}"
        )
    rows = np.array([_marginal(ratio) for ratio in ratios.ravel()])
    return StabilityLine(*rows.reshape(-1, 3).T.reshape(3, *ratios.shape))


def _first_ratio() -> float:
    """Signal-to-noise ratio at which the line meets the spinodal."""
    return brentq(lambda t: t - spinodal_ratio(_marginal(t)[1]), 2.0, 2.3, xtol=1e-14)


def stability_end() -> StabilityLine:
    """The point at which the stability line of retrieval meets the spinodal.

    Returns
    -------
    StabilityLine
        Three numbers: the load .1381859, the temperature .0251 and the overlap.

    Notes
    -----
    Taught in chapter 4.2, "Is replica symmetry stable?".
    """
    return StabilityLine(*map(float, _marginal(_first_ratio())))


def stability_temperature(load: float) -> float:
    r"""Temperature :math:`T_R` below which the retrieval state breaks replica symmetry.

    Parameters
    ----------
    load : float
        α, above 0 and up to about .138186, where the line meets the spinodal.

    Returns
    -------
    float
        For small loads :math:`\sqrt{8\alpha/9\pi}\,e^{-1/2\alpha}`, used itself below 1/225.

    Raises
    ------
    ValueError
        For a load out of range: beyond, retrieval is unstable wherever it exists.

    Notes
    -----
    Taught in chapter 4.2, "Is replica symmetry stable?".
    """
    load = validate.real("load", load, low=0, strict=True)
    if load <= _FARTHEST**-2:
        return sqrt(8 * load / (9 * np.pi)) * exp(-1 / (2 * load))
    first = _first_ratio()
    largest = _marginal(first)[0]
    if load > largest:
        raise ValueError(
            f"load is {load:g}; allowed are loads up to {largest:.8g}, beyond which the retrieval "
            "state is unstable wherever it exists"
        )
    ratio = brentq(lambda t: _marginal(t)[0] - load, first, _FARTHEST, xtol=1e-14)
    return float(_marginal(ratio)[1])


_STEP = 0.005
_Z = _STEP * np.arange(-2200, 2201)
_WEIGHTS = _STEP * np.exp(-(_Z**2) / 2) / np.sqrt(2 * np.pi)


def _group_averages(m: float, outer: float, inner: float, y: float):
    r"""Averages over the field within a group, tilted by exp(y|h|), then over groups.

    The field is h = m + outer z0 + inner z1. Returned are E<sign h>, E<sign h>^2, E<2 delta(h)>,
    E ln Z and E<|h|>.
    """
    a = m + outer * _Z
    shift = (y * inner) ** 2 / 2
    up = shift + y * a + log_ndtr(a / inner + y * inner)
    down = shift - y * a + log_ndtr(-a / inner + y * inner)
    total = np.logaddexp(up, down)
    sign = np.tanh((up - down) / 2)
    zero = np.exp(-((a / inner) ** 2) / 2 - total) / (inner * np.sqrt(2 * np.pi))
    length = a * sign + y * inner**2 + 2 * inner**2 * zero
    return tuple(_WEIGHTS @ part for part in (sign, sign**2, 2 * zero, total, length))


def _one_step_residuals(unknowns, m: float):
    """Stationarity in r0, r1 and y, and the overlap, for the logarithms of 1 - q0, C, y, load."""
    spread, c, y, load = np.exp(np.clip(unknowns, -50, 50))
    inside = 1 - c
    outside = inside - y * spread
    if outside <= 0 or spread >= 1:
        return np.full(4, 1e3 * (1 - outside))
    r0, step = (1 - spread) / outside**2, spread / (inside * outside)
    sign, square, zero, total, length = _group_averages(m, sqrt(load * r0), sqrt(load * step), y)
    patterns = step - (log(outside / inside) + y * spread / outside) / y**2
    return np.array(
        [
            sign - m,
            (1 - square) / spread - 1,
            zero / c - 1,
            load / 2 * patterns * y + total / y - length,
        ]
    )


_START = np.log([0.0035, 0.053, 37.0, 0.138])  # of the continuation, at the overlap .967


def one_step(overlaps) -> list[OneStepState]:
    r"""Retrieval states at T = 0 with one step of replica symmetry breaking.

    With :math:`D=1-C`, :math:`\Delta=D-y(1-q_0)`, :math:`r_0=q_0/\Delta^2` and
    :math:`r_1=r_0+(1-q_0)/(D\Delta)` the energy is stationary in all its parameters:

    .. math:: f=\frac{m^2}2+\frac\alpha2\Bigl[1+\frac1y\ln\frac\Delta D-\frac{q_0}\Delta
              +r_1C+y(r_1-r_0q_0)\Bigr]
              -\frac1y\,E_{z_0}\ln E_{z_1}e^{\,y|m+\sqrt{\alpha r_0}z_0+\sqrt{\alpha(r_1-r_0)}z_1|}

    The average over :math:`z_1` is an error function. The overlap is given and the load solved for,
    so that the curve can be followed around its largest load.

    Parameters
    ----------
    overlaps : array_like
        m, each from .6 to .985.

    Returns
    -------
    list of OneStepState
        In the order of ``overlaps``.

    Raises
    ------
    ValueError
        For overlaps out of range.
    RuntimeError
        If the equations could not be solved to 1e-11.

    Notes
    -----
    Crisanti, Amit and Gutfreund (1986); Steffan and Kühn (1994). Taught in chapter 4.2, "Is
    replica symmetry stable?".
    """
    overlaps = validate.array("overlaps", overlaps, dimensions=1)
    if ((overlaps < 0.6) | (overlaps > 0.985)).any():
        raise ValueError(f"overlaps is {overlaps}; allowed are numbers from 0.6 to 0.985")
    return [_one_step(float(m)) for m in overlaps]


def _one_step(m: float) -> OneStepState:
    unknowns = _START
    for waypoint in np.linspace(0.967, m, 1 + int(np.ceil(abs(m - 0.967) / 0.02)))[1:]:
        found = root(_one_step_residuals, unknowns, args=(waypoint,), method="hybr", tol=1e-13)
        unknowns = found.x
    found = root(_one_step_residuals, unknowns, args=(m,), method="hybr", tol=1e-15)
    if not np.abs(found.fun).max() < 1e-11:
        raise RuntimeError(
            f"one step of replica symmetry breaking was not solved at overlap {m}: the largest "
            f"residual is {np.abs(found.fun).max():.2g}"
        )
    spread, c, y, load = np.exp(found.x)
    inside = 1 - c
    outside = inside - y * spread
    q0 = 1 - spread
    r0, step = q0 / outside**2, spread / (inside * outside)
    total = _group_averages(m, sqrt(load * r0), sqrt(load * step), y)[3]
    r1 = r0 + step
    bracket = 1 + log(outside / inside) / y - q0 / outside + r1 * c + y * (r1 - r0 * q0)
    energy = m**2 / 2 + load / 2 * bracket - total / y
    return OneStepState(*map(float, (load, m, q0, c, y, energy)))


def hopfield_1rsb_capacity() -> OneStepState:
    """The retrieval state of the largest load at T = 0, one step of symmetry breaking included.

    Returns
    -------
    OneStepState
        Its ``load`` is .13818649.

    Raises
    ------
    RuntimeError
        If the equations could not be solved.

    Notes
    -----
    Agrees with Steffan and Kühn (1994), not with the .144 of Crisanti, Amit and Gutfreund (1986).
    Taught in chapter 4.2, "Is replica symmetry stable?".
    """
    best = minimize_scalar(
        lambda m: -_one_step(m).load, bracket=(0.966, 0.9668, 0.968), options={"xtol": 1e-9}
    )
    return _one_step(float(best.x))
