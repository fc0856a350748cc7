"""Polynomials in many variables, with negative powers too: exact on paper, compiled in use.

A polynomial is a dict from monomials to coefficients; a monomial is a sorted tuple of pairs
(variable, power) without zero powers. :class:`Compiled` evaluates many of them and their Jacobian.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

__all__ = [
    "Compiled", "Monomial", "Polynomial", "add", "constant", "derivative", "multiply", "power",
    "variable",
]  # fmt: skip

Monomial = tuple[tuple[int, int], ...]
Polynomial = dict[Monomial, int]


def constant(value) -> Polynomial:
    """The polynomial that is one number."""
    return {(): value} if value else {}


def variable(number: int, exponent: int = 1) -> Polynomial:
    """One variable to some power, negative ones included."""
    return {((number, exponent),): 1} if exponent else constant(1)


def _product(first: Monomial, second: Monomial) -> Monomial:
    powers = dict(first)
    for number, exponent in second:
        powers[number] = powers.get(number, 0) + exponent
    return tuple(sorted((number, exponent) for number, exponent in powers.items() if exponent))


def add(first: Polynomial, second: Polynomial, factor=1) -> Polynomial:
    """``first + factor * second``, without the terms that cancel."""
    total = dict(first)
    for monomial, coefficient in second.items():
        total[monomial] = total.get(monomial, 0) + factor * coefficient
    return {monomial: coefficient for monomial, coefficient in total.items() if coefficient}


def multiply(first: Polynomial, second: Polynomial) -> Polynomial:
    """The product of two polynomials."""
    total: Polynomial = {}
    for left, a in first.items():
        for right, b in second.items():
            monomial = _product(left, right)
            total[monomial] = total.get(monomial, 0) + a * b
    return {monomial: coefficient for monomial, coefficient in total.items() if coefficient}


def power(base: Polynomial, exponent: int) -> Polynomial:
    """A polynomial to a power of at least zero."""
    result = constant(1)
    for _ in range(exponent):
        result = multiply(result, base)
    return result


def derivative(polynomial: Polynomial, number: int) -> Polynomial:
    """The derivative with respect to one variable."""
    total: Polynomial = {}
    for monomial, coefficient in polynomial.items():
        exponent = dict(monomial).get(number, 0)
        if exponent:
            lowered = _product(monomial, ((number, -1),))
            total[lowered] = total.get(lowered, 0) + exponent * coefficient
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _power(base, exponent):
    product = base * 0 + 1
    for _ in range(abs(exponent)):
        product *= base
    return product if exponent >= 0 else 1 / product


@njit(cache=True, nogil=True, error_model="numpy")
def _values(x, rows, coefficients, starts, variables, powers, count):
    values = np.zeros((len(x), count), dtype=x.dtype)
    for point in range(len(x)):
        for term in range(len(rows)):
            product = x.dtype.type(coefficients[term])
            for place in range(starts[term], starts[term + 1]):
                product *= _power(x[point, variables[place]], powers[place])
            values[point, rows[term]] += product
    return values


@njit(cache=True, nogil=True, error_model="numpy")
def _jacobian(x, rows, coefficients, starts, variables, powers, count):
    jacobian = np.zeros((len(x), count, x.shape[1]), dtype=x.dtype)
    for point in range(len(x)):
        for term in range(len(rows)):
            for chosen in range(starts[term], starts[term + 1]):
                product = x.dtype.type(coefficients[term] * powers[chosen])
                for place in range(starts[term], starts[term + 1]):
                    exponent = powers[place] - (1 if place == chosen else 0)
                    if exponent != 0:
                        product *= _power(x[point, variables[place]], exponent)
                jacobian[point, rows[term], variables[chosen]] += product
    return jacobian


class Compiled:
    """A list of polynomials in ``variables`` variables, evaluated by compiled code.

    Parameters
    ----------
    polynomials : sequence of Polynomial
    variables : int
        How many variables there are; one that no polynomial names counts too.
    """

    def __init__(self, polynomials: Sequence[Polynomial], variables: int):
        rows, coefficients, starts, names, powers = [], [], [0], [], []
        for row, polynomial in enumerate(polynomials):
            for monomial, coefficient in polynomial.items():
                rows.append(row)
                coefficients.append(float(coefficient))
                names.extend(number for number, _ in monomial)
                powers.extend(exponent for _, exponent in monomial)
                starts.append(len(names))
        self.count, self.variables = len(polynomials), variables
        whole = (np.array(part, dtype=np.int64) for part in (rows, starts, names, powers))
        rows, starts, names, powers = whole
        self._terms = (rows, np.array(coefficients, dtype=float), starts, names, powers)

    def values(self, x: np.ndarray) -> np.ndarray:
        """The polynomials at the real or complex points ``x``, shape (..., variables).

        Returns
        -------
        numpy.ndarray
            Shape (..., count); infinite or NaN where one divides by zero.
        """
        points = np.ascontiguousarray(x).reshape(-1, self.variables)
        return _values(points, *self._terms, self.count).reshape(*np.shape(x)[:-1], self.count)

    def jacobian(self, x: np.ndarray) -> np.ndarray:
        """Their derivatives at ``x``, shape (..., count, variables)."""
        points = np.ascontiguousarray(x).reshape(-1, self.variables)
        shape = (*np.shape(x)[:-1], self.count, self.variables)
        return _jacobian(points, *self._terms, self.count).reshape(shape)
