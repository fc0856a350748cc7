"""Fixtures that several tests share: the book, built once, and a small book to break."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

CHAPTER = """\
---
jupytext:
  formats: md:myst,ipynb
  notebook_metadata_filter: chapter
  text_representation: {extension: .md, format_name: myst}
kernelspec: {display_name: Python 3, language: python, name: python3}
chapter:
  number: "1.1"
  part: ntk
  minutes: 20
  needs: ["[where it starts](../index.md)", "[the first section](#first-section)"]
  papers: [jacot2018]
  exercises: [{name: ntk.1, difficulty: 1, minutes: 5}, {name: ntk.2, difficulty: 3, minutes: 20}]
---

# A small chapter

```{code-cell} ipython3
:tags: [bootstrap, remove-cell]

BOOTSTRAP
```

(first-section)=
## First section

$$ a = b $$ (eq-small)

```{code-cell} ipython3
from course.claims import claim
```
"""


def build(source: Path, output: Path) -> subprocess.CompletedProcess:
    """Build the book in ``source`` to ``output/_build/html``; warnings are errors."""
    command = [
        str(Path(sys.executable).with_name("jupyter-book")), "build", str(source),
        "--path-output", str(output), "-W", "-n", "--keep-going", "--all",
    ]  # fmt: skip
    environment = os.environ | {"NO_COLOR": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=600, check=False
    )


@pytest.fixture(scope="session")
def built_book(tmp_path_factory) -> Path:
    """Folder of the built HTML: that of ``COURSE_HTML``, or built now."""
    given = os.environ.get("COURSE_HTML")
    if given:
        html = Path(given).resolve()
        assert (html / "chapters" / "index.html").is_file(), f"COURSE_HTML: no book in {html}"
        return html
    output = tmp_path_factory.mktemp("book")
    result = build(ROOT, output)
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    return output / "_build" / "html"


@pytest.fixture(scope="module")
def small_book(tmp_path_factory) -> Callable[..., Path]:
    """Make a book of one chapter with the real configuration and assets.

    ``small_book(name, claims=[...])`` writes it, with one claim output for every change to a
    record that passes, and returns its folder.
    """
    import jupytext
    import nbformat

    from course.claims import METADATA_KEY, evaluate

    record = evaluate(
        "small.half", "Half of one is one half.", source=("jacot2018", "derived"),
        predicted=0.5, measured=0.501, stderr=0.001, seeds=8, tolerance=0.01,
        because="one percent of finite size", rejects=("a third", 1 / 3), equation="eq-small",
        tried=2,
    )  # fmt: skip

    def make(name: str, claims: tuple[dict, ...] = ({},)) -> Path:
        root = tmp_path_factory.mktemp(name)
        for file in ("_config.yml", "references.bib"):
            (root / file).write_bytes((ROOT / file).read_bytes())
        (root / "_assets").symlink_to(ROOT / "_assets")
        package = root / "src" / "course" / "book"
        package.mkdir(parents=True)
        bootstrap = (ROOT / "src" / "course" / "book" / "bootstrap.txt").read_text("utf-8")
        (package / "bootstrap.txt").write_text(bootstrap, encoding="utf-8")
        (root / "chapters" / "ntk").mkdir(parents=True)
        (root / "_toc.yml").write_text(
            "format: jb-book\nroot: chapters/index.md\nchapters:\n"
            "  - file: chapters/ntk/small.ipynb\n  - file: chapters/ledger.md\n"
        )
        (root / "bench.json").write_text(
            '{"machine": "a named machine", "date": "2026-01-31", "versions": {"peer": "1.2.3"},'
            ' "rows": [{"task": "kernel", "ours": 0.012, "peer": "peer, jitted",'
            ' "peer_seconds": 1.5, "ratio": 125.0, "memory_mb": 80, "peer_memory_mb": 400},'
            ' {"task": "start", "ours": 1.0, "peer": "peer", "peer_seconds": 2.0, "ratio": 2.0,'
            ' "memory_mb": null, "peer_memory_mb": null}]}'
        )
        (root / "chapters" / "index.md").write_text("# A book\n\n```{chapter-table}\n```\n")
        (root / "chapters" / "ledger.md").write_text(
            "# Ledger\n\n```{runtime-table}\n```\n\n```{benchmark-table} bench.json\n```\n\n"
            "```{bibliography}\n```\n\n## Claims\n\n```{ledger}\n```\n"
        )
        text = root / "chapters" / "ntk" / "small.md"
        text.write_text(CHAPTER.replace("BOOTSTRAP", bootstrap.rstrip()), encoding="utf-8")
        notebook = jupytext.read(text, fmt="md:myst")
        notebook.metadata["course_run"] = {
            "seconds": 3.25, "peak_mb": 210, "threads": 2, "version": "9.8.7",
        }  # fmt: skip
        notebook.cells[-1].outputs = [
            nbformat.v4.new_output(
                "display_data", {"text/plain": "a claim"}, metadata={METADATA_KEY: record | change}
            )
            for change in claims
        ]
        nbformat.write(notebook, text.with_suffix(".ipynb"))
        return root

    return make
