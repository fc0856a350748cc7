"""Part III beside straightforward code: effective ridges by bisection, losses by plain SGD.

Both sides run in the book's own environment and must give the same numbers. Writes
``results/scaling.json``; ``make bench`` runs it.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import sides
from scipy.optimize import bisect

SEED = 0
MODES, DECAY, TARGET = 10**6, 1.5, 1.7
SAMPLES, FEATURES, RIDGE, NOISE = 1000.0, 3000.0, 1e-3, 0.1
CURVE_MODES, CURVE = 10**4, np.geomspace(10, 9e3, 60)
SIZES = [10**3, 10**4, 10**5, 10**6]
ROOT = 1e-13
"""Relative accuracy to which the bisections go, in log κ; ours is at least as fine."""
AGREEMENT = 1e-9
ALPHA, BETA, WIDTH, LONG, SHORT, RUNS = 0.8, 1.2, 200, 10**5, 2000, 64
RATE = 0.1
SIGMAS = 4.5
"""Allowed distance of simulated from exact losses in standard errors (15 correlated times)."""


def task(modes: int) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and squared coefficients of a power-law task."""
    i = np.arange(1.0, modes + 1)
    return i**-DECAY, i**-TARGET


def bisected(total, samples: float) -> float:
    """The κ > 0 at which a falling function of it equals the number of samples."""
    low, high = 0.0, 0.0
    while total(np.exp(high)) > samples:
        high += 5
    while total(np.exp(low)) < samples:
        low -= 5
    return float(np.exp(bisect(lambda x: total(np.exp(x)) - samples, low, high, xtol=ROOT)))


def kernel_risk(eigenvalues, power, samples: float) -> tuple[float, float]:
    """Effective ridge and test error at one number of samples."""
    kappa = bisected(lambda k: (eigenvalues / (eigenvalues + k)).sum() + RIDGE / k, samples)
    learned = eigenvalues / (eigenvalues + kappa)
    overfitting = samples / (samples - (learned**2).sum())
    return kappa, overfitting * (((1 - learned) ** 2 * power).sum() + NOISE)


def our_kernel(data, option: str):
    from course.scaling import kernel_ridge_risk

    modes, samples = (MODES, SAMPLES) if option == "one" else (CURVE_MODES, CURVE)
    eigenvalues, power = task(modes)

    def run():
        risk = kernel_ridge_risk(eigenvalues, power, samples=samples, ridge=RIDGE, noise=NOISE)
        return (np.array([risk.kappa, risk.test]),)

    return run


def plain_kernel(data, option: str):
    modes, samples = (MODES, [SAMPLES]) if option == "one" else (CURVE_MODES, CURVE)
    eigenvalues, power = task(modes)

    def run():
        found = np.array([kernel_risk(eigenvalues, power, count) for count in samples]).T
        return (found[:, 0] if option == "one" else found,)

    return run


def our_features(data, option: str):
    from course.scaling import random_feature_risk

    eigenvalues, power = task(CURVE_MODES)

    def run():
        risk = random_feature_risk(
            eigenvalues, power, samples=SAMPLES, features=FEATURES, ridge=RIDGE, noise=NOISE
        )
        return (np.array([risk.kappa, risk.gamma]),)

    return run


def plain_features(data, option: str):
    """Two nested bisections, one for each of the two equations."""
    eigenvalues, _ = task(CURVE_MODES)

    def inner(kappa):
        def total(gamma):
            return (eigenvalues / (eigenvalues + gamma)).sum() + FEATURES * kappa / gamma

        return bisected(total, FEATURES)

    def outer(kappa):
        return (eigenvalues / (eigenvalues + inner(kappa))).sum() + RIDGE / kappa

    def run():
        kappa = bisected(outer, SAMPLES)
        return (np.array([kappa, inner(kappa)]),)

    return run


def _spectrum():
    from course.scaling.compute_phases import PowerLawFeatures

    return PowerLawFeatures.sample(ALPHA, BETA, features=WIDTH, rng=np.random.default_rng(SEED))


def our_loss(data, option: str):
    from course.scaling.compute_phases import expected_loss

    spectrum = _spectrum().spectrum()
    steps = np.geomspace(10, LONG if option == "long" else SHORT, 15).astype(int)
    return lambda: (expected_loss(spectrum, steps, learning_rate=RATE),)


