"""Checkers of the exercises of chapter 3.2."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import bisect, minimize_scalar

from course.exercises import Verdict, checker, close
from course.scaling.kernel_regression import kernel_ridge_risk


@checker(
    "scaling.5",
    wrong=[
        (lambda modes, samples: samples / (modes - samples), "error of the fit alone"),
        (lambda modes, samples: 1 / (1 - samples), "theory says"),
        (lambda modes, samples: modes / samples, "one over the learnability"),
        (lambda modes, samples: 1.0, "theory says"),
    ],
)
def _overfitting(answer) -> Verdict:
    for modes, samples in ((100, 20), (100, 99), (7, 3), (1000, 500)):
        flat = np.full(modes, 0.3)
        target = kernel_ridge_risk(flat, flat, samples=samples).overfitting
        value = answer(modes, samples)
        if close(value, target):
            continue
        where = (
            f"at modes={modes}, samples={samples} you return {value:.6g}, theory says {target:.6g}"
        )
        if close(value, target - 1):
            return Verdict.wrong(
                f"{where}: that is the error of the fit alone; the noise of the test label is "
                "counted too"
            )
        if close(value, modes / samples):
            return Verdict.wrong(f"{where}: that is one over the learnability")
        return Verdict.wrong(f"{where}. What is the learnability if all are equal and sum to N?")
    return Verdict.right("agrees with the solver for 4 pairs of modes and samples")


@checker(
    "scaling.6",
    wrong=[
        (lambda amplitude, noise: noise, "amplitude of the target"),
        (lambda amplitude, noise: math.sqrt(noise / amplitude), "a standard deviation"),
        (lambda amplitude, noise: amplitude / noise, "upside down"),
        (lambda amplitude, noise: noise * amplitude, "has error"),
        (lambda amplitude, noise: 0.0, "has error"),
        (lambda amplitude, noise: -1.0, "below 0"),
    ],
)
def _best_ridge(answer) -> Verdict:
    index = np.arange(1, 301)
    for spectrum in (index**-1.5, np.exp(-0.1 * index)):
        for amplitude, noise in ((1.0, 0.3), (2.5, 0.3), (0.4, 1.2)):
            value = float(answer(amplitude, noise))

            def test(ridge, spectrum=spectrum, amplitude=amplitude, noise=noise):
                return kernel_ridge_risk(
                    spectrum, amplitude * spectrum, samples=50, ridge=ridge, noise=noise
                ).test

            if not (math.isfinite(value) and value >= 0):
                return Verdict.wrong(f"you return {value}, below 0 or no number")
            best = minimize_scalar(
                lambda x: test(math.exp(x)), bounds=(-8, 6), method="bounded",
                options={"xatol": 1e-9},
            )  # fmt: skip
            reached = test(value)
            if reached <= best.fun * (1 + 1e-9) and math.isclose(
                value, math.exp(best.x), rel_tol=1e-3
            ):
                continue
            where = (
                f"at amplitude={amplitude}, noise={noise} your ridge {value:.4g} has error "
                f"{reached:.5g}, while {math.exp(best.x):.4g} has {best.fun:.5g}"
            )
            if close(value, noise):
                return Verdict.wrong(f"{where}: the amplitude of the target matters too")
            if close(value, math.sqrt(noise / amplitude)):
                return Verdict.wrong(f"{where}: you have a standard deviation; take a variance")
            if close(value, amplitude / noise):
                return Verdict.wrong(f"{where}: yours is upside down; more noise needs more ridge")
            return Verdict.wrong(where)
    return Verdict.right("agrees with the numerical minimum for two spectra and 3 targets")


def _fixed_bracket(eigenvalues, samples, ridge):
    def excess(kappa):
        return (eigenvalues / (eigenvalues + kappa)).sum() + ridge / kappa - samples

    return bisect(excess, 1e-25, 1e10, maxiter=128, disp=False)


def _no_ridge(eigenvalues, samples, ridge):
    return ridge / samples


def _per_sample(eigenvalues, samples, ridge):
    return kernel_ridge_risk(eigenvalues, eigenvalues, samples=samples, ridge=ridge).kappa / samples


@checker(
    "scaling.7",
    wrong=[
        (_fixed_bracket, "raises ValueError"),
        (_no_ridge, "small modes"),
        (_per_sample, "factor of N"),
        (lambda eigenvalues, samples, ridge: math.nan, "no positive number"),
    ],
)
def _solve_kappa(answer) -> Verdict:
    index = np.arange(1, 501)
    cases = [
        ("a power law", index**-1.5, 50, 1.0),
        ("a power law without ridge", index**-1.5, 50, 0.0),
        ("eigenvalues from 1 to 1e-200", np.logspace(0, -200, 500), 100, 0.0),
        ("a power law with zeros", np.append(index**-1.5, np.zeros(9)), 499, 0.0),
        ("more samples than modes", index**-2.0, 5000, 0.1),
        ("eigenvalues near 1e40", 1e40 * index**-1.5, 50, 1.0),
    ]
    for name, spectrum, samples, ridge in cases:
        target = kernel_ridge_risk(spectrum, spectrum, samples=samples, ridge=ridge).kappa
        value = float(answer(spectrum, samples, ridge))
        where = f"for {name} you return {value:.6g}, the solution is {target:.6g}"
        if not (math.isfinite(value) and value > 0):
            return Verdict.wrong(f"{where}: yours is no positive number")
        if abs(value / target - 1) <= 1e-5:
            continue
        if close(value, ridge / samples):
            return Verdict.wrong(f"{where}: yours is δ/N; the small modes act as a ridge too")
        if close(value * samples, target, 1e-6) or close(value, target * samples, 1e-6):
            return Verdict.wrong(f"{where}: a factor of N; the kernel is not divided by N here")
        left = float((spectrum / (spectrum + value)).sum() + ridge / value)
        return Verdict.wrong(f"{where}: at yours the left side is {left:.10g}, not {samples}")
    return Verdict.right("solves 6 cases, from 1e-200 to 1e40, with and without ridge")


def _residuals(K, y, ridge):
    return ridge * np.linalg.solve(K + ridge * np.eye(len(y)), y)


def _ridge_over_samples(K, y, ridge):
    """κ taken for δ/N: the factor is one."""
    return (_residuals(K, y, ridge) ** 2).mean()


def _not_squared(K, y, ridge):
    trace = np.trace(np.linalg.inv(K + ridge * np.eye(len(y))))
    return (_residuals(K, y, ridge) ** 2).mean() / (ridge * trace / len(y))


def _leave_one_out(K, y, ridge):
    """The other right answer: each residual over the share of it that its own sample leaves."""
    inverse = np.linalg.inv(K + ridge * np.eye(len(y)))
    return ((inverse @ y / np.diag(inverse)) ** 2).mean()


def _not_per_sample(K, y, ridge):
    trace = np.trace(np.linalg.inv(K + ridge * np.eye(len(y))))
    return (_residuals(K, y, ridge) ** 2).mean() / (ridge * trace) ** 2


@checker(
    "scaling.8",
    wrong=[
        (_ridge_over_samples, "train error"),
        (_not_squared, "square of the factor"),
        (_not_per_sample, "divide the trace"),
        (lambda K, y, ridge: (y**2).mean(), "theory says"),
    ],
)
def _test_without_test_set(answer) -> Verdict:
    rng = np.random.default_rng(308)
    index = np.arange(1, 401)
    spectrum, power = index**-1.5, index**-2.0
    for ridge in (0.02, 0.3, 3.0):
        values, targets, trains, left_out = [], [], [], []
        for _ in range(12):
            z = rng.standard_normal((60, 400))
            y = z @ np.sqrt(power) + 0.3 * rng.standard_normal(60)
            kernel = (z * spectrum) @ z.T
            values.append(float(answer(kernel, y, ridge)))
            trains.append(_ridge_over_samples(kernel, y, ridge))
            trace = np.trace(np.linalg.inv(kernel + ridge * np.eye(60)))
            targets.append(trains[-1] / (ridge * trace / 60) ** 2)
            left_out.append(_leave_one_out(kernel, y, ridge))
        theory = kernel_ridge_risk(spectrum, power, samples=60, ridge=ridge, noise=0.09)
        if close(values, targets, 1e-6) or close(values, left_out, 1e-6):
            continue
        where = (
            f"at ridge={ridge} your mean over 12 training sets is {np.mean(values):.5g}; theory "
            f"says {theory.test:.5g}"
        )
        if close(values, trains, 1e-6):
            return Verdict.wrong(f"{where}: yours is the train error")
        products = np.multiply(trains, targets)
        if close(np.square(values), products, 1e-6):
            return Verdict.wrong(f"{where}: the errors' ratio is the square of the factor δ/Nκ")
        if close(np.multiply(values, 60**2), targets, 1e-6):
            return Verdict.wrong(f"{where}: divide the trace by the number of samples")
        return Verdict.wrong(where)
    return Verdict.right("agrees with cross-validation, generalised or exact, at 3 ridges")
