r"""Chapter 5.1: reaction networks, their exact simulation, and three exact solutions.

A network of :math:`R` reactions between :math:`S` species in a volume :math:`\Omega` is a Markov
process on the counts :math:`n`. Reaction :math:`r` takes the reactants :math:`s_r`, changes the
counts by :math:`\nu_r`, and fires with the propensity

.. math:: a_r(n)=k_r\,\Omega^{1-|s_r|}\prod_i (n_i)_{s_{ri}},\qquad (n)_s=n(n-1)\cdots(n-s+1).

With the convention ``"combinations"`` it is divided by :math:`\prod_i s_{ri}!`: pairs of molecules
are then counted once, not twice.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from scipy import special

from course import validate

if TYPE_CHECKING:
    import sympy
    import torch

    from course.moments.projection import Projection

__all__ = [
    "ReactionNetwork", "dimerisation_distribution", "immigration_death_distribution",
    "telegraph_distribution",
]  # fmt: skip

CONVENTIONS = ("falling", "combinations")
_TERM = re.compile(r"(?P<count>\d+)?\s*(?P<name>[^\W\d]\w*)")
_CHUNKS = 64  # streams of random numbers in one simulation, whatever the number of threads


@dataclass(frozen=True, eq=False, repr=False, init=False)
class ReactionNetwork:
    r"""Chemical reactions with mass-action rates in a volume.

    .. math:: a_r(n)=k_r\,\Omega^{1-|s_r|}\prod_i n_i(n_i-1)\cdots(n_i-s_{ri}+1)

    Parameters
    ----------
    reactions : sequence of str
        Such as ``"2 X + Y -> 3 X"``. The empty side is ``0`` (or ``∅``, or nothing).
    rates : array_like, shape (R,)
        :math:`k_r\ge0`, one a reaction: the rate constants of the concentrations
        :math:`n/\Omega`, so that they do not depend on the volume.
    volume : float
        :math:`\Omega>0`, the system size.
    convention : {"falling", "combinations"}
        Whether ``2 A -> 0`` has the propensity :math:`k\,n(n-1)/\Omega` or
        :math:`k\,\binom n2/\Omega`. They differ by the factor :math:`\prod_is_{ri}!`.
    species : sequence of str, optional
        Their order; by default that of first appearance.

    Attributes
    ----------
    species : tuple of str
        Names, :math:`S` of them.
    reactants, products : numpy.ndarray, shape (R, S)
        Molecules that go in, :math:`s_{ri}`, and that come out.
    changes : numpy.ndarray, shape (R, S)
        :math:`\nu_{ri}`, products minus reactants.
    rates : numpy.ndarray, shape (R,)
        :math:`k_r` as given.
    coefficients : numpy.ndarray, shape (R,)
        :math:`c_r=a_r(n)/\prod_i(n_i)_{s_{ri}}`: volume and convention are in it.

    Raises
    ------
    ValueError
        For a reaction that cannot be read, a negative rate, a volume that is not positive, a
        species that is unknown, and so on.

    Notes
    -----
    Arrays cannot be written to. Taught in chapter 5.1, "Reactions, propensities, and a factor of
    two".

    Examples
    --------
    >>> network = ReactionNetwork(["0 -> A", "2 A -> 0"], rates=[1.0, 0.5], volume=5.0)
    >>> network
    ReactionNetwork(['0 -> A', '2 A -> 0'], rates=[1.0, 0.5], volume=5.0, convention='falling')
    >>> network.propensities([4])
    array([5. , 1.2])
    """

    species: tuple[str, ...]
    reactants: np.ndarray
    products: np.ndarray
    changes: np.ndarray
    rates: np.ndarray
    volume: float
    convention: str
    coefficients: np.ndarray

    def __init__(
        self,
        reactions: Sequence[str],
        *,
        rates,
        volume: float = 1.0,
        convention: str = "falling",
        species: Sequence[str] | None = None,
    ):
        listed = isinstance(reactions, Iterable) and not isinstance(reactions, str)
        if not listed or not (reactions := list(reactions)):
            raise ValueError(
                f"reactions is {reactions!r}; allowed is a sequence of one string or more such as "
                "'2 A + B -> C'"
            )
        sides = [_sides(text) for text in reactions]
        seen = dict.fromkeys(name for pair in sides for side in pair for name in side)
        names = tuple(seen) if species is None else _names(species)
        unknown = [name for name in seen if name not in names]
        if unknown:
            raise ValueError(
                f"species is {list(names)}; the reactions also have {', '.join(unknown)}"
            )
        counts = [[[side.get(name, 0) for name in names] for side in pair] for pair in sides]
        table = np.array(counts, dtype=np.int64).reshape(len(sides), 2, len(names))
        self._set(names, table[:, 0], table[:, 1], rates, volume, convention)

    @classmethod
    def from_arrays(
        cls,
        reactants,
        products,
        *,
        rates,
        species: Sequence[str],
        volume: float = 1.0,
        convention: str = "falling",
    ) -> ReactionNetwork:
        """The network with these molecules going in and coming out.

        Parameters
        ----------
        reactants, products : array_like of int, shape (R, S)
            Whole numbers that are not negative.
        rates, species, volume, convention
            As for the class; ``species`` has :math:`S` names.

        Returns
        -------
        ReactionNetwork

        Raises
        ------
        ValueError
            For arrays of other shapes or with negative or fractional entries, and as the class.
        """
        network = cls.__new__(cls)
        names, tables = _names(species), []
        for label, given in (("reactants", reactants), ("products", products)):
            table = validate.array(label, given, dimensions=2)
            if table.shape[1] != len(names):
                raise ValueError(
                    f"{label} has shape {table.shape}; allowed is (reactions, {len(names)}) for "
                    f"the species {', '.join(names)}"
                )
            tables.append(_whole_counts(label, table))
        if tables[0].shape != tables[1].shape or not len(tables[0]):
            raise ValueError(
                f"reactants and products have shapes {tables[0].shape} and {tables[1].shape}; "
                "allowed are equal shapes with one reaction or more"
            )
        network._set(names, *tables, rates, volume, convention)
        return network

    def _set(self, species, reactants, products, rates, volume, convention) -> None:
        if not species:
            raise ValueError("species is empty; allowed is a network of one species or more")
        volume = validate.real("volume", volume, low=0, strict=True)
        validate.choice("convention", convention, CONVENTIONS)
        rates = validate.array("rates", rates, dimensions=1).copy()
        if rates.shape != (len(reactants),):
            raise ValueError(
                f"rates has {len(rates)} entries; allowed are {len(reactants)}, one a reaction"
            )
        if (rates < 0).any():
            worst = int(rates.argmin())
            raise ValueError(
                f"rates has {rates[worst]:g} for reaction {worst + 1}, "
                f"{_arrow(species, reactants[worst], products[worst])}; allowed are numbers >= 0"
            )
        coefficients = rates * volume ** (1.0 - reactants.sum(axis=1))
        if convention == "combinations":
            coefficients = coefficients / special.factorial(reactants).prod(axis=1)
        values = {
            "species": species, "reactants": reactants, "products": products,
            "changes": products - reactants, "rates": rates, "volume": volume,
            "convention": convention, "coefficients": coefficients,
        }  # fmt: skip
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return (
            f"ReactionNetwork({list(self.reactions)}, rates={self.rates.tolist()}, "
            f"volume={self.volume}, convention={self.convention!r})"
        )

    @property
    def reactions(self) -> tuple[str, ...]:
        """The reactions as strings."""
        rows = zip(self.reactants, self.products, strict=True)
        return tuple(_arrow(self.species, before, after) for before, after in rows)

    @cached_property
    def conservation_laws(self) -> np.ndarray:
        r"""Integer rows :math:`w` with :math:`w\cdot n` constant, a basis; shape (laws, S)."""
        import sympy

        basis = sympy.Matrix(self.changes.tolist()).nullspace()
        rows = [vector * sympy.ilcm(1, *(entry.q for entry in vector)) for vector in basis]
        return np.array([[int(entry) for entry in row] for row in rows], dtype=np.int64).reshape(
            len(rows), len(self.species)
        )

    @cached_property
    def symbols(self) -> tuple[sympy.Symbol, ...]:
        """The counts as symbols, not negative."""
        import sympy

        return tuple(sympy.Symbol(name, nonnegative=True) for name in self.species)

    @cached_property
    def parameter_symbols(self) -> tuple[sympy.Symbol, ...]:
        r"""Symbols of the rates :math:`k_1,\dots,k_R`, then of the volume; positive."""
        import sympy

        names = [f"k_{r + 1}" for r in range(len(self.rates))] + ["Omega"]
        return tuple(sympy.Symbol(name, positive=True) for name in names)

    def symbolic_propensities(self, *, numeric: bool = True) -> tuple[sympy.Expr, ...]:
        """Propensities as polynomials in :attr:`symbols`, products of falling factors.

        Parameters
        ----------
        numeric : bool
            With rates and volume as rational numbers; False leaves :attr:`parameter_symbols`.

        Returns
        -------
        tuple of sympy.Expr
            One a reaction.
        """
        import sympy

        *rates, volume = self.parameter_symbols
        if numeric:
            rates = [sympy.nsimplify(rate, rational=True) for rate in self.rates.tolist()]
            volume = sympy.nsimplify(self.volume, rational=True)
        found = []
        for rate, row in zip(rates, self.reactants.tolist(), strict=True):
            term = rate * volume ** (1 - sum(row))
            for symbol, order in zip(self.symbols, row, strict=True):
                term *= math.prod(symbol - offset for offset in range(order))
                if self.convention == "combinations":
                    term /= sympy.factorial(order)
            found.append(term)
        return tuple(found)

    def propensities(self, counts) -> np.ndarray:
        """Rates :math:`a_r(n)` at which the reactions fire.

        Parameters
        ----------
        counts : array_like, shape (..., S)
            Numbers of molecules; any real numbers, as the propensities are polynomials.

        Returns
        -------
        numpy.ndarray, shape (..., R)
        """
        counts = self._counts(counts)
        found = np.ones((*counts.shape[:-1], len(self.rates)))
        for r, species, offset in self._factors():
            found[..., r] *= counts[..., species] - offset
        return found * self.coefficients + 0.0  # no minus zero

    def rate_equations(self, counts) -> np.ndarray:
        r"""Deterministic drift of the counts, :math:`n^s` in place of :math:`(n)_s`.

        .. math:: \dot n=\sum_r\nu_r\,c_r\prod_in_i^{s_{ri}}

        Parameters
        ----------
        counts : array_like, shape (..., S)
            Real numbers.

        Returns
        -------
        numpy.ndarray, shape (..., S)
        """
        counts = self._counts(counts)
        rates = self.coefficients * np.prod(counts[..., None, :] ** self.reactants, axis=-1)
        return rates @ self.changes

    def at_volume(self, volume: float) -> ReactionNetwork:
        """The same reactions and rate constants in another volume."""
        return ReactionNetwork.from_arrays(
            self.reactants, self.products, rates=self.rates, species=self.species,
            volume=volume, convention=self.convention,
        )  # fmt: skip

    def counts(self, start=None) -> np.ndarray:
        """Counts in the order of the species.

        Parameters
        ----------
        start : mapping of str to int, or array_like of int, shape (S,), optional
            A mapping may leave species out: they are absent. By default all are.

        Returns
        -------
        numpy.ndarray of int64, shape (S,)

        Raises
        ------
        ValueError
            For an unknown species, or counts that are negative or no whole numbers.
        """
        if start is None:
            start = {}
        if isinstance(start, Mapping):
            unknown = [str(name) for name in start if name not in self.species]
            if unknown:
                raise ValueError(
                    f"start has the species {', '.join(unknown)}; allowed are "
                    f"{', '.join(self.species)}"
                )
            start = [start.get(name, 0) for name in self.species]
        found = _whole_counts("start", validate.array("start", start, dimensions=1))
        if found.shape != (len(self.species),):
            raise ValueError(
                f"start has {len(found)} entries; allowed are {len(self.species)}, one for each of "
                f"{', '.join(self.species)}"
            )
        return found

    def simulate(
        self,
        times,
        trajectories: int,
        *,
        rng: np.random.Generator,
        start=None,
        threads: int | None = None,
        max_events: int = 10**8,
    ) -> np.ndarray:
        r"""Exact trajectories by Gillespie's direct method.

        Wait for a time :math:`\tau` with density :math:`a_0e^{-a_0\tau}`, where
        :math:`a_0=\sum_ra_r`; then let reaction :math:`r` fire with probability
        :math:`a_r/a_0`.

        Parameters
        ----------
        times : array_like, shape (T,)
            When the counts are recorded: increasing, not negative. The start is at time 0.
        trajectories : int
            How many independent ones.
        rng : numpy.random.Generator
            Its children drive the trajectories, so the result does not depend on ``threads``.
        start : mapping of str to int, or array_like of int, shape (S,) or (trajectories, S)
            Counts at time 0; by default no molecules.
        threads : int, optional
            By default one for each core.
        max_events : int
            Largest number of reactions in one trajectory.

        Returns
        -------
        numpy.ndarray of int64, shape (trajectories, T, S)

        Raises
        ------
        ValueError
            For bad times, counts or numbers.
        RuntimeError
            If a trajectory needs more than ``max_events`` reactions, as an explosion does.

        Notes
        -----
        Source: D. T. Gillespie, J. Phys. Chem. 81, 2340 (1977). Taught in chapter 5.1,
        "Gillespie's algorithm".
        """
        times, starts = self._simulation(times, trajectories, start)
        validate.generator("rng", rng, np.random.Generator)
        validate.whole("max_events", max_events)
        threads = (os.cpu_count() or 1) if threads is None else validate.whole("threads", threads)
        found = np.empty((len(starts), len(times), len(self.species)), dtype=np.int64)
        bounds = np.linspace(0, len(starts), min(_CHUNKS, len(starts)) + 1).astype(int)
        parts = [slice(*pair) for pair in zip(bounds[:-1], bounds[1:], strict=True)]

        def run(part: slice, child: np.random.Generator):
            return _trajectories(
                starts[part], times, self.coefficients, *self._tables, child, max_events,
                found[part],
            )  # fmt: skip

        with ThreadPoolExecutor(min(threads, len(parts))) as pool:
            stopped = list(pool.map(run, parts, rng.spawn(len(parts))))
        for part, (which, time) in zip(parts, stopped, strict=True):
            if which >= 0:
                raise RuntimeError(
                    f"trajectory {part.start + which} has had {max_events} reactions by time "
                    f"{time:.4g} of {times[-1]:g}; does the network explode? Otherwise raise "
                    "max_events"
                )
        return found

    def simulate_batch(
        self,
        times,
        trajectories: int,
        *,
        generator: torch.Generator,
        start=None,
        max_events: int = 10**6,
    ) -> torch.Tensor:
        """The same on the generator's device, all trajectories in step: for a million on a GPU.

        Every step draws one reaction for each trajectory that has not yet reached the next
        recorded time. There the waiting time is drawn anew, which an exponential law permits.

        Parameters
        ----------
        times, trajectories, start, max_events
            As for :meth:`simulate`; ``max_events`` counts between two recorded times.
        generator : torch.Generator
            Its device is where the work is done.

        Returns
        -------
        torch.Tensor of int64, shape (trajectories, T, S)

        Raises
        ------
        ValueError, RuntimeError
            As :meth:`simulate`.

        Notes
        -----
        Taught in chapter 5.1, "Gillespie's algorithm".
        """
        import torch

        times, starts = self._simulation(times, trajectories, start)
        validate.generator("generator", generator, torch.Generator)
        validate.whole("max_events", max_events)
        device = generator.device
        counts = torch.as_tensor(starts, device=device)
        changes = torch.as_tensor(self.changes.copy(), device=device)
        coefficients = torch.as_tensor(self.coefficients.copy(), device=device)
        found = torch.empty((len(starts), len(times), len(self.species)), dtype=torch.int64)
        found, clock = found.to(device), 0.0
        for k, time in enumerate(times.tolist()):
            active = torch.arange(len(counts), device=device)
            left = torch.full((len(counts),), time - clock, dtype=torch.float64, device=device)
            for _ in range(max_events):
                state = counts[active]
                rates = coefficients.repeat(len(active), 1)
                for r, species, offset in self._factors():
                    rates[:, r] *= state[:, species] - offset
                sums = rates.cumsum(dim=1)
                draws = torch.rand(
                    (2, len(active)), dtype=torch.float64, device=device, generator=generator
                )
                left = left + torch.log1p(-draws[0]) / sums[:, -1]
                going = left > 0
                active, left = active[going], left[going]
                if not len(active):
                    break
                chosen = torch.searchsorted(
                    sums[going], (draws[1] * sums[:, -1])[going][:, None], right=True
                )[:, 0]
                counts[active] = state[going] + changes[chosen.clamp(max=len(changes) - 1)]
            else:
                raise RuntimeError(
                    f"{len(active)} trajectories have had {max_events} reactions between times "
                    f"{clock:g} and {time:g}; does the network explode? Otherwise raise max_events"
                )
            found[:, k], clock = counts, time
        return found

    def finite_state_projection(
        self,
        limits=None,
        *,
        start=None,
        times=None,
        tolerance: float = 1e-6,
        certify: bool = True,
        max_states: int = 200_000,
    ) -> Projection:
        r"""The master equation on a finite set of states, with a bound on the error.

        In time, probability that leaves the box is lost. What is left, :math:`p(t)`, is a lower
        bound on every probability, and the loss is the distance to the truth:
        :math:`\sum_n|P(n,t)-p(n,t)|=1-\sum_np(n,t)`.

        At steady state what leaves must return, but where? Every way back is a mixture of returns
        to single states; the spread of those bounds the error inside. What lies outside is bounded
        by the rate at which the box is left, times the longest mean time that an excursion can
        last: a drift :math:`w\cdot\sum_r\nu_ra_r(n)\le-\delta` outside makes it at most
        :math:`w\cdot(n-n')/\delta` from :math:`n` to the :math:`n'` of the return.

        Parameters
        ----------
        limits : int, mapping of str to int, or array_like of int, shape (S,), optional
            Largest count of each species. By default they grow until the error is below
            ``tolerance``.
        start : mapping of str to int, or array_like of int, shape (S,), optional
            Counts at time 0, by default no molecules. Only states that can be reached from them
            are kept: by ways within the limits, at steady state also by two reactions beyond.
        times : array_like, shape (T,), optional
            Increasing, not negative. Without them: the steady state.
        tolerance : float
            Largest error bound that is accepted; infinity accepts all, to look at a failure.
        certify : bool
            At steady state: whether to demand a proven bound. False is for networks without a
            linear drift condition, such as the Brusselator: the error is then an estimate, the
            distance from the law within limits a quarter wider.
        max_states : int
            Largest number of states in the box.

        Returns
        -------
        course.moments.projection.Projection

        Raises
        ------
        ValueError
            For bad limits, counts or times; a steady state that is not unique.
        course.moments.projection.TruncationError
            If the error bound exceeds the tolerance, or there is none.

        Notes
        -----
        Source of the bound in time: B. Munsky and M. Khammash, J. Chem. Phys. 124, 044104 (2006).
        That at steady state is derived in chapter 5.1, "Finite state projection", which teaches
        both.
        """
        from course.moments.projection import project

        return project(
            self, limits, start=start, times=times, tolerance=tolerance, certify=certify,
            max_states=max_states,
        )  # fmt: skip

    def _counts(self, counts) -> np.ndarray:
        found = validate.array("counts", counts, dimensions=None)
        if found.ndim == 0 or found.shape[-1] != len(self.species):
            raise ValueError(
                f"counts has shape {found.shape}; allowed is (..., {len(self.species)}) for "
                f"{', '.join(self.species)}"
            )
        return found

    def _factors(self) -> list[tuple[int, int, int]]:
        """(reaction, species, offset) of every factor of the propensities."""
        rows = np.argwhere(self.reactants).tolist()
        return [(r, i, offset) for r, i in rows for offset in range(self.reactants[r, i])]

    @cached_property
    def _tables(self) -> tuple[np.ndarray, ...]:
        """What the compiled loop reads: factors, changes, and which propensities they touch."""
        factors = np.array(self._factors(), dtype=np.int64).reshape(-1, 3)
        changed = np.argwhere(self.changes)
        touched = np.argwhere((np.abs(self.changes) @ self.reactants.T) > 0)
        first = [
            np.searchsorted(table[:, 0], np.arange(len(self.rates) + 1))
            for table in (factors, changed, touched)
        ]
        by = self.changes[changed[:, 0], changed[:, 1]]
        return (
            factors[:, 1].copy(), factors[:, 2].astype(np.float64), first[0],
            changed[:, 1].copy(), by, first[1], touched[:, 1].copy(), first[2],
        )  # fmt: skip

    def _simulation(self, times, trajectories, start) -> tuple[np.ndarray, np.ndarray]:
        """Checked times, and one row of counts for each trajectory."""
        times = checked_times(times)
        trajectories = validate.whole("trajectories", trajectories)
        if start is not None and not isinstance(start, Mapping) and np.ndim(start) == 2:
            table = _whole_counts("start", validate.array("start", start, dimensions=2))
            if table.shape != (trajectories, len(self.species)):
                raise ValueError(
                    f"start has shape {table.shape}; allowed is "
                    f"({trajectories}, {len(self.species)}), one row a trajectory"
                )
            return times, table
        return times, np.tile(self.counts(start), (trajectories, 1))


def checked_times(times) -> np.ndarray:
    """Recorded times: not negative, increasing, at least one."""
    found = validate.array("times", times, dimensions=1, empty=False)
    if found[0] < 0 or (np.diff(found) <= 0).any():
        raise ValueError(f"times is {found}; allowed are increasing numbers >= 0")
    return found


def _sides(text: str) -> tuple[dict[str, int], dict[str, int]]:
    """Molecules on the two sides of one reaction."""
    if not isinstance(text, str) or text.count("->") != 1 or "<-" in text:
        raise ValueError(
            f"reaction is {text!r}; allowed is one arrow, as in '2 A + B -> C'; write a reversible "
            "reaction as two"
        )
    found = []
    for side in text.split("->"):
        counts: dict[str, int] = {}
        terms = [] if side.strip() in ("", "0", "∅") else side.split("+")
        for term in terms:
            match = _TERM.fullmatch(term.strip())
            if match is None or match["count"] == "0":
                raise ValueError(
                    f"reaction is {text!r}; {term.strip()!r} is no number of molecules: allowed "
                    "are 'A', '2 A', and 0 alone for an empty side"
                )
            counts[match["name"]] = counts.get(match["name"], 0) + int(match["count"] or 1)
        found.append(counts)
    return found[0], found[1]


def _names(species) -> tuple[str, ...]:
    good = not isinstance(species, str) and all(
        isinstance(name, str) and name.isidentifier() for name in species
    )
    if not good or not len(species) or len(set(species)) < len(species):
        raise ValueError(f"species is {species!r}; allowed are different names such as 'A', 'B'")
    return tuple(species)


def _whole_counts(name: str, table: np.ndarray) -> np.ndarray:
    if (table < 0).any() or (table != np.floor(table)).any() or (table > 2**53).any():
        raise ValueError(f"{name} is {table.tolist()}; allowed are whole numbers >= 0")
    return table.astype(np.int64)


def _arrow(species, before, after) -> str:
    def side(counts) -> str:
        terms = [
            name if count == 1 else f"{count} {name}"
            for name, count in zip(species, counts.tolist(), strict=True)
            if count
        ]
        return " + ".join(terms) or "0"

    return f"{side(before)} -> {side(after)}"


@njit(cache=True, nogil=True)
def _trajectories(
    starts, times, coefficients, factor_species, factor_offset, factor_first, change_species,
    change_by, change_first, touched, touched_first, rng, max_events, found,
):  # fmt: skip
    """Fill ``found``; returns (-1, 0), or the trajectory with too many events and its time."""
    reactions = len(coefficients)
    rates = np.empty(reactions)
    state = np.empty(starts.shape[1], dtype=np.int64)
    for which in range(len(starts)):
        state[:] = starts[which]
        for r in range(reactions):
            rate = coefficients[r]
            for f in range(factor_first[r], factor_first[r + 1]):
                rate *= state[factor_species[f]] - factor_offset[f]
            rates[r] = rate
        clock, k, events = 0.0, 0, 0
        while True:
            total = 0.0
            for r in range(reactions):
                total += rates[r]
            if total > 0.0:
                clock += rng.standard_exponential() / total
            else:
                clock = np.inf
            while k < len(times) and times[k] < clock:
                found[which, k] = state
                k += 1
            if k == len(times):
                break
            if events == max_events:
                return which, clock
            events += 1
            level = rng.random() * total
            r = 0
            level -= rates[0]
            while level >= 0.0 and r < reactions - 1:
                r += 1
                level -= rates[r]
            while rates[r] == 0.0:  # rounding led past the last reaction that can fire
                r -= 1
            for f in range(change_first[r], change_first[r + 1]):
                state[change_species[f]] += change_by[f]
            for g in range(touched_first[r], touched_first[r + 1]):
                other = touched[g]
                rate = coefficients[other]
                for f in range(factor_first[other], factor_first[other + 1]):
                    rate *= state[factor_species[f]] - factor_offset[f]
                rates[other] = rate
    return -1, 0.0


def immigration_death_distribution(
    counts, time: float, *, birth: float, death: float, start: int = 0
) -> np.ndarray:
    r"""Molecules made at a constant rate, each destroyed at its own: the exact law at any time.

    For ``0 -> A`` at rate :math:`b` (a number per unit time) and ``A -> 0`` at rate :math:`d`, the
    survivors of the start are binomial and the newcomers Poisson,

    .. math:: n(t)\sim\mathrm{Bin}\bigl(n_0,e^{-dt}\bigr)
              +\mathrm{Poisson}\Bigl(\tfrac bd\bigl(1-e^{-dt}\bigr)\Bigr).

    Parameters
    ----------
    counts : array_like of int
        Where the probability is wanted.
    time : float
        Infinity gives the steady state.
    birth, death : float
        :math:`b\ge0`, :math:`d>0`.
    start : int
        :math:`n_0`.

    Returns
    -------
    numpy.ndarray
        Probabilities, of the shape of ``counts``.

    Raises
    ------
    ValueError
        For bad input.

    Notes
    -----
    Taught in chapter 5.1, "Three exact solutions".
    """
    from scipy import stats

    counts = _whole_counts("counts", validate.array("counts", counts, dimensions=None))
    time = validate.real("time", time, low=0, infinite=True)
    birth = validate.real("birth", birth, low=0)
    death = validate.real("death", death, low=0, strict=True)
    start = validate.whole("start", start, low=0)
    kept = np.arange(start + 1)
    survivors = stats.binom.pmf(kept, start, math.exp(-death * time))
    newcomers = stats.poisson.pmf(
        counts[..., None] - kept, birth / death * -math.expm1(-death * time)
    )
    return newcomers @ survivors


def telegraph_distribution(counts, *, on: float, off: float, production: float) -> np.ndarray:
    r"""Steady state of a gene that switches on and off: a Poisson law with a beta-distributed mean.

    .. math:: P(n)=\frac{\rho^n}{n!}\frac{(\alpha)_n}{(\alpha+\beta)_n}\,
              {}_1F_1(\alpha+n;\alpha+\beta+n;-\rho)

    with rising factors :math:`(\alpha)_n`. The mean is :math:`m=\rho\alpha/(\alpha+\beta)`, the
    variance :math:`m+\rho^2\alpha\beta/[(\alpha+\beta)^2(\alpha+\beta+1)]`.

    Parameters
    ----------
    counts : array_like of int
        Where the probability is wanted.
    on, off, production : float
        :math:`\alpha,\beta,\rho>0`: rates at which the gene switches on and off, and at which it
        makes molecules while on, in units of their decay rate.

    Returns
    -------
    numpy.ndarray
        Probabilities, of the shape of ``counts``.

    Raises
    ------
    ValueError
        For bad input.

    Notes
    -----
    Source: J. Peccoud and B. Ycart, Theor. Popul. Biol. 48, 222 (1995). Taught in chapter 5.1,
    "Three exact solutions".
    """
    n = _whole_counts("counts", validate.array("counts", counts, dimensions=None)).astype(float)
    alpha = validate.real("on", on, low=0, strict=True)
    beta = validate.real("off", off, low=0, strict=True)
    rho = validate.real("production", production, low=0, strict=True)
    total = alpha + beta
    log = n * math.log(rho) - special.gammaln(n + 1)
    log += special.gammaln(alpha + n) - special.gammaln(alpha)
    log += special.gammaln(total) - special.gammaln(total + n)
    # Kummer: 1F1(a; c; -x) = exp(-x) 1F1(c - a; c; x), a sum of positive terms
    if rho <= 600:
        return np.exp(log - rho) * special.hyp1f1(beta, total + n, rho)
    log_sums = [_log_kummer(beta, total + count, rho) for count in n.ravel().tolist()]
    return np.exp(log - rho + np.reshape(log_sums, n.shape))


def _log_kummer(a: float, c: float, x: float) -> float:
    """Logarithm of 1F1(a; c; x) for 0 < a < c and x > 0, which overflows beyond x = 700.

    Its terms are positive, and beyond the power x they fall at least as fast as those of exp(x).
    """
    k = np.arange(int(x + 10 * math.sqrt(x)) + 60)
    logs = np.cumsum(np.log((a + k) / (c + k) * x / (k + 1)))
    return float(special.logsumexp(np.append(logs, 0.0)))


def dimerisation_distribution(
    counts, *, production: float, annihilation: float, volume: float
) -> np.ndarray:
    r"""Steady state of molecules that are made at a constant rate and annihilate in pairs.

    For ``0 -> A`` with :math:`k\Omega` and ``2 A -> 0`` with :math:`\lambda n(n-1)/\Omega`,

    .. math:: P(n)=\frac{a^{n/2}}{n!}\frac{I_{|n-1|}(2\sqrt a)}{\sqrt2\,I_1(2\sqrt{2a})},
              \qquad a=\frac{k\Omega^2}{\lambda},

    with modified Bessel functions :math:`I_j`.

    Parameters
    ----------
    counts : array_like of int
        Where the probability is wanted.
    production, annihilation, volume : float
        :math:`k,\lambda,\Omega>0`, with the convention ``"falling"``.

    Returns
    -------
    numpy.ndarray
        Probabilities, of the shape of ``counts``.

    Raises
    ------
    ValueError
        For bad input.

    Notes
    -----
    Taught in chapter 5.1, "Three exact solutions".
    """
    n = _whole_counts("counts", validate.array("counts", counts, dimensions=None)).astype(float)
    k = validate.real("production", production, low=0, strict=True)
    rate = validate.real("annihilation", annihilation, low=0, strict=True)
    a = k * validate.real("volume", volume, low=0, strict=True) ** 2 / rate
    near, far = 2 * math.sqrt(a), 2 * math.sqrt(2 * a)
    log_bessel = _log_bessel(int(n.max(initial=0.0)), near)[np.abs(n - 1).astype(int)]
    log = n / 2 * math.log(a) - special.gammaln(n + 1) + log_bessel - far
    return np.exp(log) / (math.sqrt(2) * special.ive(1, far))  # ive is scaled by exp(-far)


def _log_bessel(largest: int, z: float) -> np.ndarray:
    """Logarithms of the modified Bessel functions of orders 0 to ``largest`` + 1, any size.

    The ratio of neighbouring orders is a continued fraction, from large orders downwards.
    """
    ratio, logs = 0.0, np.zeros(largest + 2)
    for order in range(largest + int(z) + 60, -1, -1):
        ratio = 1 / (2 * (order + 1) / z + ratio)  # of order + 1 to order
        if order <= largest:
            logs[order + 1] = math.log(ratio)
    return math.log(special.ive(0, z)) + z + np.cumsum(logs)
