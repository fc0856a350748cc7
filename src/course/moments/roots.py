r"""All isolated real solutions of a square polynomial system, by homotopy continuation.

Every solution of :math:`F(z)=0` is the end of one of the paths
:math:`(1-s)\,\gamma\,(z_i^{d_i}-1)+s\,F_i(z)=0` that start at the roots of unity for :math:`s=0`,
where :math:`d_i` is the degree of :math:`F_i` and :math:`\gamma` almost any complex number
(Bézout; Sommese and Wampler). Paths without a solution at their end run away to infinity.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Ends", "continuation"]

SLOWEST, FASTEST, MAX_ROUNDS = 1e-7, 2.0, 4000
"""Paths are followed in -ln(1 - s), by steps between these two."""

FAR, INFINITY = 1e6, 1e8
"""Sizes: a path that gets stuck beyond the first, or is beyond the second, has no end."""

JUMP, AGAIN = 0.1, 0.01
"""A jump to s = 1 is tried from this 1 - s on, and once more each time it has fallen so far."""

LATE, LAST, GROWTH = 1e-50, 1e-60, 1.5
"""A path that grows by this factor while 1 - s falls from LATE to LAST has no end.

An end at the distance R is not seen before 1 - s is below R to the power of minus the degree.
"""


class Ends(NamedTuple):
    """Where the paths of a homotopy end.

    Attributes
    ----------
    finite : numpy.ndarray
        Complex solutions, shape (solutions, unknowns); a multiple one may come several times.
    infinite : int
        Paths that ran away.
    lost : int
        Paths that stopped somewhere else; zero if the list is to be complete.
    """

    finite: np.ndarray
    infinite: int
    lost: int


def _solve(matrices: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve many small systems; a singular one gives infinity."""
    try:
        return np.linalg.solve(matrices, right[..., None])[..., 0]
    except np.linalg.LinAlgError:
        result = np.full_like(right, np.inf)
        for number, (matrix, vector) in enumerate(zip(matrices, right, strict=True)):
            if np.isfinite(matrix).all() and np.linalg.matrix_rank(matrix) == len(vector):
                result[number] = np.linalg.solve(matrix, vector)
        return result


def _starts(degrees: Sequence[int]) -> np.ndarray:
    circles = [np.exp(2j * np.pi * np.arange(d) / d) for d in degrees]
    return np.array(list(itertools.product(*circles)), dtype=complex)


def continuation(
    system: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    degrees: Sequence[int],
    *,
    gamma: complex,
) -> Ends:
    """Follow every path of the homotopy from the roots of unity to the solutions of ``system``.

    Parameters
    ----------
    system : callable
        Maps complex points (paths, unknowns) to the values (paths, unknowns) and the Jacobians
        (paths, unknowns, unknowns) of the polynomials, whose coefficients should be of order one.
    degrees : sequence of int
        Total degree of each polynomial, at least 1; their product is the number of paths.
    gamma : complex
        A number of modulus one, not real.

    Returns
    -------
    Ends
    """
    degrees = np.asarray(degrees)
    z = _starts(degrees)
    left, pace = np.ones(len(z)), np.full(len(z), 0.05)  # 1 - s; the next step in -ln(1 - s)
    jump = np.full(len(z), JUMP)
    state = np.zeros(len(z), dtype=int)  # 0 on the way, 1 arrived, 2 at infinity, 3 lost
    early = np.full(len(z), np.inf)  # size when 1 - s falls below LATE
    unknowns = z.shape[1]
    places = np.arange(unknowns)

    def blend(points, left):
        values, jacobians = system(points)
        start = gamma * (points**degrees - 1)
        left = left[:, None]
        matrices = (1 - left)[..., None] * jacobians
        matrices[:, places, places] += left * gamma * degrees * points ** (degrees - 1)
        return left * start + (1 - left) * values, matrices, values - start

    def tangent(points, left):
        _, matrices, by_s = blend(points, left)
        return -_solve(matrices, by_s)

    with np.errstate(all="ignore"):
        for _ in range(MAX_ROUNDS):
            active = np.flatnonzero(state == 0)
            if not len(active):
                break
            before, points = left[active], z[active]
            jumps = before < jump[active]
            after = np.where(jumps, 0.0, before * np.exp(-pace[active]))
            between = np.where(jumps, before / 2, np.sqrt(before * after))
            first = tangent(points, before) * (before - between)[:, None]
            whole = np.where(jumps, 1.0, pace[active] * between / before) * before
            guess = points + whole[:, None] * tangent(points + first, between)
            for _ in range(3):
                values, matrices, _ = blend(guess, after)
                change = _solve(matrices, values)
                guess = guess - change
            size = 1 + np.abs(guess).max(axis=1)
            moved = np.abs(guess - points).max(axis=1)
            good = np.isfinite(size) & (np.abs(change).max(axis=1) < 1e-10 * size)
            good &= moved < 0.25 * (1 + np.abs(points).max(axis=1))
            accepted, slower = active[good], active[~good & ~jumps]
            z[accepted], left[accepted] = guess[good], after[good]
            fastest = np.clip(0.1 / np.maximum(left, 1e-300), 0, FASTEST)
            pace[accepted] = np.minimum(2 * pace[accepted], fastest[accepted])
            pace[slower] /= 4
            jump[active[~good & jumps]] = AGAIN * before[~good & jumps]
            late = accepted[(left[accepted] < LATE) & np.isinf(early[accepted])]
            early[late] = np.abs(z[late]).max(axis=1)
            sizes = np.abs(z[active]).max(axis=1)
            ended = left[active] == 0
            stuck = ~ended & ((pace[active] < SLOWEST) | (left[active] < LAST))
            far = (sizes > INFINITY) | (stuck & (sizes > np.minimum(FAR, GROWTH * early[active])))
            state[active[stuck]] = 3
            state[active[ended]] = 1
            state[active[far]] = 2
    lost = int((state == 3).sum() + (state == 0).sum())
    return Ends(z[state == 1], int((state == 2).sum()), lost)
