"""The solvable student, its theory, the power-law fit and the interpolators."""

import math

import numpy as np
import pytest
from scipy import stats

from course.estimates import fit_exponent
from course.scaling import fit_power_law, kernel_ridge_risk
from course.scaling import four_regimes as module
from course.scaling.four_regimes import (
    manifold_loss,
    power_law_spectrum,
    resolution_scale,
    ridgeless_loss,
    simulate_losses,
    train_networks,
)

INF = math.inf


def rng(seed=0):
    return np.random.default_rng(seed)


def explicit_loss(Z, W, eigenvalues, target):
    """The definition, with full matrices; None stands for infinitely many rows."""
    S = np.diag(np.sqrt(eigenvalues))
    T = np.diag(np.sqrt(target / eigenvalues))
    if Z is None:
        learned = S @ W.T @ np.linalg.inv(W @ S @ S @ W.T) @ W @ S @ S
    elif W is None:
        learned = S @ S @ Z.T @ np.linalg.inv(Z @ S @ S @ Z.T) @ Z @ S
    else:
        learned = S @ W.T @ np.linalg.pinv(Z @ S @ W.T) @ Z @ S
    return float((((S - learned) @ T) ** 2).sum()), learned


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(
    ("samples", "features"), [(7, 11), (11, 7), (9, 9), (7, INF), (INF, 7), (1, 5), (5, 1)]
)
def test_simulation_is_its_definition(samples, features, aligned):
    eigenvalues = power_law_spectrum(0.7, 40)
    target = eigenvalues if aligned else np.arange(1.0, 41) ** -2.5
    Z = None if samples == INF else rng(1).standard_normal((samples, 40))
    W = None if features == INF else rng(2).standard_normal((features, 40))
    options = {"samples": samples, "features": features, "seeds": 1, "rng": rng()}
    fixed = {"inputs": Z, "directions": W}
    expected, _ = explicit_loss(Z, W, eigenvalues, target)
    found = simulate_losses(eigenvalues, target, **options, **fixed)
    np.testing.assert_allclose(found, [expected], rtol=1e-8)


@pytest.mark.parametrize(("samples", "features"), [(7, 11), (11, 7), (7, INF), (INF, 7)])
def test_simulated_noise_is_the_students_response_to_noise(samples, features):
    eigenvalues = power_law_spectrum(0.7, 40)
    roots = np.sqrt(eigenvalues)
    Z = None if samples == INF else rng(1).standard_normal((samples, 40))
    W = None if features == INF else rng(2).standard_normal((features, 40))
    options = {"samples": samples, "features": features, "seeds": 1, "rng": rng()}
    options |= {"inputs": Z, "directions": W}
    extra = simulate_losses(eigenvalues, noise=0.3, **options)
    extra = extra - simulate_losses(eigenvalues, **options)
    expected = 1.0
    if Z is not None:  # the minimum-norm readout of each unit label, by least squares
        basis = Z * roots if W is None else (Z * roots) @ W.T
        readouts = np.linalg.lstsq(basis, np.eye(samples), rcond=None)[0]
        weights = roots[:, None] * (readouts if W is None else W.T @ readouts)
        if W is None:
            weights = roots[:, None] * readouts
        expected += (weights**2).sum()
    np.testing.assert_allclose(extra, [0.3 * expected], rtol=1e-8)


def test_student_is_least_squares_on_data():
    """The closed form against a trained student, tested on fresh inputs."""
    eigenvalues = power_law_spectrum(0.5, 30)
    roots, generator = np.sqrt(eigenvalues), rng(3)
    Z, W = generator.standard_normal((20, 30)), generator.standard_normal((8, 30))
    omegas = generator.standard_normal((400, 30))
    readouts = np.linalg.lstsq((Z * roots) @ W.T, (Z * roots) @ omegas.T, rcond=None)[0]
    fresh = generator.standard_normal((2000, 30)) * roots
    errors = fresh @ omegas.T - fresh @ W.T @ readouts
    per_teacher = (errors**2).mean(axis=0)
    found = simulate_losses(
        eigenvalues, samples=20, features=8, seeds=1, rng=rng(), inputs=Z, directions=W
    )[0]
    # 5 standard errors of 400 teachers, and 2,000 shared test inputs: 0.04 each at most
    assert abs(per_teacher.mean() - found) < 5 * per_teacher.std() / 20 + 0.1 * found


