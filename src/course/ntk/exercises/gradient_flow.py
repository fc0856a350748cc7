"""Checkers of the exercises of chapter 1.3."""

from __future__ import annotations

import math

import numpy as np
from scipy.integrate import quad
from scipy.linalg import expm

from course.exercises import Verdict, checker, close
from course.ntk.kernels import infinite_width_kernels


@checker(
    "ntk.9",
    wrong=[
        (lambda eigenvalue, time: (1 - math.exp(-eigenvalue * time)) / max(eigenvalue, 1e-300),
         "loses its digits"),
        (lambda eigenvalue, time: -math.expm1(-eigenvalue * time) / eigenvalue if eigenvalue
         else 0.0, "eigenvalue 0"),
        (lambda eigenvalue, time: 1 - math.exp(-eigenvalue * time), "per unit of eigenvalue"),
    ],
)  # fmt: skip
def _filter(answer) -> Verdict:
    rng = np.random.default_rng(9)
    for eigenvalue, time in rng.uniform(0.2, 3, (5, 2)):
        expected = (1 - math.exp(-eigenvalue * time)) / eigenvalue
        value = answer(float(eigenvalue), float(time))
        if not close(value, expected):
            return Verdict.wrong(
                f"at eigenvalue {eigenvalue:.3f}, time {time:.3f} you return {value}, theory says "
                f"{expected:.6f}: the learned fraction 1 − exp(−λt) per unit of eigenvalue"
            )
    for eigenvalue, time in ((1e-13, 2.0), (1e-20, 5.0)):
        value = answer(eigenvalue, time)
        if not close(value, time * (1 - eigenvalue * time / 2)):
            return Verdict.wrong(
                f"at eigenvalue {eigenvalue:g}, time {time:g} you return {value}, theory says "
                f"{time:g}: for small λt the difference 1 − exp(−λt) loses its digits; "
                "look for math.expm1"
            )
    value = answer(0.0, 3.0)
    if not close(value, 3.0):
        return Verdict.wrong(
            f"at eigenvalue 0, time 3 you return {value}; the limit of φ(λ, t) for λ → 0 is t"
        )
    return Verdict.right("your filter agrees with theory to 8 digits, also at λt = 1e-19 and 0")


@checker(
    "ntk.10",
    wrong=[
        (lambda eigenvalue, signal, sigma: math.log(1 + signal / sigma) / eigenvalue,
         "squares"),
        (lambda eigenvalue, signal, sigma: math.log(1 + signal**2 / sigma**2), "eigenvalue"),
        (lambda eigenvalue, signal, sigma: math.log(signal**2 / sigma**2) / eigenvalue,
         "smallest error"),
    ],
)  # fmt: skip
def _stopping_time(answer) -> Verdict:
    rng = np.random.default_rng(10)
    for eigenvalue, signal, sigma in rng.uniform(0.3, 2.5, (6, 3)):
        value = answer(float(eigenvalue), float(signal), float(sigma))
        expected = math.log1p((signal / sigma) ** 2) / eigenvalue
        if close(value, expected, 1e-6):
            continue
        where = f"at λ={eigenvalue:.2f}, c={signal:.2f}, σ_ε={sigma:.2f} you return {value}"
        if close(value, math.log1p(signal / sigma) / eigenvalue, 1e-6):
            return Verdict.wrong(f"{where}; the error contains the squares of c and σ_ε")
        if close(value, expected * eigenvalue, 1e-6):
            return Verdict.wrong(f"{where}; time is measured in units of one over the eigenvalue")
        return Verdict.wrong(
            f"{where}; the smallest error is at {expected:.5f}. Write q = exp(−λt) and minimise "
            "c²q² + σ_ε²(1 − q)² over q"
        )
    return Verdict.right(
        "your stopping time has the smallest error; there the filter is c²/(c² + σ_ε²)"
    )


