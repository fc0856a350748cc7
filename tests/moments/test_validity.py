"""The report against known failures, known edges, and closures that are good."""

import math
from importlib import import_module

import numpy as np
import pytest
from numpy.testing import assert_allclose

from course.moments.closed import SteadyStates
from course.moments.hierarchy import moment_equations
from course.moments.kinetics import ReactionNetwork
from course.moments.validity_report import (
    CHECKS,
    PHYSICAL,
    _relative_deviation,
    validity,
    validity_edge,
)

PAIRS = ReactionNetwork(["0 -> A", "2 A -> 0"], rates=[1.0, 0.5])
SCHLOEGL = ReactionNetwork(
    ["0 -> X", "X -> 0", "2 X -> 3 X", "3 X -> 2 X"], rates=[2.25, 6.75, 5.0, 1.0]
)
LOPSIDED = ReactionNetwork(SCHLOEGL.reactions, rates=[1.5, 8.6, 5.7, 1.0])
BRUSSELATOR = ReactionNetwork(
    ["2 X + Y -> 3 X", "X -> Y", "0 -> X", "X -> 0"], rates=[0.45, 2.0, 1.0, 1.0]
)
HUNT = ReactionNetwork(["0 -> X", "X + Y -> 2 Y", "Y -> 0", "0 -> Y"], rates=[0.5, 1, 1, 0.1])
GENE = ReactionNetwork(
    ["Off -> On", "On -> Off", "On -> On + M", "M -> 0"], rates=[0.5, 1.5, 20.0, 1.0]
)


def raised(report):
    return {alarm.check for alarm in report.alarms}


# --- Failures


def test_negative_variance_of_the_poisson_closure():
    row = validity(PAIRS, "poisson", [1.0], checks=PHYSICAL).rows[0]
    root = np.roots([4, -6, -4, 5]).real.max()
    assert_allclose(row.ending.mean, root, rtol=2e-3)
    assert_allclose(row.ending.variance, root + 1 - root**2, atol=3e-3)
    reasons = [alarm.reason for alarm in row.alarms if alarm.check == "positive"]
    assert len(reasons) == 2
    assert all("variance of A" in reason for reason in reasons)


def test_two_states_at_volume_one_and_the_truth_between_them():
    row = validity(SCHLOEGL, "normal", [1.0], checks=("unique", "distance")).rows[0]
    assert_allclose([state.mean[0] for state in row.stable], [0.37998, 3.00869], atol=1e-4)
    assert_allclose(row.exact.mean, 0.51442, atol=1e-4)
    assert row.exact.source == "certified projection"
    assert row.exact.error <= 1e-5
    assert [alarm.check for alarm in row.alarms] == ["unique", "distance"]
    assert "2 stable" in row.alarms[0].reason


@pytest.mark.parametrize(("low", "high", "edge"), [(1, 1.1, 1.05993), (19, 20, 19.36979)])
def test_window_of_the_bistable_network(low, high, edge):
    """The zeros of a discriminant, from sympy."""
    found = validity_edge(SCHLOEGL, "normal", low, high, accuracy=2e-3)
    assert_allclose(found, edge, rtol=1.1e-3)


def test_hopf_bifurcation_of_the_brusselator():
    """9.8343 and 1.4125 by Gaussian quadrature."""
    assert_allclose(validity_edge(BRUSSELATOR, "normal", 9.8, 9.9), 9.8343, rtol=1e-3)
    report = validity(BRUSSELATOR, "normal", [9.0, 11.0], checks=("unique", "steady"))
    assert raised(report) == {"unique", "steady"}
    quiet, loud = report.rows
    assert quiet.alarms == ()
    assert quiet.ending.fate == "settles"
    assert_allclose(quiet.ending.mean[0], 9.0, rtol=2e-3)
    assert loud.ending.fate == "oscillates"
    assert_allclose(loud.ending.period, 8.0, rtol=0.03)
    assert report.windows(("unique", "steady")) == [(9.0, 9.0)]


def test_a_bottleneck_is_no_oscillation():
    """Close to a fold the solution creeps past the ghost of a state, and settles far away."""
    row = validity(SCHLOEGL, "normal", [19.3], checks=("steady",)).rows[0]
    assert row.ending.fate == "settles"
    assert_allclose(row.ending.mean, 38.598, rtol=2e-3)
    assert row.alarms == ()


