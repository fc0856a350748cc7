"""Claims: tested statements, recorded where they are made.

``claim(...)`` compares a predicted with a measured value, raises :class:`ClaimFailed` when they
disagree or when the data cannot tell, and records the comparison in the notebook's output. The
book's ledger and ``python -m course.claims chapters`` read those records back.
"""

from __future__ import annotations

import argparse
import html
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from course.estimates import Estimate

__all__ = ["FIELDS", "KINDS", "ClaimFailed", "claim", "evaluate", "main", "stored"]

KINDS = ("value", "exponent", "curve", "bound", "order")
FIELDS = (
    "name", "chapter", "statement", "equation", "source", "kind", "predicted", "measured",
    "stderr", "tolerance", "because", "rejects", "seeds", "tried", "passed", "comes_out",
    "systematic", "sense",
)  # fmt: skip
METADATA_KEY = "course_claim"
SIGMAS = 4.0
"""A rejected alternative, a bound and an order must be clear by this many standard errors."""

_NAME = re.compile(r"[a-z0-9_]+\.[a-z0-9-]+")


class ClaimFailed(AssertionError):
    """The measured value contradicts the claim, or cannot decide it."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _array(name: str, value) -> np.ndarray:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        given = np.asarray(value)
        _require(given.dtype.kind not in "cSUmM", f"it is of type {given.dtype}")
        array = given.astype(np.float64)
    except (TypeError, ValueError) as problem:
        raise ValueError(
            f"{name} is {value!r}; allowed are real numbers and arrays of them: {problem}"
        ) from problem
    _require(array.size > 0, f"{name} is empty; allowed are numbers and non-empty arrays")
    return array


def _is_real(value) -> bool:
    kinds = int | float | np.integer | np.floating
    return isinstance(value, kinds) and not isinstance(value, bool) and bool(np.isfinite(value))


def _is_count(value) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= 1


def _plain(array: np.ndarray | None) -> float | list | None:
    """JSON form with eight significant digits."""
    if array is None:
        return None
    if array.ndim:
        return [_plain(entry) for entry in array]
    return float(f"{float(array):.8g}")


def _number(value: float) -> str:
    return f"{value:.5g}".replace("-", "\N{MINUS SIGN}")


def _with_error(value: float, stderr: float) -> str:
    """Value and error, both to the second digit of the error: ``0.4392 ± 0.0051``."""
    decimals = 1 - math.floor(math.log10(stderr))
    if not 0 <= decimals <= 8:
        return f"{_number(value)} ± {stderr:.2g}"
    return f"{value:.{decimals}f} ± {stderr:.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def _check_words(name, statement, source, because, kind, equation, tried, sense) -> None:
    _require(
        isinstance(name, str) and _NAME.fullmatch(name) is not None,
        f"name is {name!r}; allowed is 'chapter.what-is-claimed' in lower case",
    )
    for label, text in (("statement", statement), ("because", because)):
        _require(
            isinstance(text, str) and len(text.split()) >= 3,
            f"{label} is {text!r}; allowed is a sentence of at least three words",
        )
    keys = (source,) if isinstance(source, str) else source
    _require(
        isinstance(keys, tuple | list)
        and len(keys) > 0
        and all(isinstance(key, str) and key for key in keys),
        f"source is {source!r}; allowed are bibliography keys, or 'derived'",
    )
    _require(
        isinstance(kind, str) and kind in KINDS,
        f"kind is {kind!r}; allowed are {', '.join(KINDS)}",
    )
    _require(
        equation is None or (isinstance(equation, str) and equation != ""),
        f"equation is {equation!r}; allowed are the label of an equation, and None",
    )
    _require(
        _is_count(tried), f"tried is {tried!r}; allowed is the number of settings tried, 1 or more"
    )
    if kind == "bound":
        _require(
            isinstance(sense, str) and sense in ("below", "above"),
            f"sense is {sense!r}; a bound is 'below' or 'above'",
        )
    else:
        _require(sense is None, f"sense is {sense!r}; it is allowed for kind 'bound' only")


def _check_numbers(kind, predicted, measured, stderr, seeds, tolerance, systematic) -> None:
    if kind == "bound":
        _require(
            _is_real(tolerance) and tolerance == 0,
            f"tolerance is {tolerance!r}; a bound has none, since one would hide that it is "
            "violated: state the bound that should hold as predicted",
        )
    floor = "at least 0" if kind in ("bound", "order") else "above 0"
    _require(
        _is_real(tolerance) and (tolerance > 0 or (tolerance == 0 and kind in ("bound", "order"))),
        f"tolerance is {tolerance!r}; allowed is a finite number {floor} for kind {kind!r}",
    )
    _require(
        seeds is None or _is_count(seeds),
        f"seeds is {seeds!r}; allowed is the number of independent seeds",
    )
    if kind in ("exponent", "curve"):
        _require(stderr is not None, f"stderr is None; kind {kind!r} needs a standard error")
    if stderr is not None:
        _require(
            seeds is not None and seeds >= 5,
            f"seeds is {seeds!r}; a standard error needs at least 5 independent seeds",
        )
        _require(
            bool(np.isfinite(stderr).all() and (stderr > 0).all()),
            f"stderr is {stderr}; allowed are positive numbers (0 means that the seeds agree "
            "bit by bit, so they are not independent)",
        )
        if kind in ("value", "exponent", "curve"):
            _require(
                not np.array_equal(predicted, measured),
                "predicted and measured agree to the last bit although measured has a standard "
                "error; they must come from different code",
            )
    if kind == "curve":
        _require(
            predicted.ndim == 1 and predicted.shape == measured.shape == np.shape(stderr),
            f"predicted, measured and stderr have shapes {predicted.shape}, {measured.shape} and "
            f"{np.shape(stderr)}; a curve needs three one-dimensional arrays of one shape",
        )
    elif kind == "order":
        _require(
            measured.ndim == 1 and len(measured) >= 2,
            f"measured has shape {measured.shape}; an order needs two or more values in a row",
        )
        _require(
            stderr is None or np.shape(stderr) == measured.shape,
            f"stderr has shape {np.shape(stderr)}; allowed is that of measured, {measured.shape}",
        )
    else:
        _require(
            predicted.ndim == measured.ndim == np.ndim(stderr if stderr is not None else 0) == 0,
            f"predicted, measured and stderr must be single numbers for kind {kind!r}; "
            "use kind 'curve' for arrays",
        )
    _require(
        _is_real(systematic) and systematic >= 0 and (systematic == 0 or kind == "curve"),
        f"systematic is {systematic!r}; allowed is a number of at least 0, for kind 'curve' only",
    )


def _reduce(kind, predicted, measured, stderr, sense, systematic):
    """Reduce a claim to (measured, predicted, stderr), each one number on one scale."""
    if kind == "curve":
        excess = np.maximum(np.abs(measured - predicted) - systematic, 0.0)
        return float((excess / stderr).max()), 0.0, None
    if kind == "order":
        sign = 1.0 if sense == "increasing" else -1.0
        gaps = sign * np.diff(measured)
        if stderr is None:
            return float(gaps.min()), 0.0, None
        errors = np.hypot(stderr[1:], stderr[:-1])
        tightest = int(np.argmin(gaps / errors))
        return float(gaps[tightest]), 0.0, float(errors[tightest])
    return float(measured), float(predicted), None if stderr is None else float(stderr)


def _verdict(kind, value, target, error, tolerance, sense) -> tuple[bool, str]:
    """Whether the claim holds, and if not, why."""
    error = error or 0.0
    if not np.isfinite(value):
        return False, "the measured value is not finite"
    if kind == "curve":
        return value <= tolerance, f"the largest deviation is {value:.3g} standard errors"
    if kind == "order":
        if value <= tolerance:
            return False, f"the smallest step is {value:.4g}, not above {tolerance:.4g}"
        return value > SIGMAS * error, (
            f"inconclusive: a step of {value:.4g} is within {SIGMAS:g} standard errors of zero"
        )
    if kind == "bound":
        room = (target - value) if sense == "below" else (value - target)
        if room < 0:
            return False, f"{value:.6g} is not {sense} {target:.6g}"
        return room >= SIGMAS * error, (
            f"inconclusive: {value:.6g} is {sense} {target:.6g}, but within {SIGMAS:g} standard "
            "errors of it"
        )
    if error > tolerance:
        return False, (
            f"inconclusive: the standard error {error:.4g} exceeds the tolerance {tolerance:.4g}"
        )
    return abs(value - target) <= tolerance, (
        f"measured {value:.6g} differs from predicted {target:.6g} by {abs(value - target):.3g}"
    )


def _alternative(rejects) -> tuple[str, np.ndarray]:
    """The label and the value of a rejected theory."""
    _require(
        isinstance(rejects, tuple | list)
        and len(rejects) == 2
        and isinstance(rejects[0], str)
        and rejects[0] != "",
        f"rejects is {rejects!r}; allowed is a pair of words and a value",
    )
    value = _array("rejects", rejects[1])
    _require(bool(np.isfinite(value).all()), f"rejects is {rejects!r}; its value must be finite")
    return rejects[0], value


def _rejection(kind, label, alternative, measured, stderr, value, error, tolerance, systematic):
    """Raise unless the alternative is ruled out; return the alternative's distance."""
    if kind == "curve":
        _require(
            alternative.shape == measured.shape,
            f"rejects has a curve of shape {alternative.shape}; allowed is {measured.shape}",
        )
        excess = np.maximum(np.abs(measured - alternative) - systematic, 0.0) / stderr
        distance, needed = float(excess.max()), max(tolerance, SIGMAS)
    else:
        _require(alternative.ndim == 0, "rejects must carry a single number for this kind")
        distance = abs(value - float(alternative))
        needed = max(tolerance, SIGMAS * (error or 0.0))
    if not distance > needed:
        raise ClaimFailed(
            f"the alternative {label!r} is not ruled out: it lies {distance:.4g} from the data, "
            f"needed is more than {needed:.4g}"
        )
    return distance


