"""Checkers of the exercises of chapter 5.3."""

from __future__ import annotations

import math

import numpy as np
from numpy.polynomial import Polynomial

from course.exercises import Verdict, checker, close
from course.moments.hierarchy import moment_equations
from course.moments.kinetics import ReactionNetwork


@checker(
    "moments.9",
    wrong=[
        (lambda mean: 0.0, "whole numbers"),
        (lambda mean: mean % 1, "one of the two neighbours"),
        (lambda mean: max(0.0, mean - mean**2), "beyond 1"),
        (lambda mean: 0.25, "theory says"),
    ],
)
def _smallest_variance(answer) -> Verdict:
    for mean in (0.3, 0.75, 1.5, 2.0, 3.9, 17.25):
        counts = np.array([math.floor(mean), math.floor(mean) + 1])
        weights = np.array([counts[1] - mean, mean - counts[0]])
        target = float(weights @ (counts - mean) ** 2)
        value = float(answer(mean))
        if close(value, target):
            continue
        where = f"for a mean of {mean} you return {value:.6g}, theory says {target:.6g}"
        if close(value, max(0.0, mean - mean**2)):
            return Verdict.wrong(
                f"{where}: that is the condition that n² is at least n, which says nothing beyond 1"
            )
        if value == 0:
            return Verdict.wrong(f"{where}: whole numbers cannot all be equal to {mean}")
        if close(value, mean % 1):
            return Verdict.wrong(
                f"{where}: f is the probability of one of the two neighbours; the variance of a "
                "variable with two values has another factor"
            )
        return Verdict.wrong(f"{where}. Jump between the two whole numbers next to the mean")
    return Verdict.right("agrees with the law on two neighbours for 6 means")


def _zero_variance_volume(rate, loss):
    return math.sqrt(20 * loss / (9 * rate))


@checker(
    "moments.10",
    wrong=[
        (lambda rate, loss: 10 / 9, "not yet a volume"),
        (lambda rate, loss: math.sqrt(10 * loss / (9 * rate)), "factor 2"),
        (lambda rate, loss: math.sqrt(20 * rate / (9 * loss)), "upside down"),
        (lambda rate, loss: math.sqrt(10) / 3, "does not depend"),
    ],
)
def _threshold(answer) -> Verdict:
    for rate, loss in ((1.0, 0.5), (2.0, 0.3), (0.7, 1.9)):
        value, target = float(answer(rate, loss)), _zero_variance_volume(rate, loss)
        if close(value, target, 1e-6):
            continue
        network = ReactionNetwork(
            ["0 -> A", "2 A -> 0"], rates=[rate, loss], volume=max(value, 0.1)
        )
        states = moment_equations(network, 2).close("poisson").steady_states()
        variance = max(states, key=lambda state: state.mean[0]).variance[0]
        where = (
            f"for rate={rate}, loss={loss} you return {value:.6g}, where the variance is "
            f"{variance:.4g}; it vanishes at {target:.6g}"
        )
        if close(value, 10 / 9):
            return Verdict.wrong(f"{where}: 10/9 is α, not yet a volume")
        if close(value, target / math.sqrt(2)):
            return Verdict.wrong(f"{where}: a factor 2 is lost, α = kΩ²/(2λ)")
        if close(value, math.sqrt(20 * rate / (9 * loss))):
            return Verdict.wrong(f"{where}: rate and loss stand upside down")
        if close(value, math.sqrt(10) / 3):
            return Verdict.wrong(f"{where}: your answer does not depend on the rates")
        return Verdict.wrong(f"{where}. Put α = x² − x into the cubic")
    return Verdict.right("the variance of Poisson closure vanishes there for 3 pairs of rates")


def _at_rest(rates, volume):
    c1, c2, c3, c4 = rates
    return volume * c3 / c4, c2 * c3 * volume**3 / (c1 * c4)


