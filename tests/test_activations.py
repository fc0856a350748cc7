"""Gaussian moments of activations by quadrature, sampling and identities."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import dblquad

from course.activations import activations, find_activation, gaussian_moments


def gelu(z):
    return z * 0.5 * (1 + math.erf(z / math.sqrt(2)))


def gelu_slope(z):
    return 0.5 * (1 + math.erf(z / math.sqrt(2))) + z * math.exp(-z * z / 2) / math.sqrt(
        2 * math.pi
    )


FUNCTIONS = {
    "gelu": (gelu, gelu_slope),
    "tanh": (math.tanh, lambda z: 1 - math.tanh(z) ** 2),
    "erf": (math.erf, lambda z: 2 / math.sqrt(math.pi) * math.exp(-z * z)),
    "relu": (lambda z: max(z, 0.0), lambda z: float(z > 0)),
}


@pytest.mark.parametrize("name", ["gelu", "tanh", "erf"])
@pytest.mark.parametrize(("q1", "q2", "cosine"), [(0.7, 1.9, 0.35), (1.3, 0.4, -0.8)])
def test_moments_by_adaptive_integration(name, q1, q2, cosine):
    k = cosine * math.sqrt(q1 * q2)
    result = gaussian_moments(name, q1, q2, k)
    for function, value in zip(FUNCTIONS[name], result, strict=True):

        def integrand(s, t, function=function):
            u = math.sqrt(q1) * t
            v = math.sqrt(q2) * (cosine * t + math.sqrt(1 - cosine**2) * s)
            weight = math.exp(-(s * s + t * t) / 2) / (2 * math.pi)
            return function(u) * function(v) * weight

        expected, error = dblquad(integrand, -9, 9, -9, 9, epsabs=1e-9, epsrel=1e-9)
        assert abs(float(value) - expected) < 1e-8 + error


@pytest.mark.parametrize("name", ["relu", "erf", "gelu", "tanh", "linear"])
def test_derivative_moment_is_slope_of_the_first(name):
    # Price's theorem: d/dk E[phi phi] = E[phi' phi'], a relation neither formula was built from
    # (for GELU it was: there the check is of the algebra).
    q1, q2, k, step = 0.8, 1.7, 0.4, 1e-5
    above, below = (gaussian_moments(name, q1, q2, k + s).function for s in (step, -step))
    slope = gaussian_moments(name, q1, q2, k).derivative
    # Central difference: truncation of order step², rounding of order 1e-16/step.
    assert float(slope) == pytest.approx(float(above - below) / (2 * step), abs=1e-9)


@pytest.mark.parametrize("name", ["relu", "erf", "gelu", "tanh"])
def test_moments_by_sampling(name):
    rng = np.random.default_rng(7)
    q1, q2, k = 1.1, 0.9, -0.3
    u, v = rng.multivariate_normal([0, 0], [[q1, k], [k, q2]], size=400_000).T
    activation = activations[name]
    for function, value in zip(activation[:2], gaussian_moments(name, q1, q2, k), strict=True):
        products = (function(torch.tensor(u)) * function(torch.tensor(v))).numpy()
        error = products.std() / math.sqrt(len(products))
        # Five standard errors: four activations and two moments, one in 10^5 by chance.
        assert abs(products.mean() - float(value)) < 5 * error


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_quadrature_is_exact_for_monomials(degree):
    q1, q2, k = 1.3, 0.6, 0.5
    exact = {1: k, 2: q1 * q2 + 2 * k**2, 3: 9 * q1 * q2 * k + 6 * k**3}[degree]
    slope = {1: 1, 2: 4 * k, 3: 9 * (q1 * q2 + 2 * k**2)}[degree]
    result = gaussian_moments(lambda z: z**degree, q1, q2, k)
    assert float(result.function) == pytest.approx(exact, rel=1e-12)
    assert float(result.derivative) == pytest.approx(slope, rel=1e-12)


@pytest.mark.parametrize(
    ("function", "right", "left"),
    [
        (torch.nn.functional.leaky_relu, 1.0, 0.01),
        (torch.nn.LeakyReLU(0.3), 1.0, 0.3),
        (torch.abs, 1.0, -1.0),
        (lambda z: -2 * torch.relu(-z), 0.0, 2.0),
    ],
)
@pytest.mark.parametrize(("q1", "q2", "cosine"), [(0.7, 1.9, 0.35), (1.3, 0.4, -0.8)])
def test_moments_with_a_kink_by_integration(function, right, left, q1, q2, cosine):
    # In polar coordinates of two independent normals the radius integrates by hand: E r² = 2.
    # The kinks lie at four angles; between them the midpoint rule on 4000 cells is off by
    # (pi/2000)²/24 relative to integrands of order 10, at the kinks by one cell of 2pi/10^6.
    angle = (np.arange(1_000_000) + 0.5) * 2 * np.pi / 1_000_000
    u = math.sqrt(q1) * np.cos(angle)
    v = math.sqrt(q2) * (cosine * np.cos(angle) + math.sqrt(1 - cosine**2) * np.sin(angle))
    slopes = np.where(u > 0, right, left), np.where(v > 0, right, left)
    found = gaussian_moments(function, q1, q2, cosine * math.sqrt(q1 * q2))
    assert abs(found.function - 2 * np.mean(slopes[0] * u * slopes[1] * v)) < 1e-9
    assert abs(found.derivative - np.mean(slopes[0] * slopes[1])) < 4 * 4 * 1e-6


def test_functions_of_one_slope_have_no_kink():
    assert find_activation(lambda z: 3 * z).moments is None
    assert find_activation(torch.nn.functional.relu6).moments is None
    assert find_activation(torch.nn.functional.silu).moments is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("relu", -1.0, 1.0, 0.0), "q1 is"),
        (("relu", 1.0, math.inf, 0.0), "q2 is"),
        (("relu", 1.0, 1.0, 1.1), "k is"),
        (("swish", 1.0, 1.0, 0.1), "activation is 'swish'"),
    ],
)
def test_bad_moments(arguments, message):
    with pytest.raises(ValueError, match=message):
        gaussian_moments(*arguments)
