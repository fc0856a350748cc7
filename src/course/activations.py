"""Activations and their Gaussian moments, taught in chapters 1.1 and 1.2.

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
from torch import Tensor, nn

from course.validate import real_tensor

Array = np.ndarray | Tensor

NODE_COUNTS = (32, 64, 128, 256, 512, 1024)
"""Numbers of Gauss–Hermite nodes that are tried in turn."""
QUADRATURE_TOLERANCE = 1e-9
"""Relative error allowed, extrapolated from the changes between successive node counts."""
NEGLIGIBLE = 1e-18
"""Relative size below which trailing terms of Mehler's series are dropped."""


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
        ``moments(q1, q2, k, gap) -> Moments`` with gap = q1 q2 - k², or None: then quadrature
        is used.
    """

    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    moments: Callable[[Tensor, Tensor, Tensor, Tensor], Moments] | None


def _angle(cosine: Tensor, deficit: Tensor, surplus: Tensor) -> tuple[Tensor, Tensor]:
    """Angle and its sine from cos, 1 - cos and 1 + cos; gradient 0, not NaN, at 0 and pi."""
    square = deficit * surplus
    if square.requires_grad:
        square = square.clamp_min(1e-300)
    sine = square**0.5  # torch.sqrt splits even small blocks over threads, at a loss
    return torch.atan2(sine, cosine), sine


def arc_cosine_deficit(deficit: Tensor, surplus: Tensor) -> tuple[Tensor, Tensor]:
    """1 - kappa_1 of the ReLU, normalised to 0 at angle 0, and the angle."""
    cosine = 1 - deficit
    theta, sine = _angle(cosine, deficit, surplus)
    return torch.add(deficit, theta * cosine - sine, alpha=1 / math.pi), theta


def safe_root(q: Tensor) -> Tensor:
    return torch.where(q > 0, torch.where(q > 0, q, 1.0).sqrt(), 0.0)


def safe_ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """numerator / denominator, and 0 where the denominator is 0."""
    positive = denominator > 0
    return torch.where(positive, numerator / torch.where(positive, denominator, 1.0), 0.0)


def _relu_moments(q1: Tensor, q2: Tensor, k: Tensor, gap: Tensor) -> Moments:
    norms = safe_root(q1 * q2)
    small = safe_ratio(gap, norms * (norms + k.abs()))  # 1 - |cosine|
    small = torch.where(norms > 0, small, 1.0)
    positive = k >= 0
    deficit = torch.where(positive, small, 2 - small)
    lost, theta = arc_cosine_deficit(deficit, torch.where(positive, 2 - small, small))
    return Moments(norms * (1 - lost) / 2, (1 - theta / math.pi) / 2)


def _erf_moments(q1: Tensor, q2: Tensor, k: Tensor, gap: Tensor) -> Moments:
    root = (1 + 2 * (q1 + q2) + 4 * gap) ** 0.5  # of (1 + 2 q1) (1 + 2 q2) - 4 k²
    return Moments(2 / math.pi * torch.atan2(2 * k, root), 4 / math.pi / root)


def _gelu_moments(q1: Tensor, q2: Tensor, k: Tensor, gap: Tensor) -> Moments:
    # Integrate by parts twice (Stein's lemma), with E[Phi(u) Phi(v)] = 1/4 + asin(r)/2pi;
    # the second moment is the derivative of the first with respect to k.
    product = (1 + q1) * (1 + q2)
    determinant = 1 + q1 + q2 + gap  # product - k²
    root = determinant**0.5
    both = 0.25 + torch.atan2(k, root) / (2 * math.pi)
    scale = 2 * math.pi * root * product
    slope = both + k * (3 + q1 + q2 + k**2 / determinant) / scale
    return Moments(k * both + (q1 * q2 * determinant + k**2) / scale, slope)


def _linear_moments(q1: Tensor, q2: Tensor, k: Tensor, gap: Tensor) -> Moments:
    return Moments(k, torch.ones_like(k))


def _homogeneous_moments(right: float, left: float):
    """Moments of right * z for z > 0 and left * z for z < 0, from those of the ReLU."""

    def moments(q1, q2, k, gap):
        same, opposite = _relu_moments(q1, q2, k, gap), _relu_moments(q1, q2, -k, gap)
        squares, mixed = right**2 + left**2, 2 * right * left
        return Moments(
            squares * same.function - mixed * opposite.function,
            squares * same.derivative + mixed * opposite.derivative,
        )

    return moments


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


def _checked(activation: Callable[[Tensor], Tensor]) -> None:
    """Raise a ``ValueError`` unless it maps a tensor, left as it is, entry by entry."""
    problem = None
    probe = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)
    kept, point = probe.clone(), probe.clone().requires_grad_()
    try:
        image = activation(point * 1)
        with torch.no_grad():
            activation(kept)
            single = [activation(value.clone().reshape(1)) for value in probe.flatten()]
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"activation is {activation!r}, which fails on a float64 tensor that requires a "
            f"gradient ({error}); allowed are elementwise torch functions"
        ) from error
    if not isinstance(image, Tensor) or image.shape != probe.shape or image.dtype != probe.dtype:
        problem = "does not map a float64 tensor to one of the same shape"
    elif not torch.equal(kept, probe):
        problem = "changes its input in place"
    elif not torch.allclose(image.flatten(), torch.cat(single), rtol=1e-12, atol=1e-12):
        problem = "mixes the entries of a tensor, or is random"
    if problem:
        raise ValueError(
            f"activation is {activation!r}, which {problem}; allowed are elementwise torch "
            "functions"
        )


def _homogeneous_slopes(function: Callable[[Tensor], Tensor]) -> tuple[float, float] | None:
    """Slopes right and left of 0 of a positively homogeneous function with a kink, or None."""
    size = torch.logspace(-3, 3, 13, dtype=torch.float64)
    with torch.no_grad():
        right, left = function(size) / size, -function(-size) / size
        zero = float(function(size.new_zeros(1)))
    slopes = float(right[6]), float(left[6])  # at 1 and -1
    constant = all(torch.allclose(ratio, ratio[6], rtol=1e-12, atol=0) for ratio in (right, left))
    return slopes if constant and zero == 0 and slopes[0] != slopes[1] else None


def find_activation(activation: str | Callable[[Tensor], Tensor]) -> Activation:
    """Look an activation up by its name, or wrap an elementwise torch function.

    Parameters
    ----------
    activation
        A key of :data:`activations`, or a torch function; its derivative is taken by autograd.

    Returns
    -------
    Activation
        With closed moments also for torch's ReLU, and for functions with
        :math:`\\phi(cz)=c\\,\\phi(z)`, c > 0, such as the leaky ReLU and the absolute value.

    Raises
    ------
    ValueError
        For an unknown name, or a callable that is not an elementwise torch function.
    """
    if isinstance(activation, str) and activation in activations:
        return activations[activation]
    if isinstance(activation, str) or not callable(activation):
        raise ValueError(
            f"activation is {activation!r}; allowed are {sorted(activations)} "
            "or an elementwise torch function"
        )
    if activation in (torch.relu, nn.functional.relu) or isinstance(activation, nn.ReLU):
        return activations["relu"]
    _checked(activation)
    slopes = _homogeneous_slopes(activation)
    moments = _homogeneous_moments(*slopes) if slopes else None
    return Activation(activation, _derivative_of(activation), moments)


@lru_cache
def _hermite_basis(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss–Hermite nodes, and the matrix sqrt(w_i) h_k(z_i) (an orthogonal matrix)."""
    z, basis = eigh_tridiagonal(np.zeros(nodes), np.sqrt(np.arange(1.0, nodes)))
    resolved = np.abs(basis[0]) > np.finfo(np.float64).eps
    return z[resolved], (basis * np.sign(basis[0]))[:, resolved]


