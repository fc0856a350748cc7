"""Part IV beside its peers: storing patterns and retrieving one of them.

The peers, hopfieldnetwork and neurodynex3, live in environments of their own. Writes
``results/hebbian.json``; ``make bench`` runs it.
"""

import tempfile
from pathlib import Path

import numpy as np
import sides

SEED = 0
NEURONS, COUNTS = 1000, (50, 100, 200)
SMALL, FEW = 200, 10
"""What neurodynex3 finishes: it stores by a loop over pairs of neurons, a minute at N = 1000."""
FLIPPED, SWEEPS = 0.1, 100
ENERGY = 0.02
"""Largest relative difference of the final energies. The sides visit the neurons in other random
orders, and beyond saturation the order decides in which of many minima a run ends; their energies
differ by about 1 percent there."""
PEERS = {
    "hopfieldnetwork": ["hopfieldnetwork==1.0.1"],
    "neurodynex3": ["neurodynex3==1.0.4"],
}
SIZES = [1000, 2000, 5000, 10_000]


def inputs() -> dict[str, np.ndarray]:
    """Random patterns, and for each size a start with one tenth of the first pattern flipped."""
    rng = np.random.default_rng(SEED)
    arrays = {}
    for spins, count in [(NEURONS, count) for count in COUNTS] + [(SMALL, FEW)]:
        patterns = rng.choice(np.array([-1, 1], dtype=np.int8), (count, spins))
        flips = np.where(rng.random(spins) < FLIPPED, -1, 1).astype(np.int8)
        arrays[f"patterns_{spins}_{count}"] = patterns
        arrays[f"start_{spins}_{count}"] = patterns[0] * flips
    return arrays


def summary(patterns: np.ndarray, state: np.ndarray) -> tuple[np.ndarray]:
    """Energy per neuron, overlap with the pattern sought, and how many neurons would flip."""
    spins = len(state)
    signs, patterns = state.astype(float), patterns.astype(float)
    sums = patterns @ signs
    fields = (sums @ patterns) / spins - len(patterns) / spins * signs
    unstable = float((fields * signs < -1e-9).sum())
    return (np.array([-0.5 * fields @ signs / spins, sums[0] / spins, unstable]),)


def ours(data, option: str):
    from course.hebbian import retrieve

    patterns, start = data[f"patterns_{option}"], data[f"start_{option}"]

    def run():
        rng = np.random.default_rng(SEED)
        found = retrieve(patterns, start[None], sweeps=SWEEPS, rng=rng)
        return found.states[0]

    return _summarised(patterns, run)


def peer_hopfieldnetwork(data, option: str):
    from hopfieldnetwork import HopfieldNetwork

    patterns, start = data[f"patterns_{option}"], data[f"start_{option}"]

    def run():
        network = HopfieldNetwork(N=len(start))
        network.train_pattern(patterns.T)
        network.set_initial_neurons_state(start.copy())
        network.update_neurons(iterations=1, mode="async", run_max=True)
        return network.S

    return _summarised(patterns, run)


def peer_neurodynex3(data, option: str):
    from neurodynex3.hopfield_network.network import HopfieldNetwork

    patterns, start = data[f"patterns_{option}"], data[f"start_{option}"]

    def run():
        network = HopfieldNetwork(nr_neurons=len(start))
        network.set_dynamics_sign_async()
        network.store_patterns(list(patterns))
        network.set_state_from_pattern(start)
        before = None
        while before is None or not np.array_equal(before, network.state):
            before = network.state
            network.iterate()
        return network.state

    return _summarised(patterns, run)


def _summarised(patterns, run):
    """The run, with what the sides compare computed once, at the end of the first call."""
    kept = {}

    def timed():
        state = run()
        if not kept:
            kept["summary"] = summary(patterns, state)
        return kept["summary"]

    return timed


def our_sweep(data, option: str):
    """One sweep at finite temperature of a network at a tenth of its neurons in patterns."""
    from course.hebbian import retrieve

    spins = int(option)
    rng = np.random.default_rng(SEED)
    patterns = rng.choice(np.array([-1, 1], dtype=np.int8), (spins // 10, spins))

    def run():
        found = retrieve(patterns, patterns[:1], sweeps=10, temperature=0.1, rng=rng)
        return (found.overlaps[:, 0],)

    return run


def work(task: str, folder: Path) -> None:
    name, _, option = task.partition(":")
    tasks = {
        "ours": ours, "our_sweep": our_sweep,
        "peer_hopfieldnetwork": peer_hopfieldnetwork, "peer_neurodynex3": peer_neurodynex3,
    }  # fmt: skip
    sides.worker(lambda data: tasks[name](data, option), task, folder)


def difference(folder: Path, one: str, two: str) -> float:
    """Relative difference of the energies of the final states, both of them stable."""
    (energy, _, flips), (other, _, others) = (sides.arrays(folder, task)[0] for task in (one, two))
    if flips or others:
        raise RuntimeError(f"{one} and {two} end with {flips:g} and {others:g} unstable neurons")
    apart = abs(energy / other - 1)
    if not apart <= ENERGY:
        raise RuntimeError(f"{one} and {two} end at energies {energy:.4f} and {other:.4f}")
    return apart


def main() -> None:
    """Measure everything, print the table, store it."""
    pythons = {name: sides.environment(name, wanted) for name, wanted in PEERS.items()}
    cases = [("hopfieldnetwork", NEURONS, count) for count in COUNTS]
    cases += [(name, SMALL, FEW) for name in PEERS]
    rows, found = [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "inputs.npz", **inputs())
        for peer, spins, count in cases:
            option = f"{spins}_{count}"
            tasks = [f"ours:{option}", f"peer_{peer}:{option}"]
            measured = sides.measure(__file__, tasks, folder, pythons[peer])
            title = f"store {count} patterns of {spins} neurons, retrieve one"
            rows.append(sides.row(measured, title, *tasks, peer, difference(folder, *tasks)))
        names = [f"our_sweep:{spins}" for spins in SIZES]
        measured = sides.measure(__file__, names, folder, pythons["hopfieldnetwork"], rounds=2)
    seconds = [min(measured[task]["times"]) / 10 for task in names]
    slope = float(np.polyfit(np.log(SIZES), np.log(seconds), 1)[0])
    cost = {"neurons": SIZES, "patterns": [n // 10 for n in SIZES], "seconds": seconds}
    for peer, python in pythons.items():
        found |= sides.versions(python, ["numpy", "numba"], [peer, "numpy"])
    sides.store("hebbian", rows, found, sweep=cost | {"exponent": slope})
    print(f"a sweep takes {seconds[-1]:.4f} s at {SIZES[-1]} neurons; exponent {slope:.2f}")


if __name__ == "__main__":
    sides.run(__doc__, work, main)
