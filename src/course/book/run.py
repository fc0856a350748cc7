"""Execute chapters: write each ``.ipynb`` with the outputs that its ``.md`` and ``course`` give.

``python -m course.book.run`` runs the chapters whose stored outputs are older than their code
cells or the ``course`` files they used; where only prose changed it pairs the notebook anew.
"""

from __future__ import annotations

import argparse
import base64
import copy
import hashlib
import math
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode
from tqdm import tqdm

from course.book import digest, kernel, pairs
from course.figures import compact_png

__all__ = [
    "Limits", "RunFailed", "canonical", "execute", "main", "reached", "references",
    "repaired", "same", "update",
]  # fmt: skip

MAX_BYTES = 1_000_000
MAX_SECONDS, MAX_PEAK_MB = 60, 2048
"""What a chapter may take when it has two cores to itself; reported, since machines differ."""

MEASURED = re.compile("\u27e8[^\u27e8\u27e9\n]*\u27e9")
"""The marker around measured digits; ``tests/nbval_sanitize.cfg`` hides the same."""

WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
LANGUAGE = {
    "name": "python",
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "pygments_lexer": "ipython3",
    "codemirror_mode": {"name": "ipython", "version": 3},
    "nbconvert_exporter": "python",
}


class RunFailed(Exception):
    """A chapter could not be executed or stored; its old notebook is untouched."""


class Limits(NamedTuple):
    """Seconds after which a cell, and a whole notebook, count as hanging."""

    cell: float = 300.0
    notebook: float = 900.0


LIMITS = Limits()


def execute(
    path: Path,
    *,
    limits: Limits = LIMITS,
    package: Path = digest.PACKAGE,
    on_cell: Callable[[], None] = lambda: None,
) -> NotebookNode:
    """Run a chapter's Markdown in a fresh kernel, in its folder.

    Parameters
    ----------
    path : Path
        The chapter's Markdown.
    limits : Limits
        A hanging run is tried once more.
    package : Path
        Folder of the package ``course`` that the kernel must import.
    on_cell : callable
        Called after each cell.

    Returns
    -------
    NotebookNode
        With outputs, canonical ids, and the run's record in its metadata.

    Raises
    ------
    RunFailed
        If a cell raises, or two runs in a row hang or lose their kernel.
    """
    # Modules count as they were before the run, since they may be edited meanwhile; records as
    # they are after it, since a run may write them.
    modules = {
        file.relative_to(package).as_posix(): digest.file_digest(file)
        for file in package.rglob("*.py")
    }
    source = pairs.read(path)
    for attempt in (1, 2):
        try:
            notebook, failed, seconds, report = kernel.run_notebook(
                source,
                path.parent,
                cell_limit=limits.cell,
                limit=limits.notebook,
                on_cell=on_cell,
            )
            break
        except kernel.Hung as problem:
            if attempt == 2:
                raise RunFailed(f"{path}: hung or lost its kernel twice\n{problem}") from problem
            tqdm.write(f"{path}: {problem}; trying once more", file=sys.stderr)
    if failed:
        raise RunFailed(_explain(path, notebook))
    if report["root"] is not None and Path(report["root"]).resolve() != package.resolve():
        raise RunFailed(f"{path}: the kernel imports course from {report['root']}, not {package}")
    notebook.metadata[digest.KEY] = {
        "digest": digest.cells_digest(source),
        "sources": {
            name: modules.get(name) or digest.file_digest(package / name)
            for name in report["files"]
        },
        "seconds": round(seconds, 1),
        "peak_mb": report["peak_mb"],
        "threads": kernel.THREADS,
        "version": report["version"],
        "versions": report["versions"],
    }
    return canonical(notebook)


def _explain(path: Path, notebook: NotebookNode) -> str:
    number, cell = next(
        (number, cell)
        for number, cell in enumerate(notebook.cells)
        if any(output.output_type == "error" for output in cell.get("outputs", ()))
    )
    error = next(output for output in cell.outputs if output.output_type == "error")
    trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
    source = "\n".join(f"    {line}" for line in cell.source.splitlines())
    return f"{path}: cell {number} raises {error.ename}\n\n{source}\n\n{trace}"


