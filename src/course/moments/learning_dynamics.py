r"""Chapter 5.6, first part: a soft committee machine in training, and its order parameters.

A student :math:`\sigma(\xi)=\sum_{i=1}^K g(J_i\cdot\xi)` learns a teacher
:math:`\zeta(\xi)=\sum_{n=1}^M g(B_n\cdot\xi)` with :math:`g(x)=\operatorname{erf}(x/\sqrt2)`, from
one fresh input :math:`\xi\in\mathbb R^N` of independent standard normal entries at a time:

.. math:: J_i\leftarrow J_i+\frac\eta N\,\delta_i\,\xi,\qquad \delta_i=g'(x_i)(\zeta-\sigma),
          \qquad x_i=J_i\cdot\xi,\quad y_n=B_n\cdot\xi.

The overlaps :math:`Q_{ik}=J_i\cdot J_k`, :math:`R_{in}=J_i\cdot B_n` and
:math:`T_{nm}=B_n\cdot B_m` are its order parameters; time is :math:`\alpha`, steps divided by
:math:`N`. Source: Saad and Solla, Phys. Rev. E 52, 4225 (1995).
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from scipy import optimize
from scipy.integrate import solve_ivp

from course import validate

__all__ = [
    "CommitteeIntegrals", "CommitteePath", "Plateau", "committee_dynamics", "committee_integrals",
    "committee_plateau", "escape_time", "escape_times", "generalisation_error", "overlap_chain",
    "train_committee",
]  # fmt: skip

LAWS = ("normal", "binary")
FRAMES = ("random", "axes")
ROUNDING = 1e-10
"""Relative size of a negative eigenvalue of a covariance that counts as rounding."""


class CommitteeIntegrals(NamedTuple):
    r"""Gaussian averages over fields, for all tuples of their indices.

    Attributes
    ----------
    I2 : numpy.ndarray, shape (n, n)
        :math:`\langle g(u_a)g(u_b)\rangle`.
    I3 : numpy.ndarray, shape (n, n, n)
        :math:`\langle g'(u_a)\,u_b\,g(u_c)\rangle`.
    I4 : numpy.ndarray, shape (n, n, n, n)
        :math:`\langle g'(u_a)g'(u_b)g(u_c)g(u_d)\rangle`.
    """

    I2: np.ndarray
    I3: np.ndarray
    I4: np.ndarray


@dataclass(frozen=True, eq=False)
class CommitteePath:
    r"""Order parameters over time, of the closed equations or of simulated runs.

    Attributes
    ----------
    times : numpy.ndarray, shape (times,)
        :math:`\alpha`, steps divided by :math:`N`.
    Q : numpy.ndarray, shape (..., times, K, K)
        Overlaps of the student's weight vectors; the leading axis numbers runs, if there is one.
    R : numpy.ndarray, shape (..., times, K, M)
        Overlaps of student and teacher.
    T : numpy.ndarray, shape (M, M)
        Overlaps of the teacher's vectors.
    """

    times: np.ndarray
    Q: np.ndarray
    R: np.ndarray
    T: np.ndarray

    @property
    def error(self) -> np.ndarray:
        r"""Generalisation error :math:`\epsilon_g` at each time, shape (..., times)."""
        return _error(self.Q, self.R, self.T)


class Plateau(NamedTuple):
    r"""The fixed point of students of equal rank, to which all symmetric starts run.

    Attributes
    ----------
    Q, C, R : float
        :math:`Q_{ii}`, :math:`Q_{ik}` for :math:`i\ne k`, and :math:`R_{in}`.
    error : float
        Generalisation error, the plateau's height.
    growth : float
        Largest eigenvalue of the closed equations linearised here, in units of
        :math:`1/\alpha`: deviations from symmetry grow as :math:`e^{\text{growth}\,\alpha}`.
        At learning rate 0: in units of :math:`1/(\eta\alpha)`.
    """

    Q: float
    C: float
    R: float
    error: float
    growth: float


def _covariance(value) -> np.ndarray:
    matrix = validate.array("covariance", value, dimensions=2, empty=False)
    if matrix.shape[0] != matrix.shape[1] or not np.allclose(matrix, matrix.T, rtol=1e-9):
        raise ValueError(f"covariance has shape {matrix.shape}; allowed are symmetric matrices")
    _check_semidefinite("covariance", matrix)
    return matrix


def _check_semidefinite(name: str, matrix: np.ndarray) -> None:
    values = np.linalg.eigvalsh(matrix)
    if (values[..., 0] < -ROUNDING * np.maximum(np.abs(values[..., -1]), 1e-300)).any():
        raise ValueError(
            f"{name} has the eigenvalue {values[..., 0].min():.3g}; allowed are covariances, "
            "without negative eigenvalues"
        )


def _pairs(covariance: np.ndarray) -> np.ndarray:
    """I2 of the last two axes."""
    norms = np.sqrt(1 + np.diagonal(covariance, axis1=-2, axis2=-1))
    cosine = covariance / (norms[..., :, None] * norms[..., None, :])
    return 2 / math.pi * np.arcsin(np.clip(cosine, -1.0, 1.0))


def _triples(covariance: np.ndarray, first: int) -> np.ndarray:
    """I3 with the first index below ``first``."""
    rows = covariance[:first]
    shift = 1 + np.diagonal(rows)
    tilted = covariance - rows[:, :, None] * rows[:, None, :] / shift[:, None, None]
    norms = np.sqrt(1 + np.diagonal(tilted, axis1=1, axis2=2))
    return 2 / math.pi * tilted / (np.sqrt(shift)[:, None, None] * norms[:, None, :])


def _quadruples(covariance: np.ndarray, first: int) -> np.ndarray:
    """I4 with the first two indices below ``first``."""
    rows, shift = covariance[:first], 1 + np.diagonal(covariance)[:first]
    cross = covariance[:first, :first]
    det = shift[:, None] * shift - cross**2
    own = rows[:, :, None] * rows[:, None, :]  # (a, i, j)
    mixed = rows[:, None, :, None] * rows[None, :, None, :]  # (a, b, i, j)
    removed = (
        shift[None, :, None, None] * own[:, None]
        + shift[:, None, None, None] * own[None]
        - cross[:, :, None, None] * (mixed + np.swapaxes(mixed, 2, 3))
    )
    tilted = covariance - removed / det[:, :, None, None]
    return 2 / math.pi * _pairs(tilted) / np.sqrt(det)[:, :, None, None]


def committee_integrals(covariance) -> CommitteeIntegrals:
    r"""Averages of the error function and its derivative over normal fields, in closed form.

    With :math:`g(u)=\operatorname{erf}(u/\sqrt2)` and fields of zero mean and covariance
    :math:`C`,

    .. math::

       I_2(a,b)&=\frac2\pi\arcsin\frac{C_{ab}}{\sqrt{(1+C_{aa})(1+C_{bb})}},\\
       I_3(a,b,c)&=\frac2\pi\,\frac{C_{bc}(1+C_{aa})-C_{ab}C_{ac}}
                   {(1+C_{aa})\sqrt{(1+C_{aa})(1+C_{cc})-C_{ac}^2}},\\
       I_4(a,b,c,d)&=\frac{2}{\pi\sqrt{\Lambda_4}}\,I_2(c,d)\big|_{C^{ab}},\qquad
       \Lambda_4=(1+C_{aa})(1+C_{bb})-C_{ab}^2,

    where :math:`C^{ab}` is the covariance of all fields under the weight
    :math:`e^{-(u_a^2+u_b^2)/2}`, which is what :math:`g'(u_a)g'(u_b)` puts on them.

    Parameters
    ----------
    covariance : array_like, shape (n, n)
        Symmetric, without negative eigenvalues; it may be singular.

    Returns
    -------
    CommitteeIntegrals
        Arrays over all index tuples. ``I4`` has :math:`n^4` entries.

    Raises
    ------
    ValueError
        For a matrix that is not a covariance.

    Notes
    -----
    Saad and Solla (1995), appendix. Taught in chapter 5.6, "Three averages".
    """
    matrix = _covariance(covariance)
    count = len(matrix)
    return CommitteeIntegrals(_pairs(matrix), _triples(matrix, count), _quadruples(matrix, count))


def _joint(Q: np.ndarray, R: np.ndarray, T: np.ndarray) -> np.ndarray:
    """Covariance of all fields, students first."""
    students, teachers = R.shape[-2:]
    joint = np.empty((*Q.shape[:-2], students + teachers, students + teachers))
    joint[..., :students, :students] = Q
    joint[..., :students, students:] = R
    joint[..., students:, :students] = np.swapaxes(R, -1, -2)
    joint[..., students:, students:] = T
    return joint


def _error(Q: np.ndarray, R: np.ndarray, T: np.ndarray) -> np.ndarray:
    students, teachers = R.shape[-2:]
    signs = np.repeat([-1.0, 1.0], [students, teachers])
    return 0.5 * np.einsum("a,...ab,b->...", signs, _pairs(_joint(Q, R, T)), signs)


def _overlaps(Q, R, T, *, batch: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Checked order parameters; shapes (..., K, K), (..., K, M) and (M, M)."""
    counts = (2, 3) if batch else 2
    T = validate.array("T", T, dimensions=2, empty=False)
    R = validate.array("R", R, dimensions=counts, empty=False)
    Q = validate.array("Q", Q, dimensions=counts, empty=False)
    students, teachers = R.shape[-2:]
    if T.shape != (teachers, teachers):
        raise ValueError(f"T has shape {T.shape}; allowed is {(teachers, teachers)} to match R")
    if Q.shape != (*R.shape[:-2], students, students):
        raise ValueError(
            f"Q has shape {Q.shape}; allowed is {(*R.shape[:-2], students, students)} to match R"
        )
    for name, matrix in (("Q", Q), ("T", T)):
        if not np.allclose(matrix, np.swapaxes(matrix, -1, -2), rtol=1e-9, atol=1e-15):
            raise ValueError(f"{name} is {matrix}; allowed are symmetric matrices")
    _check_semidefinite("the joint matrix of Q, R and T", _joint(Q, R, T))
    return Q, R, T


