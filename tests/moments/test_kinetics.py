"""Reaction networks: reading them, propensities, exact simulation, exact solutions."""

import math

import numpy as np
import pytest
import sympy
import torch
from scipy import integrate, special, stats

from course.moments.kinetics import (
    ReactionNetwork,
    dimerisation_distribution,
    immigration_death_distribution,
    telegraph_distribution,
)

INF = math.inf
BIRTH_DEATH = ReactionNetwork(["0 -> A", "A -> 0"], rates=[5.0, 1.0])
EPIDEMIC = ReactionNetwork(["S + I -> 2 I", "I -> R"], rates=[2.0, 1.0], volume=50)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_strings_give_arrays_in_order_of_appearance():
    network = ReactionNetwork(["2 X + Y -> 3 X", "∅ -> Z", " -> Y", "3Z->0"], rates=[1, 2, 3, 4])
    assert network.species == ("X", "Y", "Z")
    assert network.reactants.tolist() == [[2, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 3]]
    assert network.products.tolist() == [[3, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert network.changes.tolist() == [[1, -1, 0], [0, 0, 1], [0, 1, 0], [0, 0, -3]]
    assert network.reactions == ("2 X + Y -> 3 X", "0 -> Z", "0 -> Y", "3 Z -> 0")


def test_equal_species_on_one_side_add_up():
    network = ReactionNetwork(["A + A -> B"], rates=[1], species=["B", "A"])
    assert network.reactants.tolist() == [[0, 2]]
    assert network.species == ("B", "A")


def test_arrays_and_strings_make_the_same_network():
    network = ReactionNetwork.from_arrays(
        [[1, 1, 0], [0, 1, 0]], [[0, 2, 0], [0, 0, 1]], rates=[2, 1], species=("S", "I", "R"),
        volume=50,
    )  # fmt: skip
    assert repr(network) == repr(EPIDEMIC)
    assert network.coefficients.tolist() == EPIDEMIC.coefficients.tolist()


def test_shown_form_makes_the_network_again():
    again = eval(repr(EPIDEMIC))
    assert repr(again) == repr(EPIDEMIC)
    assert again.species == EPIDEMIC.species


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_propensity_counts_ordered_choices_or_sets_of_molecules(order):
    n, volume, rate = 7, 4.0, 0.3
    text = f"{order} A -> 0" if order else "0 -> A"
    scale = rate * volume ** (1 - order)
    ordered = ReactionNetwork([text], rates=[rate], volume=volume)
    sets = ReactionNetwork([text], rates=[rate], volume=volume, convention="combinations")
    assert ordered.propensities([n])[0] == pytest.approx(scale * math.perm(n, order))
    assert sets.propensities([n])[0] == pytest.approx(scale * math.comb(n, order))


def test_propensities_vanish_without_the_reactants():
    network = ReactionNetwork(["2 A + B -> 0"], rates=[1.0])
    found = network.propensities([[0, 3], [1, 3], [2, 0], [2, 3]])
    assert found.tolist() == [[0.0], [0.0], [0.0], [6.0]]


@pytest.mark.parametrize("convention", ["falling", "combinations"])
def test_symbolic_propensities_are_the_numeric_ones(convention):
    network = ReactionNetwork(
        ["2 X + Y -> 3 X", "X -> Y", "0 -> X", "3 Y -> 0"], rates=[0.45, 2, 1, 0.3], volume=10,
        convention=convention,
    )  # fmt: skip
    state = dict(zip(network.symbols, (7, 5), strict=True))
    numeric = [float(entry.subs(state)) for entry in network.symbolic_propensities()]
    np.testing.assert_allclose(numeric, network.propensities([7, 5]), rtol=1e-14)
    values = dict(zip(network.parameter_symbols, (0.45, 2, 1, 0.3, 10), strict=True))
    general = network.symbolic_propensities(numeric=False)
    found = [float(entry.subs(state).subs(values)) for entry in general]
    np.testing.assert_allclose(found, numeric, rtol=1e-12)
    assert network.symbolic_propensities()[1] == 2 * network.symbols[0]
    assert all(sympy.nsimplify(entry) == entry for entry in network.symbolic_propensities())


def test_rate_equations_are_the_large_volume_limit_of_the_drift():
    network = ReactionNetwork(["2 X + Y -> 3 X", "X -> Y", "0 -> X"], rates=[0.9, 2, 1])
    density = np.array([1.3, 0.7])
    expected = 0.9 * 1.3**2 * 0.7 * np.array([1, -1]) + 2 * 1.3 * np.array([-1, 1]) + [1, 0]
    large = network.at_volume(1e7)
    np.testing.assert_allclose(large.rate_equations(1e7 * density) / 1e7, expected, rtol=1e-9)
    drift = large.propensities(1e7 * density) @ large.changes
    np.testing.assert_allclose(drift / 1e7, expected, rtol=1e-5)
    # the factorial of the convention enters here too
    half = ReactionNetwork(["2 A -> 0"], rates=[1.0], convention="combinations")
    assert half.rate_equations([10.0]).tolist() == [-100.0]


def test_another_volume_keeps_rates_and_convention():
    network = ReactionNetwork(["2 A -> 0"], rates=[3.0], convention="combinations")
    assert repr(network.at_volume(2.5)) == repr(
        ReactionNetwork(["2 A -> 0"], rates=[3.0], volume=2.5, convention="combinations")
    )


def test_conservation_laws_span_what_is_conserved():
    network = ReactionNetwork(["E + S -> C", "C -> E + S", "C -> E + P"], rates=[1, 1, 1])
    laws = network.conservation_laws
    assert laws.shape == (2, 4)
    assert not (network.changes @ laws.T).any()
    assert np.linalg.matrix_rank(laws) == 2
    assert BIRTH_DEATH.conservation_laws.shape == (0, 1)
    dimer = ReactionNetwork(["2 A -> 3 B", "3 B -> 2 A"], rates=[1, 1])
    assert abs(dimer.conservation_laws).tolist() == [[3, 2]]


def test_arrays_are_read_only():
    for name in ("reactants", "products", "changes", "rates", "coefficients"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(EPIDEMIC, name)[0] = 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"reactions": []}, "reactions is"),
        ({"reactions": "A -> B"}, "reactions is"),
        ({"reactions": None}, "reactions is"),
        ({"reactions": 3}, "reactions is"),
        ({"reactions": ["A = B"]}, "one arrow"),
        ({"reactions": ["A <-> B"]}, "reversible"),
        ({"reactions": ["A -> B -> C"]}, "one arrow"),
        ({"reactions": ["-1 A -> B"]}, "no number of molecules"),
        ({"reactions": ["1.5 A -> B"]}, "no number of molecules"),
        ({"reactions": ["0 A -> B"]}, "no number of molecules"),
        ({"reactions": ["A + -> B"]}, "no number of molecules"),
        ({"reactions": [3]}, "reaction is 3"),
        ({"reactions": ["0 -> 0"]}, "species is empty"),
        ({"rates": [-1.0]}, "-1 for reaction 1, A -> B"),
        ({"rates": [1.0, 2.0]}, "rates has 2 entries; allowed are 1"),
        ({"rates": [np.nan]}, "rates"),
        ({"rates": ["fast"]}, "rates"),
        ({"volume": 0.0}, "volume is 0.0"),
        ({"volume": "big"}, "volume is 'big'"),
        ({"convention": "half"}, "convention is 'half'"),
        ({"species": ["A"]}, "the reactions also have B"),
        ({"species": ["A", "A", "B"]}, "different names"),
        ({"species": "AB"}, "different names"),
    ],
)
def test_bad_networks_are_refused(arguments, words):
    good = {"reactions": ["A -> B"], "rates": [1.0]}
    values = good | arguments
    with pytest.raises(ValueError, match=words):
        ReactionNetwork(values.pop("reactions"), **values)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"reactants": [[-1]]}, "reactants is"),
        ({"products": [[0.5]]}, "products is"),
        ({"products": [[0], [1]]}, "equal shapes"),
        ({"reactants": [[1, 0]]}, "reactants has shape"),
        ({"species": ("not a name",)}, "species is"),
        ({"species": ()}, "species is"),
    ],
)
def test_bad_arrays_are_refused(arguments, words):
    good = {"reactants": [[1]], "products": [[0]], "rates": [1.0], "species": ("A",)} | arguments
    with pytest.raises(ValueError, match=words):
        ReactionNetwork.from_arrays(good.pop("reactants"), good.pop("products"), **good)