@checker(
    "ntk.11",
    wrong=[
        (lambda time, ridge: np.exp(-ridge * time), "integrates to"),
        (lambda time, ridge: ridge * np.exp(-ridge * time / 2) / 2, "filter"),
    ],
)
def _density(answer) -> Verdict:
    rng = np.random.default_rng(11)
    for ridge, eigenvalue in rng.uniform(0.4, 2.5, (5, 2)):
        cutoff = 60 / ridge  # the density sought is below 1e-26 beyond

        def integral(weight, ridge=ridge, cutoff=cutoff):
            return quad(
                lambda time: weight(time) * float(answer(time, ridge)), 0, cutoff, limit=200
            )[0]

        total = integral(lambda time: 1.0)
        if abs(total - 1) > 1e-6:
            return Verdict.wrong(
                f"at ridge {ridge:.3f} your density integrates to {total:.4f}, not to 1"
            )
        mean = integral(lambda time, rate=eigenvalue: -math.expm1(-rate * time))
        expected = eigenvalue / (eigenvalue + ridge)
        if abs(mean - expected) > 1e-6:
            return Verdict.wrong(
                f"at ridge {ridge:.3f} and eigenvalue {eigenvalue:.3f} your average filter is "
                f"{mean:.5f}; ridge regression has {expected:.5f}"
            )
    return Verdict.right("averaged over your stopping times, gradient flow is ridge regression")


def _only_nngp(theta, theta_cross, train, cross, test, time):
    operator = theta_cross @ np.linalg.solve(theta, np.eye(len(theta)) - expm(-theta * time))
    return test - operator @ cross.T


def _only_trained(theta, theta_cross, train, cross, test, time):
    operator = cross @ np.linalg.solve(train, np.eye(len(train)) - expm(-train * time))
    mixed = operator @ cross.T
    return test + operator @ train @ operator.T - mixed - mixed.T


def _only_end(theta, theta_cross, train, cross, test, time):
    operator = theta_cross @ np.linalg.inv(theta)
    mixed = operator @ cross.T
    return test + operator @ train @ operator.T - mixed - mixed.T


@checker(
    "ntk.12",
    wrong=[
        (_only_nngp, "posterior"), (_only_trained, "tangent kernel"), (_only_end, "time"),
    ],
)  # fmt: skip
def _covariance(answer) -> Verdict:
    rng = np.random.default_rng(12)
    for time in (0.4, 2.0):
        x, x_test = rng.standard_normal((4, 3)), rng.standard_normal((2, 3))
        settings = {"depth": 2, "activation": "relu", "sigma_w": 1.4, "sigma_b": 0.3}
        train, cross, test = (
            infinite_width_kernels(a, b, **settings)
            for a, b in ((x, x), (x_test, x), (x_test, x_test))
        )
        blocks = (train.ntk, cross.ntk, train.nngp, cross.nngp, test.nngp)
        # Push f0 through its linear equation of motion on all six points at once.
        motion = np.zeros((6, 6))
        motion[:, :4] = -np.concatenate([train.ntk, cross.ntk])
        joint = np.block([[train.nngp, cross.nngp.T], [cross.nngp, test.nngp]])
        push = expm(motion * time)
        expected = (push @ joint @ push.T)[4:, 4:]
        value = answer(*blocks, time)
        if close(value, expected, 1e-6):
            continue
        if np.shape(value) != (2, 2):
            return Verdict.wrong(
                f"for two test points you return shape {np.shape(value)}; a covariance is 2 × 2"
            )
        hints = {
            _only_nngp: "K** − M K*ᵀ is the form of a posterior, and holds only where Θ is K",
            _only_trained: "M contains the tangent kernel Θ, K stands outside",
            _only_end: "this is infinite time; (1 − exp(−Θt)) is missing in M",
        }
        for wrong, hint in hints.items():
            if close(value, wrong(*blocks, time), 1e-6):
                return Verdict.wrong(f"at time {time:g}: {hint}")
        return Verdict.wrong(
            f"at time {time:g} your first variance is {np.asarray(value)[0, 0]:.5f}, theory says "
            f"{expected[0, 0]:.5f}. Write f_t = f_0(x*) − M (f_0(X) − y) and take the covariance"
        )
    return Verdict.right("your covariance agrees with theory at two times and two test points")
