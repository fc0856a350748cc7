r"""Hebbian networks that see noisy examples of hidden archetypes, never the archetypes themselves.

Archetypes :math:`\xi^\mu\in\{\pm1\}^N` are random. Of each the network sees M examples
:math:`\eta^{\mu a}_i=\chi^{\mu a}_i\xi^\mu_i`, where every :math:`\chi` is +1 with probability
:math:`(1+r)/2` and −1 otherwise: r is the quality. What is stored depends on the supervision: with
a teacher the averages :math:`\bar\eta^\mu=\frac1M\sum_a\eta^{\mu a}`, without one all examples as
they come,

.. math:: H_{\rm sup}=-\frac1{\mathcal R}N^{1-P}\sum_\mu\sum_{i_1<\dots<i_P}
          \bar\eta^\mu_{i_1}\sigma_{i_1}\cdots\bar\eta^\mu_{i_P}\sigma_{i_P},\qquad
          H_{\rm uns}=-\frac1{\mathcal R M}N^{1-P}\sum_{\mu a}\sum_{i_1<\dots<i_P}
          \eta^{\mu a}_{i_1}\sigma_{i_1}\cdots\eta^{\mu a}_{i_P}\sigma_{i_P},

with :math:`\mathcal R=r^2(1+\rho)` for P = 2, :math:`\mathcal R=r^P` for P > 2, and the dataset
entropy :math:`\rho=(1-r^2)/(Mr^2)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import erf
from scipy.stats import binom

from course import validate
from course.hebbian.averages import tanh_averages
from course.hebbian.monte_carlo import Retrieval, overlaps, random_patterns, retrieve

__all__ = [
    "LearningRS", "Trials", "crosstalk_factor", "dataset_entropy", "draw_averages", "draw_examples",
    "glass_temperature", "halfway", "learning_critical_load", "learning_rs", "learning_threshold",
    "learning_trials", "trial_grid",
]  # fmt: skip

SUPERVISIONS = ("supervised", "unsupervised")
LAWS = ("gaussian", "binomial")


class LearningRS(NamedTuple):
    r"""A replica symmetric state of a network that learned from examples.

    Attributes
    ----------
    overlap : float
        m, with the archetype: :math:`\frac1N\sum_i\xi_i\sigma_i`.
    example_overlap : float
        ñ, with its average example: :math:`\frac1{Nr}\sum_i\bar\eta_i\sigma_i`.
    spin_glass : float
        q, overlap of two replicas.
    susceptibility : float
        :math:`C=\beta(1-q)`, finite at zero temperature.
    noise : float
        Variance of the cross-talk in the field, per unit load: Gq (pairwise),
        :math:`(P-1)!\,F\,q^{P-1}` (dense).
    free_energy : float
        Per spin, in units of the temperature.
    stable : bool
        Whether the state is stable against replica symmetry breaking; never so at T = 0.
    """

    overlap: float
    example_overlap: float
    spin_glass: float
    susceptibility: float
    noise: float
    free_energy: float
    stable: bool


class _Model(NamedTuple):
    """The data and the network, as the equations need them."""

    order: int
    rho: float
    spectrum: tuple[tuple[float, float], ...]  # pairwise: (how many, eigenvalue) for each pattern
    factor: float  # dense: F
    atoms: tuple[np.ndarray, np.ndarray] | None  # probability and value of the average example / r


class _Point(NamedTuple):
    """A retrieval state on the curve of constant temperature."""

    load: float
    overlap: float
    example_overlap: float
    spin_glass: float
    susceptibility: float
    noise: float
    signal: float  # β times the field's amplitude
    deviation: float  # β times the standard deviation of the cross-talk


def dataset_entropy(quality: float, examples: float) -> float:
    r"""How much noise is left in the average example, :math:`\rho=(1-r^2)/(Mr^2)`.

    It is the relative variance of :math:`\bar\eta_i/r`.

    Parameters
    ----------
    quality : float
        r, above 0 and at most 1.
    examples : float
        M, at least 1; fractions are allowed where theory treats M as continuous.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For a quality or a number of examples outside its range.

    Notes
    -----
    Derived, and taught, in chapter 4.5, "What an example is worth".
    """
    quality = _quality(quality)
    examples = validate.real("examples", examples, low=1)
    return (1 - quality**2) / (examples * quality**2)


def crosstalk_factor(
    quality: float, examples: float, *, order: int, supervision: str = "supervised"
) -> float:
    r"""By how much noisy examples raise the cross-talk's variance in a dense network.

    .. math:: F_{\rm sup}=(1+\rho)^P,\qquad F_{\rm uns}=1+\frac{1-r^{2P}}{M\,r^{2P}}

    Parameters
    ----------
    quality, examples : float
        r and M, as for :func:`dataset_entropy`.
    order : int
        P, even.
    supervision : {"supervised", "unsupervised"}

    Returns
    -------
    float
        1 for perfect examples.

    Raises
    ------
    ValueError
        For arguments outside their ranges.

    Notes
    -----
    Derived, and taught, in chapter 4.5, "Theory for dense networks".
    """
    rho = dataset_entropy(quality, examples)
    order = _order(order)
    if validate.choice("supervision", supervision, SUPERVISIONS) == "supervised":
        return (1 + rho) ** order
    return 1 + (quality ** (-2 * order) - 1) / examples


def _quality(value) -> float:
    quality = validate.real("quality", value, low=0, strict=True)
    if quality > 1:
        raise ValueError(f"quality is {value!r}; allowed are numbers above 0 and up to 1")
    return quality


def _order(value) -> int:
    order = validate.whole("order", value, low=2)
    if order % 2:
        raise ValueError(f"order is {value!r}; allowed are even numbers from 2 on")
    return order


def _model(quality, examples, order, supervision, law) -> _Model:
    quality, order = _quality(quality), _order(order)
    validate.choice("supervision", supervision, SUPERVISIONS)
    rho = dataset_entropy(quality, examples)
    spectrum = ((1.0, 1.0),)
    if supervision == "unsupervised" and examples > 1:
        spectrum += ((examples - 1.0, rho / (1 + rho)),)
    factor = crosstalk_factor(quality, examples, order=order, supervision=supervision)
    atoms = None
    if validate.choice("law", law, LAWS) == "binomial":
        count = validate.whole("examples", examples)
        right = np.arange(count + 1)
        atoms = binom.pmf(right, count, (1 + quality) / 2), (2 * right - count) / (count * quality)
    return _Model(order, rho, spectrum, factor, atoms)


def _temperature(value) -> float:
    return validate.real("temperature", value, low=0)


def _load(value) -> float:
    return validate.real("load", value, low=0, strict=True)


# The retrieval branch. At fixed temperature it is a curve, with the ratio y of the signal to √2
# times the cross-talk as its parameter: everything else follows from y and the signal u = β × field
# amplitude without solving anything, and at T = 0 (u infinite) u drops out.


def _responses(model: _Model, u, y):
    """m, 1 − q, ñ and u(1 − q), for arrays of signals u (not infinite) and one ratio y."""
    u = np.asarray(u, dtype=float)
    if model.atoms is None:
        average = tanh_averages(u, u * math.sqrt(model.rho + 0.5 / y**2))
        moved = u * average.sech2
        return average.tanh, average.sech2, average.tanh + model.rho * moved, moved
    weight, value = model.atoms
    average = tanh_averages(np.multiply.outer(u, value), (u / (math.sqrt(2) * y))[..., None])
    sech2 = average.sech2 @ weight
    return average.tanh @ weight, sech2, average.tanh @ (weight * value), u * sech2


def _cold_responses(model: _Model, y: float):
    """m, ñ and u(1 − q) at T = 0."""
    if model.atoms is None:
        x = y / math.sqrt(1 + 2 * model.rho * y**2)
        moved = 2 / math.sqrt(math.pi) * x * math.exp(-(x**2))
        return math.erf(x), math.erf(x) + model.rho * moved, moved
    weight, value = model.atoms
    steps = erf(value * y)
    moved = 2 / math.sqrt(math.pi) * y * float(weight @ np.exp(-((value * y) ** 2)))
    return float(weight @ steps), float((weight * value) @ steps), moved


def _amplitude(model: _Model, example_overlap):
    """The amplitude of the field in units in which perfect examples and m = 1 give 1."""
    if model.order == 2:
        return example_overlap / (1 + model.rho)
    return example_overlap ** (model.order - 1)


def _noise(model: _Model, q: float, c: float) -> float:
    """Variance of the cross-talk per unit load; infinite beyond the glass's own instability."""
    if model.order > 2:
        return math.factorial(model.order - 1) * model.factor * q ** (model.order - 1)
    if c >= 1:
        return math.inf
    return q * sum(n * (k / (1 - k * c)) ** 2 for n, k in model.spectrum)


