"""Sphinx extension of the book: tables written at build time from what the chapters store.

It adds the directives ``{chapter-table}`` (from the chapters' headers), ``{ledger}`` (from the
claims in the stored outputs), ``{runtime-table}`` (from the notebooks' metadata) and
``{benchmark-table} FILE`` (from a result file of ``benchmarks``), and it shows the launch, edit and
repository buttons only where ``_config.yml`` states the public address.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from course import claims

__all__ = ["Chapter", "chapters", "setup"]

STARS = {1: "★", 2: "★★", 3: "★★★"}
_ATTRIBUTE_TYPE = re.compile(r":vartype ([^:]+): (.+)")


class Chapter(NamedTuple):
    """A page of the table of contents that has a ``chapter:`` header.

    Attributes
    ----------
    docname : str
        Path from the book's root, without suffix.
    title : str
        Text of its first heading.
    header : dict
        What stands under ``chapter:``.
    run : dict
        What its notebook records of its last run; empty without a notebook.
    """

    docname: str
    title: str
    header: dict[str, Any]
    run: dict[str, Any]


def _pages(entry: dict) -> list[str]:
    """Files of a table of contents, in order."""
    found = [entry[key] for key in ("root", "file") if key in entry]
    for key in ("parts", "chapters", "sections"):
        for child in entry.get(key, ()):
            found += _pages(child)
    return found


def chapters(root: Path) -> list[Chapter]:
    """Chapters of the book in ``root``, in the order of its ``_toc.yml``.

    Raises
    ------
    ValueError
        If a chapter of the table of contents has no Markdown, or a header lacks a field.
    """
    found = []
    for page in _pages(yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))):
        path = root / page
        text_path = path.with_suffix(".md")
        if not text_path.is_file():
            raise ValueError(f"{page} stands in _toc.yml, but there is no {text_path.name}")
        text = text_path.read_text(encoding="utf-8")
        front = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
        header = (yaml.safe_load(front[1]) or {}).get("chapter") if front else None
        if header is None:
            continue
        absent = {"number", "minutes", "needs", "papers", "exercises"} - set(header)
        if absent:
            raise ValueError(f"the header of {text_path.name} lacks {', '.join(sorted(absent))}")
        run = {}
        if path.suffix == ".ipynb" and path.is_file():
            notebook = json.loads(path.read_text(encoding="utf-8"))
            run = notebook["metadata"].get("course_run", {})
        title = re.search(r"^# (.+)$", text[front.end() :], re.MULTILINE)[1].strip()
        docname = posixpath.splitext(page)[0]
        found.append(Chapter(docname, title, header, run))
    return found


def _paragraph(*children: nodes.Node, classes: tuple[str, ...] = ()) -> nodes.paragraph:
    paragraph = nodes.paragraph("", "", *children)
    paragraph["classes"] += classes
    return paragraph


def _text(text: str) -> list[nodes.Node]:
    """Text whose parts between ``$`` are mathematics."""
    parts = text.split("$")
    if len(parts) % 2 == 0:
        return [nodes.Text(text)]
    return [
        nodes.math(part, part) if index % 2 else nodes.Text(part)
        for index, part in enumerate(parts)
        if part
    ]


class _Table(SphinxDirective):
    """What the directives share."""

    has_content = False

    @property
    def root(self) -> Path:
        return Path(self.env.srcdir)

    def chapters(self) -> list[Chapter]:
        """Chapters of this book; the page is written anew when one of them changes."""
        try:
            found = chapters(self.root)
        except ValueError as problem:
            raise self.error(str(problem)) from problem
        self.env.note_dependency(str(self.root / "_toc.yml"))
        for chapter in found:
            for suffix in (".md", ".ipynb"):
                self.env.note_dependency(str(self.root / f"{chapter.docname}{suffix}"))
        return found

    def markdown(self, text: str) -> list[nodes.Node]:
        """Inline nodes of one paragraph of Markdown."""
        parsed = self.parse_text_to_nodes(text)
        return parsed[0].children if parsed else []

    def link(self, chapter: Chapter) -> nodes.Node:
        """Link to a chapter, with its number."""
        reference = addnodes.pending_xref(
            "", nodes.Text(f"{chapter.header['number']} {chapter.title}"),
            refdomain="std", reftype="doc", refexplicit=True, refwarn=True,
            reftarget=f"/{chapter.docname}", refdoc=self.env.docname,
        )  # fmt: skip
        return reference

    def cite(self, keys: list[str]) -> list[nodes.Node]:
        """Links to papers."""
        return self.markdown(f"{{cite:t}}`{','.join(keys)}`") if keys else []

    def table(
        self, titles: dict[str, int], rows: list[list[nodes.Element | str]], kind: str
    ) -> nodes.table:
        """Table from column titles with their relative widths, and rows of cells."""
        table = nodes.table(classes=["book-table", "colwidths-given", kind])
        group = nodes.tgroup(cols=len(titles))
        group += [nodes.colspec(colwidth=width) for width in titles.values()]
        head, body = nodes.thead(), nodes.tbody()
        head += self._row([_paragraph(nodes.Text(title)) for title in titles])
        for row in rows:
            body += self._row(row)
        group += [head, body]
        table += group
        return table

    @staticmethod
    def _row(cells: list[nodes.Element | str]) -> nodes.row:
        row = nodes.row()
        for cell in cells:
            entry = nodes.entry()
            entry += _paragraph(*_text(cell)) if isinstance(cell, str) else cell
            row += entry
        return row


class ChapterTable(_Table):
    """``{chapter-table}``: chapters with minutes, prerequisites, exercises and papers."""

    def run(self) -> list[nodes.Node]:
        rows = []
        for chapter in self.chapters():
            header = chapter.header
            rows.append(
                [
                    _paragraph(self.link(chapter)),
                    f"{header['minutes']} min",
                    _paragraph(*self._needs(chapter)),
                    " · ".join(STARS[exercise["difficulty"]] for exercise in header["exercises"]),
                    _paragraph(*self.cite(header["papers"])),
                ]
            )
        titles = {"Chapter": 30, "Read": 9, "You need": 25, "Exercises": 14, "Papers": 22}
        return [self.table(titles, rows, "chapter-table")]

    def _needs(self, chapter: Chapter) -> list[nodes.Node]:
        folder = posixpath.dirname(chapter.docname)

        def from_root(match: re.Match) -> str:
            path = posixpath.normpath(posixpath.join(folder, match[1]))
            return f"](/{path}{match[2] or ''})"

        text = ", ".join(chapter.header["needs"])
        return self.markdown(re.sub(r"\]\((?!#|https?:)([^)#]+)(#[^)]*)?\)", from_root, text))


class Ledger(_Table):
    """``{ledger}``: every claim of the book, as its stored outputs record it."""

    def run(self) -> list[nodes.Node]:
        by_chapter: dict[str, list[dict]] = {}
        for record in claims.stored(self.root / "chapters"):
            if not record["passed"]:
                raise ExtensionError(f"the stored claim {record['name']} did not pass")
            by_chapter.setdefault(f"chapters/{record['chapter']}", []).append(record)
        names = Counter(record["name"] for records in by_chapter.values() for record in records)
        twice = sorted(name for name, count in names.items() if count > 1)
        if twice:
            raise ExtensionError(f"these claims occur more than once: {', '.join(twice)}")
        found = [chapter for chapter in self.chapters() if chapter.docname in by_chapter]
        negative = sum(
            not record["comes_out"] for records in by_chapter.values() for record in records
        )
        verdict = "All hold."
        if negative:
            verdict = (
                f"{names.total() - negative} hold; {negative} published statements do not come "
                "out at the sizes that run here."
            )
        summary = _paragraph(
            nodes.Text(f"{names.total()} claims in {len(found)} chapters. {verdict}"),
            classes=("ledger__summary",),
        )
        return [summary, *(self._chapter(c, by_chapter[c.docname]) for c in found)]

    def _chapter(self, chapter: Chapter, records: list[dict]) -> nodes.section:
        title = f"{chapter.header['number']} {chapter.title}"
        section = nodes.section(ids=[f"ledger-{nodes.make_id(chapter.docname)}"], names=[title])
        section += nodes.title("", title)
        section += _paragraph(
            self.link(chapter),
            nodes.Text(f": {len(records)} claims{_run_words(chapter.run)}."),
        )
        rows = [self._claim(record) for record in records]
        titles = {"Claim": 33, "Predicted": 13, "Measured": 15, "Tolerance": 23, "Rules out": 16}
        section += self.table(titles, rows, "ledger")
        return section

    def _claim(self, record: dict) -> list[nodes.Element | str]:
        words = {key: re.sub("[⟨⟩]", "", value) for key, value in claims.describe(record).items()}
        verdict = ("✓", "holds") if record["comes_out"] else ("✗", "does not come out here")
        state = "pass" if record["comes_out"] else "negative"
        mark = nodes.inline("", f"{verdict[0]} {verdict[1]}", classes=["ledger__verdict"])
        mark["classes"].append(f"ledger__verdict--{state}")
        origin: list[nodes.Node] = [nodes.literal("", record["name"])]
        if record["equation"]:
            origin += [nodes.Text(" · "), *self.markdown(f"{{eq}}`{record['equation']}`")]
        keys = [key for key in record["source"] if key != "derived"]
        if "derived" in record["source"]:
            origin.append(nodes.Text(" · derived on the page"))
        if keys:
            origin += [nodes.Text(" · "), *self.cite(keys)]
        anchor = f"{record['chapter']}.html#claim-{record['name'].replace('.', '-')}"
        page = posixpath.relpath(f"chapters/{anchor}", posixpath.dirname(self.env.docname))
        statement = nodes.reference("", "", *_text(record["statement"]), refuri=page, internal=True)
        counts = [f"{words['seeds']} seeds"] if "seeds" in words else []
        counts += [f"{words['tried']} tried"] if "tried" in words else []
        return [
            nodes.container(
                "",
                _paragraph(statement),
                _paragraph(mark, nodes.Text(" · "), *origin, classes=("ledger__origin",)),
            ),
            words["predicted"],
            self._stacked(words["measured"], ", ".join(counts)),
            self._stacked(words["tolerance"], record["because"]),
            words.get("rejects", "–"),
        ]

    @staticmethod
    def _stacked(first: str, second: str) -> nodes.container:
        lines = [_paragraph(*_text(first))]
        if second:
            lines.append(_paragraph(*_text(second), classes=("ledger__note",)))
        return nodes.container("", *lines)


def _run_words(run: dict) -> str:
    if not run:
        return ""
    return f"; run in {run['seconds']:g} s with version {run['version']} of the package"


class ChapterFigure(_Table):
    """``{chapter-figure} ntk/gradient_flow 0``: a picture that a chapter stores, with its alt text.

    The number counts the chapter's pictures from 0.
    """

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        page, number = f"chapters/{self.arguments[0]}", int(self.arguments[1])
        path = self.root / f"{page}.ipynb"
        if not path.is_file():
            raise self.error(f"there is no notebook {page}.ipynb")
        self.env.note_dependency(str(path))
        pictures = [
            (output["data"]["image/png"], cell["metadata"]["mystnb"]["image"]["alt"])
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
            for output in cell.get("outputs", ())
            if "image/png" in output.get("data", ())
        ]
        if not 0 <= number < len(pictures):
            raise self.error(f"{page} stores {len(pictures)} pictures; there is no number {number}")
        code, alt = pictures[number]
        data = "".join(code.split())
        image = nodes.image(uri=f"data:image/png;base64,{data}", alt=alt, align="center")
        return [image]


class RuntimeTable(_Table):
    """``{runtime-table}``: seconds and peak memory of every chapter, as last run."""

    def run(self) -> list[nodes.Node]:
        rows = []
        for chapter in self.chapters():
            run = chapter.run
            cells = ["–"] * 4
            if run:
                cells = [f"{run['seconds']:.1f}", f"{run['peak_mb']:.0f}", f"{run['threads']}"]
                cells.append(run["version"])
            rows.append([_paragraph(self.link(chapter)), *cells])
        titles = {"Chapter": 44, "Seconds": 12, "Peak MB": 14, "Threads": 14, "Version": 16}
        return [self.table(titles, rows, "numbers")]


class BenchmarkTable(_Table):
    """``{benchmark-table} FILE``: a result file of ``benchmarks``, with the machine named."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        path = self.root / self.arguments[0]
        if not path.is_file():
            raise self.error(f"there is no result file {self.arguments[0]}")
        self.env.note_dependency(str(path))
        result = json.loads(path.read_text(encoding="utf-8"))
        rows = [
            [
                row["task"],
                row["peer"],
                _seconds(row["ours"]),
                _seconds(row["peer_seconds"]),
                f"{row['ratio']:.3g}×",
                _memory(row["memory_mb"], row["peer_memory_mb"]),
            ]
            for row in result["rows"]
        ]
        titles = {
            "Task": 30, "Beside": 24, "Here": 11, "There": 11, "Times faster": 11,
            "Peak MB, here / there": 13,
        }  # fmt: skip
        versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        note = f"Measured on {result['date']} on {result['machine']}, with {versions}."
        table = self.table(titles, rows, "numbers")
        return [table, _paragraph(nodes.Text(note), classes=("book-table__note",))]


