"""Learning from examples: against enumeration, quadrature, free energies, and known limits."""

import itertools
import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import approx_fprime
from scipy.stats import binom

from course import runtime
from course.hebbian.dense import dense_spinodal
from course.hebbian.examples import (
    crosstalk_factor,
    dataset_entropy,
    draw_averages,
    draw_examples,
    glass_temperature,
    halfway,
    learning_critical_load,
    learning_rs,
    learning_threshold,
    learning_trials,
    trial_grid,
)
from course.hebbian.monte_carlo import random_patterns

CASES = [
    (2, "supervised", 0.04, 0.3, 0.3, 200, "gaussian"),
    (2, "unsupervised", 0.04, 0.3, 0.3, 200, "gaussian"),
    (2, "unsupervised", 0.02, 0.2, 0.6, 7, "binomial"),
    (2, "supervised", 0.02, 0.2, 0.6, 6, "binomial"),
    (4, "supervised", 0.01, 0.25, 0.4, 60, "gaussian"),
    (4, "unsupervised", 0.01, 0.25, 0.6, 60, "gaussian"),
    (6, "supervised", 1e-4, 0.2, 0.7, 9, "binomial"),
]
case = pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(map(str, c)))


def state_of(case, **kwargs):
    order, supervision, load, temperature, quality, examples, law = case
    return learning_rs(
        load, temperature, quality=quality, examples=examples, order=order,
        supervision=supervision, law=law, **kwargs,
    )  # fmt: skip


def average(function, mean, deviation):
    """Gaussian average by adaptive quadrature."""
    return quad(
        lambda z: function(mean + deviation * z) * math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi),
        -12, 12, epsabs=1e-13, epsrel=1e-12, limit=300, points=[-mean / max(deviation, 1e-9)],
    )[0]  # fmt: skip


def field_law(case, amplitude, cross):
    """(weight, relative signal, deviation) of the components of the field's law."""
    _, _, _, _, quality, examples, law = case
    rho = (1 - quality**2) / (examples * quality**2)
    if law == "gaussian":
        return [(1.0, 1.0, math.sqrt(rho * amplitude**2 + cross))]
    k = np.arange(examples + 1)
    weights = binom.pmf(k, examples, (1 + quality) / 2)
    values = (2 * k - examples) / (examples * quality)
    return [(w, e, math.sqrt(cross)) for w, e in zip(weights, values, strict=True)]


def noise_of(case, q, c):
    order, supervision, _, _, r, M, _ = case
    rho = (1 - r**2) / (M * r**2)
    if order == 2:
        k = rho / (1 + rho)
        extra = (M - 1) * k**2 / (1 - k * c) ** 2 if supervision == "unsupervised" else 0
        return q * (1 / (1 - c) ** 2 + extra)
    uns = 1 + (1 - r ** (2 * order)) / (M * r ** (2 * order))
    factor = uns if supervision == "unsupervised" else (1 + rho) ** order
    return math.factorial(order - 1) * factor * q ** (order - 1)


@case
def test_states_solve_the_equations(case):
    order, _, load, temperature, r, M, _ = case
    state = state_of(case)
    rho, n = (1 - r**2) / (M * r**2), state.example_overlap
    amplitude = n / (1 + rho) if order == 2 else n ** (order - 1)
    c = (1 - state.spin_glass) / temperature
    noise = noise_of(case, state.spin_glass, c)
    law = field_law(case, amplitude, load * noise)

    def over_law(function, weight=lambda e: 1.0):
        return sum(
            w * weight(e) * average(lambda h: function(h / temperature), amplitude * e, s)
            for w, e, s in law
        )

    assert state.susceptibility == pytest.approx(c, rel=1e-9)
    assert state.noise == pytest.approx(noise, rel=1e-9)
    assert state.overlap == pytest.approx(over_law(np.tanh), abs=1e-9)
    assert state.spin_glass == pytest.approx(over_law(lambda u: np.tanh(u) ** 2), abs=1e-9)
    if case[-1] == "gaussian":
        assert n == pytest.approx(state.overlap + rho * amplitude * c, abs=1e-9)
    else:
        assert n == pytest.approx(over_law(np.tanh, lambda e: e), abs=1e-9)
    replicon = load * over_law(lambda u: np.cosh(u) ** -4) / temperature**2
    replicon *= noise / state.spin_glass * (order - 1 if order > 2 else 1)
    assert state.stable == (replicon < 1)


