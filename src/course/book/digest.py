"""Digests: whether a notebook's stored outputs still belong to its sources.

A notebook's metadata record a digest of its code cells and of the bytes of every ``course`` file
that its run used. ``python -m course.book.digest chapters`` names the notebooks that are stale.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

import course
from course.book import pairs

__all__ = ["KEY", "PACKAGE", "cells_digest", "file_digest", "main", "stale"]

KEY = "course_run"
"""Where a notebook's metadata record its run."""

PACKAGE = Path(course.__file__).parent


def cells_digest(notebook: NotebookNode) -> str:
    """Digest of what a run executes: code cells with their tags, the bootstrap cell excluded."""
    cells = [
        [cell.source, sorted(cell.metadata.get("tags", ()))]
        for cell in notebook.cells
        if cell.cell_type == "code" and not pairs.is_bootstrap(cell)
    ]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Digest of a file's bytes; ``"absent"`` if there is no such file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else "absent"


def stale(path: Path, package: Path = PACKAGE) -> Iterator[str]:
    """Why the outputs beside a chapter's Markdown are older than their sources, in words.

    Parameters
    ----------
    path : Path
        The chapter's Markdown.
    package : Path
        Folder of the package ``course``.
    """
    stored = path.with_suffix(".ipynb")
    if not stored.is_file():
        yield "has no notebook"
        return
    run = nbformat.read(stored, as_version=4).metadata.get(KEY)
    if run is None:
        yield "its notebook records no run"
        return
    if run["digest"] != cells_digest(pairs.read(path)):
        yield "its code cells changed"
    for name, digest in run["sources"].items():
        if file_digest(package / name) != digest:
            yield f"course/{name} changed"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what makes stored outputs stale, or each run's time and memory; 1 if one is stale."""
    parser = argparse.ArgumentParser(prog="python -m course.book.digest", description=main.__doc__)
    parser.add_argument("paths", nargs="*", type=Path, default=[Path("chapters")])
    try:
        found = pairs.chapters(parser.parse_args(arguments).paths)
    except ValueError as problem:
        parser.error(str(problem))
    problems = [f"{path}: {problem}" for path in found for problem in stale(path)]
    for problem in problems:
        print(problem)
    if not problems:
        for path in found:
            run = nbformat.read(path.with_suffix(".ipynb"), as_version=4).metadata[KEY]
            print(f"{path}: {run['seconds']} s, {run['peak_mb']} MB")
        print(f"{len(found)} notebooks are as new as their sources")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