@pytest.mark.parametrize(("samples", "features"), [(100, 150), (150, 100), (100, INF), (INF, 100)])
def test_steep_spectra_keep_their_digits(samples, features):
    """Losses of 1e-8 of the variance, against sums of squares without cancellation."""
    eigenvalues = power_law_spectrum(4.0, 300)
    roots = np.sqrt(eigenvalues)
    Z, W = (
        rng(s).standard_normal((int(min(m, 999)), 300)) for s, m in ((1, samples), (2, features))
    )
    if samples == INF:
        basis = np.linalg.qr((W * roots).T)[0]
        error = np.diag(roots) - basis @ (basis.T * roots)
    elif features == INF:
        basis = np.linalg.qr((Z * roots).T)[0]
        error = roots[:, None] * (np.eye(300) - basis @ basis.T)
    else:
        inverse = np.linalg.pinv((Z * roots) @ W.T, rcond=1e-15)
        error = np.diag(roots) - (roots[:, None] * W.T) @ inverse @ (Z * roots)
    found = simulate_losses(
        eigenvalues, samples=samples, features=features, seeds=1, rng=rng(),
        inputs=None if samples == INF else Z, directions=None if features == INF else W,
    )  # fmt: skip
    np.testing.assert_allclose(found, [(error**2).sum()], rtol=1e-5)


@pytest.mark.parametrize(("samples", "features"), [(100, 150), (100, INF), (INF, 100)])
def test_a_loss_below_rounding_is_an_error(samples, features):
    with pytest.raises(RuntimeError, match="rounding hides"):
        simulate_losses(
            power_law_spectrum(8.0, 300), samples=samples, features=features, seeds=1, rng=rng()
        )


def test_exchange_of_inputs_and_features():
    eigenvalues = power_law_spectrum(1.2, 50)
    Z, W = rng(1).standard_normal((6, 50)), rng(2).standard_normal((9, 50))
    first = simulate_losses(
        eigenvalues, samples=6, features=9, seeds=1, rng=rng(), inputs=Z, directions=W
    )
    second = simulate_losses(
        eigenvalues, samples=9, features=6, seeds=1, rng=rng(), inputs=W, directions=Z
    )
    np.testing.assert_allclose(first, second, rtol=1e-10)


@pytest.mark.parametrize("exponent", [0.4, 0.7, 2.0])
@pytest.mark.parametrize(
    ("samples", "features"), [(24, INF), (INF, 24), (24, 60), (60, 24), (24, 30)]
)
@pytest.mark.parametrize("smooth", [None, 0.4, 1.5])
def test_theory_against_simulation(exponent, samples, features, smooth):
    eigenvalues = power_law_spectrum(exponent, 500)
    target = None if smooth is None else np.arange(1.0, 501) ** -(1 + smooth)
    options = {"samples": samples, "features": features, "noise": 0.1}
    losses = simulate_losses(eigenvalues, target, **options, seeds=60, rng=rng(7))
    theory = ridgeless_loss(eigenvalues, target, **options)
    error = losses.std(ddof=1) / math.sqrt(len(losses))
    # 5 standard errors, beyond the asymptotic formula's error of order 1/24, times (1 + a)
    assert abs(losses.mean() - theory) < 5 * error + (1 + exponent) / 24 * theory


