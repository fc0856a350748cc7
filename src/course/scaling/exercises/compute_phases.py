"""Checkers of the exercises of chapter 3.4."""

from __future__ import annotations

import math

import numpy as np

from course import runtime
from course.exercises import Verdict, checker, close
from course.scaling.compute_phases import (
    Spectrum,
    _recursion,
    balance,
    kernel_norm,
    loss_terms,
    plrf_spectrum,
)

POINTS = {
    "Ia": (1.0, 0.25), "Ib": (0.4, 0.3), "II": (1.2, 0.8), "III": (0.8, 1.2), "IVb": (0.28, 1.0),
}  # fmt: skip


@checker(
    "scaling.13",
    wrong=[
        (lambda size_exponent: 1 - size_exponent, "that is the exponent of the data"),
        (lambda size_exponent: 2 * size_exponent - 1, "the other way round"),
        (lambda size_exponent: 0.0, "in this phase"),
    ],
)
def _data_per_weight(answer) -> Verdict:
    for phase, point in POINTS.items():
        size, _ = balance(*point)
        target, value = (1 - size) - size, answer(size)
        if close(value, target) or (abs(target) < 1e-12 and close(1 + np.asarray(value), 1.0)):
            continue
        where = (
            f"at size exponent {size:.4g} (phase {phase}) you return {value}, theory says "
            f"{target:.4g}"
        )
        if close(value, 1 - size):
            return Verdict.wrong(f"{where}: that is the exponent of the data, not yet per weight")
        if close(value, -target):
            return Verdict.wrong(f"{where}: that is weights per data point, the other way round")
        return Verdict.wrong(f"{where}: in this phase data and weights do not grow so")
    return Verdict.right("agrees with the numerical balance in five phases")


def _without_batch(eigenvalues, learning_rate, batch):
    return (learning_rate * eigenvalues / (2 - 2 * learning_rate * eigenvalues)).sum()


def _without_guard(eigenvalues, learning_rate, batch):
    return (
        learning_rate * eigenvalues / (2 - learning_rate * (batch + 1) * eigenvalues + 1e-300)
    ).sum()


def _guard_without_batch(eigenvalues, learning_rate, batch):
    if (learning_rate * eigenvalues >= 1).any():
        return math.inf
    return _without_guard(eigenvalues, learning_rate, batch)


@checker(
    "scaling.14",
    wrong=[
        (lambda eigenvalues, learning_rate, batch: learning_rate * eigenvalues.sum() / 2, "small"),
        (_without_batch, "batch"),
        (_without_guard, "grows by itself"),
        (_guard_without_batch, "batch=4"),
    ],
)
def _kernel_sum(answer) -> Verdict:
    rng = np.random.default_rng(1400)
    for batch, rate in ((1, 0.3), (1, 0.05), (4, 0.1), (16, 0.08)):
        eigenvalues = np.sort(rng.uniform(0.01, 1.2, 12))[::-1]
        spectrum = Spectrum(eigenvalues, np.ones(12), 0.1)
        decay = 1 - 2 * rate * batch * eigenvalues
        decay = decay + rate**2 * batch * (batch + 1) * eigenvalues**2
        powers = decay ** np.arange(40_000)[:, None]  # the series itself, term by term
        target = float((rate**2 * batch * eigenvalues**2 * powers).sum())
        value = answer(eigenvalues, rate, batch)
        if close(value, target, 1e-6):
            continue
        where = (
            f"at learning_rate={rate}, batch={batch} you return {value}, the series adds up to "
            f"{target:.6g}"
        )
        if close(value, rate * eigenvalues.sum() / 2, 1e-6):
            return Verdict.wrong(f"{where}: that is the limit of a small learning rate")
        if close(value, kernel_norm(spectrum, rate, batch=1), 1e-6):
            return Verdict.wrong(f"{where}: that ignores the batch size")
        return Verdict.wrong(f"{where}. Sum the geometric series of each mode")
    for batch, rate in ((1, 0.8), (4, 0.4)):
        value = answer(np.array([1.5, 0.1]), rate, batch)
        if not (np.ndim(value) == 0 and math.isinf(float(value)) and float(value) > 0):
            return Verdict.wrong(
                f"at eigenvalues 1.5 and 0.1, learning_rate={rate}, batch={batch} you return "
                f"{value}; the first mode grows by itself, so that the sum is infinite"
            )
    return Verdict.right("agrees with the series added term by term, and sees the runaway mode")