@case
def test_free_energy_is_stationary(case):
    order, supervision, load, temperature, r, M, _ = case
    state, beta = state_of(case), 1 / case[3]
    rho = (1 - r**2) / (M * r**2)

    def free_energy(values):
        q, signal = values
        c = beta * (1 - q)
        noise = noise_of(case, q, c)
        amplitude = signal if order == 2 else signal ** (order - 1)
        entropy = sum(
            w * average(lambda h: np.logaddexp(beta * h, -beta * h), amplitude * e, s)
            for w, e, s in field_law(case, amplitude, load * noise)
        )
        if order > 2:
            bracket = 1 - order * q ** (order - 1) + (order - 1) * q**order
            glass = beta * load * noise / q ** (order - 1) / (2 * order) * bracket
            return (order - 1) / order * signal**order - glass - entropy / beta
        spectrum = [(1, 1.0)]
        if supervision == "unsupervised":
            spectrum.append((M - 1, rho / (1 + rho)))
        logs = sum(n * (k + math.log(1 - k * c) / beta - k * q / (1 - k * c)) for n, k in spectrum)
        return load / 2 * (logs + noise * c) + (1 + rho) * signal**2 / 2 - entropy / beta

    signal = state.example_overlap / (1 + rho) if order == 2 else state.example_overlap
    at = np.array([state.spin_glass, signal])
    assert state.free_energy == pytest.approx(free_energy(at), abs=1e-10)
    steps = (approx_fprime(at, free_energy, 1e-5) - approx_fprime(at, free_energy, -1e-5)) / 2
    gradient = (approx_fprime(at, free_energy, 1e-5) + approx_fprime(at, free_energy, -1e-5)) / 2
    assert np.abs(gradient).max() < 1e-6
    assert np.abs(steps).max() > 1e-7  # the test can fail: curvature shows at this step


@pytest.mark.parametrize(
    ("load", "temperature", "order", "overlap"),
    [(0.05, 0.3, 2, 0.99116500), (0.10, 0.0, 2, 0.99799927)],
)
def test_perfect_examples_give_the_networks_that_store_archetypes(
    load, temperature, order, overlap
):
    for supervision in ("supervised", "unsupervised"):
        for examples in (1, 50):
            state = learning_rs(
                load, temperature, quality=1.0, examples=examples, supervision=supervision
            )
            assert state.overlap == pytest.approx(overlap, abs=6e-9)
            assert state.example_overlap == pytest.approx(overlap, abs=6e-9)


def test_capacities_at_checkpoints():
    entropy = {"quality": (1 + 0.05 * 100) ** -0.5, "examples": 100}
    assert learning_critical_load(**entropy) == pytest.approx(0.09914869, abs=6e-9)
    pooled = learning_critical_load(quality=0.5, examples=100, supervision="unsupervised")
    assert pooled == pytest.approx(0.1076980, abs=6e-8)
    clean = {"quality": 1.0, "examples": 1}
    assert learning_critical_load(**clean) == pytest.approx(0.1379055665, abs=1e-10)
    assert learning_critical_load(0.2, **clean) == pytest.approx(0.12255886, abs=6e-9)
    assert learning_critical_load(order=4, **clean) == pytest.approx(0.0329766865, abs=1e-10)
    first = learning_critical_load(kind="first_order", **clean)
    assert first == pytest.approx(0.0518543309, abs=1e-10)


def test_capacity_for_averages_that_are_all_noise():
    """At infinite entropy the dense network stores Gaussian patterns; pairwise, nothing."""
    noise = {"quality": 1e-4, "examples": 1}
    expected = (2 / math.pi) ** 3 * 4 / 27 / 6
    assert learning_critical_load(order=4, **noise) == pytest.approx(expected, rel=1e-6)
    assert learning_critical_load(**noise) < 1e-10


def test_one_example_is_stored_like_a_pattern():
    for order, clean in ((2, 0.1379055665), (4, 0.0329766865)):
        for supervision in ("supervised", "unsupervised"):
            found = learning_critical_load(
                quality=0.7, examples=1, order=order, supervision=supervision, law="binomial"
            )
            assert found == pytest.approx(clean, abs=1e-9)
    state = learning_rs(0.05, quality=0.7, examples=1, law="binomial")
    clean = learning_rs(0.05, quality=1.0, examples=1)
    assert state.overlap == pytest.approx(0.7 * clean.overlap, rel=1e-9)
    assert state.example_overlap == pytest.approx(clean.overlap / 0.7, rel=1e-9)


