"""Kernels of infinitely wide dense networks, taught in chapters 1.1 and 1.2.

Notation: ``q1``, ``q2`` are the variances and ``k`` the covariance of two jointly Gaussian
preactivations (u, v), ``phi`` is the activation. Everything is computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

Array = np.ndarray | Tensor

BLOCK_ENTRIES = 1_000_000
"""Kernel entries computed at a time when no gradient is asked for; bounds the memory."""
NODE_COUNTS = (32, 64, 128, 256, 512, 1024)
"""Numbers of Gauss–Hermite nodes that are tried in turn."""
QUADRATURE_TOLERANCE = 1e-9
"""Relative error allowed, extrapolated from the changes between successive node counts."""
NEGLIGIBLE = 1e-18
"""Relative size below which trailing terms of Mehler's series are dropped."""


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


class Moments(NamedTuple):
    """Gaussian moments of an activation: :math:`E\\phi(u)\\phi(v)`, :math:`E\\phi'(u)\\phi'(v)`."""

    function: Any
    derivative: Any


class Activation(NamedTuple):
    """An activation, its derivative, and its Gaussian moments where they have a closed form.

    Attributes
    ----------
    function, derivative
        Elementwise torch functions.
    moments
        ``moments(q1, q2, k) -> Moments`` or None: then quadrature is used.
    """

    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    moments: Callable[[Tensor, Tensor, Tensor], Moments] | None


def _angle(deficit: Tensor, surplus: Tensor) -> tuple[Tensor, Tensor]:
    """Angle and its sine from 1 - cos and 1 + cos; gradient 0, not NaN, at 0 and pi."""
    low, high = (part.clamp_min(1e-300).sqrt() for part in (deficit, surplus))
    return 2 * torch.atan2(low, high), low * high


def _arc_cosine_deficit(deficit: Tensor, surplus: Tensor) -> tuple[Tensor, Tensor]:
    """1 - kappa_1 and kappa_0 of the ReLU, both normalised to 1 at angle 0."""
    theta, sine = _angle(deficit, surplus)
    return deficit - (sine - theta * (1 - deficit)) / math.pi, 1 - theta / math.pi


def _safe_root(q: Tensor) -> Tensor:
    return torch.where(q > 0, torch.where(q > 0, q, 1.0).sqrt(), 0.0)


def _safe_ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """numerator / denominator, and 0 where the denominator is 0."""
    positive = denominator > 0
    return torch.where(positive, numerator / torch.where(positive, denominator, 1.0), 0.0)


def _relu_moments(q1: Tensor, q2: Tensor, k: Tensor) -> Moments:
    norms = _safe_root(q1 * q2)
    cosine = _safe_ratio(k, norms)
    deficit, kappa_0 = _arc_cosine_deficit((1 - cosine).clamp_min(0), (1 + cosine).clamp_min(0))
    return Moments(norms * (1 - deficit) / 2, kappa_0 / 2)


def _erf_moments(q1: Tensor, q2: Tensor, k: Tensor) -> Moments:
    product = (1 + 2 * q1) * (1 + 2 * q2)
    function = 2 / math.pi * torch.asin(2 * k / product.sqrt())
    return Moments(function, 4 / math.pi / (product - 4 * k**2).sqrt())


def _gelu_moments(q1: Tensor, q2: Tensor, k: Tensor) -> Moments:
    # Integrate by parts twice (Stein's lemma), with E[Phi(u) Phi(v)] = 1/4 + asin(r)/2pi;
    # the second moment is the derivative of the first with respect to k.
    product = (1 + q1) * (1 + q2)
    determinant = product - k**2
    both = 0.25 + torch.asin(k / product.sqrt()) / (2 * math.pi)
    curvature = (1 - q1 * q2) / product
    rest = q1 * q2 + curvature * k**2
    root = 2 * math.pi * determinant.sqrt()
    slope = both + k * (1 + 2 * curvature + rest / determinant) / root
    return Moments(k * both + rest / root, slope)


def _linear_moments(q1: Tensor, q2: Tensor, k: Tensor) -> Moments:
    q1, q2, k = torch.broadcast_tensors(q1, q2, k)
    return Moments(k, torch.ones_like(k))


def _gelu(z: Tensor) -> Tensor:
    return z * torch.special.ndtr(z)


def _gelu_derivative(z: Tensor) -> Tensor:
    return torch.special.ndtr(z) + z * torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