def _excess(model: _Model, u, y: float, temperature: float):
    """By how much the amplitude exceeds u T, for arrays of signals u and one ratio y."""
    return _amplitude(model, _responses(model, u, y)[2]) - temperature * np.asarray(u)


def _largest_signal(model: _Model, temperature: float) -> float:
    """A bound on u, from a field that is saturated."""
    power = -0.5 if model.order == 2 else (model.order - 1) / 2
    return (1 + model.rho) ** power / temperature * (1 + 1e-9)


def _signal(model: _Model, y: float, temperature: float, low: float) -> float | None:
    """The largest u with u T = amplitude(u), or None; ``low`` is below it."""
    grid = np.geomspace(low, _largest_signal(model, temperature), 30)
    above = np.flatnonzero(_excess(model, grid, y, temperature) > 0)
    if not above.size:
        return None
    last = above[-1]
    return brentq(
        lambda u: float(_excess(model, u, y, temperature)), grid[last], grid[last + 1],
        xtol=1e-300, rtol=1e-14,
    )  # fmt: skip


def _point(model: _Model, y: float, temperature: float, low: float | None = None) -> _Point | None:
    """The retrieval state with ratio y, and the load that it belongs to."""
    if temperature == 0:
        m, example_overlap, moved = _cold_responses(model, y)
        amplitude = _amplitude(model, example_overlap)
        c = moved / amplitude
        noise = _noise(model, 1.0, c)
        load = amplitude**2 / (2 * y**2 * noise)
        return _Point(load, m, example_overlap, 1.0, c, noise, math.inf, math.inf)
    u = _signal(model, y, temperature, low or 1e-4 * _largest_signal(model, temperature))
    return None if u is None else _warm_point(model, u, y, temperature)