def evaluate(
    name, statement, *, source, predicted, measured, stderr=None, seeds=None, tolerance=0.0,
    because, rejects=None, kind="value", equation=None, tried=1, systematic=0.0, sense=None,
    comes_out=True,
) -> dict:  # fmt: skip
    """Test a claim and return its record; the parameters are those of :func:`claim`."""
    _check_words(name, statement, source, because, kind, equation, tried, sense)
    if isinstance(measured, Estimate):
        _require(stderr is None and seeds is None, "stderr and seeds come with the Estimate")
        measured, stderr, seeds = measured
    if kind == "order":
        _require(
            isinstance(predicted, str) and predicted in ("increasing", "decreasing"),
            f"predicted is {predicted!r}; an order is 'increasing' or 'decreasing'",
        )
        direction, predicted_record, predicted = predicted, predicted, np.zeros(())
    else:
        predicted = _array("predicted", predicted)
        direction, predicted_record = sense, _plain(predicted)
    measured = _array("measured", measured)
    stderr = None if stderr is None else _array("stderr", stderr)
    _require(bool(np.isfinite(predicted).all()), "predicted is not finite")
    _check_numbers(kind, predicted, measured, stderr, seeds, tolerance, systematic)
    _require(
        kind != "curve" or rejects is not None,
        "rejects is None; a curve needs a rejected alternative, since large enough errors agree "
        "with any curve",
    )
    _require(
        comes_out or kind in ("value", "exponent", "curve"),
        f"comes_out=False is allowed for kinds value, exponent and curve, not {kind!r}",
    )
    if not np.isfinite(measured).all():
        raise ClaimFailed(f"{name}: the measured value is not finite: {measured}")
    value, target, error = _reduce(kind, predicted, measured, stderr, direction, systematic)
    passed, why = _verdict(kind, value, target, error, tolerance, direction)
    if comes_out and not passed:
        raise ClaimFailed(f"{name}: {why} (tolerance {tolerance:.4g}). {statement}")
    if not comes_out:
        clear = abs(value - target) > max(tolerance, SIGMAS * (error or 0.0))
        if passed or not clear:
            raise ClaimFailed(
                f"{name} is declared not to come out, but the data do not contradict it: {why}"
            )
    distance = None
    if rejects is not None:
        label, alternative = _alternative(rejects)
        distance = _rejection(
            kind, label, alternative, measured, stderr, value, error, tolerance, systematic
        )
        rejects = [label, _plain(alternative)]
    record = {
        "name": name,
        "statement": statement,
        "equation": equation,
        "source": [source] if isinstance(source, str) else list(source),
        "kind": kind,
        "predicted": predicted_record,
        "measured": _plain(measured),
        "stderr": _plain(stderr),
        "tolerance": float(tolerance),
        "systematic": float(systematic),
        "sense": sense,
        "because": because,
        "rejects": rejects,
        "seeds": None if seeds is None else int(seeds),
        "tried": int(tried),
        "passed": True,
        "comes_out": bool(comes_out),
        "deviation": _plain(np.asarray(abs(value - target))),
        "rejected_distance": _plain(np.asarray(distance)) if distance is not None else None,
    }
    json.dumps(record, allow_nan=False)  # a record is plain JSON, or an error here
    return record