def test_counts_of_another_length_are_refused():
    for method in (EPIDEMIC.propensities, EPIDEMIC.rate_equations):
        with pytest.raises(ValueError, match="counts has shape"):
            method([1.0, 2.0])
        with pytest.raises(ValueError, match="counts has shape"):
            method(1.0)


# ------------------------------------------------------------------- simulation


def assert_samples(counts, law, significance=1e-4):
    """Chi-squared test of samples against probabilities of 0, 1, …, rare values merged."""
    seen = np.bincount(counts, minlength=len(law))[: len(law)].astype(float)
    expected = law * len(counts)
    common = expected >= 8
    table = np.append(seen[common], len(counts) - seen[common].sum())
    wanted = np.append(expected[common], len(counts) - expected[common].sum())
    keep = wanted > 1
    assert (
        stats.chisquare(table[keep], wanted[keep] * table[keep].sum() / wanted[keep].sum())[1]
        > significance
    )


def batched(network, times, trajectories, seed, **more):
    generator = torch.Generator().manual_seed(seed)
    return network.simulate_batch(times, trajectories, generator=generator, **more).numpy()


def one_by_one(network, times, trajectories, seed, **more):
    return network.simulate(times, trajectories, rng=rng(seed), **more)


either = pytest.mark.parametrize("simulate", [one_by_one, batched])