def test_theory_is_the_limit_of_the_coupled_equations():
    """The ridgeless formulas against random-feature equations with a tiny ridge, solved here."""
    from scipy.optimize import brentq

    eigenvalues = power_law_spectrum(0.7, 20_000)
    target = np.arange(1.0, 20_001) ** -2.2
    noise = 0.03
    for N, k in ((3000, 9000), (9000, 3000), (4000, 4800)):
        ridge = 1e-9

        def kappa(gamma, k=k):  # from the features' equation
            return gamma * (k - (eigenvalues / (eigenvalues + gamma)).sum()) / k

        def excess(log_gamma, N=N, kappa=kappa, ridge=ridge):
            gamma = math.exp(log_gamma)
            free = kappa(gamma)
            return (eigenvalues / (eigenvalues + gamma)).sum() + ridge / free - N

        lowest = math.log(resolution_scale(eigenvalues, k))
        gamma = math.exp(brentq(excess, lowest + 1e-9, 0.0, xtol=1e-14))
        share = eigenvalues / (eigenvalues + gamma)
        z, q = share.sum(), (share**2).sum()
        mixed = kappa(gamma) * eigenvalues / (eigenvalues + gamma) ** 2 * k / (k - q)
        bracket = ((1 - share - mixed) * target).sum() + noise
        expected = bracket / (1 - (q * (k - 2 * z) + z**2) / (N * (k - q)))
        found = ridgeless_loss(eigenvalues, target, samples=N, features=k, noise=noise)
        # those equations have N - n where the exact mean has N - n - 1
        assert found == pytest.approx(expected, rel=3 / abs(N - k))


@pytest.mark.parametrize(("N", "n"), [(9, 4), (15, 4), (5, 4 + 60)])
def test_dependence_on_the_larger_number_is_exact(N, n):
    """A theory with 4 directions is rough; its ratio to the limit is not."""
    eigenvalues, few = power_law_spectrum(0.7, 80), min(N, n)
    limit = {"samples": INF if n < N else N, "features": n if n < N else INF}
    matrix = rng(5).standard_normal((few, 80))
    fixed = {"directions" if n < N else "inputs": matrix}
    base = simulate_losses(eigenvalues, **limit, seeds=1, rng=rng(), **fixed)[0]
    losses = simulate_losses(eigenvalues, samples=N, features=n, seeds=3000, rng=rng(6), **fixed)
    ratio = ridgeless_loss(eigenvalues, samples=N, features=n) / ridgeless_loss(
        eigenvalues, **limit
    )
    assert ratio == pytest.approx((max(N, n) - 1) / (abs(N - n) - 1), rel=1e-12)
    error = losses.std(ddof=1) / math.sqrt(3000) / base
    assert abs(losses.mean() / base - ratio) < 5 * error


