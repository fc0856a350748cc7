"""Execute notebooks again and compare every output with the stored one (nbval).

Each of two workers gets one thread, so outputs that were stored with two threads are checked with
one. Where a kernel hangs all is tried once more; an output that differs gets no second try.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from course.book import kernel, pairs

__all__ = ["changed", "main"]

HANGING = ("Timeout of ", "Timed out waiting for idle kernel", "Kernel dead on test start")
"""How nbval says that a kernel hung or died."""
SANITIZE = Path("tests/nbval_sanitize.cfg")


def _pytest(notebooks: Sequence[Path], limit: float, cell_limit: float) -> tuple[bool, bool]:
    """Run nbval over notebooks: whether it passed, and whether something hung."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "report.xml")
        command = [
            sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env",
            "--nbval-cell-timeout", str(cell_limit), "--nbval-sanitize-with", SANITIZE,
            "-p", "no:cacheprovider", "--junitxml", report, "-n", "2", "--dist", "loadscope",
            *notebooks,
        ]  # fmt: skip
        process = subprocess.Popen(command, env=kernel.environment(1))
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            print(f"not finished after {limit:g} s", file=sys.stderr)
            return False, True
        finally:
            kernel.end(process)
        text = report.read_text(encoding="utf-8") if report.is_file() else ""
        return status == 0, status != 0 and any(sign in text for sign in HANGING)


def _git(*arguments: str | Path) -> str:
    """What git prints, whoever owns the folder."""
    command = ["git", "-c", "safe.directory=*", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def changed(notebooks: Sequence[Path]) -> list[Path]:
    """Those of the notebooks that differ from the last commit, or are not in it.

    Where git cannot tell, a line says so, and all of them count as changed.
    """
    options = ("--porcelain", "--untracked-files=all", "-z", "--no-renames")
    try:
        top = _git("rev-parse", "--show-toplevel").rstrip("\n")
        listing = _git("status", *options, "--", *notebooks)
    except (FileNotFoundError, subprocess.CalledProcessError) as problem:
        reason = (getattr(problem, "stderr", None) or str(problem)).strip()
        print(f"git cannot tell what changed, so all is verified: {reason}", file=sys.stderr)
        return list(notebooks)
    names = {Path(top, entry[3:]).resolve() for entry in listing.split("\0") if entry}
    return [notebook for notebook in notebooks if notebook.resolve() in names]


def main(arguments: Sequence[str] | None = None) -> int:
    """Execute notebooks and compare their outputs with the stored ones; 1 if one differs."""
    parser = argparse.ArgumentParser(prog="python -m course.book.verify", description=main.__doc__)
    parser.add_argument("paths", nargs="*", type=Path, default=[Path("chapters")])
    parser.add_argument("--changed", action="store_true", help="only those not yet committed")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for one try")
    parser.add_argument("--cell-limit", type=float, default=300.0, help="seconds for a cell")
    options = parser.parse_args(arguments)
    try:
        notebooks = [path.with_suffix(".ipynb") for path in pairs.chapters(options.paths)]
    except ValueError as problem:
        parser.error(str(problem))
    if options.changed:
        notebooks = changed(notebooks)
    if not notebooks:
        print("no notebook to verify")
        return 0
    passed, hung = _pytest(notebooks, options.limit, options.cell_limit)
    if hung:
        print("a kernel hung; trying once more", file=sys.stderr)
        passed, _ = _pytest(notebooks, options.limit, options.cell_limit)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