def _memory(ours: float | None, theirs: float | None) -> str:
    return "–" if ours is None or theirs is None else f"{ours:.0f} / {theirs:.0f}"


def _seconds(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s"


def _apply_address(app: Sphinx, config: Config) -> None:
    """Show the buttons that need the public address only where it is known."""
    options = config.html_theme_options
    known = bool(options.get("repository_url"))
    if not known:
        options.pop("launch_buttons", None)
    for button in ("use_edit_page_button", "use_issues_button", "use_repository_button"):
        options[button] = known


def _edit_the_text(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Let "Suggest edit" open the text of a pair, not its notebook."""
    if not (app.srcdir / f"{pagename}.md").is_file():
        return
    for group in context.get("header_buttons", ()):
        for button in group.get("buttons", ()):
            if button.get("label") == "source-edit-button":
                button["url"] = button["url"].removesuffix(".ipynb").removesuffix(".md") + ".md"


def _mark_predictions(app: Sphinx, doctree: nodes.document) -> None:
    """Give every "Predict, then run" box its own look, whichever kind of box it is."""
    for box in doctree.findall(nodes.Admonition):
        title = next(iter(box.findall(nodes.title)), None)
        if title is not None and title.astext().startswith("Predict, then run"):
            box["classes"].append("predict")


def _list_the_references(app: Sphinx, pagename: str, templatename: str, context: dict, doctree):
    """Give the entries of a bibliography the role that their list requires."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def _plain_types(app: Sphinx, what, name: str, obj, options, lines: list[str]) -> None:
    """Print the types of documented attributes as they stand, words and shapes, without links."""
    types = dict(found.groups() for line in lines if (found := _ATTRIBUTE_TYPE.match(line)))

    def with_type(found: re.Match) -> str:
        # Sphinx would read the first of two names as the type of the second.
        names = found[1].replace(", ", ",")
        return f":ivar {names}: ({types[found[1]]}) " if found[1] in types else f":ivar {names}: "

    lines[:] = [
        re.sub(r"^:ivar ([^:]+): ", with_type, line)
        for line in lines
        if not _ATTRIBUTE_TYPE.match(line)
    ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives; called by Sphinx."""
    app.add_directive("chapter-table", ChapterTable)
    app.add_directive("chapter-figure", ChapterFigure)
    app.add_directive("ledger", Ledger)
    app.add_directive("runtime-table", RuntimeTable)
    app.add_directive("benchmark-table", BenchmarkTable)
    app.connect("config-inited", _apply_address)
    app.connect("autodoc-process-docstring", _plain_types, priority=600)
    app.connect("doctree-read", _mark_predictions)
    app.connect("html-page-context", _edit_the_text, priority=502)
    app.connect("html-page-context", _list_the_references)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
