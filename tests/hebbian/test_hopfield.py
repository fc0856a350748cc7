"""Theory of the Hopfield model, against enumeration, quadrature and simulation."""

import itertools
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from scipy.optimize import approx_fprime
from scipy.signal import lfilter
from scipy.special import erfc

from course.exercises import check
from course.hebbian import hopfield
from course.hebbian.hopfield import (
    autocorrelation,
    boltzmann,
    correlation_time,
    draw_states,
    error_per_bit,
    first_steps,
    hebb_couplings,
    mean_field,
    mixture_temperature,
    sweep_correlation,
    synchronous,
)
from course.hebbian.monte_carlo import corrupt, energy, overlaps, random_patterns, retrieve


def rng(seed=0):
    return np.random.default_rng(seed)


def torch_rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_couplings_are_hebbs():
    patterns = random_patterns(3, 5, rng=rng(1))
    couplings = hebb_couplings(patterns)
    for i, j in itertools.product(range(5), repeat=2):
        expected = 0 if i == j else sum(int(row[i]) * int(row[j]) for row in patterns) / 5
        assert couplings[i, j] == pytest.approx(expected, abs=1e-15)


def test_couplings_give_the_energy_of_the_sampler():
    patterns, states = random_patterns(4, 30, rng=rng(1)), random_patterns(6, 30, rng=rng(2))
    couplings = hebb_couplings(patterns)
    by_pairs = [-state @ couplings @ state / 2 for state in states.astype(float)]
    assert energy(patterns, states) == pytest.approx(by_pairs)


@pytest.mark.parametrize(("count", "spins"), [(2, 5), (3, 4), (5, 5), (4, 6), (1, 7), (3, 1)])
def test_error_is_the_probability_of_enumerated_signs(count, spins):
    signs = np.array(list(itertools.product((-1, 1), repeat=(count - 1) * (spins - 1))))
    expected = (signs.sum(1) < -(spins - 1)).mean()
    assert error_per_bit(count, spins) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("load", [0.1, 0.3, 1.0])
def test_error_tends_to_the_gaussian_limit(load):
    limit = erfc(1 / math.sqrt(2 * load)) / 2
    gaps = [abs(error_per_bit(round(load * n), n) / limit - 1) for n in (1000, 100_000)]
    assert gaps[1] < 0.002
    assert gaps[1] < gaps[0] / 10


def test_error_is_that_of_drawn_patterns():
    patterns = random_patterns(9, 31, samples=4000, rng=rng(3)).astype(float)
    first = patterns[:, 0]
    field = np.einsum("skn,sk->sn", patterns, np.einsum("skn,sn->sk", patterns, first)) - 9 * first
    rate = (field * first < 0).mean(1)
    assert abs(rate.mean() - error_per_bit(9, 31)) < 4 * rate.std() / 4000**0.5


@pytest.mark.parametrize(("load", "overlap"), [(0.1, 0.3), (0.3, 0.6), (0.6, 0.9), (0.2, -0.5)])
def test_first_and_second_step_are_those_of_large_networks(load, overlap):
    count, spins = round(load * 1500), 1500
    found = []
    for seed in range(30):
        patterns = random_patterns(count, spins, rng=rng(seed))
        start = corrupt(patterns[:1], overlap=overlap, rng=rng(100 + seed))
        found.append(overlaps(patterns[:1], synchronous(patterns, start, steps=2)[0])[1:, 0])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / 30**0.5
    assert (np.abs(mean - first_steps(load, overlap)) < 4 * error + 0.003).all()


def test_first_steps_broadcast_and_are_odd():
    table = first_steps(np.array([0.1, 0.2])[:, None], np.array([-0.5, 0.0, 0.5]))
    assert table.first.shape == table.second.shape == (2, 3)
    assert table.second[:, 1].tolist() == [0, 0]
    assert table.second[:, 0] == pytest.approx(-table.second[:, 2])
    assert table.second[1, 2] == first_steps(0.2, 0.5).second
    assert isinstance(first_steps(0.2, 0.5).first, float)