@pytest.mark.parametrize("law", ["gaussian", "binomial"])
@pytest.mark.parametrize(("order", "load"), [(2, 0.03), (4, 0.008)])
def test_zero_temperature_is_the_limit(order, load, law):
    setting = {"quality": 0.6, "examples": 31, "order": order, "law": law}
    cold = learning_rs(load, **setting)
    cool = learning_rs(load, 1e-6, **setting)
    for name in ("overlap", "example_overlap", "susceptibility", "noise", "free_energy"):
        assert getattr(cool, name) == pytest.approx(getattr(cold, name), rel=3e-5)
    assert cold.spin_glass == 1
    assert not cold.stable
    assert learning_critical_load(1e-6, **setting) == pytest.approx(
        learning_critical_load(**setting), rel=1e-5
    )


def test_laws_agree_for_many_examples():
    setting = {"quality": 0.3, "supervision": "unsupervised"}
    errors = []
    for examples in (200, 800):
        exact, limit = (
            learning_rs(0.03, examples=examples, law=law, **setting).overlap
            for law in ("binomial", "gaussian")
        )
        errors.append(abs(exact - limit))
    assert 0 < errors[1] < errors[0] < 1e-3


def test_load_at_the_edge_and_beyond():
    setting = {"quality": 0.5, "examples": 60}
    edge = learning_critical_load(**setting)
    assert learning_rs(edge * (1 - 1e-9), **setting).overlap > 0.9
    with pytest.raises(ValueError, match=r"load is .*up to 0\.09"):
        learning_rs(edge * (1 + 1e-6), **setting)
    with pytest.raises(ValueError, match="up to 0 only"):
        learning_rs(0.01, 1.05, **setting)
    assert learning_critical_load(1.05, **setting) == 0
    assert learning_critical_load(1.05, kind="first_order", **setting) == 0


@pytest.mark.parametrize(
    ("temperature", "order"),
    [(1e-3, 4), (0.3, 4), (0.35, 4), (0.4, 4), (0.45, 4), (0.49, 4), (0.4, 6)],
)
def test_perfect_examples_have_the_spinodal_of_dense_networks(temperature, order):
    """Near 0.49 the state at the end of the branch has the smaller of two signals at its ratio."""
    found = learning_critical_load(temperature, quality=1.0, examples=1, order=order)
    assert found == pytest.approx(dense_spinodal(temperature, order=order), rel=1e-10)


@pytest.mark.parametrize(
    ("temperature", "examples", "supervision"),
    [
        (0.1, 100, "supervised"),
        (0.35, 100, "unsupervised"),
        (0.45, 100, "supervised"),
        (0.48, 100, "unsupervised"),
        (0.1, 15, "unsupervised"),  # here weak states that nothing relaxes to have larger loads
        (0.2, 15, "supervised"),
        (0.4, 15, "supervised"),
    ],
)
def test_dense_states_are_those_of_iteration(temperature, examples, supervision):
    setting = {"quality": 0.5, "examples": examples, "order": 4, "supervision": supervision}
    z = np.linspace(-9, 9, 901)
    weight = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    rho = dataset_entropy(0.5, examples)
    factor = crosstalk_factor(0.5, examples, order=4, supervision=supervision)

    def iterated(load):
        m = q = n = 1.0
        for _ in range(2000):
            noise = rho * n**6 + load * 6 * factor * q**3
            t = np.tanh((n**3 + z * math.sqrt(noise)) / temperature)
            m, q = weight @ t, weight @ t**2
            n = m + rho * n**3 * (1 - q) / temperature
        return m

    edge = learning_critical_load(temperature, **setting)
    for part in (0.05, 0.5, 0.9, 0.99):
        state = learning_rs(part * edge, temperature, **setting)
        assert state.overlap == pytest.approx(iterated(part * edge), abs=1e-9)
    assert iterated(1.01 * edge) < 0.3
    with pytest.raises(ValueError, match="a retrieval state exists up to"):
        learning_rs(1.01 * edge, temperature, **setting)


@pytest.mark.parametrize("temperature", [1e-9, 0.05, 0.35, 0.45])
def test_dense_overlap_falls_with_the_load_along_the_whole_branch(temperature):
    setting = {"quality": 0.5, "examples": 100, "order": 4}
    edge = learning_critical_load(temperature, **setting)
    parts = np.append(np.geomspace(1e-12, 0.5, 8), 1 - np.geomspace(0.4, 1e-12, 8))
    found = [learning_rs(part * edge, temperature, **setting).overlap for part in parts]
    assert (np.diff(found) <= 1e-12).all()
    assert found[0] > found[-1] + 0.05


