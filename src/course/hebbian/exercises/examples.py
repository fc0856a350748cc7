"""Checkers of the exercises of chapter 4.5."""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy.special import betainc
from scipy.stats import binom

from course.exercises import Verdict, checker, close
from course.hebbian.examples import crosstalk_factor, dataset_entropy, learning_critical_load


def _majority(quality, examples, ties=0.0):
    right = np.arange(examples + 1)
    weight = binom.pmf(right, examples, (1 + quality) / 2)
    sign = np.sign(2 * right - examples).astype(float)
    sign[2 * right == examples] = ties
    return float(weight @ sign)


def _normal_limit(quality, examples):
    return math.erf(1 / math.sqrt(2 * dataset_entropy(quality, examples)))


def _smallest(law, overlap, step=2):
    return next(M for M in itertools.count(1, step) if law(M) >= overlap)


def _by_normal(quality, overlap):
    return _smallest(lambda M: _normal_limit(quality, M), overlap)


def _by_probability(quality, overlap):
    return _smallest(lambda M: (1 + _majority(quality, M)) / 2, overlap)


def _ties_right(quality, overlap):
    return _smallest(lambda M: _majority(quality, M, 1.0), overlap, step=1)


@checker(
    "hebbian.17",
    wrong=[
        (_by_normal, "many examples"),
        (_by_probability, "probability"),
        (_ties_right, "tie"),
        (lambda quality, overlap: _smallest(lambda M: _majority(quality, M), overlap) + 2, "fewer"),
    ],
)
def _votes(answer) -> Verdict:
    for quality, overlap in ((0.5, 0.8), (0.2, 0.6), (0.8, 0.9), (0.3, 0.29)):
        p = (1 + quality) / 2
        # the chance that more than half of 2k + 1 votes are right is an incomplete beta function
        target = _smallest(lambda M, p=p: 2 * betainc((M + 1) / 2, (M + 1) / 2, p) - 1, overlap)
        value = answer(quality, overlap)
        if close(value, target):
            continue
        where = f"for r={quality} and overlap {overlap} you return {value}, {target} is right"
        if close(value, _by_normal(quality, overlap)):
            return Verdict.wrong(f"{where}: you took the limit of many examples; count exactly")
        if close(value, _by_probability(quality, overlap)):
            return Verdict.wrong(f"{where}: you compare a probability p; the overlap is 2p − 1")
        if close(value, _ties_right(quality, overlap)):
            return Verdict.wrong(f"{where}: a tie says nothing, so it counts zero here")
        if isinstance(value, int | np.integer) and value > target:
            return Verdict.wrong(f"{where}: fewer examples are enough")
        return Verdict.wrong(f"{where}. The number of right votes is binomial")
    return Verdict.right("agrees with the incomplete beta function for four settings")


def _moments(quality, erased):
    """Mean and second moment of an entry, in units of the archetype's."""
    return (1 - erased) * quality, 1 - erased


def _with_blanks(quality, erased, examples, order):
    mean, square = _moments(quality, erased)
    rho = (square - mean**2) / (examples * mean**2)
    return rho, 1 + ((square / mean**2) ** order - 1) / examples


def _no_blanks(quality, erased, examples, order):
    return (
        dataset_entropy(quality, examples),
        crosstalk_factor(quality, examples, order=order, supervision="unsupervised"),
    )


def _weaker(quality, erased, examples, order):
    return _no_blanks((1 - erased) * quality, erased, examples, order)


@checker(
    "hebbian.18",
    wrong=[
        (_no_blanks, "blanks"),
        (_weaker, "second moment"),
        (
            lambda quality, erased, examples, order: (
                _with_blanks(quality, erased, examples, order)[0],
                (1 + _with_blanks(quality, erased, examples, order)[0]) ** order,
            ),
            "teacher",
        ),
    ],
)
def _blanks(answer) -> Verdict:
    for quality, erased, examples, order in ((0.5, 0.3, 3, 4), (0.8, 0.6, 2, 2), (0.4, 0.1, 4, 4)):
        entries = np.array([1.0, -1.0, 0.0])
        right = (1 - erased) * (1 + quality) / 2
        weight = np.array([right, 1 - erased - right, erased])
        draws = np.array(list(itertools.product(range(3), repeat=examples)))
        chance = weight[draws].prod(1)
        average = entries[draws].mean(1)
        mean = chance @ average
        rho = chance @ average**2 / mean**2 - 1
        pairs = entries[draws][:, :, None] * entries[draws][:, None, :]
        second = np.einsum("d,dab->ab", chance, pairs)  # E[η^a η^b], by summing over all data
        factor = (second**order).mean() / mean ** (2 * order)
        value = answer(quality, erased, examples, order)
        if close(value, (rho, factor)):
            continue
        where = (
            f"for r={quality}, {erased:.0%} erased, M={examples}, P={order} you return {value}, "
            f"the sum over all data gives ({rho:.6g}, {factor:.6g})"
        )
        args = quality, erased, examples, order
        if close(value, _no_blanks(*args)):
            return Verdict.wrong(f"{where}: the blanks are not in your formula")
        if close(value, _weaker(*args)):
            return Verdict.wrong(f"{where}: the second moment of an entry is no longer 1")
        if close(value, (rho, (1 + rho) ** order)):
            return Verdict.wrong(f"{where}: your F is the one with a teacher")
        return Verdict.wrong(f"{where}. You need the first two moments of one entry")
    return Verdict.right("agrees with the sum over all data sets for three settings")


