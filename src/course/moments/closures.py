r"""Moments of high order in terms of those of low order: what each closure assumes.

Every closure of the book makes the moments above order :math:`M` Laurent polynomials of those up
to order :math:`M`. A moment is named by its powers: ``(2, 1)`` is :math:`\langle A^2B\rangle`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from course.moments import laurent
from course.moments.laurent import Polynomial

__all__ = [
    "CLOSURES", "CumulantForm", "closing_moments", "cumulant_form", "multi_indices", "smaller",
]  # fmt: skip

Powers = tuple[int, ...]


def multi_indices(species: int, order: int) -> tuple[Powers, ...]:
    """Powers of all moments of orders 1 to ``order``: by order, then the first species first."""
    every = itertools.product(range(order + 1), repeat=species)
    kept = [powers for powers in every if 1 <= sum(powers) <= order]
    return tuple(sorted(kept, key=lambda powers: (sum(powers), [-p for p in powers])))


def smaller(powers: Powers) -> itertools.product:
    """All powers that are at most ``powers`` in each species, zero and ``powers`` included."""
    return itertools.product(*(range(power + 1) for power in powers))


def binomial(upper: Powers, lower: Powers) -> int:
    """Product over the species of binomial coefficients."""
    return math.prod(map(math.comb, upper, lower))


def _minus(first: Powers, second: Powers) -> Powers:
    return tuple(a - b for a, b in zip(first, second, strict=True))


class _Assumption:
    """Moments of a law whose moments up to ``known`` are variables; cumulants above are given."""

    def __init__(self, indices: Sequence[Powers], known: int):
        self.number = {powers: place for place, powers in enumerate(indices)}
        self.known = known
        self._raw: dict[Powers, Polynomial] = {}
        self._cumulants: dict[Powers, Polynomial] = {}

    def variable(self, powers: Powers, exponent: int = 1) -> Polynomial:
        if sum(powers) == 0:
            return laurent.constant(1)
        return laurent.variable(self.number[powers], exponent)

    def mean(self, place: int, exponent: int = 1) -> Polynomial:
        species = len(next(iter(self.number)))
        return self.variable(tuple(int(i == place) for i in range(species)), exponent)

    def raw(self, powers: Powers) -> Polynomial:
        if sum(powers) <= self.known:
            return self.variable(powers)
        if powers not in self._raw:
            self._raw[powers] = self._from_cumulants(powers, skip_own=False)
        return self._raw[powers]

    def cumulant(self, powers: Powers) -> Polynomial:
        if powers not in self._cumulants:
            if sum(powers) > self.known:
                found = self.high_cumulant(powers)
            else:
                rest = self._from_cumulants(powers, skip_own=True)
                found = laurent.add(self.variable(powers), rest, -1)
            self._cumulants[powers] = found
        return self._cumulants[powers]

    def _from_cumulants(self, powers: Powers, *, skip_own: bool) -> Polynomial:
        first = next(place for place, power in enumerate(powers) if power)
        upper = tuple(power - (place == first) for place, power in enumerate(powers))
        total: Polynomial = {}
        for lower in smaller(upper):
            if sum(lower) or not skip_own:
                term = laurent.multiply(self.cumulant(_minus(powers, lower)), self.raw(lower))
                total = laurent.add(total, term, binomial(upper, lower))
        return total

    def high_cumulant(self, powers: Powers) -> Polynomial:
        return {}


class _Normal(_Assumption):
    """Cumulants above the order vanish."""


class _Poisson(_Assumption):
    """Cumulants of one species equal its mean, mixed ones vanish."""

    def high_cumulant(self, powers: Powers) -> Polynomial:
        involved = [place for place, power in enumerate(powers) if power]
        return self.mean(involved[0]) if len(involved) == 1 else {}


class _Gamma(_Assumption):
    """Cumulants of sums of independent gamma variables, one shared by each pair of species."""

    def _scale(self, place: int) -> Polynomial:
        """Variance over mean."""
        twice = self.variable(tuple(2 * int(power) for power in self._unit(place)))
        ratio = laurent.multiply(twice, self.mean(place, -1))
        return laurent.add(ratio, self.mean(place), -1)

    def _unit(self, place: int) -> Powers:
        return tuple(int(i == place) for i in range(len(next(iter(self.number)))))

    def high_cumulant(self, powers: Powers) -> Polynomial:
        involved = [place for place, power in enumerate(powers) if power]
        if len(involved) > 2:
            return {}
        if len(involved) == 1:
            product = self.mean(involved[0])
        else:
            product = self.cumulant(tuple(int(i in involved) for i in range(len(powers))))
        for place in involved:
            product = laurent.multiply(
                product, laurent.power(self._scale(place), powers[place] - 1)
            )
        return laurent.multiply(product, laurent.constant(math.factorial(sum(powers) - 1)))


class _Zero(_Assumption):
    """Raw moments above the order vanish."""

    def raw(self, powers: Powers) -> Polynomial:
        return self.variable(powers) if sum(powers) <= self.known else {}


class _Central(_Assumption):
    """Central moments above the order vanish."""

    def _central(self, powers: Powers) -> Polynomial:
        if sum(powers) > self.known:
            return {}
        total: Polynomial = {}
        for lower in smaller(powers):
            term = laurent.multiply(self.variable(lower), self._means(_minus(powers, lower)))
            sign = (-1) ** sum(_minus(powers, lower))
            total = laurent.add(total, term, sign * binomial(powers, lower))
        return total

    def _means(self, powers: Powers) -> Polynomial:
        product = laurent.constant(1)
        for place, power in enumerate(powers):
            product = laurent.multiply(product, self.mean(place, power))
        return product

    def raw(self, powers: Powers) -> Polynomial:
        if sum(powers) <= self.known:
            return self.variable(powers)
        total: Polynomial = {}
        for lower in smaller(powers):
            term = laurent.multiply(self._central(lower), self._means(_minus(powers, lower)))
            total = laurent.add(total, term, binomial(powers, lower))
        return total


class _LognormalLaw(_Assumption):
    """All moments of the log-normal law of the same means and covariances."""

    def raw(self, powers: Powers) -> Polynomial:
        species, product = range(len(powers)), laurent.constant(1)
        for a in species:
            product = laurent.multiply(product, self.mean(a, powers[a]))
            for b in range(a, len(powers)):
                pairs = powers[a] * (powers[a] - 1) // 2 if a == b else powers[a] * powers[b]
                second = tuple((i == a) + (i == b) for i in species)
                for factor in (self.variable(second, pairs), self.mean(a, -pairs)):
                    product = laurent.multiply(product, factor)
                product = laurent.multiply(product, self.mean(b, -pairs))
        return product

    def high_cumulant(self, powers: Powers) -> Polynomial:
        rest = self._from_cumulants(powers, skip_own=True)
        return laurent.add(self.raw(powers), rest, -1)


class _Lognormal(_Assumption):
    """Cumulants of the log-normal law of the same means and covariances."""

    def __init__(self, indices, known):
        super().__init__(indices, known)
        self._law = _LognormalLaw(indices, 2)

    def high_cumulant(self, powers: Powers) -> Polynomial:
        return self._law.cumulant(powers)


class _DerivativeMatching(_Assumption):
    """A product of powers of the moments, exact to leading order in small fluctuations."""

    def raw(self, powers: Powers) -> Polynomial:
        exponents: dict[Powers, int] = {}
        below = [lower for lower in smaller(powers) if 1 <= sum(lower) <= self.known]
        for lower in sorted(below, key=sum, reverse=True):
            larger = sum(gamma * binomial(other, lower) for other, gamma in exponents.items())
            exponents[lower] = binomial(powers, lower) - larger
        product = laurent.constant(1)
        for lower, gamma in exponents.items():
            product = laurent.multiply(product, self.variable(lower, gamma))
        return product


CLOSURES: dict[str, Callable] = {
    "zero": _Zero,
    "normal": _Normal,
    "poisson": _Poisson,
    "lognormal": _Lognormal,
    "gamma": _Gamma,
    "derivative_matching": _DerivativeMatching,
    "central": _Central,
}
"""Each closure's name and its rule."""

