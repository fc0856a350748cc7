"""Checkers of the exercises of chapter 3.1."""

from __future__ import annotations

import math

import numpy as np

from course.exercises import Verdict, checker, close
from course.scaling.four_regimes import (
    power_law_spectrum,
    resolution_scale,
    ridgeless_loss,
)


def _constant(a: float) -> float:
    return math.pi / (1 + a) / math.sin(math.pi / (1 + a))


@checker(
    "scaling.1",
    wrong=[
        (lambda a: _constant(a) ** (1 + a), "divide by the tail"),
        (lambda a: _constant(a) ** (1 + a) / a, "multiply by a"),
        (lambda a: _constant(a), "the root gives"),
    ],
)
def _price(answer) -> Verdict:
    size, modes = 2000, 1_000_000
    for a in (0.8, 1.0, 1.7):
        eigenvalues = power_law_spectrum(a, modes)
        target = resolution_scale(eigenvalues, size) * size / eigenvalues[size:].sum()
        value = answer(a)
        if close(value, target, tolerance=0.01):  # finite size and modes: below 0.7 %
            continue
        where = f"at a={a} you return {value:.4g}, the root gives {target:.4g}"
        if close(value, target / a, tolerance=0.01):
            return Verdict.wrong(f"{where}: divide by the tail, which has the amplitude 1/a")
        if close(value, target / a**2, tolerance=0.01):
            return Verdict.wrong(f"{where}: the tail's amplitude is 1/a, so multiply by a")
        return Verdict.wrong(f"{where} with 2,000 features. Which amplitude has the tail?")
    return Verdict.right("agrees with the root for a = 0.8, 1 and 1.7 within its finite size")


@checker(
    "scaling.2",
    wrong=[
        (lambda n, epsilon: math.ceil(n / epsilon), "surplus"),
        (lambda n, epsilon: n + math.ceil(n / epsilon), "one sample short"),
        (lambda n, epsilon: 1 + n + n / epsilon, "whole number"),
        (lambda n, epsilon: 10 * math.ceil(n / epsilon), "fewer would do"),
        (lambda n, epsilon: n + 2 + math.floor(n / epsilon), "fewer would do"),
    ],
)
def _samples_needed(answer) -> Verdict:
    eigenvalues = power_law_spectrum(0.7, 60)
    for features, epsilon in ((7, 0.3), (16, 0.75), (30, 0.011), (5, 0.13), (16, 0.5)):
        value = answer(features, epsilon)
        where = f"for n={features}, epsilon={epsilon} you return {value}"
        if value != math.ceil(value):
            return Verdict.wrong(f"{where}: round up to a whole number")
        value, limit = int(value), ridgeless_loss(eigenvalues, samples=math.inf, features=features)
        allowed = epsilon * (1 + 1e-9)  # for a whole n/epsilon, rounding must not decide

        def excess(samples, features=features, limit=limit):
            if samples <= features + 1:
                return math.inf
            return ridgeless_loss(eigenvalues, samples=samples, features=features) / limit - 1

        if excess(value) > allowed:
            if value == features + math.ceil(features / epsilon):
                return Verdict.wrong(f"{where}: one sample short; the surplus is N − n − 1")
            return Verdict.wrong(
                f"{where}, where the loss is {excess(value):.4g} above its limit: it is the "
                "surplus N − n − 1 that must be n/epsilon"
            )
        if excess(value - 1) <= allowed:
            return Verdict.wrong(f"{where}: enough, but fewer would do")
    return Verdict.right("the smallest number, tested on the loss itself for five students")