def test_resolution_scale_solves_its_equation():
    for eigenvalues in (
        power_law_spectrum(0.3, 1000), power_law_spectrum(3.0, 1000), np.ones(7),
        np.array([5.0, 1e-12, 1e-12]), np.r_[np.ones(5), np.zeros(3)],
        1e-200 * np.ones(9), np.geomspace(1e-150, 1e100, 40),
    ):  # fmt: skip
        count = int((eigenvalues > 0).sum())
        for size in {1, 2, count // 2, count - 1} & set(range(1, count)):
            scale = resolution_scale(eigenvalues, size)
            assert (eigenvalues / (eigenvalues + scale)).sum() == pytest.approx(size, rel=1e-9)


@pytest.mark.parametrize("gap", [1e-12, 1e-20, 1e-30])
def test_a_gap_right_behind_the_resolved_modes(gap):
    """50 modes of eigenvalue 1, 50 of g: the scale for 50 directions is the root of g."""
    eigenvalues = np.repeat([1.0, gap], 50)
    assert resolution_scale(eigenvalues, 50) == pytest.approx(math.sqrt(gap), rel=1e-10)
    loss = ridgeless_loss(eigenvalues, samples=50, features=INF, noise=0.1)
    kernel = kernel_ridge_risk(eigenvalues, eigenvalues, samples=50, noise=0.1)
    assert loss == pytest.approx(kernel.test, rel=1e-9)


def test_zero_eigenvalues_do_not_matter():
    eigenvalues = power_law_spectrum(0.7, 30)
    padded = np.r_[eigenvalues[:10], 0.0, eigenvalues[10:], 0.0]
    arguments = {"samples": 5, "features": 9}
    assert ridgeless_loss(padded, **arguments) == pytest.approx(
        ridgeless_loss(eigenvalues, **arguments)
    )
    np.testing.assert_allclose(
        simulate_losses(padded, **arguments, seeds=2, rng=rng(1)),
        simulate_losses(eigenvalues, **arguments, seeds=2, rng=rng(1)),
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eigenvalues": [1.0, -0.1]}, "eigenvalues has smallest entry -0.1"),
        ({"eigenvalues": []}, r"eigenvalues has shape \(0,\)"),
        ({"eigenvalues": [0.0, 0.0]}, "not all zero"),
        ({"eigenvalues": [1.0, math.nan]}, "eigenvalues contains NaN"),
        ({"coefficients": [1.0]}, "coefficients has shape"),
        ({"coefficients": -np.ones(20)}, "coefficients has shape"),
        ({"coefficients": np.ones(20), "eigenvalues": np.r_[np.ones(19), 0]}, "eigenvalues is 0"),
        ({"samples": 0}, "samples is 0"),
        ({"samples": 2.5}, "samples is 2.5"),
        ({"samples": -INF}, "samples is -inf"),
        ({"features": True}, "features is True"),
        ({"samples": 20, "features": 25}, "nothing is left to scale"),
        ({"samples": INF, "features": INF}, "nothing is left to scale"),
        ({"noise": -1.0}, "noise is -1.0"),
    ],
)
def test_bad_students(changes, message):
    arguments = {"eigenvalues": power_law_spectrum(0.7, 20), "samples": 5, "features": 9} | changes
    eigenvalues, coefficients = arguments.pop("eigenvalues"), arguments.pop("coefficients", None)
    with pytest.raises(ValueError, match=message):
        ridgeless_loss(eigenvalues, coefficients, **arguments)
    with pytest.raises(ValueError, match=message):
        simulate_losses(eigenvalues, coefficients, **arguments, seeds=1, rng=rng())


@pytest.mark.parametrize("features", [4, 5, 6])
def test_mean_loss_is_infinite_at_the_threshold(features):
    with pytest.raises(ValueError, match="the mean loss is infinite"):
        ridgeless_loss(np.ones(20), samples=5, features=features)


def test_bad_spectra_sizes_and_matrices():
    with pytest.raises(ValueError, match="exponent is 0"):
        power_law_spectrum(0, 5)
    with pytest.raises(ValueError, match="modes is 0"):
        power_law_spectrum(1, 0)
    with pytest.raises(ValueError, match="size is 5"):
        resolution_scale(np.ones(5), 5)
    options = {"samples": 3, "features": 4, "seeds": 1}
    with pytest.raises(ValueError, match=r"inputs has shape \(4, 20\)"):
        simulate_losses(np.ones(20), **options, rng=rng(), inputs=np.ones((4, 20)))
    with pytest.raises(ValueError, match="rng is 3"):
        simulate_losses(np.ones(20), **options, rng=3)


# Power-law fits

X = 2.0 ** np.arange(3, 9)


def law(seeds, exponent=-0.7, floor=0.0, scatter=0.1, seed=0):
    generator = rng(seed)
    clean = floor + 2 * X**exponent
    return clean * generator.gamma(1 / scatter**2, scatter**2, size=(seeds, len(X)))


def test_exact_power_law_is_recovered():
    tiny = law(6, scatter=1e-7)
    fit = fit_power_law(X, tiny, rng=rng())
    assert fit.exponent.value == pytest.approx(-0.7, abs=1e-6)
    assert fit.amplitude.value == pytest.approx(2.0, abs=1e-5)
    assert fit.floor.value == fit.floor.stderr == 0
    np.testing.assert_allclose(fit(X), 2 * X**-0.7, rtol=1e-5)
    np.testing.assert_allclose(fit.local.value, -0.7, atol=1e-5)
    assert fit.degrees == 4
    assert fit.exponent.seeds == 6


