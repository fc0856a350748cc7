"""Kernels of part I beside neural-tangents and a `torch.func` recipe, in one run.

    python benchmarks/ntk.py

The peer lives in an environment of its own, ``benchmarks/.envs/neural-tangents``, which this
script creates on its first run. Every measurement runs in a fresh process; the two sides of a
comparison take turns, and the best time of each counts. Results go to ``results/ntk.json``.
"""

import argparse
import json
import math
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE / ".envs" / "neural-tangents"
REQUIREMENTS = [
    "neural-tangents==0.6.5", "jax==0.4.23", "jaxlib==0.4.23", "numpy<2", "scipy<1.13",
    "setuptools<81",
]  # fmt: skip
SIGMA_W, SIGMA_B, DEPTH = math.sqrt(2), math.sqrt(0.1), 3
ROUNDS, REPEATS, SECONDS = 3, 30, 2.0
PEER_CHOICES = [f"{kind}-{axes}" for kind in (1, 2, 3) for axes in ("whole", "vmap")]
AGREEMENT = 1e-10
"""Largest difference of two kernels allowed, relative to the largest entry, off the diagonal.

On the diagonal the peer's arccos of a rounded 1 costs about 1e-8; the errors of both sides
against the closed form stand in the results.
"""


def inputs() -> dict[str, np.ndarray]:
    """Points and parameters, the same for both sides."""
    rng = np.random.default_rng(0)
    widths = [100, 512, 512, 1]
    arrays = {"analytic": rng.standard_normal((500, 100)), "points": rng.standard_normal((64, 100))}
    for layer, (above, below) in enumerate(zip(widths[1:], widths[:-1], strict=True)):
        arrays[f"W{layer}"] = rng.standard_normal((above, below))
        arrays[f"b{layer}"] = rng.standard_normal(above)
    return arrays


def our_analytic(data):
    from course.ntk import infinite_width_kernels

    x = data["analytic"]
    return lambda: infinite_width_kernels(x, depth=DEPTH, sigma_w=SIGMA_W, sigma_b=SIGMA_B)


