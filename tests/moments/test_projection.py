"""Finite state projection: right answers, and bounds that hold."""

import math

import numpy as np
import pytest
from scipy import linalg

from course.moments import projection
from course.moments.kinetics import (
    ReactionNetwork,
    dimerisation_distribution,
    immigration_death_distribution,
    telegraph_distribution,
)
from course.moments.projection import TruncationError

BIRTH_DEATH = ReactionNetwork(["0 -> A", "A -> 0"], rates=[5.0, 1.0])
DIMERS = ReactionNetwork(["0 -> A", "2 A -> 0"], rates=[1.0, 0.5], volume=5.0)
GENE = ReactionNetwork(
    ["Off -> On", "On -> Off", "On -> On + P", "P -> 0"], rates=[0.5, 1.5, 20.0, 1.0]
)
SCHLOEGL = ReactionNetwork(
    ["0 -> X", "X -> 0", "2 X -> 3 X", "3 X -> 2 X"], rates=[2.25, 6.75, 5.0, 1.0]
)
BRUSSELATOR = ReactionNetwork(
    ["2 X + Y -> 3 X", "X -> Y", "0 -> X", "X -> 0"], rates=[0.45, 2.0, 1.0, 1.0], volume=5.0
)


def dense(network, limits):
    """All states of the box and the generator between them, by loops."""
    states = [tuple(state) for state in np.ndindex(*(np.array(limits) + 1))]
    place = {state: k for k, state in enumerate(states)}
    generator = np.zeros((len(states), len(states)))
    for k, state in enumerate(states):
        rates = network.propensities(np.array(state))
        for change, rate in zip(network.changes.tolist(), rates, strict=True):
            target = tuple(n + c for n, c in zip(state, change, strict=True))
            generator[k, k] -= rate
            if target in place and rate:
                generator[place[target], k] += rate
    return states, generator


def on_the_line(result, size):
    """Probabilities of 0, 1, … up to a size; zero beyond what is kept."""
    law = result.marginal(result.species[0])
    return np.concatenate([law, np.zeros((*law.shape[:-1], size - law.shape[-1]))], axis=-1)


# ---------------------------------------------------------------------- in time


@pytest.mark.parametrize(
    ("network", "limits", "start"),
    [
        (BIRTH_DEATH, [9], [4]),
        (DIMERS, [12], [3]),
        (SCHLOEGL, [15], [2]),
        (BRUSSELATOR, [9, 12], [1, 1]),
        (GENE, [1, 1, 25], [1, 0, 2]),
        (ReactionNetwork(["A + B -> 2 B", "B -> C"], rates=[1.0, 0.4]), [6, 6, 6], [4, 2, 0]),
    ],
)
def test_solution_in_time_is_the_matrix_exponential(network, limits, start):
    states, generator = dense(network, limits)
    times = [0.0, 0.01, 0.7, 6.0]
    found = network.finite_state_projection(limits, start=start, times=times, tolerance=math.inf)
    index = [states.index(tuple(state)) for state in found.states.tolist()]
    origin = states.index(tuple(start))
    for k, time in enumerate(times):
        expected = linalg.expm(time * generator)[:, origin]
        np.testing.assert_allclose(found.probabilities[k], expected[index], atol=2e-11)
        assert expected.sum() == pytest.approx(expected[index].sum(), abs=1e-13)
        assert found.error_bound[k] == pytest.approx(1 - expected.sum(), abs=2e-11)
    assert found.rounding < 1e-10


@pytest.mark.parametrize("limit", [8, 12, 20])
def test_loss_in_time_is_the_distance_to_the_truth(limit):
    times = np.array([0.2, 1.0, 4.0])
    found = BIRTH_DEATH.finite_state_projection(
        limit, start={"A": 3}, times=times, tolerance=math.inf
    )
    for k, time in enumerate(times):
        exact = immigration_death_distribution(np.arange(100), time, birth=5.0, death=1.0, start=3)
        kept = on_the_line(found, 100)[k]
        assert (kept <= exact + 1e-11).all()
        distance = np.abs(exact - kept).sum()
        assert distance == pytest.approx(found.error_bound[k], abs=1e-10)


def test_advection_over_hundreds_of_states_converges():
    network = ReactionNetwork(["0 -> A", "A -> 0"], rates=[300.0, 1.0])
    found = network.finite_state_projection(600, times=[0.5, 10.0])
    for k, time in enumerate((0.5, 10.0)):
        exact = immigration_death_distribution(np.arange(601), time, birth=300.0, death=1.0)
        np.testing.assert_allclose(found.probabilities[k], exact, atol=1e-11)


