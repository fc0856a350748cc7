"""The one setup cell: the same in every chapter, installs on Colab, does nothing elsewhere."""

import importlib.util
import re
import subprocess
import sys
import types
from pathlib import Path

import nbformat
import pytest

import course
from course.book import pairs

ROOT = Path(__file__).parents[1]
CHAPTERS = pairs.chapters([ROOT / "chapters"])
URL = "https://github.com/owner/repository"


def cell_with(address: str) -> str:
    text, count = re.subn(
        r'^ADDRESS = ".*"$', f'ADDRESS = "{address}"', pairs.bootstrap(), flags=re.M
    )
    assert count == 1
    return text


def test_is_short():
    assert len(pairs.bootstrap().splitlines()) <= 12


def test_installs_the_version_of_this_checkout():
    assert f"@v{course.__version__}" in pairs.bootstrap()


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
@pytest.mark.parametrize("suffix", [".md", ".ipynb"])
def test_every_chapter_starts_with_it(path, suffix):
    if suffix == ".md":
        notebook = pairs.read(path)
    else:
        notebook = nbformat.read(path.with_suffix(suffix), as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell for cell in code if pairs.is_bootstrap(cell)] == code[:1]
    assert code[0].source == pairs.bootstrap()
    assert "remove-cell" in code[0].metadata["tags"]


@pytest.fixture
def installed(monkeypatch):
    """Commands that the cell runs; none of them is executed."""
    commands = []
    monkeypatch.setattr(
        subprocess, "run", lambda command, **options: commands.append((command, options))
    )
    return commands


@pytest.fixture
def colab(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))


@pytest.fixture
def absent(monkeypatch):
    """A Python that cannot import ``course``."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "course" else find(name)
    )


@pytest.mark.parametrize("address", ["", URL])
def test_does_nothing_on_a_reader_s_machine(address, installed, absent):
    exec(cell_with(address), {})
    assert installed == []


@pytest.mark.parametrize("address", ["", URL])
def test_does_nothing_on_binder(address, installed, absent, monkeypatch):
    monkeypatch.setenv("BINDER_SERVICE_HOST", "binder")
    exec(cell_with(address), {})
    assert installed == []


def test_does_nothing_on_colab_where_the_package_is_there(installed, colab):
    exec(cell_with(URL), {})
    assert installed == []


def test_says_what_to_do_on_colab_while_no_address_is_set(installed, colab, absent):
    with pytest.raises(RuntimeError, match="clone the book and run it with `make book`"):
        exec(cell_with(""), {})
    assert installed == []


def test_installs_the_tagged_version_on_colab(installed, colab, absent):
    exec(cell_with(URL), {})
    ((command, options),) = installed
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    assert command[-1] == f"mechanics-of-learning @ git+{URL}@v{course.__version__}"
    assert options == {"check": True}
