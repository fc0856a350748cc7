"""The dial of Part II: how far the features of a network have moved, in three numbers.

Every chapter of the part uses these and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from torch import Tensor

from course import validate

Array = np.ndarray | Tensor


def _matrices(name: str, value: Array) -> np.ndarray:
    array = validate.array(name, value, dimensions=None)
    if array.ndim < 2 or array.shape[-1] != array.shape[-2] or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}; allowed are square matrices (…, n, n)")
    return array


def _norm(name: str, matrices: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(matrices, axis=(-2, -1))
    if not (norm > 0).all():
        raise ValueError(f"{name} is zero, so that nothing can be compared with it")
    return norm


def _power_of_two(array: np.ndarray, axes: int) -> np.ndarray:
    """Exponent of the largest entry along the last axes.

    Dividing by that power is exact, and keeps squares from overflow and underflow.
    """
    largest = np.abs(array).max(tuple(range(-axes, 0)), keepdims=True)
    return np.frexp(largest)[1]


def _plain(value: np.ndarray) -> np.ndarray | float:
    return float(value) if np.ndim(value) == 0 else value


def kernel_distance(kernel: Array, reference: Array) -> np.ndarray | float:
    """Relative change of a kernel matrix.

    .. math:: \\frac{\\|K-K_0\\|_F}{\\|K_0\\|_F}

    Zero means that the kernel did not move (lazy); a change of its size alone counts too.

    Parameters
    ----------
    kernel, reference
        K and K₀, shapes (…, n, n) that broadcast; tensors or arrays.

    Returns
    -------
    numpy.ndarray or float
        Of the leading shape; a number if there is none.

    Raises
    ------
    ValueError
        For arrays that are not square matrices of one size, not finite, or K₀ = 0.

    Notes
    -----
    Taught in chapter 2.2, "Turning the dial".
    """
    one, two = _matrices("kernel", kernel), _matrices("reference", reference)
    if one.shape[-1] != two.shape[-1]:
        raise ValueError(
            f"kernel and reference have shapes {one.shape} and {two.shape}; "
            "allowed are matrices of one size"
        )
    unit = _power_of_two(two, 2)
    one, two = np.ldexp(one, -unit), np.ldexp(two, -unit)
    return _plain(np.linalg.norm(one - two, axis=(-2, -1)) / _norm("reference", two))


def kernel_alignment(kernel: Array, target: Array, *, centred: bool = False) -> np.ndarray | float:
    """Cosine of the angle between two kernel matrices, or between a kernel and a target.

    .. math:: A(K,M)=\\frac{\\langle K,M\\rangle_F}{\\|K\\|_F\\,\\|M\\|_F},
        \\qquad M=yy^\\top\\text{ for a target }y

    Parameters
    ----------
    kernel
        K, shape (…, n, n).
    target
        Another kernel M, shape (…, n, n), or targets y on the n points, shape (n,) or, one row for
        each kernel, (…, n). An array that could be both, of shape (n, n), is a kernel.
    centred
        Whether to take HKH and HMH with :math:`H=I-\\tfrac1n 11^\\top`, which leaves out constant
        functions.

    Returns
    -------
    numpy.ndarray or float
        Between -1 and 1 (between 0 and 1 for kernels, which have no negative eigenvalue); of the
        leading shape.

    Raises
    ------
    ValueError
        For shapes that do not fit, numbers that are not finite, and zero kernels or targets.

    Notes
    -----
    The size of a kernel does not enter: see :func:`kernel_distance`. Taught in chapter 2.2,
    "Turning the dial".
    """
    one = _matrices("kernel", kernel)
    other = validate.array("target", target, dimensions=None)
    points = one.shape[-1]
    one = np.ldexp(one, -_power_of_two(one, 2))
    if other.ndim >= 2 and other.shape[-2:] == (points, points):
        two = np.ldexp(other, -_power_of_two(other, 2))
    elif other.ndim >= 1 and other.shape[-1] == points:
        unit = np.ldexp(other, -_power_of_two(other, 1))
        two = unit[..., :, None] * unit[..., None, :]
    else:
        raise ValueError(
            f"target has shape {other.shape}; allowed are (…, {points}, {points}) or (…, {points})"
        )
    if centred:
        one, two = (_centred(matrices) for matrices in (one, two))
    product = (one * two).sum((-2, -1))
    return _plain(product / (_norm("kernel", one) * _norm("target", two)))


def _centred(matrices: np.ndarray) -> np.ndarray:
    rows = matrices - matrices.mean(-1, keepdims=True)
    centred = rows - rows.mean(-2, keepdims=True)
    small = 1e-13 * np.abs(matrices).max()  # a constant matrix leaves rounding alone
    return np.where(np.abs(centred).max((-2, -1), keepdims=True) > small, centred, 0.0)


def weight_change(
    parameters: Sequence[Array], start: Sequence[Array], *, networks: bool = False
) -> np.ndarray | float:
    """Relative change of all parameters, as one vector.

    .. math:: \\frac{\\|\\theta-\\theta_0\\|}{\\|\\theta_0\\|}

    Parameters
    ----------
    parameters, start
        Tensors or arrays of the parameters now and at the start, in the same order.
    networks
        Whether the first axis of each numbers networks.

    Returns
    -------
    numpy.ndarray or float
        One number for each network, or a number.

    Raises
    ------
    ValueError
        For lists that do not match, numbers that are not finite, or a start at zero.

    Notes
    -----
    Taught in chapter 2.2, "Turning the dial".
    """
    for name, parts in (("parameters", parameters), ("start", start)):
        if not isinstance(parts, Iterable):
            raise ValueError(f"{name} is {parts!r}; allowed is a list of arrays")
    now, then = (
        [validate.array(name, part, dimensions=None) for part in parts]
        for name, parts in (("parameters", parameters), ("start", start))
    )
    if not now or [part.shape for part in now] != [part.shape for part in then]:
        raise ValueError(
            f"parameters and start have shapes {[part.shape for part in now]} and "
            f"{[part.shape for part in then]}; allowed are lists of the same shapes"
        )
    if networks and (min(part.ndim for part in now) < 1 or len({len(part) for part in now}) > 1):
        raise ValueError(
            f"parameters has shapes {[part.shape for part in now]}; allowed with networks=True "
            "is the same first axis for all"
        )

    def square(parts):
        flat = [part.reshape(len(part) if networks else 1, -1) for part in parts]
        return sum((part**2).sum(1) for part in flat)

    unit = max((int(_power_of_two(part.ravel(), 1)[0]) for part in then if part.size), default=0)
    now, then = ([np.ldexp(part, -unit) for part in parts] for parts in (now, then))
    norm = square(then)
    if not (norm > 0).all():
        raise ValueError("start is zero, so that no relative change is defined")
    change = square([one - two for one, two in zip(now, then, strict=True)])
    ratio = np.sqrt(change / norm)
    return ratio if networks else float(ratio[0])