@pytest.mark.parametrize("exponent", [-0.3, -1.0, -2.5])
def test_free_floor_is_recovered(exponent):
    tiny = law(6, exponent=exponent, floor=0.3, scatter=1e-8)
    fit = fit_power_law(X, tiny, floor="fit", rng=rng())
    assert fit.exponent.value == pytest.approx(exponent, abs=1e-3)
    assert fit.floor.value == pytest.approx(0.3, abs=1e-4)
    assert fit.degrees == 3
    known = fit_power_law(X, tiny, floor=0.3, rng=rng())
    assert known.exponent.value == pytest.approx(exponent, abs=1e-2)


def test_free_floor_minimises_the_weighted_squares():
    from scipy.optimize import least_squares

    samples = law(12, floor=0.2, scatter=0.03, seed=4)
    fit = fit_power_law(X, samples, floor="fit", rng=rng())
    error = samples.std(axis=0, ddof=1) / math.sqrt(12)
    slope, intercept = np.polyfit(np.log(X), np.log(error), 1)
    smooth = np.exp(intercept) * X**slope

    def residuals(p):
        return (p[0] + p[1] * X ** p[2] - samples.mean(axis=0)) / smooth

    best = least_squares(residuals, [0.1, 1.0, -1.0], xtol=1e-14, ftol=1e-14, gtol=1e-14).x
    found = [fit.floor.value, fit.amplitude.value, fit.exponent.value]
    np.testing.assert_allclose(found, best, rtol=1e-5)


def test_floor_is_not_negative():
    samples = law(10, scatter=0.02, seed=1) * (1 + 0.1 * np.log(X[0] / X))  # bends down
    fit = fit_power_law(X, samples, floor="fit", rng=rng())
    assert fit.floor.value == 0
    assert fit.exponent.value == pytest.approx(
        np.polyfit(np.log(X), np.log(samples.mean(axis=0)), 1)[0], abs=0.05
    )


def test_equal_weights_are_fit_exponent():
    samples = law(9, floor=0.05, seed=3)
    fit = fit_power_law(X, samples, floor=0.05, weights="equal", rng=rng())
    reference = fit_exponent(X, samples, statistic=lambda rows: rows.mean(axis=0) - 0.05)
    assert fit.exponent.value == reference.value
    assert fit.exponent.stderr == pytest.approx(reference.stderr, rel=0.2)


def test_weights_follow_the_errors():
    """A point with huge errors does not turn the weighted line."""
    generator = rng(2)
    scatter = 0.002 * X / X[0]
    samples = 2 * X**-0.7 * (1 + scatter * generator.standard_normal((20, len(X))))
    samples[:, -1] *= 1.03
    weighted = fit_power_law(X, samples, rng=rng())
    equal = fit_power_law(X, samples, weights="equal", rng=rng())
    assert abs(weighted.exponent.value + 0.7) < abs(equal.exponent.value + 0.7) / 3


@pytest.mark.parametrize("seeds", [6, 16])
def test_intervals_cover(seeds):
    generator, hits, plain, small = rng(11), 0, 0, 0
    for _ in range(400):
        samples = X**-0.7 * generator.gamma(100, 1 / 100, size=(seeds, len(X)))
        fit = fit_power_law(X, samples, resamples=1000, rng=generator)
        hits += fit.interval[0] <= -0.7 <= fit.interval[1]
        low, high = np.quantile(fit.resampled, [0.025, 0.975])
        plain += low <= -0.7 <= high
        small += fit.p_value < 0.05
    # 95 % within four standard errors of counting (0.044), and 0.03 of estimated weights
    assert hits / 400 > 0.95 - 0.044 - 0.03
    assert hits > plain
    assert 0.01 < small / 400 < 0.12


