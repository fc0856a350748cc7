"""Stored outputs are as new as their sources; what makes them stale, and what a run rewrites."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import psutil
import pytest

from course.book import digest, kernel, pairs, run

ROOT = Path(__file__).parents[1]
CHAPTERS = pairs.chapters([ROOT / "chapters"])

HEADER = """\
---
jupytext:
  formats: md:myst,ipynb
  notebook_metadata_filter: chapter
  text_representation: {extension: .md, format_name: myst}
kernelspec: {display_name: Python 3, language: python, name: python3}
---
"""
TINY = f"""{HEADER}# A chapter

```{{code-cell}} ipython3
:tags: [bootstrap, remove-cell]

ADDRESS = ""
```

Prose.

```{{code-cell}} ipython3
import time

from course import tiny

print(tiny.answer(), f"\u27e8{{time.time()}}\u27e9")
```
"""
WIDGETS = f"""{HEADER}# Widgets

```{{code-cell}} ipython3
import ipywidgets as widgets
from IPython.display import display

forgotten = widgets.IntSlider()
frames = widgets.Stack([widgets.HTML("a"), widgets.HTML("b")], selected_index=0)
slider = widgets.SelectionSlider(options=["1", "2"])
widgets.jslink((slider, "index"), (frames, "selected_index"))
display(widgets.VBox([slider, frames]))
```
"""
KERNEL = kernel.__file__
ENVIRONMENT = """\
import os

