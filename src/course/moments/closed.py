r"""Closed moment equations: integration that says when and why it fails, and all steady states."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import sympy
from scipy import integrate, linalg

from course import validate
from course.moments import laurent
from course.moments.closures import (
    IN_CUMULANTS,
    Powers,
    binomial,
    closing_moments,
    cumulant_form,
    multi_indices,
    smaller,
)
from course.moments.laurent import Compiled
from course.moments.roots import continuation

if TYPE_CHECKING:
    from course.moments.hierarchy import MomentEquations

__all__ = [
    "ClosedSystem", "ClosureDiverged", "Divergence", "MomentPath", "SteadyState", "SteadyStates",
    "Unphysical", "cumulants_from_moments", "deterministic_moments", "unphysical",
]  # fmt: skip

RUNAWAY = 1e6
"""A closure has diverged when moments suggest counts this many times the start and the volume."""

ACCURACY = 1e-9
"""Relative error of a raw moment that ``unphysical`` puts down to integration."""

MAX_STEPS = 20_000
MAX_PATHS = 300
NEWTON_STARTS = 300
SAME = 1e-6


class Unphysical(NamedTuple):
    """The first moments on a path that no law on counts of zero and more can have.

    Attributes
    ----------
    time : float
        When.
    reasons : tuple of str
        What is wrong with them.
    """

    time: float
    reasons: tuple[str, ...]


class Divergence(NamedTuple):
    """When and why the integration of a closure stopped.

    Attributes
    ----------
    time : float
        Last time that the integration reached.
    reason : str
        What happened.
    """

    time: float
    reason: str


class ClosureDiverged(RuntimeError):
    """The closed equations have no finite solution up to the last time asked for.

    Attributes
    ----------
    divergence : Divergence
        When and why.
    """

    def __init__(self, message: str, divergence: Divergence):
        super().__init__(message)
        self.divergence = divergence


def _central(moments: np.ndarray, indices: tuple[Powers, ...]) -> dict[Powers, float]:
    """Central moments of orders 0 to M from raw ones."""
    species = len(indices[0])
    raw = dict(zip(indices, moments.tolist(), strict=True)) | {(0,) * species: 1.0}
    means = moments[:species].tolist()
    central = {}
    for index in raw:
        total = 0.0
        for lower in smaller(index):
            shift = 1.0
            for mean, power, low in zip(means, index, lower, strict=True):
                shift *= (-mean) ** (power - low)
            total += binomial(index, lower) * shift * raw[lower]
        central[index] = total
    return central


def _sum(*powers: Powers) -> Powers:
    return tuple(map(sum, zip(*powers, strict=True)))


def unphysical(
    moments: np.ndarray, indices: tuple[Powers, ...], species: tuple[str, ...]
) -> tuple[str, ...]:
    r"""Why no law on counts :math:`n\ge0` has these moments; empty if none of the tests fails.

    Tested are the means, the variances, and two matrices that must have no negative eigenvalue:
    :math:`\langle x^{i+j}\rangle` and :math:`\langle n_s\,x^{i+j}\rangle` for every species
    :math:`s`, where :math:`x` are the deviations from the mean and :math:`i,j` run over all powers
    for which the moments are known.

    Parameters
    ----------
    moments : array_like, shape (moments,)
        Raw moments.
    indices : tuple of tuple of int
        Their powers: all those up to some order, as in ``MomentEquations.indices``.
    species : tuple of str
        Names for the reasons.

    Returns
    -------
    tuple of str
    """
    moments = validate.array("moments", moments, dimensions=1)
    count, order = len(species), max(map(sum, indices))
    unit = [tuple(int(i == place) for i in range(count)) for place in range(count)]
    means = moments[:count]
    scale = max(1.0, float(np.abs(means).max()))
    reasons = [
        f"the mean of {name} is {mean:.4g}"
        for name, mean in zip(species, means, strict=True)
        if mean < -1e-9 * scale
    ]
    if order < 2:
        return tuple(reasons)
    central = _central(moments, indices)
    variances = np.array([central[_sum(e, e)] for e in unit])
    rounding = 1e-9 * scale**2
    reasons += [
        f"the variance of {name} is {variance:.4g}"
        for name, variance in zip(species, variances, strict=True)
        if variance < -rounding
    ]
    if reasons:
        return tuple(reasons)
    widths = np.sqrt(np.maximum(variances, rounding))
    sizes = np.maximum(np.abs(means), 1.0) / widths
    doubt = 1e-6 + ACCURACY * sizes.max() ** order  # raw moments cancel in the central ones

    def smallest_eigenvalue(entries, half: int) -> float:
        rows = [(0,) * count, *(multi_indices(count, half) if half else ())]
        matrix = np.array([[entries(_sum(i, j)) for j in rows] for i in rows])
        sizes = np.array([np.prod(widths ** np.array(i)) for i in rows])
        return float(np.linalg.eigvalsh(matrix / np.outer(sizes, sizes)).min())

    if smallest_eigenvalue(lambda i: central[i], order // 2) < -doubt:
        known = "means and covariances" if order < 4 else f"moments up to order {order}"
        reasons.append(f"no law has these {known}")
    for name, e, mean in zip(species, unit, means, strict=True):

        def weighted(i, e=e, mean=mean):
            return mean * central[i] + central[_sum(i, e)]

        if smallest_eigenvalue(weighted, (order - 1) // 2) < -doubt * scale:
            reasons.append(f"no law on counts of {name} >= 0 has these moments")
    return tuple(reasons)


def deterministic_moments(counts: np.ndarray, indices: tuple[Powers, ...]) -> np.ndarray:
    """Raw moments of a state that is known exactly."""
    return np.array([np.prod(np.power(counts, powers)) for powers in indices], dtype=float)


def cumulants_from_moments(moments: np.ndarray, indices: tuple[Powers, ...]) -> np.ndarray:
    """Cumulants of the orders of ``indices``, all those up to some order, from raw moments."""
    raw = dict(zip(indices, moments.tolist(), strict=True))
    cumulants: dict[Powers, float] = {}
    for index in indices:
        first = next(place for place, power in enumerate(index) if power)
        upper = tuple(power - (place == first) for place, power in enumerate(index))
        rest = 0.0
        for lower in smaller(upper):
            if sum(lower):
                other = tuple(i - k for i, k in zip(index, lower, strict=True))
                rest += binomial(upper, lower) * cumulants[other] * raw[lower]
        cumulants[index] = raw[index] - rest
    return np.array([cumulants[index] for index in indices])


class _Moments:
    """What a path and a steady state offer alike: both hold raw moments on the last axis."""

    moments: np.ndarray
    indices: tuple[Powers, ...]
    cumulants: np.ndarray | None

    @property
    def mean(self) -> np.ndarray:
        """Means, shape (..., species)."""
        return self.moments[..., : len(self.indices[0])]

    @property
    def covariance(self) -> np.ndarray:
        """Covariances, shape (..., species, species); a ``ValueError`` at order 1."""
        if max(map(sum, self.indices)) < 2:
            raise ValueError("order is 1; covariances are moments of order 2")
        species, place = len(self.indices[0]), {powers: k for k, powers in enumerate(self.indices)}
        unit = np.eye(species, dtype=int)
        columns = [[place[tuple((unit[a] + unit[b]).tolist())] for b in range(species)]
                   for a in range(species)]  # fmt: skip
        if self.cumulants is not None:
            return self.cumulants[..., columns]
        mean = self.mean
        return self.moments[..., columns] - mean[..., :, None] * mean[..., None, :]

    @property
    def variance(self) -> np.ndarray:
        """Variances, shape (..., species)."""
        return np.diagonal(self.covariance, axis1=-2, axis2=-1)

    def moment(self, powers: Sequence[int]) -> np.ndarray:
        """The raw moment of these powers: ``moment((2, 1))`` is ⟨A²B⟩."""
        if tuple(powers) not in self.indices:
            raise ValueError(f"powers is {powers!r}; allowed are {self.indices}")
        return self.moments[..., self.indices.index(tuple(powers))]


@dataclass(frozen=True, eq=False)
class MomentPath(_Moments):
    """Moments at the times asked for.

    Attributes
    ----------
    times : numpy.ndarray
        Those reached, shape (times,).
    moments : numpy.ndarray
        Raw moments, shape (times, moments).
    indices : tuple of tuple of int
        Their powers.
    unphysical : Unphysical or None
        The first moments on the way that no law can have.
    divergence : Divergence or None
        Why the integration stopped early (only with ``allow_divergence=True``).
    cumulants : numpy.ndarray or None
        Of the same powers, where these were integrated. The covariances are among them.
    """

    times: np.ndarray
    moments: np.ndarray
    indices: tuple[Powers, ...]
    unphysical: Unphysical | None
    divergence: Divergence | None
    cumulants: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class SteadyState(_Moments):
    """One real solution of the closed equations at rest.

    Attributes
    ----------
    moments : numpy.ndarray
        Raw moments, shape (moments,).
    indices : tuple of tuple of int
        Their powers.
    eigenvalues : numpy.ndarray
        Of the Jacobian, conserved directions left out; the largest real part first.
    unphysical : tuple of str
        Why no law has these moments; empty for a physical state.
    cumulants : numpy.ndarray or None
        Of the same powers, where these were solved for. The covariances are among them.
    """

    moments: np.ndarray
    indices: tuple[Powers, ...]
    eigenvalues: np.ndarray
    unphysical: tuple[str, ...]
    cumulants: np.ndarray | None = field(default=None, repr=False)

    @property
    def stable(self) -> bool:
        """Whether all small perturbations decay."""
        return bool(self.eigenvalues.real.max(initial=-np.inf) < 0)

    @property
    def physical(self) -> bool:
        """Whether the moments pass the tests of ``unphysical``."""
        return not self.unphysical


@dataclass(frozen=True, eq=False)
class SteadyStates:
    """Every real steady state that was found, by mean.

    Attributes
    ----------
    states : tuple of SteadyState
    complete : bool
        True if the list is complete: each path of two homotopies was followed to its end, and both
        gave the same states. (States 1e8 times as large as what makes all coefficients of order
        one count as infinite.) False for a search from many starts, which can miss some.
    """

    states: tuple[SteadyState, ...]
    complete: bool

    def __len__(self) -> int:
        return len(self.states)

    def __iter__(self) -> Iterator[SteadyState]:
        return iter(self.states)

    def __getitem__(self, place: int) -> SteadyState:
        return self.states[place]

    @property
    def physical(self) -> tuple[SteadyState, ...]:
        """Those that some law could have."""
        return tuple(state for state in self.states if state.physical)

    def __str__(self) -> str:
        how = "all" if self.complete else "some may be missing"
        lines = [f"{len(self.states)} real steady states ({how})"]
        for state in self.states:
            mean = ", ".join(f"{value:.6g}" for value in state.mean)
            words = "stable" if state.stable else "unstable"
            lines.append(f"mean {mean}: {words}, {'; '.join(state.unphysical) or 'physical'}")
        return "\n".join(lines)


class ClosedSystem:
    r"""Moment equations with a closure, :math:`\dot\mu=b+L\mu+H\,h(\mu)`.

    Made by :meth:`course.moments.hierarchy.MomentEquations.close`; :math:`h` are the moments above
    the order in terms of :math:`\mu`.

    Attributes
    ----------
    equations : MomentEquations
        The exact equations.
    closure : str
        The closure's name.
    """

    def __init__(self, equations: MomentEquations, closure: str):
        self.equations, self.closure = equations, closure
        self.indices = equations.indices
        self._closing = closing_moments(closure, equations.indices, equations.higher)
        self._compiled = Compiled(self._closing, len(self.indices))

    def __repr__(self) -> str:
        species = ", ".join(self.equations.species)
        return f"<{self.closure} closure at order {self.equations.order} for {species}>"

    # --- Equations

    def closing(self) -> dict[sympy.Symbol, sympy.Expr]:
        """The moments above the order, as expressions in those up to it."""
        symbols = [self.equations.symbol(*powers) for powers in self.indices]
        return {
            self.equations.symbol(*powers): sympy.Add(
                *(
                    coefficient * sympy.Mul(*(symbols[v] ** e for v, e in monomial))
                    for monomial, coefficient in polynomial.items()
                )
            )
            for powers, polynomial in zip(self.equations.higher, self._closing, strict=True)
        }

    def symbolic(self, *, numeric: bool = False) -> dict[sympy.Symbol, sympy.Expr]:
        """Right-hand sides by moment, the moments above the order replaced."""
        replacements = self.closing()
        return {
            left: sympy.expand(right.xreplace(replacements))
            for left, right in self.equations.symbolic(numeric=numeric).items()
        }

    def latex(self, *, numeric: bool = False) -> str:
        r"""The exact equations, then what the closure puts for each moment above the order."""
        block = self.equations.latex(numeric=numeric).removesuffix("\n\\end{aligned}")
        lines = [
            rf"{self.equations._latex(left)} &\to {self.equations._latex(right)}"
            for left, right in self.closing().items()
        ]
        return " \\\\\n".join([block, *lines]) + "\n\\end{aligned}"

    def _repr_latex_(self) -> str:
        return f"$$\n{self.latex()}\n$$"

    def derivative(self, moments: np.ndarray) -> np.ndarray:
        """Rate of change of the moments, shape (..., moments)."""
        exact = self.equations
        high = self._compiled.values(np.asarray(moments, dtype=float))
        return exact.constant + moments @ exact.matrix.T + high @ exact.coupling.T

    def jacobian(self, moments: np.ndarray) -> np.ndarray:
        """Derivatives of the rates of change with respect to the moments."""
        high = self._compiled.jacobian(np.asarray(moments, dtype=float))
        return self.equations.matrix + self.equations.coupling @ high

    # --- Integration

    def solve(
        self,
        times,
        start=None,
        *,
        moments=None,
        rtol: float = 1e-10,
        allow_divergence: bool = False,
    ) -> MomentPath:
        """Integrate the closed equations, in cumulants where they are polynomials of these.

        Cumulants keep small variances of large counts, which cancel in raw moments: the other
        closures lose the variance of counts beyond some 1e12.

        Parameters
        ----------
        times : array_like, shape (times,)
            Increasing, at least 0; the start is at time 0.
        start : mapping of str to float, or array_like, shape (species,), optional
            Counts that are known exactly at the start; no molecules by default.
        moments : array_like, shape (moments,), optional
            Raw moments at the start instead, in the order of ``indices``.
        rtol : float
            Relative error of a step.
        allow_divergence : bool
            Return what was reached, with the reason, instead of raising an error.

        Returns
        -------
        MomentPath
            Without warning also where the moments become impossible but stay finite: look at its
            ``unphysical``.

        Raises
        ------
        course.moments.closed.ClosureDiverged
            If the solution runs away or the closure divides by zero; says when and why.
        ValueError
            For times or a start of another form, negative counts, or a start with a zero moment by
            which the closure divides.
        """
        times = validate.array("times", times, dimensions=1, empty=False)
        if times[0] < 0 or (np.diff(times) <= 0).any():
            raise ValueError(f"times is {times}; allowed are increasing numbers >= 0")
        rtol = validate.real("rtol", rtol, low=1e-13)
        first = self._start(start, moments)
        reached, rows, wrong, divergence = self._integrate(times, first, rtol, moments is None)
        if divergence is not None and not allow_divergence:
            raise ClosureDiverged(
                f"closure {self.closure!r} at order {self.equations.order} diverges at time "
                f"{divergence.time:.6g}: {divergence.reason}",
                divergence,
            )
        points = np.array(rows).reshape(len(rows), len(self.indices))
        values = np.array([self._flow.moments(point) for point in rows]).reshape(points.shape)
        cumulants = points if self.closure in IN_CUMULANTS else None
        return MomentPath(times[:reached], values, self.indices, wrong, divergence, cumulants)

    def _counts(self, start) -> np.ndarray:
        species = self.equations.species
        if isinstance(start, Mapping):
            unknown = [name for name in start if name not in species]
            if unknown:
                raise ValueError(f"start names {unknown}; allowed are the species {species}")
            start = [start.get(name, 0) for name in species]
        given = np.zeros(len(species)) if start is None else start
        counts = validate.array("start", given, dimensions=1)
        if len(counts) != len(species):
            raise ValueError(
                f"start has shape {counts.shape}; allowed is ({len(species)},), one count for "
                f"each of {species}"
            )
        if (counts < 0).any():
            raise ValueError(f"start is {counts}; allowed are counts >= 0")
        return counts

    def _start(self, start, moments) -> np.ndarray:
        if moments is None:
            first = deterministic_moments(self._counts(start), self.indices)
        else:
            if start is not None:
                raise ValueError("start and moments are both given; allowed is one of them")
            first = validate.array("moments", moments, dimensions=1)
            if len(first) != len(self.indices):
                raise ValueError(
                    f"moments has shape {first.shape}; allowed is ({len(self.indices)},), one for "
                    f"each of {self.indices}"
                )
        zero = sorted({number for number in self._divisors() if first[number] == 0})
        if zero:
            names = ", ".join(self._name(number) for number in zero)
            given = "moments" if moments is not None else "start"
            raise ValueError(
                f"{given} makes {names} zero, and closure {self.closure!r} divides by it; allowed "
                "are starts with positive counts of every species"
            )
        return first

    def _divisors(self) -> set[int]:
        return {v for p in self._closing for monomial in p for v, power in monomial if power < 0}

    def _name(self, number: int) -> str:
        powers = zip(self.equations.species, self.indices[number], strict=True)
        inside = " ".join(
            f"{name}^{power}" if power > 1 else name for name, power in powers if power
        )
        return f"⟨{inside}⟩"

    def _sizes(self, moments: np.ndarray) -> np.ndarray:
        """The counts that each moment suggests: its root of the moment's order."""
        orders = np.array([sum(powers) for powers in self.indices])
        return np.abs(moments) ** (1 / orders)

    def _integrate(self, times, first, rtol, exactly_known):
        """Times reached, the points there, the first unphysical moments, and why it stopped."""
        species, rows, wrong = self.equations.species, [], None
        reached = 0
        flow, broken = self._flow, []
        point = first.copy()
        if self.closure in IN_CUMULANTS:
            point = cumulants_from_moments(first, self.indices)
            if exactly_known:
                point[len(species) :] = 0.0
        while reached < len(times) and times[reached] == 0:
            rows.append(point.copy())
            reached += 1
        if reached == len(times):
            return reached, rows, None, None
        limit = RUNAWAY * max(1.0, self.equations.network.volume, self._sizes(first).max())

        def rate(_, point):
            values = flow.rate(point)
            if not np.isfinite(values).all():
                broken.append(True)
                return np.zeros_like(values)
            return values

        def slope(_, point):
            values = flow.slope(point)
            return np.where(np.isfinite(values), values, 0.0)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            solver = integrate.LSODA(
                rate, 0.0, point, times[-1], jac=slope, rtol=rtol, atol=1e-2 * rtol
            )
            for _ in range(MAX_STEPS):
                solver.step()
                now, moments = solver.t, flow.moments(solver.y)
                failed = solver.status == "failed" or not np.isfinite(moments).all()
                runaway = bool(self.equations.higher) and self._sizes(moments).max() > limit
                if broken or failed or runaway:
                    known = broken or runaway or not np.isfinite(moments).all()
                    other = "" if known else "no step of the integrator is small enough"
                    return reached, rows, wrong, self._why(now, moments, broken, wrong, other)
                if wrong is None:
                    reasons = unphysical(moments, self.indices, species)
                    wrong = Unphysical(float(now), reasons) if reasons else None
                dense = solver.dense_output()
                while reached < len(times) and times[reached] <= now:
                    rows.append(dense(times[reached]))
                    reached += 1
                if reached == len(times):
                    return reached, rows, wrong, None
        other = f"the integrator has used {MAX_STEPS} steps"
        return reached, rows, wrong, self._why(solver.t, moments, broken, wrong, other)

    def _why(self, now, moments, broken, wrong, other="") -> Divergence:
        if other:
            reason = other
        elif broken and self._divisors():
            smallest = min(self._divisors(), key=lambda number: abs(moments[number]))
            reason = f"the closure divides by {self._name(smallest)}, which reaches zero"
        else:
            sizes = np.where(np.isfinite(moments), self._sizes(moments), np.inf)
            largest = int(np.argmax(sizes))
            reason = f"{self._name(largest)} runs away ({moments[largest]:.3g})"
        if wrong is not None:
            reason += f"; from time {wrong.time:.4g} on {wrong.reasons[0]}"
        return Divergence(float(now), reason)

    @cached_property
    def _flow(self) -> _Flow:
        """Compiled equations in the coordinates of ``_rest``."""
        if self.closure not in IN_CUMULANTS:
            return _Flow(self.derivative, self.jacobian, np.asarray)
        rates = Compiled(self._rest.equations, len(self.indices))
        moments = Compiled(self._rest.moments, len(self.indices))
        return _Flow(rates.values, rates.jacobian, moments.values)

    # --- Steady states

    @cached_property
    def _rest(self) -> _Rest:
        """The equations at rest: in cumulants where they are polynomial, else in moments."""
        exact, count = self.equations, len(self.indices)
        if self.closure in IN_CUMULANTS:
            form = cumulant_form(self.closure, self.indices, exact.terms)
            rows = []
            for reactions in form.rates:
                total: laurent.Polynomial = {}
                for coefficient, term in zip(exact.network.coefficients, reactions, strict=True):
                    total = laurent.add(total, term, float(coefficient))
                rows.append(total)
            return _Rest(rows, form.moments)
        rows = []
        for b, low, high in zip(exact.constant, exact.matrix, exact.coupling, strict=True):
            total = laurent.constant(float(b))
            for number in np.flatnonzero(low):
                total = laurent.add(total, laurent.variable(int(number)), float(low[number]))
            for number in np.flatnonzero(high):
                total = laurent.add(total, self._closing[number], float(high[number]))
            rows.append(total)
        return _Rest(rows, [laurent.variable(number) for number in range(count)])

    def steady_states(self, start=None, *, max_paths: int = MAX_PATHS) -> SteadyStates:
        """All real solutions at rest, physical or not.

        Linear equations are solved first. What remains, polynomials of cumulants, or of moments
        and the inverses of those that divide, is followed from every start of a homotopy, twice, if
        it has at most ``max_paths``. Otherwise, or if a path is lost, Newton's method is tried from
        300 starts and the list may be incomplete.

        Parameters
        ----------
        start : mapping of str to float, or array_like, shape (species,), optional
            Counts at the start, needed only where a conservation law makes the steady state depend
            on them.
        max_paths : int
            Largest number of paths that are followed; 300 take seconds.

        Returns
        -------
        SteadyStates
            Sorted by the mean of the first species.

        Raises
        ------
        ValueError
            Without a start for a network that conserves something, or for a start of another form.
        """
        max_paths = validate.whole("max_paths", max_paths, low=0)
        reduced = _Reduced(self, start)
        points, complete = reduced.solutions(max_paths)
        states = [self._state(point, reduced) for point in points]
        states.sort(key=lambda state: tuple(state.moments))
        return SteadyStates(tuple(states), complete)

    def _state(self, point: np.ndarray, reduced: _Reduced) -> SteadyState:
        eigenvalues = reduced.eigenvalues(point)
        order = np.lexsort((eigenvalues.imag, -eigenvalues.real))
        moments = reduced.moments(point)
        reasons = unphysical(moments, self.indices, self.equations.species)
        cumulants = reduced.coordinates(point) if self.closure in IN_CUMULANTS else None
        return SteadyState(moments, self.indices, eigenvalues[order], reasons, cumulants)


