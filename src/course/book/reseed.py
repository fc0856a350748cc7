"""Run chapters with every seed shifted: a claim that then fails hangs on its seed.

``python -m course.book.reseed --shift 1000`` adds 1000 to each seed of `course.runtime.rng` and
`course.runtime.generator`, and lists the cells that raise. Nothing is stored.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from course.book import kernel, pairs
from course.book.run import LIMITS
from course.claims import METADATA_KEY
from course.runtime import SEED_SHIFT

__all__ = ["main", "reseeded"]

_CLAIM = re.compile(r'claim\(f?"([^"]+)"')


@contextlib.contextmanager
def _shifted(shift: int) -> Iterator[None]:
    before = os.environ.get(SEED_SHIFT)
    os.environ[SEED_SHIFT] = str(shift)
    try:
        yield
    finally:
        del os.environ[SEED_SHIFT]
        if before is not None:
            os.environ[SEED_SHIFT] = before


def reseeded(
    path: Path, shift: int, *, on_cell: Callable[[], object] = lambda: None
) -> tuple[int, list[str]]:
    """Run a chapter with its seeds shifted; a cell that raises does not end the run.

    Parameters
    ----------
    path : Path
        The chapter's Markdown.
    shift : int
        What is added to each seed.
    on_cell : callable
        Called after each cell.

    Returns
    -------
    int
        How many claims passed.
    list of str
        For each cell that raised: its claims, and the error.

    Raises
    ------
    course.book.kernel.Hung
        If a cell takes longer than `course.book.run` allows, or the kernel dies.
    """
    notebook = pairs.read(path)
    for cell in notebook.cells:
        cell.metadata["tags"] = [*cell.metadata.get("tags", ()), "raises-exception"]
    with _shifted(shift):
        done = kernel.run_notebook(
            notebook, path.parent, cell_limit=LIMITS.cell, limit=LIMITS.notebook, on_cell=on_cell
        ).notebook
    passed, failed = 0, []
    for cell in done.cells:
        for output in cell.get("outputs", ()):
            passed += METADATA_KEY in output.get("metadata", {})
            if output.output_type == "error":
                names = ", ".join(_CLAIM.findall(cell.source)) or "no claim"
                failed.append(f"[{names}] {output.ename}: {output.evalue}")
    return passed, failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run chapters with their seeds shifted; 1 if a cell raises."""
    parser = argparse.ArgumentParser(prog="python -m course.book.reseed", description=main.__doc__)
    parser.add_argument("paths", nargs="*", type=Path, default=[Path("chapters")])
    parser.add_argument("--shift", type=int, default=1000, help="what is added to each seed")
    options = parser.parse_args(arguments)
    if options.shift < 0:
        parser.error(f"shift is {options.shift}; allowed are whole numbers >= 0")
    try:
        found = pairs.chapters(options.paths)
    except ValueError as problem:
        parser.error(str(problem))
    total = 0
    cells = sum(len(pairs.read(path).cells) + 1 for path in found)
    with tqdm(total=cells, unit="cell", disable=None) as bar:
        for path in found:
            bar.set_description(path.stem)
            passed, failed = reseeded(path, options.shift, on_cell=bar.update)
            tqdm.write(f"{path}: {passed} claims passed, {len(failed)} cells failed")
            for line in failed:
                tqdm.write(f"    {line}")
            total += len(failed)
    print(f"{len(found)} chapters with seeds shifted by {options.shift}: {total} cells failed")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