@either
def test_simulated_birth_and_death_has_the_exact_law(simulate):
    found = simulate(BIRTH_DEATH, [0.0, 0.4, 3.0], 20_000, 1, start={"A": 9})
    assert found.shape == (20_000, 3, 1)
    assert found.dtype == np.int64
    assert (found[:, 0] == 9).all()
    for k, time in ((1, 0.4), (2, 3.0)):
        law = immigration_death_distribution(np.arange(40), time, birth=5.0, death=1.0, start=9)
        assert_samples(found[:, k, 0], law)


@either
def test_two_times_of_one_trajectory_are_correlated_as_the_relaxation_says(simulate):
    late = simulate(BIRTH_DEATH, [20.0, 20.5], 20_000, 2)[:, :, 0]
    correlation = np.corrcoef(late.T)[0, 1]
    assert correlation == pytest.approx(math.exp(-0.5), abs=0.02)  # 4 standard errors


@either
def test_pair_reaction_fires_at_the_rate_of_its_convention(simulate):
    for convention, rate in (("falling", 6.0), ("combinations", 3.0)):
        network = ReactionNetwork(["2 A -> 0"], rates=[1.0], volume=2.0, convention=convention)
        alive = simulate(network, [0.2], 20_000, 3, start={"A": 4})[:, 0, 0] == 4
        expected = math.exp(-rate * 0.2)  # n(n-1)/Ω = 6
        assert alive.mean() == pytest.approx(expected, abs=4 * 0.5 / math.sqrt(20_000))


@either
def test_simulated_epidemic_agrees_with_the_projection(simulate):
    start = {"S": 47, "I": 3}
    found = simulate(EPIDEMIC, [4.0], 8000, 4, start=start)[:, 0]
    exact = EPIDEMIC.finite_state_projection(50, start=start, times=[4.0])
    assert (found.sum(axis=1) == 50).all()
    assert_samples(found[:, 0], exact.marginal("S")[0])
    assert_samples(found[:, 1], exact.marginal("I")[0])


def test_mixed_orders_use_the_right_propensities_after_every_reaction():
    """Only what a reaction touches is computed anew; compare with the projection."""
    network = ReactionNetwork(
        ["0 -> A", "A -> B", "A + B -> C", "2 B -> A", "C -> 0", "2 A + C -> B"],
        rates=[1.5, 1.0, 0.5, 0.4, 1.0, 0.2], volume=2.0,
    )  # fmt: skip
    times = [0.5, 2.0]
    found = network.simulate(times, 20_000, rng=rng(5), start=[2, 1, 0])
    exact = network.finite_state_projection(
        [14, 9, 7], start=[2, 1, 0], times=times, tolerance=1e-4
    )
    for k in range(2):
        for i, name in enumerate("ABC"):
            assert_samples(found[:, k, i], exact.marginal(name)[k])


@either
def test_state_in_which_nothing_fires_is_kept(simulate):
    network = ReactionNetwork(["A -> 0", "2 B -> 0"], rates=[1.0, 1.0])
    found = simulate(network, [0.0, 100.0, 1e9], 5, 6, start=[3, 3])
    assert (found[:, 1:] == [0, 1]).all()


@either
def test_reactions_without_rate_never_fire(simulate):
    network = ReactionNetwork(["A -> B", "A -> C", "B -> D"], rates=[0.0, 1.0, 0.0])
    found = simulate(network, [50.0], 100, 7, start={"A": 2})
    assert (found[:, 0] == [0, 0, 2, 0]).all()


