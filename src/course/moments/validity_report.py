r"""When a closed hierarchy can be trusted: a report over the volume.

The master equation of an irreducible network has one stationary law, which every start reaches,
and its moments are those of a law on counts. A closed system need not have any of these
properties. :func:`validity` looks for what goes wrong, without being told where.

Taught in chapter 5.3, "When closure is valid".
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from course import figures, validate
from course.estimates import estimate
from course.moments.closed import ClosedSystem, MomentPath, SteadyState, SteadyStates
from course.moments.closures import CLOSURES, POLYNOMIAL
from course.moments.hierarchy import moment_equations
from course.moments.kinetics import ReactionNetwork
from course.moments.projection import TruncationError

__all__ = [
    "CHECKS", "PHYSICAL", "Alarm", "Ending", "Exact", "ValidityReport", "VolumeReport", "validity",
    "validity_edge",
]  # fmt: skip

CHECKS = ("finite", "positive", "unique", "steady", "order", "distance")
"""What is examined, in the order of the table's columns."""

PHYSICAL = ("finite", "positive", "unique", "steady")
"""The checks that the closed equations are put to by themselves."""

RELAXATIONS, PERIODS = 30.0, 30.0
"""A stretch of time is so many relaxation times of the slowest state, or so many periods."""

STRETCHES, POINTS = 12, 900
"""A solution is followed for so many stretches, each looked at in so many points."""

STILL = 1e-3
"""Relative difference of moments below which they agree."""

NOTHING = 1e-6
"""Moments of counts below this are taken for zero."""

TRAJECTORIES, GROUPS, MAX_EVENTS = 1000, 20, 200_000
"""Where the projection is too large, so many are simulated, none with more reactions than that."""

SIGMAS = 4.0
"""A simulated difference must be clear by so many standard errors."""

SUSTAINED = 0.99
"""An oscillation that shrinks below this from one half of a stretch to the other is damped."""


class Alarm(NamedTuple):
    """Something that the truth does not do.

    Attributes
    ----------
    volume : float
        Where.
    check : str
        One of ``CHECKS``.
    reason : str
        What was found.
    """

    volume: float
    check: str
    reason: str


@dataclass(frozen=True, eq=False)
class Ending:
    """What becomes of the closed equations from the start.

    Attributes
    ----------
    fate : {"settles", "oscillates", "diverges", "wanders"}
        The last one if none of the others could be told in the time that was given.
    mean : numpy.ndarray
        Means at the last time that was reached, shape (species,).
    variance : numpy.ndarray
        Variances there, shape (species,).
    period : float or None
        Of a sustained oscillation.
    divergence : str or None
        When and why the solution ends.
    unphysical : str or None
        The first impossible moments on the way.
    """

    fate: str
    mean: np.ndarray
    variance: np.ndarray
    period: float | None
    divergence: str | None
    unphysical: str | None


class Exact(NamedTuple):
    """Stationary moments by finite state projection, or by simulation where it is too large.

    Attributes
    ----------
    mean : numpy.ndarray
        Shape (species,).
    deviation : numpy.ndarray
        Standard deviations, shape (species,).
    error : float
        By projection, the error of the law, summed over all states. By simulation, the largest
        relative standard error of means and standard deviations.
    source : {"certified projection", "projection", "simulation"}
        ``error`` is a bound, an estimate, a standard error.
    """

    mean: np.ndarray
    deviation: np.ndarray
    error: float
    source: str


def _numbers(values) -> str:
    return ", ".join(f"{value:.4g}" for value in np.atleast_1d(values))


def _percent(value: float) -> str:
    return f"{100 * value:.2g} %" if value < 0.1 else f"{100 * value:.0f} %"


def _relative_deviation(mean, variance, reference_mean, reference_deviation) -> float:
    r"""Largest relative error of means and standard deviations.

    .. math:: \max_s\max\Bigl(\frac{|m_s-m^\star_s|}{m^\star_s},
              \frac{|\sqrt{v_s}-\sigma^\star_s|}{\sigma^\star_s}\Bigr)

    Species without fluctuation, :math:`\sigma^\star_s=0`, count with their mean only, and absent
    ones, :math:`m^\star_s=0`, not at all. A negative variance counts as a deviation of zero.
    """
    errors = [0.0]
    deviation = np.sqrt(np.maximum(variance, 0))
    for found, target in ((mean, reference_mean), (deviation, reference_deviation)):
        known = target > 1e-9 * max(1.0, reference_mean.max())
        errors += (np.abs(found - target)[known] / target[known]).tolist()
    return max(errors)


