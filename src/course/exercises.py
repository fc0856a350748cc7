"""Exercises that check the reader's function against theory and explain a wrong answer."""

from __future__ import annotations

import functools
import html
import importlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

__all__ = ["Checker", "Verdict", "check", "checker", "find"]


class Verdict(NamedTuple):
    """What a checker says of an answer.

    Attributes
    ----------
    passed : bool
        Whether the answer agrees with theory.
    message : str
        What was compared; for a wrong answer, what is wrong and where to look.
    """

    passed: bool
    message: str

    @classmethod
    def right(cls, message: str) -> Verdict:
        """A right answer."""
        return cls(True, message)

    @classmethod
    def wrong(cls, message: str) -> Verdict:
        """A wrong answer, with its explanation."""
        return cls(False, message)


class Checker(NamedTuple):
    """A registered check.

    Attributes
    ----------
    verdict : callable
        Maps the reader's function to a :class:`Verdict`.
    wrong : sequence of (callable, str)
        Plausible wrong answers, each with a fragment of the explanation it must get.
    """

    verdict: Callable[[Callable], Verdict]
    wrong: Sequence[tuple[Callable, str]]


_CHECKERS: dict[str, Checker] = {}


def checker(name: str, *, wrong: Sequence[tuple[Callable, str]]):
    """Register the decorated function as the checker of exercise ``name``.

    Parameters
    ----------
    name : str
        ``"part.number"``, such as ``"ntk.2"``.
    wrong : sequence of (callable, str)
        At least one plausible wrong answer, with a fragment of the message that explains it; the
        tests run them all.
    """
    if not wrong:
        raise ValueError(f"wrong is empty for {name!r}; give at least one plausible wrong answer")

    def register(verdict: Callable[[Callable], Verdict]):
        _CHECKERS[name] = Checker(verdict, tuple(wrong))
        return verdict

    return register


def find(name: str) -> Checker:
    """The checker of exercise ``name``.

    Raises
    ------
    ValueError
        If there is no such exercise; the message lists those that exist in the part.
    """
    part, dot, _ = name.partition(".")
    try:
        table = importlib.import_module(f"course.{part}.exercises").CHECKERS
    except ModuleNotFoundError:
        table = {}
    if not dot or name not in table:
        known = ", ".join(table) or "none in this part"
        raise ValueError(f"name is {name!r}; allowed are the book's exercises: {known}")
    importlib.import_module(f"course.{part}.exercises.{table[name]}")
    return _CHECKERS[name]


class _Result:
    def __init__(self, name: str, verdict: Verdict | None):
        self.name, self.verdict = name, verdict

    def __repr__(self) -> str:
        if self.verdict is None:
            return f"… {self.name}: no answer yet. Replace the body of the function, run again."
        return f"{'✓' if self.verdict.passed else '✗'} {self.name}: {self.verdict.message}"

    def _repr_html_(self) -> str:
        state = {None: "open", True: "right", False: "wrong"}
        passed = None if self.verdict is None else self.verdict.passed
        return f'<p class="check check--{state[passed]}">{html.escape(repr(self))}</p>'


def check(name: str, function: Callable) -> _Result:
    """Compare the reader's function with theory on fresh inputs, and explain a wrong answer.

    Parameters
    ----------
    name : str
        The exercise, such as ``"ntk.2"``.
    function : callable
        The reader's answer.

    Returns
    -------
    object
        Shows one line in a notebook; its attribute ``verdict`` is a :class:`Verdict`, or None
        while the function still returns None.

    Raises
    ------
    ValueError
        If the exercise does not exist or ``function`` cannot be called.
    """
    if not callable(function):
        raise ValueError(f"function is {function!r}; allowed is a function, without calling it")
    registered, returned = find(name), []

    @functools.wraps(function)
    def watched(*args, **kwargs):
        returned.append(function(*args, **kwargs))
        return returned[-1]

    try:
        verdict = registered.verdict(watched)
    except Exception as problem:  # whatever the reader's code raises is what they must hear of
        kind = type(problem).__name__
        verdict = Verdict.wrong(
            f"your function, or the use of its result, raises {kind}: {problem}"
        )
    if returned and all(value is None for value in returned):
        return _Result(name, None)
    return _Result(name, verdict)