def test_closed_network_loses_nothing_and_keeps_reachable_states_only():
    network = ReactionNetwork(["S + I -> 2 I", "I -> R"], rates=[2.0, 1.0], volume=50)
    found = network.finite_state_projection(start={"S": 47, "I": 3}, times=[4.0])
    assert (found.states.sum(axis=1) == 50).all()
    assert found.error_bound.tolist() == [0.0]
    assert found.mean[0, 0] == pytest.approx(21.354415, abs=5e-7)
    assert found.probabilities.sum() == pytest.approx(1.0, abs=1e-10)


def test_parity_is_respected():
    network = ReactionNetwork(["0 -> 2 A", "2 A -> 0"], rates=[2.0, 1.0])
    for start in (0, 1):
        for times in (None, [1.0]):
            found = network.finite_state_projection(31, start=[start], times=times)
            assert (found.states % 2 == start).all()


def test_limits_grow_until_the_loss_is_small():
    found = SCHLOEGL.at_volume(10.0).finite_state_projection(times=[1.0], tolerance=1e-9)
    assert found.error_bound[0] <= 1e-9
    small = SCHLOEGL.at_volume(10.0).finite_state_projection(
        found.limits // 4, times=[1.0], tolerance=math.inf
    )
    assert small.error_bound[0] > 1e-9


def test_a_start_that_nothing_changes_stays():
    network = ReactionNetwork(["2 A -> 0"], rates=[1.0])
    found = network.finite_state_projection(5, start={"A": 1}, times=[0.0, 3.0])
    assert found.marginal("A").tolist() == [[0, 1, 0, 0, 0, 0]] * 2


def test_what_is_lost_for_ever_is_lost():
    network = ReactionNetwork(["0 -> A"], rates=[50.0])
    found = network.finite_state_projection(5, times=[1.0, 1e3, 1e6], tolerance=2.0)
    np.testing.assert_allclose(found.error_bound, 1.0, atol=1e-11)
    np.testing.assert_allclose(found.probabilities, 0.0, atol=1e-11)


def test_long_times_end_at_the_steady_state():
    found = BIRTH_DEATH.finite_state_projection(60, times=[1.0, 1e8])
    exact = immigration_death_distribution(np.arange(61), math.inf, birth=5.0, death=1.0)
    np.testing.assert_allclose(found.probabilities[1], exact, atol=1e-10)


# --------------------------------------------------------------- at steady state


@pytest.mark.parametrize(
    ("network", "start", "limits"),
    [
        (BIRTH_DEATH, [0], [9]),
        (DIMERS, [0], [9]),
        (SCHLOEGL, [0], [12]),
        (GENE, [1, 0, 0], [1, 1, 40]),
        (ReactionNetwork(["0 -> A", "A -> 2 B", "2 B -> 0", "A + B -> 0"], rates=[3, 1, 0.5, 0.2]),
         [0, 0], [8, 8]),
    ],
)  # fmt: skip
def test_drift_points_home_from_every_state_outside(network, start, limits):
    limits, start = np.array(limits), np.array(start)
    largest = projection._largest_counts(network, start)
    weights, drift = projection._drift_condition(network, limits, largest)
    assert drift > 0
    assert (weights >= 0).all()
    wide = np.where(np.isinf(largest), limits + 60, largest).astype(int)
    states = np.array(list(np.ndindex(*(wide + 1))))
    laws = network.conservation_laws
    states = states[(states @ laws.T == start @ laws.T).all(axis=1)]
    outside = states[(states > limits).any(axis=1)]
    found = network.propensities(outside) @ network.changes @ weights
    assert len(outside) > 50
    assert (found <= -drift * (1 - 1e-9)).all()
    assert found.max() <= -drift / 20  # and delta is not needlessly small


@pytest.mark.parametrize(
    ("reactions", "rates"),
    [
        (["0 -> A", "A -> 2 A"], [1.0, 0.1]),
        (["2 X + Y -> 3 X", "X -> Y", "0 -> X", "X -> 0"], [0.45, 2.0, 1.0, 1.0]),
        (["0 -> A", "A + B -> 0", "0 -> B"], [1.0, 1.0, 1.0]),
    ],
)
def test_no_drift_condition_where_there_is_none(reactions, rates):
    network = ReactionNetwork(reactions, rates=rates)
    count = len(network.species)
    limits, largest = np.full(count, 1000), np.full(count, np.inf)
    assert projection._drift_condition(network, limits, largest) is None


