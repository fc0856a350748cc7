r"""Monte Carlo for networks that store patterns: pairwise or dense, at any temperature.

A sample is one network: :math:`N` spins :math:`\sigma_i=\pm1` with :math:`K` patterns
:math:`\xi^\mu`. No coupling is ever formed. The sums :math:`M_\mu=\sum_i\xi_i^\mu\sigma_i` are kept
up to date, and the field of a spin is a sum over patterns: a sweep costs :math:`O(NK)` operations
at every order.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np

from course import validate

__all__ = ["Retrieval", "corrupt", "energy", "overlaps", "random_patterns", "retrieve"]

CONVENTIONS = ("ordered", "power")
_LARGEST = 2**31 - 1  # of a 32-bit sum
_WORTH_A_THREAD = 100_000  # products in one sample; for fewer, switching threads costs more


class Retrieval(NamedTuple):
    """What :func:`retrieve` found.

    Attributes
    ----------
    states : numpy.ndarray
        Final states of the spins, int8, shape (samples, N).
    overlaps : numpy.ndarray
        Final overlaps with the stored patterns, shape (samples, K).
    sweeps : numpy.ndarray
        Sweeps made, shape (samples,): fewer than asked for where the network came to rest.
    converged : numpy.ndarray
        Whether the final state is a fixed point, shape (samples,); never so above T = 0.
    trace : numpy.ndarray or None
        Overlaps with the recorded patterns at the start and after every sweep, shape
        (samples, sweeps + 1, recorded). After a network came to rest, its last ones.
    """

    states: np.ndarray
    overlaps: np.ndarray
    sweeps: np.ndarray
    converged: np.ndarray
    trace: np.ndarray | None


def random_patterns(
    patterns: int, spins: int, *, samples: int | None = None, rng: np.random.Generator
) -> np.ndarray:
    """Independent random patterns, each entry +1 or −1 with equal probability.

    Parameters
    ----------
    patterns, spins : int
        K and N.
    samples : int, optional
        How many independent sets.
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray
        int8, shape (K, N) or (samples, K, N). In memory the patterns of one spin lie side by side,
        as :func:`retrieve` needs them. Sums of int8 overflow at 127: use :func:`overlaps`.

    Raises
    ------
    ValueError
        For counts below 1, or another kind of generator.
    """
    shape = (validate.whole("spins", spins), validate.whole("patterns", patterns))
    if samples is not None:
        shape = (validate.whole("samples", samples), *shape)
    rng = validate.generator("rng", rng, np.random.Generator)
    bits = rng.integers(0, 2, size=shape, dtype=np.int8)
    bits *= 2
    bits -= 1
    return bits.swapaxes(-1, -2)


def corrupt(states: np.ndarray, *, overlap: float, rng: np.random.Generator) -> np.ndarray:
    r"""Flip a number of randomly chosen spins, such that the overlap with ``states`` is given.

    The number is :math:`N(1-\text{overlap})/2`, rounded: the overlap is exact to :math:`1/N`.

    Parameters
    ----------
    states : numpy.ndarray
        Entries ±1, shape (samples, N).
    overlap : float
        From −1 to 1.
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray
        int8, of the shape of ``states``.

    Raises
    ------
    ValueError
        For entries other than ±1, an overlap outside its range, or another kind of generator.
    """
    result = checked_states("states", states).copy()
    overlap = validate.real("overlap", overlap)
    if abs(overlap) > 1:
        raise ValueError(f"overlap is {overlap}; allowed are numbers from -1 to 1")
    rng = validate.generator("rng", rng, np.random.Generator)
    flips = round(result.shape[1] * (1 - overlap) / 2)
    for row in result:
        row[rng.permutation(row.size)[:flips]] *= -1
    return result


def overlaps(patterns: np.ndarray, states: np.ndarray) -> np.ndarray:
    r"""Overlaps of states with patterns, :math:`m_\mu=\frac1N\sum_i\xi_i^\mu\sigma_i`.

    Parameters
    ----------
    patterns : numpy.ndarray
        Shape (K, N), shared by all samples, or (samples, K, N).
    states : numpy.ndarray
        Entries ±1, shape (samples, N).

    Returns
    -------
    numpy.ndarray
        Shape (samples, K).

    Raises
    ------
    ValueError
        For shapes that do not match, or states other than ±1.
    """
    states = checked_states("states", states)
    patterns = checked_patterns("patterns", patterns, states)
    kind = np.float32 if patterns.dtype == np.int8 else np.float64  # exact up to 2^24 spins
    rows = [
        patterns[k if len(patterns) > 1 else 0].astype(kind) @ state.astype(kind)
        for k, state in enumerate(states)
    ]
    return np.array(rows, dtype=np.float64) / states.shape[1]


def energy(
    patterns: np.ndarray, states: np.ndarray, *, order: int = 2, convention: str = "ordered"
) -> np.ndarray:
    r"""Energy of states, in the normalisation that :func:`retrieve` uses.

    .. math:: H_{\rm ordered}&=-N^{1-P}\sum_\mu\sum_{i_1<\dots<i_P}
              \xi_{i_1}^\mu\sigma_{i_1}\cdots\xi_{i_P}^\mu\sigma_{i_P},\\
              H_{\rm power}&=-\frac{N^{1-P}}{P!}\sum_\mu\Bigl(\sum_i\xi_i^\mu\sigma_i\Bigr)^P

    Parameters
    ----------
    patterns : numpy.ndarray
        Shape (K, N), shared by all samples, or (samples, K, N).
    states : numpy.ndarray
        Entries ±1, shape (samples, N).
    order : int
        P, an even number.
    convention : {"ordered", "power"}

    Returns
    -------
    numpy.ndarray
        Shape (samples,). For P = 2 the two conventions differ by a constant.

    Raises
    ------
    ValueError
        For an odd order, an order above N ("ordered"), an unknown convention, shapes that do not
        match, or states other than ±1.
    """
    order, convention = _model(order, convention)
    states = checked_states("states", states)
    patterns = checked_patterns("patterns", patterns, states)
    spins = states.shape[1]
    _refuse_few_spins(order, convention, spins)
    total = np.empty(len(states))
    for k, state in enumerate(states):
        products = patterns[k if len(patterns) > 1 else 0] * state.astype(np.float64)
        if convention == "power":
            total[k] = (products.sum(1) ** order).sum() / math.factorial(order)
        else:
            sums = [(products**power).sum(1) for power in range(1, order + 1)]
            total[k] = _elementary(sums)[-1].sum()
    return -(float(spins) ** (1 - order)) * total


def retrieve(
    patterns: np.ndarray,
    start: np.ndarray,
    *,
    sweeps: int,
    temperature: float | np.ndarray = 0.0,
    order: int = 2,
    convention: str = "ordered",
    rng: np.random.Generator,
    record: np.ndarray | None = None,
) -> Retrieval:
    r"""Let networks with stored patterns evolve from given states: Monte Carlo, sample by sample.

    In every sweep each spin is visited once, in a fresh random order. With the field
    :math:`h_i=\frac12[H(\sigma_i{=}{-1})-H(\sigma_i{=}{+1})]`, all other spins held, a visited spin
    becomes

    .. math:: \sigma_i=\begin{cases}+1\text{ with probability }1/(1+e^{-2h_i/T})&T>0
              \text{ (heat bath, Glauber)}\\
              \operatorname{sign}h_i,\ \text{unchanged if }h_i=0&T=0\end{cases}

    The energies are

    .. math:: H&=-\frac1{2N}\sum_\mu\sum_{i\ne j}\xi_i^\mu\xi_j^\mu\sigma_i\sigma_j\quad(P=2),\\
              H_{\rm ordered}&=-N^{1-P}\sum_\mu\sum_{i_1<\dots<i_P}
              \xi_{i_1}^\mu\sigma_{i_1}\cdots\xi_{i_P}^\mu\sigma_{i_P},\\
              H_{\rm power}&=-\frac{N^{1-P}}{P!}\sum_\mu\Bigl(\sum_i\xi_i^\mu\sigma_i\Bigr)^P .

    For P = 2 the two conventions are the same dynamics. In every one of them a state with overlap
    :math:`m` with one pattern and none with the others has the field
    :math:`\xi_i\,m^{P-1}/(P-1)!`. Temperature is given as :math:`T'=(P-1)!\,T`, the T' of the
    theory: in its unit the field of a stored pattern is one.

    Parameters
    ----------
    patterns : numpy.ndarray
        Stored patterns, shape (K, N), shared by all samples, or (samples, K, N). Entries ±1 take
        the fast path; any other real numbers, such as averages of examples, are allowed.
    start : numpy.ndarray
        Entries ±1, shape (samples, N); left unchanged.
    sweeps : int
        Sweeps at most. A network at T = 0 stops earlier when a whole sweep flips nothing.
    temperature : float or numpy.ndarray
        :math:`T'=(P-1)!\,T`, which is T for P = 2; one number, or one for each sample.
    order : int
        P, the even number of spins that interact.
    convention : {"ordered", "power"}
        Sum over ordered tuples, or full power of the overlap.
    rng : numpy.random.Generator
        Spawns one generator for each sample, so that results do not depend on the number of
        threads.
    record : numpy.ndarray, optional
        Patterns whose overlaps are to be traced, shape (R, N) or (samples, R, N): for instance
        ``patterns[..., :1, :]``. They need not be stored ones. Costs :math:`O(NR)` a sweep.

    Returns
    -------
    Retrieval

    Raises
    ------
    ValueError
        For shapes that do not match, states other than ±1, a negative temperature, an odd order,
        an order above N ("ordered"), an unknown convention, or another kind of generator.

    Notes
    -----
    The field of spin i is :math:`N^{1-P}\sum_\mu\xi_i^\mu\,g(M_\mu-\xi_i^\mu\sigma_i)`. For
    patterns of ±1, g is tabulated: for "ordered" it is the elementary symmetric polynomial
    :math:`e_{P-1}` of N − 1 signs with a given sum, for "power" the exact finite difference
    :math:`[(S+1)^P-(S-1)^P]/(2\,P!)`. For real patterns :math:`e_{P-1}` comes from Newton's
    identities and the odd power sums, kept as M is. Source of the dynamics: Glauber (1963). Taught
    in chapter 4.1, "The sampler".
    """
    order, convention = _model(order, convention)
    sweeps = validate.whole("sweeps", sweeps)
    rng = validate.generator("rng", rng, np.random.Generator)
    states = checked_states("start", start).copy()
    patterns = checked_patterns("patterns", patterns, states)
    samples, spins = states.shape
    _refuse_few_spins(order, convention, spins)
    if order == 2:
        convention = "ordered"  # the same field
    recorded = np.empty((1, 0, spins))
    if record is not None:
        recorded = checked_patterns("record", record, states)
    by_spin = np.ascontiguousarray(patterns.swapaxes(1, 2))
    whole = patterns.dtype == np.int8
    table = _table(spins, order, convention) if whole else np.empty(0)
    scale = float(spins) ** (1 - order)
    if convention == "power":
        scale /= math.factorial(order)
    heat = _temperatures(temperature, samples) / math.factorial(order - 1)
    trace = np.empty((samples, sweeps + 1, recorded.shape[1]))
    final = np.empty((samples, patterns.shape[1]))
    used, still = np.empty(samples, dtype=np.int64), np.empty(samples, dtype=np.bool_)
    streams = rng.spawn(samples)
    block = max(1, _LARGEST // spins)  # patterns whose fields may be added in 32 bits

    def run(k: int) -> None:
        stored = by_spin[k if len(by_spin) > 1 else 0]
        watched = np.array(recorded[k if len(recorded) > 1 else 0], dtype=np.float64, order="C")
        common = (states[k], sweeps, heat[k], scale, streams[k], watched, trace[k], final[k])
        if whole:
            used[k], still[k] = _run_signs(stored, *common, table, order == 2, block)
        else:
            used[k], still[k] = _run_real(stored, *common, order, convention == "power")

    workers = min(samples, numba.get_num_threads())
    if workers == 1 or sweeps * by_spin[0].size < _WORTH_A_THREAD:
        for k in range(samples):
            run(k)
    else:
        with ThreadPoolExecutor(workers) as pool:  # the kernels release the interpreter's lock
            list(pool.map(run, range(samples)))
    return Retrieval(states, final, used, still, None if record is None else trace)


def _model(order: int, convention: str) -> tuple[int, str]:
    order = validate.whole("order", order, low=2)
    if order % 2:
        raise ValueError(f"order is {order}; allowed are even numbers >= 2")
    return order, validate.choice("convention", convention, CONVENTIONS)


def _refuse_few_spins(order: int, convention: str, spins: int) -> None:
    if convention == "ordered" and order > spins:
        raise ValueError(
            f"order is {order} and there are {spins} spins, no {order} of which can interact; "
            "allowed are orders up to the number of spins, or convention 'power'"
        )


def checked_states(name: str, value) -> np.ndarray:
    """States of shape (samples, N) as int8."""
    array = np.asarray(value)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}; allowed is (samples, N)")
    if array.dtype.kind not in "iuf" or not (np.abs(array) == 1).all():
        raise ValueError(f"{name} contains other entries than +1 and -1, the only ones allowed")
    return np.ascontiguousarray(array, dtype=np.int8)


def checked_patterns(name: str, value, states: np.ndarray) -> np.ndarray:
    """Patterns of shape (1 or samples, K, N), as int8 if all are ±1, else as float64."""
    array = np.asarray(value)
    samples, spins = states.shape
    shape = array.shape
    if array.ndim == 2:
        array = array[None]
    matches = array.ndim == 3 and array.shape[2] == spins and array.shape[1] > 0
    if not matches or (len(shape) == 3 and shape[0] != samples):
        raise ValueError(
            f"{name} has shape {shape}; allowed are (K, {spins}) and ({samples}, K, {spins}), to "
            f"match states of shape {states.shape}"
        )
    if array.dtype == np.int8:
        signs = array.min() == -1 and array.max() == 1 and array.all()
        if signs or (np.abs(array) == 1).all():
            return array
    array = validate.array(name, array, dimensions=3)
    return array.astype(np.int8) if (np.abs(array) == 1).all() else array


def _temperatures(value, samples: int) -> np.ndarray:
    if np.ndim(value) == 0:
        return np.full(samples, validate.real("temperature", value, low=0.0))
    array = validate.array("temperature", value, dimensions=1)
    if array.shape != (samples,) or (array < 0).any():
        raise ValueError(
            f"temperature is {value!r}; allowed are a number >= 0, and {samples} of them, one for "
            "each sample"
        )
    return array


def _elementary(sums: list) -> list:
    """Elementary symmetric polynomials e_0, … of variables with the power sums p_1, …"""
    result = [sums[0] * 0 + 1]
    for k in range(1, len(sums) + 1):
        terms = [(-1) ** (j - 1) * result[k - j] * sums[j - 1] for j in range(1, k + 1)]
        total = sum(terms)
        result.append(total // k if total.dtype == object else total / k)
    return result


def _table(spins: int, order: int, convention: str) -> np.ndarray:
    """g for every sum of N − 1 signs, from −(N − 1) in steps of two, as exact integers."""
    if order == 2:
        return np.empty(0)  # the field is linear in the sums
    total = np.arange(1 - spins, spins, 2).astype(object)
    if convention == "power":
        return (((total + 1) ** order - (total - 1) ** order) // 2).astype(np.float64)
    sums = [total if power % 2 else total * 0 + spins - 1 for power in range(1, order)]
    return _elementary(sums)[-1].astype(np.float64)


@numba.njit(cache=True, nogil=True)
def _shuffle(order, rng):
    for i in range(order.size - 1, 0, -1):
        j = int(rng.random() * (i + 1))
        order[i], order[j] = order[j], order[i]


@numba.njit(cache=True, nogil=True)
def _choose(field, spin, temperature, rng):
    """The new state of a spin in a field."""
    if temperature > 0.0:
        return 1 if rng.random() * (1.0 + np.exp(-2.0 * field / temperature)) < 1.0 else -1
    if field > 0.0:
        return 1
    return -1 if field < 0.0 else spin


@numba.njit(cache=True, nogil=True)
def _dot(row, sums):
    total = np.int32(0)  # wider sums would halve the speed
    for mu in range(row.size):
        total = np.int32(total + np.int32(row[mu]) * sums[mu])
    return total


@numba.njit(cache=True, nogil=True)
def _add(sums, row, step):
    for mu in range(row.size):
        sums[mu] = np.int32(sums[mu] + step * np.int32(row[mu]))


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "nsz"})
def _look_up(row, sums, offset, table):
    total = 0.0
    for mu in range(row.size):
        total += table[np.uint32(np.int32(row[mu]) * sums[mu] + offset) >> np.uint32(1)]
    return total


@numba.njit(cache=True, nogil=True)
def _watch(watched, state, row):
    for r in range(watched.shape[0]):
        total = 0.0
        for i in range(state.size):
            total += watched[r, i] * state[i]
        row[r] = total / state.size


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "nsz"})
def _run_signs(
    stored, state, sweeps, temperature, scale, rng, watched, trace, final, table, pairwise, block
):
    """Evolve one sample with patterns of ±1, shape (N, K); return sweeps made and whether still."""
    spins, count = stored.shape
    sums = np.zeros(count, dtype=np.int32)
    for i in range(spins):
        _add(sums, stored[i], np.int32(state[i]))
    visits = np.arange(spins)
    _watch(watched, state, trace[0])
    used, still = sweeps, False
    for sweep in range(sweeps):
        _shuffle(visits, rng)
        flips = 0
        for i in visits:
            spin, row = np.int32(state[i]), stored[i]
            total = 0.0
            if pairwise:
                for first in range(0, count, block):
                    total += _dot(row[first : first + block], sums[first : first + block])
                total -= count * spin
            else:
                total = _look_up(row, sums, np.int32(spins - 1 - spin), table)
            new = _choose(scale * total, spin, temperature, rng)
            if new != spin:
                flips += 1
                state[i] = new
                _add(sums, row, np.int32(2 * new))
        _watch(watched, state, trace[sweep + 1])
        if temperature == 0.0 and flips == 0:
            used, still = sweep + 1, True
            trace[sweep + 2 :] = trace[sweep + 1]
            break
    final[:] = sums / spins
    return used, still


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "nsz"})
def _run_real(stored, state, sweeps, temperature, scale, rng, watched, trace, final, order, power):
    """Evolve one sample with real patterns, shape (N, K); as above."""
    spins, count = stored.shape
    linear = order == 2
    kept = 1 if power else order // 2  # odd power sums p_1, p_3, …, p_{P-1}
    odd = np.zeros((kept, count))
    even = np.zeros((order // 2 + 1, count))  # even[k] is p_{2k}, which no flip changes
    for i in range(spins):
        for mu in range(count):
            value = stored[i, mu]
            for k in range(kept):
                odd[k, mu] += value ** (2 * k + 1) * state[i]
                even[k + 1, mu] += value ** (2 * k + 2)
    square = np.zeros(spins)
    for i in range(spins):
        for mu in range(count):
            square[i] += stored[i, mu] ** 2
    e = np.empty(order)
    visits = np.arange(spins)
    _watch(watched, state, trace[0])
    used, still = sweeps, False
    for sweep in range(sweeps):
        _shuffle(visits, rng)
        flips = 0
        for i in visits:
            spin, row = state[i], stored[i]
            total = 0.0
            if linear:
                sums = odd[0]
                for mu in range(count):
                    total += row[mu] * sums[mu]
                total -= square[i] * spin
            elif power:
                for mu in range(count):
                    rest = odd[0, mu] - row[mu] * spin
                    total += ((rest + row[mu]) ** order - (rest - row[mu]) ** order) / 2.0
            else:
                for mu in range(count):
                    own = row[mu] * spin
                    e[0] = 1.0
                    for k in range(1, order):
                        value, term = 0.0, own
                        for j in range(1, k + 1):
                            if j % 2:
                                value += e[k - j] * (odd[j // 2, mu] - term)
                            else:
                                value -= e[k - j] * (even[j // 2, mu] - term)
                            term *= own
                        e[k] = value / k
                    total += row[mu] * e[order - 1]
            new = _choose(scale * total, spin, temperature, rng)
            if new != spin:
                flips += 1
                state[i] = new
                for k in range(kept):
                    for mu in range(count):
                        odd[k, mu] += 2.0 * new * row[mu] ** (2 * k + 1)
        _watch(watched, state, trace[sweep + 1])
        if temperature == 0.0 and flips == 0:
            used, still = sweep + 1, True
            trace[sweep + 2 :] = trace[sweep + 1]
            break
    final[:] = odd[0] / spins
    return used, still