@checker(
    "scaling.3",
    wrong=[
        (lambda y1, y2, y3, r: (0.0, np.log(y2 / y1) / np.log(r)), "floor"),
        (lambda y1, y2, y3, r: (y3, np.log((y2 - y3) / (y1 - y3)) / np.log(r)), "floor"),
        (
            lambda y1, y2, y3, r: (
                (y1 * y3 - y2**2) / (y1 + y3 - 2 * y2),
                np.log((y3 - y2) / (y2 - y1)),
            ),
            "logarithm of r",
        ),
        (lambda y1, y2, y3, r: 0.0, "two numbers"),
    ],
)
def _floor_and_exponent(answer) -> Verdict:
    for floor, amplitude, exponent, x, r in (
        (0.3, 2.0, -0.7, 8, 2), (0.0, 1.0, -1.0, 10, 4), (1.7, 5.0, -0.25, 100, 10),
    ):  # fmt: skip
        losses = [floor + amplitude * (x * r**k) ** exponent for k in range(3)]
        value = answer(*losses, r)
        if np.shape(value) != (2,):
            return Verdict.wrong(f"you return {value!r}; two numbers are asked for, F and p")
        if abs(value[0] - floor) > 1e-8:
            return Verdict.wrong(
                f"for losses {np.round(losses, 4)} you return the floor {value[0]:.5g}, theory "
                f"says {floor}"
            )
        if not close(value[1], exponent):
            hint = ""
            if close(value[1], exponent * math.log(r)):
                hint = ": divide by the logarithm of r"
            return Verdict.wrong(
                f"with r={r} you return the exponent {value[1]:.5g}, theory says {exponent}{hint}"
            )
    return Verdict.right("recovers floor and exponent of three laws")


def _slopes(a: float, s: float) -> tuple[float, float]:
    """Exponents of the sums themselves, at sizes far inside an unbounded spectrum."""
    # Modes on a geometric grid with their numbers as weights: 10^11 modes in 4,000 terms.
    edges = np.geomspace(1, 1e11, 4001)
    rank, count = np.sqrt(edges[1:] * edges[:-1]), np.diff(edges)
    eigenvalues, target = rank ** -(1 + a), rank ** -(1 + s)
    scales = np.array([1e-4, 1e-5]) ** (1 + a)
    missed = scales[:, None] / (eigenvalues + scales[:, None])
    sizes = ((1 - missed) * count).sum(axis=1)
    by_data, by_features = (missed**2 * target) @ count, (missed * target) @ count
    slope = np.diff(np.log([by_data, by_features]), axis=1)[:, 0] / np.diff(np.log(sizes))
    return float(slope[0]), float(slope[1])


@checker(
    "scaling.4",
    wrong=[
        (lambda a, s: (-s, -s), "first modes"),
        (lambda a, s: (-min(s, a), -min(s, a)), "the sums give"),
        (lambda a, s: (-min(s, 1 + a), -min(s, 2 + 2 * a)), "exchanged"),
        (lambda a, s: (-min(s, 1 + a), -min(s, 1 + a)), "square"),
        (lambda a, s: (min(s, 2 + 2 * a), min(s, 1 + a)), "negative"),
    ],
)
def _exponents(answer) -> Verdict:
    for a, s in ((0.7, 0.3), (0.7, 2.6), (0.5, 5.0), (1.2, 3.2), (1.0, 1.0)):
        value, target = np.asarray(answer(a, s), dtype=float), np.array(_slopes(a, s))
        if value.shape != (2,):
            return Verdict.wrong(f"you return {value}; two exponents are asked for")
        if np.abs(value - target).max() < 0.02:
            continue
        where = (
            f"at a={a}, s={s} you return {value[0]:.3g} in data and {value[1]:.3g} in features, "
            f"the sums give {target[0]:.2f} and {target[1]:.2f}"
        )
        if np.abs(value + target).max() < 0.02:
            return Verdict.wrong(f"{where}: the loss falls, exponents are negative")
        if np.abs(value[::-1] - target).max() < 0.02 or np.allclose(
            value, [-min(s, 1 + a), -min(s, 2 + 2 * a)]
        ):
            return Verdict.wrong(f"{where}: you exchanged data and features")
        if np.allclose(value, -s):
            return Verdict.wrong(f"{where}: for a smooth target the first modes dominate the sum")
        if np.allclose(value, -min(s, 1 + a)):
            return Verdict.wrong(f"{where}: the sum for data has a square")
        return Verdict.wrong(where)
    return Verdict.right("agrees with the sums for five pairs of a and s")