def generalisation_error(Q, R, T) -> float:
    r"""Half the mean squared difference of student and teacher on a fresh input.

    .. math:: \epsilon_g=\tfrac12\Bigl\langle\bigl(\textstyle\sum_n g(y_n)-\sum_i g(x_i)\bigr)^2
              \Bigr\rangle

    Parameters
    ----------
    Q : array_like, shape (K, K)
    R : array_like, shape (K, M)
    T : array_like, shape (M, M)
        The order parameters.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the three are no overlaps of vectors.

    Notes
    -----
    Saad and Solla (1995). Taught in chapter 5.6, "Three averages".
    """
    return float(_error(*_overlaps(Q, R, T)))


def _drift(Q, R, T, rate):
    students, teachers = R.shape
    signs = np.repeat([-1.0, 1.0], [students, teachers])
    joint = _joint(Q, R, T)
    first = _triples(joint, students) @ signs  # <delta_i u>
    second = np.einsum("c,abcd,d->ab", signs, _quadruples(joint, students), signs)
    towards = first[:, :students]
    return towards + towards.T + rate * second, first[:, students:]


def _times(times) -> np.ndarray:
    times = validate.array("times", times, dimensions=1, empty=False)
    if times[0] < 0 or (np.diff(times) <= 0).any():
        raise ValueError(f"times is {times}; allowed are increasing numbers >= 0")
    return times


