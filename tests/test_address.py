"""The public address: which forms it takes, what it rewrites, and what the pages then show."""

import re
from pathlib import Path

import jupytext
import nbformat
import pytest
import yaml
from conftest import ROOT, build

from course.book import address, pairs

ADDRESS = "https://github.com/some-owner/some.book"


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/some-owner/some.book",
        "https://github.com/some-owner/some.book.git",
        "https://github.com/some-owner/some.book/",
        "git@github.com:some-owner/some.book.git",
        "git@github.com:some-owner/some.book",
        "ssh://git@github.com/some-owner/some.book.git",
    ],
)
def test_every_github_form_becomes_https(url):
    assert address.normalise(url) == ADDRESS


@pytest.mark.parametrize(
    "url",
    [
        "http://github.com/o/r",
        "https://gitlab.com/o/r",
        "https://github.com.example.org/o/r",
        "https://user:secret@github.com/o/r",
        "https://github.com/o",
        "https://github.com/o/r/tree/main",
        "https://github.com/o/r?x=1",
        "https://github.com/o/..",
        'https://github.com/o/r"\nimport os',
        "github.com/o/r",
        "git@github.com:o/r.git\n",
        "file:///tmp/book",
    ],
)
def test_other_addresses_are_refused_and_told_what_is_allowed(url):
    with pytest.raises(ValueError, match=r"url is .*allowed are https://github\.com/OWNER/NAME"):
        address.normalise(url)


@pytest.mark.parametrize("url", ["https://example.org/o/r", ""])
def test_command_refuses_and_changes_nothing(small_book, capsys, url):
    root = small_book("refused")
    before = {path: path.read_bytes() for path in root.rglob("*.*") if path.is_file()}
    with pytest.raises(SystemExit) as stop:
        address.main([url, "--root", str(root)])
    assert stop.value.code == 2
    assert "git@github.com:OWNER/NAME" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in root.rglob("*.*") if path.is_file()}


def test_command_sets_and_unsets(small_book, capsys):
    root = small_book("command")
    assert address.main([ADDRESS, "--root", str(root)]) == 0
    assert "small.ipynb" in capsys.readouterr().out
    assert f'url: "{ADDRESS}"' in (root / "_config.yml").read_text()
    assert address.main(["--unset", "--root", str(root)]) == 0
    assert 'url: ""' in (root / "_config.yml").read_text()


def _lines(root: Path) -> list[str]:
    """The address in the template, in the text and in the notebook, as code."""
    text = root / "chapters" / "ntk" / "small.md"
    cells = [
        cell.source
        for notebook in (jupytext.read(text), nbformat.read(text.with_suffix(".ipynb"), 4))
        for cell in notebook.cells
        if pairs.is_bootstrap(cell)
    ]
    template = (root / "src" / "course" / "book" / "bootstrap.txt").read_text(encoding="utf-8")
    return [re.search("(?m)^ADDRESS = .*$", source)[0] for source in (template, *cells)]


def test_write_reaches_config_template_text_and_notebook_and_can_be_undone(small_book):
    root = small_book("written")
    address.write("", root)
    files = [path for path in root.rglob("*.*") if path.is_file() and "_assets" not in path.parts]
    before = {path: path.read_bytes() for path in files}
    changed = address.write("git@github.com:some-owner/some.book.git", root)
    assert len(changed) == 4
    assert _lines(root) == [f'ADDRESS = "{ADDRESS}"'] * 3
    assert yaml.safe_load((root / "_config.yml").read_text())["repository"]["url"] == ADDRESS
    assert address.write(ADDRESS, root) == []
    assert len(address.write("", root)) == 4
    assert {path: path.read_bytes() for path in files} == before


def test_write_stops_where_the_address_is_not_stated(small_book):
    root = small_book("unstated")
    template = root / "src" / "course" / "book" / "bootstrap.txt"
    template.write_text("import sys\n")
    with pytest.raises(ValueError, match="bootstrap.txt states the address 0 times"):
        address.write(ADDRESS, root)
    assert ADDRESS not in (root / "_config.yml").read_text()


def _links(html: str) -> set[str]:
    return set(re.findall(r'href="([^"]+)"', html))


def test_unset_hides_the_buttons_and_builds(small_book, tmp_path):
    root = small_book("unset")
    address.write("", root)
    result = build(root, tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    html = (tmp_path / "_build" / "html" / "chapters" / "ntk" / "small.html").read_text()
    assert not re.search(r"mybinder|colab\.research|launch-buttons|source-buttons", html)
    assert not [link for link in _links(html) if "github.com" in link]
    assert 'href="../../_sources/chapters/ntk/small.ipynb"' in html, "the download button is gone"


def test_set_points_the_buttons_at_the_notebook(small_book, tmp_path):
    root = small_book("set")
    address.write(ADDRESS, root)
    result = build(root, tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    links = _links((tmp_path / "_build" / "html" / "chapters" / "ntk" / "small.html").read_text())
    notebook = "chapters/ntk/small.ipynb"
    assert (
        f"https://mybinder.org/v2/gh/some-owner/some.book/main?urlpath=lab/tree/{notebook}" in links
    )
    colab = "https://colab.research.google.com/github/some-owner/some.book/blob/main"
    assert f"{colab}/{notebook}" in links
    assert f"{ADDRESS}/edit/main/chapters/ntk/small.md" in links
    assert ADDRESS in links


def test_this_book_states_one_address():
    url = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
    assert url == "" or address.normalise(url) == url
    assert f'ADDRESS = "{url}"' in pairs.bootstrap()
