"""The power-law random-feature model: exact loss, its equivalent, phases and frontier."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gamma, zeta

from course import runtime
from course.scaling import compute_optimal
from course.scaling import compute_phases as module
from course.scaling.compute_phases import (
    Divergence,
    EquivalentSpectrum,
    PowerLawFeatures,
    Spectrum,
    balance,
    critical_rate,
    expected_loss,
    forcing_and_kernel,
    frontier,
    kernel_norm,
    loss_terms,
    optimal_budgets,
    plrf_spectrum,
    reference_rate,
    sample_losses,
    sample_phases,
    sgd_loss,
    time_exact,
    volterra_loss,
)

POINTS = {
    "Ia": (1.0, 0.25), "Ib": (0.4, 0.3), "Ic": (0.2, 0.8), "II": (1.2, 0.8), "III": (0.8, 1.2),
    "IVa": (0.4, 1.0), "IVb": (0.28, 1.0),
}  # fmt: skip


# --- phases -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("phase", "point"), POINTS.items())
def test_each_point_has_its_phase(phase, point):
    assert compute_optimal(*point).phase == phase


def by_grid(alpha, beta, points=400_001):
    """Minimum of the largest law on a grid of x, written out law by law."""
    x = np.linspace(0, 1, points)
    rate = min(0.0, 2 * alpha - 1) * x
    steps, elapsed = 1 - x, rate + 1 - x
    laws = [
        (-2 * alpha + max(0, 1 - 2 * beta)) * x,
        -elapsed * (2 * alpha + 2 * beta - 1) / (2 * alpha),
    ]
    if alpha > 0.5 and beta > 0.5:
        laws.append(-x - steps * (1 - 1 / (2 * alpha)))
    if alpha > 0.25 and beta > 0.5:
        laws.append(rate + elapsed * (-2 + 1 / (2 * alpha)))
    top = np.max(laws, axis=0)
    return x[top.argmin()], top.min()


@given(alpha=st.floats(0.02, 2), beta=st.floats(0.02, 2))
@settings(max_examples=60, deadline=None)
def test_table_is_the_balance_of_the_laws(alpha, beta):
    edges = (alpha - 0.5, beta - 0.5, alpha - beta, alpha - 0.25, alpha - 1 + math.sqrt(0.5))
    if alpha + beta < 0.52 or min(map(abs, edges)) < 1e-3:
        return
    _, size, loss = compute_optimal(alpha, beta)
    assert balance(alpha, beta) == pytest.approx((size, loss), abs=1e-9)
    near_size, near_loss = by_grid(alpha, beta)
    assert loss == pytest.approx(near_loss, abs=2e-4)
    # Near a boundary of IVb the lines are almost parallel there, and the grid's minimum is flat.
    assert size == pytest.approx(near_size, abs=1e-4)
    assert 0 < size < 1
    assert loss < 0


@pytest.mark.parametrize("edge", [(0.5, 1), (1, 0.5), (0.8, 0.8), (0.25, 1), (1 - 0.5**0.5, 1)])
def test_exponents_are_continuous_across_boundaries_and_raise_on_them(edge):
    with pytest.raises(ValueError, match="boundary"):
        compute_optimal(*edge)
    around = [
        compute_optimal(edge[0] + 1e-6 * math.cos(t), edge[1] + 1e-6 * math.sin(t))
        for t in np.arange(0.3, 6, 0.7)
    ]
    assert len({point.phase for point in around}) > 1
    losses = [point.loss_exponent for point in around]
    assert max(losses) - min(losses) < 1e-4


@pytest.mark.parametrize(
    ("alpha", "beta", "message"),
    [
        (0.2, 0.3, r"alpha \+ beta is 0.5"),
        (0.1, 0.1, "no compute lowers it"),
        (0.0, 1.0, "alpha is 0"),
        (1.0, -1.0, "beta is -1"),
        (math.nan, 1.0, "alpha is nan"),
        (1.0, math.inf, "beta is inf"),
        ("1", 1.0, "alpha is '1'"),
    ],
)
def test_undefined_points(alpha, beta, message):
    for function in (compute_optimal, balance, loss_terms):
        with pytest.raises(ValueError, match=message):
            function(alpha, beta)


# --- spectrum and loss --------------------------------------------------------------------------


def dense_mean(model, steps, rate, batch):
    """Mean loss from the full matrix of second moments in v dimensions, by Wick's theorem."""
    root = model.deviations[:, None] * model.weights
    operator, residual = root @ root.T, model.deviations * model.target
    moment, losses = np.outer(residual, residual), []
    for _ in range(steps + 1):
        total = np.trace(moment)
        losses.append(total)
        product = operator @ moment
        moment = (
            moment
            - rate * batch * (product + product.T)
            + rate**2 * batch * (batch + 1) * product @ operator
            + rate**2 * batch * total * operator @ operator
        )
    return np.array(losses)