@pytest.mark.parametrize("load", [1e-6, 0.02, 0.09])
def test_branch_is_the_one_near_the_archetype(load):
    states = [learning_rs(load * s, quality=0.5, examples=60) for s in (1.0, 0.9)]
    assert states[1].overlap >= states[0].overlap > 0.94


@pytest.mark.parametrize(
    ("load", "temperature", "order", "supervision"),
    [
        (0.05, 0.0, 2, "supervised"),
        (0.05, 0.3, 2, "unsupervised"),
        (0.01, 0.0, 4, "supervised"),
        (0.006, 0.0, 4, "unsupervised"),
        (0.006, 0.45, 4, "unsupervised"),
    ],
)
def test_threshold_is_where_the_load_becomes_critical(load, temperature, order, supervision):
    setting = {"quality": 0.5, "order": order, "supervision": supervision}
    examples = learning_threshold(load, temperature, **setting)
    assert examples > 1
    found = learning_critical_load(temperature, examples=examples, **setting)
    assert found == pytest.approx(load, rel=1e-8)
    assert learning_critical_load(temperature, examples=2 * examples, **setting) > load


def test_threshold_depends_on_entropy_alone_with_a_teacher():
    for order, load in ((2, 0.05), (4, 0.01)):
        entropies = [
            dataset_entropy(r, learning_threshold(load, quality=r, order=order))
            for r in (0.01, 0.1, 0.3)
        ]
        assert np.ptp(entropies) < 1e-9


def test_threshold_without_a_teacher_at_small_quality():
    found = learning_threshold(0.02, quality=0.02, order=4, supervision="unsupervised")
    assert found * 0.02**8 == pytest.approx(0.02 / (0.0329766865 - 0.02), rel=1e-6)
    ratio = [
        learning_threshold(0.05, quality=r, supervision="unsupervised") * r**4 for r in (1e-3, 2e-3)
    ]
    assert ratio[0] == pytest.approx(ratio[1], rel=1e-3)


def test_threshold_where_one_example_or_none_is_enough():
    assert learning_threshold(0.006, quality=0.3, order=4) == 1
    assert learning_threshold(0.05, quality=1.0) == 1
    with pytest.raises(ValueError, match="archetypes themselves can be stored"):
        learning_threshold(0.2, quality=0.5)


def test_glass_solves_its_equations_and_vanishes_at_its_temperature():
    setting = {"quality": 0.5, "examples": 30, "supervision": "unsupervised"}
    top = glass_temperature(0.05, **setting)
    assert glass_temperature(0.05, quality=0.5, examples=30) == pytest.approx(1 + 0.05**0.5)
    assert top > 1 + 0.05**0.5
    state = learning_rs(0.05, 0.6, branch="glass", **setting)
    case = (2, "unsupervised", 0.05, 0.6, 0.5, 30, "gaussian")
    noise = noise_of(case, state.spin_glass, (1 - state.spin_glass) / 0.6)
    q = average(lambda h: np.tanh(h / 0.6) ** 2, 0.0, math.sqrt(0.05 * noise))
    assert state.spin_glass == pytest.approx(q, abs=1e-9)
    assert state.overlap == state.example_overlap == 0
    assert not state.stable
    near = learning_rs(0.05, top * (1 - 1e-4), branch="glass", **setting)
    assert 0 < near.spin_glass < 1e-3
    with pytest.raises(ValueError, match="exists below"):
        learning_rs(0.05, top * (1 + 1e-9), branch="glass", **setting)


def test_glass_at_zero_temperature():
    setting = {"quality": 0.5, "examples": 30, "branch": "glass"}
    for supervision in ("supervised", "unsupervised"):
        cold = learning_rs(0.05, supervision=supervision, **setting)
        cool = learning_rs(0.05, 1e-6, supervision=supervision, **setting)
        assert cool.susceptibility == pytest.approx(cold.susceptibility, rel=1e-5)
        assert cool.free_energy == pytest.approx(cold.free_energy, rel=1e-5)


