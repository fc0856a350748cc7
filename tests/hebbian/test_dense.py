"""Dense networks: against definitions, brute force, quadrature, limits and enumeration."""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import erf, log_ndtr

from course.hebbian import dense as module
from course.hebbian.dense import (
    CONVENTIONS,
    all_energies,
    crosstalk,
    dense_1rsb,
    dense_1rsb_capacity,
    dense_critical_load,
    dense_first_order_load,
    dense_ground_state,
    dense_rs,
    dense_spinodal,
    glass_transition,
    overlap_distribution,
    pattern_counts,
)

Z = np.linspace(-10, 10, 2001)
GAUSS = np.exp(-(Z**2) / 2) / np.exp(-(Z**2) / 2).sum()


def double_factorial(n):
    return math.prod(range(1, n + 1, 2))


def quadrature_crosstalk(q, order):
    nodes, weights = np.polynomial.hermite_e.hermegauss(order + 3)
    weights = weights / weights.sum()
    y = q * nodes[:, None] + math.sqrt(1 - q * q) * nodes
    return float(weights @ (nodes[:, None] * y) ** (order - 1) @ weights)


# ---- crosstalk ---------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [2, 4, 6, 8])
@pytest.mark.parametrize("q", [-0.7, 0.0, 0.4, 1.0])
def test_crosstalk_is_the_gaussian_average(order, q):
    power = crosstalk(q, order=order, convention="power")
    assert power == pytest.approx(quadrature_crosstalk(q, order), rel=1e-11, abs=1e-12)
    ordered = crosstalk(q, order=order, convention="ordered")
    assert ordered == pytest.approx(math.factorial(order - 1) * q ** (order - 1), rel=1e-14)


def test_crosstalk_of_order_four_is_the_reference():
    q = np.linspace(-1, 1, 7)
    np.testing.assert_allclose(crosstalk(q, order=4, convention="power"), 9 * q + 6 * q**3)
    np.testing.assert_allclose(
        crosstalk(q, order=4, convention="power", derivative=1), 9 + 18 * q**2
    )
    np.testing.assert_allclose(
        crosstalk(q, order=4, convention="power", derivative=-1), 4.5 * q**2 + 1.5 * q**4
    )
    assert isinstance(crosstalk(0.5, order=4, convention="ordered"), float)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_crosstalk_matches_random_patterns(convention):
    """Exact average over all patterns of the fields of one spin in two states, N = 12."""
    spins, order = 12, 4
    signs = np.array(list(itertools.product((1, -1), repeat=spins - 1)), dtype=float)
    second = np.array([1.0] * 8 + [-1.0] * 3)
    totals = [signs.sum(1), (signs * second).sum(1)]
    if convention == "power":
        fields = [((s + 1) ** 4 - (s - 1) ** 4) / 48 * 6 for s in totals]
        expected = np.mean([((s + 1) ** 4 - (s - 1) ** 4) ** 2 / 64 for s in totals[:1]])
    else:
        fields = [s**3 - 3 * 11 * s + 2 * s for s in totals]
        expected = 36 * math.comb(11, 3)
    assert np.mean(fields[0] ** 2) == pytest.approx(expected)
    limit = crosstalk(1.0, order=order, convention=convention)
    assert np.mean(fields[0] ** 2) / spins**3 == pytest.approx(limit, rel=6.5 / spins)
    q = second.sum() / (spins - 1)
    covariance = np.mean(fields[0] * fields[1])
    if convention == "ordered":
        total = second.sum()
        assert covariance == pytest.approx(6 * (total**3 - 33 * total + 2 * total))
    else:
        ratio = covariance / np.mean(fields[0] ** 2)
        assert ratio == pytest.approx(crosstalk(q, order=4, convention="power") / 15, abs=0.06)


# ---- replica symmetry --------------------------------------------------------------------------


def test_critical_loads_of_the_reference():
    assert dense_critical_load(order=4) == pytest.approx(0.0329766865, abs=5e-11)
    assert dense_critical_load(order=4, convention="power") == pytest.approx(
        0.0131906746, abs=5e-11
    )


