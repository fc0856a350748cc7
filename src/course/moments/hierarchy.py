r"""Moment equations of a reaction network to any order.

The equation of a moment of order :math:`i` contains moments above :math:`i` as soon as a
propensity is not linear: an infinite hierarchy. :func:`moment_equations` writes its first orders,
exactly and symbolically; ``.close`` cuts it with one of the closures of
``course.moments.closures.CLOSURES``.

Taught in chapter 5.2, "The hierarchy and its closures".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import sympy
from scipy import linalg, optimize

from course import validate
from course.moments.closed import ClosedSystem
from course.moments.closures import CLOSURES, Powers, binomial, multi_indices, smaller
from course.moments.kinetics import ReactionNetwork

__all__ = ["LinearNoise", "MomentEquations", "linear_noise", "moment_equations"]

Integers = Mapping[Powers, int]


def _falling(power: int) -> list[int]:
    """Coefficients of n(n−1)…(n−power+1), lowest first: signed Stirling numbers."""
    coefficients = [1]
    for step in range(power):
        shifted, scaled = [0, *coefficients], [step * c for c in coefficients] + [0]
        coefficients = [a - b for a, b in zip(shifted, scaled, strict=True)]
    return coefficients


def _counts_product(reactants: Powers) -> dict[Powers, int]:
    """The product of falling factors of all species, expanded in powers of the counts."""
    expanded: dict[Powers, int] = {(): 1}
    for reactant in reactants:
        expanded = {
            (*powers, power): value * coefficient
            for powers, value in expanded.items()
            for power, coefficient in enumerate(_falling(reactant))
            if coefficient
        }
    return expanded


def _reaction_terms(index: Powers, reactants: Powers, change: Powers) -> dict[Powers, int]:
    """Moments, with integer factors, in ⟨a[(n+ν)^i − n^i]⟩ of a reaction with unit coefficient."""
    total: dict[Powers, int] = {}
    propensity = _counts_product(reactants)
    for lower in smaller(index):
        if lower == index:
            continue
        jump = math.prod(v ** (i - k) for v, i, k in zip(change, index, lower, strict=True))
        if jump == 0:
            continue
        factor = binomial(index, lower) * jump
        for powers, coefficient in propensity.items():
            moment = tuple(a + b for a, b in zip(powers, lower, strict=True))
            total[moment] = total.get(moment, 0) + factor * coefficient
    return {moment: value for moment, value in total.items() if value}


def _latex_moment(powers: Powers, species: tuple[str, ...]) -> str:
    names = (
        (sympy.latex(sympy.Symbol(name)), power)
        for name, power in zip(species, powers, strict=True)
    )
    inside = " ".join(
        name if power == 1 else f"{name}^{{{power}}}" for name, power in names if power
    )
    return rf"\langle {inside}\rangle"


@dataclass(frozen=True, eq=False)
class MomentEquations:
    r"""The exact equations of the raw moments of orders 1 to :math:`M`.

    .. math:: \frac{d\mu}{dt}=b+L\,\mu+H\,\mu_{>}

    with :math:`\mu` the moments up to order :math:`M` and :math:`\mu_{>}` those above it that
    occur. Made by :func:`moment_equations`.

    Attributes
    ----------
    network : ReactionNetwork
    order : int
        The order :math:`M`.
    indices : tuple of tuple of int
        Powers of the moments :math:`\mu`, by order; ``(2, 1)`` is :math:`\langle A^2B\rangle`.
    higher : tuple of tuple of int
        Powers of the moments :math:`\mu_>`; empty if the hierarchy closes by itself.
    terms : tuple of tuple of dict
        ``terms[i][r]`` maps powers to the integer factor with which that moment, times the
        coefficient of reaction ``r``, enters the equation of ``indices[i]``.
    """

    network: ReactionNetwork
    order: int
    indices: tuple[Powers, ...]
    higher: tuple[Powers, ...]
    terms: tuple[tuple[Integers, ...], ...]

    def __repr__(self) -> str:
        return f"<moment equations of order {self.order} for {', '.join(self.species)}>"

    @property
    def species(self) -> tuple[str, ...]:
        """Names of the species, in the order of the powers."""
        return self.network.species

    def _matrix(self, columns: tuple[Powers, ...]) -> np.ndarray:
        place = {powers: column for column, powers in enumerate(columns)}
        matrix = np.zeros((len(self.indices), len(columns)))
        for row, reactions in enumerate(self.terms):
            for coefficient, entries in zip(self.network.coefficients, reactions, strict=True):
                for powers, value in entries.items():
                    if powers in place:
                        matrix[row, place[powers]] += coefficient * value
        return matrix

    @cached_property
    def constant(self) -> np.ndarray:
        """The vector b, shape (moments,)."""
        return self._matrix(((0,) * len(self.species),))[:, 0]

    @cached_property
    def matrix(self) -> np.ndarray:
        """The matrix L, shape (moments, moments)."""
        return self._matrix(self.indices)

    @cached_property
    def coupling(self) -> np.ndarray:
        """The matrix H, shape (moments, higher moments)."""
        return self._matrix(self.higher)

    def symbol(self, *powers: int) -> sympy.Expr:
        """The symbol of a moment, such as ``symbol(2, 1)``; 1 for powers of zero."""
        powers = self._checked(powers)
        if sum(powers) == 0:
            return sympy.Integer(1)
        return sympy.Symbol("mu_" + "_".join(map(str, powers)), real=True)

    def _checked(self, powers) -> Powers:
        if len(powers) != len(self.species):
            raise ValueError(
                f"powers is {powers!r}; allowed is one power for each of {self.species}"
            )
        return tuple(validate.whole("powers", power, low=0) for power in powers)

    def symbolic(self, *, numeric: bool = False) -> dict[sympy.Symbol, sympy.Expr]:
        """Right-hand sides by moment.

        Parameters
        ----------
        numeric : bool
            False: with the rate constants ``k_1``, … and the volume ``Omega`` as symbols. True:
            with the values of the network's rates as rational numbers.

        Returns
        -------
        dict of sympy.Symbol to sympy.Expr
        """
        coefficients = self._symbolic_coefficients(numeric)
        equations = {}
        for index, reactions in zip(self.indices, self.terms, strict=True):
            total: dict[Powers, sympy.Expr] = {}
            for coefficient, entries in zip(coefficients, reactions, strict=True):
                for powers, value in entries.items():
                    total[powers] = total.get(powers, 0) + coefficient * value
            equations[self.symbol(*index)] = sympy.Add(
                *(factor * self.symbol(*powers) for powers, factor in total.items())
            )
        return equations

    def _symbolic_coefficients(self, numeric: bool) -> list[sympy.Expr]:
        network = self.network
        if numeric:
            return [sympy.nsimplify(float(c), rational=True) for c in network.coefficients]
        *rates, volume = network.parameter_symbols
        coefficients = []
        for rate, reactants in zip(rates, network.reactants.tolist(), strict=True):
            factor = rate * volume ** (1 - sum(reactants))
            if network.convention == "combinations":
                factor /= math.prod(map(math.factorial, reactants))
            coefficients.append(factor)
        return coefficients

    def latex(self, *, numeric: bool = False) -> str:
        r"""The equations as a LaTeX ``aligned`` block, ready for a display formula."""
        lines = (
            rf"\frac{{d}}{{dt}}{self._latex(left)} &= {self._latex(right)}"
            for left, right in self.symbolic(numeric=numeric).items()
        )
        return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"

    def _latex(self, expression: sympy.Expr) -> str:
        names = {
            self.symbol(*powers): _latex_moment(powers, self.species)
            for powers in (*self.indices, *self.higher)
        }
        return sympy.latex(expression, symbol_names=names)

    def _repr_latex_(self) -> str:
        return f"$$\n{self.latex()}\n$$"

    def derivative(self, moment: Callable[[Powers], float]) -> np.ndarray:
        """The exact rate of change of the moments for a known law.

        Parameters
        ----------
        moment : callable
            ``moment((2, 1))`` gives the raw moment of these powers; it is asked for those in
            ``indices`` and in ``higher``. For example the ``moment`` of a finite state projection.

        Returns
        -------
        numpy.ndarray, shape (moments,)
            Zero for the moments of a stationary law.
        """
        low = np.array([moment(powers) for powers in self.indices], dtype=float)
        high = np.array([moment(powers) for powers in self.higher], dtype=float)
        return self.constant + self.matrix @ low + self.coupling @ high

    def close(self, closure: str) -> ClosedSystem:
        """Express the moments above the order by those below.

        Parameters
        ----------
        closure : {"zero", "normal", "poisson", "lognormal", "gamma", "derivative_matching", \
"central"}
            What is assumed above order M. Four closures take the cumulants of a law: ``normal``
            (zero), ``poisson`` (the mean for one species, zero for mixed ones), ``lognormal`` and
            ``gamma`` (those of the law with the same means and covariances). ``central``: central
            moments vanish; ``zero``: raw moments vanish, a naive cut; ``derivative_matching``: a
            product of powers of the lower moments.

        Returns
        -------
        ClosedSystem

        Raises
        ------
        ValueError
            For another name, or a log-normal or gamma closure at order 1.
        """
        validate.choice("closure", closure, tuple(CLOSURES))
        return ClosedSystem(self, closure)


def moment_equations(network: ReactionNetwork, order: int) -> MomentEquations:
    r"""The exact equations of all moments of a network up to an order.

    .. math:: \frac{d\langle n^i\rangle}{dt}
              =\sum_r\bigl\langle a_r(n)\,[(n+\nu_r)^i-n^i]\bigr\rangle

    for every multi-index :math:`i` with :math:`1\le|i|\le M`; :math:`a_r` are the propensities and
    :math:`\nu_r` the changes of the counts :math:`n`.

    Parameters
    ----------
    network : ReactionNetwork
        Mass-action reactions.
    order : int
        The order :math:`M\ge1`.

    Returns
    -------
    MomentEquations

    Raises
    ------
    ValueError
        For something else than a network, or an order below 1.

    Notes
    -----
    Integer arithmetic throughout: four orders for three species take milliseconds. Taught in
    chapter 5.2, "From the master equation to moments".
    """
    if not isinstance(network, ReactionNetwork):
        raise ValueError(f"network is {network!r}; allowed are ReactionNetwork objects")
    order = validate.whole("order", order)
    indices = multi_indices(len(network.species), order)
    reactants = [tuple(row) for row in network.reactants.tolist()]
    changes = [tuple(row) for row in network.changes.tolist()]
    terms = tuple(
        tuple(_reaction_terms(index, s, v) for s, v in zip(reactants, changes, strict=True))
        for index in indices
    )
    mentioned = {powers for row in terms for entries in row for powers in entries}
    above = {powers for powers in mentioned if sum(powers) > order}
    higher = tuple(sorted(above, key=lambda powers: (sum(powers), [-p for p in powers])))
    return MomentEquations(network, order, indices, higher, terms)


class LinearNoise(NamedTuple):
    """Means and covariances to leading order in the volume, at a steady state.

    Attributes
    ----------
    mean : numpy.ndarray
        Counts at the fixed point of the rate equations, shape (species,).
    covariance : numpy.ndarray
        Solution of the Lyapunov equation, shape (species, species).
    """

    mean: np.ndarray
    covariance: np.ndarray


def linear_noise(network: ReactionNetwork, near) -> LinearNoise:
    r"""Linear noise approximation at a stable fixed point of the rate equations.

    .. math:: JC+CJ^\top+D=0,\qquad D=\sum_r\nu_r\nu_r^\top a_r

    with :math:`J` the Jacobian of the rate equations and :math:`a_r` the macroscopic propensities
    at the fixed point.

    Parameters
    ----------
    network : ReactionNetwork
        Without conservation laws.
    near : array_like, shape (species,)
        Counts at which the search for the fixed point starts.

    Returns
    -------
    LinearNoise

    Raises
    ------
    ValueError
        For a network with conservation laws (its Lyapunov equation is singular), or a start of
        another shape.
    RuntimeError
        If the search does not converge, or ends at a fixed point that is not stable.

    Notes
    -----
    Taught in chapter 5.2, "Linear noise".
    """
    near = validate.array("near", near, dimensions=1)
    if len(near) != len(network.species):
        raise ValueError(f"near has shape {near.shape}; allowed is ({len(network.species)},)")
    if len(network.conservation_laws):
        raise ValueError(
            f"network conserves {network.conservation_laws.tolist()} (rows times the counts); "
            "allowed are networks without conservation laws: substitute one species first"
        )
    changes, reactants = network.changes, network.reactants

    def macroscopic(counts):
        plain = np.prod(counts**reactants, axis=1)
        return network.coefficients * plain

    def slopes(counts):
        rows = np.empty((len(changes), len(counts)))
        for place in range(len(counts)):
            lowered = reactants.copy()
            lowered[:, place] = np.maximum(lowered[:, place] - 1, 0)
            rows[:, place] = reactants[:, place] * np.prod(counts**lowered, axis=1)
        return changes.T @ (network.coefficients[:, None] * rows)

    found = optimize.root(lambda n: changes.T @ macroscopic(n), near, jac=slopes, tol=1e-13)
    drift = np.abs(changes.T @ macroscopic(found.x)).max()
    if not drift <= 1e-9 * (1 + np.abs(macroscopic(found.x)).max()):
        raise RuntimeError(f"no fixed point of the rate equations found near {near}")
    jacobian = slopes(found.x)
    growth = np.linalg.eigvals(jacobian).real.max()
    if growth >= 0:
        raise RuntimeError(
            f"the fixed point {found.x} of the rate equations is not stable: a perturbation grows "
            f"at rate {growth:.3g}, and no stationary linear noise exists"
        )
    noise = (changes.T * macroscopic(found.x)) @ changes
    return LinearNoise(found.x, linalg.solve_continuous_lyapunov(jacobian, -noise))