def test_first_order_line_balances_free_energies():
    setting = {"quality": 0.5, "examples": 60, "supervision": "unsupervised"}
    load = learning_critical_load(0.3, kind="first_order", **setting)
    retrieval, glass = (
        learning_rs(load, 0.3, branch=branch, **setting).free_energy
        for branch in ("retrieval", "glass")
    )
    assert retrieval == pytest.approx(glass, abs=1e-10)
    assert load < learning_critical_load(0.3, **setting)


def test_factors_against_all_data_sets():
    for quality, examples, order in ((0.5, 3, 2), (0.8, 4, 4)):
        entries = np.array(list(itertools.product((1, -1), repeat=examples)))
        chance = np.prod((1 + quality * entries) / 2, axis=1)
        mean, square = chance @ entries.mean(1), chance @ entries.mean(1) ** 2
        assert dataset_entropy(quality, examples) == pytest.approx(square / mean**2 - 1)
        sup = crosstalk_factor(quality, examples, order=order)
        assert sup == pytest.approx((square / mean**2) ** order)
        second = np.einsum("d,da,db->ab", chance, entries, entries)
        uns = crosstalk_factor(quality, examples, order=order, supervision="unsupervised")
        assert uns == pytest.approx((second**order).mean() / quality ** (2 * order))
    assert dataset_entropy(1.0, 5) == 0
    assert crosstalk_factor(1.0, 5, order=4, supervision="unsupervised") == 1


def test_draws_have_the_right_law_and_order():
    rng = runtime.rng(1)
    archetypes = random_patterns(3, 4000, samples=2, rng=rng)
    examples = draw_examples(archetypes, 5, 0.4, rng=rng)
    assert examples.shape == (2, 15, 4000)
    assert examples.dtype == np.int8
    assert set(np.unique(examples)) == {-1, 1}
    product = (examples.reshape(2, 3, 5, 4000) * archetypes[:, :, None]).mean(-1, dtype=float)
    assert product == pytest.approx(np.full((2, 3, 5), 0.4), abs=6 * 0.92 / 4000**0.5)
    averages = draw_averages(archetypes, 5, 0.4, rng=rng) * archetypes
    assert averages.mean() == pytest.approx(0.4, abs=0.02)
    assert averages.var() == pytest.approx((1 - 0.16) / 5, rel=0.05)
    assert np.allclose(np.unique(averages), np.arange(-5, 6, 2) / 5)
    single = draw_averages(archetypes, 1, 1.0, rng=rng)
    assert (single == archetypes).all()


def test_one_pattern_and_one_example_come_to_rest_in_the_example():
    for supervision in ("supervised", "unsupervised"):
        trials = learning_trials(
            spins=400, patterns=1, quality=0.5, examples=1, samples=4, rng=runtime.rng(2),
            supervision=supervision,
        )  # fmt: skip
        assert trials.example_overlap == pytest.approx(np.full(4, 2.0))
        assert np.abs(trials.overlap - 0.5).max() < 0.2
        assert trials.converged.all()


@pytest.mark.parametrize("supervision", ["supervised", "unsupervised"])
@pytest.mark.parametrize(("order", "temperature"), [(2, 0.7), (4, 0.42)])
def test_temperature_has_the_unit_of_theory(supervision, order, temperature):
    """One pattern: m = tanh(m^(P-1) / T), with noisy examples by the exact law."""
    setting = {"quality": 0.8, "examples": 7, "order": order, "supervision": supervision}
    trials = learning_trials(
        spins=3000, patterns=1, samples=6, temperature=temperature, rng=runtime.rng(3),
        sweeps=40, **setting,
    )  # fmt: skip
    theory = learning_rs(1e-6, temperature, law="binomial", **setting)
    assert trials.overlap.mean() == pytest.approx(theory.overlap, abs=0.025)
    assert trials.example_overlap.mean() == pytest.approx(theory.example_overlap, abs=0.03)
    colder = learning_rs(1e-6, temperature / 2, law="binomial", **setting)
    assert abs(colder.overlap - theory.overlap) > 0.03


def test_grid_of_trials_is_reproducible_and_in_order():
    row = [
        {"spins": 60, "patterns": 3, "quality": q, "examples": 3, "supervision": "unsupervised"}
        for q in (0.2, 0.9)
    ]
    first = trial_grid([row, row[::-1], row], samples=5, seed=4)
    again = trial_grid([row], samples=5, seed=4)
    assert first["overlap"].shape == first["example_overlap"].shape == (5, 3, 2)
    assert (first["overlap"][:, :1] == again["overlap"]).all()
    assert (first["overlap"][:, 0] != first["overlap"][:, 2]).any()
    mean = first["overlap"].mean(0)
    assert mean[0, 1] > mean[0, 0]
    assert mean[1, 0] > mean[1, 1]
    with pytest.raises(ValueError, match="one length"):
        trial_grid([row, row[:1]], samples=2, seed=0)


