"""The built pages: complete, self-contained, with alt texts, and generated tables that are true."""

import json
import posixpath
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, build

from course import claims
from course.book import sphinx_ext


class _Elements(HTMLParser):
    """Start tags of a page."""

    def __init__(self, html: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def _elements(path: Path) -> list[tuple[str, dict[str, str | None]]]:
    return _Elements(path.read_text(encoding="utf-8")).found


def _pages(html: Path) -> list[Path]:
    return [path for path in sorted(html.rglob("*.html")) if "_static" not in path.parts]


def _text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_every_page_of_the_contents_is_built(built_book):
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    for page in sphinx_ext._pages(contents):
        assert (built_book / page).with_suffix(".html").is_file(), page


def is_alt_text(text: str | None) -> bool:
    """Whether a text says something: words, and not a file's path."""
    return bool(text) and len(text.split()) >= 2 and not re.search(r"[\w/]+\.\w{3,4}$", text)


@pytest.mark.parametrize(
    "text", [None, "", "figure", "../_images/3b.png", "chapters/a.svg", "see _images/3b.png"]
)
def test_paths_and_single_words_are_no_alt_text(text):
    assert not is_alt_text(text)


def test_every_image_has_alt_text(built_book):
    missing = [
        (page.relative_to(built_book).as_posix(), attributes.get("src"), attributes.get("alt"))
        for page in _pages(built_book)
        for tag, attributes in _elements(page)
        if tag == "img" and not is_alt_text(attributes.get("alt"))
    ]
    assert missing == []


def test_no_page_names_a_foreign_script_style_or_picture(built_book):
    foreign = []
    for page in _pages(built_book):
        for tag, attributes in _elements(page):
            address = attributes.get("src") or ""
            if tag == "link" and attributes.get("rel") not in ("canonical", "next", "prev"):
                address = attributes.get("href") or ""
            if re.match(r"(https?:)?//", address):
                foreign.append((page.name, tag, address))
    assert foreign == []


def test_ledger_page_shows_every_stored_claim(built_book):
    page = (built_book / "chapters" / "appendix" / "ledger.html").read_text(encoding="utf-8")
    text = _text(page)
    records = list(claims.stored(ROOT / "chapters"))
    assert records
    assert f"{len(records)} claims in" in text
    for record in records:
        assert text.count(f" {record['name']} ") == 1, record["name"]
        target = posixpath.relpath(f"{record['chapter']}.html", "appendix")
        assert f'href="{target}#claim-{record["name"].replace(".", "-")}"' in page


@pytest.fixture(scope="module")
def small_html(small_book, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("small")
    result = build(small_book("tables"), output)
    assert result.returncode == 0, result.stdout + result.stderr
    return output / "_build" / "html" / "chapters"


def test_ledger_row_states_the_record(small_html):
    html = (small_html / "ledger.html").read_text(encoding="utf-8")
    text = _text(html)
    assert "1 claims in 1 chapters. All hold." in text
    for part in (
        "Half of one is one half.", "✓ holds", "small.half", "derived on the page",
        "0.5010 ± 0.0010", "8 seeds, 2 settings tried",
        "one percent of finite size", "a third (0.33333)",
        "run in 3.25 s with version 9.8.7",
    ):  # fmt: skip
        assert part in text, part
    assert 'href="ntk/small.html#claim-small-half"' in html
    assert 'href="ntk/small.html#equation-eq-small"' in html
    assert re.search(r'href="#id\d+"', html), "the paper is not linked"
    assert "⟨" not in text


def test_chapter_table_states_the_header(small_html):
    html = (small_html / "index.html").read_text(encoding="utf-8")
    text = _text(html)
    assert "1.1 A small chapter" in text
    assert "20 min" in text
    assert "★ · ★★★" in text
    assert 'href="ntk/small.html#first-section"' in html
    assert 'href="#"' in html, "the link to ../index.md does not lead to this page"
    assert "Jacot" in text


def test_runtime_and_benchmark_tables_state_their_files(small_html):
    text = _text((small_html / "ledger.html").read_text(encoding="utf-8"))
    assert re.search(r"1\.1 A small chapter\s+3\.2 +210 +2 +9\.8\.7", text)
    assert re.search(r"kernel +peer, jitted +12 ms +1\.5 s +125× +80 / 400", text)
    assert re.search(r"start +peer +1 s +2 s +2× +–", text)
    assert "Measured on 2026-01-31 on a named machine, with peer 1.2.3." in text


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("failed", ({"passed": False},), "the stored claim small.half did not pass"),
        ("twice", ({}, {}), "these claims occur more than once: small.half"),
        ("unlabelled", ({"equation": "eq-nowhere"},), "eq-nowhere"),
        ("unsourced", ({"source": ["nobody1900"]},), "nobody1900"),
    ],
)
def test_build_stops_at_a_claim_that_is_not_in_order(small_book, tmp_path, name, changes, message):
    result = build(small_book(name, claims=changes), tmp_path)
    assert result.returncode != 0
    assert message in result.stdout + result.stderr


def test_negative_claims_are_shown_as_such(small_book, tmp_path):
    negative = {"comes_out": False, "name": "small.negative"}
    result = build(small_book("negative", claims=({}, negative)), tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    text = _text((tmp_path / "_build" / "html" / "chapters" / "ledger.html").read_text("utf-8"))
    assert "1 hold; 1 published statements do not come out at the sizes that run here" in text
    assert "✗ does not come out here" in text


def test_a_header_without_a_field_is_named(small_book):
    root = small_book("header")
    text = root / "chapters" / "ntk" / "small.md"
    text.write_text(text.read_text(encoding="utf-8").replace("minutes: 20", "time: 20"), "utf-8")
    with pytest.raises(ValueError, match="small.md lacks minutes"):
        sphinx_ext.chapters(root)


def test_widget_state_holds_alt_text_for_every_frame():
    frames = 0
    for path in (ROOT / "chapters").rglob("*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for state in notebook["metadata"].get("widgets", {}).values():
            for model in state["state"].values():
                for image in re.findall("<img[^>]*>", str(model["state"].get("value", ""))):
                    frames += 1
                    attributes = _Elements(image).found[0][1]
                    assert is_alt_text(attributes.get("alt")), (path.name, image[:80])
    assert frames > 0
