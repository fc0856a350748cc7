"""Exercises: right, wrong, unanswered and broken answers each get their own reply."""

import pytest

from course import exercises
from course.exercises import Verdict, check, checker


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
