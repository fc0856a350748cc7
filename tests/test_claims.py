"""Each kind of claim holds when it should, fails when it should, and says when it cannot tell."""

import json
import subprocess
import sys

import nbformat
import numpy as np
import pytest

from course import claims
from course.claims import ClaimFailed, evaluate
from course.estimates import Estimate


def outcome(**changes):
    arguments = {
        "name": "chapter.slug",
        "statement": "The measured value is one.",
        "source": "jacot2018",
        "predicted": 1.0,
        "measured": 1.01,
        "tolerance": 0.05,
        "because": "finite size moves it",
    } | changes
    name, statement = arguments.pop("name"), arguments.pop("statement")
    return evaluate(name, statement, **arguments)


CURVE = {
    "kind": "curve",
    "predicted": np.zeros(4),
    "measured": np.array([0.1, -0.2, 0.0, 0.15]),
    "stderr": np.full(4, 0.1),
    "seeds": 10,
    "tolerance": 4.0,
    "rejects": ("a line", np.array([1.0, 2.0, 3.0, 4.0])),
}
ORDER = {"kind": "order", "predicted": "increasing", "tolerance": 0.0}
BOUND = {"kind": "bound", "sense": "below", "predicted": 1e-8, "tolerance": 0.0}


def test_a_value_within_tolerance_holds():
    record = outcome()
    assert record["passed"]
    assert record["deviation"] == pytest.approx(0.01)


@pytest.mark.parametrize("measured", [1.06, 0.94, np.nan, np.inf])
def test_a_value_outside_tolerance_fails_with_the_numbers(measured):
    with pytest.raises(ClaimFailed, match=r"chapter\.slug"):
        outcome(measured=measured)


def test_a_standard_error_above_the_tolerance_is_inconclusive():
    with pytest.raises(ClaimFailed, match="inconclusive"):
        outcome(stderr=0.06, seeds=9)


@pytest.mark.parametrize(
    ("alternative", "stderr"),
    [(1.05, None), (1.08, 0.02), (0.97, 0.001)],
    ids=["within tolerance", "within four standard errors", "within tolerance of the data"],
)
def test_an_alternative_that_the_data_allow_fails(alternative, stderr):
    with pytest.raises(ClaimFailed, match="not ruled out"):
        outcome(rejects=("other", alternative), stderr=stderr, seeds=8 if stderr else None)


def test_an_alternative_beyond_tolerance_and_four_standard_errors_is_rejected():
    record = outcome(rejects=("other", 1.2), stderr=0.02, seeds=8)
    assert record["rejects"] == ["other", 1.2]


def test_an_exponent_needs_its_error():
    with pytest.raises(ValueError, match="stderr"):
        outcome(kind="exponent")
    assert outcome(kind="exponent", measured=Estimate(1.02, 0.01, 6))["seeds"] == 6
    with pytest.raises(ClaimFailed):
        outcome(kind="exponent", measured=Estimate(1.2, 0.01, 6))


def test_a_curve_holds_and_fails_by_its_largest_deviation():
    assert outcome(**CURVE)["deviation"] == pytest.approx(2.0)
    with pytest.raises(ClaimFailed, match="5 standard errors"):
        outcome(**CURVE | {"measured": np.array([0.5, 0, 0, 0.0])})


def test_a_curve_allows_a_stated_systematic_error_only():
    far = CURVE | {"measured": np.array([0.5, 0, 0, 0.1]), "systematic": 0.2}
    assert outcome(**far)["deviation"] == pytest.approx(3.0)
    with pytest.raises(ClaimFailed):
        outcome(**far | {"systematic": 0.05})


def test_a_curve_too_noisy_to_reject_anything_fails():
    with pytest.raises(ClaimFailed, match="not ruled out"):
        outcome(**CURVE | {"stderr": np.full(4, 10.0)})
    with pytest.raises(ValueError, match="rejected alternative"):
        outcome(**CURVE | {"rejects": None})