@pytest.mark.parametrize(("rate", "batch"), [(0.2, 1), (0.05, 6)])
def test_loss_is_the_trace_of_the_second_moments(rate, batch):
    model = PowerLawFeatures.sample(0.7, 0.9, features=8, dimensions=20, rng=runtime.rng(0))
    spectrum, wanted = model.spectrum(), dense_mean(model, 150, rate, batch)
    steps = np.arange(151)
    got = expected_loss(spectrum, steps, learning_rate=rate, batch=batch)
    np.testing.assert_allclose(got, wanted, rtol=1e-9)
    got = volterra_loss(spectrum, 150, learning_rate=rate, batch=batch)
    np.testing.assert_allclose(got, wanted, rtol=1e-9)


def test_spectrum_is_that_of_the_matrix():
    rng = runtime.rng(3)
    spectrum = plrf_spectrum(0.9, 0.6, features=6, dimensions=15, rng=rng)
    assert rng.random() == pytest.approx(rng_after_one_matrix(3, 15 * 6), abs=0)
    model = PowerLawFeatures.sample(0.9, 0.6, features=6, dimensions=15, rng=runtime.rng(3))
    root = model.deviations[:, None] * model.weights
    np.testing.assert_allclose(
        spectrum.eigenvalues, np.linalg.svd(root, compute_uv=False) ** 2, rtol=1e-9
    )
    fit, *_ = np.linalg.lstsq(root, model.deviations * model.target, rcond=None)
    left = ((root @ fit - model.deviations * model.target) ** 2).sum()
    assert spectrum.unreachable == pytest.approx(left, rel=1e-9)
    assert spectrum.start == pytest.approx(((model.deviations * model.target) ** 2).sum())
    np.testing.assert_allclose(model.spectrum().signal, spectrum.signal, rtol=1e-7)


def rng_after_one_matrix(seed, count):
    rng = runtime.rng(seed)
    rng.standard_normal(count)
    return rng.random()


def test_blocks_of_rows_give_the_same_spectrum(monkeypatch):
    whole = plrf_spectrum(0.9, 0.6, features=6, rng=runtime.rng(4))
    monkeypatch.setattr(module, "MEMORY", 6 * 5)
    parts = plrf_spectrum(0.9, 0.6, features=6, rng=runtime.rng(4))
    np.testing.assert_allclose(parts.eigenvalues, whole.eigenvalues, rtol=1e-10)
    assert parts.unreachable == pytest.approx(whole.unreachable, rel=1e-10)
    steps = [3, 100, 10**6]
    np.testing.assert_allclose(
        expected_loss(parts, steps, learning_rate=0.2),
        expected_loss(whole, steps, learning_rate=0.2),
        rtol=1e-9,
    )


def closed_form(spectrum, steps, rate):
    """The recursion as powers of a symmetric matrix, diagonalised."""
    scaled = rate * spectrum.eigenvalues
    matrix = np.diag(1 - 2 * scaled + 2 * scaled**2) + np.outer(scaled, scaled)
    factors, modes = np.linalg.eigh(matrix)
    start, out = modes.T @ (spectrum.signal / scaled), modes.T @ scaled
    losses = []
    for r in steps:
        power = factors**r
        grown = start * power + out * spectrum.unreachable * (1 - power) / (1 - factors)
        losses.append(spectrum.unreachable + out @ grown)
    return np.array(losses)