def describe(record: dict) -> dict[str, str]:
    """Words for the parts of a record; measured digits stand inside the marker ⟨…⟩ only."""
    kind, rejects = record["kind"], record["rejects"]
    deviation = f"⟨{record['deviation']:.2g}⟩"
    if kind == "curve":
        words = {
            "predicted": f"a curve of {len(record['predicted'])} points",
            "measured": f"within {deviation} standard errors of it",
            "tolerance": f"{_number(record['tolerance'])} standard errors",
        }
        if record["systematic"]:
            words["tolerance"] += f" beyond {_number(record['systematic'])}"
    elif kind == "order":
        words = {
            "predicted": f"{record['predicted']} over {len(record['measured'])} values",
            "measured": f"smallest step {deviation}",
            "tolerance": f"{SIGMAS:g} standard errors" if record["stderr"] else "none",
        }
    else:
        value, stderr = record["measured"], record["stderr"]
        digits = _number(value) if stderr is None else _with_error(value, stderr)
        relation = {"below": "at most ", "above": "at least "}.get(record["sense"], "")
        words = {
            "predicted": relation + _number(record["predicted"]),
            "measured": f"⟨{digits}⟩",
            "tolerance": _number(record["tolerance"]) if record["tolerance"] else "none",
        }
    if rejects is not None:
        words["rejects"] = rejects[0]
        if kind == "curve":
            words["rejects"] += f" (off by ⟨{record['rejected_distance']:.2g}⟩ standard errors)"
        else:
            words["rejects"] += f" ({_number(rejects[1])})"
    if record["seeds"]:
        words["seeds"] = f"{record['seeds']}"
    if record["tried"] > 1:
        words["tried"] = f"{record['tried']} settings"
    return words


