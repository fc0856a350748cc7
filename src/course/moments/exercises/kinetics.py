"""Checkers of the exercises of chapter 5.1."""

from __future__ import annotations

import math

import numpy as np
from scipy import linalg, stats

from course.exercises import Verdict, checker, close
from course.moments.kinetics import ReactionNetwork, telegraph_distribution


def _factorials(orders) -> int:
    return math.prod(math.factorial(order) for order in orders)


@checker(
    "moments.1",
    wrong=[
        (lambda k, orders: k, "without any factor"),
        (lambda k, orders: k / _factorials(orders), "wrong way round"),
        (lambda k, orders: 2 * k, "pairs of one species only"),
        (lambda k, orders: k * math.factorial(sum(orders)), "different molecules"),
    ],
)
def _conversion(answer) -> Verdict:
    for k, orders in ((0.7, [2]), (0.2, [3, 1]), (1.3, [1, 1]), (2.0, [2, 2]), (0.5, [0])):
        names = ("A", "B")[: len(orders)]
        value, counts = answer(k, orders), [5, 4][: len(orders)]
        target, found = (
            ReactionNetwork.from_arrays(
                [orders], [[0] * len(orders)], rates=[1.0], species=names, volume=3.0,
                convention=convention,
            ).propensities(counts)[0]
            for convention in ("falling", "combinations")
        )  # fmt: skip
        target = k * target / found
        if close(value, target):
            continue
        where = f"for k={k}, orders={orders} you return {value}, the propensities say {target:.6g}"
        if close(value, k / _factorials(orders)):
            return Verdict.wrong(
                f"{where}: the factor is the wrong way round; fewer choices need a larger constant"
            )
        if close(value, k):
            return Verdict.wrong(f"{where}: without any factor the reaction is too slow")
        if close(value, 2 * k):
            return Verdict.wrong(f"{where}: 2 is right for pairs of one species only")
        if close(value, k * math.factorial(sum(orders))):
            return Verdict.wrong(
                f"{where}: different molecules are not exchanged; one factorial for each species"
            )
        return Verdict.wrong(where)
    return Verdict.right("agrees with the propensities of five reactions")


@checker(
    "moments.2",
    wrong=[
        (lambda birth, death, start: (death / birth) ** start, "no probability"),
        (lambda birth, death, start: min(1.0, death / birth), "every one of them"),
        (lambda birth, death, start: float(birth <= death), "rate equation"),
        (lambda birth, death, start: 1 - min(1.0, death / birth) ** start, "survival"),
    ],
)
def _extinction(answer) -> Verdict:
    # gambler's ruin with an upper end so far away that it does not matter
    top = 400
    for birth, death, start in ((2.0, 1.0, 1), (3.0, 2.5, 4), (1.0, 2.0, 3), (1.1, 1.0, 10)):
        matrix = np.eye(top + 1)
        for n in range(1, top):
            matrix[n, n - 1], matrix[n, n + 1] = -death / (birth + death), -birth / (birth + death)
        right = np.zeros(top + 1)
        right[0], right[top] = 1.0, 1.0 if birth <= death else 0.0
        target = float(linalg.solve_banded((1, 1), _bands(matrix), right)[start])
        value = answer(birth, death, start)
        if close(value, target, tolerance=1e-6):
            continue
        where = (
            f"for birth={birth}, death={death}, start={start} you return {value}, first-step "
            f"analysis gives {target:.6g}"
        )
        number = np.asarray(value, dtype=float)
        if number.size == 1 and number > 1:
            return Verdict.wrong(f"{where}: a number above 1 is no probability")
        if close(value, 1 - target, tolerance=1e-6):
            return Verdict.wrong(f"{where}: that is the probability of survival")
        if number.size == 1 and float(number) in (0.0, 1.0):
            return Verdict.wrong(f"{where}: the rate equation knows no luck")
        if close(value, min(1.0, death / birth)):
            return Verdict.wrong(f"{where}: every one of them has to leave no descendants")
        return Verdict.wrong(f"{where}. Condition on the first reaction")
    return Verdict.right("agrees with first-step analysis for four populations")