def test_intervals_of_a_free_floor_cover():
    generator, hits, floors = rng(12), 0, 0
    for _ in range(60):
        clean = 0.2 + X**-0.7
        samples = clean * (1 + 0.03 * generator.standard_normal((16, len(X))))
        fit = fit_power_law(X, samples, floor="fit", resamples=500, rng=generator)
        hits += fit.interval[0] <= -0.7 <= fit.interval[1]
        floors += fit.floor_interval[0] <= 0.2 <= fit.floor_interval[1]
    assert min(hits, floors) >= 60 * 0.95 - 4 * math.sqrt(60 * 0.95 * 0.05)


def test_confidence_widens_the_interval_and_bends_lower_the_p_value():
    samples = law(8)
    narrow = fit_power_law(X, samples, confidence=0.5, rng=rng())
    wide = fit_power_law(X, samples, confidence=0.95, rng=rng())
    assert wide.interval[0] < narrow.interval[0] < narrow.interval[1] < wide.interval[1]
    bent = fit_power_law(X, law(8, floor=0.1, scatter=0.01), rng=rng())
    assert bent.p_value < 1e-6
    assert (np.diff(bent.local.value) > 0).all()
    assert fit_power_law(X, law(8, scatter=0.01), rng=rng()).p_value > 1e-3


def test_bootstrap_keeps_seeds_together():
    """A factor common to all points of a seed leaves the exponent's error alone."""
    generator = rng(5)
    samples = X**-0.7 * (1 + 0.01 * generator.standard_normal((20, len(X))))
    common = samples * generator.gamma(4, 1 / 4, size=(20, 1))
    alone = fit_power_law(X, samples, rng=rng())
    shared = fit_power_law(X, common, rng=rng())
    assert shared.amplitude.stderr > 5 * alone.amplitude.stderr
    assert shared.exponent.stderr < 3 * alone.exponent.stderr


def test_tail_of_the_interval_is_students():
    assert module._tail(0.95, 8) == pytest.approx(
        stats.norm.cdf(-math.sqrt(8 / 7) * stats.t.ppf(0.975, 7))
    )
    assert module._tail(0.95, 10**7) == pytest.approx(0.025, rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": X[:2]}, "at least 3"),
        ({"x": X[:3], "floor": "fit"}, "at least 4"),
        ({"x": -X}, "positive"),
        ({"x": X[::-1]}, "increasing"),
        ({"x": X[:5]}, r"samples has shape \(8, 6\)"),
        ({"samples": law(4)}, "at least 5 independent seeds"),
        ({"samples": -law(8)}, "allowed are losses > 0"),
        ({"samples": law(8) * 0}, "allowed are losses > 0"),
        ({"samples": np.tile(X**-1, (8, 1))}, "samples are equal at x=8"),
        ({"samples": np.full((8, 6), math.nan)}, "samples contains NaN"),
        ({"samples": X}, "samples has shape"),
        ({"floor": 1.0}, "floor is 1, but the mean at x=8"),
        ({"floor": -0.1}, "floor is -0.1"),
        ({"floor": "free"}, "floor is 'free'"),
        ({"floor": None}, "floor is None"),
        ({"weights": "no"}, "weights is 'no'"),
        ({"weights": "equal", "floor": "fit"}, "weights is 'equal'"),
        ({"resamples": 100}, "resamples is 100"),
        ({"confidence": 1.0}, "confidence is 1.0"),
        ({"confidence": 0.0}, "confidence is 0.0"),
        ({"rng": 1}, "rng is 1"),
    ],
)
def test_bad_fits(changes, message):
    arguments = {"x": X, "samples": law(8), "rng": rng()} | changes
    x, samples = arguments.pop("x"), arguments.pop("samples")
    if "x" in changes and len(changes["x"]) in (2, 3):
        samples = samples[:, : len(changes["x"])]
    with pytest.raises(ValueError, match=message):
        fit_power_law(x, samples, **arguments)


