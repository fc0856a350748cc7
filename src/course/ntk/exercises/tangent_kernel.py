"""Checkers of the exercises of chapter 1.2."""

from __future__ import annotations

import math

import numpy as np
import torch

from course.data import sphere
from course.empirical import empirical_ntk
from course.exercises import Verdict, checker, close
from course.ntk.kernels import infinite_width_kernels
from course.ntk.tangent_kernel import DenseNetwork


@checker(
    "ntk.5",
    wrong=[
        (lambda q, depth: q, "that is the Gaussian-process kernel"),
        (lambda q, depth: depth * q, "one term short"),
        (lambda q, depth: (2 ** (depth + 1) - 1) * q, "theory says"),
    ],
)
def _diagonal(answer) -> Verdict:
    rng = np.random.default_rng(201)
    for depth in (0, 1, 2, 5):
        q = float(rng.uniform(0.5, 3))
        x = np.array([[math.sqrt(q / 2)]])
        kernels = infinite_width_kernels(x, depth=depth, sigma_w=math.sqrt(2), sigma_b=0.0)
        target, value = float(kernels.ntk[0, 0]), answer(q, depth)
        if close(value, target):
            continue
        where = f"at q={q:.3f}, depth={depth} you return {value:.6g}, theory says {target:.6g}"
        if close(value, float(kernels.nngp[0, 0])):
            return Verdict.wrong(f"{where}: that is the Gaussian-process kernel K of the output")
        if close(value, depth * q):
            return Verdict.wrong(
                f"{where}: you are one term short; a net of L hidden layers has L + 1 layers of "
                "weights"
            )
        return Verdict.wrong(f"{where}. What is the second moment of the ReLU's derivative?")
    return Verdict.right("agrees with the recursion for 0, 1, 2 and 5 hidden layers")


@checker(
    "ntk.6",
    wrong=[
        (lambda slope, width: 3 / width, "any slope"),
        (lambda slope, width: 4 * (1 + slope**4) / (1 + slope**2) ** 2 / width, "square of the"),
        (lambda slope, width: (5 + 5 * slope**4) / width, "theory says"),
    ],
)
def _leaky_variance(answer) -> Verdict:
    # Moments of X for one neuron, by quadrature over both of its Gaussians.
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    weights = weights / weights.sum()
    radius = nodes[:, None] ** 2 + nodes**2
    for slope in (0.0, 0.2, 0.5, 1.0, 2.0):
        gain = {power: (1 + slope**power) / 2 for power in (2, 4)}  # g > 0 in half of the cases
        mean = gain[2] * float(weights @ radius @ weights)
        second = gain[4] * float(weights @ radius**2 @ weights)
        for width in (10, 300):
            target = (second - mean**2) / mean**2 / width
            value = answer(slope, width)
            if close(value, target):
                continue
            where = (
                f"at slope={slope}, width={width} you return {value:.6g}, theory says {target:.6g}"
            )
            if close(value, target + 1 / width):
                return Verdict.wrong(f"{where}: subtract the square of the mean")
            if close(value, 3 / width):
                return Verdict.wrong(f"{where}: 3/n is the ReLU's; cover any slope")
            return Verdict.wrong(f"{where}. Find E[X] and E[X²] of one neuron, then divide by n")
    return Verdict.right("agrees with exact integration for 5 slopes, from ReLU (0) to linear (1)")


@checker(
    "ntk.7",
    wrong=[
        (lambda degree, dimension: math.comb(degree + dimension, degree), "on the sphere"),
        (
            lambda degree, dimension: (
                math.comb(degree + dimension - 1, degree)
                - (math.comb(degree + dimension - 3, degree - 2) if degree > 1 else 0)
            ),
            "degree exactly",
        ),
        (lambda degree, dimension: degree + 1, "the kernel's rank is"),
    ],
)
def _rank(answer) -> Verdict:
    rng = np.random.default_rng(203)
    for degree, dimension in ((1, 3), (2, 3), (3, 3), (2, 4), (3, 4), (2, 6)):
        x = sphere(120, dimension, rng)
        kernel = infinite_width_kernels(
            x, depth=1, activation=lambda z, degree=degree: z**degree, sigma_w=1.0, sigma_b=0.5
        ).ntk
        target = int(np.linalg.matrix_rank(kernel, tol=1e-9 * np.linalg.norm(kernel, 2)))
        value = answer(degree, dimension)
        if value == target:
            continue
        where = (
            f"at degree={degree}, dimension={dimension} you return {value}, the kernel's rank is "
            f"{target}"
        )
        if value == math.comb(degree + dimension, degree):
            return Verdict.wrong(
                f"{where}: you count polynomials on all of space; on the sphere |x|² is a constant"
            )
        if value < target:
            return Verdict.wrong(
                f"{where}: do you count harmonics of degree exactly {degree}, or up to it?"
            )
        return Verdict.wrong(where)
    return Verdict.right("agrees with the numerical rank in 6 cases")


def _only_the_square(model, x, v):
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(model(x)[:, 0] @ v, parameters)
    return sum(gradient.square().sum() for gradient in gradients)


@checker(
    "ntk.8",
    wrong=[
        (lambda model, x, v: v, "theory says"),
        (lambda model, x, v: -empirical_ntk(model, x) @ v, "theory says"),
        (_only_the_square, "is one number"),
    ],
)
def _kernel_vector(answer) -> Verdict:
    for seed, activation in ((0, "relu"), (1, "erf"), (2, "gelu")):
        generator = torch.Generator().manual_seed(seed)
        model = DenseNetwork(
            [3, 20, 15, 1], activation=activation, sigma_w=1.3, sigma_b=0.4, generator=generator
        )
        rng = np.random.default_rng(seed)
        x, v = torch.tensor(rng.standard_normal((9, 3))), torch.tensor(rng.standard_normal(9))
        value = torch.as_tensor(answer(model, x, v)).detach()
        if value.ndim == 0:
            return Verdict.wrong(
                f"your result is one number, {float(value):.4g}; a vector of {len(x)} entries is "
                "asked for (one number is v·Θv)"
            )
        if value.shape != v.shape:
            return Verdict.wrong(f"your result has shape {tuple(value.shape)}, allowed is (9,)")
        target = empirical_ntk(model, x) @ v
        error = float((value - target).abs().max())
        if error > 1e-9 * float(target.abs().max()):
            return Verdict.wrong(
                f"for {activation} your first entry is {float(value[0]):.6g}, theory says "
                f"{float(target[0]):.6g}"
            )
    return Verdict.right("agrees with the full kernel on three networks")
