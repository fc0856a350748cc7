r"""The Hopfield model: signal and noise, mean field at low load, synchronous dynamics, chains.

``N`` neurons :math:`\sigma_i=\pm1` store ``K`` patterns in the couplings
:math:`J_{ij}=\frac1N\sum_\mu\xi_i^\mu\xi_j^\mu`, :math:`J_{ii}=0`; the load is
:math:`\alpha=K/N`. The sampler itself is :func:`course.hebbian.monte_carlo.retrieve`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import binom, erf
from scipy.stats import binom as binomial

from course import validate
from course.hebbian.monte_carlo import checked_patterns, checked_states, energy

__all__ = [
    "MeanField", "ParallelSteps", "autocorrelation", "boltzmann", "correlation_time", "draw_states",
    "error_per_bit", "first_steps", "hebb_couplings", "mean_field", "mixture_temperature",
    "sweep_correlation", "synchronous",
]  # fmt: skip

MAX_ENUMERATED = 20


class ParallelSteps(NamedTuple):
    """Overlaps after one and after two synchronous steps, from :func:`first_steps`.

    Attributes
    ----------
    first, second : float or numpy.ndarray
        The overlaps.
    """

    first: float | np.ndarray
    second: float | np.ndarray


class MeanField(NamedTuple):
    r"""A symmetric state at low load, from :func:`mean_field`.

    Attributes
    ----------
    overlap : float
        Common overlap m with each of the n patterns.
    free_energy : float
        Free energy per neuron.
    eigenvalues : numpy.ndarray
        Of the Hessian of the free energy: towards other patterns, among the n patterns (NaN for
        n = 1, where there is no such direction), and along the state itself.
    stable : bool
        Whether all are positive.
    """

    overlap: float
    free_energy: float
    eigenvalues: np.ndarray
    stable: bool


def hebb_couplings(patterns: np.ndarray) -> np.ndarray:
    r"""Hebb's couplings, :math:`J_{ij}=\frac1N\sum_\mu\xi_i^\mu\xi_j^\mu` and :math:`J_{ii}=0`.

    Parameters
    ----------
    patterns : numpy.ndarray
        Shape (K, N).

    Returns
    -------
    numpy.ndarray
        Shape (N, N), symmetric.

    Raises
    ------
    ValueError
        For another number of axes, or entries that are no finite numbers.

    Notes
    -----
    Hebb (1949), Hopfield (1982). Taught in chapter 4.1, "Hebb's rule".
    """
    patterns = validate.array("patterns", patterns, dimensions=2, empty=False)
    couplings = patterns.T @ patterns / patterns.shape[1]
    np.fill_diagonal(couplings, 0.0)
    return couplings


def error_per_bit(patterns: int, spins: int) -> float:
    r"""Probability that a neuron's field opposes the stored pattern the network is in: exact.

    .. math:: P\Bigl(\sum_{k=1}^{(K-1)(N-1)}s_k<-(N-1)\Bigr),\qquad s_k=\pm1\text{ fair and
              independent},

    which tends to :math:`\frac12\operatorname{erfc}(1/\sqrt{2\alpha})` for many neurons.

    Parameters
    ----------
    patterns, spins : int
        K and N.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For counts below 1.

    Notes
    -----
    Taught in chapter 4.1, "Signal and noise".
    """
    patterns = validate.whole("patterns", patterns)
    spins = validate.whole("spins", spins)
    signs = (patterns - 1) * (spins - 1)
    return float(binomial.cdf((signs - spins) // 2, signs, 0.5))  # plus signs, sum < -(N-1)


def first_steps(load, overlap) -> ParallelSteps:
    r"""Overlap after one and two synchronous steps at T = 0, in the limit of many neurons: exact.

    .. math:: m_1=\operatorname{erf}\frac{m_0}{\sqrt{2\alpha}},\qquad
              m_2=\sum_{s=\pm1}\frac{1+sm_0}2\operatorname{erf}\frac{m_1+s\alpha\chi}{\sqrt{2v}},

    with :math:`\chi=\sqrt{2/\pi\alpha}\,e^{-m_0^2/2\alpha}` and
    :math:`v=\alpha(1+2\chi m_0m_1+\chi^2)`.

    Parameters
    ----------
    load : float or array_like
        :math:`\alpha>0`.
    overlap : float or array_like
        Overlap :math:`m_0` of the start with a pattern, from −1 to 1; the start is otherwise
        random. The two broadcast.

    Returns
    -------
    ParallelSteps

    Raises
    ------
    ValueError
        For a load that is not positive, or an overlap outside its range.

    Notes
    -----
    Gardner, Derrida and Mottishaw, J. Physique 48 (1987) 741. Taught in chapter 4.1, "The second
    step".
    """
    load = validate.array("load", load, dimensions=None)
    overlap = validate.array("overlap", overlap, dimensions=None)
    if (load <= 0).any():
        raise ValueError(f"load is {load}; allowed are numbers > 0")
    if (np.abs(overlap) > 1).any():
        raise ValueError(f"overlap is {overlap}; allowed are numbers from -1 to 1")
    first = erf(overlap / np.sqrt(2 * load))
    chi = np.sqrt(2 / (np.pi * load)) * np.exp(-(overlap**2) / (2 * load))
    width = np.sqrt(2 * load * (1 + 2 * chi * overlap * first + chi**2))
    second = sum(
        (1 + s * overlap) / 2 * erf((first + s * load * chi) / width) for s in (1, -1)
    )  # fmt: skip
    if np.ndim(second) == 0:
        return ParallelSteps(float(first), float(second))
    return ParallelSteps(np.broadcast_to(first, second.shape).copy(), second)


def synchronous(
    patterns: np.ndarray,
    start: np.ndarray,
    *,
    steps: int,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    r"""Update all neurons at once, again and again (Little's dynamics).

    Every neuron takes the state that :func:`~course.hebbian.monte_carlo.retrieve` would give it,
    in the fields of the state before. No couplings are formed: a step is two products with the
    matrix of patterns.

    Parameters
    ----------
    patterns : numpy.ndarray
        Entries ±1, shape (K, N), shared by all samples, or (samples, K, N).
    start : numpy.ndarray
        Entries ±1, shape (samples, N).
    steps : int
        How many.
    temperature : float
        T; at 0 a neuron follows the sign of its field, and stays as it is without one.
    generator : torch.Generator, optional
        Needed above T = 0 only, on ``device``.
    device : torch.device or str
        Where to compute.

    Returns
    -------
    numpy.ndarray
        All states, the start included: int8, shape (samples, steps + 1, N).

    Raises
    ------
    ValueError
        For shapes that do not match, entries other than ±1, a negative temperature, or no
        generator where one is needed.

    Notes
    -----
    Little (1974). Sums are integers, exact in single precision as long as :math:`\sum_\mu|M_\mu|`
    stays below :math:`2^{24}`, and then the same for any number of threads. Taught in chapter 4.1,
    "One at a time, all at once".
    """
    states = checked_states("start", start)
    stored = checked_patterns("patterns", patterns, states)
    if stored.dtype != np.int8:
        raise ValueError("patterns contains other entries than +1 and -1, the only ones allowed")
    steps = validate.whole("steps", steps)
    temperature = validate.real("temperature", temperature, low=0.0)
    if temperature > 0:
        validate.generator("generator", generator, torch.Generator)
    samples, spins = states.shape
    trajectory = np.empty((samples, steps + 1, spins), dtype=np.int8)
    trajectory[:, 0] = states
    groups = [slice(None)] if len(stored) == 1 else [slice(k, k + 1) for k in range(samples)]
    for index, group in enumerate(groups):
        matrix = torch.from_numpy(stored[index].T).to(device).float().T  # (K, N)
        state = torch.from_numpy(states[group]).to(device).float()
        for step in range(steps):
            field = (state @ matrix.T) @ matrix - len(matrix) * state
            if temperature > 0:
                chance = torch.rand(state.shape, generator=generator, device=device)
                up = torch.sigmoid(2 / temperature / spins * field)
                state = torch.where(chance < up, 1.0, -1.0)
            else:
                state = torch.where(field == 0, state, torch.sign(field))
            trajectory[group, step + 1] = state.to(torch.int8).cpu().numpy()
    return trajectory


def mean_field(temperature: float, *, mixture: int = 1) -> MeanField:
    r"""State with equal overlaps with n patterns, of a network that stores few.

    The largest solution of

    .. math:: m=E\Bigl[\xi^1\tanh\frac{m\sum_{\nu=1}^n\xi^\nu}{T}\Bigr],\qquad
              f=\frac{nm^2}2-T\,E\ln2\cosh\frac{m\sum_\nu\xi^\nu}T .

    Parameters
    ----------
    temperature : float
        T, in units of the critical temperature; 0 is the limit.
    mixture : int
        n; one is a retrieved pattern.

    Returns
    -------
    MeanField
        At and above T = 1 the overlap is zero. The Hessian has the eigenvalues
        :math:`1-\beta(1-q)`, :math:`1-\beta(1-q+Q)` and :math:`1-\beta(1-q)+(n-1)\beta Q` with
        :math:`q=E\tanh^2` and :math:`Q=E[\xi^1\xi^2\tanh^2]`.

    Raises
    ------
    ValueError
        For a negative temperature, or a mixture below 1.

    Notes
    -----
    Amit, Gutfreund and Sompolinsky, Phys. Rev. A 32 (1985) 1007. Taught in chapter 4.1, "Few
    patterns".
    """
    temperature = validate.real("temperature", temperature, low=0.0)
    n = validate.whole("mixture", mixture)
    total = n - 2.0 * np.arange(n + 1)
    weight = binom(n, np.arange(n + 1)) / 2.0**n
    overlap = _symmetric_overlap(temperature, total, weight)
    if temperature == 0.0:
        energy_of = n * overlap**2 / 2 - overlap * weight @ np.abs(total)
        softness = -np.inf if n % 2 == 0 else 1.0  # at odd n no field vanishes, and nothing bends
        values = np.array([softness, softness if n > 1 else np.nan, 1.0])
        return MeanField(overlap, float(energy_of), values, n % 2 == 1)
    field = total * overlap / temperature
    square = np.tanh(field) ** 2
    together = (total**2 - n) / (n * (n - 1)) if n > 1 else 0.0 * total  # E[xi^1 xi^2 | total]
    loose = weight @ (1 - square)
    pair = weight @ (together * square)
    values = 1 - np.array([loose, loose + pair, loose - (n - 1) * pair]) / temperature
    if n == 1:
        values[1] = np.nan
    free = n * overlap**2 / 2 - temperature * weight @ np.logaddexp(field, -field)
    return MeanField(overlap, float(free), values, bool(np.nanmin(values) > 0))


def _symmetric_overlap(temperature: float, total: np.ndarray, weight: np.ndarray) -> float:
    """Largest root; the excess decreases in m, so there is one positive root below T = 1."""
    n = len(total) - 1
    if temperature >= 1.0:
        return 0.0
    if temperature == 0.0:
        return float(weight @ np.abs(total)) / n

    def excess(m: float) -> float:
        return float(weight @ (total * np.tanh(total * m / temperature))) / (n * m) - 1

    return brentq(excess, 1e-3 * math.sqrt(1 - temperature), 1.0, xtol=1e-15, rtol=1e-14)


def mixture_temperature(mixture: int) -> float:
    """Temperature below which a symmetric mixture of an odd number of patterns is stable.

    Parameters
    ----------
    mixture : int
        n: 3, 5, 7, …

    Returns
    -------
    float
        In units of the critical temperature, to 1e-12.

    Raises
    ------
    ValueError
        For one pattern, which is stable up to T = 1, and for even numbers, which never are.

    Notes
    -----
    Root of the second eigenvalue of :func:`mean_field`. Taught in chapter 4.1, "Few patterns".
    """
    n = validate.whole("mixture", mixture, low=3)
    if n % 2 == 0:
        raise ValueError(f"mixture is {n}; allowed are odd numbers >= 3")
    return brentq(lambda t: mean_field(t, mixture=n).eigenvalues[1], 0.02, 0.9, xtol=1e-13)


def boltzmann(patterns: np.ndarray, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    r"""All states of a small network and their probabilities :math:`\propto e^{-H/T}`.

    Parameters
    ----------
    patterns : numpy.ndarray
        Shape (K, N), with N ≤ 20.
    temperature : float
        T > 0.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray)
        States, int8, shape (2^N, N), and probabilities, shape (2^N,).

    Raises
    ------
    ValueError
        For more neurons, other shapes, or a temperature that is not positive.

    Notes
    -----
    Taught in chapter 4.1, "The sampler".
    """
    patterns = validate.array("patterns", patterns, dimensions=2, empty=False)
    temperature = validate.real("temperature", temperature, low=0.0, strict=True)
    spins = patterns.shape[1]
    if spins > MAX_ENUMERATED:
        raise ValueError(f"patterns has {spins} neurons; allowed are at most {MAX_ENUMERATED}")
    codes = np.arange(2**spins)[:, None] >> np.arange(spins)[::-1]
    states = (2 * (codes & 1) - 1).astype(np.int8)
    exponent = -energy(patterns, states) / temperature
    weights = np.exp(exponent - exponent.max())
    return states, weights / weights.sum()


def autocorrelation(series: np.ndarray, lags: int, *, mean: float | None = None) -> np.ndarray:
    r"""Autocorrelation of stationary series at lags 0, …, ``lags``.

    .. math:: \rho_k=\frac{\sum_t(x_t-\bar x)(x_{t+k}-\bar x)/(n-k)}{\sum_t(x_t-\bar x)^2/n}

    Parameters
    ----------
    series : numpy.ndarray
        Shape (..., n), time along the last axis.
    lags : int
        Largest lag, below n.
    mean : float, optional
        The true mean, where it is known; by default that of each series.

    Returns
    -------
    numpy.ndarray
        Shape (..., lags + 1), one for each series.

    Raises
    ------
    ValueError
        For a lag that does not fit, or a series that does not vary.

    Notes
    -----
    Taught in chapter 4.1, "Correlated samples".
    """
    lags = validate.whole("lags", lags, low=0)
    series = validate.array("series", series, dimensions=None, empty=False)
    length = series.shape[-1] if series.ndim else 0
    if lags >= length:
        raise ValueError(f"lags is {lags}; allowed are numbers below the length, {length}")
    x = series - (series.mean(-1, keepdims=True) if mean is None else validate.real("mean", mean))
    variance = (x * x).mean(-1)
    if not (variance > 0).all():
        raise ValueError("series does not vary; allowed are series with a positive variance")
    rows = [(x[..., : length - k] * x[..., k:]).mean(-1) for k in range(lags + 1)]
    return np.stack(rows, axis=-1) / variance[..., None]


def correlation_time(series: np.ndarray, *, window: float = 6.0) -> float:
    r"""Integrated autocorrelation time :math:`\tau=1+2\sum_{k\ge1}\rho_k`, in steps.

    The variance of a mean of n steps is :math:`\tau` times that of n independent values. The sum
    ends at the first lag W beyond ``window`` times :math:`\tau` itself, since what follows is
    noise. To subtract the mean of n values, and not the true one, makes every term too small by
    about :math:`\tau/n`; the factor :math:`1+(2W+1)/n` makes up for it.

    Parameters
    ----------
    series : numpy.ndarray
        Stationary series, shape (n,), or (chains, n) of one law: the mean is that of all chains.
    window : float
        Larger: less bias, more noise.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For a series shorter than ten times the window it needs.

    Notes
    -----
    Madras and Sokal, J. Stat. Phys. 50 (1988) 109; for the factor Wolff, hep-lat/0306017.
    Taught in chapter 4.1, "Correlated samples".
    """
    series = validate.array("series", series, dimensions=(1, 2), empty=False)
    window = validate.real("window", window, low=0.0, strict=True)
    longest = series.shape[-1] // 10
    rho = autocorrelation(series, longest, mean=float(series.mean()))
    rho = rho.mean(0) if rho.ndim == 2 else rho
    times = 1 + 2 * np.cumsum(rho[1:])
    long_enough = np.arange(1, len(rho)) >= window * times
    if not long_enough.any():
        raise ValueError(
            f"series has {series.shape[-1]} steps, too few for its correlations; allowed are "
            "longer ones"
        )
    last = int(long_enough.argmax())
    return float(times[last]) * (1 + (2 * (last + 1) + 1) / series.size)


def sweep_correlation(slope):
    r"""Correlation of the overlap between successive sweeps, in the limit of many neurons.

    .. math:: \rho=e^b-\frac{e^b-1}b,\qquad b=\frac{d}{dm}\tanh\frac mT=\frac{1-m^2}T .

    Parameters
    ----------
    slope : float or array_like
        b > 0.

    Returns
    -------
    float or numpy.ndarray

    Raises
    ------
    ValueError
        For a slope that is not positive.

    Notes
    -----
    For sweeps that visit every neuron once, in random order; derived in chapter 4.1, "Correlated
    samples".
    """
    slope = validate.array("slope", slope, dimensions=None)
    if (slope <= 0).any():
        raise ValueError(f"slope is {slope}; allowed are numbers > 0")
    result = np.exp(slope) - np.expm1(slope) / slope
    return float(result) if result.ndim == 0 else result


def draw_states(axs, states: np.ndarray, titles: list[str]) -> None:
    """Draw states as square black-and-white pictures, one on each pair of axes."""
    for ax, state, title in zip(axs, states, titles, strict=True):
        side = math.isqrt(len(state))
        ax.imshow(state.reshape(side, side), cmap="gray_r", vmin=-1, vmax=1)
        ax.set(title=title, xticks=[], yticks=[])
        ax.grid(False)