@either
def test_each_trajectory_may_have_its_own_start(simulate):
    starts = np.arange(6)[:, None]
    found = simulate(BIRTH_DEATH, [0.0], 6, 8, start=starts)
    assert (found[:, 0] == starts).all()


def test_result_does_not_depend_on_threads_and_does_on_the_seed():
    options = {"start": {"A": 2}}
    one, two = (
        BIRTH_DEATH.simulate([1.0, 2.0], 301, rng=rng(9), threads=threads, **options)
        for threads in (1, 2)
    )
    assert (one == two).all()
    other = BIRTH_DEATH.simulate([1.0, 2.0], 301, rng=rng(10), **options)
    assert (one != other).any()
    assert len(np.unique(one[:64].reshape(64, -1), axis=0)) > 8  # streams differ


def test_one_trajectory_and_one_time():
    assert BIRTH_DEATH.simulate([0.0], 1, rng=rng()).tolist() == [[[0]]]


@either
def test_explosion_is_an_error(simulate):
    network = ReactionNetwork(["2 A -> 3 A"], rates=[1.0])
    with pytest.raises(RuntimeError, match="explode"):
        simulate(network, [50.0], 3, 11, start={"A": 5}, max_events=2000)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"times": []}, "times"),
        ({"times": [1.0, 0.5]}, "increasing"),
        ({"times": [-1.0]}, "increasing numbers >= 0"),
        ({"times": [np.nan]}, "times"),
        ({"trajectories": 0}, "trajectories is 0"),
        ({"trajectories": 2.0}, "trajectories is 2.0"),
        ({"start": {"B": 1}}, "species B; allowed are A"),
        ({"start": {"A": -1}}, "start is"),
        ({"start": [1.5]}, "start is"),
        ({"start": [1, 2]}, "start has 2 entries"),
        ({"start": [[1], [2]]}, "one row a trajectory"),
        ({"max_events": 0}, "max_events is 0"),
        ({"threads": 0}, "threads is 0"),
        ({"rng": 3}, "rng is 3"),
        ({"rng": None}, "rng is None"),
    ],
)
def test_bad_simulations_are_refused(arguments, words):
    good = {"times": [1.0], "trajectories": 3, "rng": rng()} | arguments
    with pytest.raises(ValueError, match=words):
        BIRTH_DEATH.simulate(good.pop("times"), good.pop("trajectories"), **good)
    if "rng" not in arguments and "threads" not in arguments:
        del good["rng"]
        good |= arguments
        times, number = good.pop("times", [1.0]), good.pop("trajectories", 3)
        with pytest.raises(ValueError, match=words):
            BIRTH_DEATH.simulate_batch(times, number, generator=torch.Generator(), **good)


def test_batches_want_a_torch_generator():
    with pytest.raises(ValueError, match="generator is"):
        BIRTH_DEATH.simulate_batch([1.0], 3, generator=rng())


# -------------------------------------------------------------- exact solutions


def master_equation(network, size, time, start):
    """A dense generator and an ODE solver: of the package only the propensities."""
    generator = np.zeros((size, size))
    for n in range(size):
        for change, rate in zip(network.changes[:, 0], network.propensities([n]), strict=True):
            generator[n, n] -= rate
            if 0 <= n + change < size:
                generator[n + change, n] += rate
    law = np.zeros(size)
    law[start] = 1.0
    solution = integrate.solve_ivp(
        lambda _, p: generator @ p, (0, time), law, method="DOP853", rtol=1e-12, atol=1e-14
    )
    return solution.y[:, -1]


@pytest.mark.parametrize(("time", "start"), [(0.0, 3), (0.3, 0), (1.0, 7)])
def test_immigration_and_death_solves_the_master_equation(time, start):
    found = immigration_death_distribution(np.arange(50), time, birth=5.0, death=1.0, start=start)
    expected = master_equation(BIRTH_DEATH, 50, time, start) if time else np.eye(50)[start]
    np.testing.assert_allclose(found, expected, atol=1e-11)


def test_immigration_and_death_ends_in_a_poisson_law():
    found = immigration_death_distribution(np.arange(30), INF, birth=6.0, death=2.0, start=4)
    np.testing.assert_allclose(found, stats.poisson.pmf(np.arange(30), 3.0), rtol=1e-12)