def _warm_point(model: _Model, u: float, y: float, temperature: float) -> _Point:
    m, sech2, example_overlap, _ = (float(value) for value in _responses(model, u, y))
    q, c = 1 - sech2, sech2 / temperature
    noise = _noise(model, q, c)
    load = (temperature * u) ** 2 / (2 * y**2 * noise)
    return _Point(load, m, example_overlap, q, c, noise, u, u / (math.sqrt(2) * y))


# A dense network at T > 0 can have two signals u at one ratio y, and where the branch ends at high
# temperature the state has the smaller one. But every u has one y: with the average example v in
# units of its archetype, E v tanh(uv + dz) falls with the cross-talk's deviation d, since
# E tanh(a + dz) sech²(a + dz) has the sign of a. So there the curve is followed along u.

NO_CROSSTALK = 1e6  # a ratio y at which cross-talk is negligible


def _ratio(model: _Model, u: float, temperature: float) -> float:
    """The ratio y that belongs to the signal u, at most ``NO_CROSSTALK``."""

    def excess(log_y: float) -> float:
        return float(_excess(model, u, math.exp(log_y), temperature))

    high = math.log(NO_CROSSTALK)
    if excess(high) <= 0:
        return NO_CROSSTALK
    return math.exp(brentq(excess, math.log(1e-3 / math.sqrt(1 + model.rho)), high, xtol=1e-15))


def _signals(model: _Model, temperature: float) -> tuple[float, float] | None:
    """The range of signals u of a dense network at T > 0, or None where there is no retrieval."""

    def excess(log_u: float) -> float:
        return float(_excess(model, math.exp(log_u), NO_CROSSTALK, temperature)) / math.exp(log_u)

    top = math.log(_largest_signal(model, temperature))
    peak = minimize_scalar(lambda log_u: -excess(log_u), bounds=(-10.0, top), method="bounded",
                           options={"xatol": 1e-9}).x  # fmt: skip
    if excess(peak) <= 0:
        return None
    high = brentq(excess, peak, top, xtol=1e-15)
    low = high + math.log(0.02)
    if excess(low) <= 0:
        low = brentq(excess, low, peak, xtol=1e-15)
    return math.exp(low), math.exp(high)


def _warm_edge(model: _Model, temperature: float) -> tuple[float, float]:
    """Signal u and load at the end of a dense network's retrieval branch; load 0 if none.

    From the largest u, with load 0, the load rises to the end of the branch and falls again. There
    are weak states with u of order √T and q near 0, where cross-talk hardly feels the state, and
    their load can be larger. They are saddle points that nothing relaxes to, and not meant here.
    """
    signals = _signals(model, temperature)
    if signals is None:
        return math.nan, 0.0

    def point(log_u: float) -> _Point:
        u = math.exp(log_u)
        return _warm_point(model, u, _ratio(model, u, temperature), temperature)

    logs = np.linspace(*np.log(signals[::-1]), 62 if model.atoms is None else 122)
    states = [point(value) for value in logs[1:-1]]
    loads = np.array([0.0, *(state.load for state in states), 0.0])
    peaks = 1 + np.flatnonzero((loads[1:-1] >= loads[:-2]) & (loads[1:-1] > loads[2:]))
    best = peaks[0]
    if model.atoms is not None:  # a law of steps can have several maxima
        strong = [k for k in peaks if states[k - 1].spin_glass > 0.5]
        best = max([best, *strong], key=lambda k: loads[k])
    found = minimize_scalar(
        lambda value: -point(value).load, bounds=(logs[best + 1], logs[best - 1]), method="bounded",
        options={"xatol": 1e-9},
    )  # fmt: skip
    if not found.success:
        raise RuntimeError(f"the end of the retrieval branch was not found: {found.message}")
    return math.exp(found.x), -float(found.fun)


def _last_crossing(load_at, load: float, low: float, high: float, points: int) -> float:
    """The largest x from low to high at which the load crosses a value; it is larger at low."""
    grid = np.linspace(low, high, points)
    last = int(np.flatnonzero([load_at(x) > load for x in grid[:-1]])[-1]) if points > 2 else 0
    return brentq(lambda x: load_at(x) / load - 1, grid[last], grid[last + 1], xtol=1e-15)