def committee_dynamics(Q, R, T, *, learning_rate: float, times) -> CommitteePath:
    r"""Solve the closed equations of the order parameters, exact for :math:`N\to\infty`.

    .. math:: \frac{dR_{in}}{d\alpha}=\eta\,\langle\delta_i y_n\rangle,\qquad
              \frac{dQ_{ik}}{d\alpha}=\eta\,\langle\delta_i x_k+\delta_k x_i\rangle
              +\eta^2\langle\delta_i\delta_k\rangle,

    the averages being sums of :func:`committee_integrals`.

    Parameters
    ----------
    Q : array_like, shape (K, K)
        Start of the student–student overlaps.
    R : array_like, shape (K, M)
        Start of the student–teacher overlaps.
    T : array_like, shape (M, M)
        Teacher–teacher overlaps; any number of teachers and students.
    learning_rate : float
        :math:`\eta>0`.
    times : array_like, shape (times,)
        Increasing :math:`\alpha\ge0`, steps divided by :math:`N`; the start is at 0.

    Returns
    -------
    CommitteePath

    Raises
    ------
    ValueError
        If the start is no set of overlaps, or an argument is out of range.
    RuntimeError
        If the solver stops early, with its reason.

    Notes
    -----
    Saad and Solla (1995), equations of motion. A start that is symmetric to the last bit stays on
    the symmetric plateau until rounding errors break the symmetry. Taught in chapter 5.6, "The
    closed equations".
    """
    Q, R, T = _overlaps(Q, R, T)
    rate = validate.real("learning_rate", learning_rate, low=0, strict=True)
    times = _times(times)
    students = len(Q)
    rows, columns = np.triu_indices(students)
    split = len(rows)

    def unpack(state):
        current = np.empty((students, students))
        current[rows, columns] = current[columns, rows] = state[:split]
        return current, state[split:].reshape(R.shape)

    def velocity(_, state):
        dq, dr = _drift(*unpack(state), T, rate)
        return rate * np.concatenate([dq[rows, columns], dr.ravel()])

    start = np.concatenate([Q[rows, columns], R.ravel()])
    states = np.repeat(start[None], len(times), axis=0)
    if times[-1] > 0:
        solution = solve_ivp(
            velocity, (0, times[-1]), start, method="DOP853", rtol=1e-9, atol=1e-13, t_eval=times
        )
        if not solution.success or not np.isfinite(solution.y).all():
            raise RuntimeError(f"the closed equations were not solved: {solution.message}")
        states = solution.y.T
    paths = [unpack(state) for state in states]
    return CommitteePath(times, *(np.array(part) for part in zip(*paths, strict=True)), T)


