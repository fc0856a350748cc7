"""Replica-symmetric theory: against adaptive quadrature, iteration, identities and exact limits."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar
from scipy.special import erf

from course import figures
from course.hebbian import replica
from course.hebbian.replica import (
    PHASES,
    critical_load,
    draw_cut,
    draw_phases,
    finite_size_run,
    free_energy,
    hopfield_rs,
    phase_diagram,
    retrieval_curve,
)


def average(function, mean, deviation, temperature):
    """E function(h / T) over h = mean + deviation z, by adaptive quadrature around the step."""
    width = temperature / deviation
    step = -mean / deviation
    edges = {-10.0, 10.0, *(step + k * width for k in (-40, -10, -3, 0, 3, 10, 40))}
    edges = sorted(edge for edge in edges if -10 <= edge <= 10)

    def weighted(z):
        field = (mean + deviation * z) / temperature
        return function(field) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    return sum(
        quad(weighted, a, b, epsabs=1e-14, epsrel=1e-13, limit=200)[0]
        for a, b in zip(edges, edges[1:], strict=False)
    )


def log2cosh(u):
    return abs(u) + math.log1p(math.exp(-2 * abs(u)))


POINTS = [
    (0.05, 0.3), (0.1, 0.05), (0.12, 0.2), (1e-3, 0.9), (0.13, 1e-3), (0.137, 0.01), (1e-6, 0.5),
    (0.138, 0.02287), (2.6e-5, 0.99),
]  # fmt: skip


@pytest.mark.parametrize(("load", "temperature"), POINTS)
def test_retrieval_solves_the_equations(load, temperature):
    state = hopfield_rs(load, temperature)
    noise = math.sqrt(load * state.noise)
    m = average(math.tanh, state.overlap, noise, temperature)
    q = average(lambda u: math.tanh(u) ** 2, state.overlap, noise, temperature)
    assert m == pytest.approx(state.overlap, abs=1e-11)
    assert q == pytest.approx(state.spin_glass, abs=1e-11)
    susceptibility = average(lambda u: math.cosh(min(abs(u), 300)) ** -2, state.overlap, noise,
                             temperature) / temperature  # fmt: skip
    assert susceptibility == pytest.approx(state.response, rel=1e-9)
    assert state.noise == pytest.approx(state.spin_glass / (1 - state.response) ** 2, rel=1e-11)
    assert state.response == pytest.approx((1 - state.spin_glass) / temperature, rel=1e-6)
    assert state.overlap > 0
    margin = temperature**2 * (1 - state.response) ** 2 - load * average(
        lambda u: math.cosh(min(abs(u), 300)) ** -4, state.overlap, noise, temperature
    )
    assert state.stable == (margin > 0)


def derivative(function, x, h=1e-4):
    """Central difference of fourth order."""
    near, far = (function(x + k * h) - function(x - k * h) for k in (1, 2))
    return (8 * near - far) / (12 * h)


@pytest.mark.parametrize(
    ("load", "temperature", "branch"),
    [
        (0.05, 0.3, "retrieval"), (0.1, 0.1, "retrieval"), (0.005, 0.8, "retrieval"),
        (0.05, 0.3, "glass"), (0.1, 0.5, "glass"), (1.0, 1.2, "glass"),
    ],
)  # fmt: skip
def test_thermodynamics(load, temperature, branch):
    state = hopfield_rs(load, temperature, branch=branch)
    place = {"overlap": state.overlap, "spin_glass": state.spin_glass, "noise": state.noise}
    noise = math.sqrt(load * state.noise)
    c = state.response
    direct = (
        load / 2 + state.overlap**2 / 2
        + load * temperature / 2 * (math.log(1 - c) - state.spin_glass / temperature / (1 - c))
        + load * state.noise * (1 - state.spin_glass) / temperature / 2
        - temperature * average(log2cosh, state.overlap, noise, temperature)
    )  # fmt: skip
    assert state.free_energy == pytest.approx(direct, abs=1e-11)
    assert free_energy(load, temperature, **place) == pytest.approx(direct, abs=1e-11)
    for name, value in place.items():

        def moved(x, name=name):
            return free_energy(load, temperature, **place | {name: x})

        assert derivative(moved, value, 1e-4) == pytest.approx(0, abs=2e-9), name

    def at_temperature(x):
        return hopfield_rs(load, x, branch=branch).free_energy

    def at_load(x):
        return hopfield_rs(x, temperature, branch=branch).free_energy

    def at_fixed_order(x):
        return free_energy(x, temperature, **place)

    assert state.entropy == pytest.approx(-derivative(at_temperature, temperature), abs=1e-8)
    assert state.energy == pytest.approx(state.free_energy + temperature * state.entropy)
    along, fixed = (derivative(f, load, 1e-3 * load) for f in (at_load, at_fixed_order))
    assert along == pytest.approx(fixed, abs=1e-8)


def test_reference_values():
    state = hopfield_rs(0.05, 0.3)
    assert state.overlap == pytest.approx(0.99116500, abs=5e-9)
    assert state.spin_glass == pytest.approx(0.98296095, abs=5e-9)
    assert hopfield_rs(0.10, 0.0).overlap == pytest.approx(0.99799927, abs=5e-9)
    assert critical_load(0.0) == pytest.approx(0.1379055665, abs=5e-11)
    assert critical_load(0.0, "first_order") == pytest.approx(0.0518543309, abs=5e-11)
    assert critical_load(0.2) == pytest.approx(0.12255886, abs=5e-9)
    assert critical_load(0.5) == pytest.approx(0.05881552, abs=5e-9)
    assert hopfield_rs(critical_load(0.0), 0.0).overlap == pytest.approx(0.96741712, abs=1e-8)
    top = minimize_scalar(lambda T: -critical_load(T), bounds=(0.01, 0.05), method="bounded",
                          options={"xatol": 1e-8})  # fmt: skip
    assert -top.fun == pytest.approx(0.13818851, abs=5e-9)
    assert top.x == pytest.approx(0.02287, abs=5e-6)


@pytest.mark.parametrize("load", [1e-4, 0.01, 0.1, 0.137])
def test_zero_temperature_is_the_equation_of_amit_gutfreund_sompolinsky(load):
    def excess(y):
        return erf(y) - y * (math.sqrt(2 * load) + 2 / math.sqrt(math.pi) * math.exp(-y * y))

    y = brentq(excess, 1.5111916, 2 / math.sqrt(2 * load), xtol=1e-15)
    state = hopfield_rs(load, 0.0)
    assert state.overlap == pytest.approx(erf(y), abs=1e-12)
    assert state.spin_glass == 1.0
    assert state.noise == pytest.approx((erf(y) / y) ** 2 / (2 * load), rel=1e-11)
    assert not state.stable
    assert state.energy == state.free_energy


@pytest.mark.parametrize("branch", ["retrieval", "glass"])
@pytest.mark.parametrize("load", [0.003, 0.1, 0.13])
def test_the_limit_of_zero_temperature_is_smooth(load, branch):
    zero = hopfield_rs(load, 0.0, branch=branch)
    for temperature in (1e-4, 1e-6, 1e-9, 1e-13):
        state = hopfield_rs(load, temperature, branch=branch)
        for name in ("overlap", "spin_glass", "noise", "response", "free_energy", "entropy"):
            value, limit = getattr(state, name), getattr(zero, name)
            assert abs(value - limit) <= 200 * temperature + 1e-12, (name, temperature)
        assert not state.stable or load < 0.06


def test_retrieval_is_where_iteration_from_the_pattern_ends():
    z = np.linspace(-10, 10, 4001)
    weight = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    for temperature in (0.1, 0.4, 0.8):
        for fraction in (0.1, 0.7, 0.99):
            load = fraction * critical_load(temperature)
            m = q = 1.0
            for _ in range(4000):
                noise = load * q / (1 - (1 - q) / temperature) ** 2
                tangent = np.tanh((m + np.sqrt(noise) * z) / temperature)
                m, q = weight @ tangent, weight @ tangent**2
            state = hopfield_rs(load, temperature)
            assert state.overlap == pytest.approx(m, abs=1e-9)
            assert state.spin_glass == pytest.approx(q, abs=1e-9)


@pytest.mark.parametrize("temperature", [0.0, 1e-10, 1e-4, 0.02287, 0.3, 0.9, 0.999])
def test_the_load_has_one_maximum_and_the_branch_ends_there(temperature):
    largest = critical_load(temperature)
    ratios = np.geomspace(0.05, 50, 2001)
    curve = retrieval_curve(ratios, temperature)
    assert curve.load.max() <= largest * (1 + 1e-12)
    assert curve.load.max() == pytest.approx(largest, rel=1e-5)
    rising = np.diff(curve.load) > 0
    assert not rising[np.argmin(rising) :].any()
    end = hopfield_rs(largest, temperature)
    lower = hopfield_rs(largest * 0.999, temperature)
    assert lower.overlap > end.overlap
    turn = curve.overlap[np.argmax(curve.load)]
    assert end.overlap == pytest.approx(turn, rel=2e-3)
    with pytest.raises(ValueError, match="no retrieval state exists beyond"):
        hopfield_rs(largest * (1 + 1e-9), temperature)


def test_overlap_falls_with_load_and_the_spinodal_with_temperature_after_its_maximum():
    for temperature in (0.0, 0.2, 0.7):
        loads = np.linspace(0.01, 1, 60) * critical_load(temperature)
        overlaps = [hopfield_rs(load, temperature).overlap for load in loads]
        assert (np.diff(overlaps) < 1e-15).all()
        assert (np.diff(overlaps[20:]) < 0).all()
    edges = [critical_load(T) for T in np.linspace(0.0229, 0.9999, 80)]
    assert (np.diff(edges) < 0).all()
    assert edges[-1] < 1e-8


def test_spinodal_near_temperature_one():
    """Tangents to third order: load = (1 - T)^2 4 s^2 / ((s + 3)^2 (s + 1)), s^2 - 3 s - 6 = 0."""
    s = (3 + math.sqrt(33)) / 2
    coefficient = 4 * s**2 / ((s + 3) ** 2 * (s + 1))
    for gap in (1e-2, 1e-3, 1e-4):
        state = hopfield_rs(critical_load(1 - gap), 1 - gap)
        assert state.load / gap**2 == pytest.approx(coefficient, rel=0.25 * gap)
        ratio = state.overlap / math.sqrt(state.load * state.noise)
        assert ratio == pytest.approx(math.sqrt(s), rel=gap)


def test_first_order_line_starts_at_the_crossing_of_closed_forms():
    def gain(t):
        m, w = erf(t / math.sqrt(2)), math.sqrt(2 / math.pi) * math.exp(-t * t / 2)
        glass = -1 / math.pi - math.sqrt(2 / math.pi) * (m / t - w)
        return glass - (-m * m / 2 + w * w / 2 - m / t * w)

    t = brentq(gain, 3, 6, xtol=1e-14)
    root = erf(t / math.sqrt(2)) / t - math.sqrt(2 / math.pi) * math.exp(-t * t / 2)
    assert critical_load(0.0, "first_order") == pytest.approx(root**2, rel=1e-12)


@pytest.mark.parametrize("temperature", [0.0, 1e-7, 0.07, 0.3, 0.9, 0.99])
def test_free_energies_cross_at_the_first_order_line(temperature):
    load = critical_load(temperature, "first_order")
    assert 0 < load < critical_load(temperature)
    for factor, sign in ((0.99, 1), (1.01, -1)):
        gain = (
            hopfield_rs(factor * load, temperature, branch="glass").free_energy
            - hopfield_rs(factor * load, temperature).free_energy
        )
        assert sign * gain > 0


@pytest.mark.parametrize(
    ("load", "temperature"),
    [(0.1, 0.3), (0.1, 1.2), (1e-4, 0.9), (4.0, 0.01), (0.1, 1.3162), (50, 3)],
)
def test_glass_solves_the_equations(load, temperature):
    state = hopfield_rs(load, temperature, branch="glass")
    noise = math.sqrt(load * state.noise)
    q = average(lambda u: math.tanh(u) ** 2, 0.0, noise, temperature)
    assert state.overlap == 0
    assert q == pytest.approx(state.spin_glass, abs=1e-11)
    assert state.spin_glass > 0
    assert not state.stable
    c = (1 - state.spin_glass) / temperature
    assert state.noise == pytest.approx(state.spin_glass / (1 - c) ** 2, rel=1e-6)


@pytest.mark.parametrize("load", [1e-6, 0.1, 9.0])
def test_paramagnet_above_the_glass_temperature(load):
    freezing = 1 + math.sqrt(load)
    warm = hopfield_rs(load, freezing * 1.001, branch="glass")
    assert warm.spin_glass == warm.noise == 0
    assert warm.stable
    T = warm.temperature
    expected = load / 2 * (1 + T * math.log1p(-1 / T)) - T * math.log(2)
    assert warm.free_energy == pytest.approx(expected, rel=1e-12)
    cold = hopfield_rs(load, freezing * 0.999, branch="glass")
    assert 0 < cold.spin_glass < 0.05
    assert not cold.stable
    assert cold.free_energy == pytest.approx(warm.free_energy, abs=0.01 * freezing)


def test_glass_at_zero_temperature_in_closed_form():
    for load in (0.01, 0.14, 2.0):
        state = hopfield_rs(load, 0.0, branch="glass")
        assert state.energy == pytest.approx(-1 / np.pi - np.sqrt(2 * load / np.pi), rel=1e-13)
        assert state.noise == pytest.approx((1 + math.sqrt(2 / np.pi / load)) ** 2, rel=1e-12)
    dense = hopfield_rs(1e6, 0.0, branch="glass")  # the model of Sherrington and Kirkpatrick
    assert dense.energy / 1e3 == pytest.approx(-math.sqrt(2 / np.pi), abs=1e-3)
    scaled = hopfield_rs(1e8, 0.5e4, branch="glass").spin_glass
    q = brentq(lambda q: q - average(lambda u: math.tanh(u) ** 2, 0.0, math.sqrt(q), 0.5), 0.1, 0.9)
    assert scaled == pytest.approx(q, abs=1e-3)


@pytest.mark.parametrize("branch", ["retrieval", "glass"])
@pytest.mark.parametrize("temperature", [0.0, 1e-100, 1e-50, 0.5])
@pytest.mark.parametrize("load", [1e-300, 1e-30, 1e-8, 0.1])
def test_extreme_arguments(load, temperature, branch):
    if load > 0.01 and temperature == 0.5:
        temperature = 0.05
    state = hopfield_rs(load, temperature, branch=branch)
    numbers = (state.overlap, state.spin_glass, state.noise, state.response, state.free_energy,
               state.energy, state.entropy)  # fmt: skip
    assert np.isfinite(numbers).all()
    if temperature < 0.01:
        zero = hopfield_rs(load, 0.0, branch=branch)
        assert state.free_energy == pytest.approx(zero.free_energy, abs=1e-15)
        assert state.overlap == pytest.approx(zero.overlap, abs=1e-14)
    if load < 1e-20:  # no cross-talk is left
        m = 0.9575040240772688 if temperature == 0.5 else 1.0
        assert state.overlap == (0 if branch == "glass" else pytest.approx(m, abs=1e-14))
    if branch == "retrieval" and temperature in (1e-100, 1e-50) and load in (1e-30, 0.1):
        assert state.stable == (load < 1e-20)


def test_small_load_is_the_ferromagnet():
    for temperature in (0.2, 0.6, 0.95):
        m = brentq(lambda m, T=temperature: m - math.tanh(m / T), 1e-3, 1)
        assert hopfield_rs(1e-11, temperature).overlap == pytest.approx(m, abs=1e-8)


def test_diagram_agrees_with_single_points():
    loads = np.array([0.01, 0.05, 0.1, 0.13, 0.2])
    temperatures = np.array([0.0, 0.01, 0.3, 0.95, 1.0, 1.2, 1.5])
    found = phase_diagram(loads, temperatures)
    assert found.phase.shape == found.overlap.shape == (7, 5)
    for i, temperature in enumerate(temperatures):
        for j, load in enumerate(loads):
            glass = hopfield_rs(load, temperature, branch="glass")
            assert found.spin_glass[i, j] == glass.spin_glass
            if temperature < 1 and load <= critical_load(temperature):
                state = hopfield_rs(load, temperature)
                assert found.overlap[i, j] == state.overlap
                gain = glass.free_energy - state.free_energy
                assert found.gain[i, j] == pytest.approx(gain, abs=1e-14)
                assert found.stable[i, j] == state.stable
                wins = load < critical_load(temperature, "first_order")
                assert PHASES[found.phase[i, j]] == (
                    "retrieval" if wins else "metastable retrieval"
                )
            else:
                assert found.overlap[i, j] == found.gain[i, j] == 0
                assert not found.stable[i, j]
                frozen = temperature < 1 + math.sqrt(load)
                assert PHASES[found.phase[i, j]] == ("spin glass" if frozen else "paramagnet")


def test_curve_has_the_shape_of_its_argument():
    curve = retrieval_curve(np.array([[2.5, 3.0], [4.0, 1.0]]), 0.2)
    assert all(part.shape == (2, 2) for part in curve)
    single = retrieval_curve(2.5, 0.2)
    assert float(single.load) == curve.load[0, 0]
    state = hopfield_rs(float(single.load), 0.2)
    assert state.overlap == pytest.approx(float(single.overlap), abs=1e-12)
    assert state.free_energy == pytest.approx(float(single.free_energy), abs=1e-13)
    ratio = state.overlap / math.sqrt(state.load * state.noise)
    assert ratio == pytest.approx(2.5, rel=1e-11)


def test_finite_networks_keep_patterns_below_and_lose_them_above():
    found = finite_size_run(spins=400, loads=[0.05, 0.4], samples=9, seed=3)["overlap"]
    again = finite_size_run(spins=400, loads=[0.05, 0.4], samples=9, seed=3)["overlap"]
    np.testing.assert_array_equal(found, again)
    assert found.shape == (9, 2)
    assert found[:, 0].min() > 0.98
    assert found[:, 1].mean() < 0.6
    assert len(np.unique(found[:, 1])) > 5
    flipped = (1 - found) * 200  # a whole number of spins
    np.testing.assert_allclose(flipped, np.round(flipped), atol=1e-9)


def test_batches_of_large_networks(monkeypatch):
    calls = []
    original = replica.random_patterns

    def counting(*args, **kwargs):
        calls.append(kwargs["samples"])
        return original(*args, **kwargs)

    monkeypatch.setattr(replica, "random_patterns", counting)
    kept = finite_size_run(spins=12_000, loads=[0.08], samples=5, seed=1)["overlap"]
    assert calls == [3, 2]
    assert kept.min() > 0.99


def test_drawings():
    fig, axs = figures.panels(3)
    draw_phases(axs[0], phase_diagram(np.linspace(0.005, 0.16, 20), np.linspace(0, 1.4, 20)))
    assert {text.get_text().replace("\n", " ") for text in axs[0].texts} == set(PHASES)
    draw_cut(axs[1], 0.2)
    labels = axs[1].get_legend_handles_labels()[1]
    assert labels == ["$q$, without overlap", "$m$, retrieval", "$m$, unstable"]
    draw_cut(axs[2], 1.3)
    assert len(axs[2].lines) == 1
    figures.plt.close(fig)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hopfield_rs(0.0, 0.1), "load is 0.0; allowed are finite numbers > 0"),
        (lambda: hopfield_rs(-0.1, 0.1), "load is -0.1"),
        (lambda: hopfield_rs(0.1, -0.1), "temperature is -0.1"),
        (lambda: hopfield_rs(0.1, math.nan), "temperature is nan"),
        (lambda: hopfield_rs(0.1, 1e-200), "allowed are 0 and numbers >= 1e-100"),
        (lambda: critical_load(1e-101), "allowed are 0 and numbers >= 1e-100"),
        (lambda: phase_diagram([0.1], [1e-200]), "allowed are 0 and numbers >= 1e-100"),
        (lambda: hopfield_rs(0.1, 0.3, branch="mixture"), "branch is 'mixture'"),
        (lambda: hopfield_rs(0.138, 0.0), "up to 0.1379055665"),
        (
            lambda: hopfield_rs(1e-9, 1.0),
            "load is 1e-09; allowed at temperature 1 are loads up to 0",
        ),
        (lambda: critical_load(1.0), "temperature is 1; allowed are numbers below 1"),
        (lambda: critical_load(-0.5), "temperature is -0.5"),
        (lambda: critical_load(0.1, "second_order"), "kind is 'second_order'"),
        (lambda: retrieval_curve([1.0, 0.0], 0.1), "signal_to_noise has an entry 0"),
        (lambda: retrieval_curve([1.0], 1.5), "temperature is 1.5"),
        (lambda: phase_diagram([0.1, -0.1], [0.1]), "loads has an entry -0.1"),
        (lambda: phase_diagram([0.1], [0.1, -0.1]), "temperatures has an entry -0.1"),
        (lambda: phase_diagram([], [0.1]), "loads has shape"),
        (lambda: free_energy(0.1, 0.3, overlap=1, spin_glass=0.6, noise=1), "spin_glass is 0.6"),
        (lambda: free_energy(0.1, 0.3, overlap=1, spin_glass=1.1, noise=1), "spin_glass is 1.1"),
        (lambda: free_energy(0.1, 0, overlap=1, spin_glass=1, noise=1), "temperature is 0"),
        (lambda: free_energy(0.1, 0.3, overlap=1, spin_glass=0.9, noise=-1), "noise is -1"),
        (lambda: finite_size_run(spins=0, loads=[0.1], samples=8, seed=1), "spins is 0"),
        (
            lambda: finite_size_run(spins=100, loads=[0.1, 0.001], samples=8, seed=1),
            "patterns is 0",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
