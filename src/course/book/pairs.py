"""Pairs: a chapter's text (``.md``) and its notebook with outputs (``.ipynb``), side by side.

``python -m course.book.pairs chapters`` prints every difference between the two.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

__all__ = ["BOOTSTRAP", "bootstrap", "chapters", "differences", "is_bootstrap", "main", "read"]

BOOTSTRAP = Path(__file__).with_name("bootstrap.txt")


def bootstrap() -> str:
    """Source of the one setup cell that all chapters share."""
    return BOOTSTRAP.read_text(encoding="utf-8").rstrip("\n")


def is_bootstrap(cell: NotebookNode) -> bool:
    """Whether this is the shared setup cell."""
    return "bootstrap" in cell.metadata.get("tags", ())


def read(path: Path) -> NotebookNode:
    """The notebook that a chapter's Markdown describes, without outputs."""
    return jupytext.read(path, fmt="md:myst")


def chapters(paths: Sequence[Path]) -> list[Path]:
    """Markdown files of all chapters in files and folders, sorted.

    A chapter is a Markdown file with a jupytext header; other pages have no notebook.

    Raises
    ------
    ValueError
        If a path does not exist, or a file is no chapter.
    """
    found = set()
    for path in paths:
        if path.is_dir():
            found |= {
                file
                for file in path.rglob("*.md")
                if not any(part.startswith(".") for part in file.relative_to(path).parts)
                and _has_header(file)
            }
            continue
        file = path.with_suffix(".md")
        if not file.is_file() or not _has_header(file):
            raise ValueError(f"path is {str(path)!r}; allowed are chapters and folders of chapters")
        found.add(file)
    return sorted(found)


def _has_header(path: Path) -> bool:
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or lines[0] != "---":
        return False
    header = lines[1 : lines.index("---", 1)] if "---" in lines[1:] else []
    return any(line.startswith("jupytext:") for line in header)


def _compared(cell: NotebookNode) -> dict:
    """What the two files of a pair have in common."""
    return {
        "type": cell.cell_type,
        "source": cell.source,
        "tags": sorted(cell.metadata.get("tags", ())),
        "mystnb metadata": cell.metadata.get("mystnb", {}),
    }


def differences(path: Path) -> Iterator[str]:
    """How the notebook beside a chapter's Markdown differs from it, in words."""
    stored = path.with_suffix(".ipynb")
    if not stored.is_file():
        yield "has no notebook"
        return
    text, notebook = read(path), nbformat.read(stored, as_version=4)
    for key in ("chapter", "kernelspec"):
        if text.metadata.get(key) != notebook.metadata.get(key):
            yield f"the header's {key!r} differs"
    if len(text.cells) != len(notebook.cells):
        yield f"has {len(text.cells)} cells, its notebook {len(notebook.cells)}"
    for number, (ours, theirs) in enumerate(zip(text.cells, notebook.cells, strict=False)):
        ours, theirs = _compared(ours), _compared(theirs)
        for key, value in ours.items():
            if value != theirs[key]:
                yield f"{key} of cell {number} differs: {_first_line(ours['source'])}"


def _first_line(source: str) -> str:
    return source.split("\n", 1)[0][:70]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every difference between chapters and their notebooks; 1 if there is one."""
    parser = argparse.ArgumentParser(prog="python -m course.book.pairs", description=main.__doc__)
    parser.add_argument("paths", nargs="*", type=Path, default=[Path("chapters")])
    paths = parser.parse_args(arguments).paths
    try:
        found = chapters(paths)
    except ValueError as problem:
        parser.error(str(problem))
    problems = [f"{path}: {problem}" for path in found for problem in differences(path)]
    for folder in (path for path in paths if path.is_dir()):
        problems += [
            f"{notebook}: has no Markdown beside it"
            for notebook in sorted(folder.rglob("*.ipynb"))
            if ".ipynb_checkpoints" not in notebook.parts
            and not notebook.with_suffix(".md").is_file()
        ]
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{len(found)} pairs agree")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