activations: dict[str, Activation] = {
    "relu": Activation(torch.relu, lambda z: (z > 0).to(z.dtype), _relu_moments),
    "erf": Activation(
        torch.erf, lambda z: 2 / math.sqrt(math.pi) * torch.exp(-(z**2)), _erf_moments
    ),
    "gelu": Activation(_gelu, _gelu_derivative, _gelu_moments),
    "linear": Activation(lambda z: z, torch.ones_like, _linear_moments),
    "tanh": Activation(torch.tanh, lambda z: 1 - torch.tanh(z) ** 2, None),
}
"""The activations known by name (GELU is the exact one, :math:`z\\Phi(z)`)."""


def _derivative_of(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def derivative(z: Tensor) -> Tensor:
        with torch.enable_grad():
            point = z if z.requires_grad else z.detach().requires_grad_()
            image = function(point)
            if not image.requires_grad:
                return torch.zeros_like(z)
            return torch.autograd.grad(image.sum(), point, create_graph=z.requires_grad)[0]

    return derivative


def find_activation(activation: str | Callable[[Tensor], Tensor]) -> Activation:
    """Look an activation up by its name, or wrap an elementwise torch function.

    Parameters
    ----------
    activation
        A key of :data:`activations`, or a torch function; its derivative is taken by autograd.

    Returns
    -------
    Activation

    Raises
    ------
    ValueError
        For an unknown name, or a callable that is not an elementwise torch function.
    """
    if isinstance(activation, str):
        if activation not in activations:
            raise ValueError(
                f"activation is {activation!r}; allowed are {sorted(activations)} "
                "or an elementwise torch function"
            )
        return activations[activation]
    if not callable(activation):
        raise ValueError(
            f"activation is {activation!r}; allowed are {sorted(activations)} "
            "or an elementwise torch function"
        )
    probe = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)
    image = activation(probe)
    if not isinstance(image, Tensor) or image.shape != probe.shape or image.dtype != probe.dtype:
        raise ValueError(
            f"activation is {activation!r}, which does not map a float64 tensor to one of the "
            "same shape; allowed are elementwise torch functions"
        )
    return Activation(activation, _derivative_of(activation), None)