def _paid_by_square(alpha: float, beta: float) -> tuple[float, float]:
    """Minimum over d = f^x of the largest law, with r = f^(1 − 2x), on a fine grid, refined."""
    size, steps = np.array(list(loss_terms(alpha, beta).values())).T
    low, high = 0.0, 0.5
    for _ in range(60):  # the largest of straight lines is convex
        left, right = low + (high - low) / 3, high - (high - low) / 3
        worst = [(size * x + steps * (1 - 2 * x)).max() for x in (left, right)]
        low, high = (low, right) if worst[0] < worst[1] else (left, high)
    x = (low + high) / 2
    return x, float((size * x + steps * (1 - 2 * x)).max())


def _signal_and_distortion(alpha, beta):
    size = beta / (2 * beta + alpha)
    return size, -(2 * alpha + 2 * beta - 1) / (2 * (2 * beta + alpha))


@checker(
    "scaling.15",
    wrong=[
        (
            lambda alpha, beta: (
                beta / (alpha + beta),
                -(2 * alpha + 2 * beta - 1) / (2 * (alpha + beta)),
            ),
            "the old bill",
        ),
        (_signal_and_distortion, "falls or rises"),
        (lambda alpha, beta: (1 / (2 + 2 * alpha), -alpha / (1 + alpha)), "size exponent"),
        (lambda alpha, beta: (_signal_and_distortion(alpha, beta)[0], -0.5), "loss exponent"),
    ],
)
def _another_bill(answer) -> Verdict:
    for alpha, beta in ((0.8, 0.6), (0.95, 0.7), (1.2, 0.8), (1.5, 1.1)):
        target, old, value = _paid_by_square(alpha, beta), balance(alpha, beta), answer(alpha, beta)
        where = f"at alpha={alpha}, beta={beta}"
        if np.shape(value) != (2,) or None in tuple(value):
            return Verdict.wrong(f"{where} you return {value}; two exponents are asked for")
        if close(value, target, 1e-6):
            continue
        if close(value, old, 1e-6):
            return Verdict.wrong(f"{where} you return {value}: those belong to the old bill, f=d r")
        if alpha > 1 and close(value, _signal_and_distortion(alpha, beta), 1e-6):
            return Verdict.wrong(
                f"{where} you return {value}, theory says {target[0]:.6g} and {target[1]:.6g}: "
                "check whether distortion falls or rises with the size at fixed compute"
            )
        which = 0 if not close(value[0], target[0], 1e-6) else 1
        name = ("size", "loss")[which]
        return Verdict.wrong(
            f"{where} your {name} exponent is {value[which]:.6g}, theory says {target[which]:.6g}"
        )
    return Verdict.right("agrees with the numerical balance at four points, two of each case")


def _noise_loop(spectrum, noise, steps, learning_rate, batch, *, kick, seen):
    scaled, modes = learning_rate * spectrum.eigenvalues, spectrum.signal.copy()
    decay = 1 - 2 * batch * scaled + batch * (batch + 1) * scaled**2
    for _ in range(steps):
        loss = modes.sum() + spectrum.unreachable
        modes = decay * modes + batch * scaled**2 * (loss + kick * noise)
    return modes.sum() + spectrum.unreachable + seen * noise


def _noisy_labels(spectrum, noise, steps, learning_rate, batch):
    """Noisy labels are a larger unreachable loss; the clean loss is that less the noise."""
    noisy = Spectrum(spectrum.eigenvalues, spectrum.signal, spectrum.unreachable + noise)
    return _recursion(noisy, steps, learning_rate, batch)[-1] - noise


@checker(
    "scaling.16",
    wrong=[
        (lambda *a: _noise_loop(*a, kick=0, seen=0), "without label noise"),
        (lambda *a: _noise_loop(*a, kick=1, seen=1), "noisy labels"),
        (lambda *a: _noise_loop(*a, kick=0, seen=1), "theory says"),
    ],
)
def _noisy_loss(answer) -> Verdict:
    spectrum = plrf_spectrum(0.8, 1.2, features=12, rng=runtime.rng(1600))
    for noise, steps, rate, batch in ((0.5, 1, 0.2, 1), (0.5, 40, 0.2, 1), (0.1, 25, 0.05, 4)):
        target = _noisy_labels(spectrum, noise, steps, rate, batch)
        value = answer(spectrum, noise, steps, rate, batch)
        if close(value, target):
            continue
        where = (
            f"at noise={noise}, steps={steps}, learning_rate={rate}, batch={batch} you return "
            f"{value}, theory says {target:.6g}"
        )
        if close(value, _recursion(spectrum, steps, rate, batch)[-1]):
            return Verdict.wrong(f"{where}: that is the loss without label noise")
        if close(value, target + noise):
            return Verdict.wrong(f"{where}: that is the loss against noisy labels; ask for clean")
        return Verdict.wrong(f"{where}. What does the noise do to a step, what to the loss?")
    return Verdict.right("agrees with the recursion whose unreachable loss contains the noise")
