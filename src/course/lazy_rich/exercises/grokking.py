"""Checkers of the exercises of chapter 2.4."""

from __future__ import annotations

import numpy as np
from scipy.stats import CensoredData, ecdf

from course.exercises import Verdict, checker, close


def _gradient(w, x, kappa, alpha):
    """Gradient of the output by central differences, which are exact for a quadratic."""
    step, flat = 0.5, w.ravel()
    result = np.zeros(flat.size)
    for index in range(flat.size):
        ends = []
        for sign in (1, -1):
            moved = flat.copy()
            moved[index] += sign * step
            h = moved.reshape(w.shape) @ x
            ends.append(alpha * np.mean(h + kappa / 2 * h**2))
        result[index] = (ends[0] - ends[1]) / (2 * step)
    return result


@checker(
    "lazy_rich.13",
    wrong=[
        (
            lambda w, x1, x2, kappa: (
                np.sum((1 + kappa * w @ x1) * (1 + kappa * w @ x2)) * (x1 @ x2)
            ),
            "divide by n",
        ),
        (
            lambda w, x1, x2, kappa: np.mean((1 + kappa * w @ x1) * (1 + kappa * w @ x2)),
            "carries x along",
        ),
        (
            lambda w, x1, x2, kappa: (x1 @ x2) * (1 + kappa**2 * x1 @ x2),
            "infinite width",
        ),
    ],
)
def _kernel_of(answer) -> Verdict:
    rng = np.random.default_rng(2413)
    for n, d, kappa, alpha in ((4, 3, 0.7, 1.3), (9, 2, 2.0, 0.4), (6, 5, 0.0, 1.0)):
        w = rng.standard_normal((n, d))
        x1, x2 = rng.standard_normal((2, d))
        kernel = _gradient(w, x1, kappa, alpha) @ _gradient(w, x2, kappa, alpha)
        target, value = kernel * n / alpha**2, answer(w, x1, x2, kappa)
        if close(value, target, 1e-7):
            continue
        where = f"for n={n}, d={d}, kappa={kappa} you return {value}, theory says {target:.6g}"
        if close(value, n * target, 1e-7):
            return Verdict.wrong(f"{where}: divide by n, since n/α² leaves a mean over neurons")
        if close(value * (x1 @ x2), target, 1e-7):
            return Verdict.wrong(f"{where}: each gradient carries x along, so x·x' is missing")
        if close(value, (x1 @ x2) * (1 + kappa**2 * x1 @ x2), 1e-7):
            return Verdict.wrong(f"{where}: that is the limit of infinite width, not this network")
        return Verdict.wrong(f"{where}. Start from the gradient with respect to one w_j")
    return Verdict.right("agrees with gradients by finite differences for three networks")