def test_small_load_retrieves_and_at_large_load_the_echo_brings_the_start_back():
    assert first_steps(0.01, 0.5).second == pytest.approx(1, abs=1e-5)
    assert first_steps(50.0, 0.9).first < first_steps(50.0, 0.9).second < 0.9


def stepped(patterns, state):
    """One synchronous step at T = 0 by couplings, in exact arithmetic."""
    patterns, state = patterns.astype(int), state.astype(int)
    field = patterns.T @ (patterns @ state) - len(patterns) * state
    return np.where(field == 0, state, np.sign(field))


def test_synchronous_step_is_that_of_the_couplings():
    patterns, start = random_patterns(7, 20, rng=rng(1)), random_patterns(5, 20, rng=rng(2))
    found = synchronous(patterns, start, steps=4)
    assert found.shape == (5, 5, 20)
    assert np.array_equal(found[:, 0], start)
    for k, t in itertools.product(range(5), range(4)):
        assert np.array_equal(found[k, t + 1], stepped(patterns, found[k, t]))


def test_synchronous_networks_have_their_own_patterns():
    patterns = random_patterns(4, 30, samples=3, rng=rng(1))
    start = random_patterns(3, 30, rng=rng(2))
    together = synchronous(patterns, start, steps=3)
    alone = [synchronous(patterns[k], start[k : k + 1], steps=3)[0] for k in range(3)]
    assert np.array_equal(together, alone)


def test_two_neurons_alternate_for_ever():
    patterns = np.array([[1, -1]], dtype=np.int8)
    found = synchronous(patterns, np.array([[1, 1]], dtype=np.int8), steps=4)[0]
    assert found[:, 0].tolist() == found[:, 1].tolist() == [1, -1, 1, -1, 1]


def test_synchronous_heat_bath_has_littles_law():
    patterns, temperature = random_patterns(3, 8, rng=rng(4)), 0.9
    states, law = boltzmann(patterns, temperature)
    field = states @ hebb_couplings(patterns)
    little = np.prod(np.cosh(field / temperature), axis=1)
    little /= little.sum()
    start = random_patterns(4000, 8, rng=rng(5))
    ends = synchronous(
        patterns, start, steps=50, temperature=temperature, generator=torch_rng(6)
    )[:, -1]  # fmt: skip
    sample, values = energy(patterns, ends), energy(patterns, states)
    error = sample.std() / 4000**0.5
    assert abs(sample.mean() - little @ values) < 4 * error
    assert abs(sample.mean() - law @ values) > 8 * error


def free_energy(m, temperature):
    signs = np.array(list(itertools.product((-1, 1), repeat=len(m))))
    field = signs @ m / temperature
    return m @ m / 2 - temperature * np.logaddexp(field, -field).mean()


@pytest.mark.parametrize("mixture", [1, 2, 3, 5])
@pytest.mark.parametrize("temperature", [0.15, 0.45, 0.8, 0.999])
def test_mean_field_is_a_stationary_point_with_the_right_curvatures(mixture, temperature):
    """Of the free energy over the overlaps with one pattern more than there are in the mixture."""
    state = mean_field(temperature, mixture=mixture)
    m = np.append(np.full(mixture, state.overlap), 0.0)
    assert state.overlap > 0
    assert free_energy(m, temperature) == pytest.approx(state.free_energy, abs=1e-12)
    gradient = approx_fprime(m, free_energy, 1e-6, temperature)
    assert gradient == pytest.approx(np.zeros(mixture + 1), abs=5e-6 / temperature)
    step, eye = 2e-4, np.eye(mixture + 1)
    hessian = np.array([[sum(
        a * b * free_energy(m + step * (a * eye[i] + b * eye[j]), temperature)
        for a, b in itertools.product((1, -1), repeat=2)
    ) / (4 * step**2) for j in range(mixture + 1)] for i in range(mixture + 1)])  # fmt: skip
    towards, among, along = state.eigenvalues
    expected = sorted([towards, along] + [among] * (mixture - 1))
    assert np.linalg.eigvalsh(hessian) == pytest.approx(expected, abs=1e-4 / temperature**2)
    assert state.stable == (min(expected) > 0)


