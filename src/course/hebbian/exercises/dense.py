"""Checkers of the exercises of chapter 4.4."""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_ndtr

from course.exercises import Verdict, checker, close


@checker(
    "hebbian.13",
    wrong=[
        (lambda spins, total: total**4 / 24, "repeated indices"),
        (
            lambda spins, total: (total**4 - 6 * total**2 * spins + 3 * spins**2) / 24,
            "leading order",
        ),
        (lambda spins, total: math.comb(spins, 4), "all equal"),
        (lambda spins, total: total**2 * spins, "counting gives"),
    ],
)
def _four_body(answer) -> Verdict:
    for spins, negative in ((4, 0), (6, 2), (9, 3), (11, 8)):
        signs = [-1] * negative + [1] * (spins - negative)
        target = sum(math.prod(group) for group in itertools.combinations(signs, 4))
        total = sum(signs)
        value = answer(spins, total)
        if abs(np.asarray(value, dtype=float) - target) < 1e-9:
            continue
        where = f"for N={spins}, M={total} you return {value}, counting gives {target}"
        if close(value, total**4 / 24):
            return Verdict.wrong(f"{where}: M⁴/24 contains groups with repeated indices")
        if close(value, (total**4 - 6 * total**2 * spins + 3 * spins**2) / 24):
            return Verdict.wrong(f"{where}: that is He₄, the leading order in 1/N")
        if close(value, math.comb(spins, 4)):
            return Verdict.wrong(f"{where}: that is right when the signs are all equal")
        return Verdict.wrong(f"{where}. For signs the power sums are p1 = p3 = M, p2 = p4 = N")
    return Verdict.right("agrees with counting all groups of four in four cases")


def _gaussian_crosstalk(q: float, order: int) -> float:
    """E[x^{P−1} y^{P−1}] by Gauss–Hermite quadrature, exact for polynomials."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(order + 4)
    weights = weights / weights.sum()
    y = q * nodes[:, None] + math.sqrt(1 - q * q) * nodes
    return float(weights @ (nodes[:, None] * y) ** (order - 1) @ weights)


def _odd_factorial(n: int) -> int:
    return math.prod(range(1, n + 1, 2))


@checker(
    "hebbian.14",
    wrong=[
        (lambda q, order: _odd_factorial(2 * order - 3) * q ** (order - 1), "only at q = 1"),
        (lambda q, order: math.factorial(order - 1) * q ** (order - 1), "distinct indices"),
        (lambda q, order: q**order, "quadrature gives"),
    ],
)
def _power_crosstalk(answer) -> Verdict:
    for order, q in itertools.product((2, 4, 6, 8), (0.3, 0.8, 1.0, -0.5)):
        target, value = _gaussian_crosstalk(q, order), answer(q, order)
        if close(value, target):
            continue
        where = f"for P={order}, q={q} you return {value}, quadrature gives {target:.6g}"
        if close(value, _odd_factorial(2 * order - 3) * q ** (order - 1)):
            return Verdict.wrong(f"{where}: (2P−3)!! q^(P−1) is right only at q = 1")
        if close(value, math.factorial(order - 1) * q ** (order - 1)):
            return Verdict.wrong(f"{where}: that is the sum over distinct indices, He_(P−1)")
        return Verdict.wrong(f"{where}. Expand x^(P−1) in Hermite polynomials")
    return Verdict.right("agrees with exact quadrature for P = 2, 4, 6, 8")


@checker(
    "hebbian.15",
    wrong=[
        (
            lambda load, order: math.sqrt(load * _odd_factorial(2 * order - 3)),
            "whole crosstalk",
        ),
        (lambda load, order: math.sqrt(load), "Hopfield"),
        (lambda load, order: load * _odd_factorial(order - 1) ** 2, "square root"),
        (lambda load, order: 0.0, "does become unstable"),
    ],
)
def _freezing(answer) -> Verdict:
    for load, order in ((0.01, 4), (0.3, 4), (2e-4, 6), (1e-7, 8)):
        slope = _gaussian_crosstalk(1e-5, order) / 1e-5
        target, value = math.sqrt(load * slope), answer(load, order)
        if close(value, target, 1e-6):
            continue
        where = f"for load {load}, P={order} you return {value}, theory says {target:.6g}"
        if close(value, math.sqrt(load * _odd_factorial(2 * order - 3))):
            return Verdict.wrong(f"{where}: you took the whole crosstalk c(1), not its slope at 0")
        if close(value, math.sqrt(load)):
            return Verdict.wrong(f"{where}: that is the Hopfield value, with c'(0) = 1")
        if close(value, load * slope, 1e-6):
            return Verdict.wrong(f"{where}: the condition is on β'², take the square root")
        if close(value, 0.0):
            return Verdict.wrong(f"{where}: with the full power q = 0 does become unstable")
        return Verdict.wrong(f"{where}. The condition is γ β'² c'(0) = 1")
    return Verdict.right("agrees with the slope of c(q) at zero for P = 4, 6, 8")


def _glass(load: float, order: int) -> float:
    found = minimize_scalar(
        lambda v: v / (2 * order) + (math.log(2) + log_ndtr(v)) / v,
        bounds=(0.1, 50),
        method="bounded",
        options={"xatol": 1e-10},
    )
    return -float(found.fun) * math.sqrt(load / math.factorial(order - 1))


@checker(
    "hebbian.16",
    wrong=[
        (
            lambda load, order: -math.sqrt(2 * load * math.log(2) / math.factorial(order)),
            "random energy model",
        ),
        (
            lambda load, order: _glass(load, order) * math.factorial(order - 1),
            "units",
        ),
        (
            lambda load, order: -math.sqrt(2 / math.pi * load / math.factorial(order - 1)),
            "replica-symmetric",
        ),
        (lambda load, order: -math.sqrt(math.log(2)), "theory says"),
    ],
)
def _glass_energy(answer) -> Verdict:
    for load, order in ((1.0, 4), (0.03, 4), (0.2, 6), (0.01, 10)):
        target, value = _glass(load, order), answer(load, order)
        if close(value, target, 1e-6):
            continue
        where = f"for load {load}, P={order} you return {value}, theory says {target:.6g}"
        if close(value, -math.sqrt(2 * load * math.log(2) / math.factorial(order))):
            return Verdict.wrong(f"{where}: that is the random energy model, the limit of large P")
        if close(value, target * math.factorial(order - 1), 1e-6):
            return Verdict.wrong(f"{where}: these are units of 1/(P−1)!, divide by (P−1)!")
        if close(value, -math.sqrt(2 / math.pi * load / math.factorial(order - 1)), 1e-6):
            return Verdict.wrong(f"{where}: that is the replica-symmetric energy, E|field|")
        return Verdict.wrong(f"{where}. Maximise over μ; the energy is negative")
    return Verdict.right("agrees with the one-step energy for P = 4, 6, 10")