@pytest.mark.parametrize("point", POINTS.values())
def test_contour_at_very_late_steps(point):
    spectrum = plrf_spectrum(*point, features=40, rng=runtime.rng(5))
    rate = reference_rate(point[0], features=40)
    steps = np.array([65, 200, 10**4, 10**6, 10**9])
    np.testing.assert_allclose(
        expected_loss(spectrum, steps, learning_rate=rate),
        closed_form(spectrum, steps.astype(float), rate),
        rtol=1e-8,
    )
    end = spectrum.unreachable / (1 - kernel_norm(spectrum, rate))
    assert float(expected_loss(spectrum, 1e14, learning_rate=rate)) == pytest.approx(end, rel=1e-8)


def test_steps_of_any_shape_and_order():
    spectrum = plrf_spectrum(0.8, 1.2, features=5, rng=runtime.rng(6))
    together = expected_loss(spectrum, [500, 0, 7], learning_rate=0.1)
    alone = [float(expected_loss(spectrum, r, learning_rate=0.1)) for r in (500, 0, 7)]
    np.testing.assert_allclose(together, alone, rtol=1e-14)
    assert together[1] == pytest.approx(spectrum.start)
    assert np.shape(expected_loss(spectrum, 3, learning_rate=0.1)) == ()


@pytest.mark.parametrize("batch", [1, 5])
def test_sgd_agrees_with_its_mean(batch):
    model = PowerLawFeatures.sample(0.6, 0.8, features=10, dimensions=30, rng=runtime.rng(7))
    steps, rate = np.array([0, 1, 4, 20]), 0.15 / batch
    losses = sgd_loss(model, steps, learning_rate=rate, batch=batch, runs=3000, rng=runtime.rng(8))
    wanted = expected_loss(model.spectrum(), steps, learning_rate=rate, batch=batch)
    error = losses.std(axis=0)[1:] / math.sqrt(3000)
    np.testing.assert_allclose(losses[:, 0], wanted[0], rtol=1e-12)
    assert (np.abs(losses.mean(axis=0) - wanted)[1:] < 4.5 * error).all()
    noiseless = forcing_and_kernel(model.spectrum(), steps, learning_rate=rate, batch=batch)[0]
    assert (np.abs(noiseless - losses.mean(axis=0))[2:] > 4.5 * error[1:]).all()


def test_forcing_and_kernel_solve_the_volterra_equation():
    spectrum = plrf_spectrum(0.8, 1.2, features=7, rng=runtime.rng(9))
    forcing, kernel = forcing_and_kernel(spectrum, np.arange(40), learning_rate=0.3)
    losses = []
    for r in range(40):
        losses.append(forcing[r] + sum(kernel[r - 1 - s] * losses[s] for s in range(r)))
    np.testing.assert_allclose(
        losses, expected_loss(spectrum, np.arange(40), learning_rate=0.3), rtol=1e-12
    )
    late = forcing_and_kernel(spectrum, np.arange(200_000), learning_rate=0.3)[1]
    assert late.sum() == pytest.approx(kernel_norm(spectrum, 0.3), rel=1e-6)


# --- stability ----------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 4])
def test_critical_rate_is_where_the_loss_starts_to_grow(batch):
    spectrum = plrf_spectrum(0.8, 1.2, features=6, rng=runtime.rng(10))
    rate = critical_rate(spectrum, batch=batch)
    assert kernel_norm(spectrum, rate, batch=batch) == pytest.approx(1, rel=1e-9)
    below = volterra_loss(spectrum, 3000, learning_rate=0.98 * rate, batch=batch)
    above = volterra_loss(spectrum, 3000, learning_rate=1.02 * rate, batch=batch)
    floor = spectrum.unreachable / (1 - kernel_norm(spectrum, 0.98 * rate, batch=batch))
    assert below[3000] == pytest.approx(floor, rel=1e-3)
    assert above[3000] > 1e3 * above[1500]
    with pytest.raises(Divergence, match=f"{rate:.6g}"):
        expected_loss(spectrum, 10, learning_rate=1.02 * rate, batch=batch)