def plain_loss(data, option: str):
    """The loss itself simulated (short), or its exact recursion step by step (long)."""
    from course.scaling.compute_phases import sgd_loss

    model = _spectrum()
    if option == "short":
        steps = np.geomspace(10, SHORT, 15).astype(int)

        def run():
            rng = np.random.default_rng(SEED + 1)
            losses = sgd_loss(model, steps, learning_rate=RATE, runs=RUNS, rng=rng)
            return losses.mean(0), losses.std(0, ddof=1) / np.sqrt(RUNS)

        return run
    spectrum = model.spectrum()
    values, stops = spectrum.eigenvalues, set(np.geomspace(10, LONG, 15).astype(int).tolist())

    def recursion():
        modes, losses = np.divide(spectrum.signal, values), []
        decay = 1 - 2 * RATE * values + 2 * RATE**2 * values**2
        for step in range(LONG + 1):
            loss = values @ modes + spectrum.unreachable
            if step in stops:
                losses.append(loss)
            modes = modes * decay + RATE**2 * values * loss
        return (np.array(losses),)

    return recursion


TASKS = {
    "our_kernel": our_kernel, "plain_kernel": plain_kernel,
    "our_features": our_features, "plain_features": plain_features,
    "our_loss": our_loss, "plain_loss": plain_loss,
}  # fmt: skip
"""Functions by name; what follows the colon of a task is the option."""


def our_cost(data, option: str):
    """One solution at a given number of modes."""
    from course.scaling import kernel_ridge_risk, random_feature_risk

    kind, _, modes = option.partition("-")
    eigenvalues, power = task(int(modes))
    samples = SAMPLES / 10

    def kernel():
        risk = kernel_ridge_risk(eigenvalues, power, samples=samples, ridge=RIDGE, noise=NOISE)
        return (np.array(risk.test),)

    def features():
        risk = random_feature_risk(
            eigenvalues, power, samples=samples, features=3 * samples, ridge=RIDGE, noise=NOISE
        )
        return (np.array(risk.test),)

    return {"kernel": kernel, "features": features}[kind]


def work(name: str, folder: Path) -> None:
    kind, _, option = name.partition(":")
    sides.worker(lambda data: (TASKS | {"our_cost": our_cost})[kind](data, option), name, folder)


def difference(folder: Path, ours: str, other: str) -> float:
    """Largest relative difference of the two sides, which must be as small as allowed."""
    one, two, *error = (*sides.arrays(folder, ours), *sides.arrays(folder, other))
    apart = float(np.abs(one / two - 1).max())
    if error:
        far = float(np.abs((one - two) / error[0]).max())
        if not far <= SIGMAS:
            raise RuntimeError(f"{ours} and {other} differ by {far:.1f} standard errors")
    elif not apart <= AGREEMENT:
        raise RuntimeError(f"{ours} and {other} differ by {apart:.1e}")
    return apart


ROWS = [
    ("kernel:one", f"effective ridge and test error, {MODES:.0e} modes", "bisection"),
    ("kernel:curve", f"learning curve of {len(CURVE)} points, {CURVE_MODES:.0e} modes",
     "bisection for each point"),
    ("features:one", f"random features, {CURVE_MODES:.0e} modes", "two nested bisections"),
    ("loss:long", f"exact loss of SGD to step {LONG:.0e}, {WIDTH} features",
     "the recursion step by step"),
    ("loss:short", f"mean loss of SGD to step {SHORT:.0e}, {WIDTH} features",
     f"plain SGD, {RUNS} runs"),
]  # fmt: skip


def exponent(seconds: list[float]) -> dict[str, object]:
    """Power of the number of modes with which the seconds grow, over the three largest."""
    (slope, _), covariance = np.polyfit(np.log(SIZES[1:]), np.log(seconds[1:]), 1, cov="unscaled")
    residual = np.polyval(np.polyfit(np.log(SIZES[1:]), np.log(seconds[1:]), 1), np.log(SIZES[1:]))
    scatter = float(np.sum((np.log(seconds[1:]) - residual) ** 2))
    return {
        "modes": SIZES, "seconds": seconds, "exponent": float(slope),
        "stderr": float(np.sqrt(covariance[0, 0] * scatter)),
    }  # fmt: skip


def main() -> None:
    """Measure everything, print the table, store it."""
    here = Path(sys.executable)
    rows, costs = [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "inputs.npz", seed=SEED)
        for option, title, other in ROWS:
            ours, plain = f"our_{option}", f"plain_{option}"
            measured = sides.measure(__file__, [ours, plain], folder, here)
            apart = difference(folder, ours, plain)
            rows.append(sides.row(measured, title, ours, plain, other, apart))
        for kind in ("kernel", "features"):
            names = [f"our_cost:{kind}-{modes}" for modes in SIZES]
            measured = sides.measure(__file__, names, folder, here, rounds=2)
            costs[kind] = exponent([min(measured[task]["times"]) for task in names])
            print(f"cost of {kind} against modes: exponent {costs[kind]['exponent']:.2f}")
    found = sides.versions(here, ["numpy", "scipy"], [])
    sides.store("scaling", rows, found, cost=costs)


if __name__ == "__main__":
    sides.run(__doc__, work, main)