class _Flow(NamedTuple):
    """Rates of change of some coordinates, their Jacobian, and the moments in the same."""

    rate: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]
    moments: Callable[[np.ndarray], np.ndarray]


class _Rest(NamedTuple):
    """Equations at rest in some coordinates, and the moments in the same."""

    equations: list[laurent.Polynomial]
    moments: list[laurent.Polynomial]


def _rows_in_kernel(matrix: np.ndarray) -> np.ndarray:
    """Orthonormal rows v with v @ matrix = 0."""
    if matrix.shape[1] == 0:
        return np.eye(matrix.shape[0])
    return linalg.null_space(matrix.T, rcond=1e-11).T


class _Reduced:
    """The equations at rest in scaled coordinates, with conserved and linear parts solved.

    The coordinates (cumulants or moments) are ``scale * (origin + directions @ z)`` with as many
    unknowns z as there are nonlinear equations left.
    """

    def __init__(self, system: ClosedSystem, start):
        self.system = system
        count = len(system.indices)
        rest = system._rest
        self.scale, rows = self._balanced(system)
        self.units = rows * self.scale
        self.raw = Compiled(rest.moments, count)
        polynomials = [
            {m: c * r * np.prod([self.scale[v] ** e for v, e in m]) for m, c in p.items()}
            for p, r in zip(rest.equations, rows, strict=True)
        ]
        monomials = sorted({m for p in polynomials for m in p})
        place = {m: column for column, m in enumerate(monomials)}
        table = np.zeros((count, len(monomials)))
        for row, polynomial in enumerate(polynomials):
            for monomial, coefficient in polynomial.items():
                table[row, place[monomial]] = coefficient
        degree = np.array([_degree(m) for m in monomials])
        kernel = _rows_in_kernel(table) * rows * self.scale  # d/dt (kernel @ scaled) = 0
        self.kernel = np.linalg.qr(kernel.T)[0].T
        self.free_directions = _rows_in_kernel(self.kernel.T).T
        matrix, right = self._linear(table, degree, monomials)
        self.consistent = self._solve(matrix, right)
        if self.consistent:
            level = self._level(system, start)
            matrix, right = np.vstack([matrix, self.kernel]), np.concatenate([right, level])
            self.consistent = self._solve(matrix, right)
        self._nonlinear(table, degree)
        self.compiled = Compiled(polynomials, count)
        divisors = {v for p in polynomials for m in p for v, power in m if power < 0}
        self.divisors = sorted(divisors)
        place = {v: count + k for k, v in enumerate(self.divisors)}
        extended = [
            {tuple((v, e) if e > 0 else (place[v], -e) for v, e in m): c for m, c in p.items()}
            for p in polynomials
        ]
        self.extended = Compiled(extended, count + len(self.divisors))

    def _balanced(self, system) -> tuple[np.ndarray, np.ndarray]:
        """Units of the moments and of the equations that bring all coefficients close to one."""
        species, count = len(system.equations.species), len(system.indices)
        rows, right = [], []
        for number, polynomial in enumerate(system._rest.equations):
            for monomial, coefficient in polynomial.items():
                line = np.zeros(species + count)
                line[species + number] = 1
                for variable, power in monomial:
                    line[:species] += power * np.array(system.indices[variable])
                rows.append(line)
                right.append(-np.log(abs(coefficient)))
        if not rows:
            return np.ones(count), np.ones(count)
        logs = np.linalg.lstsq(np.array(rows), np.array(right), rcond=1e-10)[0]
        return np.exp(np.array(system.indices) @ logs[:species]), np.exp(logs[species:])

    def _linear(self, table, degree, monomials) -> tuple[np.ndarray, np.ndarray]:
        """Linear combinations of the equations: their matrix and right-hand side."""
        self.linear_rows = _rows_in_kernel(table[:, degree > 1])
        linear = self.linear_rows @ table
        matrix, right = np.zeros((len(linear), len(table))), np.zeros(len(linear))
        for column, monomial in enumerate(monomials):
            if degree[column] == 0:
                right -= linear[:, column]
            elif degree[column] == 1:
                matrix[:, monomial[0][0]] += linear[:, column]
        return matrix, right

    def _level(self, system, start) -> np.ndarray:
        """The values of the conserved combinations of the scaled coordinates."""
        if len(self.kernel) == 0:
            return np.zeros(0)
        if start is None:
            laws = system.equations.network.conservation_laws.tolist()
            raise ValueError(
                f"start is None, but the closed equations conserve {len(self.kernel)} combinations "
                f"of moments (conservation laws of the network: {laws}): give the counts at the "
                "start, which fix them"
            )
        counts = system._counts(start)
        first = deterministic_moments(counts, system.indices)
        if system.closure in IN_CUMULANTS:
            first[len(counts) :] = 0.0  # the cumulants of a state that is known
        return self.kernel @ (first / self.scale)

    def _solve(self, matrix, right) -> bool:
        """Set origin and directions of all solutions of linear equations; False without one."""
        count = len(self.scale)
        self.origin, self.directions = np.zeros(count), np.eye(count)
        if len(matrix) == 0:
            return True
        self.origin = np.linalg.lstsq(matrix, right, rcond=1e-11)[0]
        self.directions = linalg.null_space(matrix, rcond=1e-11)
        size = 1 + np.abs(right).max()
        return bool(np.abs(matrix @ self.origin - right).max() < 1e-8 * size)

    def _nonlinear(self, table, degree) -> None:
        """Combinations of the equations that are not linear, of the lowest degrees possible."""
        basis, self.degrees = self.linear_rows, []
        combinations = []
        for highest in sorted({d for d in degree if d > 1}):
            inside = _rows_in_kernel(table[:, degree > highest])
            beyond = inside - inside @ basis.T @ basis
            _, sizes, rows = np.linalg.svd(beyond, full_matrices=False)
            fresh = rows[sizes > 1e-6]
            combinations.append(fresh)
            self.degrees += [highest] * len(fresh)
            basis = np.vstack([basis, fresh])
        empty = np.zeros((0, len(table)))
        self.combinations = np.vstack(combinations) if combinations else empty

    def __call__(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values and Jacobians of the nonlinear equations at points of shape (..., unknowns)."""
        points = self.origin + z @ self.directions.T
        values = self.compiled.values(points) @ self.combinations.T
        return values, self.combinations @ self.compiled.jacobian(points) @ self.directions

    def _with_inverses(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same as polynomials: unknowns z, and the inverse of each coordinate that divides."""
        unknowns = self.directions.shape[1]
        z, inverses = point[..., :unknowns], point[..., unknowns:]
        coordinates = self.origin + z @ self.directions.T
        full = np.concatenate([coordinates, inverses], axis=-1)
        values = self.extended.values(full) @ self.combinations.T
        slopes = self.combinations @ self.extended.jacobian(full)
        count = len(self.scale)
        top = np.concatenate([slopes[..., :count] @ self.directions, slopes[..., count:]], axis=-1)
        divisors = coordinates[..., self.divisors]
        bottom = np.concatenate(
            [
                inverses[..., None] * self.directions[self.divisors],
                divisors[..., None] * np.eye(len(self.divisors)),
            ],
            axis=-1,
        )
        return (
            np.concatenate([values, inverses * divisors - 1], axis=-1),
            np.concatenate([top, bottom], axis=-2),
        )

    def moments(self, z: np.ndarray) -> np.ndarray:
        """Raw moments at a point."""
        return self.raw.values(self.coordinates(z))

    def coordinates(self, z: np.ndarray) -> np.ndarray:
        """Cumulants or moments, in which the equations are written, at a point."""
        return self.scale * (self.origin + self.directions @ z)

    def eigenvalues(self, z: np.ndarray) -> np.ndarray:
        """Of the Jacobian at a point, conserved directions left out."""
        jacobian = self.compiled.jacobian(self.origin + self.directions @ z)
        return np.linalg.eigvals(
            self.free_directions.T @ (jacobian / self.units[:, None]) @ self.free_directions
        )

    def solutions(self, max_paths: int) -> tuple[list[np.ndarray], bool]:
        """All real solutions, and whether the list is complete."""
        unknowns = self.directions.shape[1]
        if not self.consistent:
            return [], True
        if unknowns == 0 and len(self.combinations) == 0:
            return [np.zeros(0)], True
        if unknowns != len(self.combinations):
            return [], False
        starts, complete = [], False
        if np.prod(self.degrees, dtype=float) * 2 ** len(self.divisors) <= max_paths:
            starts, complete = self._homotopy()
        if not complete:
            starts = starts + self._scattered()
        found: list[np.ndarray] = []
        for z in starts:
            end = self._newton(z)
            if end is not None and not any(_close(end, other) for other in found):
                found.append(end)
        return found, complete

    def _homotopy(self) -> tuple[list[np.ndarray], bool]:
        degrees = [int(d) for d in self.degrees] + [2] * len(self.divisors)
        unknowns = self.directions.shape[1]
        ends = [
            continuation(self._with_inverses, degrees, gamma=np.exp(1j * angle))
            for angle in (0.7315, 2.4177)
        ]
        complete = all(end.lost == 0 for end in ends) and _same_ends(*(e.finite for e in ends))
        real = [
            z.real[:unknowns]
            for end in ends
            for z in end.finite
            if np.abs(z.imag).max() < 1e-4 * (1 + np.abs(z).max())
        ]
        return real, complete

    def _scattered(self) -> list[np.ndarray]:
        """Starts: log-normal moments, or cumulants of random means, widths and correlations."""
        rng = np.random.default_rng(0)
        indices = np.array(self.system.indices)
        species, orders = indices.shape[1], indices.sum(axis=1)
        starts = []
        for _ in range(NEWTON_STARTS):
            mean = rng.uniform(-3, 3, species)
            if self.system.closure in IN_CUMULANTS:
                point = np.exp(indices @ mean) * rng.uniform(-1, 1, len(indices))
                single = indices.max(axis=1) == orders
                point = np.where(single, np.abs(point), point) * np.exp(
                    -rng.uniform(0, 4) * (orders - 1)
                )
                point[:species] = np.exp(mean)
            else:
                width = rng.uniform(0, 1.5) * rng.random(species)
                point = np.exp(indices @ mean + 0.5 * ((indices * width) ** 2).sum(axis=1))
            starts.append(self.directions.T @ (point - self.origin))
        return starts

    def _newton(self, z: np.ndarray) -> np.ndarray | None:
        """Damped Newton iteration; None if it does not converge."""
        with np.errstate(all="ignore"):
            values, jacobian = self(z)
            for _ in range(60):
                if not (np.isfinite(values).all() and np.isfinite(jacobian).all()):
                    return None
                change = np.linalg.lstsq(jacobian, values, rcond=None)[0]
                if np.abs(change).max() <= 1e-12 * (1 + np.abs(z).max()):
                    return z - change
                size = np.abs(values).max()
                for damping in 0.5 ** np.arange(12):
                    trial = z - damping * change
                    values, jacobian = self(trial)
                    if np.abs(values).max() < size:
                        break
                else:
                    settled = np.abs(change).max() <= 1e-8 * (1 + np.abs(z).max())
                    return z if settled else None
                z = trial
        return None


def _degree(monomial) -> int:
    """Total degree; a division counts as a power of an inverse, and makes it at least 2."""
    degree = sum(abs(power) for _, power in monomial)
    return max(2, degree) if any(power < 0 for _, power in monomial) else degree


def _same_ends(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two sets of ends agree, without repetitions: no path jumped to another one."""
    if len(first) != len(second):
        return False
    distances = (
        np.abs(first[:, None] - second).max(axis=2) / (1 + np.abs(first).max(axis=1))[:, None]
    )
    return bool(
        ((distances < SAME).sum(axis=0) == 1).all() and ((distances < SAME).sum(axis=1) == 1).all()
    )


def _close(first: np.ndarray, second: np.ndarray) -> bool:
    return bool(np.abs(first - second).max() <= SAME * (1 + np.abs(first).max()))