@pytest.mark.parametrize("batch", [1, 4])
def test_equivalent_kernel_norm_is_that_of_large_matrices(batch):
    equivalent = EquivalentSpectrum(0.4, 1.0, features=300)
    rate = reference_rate(0.4, features=300)
    norms = [
        kernel_norm(plrf_spectrum(0.4, 1.0, features=300, rng=runtime.rng(k)), rate, batch=batch)
        for k in range(4)
    ]
    # one W: the trace scatters by about 1/300, the largest eigenvalue by a tenth
    assert kernel_norm(equivalent, rate, batch=batch) == pytest.approx(np.mean(norms), rel=0.02)


@pytest.mark.parametrize("rate", [0.9, 1.02, 1.2, 3.0])
def test_equivalent_refuses_an_unstable_rate(rate):
    spectrum = EquivalentSpectrum(0.8, 1.2, features=200)
    assert kernel_norm(spectrum, 0.2) < 1 < kernel_norm(spectrum, rate)
    for function in (expected_loss, forcing_and_kernel):
        with pytest.raises(Divergence, match="weighs"):
            function(spectrum, [20, 10**6], learning_rate=rate)


def test_divergence_is_an_error():
    model = PowerLawFeatures.sample(0.8, 1.2, features=6, rng=runtime.rng(11))
    with pytest.raises(Divergence, match="has grown 1e.0[68]-fold"):
        sgd_loss(model, [2000], learning_rate=5.0, runs=3, rng=runtime.rng(12))
    with pytest.raises(Divergence, match="overflows at step"):
        volterra_loss(model.spectrum(), 3000, learning_rate=5.0)


def test_one_mode_is_unstable_by_itself():
    spectrum = Spectrum(np.array([1.0]), np.array([1.0]), 0.0)
    assert kernel_norm(spectrum, 1.0) == math.inf
    assert critical_rate(spectrum) == pytest.approx(2 / 3)  # gamma = 2 / (B + 2), one mode
    assert critical_rate(spectrum, batch=4) == pytest.approx(2 / 6)


# --- the deterministic equivalent ---------------------------------------------------------------


@pytest.mark.parametrize("point", [(1.0, 0.25), (0.4, 0.3), (0.2, 0.8), (0.8, 1.2)])
def test_equivalent_is_the_mean_over_matrices(point):
    size, steps = 48, np.array([1, 5, 9, 10, 40, 300, 10**4, 10**7])
    rate, rng = reference_rate(point[0], features=size), runtime.rng(13)
    curves = np.array(
        [
            expected_loss(plrf_spectrum(*point, features=size, rng=rng), steps, learning_rate=rate)
            for _ in range(120)
        ]
    )
    smooth = expected_loss(EquivalentSpectrum(*point, features=size), steps, learning_rate=rate)
    error = curves.std(axis=0) / math.sqrt(120) / smooth
    # terms of relative order 1/size, a few of them
    assert (np.abs(curves.mean(axis=0) / smooth - 1) < 4 * error + 3 / size).all()


def test_kappa_solves_its_equation_with_the_full_sum():
    spectrum = EquivalentSpectrum(0.7, 0.9, features=500.0, dimensions=2000.0)
    variance = np.arange(1, 2001.0) ** -1.4
    w = np.geomspace(1e-8, 1e2, 30)
    kappa = spectrum.kappa(w).real
    full = kappa * (1 - (variance / (variance + kappa[:, None])).sum(1) / 500)
    np.testing.assert_allclose(full, w, rtol=1e-8, atol=1e-8 * kappa[0])
    path = 1e-3 * np.exp(1j * np.linspace(0.1, 2.5, 12))[None]
    kappa = spectrum.kappa(path)[0]
    full = kappa * (1 - (variance / (variance + kappa[:, None])).sum(1) / 500)
    np.testing.assert_allclose(full, path[0], rtol=1e-8)
    assert (kappa.imag > 0).all()  # the branch that continues the positive axis