def test_divergence_says_when_and_why():
    report = validity(PAIRS, "normal", [1.0])
    ending = report.rows[0].ending
    assert ending.fate == "diverges"
    assert "time 1.4: ⟨A^2⟩ runs away" in ending.divergence
    assert raised(report) == {"finite", "positive", "unique"}
    assert report.rows[0].error is None
    assert report.rows[0].higher is None


def test_threshold_of_the_monostable_network():
    discriminant = math.sqrt(np.roots([64, -195, 12, 1]).real.max())
    assert_allclose(validity_edge(PAIRS, "normal", 1.7, 1.8), discriminant, rtol=1e-3)
    from_empty = validity_edge(PAIRS, "normal", 1.7, 1.8, check="finite", accuracy=4e-3)
    assert from_empty > discriminant + 0.01
    report = validity(PAIRS, "normal", [1.735], start=[2], checks=PHYSICAL)
    assert report.alarms == ()


def test_second_window_of_the_monostable_network_from_one_molecule():
    empty, one = (validity(PAIRS, "normal", [0.1, 0.5], start=[n], checks=PHYSICAL) for n in (0, 1))
    assert empty.raised("finite").tolist() == [0.1, 0.5]
    assert {alarm.volume for alarm in one.alarms} == {0.5}


def test_physical_and_in_agreement_and_wrong():
    report = validity(SCHLOEGL, "normal", [19.0])
    assert raised(report) == {"distance"}
    exact = SCHLOEGL.at_volume(19.0).finite_state_projection()
    row = report.rows[0]
    assert row.error > 1
    assert_allclose(row.error, abs(row.ending.mean[0] / exact.mean[0] - 1), rtol=1e-3)


def test_order_compares_with_the_next_one():
    row = validity(SCHLOEGL, "normal", [10.0], checks=("order",)).rows[0]
    three = moment_equations(SCHLOEGL.at_volume(10.0), 3).close("normal").solve([60.0])
    assert_allclose(row.higher.mean, three.mean[0], rtol=2e-3)
    assert row.alarms[0].reason == "orders 2 and 3 differ by 20 %"
    assert validity(SCHLOEGL, "normal", [10.0], checks=("order",), tolerance=0.3).alarms == ()


def test_every_failure_of_the_paper_is_found_unaided():
    """Each on a system where it really occurs; the truth beside it, by finite state projection."""
    negative = validity(PAIRS, "poisson", [1.0, 3.0])
    assert negative.raised("positive").tolist() == [1.0]
    assert "a stable state where the variance of A" in negative.alarms[0].reason
    two = validity(SCHLOEGL, "normal", [1.0])
    assert len(two.rows[0].stable) == 2
    starts = [SCHLOEGL.finite_state_projection(start=[n], times=[30.0]).mean[0, 0] for n in (0, 5)]
    assert_allclose(starts, two.rows[0].exact.mean[0], rtol=1e-4)
    false = validity(BRUSSELATOR, "normal", [12.0], checks=PHYSICAL)
    assert "oscillate for ever" in next(a.reason for a in false.alarms if a.check == "steady")
    window = validity(SCHLOEGL, "normal", [0.9, 1.2, 5.0, 19.0, 20.0], checks=PHYSICAL)
    assert window.windows() == [(1.2, 19.0)]
    oscillating = validity(BRUSSELATOR, "normal", [1.3, 4.0, 9.0, 11.0], checks=PHYSICAL)
    assert oscillating.windows() == [(4.0, 9.0)]
    threshold = validity(PAIRS, "normal", [1.0, 3.0, 30.0, 300.0], checks=PHYSICAL)
    assert threshold.windows() == [(3.0, 300.0)]
    inaccurate = validity(SCHLOEGL, "normal", [10.0])
    assert inaccurate.windows() == [(10.0, 10.0)]
    assert "130 % from the exact solution" in inaccurate.alarms[-1].reason