def _hermite_coefficients(function, q: Tensor, nodes: int) -> Tensor:
    """Coefficients of phi(sqrt(q) z) in orthonormal Hermite polynomials, on a last axis."""
    z, basis = (torch.as_tensor(part, device=q.device) for part in _hermite_basis(nodes))
    return (function(safe_root(q)[..., None] * z) * basis[0]) @ basis.T


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


def bivariate_moments(
    activation: Activation, q1: Tensor, q2: Tensor, k: Tensor, name: str, gap: Tensor | None = None
) -> Moments:
    """Gaussian moments of a known activation, as tensors; inputs are not checked.

    Parameters
    ----------
    activation, name
        From :func:`find_activation`, and its name for messages.
    q1, q2, k
        Variances and covariance, tensors that broadcast.
    gap
        q1 q2 - k², if it is known better than from the difference.

    Returns
    -------
    Moments

    Raises
    ------
    ValueError
        If a quadrature does not converge.
    """
    if activation.moments is not None:
        if gap is None:
            root = safe_root(q1 * q2)
            gap = ((root - k) * (root + k)).clamp_min(0)
        gap = torch.where(gap < math.inf, gap, math.nan)  # overflow must not pass for a limit
        return activation.moments(q1, q2, k, gap)
    cosine = safe_ratio(k, safe_root(q1) * safe_root(q2))
    parts = []
    for function in (activation.function, activation.derivative):
        nodes = _enough_nodes(function, q1, q2, name)
        parts.append(_mehler_sum(function, q1, q2, cosine, nodes))
    return Moments(*parts)


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
    Closed forms: ReLU (arc-cosine), erf (arcsine), GELU (integration by parts), linear, and
    functions that are linear on either side of 0 (from those of the ReLU). Others:
    with Hermite coefficients :math:`a_k(q)=E[\\phi(\\sqrt q z)h_k(z)]` by Gauss–Hermite
    quadrature, :math:`E[\\phi(u)\\phi(v)]=\\sum_k a_k(q_1)a_k(q_2)\\rho^k` (Mehler's formula).
    Taught in chapter 1.1.
    """
    found = find_activation(activation)
    tensors = any(isinstance(part, Tensor) for part in (q1, q2, k))
    device = next((part.device for part in (q1, q2, k) if isinstance(part, Tensor)), None)
    q1, q2, k = (
        real_tensor(part, name).to(device) for part, name in ((q1, "q1"), (q2, "q2"), (k, "k"))
    )
    slack = 1e-12
    if not (torch.isfinite(q1).all() and (q1 >= 0).all()):
        raise ValueError(f"q1 is {q1}; allowed are finite variances >= 0")
    if not (torch.isfinite(q2).all() and (q2 >= 0).all()):
        raise ValueError(f"q2 is {q2}; allowed are finite variances >= 0")
    if not (torch.isfinite(k).all() and (k**2 <= q1 * q2 * (1 + slack)).all()):
        raise ValueError(f"k is {k}; allowed are finite covariances with k² <= q1 q2")
    result = bivariate_moments(found, q1, q2, k, describe(activation))
    return result if tensors else Moments(*(part.numpy() for part in result))


def describe(activation) -> str:
    """The name of an activation, for messages.

    Parameters
    ----------
    activation
        A name or a function.

    Returns
    -------
    str
    """
    """Quotient, and 0 where the denominator is not positive.

    Parameters
    ----------
    numerator, denominator
        Tensors that broadcast.

    Returns
    -------
    Tensor
    """
    """Square root with gradient 0, not infinity, at 0.

    Parameters
    ----------
    q
        Numbers; negative ones count as 0.

    Returns
    -------
    Tensor
    """
    """One minus the normalised ReLU moment :math:`\\kappa_1`, which is 0 at angle 0.

    Parameters
    ----------
    deficit, surplus
        1 - cosine and 1 + cosine of the angle between two inputs.

    Returns
    -------
    tuple of Tensor
        The deficit of the moment, and the angle.
    """
    return repr(
        activation if isinstance(activation, str) else getattr(activation, "__name__", activation)
    )
