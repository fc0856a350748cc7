"""Sampler of Hebbian networks, against spelled-out energies and exact enumeration."""

import itertools
import math

import numba
import numpy as np
import pytest
from scipy.stats import chisquare

from course.hebbian import monte_carlo
from course.hebbian.monte_carlo import corrupt, energy, overlaps, random_patterns, retrieve

MODELS = [(2, "ordered"), (2, "power"), (4, "ordered"), (4, "power"), (6, "ordered")]
model = pytest.mark.parametrize(("order", "convention"), MODELS)
kind = pytest.mark.parametrize("kind", ["signs", "real"])


def rng(seed=0):
    return np.random.default_rng(seed)


def drawn(kind, count, spins, seed=1):
    signs = random_patterns(count, spins, rng=rng(seed))
    return signs if kind == "signs" else rng(seed).normal(size=signs.shape)


def spelled_out(patterns, state, order, convention):
    """The energy as the sum over tuples that defines it."""
    products, spins = patterns * state.astype(float), len(state)
    if convention == "power":
        terms = sum(
            np.prod(row[list(indices)])
            for row in products
            for indices in itertools.product(range(spins), repeat=order)
        ) / math.factorial(order)
    else:
        terms = sum(
            np.prod(row[list(indices)])
            for row in products
            for indices in itertools.combinations(range(spins), order)
        )
    return -terms / spins ** (order - 1)


def followed(patterns, start, sweeps, temperature, order, convention, seed):
    """The dynamics with energies spelled out, and the same random stream."""
    stream = rng(seed).spawn(1)[0]
    state = start.copy()
    visits = np.arange(state.size)
    for _ in range(sweeps):
        for i in range(state.size - 1, 0, -1):
            j = int(stream.random() * (i + 1))
            visits[i], visits[j] = visits[j], visits[i]
        for i in visits:
            up, down = state.copy(), state.copy()
            up[i], down[i] = 1, -1
            gap = spelled_out(patterns, down, order, convention)
            gap -= spelled_out(patterns, up, order, convention)
            gap *= math.factorial(order - 1)
            if temperature > 0:
                state[i] = 1 if stream.random() < 1 / (1 + np.exp(-gap / temperature)) else -1
            elif abs(gap) > 1e-12:
                state[i] = np.sign(gap)
    return state


@model
@kind
def test_energy_is_the_sum_over_tuples(order, convention, kind):
    spins = 6 if convention == "power" else 8
    patterns, states = drawn(kind, 3, spins), random_patterns(4, spins, rng=rng(2))
    expected = [spelled_out(patterns, state, order, convention) for state in states]
    found = energy(patterns, states, order=order, convention=convention)
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("temperature", [0.0, 0.4])
@model
@kind
def test_every_step_is_that_of_the_spelled_out_dynamics(order, convention, kind, temperature):
    spins = 5 if convention == "power" and order > 2 else 9
    patterns = drawn(kind, 4, spins)
    for seed in range(4):
        start = random_patterns(1, spins, rng=rng(100 + seed))
        found = retrieve(
            patterns, start, sweeps=3, temperature=temperature, order=order, convention=convention,
            rng=rng(seed),
        )  # fmt: skip
        expected = followed(patterns, start[0], 3, temperature, order, convention, seed)
        assert found.states[0].tolist() == expected.tolist()
        assert found.overlaps[0] == pytest.approx(patterns @ expected.astype(float) / spins)