@pytest.mark.parametrize("order", [4, 6, 10, 20, 40])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_critical_load_is_the_maximum(order, convention):
    c1 = crosstalk(1.0, order=order, convention=convention)
    found = minimize_scalar(
        lambda u: -(erf(u) ** (2 * order - 2)) / (2 * c1 * u**2) * c1, bounds=(0.8, 6),
        method="bounded", options={"xatol": 1e-12},
    )  # fmt: skip
    load = dense_critical_load(order=order, convention=convention)
    assert load == pytest.approx(-found.fun / c1, rel=1e-12)
    below = dense_rs(load * (1 - 1e-10), 0.0, order=order, convention=convention)
    assert below.overlap == pytest.approx(erf(found.x), abs=2e-5)
    with pytest.raises(ValueError, match="load is"):
        dense_rs(load * (1 + 1e-10), 0.0, order=order, convention=convention)


def test_reference_point_at_finite_temperature():
    state = dense_rs(0.011, 0.25, order=4, convention="power")
    assert state.overlap == pytest.approx(0.939120, abs=5e-7)
    assert state.spin_glass == pytest.approx(0.923713, abs=5e-7)
    assert state.stable


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("order", [4, 6])
@pytest.mark.parametrize("share", [0.05, 0.6, 0.999])
@pytest.mark.parametrize("temperature", [0.01, 0.15, 0.35])
def test_retrieval_solves_the_equations(convention, order, share, temperature):
    limit = dense_spinodal(temperature, order=order, convention=convention)
    load = share * limit
    state = dense_rs(load, temperature, order=order, convention=convention)
    z = np.linspace(-10, 10, 40001)
    weights = np.exp(-(z**2) / 2)
    weights /= weights.sum()
    c = crosstalk(state.spin_glass, order=order, convention=convention)
    h = state.overlap ** (order - 1) + z * math.sqrt(load * c)
    t = np.tanh(h / temperature)
    assert weights @ t == pytest.approx(state.overlap, abs=1e-10)
    assert weights @ t**2 == pytest.approx(state.spin_glass, abs=1e-10)
    assert state.noise == pytest.approx(c)
    replicon = 1 - load / temperature**2 * crosstalk(
        state.spin_glass, order=order, convention=convention, derivative=1
    ) * (weights @ (1 - t**2) ** 2)
    assert state.replicon == pytest.approx(replicon, abs=1e-8)
    assert state.stable == (replicon > 0)
    # the larger solution: m would be pushed back from a slightly larger load
    more = dense_rs(load * 0.999, temperature, order=order, convention=convention)
    assert more.overlap > state.overlap or state.overlap == 1
    with pytest.raises(ValueError, match="retrieval states exist"):
        dense_rs(limit * 1.001, temperature, order=order, convention=convention)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(("load", "temperature"), [(0.008, 0.2), (0.005, 0.38)])
def test_thermodynamic_identities(convention, load, temperature):
    def free(load, temperature):
        return dense_rs(load, temperature, order=4, convention=convention).free_energy

    def five_point(f, d):
        return (f(-2 * d) - 8 * f(-d) + 8 * f(d) - f(2 * d)) / (12 * d)

    state = dense_rs(load, temperature, order=4, convention=convention)
    entropy = -five_point(lambda d: free(load, temperature + d), 1e-3)
    assert state.entropy == pytest.approx(entropy, abs=1e-8)
    assert state.free_energy == pytest.approx(state.energy - temperature * state.entropy)
    by_load = five_point(lambda d: free(load + d, temperature), 1e-5)
    integral = [
        crosstalk(q, order=4, convention=convention, derivative=-1) for q in (1.0, state.spin_glass)
    ]
    assert by_load == pytest.approx(-(integral[0] - integral[1]) / (2 * temperature), rel=1e-6)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_zero_temperature_is_the_limit(convention):
    load = 0.8 * dense_critical_load(order=4, convention=convention)
    cold, frozen = (dense_rs(load, t, order=4, convention=convention) for t in (1e-6, 0.0))
    assert cold.overlap == pytest.approx(frozen.overlap, abs=1e-5)
    assert cold.free_energy == pytest.approx(frozen.free_energy, abs=1e-6)
    assert cold.entropy == pytest.approx(frozen.entropy, abs=1e-5)
    assert frozen.spin_glass == 1
    assert not frozen.stable
    mean = frozen.overlap**3
    spread = math.sqrt(load * crosstalk(1.0, order=4, convention=convention))
    h = mean + spread * Z
    assert frozen.energy == pytest.approx(0.75 * mean ** (4 / 3) - GAUSS @ np.abs(h), abs=1e-5)