def _line(record: dict) -> str:
    words = describe(record)
    mark = "✓" if record["comes_out"] else "✗ does not come out here:"
    parts = [f"{mark} {record['name']}", f"predicted {words['predicted']}"]
    parts += [f"measured {words['measured']}", f"tolerance {words['tolerance']}"]
    if "rejects" in words:
        parts.append(f"rules out {words['rejects']}")
    return " · ".join(parts)


def _card(record: dict) -> str:
    words = describe(record)
    labels = {
        "predicted": "Predicted", "measured": "Measured", "tolerance": "Tolerance",
        "rejects": "Rules out", "seeds": "Seeds", "tried": "Tried",
    }  # fmt: skip
    rows = "".join(
        f"<div><dt>{label}</dt><dd>{html.escape(words[key])}</dd></div>"
        for key, label in labels.items()
        if key in words
    )
    state = "pass" if record["comes_out"] else "negative"
    title = "Claim holds" if record["comes_out"] else "Does not come out at these sizes"
    return (
        f'<div class="claim claim--{state}" id="claim-{record["name"].replace(".", "-")}">'
        f'<p class="claim__title">{title} <code>{record["name"]}</code></p>'
        f'<p class="claim__statement">{html.escape(record["statement"])}</p>'
        f'<dl class="claim__numbers">{rows}</dl>'
        f'<p class="claim__because">Tolerance: {html.escape(record["because"])}</p></div>'
    )


