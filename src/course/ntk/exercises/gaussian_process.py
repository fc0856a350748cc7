"""Checkers of the exercises of chapter 1.1."""

from __future__ import annotations

import math

import numpy as np
from numpy.polynomial.hermite_e import hermeval

from course.activations import gaussian_moments
from course.exercises import Verdict, checker, close
from course.ntk.gaussian_process import excess_kurtosis, output_density
from course.ntk.kernels import infinite_width_kernels


@checker(
    "ntk.1",
    wrong=[
        (lambda q, depth, sigma_w, sigma_b: sigma_w**2 * q + sigma_b**2, "does not depend"),
        (
            lambda q, depth, sigma_w, sigma_b: (
                (sigma_w**2) ** (depth + 1) * q
                + sigma_b**2 * sum(sigma_w ** (2 * i) for i in range(depth + 1))
            ),
            "half",
        ),
        (
            lambda q, depth, sigma_w, sigma_b: _relu_variance(q, depth - 1, sigma_w, sigma_b),
            "one layer short",
        ),
    ],
)
def _output_variance(answer) -> Verdict:
    rng = np.random.default_rng(101)
    cases = [(float(q), int(depth), float(w), float(b))
             for q, depth, w, b in zip(rng.uniform(0.5, 2, 4), (1, 2, 3, 6),
                                       rng.uniform(1, 1.6, 4), rng.uniform(0.1, 1, 4),
                                       strict=True)]  # fmt: skip
    for q, depth, sigma_w, sigma_b in cases:
        x = np.array([[math.sqrt(q)]])
        kernels = infinite_width_kernels(
            x, depth=depth, activation="relu", sigma_w=sigma_w, sigma_b=sigma_b
        )
        target = float(kernels.nngp[0, 0])
        value = answer(q, depth, sigma_w, sigma_b)
        if close(value, target):
            continue
        where = (
            f"at q={q:.3f}, depth={depth}, sigma_w={sigma_w:.3f}, sigma_b={sigma_b:.3f} you "
            f"return {value:.6g}, theory says {target:.6g}"
        )
        if close(value, answer(q, depth + 1, sigma_w, sigma_b)):
            return Verdict.wrong(f"{where}: your result does not depend on depth")
        if close(value, _relu_variance(q, depth - 1, sigma_w, sigma_b)):
            return Verdict.wrong(
                f"{where}: you are one layer short; the input layer comes before the {depth} "
                "hidden ones are averaged"
            )
        return Verdict.wrong(f"{where}. Does each ReLU keep half of the second moment?")
    return Verdict.right(f"agrees with the kernel recursion on {len(cases)} networks")


def _relu_variance(q: float, depth: int, sigma_w: float, sigma_b: float) -> float:
    kernel = sigma_w**2 * q + sigma_b**2
    for _ in range(depth):
        kernel = sigma_w**2 * kernel / 2 + sigma_b**2
    return kernel


@checker(
    "ntk.2",
    wrong=[
        (lambda q1, q2, k: np.exp(-(q1 + q2) / 2) * np.cosh(k), "cosine"),
        (lambda q1, q2, k: np.exp(-(q1 + q2) / 2) * k, "first order in k"),
        (lambda q1, q2, k: k, "theory says"),
    ],
)
def _sine_average(answer) -> Verdict:
    import torch

    rng = np.random.default_rng(102)
    for q1, q2, correlation in rng.uniform((0.3, 0.3, -0.95), (2, 2, 0.95), (6, 3)):
        k = correlation * math.sqrt(q1 * q2)
        target = float(gaussian_moments(torch.sin, q1, q2, k).function)
        value = answer(q1, q2, k)
        if close(value, target, 1e-7):
            continue
        where = (
            f"at q1={q1:.3f}, q2={q2:.3f}, k={k:.3f} you return {value:.6g}, theory says "
            f"{target:.6g}"
        )
        damping = math.exp(-(q1 + q2) / 2)
        if close(value, damping * math.cosh(k)):
            return Verdict.wrong(f"{where}: that is the average for the cosine; check the signs")
        if close(value, damping * k):
            return Verdict.wrong(f"{where}: that is only first order in k; keep both exponentials")
        return Verdict.wrong(f"{where}. What are the variances of u - v and u + v?")
    return Verdict.right("agrees with quadrature at 6 random covariances")


@checker(
    "ntk.3",
    wrong=[
        (lambda K, y: y @ y / np.trace(K), "correlations"),
        (lambda K, y: y @ np.linalg.solve(K, y), "number of targets"),
        (lambda K, y: np.sqrt(y @ np.linalg.solve(K, y) / len(y)), "square root"),
    ],
)
def _best_scale(answer) -> Verdict:
    rng = np.random.default_rng(103)
    for size in (3, 6, 10):
        x = rng.standard_normal((size, 4))
        kernel = infinite_width_kernels(x, depth=2, activation="erf", sigma_w=1.5, sigma_b=0.3).nngp
        y = 2 * np.linalg.cholesky(kernel) @ rng.standard_normal(size)
        quadratic = float(y @ np.linalg.solve(kernel, y))
        target, value = quadratic / size, answer(kernel, y)
        if close(value, target):
            continue
        where = f"for {size} targets you return {value:.6g}, the maximum is at {target:.6g}"
        if close(value, quadratic):
            return Verdict.wrong(f"{where}: divide by the number of targets")
        if close(value, math.sqrt(target)):
            return Verdict.wrong(f"{where}: s multiplies the variance; take no square root")
        return Verdict.wrong(f"{where}. Does your answer use the correlations in K?")
    return Verdict.right("maximises the marginal likelihood on 3 data sets")


def _series(u, fourth: float, sixth: float, eighth: float) -> np.ndarray:
    u = np.asarray(u)
    terms = [1, 0, 0, 0, fourth, 0, sixth, 0, eighth]
    return np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi) * hermeval(u, terms)


@checker(
    "ntk.4",
    wrong=[
        (lambda u, n: _series(u, 15 / n / 24, 0, 0), "as the first correction does"),
        (lambda u, n: _series(u, 15 / n / 24, 660 / n**2 / 720, 0), "He_8"),
        (lambda u, n: _series(u, 15 / n / 24, 0, (15 / n) ** 2 / 1152), "He_6"),
        (lambda u, n: _series(u, 5 / n / 24, 0, 0), "order 1/n is not right"),
    ],
)
def _second_correction(answer) -> Verdict:
    u = np.linspace(-4, 4, 161)
    widths = (128, 256)
    errors = []
    for n in widths:
        exact = output_density(u / math.sqrt(2), width=n) / math.sqrt(2)
        errors.append(np.abs(np.asarray(answer(u, n)) - exact).max())
        fourth = excess_kurtosis(width=n) / 24
        parts = {
            "He_8": (fourth, 660 / n**2 / 720, 0.0),
            "He_6": (fourth, 0.0, 24**2 * fourth**2 / 1152),
        }
        for missing, coefficients in parts.items():
            if np.abs(np.asarray(answer(u, n)) - _series(u, *coefficients)).max() < 1e-12:
                return Verdict.wrong(f"the term with {missing} is missing")
    power = math.log(errors[0] / errors[1]) / math.log(2)
    found = f"your error falls from width 128 to 256 as n to the power {-power:.2f}"
    if power > 2.9:
        return Verdict.right(f"{found}; theory says -3")
    if power > 1.9:
        return Verdict.wrong(f"{found}, as the first correction does; it must fall as n^-3")
    return Verdict.wrong(f"{found}: the term of order 1/n is not right; it is (15/n)/24 times He_4")
