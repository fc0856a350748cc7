"""Checkers of the exercises of chapter 5.2."""

from __future__ import annotations

import math

import numpy as np

from course.exercises import Verdict, checker, close
from course.moments.hierarchy import moment_equations
from course.moments.kinetics import ReactionNetwork


def _by_threes(m1, m2, m3, m4, rate, volume):
    """Rate of change of ⟨n²⟩ for 3 A -> 0: ⟨a (9 - 6n)⟩."""
    return rate / volume**2 * (-6 * m4 + 27 * m3 - 39 * m2 + 18 * m1)


@checker(
    "moments.5",
    wrong=[
        (lambda m1, m2, m3, m4, rate, volume: _by_threes(m1, m2, m3, m4, rate, volume) / 6, "1/6"),
        (
            lambda m1, m2, m3, m4, rate, volume: rate / volume**2 * (-6 * m4 + 18 * m3 - 12 * m2),
            "square of the change",
        ),
        (
            lambda m1, m2, m3, m4, rate, volume: (
                rate / volume * (-6 * m4 + 27 * m3 - 39 * m2 + 18 * m1)
            ),
            "power of the volume",
        ),
        (lambda m1, m2, m3, m4, rate, volume: -6 * rate * m4 / volume**2, "theory says"),
    ],
)
def _second_moment(answer) -> Verdict:
    rng = np.random.default_rng(505)
    for _ in range(4):
        rate, volume = rng.uniform(0.2, 3), rng.uniform(1.5, 6)
        network = ReactionNetwork(["3 A -> 0"], rates=[rate], volume=volume)
        law, counts = rng.dirichlet(np.ones(9)), np.arange(9.0)
        m = [float(law @ counts**power) for power in range(5)]
        target = moment_equations(network, 2).derivative(lambda p, m=m: m[p[0]] if p[0] else 1)[1]
        value = answer(*m[1:], rate, volume)
        if close(value, target):
            continue
        where = f"you return {value:.6g}, theory says {target:.6g}"
        if close(value, target / 6):
            return Verdict.wrong(
                f"{where}: the book's propensity is n(n−1)(n−2), without the factor 1/6"
            )
        if close(value, rate / volume**2 * (-6 * m[4] + 18 * m[3] - 12 * m[2])):
            return Verdict.wrong(
                f"{where}: (n−3)² − n² has two terms, −6n and the square of the change, 9"
            )
        if close(value, target * volume):
            return Verdict.wrong(
                f"{where}: a reaction of three molecules carries another power of the volume, Ω⁻²"
            )
        return Verdict.wrong(f"{where}. Average the propensity times (n−3)² − n²")
    return Verdict.right("agrees with the moment equations for 4 random laws")


def _normal_fourth(m1, m2, m3):
    return 4 * m1 * m3 + 3 * m2**2 - 12 * m1**2 * m2 + 6 * m1**4


@checker(
    "moments.6",
    wrong=[
        (lambda m1, m2, m3: 4 * m1 * m3 - 6 * m1**2 * m2 + 3 * m1**4, "central moment"),
        (lambda m1, m2, m3: 3 * m2**2 - 2 * m1**4, "ignores the third moment"),
        (lambda m1, m2, m3: 0.0, "theory says"),
    ],
)
def _fourth_moment(answer) -> Verdict:
    rng = np.random.default_rng(506)
    network = ReactionNetwork(["2 A -> 0"], rates=[1.0])
    closed = moment_equations(network, 3).close("normal")
    symbols = [closed.equations.symbol(power) for power in (1, 2, 3)]
    expression = closed.closing()[closed.equations.symbol(4)]
    for _ in range(4):
        law, counts = rng.dirichlet(np.ones(7)), np.arange(7.0)
        m1, m2, m3 = (float(law @ counts**power) for power in (1, 2, 3))
        target = float(expression.subs(dict(zip(symbols, (m1, m2, m3), strict=True))))
        value = answer(m1, m2, m3)
        if close(value, target):
            continue
        where = f"you return {value:.6g}, theory says {target:.6g}"
        if close(value, 4 * m1 * m3 - 6 * m1**2 * m2 + 3 * m1**4):
            return Verdict.wrong(
                f"{where}: you set the fourth central moment to zero; a normal law has 3σ⁴, and "
                "zero is its fourth cumulant"
            )
        if close(value, 3 * m2**2 - 2 * m1**4):
            return Verdict.wrong(
                f"{where}: the moment of a normal law with this mean and variance ignores the "
                "third moment, which order 3 keeps"
            )
        return Verdict.wrong(f"{where}. Write κ₄ in raw moments and set it to zero")
    return Verdict.right("agrees with the symbolic closure for 4 random laws")


