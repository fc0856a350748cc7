"""Estimates: standard errors against exact distributions, exponents against known power laws."""

import numpy as np
import pytest
import torch
from scipy import stats

from course.estimates import Estimate, estimate, fit_exponent, jackknife


def test_estimate_of_known_samples():
    result = estimate([1.0, 2.0, 3.0, 4.0])
    assert isinstance(result, Estimate)
    assert result.value == 2.5
    assert result.stderr == pytest.approx(stats.sem([1.0, 2.0, 3.0, 4.0]))
    assert result.seeds == 4


def test_estimate_moves_the_seed_axis():
    samples = np.random.default_rng(0).normal(size=(3, 7))
    along_last = estimate(samples, axis=1)
    assert along_last.seeds == 7
    np.testing.assert_allclose(along_last.stderr, stats.sem(samples, axis=1))


def test_standard_error_covers_the_truth_as_often_as_it_says():
    # 2,000 experiments of 20 seeds: the t statistic must follow Student's law with 19 degrees.
    samples = np.random.default_rng(1).normal(loc=3.0, size=(20, 2000))
    result = estimate(samples)
    statistic = (result.value - 3.0) / result.stderr
    assert stats.kstest(statistic, stats.t(19).cdf).pvalue > 1e-4


def test_jackknife_of_the_mean_is_the_standard_error():
    samples = np.random.default_rng(2).exponential(size=30)
    assert jackknife(np.mean, samples).stderr == pytest.approx(stats.sem(samples))


def test_jackknife_error_of_a_variance_matches_theory():
    # Var(s²) = 2σ⁴/(n−1) for Gaussian samples; 300 experiments fix the mean ratio to about 2 %.
    rng = np.random.default_rng(3)
    errors = [jackknife(lambda s: s.var(ddof=1), rng.normal(size=50)).stderr for _ in range(300)]
    assert np.mean(np.square(errors)) == pytest.approx(2 / 49, rel=0.1)


def test_exponent_of_an_exact_power_law():
    x = np.array([2.0, 8.0, 32.0])
    samples = np.outer([1.0, 2.0, 5.0, 0.1, 7.0], x**-0.75)
    assert fit_exponent(x, samples).value == pytest.approx(-0.75, abs=1e-12)


def test_exponent_error_is_the_scatter_over_seeds():
    rng = np.random.default_rng(4)
    x = np.geomspace(10, 1000, 6)
    pulls = []
    for _ in range(400):
        noisy = x**-0.5 * np.exp(0.1 * rng.normal(size=(8, 6)))
        fit = fit_exponent(x, noisy)
        pulls.append((fit.value + 0.5) / fit.stderr)
    assert stats.kstest(pulls, stats.t(7).cdf).pvalue > 1e-4


def test_exponent_of_a_statistic():
    rng = np.random.default_rng(5)
    x = np.array([16.0, 64.0, 256.0, 1024.0])
    fit = fit_exponent(x, rng.normal(size=(400, 4)) / np.sqrt(x), statistic=lambda s: s.std(axis=0))
    assert abs(fit.value + 0.5) < 4 * fit.stderr < 0.2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: estimate([1.0]), "at least 2 independent seeds"),
        (lambda: estimate([1.0, np.nan]), "NaN"),
        (lambda: fit_exponent([1.0, 2.0], np.ones((3, 2))), "three positive"),
        (lambda: fit_exponent([1.0, 3.0, 2.0], np.ones((3, 3))), "increasing"),
        (lambda: fit_exponent([1.0, 2.0, 3.0], np.ones((3, 4))), "shape"),
        (lambda: fit_exponent([1.0, 2.0, 3.0], -np.ones((3, 3))), "positive values"),
        (lambda: jackknife(np.mean, [2.0]), "at least 2"),
        (lambda: estimate(3.0), "one number"),
        (lambda: jackknife(np.mean, 3.0), "one number"),
        (lambda: estimate([1.0, 2.0], axis=1), "axis is 1"),
        (lambda: estimate([1.0, 2.0], axis="x"), "axis is 'x'"),
        (lambda: estimate([1j, 2.0]), "real"),
        (lambda: estimate(["1", "2"]), "samples"),
        (lambda: jackknife(lambda s: np.inf, np.ones(3)), "statistic is inf"),
        (lambda: jackknife(lambda s: np.nan if len(s) < 3 else 1.0, np.ones(3)), "statistic is 1"),
        (lambda: fit_exponent([1.0, 2.0, np.inf], np.ones((3, 3))), "x is .*finite"),
        (lambda: fit_exponent([1.0, np.nan, 3.0], np.ones((3, 3))), "x is .*finite"),
        (lambda: fit_exponent("123", np.ones((3, 3))), "x is"),
        (
            lambda: fit_exponent(
                [1.0, 2.0, 3.0],
                np.ones((3, 3)),
                statistic=lambda s: s[0] * np.array([1, np.nan, 1]),
            ),
            "finite, positive",
        ),
        (
            lambda: fit_exponent([1.0, 2.0, 3.0], np.ones((3, 3)), statistic=lambda s: s.std()),
            "statistic returns shape",
        ),
    ],
)
def test_bad_input_is_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.filterwarnings("error")
def test_tensors_are_taken_as_they_are_also_with_gradients():
    samples = torch.tensor([[1.0, 2.0, 4.0], [2.0, 4.0, 8.0]], requires_grad=True)
    plain = samples.detach().numpy()
    for axis in (0, 1):
        ours, numpys = estimate(samples, axis=axis), estimate(plain, axis=axis)
        np.testing.assert_array_equal(ours.value, numpys.value)
        np.testing.assert_array_equal(ours.stderr, numpys.stderr)
    x = torch.tensor([1.0, 2.0, 4.0], requires_grad=True)
    assert fit_exponent(x, samples).value == pytest.approx(1.0, abs=1e-12)