@lru_cache
def _hermite_basis(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss–Hermite nodes, and the matrix sqrt(w_i) h_k(z_i) (an orthogonal matrix)."""
    z, basis = eigh_tridiagonal(np.zeros(nodes), np.sqrt(np.arange(1.0, nodes)))
    resolved = np.abs(basis[0]) > np.finfo(np.float64).eps
    return z[resolved], (basis * np.sign(basis[0]))[:, resolved]


def _hermite_coefficients(function, q: Tensor, nodes: int) -> Tensor:
    """Coefficients of phi(sqrt(q) z) in orthonormal Hermite polynomials, on a last axis."""
    z, basis = (torch.as_tensor(part, device=q.device) for part in _hermite_basis(nodes))
    return (function(_safe_root(q)[..., None] * z) * basis[0]) @ basis.T


def _mehler_sum(function, q1: Tensor, q2: Tensor, cosine: Tensor, nodes: int) -> Tensor:
    """E[phi(u) phi(v)] = sum_k a_k(q1) a_k(q2) cosine^k, summed by Horner's rule."""
    first = _hermite_coefficients(function, q1, nodes)
    second = _hermite_coefficients(function, q2, nodes)
    with torch.no_grad():
        largest = first.reshape(-1, nodes).abs().amax(0) * second.reshape(-1, nodes).abs().amax(0)
        kept = (largest >= NEGLIGIBLE * largest.max()).nonzero()
        terms = int(kept.max()) + 1
    shape = torch.broadcast_shapes(q1.shape, q2.shape, cosine.shape)
    total = torch.zeros(shape, dtype=cosine.dtype, device=cosine.device)
    for k in reversed(range(terms)):
        total = torch.addcmul(first[..., k] * second[..., k], total, cosine)
    return total


def _enough_nodes(function, q1: Tensor, q2: Tensor, name: str) -> int:
    """The first node count that is precise enough on a grid of the variances used."""
    with torch.no_grad():
        low = min(float(q1.min()), float(q2.min())) ** 0.5
        high = max(float(q1.max()), float(q2.max())) ** 0.5
        q = torch.linspace(low, high, 5, dtype=q1.dtype, device=q1.device) ** 2
        cosine = torch.tensor([-1, -0.9, -0.5, 0, 0.5, 0.9, 1], dtype=q1.dtype, device=q1.device)
        before, change, remaining = None, math.inf, math.inf
        for nodes in NODE_COUNTS:
            row = _hermite_coefficients(function, q, nodes)
            powers = cosine[:, None] ** torch.arange(nodes, device=q.device)
            now = torch.einsum("ik,jk,ck->ijc", row, row, powers)
            if before is not None:
                previous = change
                change = float((now - before).abs().max() / now.abs().max().clamp_min(1e-300))
                remaining = change
                if change < previous < math.inf:
                    remaining = change**2 / (previous - change)  # a geometric series from here
                if remaining <= QUADRATURE_TOLERANCE:
                    return nodes
            before = now
    raise ValueError(
        f"activation is {name}: its Gaussian quadrature does not converge (estimated relative "
        f"error {remaining:.1e} with {NODE_COUNTS[-1]} nodes, allowed "
        f"{QUADRATURE_TOLERANCE:.0e}, at variances up to {high**2:.3g}). Allowed are smooth "
        "functions at moderate variances; use a closed form where there is one "
        f"({sorted(key for key, value in activations.items() if value.moments)}), or smaller "
        "sigma_w, sigma_b or inputs"
    )


def _moments(activation: Activation, q1: Tensor, q2: Tensor, k: Tensor, name: str) -> Moments:
    if activation.moments is not None:
        return activation.moments(q1, q2, k)
    cosine = _safe_ratio(k, _safe_root(q1) * _safe_root(q2))
    parts = []
    for function in (activation.function, activation.derivative):
        nodes = _enough_nodes(function, q1, q2, name)
        parts.append(_mehler_sum(function, q1, q2, cosine, nodes))
    return Moments(*parts)


def _float64(value, device=None) -> Tensor:
    if not isinstance(value, Tensor):
        value = np.asarray(value, dtype=np.float64)
    return torch.as_tensor(value, dtype=torch.float64, device=device)


def gaussian_moments(
    activation: str | Callable[[Tensor], Tensor], q1: Array, q2: Array, k: Array
) -> Moments:
    """Gaussian moments of an activation, elementwise.

    For (u, v) normal with zero mean, variances q1, q2 and covariance k,

    .. math:: E[\\phi(u)\\phi(v)], \\qquad E[\\phi'(u)\\phi'(v)].

    Parameters
    ----------
    activation
        A key of :data:`activations` or an elementwise torch function.
    q1, q2, k
        Variances and covariance, numbers or arrays that broadcast, with k² ≤ q1 q2.

    Returns
    -------
    Moments
        ``function`` and ``derivative``; NumPy arrays unless one of the inputs is a tensor.

    Raises
    ------
    ValueError
        For an unknown activation, values that are no covariance matrix, or a quadrature that
        does not converge.

    Notes
    -----
    Closed forms: ReLU (arc-cosine), erf (arcsine), GELU (integration by parts), linear. Others:
    with Hermite coefficients :math:`a_k(q)=E[\\phi(\\sqrt q z)h_k(z)]` by Gauss–Hermite
    quadrature, :math:`E[\\phi(u)\\phi(v)]=\\sum_k a_k(q_1)a_k(q_2)\\rho^k` (Mehler's formula).
    Taught in chapter 1.1.
    """
    found = find_activation(activation)
    tensors = any(isinstance(part, Tensor) for part in (q1, q2, k))
    device = next((part.device for part in (q1, q2, k) if isinstance(part, Tensor)), None)
    q1, q2, k = (_float64(part, device) for part in (q1, q2, k))
    slack = 1e-12
    if not (torch.isfinite(q1).all() and (q1 >= 0).all()):
        raise ValueError(f"q1 is {q1}; allowed are finite variances >= 0")
    if not (torch.isfinite(q2).all() and (q2 >= 0).all()):
        raise ValueError(f"q2 is {q2}; allowed are finite variances >= 0")
    if not (torch.isfinite(k).all() and (k**2 <= q1 * q2 * (1 + slack)).all()):
        raise ValueError(f"k is {k}; allowed are finite covariances with k² <= q1 q2")
    result = _moments(found, q1, q2, k, _name(activation))
    return result if tensors else Moments(*(part.numpy() for part in result))


def _name(activation) -> str:
    return repr(activation if isinstance(activation, str) else
                getattr(activation, "__name__", activation))


def _points(x: Array, name: str, like: Tensor | None = None) -> Tensor:
    try:
        raw = x if isinstance(x, Tensor) else torch.as_tensor(np.asarray(x))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is {x!r}; allowed is a real array of shape (n, d)") from error
    if raw.ndim != 2 or 0 in raw.shape:
        raise ValueError(
            f"{name} has shape {tuple(raw.shape)}; allowed is (n, d), n points of d >= 1 inputs, "
            "n >= 1"
        )
    if raw.is_complex():
        raise ValueError(f"{name} has dtype {raw.dtype}; allowed are real numbers")
    points = raw.to(torch.float64) if like is None else raw.to(like.device, torch.float64)
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
        A key of :data:`activations` or an elementwise torch function.
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
        For an unknown activation, a parameter that is not allowed, or a quadrature that does
        not converge.

    Notes
    -----
    Source: Jacot et al. (2018), theorem 1 and proposition 1; taught in chapter 1.2. ReLU: the
    recursion carries 1 - cos(angle), a sum of positive terms, so that it is exact for duplicate
    points and keeps its relative precision for near ones. Without gradients the kernel is
    computed in blocks of rows, so that working memory stays bounded.
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
    sigma_w = _number(sigma_w, "sigma_w", "a finite number > 0",
                      lambda s: 0 < s < math.inf, points1)
    sigma_b = _number(sigma_b, "sigma_b", "a finite number >= 0",
                      lambda s: 0 <= s < math.inf, points1)
    traced = torch.is_grad_enabled() and any(
        part.requires_grad for part in (points1, points2, sigma_w, sigma_b)
    )
    rows = len(points1) if traced else max(1, BLOCK_ENTRIES // len(points2))
    blocks = [
        _relu_kernels(block, points2, depth, sigma_w, sigma_b)
        if activation == "relu"
        else _kernels(found, _name(activation), block, points2, depth, sigma_w, sigma_b)
        for block in points1.split(rows)
    ]
    if len(blocks) == 1:
        result = blocks[0]
    else:
        result = Kernels(*(torch.cat(part) for part in zip(*blocks, strict=True)))
    if isinstance(x1, Tensor):
        return result
    return Kernels(result.nngp.detach().numpy(), result.ntk.detach().numpy())


def _kernels(found, name, x1, x2, depth, sigma_w, sigma_b) -> Kernels:
    def next_layer(q1, q2, k):
        moments = _moments(found, q1, q2, k, name)
        return sigma_w**2 * moments.function + sigma_b**2, sigma_w**2 * moments.derivative

    d = x1.shape[1]
    k = sigma_w**2 / d * (x1 @ x2.T) + sigma_b**2
    q1, q2 = (sigma_w**2 / d * (x**2).sum(1) + sigma_b**2 for x in (x1, x2))
    theta = k
    for _ in range(depth):
        k, slope = next_layer(q1[:, None], q2[None, :], k)
        q1, q2 = next_layer(q1, q1, q1)[0], next_layer(q2, q2, q2)[0]
        theta = k + slope * theta
    return Kernels(k, theta)


def _half_square(left: Tensor, right: Tensor, product: Tensor) -> Tensor:
    """|left_i - right_j|²/2 of unit vectors: 1 - product, by differences where that cancels."""
    i, j = (product > 0.99).nonzero(as_tuple=True)
    if len(i) * left.shape[1] > 2 * product.numel():
        return torch.cdist(left, right, compute_mode="donot_use_mm_for_euclid_dist") ** 2 / 2
    return (1 - product).index_put((i, j), ((left[i] - right[j]) ** 2).sum(1) / 2)


def _relu_kernels(x1, x2, depth, sigma_w, sigma_b) -> Kernels:
    a, b = sigma_w**2 / 2, sigma_b**2

    def augmented(x):
        bias = sigma_b.expand(len(x), 1)
        u = torch.cat([sigma_w / math.sqrt(x.shape[1]) * x, bias], dim=1)
        root = _safe_root((u**2).sum(1, keepdim=True))
        return u, root, _safe_ratio(u, root.expand_as(u))

    (u1, root1, unit1), (u2, root2, unit2) = augmented(x1), augmented(x2)
    root2 = root2.T
    k = theta = u1 @ u2.T
    if depth == 0:
        return Kernels(k, theta)
    product = unit1 @ unit2.T
    deficit = _half_square(unit1, unit2, product)
    surplus = _half_square(unit1, -unit2, -product)
    for layer in range(depth):
        lost, kappa_0 = _arc_cosine_deficit(deficit, surplus)
        k = (a * root1) * root2 * (1 - lost) + b
        theta = k + a * kappa_0 * theta
        if layer + 1 < depth:
            next1, next2 = (_safe_root(a * root**2 + b) for root in (root1, root2))
            # With Q = a q + b: sqrt(Q Q') - K' is a sum of positive terms, nothing cancels.
            deficit = (a * _safe_ratio(root1, next1)) * _safe_ratio(root2, next2) * lost
            if b > 0:
                norms = next1 * next2
                total = norms + (a * root1) * root2 + b
                deficit = deficit + a * b * (root1 - root2) ** 2 / (total * norms)
            surplus = 2 - deficit
            root1, root2 = next1, next2
    return Kernels(k, theta)
