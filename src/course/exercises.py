"""Exercises that check the reader's function against theory and explain a wrong answer."""

from __future__ import annotations

import functools
import html
import importlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Checker", "Verdict", "check", "checker", "close", "find"]


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


def close(value, expected, tolerance: float = 1e-8) -> bool:
    """Whether an answer agrees with the expected numbers.

    Parameters
    ----------
    value : array_like
        The answer. A tensor is detached. For one expected number an array of one entry will do;
        otherwise the shapes must be equal.
    expected : array_like
        Finite numbers. Where one is zero, only zero agrees.
    tolerance : float
        Largest error of each entry, relative to the expected one.

    Returns
    -------
    bool
        False also for answers that are complex, NaN or infinite, or no numbers at all.
    """
    try:
        found = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        expected = np.asarray(expected, dtype=np.float64)
        if found.dtype.kind not in "biuf":
            return False
    except ValueError:  # a ragged sequence is no array
        return False
    if expected.ndim == 0 and found.size == 1:
        found = found.reshape(())
    if found.shape != expected.shape or not np.isfinite(found).all():
        return False
    return bool((np.abs(found - expected) <= tolerance * np.abs(expected)).all())


def find(name: str) -> Checker:
    """The checker of exercise ``name``.

    Raises
    ------
    ValueError
        If there is no such exercise; the message lists those that exist in the part.
    """
    part = name.partition(".")[0] if isinstance(name, str) else ""
    module, table = f"course.{part}.exercises", {}
    if part.isidentifier():
        try:
            table = importlib.import_module(module).CHECKERS
        except ModuleNotFoundError as problem:
            if problem.name not in (f"course.{part}", module):
                raise
    if not isinstance(name, str) or name not in table:
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