def _exponents(order):
    return [(-1) ** (order - k) * math.comb(order + 1, k) for k in range(1, order + 1)]


@checker(
    "moments.7",
    wrong=[
        (lambda order: [math.comb(order + 1, k) for k in range(1, order + 1)], "signs"),
        (lambda order: _exponents(order)[::-1], "other way round"),
        (lambda order: [0] * (order - 1) + [1], "at order"),
    ],
)
def _matching(answer) -> Verdict:
    for order in (1, 2, 3, 5):
        network = ReactionNetwork(["2 A -> 0"], rates=[1.0])
        closed = moment_equations(network, order).close("derivative_matching")
        powers = closed.closing()[closed.equations.symbol(order + 1)].as_powers_dict()
        target = [int(powers[closed.equations.symbol(k)]) for k in range(1, order + 1)]
        value = [float(gamma) for gamma in answer(order)]
        if value == target:
            continue
        where = f"at order {order} you return {value}, theory says {target}"
        if value == target[::-1]:
            return Verdict.wrong(f"{where}: yours stand the other way round, begin with γ₁")
        if [abs(gamma) for gamma in value] == [abs(gamma) for gamma in target]:
            return Verdict.wrong(f"{where}: the signs alternate, the last one is positive")
        return Verdict.wrong(f"{where}. Solve for γ_M first: only one term of the sum is left")
    return Verdict.right("agrees with the library at orders 1, 2, 3 and 5")


def _physical_means(rate, loss, volume):
    half = rate * volume**2 / (2 * loss)
    roots = np.roots([4, -6, 2 - 4 * half, 5 * half])
    real = np.sort(roots[np.abs(roots.imag) < 1e-9].real)
    return real[(real > 0) & (real + half - real**2 > 0)]


@checker(
    "moments.8",
    wrong=[
        (
            lambda rate, loss, volume: (
                np.sort(
                    np.roots(
                        [4, -6, 2 - 2 * rate * volume**2 / loss, 2.5 * rate * volume**2 / loss]
                    )
                ).real
            ),
            "physical",
        ),
        (lambda rate, loss, volume: _physical_means(rate, loss, volume)[-1:], "unstable"),
        (
            lambda rate, loss, volume: np.array([math.sqrt(rate / (2 * loss)) * volume]),
            "theory says",
        ),
    ],
)
def _every_state(answer) -> Verdict:
    rates = ((1.0, 0.5), (2.0, 0.3), (1.0, 0.5), (0.5, 0.5), (1.0, 0.5))
    for (rate, loss), volume in zip(rates, (5.0, 4.0, 1.0, 12.0, 0.1), strict=True):
        network = ReactionNetwork(["0 -> A", "2 A -> 0"], rates=[rate, loss], volume=volume)
        states = moment_equations(network, 2).close("normal").steady_states()
        target = np.array([state.mean[0] for state in states.physical])
        value = np.atleast_1d(np.asarray(answer(rate, loss, volume), dtype=float))
        if value.shape == target.shape and close(value, target, 1e-6):
            continue
        where = (
            f"at rate={rate}, loss={loss}, volume={volume} you return {np.round(value, 4)}, "
            f"theory says {np.round(target, 4)}"
        )
        if len(value) > len(target):
            return Verdict.wrong(
                f"{where}: not all are physical. Keep real roots with a positive mean and variance"
            )
        if len(value) < len(target) and len(value) and close(value[-1], target[-1], 1e-6):
            return Verdict.wrong(f"{where}: an unstable state is a steady state too")
        return Verdict.wrong(
            f"{where}. Eliminate ⟨n²⟩ with the first equation, then a cubic is left"
        )
    return Verdict.right("agrees with the homotopy for 5 networks, one of them without any state")
