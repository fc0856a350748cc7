"""Run one notebook in a kernel, in a process that can be ended from outside.

An executing client can wait for an idle kernel for ever, so :func:`run_notebook` starts it as a
process of its own and ends that process, with its kernel, at a time limit.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

__all__ = ["THREADS", "Hung", "Outcome", "end", "environment", "run_notebook"]

THREADS = 2
STARTUP = 120.0
"""Seconds that a process and its kernel may take before the first cell."""
_STARTED, _PROGRESS = "--- first cell ---", "--- cell done ---"

# Runs in the kernel after the last cell, and is not stored.
_COLLECT = """
def _collect():
    import json, pathlib, platform, sys
    report = {"root": None, "files": [], "peak_mb": None, "version": None}
    package = sys.modules.get("course")
    if package is not None:
        root = pathlib.Path(package.__file__).parent
        names = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
        files = {pathlib.Path(name) for name in names if name}
        if "course.runtime" in sys.modules:
            files |= {pathlib.Path(name) for name in sys.modules["course.runtime"].loaded_files()}
        report["root"] = str(root)
        report["files"] = sorted(
            file.relative_to(root).as_posix() for file in files if root in file.parents
        )
        report["version"] = package.__version__
    status = pathlib.Path("/proc/self/status")
    if status.is_file():
        peak = status.read_text().split("VmHWM:")[1].split()[0]
        report["peak_mb"] = round(int(peak) / 1024)
    report["versions"] = {"python": platform.python_version()} | {
        name: sys.modules[name].__version__.split("+")[0]
        for name in ("numpy", "scipy", "torch", "matplotlib")
        if name in sys.modules
    }
    print(json.dumps(report))
_collect()
"""


class Hung(Exception):
    """A run neither finished nor failed: a time limit passed, or the kernel died."""


class Outcome(NamedTuple):
    """What a run gave.

    Attributes
    ----------
    notebook : NotebookNode
        With outputs, up to the failing cell if one failed.
    failed : bool
        Whether a cell raised.
    seconds : float
        From the start of the first cell to the end of the last one.
    report : dict
        ``root``, ``files``, ``peak_mb``, ``version``, ``versions``: of the package ``course`` and
        the process; empty if a cell raised.
    """

    notebook: NotebookNode
    failed: bool
    seconds: float
    report: dict


def environment(threads: int) -> dict[str, str]:
    """Environment of a kernel whose outputs are stored or compared with stored ones.

    It has that many threads, which sleep while they wait (two that wait actively slow each other
    down on busy cores), no GPU, no progress bar, all frames of explorers, and the notebook's own
    way of drawing, whatever ``MPLBACKEND`` says outside.
    """
    dropped = ("BINDER_SERVICE_HOST", "MPLBACKEND")
    own = {name: value for name, value in os.environ.items() if name not in dropped}
    names = ("OMP", "OPENBLAS", "MKL", "NUMBA")
    own |= {f"{name}_NUM_THREADS": str(threads) for name in names}
    own |= {"OMP_WAIT_POLICY": "PASSIVE", "COURSE_PROGRESS": "off", "CUDA_VISIBLE_DEVICES": ""}
    return own


def run_notebook(
    notebook: NotebookNode,
    folder: Path,
    *,
    cell_limit: float,
    limit: float,
    on_cell: Callable[[], object],
) -> Outcome:
    """Run a notebook in a fresh kernel.

    Parameters
    ----------
    notebook : NotebookNode
        Left as it is.
    folder : Path
        Where the kernel starts.
    cell_limit, limit : float
        Seconds allowed for each cell and, from the first one on, for all of them.
    on_cell : callable
        Called after each cell.

    Raises
    ------
    Hung
        If a limit passed or the kernel died; no process is left behind.
    """
    with tempfile.TemporaryDirectory() as scratch:
        task, result = Path(scratch, "task.ipynb"), Path(scratch, "result.json")
        nbformat.write(notebook, task)
        command = [sys.executable, "-P", __file__, task, result, folder, str(cell_limit)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment(THREADS)
        )
        started = threading.Event()
        reader = threading.Thread(
            target=_follow, args=(process.stdout, started, on_cell), daemon=True
        )
        reader.start()
        try:
            if not started.wait(STARTUP):
                raise Hung(f"no cell started within {STARTUP:g} s")
            process.wait(limit)
        except subprocess.TimeoutExpired as problem:
            raise Hung(f"not finished after {limit:g} s") from problem
        finally:
            end(process)
            reader.join(5)
        if not result.is_file():
            raise Hung(f"its process ended with status {process.returncode}")
        content = json.loads(result.read_text(encoding="utf-8"))
    if content["hung"]:
        raise Hung(content["hung"])
    cells = nbformat.from_dict(content["notebook"])
    return Outcome(cells, content["failed"], content["seconds"], content["report"])


def _follow(lines, started: threading.Event, on_cell: Callable[[], object]) -> None:
    for line in lines:
        if line.rstrip() == _STARTED:
            started.set()
        elif line.rstrip() == _PROGRESS:
            on_cell()
    started.set()  # the process ended, before its first cell or later


def end(process: subprocess.Popen) -> None:
    """End a process that still runs, then all that it started, so that it starts no more."""
    if process.poll() is not None:
        return
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    for child in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(family, timeout=3)


def _work(task: Path, result: Path, folder: str, cell_limit: float) -> None:
    notebook = nbformat.read(task, as_version=4)
    count = len(notebook.cells)
    notebook.cells.append(nbformat.v4.new_code_cell(_COLLECT))
    started = []

    def note_start(cell, cell_index):
        if not started:
            print(_STARTED, flush=True)
        started.append(time.monotonic())

    def note_end(cell, cell_index):
        print(_PROGRESS, flush=True)

    client = NotebookClient(
        notebook,
        kernel_name=notebook.metadata.get("kernelspec", {}).get("name", "python3"),
        timeout=cell_limit,
        startup_timeout=60,
        record_timing=False,
        extra_arguments=["--log-level=CRITICAL"],
        resources={"metadata": {"path": folder}},
        on_cell_start=note_start,
        on_cell_complete=note_end,
    )
    failed, hung, report = False, "", {}
    try:
        client.execute()
    except CellExecutionError:
        failed = True
    except (CellTimeoutError, DeadKernelError, TimeoutError, RuntimeError) as problem:
        hung = f"{type(problem).__name__}: {str(problem).strip().splitlines()[0]}"
    else:
        report = json.loads(notebook.cells[-1].outputs[0].text)
    seconds = started[-1] - started[0] if started else 0.0
    notebook.cells = notebook.cells[:count]
    content = {
        "notebook": notebook,
        "failed": failed,
        "hung": hung,
        "seconds": seconds,
        "report": report,
    }
    draft = result.with_suffix(".draft")
    draft.write_text(json.dumps(content), encoding="utf-8")
    draft.replace(result)


if __name__ == "__main__":
    _work(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
