"""Chapters run with shifted seeds: what hangs on its seed is named, all else passes."""

from pathlib import Path

import pytest

from course.book import reseed

HEADER = """\
---
jupytext:
  formats: md:myst,ipynb
  text_representation: {extension: .md, format_name: myst}
kernelspec: {display_name: Python 3, language: python, name: python3}
---
"""
CLAIM = """\
claim("page.{name}", "The draw comes out again.", source="derived", predicted={predicted},
      measured=draw, tolerance=1e-9, because="the same generator gives the same draw")
"""
DRAWS = {
    "rng": "draw = runtime.rng(3).random()",
    "a process of its own": (
        "import joblib\ndraw = joblib.Parallel(2)([joblib.delayed(lambda: "
        "runtime.rng(3).random())() for _ in range(2)])[0]"
    ),
    "generator": "import torch\ndraw = torch.rand(1, generator=runtime.generator(3)).item()",
}


def page(folder: Path, *cells: str) -> Path:
    path = folder / "page.md"
    blocks = "".join(f"```{{code-cell}} ipython3\n{cell}\n```\n" for cell in cells)
    path.write_text(HEADER + blocks, encoding="utf-8")
    return path


@pytest.mark.parametrize("maker", DRAWS)
def test_seeds_are_shifted_and_a_claim_that_hangs_on_one_is_named(tmp_path, maker, capsys):
    scope: dict = {}
    exec(f"from course import runtime\n{DRAWS[maker]}", scope)
    cells = (
        f"from course import runtime\nfrom course.claims import claim\n{DRAWS[maker]}",
        CLAIM.format(name="lucky", predicted=scope["draw"]),
        CLAIM.format(name="sound", predicted="draw"),
    )
    path = page(tmp_path, *cells)
    assert reseed.reseeded(path, 0) == (2, [])
    passed, (failed,) = reseed.reseeded(path, 5)
    assert passed == 1
    assert failed.startswith("[page.lucky] ClaimFailed: page.lucky: measured")
    assert reseed.main([str(path), "--shift", "5"]) == 1
    assert "1 chapters with seeds shifted by 5: 1 cells failed" in capsys.readouterr().out
    assert not path.with_suffix(".ipynb").exists()


def test_a_cell_that_raises_does_not_hide_the_next(tmp_path):
    passed, failed = reseed.reseeded(page(tmp_path, "1 / 0", "undefined"), 1)
    assert passed == 0
    assert [line.split(":")[0] for line in failed] == [
        "[no claim] ZeroDivisionError", "[no claim] NameError"
    ]  # fmt: skip


@pytest.mark.parametrize("given", [["--shift", "-1"], ["missing"]])
def test_bad_arguments_are_named(given, capsys):
    with pytest.raises(SystemExit):
        reseed.main(given)
    assert "allowed are" in capsys.readouterr().err
