"""Checkers of the exercises of chapter 4.2."""

from __future__ import annotations

from math import comb, erf, pi

import numpy as np
from scipy.optimize import brentq

from course.exercises import Verdict, checker, close
from course.hebbian.averages import tanh_averages
from course.hebbian.replica import hopfield_rs


def _first_moment(b, s):
    return np.exp(b + s**2 / 2) + np.exp(-b + s**2 / 2)


def _states(n, b, s, factor):
    return sum(
        comb(n, j) * np.exp((2 * j - n) * b + factor * (2 * j - n) ** 2 * s**2)
        for j in range(n + 1)
    )


@checker(
    "hebbian.5",
    wrong=[
        (lambda n, b, s: _first_moment(b, s) ** n, "share"),
        (lambda n, b, s: (2 * np.cosh(b)) ** n, "average over the field"),
        (lambda n, b, s: _states(n, b, s, 1.0), "half"),
        (lambda n, b, s: 2**n, "exact integration"),
    ],
)
def _moment(answer) -> Verdict:
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    for n, b, s in ((1, 0.4, 0.7), (3, -0.6, 0.5), (5, 0.3, 0.4)):
        target = float(weights @ (2 * np.cosh(b + s * nodes)) ** n)
        value = answer(n, b, s)
        if close(value, target):
            continue
        where = f"for n={n}, b={b}, s={s} you return {value}, exact integration gives {target:.6g}"
        if close(value, _first_moment(b, s) ** n):
            return Verdict.wrong(
                f"{where}: that is (E Z)ⁿ, but all replicas share one field and average together"
            )
        if close(value, (2 * np.cosh(b)) ** n):
            return Verdict.wrong(f"{where}: the average over the field is still to be taken")
        if close(value, _states(n, b, s, 1.0)):
            return Verdict.wrong(f"{where}: the Gaussian average gives half of s²(Σσ)²")
        return Verdict.wrong(f"{where}. Sum over the states of n spins, then average")
    return Verdict.right("agrees with exact integration for one, three and five replicas")


_WINDOW = np.sqrt(2 / pi)


@checker(
    "hebbian.6",
    wrong=[
        (lambda load: -np.sqrt(2 * load / pi), "independent couplings"),
        (lambda load: -_WINDOW * (np.sqrt(load) + _WINDOW), "counts"),
        (lambda load: -0.5 + 0 * load, "retrieval"),
        (lambda load: 1 / pi - np.sqrt(2 * load / pi), "theory says"),
    ],
)
def _glass_energy(answer) -> Verdict:
    for load in (0.02, 0.14, 1.0, 30.0):
        target = hopfield_rs(load, 0.0, branch="glass").energy
        value = answer(load)
        if close(value, target):
            continue
        where = f"at load {load} you return {value}, theory says {target:.6g}"
        if close(value, -np.sqrt(2 * load / pi)):
            return Verdict.wrong(
                f"{where}: that is the energy for independent couplings of the same variance"
            )
        if close(value, -_WINDOW * (np.sqrt(load) + _WINDOW)):
            return Verdict.wrong(
                f"{where}: −E|h| counts every pair of spins twice; the terms with C correct this"
            )
        if close(value, -0.5):
            return Verdict.wrong(f"{where}: −1/2 is the energy of retrieval at small load")
        return Verdict.wrong(f"{where}. Find b first: b(1 − C) and bC are both known")
    return Verdict.right("agrees with the solver at four loads")


def _noiseless(t):
    b = erf(t / np.sqrt(2)) / t
    return b, _WINDOW * np.exp(-(t**2) / 2) / b


@checker(
    "hebbian.7",
    wrong=[
        (lambda t, Delta: _noiseless(t)[0] ** 2 * (1 - _noiseless(t)[1]) ** 2, "no effect"),
        (
            lambda t, Delta: _noiseless(t)[0] ** 2 * (1 - _noiseless(t)[1]) ** 2 - Delta**2,
            "amplifies",
        ),
        (lambda t, Delta: _noiseless(t)[0] ** 2 - Delta**2, "response"),
        (lambda t, Delta: 0.138 - Delta, "theory says"),
    ],
)
def _noisy_load(answer) -> Verdict:
    cold = 1e-8  # the equations at a temperature where their corrections are below 1e-8
    for t, delta in ((2.2, 0.1), (3.0, 0.2), (1.5, 0.3)):

        def excess(x, t=t):
            return tanh_averages(x * t, x).tanh - cold * t * x

        x = brentq(excess, 1e-3 / cold, 2 / cold, xtol=1e-12 / cold, rtol=1e-14)
        a = tanh_averages(x * t, x)
        response = a.sech2 / cold
        target = ((cold * x) ** 2 / a.tanh2 - delta**2) * (1 - response) ** 2
        value = answer(t, delta)
        if close(value, target, 1e-6):
            continue
        where = f"for t={t}, Delta={delta} you return {value}, theory says {target:.6g}"
        b, c = _noiseless(t)
        if close(value, (b * (1 - c)) ** 2):
            return Verdict.wrong(f"{where}: the noise of the synapses has no effect in your answer")
        if close(value, (b * (1 - c)) ** 2 - delta**2):
            return Verdict.wrong(
                f"{where}: feedback amplifies the noise of the patterns only, α r = α/(1 − C)²"
            )
        if close(value, b**2 - delta**2):
            return Verdict.wrong(f"{where}: the response C is missing, r = 1/(1 − C)²")
        return Verdict.wrong(f"{where}. Solve b² = α/(1 − C)² + Δ² for the load")
    return Verdict.right("agrees with the equations at a very low temperature for three cases")


@checker(
    "hebbian.8",
    wrong=[
        (lambda load: -hopfield_rs(load, 0.0).entropy, "negative"),
        (lambda load: 2 * hopfield_rs(load, 0.0).entropy, "half"),
        (lambda load: hopfield_rs(load, 0.0, branch="glass").entropy, "glass"),
        (lambda load: 0.0, "zero"),
    ],
)
def _missing_entropy(answer) -> Verdict:
    for load in (0.08, 0.1, 0.137):
        step = 1e-4  # the slope of the free energy, and half of its next term removed
        free = [hopfield_rs(load, k * step).free_energy for k in (0, 1, 2)]
        target = (3 * free[0] - 4 * free[1] + free[2]) / (2 * step)
        value = answer(load)
        if np.ndim(value) == 0 and abs(value - target) <= 1e-3 * abs(target) + 1e-9:
            continue
        where = f"at load {load} you return {value}, the slope of f gives {target:.6g}"
        if close(value, -target, 1e-2):
            return Verdict.wrong(f"{where}: the entropy is negative, which is the point")
        if close(value, 2 * target, 1e-2):
            return Verdict.wrong(f"{where}: the free energy of the patterns carries α/2, one half")
        if close(value, hopfield_rs(load, 0.0, branch="glass").entropy, 1e-6):
            return Verdict.wrong(f"{where}: that is the entropy of the glass; take t beyond 2.138")
        if value == 0:
            return Verdict.wrong(f"{where}: a unique ground state would have entropy zero")
        return Verdict.wrong(f"{where}. With t known, C = t √(2/π) exp(−t²/2) / m")
    return Verdict.right("agrees with the slope of the free energy at three loads")
