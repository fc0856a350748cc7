r"""Replica-symmetric theory of the Hopfield network at extensive load.

The energy is :math:`H=-\frac1{2N}\sum_\mu\sum_{i\ne j}\xi_i^\mu\xi_j^\mu\sigma_i\sigma_j` with
:math:`K=\alpha N` random patterns. At temperature :math:`T=1/\beta` the order parameters obey

.. math:: m=E\tanh\beta h,\qquad q=E\tanh^2\beta h,\qquad r=\frac q{(1-C)^2},\qquad
          h=m+\sqrt{\alpha r}\,z,

with :math:`C=\beta(1-q)`. Two fixed-point equations with several solutions invite a solver to land
on the wrong one. Here no solver can: given the temperature and the signal-to-noise ratio
:math:`t=m/\sqrt{\alpha r}`, one equation with exactly one solution remains, and the *load* follows.
The retrieval branch is the part of this curve beyond its largest load.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import erf, exp, inf, log, log1p, pi, sqrt
from typing import NamedTuple

import numpy as np
from numba import njit
from scipy.optimize import brentq

from course import figures, runtime, validate
from course.hebbian.averages import tanh_averages, tanh_averages_at
from course.hebbian.monte_carlo import random_patterns, retrieve
from course.sweeps import sweep

__all__ = [
    "PHASES", "HopfieldState", "PhaseDiagram", "RetrievalCurve", "critical_load", "draw_cut",
    "draw_phases",
    "finite_size_run", "free_energy", "hopfield_rs", "phase_diagram",
    "retrieval_curve",
]  # fmt: skip

PHASES = ("paramagnet", "spin glass", "metastable retrieval", "retrieval")
"""Names of the phases, in the order of the numbers in a phase diagram."""

BRANCHES = ("retrieval", "glass")
_WINDOW = sqrt(2 / pi)
_COLDEST = 1e-100


@dataclass(frozen=True)
class HopfieldState:
    r"""A replica-symmetric state of the Hopfield network.

    Attributes
    ----------
    load, temperature : float
        The load, K/N, and the temperature T.
    branch : str
        ``"retrieval"`` or ``"glass"``; the glass without order is the paramagnet.
    overlap : float
        m, with the retrieved pattern.
    spin_glass : float
        q, the overlap of two replicas.
    noise : float
        r, N/K times the summed squares of the overlaps with all other patterns.
    response : float
        :math:`C=\beta(1-q)`.
    free_energy, energy, entropy : float
        Per spin. At T = 0 the free energy is the energy.
    stable : bool
        Whether replica symmetry is stable against breaking (the condition of de Almeida and
        Thouless). It says nothing about which state has the lower free energy.
    """

    load: float
    temperature: float
    branch: str
    overlap: float
    spin_glass: float
    noise: float
    response: float
    free_energy: float
    energy: float
    entropy: float
    stable: bool


class RetrievalCurve(NamedTuple):
    """All solutions with an overlap at one temperature; arrays of one shape.

    Attributes
    ----------
    load : numpy.ndarray
        The load at which the solution exists.
    overlap, spin_glass, noise, response : numpy.ndarray
        m, q, r and C.
    free_energy : numpy.ndarray
        Per spin.
    """

    load: np.ndarray
    overlap: np.ndarray
    spin_glass: np.ndarray
    noise: np.ndarray
    response: np.ndarray
    free_energy: np.ndarray


@dataclass(frozen=True)
class PhaseDiagram:
    """Replica-symmetric phases on a grid; arrays of shape (temperatures, loads).

    Attributes
    ----------
    loads, temperatures : numpy.ndarray
        The axes.
    phase : numpy.ndarray
        Index into ``PHASES``, the names of the phases.
    overlap : numpy.ndarray
        m of the retrieval state, 0 where there is none.
    spin_glass : numpy.ndarray
        q of the state without overlap, 0 in the paramagnet.
    gain : numpy.ndarray
        Free energy of the glass or paramagnet less that of retrieval: positive where retrieval is
        the equilibrium, 0 where there is no retrieval.
    stable : numpy.ndarray
        Whether the retrieval state exists and is stable against replica symmetry breaking.
    """

    loads: np.ndarray
    temperatures: np.ndarray
    phase: np.ndarray
    overlap: np.ndarray
    spin_glass: np.ndarray
    gain: np.ndarray
    stable: np.ndarray


@njit(cache=True)
def _steepness(ratio, temperature):
    """Solve E tanh x(t + z) = T t x for x > 0, given the signal-to-noise ratio t.

    The difference of the two sides is concave in x, because the density of t + z is larger at u
    than at -u. So Newton's method, started right of the root, descends to it monotonically.
    """
    x = erf(ratio / sqrt(2.0)) / (temperature * ratio)
    for _ in range(200):
        a = tanh_averages_at(x * ratio, x)
        excess = a[0] - temperature * ratio * x
        slope = ratio * a[4] - 2 * x * a[5] - temperature * ratio
        lower = x - excess / slope
        if not 0 < lower < x:
            return x
        if x - lower < 1e-16 * x:
            return lower
        x = lower
    return x


@njit(cache=True)
def _curve(ratio, temperature):
    """Load, d ln(load) / d ln(ratio), m, q, C, and x (infinite at T = 0)."""
    if temperature == 0.0:
        m = erf(ratio / sqrt(2.0))
        window = _WINDOW * exp(-(ratio**2) / 2)
        root = m / ratio - window
        return root**2, 2 * (window * (1 + ratio**2) - m / ratio) / root, m, 1.0, (
            window * ratio / m
        ), inf  # fmt: skip
    x = _steepness(ratio, temperature)
    a = tanh_averages_at(x * ratio, x)
    q, gap = a[1], temperature - a[4]
    bend = 2 * x * a[5]
    dx = -gap * x / (gap * ratio + bend)
    dq = bend / x * (x + ratio * dx) + x * a[7] * dx
    slope = ratio * (2 * dx / x + 2 * dq / gap - dq / q)
    return x**2 * gap**2 / q, slope, a[0], q, a[4] / temperature, x


@njit(cache=True)
def spinodal_ratio(temperature):
    """The signal-to-noise ratio at which the load is largest; it lies between 2.09 and 2.14."""
    low, high = 1.5, 3.0
    for _ in range(60):
        middle = (low + high) / 2
        if _curve(middle, temperature)[1] > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


@njit(cache=True)
def _ratio(load, temperature, spinodal):
    """The signal-to-noise ratio beyond the spinodal at which the load is as given."""
    low, high = spinodal, 1.001 / sqrt(load)  # t <= 1 / sqrt(load), since r >= q >= m^2
    ratio = high if high < 4.0 else low + 1.0
    for _ in range(100):
        found = _curve(ratio, temperature)
        excess = log(found[0] / load)
        if excess > 0:
            low = ratio
        else:
            high = ratio
        step = ratio * exp(-excess / found[1]) if found[1] < 0 else 0.0
        if not low < step < high:
            step = (low + high) / 2
        if abs(step - ratio) < 4e-16 * ratio or high - low < 4e-16 * high:
            return step
        ratio = step
    return ratio


@njit(cache=True)
def _state(load, temperature, m, q, c, left, deviation):
    """r, C, free energy, entropy and margin of stability; ``left`` is 1 - C with all its digits."""
    r = q / left**2
    logarithm = log1p(-c) if c < 0.5 else log(left)
    noise_entropy = -load / 2 * (logarithm + c / left)
    if temperature == 0.0:
        ratio = m / deviation
        length = deviation * _WINDOW * exp(-(ratio**2) / 2) + m * erf(ratio / sqrt(2.0))
        free = m**2 / 2 + load * c**2 / (2 * left**2) - length
        return r, c, free, noise_entropy, -load
    a = tanh_averages_at(m / temperature, deviation / temperature)
    free = (
        load / 2
        + m**2 / 2
        + load * temperature / 2 * logarithm
        - load * q / (2 * left)
        + load * r * c / 2
        - temperature * a[3]
    )
    return r, c, free, a[6] + noise_entropy, (temperature * left) ** 2 - load * a[2]


@njit(cache=True)
def _retrieval(ratio, temperature):
    """m, q, r, C, free energy, entropy, margin of stability, and the load."""
    load, _, m, q, c, x = _curve(ratio, temperature)
    deviation = m / ratio if temperature == 0.0 else temperature * x
    r, c, free, entropy, margin = _state(load, temperature, m, q, c, 1 - c, deviation)
    return m, q, r, c, free, entropy, margin, load


@njit(cache=True)
def _glass_steepness(load, temperature):
    """Solve T = E sech^2(xz) + sqrt(load q) / x, whose right side falls with x."""
    low, high = 0.0, (_WINDOW + sqrt(load)) / temperature * (1 + 1e-15)
    x = high
    for _ in range(200):
        a = tanh_averages_at(0.0, x)
        root, dq = sqrt(load * a[1]), x * a[7]
        excess = a[4] + root / x - temperature
        if excess > 0:
            low = x
        else:
            high = x
        slope = -dq + root * dq / (2 * a[1] * x) - root / x**2
        step = x - excess / slope
        if not low < step < high:
            step = (low + high) / 2
        if abs(step - x) < 2e-16 * x or high - low < 2e-16 * high:
            return step
        x = step
    return x


@njit(cache=True)
def _glass(load, temperature):
    """As :func:`_retrieval`, for the state without overlap; q = 0 in the paramagnet."""
    if temperature == 0.0:
        deviation = _WINDOW + sqrt(load)
        q, c, left = 1.0, _WINDOW / deviation, sqrt(load) / deviation
    elif temperature >= 1 + sqrt(load):
        q, c, left, deviation = 0.0, 1 / temperature, 1 - 1 / temperature, 0.0
    else:
        x = _glass_steepness(load, temperature)
        a = tanh_averages_at(0.0, x)
        q, c, deviation = a[1], a[4] / temperature, temperature * x
        left = sqrt(load * q) / deviation
    r, c, free, entropy, margin = _state(load, temperature, 0.0, q, c, left, deviation)
    return 0.0, q, r, c, free, entropy, margin, load


@njit(cache=True)
def _diagram_row(temperature, loads):
    """Phase, m, q of the glass, gain in free energy and stability along one temperature."""
    row = np.zeros((5, loads.size))
    cold = temperature < 1.0
    spinodal = spinodal_ratio(temperature) if cold else 0.0
    largest = _curve(spinodal, temperature)[0] if cold else 0.0
    for k in range(loads.size):
        glass = _glass(loads[k], temperature)
        row[0, k], row[2, k] = 1.0 if glass[1] > 0 else 0.0, glass[1]
        if loads[k] <= largest:
            found = _retrieval(_ratio(loads[k], temperature, spinodal), temperature)
            row[1, k], row[3, k] = found[0], glass[4] - found[4]
            row[0, k], row[4, k] = 3.0 if row[3, k] > 0 else 2.0, 1.0 if found[6] > 0 else 0.0
    return row


def hopfield_rs(load: float, temperature: float, *, branch: str = "retrieval") -> HopfieldState:
    r"""Replica-symmetric state of the Hopfield network, retrieval or glass.

    With :math:`t=m/\sqrt{\alpha r}` and :math:`x=\beta\sqrt{\alpha r}`, the equations for m, and
    for q and r, read

    .. math:: E\tanh x(t+z)=Tt\,x,\qquad
              \alpha=\frac{x^2\,[T-E\operatorname{sech}^2x(t+z)]^2}{E\tanh^2x(t+z)}.

    The first has one root x for every t > 0 and T < 1; the second then gives the load. Along t the
    load has one maximum, the spinodal. Retrieval states lie beyond it, and there the load falls
    with t, so that t is found from the load without ambiguity. For the glass, m = 0, the second
    equation alone remains, with t = 0: it has one root for every temperature below
    :math:`1+\sqrt\alpha`, and above it q = 0. At T = 0 the averages are error functions, and
    the limit is taken exactly.

    Parameters
    ----------
    load : float
        :math:`\alpha=K/N>0`.
    temperature : float
        T, 0 or at least 1e-100.
    branch : {"retrieval", "glass"}
        ``"glass"`` is the state without overlap: the spin glass, or above
        :math:`1+\sqrt\alpha` the paramagnet.

    Returns
    -------
    HopfieldState
        With residuals below 1e-13. Near the spinodal the order parameters are as well determined
        as the load: an error of 1e-16 in the load moves m by 1e-8 at the very end of the branch.

    Raises
    ------
    ValueError
        For a load or a temperature out of range, and where no retrieval state exists.

    Notes
    -----
    Amit, Gutfreund and Sompolinsky (1985, 1987). Taught in chapter 4.2, "One number decides".
    """
    load = validate.real("load", load, low=0, strict=True)
    temperature = _temperature(temperature)
    branch = validate.choice("branch", branch, BRANCHES)
    if branch == "glass":
        found = _glass(load, temperature)
    else:
        largest = critical_load(temperature) if temperature < 1 else 0.0
        if load > largest:
            raise ValueError(
                f"load is {load:g}; allowed at temperature {temperature:g} are loads up to "
                f"{largest:.10g}, since no retrieval state exists beyond"
            )
        ratio = _ratio(load, temperature, spinodal_ratio(temperature))
        found = _retrieval(ratio, temperature)
    m, q, r, c, free, entropy, margin, _ = map(float, found)
    energy = free + temperature * entropy
    return HopfieldState(
        load, temperature, branch, m, q, r, c, free, energy, entropy, bool(margin > 0)
    )


def retrieval_curve(signal_to_noise, temperature: float) -> RetrievalCurve:
    r"""All solutions with an overlap at one temperature, by their signal-to-noise ratio.

    The parametrisation is that of :func:`hopfield_rs`. Ratios beyond the spinodal are retrieval
    states, smaller ones the unstable states that separate retrieval from the glass.

    Parameters
    ----------
    signal_to_noise : array_like
        :math:`t=m/\sqrt{\alpha r}>0`.
    temperature : float
        0 ≤ T < 1.

    Returns
    -------
    RetrievalCurve
        Arrays of the shape of ``signal_to_noise``.

    Raises
    ------
    ValueError
        For ratios that are not positive, or a temperature out of range.

    Notes
    -----
    Taught in chapter 4.2, "One number decides".
    """
    ratios = validate.array("signal_to_noise", signal_to_noise, dimensions=None)
    if (ratios <= 0).any():
        raise ValueError(f"signal_to_noise has an entry {ratios.min():g}; allowed are numbers > 0")
    temperature = _cold(temperature)
    rows = np.array([_retrieval(ratio, temperature) for ratio in ratios.ravel()])
    m, q, r, c, free, _, _, load = rows.reshape(-1, 8).T.reshape(8, *ratios.shape)
    return RetrievalCurve(load, m, q, r, c, free)


def critical_load(temperature: float, kind: str = "spinodal") -> float:
    r"""Largest load with retrieval states, or with retrieval as the equilibrium state.

    Parameters
    ----------
    temperature : float
        0 ≤ T < 1.
    kind : {"spinodal", "first_order"}
        ``"spinodal"``: :math:`\alpha_M(T)`, where retrieval states cease to exist; .1379055665 at
        T = 0. ``"first_order"``: :math:`\alpha_1(T)`, where retrieval and glass have the same free
        energy; .0518543309 at T = 0.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For a temperature below 0 or from 1 on (there is no retrieval at any load), or another kind.

    Notes
    -----
    Amit, Gutfreund and Sompolinsky (1987). Taught in chapter 4.2, "One number decides" and "The
    phase diagram".
    """
    temperature = _cold(temperature)
    kind = validate.choice("kind", kind, ("spinodal", "first_order"))
    spinodal = spinodal_ratio(temperature)
    if kind == "spinodal":
        return float(_curve(spinodal, temperature)[0])

    def excess(ratio: float) -> float:
        found = _retrieval(ratio, temperature)
        return found[4] - _glass(found[7], temperature)[4]

    high = 2 * spinodal
    while excess(high) > 0:
        high *= 2
    root = brentq(excess, spinodal, high, xtol=1e-14, rtol=1e-14)
    return float(_curve(root, temperature)[0])


def _temperature(temperature: float) -> float:
    temperature = validate.real("temperature", temperature, low=0)
    if 0 < temperature < _COLDEST:
        raise ValueError(
            f"temperature is {temperature:g}; allowed are 0 and numbers >= {_COLDEST:g}, since the "
            "squares of smaller ones underflow"
        )
    return temperature


def _cold(temperature: float) -> float:
    temperature = _temperature(temperature)
    if temperature >= 1:
        raise ValueError(
            f"temperature is {temperature:g}; allowed are numbers below 1, since from there on no "
            "retrieval state exists at any load"
        )
    return temperature


def free_energy(
    load: float, temperature: float, *, overlap: float, spin_glass: float, noise: float
) -> float:
    r"""The replica-symmetric free energy at any order parameters, not only at a solution.

    .. math:: f=\frac\alpha2+\frac{m^2}2+\frac\alpha{2\beta}\Bigl[\ln(1-C)-\frac{\beta q}{1-C}\Bigr]
              +\frac{\alpha\beta r(1-q)}2-T\,E\ln2\cosh\beta(m+\sqrt{\alpha r}\,z)

    Parameters
    ----------
    load, temperature : float
        Both positive.
    overlap, spin_glass, noise : float
        m, q from 0 to 1, and r ≥ 0, with :math:`C=\beta(1-q)<1`.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For values out of range.

    Notes
    -----
    Amit, Gutfreund and Sompolinsky (1987), in the normalisation without self-interaction. Taught
    in chapter 4.2, "Replicas of a network".
    """
    load = validate.real("load", load, low=0, strict=True)
    temperature = validate.real("temperature", temperature, low=0, strict=True)
    m = validate.real("overlap", overlap)
    q = validate.real("spin_glass", spin_glass, low=0)
    r = validate.real("noise", noise, low=0)
    c = (1 - q) / temperature
    if q > 1 or c >= 1:
        raise ValueError(
            f"spin_glass is {q:g}; allowed at temperature {temperature:g} are numbers above "
            f"{max(0.0, 1 - temperature):g} and up to 1"
        )
    site = tanh_averages(m / temperature, sqrt(load * r) / temperature).log2cosh
    patterns = temperature * log1p(-c) - q / (1 - c)
    return load / 2 * (1 + patterns + r * c) + m**2 / 2 - temperature * site


def phase_diagram(loads, temperatures, *, jobs: int | None = 1) -> PhaseDiagram:
    """Replica-symmetric phases and order parameters on a grid of loads and temperatures.

    Parameters
    ----------
    loads : array_like
        Positive, shape (L,).
    temperatures : array_like
        Not negative, shape (T,).
    jobs : int, optional
        Processes; None takes one for each core, which pays from about 30,000 points on.

    Returns
    -------
    PhaseDiagram
        Arrays of shape (T, L).

    Raises
    ------
    ValueError
        For loads or temperatures out of range.

    Notes
    -----
    A point costs about 0.1 ms. Taught in chapter 4.2, "The phase diagram".
    """
    loads = validate.array("loads", loads, dimensions=1, empty=False)
    temperatures = validate.array("temperatures", temperatures, dimensions=1, empty=False)
    if (loads <= 0).any():
        raise ValueError(f"loads has an entry {loads.min():g}; allowed are numbers > 0")
    if (temperatures < 0).any():
        raise ValueError(
            f"temperatures has an entry {temperatures.min():g}; allowed are numbers >= 0"
        )
    row = partial(_diagram_row, loads=loads)
    for temperature in temperatures:
        _temperature(temperature)
    rows = sweep(row, {"temperature": temperatures}, jobs=jobs, description="Phase diagram")
    phase, overlap, spin_glass, gain, stable = rows.swapaxes(0, 1)
    return PhaseDiagram(
        loads, temperatures, phase.astype(int), overlap, spin_glass, gain, stable.astype(bool)
    )


def finite_size_run(*, spins: int, loads: list[float], samples: int, seed: int) -> dict:
    """Overlaps that networks keep when they start in a pattern at T = 0 and come to rest.

    Every network has patterns of its own, also at another load. This is the ``compute`` of the
    chapter's records.

    Parameters
    ----------
    spins : int
        N.
    loads : list of float
        Each gives K = round(load · N) patterns.
    samples : int
        Networks at each load.
    seed : int

    Returns
    -------
    dict
        ``overlap``: final overlaps with the pattern, shape (samples, loads).

    Raises
    ------
    ValueError
        For counts below 1, or loads that leave no pattern.
    RuntimeError
        If a network has not come to rest after 2000 sweeps.

    Notes
    -----
    Taught in chapter 4.2, "What a thousand neurons show".
    """
    spins, samples = validate.whole("spins", spins), validate.whole("samples", samples)
    counts = np.round(validate.array("loads", loads, dimensions=1) * spins).astype(int)
    rng, kept = runtime.rng(seed), np.empty((samples, len(counts)))
    batch = max(1, min(samples, 40_000_000 // int(counts.max() * spins)))
    for column, count in enumerate(counts):
        for first in range(0, samples, batch):
            size = min(batch, samples - first)
            patterns = random_patterns(int(count), spins, samples=size, rng=rng)
            found = retrieve(patterns, patterns[:, 0], sweeps=2000, rng=rng)
            if not found.converged.all():
                raise RuntimeError(f"a network of {spins} spins did not come to rest")
            kept[first : first + size, column] = found.overlaps[:, 0]
    return {"overlap": kept}


_SHORT = ("paramagnet", "glass", "metastable", "retrieval")
_COLOURS = ("#F4F1EA", "#CFE3F1", "#F6D9A8", "#B9E0C8")


def draw_phases(ax, diagram: PhaseDiagram) -> None:
    """Colour the phases of a grid and name them, on axes of load and temperature."""
    from matplotlib.colors import ListedColormap

    ax.pcolormesh(
        diagram.loads, diagram.temperatures, diagram.phase, shading="nearest",
        cmap=ListedColormap(_COLOURS), vmin=-0.5, vmax=3.5, rasterized=True,
    )  # fmt: skip
    ax.grid(False)
    ax.set(xlabel=r"load $\alpha=K/N$", ylabel="temperature $T$")
    ax.set(xlim=diagram.loads[[0, -1]], ylim=diagram.temperatures[[0, -1]])
    x, y = np.meshgrid(diagram.loads, diagram.temperatures)
    for number, name in enumerate(PHASES):
        if (diagram.phase == number).mean() > 0.03:
            inside = diagram.phase == number
            words = name.replace("metastable ", "metastable\n")
            centre = np.median(x[inside]), np.median(y[inside])
            ax.text(*centre, words, ha="center", va="center", fontsize=8.5)


def draw_cut(ax, temperature: float) -> None:
    """Overlaps against the load at one temperature, over the colours of the phases.

    The overlap of retrieval is a solid line, that of the unstable solution between retrieval and
    glass a dashed one; the order of the state without overlap is drawn as well.
    """
    loads = np.linspace(0.001, 0.16, 160)
    row = phase_diagram(loads, [temperature])
    for number, color in enumerate(_COLOURS):
        inside = loads[row.phase[0] == number]
        if inside.size:
            ax.axvspan(inside[0] - 5e-4, inside[-1] + 5e-4, color=color, linewidth=0)
            if np.ptp(inside) > 0.03:
                ax.text(inside.mean(), 1.06, _SHORT[number], ha="center", fontsize=7.5)
    figures.theory(ax, loads, row.spin_glass[0], label="$q$, without overlap", color="#CC79A7")
    if temperature < 1:
        turn = spinodal_ratio(temperature)
        for ratios, style in ((np.geomspace(turn, 60, 200), "-"), (np.linspace(0.05, turn), "--")):
            curve = retrieval_curve(ratios, temperature)
            words = "$m$, retrieval" if style == "-" else "$m$, unstable"
            ax.plot(curve.load, curve.overlap, style, color="#0072B2", label=words)
    ax.grid(False)
    ax.set(xlim=(0, 0.16), ylim=(-0.02, 1.14), xlabel=r"load $\alpha=K/N$", ylabel="order $m$, $q$")
    ax.set_title(f"temperature $T={temperature:g}$", fontsize=9)
