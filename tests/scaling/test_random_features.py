"""Regression with random features: the two coupled equations, deep networks, and simulations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar

from course import scaling
from course.data import sphere
from course.scaling import kernel_ridge_risk, random_feature_risk
from course.scaling import random_features as module

MODES = np.arange(1.0, 2001)
EIGENVALUES, COEFFICIENTS = MODES**-1.5, MODES**-2 / (MODES**-2).sum()


def coupled(eigenvalues, coefficients, N, n, ridge, noise):
    """The two equations as Simon et al. write them, solved for gamma by nesting them."""

    def z(gamma):
        return (eigenvalues / (eigenvalues + gamma)).sum()

    def first(log_gamma):
        gamma = math.exp(log_gamma)
        kappa = gamma * (n - z(gamma)) / n
        return z(gamma) + ridge / kappa - N

    low = -60.0
    if n < len(eigenvalues):
        low = brentq(lambda x: z(math.exp(x)) - n, -60, 60, xtol=1e-15) + 1e-12
    gamma = math.exp(brentq(first, low, 60, xtol=1e-14))
    kappa = gamma * (n - z(gamma)) / n
    q = ((eigenvalues / (eigenvalues + gamma)) ** 2).sum()
    bias = gamma / (eigenvalues + gamma) - kappa * eigenvalues / (eigenvalues + gamma) ** 2 * n / (
        n - q
    )
    bottom = 1 - (q * (n - 2 * z(gamma)) + z(gamma) ** 2) / (N * (n - q))
    test = ((bias * coefficients).sum() + noise) / bottom
    return gamma, kappa, 1 / bottom, test, (ridge / (N * kappa)) ** 2 * test


def test_checkpoint():
    risk = random_feature_risk(
        EIGENVALUES, COEFFICIENTS, samples=100, features=100, ridge=0.1, noise=0.05
    )
    assert risk.test == pytest.approx(0.13983960, abs=5e-9)
    assert scaling.random_feature_risk is random_feature_risk


@pytest.mark.parametrize("ridge", [1e-4, 0.1, 3.0])
@pytest.mark.parametrize(("samples", "features"), [(50, 20), (20, 50), (40, 40), (3, 700)])
def test_published_form(samples, features, ridge):
    risk = random_feature_risk(
        EIGENVALUES[:500],
        COEFFICIENTS[:500],
        samples=samples,
        features=features,
        ridge=ridge,
        noise=0.3,
    )
    expected = coupled(EIGENVALUES[:500], COEFFICIENTS[:500], samples, features, ridge, 0.3)
    found = (risk.gamma, risk.kappa, risk.overfitting, risk.test, risk.train)
    assert found == pytest.approx(expected, rel=1e-6)  # the published form cancels digits
    assert all(isinstance(value, float) for value in found)


def test_learnability():
    risk = random_feature_risk([1, 0.5, 0], [1, 1, 1], samples=[1, 2], features=3, ridge=0.1)
    assert risk.learnability.shape == (2, 3)
    expected = np.array([1, 0.5, 0]) / (np.array([1, 0.5, 0]) + risk.gamma[:, None])
    assert risk.learnability == pytest.approx(expected)


@pytest.mark.parametrize("ridge", [0.0, 1e-12, 1e-3, 10.0, 1e6])
@pytest.mark.parametrize("samples", [1, 30, 1999])
def test_infinitely_many_features_are_a_kernel(samples, ridge):
    kernel = kernel_ridge_risk(EIGENVALUES, COEFFICIENTS, samples=samples, ridge=ridge, noise=0.2)
    for features in (np.inf, 1e13):
        risk = random_feature_risk(
            EIGENVALUES, COEFFICIENTS, samples=samples, features=features, ridge=ridge, noise=0.2
        )
        for name in ("kappa", "overfitting", "test", "train"):
            assert getattr(risk, name) == pytest.approx(getattr(kernel, name), rel=1e-8), name


def test_ridgeless_limits():
    for samples, features in ((100, 40), (40, 100)):
        arguments = {"samples": samples, "features": features, "noise": 0.1}
        bare = random_feature_risk(EIGENVALUES, COEFFICIENTS, ridge=0.0, **arguments)
        nearly = random_feature_risk(EIGENVALUES, COEFFICIENTS, ridge=1e-12, **arguments)
        assert nearly.test == pytest.approx(bare.test, rel=1e-8)
        z = (EIGENVALUES / (EIGENVALUES + bare.gamma)).sum()
        assert z == pytest.approx(min(samples, features), rel=1e-12)
        assert bare.train / bare.test == pytest.approx(max(0, 1 - features / samples) ** 2)
    assert bare.train == 0
    assert bare.kappa > 0
    assert random_feature_risk([1, 1, 1], [1, 0, 0], samples=5, features=2, ridge=0).kappa == 0


def test_isotropic_by_hand():
    # Every mode learns z/M; without ridge and with n < N: noise N/(N-n), bias from n of M.
    M, n, N = 200, 60, 150
    risk = random_feature_risk(np.ones(M), np.ones(M) / M, samples=N, features=n, ridge=0, noise=2)
    unlearned = 1 - n / M  # the best fit in the span of n of M random directions
    assert risk.test == pytest.approx((unlearned + 2) * N / (N - n), rel=1e-10)


def test_peak_is_the_square_root_of_the_ridge():
    ridge = np.array([1e-12, 1e-10])
    risk = random_feature_risk(EIGENVALUES, COEFFICIENTS, samples=90, features=90, ridge=ridge)
    assert risk.test[0] / risk.test[1] == pytest.approx(10, rel=1e-3)


def test_broadcasting_and_order():
    order = np.random.default_rng(0).permutation(2000)
    samples, features, ridge = np.array([[[5]], [[50]]]), np.array([[7], [60], [np.inf]]), [0.1, 2]
    risk = random_feature_risk(
        EIGENVALUES, COEFFICIENTS, samples=samples, features=features, ridge=ridge, noise=0.1
    )
    assert risk.test.shape == risk.gamma.shape == (2, 3, 2)
    one = random_feature_risk(
        EIGENVALUES[order], COEFFICIENTS[order], samples=50, features=60, ridge=2, noise=0.1
    )
    assert risk.test[1, 1, 1] == pytest.approx(one.test, rel=1e-12)
    assert risk.train[1, 1, 1] == pytest.approx(one.train, rel=1e-12)


def test_many_settings_agree_with_one_at_a_time():
    # A false stop of the vectorised solver showed only at some of many ridges.
    ridges = np.geomspace(1e-6, 1e3, 400)
    risk = random_feature_risk(EIGENVALUES, COEFFICIENTS, samples=100, features=100, ridge=ridges)
    z = (EIGENVALUES / (EIGENVALUES + risk.gamma[:, None])).sum(axis=1)
    residual = (100 - z) * (100 - z) * risk.gamma / (100 * ridges) - 1
    assert np.abs(residual).max() < 1e-6
    assert (np.diff(risk.gamma) > 0).all()


def test_zero_eigenvalues_and_scale():
    padded = np.concatenate([EIGENVALUES, np.zeros(50)])
    target = np.concatenate([COEFFICIENTS, np.full(50, 0.01)])
    arguments = {"samples": 30, "features": 40, "ridge": 0.2}
    lost = random_feature_risk(padded, target, noise=0.1, **arguments)
    noise = random_feature_risk(EIGENVALUES, COEFFICIENTS, noise=0.1 + 0.5, **arguments)
    # A target outside the kernel acts as noise, but for the features' own average.
    assert lost.gamma == pytest.approx(noise.gamma, rel=1e-13)
    assert lost.test == pytest.approx(noise.test, rel=1e-12)
    big = random_feature_risk(
        1e200 * EIGENVALUES, COEFFICIENTS, samples=30, features=40, ridge=0.2e200, noise=0.6
    )
    assert big.test == pytest.approx(noise.test, rel=1e-12)
    nothing = random_feature_risk([0, 0], [1, 2], samples=5, features=3, ridge=0.5, noise=1)
    assert (nothing.test, nothing.train, nothing.gamma) == pytest.approx((4, 4, 0.1))


@pytest.mark.parametrize("gap", [1e-12, 1e-30, 1e-200])
@pytest.mark.parametrize(("samples", "features"), [(50, math.inf), (1e20, 50), (50, 1e20)])
def test_a_gap_right_behind_the_modes_that_can_be_learned(gap, samples, features):
    """Half of the modes have eigenvalue 1, half g, and z = 50: then gamma is the root of g."""
    eigenvalues = np.repeat([1.0, gap], 50)
    arguments = {"samples": samples, "features": features, "ridge": 0, "noise": 0.1}
    risk = random_feature_risk(eigenvalues, np.ones(100), **arguments)
    assert risk.gamma == pytest.approx(math.sqrt(gap), rel=1e-9)
    if math.isinf(features):
        kernel = kernel_ridge_risk(eigenvalues, np.ones(100), samples=50, noise=0.1)
        assert risk.test == pytest.approx(kernel.test, rel=1e-9)


@pytest.mark.parametrize("samples", [1e15, 1e17, 1e20, 1e30])
@pytest.mark.parametrize("ridge", [0.0, 1e-3])
def test_endless_samples_leave_what_the_features_cannot_express(samples, ridge):
    endless = kernel_ridge_risk(EIGENVALUES, COEFFICIENTS, samples=40).kappa
    missed = endless / (EIGENVALUES + endless) @ COEFFICIENTS
    risk = random_feature_risk(
        EIGENVALUES, COEFFICIENTS, samples=samples, features=40, ridge=ridge, noise=0.3
    )
    assert risk.test == pytest.approx(missed + 0.3, rel=1e-9)


def test_a_mode_that_underflows_beside_the_largest_is_a_zero():
    arguments = {"samples": 3, "features": 4, "ridge": 1e295, "noise": 0.1}
    tiny = random_feature_risk([1e300, 1e299, 1e-300], [1, 2, 3], **arguments)
    zero = random_feature_risk([1e300, 1e299, 0], [1, 2, 3], **arguments)
    assert tiny.test == zero.test


@pytest.mark.parametrize(("largest", "ridge"), [(1e-300, 1e9), (1e200, 1e-150), (1e-323, 1.0)])
def test_a_ridge_beyond_double_precision_says_so(largest, ridge):
    with pytest.raises(ValueError, match=r"ridge is .* times that eigenvalue"):
        random_feature_risk([largest], [1.0], samples=3, features=4, ridge=ridge)


def test_multiplicities():
    levels, counts = np.array([1, 0.3, 0.01]), np.array([1, 20, 400])
    arguments = {"samples": 50, "features": 80, "ridge": 0.1, "noise": 0.2}
    grouped = random_feature_risk(levels, [1, 2, 3], multiplicities=counts, **arguments)
    target = np.repeat(np.array([1, 2, 3]) / counts, counts)
    spelled = random_feature_risk(np.repeat(levels, counts), target, **arguments)
    assert grouped.test == pytest.approx(spelled.test, rel=1e-12)
    tuned = module.tuned_risk(
        levels, [1, 2, 3], multiplicities=counts, samples=50, features=80, noise=0.2
    )
    assert tuned.test < grouped.test


def test_a_million_modes():
    i = np.arange(1.0, 1e6 + 1)
    eigenvalues, coefficients = i**-1.2, i**-1.5
    for samples, features, ridge in (
        (1, 1, 1e-12), (1e6, 1e6, 1e-12), (1e6, 10, 0), (10, 1e6, 0), (1e3, 1e3, 1.0),
        (1e6 - 1, np.inf, 0.0),
    ):  # fmt: skip
        risk = random_feature_risk(
            eigenvalues, coefficients, samples=samples, features=features, ridge=ridge, noise=0.1
        )
        assert 0 < risk.gamma < math.inf
        assert 0.1 < risk.test < math.inf


positive = st.floats(1e-12, 1.0)


@settings(max_examples=120, deadline=None)
@given(
    eigenvalues=st.lists(st.one_of(st.just(0.0), positive), min_size=1, max_size=30),
    samples=st.floats(1, 1e6),
    features=st.one_of(st.floats(1, 1e6), st.just(math.inf)),
    ridge=st.sampled_from([1e-12, 1e-6, 1e-2, 1.0, 1e4]),
    noise=st.floats(0, 2),
)
def test_properties(eigenvalues, samples, features, ridge, noise):
    coefficients = np.linspace(1, 2, len(eigenvalues))
    arguments = {"ridge": ridge, "noise": noise}
    risk = random_feature_risk(
        eigenvalues, coefficients, samples=samples, features=features, **arguments
    )
    assert 0 < risk.kappa <= risk.gamma * (1 + 1e-12)
    assert risk.overfitting >= 1 - 1e-9
    assert risk.test >= noise
    assert 0 <= risk.train <= risk.test * (1 + 1e-12)
    z = risk.learnability.sum()
    assert z <= min(samples, features, len(eigenvalues)) * (1 + 1e-9)
    # The two equations, in a form that does not divide by what may round to zero.
    assert z * risk.kappa + ridge == pytest.approx(samples * risk.kappa, rel=1e-7)
    if math.isfinite(features):
        assert z * risk.gamma + features * risk.kappa == pytest.approx(
            features * risk.gamma, rel=1e-7
        )


@settings(max_examples=40, deadline=None)
@given(
    exponent=st.floats(1.1, 3),
    samples=st.integers(1, 60),
    features=st.integers(1, 60),
    more=st.integers(1, 30),
    noise=st.floats(0, 1),
)
def test_tuned_risk_falls(exponent, samples, features, more, noise):
    eigenvalues = MODES[:300] ** -exponent
    risk = module.tuned_risk(
        eigenvalues,
        COEFFICIENTS[:300],
        samples=[samples, samples + more, samples],
        features=[features, features, features + more],
        noise=noise,
    ).test
    assert (risk[1:] < risk[0] * (1 + 1e-9)).all()


@pytest.mark.parametrize("noise", [0.0, 0.05, 1.0])
@pytest.mark.parametrize(("samples", "features"), [(30, 100), (100, 30), (60, 60), (50, np.inf)])
def test_tuned_risk_is_the_minimum(samples, features, noise):
    arguments = {"samples": samples, "features": features, "noise": noise}
    tuned = module.tuned_risk(EIGENVALUES, COEFFICIENTS, **arguments)

    def error(log_ridge):
        return random_feature_risk(
            EIGENVALUES, COEFFICIENTS, ridge=math.exp(log_ridge), **arguments
        ).test

    found = minimize_scalar(error, bounds=(-15, 5), method="bounded", options={"xatol": 1e-7})
    assert tuned.test <= found.fun * (1 + 1e-7)
    if tuned.ridge > 0:
        assert tuned.test == pytest.approx(found.fun, rel=1e-7)
        again = random_feature_risk(EIGENVALUES, COEFFICIENTS, ridge=tuned.ridge, **arguments)
        assert again.test == pytest.approx(tuned.test, rel=1e-7)
        assert again.train == pytest.approx(tuned.train, rel=1e-4)
        assert again.gamma == pytest.approx(tuned.gamma, rel=1e-6)


def test_interpolation_is_exactly_no_ridge():
    tuned = module.tuned_risk(MODES**-1.5, MODES**-2.5, samples=20, features=np.inf)
    bare = random_feature_risk(MODES**-1.5, MODES**-2.5, samples=20, features=np.inf, ridge=0)
    assert tuned.ridge == 0
    assert tuned.train == 0
    assert tuned.test == pytest.approx(bare.test, rel=1e-8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eigenvalues": [1, -0.1]}, "eigenvalues has -0.1 at index 1; .*undefined"),
        ({"eigenvalues": [1, math.nan]}, "eigenvalues contains NaN"),
        ({"eigenvalues": []}, "eigenvalues is empty"),
        ({"eigenvalues": [1, 2, 3]}, r"coefficients has shape \(2,\)"),
        ({"coefficients": [1, -1]}, "coefficients contains -1"),
        ({"multiplicities": [1, 0]}, "multiplicities is"),
        ({"multiplicities": [1]}, "multiplicities is"),
        ({"samples": 0}, "samples contains 0"),
        ({"samples": math.inf}, "samples contains"),
        ({"samples": [1, 2, 3], "ridge": [1, 2]}, r"shapes \(3,\).*broadcast"),
        ({"features": 0}, "features contains 0"),
        ({"features": math.nan}, "features contains NaN"),
        ({"ridge": -1}, "ridge contains -1"),
        ({"noise": -1}, "noise contains -1"),
        ({"ridge": 0, "samples": 1, "features": 1}, "risk is infinite"),
        ({"ridge": 0, "samples": 2, "features": 2}, "risk is undefined"),
        ({"ridge": 0, "samples": 2, "features": math.inf}, "risk is undefined"),
        ({"ridge": 0, "eigenvalues": [0, 0]}, "risk is undefined"),
    ],
)
def test_bad_input(changes, message):
    arguments = {"samples": 3, "features": 4, "ridge": 1.0, "noise": 0.0} | changes
    eigenvalues = arguments.pop("eigenvalues", [1, 2])
    coefficients = arguments.pop("coefficients", [1, 1])
    with pytest.raises(ValueError, match=message):
        random_feature_risk(eigenvalues, coefficients, **arguments)


def test_solver_that_takes_too_long_says_so(monkeypatch):
    monkeypatch.setattr(module, "STEPS", 1)
    with pytest.raises(RuntimeError, match="not found in 1 steps for samples=3"):
        random_feature_risk([1, 0.1], [1, 1], samples=3, features=4, ridge=1.0)


def test_tuned_risk_refuses_a_kernel_of_zeros():
    with pytest.raises(ValueError, match="eigenvalues are all 0"):
        module.tuned_risk([0.0], [1.0], samples=1, features=1)


@pytest.mark.parametrize("features", [15, 60, np.inf])
def test_simulation_agrees_with_theory(features):
    eigenvalues, coefficients = EIGENVALUES[:400], COEFFICIENTS[:400]
    arguments = {"samples": 60, "features": features, "noise": 0.1}
    ridges = [0.05, 1.0]
    runs = module.sample_random_features(
        eigenvalues, coefficients, ridges=ridges, networks=80, rng=np.random.default_rng(1),
        **arguments,
    )  # fmt: skip
    risk = random_feature_risk(eigenvalues, coefficients, ridge=ridges, **arguments)
    for found, expected in ((runs.test, risk.test), (runs.train, risk.train)):
        error = found.std(axis=0) / math.sqrt(80)
        # 5 standard errors, and 5 percent for N = 60.
        assert (np.abs(found.mean(axis=0) - expected) < 5 * error + 0.05 * expected).all()


def test_simulation_without_features_is_a_kernel_machine():
    rng = np.random.default_rng(2)
    data, noise = rng.standard_normal((8, 30)), rng.standard_normal(8)
    target = np.sqrt(COEFFICIENTS[:30])
    run = module.sample_random_features(
        EIGENVALUES[:30], COEFFICIENTS[:30], samples=8, features=np.inf, ridges=[0.3], noise=4.0,
        networks=1, rng=np.random.default_rng(2),
    )  # fmt: skip
    kernel = data * EIGENVALUES[:30] @ data.T
    dual = np.linalg.solve(kernel + 0.3 * np.eye(8), data @ target + 2 * noise)
    error = target - EIGENVALUES[:30] * (data.T @ dual)
    assert run.test[0, 0] == pytest.approx((error**2).sum() + 4)
    assert run.train[0, 0] == pytest.approx(((0.3 * dual) ** 2).mean())


def test_readouts_are_those_of_least_norm():
    rng = np.random.default_rng(3)
    for shape in ((5, 9), (9, 5)):
        design, targets = rng.standard_normal(shape), rng.standard_normal(shape[0])
        found = module.readouts(design, targets, np.array([0.0, 0.7]))
        assert found[:, 0] == pytest.approx(np.linalg.pinv(design) @ targets)
        ridge = design.T @ design + 0.7 * np.eye(shape[1])
        assert found[:, 1] == pytest.approx(np.linalg.solve(ridge, design.T @ targets))
    doubled = np.repeat(rng.standard_normal((6, 3)), 2, axis=1)  # of rank 3
    targets = rng.standard_normal(6)
    found = module.readouts(doubled, targets, [0.0])[:, 0]
    assert found == pytest.approx(np.linalg.pinv(doubled) @ targets)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"design": [1.0, 2.0]}, r"design has shape \(2,\)"),
        ({"design": [[1.0, math.nan]]}, "design contains NaN"),
        ({"targets": [1.0, 2.0]}, r"targets has shape \(2,\).*each of the 1 rows"),
        ({"ridges": [-0.1]}, "ridges contains -0.1"),
        ({"ridges": 0.1}, r"ridges has shape \(\)"),
    ],
)
def test_bad_readouts(changes, message):
    arguments = {"design": [[1.0, 2.0]], "targets": [1.0], "ridges": [0.1]} | changes
    with pytest.raises(ValueError, match=message):
        module.readouts(**arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 2.5}, "samples is 2.5"),
        ({"features": 0}, "features is 0"),
        ({"features": 2.5}, "features is 2.5"),
        ({"ridges": [-1.0]}, "ridges contains -1"),
        ({"noise": -1.0}, "noise is -1"),
        ({"networks": 0}, "networks is 0"),
        ({"rng": 3}, "rng is 3"),
    ],
)
def test_bad_simulations(changes, message):
    arguments = {
        "samples": 3, "features": 2, "ridges": [1.0], "noise": 0.0, "networks": 1,
        "rng": np.random.default_rng(0),
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        module.sample_random_features([1, 2], [1, 1], **(arguments | changes))


@pytest.mark.parametrize("dimension", [3, 7, 40])
def test_arccosine_spectrum(dimension):
    levels = module.arccosine_spectrum(dimension, degree=6)
    assert (levels.eigenvalues >= 0).all()
    assert levels.eigenvalues @ levels.multiplicities == pytest.approx(0.5, abs=1e-9)
    assert levels.multiplicities[:3] == pytest.approx(
        [1, dimension, dimension * (dimension + 1) / 2 - 1]
    )
    assert levels.eigenvalues[3] == levels.eigenvalues[5] == 0
    # Independent routes: the mean of the kernel, its linear part E[K t], and a direct integral.
    assert levels.eigenvalues[1] == pytest.approx(0.25 / dimension)

    def kernel(t):
        return (math.sqrt(1 - t * t) + (math.pi - math.acos(t)) * t) / (2 * math.pi)

    def weight(t):
        return (1 - t * t) ** ((dimension - 3) / 2)

    norm = quad(weight, -1, 1)[0]
    second = quad(
        lambda t: kernel(t) * weight(t) * (dimension * t * t - 1) / (dimension - 1), -1, 1
    )[0]
    assert levels.eigenvalues[2] == pytest.approx(second / norm, rel=1e-6)
    x = sphere(300, dimension, np.random.default_rng(0))
    spectrum = np.linalg.eigvalsh(np.vectorize(kernel)(np.clip(x @ x.T / dimension, -1, 1)) / 300)
    assert spectrum[-1] == pytest.approx(levels.eigenvalues[0], rel=0.05)


@pytest.mark.parametrize("variance", [0.2, 1.0, 3.0])
def test_layer_statistics(variance):
    relu = module.layer_statistics("relu", variance)
    assert relu.mean == pytest.approx(math.sqrt(variance / (2 * math.pi)), rel=1e-10)
    assert relu.slope == pytest.approx(0.5, rel=1e-10)
    assert relu.residual == pytest.approx(variance * (0.25 - 0.5 / math.pi), rel=1e-9)
    erf = module.layer_statistics("erf", variance)
    total = 2 / math.pi * math.asin(2 * variance / (1 + 2 * variance))
    assert erf.variance == pytest.approx(total, rel=1e-10)
    assert erf.slope == pytest.approx(2 / math.sqrt(math.pi * (1 + 2 * variance)), rel=1e-10)
    linear = module.layer_statistics(lambda u: 3 * u, variance)
    assert linear[:] == pytest.approx((0, 3, 0, 9 * variance), abs=1e-9)


def shallow(width, samples, ridge, noise, spectrum, power, layer):
    """One layer as random features whose spectrum has a flat tail."""
    d = len(spectrum)
    return random_feature_risk(
        np.append(spectrum * layer.slope**2 / d, layer.residual / 1e13),
        np.append(power, 0),
        multiplicities=np.append(np.ones(d), 1e13),
        samples=samples, features=width, ridge=ridge, noise=noise,
    )  # fmt: skip


@pytest.mark.parametrize(("width", "samples"), [(40, 100), (200, 70), (60, 60)])
def test_one_deep_layer_is_shallow(width, samples):
    spectrum = np.linspace(0.3, 2, 50)
    power = np.linspace(1, 0, 50)
    layer = module.layer_statistics("tanh", spectrum.mean())
    deep = module.deep_feature_risk(
        spectrum, power, widths=[width], activation="tanh", samples=samples, ridge=0.05, noise=0.2
    )
    flat = shallow(width, samples, 0.05, 0.2, spectrum, power, layer)
    assert deep.test == pytest.approx(flat.test, rel=1e-8)
    assert deep.train == pytest.approx(flat.train, rel=1e-8)
    assert deep.overfitting == pytest.approx(flat.overfitting, rel=1e-8)


def test_a_very_wide_linear_layer_changes_nothing():
    spectrum, power = np.linspace(0.3, 2, 30), np.ones(30) / 30
    arguments = {"samples": 40, "ridge": 0.5, "noise": 0.1}
    deep = module.deep_feature_risk(
        spectrum, power, widths=[10**9, 10**8], activation="linear", **arguments
    )
    kernel = kernel_ridge_risk(spectrum / 30, power, **arguments)
    assert deep.test == pytest.approx(kernel.test, rel=1e-6)
    assert deep.learned[0] == pytest.approx((spectrum / 30 / (spectrum / 30 + kernel.kappa)).sum())


@pytest.mark.parametrize("scale", [1e-40, 1e-100, 1e60])
def test_deep_linear_layers_do_not_know_the_unit_of_the_inputs(scale):
    spectrum, power = np.linspace(0.3, 2, 30), np.ones(30) / 30
    arguments = {"widths": [50, 40], "activation": "linear", "samples": 40, "noise": 0.1}
    here = module.deep_feature_risk(spectrum, power, ridge=0.5, **arguments)
    there = module.deep_feature_risk(scale * spectrum, power, ridge=scale * 0.5, **arguments)
    assert there.test == pytest.approx(here.test, rel=1e-9)


def deep_matrices(spectrum, widths, layers, seed):
    """Covariance of the last layer of one linearised network, and its overlap with the inputs."""
    rng = np.random.default_rng(seed)
    overlap, covariance = np.diag(np.sqrt(spectrum)), np.diag(spectrum)
    for width, layer in zip(widths, layers, strict=True):
        W = layer.slope * rng.standard_normal((width, len(covariance))) / len(covariance) ** 0.5
        overlap = W @ overlap
        covariance = W @ covariance @ W.T + layer.residual * np.eye(width)
    return covariance, overlap


@pytest.mark.parametrize("own", [False, True])
def test_deep_theory_against_the_matrices_of_large_networks(own):
    # The kernel formula on the population covariance of one large network of three layers.
    d, widths, samples, ridge = 300, [350, 200, 400], 250, 0.02
    spectrum, power = np.linspace(0.5, 1.5, d), np.linspace(0, 2, d) / d
    layers, variance = [], 1.0
    for _ in widths:
        layers.append(module.layer_statistics("erf", variance))
        variance = layers[-1].variance
    covariance, overlap = deep_matrices(spectrum, widths, layers, 0)
    values, vectors = np.linalg.eigh(covariance / widths[-1])
    if own:
        known, lost = values, 0.0
    else:
        learned = vectors.T @ overlap @ np.sqrt(power) / math.sqrt(widths[-1])
        known = learned**2 / values
        lost = power.sum() - known.sum()
    expected = kernel_ridge_risk(values, known, samples=samples, ridge=ridge, noise=0.1 + lost)
    found = module.deep_feature_risk(
        spectrum, None if own else power, widths=widths, activation="erf", samples=samples,
        ridge=ridge, noise=0.1,
    )  # fmt: skip
    # What is missing from the features is uncorrelated noise; one network scatters by 1/d.
    assert found.test == pytest.approx(expected.test, rel=0.03)
    assert found.train == pytest.approx(expected.train, rel=0.03)
    assert found.learned[-1] == pytest.approx(expected.learnability.sum(), rel=0.01)


def test_deep_simulation():
    arguments = {"widths": [70, 90], "activation": torch.tanh, "samples": 60, "noise": 0.1}
    spectrum, power = np.linspace(0.5, 1.5, 50), np.ones(50) / 50
    ridges = [0.02, 0.2]
    for coefficients in (power, None):
        run = module.sample_deep_features(
            spectrum, coefficients, ridges=ridges, networks=60, rng=np.random.default_rng(4),
            tests=300, **arguments,
        )  # fmt: skip
        for column, ridge in enumerate(ridges):
            risk = module.deep_feature_risk(spectrum, coefficients, ridge=ridge, **arguments)
            for found, expected in ((run.test, risk.test), (run.train, risk.train)):
                error = found[:, column].std() / math.sqrt(60)
                gap = abs(found[:, column].mean() - expected)
                assert gap < 5 * error + 0.06 * expected  # order 1/d with d = 50


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eigenvalues": [1, 0]}, "eigenvalues contains 0"),
        ({"coefficients": [1]}, "coefficients is"),
        ({"coefficients": [1, -1]}, "coefficients is"),
        ({"widths": 3}, "widths is 3"),
        ({"widths": []}, r"widths is \[\]"),
        ({"widths": [3, 0]}, "widths is 0"),
        ({"activation": "rule"}, "activation is 'rule'"),
        ({"activation": torch.cos}, "linear part vanishes"),
        ({"samples": 0}, "samples is 0"),
        ({"ridge": 0}, "ridge is 0"),
        ({"noise": -1}, "noise is -1"),
    ],
)
def test_bad_deep_input(changes, message):
    arguments = {
        "eigenvalues": [1, 2], "coefficients": [1, 1], "widths": [3], "activation": "tanh",
        "samples": 3, "ridge": 1.0, "noise": 0.0,
    } | changes  # fmt: skip
    with pytest.raises(ValueError, match=message):
        module.deep_feature_risk(
            arguments.pop("eigenvalues"), arguments.pop("coefficients"), **arguments
        )