def claim(
    name: str,
    statement: str,
    *,
    source: str | Sequence[str],
    predicted,
    measured,
    stderr=None,
    seeds: int | None = None,
    tolerance: float = 0.0,
    because: str,
    rejects: tuple[str, float] | None = None,
    kind: str = "value",
    equation: str | None = None,
    tried: int = 1,
    systematic: float = 0.0,
    sense: str | None = None,
    comes_out: bool = True,
) -> None:
    r"""Test one statement, show the result, and record it for the ledger.

    Parameters
    ----------
    name : str
        ``"chapter.what-is-claimed"``, unique in the book.
    statement : str
        The claim as a sentence.
    source : str or sequence of str
        Bibliography keys; ``"derived"`` when the page itself derives it.
    predicted : float, array_like or str
        The theory's value. For kind ``order``: ``"increasing"`` or ``"decreasing"``.
    measured : float, array_like or Estimate
        What simulation or an independent computation gives, from different code than
        ``predicted``.
    stderr, seeds : optional
        Standard error of ``measured`` over at least five independent seeds, unless ``measured``
        is an :class:`~course.estimates.Estimate`. Without them ``measured`` counts as exact.
    tolerance : float
        Largest allowed deviation; for kind ``curve`` in standard errors. A bound has none.
    because : str
        Why the tolerance is that large: rounding, truncation, finite size.
    rejects : (str, number or array), optional
        A wrong theory and its value. It must lie beyond the tolerance *and* four standard errors
        from ``measured``. Required for kind ``curve``.
    kind : {"value", "exponent", "curve", "bound", "order"}
        ``value``: :math:`|m-p|\le` tolerance. ``exponent``: the same, with a standard error.
        ``curve``: :math:`\max_i(|m_i-p_i|-\text{systematic})/s_i\le` tolerance.
        ``bound``: measured lies ``sense`` (``"below"`` or ``"above"``) of predicted, clear by four
        standard errors. ``order``: each step of ``measured`` goes the predicted way by more than
        the tolerance and four standard errors.
    equation : str, optional
        Label of the equation that predicts the value.
    tried : int
        How many settings were tried before this one.
    systematic : float
        For curves: an absolute bound on finite-size or truncation error, explained in ``because``.
    sense : {"below", "above"}, optional
        For bounds.
    comes_out : bool
        False records, honestly, that a published statement does *not* come out at the sizes that
        run here; the data must then contradict it beyond tolerance and four standard errors.

    Raises
    ------
    ClaimFailed
        If the claim does not hold, the alternative is not ruled out, or the data cannot tell (a
        standard error above the tolerance).
    ValueError
        For arguments that make no testable claim.

    Notes
    -----
    The output's metadata carries the record; its text shows measured digits inside ⟨…⟩ only.
    """
    record = evaluate(
        name, statement, source=source, predicted=predicted, measured=measured, stderr=stderr,
        seeds=seeds, tolerance=tolerance, because=because, rejects=rejects, kind=kind,
        equation=equation, tried=tried, systematic=systematic, sense=sense, comes_out=comes_out,
    )  # fmt: skip
    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        print(_line(record))
        return
    display(
        {"text/plain": _line(record), "text/html": _card(record)},
        raw=True,
        metadata={METADATA_KEY: record},
    )


def stored(folder: str | Path) -> Iterator[dict]:
    """Records of every claim in the notebooks under ``folder``, in order of path and cell.

    Each record has the keys of ``FIELDS``; ``chapter`` is the notebook's path without suffix.

    Raises
    ------
    ValueError
        If the folder does not exist.
    """
    folder = Path(folder)
    _require(folder.is_dir(), f"folder is {str(folder)!r}; allowed is an existing folder")
    for path in sorted(folder.rglob("*.ipynb")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        notebook = json.loads(path.read_text(encoding="utf-8"))
        chapter = path.relative_to(folder).with_suffix("").as_posix()
        for cell in notebook["cells"]:
            for output in cell.get("outputs", ()):
                record = output.get("metadata", {}).get(METADATA_KEY)
                if record is not None:
                    yield {**record, "chapter": chapter}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print stored claims as JSON lines; 1 if one did not pass or a name occurs twice."""
    parser = argparse.ArgumentParser(prog="python -m course.claims", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="folder of executed notebooks, e.g. chapters")
    try:
        records = list(stored(parser.parse_args(arguments).folder))
    except ValueError as problem:
        parser.error(str(problem))
    problems = [f"{r['name']} did not pass" for r in records if not r["passed"]]
    for record in records:
        line = {field: record[field] for field in FIELDS}
        try:
            print(json.dumps(line, ensure_ascii=False, allow_nan=False))
        except ValueError as problem:
            problems.append(f"{record['name']} is no plain JSON: {problem}")
    counts = Counter(record["name"] for record in records)
    problems += [f"{name} occurs {n} times" for name, n in counts.items() if n > 1]
    if not records:
        problems.append("no claim found: were the notebooks executed?")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