def _warm_retrieval(model: _Model, load: float, temperature: float, edge: float) -> _Point:
    """The retrieval state of a dense network at T > 0, with ``edge`` the signal u at the end.

    Near the edge it is sought along u. Far from it u no longer changes, and y takes its place: from
    1.5 times its minimum on, the largest u at given y is that of the branch.
    """

    def point(log_u: float) -> _Point:
        u = math.exp(log_u)
        return _warm_point(model, u, _ratio(model, u, temperature), temperature)

    def log_ratio(log_u: float) -> float:
        return math.log(_ratio(model, math.exp(log_u), temperature))

    def beyond(log_y: float) -> _Point:
        return _point(model, math.exp(log_y), temperature, math.exp(turn))

    points = 2 if model.atoms is None else 40
    low, high = math.log(edge), math.log(_signals(model, temperature)[1])
    turn = minimize_scalar(log_ratio, bounds=(low, high), method="bounded").x
    turn = min(low, turn, key=log_ratio)
    split = log_ratio(turn) + math.log(1.5)
    high = brentq(lambda log_u: log_ratio(log_u) - split, turn, high, xtol=1e-14)
    if point(high).load > load:
        top = split
        while beyond(top).load > load:
            top += math.log(2)
        return beyond(_last_crossing(lambda x: beyond(x).load, load, split, top, points))
    if load >= point(low).load:
        return point(low)
    return point(_last_crossing(lambda x: point(x).load, load, low, high, points))


def _edge(model: _Model, temperature: float) -> tuple[float, float]:
    """Where the retrieval branch ends, and the load there; load 0 where there is no retrieval.

    The end is given by its ratio y, in dense networks at T > 0 by its signal u.
    """
    if model.order > 2 and temperature > 0:
        return _warm_edge(model, temperature)

    def load(log_y: float) -> float:
        point = _point(model, math.exp(log_y), temperature)
        return 0.0 if point is None else point.load

    points = 28 if model.atoms is None else 60  # a law of steps can have several maxima
    logs = np.log(np.geomspace(0.2 / math.sqrt(1 + model.rho), 20, points))
    loads = np.array([load(value) for value in logs])
    best = int(loads.argmax())
    if loads[best] == 0:
        return math.nan, 0.0
    bracket = logs[max(best - 1, 0)], logs[min(best + 1, len(logs) - 1)]
    found = minimize_scalar(
        lambda value: -load(value), bounds=bracket, method="bounded", options={"xatol": 1e-8}
    )
    if not found.success:
        raise RuntimeError(f"the end of the retrieval branch was not found: {found.message}")
    return math.exp(found.x), max(-float(found.fun), float(loads[best]))


def learning_critical_load(
    temperature: float = 0.0,
    *,
    quality: float,
    examples: float,
    order: int = 2,
    supervision: str = "supervised",
    law: str = "gaussian",
    kind: str = "spinodal",
) -> float:
    r"""Largest load at which a replica symmetric retrieval state exists, or is the global minimum.

    Parameters
    ----------
    temperature : float
        T for P = 2; :math:`1/\beta'=(P-1)!\,T` for P > 2.
    quality, examples : float
        r and M.
    order : int
        P, even.
    supervision : {"supervised", "unsupervised"}
    law : {"gaussian", "binomial"}
        Distribution of the average example: the limit of many examples, or the exact one (M whole).
    kind : {"spinodal", "first_order"}
        Where the state ends, or (P = 2) where its free energy exceeds that of the glass.

    Returns
    -------
    float
        α = K/N for P = 2, γ = K/N^{P−1} for P > 2; 0 above the temperature at which retrieval ends.
        Along the branch that starts at load 0 it is the first maximum, in dense networks at T > 0:
        beyond it, near ρ = 0.2 and T' = 0.25, other states exist up to loads a few percent larger.

    Raises
    ------
    ValueError
        For arguments outside their ranges.

    Notes
    -----
    Derived, and taught, in chapter 4.5, "Theory for pairwise networks".
    """
    temperature = _temperature(temperature)
    model = _model(quality, examples, order, supervision, law)
    edge, critical = _edge(model, temperature)
    if validate.choice("kind", kind, ("spinodal", "first_order")) == "spinodal":
        return critical
    if model.order > 2:
        raise ValueError(
            f"kind is 'first_order' with order {order}; allowed is order 2, since the glass of a "
            "dense network needs a broken replica symmetry (chapter 4.4)"
        )
    if critical == 0:
        return 0.0

    def excess(log_y: float) -> float:
        point = _point(model, math.exp(log_y), temperature)
        here = _free_energy(model, point, point.load, temperature)
        return here - _glass(model, point.load, temperature).free_energy

    low, high = math.log(edge), math.log(edge) + 0.5
    if excess(low) <= 0:
        return critical
    while excess(high) > 0:
        low, high = high, high + 0.5
        if high > 12:
            raise RuntimeError(f"no first-order transition was found at temperature {temperature}")
    found = brentq(excess, low, high, xtol=1e-13)
    return _point(model, math.exp(found), temperature).load