def test_halfway_finds_rising_and_falling_crossings():
    x = np.array([[1.0, 10.0, 100.0, 1000.0], [2.0, 20.0, 200.0, 2000.0]])
    rising = np.tile([0.0, 0.7, 0.9, 1.0], (3, 2, 1))
    assert halfway(x, rising) == pytest.approx([10**1.5, 2 * 10**1.5])
    assert halfway(x, rising[..., ::-1]) == pytest.approx([10**1.5, 2 * 10**1.5])
    line = np.tile([0.66, 0.74, 0.86, 0.94], (3, 2, 1))  # all within reach: one straight fit
    assert halfway(x, line) == pytest.approx([10**1.5, 2 * 10**1.5])
    wiggle = np.tile([1.0, 0.5, 0.6, 1.0], (3, 2, 1))  # the crossing next to the high end counts
    assert halfway(x, wiggle)[0] == pytest.approx(10 ** (2 + 0.2 / 0.4))
    with pytest.raises(ValueError, match="do not cross"):
        halfway(x, np.full((3, 2, 4), 0.5))


BAD = [
    (learning_rs, (0.0,), {}, "load"),
    (learning_rs, (-0.1,), {}, "load"),
    (learning_rs, (0.05, -0.1), {}, "temperature"),
    (learning_rs, (0.05,), {"quality": 0.0}, "quality"),
    (learning_rs, (0.05,), {"quality": 1.5}, "quality"),
    (learning_rs, (0.05,), {"examples": 0}, "examples"),
    (learning_rs, (0.05,), {"examples": 2.5, "law": "binomial"}, "examples"),
    (learning_rs, (0.05,), {"order": 3}, "order"),
    (learning_rs, (0.05,), {"supervision": "teacher"}, "supervision"),
    (learning_rs, (0.05,), {"law": "normal"}, "law"),
    (learning_rs, (0.05,), {"branch": "ergodic"}, "branch"),
    (learning_rs, (0.001, 0.1), {"branch": "glass", "order": 4}, "branch"),
    (learning_critical_load, (-1.0,), {}, "temperature"),
    (learning_critical_load, (0.0,), {"kind": "second"}, "kind"),
    (learning_critical_load, (0.0,), {"kind": "first_order", "order": 4}, "kind"),
    (glass_temperature, (0.0,), {}, "load"),
    (dataset_entropy, (0.5, 0.5), None, "examples"),
    (crosstalk_factor, (0.5, 5), {"order": 5}, "order"),
]


@pytest.mark.parametrize(("function", "args", "changes", "name"), BAD)
def test_bad_input_is_named(function, args, changes, name):
    data = {} if function in (dataset_entropy, crosstalk_factor) else {"quality": 0.5}
    if data:
        data["examples"] = 20
    with pytest.raises(ValueError, match=name):
        function(*args, **data | (changes or {}))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"samples": 0}, "samples"),
        ({"spins": 0}, "spins"),
        ({"patterns": 0}, "patterns"),
        ({"examples": 1.5}, "examples"),
        ({"order": 3}, "order"),
        ({"temperature": -1.0}, "temperature"),
        ({"rng": 3}, "rng"),
        ({"supervision": "none"}, "supervision"),
    ],
)
def test_trials_refuse_bad_input(changes, name):
    setting = {
        "spins": 10, "patterns": 1, "quality": 0.5, "examples": 2, "samples": 1,
        "rng": runtime.rng(0),
    }  # fmt: skip
    with pytest.raises(ValueError, match=name):
        learning_trials(**setting | changes)


def test_draws_refuse_other_archetypes():
    for draw in (draw_averages, draw_examples):
        with pytest.raises(ValueError, match="archetypes"):
            draw(np.zeros((2, 5)), 3, 0.5, rng=runtime.rng(0))
        with pytest.raises(ValueError, match="quality"):
            draw(np.ones((2, 5)), 3, 0.0, rng=runtime.rng(0))
    with pytest.raises(ValueError, match="quality"):
        learning_threshold(0.05, quality=0.0)