def committee_plateau(units: int, *, learning_rate: float = 0.0) -> Plateau:
    r"""The symmetric plateau of as many students as orthonormal teachers.

    On it :math:`Q_{ii}=Q`, :math:`Q_{ik}=C` and :math:`R_{in}=R`. For :math:`\eta\to0`

    .. math:: Q=C=\frac1{2K-1},\qquad R=\frac1{\sqrt{K(2K-1)}},\qquad
              \epsilon_g=\frac K\pi\Bigl(\frac\pi6-K\arcsin\frac1{2K}\Bigr).

    For :math:`\eta>0` students that coincide, :math:`Q=C`, are still at a fixed point, but it is
    unstable: noise drives them apart until :math:`Q-C` is of order :math:`\eta`. The fixed point
    returned is the one that attracts symmetric starts.

    Parameters
    ----------
    units : int
        :math:`K=M\ge2`.
    learning_rate : float
        :math:`\eta\ge0`.

    Returns
    -------
    Plateau

    Raises
    ------
    RuntimeError
        If no such fixed point is found: at a large learning rate the students grow without end.

    Notes
    -----
    Saad and Solla (1995). Taught in chapter 5.6, "The plateau".
    """
    K = validate.whole("units", units, low=2)
    rate = validate.real("learning_rate", learning_rate, low=0)
    teacher, ones, off = np.eye(K), np.ones((K, K)), 1 - np.eye(K)

    def rates(point):
        q, c, r = point
        dq, dr = _drift(q * teacher + c * off, r * ones, teacher, rate)
        return np.array([dq[0, 0], dq[0, 1], dr[0, 0]])

    point = np.array([1 / (2 * K - 1), 1 / (2 * K - 1), 1 / math.sqrt(K * (2 * K - 1))])
    if rate:
        relaxed = solve_ivp(
            lambda _, p: rates(p), (0, 300), point + [0.5 * rate, 0.0, 0.0], method="LSODA"
        )
        point = relaxed.y[:, -1]
        found = optimize.root(rates, point, tol=1e-13)
        slopes = np.stack(
            [(rates(found.x + e) - rates(found.x - e)) / 2e-6 for e in 1e-6 * np.eye(3)], axis=1
        )
        stable = np.isfinite(slopes).all() and np.linalg.eigvals(slopes).real.max() < 0
        if not (np.abs(rates(found.x)).max() < 1e-10 and stable):
            raise RuntimeError(
                f"no stable symmetric plateau found for {K} units at learning rate {rate:g}: from "
                f"the start the students' norm has reached {point[0]:.3g}"
            )
        point = found.x
    q, c, r = (float(value) for value in point)
    Q, R = q * teacher + c * off, np.full((K, K), r)
    growth = np.linalg.eigvals(_jacobian(Q, R, teacher, rate)).real.max()
    return Plateau(q, c, r, float(_error(Q, R, teacher)), float(growth * (rate or 1.0)))