def test_tiny_load_is_the_clean_network():
    state = dense_rs(1e-12, 0.3, order=4)
    m = 1.0
    for _ in range(500):
        m = math.tanh(m**3 / 0.3)
    assert state.overlap == pytest.approx(m, abs=1e-9)
    assert state.free_energy == pytest.approx(
        0.75 * m**4 - 0.3 * math.log(2 * math.cosh(m**3 / 0.3)), abs=1e-9
    )
    with pytest.raises(ValueError, match="not even a single pattern"):
        dense_spinodal(0.6, order=4)
    with pytest.raises(ValueError, match="retrieval states exist"):
        dense_rs(1e-6, 0.6, order=4)


def test_spinodal_tends_to_the_capacity():
    assert dense_spinodal(0.0, order=4) == dense_critical_load(order=4)
    assert dense_spinodal(1e-4, order=4) == pytest.approx(dense_critical_load(order=4), rel=1e-3)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("temperature", [0.15, 0.35])
def test_spinodal_is_where_the_plain_iteration_loses_the_pattern(convention, temperature):
    limit = dense_spinodal(temperature, order=4, convention=convention)
    kept = []
    for share in (0.998, 1.002):
        m = q = 1.0
        for _ in range(4000):
            noise = share * limit * crosstalk(q, order=4, convention=convention)
            t = np.tanh((m**3 + Z * math.sqrt(noise)) / temperature)
            m, q = GAUSS @ t, GAUSS @ t**2
        kept.append(m)
    assert kept[0] > 0.7
    assert kept[1] < 0.1


@pytest.mark.parametrize(("convention", "temperature"), [("ordered", 0.5), ("power", 2.0)])
def test_symmetric_glass(convention, temperature):
    state = dense_rs(1.0, temperature, order=4, convention=convention, branch="glass")
    c = crosstalk(state.spin_glass, order=4, convention=convention)
    t = np.tanh(np.sqrt(c) * Z / temperature)
    assert state.overlap == 0
    assert state.spin_glass > 0.05
    assert GAUSS @ t**2 == pytest.approx(state.spin_glass, abs=1e-9)
    assert not state.stable


def test_symmetric_glass_exists_below_its_onset_only():
    with pytest.raises(ValueError, match="only replica-symmetric state"):
        dense_rs(1.0, 0.66, order=4, branch="glass")
    assert dense_rs(1.0, 0.64, order=4, branch="glass").spin_glass > 0.5  # a jump
    with pytest.raises(ValueError, match="only replica-symmetric state"):
        dense_rs(1.0, 3.01, order=4, convention="power", branch="glass")
    assert dense_rs(1.0, 2.97, order=4, convention="power", branch="glass").spin_glass < 0.1
    ground = dense_rs(1.0, 0.0, order=4, branch="glass")
    assert ground.energy == pytest.approx(-math.sqrt(2 / math.pi * 6))


# ---- one step ----------------------------------------------------------------------------------


