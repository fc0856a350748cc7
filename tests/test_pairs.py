"""Each chapter's text and its notebook hold the same cells."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from course.book import pairs, run

ROOT = Path(__file__).parents[1]
CHAPTERS = pairs.chapters([ROOT / "chapters"])

TINY = """\
---
jupytext:
  formats: md:myst,ipynb
  notebook_metadata_filter: chapter
  text_representation: {extension: .md, format_name: myst}
kernelspec: {display_name: Python 3, language: python, name: python3}
chapter:
  number: "0.1"
  papers: [someone2020]
---
# A chapter

(a-label)=
## A section

```{code-cell} ipython3
---
mystnb: {image: {alt: "A line that rises."}}
tags: [gpu-optional]
---
x = 1
```
"""


def write_pair(folder: Path) -> Path:
    path = folder / "tiny.md"
    path.write_text(TINY, encoding="utf-8")
    nbformat.write(run.canonical(pairs.read(path)), path.with_suffix(".ipynb"))
    return path


def test_book_has_chapters():
    assert CHAPTERS


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_notebook_has_the_cells_of_its_markdown(path):
    assert list(pairs.differences(path)) == []


def test_every_notebook_has_markdown_beside_it():
    notebooks = set((ROOT / "chapters").rglob("*.ipynb"))
    notebooks = {path for path in notebooks if ".ipynb_checkpoints" not in path.parts}
    assert {path.with_suffix(".md") for path in notebooks} == set(CHAPTERS)


def test_fresh_pair_agrees(tmp_path):
    assert list(pairs.differences(write_pair(tmp_path))) == []


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("x = 1", "x = 2", "source of cell 1 differs"),
        ("## A section", "## Another section", "source of cell 0 differs"),
        ("gpu-optional", "slow", "tags of cell 1 differs"),
        ("A line that rises.", "A line that falls.", "mystnb metadata of cell 1 differs"),
        ('"0.1"', '"0.2"', "header's 'chapter' differs"),
        ("(a-label)=", "+++\n\n(a-label)=", "has 3 cells, its notebook 2"),
    ],
)
def test_any_difference_is_found(tmp_path, before, after, message):
    path = write_pair(tmp_path)
    path.write_text(TINY.replace(before, after), encoding="utf-8")
    assert any(message in difference for difference in pairs.differences(path))


def test_command_line_reports_missing_halves(tmp_path, capsys):
    path = write_pair(tmp_path)
    path.with_suffix(".ipynb").rename(tmp_path / "other.ipynb")
    assert pairs.main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "tiny.md: has no notebook" in printed
    assert "other.ipynb: has no Markdown beside it" in printed


def test_pages_without_a_jupytext_header_are_no_chapters(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A page\n", encoding="utf-8")
    assert pairs.chapters([tmp_path]) == []
    with pytest.raises(ValueError, match=r"page\.md"):
        pairs.chapters([page])


@pytest.mark.parametrize("newer", [".md", ".ipynb"])
def test_jupytext_sync_keeps_header_cells_and_record(tmp_path, newer):
    path = write_pair(tmp_path)
    notebook = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
    notebook.metadata["course_run"] = {"digest": "0"}
    nbformat.write(notebook, path.with_suffix(".ipynb"))
    before = pairs.read(path)
    command = [sys.executable, "-m", "jupytext", "--sync", f"tiny{newer}"]
    for _ in range(2):
        (tmp_path / f"tiny{newer}").touch()
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
        assert list(pairs.differences(path)) == []
        after = pairs.read(path)
        assert after.metadata["chapter"] == before.metadata["chapter"]
        assert [cell.source for cell in after.cells] == [cell.source for cell in before.cells]
        assert path.read_text(encoding="utf-8").count("chapter:") == 1
        assert "course_run" not in path.read_text(encoding="utf-8")
        stored = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
        assert stored.metadata["course_run"] == {"digest": "0"}


def test_sync_leaves_a_written_notebook_as_it_is(tmp_path):
    path = write_pair(tmp_path)
    shutil.copy(path.with_suffix(".ipynb"), tmp_path / "before")
    path.touch()
    command = [sys.executable, "-m", "jupytext", "--sync", "tiny.md"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    assert nbformat.read(path.with_suffix(".ipynb"), 4) == nbformat.read(tmp_path / "before", 4)