def _jacobian(Q, R, T, rate, step=1e-6) -> np.ndarray:
    """Derivative of the drift by the independent entries of Q and R, by central differences."""
    rows, columns = np.triu_indices(len(Q))
    count, size = len(rows), len(rows) + R.size

    def drift(change):
        shifted = Q.copy()
        shifted[rows, columns] += change[:count]
        shifted[columns, rows] = shifted[rows, columns]
        dq, dr = _drift(shifted, R + change[count:].reshape(R.shape), T, rate)
        return np.concatenate([dq[rows, columns], dr.ravel()])

    columns_of = [(drift(e) - drift(-e)) / (2 * step) for e in step * np.eye(size)]
    return np.stack(columns_of, axis=1)


def escape_time(path: CommitteePath, level: float) -> np.ndarray:
    r"""Time at which the generalisation error falls below a level for good.

    Parameters
    ----------
    path : CommitteePath
    level : float
        Such as half the plateau's height.

    Returns
    -------
    numpy.ndarray, shape (...)
        :math:`\alpha`, interpolated linearly between the recorded times; infinity where the error
        is not below ``level`` at the end, 0 where it always is.

    Notes
    -----
    Taught in chapter 5.6, "The plateau".
    """
    level = validate.real("level", level, low=0, strict=True)
    times, errors = path.times, path.error
    result = np.zeros(errors.shape[:-1])
    for index in np.ndindex(result.shape):
        error = errors[index]
        above = np.flatnonzero(error >= level)
        if len(above) and above[-1] == len(error) - 1:
            result[index] = np.inf
        elif len(above):
            last = above[-1]
            part = (error[last] - level) / (error[last] - error[last + 1])
            result[index] = times[last] + part * (times[last + 1] - times[last])
    return result


# --- simulation ---------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _student(x):
    """g(x) and its derivative."""
    return math.erf(x / math.sqrt(2.0)), math.sqrt(2.0 / math.pi) * math.exp(-0.5 * x * x)


@njit(cache=True, nogil=True)
def _deltas(x, y, delta):
    error = 0.0
    for n in range(len(y)):
        error += _student(y[n])[0]
    for i in range(len(x)):
        error -= _student(x[i])[0]
    for i in range(len(x)):
        delta[i] = _student(x[i])[1] * error


@njit(cache=True, nogil=True)
def _sgd(rng, student, teacher, rate, binary, steps, Q, R):
    K, N = student.shape
    xi, delta = np.empty(N), np.empty(K)
    done = 0
    for record in range(len(steps)):
        for _ in range(steps[record] - done):
            if binary:
                for k in range(N):
                    xi[k] = 1.0 if rng.random() < 0.5 else -1.0
            else:
                for k in range(N):
                    xi[k] = rng.standard_normal()
            _deltas(student @ xi, teacher @ xi, delta)
            for i in range(K):
                factor = rate / N * delta[i]
                for k in range(N):
                    student[i, k] += factor * xi[k]
        done = steps[record]
        Q[record] = student @ student.T
        R[record] = student @ teacher.T


@njit(cache=True, nogil=True)
def _chain(rng, along, across, basis, N, rate, steps, Q, R):
    """The order parameters alone: coordinates along the teacher, and a triangle across it."""
    K, M = along.shape
    u, z, delta = np.empty(M), np.empty(K + 1), np.empty(K)
    wide = np.zeros((K, K + 1))
    wide[:, :K] = across
    done, freedom = 0, 0.5 * (N - M - K)
    for record in range(len(steps)):
        for _ in range(steps[record] - done):
            for n in range(M):
                u[n] = rng.standard_normal()
            for i in range(K):
                z[i] = rng.standard_normal()
            z[K] = math.sqrt(2.0 * rng.standard_gamma(freedom)) if freedom > 0 else 0.0
            _deltas(along @ u + wide @ z, basis @ u, delta)
            for i in range(K):
                factor = rate / N * delta[i]
                for n in range(M):
                    along[i, n] += factor * u[n]
                for k in range(K + 1):
                    wide[i, k] += factor * z[k]
            _triangulate(wide)
        done = steps[record]
        Q[record] = along @ along.T + wide @ wide.T
        R[record] = along @ basis.T