def test_simulation_where_the_projection_is_too_large():
    options = {"max_states": 50, "checks": ("distance",)}
    report = validity(BRUSSELATOR, "normal", [4.0], rng=np.random.default_rng(0), **options)
    row, known = report.rows[0], validity(BRUSSELATOR, "normal", [4.0], checks=("distance",))
    assert row.exact.source == "simulation"
    exact = known.rows[0].exact
    assert_allclose(row.exact.mean, exact.mean, rtol=5 * row.exact.error)
    assert_allclose(row.exact.deviation, exact.deviation, rtol=5 * row.exact.error)
    assert 0.005 < row.exact.error < 0.1
    assert "from simulation" in report.alarms[0].reason
    rough = validity(
        BRUSSELATOR, "normal", [4.0], rng=np.random.default_rng(0), tolerance=row.error - 1e-6,
        **options,
    )  # fmt: skip
    assert rough.alarms == ()  # above the tolerance, but not clear of the noise


def test_simulation_that_has_not_come_to_rest_is_not_taken(monkeypatch):
    module = import_module("course.moments.validity_report")

    exact, why = module._simulated(PAIRS.at_volume(5.0), [0], 0.5, np.random.default_rng(0))
    assert exact is None
    assert "still change after time 0.25" in why
    monkeypatch.setattr(module, "MAX_EVENTS", 3)
    exact, why = module._simulated(PAIRS.at_volume(5.0), [0], 50.0, np.random.default_rng(0))
    assert exact is None
    assert "3" in why


# --- No false alarms


@pytest.mark.parametrize(
    ("network", "volumes", "start"),
    [(PAIRS, [7.0, 100.0], [3]), (LOPSIDED, [50.0, 150.0], [4]), (HUNT, [70.0], [20, 20])],
)
def test_no_alarm_at_volumes_and_starts_that_chose_nothing(network, volumes, start):
    """Fixed before the report was run on them; the closure's whole path against simulation."""
    report = validity(network, "normal", volumes, start=start, rng=np.random.default_rng(1))
    assert report.alarms == ()
    assert all(row.error < 0.1 for row in report.rows)
    for volume in volumes:
        times = np.linspace(0.5, 8, 16)
        path = moment_equations(network.at_volume(volume), 2).close("normal").solve(times, start)
        runs = network.at_volume(volume).simulate(
            times, 400, start=start, rng=np.random.default_rng(2)
        )
        mean, stderr = runs.mean(axis=0), runs.std(axis=0) / 20
        assert (np.abs(path.mean - mean) < 0.1 * mean + 4 * stderr).all()


@pytest.mark.parametrize(
    ("network", "closure", "volumes", "options"),
    [
        (PAIRS, "normal", [3.0, 30.0], {}),
        (PAIRS, "lognormal", [20.0], {"start": [20]}),
        (PAIRS, "normal", [5.0], {"order": 3}),
        (LOPSIDED, "normal", [20.0, 320.0], {}),
        (HUNT, "normal", [50.0], {"start": [60, 20]}),
        (GENE, "normal", [1.0], {"start": {"Off": 1}}),
    ],
)
def test_no_alarm_where_closure_is_good(network, closure, volumes, options):
    report = validity(network, closure, volumes, **options)
    assert report.alarms == ()
    assert report.windows(CHECKS) == [(volumes[0], volumes[-1])]
    assert all(row.error < 0.1 for row in report.rows)
    assert str(report).endswith("no alarm")
    assert repr(report).endswith("alarms: none")


def test_linear_network_is_exact():
    row = validity(GENE, "zero", [1.0], start={"Off": 1}).rows[0]
    assert_allclose(row.ending.mean, [0.75, 0.25, 5.0], rtol=2e-3)
    assert_allclose(row.ending.variance[2], 30.0, rtol=5e-3)
    assert row.error < 5e-3


# --- Presentation and bad input


def test_table_plot_and_windows():
    report = validity(SCHLOEGL, "normal", [0.9, 2.0, 10.0, 30.0])
    assert report.windows() == [(2.0, 10.0)]
    assert report.raised("unique").tolist() == [0.9, 30.0]
    lines = str(report).splitlines()
    assert lines[1].split() == ["volume", "mean", "exact", "mean", "error", *CHECKS]
    assert lines[2].split()[0] == "0.9"
    assert lines[2].split().count("ALARM") == 3
    html = report._repr_html_()
    assert html.count("<tr>") == 5
    assert html.count("ALARM") == str(report).count("ALARM")
    fig = report.plot()
    assert [label.get_text() for label in fig.axes[1].get_yticklabels()] == list(CHECKS)
    with pytest.raises(ValueError, match="species is 'Z'"):
        report.plot("Z")
    with pytest.raises(ValueError, match="check is 'order!'"):
        report.raised("order!")
    with pytest.raises(ValueError, match="checks"):
        report.windows(("what",))