def _network(data):
    import torch

    from course.ntk import DenseNetwork

    model = DenseNetwork(
        [100, 512, 512, 1], sigma_w=SIGMA_W, sigma_b=SIGMA_B,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    with torch.no_grad():
        for layer in range(3):
            model.weights[layer].copy_(torch.from_numpy(data[f"W{layer}"]))
            model.biases[layer].copy_(torch.from_numpy(data[f"b{layer}"]))
    return model, torch.from_numpy(data["points"])


def our_empirical(data):
    from course.ntk import empirical_ntk

    model, x = _network(data)
    return lambda: (empirical_ntk(model, x).numpy(),)


def recipe_empirical(data):
    """Full Jacobian of every input by torch.func, then one contraction per parameter."""
    import torch
    from torch.func import functional_call, jacrev, vmap

    model, x = _network(data)
    parameters = {name: value.detach() for name, value in model.named_parameters()}

    def single(parameters, point):
        return functional_call(model, parameters, (point[None],))[0]

    def kernel():
        jacobian = vmap(jacrev(single), (None, 0))(parameters, x)
        parts = [part.flatten(2) for part in jacobian.values()]
        product = sum(torch.einsum("iap,jbp->ijab", part, part) for part in parts)
        return (product[:, :, 0, 0].numpy(),)

    return kernel


def _stax(hidden: int, width: int):
    from neural_tangents import stax

    layers = []
    for _ in range(hidden):
        layers += [stax.Dense(width, W_std=SIGMA_W, b_std=SIGMA_B), stax.Relu()]
    return stax.serial(*layers, stax.Dense(1, W_std=SIGMA_W, b_std=SIGMA_B))


def peer_analytic(data, *, jitted: bool):
    import jax

    x = jax.numpy.asarray(data["analytic"])
    kernel_fn = _stax(DEPTH, 512)[2]

    def both(x):
        return tuple(kernel_fn(x, None, ("nngp", "ntk")))

    compiled = jax.jit(both) if jitted else both
    return lambda: tuple(np.asarray(part) for part in jax.block_until_ready(compiled(x)))


def peer_empirical(data, *, choice: str):
    import jax
    import neural_tangents as nt

    kind, axes = choice.split("-")
    init_fn, apply_fn, _ = _stax(2, 512)
    x = jax.numpy.asarray(data["points"])
    shapes = init_fn(jax.random.PRNGKey(0), x.shape)[1]
    layers, parameters = iter(range(3)), []
    for shape in shapes:
        if len(shape) == 2:
            layer = next(layers)
            values = data[f"W{layer}"].T, data[f"b{layer}"]
            shape = tuple(
                jax.numpy.asarray(value).reshape(like.shape)
                for value, like in zip(values, shape, strict=True)
            )
        parameters.append(shape)
    kernel_fn = jax.jit(
        nt.empirical_ntk_fn(
            apply_fn, trace_axes=(-1,), vmap_axes=0 if axes == "vmap" else None,
            implementation=int(kind),
        ),
        static_argnums=(1,),
    )  # fmt: skip
    return lambda: (np.asarray(jax.block_until_ready(kernel_fn(x, None, parameters))),)


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def worker(task: str, folder: Path) -> None:
    """Measure one task in this process; write the times, the memory and the kernels."""
    data = dict(np.load(folder / "inputs.npz"))
    name, _, option = task.partition(":")
    if name.startswith("peer"):
        import jax

        jax.config.update("jax_enable_x64", True)
    tasks = {
        "our_analytic": our_analytic,
        "our_empirical": our_empirical,
        "recipe_empirical": recipe_empirical,
        "peer_analytic": lambda data: peer_analytic(data, jitted=option == "jit"),
        "peer_empirical": lambda data: peer_empirical(data, choice=option),
    }
    run = tasks[name](data)
    before = _resident_mb()
    result = run()
    times: list[float] = []
    while len(times) < REPEATS and (len(times) < 3 or sum(times) < SECONDS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    key = task.replace(":", "_")
    np.savez(folder / f"{key}.npz", *result)
    report = {"times": times, "memory_mb": peak - before, "threads": _threads(name)}
    (folder / f"{key}.json").write_text(json.dumps(report))


def _threads(name: str) -> str:
    if name.startswith("peer"):
        return "XLA's pool"
    import torch

    return str(torch.get_num_threads())


def environment() -> Path:
    """The peer's interpreter; creates its environment if there is none."""
    python = ENVIRONMENT / "bin" / "python"
    marker = ENVIRONMENT / "requirements.json"
    if not marker.exists() or json.loads(marker.read_text()) != REQUIREMENTS:
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
        marker.write_text(json.dumps(REQUIREMENTS))
    return python


def measure(tasks: list[str], folder: Path, peer: Path, rounds: int = ROUNDS) -> dict[str, dict]:
    """Run every task in fresh processes, taking turns."""
    measured: dict[str, dict] = {task: {"times": [], "memory_mb": []} for task in tasks}
    for _ in range(rounds):
        for task in tasks:
            python = peer if task.startswith("peer") else sys.executable
            done = subprocess.run(
                [python, __file__, "--worker", task, "--folder", folder],
                env={**os.environ, "JAX_PLATFORMS": "cpu"}, capture_output=True, text=True,
            )  # fmt: skip
            if done.returncode:
                raise RuntimeError(f"{task} failed:\n{done.stderr}")
            report = json.loads((folder / f"{task.replace(':', '_')}.json").read_text())
            measured[task]["times"] += report["times"]
            measured[task]["memory_mb"].append(report["memory_mb"])
    return measured


def kernels(folder: Path, task: str) -> list[np.ndarray]:
    """What a task computed: the empirical kernel, or NNGP and NTK."""
    stored = np.load(folder / f"{task.replace(':', '_')}.npz")
    return [stored[name] for name in stored.files]


def difference(folder: Path, ours: str, peer: str) -> float:
    """Largest difference off the diagonal, relative to the largest entry."""
    worst = 0.0
    for one, two in zip(kernels(folder, ours), kernels(folder, peer), strict=True):
        apart = np.abs(one - two)
        if "analytic" in ours:
            np.fill_diagonal(apart, 0.0)
        worst = max(worst, float(apart.max() / np.abs(two).max()))
    return worst


def diagonal_error(folder: Path, task: str) -> float:
    """Largest relative error of an analytic NTK's diagonal, against its closed form."""
    x = np.load(folder / "inputs.npz")["analytic"]
    q = theta = SIGMA_W**2 * (x**2).mean(axis=1) + SIGMA_B**2
    for _ in range(DEPTH):
        q = SIGMA_W**2 * q / 2 + SIGMA_B**2
        theta = q + SIGMA_W**2 / 2 * theta
    return float(np.abs(np.diagonal(kernels(folder, task)[1]) / theta - 1).max())


def row(measured: dict, folder: Path, title: str, ours: str, peer: str, peer_title: str) -> dict:
    """One line of the table."""
    seconds, peer_seconds = (min(measured[task]["times"]) for task in (ours, peer))
    medians = [float(np.median(measured[task]["times"])) for task in (ours, peer)]
    apart = difference(folder, ours, peer)
    if apart > AGREEMENT:
        raise RuntimeError(f"{ours} and {peer} differ by {apart:.1e} of the largest entry")
    result = {
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
    if "analytic" in ours:
        result |= {
            "diagonal_error": diagonal_error(folder, ours),
            "peer_diagonal_error": diagonal_error(folder, peer),
        }
    return result


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions(peer: Path) -> dict[str, str]:
    listing = "import json, {0}; print(json.dumps([m.__version__ for m in ({0},)]))"
    ours, theirs = "numpy, torch", "neural_tangents, jax, numpy"
    result = {"python": platform.python_version()}
    for python, modules, prefix in ((sys.executable, ours, ""), (peer, theirs, "peer ")):
        command = [python, "-c", listing.format(modules)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        names = modules.split(", ")
        result |= {prefix + name: value for name, value in zip(names, found, strict=True)}
    return result


def main() -> None:
    """Measure everything, print the table, store it."""
    peer = environment()
    analytic = "NNGP and NTK, 3 ReLU layers, 500 x 500 points, d = 100, float64"
    empirical = "empirical NTK, 2 x 512 ReLU, 64 points, float64"
    choices = [f"peer_empirical:{choice}" for choice in PEER_CHOICES]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "inputs.npz", **inputs())
        tasks = ["our_analytic", "peer_analytic:jit", "peer_analytic:plain"]
        measured = measure(tasks, folder, peer)
        survey = measure(choices, folder, peer, rounds=1)
        best = min(choices, key=lambda task: min(survey[task]["times"]))
        measured |= measure(["our_empirical", "recipe_empirical", best], folder, peer)
        pairs = [
            (analytic, "our_analytic", "peer_analytic:jit", "neural-tangents, jitted"),
            (analytic, "our_analytic", "peer_analytic:plain", "neural-tangents, without jit"),
            (empirical, "our_empirical", best, f"neural-tangents, its best ({best[15:]})"),
            (empirical, "our_empirical", "recipe_empirical", "torch.func Jacobian contraction"),
        ]
        rows = [
            row(measured, folder, title, ours, other, text) for title, ours, other, text in pairs
        ]
        apart = max(difference(folder, "our_empirical", choice) for choice in choices)
        if apart > AGREEMENT:
            raise RuntimeError(f"one of the peer's choices differs by {apart:.1e}")
    report = {
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()}",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "load": os.getloadavg()[0],
        "versions": versions(peer),
        "rows": rows,
        "peer_choices": {task[15:]: min(survey[task]["times"]) for task in choices},
    }
    target = HERE / "results" / "ntk.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for line in rows:
        print(
            f"{line['task']}\n   {line['ours']:.4f} s, "
            f"{line['peer']} {line['peer_seconds']:.4f} s: "
            f"{line['ratio']:.1f} x (median {line['median_ratio']:.1f} x); "
            f"{line['memory_mb']:.0f} MB, {line['peer_memory_mb']:.0f} MB; "
            f"difference {line['difference']:.0e}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker, arguments.folder)
    else:
        main()
