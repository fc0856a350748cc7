"""Checkers of the exercises of chapter 2.1."""

from __future__ import annotations

import math

import numpy as np
from scipy.integrate import solve_ivp

from course.exercises import Verdict, checker, close
from course.lazy_rich.deep_linear import learning_time


def _time(s, a0, fraction, tau):
    return tau / (2 * s) * math.log(fraction / (1 - fraction) * (s / a0 - 1))


@checker(
    "lazy_rich.1",
    wrong=[
        (lambda s, a0, fraction, tau: 2 * _time(s, a0, fraction, tau), "both layers"),
        (lambda s, a0, fraction, tau: _time(s, a0, 0.5, tau), "does not depend on the fraction"),
        (lambda s, a0, fraction, tau: _time(s, a0, fraction, 1.0), "time constant"),
        (lambda s, a0, fraction, tau: _time(s, a0, 1 - fraction, tau), "theory says"),
    ],
)
def _time_to_learn(answer) -> Verdict:
    rng = np.random.default_rng(301)
    for fraction in (0.25, 0.5, 0.9):
        s, tau = float(rng.uniform(0.5, 4)), float(rng.uniform(1.5, 3))
        a0 = float(10 ** rng.uniform(-6, -2))
        target = learning_time(s, a0, fraction * s, tau)
        value = answer(s, a0, fraction, tau)
        if close(value, target):
            continue
        where = (
            f"at s={s:.3f}, a0={a0:.3g}, fraction={fraction}, tau={tau:.3f} you return "
            f"{float(np.ravel(value)[0]):.6g}, theory says {target:.6g}"
        )
        if close(value, 2 * target):
            return Verdict.wrong(f"{where}: both layers grow, so the strength has the rate 2s")
        if close(value, learning_time(s, a0, s / 2, tau)):
            return Verdict.wrong(f"{where}: your time does not depend on the fraction")
        if close(value, target / tau):
            return Verdict.wrong(f"{where}: time comes in units of the time constant tau")
        return Verdict.wrong(where)
    return Verdict.right("agrees with quadrature of the mode equation for three fractions")


@checker(
    "lazy_rich.2",
    wrong=[
        (lambda eta, decay, gradient: math.sqrt(2 * eta * decay) / gradient, "leading order"),
        (
            lambda eta, decay, gradient: eta * math.sqrt(1 - (1 - eta * decay) ** 2) / gradient,
            "twice",
        ),
        (lambda eta, decay, gradient: eta, "the recursion settles at"),
        (
            lambda eta, decay, gradient: (1 - (1 - eta * decay) ** 2) / (eta * gradient**2),
            "|g|, not",
        ),
    ],
)
def _effective_step(answer) -> Verdict:
    for eta, decay, gradient in ((0.1, 0.5, 2.0), (0.5, 0.4, 1.0), (0.05, 2.0, 0.3)):
        norm = 1.0
        for _ in range(4000):
            norm = (1 - eta * decay) ** 2 * norm + eta**2 * gradient**2 / norm
        target, value = eta / norm, answer(eta, decay, gradient)
        if close(value, target):
            continue
        where = (
            f"at eta={eta}, decay={decay}, unit_gradient={gradient} you return "
            f"{float(np.ravel(value)[0]):.6g}, the recursion settles at {target:.6g}"
        )
        if close(value, math.sqrt(2 * eta * decay) / gradient):
            return Verdict.wrong(f"{where}: yours is the leading order in eta times decay")
        if close(value, eta * target):
            return Verdict.wrong(f"{where}: you have multiplied by eta twice")
        if close(value, target**2 / eta):
            return Verdict.wrong(
                f"{where}: the step has the length eta |g|/|w|: use |g|, not |g|²/…"
            )
        return Verdict.wrong(f"{where}. What does one step do to |w|²?")
    return Verdict.right("agrees with the recursion of |w|², run until it settles, in three cases")


def _price(s, a0):
    logarithm = math.log(s / a0 - 1)
    return ((1 / a0 - 2 / s) / s + logarithm / s**2) / (logarithm / s)


