"""Checkers of the exercises of chapter 3.3."""

from __future__ import annotations

import math

import numpy as np

from course.exercises import Verdict, checker, close
from course.scaling.random_features import layer_statistics, random_feature_risk


@checker(
    "scaling.9",
    wrong=[
        (lambda samples, features: max(0.0, 1 - features / samples) ** 2, "ratio of the errors"),
        (lambda samples, features: 1 - features / samples, "negative"),
        (lambda samples, features: max(0.0, 1 - samples / features), "exchanged"),
        (lambda samples, features: 0.5, "theory says"),
    ],
)
def _fitting_ratio(answer) -> Verdict:
    i = np.arange(1.0, 301.0)
    for samples, features in ((100, 25), (100, 90), (40, 200), (10, 30), (200, 150)):
        risk = random_feature_risk(
            i**-1.5, i**-2.0, samples=samples, features=features, ridge=0.0, noise=0.1
        )
        target = math.sqrt(risk.train / risk.test)
        value = answer(samples, features)
        if close(value, target, 1e-7):
            continue
        where = f"at samples={samples}, features={features} you return {value:.6g}"
        if value < 0:
            return Verdict.wrong(f"{where}; a ratio of errors cannot be negative: which side?")
        if close(value, target**2, 1e-7):
            return Verdict.wrong(f"{where}: that is the ratio of the errors; take its square root")
        if close(value, max(0.0, 1 - samples / features), 1e-7):
            return Verdict.wrong(f"{where}: samples and features are exchanged; who interpolates?")
        return Verdict.wrong(f"{where}, theory says {target:.6g}. What is z without ridge?")
    return Verdict.right("agrees with the solver on both sides of the peak")


def _without_unlearned(samples, features, modes, noise):
    z = min(samples, features)
    q = z**2 / modes
    top = (features - z) * (1 - z / modes) ** 2 + (features - q) * noise
    return samples * top / ((z - q) * (samples + features - 2 * z))


def _kernel_only(samples, features, modes, noise):
    return ((1 - samples / modes) ** 2 + noise) / (1 - samples / modes)


@checker(
    "scaling.10",
    wrong=[
        (_kernel_only, "infinitely many features"),
        (_without_unlearned, "theory says"),
        (
            lambda samples, features, modes, noise: _solution_10(samples, features, modes, 0),
            "noise",
        ),
    ],
)
def _isotropic(answer) -> Verdict:
    for samples, features, modes, noise in (
        (50, 20, 100, 0.3), (20, 50, 100, 0.3), (30, 90, 200, 1.5), (90, 30, 120, 0.0),
    ):  # fmt: skip
        arguments = {"samples": samples, "features": features, "ridge": 0.0}
        ones = np.ones(modes)
        target = random_feature_risk(ones, ones / modes, noise=noise, **arguments).test
        value = answer(samples, features, modes, noise)
        if close(value, target, 1e-8):
            continue
        where = (
            f"at samples={samples}, features={features}, modes={modes}, noise={noise} you return "
            f"{value:.6g}, theory says {target:.6g}"
        )
        if close(value, random_feature_risk(ones, ones / modes, **arguments).test, 1e-8):
            return Verdict.wrong(f"{where}: that is the error without noise")
        if close(value, _kernel_only(samples, features, modes, noise), 1e-8):
            return Verdict.wrong(f"{where}: that is the error of infinitely many features")
        return Verdict.wrong(f"{where}. Which of the two gaps vanishes here?")
    return Verdict.right("agrees with the solver for fewer and for more features than samples")


def _solution_10(samples, features, modes, noise):
    z = min(samples, features)
    q, missed = z**2 / modes, 1 - z / modes
    top = (features - z) * missed**2 + (z - q) * missed + (features - q) * noise
    return samples * top / ((z - q) * (samples + features - 2 * z))


def _erf_total(variance):
    return 2 / math.pi * math.asin(2 * variance / (1 + 2 * variance))


def _erf_slope(variance):
    return 2 / math.sqrt(math.pi * (1 + 2 * variance))