print(*(os.environ[name] for name in ("MPLBACKEND", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")))
"""
FAILING = TINY.replace("print(", "raise KeyError('absent')\nprint(")


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_stored_outputs_are_as_new_as_their_sources(path):
    assert list(digest.stale(path)) == []


class Book:
    """A chapter and a package ``course`` of its own."""

    def __init__(self, folder: Path):
        self.package = folder / "src" / "course"
        self.module = self.package / "tiny.py"
        self.unused = self.package / "unused.py"
        self.chapter = folder / "chapter.md"
        self.notebook = folder / "chapter.ipynb"

    def write(self, text: str) -> None:
        self.chapter.write_text(text, encoding="utf-8")

    def stale(self) -> list[str]:
        return list(digest.stale(self.chapter, self.package))

    def run(self, *options: str) -> int:
        return run.main([str(self.chapter), *options], package=self.package)

    def text(self) -> str:
        notebook = nbformat.read(self.notebook, as_version=4)
        return "".join(o.text for cell in notebook.cells for o in cell.get("outputs", ()))


def new_book(folder: Path) -> Book:
    book = Book(folder)
    book.package.mkdir(parents=True)
    (book.package / "__init__.py").write_text('__version__ = "9.9"\n')
    book.module.write_text("def answer():\n    return 42\n")
    book.unused.write_text("")
    book.write(TINY)
    return book


@pytest.fixture
def book(tmp_path, monkeypatch):
    book = new_book(tmp_path / "book")
    monkeypatch.setenv("PYTHONPATH", str(book.package.parent))
    return book


@pytest.fixture(scope="module")
def executed(tmp_path_factory) -> Path:
    """Folder of a book whose chapter was executed."""
    folder = tmp_path_factory.mktemp("executed") / "book"
    book = new_book(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(book.package.parent))
        assert book.run() == 0
    return folder


@pytest.fixture
def stored(executed, tmp_path, monkeypatch):
    """A copy of the executed book."""
    shutil.copytree(executed, tmp_path / "book")
    book = Book(tmp_path / "book")
    monkeypatch.setenv("PYTHONPATH", str(book.package.parent))
    assert book.stale() == []
    return book


def test_without_a_notebook_it_is_stale(book):
    assert book.stale() == ["has no notebook"]
    nbformat.write(run.canonical(pairs.read(book.chapter)), book.notebook)
    assert book.stale() == ["its notebook records no run"]


def test_record_names_the_files_used_and_no_others(stored):
    record = nbformat.read(stored.notebook, as_version=4).metadata[digest.KEY]
    assert set(record["sources"]) == {"__init__.py", "tiny.py"}
    assert record["version"] == "9.9"
    assert record["threads"] == kernel.THREADS
    assert record["seconds"] >= 0
    assert record["peak_mb"] is None or record["peak_mb"] > 1


def test_edited_cell_is_stale(stored):
    stored.write(TINY.replace("tiny.answer(),", "tiny.answer() + 1,"))
    assert stored.stale() == ["its code cells changed"]


def test_edited_or_deleted_module_is_stale(stored):
    stored.module.write_text("def answer():\n    return 43\n")
    assert stored.stale() == ["course/tiny.py changed"]
    stored.module.unlink()
    assert stored.stale() == ["course/tiny.py changed"]


def test_edited_bootstrap_prose_and_unused_module_are_not_stale(stored):
    stored.write(TINY.replace('ADDRESS = ""', 'ADDRESS = "x"').replace("Prose", "New prose"))
    stored.unused.write_text("x = 1\n")
    assert stored.stale() == []
    assert list(pairs.differences(stored.chapter)) != []
    before = stored.text()
    assert stored.run() == 0
    assert list(pairs.differences(stored.chapter)) == []
    assert stored.text() == before, "paired anew without a run, so the measured time is the old one"


def test_rerun_without_change_leaves_every_byte(stored):
    before = stored.notebook.read_bytes()
    assert stored.run() == 0
    assert stored.run("--all") == 0
    assert stored.notebook.read_bytes() == before


def test_edit_without_effect_refreshes_the_digest_only(stored):
    before = nbformat.read(stored.notebook, as_version=4)
    stored.module.write_text("def answer():\n    return 40 + 2\n")
    assert stored.run() == 0
    assert stored.stale() == []
    after = nbformat.read(stored.notebook, as_version=4)
    assert after.cells == before.cells
    changed = {
        key
        for key, value in after.metadata[digest.KEY].items()
        if value != before.metadata[digest.KEY][key]
    }
    assert changed == {"sources"}


def test_edit_with_effect_is_stored(stored):
    stored.module.write_text("def answer():\n    return 43\n")
    assert stored.run() == 0
    assert stored.text().startswith("43 \u27e8")
    assert stored.stale() == []


def test_module_edited_during_the_run_leaves_it_stale(book):
    edit = (
        f"import pathlib\npathlib.Path({str(book.module)!r}).write_text('def answer(): return 1')"
    )
    book.write(TINY.replace("print(", f"{edit}\nprint("))
    assert book.run() == 0
    assert book.stale() == ["course/tiny.py changed"]


RECORD = """\
import pathlib

from course import runtime

record = pathlib.Path(runtime.__file__).with_name("records") / "a.json"
runtime.files.append(record)
record.parent.mkdir(exist_ok=True)
record.write_text("[]")
"""


def test_record_counts_as_it_is_after_the_run(book):
    (book.package / "runtime.py").write_text(
        "files = []\n\ndef loaded_files():\n    return files\n"
    )
    book.write(f"{HEADER}```{{code-cell}} ipython3\n{RECORD}```\n")
    assert book.run() == 0
    assert book.stale() == []
    (book.package / "records" / "a.json").write_text("[1]")
    assert book.stale() == ["course/records/a.json changed"]
    (book.package / "records" / "a.json").unlink()
    assert book.stale() == ["course/records/a.json changed"]


def test_failing_cell_is_shown_and_the_old_notebook_stays(stored, capsys):
    before = stored.notebook.read_bytes()
    stored.write(FAILING)
    assert stored.run() == 1
    printed = capsys.readouterr().out
    assert "chapter.md: cell 3 raises KeyError" in printed
    assert "    raise KeyError('absent')" in printed
    assert stored.notebook.read_bytes() == before
    assert [path.name for path in stored.notebook.parent.glob("*.new")] == []


def test_hanging_cell_is_tried_twice_and_the_old_notebook_stays(stored, capsys):
    before = stored.notebook.read_bytes()
    stored.write(TINY.replace("print(", "time.sleep(60)\nprint("))
    assert stored.run("--cell-timeout", "1") == 1
    captured = capsys.readouterr()
    assert "trying once more" in captured.err
    assert "hung or lost its kernel twice" in captured.out
    assert stored.notebook.read_bytes() == before


def runs(pid: int) -> bool:
    """Whether a process is still at work (one that was ended may wait to be cleared away)."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def test_time_that_the_kernel_takes_to_start_does_not_count(stored, monkeypatch):
    monkeypatch.setattr(kernel, "__file__", str(stored.notebook.with_name("late.py")))
    late = f"import runpy, time\ntime.sleep(4)\nrunpy.run_path({KERNEL!r}, run_name='__main__')\n"
    stored.notebook.with_name("late.py").write_text(late)
    stored.module.write_text("def answer():\n    return 43\n")
    assert stored.run("--timeout", "4") == 0


def test_kernel_that_never_starts_is_ended(stored, monkeypatch, capsys):
    monkeypatch.setattr(kernel, "__file__", str(stored.notebook.with_name("never.py")))
    monkeypatch.setattr(kernel, "STARTUP", 1.0)
    stored.notebook.with_name("never.py").write_text("import time\ntime.sleep(60)\n")
    stored.write(TINY.replace("print(", "print('new'); print("))
    assert stored.run() == 1
    assert "no cell started within 1 s" in capsys.readouterr().out


def test_kernel_s_environment_does_not_depend_on_the_caller_s(book, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    book.write(f"{HEADER}```{{code-cell}} ipython3\n{ENVIRONMENT}```\n")
    assert book.run() == 0
    assert book.text() == "module://matplotlib_inline.backend_inline PASSIVE 2\n"


def test_hanging_notebook_ends_at_the_outer_limit(stored, capsys):
    mark = stored.notebook.with_name("pids")
    hanging = f"import os, pathlib\nwith pathlib.Path({str(mark)!r}).open('a') as file:\n"
    hanging += "    print(os.getpid(), file=file)\ntime.sleep(60)\nprint("
    stored.write(TINY.replace("print(", hanging))
    # The limit counts from the first cell on, so a slow start of the kernel does not matter.
    assert stored.run("--timeout", "5") == 1
    assert "not finished after 5 s" in capsys.readouterr().out
    kernels = [int(line) for line in mark.read_text().splitlines()]
    assert kernels
    assert not any(runs(kernel) for kernel in kernels)


def test_dying_kernel_is_tried_twice(book, capsys):
    book.write(TINY.replace("print(", "import os\nos._exit(1)\nprint("))
    assert book.run() == 1
    assert "hung or lost its kernel twice" in capsys.readouterr().out
    assert not book.notebook.exists()


def test_too_large_a_notebook_is_refused(stored, capsys):
    before = stored.notebook.read_bytes()
    stored.write(TINY.replace("print(", 'print("x" * 1_100_000)\nprint('))
    assert stored.run() == 1
    assert "1,000,000" in capsys.readouterr().out
    assert stored.notebook.read_bytes() == before


def test_kernel_that_imports_another_course_is_refused(book, monkeypatch, capsys):
    monkeypatch.delenv("PYTHONPATH")
    book.write(f"{HEADER}```{{code-cell}} ipython3\nimport course\n```\n")
    assert book.run() == 1
    assert "the kernel imports course from" in capsys.readouterr().out


def test_widget_ids_are_the_same_in_every_run_and_unused_models_go(book):
    book.write(WIDGETS)
    assert book.run() == 0
    first = book.notebook.read_bytes()
    book.notebook.unlink()
    assert book.run() == 0
    record, again = (nbformat.reads(text, 4) for text in (first, book.notebook.read_bytes()))
    assert again.cells == record.cells
    assert again.metadata.widgets == record.metadata.widgets
    states = again.metadata.widgets[run.WIDGET_STATE]["state"]
    names = [content["model_name"] for content in states.values()]
    assert "LinkModel" in names
    assert names.count("HTMLModel") == 2
    assert "IntSliderModel" not in names
    view = again.cells[1].outputs[0].data[run.WIDGET_VIEW]["model_id"]
    assert states[view]["model_name"] == "VBoxModel"
    assert set(run.reached(view, states)) == set(states)
    references = {name for content in states.values() for name in run.references(content["state"])}
    assert references <= set(states)


def test_equal_cells_get_different_ids():
    cells = [nbformat.v4.new_code_cell("x"), nbformat.v4.new_code_cell("x")]
    first, second = run.canonical(nbformat.v4.new_notebook(cells=cells)).cells
    again, _ = run.canonical(nbformat.v4.new_notebook(cells=cells)).cells
    assert first.id != second.id
    assert first.id == again.id


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("v \u27e81.0\u27e9", "v \u27e81.1\u27e9", True),
        ("v \u27e81.0\u27e9 of 2", "v \u27e81.0\u27e9 of 3", False),
        ("\u27e81\u27e9 a \u27e82\u27e9", "\u27e81\u27e9 b \u27e82\u27e9", False),
        ({"measured": 1.0}, {"measured": 1.0 + 1e-9}, True),
        ({"measured": 1.0}, {"measured": 1.001}, False),
        ({"measured": [1.0]}, {"measured": [1.0, 2.0]}, False),
        ({"passed": True}, {"passed": False}, False),
        ({"a": 1}, {"a": 1, "b": None}, False),
    ],
)
def test_comparison_ignores_measured_digits_only(old, new, expected):
    assert run.same(old, new) is expected


def test_command_line_names_stale_chapters(book, monkeypatch):
    monkeypatch.delenv("PYTHONPATH")
    command = [sys.executable, "-m", "course.book.digest", str(book.chapter.parent)]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert outcome.returncode == 1
    assert outcome.stdout.endswith("chapter.md: has no notebook\n")


def test_record_of_every_chapter_is_plain_json():
    for path in CHAPTERS:
        record = nbformat.read(path.with_suffix(".ipynb"), as_version=4).metadata[digest.KEY]
        assert json.loads(json.dumps(record)) == record