def test_exact_solution_out_of_reach_is_reported():
    report = validity(BRUSSELATOR, "normal", [5.0], checks=("distance",), max_states=50)
    row = report.rows[0]
    assert row.exact is None
    assert row.error is None
    assert row.alarms == ()
    assert "max_states = 50" in row.missing
    assert "no exact solution" in str(report)


def test_the_package_offers_the_report_whatever_was_imported_before():
    """The module has the name of its function, and Python binds it in the package."""
    package = import_module("course.moments")
    for _ in range(2):
        assert package.validity(PAIRS, "normal", [3.0], checks=("unique",)).alarms == ()


def test_relative_deviation():
    assert_allclose(_relative_deviation(*map(np.array, ([2.0], [4.0], [1.0], [2.0]))), 1.0)
    assert_allclose(_relative_deviation(*map(np.array, ([1.0], [9.0], [1.0], [2.0]))), 0.5)
    assert_allclose(_relative_deviation(*map(np.array, ([1.0], [-9.0], [1.0], [2.0]))), 1.0)
    assert_allclose(
        _relative_deviation(*map(np.array, ([1.0, 5.0], [9.0, 0], [1.0, 0], [0, 0]))), 0.0
    )


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (("X -> 0", "normal", [1.0]), {}, "network is 'X -> 0'"),
        ((PAIRS, "gauss", [1.0]), {}, "closure is 'gauss'"),
        ((PAIRS, "normal", []), {}, "volumes"),
        ((PAIRS, "normal", [2.0, 1.0]), {}, "volumes is"),
        ((PAIRS, "normal", [0.0]), {}, "volumes is"),
        ((PAIRS, "normal", [np.nan]), {}, "volumes"),
        ((PAIRS, "normal", [1.0]), {"order": 1}, "order is 1"),
        ((PAIRS, "normal", [1.0]), {"checks": ("sign",)}, "checks is 'sign'"),
        ((PAIRS, "normal", [1.0]), {"checks": ()}, "checks is empty"),
        ((PAIRS, "normal", [1.0]), {"tolerance": 0}, "tolerance is 0"),
        ((PAIRS, "normal", [1.0]), {"max_states": 0}, "max_states is 0"),
        ((PAIRS, "normal", [1.0]), {"rng": 1}, "rng is 1"),
        ((PAIRS, "normal", [1.0]), {"start": {"B": 1}}, "start"),
        ((PAIRS, "normal", [1.0]), {"start": [-1]}, "start"),
        ((PAIRS, "lognormal", [1.0]), {"start": [0]}, "divides"),
        ((GENE, "normal", [1.0]), {}, "give the counts at the start"),
    ],
)
def test_bad_input(arguments, options, words):
    with pytest.raises(ValueError, match=words):
        validity(*arguments, **options)


@pytest.mark.parametrize(
    ("low", "high", "options", "words"),
    [
        (2.0, 3.0, {}, "no alarm at both"),
        (0.5, 1.0, {}, "an alarm at both"),
        (3.0, 1.0, {}, "volumes is"),
        (1.0, 3.0, {"check": "distance"}, "check is 'distance'"),
        (1.0, 3.0, {"accuracy": 0}, "accuracy"),
    ],
)
def test_bad_bracket(low, high, options, words):
    with pytest.raises(ValueError, match=words):
        validity_edge(PAIRS, "normal", low, high, **options)


def test_no_stable_state_in_an_incomplete_list_is_no_proof():
    """What settles is recognised by its rest where the list of states may miss some."""
    from course.moments.validity_report import _ending

    system = moment_equations(PAIRS.at_volume(5.0), 2).close("normal")
    ending = _ending(system, None, SteadyStates((), False), 10.0)
    assert ending.fate == "settles"
    assert_allclose(ending.mean, 5.101673, rtol=1e-5)


def test_a_solution_that_is_still_under_way_is_not_said_to_rest():
    from course.moments.validity_report import _ending

    system = moment_equations(PAIRS.at_volume(5.0), 2).close("normal")
    assert _ending(system, None, SteadyStates((), False), 1e-3).fate == "wanders"


def test_default_start_suits_closures_that_divide():
    report = validity(PAIRS, "lognormal", [20.0], checks=PHYSICAL)
    assert report.alarms == ()