@checker(
    "lazy_rich.3",
    wrong=[
        (lambda s, a0: 2 * _price(s, a0), "two layers"),
        (lambda s, a0: math.inf, "finite"),
        (lambda s, a0: 1 / (a0 * math.log(s / a0)), "leading order"),
        (lambda s, a0: 1.0, "theory says"),
    ],
)
def _price_of_depth(answer) -> Verdict:
    rng = np.random.default_rng(303)
    for _ in range(4):
        s, a0 = float(rng.uniform(0.5, 4)), float(10 ** rng.uniform(-3, -1))
        # The limit by integrating da/dT = a² (s − a), an independent route.
        flow = solve_ivp(
            lambda _, a, s=s: a**2 * (s - a), (0, 1e9), [a0], rtol=1e-10, atol=1e-14,
            method="LSODA", events=_reaches(s / 2),
        )  # fmt: skip
        target = float(flow.t_events[0][0]) / (2 * learning_time(s, a0, s / 2))
        value = answer(s, a0)
        if close(value, target, 1e-5):
            continue
        number = float(np.ravel(value)[0])
        where = f"at s={s:.3f}, a0={a0:.3g} you return {number:.6g}, theory says {target:.6g}"
        if math.isinf(number):
            return Verdict.wrong(f"{where}: in rescaled time the price of infinite depth is finite")
        if close(value, 2 * target, 1e-5):
            return Verdict.wrong(f"{where}: for two layers, too, T is D t/tau, twice the half-time")
        if close(value, 1 / (a0 * math.log(s / a0))):
            return Verdict.wrong(f"{where}: yours is the leading order for small starts")
        return Verdict.wrong(where)
    return Verdict.right("agrees with integration of the infinitely deep mode in four cases")


def _reaches(level):
    def event(_, a):
        return a[0] - level

    event.terminal = True
    return event


def _weights(s, p, q, t, sign=1.0):
    charge = p**2 - q**2
    kappa = math.hypot(2 * s, charge)
    upper, lower, start = 2 * s + kappa, 2 * s - kappa, (p + q) ** 2
    ratio = (start - upper) / (start - lower) * math.exp(-kappa * t)
    total = math.sqrt((upper - lower * ratio) / (1 - ratio))
    return (total + sign * charge / total) / 2, (total - sign * charge / total) / 2


def _balanced(s, p, q, t):
    w = math.sqrt(s / (1 + (s / abs(p * q) - 1) * math.exp(-2 * s * t)))
    return w, w


@checker(
    "lazy_rich.4",
    wrong=[
        (lambda s, p, q, t: _weights(s, p, q, t, sign=-1.0), "swapped"),
        (lambda s, p, q, t: _weights(s, p, q, t)[0] * _weights(s, p, q, t)[1], "a pair"),
        (_balanced, "does not conserve"),
        (lambda s, p, q, t: _weights(s, p, q, 2 * t), "theory says"),
    ],
)
def _two_weights(answer) -> Verdict:
    for s, p, q, t in ((3.0, 1.2, 0.1, 0.4), (1.0, 0.3, -0.2, 1.5), (2.0, 0.1, 2.5, 0.2)):
        flow = solve_ivp(
            lambda _, w, s=s: (s - w[0] * w[1]) * w[::-1], (0, t), [p, q], rtol=1e-11, atol=1e-13
        )
        target, value = flow.y[:, -1], answer(s, p, q, t)
        if np.shape(value) != (2,):
            return Verdict.wrong(
                f"your result has shape {np.shape(value)}; allowed is a pair (p, q)"
            )
        if close(value, target, 1e-7):
            continue
        first, second = (float(x) for x in value)
        where = (
            f"at s={s}, p={p}, q={q}, t={t} you return ({first:.6g}, {second:.6g}), theory says "
            f"({target[0]:.6g}, {target[1]:.6g})"
        )
        if close(value, target[::-1], 1e-7):
            return Verdict.wrong(f"{where}: you have the two weights swapped")
        if not close(first**2 - second**2, p**2 - q**2, 1e-6):
            return Verdict.wrong(f"{where}: your pair does not conserve p² − q²")
        return Verdict.wrong(where)
    return Verdict.right("agrees with integration of both weights in three cases")