def _bands(matrix: np.ndarray) -> np.ndarray:
    above = np.concatenate([[0.0], np.diag(matrix, 1)])
    below = np.concatenate([np.diag(matrix, -1), [0.0]])
    return np.stack([above, np.diag(matrix), below])


@checker(
    "moments.3",
    wrong=[
        (lambda on, off, production: 1.0, "Poisson law"),
        (lambda on, off, production: 1 + production * off / (on + off), "slow"),
        (lambda on, off, production: production * off / (on + off) / (on + off + 1), "add 1"),
        (
            lambda on, off, production: 1 + production * on / (on + off) / (on + off + 1),
            "exact law",
        ),
    ],
)
def _fano(answer) -> Verdict:
    counts = np.arange(400)
    for on, off, production in ((0.5, 1.5, 20.0), (4.0, 0.3, 10.0), (0.02, 0.05, 30.0)):
        law = telegraph_distribution(counts, on=on, off=off, production=production)
        mean = float(law @ counts)
        target = float(law @ (counts - mean) ** 2) / mean
        value = answer(on, off, production)
        if close(value, target, tolerance=1e-7):
            continue
        where = (
            f"for on={on}, off={off}, production={production} you return {value}, the exact law "
            f"gives {target:.6g}"
        )
        if close(value, 1.0):
            return Verdict.wrong(f"{where}: 1 is the Poisson law's, for a gene that is always on")
        if close(value, target - 1, tolerance=1e-7):
            return Verdict.wrong(f"{where}: add 1 for the molecules' own births and deaths")
        if close(value, 1 + production * off / (on + off)):
            return Verdict.wrong(
                f"{where}: that is a gene so slow that the molecules follow it; they average over "
                "its switching"
            )
        return Verdict.wrong(f"{where}. Divide the variance by the mean")
    return Verdict.right("agrees with the variance of the exact law for three genes")


def _loss(limit: int, birth: float, death: float, time: float) -> float:
    """Probability to have been above the limit by the time, from no molecules."""
    counts = np.arange(limit + 1)
    generator = np.diag(-(birth + death * counts))
    generator += np.diag(np.full(limit, birth), -1) + np.diag(death * counts[1:], 1)
    return 1.0 - float(linalg.expm(time * generator)[:, 0].sum())


def _smallest_limit(birth: float, death: float, time: float, epsilon: float) -> int:
    return next(limit for limit in range(10_000) if _loss(limit, birth, death, time) <= epsilon)


def _quantile(birth: float, death: float, time: float, epsilon: float) -> int:
    return int(stats.poisson.isf(epsilon, birth / death * (1 - math.exp(-death * time))))


@checker(
    "moments.4",
    wrong=[
        (_quantile, "ever been above"),
        (lambda *arguments: _smallest_limit(*arguments) + 1, "would do"),
        (lambda *arguments: 5, "loses"),
    ],
)
def _limit(answer) -> Verdict:
    for arguments in ((5.0, 1.0, 10.0, 1e-3), (3.0, 2.0, 40.0, 1e-2), (8.0, 1.0, 1.0, 1e-6)):
        value = answer(*arguments)
        target = _smallest_limit(*arguments)
        if value == target:
            continue
        names = ("birth", "death", "time", "epsilon")
        given = ", ".join(f"{name}={x:g}" for name, x in zip(names, arguments, strict=True))
        where = f"for {given} you return {value}"
        number = np.asarray(value)
        if number.size != 1 or number.dtype.kind not in "iu" or number < 0:
            return Verdict.wrong(f"{where}: return one whole number")
        if value > target:
            return Verdict.wrong(f"{where}; {target} would do")
        lost = _loss(int(value), *arguments[:3])
        if value == _quantile(*arguments):
            return Verdict.wrong(
                f"{where}, which loses {lost:.2g}: the projection loses all paths that have ever "
                "been above the limit, also those that came back"
            )
        return Verdict.wrong(f"{where}, which loses {lost:.2g}")
    return Verdict.right("the smallest limits in three cases")