@pytest.mark.parametrize("limit", [8, 12, 16, 25, 60])
def test_bound_at_steady_state_holds_and_is_tight(limit):
    counts = np.arange(200)
    cases = [
        (BIRTH_DEATH, immigration_death_distribution(counts, math.inf, birth=5.0, death=1.0)),
        (DIMERS, dimerisation_distribution(counts, production=1, annihilation=0.5, volume=5.0)),
    ]
    for network, exact in cases:
        found = network.finite_state_projection(limit, tolerance=math.inf)
        distance = np.abs(on_the_line(found, 200) - exact).sum()
        assert distance <= found.error_bound + 1e-14
        assert found.error_bound <= 4 * distance + 1e-14
        beyond = exact[limit + 1 :].sum()
        assert beyond <= found.outside <= 3 * beyond
        inside = exact[: limit + 1] / exact[: limit + 1].sum()
        assert (found.lower <= inside * (1 + 1e-9) + 1e-15).all()
        assert (found.upper >= inside * (1 - 1e-9) - 1e-15).all()


def test_gene_has_its_exact_law():
    found = GENE.finite_state_projection(start={"Off": 1})
    exact = telegraph_distribution(np.arange(400), on=0.5, off=1.5, production=20.0)
    law = np.concatenate([found.marginal("P"), np.zeros(400 - found.limits[2] - 1)])
    assert np.abs(law - exact).sum() <= found.error_bound + 1e-13
    assert found.error_bound <= 1e-6
    np.testing.assert_allclose(found.mean, [0.75, 0.25, 5.0], atol=1e-4)
    assert found.covariance[2, 2] == pytest.approx(30.0, abs=1e-3)
    wide = GENE.finite_state_projection([1, 1, 150], start={"Off": 1})
    assert wide.mean[2] == pytest.approx(5.0, abs=1e-8)
    assert wide.covariance[2, 2] == pytest.approx(30.0, abs=1e-8)
    assert wide.covariance[1, 2] == pytest.approx(1.25, abs=1e-8)  # ρ αβ/(α+β)²/(α+β+1)
    assert wide.moment({"P": 2}) == pytest.approx(55.0, abs=1e-7)


@pytest.mark.parametrize(
    ("volume", "mean"), [(1.0, 0.5144), (10.0, 8.6333)], ids=["volume 1", "volume 10"]
)
def test_schloegl_has_the_means_of_the_reference_and_detailed_balance(volume, mean):
    network = SCHLOEGL.at_volume(volume)
    found = network.finite_state_projection()
    assert found.mean[0] == pytest.approx(mean, abs=5e-5)
    n = np.arange(found.limits[0])[:, None]
    rates = network.propensities(n)
    up, down = rates[:, 0] + rates[:, 2], network.propensities(n + 1)[:, [1, 3]].sum(axis=1)
    law = np.concatenate([[1.0], np.cumprod(up / down)])
    np.testing.assert_allclose(found.probabilities, law / law.sum(), rtol=1e-9)


def test_rare_switching_does_not_spoil_the_steady_state():
    network = SCHLOEGL.at_volume(400.0)  # two peaks, exchanged once in an astronomical time
    found = network.finite_state_projection()
    n = np.arange(found.limits[0])[:, None]
    rates = network.propensities(n)
    up, down = rates[:, 0] + rates[:, 2], network.propensities(n + 1)[:, [1, 3]].sum(axis=1)
    log = np.concatenate([[0.0], np.cumsum(np.log(up / down))])
    law = np.exp(log - log.max())
    np.testing.assert_allclose(found.probabilities, law / law.sum(), atol=1e-9)


def test_two_species_bound_holds_against_a_much_larger_box():
    network = ReactionNetwork(
        ["0 -> A", "A -> B", "B -> 0", "A + B -> 0"], rates=[3.0, 1.0, 0.5, 0.2], volume=2.0
    )
    wide = network.finite_state_projection([45, 45], tolerance=1e-12)
    exact = wide.probabilities.reshape(46, 46)
    for limits in ([8, 9], [10, 16], [20, 20]):
        found = network.finite_state_projection(limits, tolerance=math.inf)
        law = np.zeros((46, 46))
        law[tuple(found.states.T)] = found.probabilities
        distance = np.abs(law - exact).sum()
        assert distance <= found.error_bound + 1e-12
        inside = exact[: limits[0] + 1, : limits[1] + 1].sum()
        assert 1 - inside <= found.outside + 1e-12


