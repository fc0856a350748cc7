"""Learning curves of kernel regression against closed forms, high precision and simulation."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar

from course.exercises import find
from course.scaling import kernel_ridge_risk
from course.scaling.kernel_regression import (
    KernelRisk,
    cost_of_overfitting,
    profile_risk,
    sample_kernel_risk,
    simulate_kernel_ridge,
    sphere_multiplicity,
)

INDEX = np.arange(1, 2001)
POWER_LAW = INDEX**-1.5
TARGET = INDEX**-2.0 / (INDEX**-2.0).sum()


def exact_sum(eigenvalues, kappa, samples, ridge, multiplicities=None):
    """Σ mλ/(λ+κ) + δ/κ - N in exact rational arithmetic."""
    weights = [1] * len(eigenvalues) if multiplicities is None else multiplicities
    kappa = Fraction(float(kappa))
    total = Fraction(float(ridge)) / kappa - Fraction(float(samples))
    for value, weight in zip(eigenvalues, weights, strict=True):
        value = Fraction(float(value))
        total += Fraction(float(weight)) * value / (value + kappa)
    return total


def test_checkpoint():
    risk = kernel_ridge_risk(POWER_LAW, TARGET, samples=200, ridge=1.0, noise=0.05)
    assert risk.test == pytest.approx(0.07587339, abs=5e-9)
    assert isinstance(risk, KernelRisk)
    assert all(isinstance(getattr(risk, name), float) for name in ("kappa", "test", "train"))


def test_formulas_from_their_definition():
    risk = kernel_ridge_risk(POWER_LAW, TARGET, samples=150, ridge=0.3, noise=0.2)
    learned = POWER_LAW / (POWER_LAW + risk.kappa)
    np.testing.assert_allclose(risk.learnability, learned, rtol=1e-15)
    assert learned.sum() + 0.3 / risk.kappa == pytest.approx(150, rel=1e-13)
    assert risk.overfitting == pytest.approx(150 / (150 - (learned**2).sum()), rel=1e-12)
    bracket = ((1 - learned) ** 2 * TARGET).sum() + 0.2
    assert risk.test == pytest.approx(risk.overfitting * bracket, rel=1e-12)
    assert risk.train == pytest.approx((0.3 / 150 / risk.kappa) ** 2 * risk.test, rel=1e-12)


@pytest.mark.parametrize("modes", [1, 3, 1000])
@pytest.mark.parametrize("ridge", [0.0, 1e-12, 0.5, 1e6])
def test_equal_eigenvalues(modes, ridge):
    scale, samples = 0.7, 2 * modes if ridge else modes / 2
    spectrum = np.full(modes, scale)
    risk = kernel_ridge_risk(spectrum, spectrum, samples=samples, ridge=ridge)
    # N κ² + (Nλ - Mλ - δ) κ - δλ = 0
    b = samples * scale - modes * scale - ridge
    root = math.sqrt(b * b + 4 * samples * ridge * scale)
    kappa = (root - b) / (2 * samples) if b < 0 else 2 * ridge * scale / (root + b)
    assert risk.kappa == pytest.approx(kappa, rel=1e-12)


def test_marchenko_pastur():
    modes, samples, ridge, noise = 300, 200, 40.0, 0.5
    low, high = (samples * (1 + sign * math.sqrt(modes / samples)) ** 2 for sign in (-1, 1))

    def integrand(k):
        density = math.sqrt((high - k) * (k - low)) / (2 * math.pi * modes * k)
        return density * (ridge**2 + modes * noise * k) / (k + ridge) ** 2

    target = quad(integrand, low, high, epsabs=1e-12)[0] + (1 - samples / modes) + noise
    flat = kernel_ridge_risk(
        np.ones(modes), np.full(modes, 1 / modes), samples=samples, ridge=ridge, noise=noise
    )
    assert flat.test == pytest.approx(target, rel=1e-8)


spectra = st.lists(
    st.one_of(st.just(0.0), st.floats(-250, 250).map(lambda x: 10.0**x)), min_size=1, max_size=40
)


@settings(max_examples=300, deadline=None)
@given(
    spectra,
    st.floats(0, 6).map(lambda x: 10.0**x),
    st.one_of(st.just(0.0), st.just(1e-12), st.floats(-200, 200).map(lambda x: 10.0**x)),
    st.booleans(),
)
def test_root_is_always_found(eigenvalues, samples, ridge, fewer):
    positive = sum(value > 0 for value in eigenvalues)
    if fewer:
        samples = max(positive - 1, 1) * 0.999
    if ridge == 0 and samples >= positive:
        with pytest.raises(ValueError, match="undefined"):
            kernel_ridge_risk(eigenvalues, np.ones(len(eigenvalues)), samples=samples)
        return
    risk = kernel_ridge_risk(
        eigenvalues, np.ones(len(eigenvalues)), samples=samples, ridge=ridge, noise=1.0
    )
    assert risk.kappa > 0
    assert risk.overfitting >= 1 - 1e-12
    assert np.isfinite(risk.test)
    # the exact sum changes sign within a relative 1e-11 of the solution
    below = exact_sum(eigenvalues, risk.kappa * (1 - 1e-11), samples, ridge)
    above = exact_sum(eigenvalues, risk.kappa * (1 + 1e-11), samples, ridge)
    assert below > 0 > above


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-30, 5), st.floats(0, 9)), min_size=2, max_size=12),
    st.floats(0.01, 0.999),
    st.one_of(st.just(0.0), st.floats(-12, 3).map(lambda x: 10.0**x)),
)
def test_root_with_multiplicities(levels, fraction, ridge):
    eigenvalues = [10.0**value for value, _ in levels]
    weights = [10.0**weight for _, weight in levels]
    samples = fraction * sum(weights)
    risk = kernel_ridge_risk(
        eigenvalues, np.ones(len(levels)), samples=samples, ridge=ridge, multiplicities=weights
    )
    # samples is not whole, so that its rounding counts: relative to what is left of the sum
    above = exact_sum(eigenvalues, risk.kappa * (1 + 1e-6), samples, ridge, weights)
    below = exact_sum(eigenvalues, risk.kappa * (1 - 1e-6), samples, ridge, weights)
    assert below > 0 > above


def test_multiplicities_are_repeated_modes():
    values, counts, power = np.array([0.2, 1.0, 0.01]), np.array([5, 2, 40]), np.array([1, 2.0, 3])
    repeated = np.repeat(values, counts)
    spread = np.repeat(power / counts, counts)
    one = kernel_ridge_risk(values, power, samples=20, ridge=0.1, noise=0.3, multiplicities=counts)
    other = kernel_ridge_risk(repeated, spread, samples=20, ridge=0.1, noise=0.3)
    for name in ("kappa", "overfitting", "test", "train"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-12)
    assert one.learnability.shape == (3,)


@pytest.mark.parametrize(
    ("samples", "ridge"),
    [(n, ridge) for n in (1, 30, 10**3, 10**5, 10**6 - 1) for ridge in (0.0, 1e-12, 1.0)]
    + [(10**6, 1e-12), (10**6, 1.0)],
)
def test_a_million_modes(samples, ridge):
    eigenvalues = np.arange(1, 10**6 + 1) ** -1.5
    eigenvalues[::1000] *= 1 + 1e-9  # still sorted
    risk = kernel_ridge_risk(eigenvalues, eigenvalues, samples=samples, ridge=ridge)
    left = (risk.kappa / (eigenvalues + risk.kappa)).sum()
    assert left == pytest.approx(10**6 - samples + ridge / risk.kappa, rel=1e-9)


def test_unsorted_and_zero_modes_change_nothing_else():
    order = np.random.default_rng(0).permutation(2000)
    shuffled = kernel_ridge_risk(POWER_LAW[order], TARGET[order], samples=99, noise=0.1)
    plain = kernel_ridge_risk(POWER_LAW, TARGET, samples=99, noise=0.1)
    assert shuffled.test == pytest.approx(plain.test, rel=1e-12)
    np.testing.assert_allclose(shuffled.learnability, plain.learnability[order], rtol=1e-12)
    # power in modes of eigenvalue zero is noise
    extended = kernel_ridge_risk(
        np.append(POWER_LAW, [0, 0]), np.append(TARGET, [0.3, 0.1]), samples=99, noise=0.1
    )
    noisier = kernel_ridge_risk(POWER_LAW, TARGET, samples=99, noise=0.5)
    assert extended.test == pytest.approx(noisier.test, rel=1e-12)
    np.testing.assert_array_equal(extended.learnability[-2:], 0)


def test_broadcasting():
    samples, ridge, noise = np.array([[10], [20]]), np.array([0.1, 1.0, 3.0]), np.array([0.0, 1, 2])
    risk = kernel_ridge_risk(POWER_LAW, TARGET, samples=samples, ridge=ridge, noise=noise)
    assert risk.test.shape == risk.kappa.shape == risk.train.shape == (2, 3)
    assert risk.learnability.shape == (2, 3, 2000)
    one = kernel_ridge_risk(POWER_LAW, TARGET, samples=20, ridge=3.0, noise=2.0)
    assert risk.test[1, 2] == one.test
    assert risk.train[1, 2] == one.train
    noises = kernel_ridge_risk(POWER_LAW, TARGET, samples=20, noise=[0.0, 1.0])
    assert noises.kappa.shape == (2,)
    assert noises.kappa[0] == noises.kappa[1]
    noises.kappa[0] = 0.0  # a copy of its own
    assert noises.kappa[1] > 0


def test_ridge_to_zero_is_continuous():
    none = kernel_ridge_risk(POWER_LAW, TARGET, samples=300, noise=0.2)
    tiny = kernel_ridge_risk(POWER_LAW, TARGET, samples=300, ridge=1e-14, noise=0.2)
    assert tiny.test == pytest.approx(none.test, rel=1e-9)
    assert none.train == 0


def test_degenerate_targets():
    noise = kernel_ridge_risk(POWER_LAW, 0 * TARGET, samples=50, noise=2.0)
    assert noise.test == pytest.approx(2 * noise.overfitting, rel=1e-14)
    nothing = kernel_ridge_risk(POWER_LAW, 0 * TARGET, samples=50)
    assert nothing.test == nothing.train == 0
    zero = kernel_ridge_risk([0.0, 0.0], [1.0, 2.0], samples=4, ridge=0.5, noise=1.0)
    assert (zero.kappa, zero.overfitting, zero.test) == (0.125, 1.0, 4.0)


def test_power_law_limits():
    i = np.arange(1, 10**6 + 1)
    risk = kernel_ridge_risk(i**-2.0, i**-2.0, samples=100)
    assert risk.kappa == pytest.approx((math.pi / 2 / 100.5) ** 2, rel=3e-4)
    assert risk.overfitting == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eigenvalues": [1.0, -0.1]}, r"eigenvalues has -0.1 at index 1; .*undefined"),
        ({"eigenvalues": []}, "eigenvalues is empty; without a mode"),
        ({"eigenvalues": [1.0, math.nan]}, "eigenvalues contains NaN"),
        ({"eigenvalues": [1.0, math.inf]}, "eigenvalues contains NaN or infinity"),
        ({"eigenvalues": [[1.0, 2.0]]}, "eigenvalues has shape"),
        ({"eigenvalues": None}, "eigenvalues is None"),
        ({"coefficients": [1.0]}, r"coefficients has shape \(1,\); allowed is one for each"),
        ({"coefficients": [1.0, -1.0]}, "coefficients contains -1; they are squares"),
        ({"coefficients": [1.0, math.nan]}, "coefficients contains NaN"),
        ({"samples": 0}, "samples contains 0; allowed are numbers > 0"),
        ({"samples": math.nan}, "samples contains NaN"),
        ({"samples": [1, 2, 3], "ridge": [1.0, 2.0]}, "broadcast together"),
        ({"samples": 2}, r"samples is 2 with ridge 0, and 2 modes .*undefined"),
        ({"samples": 5}, r"samples is 5 with ridge 0, and 2 modes .*undefined"),
        ({"samples": 1, "eigenvalues": [1.0, 0.0]}, r"and 1 modes .*undefined"),
        ({"ridge": -1.0}, "ridge contains -1; allowed are numbers >= 0"),
        ({"ridge": math.nan}, "ridge contains NaN"),
        ({"noise": -1.0}, "noise contains -1; allowed are numbers >= 0"),
        ({"multiplicities": [1.0]}, "multiplicities is"),
        ({"multiplicities": [1.0, 0.0]}, "multiplicities is"),
    ],
)
def test_refused(change, message):
    arguments = {"eigenvalues": [1.0, 0.5], "coefficients": [1.0, 1.0], "samples": 1} | change
    with pytest.raises(ValueError, match=message):
        kernel_ridge_risk(**arguments)


# Simulation


def test_simulation_agrees_with_theory():
    settings = {"samples": 120, "noise": 0.1}
    ridges, times = [0.0, 0.2, 5.0], [0.1, 2.0]
    runs = simulate_kernel_ridge(
        POWER_LAW, TARGET, seeds=60, rng=np.random.default_rng(3), ridges=ridges, times=times,
        **settings,
    )  # fmt: skip
    assert runs.test.shape == runs.train.shape == (60, 5)
    assert runs.kappa.shape == (60, 3)
    theory = kernel_ridge_risk(POWER_LAW, TARGET, ridge=ridges, **settings)
    flow = profile_risk(POWER_LAW, TARGET, strength=times, **settings)
    error = runs.test.std(axis=0, ddof=1) / math.sqrt(60)
    expected = np.concatenate([theory.test, flow.test])
    assert (np.abs(runs.test.mean(axis=0) - expected) < 4.5 * error + 0.01 * expected).all()
    error = runs.train.std(axis=0, ddof=1)[:3] / math.sqrt(60)
    gap = np.abs(runs.train.mean(axis=0)[:3] - theory.train)
    assert (gap <= 4.5 * error + 0.02 * theory.train).all()
    np.testing.assert_allclose(runs.kappa.mean(axis=0), theory.kappa, rtol=0.02)


def test_simulation_is_ridge_regression_and_gradient_descent():
    # One machine rebuilt from the same draws, by a linear solve and by 20,000 small steps.
    spectrum, power = np.array([1.0, 0.5, 0.2, 0.0]), np.array([0.3, 0.2, 0.4, 0.1])
    runs = simulate_kernel_ridge(
        spectrum, power, samples=3, noise=0.2, seeds=1, rng=np.random.default_rng(5),
        ridges=[0.4], times=[1.7],
    )  # fmt: skip
    rng = np.random.default_rng(5)
    z = rng.standard_normal((3, 4))
    v = np.sqrt(power) * rng.choice((-1.0, 1.0), 4)
    y = z @ v + math.sqrt(0.2) * rng.standard_normal(3)
    kernel = (z * spectrum) @ z.T
    dual = np.linalg.solve(kernel + 0.4 * np.eye(3), y)
    error = ((v - spectrum * (z.T @ dual)) ** 2).sum() + 0.2
    assert runs.test[0, 0] == pytest.approx(error, rel=1e-12)
    assert runs.train[0, 0] == pytest.approx(((y - kernel @ dual) ** 2).mean(), rel=1e-12)
    dual, steps = np.zeros(3), 20_000
    for _ in range(steps):
        dual = dual + 1.7 / steps * (y - kernel @ dual)
    error = ((v - spectrum * (z.T @ dual)) ** 2).sum() + 0.2
    assert runs.test[0, 1] == pytest.approx(error, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 0}, "samples is 0"),
        ({"samples": 2}, "undefined"),
        ({"seeds": 0}, "seeds is 0"),
        ({"noise": -1.0}, "noise is -1"),
        ({"rng": 3}, "rng is 3"),
        ({"ridges": []}, "ridges and times are empty"),
        ({"ridges": [-1.0]}, "ridges and times are empty or negative"),
        ({"times": [-1.0]}, "ridges and times are empty or negative"),
    ],
)
def test_simulation_refuses(change, message):
    arguments = {"samples": 1, "seeds": 1, "rng": np.random.default_rng(0), "ridges": [0.0]}
    with pytest.raises(ValueError, match=message):
        simulate_kernel_ridge([1.0, 0.5], [1.0, 1.0], **(arguments | change))


def test_simulation_says_when_the_matrix_is_singular_to_rounding():
    # eigenvalues down to e^-60: no NaN and no error of 1e20, but an exception
    steep = np.exp(-2.0 * np.arange(1, 61))
    settings = {"samples": 30, "noise": 1.0, "seeds": 1, "rng": np.random.default_rng(0)}
    with pytest.raises(RuntimeError, match="singular to rounding"):
        simulate_kernel_ridge(steep, 0 * steep, ridges=[0.0, 1.0], **settings)
    assert np.isfinite(
        simulate_kernel_ridge(steep, 0 * steep, ridges=[1e-3], **settings).test
    ).all()


# Profiles


@pytest.mark.parametrize("samples", [7, 200, 5000])
@pytest.mark.parametrize("ridge", [1e-3, 1.0, 300.0])
def test_contour_of_ridge_is_the_closed_form(samples, ridge):
    risk = profile_risk(
        POWER_LAW, TARGET, samples=samples, profile="ridge", strength=ridge, noise=0.3
    )
    theory = kernel_ridge_risk(POWER_LAW, TARGET, samples=samples, ridge=ridge, noise=0.3)
    clean = kernel_ridge_risk(POWER_LAW, TARGET, samples=samples, ridge=ridge)
    assert risk.test == pytest.approx(theory.test, abs=1e-6)
    assert risk.signal == pytest.approx(clean.test, abs=2e-8)
    assert risk.test == pytest.approx(risk.signal + risk.noise + 0.3, rel=1e-14)


def test_flow_has_its_two_limits():
    early = profile_risk(POWER_LAW, TARGET, samples=100, strength=1e-9, noise=0.3)
    assert early.signal == pytest.approx(1.0, abs=1e-6)
    assert early.noise == pytest.approx(0.0, abs=1e-6)
    late = profile_risk(POWER_LAW, TARGET, samples=100, strength=1e5, noise=0.3)
    none = kernel_ridge_risk(POWER_LAW, TARGET, samples=100, noise=0.3)
    assert late.test == pytest.approx(none.test, rel=1e-7)


def test_flow_of_isotropic_data_is_an_integral():
    modes, samples, time_, noise = 100, 250, 0.004, 0.4
    low, high = (samples * (1 + sign * math.sqrt(modes / samples)) ** 2 for sign in (-1, 1))

    def integrand(k):
        density = math.sqrt((high - k) * (k - low)) / (2 * math.pi * modes * k)
        left = math.exp(-k * time_)
        return density * (left**2 + modes * noise * (1 - left) ** 2 / k)

    target = quad(integrand, low, high, epsabs=1e-12)[0] + noise
    risk = profile_risk(
        np.ones(modes), np.full(modes, 1 / modes), samples=samples, strength=time_, noise=noise
    )
    assert risk.test == pytest.approx(target, rel=1e-9)


def test_repeated_ridge_is_ridge_on_residuals():
    # order 2 against a simulation that refits what is left
    rng = np.random.default_rng(8)
    errors = []
    for _ in range(60):
        z = rng.standard_normal((80, 500))
        v = np.sqrt(TARGET[:500]) * rng.choice((-1.0, 1.0), 500)
        y = z @ v + math.sqrt(0.1) * rng.standard_normal(80)
        kernel = (z * POWER_LAW[:500]) @ z.T
        inverse = np.linalg.inv(kernel + 0.5 * np.eye(80))
        dual = inverse @ y
        dual = dual + inverse @ (y - kernel @ dual)
        errors.append(((v - POWER_LAW[:500] * (z.T @ dual)) ** 2).sum() + 0.1)
    risk = profile_risk(
        POWER_LAW[:500], TARGET[:500], samples=80, profile="ridge", order=2, strength=0.5, noise=0.1
    )
    error = np.std(errors, ddof=1) / math.sqrt(60)
    assert abs(np.mean(errors) - risk.test) < 4.5 * error + 0.01 * risk.test


def test_profile_shapes_and_zero_modes():
    risk = profile_risk([1.0, 0.5, 0.0], [0.5, 0.3, 0.2], samples=1, strength=[0.1, 1.0])
    assert risk.test.shape == (2,)
    assert isinstance(profile_risk([1.0], [1.0], samples=3, strength=1.0).test, float)
    none = profile_risk([0.0], [2.0], samples=3, strength=1.0, noise=0.5)
    assert none == (2.5, 2.0, 0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"profile": "cutoff"}, "profile is 'cutoff'"),
        ({"strength": 0.0}, "strength contains 0"),
        ({"strength": math.nan}, "strength contains NaN"),
        ({"order": 0}, "order is 0"),
        ({"order": 2}, "order is 2; allowed is 1 for profile 'flow'"),
        ({"samples": 0}, "samples is 0"),
        ({"noise": -1.0}, "noise is -1"),
    ],
)
def test_profile_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        profile_risk([1.0, 0.5], [1.0, 1.0], **({"samples": 1, "strength": 1.0} | change))


def test_profile_says_when_digits_are_lost():
    with pytest.raises(RuntimeError, match="too close to its limit"):
        profile_risk(POWER_LAW, TARGET, samples=100, strength=1e13, noise=0.3)


# The cost of overfitting


def test_cost_checkpoint():
    i = np.arange(1, 200_001)
    table = cost_of_overfitting(
        i**-1.5, i**-2.0 / (i**-2.0).sum(), samples=200, noise=[0.0, 0.05, 1.0]
    )
    np.testing.assert_allclose(table.cost, [1.0, 1.138, 1.393], atol=6e-4)
    np.testing.assert_allclose(table.overfitting, 1.509, atol=6e-4)
    assert table.ridge[0] == 0


@pytest.mark.parametrize("noise", [0.01, 0.3, 3.0])
@pytest.mark.parametrize("samples", [20, 300])
def test_tuned_ridge_is_the_minimum(noise, samples):
    found = cost_of_overfitting(POWER_LAW, TARGET, samples=samples, noise=noise)
    best = minimize_scalar(
        lambda x: kernel_ridge_risk(
            POWER_LAW, TARGET, samples=samples, ridge=math.exp(x), noise=noise
        ).test,
        bounds=(-15, 12), method="bounded", options={"xatol": 1e-8},
    )  # fmt: skip
    if best.x < -14.9:  # the minimum lies at ridge 0
        assert found.ridge == 0
        assert found.tuned == pytest.approx(found.ridgeless, rel=1e-12)
        assert found.tuned <= best.fun
    else:
        assert found.tuned == pytest.approx(best.fun, rel=1e-9)
        assert found.ridge == pytest.approx(math.exp(best.x), rel=1e-3)
    at_found = kernel_ridge_risk(
        POWER_LAW, TARGET, samples=samples, ridge=found.ridge, noise=noise
    ).test
    assert at_found == pytest.approx(found.tuned, rel=1e-9)
    assert 1 <= found.cost <= found.overfitting
    none = kernel_ridge_risk(POWER_LAW, TARGET, samples=samples, noise=noise)
    assert (found.ridgeless, found.overfitting) == (none.test, none.overfitting)


def test_pure_noise_attains_the_bound():
    table = cost_of_overfitting(POWER_LAW, 0 * TARGET, samples=[50, 60], noise=2.0)
    np.testing.assert_allclose(table.cost, table.overfitting, rtol=1e-12)
    assert np.isinf(table.ridge).all()


def test_cost_refuses():
    with pytest.raises(ValueError, match="ratio of errors is undefined"):
        cost_of_overfitting(POWER_LAW, 0 * TARGET, samples=50)
    with pytest.raises(ValueError, match="undefined"):
        cost_of_overfitting([1.0], [1.0], samples=1)


# Finite data sets


def test_memorising_kernel_learns_what_it_has_seen():
    points, target = 40, np.random.default_rng(0).standard_normal(40)
    settings = {"samples": 30, "seeds": 400, "rng": np.random.default_rng(1)}
    once = sample_kernel_risk(np.eye(points), target, ridges=[0.0], **settings)
    theory = kernel_ridge_risk(np.full(40, 1 / 40), target**2 / 40, samples=30)
    size = (target**2).mean()
    assert theory.test == pytest.approx((1 - 30 / 40) * size, rel=1e-12)
    error = once.population.std() / 20
    assert abs(once.population.mean() - theory.test) < 4.5 * error
    assert np.abs(once.train).max() == 0
    again = sample_kernel_risk(np.eye(points), target, ridges=[1e-9], replace=True, **settings)
    error = again.population.std() / 20
    assert abs(again.population.mean() - (1 - 1 / 40) ** 30 * size) < 4.5 * error
    np.testing.assert_allclose(once.population, once.unseen / 4, rtol=1e-12)


def test_finite_set_errors_are_means_over_its_parts():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((30, 3))
    kernel, targets = np.exp(x @ x.T / 3), rng.standard_normal((30, 2))
    risk = sample_kernel_risk(kernel, targets, samples=12, ridges=[0.1, 2.0], seeds=5, rng=rng)
    assert risk.population.shape == (5, 2)
    whole = (12 * risk.train + 18 * risk.unseen) / 30
    np.testing.assert_allclose(risk.population, whole, rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": np.ones((2, 3))}, "kernel has shape"),
        ({"targets": np.ones(4)}, "targets has 4 rows"),
        ({"samples": 3}, "samples is 3; allowed without replacement"),
        ({"ridges": [-1.0]}, "ridges contains -1"),
        ({"ridges": [0.0], "replace": True}, "ridges contains 0"),
        ({"rng": None}, "rng is None"),
        ({"seeds": 0}, "seeds is 0"),
    ],
)
def test_finite_set_refuses(change, message):
    arguments = {
        "kernel": np.eye(3), "targets": np.ones(3), "samples": 2, "ridges": [0.1], "seeds": 1,
        "rng": np.random.default_rng(0),
    } | change  # fmt: skip
    with pytest.raises(ValueError, match=message):
        sample_kernel_risk(arguments.pop("kernel"), arguments.pop("targets"), **arguments)


@pytest.mark.parametrize("dimension", [2, 3, 7])
def test_sphere_multiplicity_counts_polynomials(dimension):
    # harmonics up to degree l are the polynomials on the sphere: of degrees l and l - 1
    for degree in range(6):
        total = sum(sphere_multiplicity(part, dimension) for part in range(degree + 1))
        lower = math.comb(degree + dimension - 2, degree - 1) if degree else 0
        assert total == math.comb(degree + dimension - 1, degree) + lower
    assert sphere_multiplicity(2, 3) == 5


@pytest.mark.parametrize(("degree", "dimension"), [(-1, 3), (1.5, 3), (2, 1)])
def test_sphere_multiplicity_refuses(degree, dimension):
    with pytest.raises(ValueError, match="allowed are whole numbers"):
        sphere_multiplicity(degree, dimension)


def test_against_bisection_on_the_direct_sum():
    for samples in (3, 40, 900):
        for ridge in (0.0, 0.01, 10.0):
            root = brentq(
                lambda t, n=samples, r=ridge: (
                    (POWER_LAW / (POWER_LAW + math.exp(t))).sum() + r / math.exp(t) - n
                ),
                -40, 40, xtol=1e-13,
            )  # fmt: skip
            risk = kernel_ridge_risk(POWER_LAW, TARGET, samples=samples, ridge=ridge)
            assert math.log(risk.kappa) == pytest.approx(root, abs=1e-10)


def test_leaving_out_each_sample_solves_the_last_exercise():
    def refitted(K, y, ridge):
        errors = []
        for j in range(len(y)):
            rest = np.delete(np.arange(len(y)), j)
            dual = np.linalg.solve(K[np.ix_(rest, rest)] + ridge * np.eye(len(rest)), y[rest])
            errors.append(y[j] - K[j, rest] @ dual)
        return np.square(errors).mean()

    assert find("scaling.8").verdict(refitted).passed
    assert not find("scaling.8").verdict(lambda *given: 1.01 * refitted(*given)).passed