def one_step_free_energy(m, q0, q1, x, load, temperature, order, convention):
    """The free energy by plain two-dimensional sums."""

    def c(q, derivative=0):
        return crosstalk(q, order=order, convention=convention, derivative=derivative)

    z = np.linspace(-8.5, 8.5, 341)
    y = np.linspace(-12, 12, 1201)
    wz, wy = (np.exp(-(v**2) / 2) / np.exp(-(v**2) / 2).sum() for v in (z, y))
    h = (
        m ** (order - 1)
        + z[:, None] * math.sqrt(load * c(q0))
        + y * math.sqrt(load * (c(q1) - c(q0)))
    ) / temperature
    inner = np.log(np.exp(x * (np.logaddexp(h, -h) - 1 / temperature)) @ wy) + x / temperature
    bracket = c(1.0, -1) - c(q1, -1) - (1 - q1) * c(q1)
    bracket += x * (c(q1, -1) - q1 * c(q1) - c(q0, -1) + q0 * c(q0))
    return float(
        (1 - 1 / order) * m**order - load / (2 * temperature) * bracket
        - temperature / x * (wz @ inner)
    )  # fmt: skip


def gradient(f, point, step=1e-4):
    rows = step * np.eye(len(point))
    return np.array([
        (f(*(point - 2 * d)) - 8 * f(*(point - d)) + 8 * f(*(point + d)) - f(*(point + 2 * d)))
        / (12 * step) for d in rows
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("load", "temperature", "convention"),
    [(0.035, 0.06, "ordered"), (0.037, 0.1, "ordered"), (0.0135, 0.04, "power")],
)
def test_one_step_retrieval_is_stationary(load, temperature, convention):
    state = dense_1rsb(load, temperature, order=4, convention=convention)

    def free(*unknown):
        return one_step_free_energy(*unknown, load, temperature, 4, convention)

    point = np.array([state.overlap, state.outer, state.inner, state.breakpoint])
    assert 0 < state.outer < state.inner < 1
    assert np.abs(gradient(free, point)).max() < 1e-7
    assert state.free_energy == pytest.approx(free(*point), abs=1e-10)
    assert np.abs(gradient(free, point * [1, 0.97, 1, 1])).max() > 1e-5


@pytest.mark.parametrize(
    ("temperature", "convention", "order"),
    [(0.5, "ordered", 4), (0.9, "ordered", 4), (1.5, "power", 4), (10.0, "power", 6)],
)
def test_one_step_glass_is_stationary(temperature, convention, order):
    state = dense_1rsb(1.0, temperature, order=order, convention=convention, branch="glass")

    def free(q1, x):
        return one_step_free_energy(0.0, 0.0, q1, x, 1.0, temperature, order, convention)

    point = np.array([state.inner, state.breakpoint])
    scale = max(1.0, abs(state.free_energy))
    assert np.abs(gradient(free, point)).max() < 1e-7 * scale
    assert state.free_energy == pytest.approx(free(*point), abs=1e-9 * scale)
    model = {"order": order, "convention": convention, "branch": "glass"}
    by_temperature = gradient(
        lambda t: dense_1rsb(1.0, t, **model).free_energy,
        np.array([temperature]),
        1e-3 * temperature,
    )
    entropy = -by_temperature[0]
    assert state.entropy == pytest.approx(entropy, abs=1e-7)


def test_glass_scales_with_the_root_of_the_load():
    one = dense_1rsb(1.0, 0.5, order=4, branch="glass")
    other = dense_1rsb(0.04, 0.1, order=4, branch="glass")
    assert other.inner == pytest.approx(one.inner)
    assert other.free_energy == pytest.approx(0.2 * one.free_energy)


def test_zero_temperature_one_step_is_the_limit():
    for kind, load in (("glass", 1.0), ("retrieval", 0.036)):
        frozen = dense_1rsb(load, 0.0, order=4, branch=kind)
        cold = dense_1rsb(load, 0.02, order=4, branch=kind)
        assert cold.free_energy == pytest.approx(frozen.free_energy, abs=1e-4)
        assert cold.slope == pytest.approx(frozen.slope, rel=0.15)
        assert cold.entropy == pytest.approx(frozen.entropy, abs=2e-3)


def test_one_step_capacity_of_the_reference():
    edge = dense_1rsb_capacity(order=4)
    assert edge.load == pytest.approx(0.03819529, abs=5e-9)
    assert dense_1rsb(edge.load * (1 - 1e-7), 0.0, order=4).overlap == pytest.approx(
        edge.overlap, abs=1e-3
    )
    with pytest.raises(ValueError, match="one-step retrieval states"):
        dense_1rsb(edge.load * 1.0001, 0.0, order=4)
    for order, convention in itertools.product((4, 6, 8), CONVENTIONS):
        one = dense_1rsb_capacity(order=order, convention=convention).load
        assert one > dense_critical_load(order=order, convention=convention)


def test_ground_state_is_the_closed_form():
    for order in (4, 8, 14):
        found = minimize_scalar(
            lambda v, order=order: v / (2 * order) + (math.log(2) + log_ndtr(v)) / v,
            bounds=(0.2, 30), method="bounded", options={"xatol": 1e-10},
        )  # fmt: skip
        scale = math.sqrt(math.factorial(order - 1))
        assert dense_ground_state(order=order) == pytest.approx(-found.fun * scale, rel=1e-10)


def test_first_order_load_has_equal_energies():
    load = dense_first_order_load(order=4)
    energies = [dense_1rsb(load, 0.0, order=4, branch=b).energy for b in ("retrieval", "glass")]
    assert energies[0] == pytest.approx(energies[1], abs=1e-10)
    assert load < dense_critical_load(order=4)
    assert dense_first_order_load(order=12) * math.factorial(12) / 2 == pytest.approx(
        1 / (4 * math.log(2)), rel=2e-4
    )


def test_glass_transition_is_where_the_breakpoint_is_one():
    onset = glass_transition(order=4)
    just_below = dense_1rsb(1.0, onset.temperature * (1 - 1e-7), order=4, branch="glass")
    assert just_below.breakpoint == pytest.approx(1, abs=1e-5)
    assert just_below.inner == pytest.approx(onset.overlap, abs=1e-4)
    with pytest.raises(ValueError, match="one-step glass"):
        dense_1rsb(1.0, onset.temperature * 1.0001, order=4, branch="glass")
    # at x = 1 the free energy is that of the paramagnet
    para = -onset.temperature * math.log(2) - 1.5 / (2 * onset.temperature)
    assert just_below.free_energy == pytest.approx(para, abs=1e-6)
    assert onset.local == 0
    soft = glass_transition(order=4, convention="power")
    assert (soft.temperature, soft.overlap, soft.local) == (3.0, 0.0, 3.0)
    mixed = glass_transition(order=6, convention="power")
    assert mixed.local == 15
    assert mixed.temperature > 15
    assert mixed.overlap > 0.5


def test_stable_symmetric_state_is_not_broken():
    with pytest.raises(ValueError, match="symmetric retrieval state is stable"):
        dense_1rsb(0.032, 0.15, order=4)
    with pytest.raises(ValueError, match="use dense_rs"):
        dense_1rsb(0.005, 0.0, order=4)


# ---- enumeration -------------------------------------------------------------------------------


def signs(spins):
    return 1 - 2 * ((np.arange(2**spins)[:, None] >> np.arange(spins)) & 1)


@pytest.mark.parametrize("order", [2, 4, 6])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_energies_of_all_states(order, convention):
    spins = 7
    counts = pattern_counts(11, spins, rng=np.random.default_rng(0))
    states = signs(spins)
    expected = np.zeros(2**spins)
    for index in np.flatnonzero(counts):
        products = states * states[index]
        if convention == "power":
            value = products.sum(1) ** order / math.factorial(order)
        else:
            value = sum(
                products[:, list(group)].prod(1)
                for group in itertools.combinations(range(spins), order)
            )
        expected -= counts[index] * value
    expected *= math.factorial(order - 1) / spins ** (order - 1)
    found = all_energies(counts, order=order, convention=convention)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_overlap_distribution_is_the_double_sum():
    spins, temperature = 6, 0.7
    energies = np.random.default_rng(1).standard_normal(2**spins)
    weights = np.exp(-energies / temperature)
    weights /= weights.sum()
    overlaps = (signs(spins) @ signs(spins).T - spins) // -2
    expected = [(weights[:, None] * weights * (overlaps == d)).sum() for d in range(spins + 1)]
    found = overlap_distribution(energies, temperature)
    np.testing.assert_allclose(found, expected, atol=1e-15)
    assert found.sum() == pytest.approx(1)


def test_free_energy_of_the_paramagnet_by_enumeration():
    """At high temperature ln Z/N is the annealed one, with exact variance at this N."""
    spins, load, temperature = 14, 1.0, 4.0
    values = []
    for seed in range(6):
        counts = pattern_counts(spins**3, spins, rng=np.random.default_rng(seed))
        energies = all_energies(counts, order=4) / temperature
        values.append(-temperature * np.log(np.exp(-energies).sum()) / spins)
    gamma_one = 36 * math.comb(spins, 4) / spins**4 * load
    annealed = -temperature * math.log(2) - gamma_one / (2 * temperature)
    assert np.mean(values) == pytest.approx(annealed, abs=0.01)


def test_pattern_counts():
    rng = np.random.default_rng(2)
    few, many = pattern_counts(20, 8, rng=rng), pattern_counts(10**9, 8, rng=rng)
    assert few.sum() == 20
    assert many.sum() == 10**9
    assert many.std() == pytest.approx(math.sqrt(10**9 / 256), rel=0.2)


# ---- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [3, 5, 1, 0, 4.0, "4"])
def test_bad_order(order):
    for call in (
        lambda: dense_rs(0.01, 0.1, order=order),
        lambda: dense_critical_load(order=order),
        lambda: dense_1rsb_capacity(order=order),
        lambda: glass_transition(order=order),
        lambda: crosstalk(0.5, order=order, convention="ordered"),
        lambda: all_energies(np.ones(8), order=order),
    ):
        with pytest.raises(ValueError, match="order is"):
            call()


def test_pairs_are_refused_with_the_reason():
    for call in (dense_critical_load, dense_1rsb_capacity, dense_ground_state, glass_transition):
        with pytest.raises(ValueError, match="hopfield_rs"):
            call(order=2)
    with pytest.raises(ValueError, match="feed back"):
        dense_rs(0.05, 0.1, order=2)


@pytest.mark.parametrize("solver", [dense_rs, dense_1rsb])
@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((0.0, 0.1), "load"), ((-1.0, 0.1), "load"), ((math.nan, 0.1), "load"),
        ((0.01, -0.1), "temperature"), ((0.01, math.inf), "temperature"), ((True, 0.1), "load"),
    ],
)  # fmt: skip
def test_bad_numbers(solver, arguments, name):
    with pytest.raises(ValueError, match=f"{name} is"):
        solver(*arguments, order=4)


def test_bad_words_and_arrays():
    with pytest.raises(ValueError, match="convention is"):
        dense_rs(0.01, 0.1, order=4, convention="tuples")
    with pytest.raises(ValueError, match="branch is"):
        dense_1rsb(0.01, 0.1, order=4, branch="spin")
    with pytest.raises(ValueError, match="derivative is"):
        crosstalk(0.1, order=4, convention="power", derivative=2)
    with pytest.raises(ValueError, match="overlap is"):
        crosstalk([0.1, 1.2], order=4, convention="power")
    with pytest.raises(ValueError, match="spins is"):
        pattern_counts(3, 30, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="rng is"):
        pattern_counts(3, 5, rng=7)
    with pytest.raises(ValueError, match="powers of two"):
        all_energies(np.ones(9), order=4)
    with pytest.raises(ValueError, match="temperature is"):
        overlap_distribution(np.zeros(8), 0.0)


def test_residual_guard(monkeypatch):
    monkeypatch.setattr(module, "RESIDUAL", 0.0)
    with pytest.raises(RuntimeError, match="residual"):
        dense_rs(0.01, 0.2, order=4)
