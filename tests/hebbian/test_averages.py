"""Averages of the tangent: against arbitrary precision, exact limits and Gaussian identities."""

import itertools

import mpmath as mp
import numpy as np
import pytest
from scipy.special import erf

from course.hebbian.averages import TanhAverages, tanh_averages, tanh_averages_at

mp.mp.dps = 25


def reference(mean, deviation):
    """The eight averages by adaptive quadrature in u with 25 digits."""
    a, s = mp.mpf(mean), mp.mpf(deviation)
    edges = {a + k * s for k in (-12, -8, -5, -3, -1, 0, 1, 3, 5, 8, 12)}
    edges |= {sign * mp.mpf(k) for k in (0, 1, 2, 4, 8, 16, 32) for sign in (-1, 1)}
    edges = sorted(u for u in edges if abs(u - a) <= 12 * s)

    def average(function):
        def weighted(u):
            return function(u) * mp.exp(-(((u - a) / s) ** 2) / 2) / (s * mp.sqrt(2 * mp.pi))

        return float(mp.quad(weighted, edges))

    functions = [
        mp.tanh, lambda u: mp.tanh(u) ** 2, lambda u: mp.sech(u) ** 4,
        lambda u: abs(u) + mp.log1p(mp.exp(-2 * abs(u))), lambda u: mp.sech(u) ** 2,
        lambda u: mp.tanh(u) * mp.sech(u) ** 2,
        lambda u: abs(u) + mp.log1p(mp.exp(-2 * abs(u))) - u * mp.tanh(u),
        lambda u: 6 * mp.sech(u) ** 4 - 4 * mp.sech(u) ** 2,
    ]  # fmt: skip
    return [average(function) for function in functions]


@pytest.mark.parametrize(
    ("mean", "deviation"),
    [(0.0, 0.4), (0.7, 0.05), (-1.3, 0.999), (0.2, 1.0), (2.5, 1.001), (-4.0, 3.0), (30.0, 12.0)],
)
def test_agrees_with_arbitrary_precision(mean, deviation):
    expected = reference(mean, deviation)
    found = tanh_averages(mean, deviation)
    for name, value, target in zip(found._fields, found, expected, strict=True):
        assert value == pytest.approx(target, rel=1e-13, abs=1e-13), name


@pytest.mark.parametrize("deviation", [1e3, 1e8, 1e12])
@pytest.mark.parametrize("ratio", [0.0, 0.5, -2.0])
def test_strong_noise_is_a_step_with_a_window_at_zero(ratio, deviation):
    """For a steep tangent the exact moments of the window remain: corrections are 1/s^2."""
    mean = ratio * deviation
    density = np.exp(-(ratio**2) / 2) / (deviation * np.sqrt(2 * np.pi))
    curvature = density * (ratio**2 - 1) / deviation**2
    slope = density * ratio / deviation
    step, moment = erf(ratio / np.sqrt(2)), np.pi**2 / 12
    found = tanh_averages(mean, deviation)
    small = 1e-11 if deviation < 1e4 else 1e-14
    assert found.tanh == pytest.approx(step - slope * moment, abs=small)
    assert found.sech2 == pytest.approx(2 * density + curvature * moment, rel=1e-11)
    assert found.sech4 == pytest.approx(4 / 3 * density, rel=1e-5 if deviation < 1e4 else 1e-12)
    length = deviation * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2) + mean * step
    assert found.log2cosh == pytest.approx(length + density * moment, rel=1e-12)
    assert found.entropy == pytest.approx(
        2 * density * moment, rel=1e-4 if small > 1e-12 else 1e-12
    )
    # E[tanh u sech^2 u] is half the derivative of E[tanh^2 u] with respect to the mean: u sech^2
    # integrates to 1 over the line after one partial integration
    assert found.tanh_sech2 == pytest.approx(slope, rel=1e-5 if deviation < 1e4 else 1e-10)


