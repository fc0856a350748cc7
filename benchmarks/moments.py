"""Part V beside its peers: trajectories of reaction networks, and their law over time.

The peer, GillesPy2, lives in an environment of its own and needs a C++ compiler. Writes
``results/moments.json``; ``make bench`` runs it.
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import numpy as np
import sides

SEED = 0
TRAJECTORIES = 1000
LEAST_P = 1e-4
"""The chance of a false stop: both sides draw from one law, or the test finds the difference."""
MODELS = {
    "birth_death": {
        "reactions": ["0 -> X", "X -> 0"],
        "propensities": ["100.0", "X"],
        "rates": [100.0, 1.0], "start": 0, "times": np.linspace(0, 10, 11),
    },
    "schlogl": {
        "reactions": ["2 X -> 3 X", "3 X -> 2 X", "0 -> X", "X -> 0"],
        "propensities": ["0.015*X*(X-1)", "0.0001/6*X*(X-1)*(X-2)", "200.0", "3.5*X"],
        "rates": [0.015, 0.0001 / 6, 200.0, 3.5], "start": 250, "times": np.linspace(0, 30, 11),
    },
}  # fmt: skip
STATES = 1200
"""The Schlögl network has fewer molecules than this but with a chance of 1e-30."""


def our_trajectories(model: str) -> np.ndarray:
    """Counts, trajectories by recorded times, on one thread like the peer."""
    from course.moments import ReactionNetwork

    setting = MODELS[model]
    network = ReactionNetwork(setting["reactions"], rates=setting["rates"])
    found = network.simulate(
        setting["times"], TRAJECTORIES, start=[setting["start"]], threads=1,
        rng=np.random.default_rng(SEED),
    )  # fmt: skip
    return found[:, :, 0]


def peer_solver(model: str):
    """The peer's compiled solver of the same network, ready to run."""
    import gillespy2

    # Its build starts another interpreter, which else looks for packages outside the environment.
    os.environ["PYTHONPATH"] = sysconfig.get_path("purelib")

    setting = MODELS[model]
    built = gillespy2.Model(name=model)
    built.add_species(gillespy2.Species(name="X", initial_value=setting["start"]))
    for number, (text, propensity) in enumerate(
        zip(setting["reactions"], setting["propensities"], strict=True)
    ):
        before, after = (side.strip() for side in text.split("->"))
        sides_of = [{} if side == "0" else {"X": _count(side)} for side in (before, after)]
        reaction = gillespy2.Reaction(
            name=f"r{number}", reactants=sides_of[0], products=sides_of[1],
            propensity_function=propensity,
        )  # fmt: skip
        built.add_reaction(reaction)
    times = setting["times"]
    built.timespan(gillespy2.TimeSpan.linspace(t=times[-1], num_points=len(times)))
    return gillespy2.SSACSolver(model=built)


def _count(side: str) -> int:
    return int(side.split()[0]) if " " in side else 1


def peer_trajectories(solver) -> np.ndarray:
    results = solver.run(number_of_trajectories=TRAJECTORIES, seed=SEED + 1)
    return np.array([result["X"] for result in results]).astype(np.int64)


def ours(data, option: str):
    return lambda: (our_trajectories(option),)


def peer_warm(data, option: str):
    solver = peer_solver(option)
    return lambda: (peer_trajectories(solver),)


def in_new_process(side: str, option: str, folder: Path, *, nothing_cached: bool):
    """The same work with its start: imports, compilation or loading what was compiled, run."""

    def run():
        with tempfile.TemporaryDirectory() as scratch:
            task, more = f"alone_{side}:{option}", {"TMPDIR": scratch}
            if nothing_cached:
                more["NUMBA_CACHE_DIR"] = scratch
            subprocess.run(
                [sys.executable, __file__, "--worker", task, "--folder", folder],
                env=os.environ | more, check=True,
            )  # fmt: skip
        return (np.load(folder / f"alone_{side}_{option}.npy"),)

    return run


def alone(side: str, option: str, folder: Path) -> None:
    found = our_trajectories(option) if side == "ours" else peer_trajectories(peer_solver(option))
    np.save(folder / f"alone_{side}_{option}.npy", found)


def our_projection(data, option: str):
    """The law of the Schlögl network at ten times, with its certified error."""
    from course.moments import ReactionNetwork

    setting = MODELS["schlogl"]
    network = ReactionNetwork(setting["reactions"], rates=setting["rates"])

    def run():
        law = network.finite_state_projection(
            [STATES - 1], start=[setting["start"]], times=setting["times"][1:], tolerance=1e-8
        )
        return (law.probabilities,)

    return run


def exponential_projection(data, option: str):
    """The usual recipe: the exponential of the generator times a vector, time after time."""
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import expm_multiply

    setting = MODELS["schlogl"]
    counts = np.arange(STATES, dtype=float)
    k1, k2, k3, k4 = setting["rates"]
    up = k1 * counts * (counts - 1) + k3
    down = k2 * counts * (counts - 1) * (counts - 2) + k4 * counts
    generator = diags_array([up[:-1], -(up + down), down[1:]], offsets=[-1, 0, 1], format="csr")
    step = setting["times"][1]

    def run():
        law, laws = np.eye(STATES)[setting["start"]], []
        for _ in setting["times"][1:]:
            law = expm_multiply(generator * step, law)
            laws.append(law)
        return (np.array(laws),)

    return run