def test_extinction_is_the_only_steady_state():
    network = ReactionNetwork(["A -> 2 A", "A -> 0", "2 A -> A"], rates=[2.0, 1.0, 1.0], volume=20)
    found = network.finite_state_projection(80, start={"A": 5})
    assert found.marginal("A")[0] == 1.0
    assert found.error_bound == 0.0


def test_brusselator_has_an_estimate_and_its_exact_mean():
    found = BRUSSELATOR.finite_state_projection([60, 90], certify=False, tolerance=1e-3)
    assert found.outside is None
    assert found.lower is None
    assert found.mean[0] == pytest.approx(5.0, abs=1e-3)  # Ω c₃/c₄
    wide = BRUSSELATOR.finite_state_projection([100, 140], certify=False)
    law = np.zeros((101, 141))
    law[tuple(found.states.T)] = found.probabilities
    exact = wide.probabilities.reshape(101, 141)
    distance = np.abs(law - exact).sum()
    assert distance == pytest.approx(found.error_bound, rel=0.05)
    grown = BRUSSELATOR.finite_state_projection(certify=False, tolerance=1e-3)
    assert grown.error_bound <= 1e-3


@pytest.mark.parametrize("limits", [None, [60, 80]])
def test_no_bound_is_said_to_be_none(limits):
    with pytest.raises(TruncationError, match="certify=False"):
        BRUSSELATOR.finite_state_projection(limits)


def test_network_without_a_steady_state_is_found_out():
    with pytest.raises(TruncationError, match="no linear drift"):
        ReactionNetwork(["A -> 2 A", "A -> 0", "0 -> A"], rates=[2.0, 1.0, 1.0]
                        ).finite_state_projection(50)  # fmt: skip
    with pytest.raises(ValueError, match="never comes back"):
        ReactionNetwork(["0 -> A"], rates=[1.0]).finite_state_projection(50)


def test_steady_state_that_is_not_unique_is_refused():
    network = ReactionNetwork(["S + I -> 2 I", "I -> R"], rates=[2.0, 1.0])
    with pytest.raises(ValueError, match="not unique"):
        network.finite_state_projection(start={"S": 4, "I": 1})


@pytest.mark.parametrize("certify", [True, False])
@pytest.mark.parametrize(
    ("reactions", "limits"),
    [
        # a dead end, or a population that never dies; then two such populations
        (["S -> D", "S -> B", "B -> 2 B", "2 B -> B"], {"S": 1, "D": 1, "B": 30}),
        (["S -> B", "S -> C", "B -> 2 B", "2 B -> B", "C -> 2 C", "2 C -> C"],
         {"S": 1, "B": 30, "C": 30}),
    ],
)  # fmt: skip
def test_two_fates_are_refused_even_if_one_of_them_leads_out_of_the_box(reactions, limits, certify):
    network = ReactionNetwork(reactions, rates=[1.0, 1.0, 3.0, 1.0, 2.0, 1.0][: len(reactions)])
    with pytest.raises(ValueError, match="not unique"):
        network.finite_state_projection(limits, start={"S": 1}, certify=certify)


@pytest.mark.parametrize(("limit", "bounded"), [(5, False), (7, True), (12, True)])
def test_states_that_only_a_long_excursion_reaches_are_not_forgotten(limit, bounded):
    """C is made where A counts eight or more: states with it are never seen with A <= 5."""
    network = ReactionNetwork(
        ["0 -> A", "A -> 0", "8 A + D -> 8 A + C", "C -> D"], rates=[2.0, 1.0, 1e-4, 1e-3]
    )
    start = {"D": 1}
    exact = network.finite_state_projection({"A": 40, "C": 1, "D": 1}, start=start)
    assert exact.marginal("C")[1] > 0.5
    found = network.finite_state_projection(
        {"A": limit, "C": 1, "D": 1}, start=start, tolerance=math.inf
    )
    assert math.isfinite(found.error_bound) == bounded
    law = dict(zip(map(tuple, found.states.tolist()), found.probabilities, strict=True))
    states = map(tuple, exact.states.tolist())
    pairs = zip(states, exact.probabilities, strict=True)
    distance = sum(abs(value - law.get(state, 0.0)) for state, value in pairs)
    assert distance <= found.error_bound + 1e-6


