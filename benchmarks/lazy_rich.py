"""Part II beside microsoft/mup's coordinate check and a loop over single networks, in one run.

    python benchmarks/lazy_rich.py

The peer lives in an environment of its own, ``benchmarks/.envs/mup``, which this script creates
on its first run. Both sides train the same networks, weight by weight, on the same data: the
base width of the peer is one, so that its multipliers are powers of the width itself.
Results go to ``results/lazy_rich.json``.
"""

import math
import tempfile
from pathlib import Path

import numpy as np
import sides
import torch

REQUIREMENTS = [
    "torch==2.13.0", "numpy==2.4.6", "pandas==2.3.3", "pyyaml==6.0.3", "tqdm==4.70.1",
    "setuptools==80.9.0", "wheel==0.45.1",
]  # fmt: skip
PEER = ("mup==1.0.0",)

WIDTHS, NETWORKS, INPUTS, POINTS, SEED = (128, 256, 512, 1024, 2048), 8, 10, 16, 0
CASES = ("sp-sgd", "mup-sgd", "sp-adam", "mup-adam")
RATES = {"sgd": 1e-3, "adam": 1e-5}
GRADIENT_SCALE = 1e9
"""Factor on the peer's loss for Adam, which then does not feel its eps = 1e-8."""

ENSEMBLE, WIDTH, STEPS, RATE = 64, 64, 100, 0.02
AGREEMENT = 1e-9
"""Largest relative difference allowed: both compute in double precision, in another order."""


def inputs() -> dict[str, np.ndarray]:
    """Data and initial weights, the same for both sides.

    Ours draws the weights of as many networks at a time as fit its memory budget.
    """
    from course.lazy_rich.feature_learning import networks_at_a_time

    rng = np.random.default_rng(SEED)
    x = rng.standard_normal((POINTS, INPUTS))
    arrays = {
        "x": math.sqrt(INPUTS) * x / np.linalg.norm(x, axis=1, keepdims=True),
        "y": rng.standard_normal(POINTS),
    }
    for optimizer in RATES:
        groups = [networks_at_a_time(2, width, NETWORKS, optimizer) for width in WIDTHS]
        arrays[f"groups_{optimizer}"] = np.array(groups)
    return arrays


def initial_weights(width: int, group: int, generator: torch.Generator) -> list[torch.Tensor]:
    """Standard normal entries in the order in which ours draws them."""
    shapes = ((width, INPUTS), (width, width), (1, width))
    parts = []
    for start in range(0, NETWORKS, group):
        count = min(group, NETWORKS - start)
        parts.append([torch.randn(count, *shape, generator=generator) for shape in shapes])
    return [torch.cat(layer) for layer in zip(*parts, strict=True)]


def _preset(case: str):
    from course.lazy_rich import Parametrization

    name, optimizer = case.split("-")
    adam = name == "mup" and optimizer == "adam"
    return (Parametrization.mup_adam if adam else getattr(Parametrization, name)), optimizer


def our_check(data, case: str):
    from course.lazy_rich import coordinate_check

    parametrization, optimizer = _preset(case)

    def run():
        found = coordinate_check(
            parametrization, WIDTHS, data=(data["x"], data["y"]), optimizer=optimizer,
            generator=torch.Generator().manual_seed(SEED), networks=NETWORKS,
            learning_rate=RATES[optimizer],
        )  # fmt: skip
        return found.sizes, found.exponents.value, found.exponents.stderr, found.predicted

    return run


class Changes:
    """Statistic for the peer's hooks: root mean square change of each module since step 1."""

    def __init__(self, modules: int) -> None:
        self.modules, self.steps, self.calls = modules, 2, 0
        self.first: list[torch.Tensor] = []

    def __call__(self, x):
        position = self.calls % (self.modules * self.steps)
        self.calls += 1
        if position == 0:
            self.first = []
        if position < self.modules:
            self.first.append(x.clone())
            return torch.zeros(())
        return (x - self.first[position - self.modules]).square().mean().sqrt()