@checker(
    "moments.11",
    wrong=[
        (lambda rates, volume: (volume, volume**3 * rates[1] / rates[0]), "rates of X"),
        (
            lambda rates, volume: (
                _at_rest(rates, volume)[0],
                _at_rest(rates, volume)[1] / volume**2,
            ),
            "power of the volume",
        ),
        (
            lambda rates, volume: (_at_rest(rates, volume)[0], 2 * _at_rest(rates, volume)[1]),
            "½",
        ),
        (lambda rates, volume: (_at_rest(rates, volume)[0], 0.0), "second"),
    ],
)
def _exact_averages(answer) -> Verdict:
    for rates, volume in (((0.45, 2.0, 1.0, 1.0), 5.0), ((1.0, 1.5, 2.0, 0.7), 3.0)):
        target = _at_rest(rates, volume)
        value = tuple(float(entry) for entry in answer(rates, volume))
        if len(value) == 2 and close(value, target):
            continue
        where = (
            f"for rates {rates} and volume {volume} you return {np.round(value, 4).tolist()}, "
            f"theory says {np.round(target, 4).tolist()}"
        )
        if len(value) != 2:
            return Verdict.wrong(f"{where}: two averages are asked for")
        if not close(value[0], target[0]):
            return Verdict.wrong(
                f"{where}: the first follows from the rates of X + Y, in which c₃ and c₄ occur"
            )
        if close(value[1], target[1] / volume**2):
            return Verdict.wrong(
                f"{where}: the propensity of three molecules carries a power of the volume, Ω⁻²"
            )
        if close(value[1], 2 * target[1]):
            return Verdict.wrong(f"{where}: the book's propensity has no factor ½")
        return Verdict.wrong(f"{where}: the second follows from the equation of ⟨Y⟩ at rest")
    return Verdict.right("the first equations of the hierarchy hold for 2 sets of rates")


def _roots(rates, volume) -> tuple[np.ndarray, np.ndarray]:
    """Real means at rest of normal closure of order 2, and their variances."""
    enter, leave, second, third = rates
    m = Polynomial([0, 1])
    two, three = second / volume, third / volume**2
    numerator = enter * volume - leave * m + two * (m**2 - m) - three * (m**3 - 3 * m**2 + 2 * m)
    divisor = three * (3 * m - 3) - two
    slope = -leave + two * (2 * m - 1) - three * (3 * m**2 - 6 * m + 2)
    rest = (
        numerator * (slope * divisor - 3 * three * numerator)
        + (enter * volume + two * (m**2 - m)) * divisor**2
        + two * numerator * divisor
    )
    roots = rest.roots()
    real = np.sort(roots[np.abs(roots.imag) < 1e-7 * (1 + np.abs(roots))].real)
    return real, numerator(real) / divisor(real)


def _physical(rates, volume):
    means, variances = _roots(rates, volume)
    return means[(means > 0) & (variances > 0)]


@checker(
    "moments.12",
    wrong=[
        (lambda rates, volume: _roots(rates, volume)[0], "not all are physical"),
        (lambda rates, volume: _physical(rates, volume)[-1:], "a steady state too"),
        (
            lambda rates, volume: (
                volume * np.sort(np.roots([-rates[3], rates[2], -rates[1], rates[0]]).real)
            ),
            "theory says",
        ),
    ],
)
def _every_mean(answer) -> Verdict:
    reactions = ["0 -> X", "X -> 0", "2 X -> 3 X", "3 X -> 2 X"]
    known = (2.25, 6.75, 5.0, 1.0)
    for rates, volume in ((known, 0.8), (known, 5.0), (known, 30.0), ((1.5, 8.6, 5.7, 1.0), 5.0)):
        network = ReactionNetwork(reactions, rates=rates, volume=volume)
        states = moment_equations(network, 2).close("normal").steady_states()
        target = np.sort([state.mean[0] for state in states.physical])
        value = np.atleast_1d(np.asarray(answer(rates, volume), dtype=float))
        if value.shape == target.shape and close(value, target, 1e-5):
            continue
        where = (
            f"for rates {rates} and volume {volume} you return {np.round(value, 4)}, theory says "
            f"{np.round(target, 4)}"
        )
        inside = all(np.isclose(value, mean, rtol=1e-5).any() for mean in target)
        if len(value) > len(target) and inside:
            return Verdict.wrong(f"{where}: not all are physical, look at the variances")
        if 0 < len(value) < len(target) and all(np.isclose(target, x).any() for x in value):
            return Verdict.wrong(
                f"{where}: an unstable state, or a lower one, is a steady state too"
            )
        return Verdict.wrong(f"{where}. Solve the first equation for the variance")
    return Verdict.right("agrees with the homotopy for 4 networks")