def _capacity(entropy, order, *, signal=True, factor=True):
    from scipy.special import erf

    x = np.geomspace(0.05, 8, 400001)
    x = x[2 * entropy * x**2 < 1]
    moved = 2 / np.sqrt(np.pi) * x * np.exp(-(x**2))
    field = erf(x) + (entropy * moved if signal else 0)
    noise = math.factorial(order - 1) * ((1 + entropy) ** order if factor else 1)
    width = entropy if signal else 0.0
    return float((field ** (2 * order - 2) * (1 / (2 * x**2) - width) / noise).max())


@checker(
    "hebbian.19",
    wrong=[
        (lambda entropy, order: _capacity(0.0, order), "archetypes"),
        (lambda entropy, order: _capacity(entropy, order, signal=False), "field's own"),
        (lambda entropy, order: _capacity(entropy, order, factor=False), "cross-talk"),
    ],
)
def _loads(answer) -> Verdict:
    for entropy, order in ((0.05, 4), (0.2, 4), (0.1, 6)):
        quality = (1 + 100 * entropy) ** -0.5
        target = learning_critical_load(quality=quality, examples=100, order=order)
        value = answer(entropy, order)
        if close(value, target, 1e-5):
            continue
        where = f"for rho={entropy}, P={order} you return {value}, theory says {target:.6g}"
        if close(value, _capacity(0.0, order), 1e-5):
            return Verdict.wrong(f"{where}: that is the capacity for the archetypes themselves")
        if close(value, _capacity(entropy, order, signal=False), 1e-5):
            return Verdict.wrong(
                f"{where}: ρ broadens the field's own signal as well, not the cross-talk alone"
            )
        if close(value, _capacity(entropy, order, factor=False), 1e-5):
            return Verdict.wrong(f"{where}: the cross-talk carries the factor (1+ρ)^P")
        return Verdict.wrong(f"{where}. Maximise γ(x), with all of m, ñ and S written in x")
    return Verdict.right("agrees with the package for three settings")


def _slopes(delta, order, growth, data):
    """Growth exponents of ρ and of γF, measured between two very large networks."""
    values = []
    for log_size in (30.0, 40.0):
        quality, examples = math.exp(-delta * log_size), math.exp(data * log_size)
        factor = crosstalk_factor(quality, examples, order=order, supervision="unsupervised")
        entropy = dataset_entropy(quality, examples)
        values.append((math.log(entropy), (growth - order + 1) * log_size + math.log(factor)))
    return np.diff(values, axis=0)[0] / 10


@checker(
    "hebbian.20",
    wrong=[
        (lambda order, growth, data: (order - 1 - growth) / (2 * order), "more examples"),
        (lambda order, growth, data: (order - 1 - growth + data) / (2 * order), "average example"),
        (lambda order, growth, data: data / 2, "cross-talk"),
        (lambda order, growth, data: (order - 1 - growth) / (2 * (order - 1)), "best"),
    ],
)
def _detection(answer) -> Verdict:
    for order, growth, data in ((4, 1.0, 0.5), (4, 1.0, 2.0), (6, 2.5, 0.9), (4, 0.0, 0.8)):
        low, high = 1e-6, 1.2
        for _ in range(60):
            middle = (low + high) / 2
            if max(_slopes(middle, order, growth, data)) <= 1e-9:
                low = middle
            else:
                high = middle
        value = answer(order, growth, data)
        if close(value, low, 1e-4):
            continue
        where = (
            f"for P={order}, b={growth}, M~N^{data} you return {value}, two very large networks "
            f"give {low:.4f}"
        )
        crosstalk = (order - 1 - growth + data) / (2 * order)
        if close(value, (order - 1 - growth) / (2 * order), 1e-6):
            return Verdict.wrong(f"{where}: more examples also lower the cross-talk")
        if close(value, crosstalk, 1e-6):
            return Verdict.wrong(
                f"{where}: the cross-talk allows that, but ρ grows, and only the average example "
                "is retrieved"
            )
        if close(value, data / 2, 1e-6):
            return Verdict.wrong(f"{where}: that keeps ρ finite, but the cross-talk diverges")
        if close(value, (order - 1 - growth) / (2 * (order - 1)), 1e-6):
            return Verdict.wrong(f"{where}: that is the value at the best growth of M, not here")
        return Verdict.wrong(f"{where}. Two conditions must hold; which one binds?")
    return Verdict.right("agrees with two very large networks for four settings")