def our_equations(data, option: str):
    """Moment equations to order four of three species, closed and compiled, then integrated."""
    from course.moments import ReactionNetwork, moment_equations

    network = ReactionNetwork(
        ["0 -> A", "A + B -> 2 B", "B + C -> 2 C", "2 A -> B", "B -> 0", "C -> 0", "0 -> C"],
        rates=[5.0, 1.0, 0.5, 0.3, 1.0, 0.7, 1.0], volume=50.0,
    )  # fmt: skip

    def run():
        began = time.perf_counter()
        closed = moment_equations(network, 4).close("normal")
        derived = time.perf_counter() - began
        closed.solve([0.0, 5.0, 10.0], [40, 30, 20])
        return (np.array([derived, time.perf_counter() - began - derived]),)

    return run


def work(task: str, folder: Path) -> None:
    name, _, option = task.partition(":")
    if name.startswith("alone_"):
        alone(name.removeprefix("alone_"), option, folder)
        return
    tasks = {
        "ours": ours, "peer_warm": peer_warm, "our_projection": our_projection,
        "exponential_projection": exponential_projection, "our_equations": our_equations,
        "started_ours": lambda data, option: in_new_process(
            "ours", option, folder, nothing_cached=False
        ),
        "first_ours": lambda data, option: in_new_process(
            "ours", option, folder, nothing_cached=True
        ),
        "peer_started": lambda data, option: in_new_process(
            "peer", option, folder, nothing_cached=True
        ),
    }  # fmt: skip
    sides.worker(lambda data: tasks[name](data, option), task, folder)


def difference(folder: Path, one: str, two: str) -> float:
    """Relative difference of the last means, once a two-sample test finds one law at all times.

    Chi-squared on the tenths of the pooled sample, at each recorded time; Bonferroni over times.
    """
    from scipy.stats import chi2_contingency

    first, second = (sides.arrays(folder, task)[0] for task in (one, two))
    values = []
    for a, b in zip(first.T[1:], second.T[1:], strict=True):
        edges = np.unique(np.quantile(np.concatenate([a, b]), np.arange(1, 10) / 10))
        table = [np.bincount(np.searchsorted(edges, x), minlength=len(edges) + 1) for x in (a, b)]
        table = np.array(table)
        values.append(chi2_contingency(table[:, table.sum(axis=0) > 0]).pvalue)
    p = min(1.0, min(values) * len(values))
    print(f"{one} and {two}: smallest p-value, corrected for {len(values)} times, {p:.2f}")
    if not p >= LEAST_P:
        raise RuntimeError(f"{one} and {two} do not draw from one law: p = {p:.1e}")
    return abs(float(first[:, -1].mean() / second[:, -1].mean()) - 1)


def main() -> None:
    """Measure everything, print the table, store it."""
    python = sides.environment("gillespy2", ["gillespy2==1.8.3"])
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "inputs.npz", none=np.zeros(1))
        for model, title, rounds in (
            ("birth_death", "birth and death", 3), ("schlogl", "Schlögl", 1)
        ):  # fmt: skip
            tasks = [f"{name}:{model}" for name in (
                "ours", "peer_warm", "started_ours", "first_ours", "peer_started"
            )]  # fmt: skip
            measured = sides.measure(__file__, tasks, folder, python, rounds=rounds)
            warm, peer, started, first, peer_started = tasks
            for tasks, what in (
                ([warm, peer], "without start-up"),
                ([started, peer_started], "with start-up"),
                ([first, peer_started], "with start-up, the first time on a machine"),
            ):
                line = f"{TRAJECTORIES} trajectories, {title}, {what}"
                row = sides.row(measured, line, *tasks, "GillesPy2", difference(folder, *tasks))
                if tasks[0] != warm:  # another process did the work
                    row |= {"memory_mb": None, "peer_memory_mb": None}
                rows.append(row)
        tasks = ["our_projection:x", "exponential_projection:x"]
        measured = sides.measure(__file__, tasks, folder, python, rounds=1)
        laws = [sides.arrays(folder, task)[0] for task in tasks]
        apart = float(np.abs(laws[0] - laws[1]).sum(axis=1).max())
        if not apart <= 1e-6:
            raise RuntimeError(f"the two laws differ by {apart:.1e}")
        line = f"Schlögl, law of {STATES} states at 10 times"
        rows.append(sides.row(measured, line, *tasks, "scipy's expm_multiply", apart))
        sides.measure(__file__, ["our_equations:x"], folder, python, rounds=1)
        derived, integrated = sides.arrays(folder, "our_equations:x")[0]
    found = sides.versions(python, ["numpy", "numba", "scipy", "sympy"], ["gillespy2", "numpy"])
    more = {"derived_s": float(derived), "integrated_s": float(integrated)}
    sides.store("moments", rows, found, order_four_of_three_species=more)
    print(f"order four of three species: derived in {derived:.3f} s, solved in {integrated:.3f} s")


if __name__ == "__main__":
    sides.run(__doc__, work, main)
