"""Kernels of part I beside neural-tangents and a `torch.func` recipe, in one run.

    python benchmarks/ntk.py

The peer lives in an environment of its own, ``benchmarks/.envs/neural-tangents``, which this
script creates on its first run. Every measurement runs in a fresh process; the two sides of a
comparison take turns, and the best time of each counts. Results go to ``results/ntk.json``.
"""

import math
import tempfile
from pathlib import Path

import numpy as np
import sides

REQUIREMENTS = [
    "neural-tangents==0.6.5", "jax==0.4.23", "jaxlib==0.4.23", "numpy<2", "scipy<1.13",
    "setuptools<81",
]  # fmt: skip
SIGMA_W, SIGMA_B, DEPTH = math.sqrt(2), math.sqrt(0.1), 3
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


def work(task: str, folder: Path) -> None:
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
    sides.worker(tasks[name], task, folder)


def difference(folder: Path, ours: str, peer: str) -> float:
    """Largest difference off the diagonal, relative to the largest entry."""
    worst = 0.0
    for one, two in zip(sides.arrays(folder, ours), sides.arrays(folder, peer), strict=True):
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
    return float(np.abs(np.diagonal(sides.arrays(folder, task)[1]) / theta - 1).max())


def row(measured: dict, folder: Path, title: str, ours: str, peer: str, peer_title: str) -> dict:
    """One line of the table."""
    apart = difference(folder, ours, peer)
    if apart > AGREEMENT:
        raise RuntimeError(f"{ours} and {peer} differ by {apart:.1e} of the largest entry")
    result = sides.row(measured, title, ours, peer, peer_title, apart)
    if "analytic" in ours:
        result |= {
            "diagonal_error": diagonal_error(folder, ours),
            "peer_diagonal_error": diagonal_error(folder, peer),
        }
    return result


def main() -> None:
    """Measure everything, print the table, store it."""
    peer = sides.environment("neural-tangents", REQUIREMENTS)
    analytic = "NNGP and NTK, 3 ReLU layers, 500 x 500 points, d = 100, float64"
    empirical = "empirical NTK, 2 x 512 ReLU, 64 points, float64"
    choices = [f"peer_empirical:{choice}" for choice in PEER_CHOICES]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "inputs.npz", **inputs())
        tasks = ["our_analytic", "peer_analytic:jit", "peer_analytic:plain"]
        measured = sides.measure(__file__, tasks, folder, peer)
        survey = sides.measure(__file__, choices, folder, peer, rounds=1)
        best = min(choices, key=lambda task: min(survey[task]["times"]))
        empirical_tasks = ["our_empirical", "recipe_empirical", best]
        measured |= sides.measure(__file__, empirical_tasks, folder, peer)
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
    sides.store(
        "ntk", rows,
        sides.versions(peer, ["numpy", "torch"], ["neural-tangents", "jax", "numpy"]),
        peer_choices={task[15:]: min(survey[task]["times"]) for task in choices},
    )  # fmt: skip


if __name__ == "__main__":
    sides.run(__doc__, work, main)
