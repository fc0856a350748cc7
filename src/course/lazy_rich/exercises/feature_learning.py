"""Checkers of the exercises of chapter 2.3."""

from __future__ import annotations

import math

import numpy as np
import torch

from course.exercises import Verdict, checker, close
from course.lazy_rich.feature_learning import Parametrization


def _random(rng: np.random.Generator) -> Parametrization:
    """A random parametrisation with a stable start, one to three hidden layers."""
    depth = int(rng.integers(1, 4))
    a = rng.integers(-3, 4, depth + 1) / 2
    start = np.array([0.0, *[0.5] * (depth - 1), 0.5 + rng.integers(0, 3) / 2])
    return Parametrization(tuple(a), tuple(start - a), float(rng.integers(-3, 4) / 2))


def _exponent(a, b, c, *, readout=None, first=1.0, power=1.0):
    readout = min(a[-1] + b[-1], 2 * a[-1] + c) if readout is None else readout(a, b, c)
    hidden = min(2 * v + (first if k == 0 else 1 - power) for k, v in enumerate(a[:-1]))
    return readout + c - 1 + hidden


@checker(
    "lazy_rich.9",
    wrong=[
        (lambda a, b, c: _exponent(a, b, c, readout=lambda a, b, c: a[-1] + b[-1]), "first step"),
        (lambda a, b, c: _exponent(a, b, c, first=0.0), "first layer"),
        (lambda a, b, c: _exponent(a, b, c, power=0.5), "law of large numbers"),
        (lambda a, b, c: -_exponent(a, b, c), "sign"),
        (lambda a, b, c: c - 1.0, "theory says"),
    ],
)
def _feature_exponent(answer) -> Verdict:
    presets = [Parametrization.ntp, Parametrization.mup, Parametrization.mean_field]
    rng = np.random.default_rng(209)
    cases = presets + [_random(rng) for _ in range(40)]
    values = [answer(p.a, p.b, p.c) for p in cases]
    targets = [p.feature_exponent("sgd") for p in cases]
    good = [close(v, t) if t else abs(v) < 1e-12 for v, t in zip(values, targets, strict=True)]
    if all(good):
        return Verdict.right("agrees with theory for three presets and 40 random points")
    k = good.index(False)
    p = cases[k]
    where = f"at a={p.a}, b={p.b}, c={p.c} you return {values[k]}, theory says {targets[k]:g}"
    guesses = {
        "that is right for the first step alone; later the readout has learned": {
            "readout": lambda a, b, c: a[-1] + b[-1]
        },
        "the first layer sums over d inputs, not over n neurons: it has an extra 1": {"first": 0.0},
        "updates are aligned with activations: use the law of large numbers, n and not its root": {
            "power": 0.5
        },
    }
    for words, change in guesses.items():
        wrong = [_exponent(q.a, q.b, q.c, **change) for q in cases]
        if np.allclose(np.array(values, dtype=float), wrong):
            return Verdict.wrong(f"{where}: {words}")
    if np.allclose(np.array(values, dtype=float), -np.array(targets)):
        return Verdict.wrong(f"{where}: the sign; features move by n to the power MINUS r")
    return Verdict.wrong(where)


def _fastest(a, b, *, output=True, power=1):
    hidden = min(power * v + (k == 0) for k, v in enumerate(a[:-1]))
    bounds = [1 - hidden, 1 - power * a[-1]]
    return max([*bounds, 2 - hidden - a[-1] - b[-1]] if output else bounds)