def learning_rs(
    load: float,
    temperature: float = 0.0,
    *,
    quality: float,
    examples: float,
    order: int = 2,
    supervision: str = "supervised",
    law: str = "gaussian",
    branch: str = "retrieval",
) -> LearningRS:
    r"""Replica symmetric order parameters of a network that learned from examples.

    With :math:`\tilde n=\frac1{Nr}\sum_i\bar\eta_i\sigma_i`, Gaussian average examples and unit
    Gaussians z,

    .. math:: m&=E\tanh\beta h,\qquad q=E\tanh^2\beta h,\qquad
              h=\hat n+z\sqrt{\rho\hat n^2+\alpha V},\qquad
              \tilde n=m+\rho\,\hat n\,\beta(1-q),\\
              \hat n&=\frac{\tilde n}{1+\rho},\quad V=Gq\quad(P=2),\qquad
              \hat n=\tilde n^{P-1},\quad V=(P-1)!\,F\,q^{P-1}\quad(P>2).

    Parameters
    ----------
    load : float
        α = K/N for P = 2, γ = K/N^{P−1} for P > 2.
    temperature : float
        T for P = 2; :math:`1/\beta'=(P-1)!\,T` for P > 2.
    quality, examples : float
        r and M.
    order : int
        P, even.
    supervision : {"supervised", "unsupervised"}
    law : {"gaussian", "binomial"}
        Distribution of the average example: the limit of many examples, or the exact one (M whole).
    branch : {"retrieval", "glass"}
        The glass (m = 0, q > 0) is offered for P = 2: for P > 2 it needs a broken replica symmetry
        (chapter 4.4).

    Returns
    -------
    LearningRS

    Raises
    ------
    ValueError
        Where the branch does not exist, or for arguments outside their ranges.

    Notes
    -----
    Derived, and taught, in chapter 4.5, "Theory for pairwise networks" and "Theory for dense
    networks". Source of the dense setting: agliari2022supervised, agliari2022unsupervised.
    """
    load, temperature = _load(load), _temperature(temperature)
    model = _model(quality, examples, order, supervision, law)
    if validate.choice("branch", branch, ("retrieval", "glass")) == "glass":
        return _glass(model, load, temperature)
    edge, critical = _edge(model, temperature)
    if not load <= critical:
        raise ValueError(
            f"load is {load}; at temperature {temperature}, quality {quality} and {examples} "
            f"examples a retrieval state exists up to {critical:.6g} only"
        )
    if model.order > 2 and temperature > 0:
        point = _warm_retrieval(model, load, temperature, edge)
        return _state(model, point, load, temperature)
    high = max(edge, 1.0)
    while (point := _point(model, high, temperature)) is not None and point.load > load:
        high *= 2.0
    if point is None:
        raise RuntimeError(f"no retrieval state was found at the ratio {high}")
    grid = np.geomspace(edge, high, 40)
    loads = np.array([_point(model, y, temperature).load for y in grid])
    above = np.flatnonzero(loads > load)
    if above.size:
        low, high = grid[above[-1]], grid[min(above[-1] + 1, len(grid) - 1)]
        edge = brentq(
            lambda y: _point(model, y, temperature).load / load - 1, low, high, rtol=1e-14
        )
    return _state(model, _point(model, edge, temperature), load, temperature)


def _state(model: _Model, point: _Point, load: float, temperature: float) -> LearningRS:
    free_energy = _free_energy(model, point, load, temperature)
    stable = temperature > 0 and _replicon(model, point, load, temperature) < 1
    return LearningRS(
        point.overlap, point.example_overlap, point.spin_glass, point.susceptibility, point.noise,
        free_energy, bool(stable),
    )  # fmt: skip


def _spread(model: _Model, point: _Point, field: str) -> float:
    """Average of a function of the field over cross-talk and average example."""
    if model.atoms is None:
        deviation = math.hypot(point.deviation, math.sqrt(model.rho) * point.signal)
        return float(getattr(tanh_averages(point.signal, deviation), field))
    weight, value = model.atoms
    return float(getattr(tanh_averages(point.signal * value, point.deviation), field) @ weight)


def _replicon(model: _Model, point: _Point, load: float, temperature: float) -> float:
    sech4 = _spread(model, point, "sech4") / temperature**2
    if model.order == 2:
        return load * sech4 * point.noise / point.spin_glass
    return load * sech4 * (model.order - 1) * point.noise / point.spin_glass


def _cold_field(model: _Model, point: _Point, load: float, amplitude: float) -> float:
    """Mean absolute field at T = 0."""
    deviation = math.sqrt(load * point.noise)
    if model.atoms is None:
        weight, value = np.ones(1), np.ones(1)
        deviation = math.hypot(deviation, math.sqrt(model.rho) * amplitude)
    else:
        weight, value = model.atoms
    ratio = amplitude * value / (math.sqrt(2) * deviation)
    mean = amplitude * value * erf(ratio)
    return float(weight @ (mean + deviation * math.sqrt(2 / math.pi) * np.exp(-(ratio**2))))


