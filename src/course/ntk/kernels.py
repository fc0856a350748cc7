"""Kernels of infinitely wide dense networks, taught in chapters 1.1 and 1.2.

Notation: ``q1``, ``q2`` are the variances and ``k`` the covariance of two jointly Gaussian
preactivations (u, v), ``phi`` is the activation. Everything is computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from course.activations import (
    activations,
    arc_cosine_deficit,
    bivariate_moments,
    describe,
    find_activation,
    safe_ratio,
    safe_root,
)
from course.validate import real_tensor

Array = np.ndarray | Tensor

BLOCK_ENTRIES = 64_000
"""Kernel entries computed at a time when no gradient is asked for, so that temporaries stay in
the processor's cache; 16 times as many where quadrature is used."""
BLOCK_ROWS = 32
"""Least number of rows in such a block."""


class Kernels(NamedTuple):
    """Kernels of the network's output, each of shape (n1, n2).

    Attributes
    ----------
    nngp
        Prior covariance of the output, :math:`K^{L+1}`.
    ntk
        Neural tangent kernel, :math:`\\Theta^{L+1}`.
    """

    nngp: Any
    ntk: Any


def _points(x: Array, name: str, like: Tensor | None = None) -> Tensor:
    points = real_tensor(x, name).to(None if like is None else like.device)
    if points.ndim != 2 or 0 in points.shape:
        raise ValueError(
            f"{name} has shape {tuple(points.shape)}; allowed is (n, d), n points of d >= 1 "
            "inputs, n >= 1"
        )
    if not torch.isfinite(points).all():
        raise ValueError(f"{name} contains NaN or infinity; allowed are finite numbers")
    return points


def _number(value, name: str, allowed: str, valid: Callable[[float], bool], like: Tensor) -> Tensor:
    try:
        raw = value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
        number = raw.to(like.device, torch.float64)
        good = number.ndim == 0 and valid(float(number.detach()))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} is {value!r}; allowed is {allowed}") from error
    if not good:
        raise ValueError(f"{name} is {value!r}; allowed is {allowed}")
    return number