@pytest.mark.parametrize("parameters", [(0.5, 1.5, 20.0), (3.0, 0.2, 8.0), (0.05, 0.1, 60.0)])
def test_telegraph_is_a_poisson_law_with_a_beta_mean(parameters):
    on, off, production = parameters
    counts = np.array([0, 1, 4, 12, 30])
    found = telegraph_distribution(counts, on=on, off=off, production=production)

    def mixture(n):
        # the end points' singularities are integrated by the algebraic weight
        value, _ = integrate.quad(
            lambda x: stats.poisson.pmf(n, production * x), 0, 1, weight="alg",
            wvar=(on - 1, off - 1), epsabs=0, epsrel=1e-11, limit=200,
        )  # fmt: skip
        return value / special.beta(on, off)

    np.testing.assert_allclose(found, [mixture(n) for n in counts], rtol=1e-7)


def test_telegraph_has_the_moments_of_the_reference():
    counts = np.arange(200)
    law = telegraph_distribution(counts, on=0.5, off=1.5, production=20.0)
    assert law.sum() == pytest.approx(1.0, abs=1e-12)
    assert law @ counts == pytest.approx(5.0, abs=1e-10)
    assert law @ (counts - 5.0) ** 2 == pytest.approx(30.0, abs=1e-9)
    assert law[0] == pytest.approx(0.24909602, abs=5e-9)


@pytest.mark.parametrize("parameters", [(0.5, 1.5, 601.0), (3.0, 0.2, 2000.0)])
def test_telegraph_of_a_strong_gene_stays_finite(parameters):
    on, off, production = parameters
    counts = np.arange(int(production + 12 * production**0.5))
    law = telegraph_distribution(counts, on=on, off=off, production=production)
    mean = production * on / (on + off)
    spread = mean + mean * production * off / ((on + off) * (on + off + 1))
    np.testing.assert_allclose(law.sum(), 1, atol=1e-9)
    np.testing.assert_allclose(law @ counts, mean, rtol=1e-9)
    np.testing.assert_allclose(law @ (counts - mean) ** 2, spread, rtol=1e-8)


def test_dimerisation_has_the_moments_of_the_reference_and_is_stationary():
    counts = np.arange(60)
    law = dimerisation_distribution(counts, production=1.0, annihilation=0.5, volume=5.0)
    assert law.sum() == pytest.approx(1.0, abs=1e-12)
    mean = law @ counts
    assert mean == pytest.approx(5.1299387429, abs=1e-10)
    assert law @ (counts - mean) ** 2 == pytest.approx(3.8136672369, abs=1e-10)
    n = counts[1:-2]
    gain = 5.0 * law[n - 1] + 0.5 * (n + 2) * (n + 1) / 5.0 * law[n + 2]
    loss = (5.0 + 0.5 * n * (n - 1) / 5.0) * law[n]
    np.testing.assert_allclose(gain, loss, rtol=1e-10)


def test_dimerisation_stays_finite_in_large_volumes():
    counts = np.arange(9000, 11_001)
    law = dimerisation_distribution(counts, production=2.0, annihilation=1.0, volume=1e4)
    assert law.sum() == pytest.approx(1.0, abs=1e-9)
    assert law @ counts == pytest.approx(1e4, rel=1e-3)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (immigration_death_distribution, {"time": 1.0, "birth": -1.0, "death": 1.0}),
        (immigration_death_distribution, {"time": 1.0, "birth": 1.0, "death": 0.0}),
        (immigration_death_distribution, {"time": -1.0, "birth": 1.0, "death": 1.0}),
        (immigration_death_distribution, {"time": 1.0, "birth": 1.0, "death": 1.0, "start": -1}),
        (telegraph_distribution, {"on": 0.0, "off": 1.0, "production": 1.0}),
        (telegraph_distribution, {"on": 1.0, "off": -1.0, "production": 1.0}),
        (telegraph_distribution, {"on": 1.0, "off": 1.0, "production": np.nan}),
        (dimerisation_distribution, {"production": 0.0, "annihilation": 1.0, "volume": 1.0}),
        (dimerisation_distribution, {"production": 1.0, "annihilation": 0.0, "volume": 1.0}),
        (dimerisation_distribution, {"production": 1.0, "annihilation": 1.0, "volume": -1.0}),
    ],
)
def test_exact_solutions_refuse_bad_rates(function, arguments):
    with pytest.raises(ValueError, match="allowed"):
        function(np.arange(3), **arguments)


@pytest.mark.parametrize("counts", [[-1], [0.5], ["a"]])
def test_exact_solutions_refuse_bad_counts(counts):
    with pytest.raises(ValueError, match="counts"):
        telegraph_distribution(counts, on=1.0, off=1.0, production=1.0)