def test_too_small_a_box_says_what_it_costs():
    with pytest.raises(TruncationError, match=r"A <= 6 costs up to .* by time 2"):
        BIRTH_DEATH.finite_state_projection(6, times=[0.1, 2.0])
    with pytest.raises(TruncationError, match=r"A <= 12 costs up to .* at steady state"):
        BIRTH_DEATH.finite_state_projection(12)


def test_box_that_cuts_a_conserved_network_is_not_called_exact():
    network = ReactionNetwork(["A -> B", "B -> A"], rates=[1.0, 3.0])
    exact = network.finite_state_projection(start={"A": 6})
    assert exact.error_bound == 0.0
    law = np.array([math.comb(6, k) * 0.25**k * 0.75 ** (6 - k) for k in range(7)])
    np.testing.assert_allclose(exact.marginal("B"), law, rtol=1e-10)
    cut = network.finite_state_projection({"A": 6, "B": 4}, start={"A": 6}, tolerance=math.inf)
    assert cut.error_bound > 2 * law[5:].sum()


# ------------------------------------------------------------------ reading off


def test_moments_of_a_law_in_time():
    found = GENE.finite_state_projection([1, 1, 80], start={"Off": 1}, times=[0.0, 0.5, 2.0])
    assert found.mean.shape == (3, 3)
    assert found.covariance.shape == (3, 3, 3)
    assert found.marginal("P").shape == (3, 81)
    np.testing.assert_allclose(found.moment([0, 1, 1]), found.moment({"On": 1, "P": 1}))
    expected = found.moment([0, 1, 1]) - found.mean[:, 1] * found.mean[:, 2]
    np.testing.assert_allclose(found.covariance[:, 1, 2], expected, atol=1e-9)
    on = 0.25 * (1 - np.exp(-2 * found.times))  # relaxes at α + β
    np.testing.assert_allclose(found.mean[:, 1], on, atol=1e-9)


@pytest.mark.parametrize("powers", [[1], {"Q": 1}, [0, 0, -1], [0, 0, 1.5]])
def test_bad_powers_are_refused(powers):
    found = GENE.finite_state_projection([1, 1, 60], start={"Off": 1}, times=[0.1])
    with pytest.raises(ValueError, match="allowed"):
        found.moment(powers)
    with pytest.raises(ValueError, match="name is 'Q'"):
        found.marginal("Q")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"limits": -1}, "limits is"),
        ({"limits": 2.5}, "limits"),
        ({"limits": [3, 4]}, "limits has 2 entries"),
        ({"limits": {"B": 3}}, "limits has the species B"),
        ({"limits": True}, "limits"),
        ({"limits": 5, "start": {"A": 6}}, "allowed are numbers >= start"),
        ({"start": {"B": 1}}, "species B"),
        ({"times": [2.0, 1.0]}, "increasing"),
        ({"times": []}, "times"),
        ({"tolerance": 0.0}, "tolerance is 0.0"),
        ({"limits": None, "tolerance": math.inf}, "tolerance infinite"),
        ({"certify": 1}, "certify is 1"),
        ({"max_states": 0}, "max_states is 0"),
        ({"limits": 50, "max_states": 40}, "51 states"),
        ({"limits": 10**9}, "a box of"),
    ],
)
def test_bad_projections_are_refused(arguments, words):
    good = {"limits": 60} | arguments
    with pytest.raises(ValueError, match=words):
        BIRTH_DEATH.finite_state_projection(good.pop("limits"), **good)


def test_extinction_that_may_never_come_is_no_steady_state():
    explosive = ReactionNetwork(["A -> 2 A", "A -> 0"], rates=[2.0, 1.0])
    with pytest.raises(TruncationError):
        explosive.finite_state_projection(40, start={"A": 5}, certify=False)
    escapes = explosive.finite_state_projection(
        40, start={"A": 5}, certify=False, tolerance=math.inf
    )
    assert escapes.error_bound == pytest.approx(2 * (1 - 0.5**5), rel=1e-6)  # gambler's ruin
    doomed = ReactionNetwork(["A -> 2 A", "A -> 0"], rates=[1.0, 2.0])
    assert doomed.finite_state_projection(40, start={"A": 5}, certify=False).mean[0] == 0