def infinite_width_kernels(
    x1: Array,
    x2: Array | None = None,
    *,
    depth: int,
    activation: str | Callable[[Tensor], Tensor] = "relu",
    sigma_w: float | Tensor,
    sigma_b: float | Tensor,
) -> Kernels:
    """Gaussian-process and neural tangent kernels of an infinitely wide dense network.

    .. math::

        K^1 = \\Theta^1 = \\sigma_w^2\\,x\\cdot x'/d + \\sigma_b^2, \\qquad
        K^{l+1} = \\sigma_w^2\\,E[\\phi(u)\\phi(v)] + \\sigma_b^2, \\qquad
        \\Theta^{l+1} = K^{l+1} + \\sigma_w^2\\,E[\\phi'(u)\\phi'(v)]\\,\\Theta^l

    with (u, v) normal of covariance :math:`K^l`.

    Parameters
    ----------
    x1, x2
        Inputs, shapes (n1, d) and (n2, d); ``x2=None`` means x1.
    depth
        Number of hidden layers L >= 0 (0: a linear model).
    activation
        A key of :data:`course.activations.activations` or an elementwise torch function.
    sigma_w, sigma_b
        Standard deviations > 0 and >= 0 of weights and biases in every layer, also the readout.

    Returns
    -------
    Kernels
        ``nngp`` :math:`K^{L+1}` and ``ntk`` :math:`\\Theta^{L+1}`, shape (n1, n2), float64:
        tensors, through which gradients flow, if x1 is a tensor, else NumPy arrays. Where two
        different points coincide, the kernels of ReLU networks have a kink; the gradient with
        respect to their distance is 0 there.

    Raises
    ------
    ValueError
        For an unknown activation, a parameter that is not allowed, a quadrature that does not
        converge, or kernels that overflow.

    Notes
    -----
    Source: Jacot et al. (2018), theorem 1 and proposition 1; taught in chapter 1.2. ReLU: the
    recursion carries 1 - cos(angle), a sum of positive terms, so that it is exact for duplicate
    points and keeps its relative precision for near ones (other functions with a kink: their NTK
    is precise to about 1e-8 there). Without gradients the kernel is computed in blocks of rows, so
    that working memory stays bounded. With gradients it is not: quadrature then keeps about
    8 n1 n2 bytes for each term of Mehler's series (up to 1024), for each of the two moments and
    each hidden layer.
    """
    found = find_activation(activation)
    if isinstance(depth, bool) or not isinstance(depth, (int, np.integer)) or depth < 0:
        raise ValueError(f"depth is {depth!r}; allowed are whole numbers >= 0 of hidden layers")
    points1 = _points(x1, "x1")
    points2 = points1 if x2 is None else _points(x2, "x2", like=points1)
    if points1.shape[1] != points2.shape[1]:
        raise ValueError(
            f"x2 has {points2.shape[1]} inputs per point, x1 has {points1.shape[1]}; "
            "allowed is the same number"
        )
    sigma_w = _number(
        sigma_w, "sigma_w", "a finite number > 0", lambda s: 0 < s < math.inf, points1
    )
    sigma_b = _number(
        sigma_b, "sigma_b", "a finite number >= 0", lambda s: 0 <= s < math.inf, points1
    )
    traced = torch.is_grad_enabled() and any(
        part.requires_grad for part in (points1, points2, sigma_w, sigma_b)
    )
    if found is activations["relu"] and depth > 0:
        data1 = _relu_points(points1, depth, sigma_w, sigma_b)
        data2 = data1 if x2 is None else _relu_points(points2, depth, sigma_w, sigma_b)

        def block(rows, columns):
            one, two = [part[rows] for part in data1], [part[columns] for part in data2]
            return _relu_block(one, two, sigma_w, sigma_b)
    else:
        name = describe(activation)

        def block(rows, columns):
            return _block(found, name, points1[rows], points2[columns], depth, sigma_w, sigma_b)

    if traced:
        result = block(slice(None), slice(None))
    else:
        entries = BLOCK_ENTRIES if found.moments else 16 * BLOCK_ENTRIES
        result = _assemble(block, len(points1), None if x2 is None else len(points2), entries)
    if not torch.isfinite(result.ntk.detach().sum()):
        largest = max(float(part.detach().abs().max()) for part in (points1, points2))
        raise ValueError(
            f"{'x1 has' if x2 is None else 'x1 and x2 have'} entries up to {largest:.1e}; the "
            "kernels overflow float64 at this sigma_w, sigma_b and depth; allowed are smaller ones"
        )
    if isinstance(x1, Tensor):
        return result
    return Kernels(result.nngp.detach().numpy(), result.ntk.detach().numpy())