def test_pure_state_solves_its_equation():
    for temperature in (0.05, 0.3, 0.7, 0.99, 1 - 1e-9):
        m = mean_field(temperature).overlap
        assert m == pytest.approx(math.tanh(m / temperature), rel=1e-9)
    assert mean_field(1 - 1e-6).overlap == pytest.approx(math.sqrt(3e-6), rel=1e-5)


@pytest.mark.parametrize("mixture", [1, 2, 3, 4, 5])
def test_zero_temperature_is_the_limit(mixture):
    limit, near = mean_field(0.0, mixture=mixture), mean_field(0.004, mixture=mixture)
    assert limit.overlap == pytest.approx(near.overlap, abs=2e-3)
    assert limit.free_energy == pytest.approx(near.free_energy, abs=3e-3)
    assert limit.stable == near.stable == (mixture % 2 == 1)
    if mixture % 2:
        assert limit.eigenvalues == pytest.approx(near.eigenvalues, abs=1e-6, nan_ok=True)
        assert limit.overlap == math.comb(mixture - 1, mixture // 2) / 2 ** (mixture - 1)


def test_nothing_is_remembered_at_and_above_the_critical_temperature():
    for temperature in (1.0, 1.7):
        state = mean_field(temperature, mixture=3)
        assert state.overlap == 0
        assert state.free_energy == pytest.approx(-temperature * math.log(2))
        assert state.eigenvalues == pytest.approx(np.full(3, 1 - 1 / temperature))
    assert mean_field(1.7).stable
    assert not mean_field(1.0).stable


def test_mixture_temperatures():
    found = [mixture_temperature(n) for n in (3, 5, 7)]
    assert found[0] == pytest.approx(0.45979423987779, abs=1e-10)
    assert np.diff(found).max() < 0
    for n, temperature in zip((3, 5, 7), found, strict=True):
        assert mean_field(temperature - 1e-4, mixture=n).stable
        assert not mean_field(temperature + 1e-4, mixture=n).stable


def test_boltzmann_weights_are_normalised_and_ordered_as_energies():
    patterns = random_patterns(2, 7, rng=rng(1))
    states, law = boltzmann(patterns, 0.6)
    assert states.shape == (128, 7)
    assert len(np.unique(states, axis=0)) == 128
    assert law.sum() == pytest.approx(1)
    ratio = np.log(law[0] / law)
    couplings = hebb_couplings(patterns)
    values = np.array([-s @ couplings @ s / 2 for s in states.astype(float)])
    assert ratio == pytest.approx((values - values[0]) / 0.6)
    assert boltzmann(patterns, 1e9)[1] == pytest.approx(np.full(128, 1 / 128))
    assert np.isfinite(boltzmann(patterns, 1e-3)[1]).all()


def chains(coefficient, count, length, seed=1):
    noise = rng(seed).normal(size=(count, length + 200))
    return lfilter([1], [1, -coefficient], noise, axis=1)[:, 200:]


def test_autocorrelation_and_time_of_an_autoregressive_series():
    series = chains(0.7, 40, 5000)
    found = autocorrelation(series, 5, mean=0.0)
    assert found.shape == (40, 6)
    assert found.mean(0) == pytest.approx(0.7 ** np.arange(6), abs=0.01)
    assert correlation_time(series) == pytest.approx(1.7 / 0.3, rel=0.05)
    short = [correlation_time(part) for part in series.reshape(-1, 8, 500)]
    assert np.mean(short) == pytest.approx(1.7 / 0.3, rel=0.05)  # not each chain with its own mean
    assert correlation_time(series[0]) == pytest.approx(1.7 / 0.3, rel=0.4)
    assert correlation_time(chains(0.0, 40, 5000)) == pytest.approx(1, abs=0.03)


def test_autocorrelation_spelled_out():
    series = np.array([1.0, 3.0, -2.0, 0.0, 4.0])
    x = series - 1.2
    expected = (x[:-2] @ x[2:] / 3) / (x @ x / 5)
    assert autocorrelation(series, 2)[2] == pytest.approx(expected)


def test_sweep_correlation_solves_the_equation_of_the_sweep():
    """Visit N neurons of a linear network one after the other."""
    for slope in (0.1, 0.8, 1.0):
        steps, deviation = 200_000, 1.0
        for _ in range(steps):
            deviation += (slope * deviation - 1.0) / steps
        assert sweep_correlation(slope) == pytest.approx(deviation, abs=1e-4)
    assert sweep_correlation(1.0) == pytest.approx(1.0)
    assert sweep_correlation(np.array([0.5, 1e-3])).shape == (2,)


def test_sweep_correlation_is_that_of_the_sampler():
    patterns = random_patterns(1, 2000, samples=12, rng=rng(1))
    trace = retrieve(
        patterns, patterns[:, 0], sweeps=250, temperature=2.0, rng=rng(2), record=patterns
    ).trace[:, 30:, 0]
    found = autocorrelation(trace, 1, mean=0.0)[:, 1]
    assert abs(found.mean() - sweep_correlation(0.5)) < 4 * found.std() / 12**0.5
    assert abs(found.mean() - math.exp(-0.5)) > 8 * found.std() / 12**0.5


def test_states_are_drawn_as_squares():
    fig, axs = plt.subplots(1, 2)
    draw_states(axs, random_patterns(2, 16, rng=rng(1)), ["a", "b"])
    assert axs[0].images[0].get_array().shape == (4, 4)
    plt.close(fig)


@pytest.mark.parametrize("name", ["hebbian.1", "hebbian.2", "hebbian.3", "hebbian.4"])
def test_wrong_answers_are_explained(name):
    from course.exercises import find

    for function, fragment in find(name).wrong:
        verdict = check(name, function).verdict
        assert not verdict.passed
        assert fragment in verdict.message


def test_couplings_without_crosstalk_may_have_any_scale():
    def projection(patterns):
        couplings = np.linalg.pinv(patterns) @ patterns
        return couplings - np.diag(np.diag(couplings))

    assert check("hebbian.4", lambda patterns: 40 * projection(patterns)).verdict.passed
    assert not check("hebbian.4", lambda patterns: -projection(patterns)).verdict.passed


PATTERNS, START = random_patterns(3, 10, rng=rng(1)), random_patterns(2, 10, rng=rng(2))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: hebb_couplings(PATTERNS[0]), "patterns has shape"),
        (lambda: error_per_bit(0, 5), "patterns is 0"),
        (lambda: error_per_bit(3, 5.0), "spins is 5.0"),
        (lambda: first_steps(0.0, 0.5), "load is"),
        (lambda: first_steps(0.1, 1.5), "overlap is"),
        (lambda: synchronous(PATTERNS, START * 2, steps=1), "start contains"),
        (lambda: synchronous(PATTERNS * 0.5, START, steps=1), "patterns contains"),
        (lambda: synchronous(PATTERNS[:, :4], START, steps=1), "patterns has shape"),
        (lambda: synchronous(PATTERNS, START, steps=0), "steps is 0"),
        (lambda: synchronous(PATTERNS, START, steps=1, temperature=-1.0), "temperature is"),
        (lambda: synchronous(PATTERNS, START, steps=1, temperature=1.0), "generator is None"),
        (lambda: mean_field(-0.1), "temperature is -0.1"),
        (lambda: mean_field(0.5, mixture=0), "mixture is 0"),
        (lambda: mixture_temperature(4), "mixture is 4"),
        (lambda: mixture_temperature(1), "mixture is 1"),
        (lambda: boltzmann(PATTERNS, 0.0), "temperature is 0.0"),
        (lambda: boltzmann(random_patterns(2, 21, rng=rng()), 1.0), "21 neurons"),
        (lambda: autocorrelation(np.ones(5), 2), "series does not vary"),
        (lambda: autocorrelation(np.arange(5.0), 5), "lags is 5"),
        (lambda: correlation_time(np.arange(50.0)), "too few"),
        (lambda: correlation_time(np.ones((2, 2, 2))), "series has shape"),
        (lambda: sweep_correlation(0.0), "slope is"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_enumeration_limit_is_documented():
    assert str(hopfield.MAX_ENUMERATED) in boltzmann.__doc__