@pytest.mark.parametrize("dimensions", [100, 257, 5000, 10**6])
def test_bins_replace_the_sum(dimensions):
    places, counts = module._bins(float(dimensions))
    everything = np.arange(1, dimensions + 1.0)
    assert counts.sum() == pytest.approx(dimensions, rel=1e-9)
    for exponent, kappa in ((2.0, 1e-4), (0.5, 1e-2), (1.0, 1e-9)):
        full = (1 / (1 + kappa * everything**exponent)).sum()
        assert counts @ (1 / (1 + kappa * places**exponent)) == pytest.approx(full, rel=1e-8)


def test_laws_of_forcing_kernel_and_floor():
    alpha, beta, size = 0.8, 1.2, 1e10
    spectrum, rate = EquivalentSpectrum(alpha, beta, features=size), 0.2
    s, p = 1 / (2 * alpha), (2 * alpha + 2 * beta - 1) / (2 * alpha)
    tau = np.array([1e3, 1e10])
    forcing, kernel = forcing_and_kernel(spectrum, tau / (2 * rate), learning_rate=rate)
    assert forcing[0] == pytest.approx(gamma(p) * s * tau[0] ** -p, rel=0.01)
    late = zeta(2 * beta) * gamma(1 - s) * s / size * tau[1] ** (s - 1)
    assert forcing[1] == pytest.approx(late, rel=0.03)
    assert kernel[0] == pytest.approx(rate**2 * gamma(2 - s) * s * tau[0] ** (s - 2), rel=0.01)
    floors = [EquivalentSpectrum(0.4, 0.3, features=10.0**k).unreachable for k in (9, 10)]
    assert math.log10(floors[1] / floors[0]) == pytest.approx(1 - 0.8 - 0.6, abs=5e-3)


def test_value_lost_in_rounding_raises():
    spectrum = EquivalentSpectrum(0.8, 1.2, features=100)
    with pytest.raises(RuntimeError, match="lost in rounding"):
        forcing_and_kernel(spectrum, [1e9], learning_rate=0.2)


# --- frontier -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("phase", "point"), POINTS.items())
def test_frontier_reaches_the_table(phase, point):
    wanted = compute_optimal(*point)
    budgets = [1e24, 1e26] if phase != "IVb" else [1e36, 1e38]
    front = frontier(*point, budgets)
    tolerance = 0.003 if phase != "IVb" else 0.0125
    slope = math.log10(front.loss[1] / front.loss[0]) / 2
    assert slope == pytest.approx(wanted.loss_exponent, abs=tolerance)
    slope = math.log10(front.size[1] / front.size[0]) / 2
    assert slope == pytest.approx(wanted.size_exponent, abs=tolerance)


def test_frontier_is_the_minimum_over_sizes():
    alpha, beta, budget = 0.8, 1.2, 1e6
    front = frontier(alpha, beta, [budget])
    sizes = np.geomspace(10, 1e4, 400)
    losses = [
        float(
            expected_loss(
                EquivalentSpectrum(alpha, beta, features=d), budget / d,
                learning_rate=reference_rate(alpha, features=d),
            )
        )
        for d in sizes
    ]  # fmt: skip
    assert front.loss[0] <= min(losses) * (1 + 1e-9)
    assert front.loss[0] == pytest.approx(min(losses), rel=1e-3)
    assert front.size[0] == pytest.approx(sizes[int(np.argmin(losses))], rel=0.05)


def test_budgets_lie_on_the_frontier():
    budgets = optimal_budgets(0.8, 1.2, [48, 100])
    np.testing.assert_allclose(frontier(0.8, 1.2, budgets).size, [48, 100], rtol=0.1)


def test_samples_are_independent_groups_of_means():
    budgets = [2000.0, 9000.0]
    losses = sample_losses(0.8, 1.2, sizes=[5, 9], samples=[2, 1], compute=budgets, seed=40)["loss"]
    assert losses.shape == (8, 2, 2)
    rng = runtime.rng(40)
    pair = [plrf_spectrum(0.8, 1.2, features=5, rng=rng) for _ in range(2)]
    rate = reference_rate(0.8, features=5)
    mean = np.mean([expected_loss(s, [400, 1800], learning_rate=rate) for s in pair], axis=0)
    np.testing.assert_allclose(losses[0, 0], mean, rtol=1e-12)
    assert len(np.unique(losses[:, 1, 0])) == 8
    both = sample_phases(
        points=[(0.8, 1.2), (1.2, 0.8)], sizes=[16, 32], samples=[1, 1], best=[48], seed=1
    )
    assert both["loss"].shape == (2, 8, 2, 1)
    assert both["compute"].shape == (2, 1)