def test_a_bound_holds_only_beyond_four_standard_errors():
    assert outcome(**BOUND, measured=1e-12)["passed"]
    with pytest.raises(ClaimFailed, match="not below"):
        outcome(**BOUND, measured=1e-7)
    with pytest.raises(ClaimFailed, match="inconclusive"):
        outcome(**BOUND, measured=5e-9, stderr=4e-9, seeds=7)
    above = BOUND | {"sense": "above", "predicted": 2.0}
    assert outcome(**above, measured=3.0, stderr=0.2, seeds=7)["passed"]
    with pytest.raises(ClaimFailed, match="not above"):
        outcome(**above, measured=1.0)
    with pytest.raises(ClaimFailed, match="inconclusive"):
        outcome(**above, measured=2.7, stderr=0.2, seeds=7)


def test_no_tolerance_hides_a_violated_bound():
    with pytest.raises(ValueError, match="hide"):
        outcome(**BOUND | {"tolerance": 1.0}, measured=0.5)


def test_a_record_is_plain_json_and_has_a_sense_for_bounds_only():
    records = [
        outcome(tried=np.int64(3), rejects=("b", 3), comes_out=True),
        outcome(**CURVE),
        outcome(**ORDER, measured=[1.0, 2.0]),
        outcome(**BOUND, measured=1e-12),
    ]
    assert [record["sense"] for record in records] == [None, None, None, "below"]
    assert json.loads(json.dumps(records[0], allow_nan=False))["tried"] == 3


def test_an_order_holds_only_if_every_step_is_clear():
    assert outcome(**ORDER, measured=[1.0, 2.0, 4.0])["passed"]
    with pytest.raises(ClaimFailed, match="step"):
        outcome(**ORDER, measured=[1.0, 3.0, 2.0])
    with pytest.raises(ClaimFailed, match="inconclusive"):
        outcome(**ORDER, measured=Estimate(np.array([1.0, 2.0]), np.array([0.3, 0.3]), 9))
    with pytest.raises(ClaimFailed, match="step"):
        outcome(**ORDER | {"predicted": "decreasing"}, measured=[1.0, 2.0])


def test_an_order_watches_its_least_certain_step():
    # The smaller gap is sharp, the larger one is lost in noise: still inconclusive.
    noisy = Estimate(np.array([1.0, 1.1, 2.0]), np.array([0.001, 0.001, 0.8]), 9)
    with pytest.raises(ClaimFailed, match="inconclusive"):
        outcome(**ORDER, measured=noisy)


def test_a_statement_that_does_not_come_out_is_recorded_as_such():
    record = outcome(measured=2.0, stderr=0.01, seeds=6, comes_out=False)
    assert not record["comes_out"]
    with pytest.raises(ClaimFailed, match="do not contradict"):
        outcome(comes_out=False)
    with pytest.raises(ClaimFailed, match="do not contradict"):
        outcome(measured=1.1, stderr=0.03, seeds=6, comes_out=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "No Slug"}, "name"),
        ({"because": ""}, "because"),
        ({"statement": "short"}, "statement"),
        ({"source": ()}, "source"),
        ({"kind": "guess"}, "kind"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"tolerance": np.inf}, "tolerance"),
        ({"stderr": 0.01}, "seeds"),
        ({"stderr": 0.01, "seeds": 4}, "at least 5"),
        ({"stderr": 0.0, "seeds": 9}, "bit by bit"),
        ({"measured": 1.0, "stderr": 0.01, "seeds": 9}, "different code"),
        ({"measured": [1.0, 2.0]}, "curve"),
        ({"measured": []}, "empty"),
        ({"tried": 0}, "tried"),
        ({"systematic": 0.1}, "systematic"),
        (BOUND | {"sense": None, "measured": 0.0}, "sense"),
        (ORDER | {"predicted": 1.0, "measured": [1.0, 2.0]}, "increasing"),
        ({"predicted": np.nan}, "predicted"),
        ({"predicted": 1j}, "predicted"),
        ({"predicted": np.array(1j)}, "predicted"),
        ({"predicted": "one"}, "predicted"),
        ({"measured": "1.0"}, "measured"),
        ({"measured": [[1.0], [1.0, 2.0]]}, "measured"),
        ({"rejects": ("x", np.inf)}, "finite"),
        ({"rejects": ("x", np.nan)}, "finite"),
        ({"rejects": ("x",)}, "rejects"),
        ({"rejects": 2.0}, "rejects"),
        ({"rejects": "xy"}, "rejects"),
        ({"rejects": (2.0, "x")}, "rejects"),
        ({"tolerance": "a"}, "tolerance"),
        ({"tolerance": True}, "tolerance"),
        ({"tolerance": np.ones(1)}, "tolerance"),
        ({"source": None}, "source"),
        ({"equation": 3}, "equation"),
        ({"tried": True}, "tried"),
        ({"tried": 2.0}, "tried"),
        ({"seeds": "many"}, "seeds"),
        ({"systematic": "a"}, "systematic"),
        ({"sense": "below"}, "sense"),
        (ORDER | {"sense": "below", "measured": [1.0, 2.0]}, "sense"),
        (ORDER | {"predicted": np.array([1.0, 2.0]), "measured": [1.0, 2.0]}, "increasing"),
    ],
)
def test_a_claim_that_cannot_be_tested_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        outcome(**changes)


