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

SMALLEST_STEP, INFINITY, MAX_ROUNDS = 1e-9, 1e6, 4000
LATE, GROWTH = 1e-4, 1.5
"""A path that grows by this factor while 1 - s falls from LATE to SMALLEST_STEP has no end."""


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
            if np.linalg.matrix_rank(matrix) == len(vector):
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
    s, step = np.zeros(len(z)), np.full(len(z), 0.05)
    state = np.zeros(len(z), dtype=int)  # 0 on the way, 1 arrived, 2 at infinity, 3 lost
    early = np.full(len(z), np.inf)  # size when 1 - s falls below LATE
    unknowns = z.shape[1]
    places = np.arange(unknowns)

    def blend(points, at):
        values, jacobians = system(points)
        start = gamma * (points**degrees - 1)
        at = at[:, None]
        matrices = at[..., None] * jacobians
        matrices[:, places, places] += (1 - at) * gamma * degrees * points ** (degrees - 1)
        return (1 - at) * start + at * values, matrices, values - start

    def tangent(points, at):
        _, matrices, by_s = blend(points, at)
        return -_solve(matrices, by_s)

    with np.errstate(all="ignore"):
        for _ in range(MAX_ROUNDS):
            active = np.flatnonzero(state == 0)
            if not len(active):
                break
            at, points = s[active], z[active]
            h = np.minimum(step[active], 1 - at)
            first = tangent(points, at)
            middle = tangent(points + 0.5 * h[:, None] * first, at + 0.5 * h)
            guess = points + h[:, None] * middle
            for _ in range(3):
                values, matrices, _ = blend(guess, at + h)
                change = _solve(matrices, values)
                guess = guess - change
            size = 1 + np.abs(guess).max(axis=1)
            moved = np.abs(guess - points).max(axis=1)
            good = np.isfinite(size) & (np.abs(change).max(axis=1) < 1e-10 * size)
            good &= moved < 0.25 * (1 + np.abs(points).max(axis=1))
            accepted = active[good]
            z[accepted], s[accepted] = guess[good], (at + h)[good]
            step[accepted] = np.minimum(2 * step[accepted], 0.1)
            late = accepted[(s[accepted] > 1 - LATE) & np.isinf(early[accepted])]
            early[late] = np.abs(z[late]).max(axis=1)
            step[active[~good]] = h[~good] / 4
            far = np.abs(z[active]).max(axis=1) > INFINITY
            state[active[far]] = 2
            stuck = (step[active] < SMALLEST_STEP) & ~far
            away = np.abs(z[active]).max(axis=1) > GROWTH * early[active]
            state[active[stuck & away]] = 2
            state[active[stuck & ~away]] = 3
            state[active[(s[active] >= 1) & ~far]] = 1
    lost = int((state == 3).sum() + (state == 0).sum())
    return Ends(z[state == 1], int((state == 2).sum()), lost)