def test_times_are_of_one_number_each():
    seconds = time_exact(sizes=[4, 8], steps=[10, 100], repeats=1, seed=0)
    assert set(seconds) == {"spectrum", "curve"}
    assert all(len(values) == 2 and min(values) > 0 for values in seconds.values())


# --- bad input ----------------------------------------------------------------------------------

GOOD = Spectrum(np.array([1.0, 0.5]), np.array([1.0, 0.2]), 0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plrf_spectrum(1, 1, features=0, rng=runtime.rng(0)), "features is 0"),
        (lambda: plrf_spectrum(1, 1, features=5, dimensions=4, rng=runtime.rng(0)), "dimensions"),
        (lambda: plrf_spectrum(1, 1, features=5, rng=None), "rng is None"),
        (lambda: plrf_spectrum(0.1, 0.1, features=5, rng=runtime.rng(0)), "alpha . beta"),
        (lambda: Spectrum(np.array([-1.0]), np.ones(1), 0.0), "eigenvalues contains -1"),
        (lambda: Spectrum(np.array([1.0]), np.ones(2), 0.0), "signal has shape"),
        (lambda: Spectrum(np.array([1.0]), np.array([math.nan]), 0.0), "signal contains NaN"),
        (lambda: Spectrum(np.array([]), np.array([]), 0.0), "eigenvalues has shape"),
        (lambda: Spectrum(np.ones(1), np.ones(1), -1.0), "unreachable is -1"),
        (lambda: expected_loss(GOOD, [-1], learning_rate=0.1), "steps contains -1"),
        (lambda: expected_loss(GOOD, [1.5], learning_rate=0.1), "whole numbers"),
        (lambda: expected_loss(GOOD, [1], learning_rate=0.0), "learning_rate is 0"),
        (lambda: expected_loss(GOOD, [1], learning_rate=0.1, batch=0), "batch is 0"),
        (lambda: expected_loss(None, [1], learning_rate=0.1), "spectrum is None"),
        (lambda: forcing_and_kernel(None, [1], learning_rate=0.1), "spectrum is None"),
        (lambda: volterra_loss(None, 1, learning_rate=0.1), "spectrum is None"),
        (lambda: kernel_norm(None, 0.1), "spectrum is None"),
        (lambda: EquivalentSpectrum(1, 1, features=0.5), "features is 0.5"),
        (lambda: EquivalentSpectrum(1, 1, features=5, dimensions=4), "dimensions is 4"),
        (
            lambda: expected_loss(
                EquivalentSpectrum(1, 1, features=50), [2.5], learning_rate=0.1
            ),
            "any number from 10 on",
        ),
        (lambda: reference_rate(0.5, features=5), "logarithm"),
        (lambda: frontier(1.0, 0.25, [10.0]), "compute contains 10"),
        (lambda: frontier(0.5, 1.0, [1e5]), "boundary"),
        (lambda: optimal_budgets(1.0, 0.25, [8, 16]), "sizes is"),
        (lambda: optimal_budgets(1.0, 0.25, [32, 16]), "sizes is"),
        (lambda: optimal_budgets(0.8, 1.2, [20]), "fewer than 10 steps"),
        (
            lambda: sgd_loss(None, [1], learning_rate=0.1, runs=1, rng=runtime.rng(0)),
            "model is None",
        ),
        (
            lambda: sgd_loss(
                PowerLawFeatures.sample(1, 1, features=2, rng=runtime.rng(0)),
                [3, 1], learning_rate=0.1, runs=1, rng=runtime.rng(0),
            ),
            "increasing whole numbers",
        ),
    ],
)  # fmt: skip
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_spectrum_wider_than_double_precision_raises():
    with pytest.raises(RuntimeError, match="wider than double precision"):
        plrf_spectrum(6.0, 1.0, features=400, dimensions=400, rng=runtime.rng(0))