@checker(
    "lazy_rich.14",
    wrong=[
        (
            lambda mean, M, beta, alpha, kappa, C: (
                alpha**2 * mean @ C @ mean
                + 2 * np.trace((a := (alpha * kappa * M - np.outer(beta, beta)) @ C) @ a) / 4
            ),
            "mean of",
        ),
        (
            lambda mean, M, beta, alpha, kappa, C: (
                alpha**2 * mean @ mean / len(mean)
                + (
                    2 * np.sum((a := alpha * kappa * M - np.outer(beta, beta)) ** 2)
                    + np.trace(a) ** 2
                )
                / (4 * len(mean) ** 2)
            ),
            "identity",
        ),
        (
            lambda mean, M, beta, alpha, kappa, C: (
                alpha**2 * mean @ C @ mean
                + (
                    2 * np.sum((a := (alpha * kappa * M - np.outer(beta, beta)) @ C) ** 2)
                    + np.trace(a) ** 2
                )
                / 4
            ),
            "Frobenius",
        ),
    ],
)
def _error_of(answer) -> Verdict:
    rng = np.random.default_rng(2414)
    nodes, weights = np.polynomial.hermite_e.hermegauss(4)  # exact up to degree 7
    weights = weights / weights.sum()
    grid = np.stack(np.meshgrid(*[nodes] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    mass = np.prod(np.meshgrid(*[weights] * 3, indexing="ij"), axis=0).ravel()
    for _ in range(3):
        root = rng.standard_normal((3, 3))
        w = rng.standard_normal((7, 3))
        beta, (alpha, kappa) = rng.standard_normal(3), rng.uniform(0.5, 1.5, 2)
        x = grid @ root.T
        h = x @ w.T
        f = alpha * np.mean(h + kappa / 2 * h**2, axis=1)
        target = float(mass @ (f - (x @ beta) ** 2 / 2) ** 2)
        covariance, mean, second = root @ root.T, w.mean(0), w.T @ w / 7
        value = answer(mean, second, beta, alpha, kappa, covariance)
        if close(value, target):
            continue
        where = f"in d=3 you return {value}, exact integration gives {target:.6g}"
        excess = alpha * kappa * second - np.outer(beta, beta)
        product = excess @ covariance
        trace = np.trace(product) ** 2 / 4
        linear = alpha**2 * mean @ covariance @ mean
        if close(value, target - trace):
            return Verdict.wrong(f"{where}: the quadratic form has a mean, add the mean of xᵀAx/2²")
        if close(value, linear + np.sum(product**2) / 2 + trace):
            return Verdict.wrong(
                f"{where}: the Frobenius norm of AC is not tr(ACAC), since AC is not symmetric"
            )
        plain = alpha**2 * mean @ mean / 3 + (2 * np.sum(excess**2) + np.trace(excess) ** 2) / 36
        if close(value, plain):
            return Verdict.wrong(f"{where}: that is the result for C = I/d, the scaled identity")
        return Verdict.wrong(f"{where}. Replace A by C^(1/2) A C^(1/2) in the formula")
    return Verdict.right("agrees with exact integration for three covariances")


def _dropped(times, seen):
    return np.median(times[seen])


def _as_if_seen(times, seen):
    return np.sort(times)[(len(times) - 1) // 2]


@checker(
    "lazy_rich.15",
    wrong=[
        (_dropped, "dropped"),
        (_as_if_seen, "as if"),
        (lambda times, seen: np.inf, "theory says"),
    ],
)
def _median_wait(answer) -> Verdict:
    rng = np.random.default_rng(2415)
    cases = []
    while len(cases) < 8:
        times, seen = rng.uniform(1, 100, 15), rng.uniform(size=15) < 0.6
        data = CensoredData(uncensored=times[seen], right=times[~seen])
        survival = ecdf(data).sf
        low = survival.probabilities <= 0.5 + 1e-12
        target = float(survival.quantiles[low.argmax()]) if low.any() else np.inf
        if len(cases) == 7 and np.isfinite(target):
            continue  # the last case has no median
        if len(cases) < 7 and not np.isfinite(target):
            continue
        cases.append((times, seen, target))
    for times, seen, target in cases:
        value = answer(times.copy(), seen.copy())
        if np.isinf(target):
            if np.ndim(value) == 0 and np.isposinf(value):
                continue
            return Verdict.wrong(
                f"with {int((~seen).sum())} of 15 networks censored you return {value}, but the "
                "curve never comes down to one half: the median is infinite"
            )
        if close(value, target):
            continue
        where = f"you return {value}, theory says {target:.6g}"
        if close(value, _dropped(times, seen)):
            return Verdict.wrong(f"{where}: you dropped the censored networks, which waited too")
        if close(value, _as_if_seen(times, seen)):
            return Verdict.wrong(f"{where}: you count the censored ones as if they had generalised")
        return Verdict.wrong(f"{where}. The factor is 1 − 1/k, with k still under observation")
    return Verdict.right("agrees with the Kaplan–Meier estimate for 8 samples of 15 networks")


@checker(
    "lazy_rich.16",
    wrong=[
        (
            lambda kappa, points, dimension: (
                2 * kappa**2 * points / dimension**2 * (1 + (dimension - 1) / 3)
            ),
            "one direction",
        ),
        (lambda kappa, points, dimension: 2 * kappa**2 * points / dimension**2, "trace"),
        (lambda kappa, points, dimension: kappa * points / dimension, "simulation gives"),
    ],
)
def _decay(answer) -> Verdict:
    for kappa, points, d in ((1.0, 900, 10), (0.6, 5000, 25)):
        target = _simulated_decay(kappa, points, d)
        value = answer(kappa, points, d)
        if close(value, target, 0.01):
            continue
        where = (
            f"for kappa={kappa}, N={points}, d={d} you return {value}, simulation gives "
            f"{target:.5g}"
        )
        if close(value, 2 * kappa**2 * points * (d + 2) / (3 * d**2), 1e-6):
            return Verdict.wrong(f"{where}: that is the rate for one direction")
        if close(value, 2 * kappa**2 * points / d**2, 1e-6):
            return Verdict.wrong(f"{where}: the trace of A drives the bulk as well")
        return Verdict.wrong(f"{where}. First eliminate the two directions that have adapted")
    return Verdict.right("agrees with integrated gradient flow, to its late-time corrections")


def _simulated_decay(kappa: float, points: int, d: int) -> float:
    """Late rate of the population flow of three eigenvalues of M, at output scale 1."""
    from scipy.integrate import solve_ivp

    speed = 2 * kappa * points / d**2

    def flow(_, values):
        first, second, bulk = values
        excess = kappa * np.array([first, second, bulk]) - np.array([d, d, 0.0])
        trace = excess[0] + excess[1] + (d - 2) * excess[2]
        return -speed * (excess + trace / 2) * values

    unit = 1 / (kappa * speed)
    ends = np.array([1e4, 2e4]) * unit
    result = solve_ivp(
        flow, (0, ends[1]), [1.0, 1.0, 1.0], method="LSODA", rtol=1e-10, atol=1e-13, t_eval=ends
    )
    if not result.success:
        raise RuntimeError(f"the flow was not integrated: {result.message}")
    inverse = 1 / result.y[2]
    return float((inverse[1] - inverse[0]) / (ends[1] - ends[0]))