def _free_energy(model: _Model, point: _Point, load: float, temperature: float) -> float:
    q, c, n, order = point.spin_glass, point.susceptibility, point.example_overlap, model.order
    amplitude = _amplitude(model, n)
    if temperature == 0:
        entropic = _cold_field(model, point, load, amplitude)
    else:
        entropic = temperature * _spread(model, point, "log2cosh")
    if order == 2:
        ratio = temperature / 2
        logs = sum(
            count * (k + 2 * ratio * math.log1p(-k * c) - k * q / (1 - k * c))
            for count, k in model.spectrum
        )
        return (1 + model.rho) * amplitude**2 / 2 + load / 2 * (logs + point.noise * c) - entropic
    glassy = 0.0
    if temperature > 0:
        bracket = 1 - order * q ** (order - 1) + (order - 1) * q**order
        scale = math.factorial(order - 1) * model.factor / (2 * order * temperature)
        glassy = load * scale * bracket
    return (order - 1) / order * n**order - glassy - entropic


def _glass(model: _Model, load: float, temperature: float) -> LearningRS:
    if model.order > 2:
        raise ValueError(
            f"branch is 'glass' with order {model.order}; allowed is order 2, since the glass of a "
            "dense network needs a broken replica symmetry (chapter 4.4)"
        )
    if temperature == 0:
        c = brentq(
            lambda c: math.pi / 2 * load * c**2 * _noise(model, 1.0, c) - 1, 1e-12, 1 - 1e-12,
            rtol=1e-14,
        )  # fmt: skip
        point = _Point(load, 0.0, 0.0, 1.0, c, _noise(model, 1.0, c), 0.0, math.inf)
        return _state(model, point, load, temperature)
    top = _glass_temperature(model, load)
    if temperature >= top:
        raise ValueError(
            f"temperature is {temperature}; at load {load} the glass exists below {top:.6g} only"
        )

    def point(deviation: float) -> _Point:
        sech2 = float(tanh_averages(0.0, deviation).sech2)
        q, c = float(tanh_averages(0.0, deviation).tanh2), sech2 / temperature
        noise = _noise(model, q, c)
        return _Point((deviation * temperature) ** 2 / noise, 0.0, 0.0, q, c, noise, 0.0, deviation)

    grid = np.geomspace(1e-5, 1e3 * max(1, 1 / temperature), 100)
    loads = np.array([point(deviation).load for deviation in grid])
    last = int(np.flatnonzero(loads < load)[-1])
    found = brentq(
        lambda log: point(math.exp(log)).load / load - 1, *np.log(grid[last : last + 2]), rtol=1e-14
    )
    return _state(model, point(math.exp(found)), load, temperature)


def _glass_temperature(model: _Model, load: float) -> float:
    def excess(temperature: float) -> float:
        total = sum(n * (k / (temperature - k)) ** 2 for n, k in model.spectrum)
        return load * total - 1

    high = 2.0
    while excess(high) > 0:
        high *= 2
    return brentq(excess, 1 + 1e-15 + 0.5 * math.sqrt(load), high, rtol=1e-15)


def glass_temperature(
    load: float, *, quality: float, examples: float, supervision: str = "supervised"
) -> float:
    r"""Temperature below which a pairwise network freezes into a glass.

    .. math:: \alpha\,\Bigl[\frac1{(T_g-1)^2}+(M-1)\frac{k^2}{(T_g-k)^2}\Bigr]=1,
              \qquad k=\frac\rho{1+\rho}

    with the second term for unsupervised data only; with a teacher :math:`T_g=1+\sqrt\alpha`.

    Parameters
    ----------
    load : float
        α = K/N.
    quality, examples : float
        r and M.
    supervision : {"supervised", "unsupervised"}

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For arguments outside their ranges.

    Notes
    -----
    Derived, and taught, in chapter 4.5, "Phase diagrams".
    """
    return _glass_temperature(_model(quality, examples, 2, supervision, "gaussian"), _load(load))