@checker(
    "scaling.11",
    wrong=[
        (lambda variance: (_erf_slope(variance), _erf_total(variance)), "subtract"),
        (
            lambda variance: (
                2 / math.sqrt(math.pi),
                _erf_total(variance) - _erf_slope(variance) ** 2 * variance,
            ),
            "at zero",
        ),
        (
            lambda variance: (
                _erf_slope(variance),
                _erf_total(variance) - _erf_slope(variance) ** 2,
            ),
            "variance of u",
        ),
        (lambda variance: _erf_slope(variance), "two numbers"),
        (lambda variance: (variance, 0.1), "theory says"),
    ],
)
def _layer(answer) -> Verdict:
    for variance in (0.3, 1.0, 2.5):
        value = np.asarray(answer(variance), dtype=float)
        if value.shape != (2,):
            return Verdict.wrong(f"you return shape {value.shape}; two numbers are asked for")
        layer = layer_statistics("erf", variance)
        where = f"at variance={variance} you return {value[0]:.6g} and {value[1]:.6g}"
        if not close(value[0], layer.slope, 1e-8):
            if close(value[0], 2 / math.sqrt(math.pi), 1e-8):
                return Verdict.wrong(f"{where}: that is the slope at zero; average it over u")
            return Verdict.wrong(f"{where}, theory says {layer.slope:.6g} for the slope")
        if not close(value[1], layer.residual, 1e-7):
            if close(value[1], layer.variance, 1e-7):
                return Verdict.wrong(f"{where}: subtract what the linear part carries")
            if close(value[1], layer.variance - layer.slope**2, 1e-7):
                return Verdict.wrong(f"{where}: the linear part has the variance of u as a factor")
            return Verdict.wrong(f"{where}, theory says {layer.residual:.6g} for the residual")
    return Verdict.right("agrees with quadrature at three variances")


def _critical(alpha: float, beta: float, extra: float) -> float:
    """Where the derivative of the power-law risk at zero ridge vanishes, by a linear solve."""
    p, psi = (alpha + 1 - beta) / alpha, 1 + extra
    signal, noise = p * (psi - 1) + 1 / alpha, psi - 1 + 1 / alpha
    bottom = (psi - 1) / alpha
    bottom_slope = -(psi - 1) * (1 - 1 / alpha) - 2 / alpha
    signal_slope = (1 - beta) * signal + 1 / alpha - p
    noise_slope = 1 / alpha - 1
    level = -(signal_slope * bottom - signal * bottom_slope) / (
        noise_slope * bottom - noise * bottom_slope
    )
    return level * bottom / signal


@checker(
    "scaling.12",
    wrong=[
        (lambda alpha, beta, extra: (beta - alpha) / (alpha * (alpha - 1)), "infinitely many"),
        (
            lambda alpha, beta, extra: (
                _critical(alpha, beta, extra) * (alpha + 1 - beta + 1 / extra)
            ),
            "relative to the error",
        ),
        (lambda alpha, beta, extra: max(0.0, _critical(alpha, beta, extra)), "negative"),
        (lambda alpha, beta, extra: 0.3, "theory says"),
    ],
)
def _finite_width(answer) -> Verdict:
    for alpha, beta, extra in (
        (1.5, 2.0, 20.0),
        (1.5, 2.0, 3.0),
        (2.0, 2.5, 8.0),
        (1.3, 1.9, 50.0),
    ):
        target, value = _critical(alpha, beta, extra), answer(alpha, beta, extra)
        if close(value, target, 1e-8):
            continue
        where = (
            f"at alpha={alpha}, beta={beta}, extra={extra} you return {value:.6g}, theory says "
            f"{target:.6g}"
        )
        if value == 0:
            return Verdict.wrong(f"{where}: return the negative value where even none is too much")
        if close(value, (beta - alpha) / (alpha * (alpha - 1)), 1e-8):
            return Verdict.wrong(f"{where}: that is for infinitely many features")
        if close(value, target * (alpha + 1 - beta + 1 / extra), 1e-8):
            return Verdict.wrong(
                f"{where}: state the noise relative to the error A/D at zero ridge"
            )
        return Verdict.wrong(f"{where}. Differentiate numerator and denominator at u = 1")
    return Verdict.right("agrees with the derivative of the power-law risk in four cases")
