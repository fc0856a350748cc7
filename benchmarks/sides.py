"""What the benchmarks share: environments of peers, timing in fresh processes, result files.

A script lists its tasks, functions of the inputs (a dict of arrays) that return a function
without arguments to time; that one returns the arrays in which the two sides must agree. Tasks
whose name starts with ``peer`` run in the peer's environment.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROUNDS, REPEATS, SECONDS = 3, 30, 2.0


def environment(name: str, requirements: list[str], *, bare: tuple[str, ...] = ()) -> Path:
    """The interpreter of a peer's environment, which is created if there is none.

    ``bare``: packages to install without what they ask for.
    """
    folder = HERE / ".envs" / name
    python, marker = folder / "bin" / "python", folder / "requirements.json"
    wanted = [*requirements, *bare]
    if not marker.exists() or json.loads(marker.read_text()) != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, *requirements], check=True)
        if bare:
            subprocess.run([*install, "--no-build-isolation", "--no-deps", *bare], check=True)
        marker.write_text(json.dumps(wanted))
    return python


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _key(task: str) -> str:
    return task.replace(":", "_")


def worker(prepare: Callable[[dict], Callable], task: str, folder: Path) -> None:
    """Measure one task in this process; write the times, the memory and the arrays."""
    run = prepare(dict(np.load(folder / "inputs.npz")))
    before = _resident_mb()
    result = run()
    times: list[float] = []
    while len(times) < REPEATS and (len(times) < 3 or sum(times) < SECONDS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    np.savez(folder / f"{_key(task)}.npz", *result)
    (folder / f"{_key(task)}.json").write_text(
        json.dumps({"times": times, "memory_mb": peak - before})
    )


def measure(
    script: str, tasks: list[str], folder: Path, peer: Path, *, rounds: int = ROUNDS
) -> dict[str, dict]:
    """Run every task of a script in fresh processes, taking turns."""
    measured: dict[str, dict] = {task: {"times": [], "memory_mb": []} for task in tasks}
    for _ in range(rounds):
        for task in tasks:
            python = peer if task.startswith("peer") else sys.executable
            done = subprocess.run(
                [python, script, "--worker", task, "--folder", folder],
                env={**os.environ, "JAX_PLATFORMS": "cpu"}, capture_output=True, text=True,
            )  # fmt: skip
            if done.returncode:
                raise RuntimeError(f"{task} failed:\n{done.stderr}")
            report = json.loads((folder / f"{_key(task)}.json").read_text())
            measured[task]["times"] += report["times"]
            measured[task]["memory_mb"].append(report["memory_mb"])
    return measured


def arrays(folder: Path, task: str) -> list[np.ndarray]:
    """What a task computed."""
    stored = np.load(folder / f"{_key(task)}.npz")
    return [stored[name] for name in stored.files]


def row(measured: dict, title: str, ours: str, peer: str, peer_title: str, apart: float) -> dict:
    """One line of the table; ``apart`` is the difference of the two results."""
    seconds, peer_seconds = (min(measured[task]["times"]) for task in (ours, peer))
    medians = [float(np.median(measured[task]["times"])) for task in (ours, peer)]
    return {
        "task": title,
        "peer": peer_title,
        "ours": seconds,
        "peer_seconds": peer_seconds,
        "ratio": peer_seconds / seconds,
        "median_ratio": medians[1] / medians[0],
        "memory_mb": min(measured[ours]["memory_mb"]),
        "peer_memory_mb": min(measured[peer]["memory_mb"]),
        "difference": apart,
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions(peer: Path, ours: list[str], theirs: list[str]) -> dict[str, str]:
    """Versions of the packages on both sides."""
    code = (
        "import importlib.metadata as m, json, sys;"
        "print(json.dumps([m.version(name) for name in sys.argv[1:]]))"
    )
    result = {"python": platform.python_version()}
    for python, names, prefix in ((sys.executable, ours, ""), (peer, theirs, "peer ")):
        command = [python, "-c", code, *names]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        result |= {prefix + name: value for name, value in zip(names, found, strict=True)}
    return result


def store(name: str, rows: list[dict], found: dict[str, str], **more) -> None:
    """Write ``results/<name>.json`` and print the table."""
    report = {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "load": os.getloadavg()[0],
        "versions": found,
        "rows": rows,
        **more,
    }
    target = HERE / "results" / f"{name}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for line in rows:
        ours, theirs = line["memory_mb"], line["peer_memory_mb"]
        memory = "" if ours is None else f"{ours:.0f} MB, {theirs:.0f} MB; "
        print(
            f"{line['task']}\n   {line['ours']:.4f} s, "
            f"{line['peer']} {line['peer_seconds']:.4f} s: "
            f"{line['ratio']:.1f} x (median {line['median_ratio']:.1f} x); "
            f"{memory}difference {line['difference']:.0e}"
        )


def run(description: str, work: Callable[[str, Path], None], main: Callable[[], None]) -> None:
    """Command line of a script: everything, or with ``--worker`` one task."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker, arguments.folder)
    else:
        main()
