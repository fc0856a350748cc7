"""Checkers of the exercises of chapter 4.1."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.special import erf
from scipy.stats import norm

from course.exercises import Verdict, checker, close


def _without_diagonal(matrix):
    return matrix - np.diag(np.diag(matrix))


def _hebb(patterns):
    return _without_diagonal(patterns.T @ patterns) / patterns.shape[1]


@checker(
    "hebbian.1",
    wrong=[
        (lambda overlaps, spins: -spins / 2 * np.sum(overlaps**2), "self-couplings"),
        (lambda overlaps, spins: -spins * np.sum(overlaps**2) + len(overlaps), "half"),
        (lambda overlaps, spins: -np.sum(overlaps**2) / 2, "the energy is"),
    ],
)
def _energy_of(answer) -> Verdict:
    rng = np.random.default_rng(4101)
    for count, spins in ((1, 6), (3, 20), (8, 11)):
        patterns = rng.choice([-1.0, 1.0], size=(count, spins))
        state = rng.choice([-1.0, 1.0], size=spins)
        target = -state @ _hebb(patterns) @ state / 2
        overlaps = patterns @ state / spins
        value = answer(overlaps.copy(), spins)
        if close(value, target, 1e-9) or (abs(target) < 1e-12 and np.abs(value) < 1e-9):
            continue
        where = f"for K={count}, N={spins} you return {value}, the energy is {target:.6g}"
        if close(value, target - count / 2, 1e-9):
            return Verdict.wrong(f"{where}: your sum contains the self-couplings i = j")
        if close(value, 2 * target, 1e-9):
            return Verdict.wrong(f"{where}: each pair counts once, so there is a half in front")
        return Verdict.wrong(f"{where}. Write the sum over i and j of each pattern as a square")
    return Verdict.right("agrees with the couplings written out, for three networks")


def _step_with_diagonal(overlap, load):
    """Each neuron feels the signal m, the noise, and itself with the weight alpha."""
    kept = norm.cdf((overlap + load) / np.sqrt(load))
    mended = norm.cdf((overlap - load) / np.sqrt(load))
    right = (1 + overlap) / 2 * kept + (1 - overlap) / 2 * mended
    return 2 * right - 1


@checker(
    "hebbian.2",
    wrong=[
        (lambda overlap, load: erf(overlap / np.sqrt(2 * load)), "without self-couplings"),
        (lambda overlap, load: erf((overlap + load) / np.sqrt(2 * load)), "wrong neurons"),
        (lambda overlap, load: overlap, "theory says"),
    ],
)
def _first_step(answer) -> Verdict:
    for overlap, load in ((0.5, 0.2), (0.9, 0.5), (0.0, 0.3), (0.3, 0.05)):
        target, value = _step_with_diagonal(overlap, load), answer(overlap, load)
        if close(value, target, 1e-9) or (target == 0 and np.abs(value) < 1e-12):
            continue
        where = f"for m={overlap}, load {load} you return {value}, theory says {target:.6g}"
        if close(value, erf(overlap / np.sqrt(2 * load)), 1e-9):
            return Verdict.wrong(f"{where}: that is the step without self-couplings")
        if close(value, erf((overlap + load) / np.sqrt(2 * load)), 1e-9):
            return Verdict.wrong(f"{where}: the wrong neurons hold on to their state as well")
        return Verdict.wrong(f"{where}. Treat right and wrong neurons apart, then add them up")
    return Verdict.right("agrees with theory at four points, and at m = 0 nothing is learned")


@checker(
    "hebbian.3",
    wrong=[
        (lambda n: 1 / n, "share"),
        (lambda n: np.sqrt(2 / (np.pi * n)), "large n"),
        (lambda n: 0.5, "enumeration gives"),
    ],
)
def _mixture(answer) -> Verdict:
    for n in (3, 5, 9):
        signs = np.array(list(itertools.product((-1, 1), repeat=n)))
        target = float(np.mean(signs[:, 0] * np.sign(signs.sum(1))))
        value = answer(n)
        if close(value, target):
            continue
        where = f"for n={n} you return {value}, enumeration gives {target:.6g}"
        if close(value, 1 / n):
            return Verdict.wrong(f"{where}: the patterns do not share a sum of one; try n=3")
        if close(value, np.sqrt(2 / (np.pi * n))):
            return Verdict.wrong(f"{where}: that is the limit of large n")
        return Verdict.wrong(f"{where}. When does the first pattern decide the majority?")
    return Verdict.right("agrees with all 2^n sign combinations for n = 3, 5 and 9")


@checker(
    "hebbian.4",
    wrong=[
        (_hebb, "Hebb"),
        (lambda patterns: np.linalg.pinv(patterns) @ patterns, "diagonal"),
        (lambda patterns: _without_diagonal(patterns.T @ patterns) / 2, "fields"),
    ],
)
def _projection(answer) -> Verdict:
    rng = np.random.default_rng(4104)
    for count, spins, bias in ((10, 40, 0.0), (30, 60, 0.0), (12, 50, 0.4)):
        patterns = np.where(rng.random((count, spins)) < (1 + bias) / 2, 1.0, -1.0)
        couplings = np.asarray(answer(patterns.copy()), dtype=float)
        where = f"for K={count}, N={spins}, bias {bias}"
        if couplings.shape != (spins, spins) or not np.isfinite(couplings).all():
            return Verdict.wrong(f"{where}: the couplings are not a finite N by N matrix")
        if np.abs(np.diag(couplings)).max() > 1e-9:
            return Verdict.wrong(f"{where}: set the diagonal to zero")
        if np.abs(couplings - couplings.T).max() > 1e-9:
            return Verdict.wrong(f"{where}: the couplings are not symmetric, so there is no energy")
        if np.allclose(couplings, _hebb(patterns)):
            return Verdict.wrong(f"{where}: that is Hebb's rule; its crosstalk is still there")
        factors = patterns @ couplings * patterns  # of every pattern and neuron
        if np.ptp(factors, axis=0).max() > 1e-8 * np.abs(factors).max() or factors.min() <= 0:
            return Verdict.wrong(
                f"{where}: the fields in a stored pattern are not the pattern times a positive "
                "factor of each neuron, the same for all patterns"
            )
    return Verdict.right("every pattern is a fixed point without crosstalk, also with a bias")