@njit(cache=True, nogil=True)
def _triangulate(wide):
    """Rotate columns until nothing is left above the diagonal."""
    rows, columns = wide.shape
    for i in range(rows):
        for k in range(i + 1, columns):
            radius = math.hypot(wide[i, i], wide[i, k])
            if radius > 0.0:
                c, s = wide[i, i] / radius, wide[i, k] / radius
                for j in range(i, rows):
                    old = wide[j, i]
                    wide[j, i] = c * old + s * wide[j, k]
                    wide[j, k] = c * wide[j, k] - s * old
                wide[i, k] = 0.0


def _root(matrix: np.ndarray) -> np.ndarray:
    """A square root A of a covariance, A Aᵀ = matrix, by eigenvectors (it may be singular)."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0.0))


def _triangular(matrix: np.ndarray) -> np.ndarray:
    """The Cholesky factor of a covariance that may be singular: vector k in the first k axes."""
    factor = np.zeros_like(matrix)
    for k in range(len(matrix)):
        rest = matrix[k:, k] - factor[k:, :k] @ factor[k, :k]
        if rest[0] > 1e-12 * matrix[k, k]:
            factor[k:, k] = rest / math.sqrt(rest[0])
    return factor


def _runs(Q, R, T, learning_rate, times, runs, rng, N):
    Q, R, T = _overlaps(Q, R, T, batch=True)
    rate = validate.real("learning_rate", learning_rate, low=0, strict=True)
    times = _times(times)
    runs = validate.whole("runs", runs)
    validate.generator("rng", rng, np.random.Generator)
    students, teachers = R.shape[-2:]
    if students + teachers > N:
        raise ValueError(
            f"inputs is {N}; allowed are numbers >= {students + teachers}, one direction for each "
            "student and teacher"
        )
    if Q.ndim == 3 and len(Q) != runs:
        raise ValueError(f"Q has {len(Q)} starts; allowed is one, or one for each of {runs} runs")
    Q, R = (np.broadcast_to(a, (runs, *a.shape[-2:])) for a in (Q, R))
    steps = np.rint(times * N).astype(np.int64)
    found = np.empty((runs, len(times), *Q.shape[1:])), np.empty((runs, len(times), *R.shape[1:]))
    return Q, R, T, rate, times, rng.spawn(runs), steps, found


def _in_threads(work, runs: int) -> None:
    with ThreadPoolExecutor(min(runs, os.cpu_count() or 1)) as pool:
        list(pool.map(work, range(runs)))


def train_committee(
    Q,
    R,
    T,
    *,
    inputs: int,
    learning_rate: float,
    times,
    runs: int,
    rng: np.random.Generator,
    law: str = "normal",
    frame: str = "random",
) -> CommitteePath:
    r"""Train student networks with all their weights, one fresh input at a time.

    Parameters
    ----------
    Q, R, T : array_like
        Overlaps at the start, as in :func:`committee_dynamics`; Q and R may have a leading axis
        of ``runs``. The weight vectors get exactly these overlaps.
    inputs : int
        :math:`N`, the number of inputs, at least :math:`K+M`.
    learning_rate : float
        :math:`\eta>0`; a step is :math:`\eta/N`.
    times : array_like
        Increasing :math:`\alpha`; a time is rounded to whole steps.
    runs : int
        Number of independent networks.
    rng : numpy.random.Generator
        A stream is spawned for each run, so that threads do not change the result.
    law : {"normal", "binary"}
        Entries of an input: standard normal, or ±1 with equal probability.
    frame : {"random", "axes"}
        Where the span of all weight vectors lies at the start: in a random position, or in the
        first axes, so that a few weights are large. It matters for binary inputs only.

    Returns
    -------
    CommitteePath
        Q of shape (runs, times, K, K), R of shape (runs, times, K, M).

    Raises
    ------
    ValueError
        For overlaps that no vectors have, or an argument out of range.

    Notes
    -----
    Cost: about :math:`8N` ns a step. Taught in chapter 5.6, "The closed equations".
    """
    N = validate.whole("inputs", inputs)
    validate.choice("law", law, LAWS)
    validate.choice("frame", frame, FRAMES)
    Q, R, T, rate, times, streams, steps, found = _runs(Q, R, T, learning_rate, times, runs, rng, N)
    students, teachers = R.shape[1:]

    def work(run):
        stream = streams[run]
        vectors = _triangular(_joint(Q[run], R[run], T))
        if frame == "random":
            directions = np.linalg.qr(stream.standard_normal((N, len(vectors))))[0].T
        else:
            directions = np.eye(len(vectors), N)
        weights = vectors @ directions
        _sgd(
            stream, np.ascontiguousarray(weights[:students]),
            np.ascontiguousarray(weights[students:]), rate, law == "binary", steps,
            found[0][run], found[1][run],
        )  # fmt: skip

    _in_threads(work, len(streams))
    return CommitteePath(times, *found, T)


def overlap_chain(
    Q, R, T, *, inputs: int, learning_rate: float, times, runs: int, rng: np.random.Generator
) -> CommitteePath:
    r"""The same training, followed in the order parameters alone, exactly and at any size.

    For normal inputs the overlaps are a Markov chain by themselves: the fields are normal with a
    covariance made of the overlaps, and what is left of :math:`|\xi|^2` is a chi-squared variable
    of :math:`N-K-M` degrees of freedom. A step costs the same for all :math:`N`, and no limit is
    taken.

    Parameters
    ----------
    Q, R, T, inputs, learning_rate, times, runs, rng
        As in :func:`train_committee`; ``inputs`` may be 10⁶.

    Returns
    -------
    CommitteePath
        Equal in distribution to that of :func:`train_committee`.

    Raises
    ------
    ValueError
        For overlaps that no vectors have, or an argument out of range.

    Notes
    -----
    Taught in chapter 5.6, "Where the N is". About 0.3 µs a step for two students.
    """
    N = validate.whole("inputs", inputs)
    Q, R, T, rate, times, streams, steps, found = _runs(Q, R, T, learning_rate, times, runs, rng, N)
    students, teachers = R.shape[1:]
    basis = _root(T)
    inverse = np.linalg.pinv(basis, rcond=1e-10)

    def work(run):
        along = R[run] @ inverse.T
        across = _root(Q[run] - along @ along.T)
        across = np.linalg.qr(across.T)[1].T  # lower triangular, the same Gram matrix
        _chain(
            streams[run], np.ascontiguousarray(along), np.ascontiguousarray(across), basis, N,
            rate, steps, found[0][run], found[1][run],
        )  # fmt: skip

    _in_threads(work, len(streams))
    return CommitteePath(times, *found, T)


def escape_times(
    *, inputs, runs: int, learning_rate: float, variance: float, end: float, seed: int
) -> dict[str, np.ndarray]:
    r"""When students that start at random leave the plateau, for networks of several sizes.

    Parameters
    ----------
    inputs : sequence of int
        The sizes :math:`N`.
    runs : int
        Networks of each size, of two students and two orthonormal teachers.
    learning_rate : float
        :math:`\eta`.
    variance : float
        The students' weights start as normal numbers of this variance divided by :math:`N`.
    end : float
        Last time :math:`\alpha`, at least 1.
    seed : int

    Returns
    -------
    dict of str to numpy.ndarray
        ``times`` of shape (runs, sizes): when :math:`\epsilon_g` falls below half the plateau's
        height for good, infinite for runs that have not escaped by ``end``.

    Notes
    -----
    Taught in chapter 5.6, "The plateau".
    """
    variance = validate.real("variance", variance, low=0, strict=True)
    times = np.linspace(0, end, 1 + math.floor(validate.real("end", end, low=1)))
    level = committee_plateau(2, learning_rate=learning_rate).error / 2
    found = []
    for number, size in enumerate(inputs):
        rng = np.random.default_rng([seed, number])
        students = rng.standard_normal((runs, 2, validate.whole("inputs", size, low=4)))
        students *= math.sqrt(variance / size)
        path = overlap_chain(
            students @ np.swapaxes(students, 1, 2), students[:, :, :2], np.eye(2), inputs=size,
            learning_rate=learning_rate, times=times, runs=runs, rng=rng,
        )  # fmt: skip
        found.append(escape_time(path, level))
    return {"times": np.stack(found, axis=1)}