def _assemble(block, count1: int, count2: int | None, entries: int) -> Kernels:
    """Both kernels from blocks of rows; count2=None: same points, the upper triangle is enough."""
    symmetric = count2 is None
    count2 = count1 if symmetric else count2
    rows = max(BLOCK_ROWS, entries // count2)
    if rows >= count1:
        return block(slice(None), slice(None))
    result = None
    for start in range(0, count1, rows):
        stop, first = min(start + rows, count1), start if symmetric else 0
        parts = block(slice(start, stop), slice(first, None))
        if result is None:
            result = Kernels(*(part.new_empty(count1, count2) for part in parts))
        for whole, part in zip(result, parts, strict=True):
            whole[start:stop, first:] = part
            if symmetric:
                whole[stop:, start:stop] = part[:, stop - start :].T
    return result


def _block(found, name, x1, x2, depth, sigma_w, sigma_b) -> Kernels:
    def next_layer(q1, q2, k, gap=None):
        moments = bivariate_moments(found, q1, q2, k, name, gap)
        return sigma_w**2 * moments.function + sigma_b**2, sigma_w**2 * moments.derivative

    d = x1.shape[1]
    k = sigma_w**2 / d * (x1 @ x2.T) + sigma_b**2
    q1, q2 = (sigma_w**2 / d * (x**2).sum(1) + sigma_b**2 for x in (x1, x2))
    gap = None
    if found.moments is not None and depth > 0:
        _, deficit, surplus = _half_squares(
            *(_relu_points(x, 1, sigma_w, sigma_b)[0] for x in (x1, x2))
        )
        gap = q1[:, None] * q2 * deficit * surplus
    theta = k
    for _ in range(depth):
        k, slope = next_layer(q1[:, None], q2[None, :], k, gap)
        q1, q2 = (next_layer(q, q, q, torch.zeros_like(q))[0] for q in (q1, q2))
        theta, gap = k + slope * theta, None
    return Kernels(k, theta)


def _half_squares(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cosine of unit vectors, 1 - cosine, 1 + cosine; by differences where these would cancel."""
    cosine = left @ right.T
    deficit, surplus = 1 - cosine, 1 + cosine
    i, j = (cosine.detach().abs() > 0.99).nonzero(as_tuple=True)
    if len(i) * left.shape[1] > 2 * cosine.numel() and not cosine.requires_grad:
        # So many that gathering them costs more; the distances have no second derivative.
        mode = "donot_use_mm_for_euclid_dist"
        near = torch.cdist(left, right, compute_mode=mode) ** 2 / 2
        far = torch.cdist(left, -right, compute_mode=mode) ** 2 / 2
        deficit = torch.where(cosine > 0, near, 2 - far)
        return cosine, deficit, torch.where(cosine > 0, 2 - near, far)
    if len(i):
        sign = cosine.detach()[i, j].sign()
        small = ((left[i] - sign[:, None] * right[j]) ** 2).sum(1) / 2
        deficit[i, j] = torch.where(sign > 0, small, 2 - small)
        surplus[i, j] = torch.where(sign > 0, 2 - small, small)
    return cosine, deficit, surplus


def _relu_points(x: Tensor, depth: int, sigma_w: Tensor, sigma_b: Tensor) -> list[Tensor]:
    """Direction of u = (sigma_w x/sqrt(d), sigma_b), and sqrt(K^l(x, x)) for l = 1, ..., depth.

    K^1 is the Gram matrix of u. Each root comes as a column, and multiplied by sqrt(a), where
    a = sigma_w²/2, and by sqrt(a) sigma_b.
    """
    bias = sigma_b.expand(len(x), 1)
    u = torch.cat([sigma_w / math.sqrt(x.shape[1]) * x, bias], dim=1)
    roots = [safe_root((u**2).sum(1, keepdim=True))]
    while len(roots) < depth:
        roots.append(safe_root(sigma_w**2 / 2 * roots[-1] ** 2 + sigma_b**2))
    scale = sigma_w / math.sqrt(2)
    layers = [part for root in roots for part in (root, scale * root, scale * sigma_b * root)]
    return [safe_ratio(u, roots[0].expand_as(u)), *layers]


def _relu_block(one: list[Tensor], two: list[Tensor], sigma_w: Tensor, sigma_b: Tensor) -> Kernels:
    (unit1, *columns), (unit2, *others) = one, two
    rows = [part.T for part in others]
    a, b = sigma_w**2 / 2, sigma_b**2
    cosine, deficit, surplus = _half_squares(unit1, unit2)
    theta = columns[0] * rows[0] * cosine
    for at in range(0, len(columns), 3):
        lost, angle = arc_cosine_deficit(deficit, surplus)
        aligned = columns[at + 1] * rows[at + 1]
        lost = aligned * lost
        aligned = aligned + b
        k = aligned - lost
        theta = torch.addcmul(k, a - (a / math.pi) * angle, theta)
        if at + 3 < len(columns):
            # With Q = a q + b: sqrt(Q Q') - K' is a sum of positive terms, nothing cancels.
            norms = columns[at + 3] * rows[at + 3]
            if b > 0:
                unequal = (columns[at + 2] - rows[at + 2]) ** 2
                deficit = torch.addcdiv(lost, unequal, norms + aligned) / norms
            else:
                deficit = safe_ratio(lost, norms)
            surplus = 2 - deficit
    return Kernels(k, theta)