def test_undetermined_floor_is_an_error():
    rising = np.sort(law(8), axis=1)
    with pytest.raises(RuntimeError, match="do not determine exponent and floor"):
        fit_power_law(X, rising, floor="fit", rng=rng())


# Manifolds, random features, networks


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_nearest_neighbour(dimension):
    samples = 1500
    losses = manifold_loss(
        samples, dimension=dimension, seeds=12, rng=rng(1), method="nearest", ambient=8
    )
    error = losses.std(ddof=1) / math.sqrt(12)
    # f* varies by 2 pi^2 r^2 a dimension; in a Poisson process N V_d r^d is exponential
    volume = {1: 2, 2: math.pi, 3: 4 * math.pi / 3}[dimension]
    power = 2 / dimension
    theory = 2 * math.pi**2 * math.gamma(1 + power) / (samples * volume) ** power
    assert abs(losses.mean() - theory) < 5 * error + 0.02 * theory


def test_linear_interpolation_on_a_line():
    losses = manifold_loss(1000, dimension=1, seeds=300, rng=rng(2), method="linear")
    error = losses.std(ddof=1) / math.sqrt(300)
    theory = (2 * math.pi) ** 4 / 2 / 1000**4
    assert abs(losses.mean() - theory) < 5 * error + 0.02 * theory


def test_linear_interpolation_improves_with_the_fourth_power_of_the_spacing():
    few, many = (
        manifold_loss(N, dimension=2, seeds=10, rng=rng(3), method="linear").mean()
        for N in (200, 3200)
    )
    assert 16**1.6 < few / many < 16**2.4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 0}, "samples is 0"),
        ({"dimension": 0}, "dimension is 0"),
        ({"method": "cubic"}, "method is 'cubic'"),
        ({"ambient": 3}, "ambient is 3"),
        ({"ambient": 6, "method": "linear"}, "ambient is 6"),
        ({"samples": 2, "method": "linear"}, "their hull"),
        ({"samples": 4, "method": "linear"}, "their hull"),
        ({"rng": None}, "rng is None"),
    ],
)
def test_bad_manifolds(changes, message):
    arguments = {"samples": 10, "dimension": 2, "seeds": 1, "rng": rng(), "method": "nearest"}
    with pytest.raises(ValueError, match=message):
        manifold_loss(**arguments | changes)


def test_trained_networks_follow_autograd():
    import torch

    width, samples, steps, rate = 7, 5, 4, 0.3
    errors = train_networks(
        width, networks=2, samples=samples, seed=3, learning_rate=rate, steps=steps, tests=6
    )
    generator = torch.Generator().manual_seed(3)
    w = torch.randn((2, width, 3), generator=generator, dtype=torch.float64)
    v = torch.randn((2, 1, width), generator=generator, dtype=torch.float64)
    angles = torch.as_tensor(rng(0).uniform(0, 2 * math.pi, samples))
    grid = torch.arange(6, dtype=torch.float64) * (2 * math.pi / 6)

    def output(w, v, theta):
        x = torch.stack([torch.cos(theta), torch.sin(theta), torch.ones_like(theta)])
        return (v @ torch.tanh(w @ x))[:, 0] / math.sqrt(width)

    start, start_grid = output(w, v, angles), output(w, v, grid)
    for _ in range(steps):
        w, v = w.detach().requires_grad_(), v.detach().requires_grad_()
        residual = output(w, v, angles) - start - torch.sin(2 * angles)
        (0.5 * (residual**2).sum()).backward()
        w, v = w - rate * w.grad, v - rate * v.grad
    expected = output(w, v, grid) - start_grid - torch.sin(2 * grid)
    np.testing.assert_allclose(errors, expected.detach().numpy(), atol=1e-12)


def test_diverging_training_is_an_error():
    with pytest.raises(RuntimeError, match="diverged at width 5"):
        train_networks(5, networks=2, samples=6, seed=0, learning_rate=50.0, steps=200)
