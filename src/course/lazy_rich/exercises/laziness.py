"""Checkers of the exercises of chapter 2.2."""

from __future__ import annotations

import math

import numpy as np
import torch

from course.exercises import Verdict, checker, close
from course.lazy_rich.ensembles import DenseEnsemble, train
from course.lazy_rich.laziness import dense_networks, turn_dial


def _small_network():
    generator = torch.Generator().manual_seed(301)
    nets = dense_networks(2, 40, networks=1, generator=generator)
    x = np.random.default_rng(302).standard_normal((3, 2))
    return nets, x, nets.kernel(x)[0].numpy()


@checker(
    "lazy_rich.5",
    wrong=[
        (lambda theta, y, scale: math.sqrt(y @ theta @ y) / scale, "inverse"),
        (lambda theta, y, scale: y @ np.linalg.solve(theta, y) / scale, "square root"),
        (lambda theta, y, scale: math.sqrt(y @ np.linalg.solve(theta, y)), "output scale"),
        (lambda theta, y, scale: np.linalg.norm(np.linalg.solve(theta, y)) / scale, "J"),
    ],
)
def _distance(answer) -> Verdict:
    nets, x, theta = _small_network()
    y, scale = np.array([0.4, -1.0, 0.7]), 1000.0
    run = turn_dial(nets, x, y, output_scales=[scale], steps=1000, stability=1.5)
    start = math.sqrt(sum(float((weight**2).sum()) for weight in nets.weights))
    travelled = float(run.weight_change[0, 0]) * start
    value = answer(theta, y, scale)
    if close(value, travelled, 0.01):
        other = answer(theta, 2 * y, 10 * scale)
        if close(other, travelled / 5, 0.01):
            return Verdict.right("agrees with a network that was trained at output scale 1000")
        return Verdict.wrong(
            "right for one network; twice the labels at ten times the scale must give a fifth"
        )
    where = f"at output scale 1000 you return {value:.4g}, a trained network went {travelled:.4g}"
    if close(value, travelled * scale, 0.01):
        return Verdict.wrong(f"{where}: divide by the output scale")
    if close(value, travelled**2 * scale, 0.01):
        return Verdict.wrong(f"{where}: that is a squared length; take the square root")
    if close(value, math.sqrt(y @ theta @ y) / scale):
        return Verdict.wrong(f"{where}: the kernel enters by its inverse; easy modes cost little")
    return Verdict.wrong(f"{where}. The weights move by J's transpose times the inverse times y")


@checker(
    "lazy_rich.6",
    wrong=[
        (lambda scale, eta: (1.0, scale, eta, eta), "other layers"),
        (lambda scale, eta: (1.0, scale, eta / scale**2, eta / scale**2), "last layer"),
        (
            lambda scale, eta: (math.sqrt(scale), math.sqrt(scale), eta / scale, eta / scale),
            "first",
        ),
        (lambda scale, eta: (1.0, 1 / scale, eta / scale**2, eta), "start"),
    ],
)
def _handles(answer) -> Verdict:
    x = np.random.default_rng(303).standard_normal((5, 2))
    y = np.array([1.0, -0.5, 0.2, 0.8, -1.0])
    for layers, scale, eta in ((2, 4.0, 0.02), (3, 0.5, 0.03)):
        first, last, eta_first, eta_last = (float(number) for number in answer(scale, eta))
        if first != 1:
            return Verdict.wrong(f"first is {first:.4g}; the exercise fixes it at 1")
        shape = {
            "widths": [2, *[15] * (layers - 1), 1], "networks": 1, "activation": "relu",
            "multipliers": [1.0] * layers, "deviations": [0.5] * layers,
        }  # fmt: skip
        scaled, plain = (
            DenseEnsemble(**shape, generator=torch.Generator().manual_seed(304)) for _ in range(2)
        )
        plain.weights[-1] = last * plain.weights[-1]
        where = f"for {layers} layers at output scale {scale:g}"
        if not close((scale * scaled(x)).numpy(), plain(x).numpy()):
            return Verdict.wrong(f"{where} the predictors differ at the start already")
        train(scaled, (x, y), learning_rate=eta, steps=1, output_scale=scale)
        rates = [eta_first / eta] * (layers - 1) + [eta_last / eta]
        train(plain, (x, y), learning_rate=eta, steps=1, layer_rates=rates)
        if not close(plain.weights[-1].numpy(), scale * scaled.weights[-1].numpy()):
            return Verdict.wrong(
                f"{where} the last layer is not {scale:g} times the other's after one step"
            )
        if not close(plain.weights[0].numpy(), scaled.weights[0].numpy()):
            return Verdict.wrong(f"{where} the other layers differ after one step")
    return Verdict.right("the same predictor, for two and three layers of ReLU networks")


