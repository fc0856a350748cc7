"""Front matter: README, licences, citation file, notation, and the list of modules."""

import dataclasses
import importlib
import inspect
import pkgutil
import re
import struct
import tomllib
from pathlib import Path

import pytest
import yaml

import course

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NOTATION = (ROOT / "chapters/appendix/notation.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def modules() -> list[str]:
    """Names of the package's public modules: not the book's machinery, not the checkers."""
    found = pkgutil.walk_packages(course.__path__, "course.")
    return sorted(
        module.name
        for module in found
        if not module.ispkg
        and not module.name.startswith("course.book.")
        and ".exercises." not in module.name
    )


# README


def test_commands_of_the_readme_are_targets_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):(?!=)", makefile, flags=re.MULTILINE))
    commands = set(re.findall(r"\bmake ([a-z][a-z-]*)\b(?=[^a-z])", "".join(code_spans(README))))
    assert {"book", "test", "serve", "run", "check", "address"} <= commands
    assert commands <= targets


def code_spans(markdown: str) -> list[str]:
    """Code blocks and inline code of a page."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", markdown, flags=re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    return blocks + [span + "\n" for span in re.findall(r"`([^`\n]+)`", rest)]


def test_files_that_the_readme_names_exist():
    named = {
        span.strip()
        for span in code_spans(README)
        if re.fullmatch(r"[A-Za-z_.][\w./-]*(/[\w-]+|\.(md|cff|txt|yml|toml))", span.strip())
        and not span.startswith(("_build", ".venv", "."))
    }
    named |= set(re.findall(r"\]\(([^)#]+)\)", README)) | {"LICENSE", "LICENSE-TEXT"}
    assert {"requirements.txt", "CITATION.cff", "_assets/screenshot.png"} <= named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_the_screenshot_is_a_picture_of_a_page():
    data = (ROOT / "_assets/screenshot.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert width >= 1000
    assert height >= 600
    assert len(data) <= 600_000


def test_the_readme_names_the_python_versions_that_the_project_allows():
    assert PROJECT["requires-python"] == ">=3.11"
    assert "Python 3.11, 3.12 or 3.13" in README


# Licences and citation


def test_licence_files_hold_the_licences_that_the_readme_names():
    code = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert code.startswith("BSD 3-Clause License")
    assert "The Mechanics of Learning contributors" in code
    assert PROJECT["license"] == "BSD-3-Clause"
    text = (ROOT / "LICENSE-TEXT").read_text(encoding="utf-8")
    assert text.startswith("Creative Commons Attribution 4.0 International Public License")
    for section in range(1, 9):
        assert f"Section {section} " in text


def test_the_citation_names_the_contributors_and_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["authors"] == [{"name": "The Mechanics of Learning contributors"}]
    assert citation["title"] == "The Mechanics of Learning"
    assert str(citation["version"]) == PROJECT["version"] == course.__version__
    assert citation["license"] == PROJECT["license"]


# Notation


def rows(markdown: str) -> list[tuple[str, str, str]]:
    """Cells of the three-column tables of a page, without the header lines."""
    cells = [
        tuple(cell.strip() for cell in line.strip().strip("|").split("|"))
        for line in markdown.replace(r"\|", "&vert;").splitlines()
        if line.startswith("|")
    ]
    return [row for row in cells if len(row) == 3 and row[0] != "symbol" and set(row[0]) != {"-"}]


def test_a_symbol_has_one_meaning():
    symbols = [row[0] for row in rows(NOTATION)]
    assert len(symbols) >= 20
    assert sorted(symbols) == sorted(set(symbols))
    assert all(all(row[:2]) for row in rows(NOTATION))


def names_in_the_package() -> set[str]:
    """Public names of the package, with their parameters and fields."""
    names = set()
    for name in modules():
        module = importlib.import_module(name)
        for public, thing in inspect.getmembers(module):
            foreign = inspect.ismodule(thing) or getattr(thing, "__module__", name) != name
            if public.startswith("_") or foreign:
                continue
            names.add(public)
            if inspect.isclass(thing):
                fields = dataclasses.fields(thing) if dataclasses.is_dataclass(thing) else ()
                names |= {field.name for field in fields} | set(getattr(thing, "_fields", ()))
                names |= {member for member in vars(thing) if not member.startswith("_")}
                thing = vars(thing).get("__init__")
            if inspect.isfunction(thing):
                names |= set(inspect.signature(thing).parameters)
    return names


def test_names_in_the_notation_exist_in_the_package():
    known = names_in_the_package()
    named = {
        part
        for row in rows(NOTATION)
        for span in re.findall(r"`([^`]+)`", row[2])
        for part in re.findall(r"[A-Za-z_]\w*", span)
        if part != "course"
    }
    stems = {module.rpartition(".")[2] for module in modules()} | {"ntk"}
    assert len(named) >= 15
    assert sorted(named - known - stems) == []


# Package reference


@pytest.mark.parametrize("module", modules())
def test_every_module_stands_in_the_reference(module):
    page = (ROOT / "chapters/appendix/api.md").read_text(encoding="utf-8")
    assert f".. automodule:: {module}\n" in page