def canonical(notebook: NotebookNode) -> NotebookNode:
    """The same notebook with small pictures, ids that follow from its content, no machine."""
    notebook = copy.deepcopy(notebook)
    notebook.metadata["language_info"] = LANGUAGE
    notebook.metadata.get("jupytext", {}).pop("text_representation", None)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen: Counter = Counter()
    for cell in notebook.cells:
        key = f"{cell.cell_type}\n{cell.source}"
        if "outputs" in cell:
            cell.outputs = [_compact(output) for output in _merged(cell.outputs)]
        cell.id = _short(f"{key}\n{seen[key]}", 12)
        seen[key] += 1
    return _with_stable_widgets(notebook)


def _merged(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """The same outputs, with neighbouring pieces of one stream joined."""
    merged: list[NotebookNode] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if (
            last is not None
            and last.output_type == output.output_type == "stream"
            and last.name == output.name
        ):
            last.text += output.text
        else:
            merged.append(output)
    return merged


def _compact(output: NotebookNode) -> NotebookNode:
    """The same output with its picture as small as a palette makes it."""
    if "image/png" in output.get("data", {}):
        picture = compact_png(base64.b64decode(output.data["image/png"]))
        output.data["image/png"] = base64.b64encode(picture).decode()
    return output


def _short(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def references(value) -> Iterator[str]:
    """Model ids that a widget's state refers to, in order."""
    if isinstance(value, str) and value.startswith("IPY_MODEL_"):
        yield value.removeprefix("IPY_MODEL_")
    elif isinstance(value, dict):
        for key in sorted(value):
            yield from references(value[key])
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from references(entry)


def reached(model: str, states: dict) -> list[str]:
    """The model, all that it refers to, and the links between them."""
    found, pending = [], [model]
    while pending:
        model = pending.pop(0)
        if model in found or model not in states:
            continue
        found.append(model)
        pending += references(states[model]["state"])
        pending += [
            link
            for link, content in states.items()
            if {"source", "target"} <= content["state"].keys()
            and set(references(content["state"]["target"])) <= set(found)
            and set(references(content["state"]["source"])) <= set(found)
        ]
    return found


def _with_stable_widgets(notebook: NotebookNode) -> NotebookNode:
    """Widget models of displayed views only, with ids from the cell and their place in it."""
    widgets = notebook.metadata.pop("widgets", None)
    if widgets is None:
        return notebook
    states, names = widgets[WIDGET_STATE]["state"], {}
    for cell in notebook.cells:
        views = [
            output.data[WIDGET_VIEW]["model_id"]
            for output in cell.get("outputs", ())
            if WIDGET_VIEW in output.get("data", {})
        ]
        count = 0
        for view in views:
            for model in reached(view, states):
                if model not in names:
                    names[model] = _short(f"{cell.id} {count}", 32)
                    count += 1
    kept = {model: _without_nulls(states[model]) for model in names}
    if kept:
        notebook.metadata.widgets = {WIDGET_STATE: {**widgets[WIDGET_STATE], "state": kept}}
    text = nbformat.writes(notebook)
    for model, name in names.items():
        text = text.replace(model, name)
    return nbformat.reads(text, as_version=4)


def _without_nulls(content: dict) -> dict:
    """A model's content; of a layout or style, only what is set (null is the default)."""
    if content["model_name"] != "LayoutModel" and not content["model_name"].endswith("StyleModel"):
        return content
    state = {key: value for key, value in content["state"].items() if value is not None}
    return {**content, "state": state}


def same(old, new) -> bool:
    """Whether two parts of notebooks agree but for measured digits and rounding.

    Text inside the marker is ignored; numbers in outputs' metadata may differ by a relative 1e-6.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(same(old[key], new[key]) for key in old)
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        return len(old) == len(new) and all(map(same, old, new))
    if isinstance(old, str) and isinstance(new, str):
        return MEASURED.sub("", old) == MEASURED.sub("", new)
    if isinstance(old, float) or isinstance(new, float):
        numbers = isinstance(old, float | int) and isinstance(new, float | int)
        return numbers and math.isclose(old, new, rel_tol=1e-6, abs_tol=1e-12)
    return old == new


def _parts(notebook: NotebookNode) -> dict:
    """What decides whether a notebook is written anew: all but the record of its run."""
    metadata = {key: value for key, value in notebook.metadata.items() if key != digest.KEY}
    return {"cells": notebook.cells, "metadata": metadata}


def repaired(path: Path, stored: NotebookNode) -> NotebookNode:
    """A chapter's text, with the outputs that are stored for its (unchanged) code cells."""
    notebook = pairs.read(path)

    def executed(cells):
        return [c for c in cells if c.cell_type == "code" and not pairs.is_bootstrap(c)]

    for cell, old in zip(executed(notebook.cells), executed(stored.cells), strict=True):
        cell.outputs, cell.execution_count = old.outputs, old.execution_count
    for cell in filter(pairs.is_bootstrap, notebook.cells):
        cell.execution_count = 1
    for key in ("widgets", digest.KEY):
        if key in stored.metadata:
            notebook.metadata[key] = stored.metadata[key]
    return canonical(notebook)


def update(path: Path, new: NotebookNode, *, measure: bool = False) -> str:
    """Store a notebook beside its chapter's Markdown, and say what was done.

    Where cells and outputs agree with the stored ones (:func:`same`), only the digests of the
    sources are brought up to date; with ``measure``, its seconds and memory too.

    Raises
    ------
    RunFailed
        If the notebook is too large; the old one stays.
    """
    target = path.with_suffix(".ipynb")
    outcome = "stored"
    if target.is_file():
        old = nbformat.read(target, as_version=4)
        run = old.metadata.get(digest.KEY)
        if run is not None and same(_parts(old), _parts(new)):
            keys = new.metadata[digest.KEY] if measure else ("digest", "sources", "version")
            old.metadata[digest.KEY] = {**run, **{k: new.metadata[digest.KEY][k] for k in keys}}
            new, outcome = old, "outputs unchanged"
    text = nbformat.writes(new) + "\n"
    if len(text.encode()) > MAX_BYTES:
        raise RunFailed(f"{path}: its notebook has {len(text.encode()):,} bytes of {MAX_BYTES:,}")
    if target.is_file() and target.read_text(encoding="utf-8") == text:
        return outcome
    draft = target.with_suffix(".ipynb.new")
    draft.write_text(text, encoding="utf-8", newline="\n")
    os.replace(draft, target)
    return outcome


def _budget(run: dict) -> str:
    over = run["seconds"] > MAX_SECONDS or (run["peak_mb"] or 0) > MAX_PEAK_MB
    text = f"{run['seconds']:.1f} s, {run['peak_mb']} MB"
    return f"{text}: OVER the budget of {MAX_SECONDS} s, {MAX_PEAK_MB} MB" if over else text


def main(arguments: Sequence[str] | None = None, *, package: Path = digest.PACKAGE) -> int:
    """Execute chapters whose stored outputs are stale; 1 if one of them fails."""
    parser = argparse.ArgumentParser(prog="python -m course.book.run", description=main.__doc__)
    parser.add_argument("paths", nargs="*", type=Path, default=[Path("chapters")])
    parser.add_argument("--all", action="store_true", help="also those that are not stale")
    parser.add_argument(
        "--measure", action="store_true", help="store seconds and memory even if nothing changed"
    )
    parser.add_argument("--cell-timeout", type=float, default=LIMITS.cell, metavar="SECONDS")
    parser.add_argument("--timeout", type=float, default=LIMITS.notebook, metavar="SECONDS")
    options = parser.parse_args(arguments)
    try:
        found = pairs.chapters(options.paths)
    except ValueError as problem:
        parser.error(str(problem))
    stale = [path for path in found if options.all or any(digest.stale(path, package))]
    for path in found:
        if path not in stale and any(pairs.differences(path)):
            stored = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
            update(path, repaired(path, stored))
            print(f"{path}: only text changed, paired without a run")
    limits = Limits(options.cell_timeout, options.timeout)
    failures = []
    cells = sum(len(pairs.read(path).cells) + 1 for path in stale)
    with tqdm(total=cells, unit="cell", disable=None) as bar:
        for path in stale:
            bar.set_description(path.stem)
            try:
                new = execute(path, limits=limits, package=package, on_cell=bar.update)
                outcome = update(path, new, measure=options.measure)
            except RunFailed as problem:
                failures.append(path)
                tqdm.write(f"\nFAILED {problem}\n")
            else:
                tqdm.write(f"{path}: {outcome}; {_budget(new.metadata[digest.KEY])}")
    if failures:
        print(f"{len(failures)} of {len(stale)} chapters failed: {', '.join(map(str, failures))}")
    else:
        print(f"{len(found)} chapters, {len(stale)} executed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