def test_without_noise_it_is_the_function_itself():
    u = np.array([-30.0, -1.0, 0.0, 0.3, 400.0])
    found = tanh_averages(u, 0.0)
    np.testing.assert_allclose(found.tanh, np.tanh(u), rtol=1e-15)
    np.testing.assert_allclose(found.log2cosh, np.logaddexp(u, -u), rtol=1e-15)
    np.testing.assert_allclose(found.sech2[:4], np.cosh(u[:4]) ** -2.0, rtol=1e-13)
    np.testing.assert_allclose(found.sech4, found.sech2**2)
    np.testing.assert_allclose(found.tanh_sech2, found.tanh * found.sech2)
    p = 1 / (1 + np.exp(-2 * u[:4]))
    binary = -p * np.log(p) - (1 - p) * np.log1p(-p)
    np.testing.assert_allclose(found.entropy[1:4], binary[1:], rtol=1e-13)
    assert found.entropy[4] == 0


def test_one_minus_tanh2_keeps_its_digits():
    """At a mean of 15 the tangent is 1 to 13 digits; sech^2 is known from 4 E[exp(-2u)]."""
    for deviation in (0.3, 0.9, 1.2):
        leading = 4 * np.exp(-30 + 2 * deviation**2)
        assert tanh_averages(15.0, deviation).sech2 == pytest.approx(leading, rel=1e-6)


@pytest.mark.parametrize("deviation", [0.2, 0.95, 1.5, 40.0])
def test_derivatives_obey_gaussian_identities(deviation):
    """Stein's identity links the averages with one another through the arguments."""
    a, h = 0.8, 1e-4 * max(1.0, deviation)
    up, down = tanh_averages(a + h, deviation), tanh_averages(a - h, deviation)
    wide, narrow = tanh_averages(a, deviation + h), tanh_averages(a, deviation - h)
    here = tanh_averages(a, deviation)

    def slope(high, low, field):
        return (getattr(high, field) - getattr(low, field)) / (2 * h)

    close = {"rel": 2e-7, "abs": 1e-9}
    assert slope(up, down, "log2cosh") == pytest.approx(here.tanh, **close)
    assert slope(up, down, "tanh") == pytest.approx(here.sech2, **close)
    assert slope(up, down, "tanh2") == pytest.approx(2 * here.tanh_sech2, **close)
    assert slope(wide, narrow, "log2cosh") == pytest.approx(deviation * here.sech2, **close)
    assert slope(wide, narrow, "tanh") == pytest.approx(-2 * deviation * here.tanh_sech2, **close)
    assert slope(wide, narrow, "tanh2") == pytest.approx(deviation * here.curvature, **close)
    assert here.curvature == pytest.approx(6 * here.sech4 - 4 * here.sech2, abs=1e-12)


def test_both_rules_meet_at_unit_deviation():
    means = np.linspace(-6, 6, 41)
    below, above = (tanh_averages(means, 1 + sign * 1e-13) for sign in (-1, 1))
    for name, left, right in zip(TanhAverages._fields, below, above, strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=5e-13, err_msg=name)


def test_symmetry_and_shapes():
    means, deviations = np.linspace(-3, 3, 5)[:, None], np.array([0.0, 0.5, 7.0])
    found, mirrored = tanh_averages(means, deviations), tanh_averages(-means, deviations)
    for name, value, other in zip(TanhAverages._fields, found, mirrored, strict=True):
        assert value.shape == (5, 3)
        sign = -1 if name in ("tanh", "tanh_sech2") else 1
        np.testing.assert_allclose(value, sign * other, rtol=1e-14, atol=1e-15, err_msg=name)
    for i, j in itertools.product(range(5), range(3)):
        single = tanh_averages(means[i, 0], deviations[j])
        assert all(isinstance(value, float) for value in single)
        assert single == tanh_averages_at(means[i, 0], deviations[j])
        np.testing.assert_array_equal([value[i, j] for value in found], single)
    np.testing.assert_allclose(found.tanh2 + found.sech2, 1, rtol=1e-14)
    assert tanh_averages(np.zeros((0, 2)), 1.0).tanh.shape == (0, 2)


@pytest.mark.parametrize(
    ("mean", "deviation", "message"),
    [
        (0.0, -1e-9, "deviation has an entry -1e-09; allowed are numbers >= 0"),
        (np.nan, 1.0, "mean contains NaN"),
        (0.0, np.inf, "deviation contains"),
        ("0", 1.0, "mean is '0'"),
        (np.zeros(2), np.ones(3), "shapes that broadcast"),
    ],
)
def test_bad_arguments(mean, deviation, message):
    with pytest.raises(ValueError, match=message):
        tanh_averages(mean, deviation)