@checker(
    "lazy_rich.10",
    wrong=[
        (lambda a, b: _fastest(a, b, output=False), "the output explodes"),
        (lambda a, b: Parametrization(a, b, 0).stable_c("sgd"), "SGD's"),
        (lambda a, b: _fastest(a, b) + 0.5, "smaller"),
        (lambda a, b: _fastest(a, b) - 1.0, "not stable"),
    ],
)
def _fastest_adam(answer) -> Verdict:
    rng = np.random.default_rng(210)
    cases = [Parametrization.sp, Parametrization.ntp, Parametrization.mup]
    cases += [_random(rng) for _ in range(40)]
    values = [float(answer(p.a, p.b)) for p in cases]
    # By search on the conditions themselves, in quarters.
    grid = np.arange(-8, 8.1, 0.25)
    targets = []
    for p in cases:
        stable = [Parametrization(p.a, p.b, float(c)).phase("adam") != "unstable" for c in grid]
        targets.append(float(grid[stable.index(True)]))
    wrong = [k for k, (v, t) in enumerate(zip(values, targets, strict=True)) if abs(v - t) > 1e-9]
    if not wrong:
        return Verdict.right("the smallest stable c by search, for SP (3/2) and 42 others")
    if np.allclose(values, [p.stable_c("sgd") for p in cases]):
        return Verdict.wrong("that is SGD's: Adam's update does not see the size of the gradient")
    k = wrong[0]
    p = cases[k]
    where = f"at a={p.a}, b={p.b} you return {values[k]:g}, theory says {targets[k]:g}"
    if values[k] < targets[k]:
        chosen = Parametrization(p.a, p.b, values[k])
        if chosen.feature_exponent("adam") >= 0 and p.a[-1] + values[k] >= 1:
            return Verdict.wrong(
                f"{where}: features are stable there, but through them the output explodes"
            )
        return Verdict.wrong(f"{where}: training is not stable there")
    return Verdict.wrong(f"{where}: a smaller c is stable, too")


def _step(moments, x, y, rate, *, once=False, wrong_scale=False):
    inputs = x if wrong_scale else x / math.sqrt(x.shape[1])
    gradient = (moments[:-1, -1] @ inputs.T - y) @ inputs
    first, second = np.eye(len(moments)), np.eye(len(moments))
    first[-1, :-1] = -rate * gradient
    second[:-1, -1] = -rate * gradient
    move = first @ second if once else first + second - np.eye(len(moments))
    return move.T @ moments @ move


def _one_sided(moments, x, y, rate):
    inputs = x / math.sqrt(x.shape[1])
    gradient = (moments[:-1, -1] @ inputs.T - y) @ inputs
    move = np.eye(len(moments))
    move[:-1, -1] = move[-1, :-1] = -rate * gradient
    return moments @ move


@checker(
    "lazy_rich.11",
    wrong=[
        (lambda m, x, y, rate: _step(m, x, y, rate, once=True), "one after the other"),
        (_one_sided, "both sides"),
        (lambda m, x, y, rate: _step(m, x, y, rate, wrong_scale=True), "root of d"),
        (lambda m, x, y, rate: m, "theory says"),
        (lambda m, x, y, rate: m[0], "shape"),
    ],
)
def _moments(answer) -> Verdict:
    for seed, width, points, inputs in ((0, 50, 4, 3), (1, 7, 2, 5), (2, 20, 1, 1)):
        rng = np.random.default_rng(seed)
        x, y = rng.standard_normal((points, inputs)), rng.standard_normal(points)
        first = torch.tensor(rng.standard_normal((width, inputs)), requires_grad=True)
        second = torch.tensor(rng.standard_normal(width), requires_grad=True)
        rate = 0.1
        outputs = torch.tensor(x) @ first.T @ second / (width * math.sqrt(inputs))
        (0.5 * ((outputs - torch.tensor(y)) ** 2).sum()).backward()

        def joined(w, v):
            z = np.concatenate([w.detach().numpy(), v.detach().numpy()[:, None]], axis=1)
            return z.T @ z / len(z)

        moments = joined(first, second)
        target = joined(first - rate * width * first.grad, second - rate * width * second.grad)
        value = answer(moments.copy(), x, y, rate)
        if np.shape(value) != target.shape:
            return Verdict.wrong(
                f"your result has shape {np.shape(value)}, allowed is {target.shape}"
            )
        if np.allclose(value, target, rtol=0, atol=1e-10):
            continue
        where = (
            f"for {width} neurons the entry between W and v is {target[0, -1]:.6g} after one step "
            f"of autograd, yours is {float(np.asarray(value)[0, -1]):.6g}; theory says MGM"
        )
        if np.allclose(value, _step(moments, x, y, rate, once=True)):
            return Verdict.wrong(f"{where}: you move W and v one after the other, not at once")
        if np.allclose(value, _one_sided(moments, x, y, rate)):
            return Verdict.wrong(
                f"{where}: G is quadratic in the neurons, multiply from both sides"
            )
        if np.allclose(value, _step(moments, x, y, rate, wrong_scale=True)):
            return Verdict.wrong(f"{where}: inputs come divided by the root of d")
        return Verdict.wrong(where)
    return Verdict.right("agrees with a step of autograd on 50, 7 and 20 neurons")


