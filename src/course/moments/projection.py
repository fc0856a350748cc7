r"""Chapter 5.1: the master equation on finitely many states, with a bound on what that costs.

Let :math:`J` be the states kept, :math:`Q` the generator between them (columns sum to minus the
rate at which the state leaves :math:`J`). In time, :math:`\dot p=Qp`. At steady state,
:math:`Q\pi+(\text{outflow})\,e=0`, where the vector :math:`e` says where the paths return.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg, optimize, sparse
from scipy.sparse import csgraph
from scipy.sparse.linalg import splu

from course import validate

if TYPE_CHECKING:
    from course.moments.kinetics import ReactionNetwork

__all__ = ["Projection", "TruncationError", "project"]

_KRYLOV = 60  # largest dimension of the Krylov space
_POLE = 0.05  # of the rational Krylov space, in units of one over the step
_TIME_TOLERANCE = 1e-11  # of the numerical solution, over all times
_GROWTH = 1.6
_LEAST_RETURN = 1e-10  # of a path, to the most probable state before it leaves
_WIDER = 1.25  # limits to compare with, where there is no certificate
_LEAST_WEIGHT = 1e-3  # of an unbounded species in the drift condition


class TruncationError(RuntimeError):
    """The error bound of a projection exceeds the tolerance, or there is no bound."""


@dataclass(frozen=True, eq=False)
class Projection:
    r"""A law on finitely many states, with its error.

    Attributes
    ----------
    species : tuple of str
        Names, :math:`S` of them.
    limits : numpy.ndarray of int64, shape (S,)
        Largest count of each species in the states.
    states : numpy.ndarray of int64, shape (states, S)
        The counts that are kept.
    times : numpy.ndarray or None
        Shape (T,); None at steady state.
    probabilities : numpy.ndarray, shape (T, states) or (states,)
        In time: lower bounds on the probabilities, summing to one minus the loss.
    error_bound : numpy.ndarray or float
        Bound on :math:`\sum_n|P(n)-p(n)|` over *all* states, at each time or at steady state, but
        for rounding. In time it is the loss itself, and exact. With ``certify=False`` it is
        no bound but an estimate, the distance from the law within limits a quarter wider; where
        all paths can end, in extinction say, not less than twice the probability to leave these
        limits before.
    lower, upper : numpy.ndarray or None
        At steady state: bounds on the probability of each state, given that it is kept.
    outside : float or None
        At steady state: bound on the probability of all states that are not kept; None without a
        certificate.
    rounding : float
        Estimated error of the numerical solution itself, in the same norm.
    """

    species: tuple[str, ...]
    limits: np.ndarray
    states: np.ndarray
    times: np.ndarray | None
    probabilities: np.ndarray
    error_bound: np.ndarray | float
    lower: np.ndarray | None
    upper: np.ndarray | None
    outside: float | None
    rounding: float

    def moment(self, powers) -> np.ndarray | float:
        r""":math:`\langle\prod_in_i^{p_i}\rangle` over the states that are kept.

        Parameters
        ----------
        powers : mapping of str to int, or sequence of int
            A mapping may leave species out.

        Returns
        -------
        float or numpy.ndarray, shape (T,)
        """
        if isinstance(powers, Mapping):
            for name in powers:
                self._index(name)
            powers = [powers.get(name, 0) for name in self.species]
        powers = [validate.whole("powers", power, low=0) for power in powers]
        if len(powers) != len(self.species):
            raise ValueError(
                f"powers has {len(powers)} entries; allowed are {len(self.species)}, one for each "
                f"of {', '.join(self.species)}"
            )
        return self.probabilities @ np.prod(self.states.astype(float) ** powers, axis=1)

    @property
    def mean(self) -> np.ndarray:
        """Mean counts, shape (T, S) or (S,)."""
        return self.probabilities @ self.states

    @property
    def covariance(self) -> np.ndarray:
        """Covariances of the counts, shape (T, S, S) or (S, S)."""
        centred = self.states - self.mean[..., None, :]
        weights = self.probabilities[..., None]
        return np.swapaxes(centred * weights, -1, -2) @ centred

    def marginal(self, name: str) -> np.ndarray:
        """Probabilities of 0, 1, … molecules of one species.

        Parameters
        ----------
        name : str

        Returns
        -------
        numpy.ndarray, shape (T, limit + 1) or (limit + 1,)
        """
        i = self._index(name)
        values = np.arange(self.limits[i] + 1)
        return self.probabilities @ (self.states[:, i, None] == values)

    def _index(self, name) -> int:
        return self.species.index(validate.choice("name", name, self.species))


@dataclass(frozen=True)
class _Box:
    """States, the transitions between them, and those that lead out."""

    states: np.ndarray
    generator: sparse.csc_matrix  # diagonal includes the outflow
    outflow: np.ndarray  # total rate out of each state
    leaks: list[tuple[np.ndarray, np.ndarray, np.ndarray]]  # (sources, rates, change), a reaction
    entries: np.ndarray  # states that one reaction can enter from outside


def project(
    network: ReactionNetwork, limits, *, start, times, tolerance, certify, max_states
) -> Projection:
    """See :meth:`course.moments.kinetics.ReactionNetwork.finite_state_projection`."""
    from course.moments.kinetics import checked_times

    origin = network.counts(start)
    times = None if times is None else checked_times(times)
    tolerance = validate.real("tolerance", tolerance, low=0, strict=True, infinite=True)
    max_states = validate.whole("max_states", max_states)
    if not isinstance(certify, bool):
        raise ValueError(f"certify is {certify!r}; allowed are True and False")
    largest = _largest_counts(network, origin)
    if limits is not None:
        given = _limits(network, limits, origin)
        return _attempt(
            network, given, largest, origin, times, tolerance, certify, max_states
        ).result
    if tolerance == math.inf:
        raise ValueError("limits is None and tolerance infinite; allowed is only one of the two")
    free = np.isinf(largest)
    bounds = np.where(free, np.maximum(20, 2 * origin), largest)
    if times is None and certify and free.any():
        far = np.where(free, 1e7, largest)
        if _drift_condition(network, far, largest) is None:
            raise TruncationError(_no_certificate(f"{', '.join(network.species)} <= 1e7"))
    while True:
        attempt = _attempt(
            network, bounds.astype(np.int64), largest, origin, times, math.inf, certify, max_states
        )
        if np.max(attempt.result.error_bound) <= tolerance:
            return attempt.result
        grow = free & (attempt.leak >= 0.01 * attempt.leak.max(initial=0.0))
        if np.isinf(attempt.result.error_bound).any():
            grow = free
        if not grow.any():
            raise TruncationError(_excess(attempt.result, tolerance))
        bounds = np.where(grow, np.ceil(_GROWTH * bounds), bounds)


@dataclass(frozen=True)
class _Attempt:
    result: Projection
    leak: np.ndarray  # flux out through the limit of each species


def _attempt(network, limits, largest, origin, times, tolerance, certify, max_states) -> _Attempt:
    # at steady state also what is reached by a short excursion
    margin = int(np.abs(network.changes).max()) if times is None else 0
    wider = np.maximum(limits, np.minimum(limits + 2 * margin, largest)).astype(np.int64)
    box = _reachable(network, limits, wider, largest, origin, max_states)
    if times is None:
        result = _steady(network, box, limits, largest, origin, certify)
        if not certify and math.isinf(result.error_bound):
            result = _compared(network, result, wider, largest, origin, max_states)
    else:
        result = _in_time(network, box, limits, origin, times)
    if np.max(result.error_bound) > tolerance:
        raise TruncationError(_excess(result, tolerance))
    weights = result.probabilities.reshape(-1, len(box.states)).max(axis=0)
    leak = np.zeros(len(limits))
    for sources, rates, change in box.leaks:
        beyond = box.states[sources] + change > limits
        leak += (weights[sources] * rates) @ beyond
    return _Attempt(result, leak)


def _compared(network, result: Projection, wider, largest, origin, max_states) -> Projection:
    """The law with its distance from that within wider limits, as an estimate of the error."""
    limits = np.minimum(np.ceil(_WIDER * wider), np.maximum(largest, wider)).astype(np.int64)
    box = _reachable(network, limits, limits, largest, origin, 50 * max_states)
    other = _steady(network, box, limits, largest, origin, False)
    common = (box.states <= result.limits).all(axis=1)
    inside = np.zeros(len(result.states))
    place = {state.tobytes(): k for k, state in enumerate(result.states)}
    for state, value in zip(box.states[common], other.probabilities[common], strict=True):
        inside[place[state.tobytes()]] = value
    distance = float(np.abs(inside - result.probabilities).sum() + 1 - inside.sum())
    return replace(result, error_bound=max(distance, 2 * _escape(box, origin), 0.0))


def _escape(box: _Box, origin: np.ndarray) -> float:
    """Probability to leave the limits before states that are never left, such as extinction."""
    final = np.concatenate(_final_classes(box))
    passing = np.ones(len(box.states), dtype=bool)
    passing[final] = False
    if box.outflow[final].any() or not passing[(box.states == origin).all(axis=1)].any():
        return 0.0
    kept = np.flatnonzero(passing)
    inside = box.generator[kept][:, kept].T.tocsc()
    leaves = splu(inside).solve(-box.outflow[kept])
    return float(leaves[(box.states[kept] == origin).all(axis=1)][0])


def _excess(result: Projection, tolerance: float) -> str:
    worst = float(np.max(result.error_bound))
    limits = ", ".join(
        f"{name} <= {limit}"
        for name, limit in zip(result.species, result.limits.tolist(), strict=True)
    )
    if math.isinf(worst):
        return _no_certificate(limits)
    where = "at steady state"
    if result.times is not None:
        where = f"by time {result.times[int(np.argmax(result.error_bound))]:g}"
    return (
        f"the truncation to {limits} costs up to {worst:.3g} of probability {where}, tolerance is "
        f"{tolerance:g}: raise limits"
    )


def _no_certificate(limits: str) -> str:
    return (
        f"the probability outside {limits} has no bound: no linear drift condition holds there, or "
        "paths that leave could return where they leave again for ever, or to states that are not "
        "kept. Raise limits; where that does not help, certify=False estimates the error instead"
    )


def _limits(network: ReactionNetwork, limits, origin: np.ndarray) -> np.ndarray:
    if isinstance(limits, int | np.integer) and not isinstance(limits, bool):
        limits = [limits] * len(network.species)
    elif isinstance(limits, Mapping) and set(limits) != set(network.species):
        raise ValueError(
            f"limits has the species {', '.join(map(str, limits))}; allowed is one entry for each "
            f"of {', '.join(network.species)}"
        )
    try:
        found = network.counts(limits)
    except ValueError as problem:
        raise ValueError(str(problem).replace("start", "limits")) from None
    if (found < origin).any():
        raise ValueError(
            f"limits is {found.tolist()}; allowed are numbers >= start, {origin.tolist()}"
        )
    return found


def _largest_counts(network: ReactionNetwork, origin: np.ndarray) -> np.ndarray:
    r"""Bounds on the counts that can be reached; infinite where there is none.

    The largest :math:`n=n_0+\sum_r\xi_r\nu_r\ge0` with real numbers :math:`\xi_r\ge0` of
    reactions: a linear programme for each species.
    """
    found, changes = np.full(len(origin), np.inf), network.changes[network.rates > 0]
    for i in range(len(origin)):
        if not len(changes):
            return origin.astype(float)
        result = optimize.linprog(-changes[:, i], A_ub=-changes.T, b_ub=origin)
        if result.status == 0:
            found[i] = origin[i] + math.floor(-result.fun + 1e-6)
    return found


def _reachable(network, limits, wider, largest, origin, max_states: int) -> _Box:
    """States within the limits that are reached from the start by ways within the wider ones."""
    size = math.prod((wider + 1).tolist())
    if size > 50 * max_states:
        raise ValueError(
            f"limits is {limits.tolist()}: a box of {size} states; allowed are 50 times max_states "
            f"= {max_states}, of which no more than max_states may be reachable"
        )
    strides = np.cumprod(np.concatenate([[1], wider[:0:-1] + 1]))[::-1].astype(np.int64)
    seen = np.zeros(size, dtype=bool)
    frontier = np.array([origin @ strides])
    seen[frontier] = True
    while len(frontier):
        states = frontier[:, None] // strides % (wider + 1)
        reached = []
        for r, rates in enumerate(network.propensities(states).T):
            target = states + network.changes[r]
            inside = (rates > 0) & (target <= wider).all(axis=1)
            reached.append(target[inside] @ strides)
        new = np.unique(np.concatenate(reached))
        frontier = new[~seen[new]]
        seen[frontier] = True
    kept = np.flatnonzero(seen)
    states = kept[:, None] // strides % (wider + 1)
    inside = (states <= limits).all(axis=1)
    kept, states = kept[inside], states[inside]
    if len(kept) > max_states:
        raise ValueError(
            f"limits is {limits.tolist()}: {len(kept)} states can be reached; allowed are "
            f"max_states = {max_states}"
        )
    place = np.full(size, -1)
    place[kept] = np.arange(len(kept))
    return _transitions(network, states, limits, largest, strides, place)


def _transitions(network, states, limits, largest, strides, place) -> _Box:
    count = len(states)
    rows, columns, values, leaks = [], [], [], []
    entries = np.zeros(count, dtype=bool)
    outflow = np.zeros(count)
    for r, rates in enumerate(network.propensities(states).T):
        change = network.changes[r]
        if not change.any() or network.rates[r] == 0:
            continue
        target = states + change
        fires = rates > 0
        inside = fires & (target <= limits).all(axis=1)
        sources = np.flatnonzero(inside)
        rows += [place[target[sources] @ strides], sources]
        columns += [sources, sources]
        values += [rates[sources], -rates[sources]]
        leaving = np.flatnonzero(fires & ~inside)
        if len(leaving):
            outflow[leaving] += rates[leaving]
            leaks.append((leaving, rates[leaving], change))
            rows.append(leaving)
            columns.append(leaving)
            values.append(-rates[leaving])
        before = states - change  # could this reaction lead here from outside the box?
        possible = ((before >= network.reactants[r]) & (before <= largest)).all(axis=1)
        entries |= possible & (before > limits).any(axis=1)
    parts = (np.concatenate(x) if x else np.zeros(0) for x in (values, rows, columns))
    data, row, column = parts
    generator = sparse.csc_matrix(
        (data, (row.astype(int), column.astype(int))), shape=(count, count)
    )
    return _Box(states, generator, outflow, leaks, np.flatnonzero(entries))


class _Exponential:
    r"""Action of :math:`e^{tQ}` in a Krylov space of :math:`(1-\gamma Q)^{-1}`, one factorisation.

    The inverse makes fast decay, which no longer matters, small instead of large. Source: J. van
    den Eshof, M. Hochbruck, SIAM J. Sci. Comput. 27, 1438 (2006).
    """

    def __init__(self, generator: sparse.csc_matrix):
        self.generator = generator
        self.unit = sparse.identity(generator.shape[0], format="csc")
        self.factors: dict[float, object] = {}

    def _factorised(self, gamma: float):
        if gamma not in self.factors:
            if len(self.factors) > 4:
                self.factors.pop(next(iter(self.factors)))
            self.factors[gamma] = splu((self.unit - gamma * self.generator).tocsc())
        return self.factors[gamma]

    def _step(self, vector, duration: float, allowed: float) -> tuple[np.ndarray, float] | None:
        """The vector after the duration and the last change of it; None without convergence."""
        gamma, norm = _POLE * duration, float(np.linalg.norm(vector))
        if norm == 0:
            return vector, 0.0
        factors = self._factorised(gamma)
        basis = np.empty((_KRYLOV + 1, len(vector)))
        hessenberg = np.zeros((_KRYLOV + 1, _KRYLOV))
        basis[0], before = vector / norm, None
        for j in range(_KRYLOV):
            new, size = factors.solve(basis[j]), j + 1
            for _ in range(2):
                part = basis[:size] @ new
                hessenberg[:size, j] += part
                new = new - part @ basis[:size]
            hessenberg[size, j] = np.linalg.norm(new)
            complete = hessenberg[size, j] < 1e-14
            if not complete:
                basis[size] = new / hessenberg[size, j]
            if complete or j % 4 == 3:
                small = (np.eye(size) - np.linalg.inv(hessenberg[:size, :size])) / gamma
                found = norm * linalg.expm(duration * small)[:, 0] @ basis[:size]
                change = 0.0 if complete else math.inf
                if before is not None and not complete:
                    change = float(np.abs(found - before).sum())
                if change < allowed:
                    return found, change
                before = found
        return None

    def advance(self, vector, duration: float, allowed: float) -> tuple[np.ndarray, float]:
        """The vector after ``duration`` and the estimated error, steps halved where needed."""
        done, step, error = 0.0, 1.0, 0.0  # in units of the duration: exact binary fractions
        while done < 1.0:
            result = self._step(vector, step * duration, max(allowed * step, 3e-14))
            if result is None:
                step /= 2
                if step < 2.0**-24:
                    raise RuntimeError(
                        f"the solution in time did not converge, not even in steps of "
                        f"{step * duration:.2g}"
                    )
                continue
            vector, done, error = result[0], done + step, error + result[1]
            if done + 2 * step <= 1 and done % (2 * step) == 0:
                step *= 2
        return vector, error


def _in_time(network, box: _Box, limits, origin, times) -> Projection:
    vector = (box.states == origin).all(axis=1).astype(float)
    exponential = _Exponential(box.generator)
    found, clock, rounding = [], 0.0, 0.0
    for time in times.tolist():
        if time > clock and box.generator.nnz:
            share = _TIME_TOLERANCE * (time - clock) / times[-1]
            vector, error = exponential.advance(vector, time - clock, share)
            rounding += error
        clock = time
        found.append(vector)
    probabilities = np.array(found)
    lost = 1 - probabilities.sum(axis=1)
    rounding += float(-np.minimum(probabilities, 0).sum(axis=1).min())
    probabilities = np.maximum(probabilities, 0)
    bound = np.maximum(lost, 0) if box.leaks else np.zeros(len(times))
    return Projection(
        network.species, limits, box.states, times, probabilities, bound, None, None, None,
        rounding,
    )  # fmt: skip


def _steady(network, box: _Box, limits, largest, origin, certify: bool) -> Projection:
    final = _final_classes(box)
    if len(final) > 1:
        raise ValueError(
            f"the steady state is not unique within {limits.tolist()}: {len(final)} sets of states "
            f"can be entered and never left by ways within, such as those of "
            f"{box.states[final[0][0]].tolist()} and {box.states[final[1][0]].tolist()}; raise "
            "limits or give times instead"
        )
    inner = final[0]
    closed = not box.outflow[inner].any()
    if closed:  # all paths end here
        probabilities = np.zeros(len(box.states))
        probabilities[inner] = _null_vector(box.generator[inner][:, inner].tocsc())
    elif not len(box.entries):
        raise ValueError(
            "there is no steady state: what leaves the limits never comes back; give times instead"
        )
    else:  # what would leave is not allowed to
        probabilities = _null_vector((box.generator + sparse.diags(box.outflow)).tocsc())
    flow = box.generator @ probabilities + box.outflow * probabilities
    scale = float(np.abs(box.generator.diagonal()).max(initial=0.0))
    rounding = float(np.abs(flow).sum()) / scale if scale else 0.0
    lower = upper = outside = None
    bound = 0.0 if closed and not box.leaks else math.inf
    if certify:
        laws = probabilities[:, None] if closed else _return_laws(box, int(probabilities.argmax()))
        outside = _outside(network, box, laws, limits, largest, origin) if box.leaks else 0.0
        lower, upper = np.zeros_like(probabilities), np.ones_like(probabilities)
        if laws is not None:
            lower, upper = laws.min(axis=1), laws.max(axis=1)
            centres = (probabilities, laws.mean(axis=1))
            spreads = [np.abs(laws - centre[:, None]).sum(axis=0).max() for centre in centres]
            probabilities = centres[int(np.argmin(spreads))]
            bound = float(min(spreads)) + 2 * outside
    return Projection(
        network.species, limits, box.states, None, probabilities, bound, lower, upper, outside,
        rounding,
    )  # fmt: skip


def _final_classes(box: _Box) -> list[np.ndarray]:
    """Sets of states that are entered and never left by ways within the limits."""
    graph = (box.generator - sparse.diags(box.generator.diagonal())).T.tocsr()  # from row to column
    graph.eliminate_zeros()
    number, label = csgraph.connected_components(graph, directed=True, connection="strong")
    source, target = graph.nonzero()
    left = np.zeros(number, dtype=bool)
    left[label[source[label[source] != label[target]]]] = True
    return [np.flatnonzero(label == k) for k in np.flatnonzero(~left)]


def _null_vector(generator: sparse.csc_matrix) -> np.ndarray:
    """The positive vector that an irreducible closed generator maps to zero."""
    anchor = _mode(generator)
    found = _anchored(generator, anchor).solve(np.eye(1, generator.shape[0], anchor)[0])
    found = np.maximum(found, 0)
    return found / found.sum()


def _mode(generator: sparse.csc_matrix) -> int:
    """A state of large probability: one long implicit step from all states at once."""
    count = generator.shape[0]
    scale = max(float(np.abs(generator.diagonal()).max()), 1e-300)
    shifted = 1e-9 * scale * sparse.identity(count, format="csc") - generator
    return int(np.argmax(splu(shifted.tocsc()).solve(np.full(count, 1 / count))))


def _anchored(generator: sparse.csc_matrix, anchor: int):
    """Factors of the generator with the balance of one state replaced by its probability."""
    count = generator.shape[0]
    kept = np.ones(count)
    kept[anchor] = 0.0
    unit = sparse.csc_matrix(([1.0], ([anchor], [anchor])), shape=(count, count))
    return splu((sparse.diags(kept) @ generator + unit).tocsc())


def _return_laws(box: _Box, anchor: int) -> np.ndarray | None:
    """One column for each state of return: the steady state if all excursions end there.

    None if an excursion that always ends in some state would go on for ever.
    """
    count = len(box.states)
    factors = _anchored(box.generator, anchor)
    base = factors.solve(np.eye(1, count, anchor)[0])
    laws = np.empty((count, len(box.entries)))
    for k, entry in enumerate(box.entries):
        right = np.zeros(count)
        if entry != anchor:
            right[entry] = -1.0
        response = factors.solve(right)
        returns = 1 - box.outflow @ response  # probability to see the anchor before leaving
        if returns < _LEAST_RETURN:
            return None
        laws[:, k] = base + box.outflow @ base / returns * response
    laws = np.maximum(laws, 0)
    return laws / laws.sum(axis=0)


def _outside(network, box: _Box, laws: np.ndarray | None, limits, largest, origin) -> float:
    """Bound on the probability of states that are not kept; infinite without a drift condition."""
    certificate = _drift_condition(network, limits, largest)
    if certificate is None or laws is None or _misses_states(network, box, limits, largest, origin):
        return math.inf
    weights, drift = certificate
    level = box.states @ weights
    lowest = level[box.entries].min()
    time_outside = np.zeros(laws.shape[1])
    for sources, rates, change in box.leaks:
        height = level[sources] + change @ weights - lowest
        time_outside += (rates * np.maximum(height, 0)) @ laws[sources] / drift
    ratio = float(time_outside.max())
    return ratio / (1 + ratio)


def _misses_states(network, box: _Box, limits, largest, origin) -> bool:
    """Whether an excursion could come back within the limits at a state that is not kept.

    Such a state is reached from the start only by ways far beyond the limits. The drift condition
    does not hold there, so there is no bound.
    """
    strides = np.cumprod(np.concatenate([[1], limits[:0:-1] + 1]))[::-1].astype(np.int64)
    kept = box.states @ strides
    for r in np.flatnonzero(network.rates > 0):
        change = network.changes[r]
        for i in np.flatnonzero(change < 0):  # back across the limit of species i
            ranges = [np.arange(limit + 1) for limit in limits]
            ranges[i] = ranges[i][change[i] :]
            states = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, len(limits))
            before = states - change
            possible = ((before >= network.reactants[r]) & (before <= largest)).all(axis=1)
            states = states[possible & ~np.isin(states @ strides, kept)]
            if _in_lattice(states - origin, network.changes[network.rates > 0]).any():
                return True
    return False


def _in_lattice(steps: np.ndarray, changes: np.ndarray) -> np.ndarray:
    """Which steps are sums of whole multiples of the changes, by their Smith normal form."""
    from sympy import ZZ, Matrix
    from sympy.matrices.normalforms import smith_normal_decomp

    form, left, _ = smith_normal_decomp(Matrix(changes.T.tolist()), domain=ZZ)
    turned = steps @ np.array(left.tolist(), dtype=np.int64).T
    divisors = np.zeros(turned.shape[1], dtype=np.int64)
    for k in range(min(form.shape)):
        divisors[k] = abs(int(form[k, k]))
    multiple = turned % np.maximum(divisors, 1) == 0
    return np.where(divisors > 0, multiple, turned == 0).all(axis=1)


def _drift_condition(network, limits, largest) -> tuple[np.ndarray, float] | None:
    r"""Weights and :math:`\delta>0` with :math:`w\cdot\sum_r\nu_ra_r(n)\le-\delta` outside.

    For each species without a largest count, set :math:`n_i=M_i+1+m_i` and expand the drift in
    :math:`m`. No term that can grow may have a positive coefficient; terms in bounded species alone
    are at most their coefficient times the product of the bounds. All of this is linear in
    :math:`w`, a linear programme.
    """
    count = len(limits)
    open_faces = np.flatnonzero(limits < largest)
    faces = [_shifted_drifts(network, i, limits[i] + 1) for i in open_faces]
    rows, ceilings = [], []  # of what may not grow; of the sums that must stay below -delta
    for face in faces:
        total = [(face.pop((0,) * count, np.zeros(count)), None)]
        for monomial, coefficients in face.items():
            size = math.prod(
                float(largest[j]) ** power for j, power in enumerate(monomial) if power
            )
            if math.isinf(size):
                rows.append(coefficients)
            else:
                total.append((coefficients, size))
        ceilings.append(total)
    weights = _largest_drift(np.array(rows).reshape(-1, count), ceilings, largest)
    if weights is None:
        return None
    drift = -max(
        sum(
            coefficients @ weights if size is None else max(coefficients @ weights, 0.0) * size
            for coefficients, size in total
        )
        for total in ceilings
    )
    return (weights, drift) if drift > 0 else None


def _largest_drift(growing, ceilings, largest) -> np.ndarray | None:
    """The linear programme: weights, then the positive parts of the bounded terms, then delta."""
    count, extra = len(largest), sum(len(total) - 1 for total in ceilings)
    size = count + extra + 1
    rows = [np.concatenate([row, np.zeros(extra + 1)]) for row in growing]
    slack = count
    for total in ceilings:
        ceiling = np.zeros(size)  # delta in units of the largest entry
        ceiling[-1] = max(np.abs(coefficients).max() for coefficients, _ in total)
        for coefficients, bound in total:
            if bound is None:
                ceiling[:count] = coefficients
                continue
            row = np.zeros(size)
            row[:count], row[slack], ceiling[slack] = coefficients, -1.0, bound
            rows.append(row)
            slack += 1
        rows.append(ceiling)
    table = np.array(rows)
    table /= np.maximum(np.abs(table).max(axis=1, keepdims=True), 1e-300)
    lower = np.where(np.isinf(largest), _LEAST_WEIGHT, 0.0)
    bounds = [(low, 1.0) for low in lower] + [(0.0, None)] * (extra + 1)
    goal = -np.eye(size)[-1]
    result = optimize.linprog(goal, A_ub=table, b_ub=np.zeros(len(table)), bounds=bounds)
    return result.x[:count] if result.status == 0 else None


def _shifted_drifts(network, face: int, least: int) -> dict[tuple[int, ...], np.ndarray]:
    """Drift of every species as a polynomial in ``m``: monomial to one coefficient a species."""
    found: dict[tuple[int, ...], np.ndarray] = {}
    sizes: dict[tuple[int, ...], np.ndarray] = {}
    nothing = np.zeros(len(network.species))
    for r, coefficient in enumerate(network.coefficients):
        terms = {(0,) * len(network.species): float(coefficient)}
        for i, order in enumerate(network.reactants[r].tolist()):
            for offset in range(order):
                shift = (least if i == face else 0) - offset
                product: dict[tuple[int, ...], float] = {}
                for monomial, value in terms.items():
                    higher = (*monomial[:i], monomial[i] + 1, *monomial[i + 1 :])
                    product[higher] = product.get(higher, 0.0) + value
                    product[monomial] = product.get(monomial, 0.0) + value * shift
                terms = product
        for monomial, value in terms.items():
            change = value * network.changes[r]
            found[monomial] = found.get(monomial, nothing) + change
            sizes[monomial] = sizes.get(monomial, nothing) + np.abs(change)
    # what cancels up to rounding is zero
    return {
        monomial: np.where(np.abs(value) > 1e-13 * sizes[monomial], value, 0.0)
        for monomial, value in found.items()
    }