def _stable(states: SteadyStates) -> tuple[SteadyState, ...]:
    return tuple(state for state in states.physical if state.stable)


@dataclass(frozen=True, eq=False)
class VolumeReport:
    """What was found at one volume.

    Attributes
    ----------
    volume : float
    states : SteadyStates
        All steady states of the closed equations.
    ending : Ending
        The solution from the start.
    higher : Ending or None
        The same at the next order; None if not asked for.
    exact : Exact or None
        None if not asked for, or not available.
    missing : str or None
        Why there is no exact solution although it was asked for.
    alarms : tuple of Alarm
    """

    volume: float
    states: SteadyStates
    ending: Ending
    higher: Ending | None
    exact: Exact | None
    missing: str | None
    alarms: tuple[Alarm, ...]

    @property
    def stable(self) -> tuple[SteadyState, ...]:
        """Steady states that are physical and stable."""
        return _stable(self.states)

    @property
    def error(self) -> float | None:
        """Largest relative error of means and standard deviations; None without an end or truth."""
        if self.exact is None or self.ending.fate != "settles":
            return None
        return _relative_deviation(
            self.ending.mean, self.ending.variance, self.exact.mean, self.exact.deviation
        )


@dataclass(frozen=True, eq=False)
class ValidityReport:
    """What a closure does over a range of volumes; prints as a table, and plots.

    Attributes
    ----------
    network : ReactionNetwork
    closure : str
    order : int
    checks : tuple of str
        Those that were made.
    tolerance : float
        Relative deviation above which ``order`` and ``distance`` raise an alarm.
    rows : tuple of VolumeReport
        One a volume.
    """

    network: ReactionNetwork
    closure: str
    order: int
    checks: tuple[str, ...]
    tolerance: float
    rows: tuple[VolumeReport, ...]

    @property
    def volumes(self) -> np.ndarray:
        """Shape (volumes,)."""
        return np.array([row.volume for row in self.rows])

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """All of them, by volume."""
        return tuple(alarm for row in self.rows for alarm in row.alarms)

    def raised(self, check: str) -> np.ndarray:
        """Volumes at which a check raises an alarm.

        Parameters
        ----------
        check : str
            One of those that were made.

        Returns
        -------
        numpy.ndarray
        """
        validate.choice("check", check, self.checks)
        return np.unique([alarm.volume for alarm in self.alarms if alarm.check == check])

    def windows(self, checks: Sequence[str] = PHYSICAL) -> list[tuple[float, float]]:
        """Runs of neighbouring volumes at which none of the checks raises an alarm.

        Parameters
        ----------
        checks : sequence of str
            Among those that were made.

        Returns
        -------
        list of (float, float)
            First and last volume of each run.
        """
        for check in checks:
            validate.choice("checks", check, self.checks)
        runs, begin, last = [], None, None
        for row in self.rows:
            quiet = not any(alarm.check in checks for alarm in row.alarms)
            if quiet and begin is None:
                begin = row.volume
            if not quiet and begin is not None:
                runs.append((begin, last))
                begin = None
            last = row.volume
        return runs if begin is None else [*runs, (begin, last)]

    def _cells(self, row: VolumeReport) -> list[str]:
        """One line of the table: the volume, the means, the error, then the checks."""
        raised = {alarm.check for alarm in row.alarms}
        settled, known = row.ending.fate == "settles", row.error is not None
        unknown = {"order": not settled, "distance": not known}
        return [
            f"{row.volume:.4g}",
            _numbers(row.ending.mean) if settled else row.ending.fate,
            "–" if row.exact is None else _numbers(row.exact.mean),
            _percent(row.error) if known else "–",
            *(
                "ALARM" if check in raised else "–" if unknown.get(check) else "ok"
                for check in self.checks
            ),
        ]

    @property
    def _table(self) -> list[list[str]]:
        head = ["volume", "mean", "exact mean", "error", *self.checks]
        return [head, *(self._cells(row) for row in self.rows)]

    @property
    def _notes(self) -> list[str]:
        found = [f"volume {a.volume:.4g}, {a.check}: {a.reason}" for a in self.alarms]
        missing = [
            f"volume {row.volume:.4g}, no exact solution: {row.missing}"
            for row in self.rows
            if row.missing
        ]
        return [*(found or ["no alarm"]), *missing]

    def __repr__(self) -> str:
        species = ", ".join(self.network.species)
        counts = [f"{check} {len(self.raised(check))}" for check in self.checks]
        alarms = ", ".join(counts) if self.alarms else "none"
        return (
            f"{self.closure} closure of order {self.order} for {species}, "
            f"{len(self.rows)} volumes, volumes with alarms: {alarms}"
        )

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(*self._table, strict=True)]
        lines = [
            "  ".join(entry.rjust(width) for entry, width in zip(line, widths, strict=True))
            for line in self._table
        ]
        return "\n".join([repr(self), *lines, *self._notes])

    def _repr_html_(self) -> str:
        def line(entries, tag):
            cells = "".join(f"<{tag}>{html.escape(entry)}</{tag}>" for entry in entries)
            return f"<tr>{cells}</tr>"

        head, *body = self._table
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self._notes)
        return (
            f"<table><caption>{html.escape(repr(self))}</caption><thead>{line(head, 'th')}</thead>"
            f"<tbody>{''.join(line(entries, 'td') for entries in body)}</tbody></table>"
            f"<details><summary>Reasons</summary><ul>{notes}</ul></details>"
        )

    def plot(self, species: str | None = None):
        """The means over the volume, and the alarms below.

        Parameters
        ----------
        species : str, optional
            Whose mean; the last species by default.

        Returns
        -------
        matplotlib.figure.Figure
        """
        names = self.network.species
        name = names[-1] if species is None else validate.choice("species", species, names)
        place = names.index(name)
        fig, axs = figures.panels(
            1, 2, size=(5.6, 4.4), sharex=True, height_ratios=(1.6, 0.2 + 0.16 * len(self.checks))
        )
        self._plot_means(axs[0], place)
        axs[0].set(ylabel=rf"$\langle {name}\rangle/\Omega$, mean per volume", xscale="log")
        axs[0].xaxis.set_major_formatter("{x:g}")
        for number, check in enumerate(self.checks):
            raised = self.raised(check)
            quiet = np.setdiff1d(self.volumes, raised)
            level = -number
            axs[1].plot(quiet, np.full(len(quiet), level), ".", color="#BDBDBD")
            axs[1].plot(raised, np.full(len(raised), level), "X", color=figures.COLORS[1], ms=7)
        axs[1].set_yticks([-number for number in range(len(self.checks))], self.checks)
        axs[1].set(xlabel=r"volume $\Omega$", ylim=(0.6 - len(self.checks), 0.6))
        axs[1].set_title("alarms: crosses", fontsize=9)
        return fig

    def _plot_means(self, ax, place: int) -> None:
        known = [row for row in self.rows if row.exact is not None]
        if known:
            figures.theory(
                ax, [row.volume for row in known],
                [row.exact.mean[place] / row.volume for row in known],
                label="exact", color="black",
            )  # fmt: skip
        for words, fill in (("stable", figures.COLORS[0]), ("unstable", "none")):
            points = [
                (row.volume, state.mean[place] / row.volume)
                for row in self.rows
                for state in row.states.physical
                if state.stable == (words == "stable")
            ]
            if points:
                ax.plot(
                    *zip(*points, strict=True), "o", color=figures.COLORS[0], mfc=fill,
                    label=f"{self.closure}: {words} state",
                )  # fmt: skip


