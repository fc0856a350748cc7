"""References: every key that is cited exists, every entry is complete, and every entry is cited."""

import ast
import re
from pathlib import Path

import pytest
from pybtex.database import parse_file
from pybtex.exceptions import PybtexError

from course.book import pairs

ROOT = Path(__file__).parents[1]
PAGES = sorted(ROOT.glob("chapters/**/*.md"))
CHAPTERS = pairs.chapters([ROOT / "chapters"])
ENTRIES = parse_file(ROOT / "references.bib").entries


def cited(text: str) -> set[str]:
    """Keys in the citation roles of a page."""
    roles = re.findall(r"\{cite[a-z:]*\}`([^`]+)`", text)
    return {key.strip() for role in roles for key in role.split(",")}


def sources(code: str) -> set[str]:
    """Keys in the ``source=`` of the claims in a piece of code."""
    return {
        constant.value
        for call in ast.walk(ast.parse(code))
        if isinstance(call, ast.Call) and getattr(call.func, "id", None) == "claim"
        for keyword in call.keywords
        if keyword.arg == "source"
        for constant in _constants(keyword.value)
    }


def _constants(node: ast.AST) -> list[ast.Constant]:
    """Constants that an expression may take; what it only compares with is not among them."""
    if isinstance(node, ast.Compare):
        return []
    if isinstance(node, ast.Constant):
        return [node]
    return [found for child in ast.iter_child_nodes(node) for found in _constants(child)]


def chapter_keys(path: Path) -> set[str]:
    notebook = pairs.read(path)
    papers = set(notebook.metadata["chapter"]["papers"])
    code = (cell.source for cell in notebook.cells if cell.cell_type == "code")
    return papers | set().union(*map(sources, code)) - {"derived"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_readers_of_keys_find_keys():
    assert cited("as {cite}`a, b` and {cite:t}`c` but not `d`") == {"a", "b", "c"}
    assert sources('claim("x.y", "z", source=("a", "b"))\nf(source="c")') == {"a", "b"}
    assert sources('claim("x.y", "z", source="a" if rule == "c" else "b")') == {"a", "b"}


def test_a_key_that_is_entered_twice_is_refused(tmp_path):
    entry = "@book{a, title={T}, year={2000}, author={A, B}}\n"
    (tmp_path / "twice.bib").write_text(entry * 2)
    with pytest.raises(PybtexError, match="repeated"):
        parse_file(tmp_path / "twice.bib")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_cited_keys_exist(page):
    assert cited(page.read_text(encoding="utf-8")) <= set(ENTRIES)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=name)
def test_papers_and_claim_sources_exist(chapter):
    assert chapter_keys(chapter) <= set(ENTRIES)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=name)
def test_a_chapter_cites_the_papers_it_names(chapter):
    assert chapter_keys(chapter) <= cited(chapter.read_text(encoding="utf-8"))


@pytest.mark.parametrize("key", sorted(ENTRIES))
def test_an_entry_is_complete(key):
    entry = ENTRIES[key]
    assert entry.persons.get("author"), "no author"
    for author in entry.persons["author"]:
        assert author.last_names, f"no family name in {author}"
        assert author.first_names, f"no given name in {author}"
    assert entry.fields["title"]
    assert re.fullmatch(r"(18|19|20)\d\d", entry.fields["year"])
    where = {
        field: text for field, text in entry.fields.items() if field in ("doi", "eprint", "url")
    }
    assert where, "neither doi nor eprint nor url"
    if "doi" in where:
        assert re.fullmatch(r"10\.\d{4,9}/\S+", where["doi"])
    if "eprint" in where:
        assert re.fullmatch(r"\d{4}\.\d{4,5}", where["eprint"])
        assert entry.fields["archiveprefix"] == "arXiv"
    if "url" in where:
        assert where["url"].startswith("https://")


def test_every_entry_is_cited():
    used = set().union(*(cited(page.read_text(encoding="utf-8")) for page in PAGES))
    assert set(ENTRIES) - used == set()
