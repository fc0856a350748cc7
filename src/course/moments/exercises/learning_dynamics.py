"""Checkers of the exercises of chapter 5.6."""

from __future__ import annotations

import math

import numpy as np
from scipy import integrate

from course.exercises import Verdict, checker, close
from course.moments.learning_dynamics import generalisation_error


@checker(
    "moments.21",
    wrong=[
        (lambda M: M / 3, "half"),
        (lambda M: M / 2, "saturate"),
        (lambda M: M**2 / 6, "independent"),
        (lambda M: 0.0, "theory says"),
    ],
)
def _before(answer) -> Verdict:
    for count in (1, 4, 5):
        target = generalisation_error(np.zeros((1, 1)), np.zeros((1, count)), np.eye(count))
        value = answer(count)
        if close(value, target):
            continue
        where = f"for M={count} you return {value}, theory says {target:.6g}"
        if close(value, 2 * target):
            return Verdict.wrong(f"{where}: the error is half the mean square")
        if close(value, count / 2):
            return Verdict.wrong(f"{where}: units saturate; <g²> is 1/3, not the field's variance")
        if close(value, count**2 / 6):
            return Verdict.wrong(f"{where}: the fields of orthogonal teachers are independent")
        return Verdict.wrong(f"{where}. Sum the teacher's averages of two fields")
    return Verdict.right("agrees with the order parameters for 1, 4 and 5 teachers")


def _examples(alpha_0, N, N_new, growth):
    """Count examples while ds/dα = growth·s carries the asymmetry from one start to the other."""
    start, end = 1 / math.sqrt(N_new), 1 / math.sqrt(N)
    extra = integrate.quad(lambda s: 1 / (growth * s), start, end, epsabs=1e-11, epsrel=1e-12)[0]
    return N_new * (alpha_0 + extra)


@checker(
    "moments.22",
    wrong=[
        (lambda a, N, M, g: a + math.log(M / N) / (2 * g), "time"),
        (lambda a, N, M, g: M * (a + math.log(M / N) / g), "root"),
        (lambda a, N, M, g: M * a, "same time"),
        (lambda a, N, M, g: N * (a + math.log(M / N) / (2 * g)), "theory says"),
    ],
)
def _length(answer) -> Verdict:
    for case in ((60.0, 1000, 10_000, 0.0764), (170.0, 500, 100, 0.03), (20.0, 300, 3000, 0.2)):
        alpha_0, size, new, growth = case
        value, target = answer(*case), _examples(*case)
        if close(value, target):
            continue
        where = f"for {case} you return {value}, theory says {target:.8g}"
        if close(value, target / new):
            return Verdict.wrong(f"{where}: that is the time; count examples")
        if close(value, new * (alpha_0 + math.log(new / size) / growth)):
            return Verdict.wrong(f"{where}: the asymmetry starts at one over the root of N")
        if close(value, new * alpha_0):
            return Verdict.wrong(f"{where}: a larger network does not escape at the same time")
        return Verdict.wrong(f"{where}. Add the growth's extra time, and count examples")
    return Verdict.right("agrees with the logarithmic law in three cases")


def _follow(f: float, theta: float, third: float, y: float) -> float:
    """Walk along the parabola in small steps of u, towards the label."""
    step = math.copysign(1e-4 * theta / max(abs(third), 1e-3), y - f)
    u = step * np.arange(1, 200_001)
    ahead = np.sign(y - f) * (f + theta * u + third * u**2 / 2 - y)
    return y if (ahead >= 0).any() else math.copysign(math.inf, third)