NEED_SECOND = ("lognormal", "gamma")


def closing_moments(
    closure: str, indices: Sequence[Powers], higher: Sequence[Powers]
) -> list[Polynomial]:
    """The moments ``higher`` as Laurent polynomials of the moments ``indices``.

    Parameters
    ----------
    closure : str
        A key of ``CLOSURES``.
    indices : sequence of tuple of int
        Powers of all moments up to the order of the closure: variable ``i`` is ``indices[i]``.
    higher : sequence of tuple of int
        Powers of the moments to express.

    Returns
    -------
    list of Polynomial

    Raises
    ------
    ValueError
        For log-normal and gamma closure below order 2, which have no variance to match.
    """
    order = max(map(sum, indices))
    if closure in NEED_SECOND and order < 2:
        raise ValueError(
            f"order is {order}; closure {closure!r} matches means and covariances: allowed are "
            "orders >= 2"
        )
    assumption = CLOSURES[closure](indices, order)
    return [assumption.raw(powers) for powers in higher]


class CumulantForm(NamedTuple):
    """Closed equations in the cumulants up to the order, as integer polynomials.

    Attributes
    ----------
    moments : list of Polynomial
        The raw moments.
    rates : list of list of Polynomial
        ``rates[i][r]`` is what reaction ``r`` of unit coefficient adds to the rate of change of
        cumulant ``i``.
    """

    moments: list[Polynomial]
    rates: list[list[Polynomial]]