def _stretch(states: SteadyStates, network: ReactionNetwork) -> float:
    """Many relaxation times of the slowest state that matters."""
    for chosen in (
        [s for s in states.physical if s.stable],
        list(states.physical),
        [s for s in states if s.stable],
        list(states),
    ):
        times = []
        for state in chosen:
            slowest = state.eigenvalues[np.argmin(np.abs(state.eigenvalues.real))]
            if slowest.real == 0:
                continue
            time = RELAXATIONS / abs(slowest.real)
            if slowest.imag != 0:
                time = min(time, PERIODS * 2 * math.pi / abs(slowest.imag))
            times.append(time)
        if times:
            return max(times)
    return RELAXATIONS / network.rates[network.rates > 0].min()


def _crossings(times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Times of the upward crossings of the middle level."""
    level = 0.5 * (values.max() + values.min())
    return times[1:][(values[:-1] < level) & (values[1:] >= level)]


def _fate(path: MomentPath, states: SteadyStates) -> tuple[str | None, float | None]:
    """What one stretch of a solution shows, and the period of an oscillation."""
    half = len(path.times) // 2
    spans = [np.ptp(part, axis=0) for part in (path.moments[:half], path.moments[half:])]
    sizes = np.maximum(np.abs(path.moments[half:]).max(axis=0), NOTHING)
    still = bool((spans[1] <= STILL * sizes).all())
    near = [
        state
        for state in states
        if (np.abs(path.moments[-1] - state.moments) <= STILL * sizes).all()
    ]
    if any(state.stable for state in near) or (still and (near or not states.complete)):
        return "settles", None
    liveliest = int(np.argmax(spans[1] / sizes))
    upward = [
        _crossings(path.times[part], path.moments[part, liveliest])
        for part in (slice(half), slice(half, None))
    ]
    if min(map(len, upward)) < 3:
        return None, None
    period = float(np.diff(upward[1]).mean())
    captive = states.complete and not any(state.stable for state in states)
    sustained = spans[1][liveliest] > SUSTAINED * spans[0][liveliest]
    return ("oscillates", period) if captive or sustained else (None, None)


def _ending(system: ClosedSystem, start, states: SteadyStates, stretch: float) -> Ending:
    """Follow the closed equations until it is clear what becomes of them."""
    times = np.linspace(0.0, stretch, POINTS + 1)
    path = system.solve(times, start, rtol=1e-8, allow_divergence=True)
    wrong = None
    for number in range(STRETCHES):
        begin = number * stretch
        if wrong is None and path.unphysical is not None:
            reason = re.sub(r" is -\S+", " is negative", path.unphysical.reasons[0])
            wrong = f"{reason} from time {begin + path.unphysical.time:.2g} on"
        mean, variance = path.mean[-1], path.variance[-1]
        if path.divergence is not None:
            why = re.sub(r" \(.*", "", path.divergence.reason)
            why = f"the solution ends at time {begin + path.divergence.time:.3g}: {why}"
            return Ending("diverges", mean, variance, None, why, wrong)
        fate, period = _fate(path, states)
        if fate is not None:
            return Ending(fate, mean, variance, period, None, wrong)
        path = system.solve(times, moments=path.moments[-1], rtol=1e-8, allow_divergence=True)
    return Ending("wanders", mean, variance, None, None, wrong)


def _exact(network: ReactionNetwork, start, max_states: int) -> tuple[Exact | None, str | None]:
    """Stationary moments, certified where that is possible; or why there are none."""
    problem = None
    for certify in (True, False):
        try:
            law = network.finite_state_projection(
                start=start, tolerance=1e-5, certify=certify, max_states=max_states
            )
        except (ValueError, TruncationError) as found:
            problem = str(found)
            continue
        deviation = np.sqrt(np.maximum(np.diagonal(law.covariance), 0))
        source = "certified projection" if certify else "projection"
        return Exact(law.mean, deviation, float(law.error_bound), source), None
    return None, problem


def _simulated(network, start, stretch: float, rng) -> tuple[Exact | None, str | None]:
    """Moments after a stretch of time, if they are those of half that time; or why not."""
    try:
        runs = network.simulate(
            [0.5 * stretch, stretch], TRAJECTORIES, start=start, rng=rng, max_events=MAX_EVENTS
        ).astype(float)
    except RuntimeError as problem:
        return None, str(problem)
    change = estimate(runs[:, 1] - runs[:, 0])
    if (np.abs(change.value) > SIGMAS * change.stderr).any():
        return None, f"the simulated means still change after time {0.5 * stretch:.3g}"
    groups = runs[:, 1].reshape(GROUPS, -1, runs.shape[2])
    means, deviations = estimate(groups.mean(axis=1)), estimate(groups.std(axis=1, ddof=1))
    pairs = zip((*means.stderr, *deviations.stderr), (*means.value, *deviations.value), strict=True)
    error = max((stderr / value for stderr, value in pairs if value > 0), default=0.0)
    return Exact(means.value, runs[:, 1].std(axis=0, ddof=1), float(error), "simulation"), None


def _default_start(network: ReactionNetwork, closure: str) -> list[int] | None:
    """No molecules, or one of each species where the closure divides by moments."""
    return None if closure in POLYNOMIAL else [1] * len(network.species)


def _positive(row: VolumeReport) -> list[str]:
    reasons = []
    for state in row.states:
        if state.stable and not state.physical:
            reasons.append(f"a stable state where {state.unphysical[0]}")
    if row.ending.unphysical is not None:
        reasons.append(f"from the start, {row.ending.unphysical}")
    return reasons


def _unique(row: VolumeReport) -> list[str]:
    count = len(row.stable)
    if count == 1:
        return []
    means = "; ".join(_numbers(state.mean) for state in row.stable)
    listed = f" (means {means})" if count else ""
    known = "" if row.states.complete else " known"
    return [f"{count or 'no'} stable physical states{known}{listed}, the truth has one"]


def _steady(row: VolumeReport) -> list[str]:
    if row.ending.fate == "wanders":
        return ["moments have not come to rest in the time that they were followed"]
    if row.ending.fate != "oscillates":
        return []
    return [
        f"moments oscillate for ever with period {row.ending.period:.3g}, those of the truth rest"
    ]


def _order(row: VolumeReport, order: int, tolerance: float) -> list[str]:
    if row.higher is None:
        return []
    if row.higher.fate != "settles":
        return [f"order {order + 1} {row.higher.fate}"]
    deviation = _relative_deviation(
        row.ending.mean, row.ending.variance,
        np.abs(row.higher.mean), np.sqrt(np.maximum(row.higher.variance, 0)),
    )  # fmt: skip
    if deviation <= tolerance:
        return []
    return [f"orders {order} and {order + 1} differ by {_percent(deviation)}"]


def _distance(row: VolumeReport, tolerance: float) -> list[str]:
    if row.error is None:
        return []
    if row.exact.source != "simulation":
        found = f"{_percent(row.error)} from the exact solution"
        return [found] if row.error > tolerance else []
    doubt = SIGMAS * row.exact.error
    found = f"{_percent(row.error)} ± {_percent(row.exact.error)} from simulation"
    return [found] if row.error - doubt > tolerance else []


def _row(network, closure, order, start, checks, tolerance, max_states, rng) -> VolumeReport:
    system = moment_equations(network, order).close(closure)
    start = _default_start(network, closure) if start is None else start
    states = system.steady_states(start)
    stretch = _stretch(states, network)
    ending = _ending(system, start, states, stretch)
    higher = exact = missing = None
    if "order" in checks and ending.fate == "settles":
        next_order = moment_equations(network, order + 1).close(closure)
        higher = _ending(next_order, start, SteadyStates((), False), stretch)
    if "distance" in checks:
        exact, missing = _exact(network, start, max_states)
        if exact is None and rng is not None and ending.fate == "settles":
            exact, missing = _simulated(network, start, stretch, rng)
    row = VolumeReport(network.volume, states, ending, higher, exact, missing, ())
    found = {
        "finite": [] if ending.divergence is None else [ending.divergence],
        "positive": _positive(row),
        "unique": _unique(row),
        "steady": _steady(row),
        "order": _order(row, order, tolerance),
        "distance": _distance(row, tolerance),
    }
    alarms = tuple(
        Alarm(network.volume, check, reason) for check in checks for reason in found[check]
    )
    return VolumeReport(network.volume, states, ending, higher, exact, missing, alarms)


def validity(
    network: ReactionNetwork,
    closure: str,
    volumes,
    *,
    order: int = 2,
    start=None,
    checks: Sequence[str] = CHECKS,
    tolerance: float = 0.1,
    max_states: int = 20_000,
    rng: np.random.Generator | None = None,
) -> ValidityReport:
    r"""Examine a closure of a network over a range of volumes.

    The truth has one stationary law, which it reaches from every start. At each volume, an alarm is
    raised where the closed equations do otherwise:

    - ``finite``: the solution from the start diverges;
    - ``positive``: a stable steady state, or the solution from the start, has moments that no law
      on counts has (negative variances among them);
    - ``unique``: there are no stable physical steady states, or several;
    - ``steady``: the solution from the start does not come to rest;
    - ``order``: means and standard deviations change by more than ``tolerance`` at the next order;
    - ``distance``: they are off by more than ``tolerance`` from finite state projection, or by as
      much and four standard errors from simulation.

    Parameters
    ----------
    network : ReactionNetwork
        One whose master equation has a single stationary law from this start; its own volume does
        not matter.
    closure : str
        One of those of :meth:`course.moments.hierarchy.MomentEquations.close`.
    volumes : array_like, shape (volumes,)
        Positive, increasing.
    order : int
        Order of the closure, at least 2.
    start : mapping of str to int, or array_like of int, shape (species,), optional
        Counts at time 0 at every volume. By default no molecules, or one of each species for a
        closure that divides by moments.
    checks : sequence of str
        Which of ``CHECKS`` to make; without ``distance`` no exact solution is needed.
    tolerance : float
        Largest relative deviation of means and standard deviations that is no alarm.
    max_states : int
        Size of the largest finite state projection.
    rng : numpy.random.Generator, optional
        For 1000 trajectories where the projection is larger and the closed equations settle. They
        last 30 relaxation times of the closed equations. If their means still change in the second
        half, or without ``rng``, the distance stays unknown. Slower changes go unnoticed.

    Returns
    -------
    ValidityReport

    Raises
    ------
    ValueError
        For something else than a network or a closure, volumes that are not positive and
        increasing, a network with conservation laws without a start.

    Notes
    -----
    Source: D. Schnoerr, G. Sanguinetti and R. Grima, J. Chem. Phys. 141, 084103 (2014), whose
    criterion is that the solution settle in a physical state that does not depend on the start.
    No alarm is no proof: chapter 5.3, "Physically valid is not accurate".
    """
    volumes = _checked(network, closure, volumes)
    order = validate.whole("order", order, low=2)
    checks = tuple(validate.choice("checks", check, CHECKS) for check in checks)
    checks = tuple(check for check in CHECKS if check in checks)
    if not checks:
        raise ValueError(f"checks is empty; allowed are one or more of {', '.join(CHECKS)}")
    tolerance = validate.real("tolerance", tolerance, low=0, strict=True)
    max_states = validate.whole("max_states", max_states)
    if rng is not None:
        rng = validate.generator("rng", rng, np.random.Generator)
    if start is not None:
        start = network.counts(start)
    rows = tuple(
        _row(network.at_volume(float(v)), closure, order, start, checks, tolerance, max_states, rng)
        for v in volumes
    )
    return ValidityReport(network, closure, order, checks, tolerance, rows)


def _checked(network, closure, volumes) -> np.ndarray:
    if not isinstance(network, ReactionNetwork):
        raise ValueError(f"network is {network!r}; allowed are ReactionNetwork objects")
    validate.choice("closure", closure, tuple(CLOSURES))
    volumes = validate.array("volumes", volumes, dimensions=1, empty=False)
    if (volumes <= 0).any() or (np.diff(volumes) <= 0).any():
        raise ValueError(f"volumes is {volumes}; allowed are positive increasing numbers")
    return volumes


def validity_edge(
    network: ReactionNetwork,
    closure: str,
    low: float,
    high: float,
    *,
    check: str = "unique",
    order: int = 2,
    start=None,
    accuracy: float = 1e-3,
) -> float:
    """The volume at which a check begins or ceases to raise an alarm, by bisection.

    Parameters
    ----------
    network : ReactionNetwork
    closure : str
    low, high : float
        Volumes with different verdicts.
    check : {"finite", "positive", "unique", "steady"}
    order : int
        Order of the closure.
    start : mapping or array_like, optional
        As for :func:`validity`.
    accuracy : float
        Relative width of the last interval, whose middle is returned.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If both ends have the same verdict, and for arguments that :func:`validity` refuses.

    Notes
    -----
    Taught in chapter 5.3, "A finite window".
    """
    check = validate.choice("check", check, PHYSICAL)
    low, high = _checked(network, closure, [low, high]).tolist()
    accuracy = validate.real("accuracy", accuracy, low=1e-9)

    def alarmed(volume: float) -> bool:
        if check == "unique":  # needs no solution in time
            system = moment_equations(network.at_volume(volume), order).close(closure)
            return len(_stable(system.steady_states(start))) != 1
        report = validity(network, closure, [volume], order=order, start=start, checks=(check,))
        return bool(report.alarms)

    at_low, at_high = alarmed(low), alarmed(high)
    if at_low == at_high:
        words = "an alarm" if at_low else "no alarm"
        raise ValueError(
            f"low is {low:g} and high {high:g}, and check {check!r} raises {words} at both; "
            "allowed are volumes with different verdicts"
        )
    while high - low > accuracy * low:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if alarmed(middle) == at_low else (low, middle)
    return 0.5 * (low + high)