@checker(
    "moments.23",
    wrong=[
        (lambda f, theta, third, y: y, "runs away"),
        (
            lambda f, theta, third, y: (
                y if theta**2 > 2 * third * (f - y) else math.copysign(math.inf, y - f)
            ),
            "other way",
        ),
        (
            lambda f, theta, third, y: (
                max(f - theta**2 / (2 * third), y)
                if third > 0 > y - f
                else min(f - theta**2 / (2 * third), y)
                if third < 0 < y - f
                else y
            ),
            "does not rest",
        ),
        (lambda f, theta, third, y: math.copysign(math.inf, third), "comes to rest"),
    ],
)
def _rest(answer) -> Verdict:
    cases = (
        (0.2, 1.0, -0.3, 1.0), (0.2, 1.0, -0.3, 3.0), (0.0, 1.0, 0.5, 2.0),
        (0.5, 0.8, 0.4, -2.0), (0.5, 0.8, -0.4, -2.0), (-0.3, 1.5, 0.6, -1.0),
    )  # fmt: skip
    for case in cases:
        f, theta, third, _ = case
        value, target = float(answer(*case)), _follow(*case)
        if value == target or (math.isfinite(target) and close(value, target)):
            continue
        where = f"for f, Θ, O₃, y = {case} you return {value:g}"
        if math.isfinite(target):
            return Verdict.wrong(f"{where}, but the label is in reach: it comes to rest there")
        if value == -target:
            return Verdict.wrong(f"{where}: past its turn the parabola runs off the other way")
        if close(value, f - theta**2 / (2 * third)):
            return Verdict.wrong(
                f"{where}: it does not rest at the extremum, where u still moves since the "
                "residual is not zero"
            )
        return Verdict.wrong(f"{where}, but the parabola turns before the label: it runs away")
    return Verdict.right("agrees with walks along six parabolas")


def _relation(v, *, unique: bool = True, powers: bool = True, scaled: bool = True) -> np.ndarray:
    values = np.asarray(v, dtype=float)
    a = values[values != 0] if scaled else np.asarray(values[values != 0])
    a = np.unique(a) if unique else a
    a = a / math.sqrt(len(values)) if scaled else a
    p, m = np.poly(a)[::-1], len(a)
    return np.array([-p[s - 1] * (2.0 ** (m + 1 - s) if powers else 1) for s in range(1, m + 1)])


@checker(
    "moments.24",
    wrong=[
        (lambda v: _relation(v, unique=False), "lower order"),
        (lambda v: _relation(v, powers=False), "power of two"),
        (lambda v: _relation(v, scaled=False), "square root of n"),
        (lambda v: -_relation(v), "leaves"),
    ],
)
def _closing(answer) -> Verdict:
    rng = np.random.default_rng(524)
    for v in ([1.0, -1.0, 1.0, -1.0], [1.0, 2.0, 2.0, -1.0, 0.0], [0.5, 0.5, 0.5], [3.0, 1.0]):
        value = np.atleast_1d(np.asarray(answer(list(v)), dtype=float))
        target, a = _relation(v), np.array(v) / math.sqrt(len(v))
        if value.ndim != 1 or len(value) < len(target):
            return Verdict.wrong(
                f"for v={v} you return {len(value)} coefficients; it closes with {len(target)}"
            )
        theta = rng.standard_normal((len(v), 5))
        tensors = [2.0 ** (s - 2) * a**s @ theta**2 for s in range(1, len(value) + 2)]
        residue = np.abs(value @ np.array(tensors[:-1]) - tensors[-1]).max()
        if residue > 1e-8 * np.abs(tensors[-1]).max():
            where = f"for v={v} the relation leaves {residue:.3g}"
            if close(value, _relation(v, powers=False)):
                return Verdict.wrong(f"{where}: each order carries a power of two")
            if close(value, _relation(v, scaled=False)):
                return Verdict.wrong(f"{where}: the eigenvalues are v over the square root of n")
            return Verdict.wrong(f"{where}. Use the polynomial whose roots are the eigenvalues")
        if len(value) > len(target):
            return Verdict.wrong(
                f"for v={v} the relation holds, but there is one at a lower order, "
                f"{len(target)}: equal eigenvalues count once"
            )
    return Verdict.right("the relations hold for random weights and four sets of readouts")