@pytest.mark.parametrize(
    "changes",
    [{}, {"stderr": 0.013, "seeds": 8, "rejects": ("b", 3.0)}, CURVE, ORDER | {"measured": [1, 2]}],
)
def test_measured_digits_stand_inside_the_marker_only(changes):
    # The same claim with another measurement shows the same text outside ⟨…⟩.
    import re

    def visible(record):
        shown = claims._line(record) + claims._card(record)
        return re.sub("⟨[^⟩]*⟩", "⟨⟩", shown)

    measured = np.asarray(changes.get("measured", 1.01))
    first, second = outcome(**changes), outcome(**changes | {"measured": measured * 1.001})
    assert first["measured"] != second["measured"]
    assert visible(first) == visible(second)


@pytest.mark.parametrize(
    ("value", "stderr", "shown"),
    [
        (0.439213, 0.00512, "0.4392 ± 0.0051"),
        (-123.456, 2.34, "\N{MINUS SIGN}123.5 ± 2.3"),
        (51234.0, 300.0, "51234 ± 3e+02"),
    ],
)
def test_a_measured_value_is_shown_to_the_second_digit_of_its_error(value, stderr, shown):
    record = outcome(predicted=value, measured=value * (1 + 1e-9), stderr=stderr, seeds=9,
                     tolerance=1000.0)  # fmt: skip
    assert claims.describe(record)["measured"] == f"⟨{shown}⟩"


def notebook_with(*records):
    outputs = [
        nbformat.v4.new_output("display_data", {}, metadata={claims.METADATA_KEY: record})
        for record in records
    ]
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=outputs)])


def listed(folder):
    return subprocess.run(
        [sys.executable, "-m", "course.claims", str(folder)], capture_output=True, text=True
    )


def test_the_command_prints_every_record_as_a_json_line(tmp_path):
    (tmp_path / "part").mkdir()
    records = [outcome(), outcome(name="chapter.other", **ORDER, measured=[1.0, 2.0])]
    nbformat.write(notebook_with(*records), tmp_path / "part" / "chapter.ipynb")
    result = listed(tmp_path)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["name"] for line in lines] == ["chapter.slug", "chapter.other"]
    assert all(tuple(line) == claims.FIELDS for line in lines)
    assert lines[0]["chapter"] == "part/chapter"


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (lambda: [outcome(), outcome()], "occurs 2 times"),
        (lambda: [outcome() | {"passed": False}], "did not pass"),
        (lambda: [outcome() | {"rejects": ["x", np.inf]}], "no plain JSON"),
        (lambda: [], "no claim found"),
    ],
)
def test_the_command_fails_on_bad_ledgers(tmp_path, records, message):
    nbformat.write(notebook_with(*records()), tmp_path / "chapter.ipynb")
    result = listed(tmp_path)
    assert result.returncode == 1
    assert message in result.stderr


def test_the_command_names_a_missing_folder(tmp_path):
    result = listed(tmp_path / "nowhere")
    assert result.returncode == 2
    assert "nowhere" in result.stderr


def test_a_claim_outside_a_notebook_prints_its_line(capsys):
    claims.claim(
        "chapter.slug", "One is about one.", source="derived", predicted=1.0, measured=1.001,
        tolerance=0.01, because="rounding of the third digit",
    )  # fmt: skip
    assert capsys.readouterr().out.startswith("✓ chapter.slug · predicted 1 · measured ⟨1.001⟩")
