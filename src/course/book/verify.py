"""Execute notebooks again and compare every output with the stored one (nbval).

Each of two workers gets one thread, so outputs that were stored with two threads are checked with
one. Where a kernel hangs all is tried once more; an output that differs gets no second try.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psutil

from course.book import pairs

__all__ = ["changed", "main"]

CELL_LIMIT = 300
HANGING = ("Timeout of ", "Timed out waiting for idle kernel", "Kernel dead on test start")
"""How nbval says that a kernel hung or died."""
SANITIZE = Path("tests/nbval_sanitize.cfg")


def _environment() -> dict[str, str]:
    names = ("OMP", "OPENBLAS", "MKL", "NUMBA")
    threads = {f"{name}_NUM_THREADS": "1" for name in names}
    own = {name: value for name, value in os.environ.items() if name != "BINDER_SERVICE_HOST"}
    return own | threads | {"COURSE_PROGRESS": "off", "CUDA_VISIBLE_DEVICES": ""}


def _pytest(notebooks: Sequence[Path], limit: float) -> tuple[bool, bool]:
    """Run nbval over notebooks: whether it passed, and whether something hung."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "report.xml")
        command = [
            sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env",
            "--nbval-cell-timeout", str(CELL_LIMIT), "--nbval-sanitize-with", SANITIZE,
            "-p", "no:cacheprovider", "--junitxml", report, "-n", "2", "--dist", "loadscope",
            *notebooks,
        ]  # fmt: skip
        process = subprocess.Popen(command, env=_environment())
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            print(f"not finished after {limit:g} s", file=sys.stderr)
            return False, True
        finally:
            _end(process)
        text = report.read_text(encoding="utf-8") if report.is_file() else ""
        return status == 0, status != 0 and any(sign in text for sign in HANGING)


def _end(process: subprocess.Popen) -> None:
    """End a process that still runs, and all that it started."""
    if process.poll() is not None:
        return
    for member in [*psutil.Process(process.pid).children(recursive=True), process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


def changed(notebooks: Sequence[Path]) -> list[Path]:
    """Those of the notebooks that differ from the last commit, or are not in it."""
    command = ["git", "status", "--porcelain", "--untracked-files=all", "-z", "--no-renames", "--"]
    listing = subprocess.run(
        [*command, *notebooks], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    top = subprocess.run(
        ["git", "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=True
    ).stdout.strip()
    names = {Path(top, entry[3:]).resolve() for entry in listing.split("\0") if entry}
    return [notebook for notebook in notebooks if notebook.resolve() in names]


def main(arguments: Sequence[str] | None = None) -> int:
    """Execute notebooks and compare their outputs with the stored ones; 1 if one differs."""
    parser = argparse.ArgumentParser(prog="python -m course.book.verify", description=main.__doc__)
    parser.add_argument("paths", nargs="*", type=Path, default=[Path("chapters")])
    parser.add_argument("--changed", action="store_true", help="only those not yet committed")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for one try")
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
    passed, hung = _pytest(notebooks, options.limit)
    if hung:
        print("a kernel hung; trying once more", file=sys.stderr)
        passed, _ = _pytest(notebooks, options.limit)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
