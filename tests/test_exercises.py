"""Exercises: right, wrong, unanswered and broken answers each get their own reply."""

import math

import numpy as np
import pytest
import torch

import course
from course import exercises
from course.exercises import Verdict, check, checker, close


@pytest.fixture
def double(monkeypatch):
    """A checker of x ↦ 2x, known as ``ntk.1`` for the length of a test."""
    registered = {}
    monkeypatch.setattr(exercises, "_CHECKERS", registered)

    @checker("ntk.1", wrong=[(lambda x: x, "you return 3")])
    def verdict(answer):
        got = answer(3)
        if got == 6:
            return Verdict.right("twice the input")
        return Verdict.wrong(f"at 3 you return {got}, the double is 6")

    monkeypatch.setattr(exercises, "find", lambda name: registered[name])


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(
    ("answer", "passed", "fragment"),
    [
        (lambda x: 2 * x, True, "✓ ntk.1: twice"),
        (lambda x: x, False, "✗ ntk.1: at 3 you return 3"),
        (lambda x: 1 / 0, False, "raises ZeroDivisionError"),
        (lambda x, y: x, False, "raises TypeError"),
        (lambda x: None, None, "no answer yet"),
    ],
)
def test_check_replies(answer, passed, fragment):
    result = check("ntk.1", answer)
    assert (None if result.verdict is None else result.verdict.passed) is passed
    assert fragment in repr(result)
    assert "check--" in result._repr_html_()


def test_unknown_exercises_are_named():
    with pytest.raises(ValueError, match=r"ntk\.99.*allowed are.*ntk\.1"):
        check("ntk.99", abs)
    with pytest.raises(ValueError, match="nowhere"):
        check("nowhere.1", abs)
    with pytest.raises(ValueError, match="without calling it"):
        check("ntk.1", 3.0)


def test_a_checker_needs_a_wrong_answer():
    with pytest.raises(ValueError, match="wrong answer"):
        checker("ntk.1", wrong=[])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2 * (1 + 9e-9), 2),
        (-2 * (1 - 9e-9), -2),
        (np.array([[2.0]]), 2.0),
        (torch.tensor(2.0, dtype=torch.float64, requires_grad=True), 2.0),
        (0, 0.0),
        ([[1, 2], [3, 4]], np.array([[1.0, 2.0], [3.0, 4.0]])),
    ],
)
def test_close_accepts(value, expected):
    assert close(value, expected) is True


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2 * (1 + 2e-8), 2),
        (-2, 2),
        (1e-300, 0.0),
        (math.nan, 2.0),
        (math.inf, 2.0),
        (2 + 0j, 2.0),
        (None, 2.0),
        ("2", 2.0),
        ([2.0, 2.0], 2.0),
        ([[1.0, 2.0]], [1.0, 2.0]),
        (1.0, [1.0, 1.0]),
        ([1.0, [2.0]], [1.0, 2.0]),
        ([1e9, 1.01], [1e9, 1.0]),
    ],
)
def test_close_refuses(value, expected):
    assert close(value, expected) is False


def test_close_has_the_tolerance_it_is_given():
    assert close(1.005, 1.0, 1e-2)
    assert not close(1.005, 1.0, 1e-3)


@pytest.mark.parametrize("name", [3, None, ["ntk.1"], ".1", "", "ntk", "..", "claims.1"])
def test_names_that_cannot_be_exercises_are_refused(name):
    with pytest.raises(ValueError, match="name is"):
        check(name, abs)


def test_a_part_that_lacks_a_dependency_says_which(monkeypatch, tmp_path):
    part = tmp_path / "lacking"
    part.mkdir()
    (part / "__init__.py").touch()
    (part / "exercises.py").write_text("import no_such_dependency\n")
    monkeypatch.setattr(course, "__path__", [*course.__path__, str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        check("lacking.1", abs)