def learning_threshold(
    load: float,
    temperature: float = 0.0,
    *,
    quality: float,
    order: int = 2,
    supervision: str = "supervised",
) -> float:
    r"""Number of examples from which on the archetypes can be retrieved.

    A replica symmetric retrieval state exists from this M on. For small quality the number grows as
    :math:`r^{-2}` with a teacher and, for P > 2, as
    :math:`\frac{\gamma}{\gamma_c-\gamma}\,r^{-2P}` without one, where γ_c is the critical load of
    a network that stores the archetypes.

    Parameters
    ----------
    load : float
        α = K/N for P = 2, γ = K/N^{P−1} for P > 2.
    temperature : float
        T for P = 2; :math:`1/\beta'=(P-1)!\,T` for P > 2.
    quality : float
        r.
    order : int
        P, even.
    supervision : {"supervised", "unsupervised"}

    Returns
    -------
    float
        M, a real number, from the theory of many examples (a small M, below about 30, is not to
        be trusted). 1 where a retrieval state exists at every M, as in dense networks with a
        teacher below a load γ_∞ (0.00637 for P = 4), which retrieve averages that are all noise:
        there the overlap with the archetype grows without a threshold, and 1 does not mean that
        one example is enough.

    Raises
    ------
    ValueError
        Where the archetypes themselves cannot be stored, or for arguments outside their ranges.

    Notes
    -----
    Derived, and taught, in chapter 4.5, "How many examples?".
    """
    load, temperature = _load(load), _temperature(temperature)
    quality = _quality(quality)

    def excess(log_examples: float) -> float:
        model = _model(quality, math.exp(log_examples), order, supervision, "gaussian")
        return _edge(model, temperature)[1] / load - 1

    capacity = _edge(_model(1.0, 1, order, supervision, "gaussian"), temperature)[1]
    if load >= capacity:
        raise ValueError(
            f"load is {load}; allowed at temperature {temperature} are loads below {capacity:.6g}, "
            "up to which the archetypes themselves can be stored"
        )
    high = 2 * order * math.log(1 / quality)  # M r^{2P} = 1
    while excess(high) <= 0:
        high += 2.0
        if high > 600:
            raise RuntimeError(f"no threshold was found below exp({high}) examples")
    low = high
    while low > 0 and excess(low) > 0:
        high, low = low, max(low - 0.25, 0.0)
    if excess(low) > 0:
        return 1.0
    return math.exp(brentq(excess, low, high, xtol=1e-12, rtol=1e-12))


class Trials(NamedTuple):
    """What :func:`learning_trials` measured, one entry for each network.

    Attributes
    ----------
    overlap : numpy.ndarray
        m, with the archetype.
    example_overlap : numpy.ndarray
        ñ, with its average example over r.
    converged : numpy.ndarray
        Whether the network came to rest.
    """

    overlap: np.ndarray
    example_overlap: np.ndarray
    converged: np.ndarray


def draw_averages(
    archetypes: np.ndarray, examples: int, quality: float, *, rng: np.random.Generator
) -> np.ndarray:
    r"""Average examples, :math:`\bar\eta^\mu=\frac1M\sum_a\eta^{\mu a}`, without drawing each.

    Parameters
    ----------
    archetypes : numpy.ndarray
        Entries ±1, shape (..., K, N).
    examples : int
        M.
    quality : float
        r.
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray
        float64, of the shape of ``archetypes``; their exact (binomial) law.

    Raises
    ------
    ValueError
        For entries other than ±1, or arguments outside their ranges.

    Notes
    -----
    Taught in chapter 4.5, "What an example is worth".
    """
    by_spin = _signs(archetypes).swapaxes(-1, -2)
    count, quality = validate.whole("examples", examples), _quality(quality)
    rng = validate.generator("rng", rng, np.random.Generator)
    right = rng.binomial(count, (1 + quality) / 2, size=by_spin.shape)
    return (by_spin * ((2 * right - count) / count)).swapaxes(-1, -2)


def draw_examples(
    archetypes: np.ndarray, examples: int, quality: float, *, rng: np.random.Generator
) -> np.ndarray:
    r"""Examples :math:`\eta^{\mu a}` of every archetype.

    Parameters
    ----------
    archetypes : numpy.ndarray
        Entries ±1, shape (..., K, N).
    examples : int
        M.
    quality : float
        r.
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray
        int8, shape (..., K M, N): the M examples of an archetype follow one another. In memory the
        examples of one spin lie side by side.

    Raises
    ------
    ValueError
        For entries other than ±1, or arguments outside their ranges.

    Notes
    -----
    Taught in chapter 4.5, "What an example is worth".
    """
    by_spin = _signs(archetypes).swapaxes(-1, -2)
    count, quality = validate.whole("examples", examples), _quality(quality)
    rng = validate.generator("rng", rng, np.random.Generator)
    wrong = rng.random((*by_spin.shape, count), dtype=np.float32) < (1 - quality) / 2
    drawn = by_spin[..., None] * (1 - 2 * wrong.view(np.int8))
    return drawn.reshape(*by_spin.shape[:-1], -1).swapaxes(-1, -2)


def _signs(archetypes) -> np.ndarray:
    array = np.asarray(archetypes)
    if array.ndim < 2 or array.dtype.kind not in "iuf" or not (np.abs(array) == 1).all():
        raise ValueError(
            f"archetypes has shape {array.shape} and type {array.dtype}; allowed are entries +1 "
            "and -1, of shape (..., K, N)"
        )
    return array.astype(np.int8, copy=False)