@checker(
    "lazy_rich.7",
    wrong=[
        (lambda k, f, y, a, n: math.sqrt(k**2 + 4 * (y / a) ** 2 / n), "starts at"),
        (
            lambda k, f, y, a, n: math.sqrt(k**2 + 4 * (y / a) ** 2 / n + 8 * f * y / (n * a)),
            "with centring",
        ),
        (lambda k, f, y, a, n: 2 * math.sqrt(1 + (y / a) ** 2 / n), "gradient descent"),
    ],
)
def _final_kernel(answer) -> Verdict:
    rng = np.random.default_rng(305)
    for n, alpha, y in ((5, 0.5, 1.0), (20, 3.0, -0.7), (5, 50.0, 1.0)):
        v, w = rng.standard_normal((2, n))
        kernel, output = (v @ v + w @ w) / n, v @ w / math.sqrt(n)
        value = answer(kernel, output, y, alpha, n)
        new_v, new_w, step = v, w, 0.002
        for _ in range(20_000):
            pull = step / math.sqrt(n) * (y / alpha - new_v @ new_w / math.sqrt(n))
            new_v, new_w = new_v + pull * new_w, new_w + pull * new_v
        target = (new_v @ new_v + new_w @ new_w) / n
        if close(value, target, 0.003):
            continue
        where = (
            f"at n={n}, output_scale={alpha:g} you return {value:.4g}, gradient descent ends at "
            f"{target:.4g}"
        )
        if close(value, math.sqrt(kernel**2 + 4 * (y / alpha) ** 2 / n)):
            return Verdict.wrong(f"{where}: the conserved quantity counts where f starts at, too")
        centred = kernel**2 + 4 * (y / alpha) ** 2 / n + 8 * output * y / (n * alpha)
        if centred > 0 and close(value, math.sqrt(centred)):
            return Verdict.wrong(f"{where}: that is the result with centring")
        return Verdict.wrong(where)
    return Verdict.right("agrees with gradient descent on three networks")


def _by_scaling(left, right, beta):
    return beta * left, right / beta


def _forgets_the_basis(left, right, beta):
    a, s, _ = np.linalg.svd(left, full_matrices=False)
    return beta * a, right * s / beta


def _one_sided(left, right, beta):
    return beta * np.linalg.svd(left, full_matrices=False)[0], right


@checker(
    "lazy_rich.8",
    wrong=[
        (_by_scaling, "identity"),
        (_forgets_the_basis, "product"),
        (_one_sided, "product"),
    ],
)
def _modified_step(answer) -> Verdict:
    rng = np.random.default_rng(306)
    for rows, columns, k, beta in ((6, 5, 3, 1.0), (4, 7, 4, 0.5), (8, 2, 2, 3.0)):
        left, right = rng.standard_normal((rows, k)), rng.standard_normal((columns, k))
        new_left, new_right = (np.asarray(factor) for factor in answer(left, right, beta))
        where = f"at shapes {left.shape} and {right.shape} with beta={beta:g}"
        if new_left.shape != left.shape or new_right.shape != right.shape:
            return Verdict.wrong(
                f"{where} the new factors have shapes {new_left.shape} and {new_right.shape}"
            )
        if not np.allclose(new_left @ new_right.T, left @ right.T, rtol=0, atol=1e-10):
            return Verdict.wrong(f"{where} the product has changed")
        gram = new_left.T @ new_left
        if not np.allclose(gram, beta**2 * np.eye(k), rtol=0, atol=1e-10):
            return Verdict.wrong(
                f"{where} the left factor's Gram matrix is not beta² times the identity"
            )
    return Verdict.right("the product stays, and the Gram matrix is β² times the identity")
