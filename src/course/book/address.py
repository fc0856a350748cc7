"""The book's public address: written in one go wherever it stands.

``python -m course.book.address URL`` writes it to ``_config.yml`` (which shows the launch, edit and
repository buttons), to the text of the bootstrap cell and to that cell in every chapter.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["ALLOWED", "main", "normalise", "write"]

ALLOWED = (
    "https://github.com/OWNER/NAME(.git), git@github.com:OWNER/NAME(.git) and "
    "ssh://git@github.com/OWNER/NAME(.git)"
)

_FORM = re.compile(
    r"(?:https://github\.com/|git@github\.com:|ssh://git@github\.com/)"
    r"(?P<owner>[A-Za-z0-9](?:[A-Za-z0-9-]{0,38}))/(?P<name>[A-Za-z0-9._-]{1,100}?)(?:\.git)?/?"
)
_CONFIG_LINE = re.compile(r'(?m)^(repository:\n  url: )"[^"\n]*"$')
_CELL_LINE = re.compile(r'(?m)^ADDRESS = "[^"\n]*"$')
_NOTEBOOK_LINE = re.compile(r'"ADDRESS = \\"[^"\\]*\\"(\\n)"')


def normalise(url: str) -> str:
    """The https form of a GitHub address.

    Raises
    ------
    ValueError
        For anything but the forms in :data:`ALLOWED`.
    """
    found = _FORM.fullmatch(url)
    if found is None or found["name"] in (".", "..", ".git"):
        raise ValueError(f"url is {url!r}; allowed are {ALLOWED}")
    return f"https://github.com/{found['owner']}/{found['name']}"


def _replace(path: Path, pattern: re.Pattern, replacement: str) -> str:
    """Text of a file with its one address replaced."""
    text, count = pattern.subn(replacement, path.read_text(encoding="utf-8"))
    if count != 1:
        raise ValueError(f"{path} states the address {count} times; allowed is once")
    return text


def write(url: str, root: Path) -> list[Path]:
    """Write the address to every file under ``root`` that states it; ``""`` unsets it.

    Parameters
    ----------
    url : str
        An address in one of the forms of :data:`ALLOWED`, or ``""``.
    root : Path
        The folder with ``_config.yml``.

    Returns
    -------
    list of Path
        The files that changed.

    Raises
    ------
    ValueError
        For another form, or if a file does not state the address exactly once. Nothing is written
        then.
    """
    address = normalise(url) if url else ""
    chapters = [
        path
        for path in sorted((root / "chapters").rglob("*.md"))
        if _CELL_LINE.search(path.read_text(encoding="utf-8"))
    ]
    notebooks = [path.with_suffix(".ipynb") for path in chapters]
    texts = {root / "_config.yml": _replace(root / "_config.yml", _CONFIG_LINE, rf'\1"{address}"')}
    template = root / "src" / "course" / "book" / "bootstrap.txt"
    for path in (template, *chapters):
        texts[path] = _replace(path, _CELL_LINE, f'ADDRESS = "{address}"')
    for path in filter(Path.is_file, notebooks):
        texts[path] = _replace(path, _NOTEBOOK_LINE, rf'"ADDRESS = \\"{address}\\"\1"')
    changed = [path for path, text in texts.items() if path.read_text(encoding="utf-8") != text]
    for path in changed:
        path.write_text(texts[path], encoding="utf-8")
    return changed


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the book's public address into every file that states it."""
    parser = argparse.ArgumentParser(prog="python -m course.book.address", description=main.__doc__)
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument("url", nargs="?", help=ALLOWED)
    form.add_argument("--unset", action="store_true", help="forget the address")
    parser.add_argument("--root", type=Path, default=Path(), help="folder of _config.yml")
    options = parser.parse_args(arguments)
    try:
        changed = write("" if options.unset else normalise(options.url), options.root)
    except ValueError as problem:
        parser.error(str(problem))
    for path in changed:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