def learning_trials(
    *,
    spins: int,
    patterns: int,
    quality: float,
    examples: int,
    samples: int,
    rng: np.random.Generator,
    order: int = 2,
    supervision: str = "supervised",
    temperature: float = 0.0,
    sweeps: int = 60,
) -> Trials:
    """Draw networks with their data, start each in its first archetype, and let it evolve.

    Parameters
    ----------
    spins, patterns : int
        N and K.
    quality : float
        r.
    examples : int
        M.
    samples : int
        Independent networks.
    rng : numpy.random.Generator
    order : int
        P, even; couplings of ordered tuples.
    supervision : {"supervised", "unsupervised"}
    temperature : float
        T for P = 2; :math:`1/\\beta'=(P-1)!\\,T` for P > 2; the unit of :func:`learning_rs`.
    sweeps : int
        Sweeps at most; at T = 0 a network that rests stops earlier.

    Returns
    -------
    Trials

    Raises
    ------
    ValueError
        For arguments outside their ranges.

    Notes
    -----
    Taught in chapter 4.5, "What an example is worth".
    """
    samples, quality, order = validate.whole("samples", samples), _quality(quality), _order(order)
    validate.choice("supervision", supervision, SUPERVISIONS)
    temperature = _temperature(temperature)
    rho = dataset_entropy(quality, validate.whole("examples", examples))
    scale = quality * (math.sqrt(1 + rho) if order == 2 else 1.0)
    rows = []
    for _ in range(samples):
        archetypes = random_patterns(patterns, spins, rng=rng)
        first = archetypes[:1]
        if supervision == "supervised":
            stored = draw_averages(archetypes, examples, quality, rng=rng)
            average = stored[:1]
            stored, unit = stored / scale, 1.0
        else:
            stored = draw_examples(archetypes, examples, quality, rng=rng)
            average = stored[:examples].mean(axis=0, dtype=np.float64)[None]
            unit = examples * scale**order
        found: Retrieval = retrieve(
            stored, first, sweeps=sweeps, temperature=temperature * unit, order=order, rng=rng
        )
        rows.append((
            overlaps(first, found.states)[0, 0],
            overlaps(average, found.states)[0, 0] / quality,
            found.converged[0],
        ))  # fmt: skip
    overlap, example_overlap, converged = (np.array(column) for column in zip(*rows, strict=True))
    return Trials(overlap, example_overlap, converged)


def trial_grid(
    rows: Sequence[Sequence[dict]], *, samples: int, seed: int, sweeps: int = 60
) -> dict[str, np.ndarray]:
    """Overlaps with the archetype on a grid of settings.

    Parameters
    ----------
    rows : sequence of sequences of dict
        Rows of equal length; each entry holds ``spins``, ``patterns``, ``quality``, ``examples``
        and what else :func:`learning_trials` needs.
    samples : int
        Independent networks for every entry.
    seed : int
        Row k uses the generator of ``seed + k``.
    sweeps : int
        Of :func:`learning_trials`.

    Returns
    -------
    dict
        ``overlap`` and ``example_overlap``, of shape (samples, rows, entries).

    Raises
    ------
    ValueError
        For rows that differ in length, and what :func:`learning_trials` refuses.

    Notes
    -----
    Taught in chapter 4.5, "How many examples?".
    """
    if len({len(row) for row in rows}) != 1:
        raise ValueError(f"rows have lengths {[len(row) for row in rows]}; allowed is one length")
    results = []
    for k, row in enumerate(rows):
        rng = np.random.default_rng(validate.whole("seed", seed, low=0) + k)
        trials = [
            learning_trials(samples=samples, rng=rng, sweeps=sweeps, **setting) for setting in row
        ]
        results.append([(trial.overlap, trial.example_overlap) for trial in trials])
    overlap, example_overlap = np.moveaxis(np.array(results), (2, 3), (0, 1))
    return {"overlap": overlap, "example_overlap": example_overlap}


def halfway(
    x: np.ndarray, overlap: np.ndarray, *, level: float = 0.8, reach: float = 0.15
) -> np.ndarray:
    """Where the mean overlap crosses a level.

    A straight line in the logarithm of x is fitted through the two points around the crossing that
    is next to the high overlaps, and all others whose mean lies within ``reach`` of the level.

    Parameters
    ----------
    x : array_like, shape (cases, points)
        Positive and increasing along the last axis.
    overlap : array_like, shape (samples, cases, points)
    level, reach : float

    Returns
    -------
    numpy.ndarray
        Shape (cases,).

    Raises
    ------
    ValueError
        If the mean overlaps, or the line, do not cross the level within the grid.

    Notes
    -----
    Taught in chapter 4.5, "How many examples?".
    """
    x = validate.array("x", x, dimensions=2)
    mean = validate.array("overlap", overlap, dimensions=3).mean(axis=0)
    level = validate.real("level", level)
    reach = validate.real("reach", reach, low=0, strict=True)
    found = []
    for row, values in zip(np.log(x), mean, strict=True):
        high = values >= level
        changes = np.flatnonzero(high[1:] != high[:-1])
        if not changes.size:
            raise ValueError(f"overlap has means {values}; they do not cross {level} on the grid")
        first = changes[-1] if high[-1] else changes[0]
        near = np.abs(values - level) <= reach
        near[first : first + 2] = True
        slope, intercept = np.polyfit(row[near], values[near], 1)
        crossing = (level - intercept) / slope if slope else math.inf
        if not row[0] <= crossing <= row[-1]:
            raise ValueError(f"overlap has means {values}; their trend does not cross {level}")
        found.append(math.exp(crossing))
    return np.array(found)
