"""Homotopy continuation and compiled Laurent polynomials against algebra."""

import numpy as np
import pytest
import sympy
from numpy.testing import assert_allclose

from course.moments import laurent
from course.moments.laurent import Compiled
from course.moments.roots import continuation

GAMMA = np.exp(0.73j)


def system(polynomials, unknowns):
    compiled = Compiled(polynomials, unknowns)
    return lambda z: (compiled.values(z), compiled.jacobian(z))


def polynomial(expression, symbols):
    return {
        tuple((k, e) for k, e in enumerate(powers) if e): float(c)
        for powers, c in sympy.Poly(expression, *symbols).terms()
    }


x, y, z = sympy.symbols("x y z")


def ends(expressions, symbols):
    rows = [polynomial(expression, symbols) for expression in expressions]
    degrees = [sympy.Poly(expression, *symbols).total_degree() for expression in expressions]
    return continuation(system(rows, len(symbols)), degrees, gamma=GAMMA)


def test_every_root_of_one_polynomial():
    found = ends([x**5 - 3 * x**3 + x - 7], [x])
    assert found.lost == found.infinite == 0
    expected = np.roots([1, 0, -3, 0, 1, -7])
    distances = np.abs(found.finite - expected)
    assert (np.sort(distances, axis=0)[0] < 1e-8).all()
    assert (np.sort(distances, axis=1)[:, 0] < 1e-8).all()


def test_circle_and_hyperbola():
    found = ends([x**2 + y**2 - 5, x * y - 2], [x, y])
    assert found.lost == found.infinite == 0
    points = sorted(map(tuple, np.round(found.finite.real, 8)))
    assert_allclose(points, [(-2, -1), (-1, -2), (1, 2), (2, 1)], atol=1e-7)


def test_solutions_at_infinity_are_counted_apart():
    found = ends([x * y - 1, x - 2], [x, y])
    assert_allclose(found.finite, [[2, 0.5]], atol=1e-8)
    assert (found.infinite, found.lost) == (1, 0)
    # a slow one: 6 of 9 paths diverge, some as a root of 1 - s
    found = ends([x**3 + y - 2, y + x**3 + x * 0 - 3 * x + 1], [x, y])
    assert found.lost == 0
    assert_allclose(found.finite, [[1, 1]], atol=1e-8)


def test_a_multiple_root_leaves_the_list_open():
    found = ends([(x - 1) ** 2 * (x + 3)], [x])
    assert found.lost + len(found.finite) == 3
    assert found.infinite == 0
    assert np.abs(found.finite + 3).min() < 1e-8
    assert found.lost > 0 or len(found.finite) == 3


def test_three_unknowns():
    """Cyclic 3-roots: six solutions, permutations of the cube roots of unity and relatives."""
    found = ends([x + y + z, x * y + y * z + z * x, x * y * z - 1], [x, y, z])
    assert (len(found.finite), found.infinite, found.lost) == (6, 0, 0)
    assert_allclose(np.prod(found.finite, axis=1), 1, atol=1e-8)


def random_laurent(seed):
    rng = np.random.default_rng(seed)
    result = {}
    for _ in range(4):
        powers = rng.integers(-2, 4, size=3)
        monomial = tuple((k, int(e)) for k, e in enumerate(powers) if e)
        result[monomial] = int(rng.integers(1, 5))
    return result


def expression(poly):
    symbols = (x, y, z)
    return sympy.Add(*(c * sympy.Mul(*(symbols[k] ** e for k, e in m)) for m, c in poly.items()))


@pytest.mark.parametrize("seed", range(4))
def test_arithmetic_values_and_derivatives_agree_with_sympy(seed):
    first, second = random_laurent(seed), random_laurent(seed + 50)
    pairs = [
        (laurent.add(first, second, -3), expression(first) - 3 * expression(second)),
        (laurent.multiply(first, second), expression(first) * expression(second)),
        (laurent.power(first, 3), expression(first) ** 3),
        (laurent.derivative(first, 1), sympy.diff(expression(first), y)),
    ]
    for found, expected in pairs:
        assert sympy.expand(expression(found) - expected) == 0
        assert 0 not in found.values()
    compiled = Compiled([first, second], 3)
    for point in ([0.7, -1.2, 2.0], [0.7 + 0.2j, -1.2j, 2.0 + 0j]):
        at = dict(zip((x, y, z), map(sympy.sympify, point), strict=True))
        values = [complex(expression(p).subs(at)) for p in (first, second)]
        slopes = [
            [complex(sympy.diff(expression(p), s).subs(at)) for s in (x, y, z)]
            for p in (first, second)
        ]
        assert_allclose(compiled.values(np.array(point)), values, rtol=1e-12)
        assert_allclose(compiled.jacobian(np.array(point)), slopes, rtol=1e-12)


def test_terms_that_cancel_are_gone():
    first = random_laurent(1)
    assert laurent.add(first, first, -1) == {}
    assert laurent.constant(0) == {}
    assert laurent.variable(2, 0) == {(): 1}


def test_division_by_zero_is_infinite_and_zero_powers_are_not():
    compiled = Compiled([laurent.variable(0, -1), laurent.variable(0), {}], 1)
    assert np.isinf(compiled.values(np.zeros(1))[0])
    assert_allclose(compiled.values(np.zeros(1))[1:], 0)
    assert_allclose(compiled.jacobian(np.zeros(1))[1:, 0], [1, 0])
    assert compiled.values(np.ones((4, 2, 1))).shape == (4, 2, 3)
    assert compiled.jacobian(np.ones((4, 2, 1))).shape == (4, 2, 3, 1)