@model
@kind
def test_stationary_law_is_boltzmanns(order, convention, kind):
    """Independent chains, so that the chi-square test is exact; one chance in 10^4 each."""
    spins, temperature, chains = 6, 0.8, 4000
    patterns = drawn(kind, 3, spins, seed=5) * (1 if kind == "signs" else 0.7)
    states = np.array(list(itertools.product((-1, 1), repeat=spins)), dtype=np.int8)
    heat = temperature / math.factorial(order - 1)
    weights = np.exp(-energy(patterns, states, order=order, convention=convention) / heat)
    found = retrieve(
        patterns, random_patterns(chains, spins, rng=rng(6)), sweeps=40, temperature=temperature,
        order=order, convention=convention, rng=rng(7),
    )  # fmt: skip
    codes = ((found.states + 1) // 2) @ (1 << np.arange(spins)[::-1])
    counts = np.bincount(codes, minlength=len(states))
    expected = chains * weights / weights.sum()
    rare = expected < 5
    merged = [np.append(values[~rare], values[rare].sum() + 1e-9) for values in (counts, expected)]
    assert chisquare(*merged, sum_check=False).pvalue > 1e-4


def test_half_or_twice_the_temperature_is_not_boltzmanns():
    """The test above can tell; here the temperature that the sampler is given is wrong."""
    patterns = drawn("signs", 3, 6, seed=5)
    states = np.array(list(itertools.product((-1, 1), repeat=6)), dtype=np.int8)
    weights = np.exp(-energy(patterns, states) / 0.8)
    mean = weights @ energy(patterns, states) / weights.sum()
    start = random_patterns(4000, 6, rng=rng(6))
    for temperature, same in ((0.4, False), (0.8, True), (1.6, False)):
        found = retrieve(patterns, start, sweeps=40, temperature=temperature, rng=rng(7))
        sample = energy(patterns, found.states)
        assert (abs(sample.mean() - mean) < 4 * sample.std() / 4000**0.5) == same


@model
def test_at_zero_temperature_energy_falls_to_a_fixed_point(order, convention):
    patterns = random_patterns(40, 60, samples=6, rng=rng(3))
    start = random_patterns(6, 60, rng=rng(4))
    options = {"order": order, "convention": convention}
    energies = [energy(patterns, start, **options)]
    for sweeps in range(1, 12):
        found = retrieve(patterns, start, sweeps=sweeps, rng=rng(5), **options)
        energies.append(energy(patterns, found.states, **options))
    assert (np.diff(energies, axis=0) <= 1e-12).all()
    assert found.converged.all()
    for sample in range(6):
        flipped = np.where(np.eye(60, dtype=bool), -found.states[sample], found.states[sample])
        above = energy(patterns[sample], flipped.astype(np.int8), **options)
        assert (above >= energies[-1][sample] - 1e-12).all()


def test_real_patterns_follow_the_same_dynamics_as_signs():
    """Patterns of ±2 take the slow path; the field grows by 2^P, the temperature with it."""
    patterns, start = drawn("signs", 8, 40), random_patterns(5, 40, rng=rng(8))
    for order, convention in MODELS:
        for temperature in (0.0, 0.5):
            options = {"sweeps": 6, "order": order, "convention": convention}
            signs = retrieve(patterns, start, temperature=temperature, rng=rng(1), **options)
            real = retrieve(
                2.0 * patterns, start, temperature=temperature * 2**order, rng=rng(1), **options
            )
            assert np.array_equal(signs.states, real.states)
            assert real.overlaps == pytest.approx(2 * signs.overlaps)


def test_signs_of_any_type_are_the_same():
    patterns, start = drawn("signs", 8, 40), random_patterns(5, 40, rng=rng(8))
    results = [
        retrieve(patterns.astype(a), start.astype(b), sweeps=5, temperature=0.3, rng=rng(1))
        for a, b in itertools.product((np.int8, np.int64, np.float32, float), (np.int8, float))
    ]
    assert all(np.array_equal(results[0].states, result.states) for result in results)


def test_shared_patterns_are_patterns_of_every_sample():
    patterns, start = drawn("signs", 8, 40), random_patterns(5, 40, rng=rng(8))
    options = {"sweeps": 5, "temperature": 0.3}
    shared = retrieve(patterns, start, rng=rng(1), record=patterns[:2], **options)
    several = np.stack([patterns] * 5)
    own = retrieve(several, start, rng=rng(1), record=several[:, :2], **options)
    assert np.array_equal(shared.states, own.states)
    assert np.array_equal(shared.trace, own.trace)


def test_each_sample_has_its_own_patterns_and_temperature():
    patterns = random_patterns(3, 200, samples=4, rng=rng(9))
    cold_hot = retrieve(
        patterns, patterns[:, 1], sweeps=30, temperature=np.array([0.0, 0.2, 0.2, 5.0]), rng=rng(1)
    )
    assert (cold_hot.overlaps[:3, 1] > 0.99).all()
    assert abs(cold_hot.overlaps[3, 1]) < 0.4
    assert cold_hot.converged.tolist() == [True, False, False, False]
    assert cold_hot.sweeps[1:].tolist() == [30, 30, 30]


def test_results_do_not_depend_on_the_number_of_threads():
    patterns = random_patterns(10, 100, samples=7, rng=rng(9))
    start, before = corrupt(patterns[:, 0], overlap=0.6, rng=rng(2)), numba.get_num_threads()
    results = []
    try:
        for threads in (1, before):
            numba.set_num_threads(threads)
            results.append(
                retrieve(patterns, start, sweeps=200, temperature=0.4, rng=rng(1)).states
            )
    finally:
        numba.set_num_threads(before)
    assert np.array_equal(*results)


def test_samples_are_independent_and_reproducible():
    patterns = drawn("signs", 5, 100)
    start = np.repeat(patterns[:1], 2, axis=0)
    first, again, other = (
        retrieve(patterns, start, sweeps=5, temperature=0.9, rng=rng(seed)).states
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first[0], first[1])


def test_trace_runs_from_the_start_to_the_end():
    patterns = random_patterns(20, 80, samples=3, rng=rng(9))
    start = corrupt(patterns[:, 0], overlap=0.5, rng=rng(2))
    for temperature in (0.0, 0.5):
        found = retrieve(
            patterns, start, sweeps=25, temperature=temperature, record=patterns, rng=rng(1)
        )
        assert found.trace.shape == (3, 26, 20)
        assert found.trace[:, 0] == pytest.approx(overlaps(patterns, start))
        assert found.trace[:, -1] == pytest.approx(found.overlaps)
    assert retrieve(patterns, start, sweeps=1, rng=rng(1)).trace is None


def test_trace_after_the_network_has_come_to_rest():
    patterns = random_patterns(2, 80, samples=3, rng=rng(9))
    found = retrieve(patterns, patterns[:, 0], sweeps=9, record=patterns[:, :1], rng=rng(1))
    assert found.sweeps.tolist() == [1, 1, 1]
    assert np.array_equal(found.trace, np.ones((3, 10, 1)))


def test_patterns_that_are_not_stored_can_be_recorded():
    patterns, start = drawn("signs", 3, 50), random_patterns(2, 50, rng=rng(3))
    values = rng(4).normal(size=(2, 50))
    found = retrieve(patterns, start, sweeps=4, temperature=0.5, record=values, rng=rng(1))
    assert found.trace[:, -1] == pytest.approx(found.states @ values.T / 50)


def test_a_spin_without_field_stays_as_it_is():
    patterns = np.array([[1, 1], [1, -1]], dtype=np.int8)  # the couplings cancel
    states = np.array(list(itertools.product((-1, 1), repeat=2)), dtype=np.int8)
    found = retrieve(patterns, states, sweeps=3, rng=rng(1))
    assert np.array_equal(found.states, states)
    assert found.converged.all()


def test_start_is_left_unchanged():
    patterns = drawn("signs", 20, 50)
    start = random_patterns(2, 50, rng=rng(3))
    before = start.copy()
    retrieve(patterns, start, sweeps=4, temperature=2.0, rng=rng(1))
    assert np.array_equal(start, before)


def test_fields_are_added_in_blocks_that_cannot_overflow(monkeypatch):
    patterns, start = drawn("signs", 23, 50), random_patterns(4, 50, rng=rng(3))
    whole = retrieve(patterns, start, sweeps=4, temperature=0.5, rng=rng(1)).states
    monkeypatch.setattr(monte_carlo, "_LARGEST", 5 * 50)
    parts = retrieve(patterns, start, sweeps=4, temperature=0.5, rng=rng(1)).states
    assert np.array_equal(whole, parts)


@pytest.mark.parametrize(("spins", "order"), [(2, 4), (3, 4), (501, 4), (40, 8)])
def test_tables_are_exact_integers(spins, order):
    """Elementary symmetric polynomials of p plus and m minus signs, by binomials."""
    table = monte_carlo._table(spins, order, "ordered")
    for minus in (0, 1, spins // 2, spins - 1):
        plus = spins - 1 - minus
        expected = sum(
            (-1) ** j * math.comb(minus, j) * math.comb(plus, order - 1 - j) for j in range(order)
        )
        assert table[plus] == expected


def test_overlaps_do_not_overflow():
    ones = np.ones((1, 1000), dtype=np.int8)
    assert overlaps(ones, ones).tolist() == [[1.0]]
    assert overlaps(0.5 * ones, -ones).tolist() == [[-0.5]]


def test_random_patterns_are_fair_and_independent():
    patterns = random_patterns(50, 400, samples=4, rng=rng(1))
    assert patterns.shape == (4, 50, 400)
    assert patterns.dtype == np.int8
    assert set(np.unique(patterns)) == {-1, 1}
    assert abs(patterns.mean()) < 4 / patterns.size**0.5
    gram = patterns[0].astype(float) @ patterns[0].T
    assert abs(gram[~np.eye(50, dtype=bool)]).max() < 6 * 20
    assert random_patterns(3, 7, rng=rng(1)).shape == (3, 7)


def test_corrupt_flips_the_right_number_of_random_spins():
    states = random_patterns(400, 50, rng=rng(1))
    for overlap in (1.0, 0.6, 0.0, -1.0):
        noisy = corrupt(states, overlap=overlap, rng=rng(2))
        assert ((noisy * states.astype(int)).mean(1)) == pytest.approx(overlap)
    kept = (corrupt(states, overlap=0.6, rng=rng(2)) == states).mean(0)
    assert abs(kept - 0.8).max() < 5 * (0.16 / 400) ** 0.5


PATTERNS, START = random_patterns(3, 10, rng=rng(1)), random_patterns(2, 10, rng=rng(2))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"patterns": PATTERNS[:, :9]}, r"patterns has shape \(3, 9\)"),
        ({"patterns": PATTERNS[0]}, r"patterns has shape \(10,\)"),
        ({"patterns": PATTERNS[:0]}, r"patterns has shape \(0, 10\)"),
        ({"patterns": np.stack([PATTERNS] * 3)}, r"patterns has shape \(3, 3, 10\)"),
        ({"patterns": PATTERNS * np.nan}, "patterns contains NaN"),
        ({"patterns": PATTERNS.astype(str)}, "patterns is"),
        ({"start": START[0]}, r"start has shape \(10,\)"),
        ({"start": START * 0}, "start contains other entries"),
        ({"start": START * 0.5}, "start contains other entries"),
        ({"start": START[:0]}, r"start has shape \(0, 10\)"),
        ({"start": START.astype(bool)}, "start contains other entries"),
        ({"sweeps": 0}, "sweeps is 0"),
        ({"sweeps": 1.0}, "sweeps is 1.0"),
        ({"temperature": -0.1}, "temperature is -0.1"),
        ({"temperature": np.nan}, "temperature is nan"),
        ({"temperature": np.array([0.1, -0.1])}, "temperature is"),
        ({"temperature": np.array([0.1, 0.1, 0.1])}, "temperature is"),
        ({"order": 3}, "order is 3; allowed are even numbers"),
        ({"order": 0}, "order is 0"),
        ({"order": 2.0}, "order is 2.0"),
        ({"order": 12}, "order is 12 and there are 10 spins"),
        ({"convention": "full"}, "convention is 'full'"),
        ({"rng": 1}, "rng is 1"),
        ({"record": PATTERNS[:, :9]}, r"record has shape \(3, 9\)"),
    ],
)
def test_bad_input_is_named(change, words):
    given = {"patterns": PATTERNS, "start": START, "sweeps": 2, "rng": rng(1)} | change
    patterns, start = given.pop("patterns"), given.pop("start")
    with pytest.raises(ValueError, match=words):
        retrieve(patterns, start, **given)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: random_patterns(0, 5, rng=rng()), "patterns is 0"),
        (lambda: random_patterns(5, 0, rng=rng()), "spins is 0"),
        (lambda: random_patterns(5, 5, samples=0, rng=rng()), "samples is 0"),
        (lambda: random_patterns(5, 5, rng=None), "rng is None"),
        (lambda: corrupt(START, overlap=1.1, rng=rng()), "overlap is 1.1"),
        (lambda: corrupt(START * 2, overlap=0.5, rng=rng()), "states contains"),
        (lambda: corrupt(START, overlap=0.5, rng=0), "rng is 0"),
        (lambda: overlaps(PATTERNS, START[:, :4]), "patterns has shape"),
        (lambda: energy(PATTERNS, START, order=5), "order is 5"),
        (lambda: energy(PATTERNS, START, order=12), "allowed are orders up to the number of spins"),
        (lambda: energy(PATTERNS, START, convention="x"), "convention is 'x'"),
        (lambda: energy(PATTERNS, START * 3), "states contains"),
    ],
)
def test_bad_input_of_the_helpers_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