def peer_check(data, case: str):
    from mup import MuReadout, set_base_shapes
    from mup.coord_check import get_coord_data
    from torch import nn

    name, optimizer = case.split("-")
    loss_scale = GRADIENT_SCALE if optimizer == "adam" else 1.0

    class Network(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.h1 = nn.Linear(INPUTS, width, bias=False)
            self.h2 = nn.Linear(width, width, bias=False)
            self.f = (MuReadout if name == "mup" else nn.Linear)(width, 1, bias=False)

        def forward(self, x, y):
            output = self.f(torch.tanh(self.h2(torch.tanh(self.h1(x)))))
            return {"loss": -loss_scale * (output[:, 0] * y).sum()}

    def run():
        torch.set_default_dtype(torch.float64)
        generator = torch.Generator().manual_seed(SEED)
        groups = dict(zip(WIDTHS, data[f"groups_{optimizer}"].tolist(), strict=True))
        draw = {width: initial_weights(width, groups[width], generator) for width in WIDTHS}
        taken = dict.fromkeys(WIDTHS, 0)

        def model(width):
            network = Network(width)
            if name == "mup":
                set_base_shapes(network, Network(1), delta=Network(2), rescale_params=False)
            k = taken[width]
            taken[width] += 1
            # Entries in the peer's terms: inputs of order one; the readout has the factor 1/width.
            scales = (1.0, width**-0.5, 1.0 if name == "mup" else width**-0.5)
            layers = (network.h1, network.h2, network.f)
            with torch.no_grad():
                for layer, drawn, scale in zip(layers, draw[width], scales, strict=True):
                    layer.weight.copy_(scale * drawn[k])
            return network

        x, y = torch.tensor(data["x"]) / math.sqrt(INPUTS), torch.tensor(data["y"])
        table = get_coord_data(
            {width: (lambda width=width: model(width)) for width in WIDTHS},
            [{"x": x, "y": y}], optimizer=optimizer, lr=RATES[optimizer], mup=name == "mup",
            nsteps=2, dict_in_out=True, cuda=False, nseeds=NETWORKS, show_progress=False,
            filter_module_by_name=lambda module: module != "", output_fdict={"l2": Changes(3)},
        )  # fmt: skip
        last = table[table["t"] == 2]["l2"].to_numpy()
        return (last.reshape(NETWORKS, len(WIDTHS), 3),)

    return run


def our_training(data, optimizer: str):
    from course.lazy_rich import DenseEnsemble, train

    def run():
        ensemble = _networks(DenseEnsemble)
        history = train(
            ensemble, (data["x"], data["y"]), learning_rate=RATE * _slower(optimizer),
            steps=STEPS, optimizer=optimizer, epsilon=1e-8,
        )  # fmt: skip
        return (history.loss[-1],)

    return run


def _networks(kind):
    return kind(
        [INPUTS, WIDTH, WIDTH, 1], networks=ENSEMBLE,
        multipliers=[INPUTS**-0.5, WIDTH**-0.5, WIDTH**-0.5], deviations=[1.0, 1.0, 1.0],
        generator=torch.Generator().manual_seed(SEED),
    )  # fmt: skip


def _slower(optimizer: str) -> float:
    return 0.1 if optimizer == "adam" else 1.0


def loop_training(data, optimizer: str):
    """One torch module and one torch optimiser after the other."""
    from torch import nn

    from course.lazy_rich import DenseEnsemble

    class Network(nn.Module):
        def __init__(self, weights, multipliers):
            super().__init__()
            self.weights = nn.ParameterList([weight.clone() for weight in weights])
            self.multipliers = multipliers

        def forward(self, x):
            first, second, third = self.multipliers
            x = torch.tanh(first * (x @ self.weights[0].T))
            x = torch.tanh(second * (x @ self.weights[1].T))
            return third * (x @ self.weights[2].T)

    x, y = torch.tensor(data["x"]), torch.tensor(data["y"])
    make = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]

    def run():
        ensemble, losses = _networks(DenseEnsemble), []
        for k in range(ENSEMBLE):
            network = Network([weight[k] for weight in ensemble.weights], ensemble.multipliers)
            stepper = make(network.parameters(), lr=RATE * _slower(optimizer))
            for _ in range(STEPS):
                stepper.zero_grad()
                (0.5 * (network(x)[:, 0] - y).square().sum()).backward()
                stepper.step()
            with torch.no_grad():
                losses.append(float(0.5 * (network(x)[:, 0] - y).square().sum()))
        return (np.array(losses),)

    return run


def work(task: str, folder: Path) -> None:
    name, _, option = task.partition(":")
    tasks = {
        "our_check": our_check, "peer_check": peer_check,
        "our_training": our_training, "loop_training": loop_training,
    }  # fmt: skip
    sides.worker(lambda data: tasks[name](data, option), task, folder)


def difference(folder: Path, ours: str, peer: str) -> float:
    one, two = sides.arrays(folder, ours)[0], sides.arrays(folder, peer)[0]
    apart = float(np.abs(one / two - 1).max())
    if not apart <= AGREEMENT:
        raise RuntimeError(f"{ours} and {peer} differ by {apart:.1e}")
    return apart


def slopes(sizes: np.ndarray) -> list[float]:
    """Exponents of the root mean square over networks: for the peer, by numpy's own fit."""
    moves = np.sqrt((sizes**2).mean(0))
    return np.polyfit(np.log(WIDTHS), np.log(moves), 1)[0].tolist()


def main() -> None:
    """Measure everything, print the table, store it."""
    peer = sides.environment("mup", REQUIREMENTS, bare=PEER)
    pairs = [(f"our_check:{case}", f"peer_check:{case}") for case in CASES]
    pairs += [(f"our_training:{name}", f"loop_training:{name}") for name in RATES]
    rows, exponents = [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "inputs.npz", **inputs())
        for ours, other in pairs:
            measured = sides.measure(__file__, [ours, other], folder, peer)
            kind, _, option = ours.partition(":")
            apart = difference(folder, ours, other)
            if kind == "our_check":
                title = f"coordinate check, {option}, widths {WIDTHS[0]}–{WIDTHS[-1]}, 8 networks"
                text = "mup's coord_check"
                _, fitted, errors, theory = sides.arrays(folder, ours)
                exponents[option] = {
                    "theory": theory.tolist(), "fitted": fitted.tolist(),
                    "errors": errors.tolist(),
                    "peer": slopes(sides.arrays(folder, other)[0]),
                    "largest_deviation": float(np.abs(fitted - theory).max()),
                }  # fmt: skip
            else:
                title = f"{ENSEMBLE} networks, 2 x {WIDTH} tanh, {STEPS} steps of {option}"
                text = "loop over torch modules"
            rows.append(sides.row(measured, title, ours, other, text, apart))
    found = sides.versions(peer, ["numpy", "torch"], ["mup", "torch", "numpy"])
    sides.store("lazy_rich", rows, found, exponents=exponents)
    for case, values in exponents.items():
        print(case, {key: np.round(part, 3).tolist() for key, part in values.items()})


if __name__ == "__main__":
    sides.run(__doc__, work, main)