def _gram(inner, outer, readout, x, *, backward=True, first=True, scaled=True):
    depth, width, _ = inner.shape
    states, hidden = [x], []
    for w, v in zip(inner, outer, strict=True):
        hidden.append(np.tanh(states[-1] @ w.T))
        states.append(states[-1] + hidden[-1] @ v.T / (depth * width))
    adjoint, total = np.tile(readout, (len(x), 1)), np.zeros((len(x), len(x)))
    for k in reversed(range(depth)):
        back = adjoint @ outer[k] * (1 - hidden[k] ** 2)
        total += (adjoint @ adjoint.T) * (hidden[k] @ hidden[k].T)
        if first:
            total += (back @ back.T) * (states[k] @ states[k].T)
        if backward:
            adjoint = adjoint + back @ inner[k] / (depth * width)
    return total / (depth * width) / (1.0 if scaled else depth * width)


@checker(
    "lazy_rich.12",
    wrong=[
        (lambda *args: _gram(*args, backward=False), "does not change from layer to layer"),
        (lambda *args: _gram(*args, first=False), "gradients of w"),
        (lambda *args: _gram(*args, scaled=False), "factor Ln"),
        (lambda inner, outer, readout, x: x @ x.T, "autograd gives"),
        (lambda inner, outer, readout, x: x[0], "shape"),
    ],
)
def _residual_gram(answer) -> Verdict:
    for seed, depth, width, inputs, points in ((0, 3, 5, 4, 3), (1, 1, 8, 2, 4), (2, 6, 2, 3, 2)):
        rng = np.random.default_rng(seed)
        inner = rng.standard_normal((depth, width, inputs))
        outer = rng.standard_normal((depth, inputs, width))
        readout, x = rng.standard_normal(inputs), rng.standard_normal((points, inputs))
        leaves = [torch.tensor(values, requires_grad=True) for values in (inner, outer)]
        rows = []
        for one in x:
            state = torch.tensor(one)
            for k in range(depth):
                hidden = torch.tanh(leaves[0][k] @ state)
                state = state + leaves[1][k] @ hidden / (depth * width)
            gradients = torch.autograd.grad(state @ torch.tensor(readout), leaves)
            rows.append(torch.cat([g.reshape(-1) for g in gradients]).numpy())
        target = depth * width * np.array(rows) @ np.array(rows).T
        value = answer(inner.copy(), outer.copy(), readout.copy(), x.copy())
        if np.shape(value) != target.shape:
            return Verdict.wrong(
                f"your result has shape {np.shape(value)}, allowed is {target.shape}"
            )
        if np.allclose(value, target, rtol=1e-9, atol=1e-12):
            continue
        where = (
            f"with {depth} layers of {width} neurons your first entry is "
            f"{float(np.asarray(value)[0, 0]):.6g}, autograd gives {target[0, 0]:.6g}"
        )
        arguments = (inner, outer, readout, x)
        if np.allclose(value, _gram(*arguments, backward=False)):
            return Verdict.wrong(
                f"{where}: your gradient with respect to the state does not change from layer to "
                "layer; it must run backwards through the blocks"
            )
        if np.allclose(value, _gram(*arguments, first=False)):
            return Verdict.wrong(f"{where}: the gradients of w are missing")
        if np.allclose(value, _gram(*arguments, scaled=False)):
            return Verdict.wrong(f"{where}: H has a factor Ln before the sum of products")
        return Verdict.wrong(where)
    return Verdict.right("agrees with autograd on networks of 3, 1 and 6 layers")