class _InCumulants:
    """Raw moments of all orders as polynomials of the cumulants up to the order."""

    def __init__(self, closure: str, indices: Sequence[Powers]):
        self.closure, self.order = closure, max(map(sum, indices))
        self.number = {powers: place for place, powers in enumerate(indices)}
        self._known: dict[tuple[Powers, bool], Polynomial] = {}

    def _cumulant(self, powers: Powers, centred: bool) -> Polynomial:
        if sum(powers) == 1 and centred:
            return {}
        if sum(powers) <= self.order:
            return laurent.variable(self.number[powers])
        if self.closure == "poisson" and sum(map(bool, powers)) == 1:
            return laurent.variable(self.number[tuple(map(int, map(bool, powers)))])
        return {}

    def _expanded(self, powers: Powers, centred: bool) -> Polynomial:
        """The moment (about the mean if ``centred``) from the cumulants, by recursion."""
        if sum(powers) == 0:
            return laurent.constant(1)
        key = (powers, centred)
        if key not in self._known:
            first = next(place for place, power in enumerate(powers) if power)
            upper = tuple(power - (place == first) for place, power in enumerate(powers))
            total: Polynomial = {}
            for lower in smaller(upper):
                cumulant = self._cumulant(_minus(powers, lower), centred)
                if cumulant:
                    term = laurent.multiply(cumulant, self._expanded(lower, centred))
                    total = laurent.add(total, term, binomial(upper, lower))
            self._known[key] = total
        return self._known[key]

    def raw(self, powers: Powers) -> Polynomial:
        if sum(powers) <= self.order or self.closure in ("normal", "poisson"):
            return self._expanded(powers, centred=False)
        total: Polynomial = {}
        if self.closure == "central":
            for lower in smaller(powers):
                if sum(lower) <= self.order:
                    means = {tuple((k, p) for k, p in enumerate(_minus(powers, lower)) if p): 1}
                    term = laurent.multiply(means, self._expanded(lower, centred=True))
                    total = laurent.add(total, term, binomial(powers, lower))
        return total


POLYNOMIAL = ("zero", "normal", "poisson", "central")
"""Closures that divide by nothing."""

IN_CUMULANTS = ("normal", "poisson", "central")
"""Those that are solved in cumulants; with ``zero`` the raw moments obey linear equations."""


def cumulant_form(
    closure: str, indices: Sequence[Powers], terms: Sequence[Sequence[Mapping[Powers, int]]]
) -> CumulantForm:
    """Closed equations of the cumulants, for the closures in ``POLYNOMIAL``.

    In cumulants the equations are of a lower degree than in raw moments, and free of their large
    terms that cancel.

    Parameters
    ----------
    closure : str
    indices : sequence of tuple of int
        Powers of all cumulants: variable ``i`` is that of ``indices[i]``, means first.
    terms : sequence
        As in ``MomentEquations.terms``.

    Returns
    -------
    CumulantForm
    """
    law = _InCumulants(closure, indices)
    moments = [law.raw(powers) for powers in indices]
    rates: list[list[Polynomial]] = []
    for number, reactions in enumerate(terms):
        slopes = {j: laurent.derivative(moments[number], j) for j in range(number)}
        row = []
        for reaction, entries in enumerate(reactions):
            total: Polynomial = {}
            for powers, value in entries.items():
                total = laurent.add(total, law.raw(powers), value)
            for j, slope in slopes.items():
                if slope and rates[j][reaction]:
                    total = laurent.add(total, laurent.multiply(slope, rates[j][reaction]), -1)
            row.append(total)
        rates.append(row)
    return CumulantForm(moments, rates)
