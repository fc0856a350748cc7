"""Every stored notebook keeps to the book's sizes, and every chapter to its anatomy."""

import statistics
from pathlib import Path

import nbformat
import pytest

from course.book import digest, pairs, run

ROOT = Path(__file__).parents[1]
PAGES = pairs.chapters([ROOT / "chapters"])
CHAPTERS = [path for path in PAGES if path.parent.name != "appendix"]

MAX_EXPLORER_BYTES = 300_000
MAX_MEDIAN_LINES, MAX_LINES = 6, 25

page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def stored(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path.with_suffix(".ipynb"), as_version=4)


def code(notebook) -> list:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [cell for cell in cells if not pairs.is_bootstrap(cell)]


def outputs(notebook):
    for cell in code(notebook):
        for output in cell.outputs:
            yield cell, output


def prose(notebook) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


@page
def test_notebook_is_at_most_a_megabyte(path):
    assert path.with_suffix(".ipynb").stat().st_size <= run.MAX_BYTES


@page
def test_no_stored_error_and_nothing_on_stderr(path):
    for cell, output in outputs(stored(path)):
        assert output.output_type != "error", cell.source
        assert output.get("name") != "stderr", f"{cell.source}\n{output.get('text')}"


@page
def test_every_code_cell_was_executed_in_order(path):
    counts = [cell.execution_count for cell in code(stored(path))]
    assert all(counts)
    assert counts == sorted(counts)


def lengths(path: Path) -> list[int]:
    """Lines of each code cell, blank ones not counted."""
    return [sum(map(bool, cell.source.split("\n"))) for cell in code(stored(path))]


@page
def test_no_code_cell_is_long(path):
    assert max(lengths(path)) <= MAX_LINES


@chapter
def test_most_code_cells_are_short(path):
    assert statistics.median(lengths(path)) <= MAX_MEDIAN_LINES


@page
def test_run_is_recorded_and_within_the_budget(path):
    """The numbers were measured when the notebook was executed; nothing is timed here."""
    record = stored(path).metadata[digest.KEY]
    assert 0 < record["seconds"] <= run.MAX_SECONDS
    assert 0 < record["peak_mb"] <= run.MAX_PEAK_MB


@page
def test_every_figure_has_alt_text(path):
    pictures = [
        cell
        for cell, output in outputs(stored(path))
        if any(kind.startswith("image/") for kind in output.get("data", ()))
    ]
    for cell in pictures:
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        assert len(alt.split()) >= 4, f"alt text {alt!r} of\n{cell.source}"


@page
def test_explorers_are_small(path):
    notebook = stored(path)
    states = notebook.metadata.get("widgets", {}).get(run.WIDGET_STATE, {}).get("state", {})
    for cell, output in outputs(notebook):
        if run.WIDGET_VIEW in output.get("data", {}):
            models = run.reached(output.data[run.WIDGET_VIEW]["model_id"], states)
            size = len(nbformat.writes(nbformat.v4.new_notebook(metadata={
                "widgets": {model: states[model] for model in models}
            })).encode())  # fmt: skip
            assert models, f"no widget state for\n{cell.source}"
            assert size <= MAX_EXPLORER_BYTES, cell.source


@chapter
def test_chapter_has_claims_explorer_exercises_and_says_where_it_breaks(path):
    notebook = stored(path)
    claims = [
        output.metadata["course_claim"]
        for _, output in outputs(notebook)
        if "course_claim" in output.get("metadata", {})
    ]
    assert len(claims) >= 6
    assert sum(claim["rejects"] is not None for claim in claims) >= 2
    assert any(run.WIDGET_VIEW in output.get("data", {}) for _, output in outputs(notebook))
    text = prose(notebook)
    assert text.count("{exercise}") >= 3
    assert text.count("{solution}") == text.count("{exercise}")
    assert len(notebook.metadata.chapter["exercises"]) == text.count("{exercise}")
    assert "## Where it breaks" in text.splitlines()
    assert "## Summary" in text.splitlines()
    assert "## Further reading" in text.splitlines()


@chapter
def test_section_where_it_breaks_has_a_figure(path):
    cells = stored(path).cells
    start = next(i for i, cell in enumerate(cells) if "## Where it breaks" in cell.source)
    for cell in cells[start:]:
        if cell.cell_type == "markdown" and cell.source.count("\n## ") > (cell is cells[start]):
            break
        kinds = {kind for output in cell.get("outputs", ()) for kind in output.get("data", ())}
        if "image/png" in kinds:
            return
    pytest.fail(f"{path.name}: no figure under 'Where it breaks'")
