r"""Learning curves of kernel regression, from a kernel's eigenvalues alone (chapter 3.2).

Kernel ridge regression on :math:`N` samples keeps the fraction
:math:`L_i=\lambda_i/(\lambda_i+\kappa)` of a target's mode :math:`i`. The one unknown
:math:`\kappa` solves :math:`\sum_iL_i+\delta/\kappa=N`; test and train error follow.
`kernel_ridge_risk` solves it, `profile_risk` does the same for gradient flow and iterated ridge,
`cost_of_overfitting` compares no ridge with the best one, and the ``simulate_`` and ``sample_``
functions train kernel machines to test all three.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize_scalar

from course import validate
from course.scaling.spectra import checked_modes, nonnegative

__all__ = [
    "KernelRisk",
    "OverfittingCost",
    "ProfileRisk",
    "SampleRisk",
    "Simulation",
    "cost_of_overfitting",
    "kernel_ridge_risk",
    "profile_risk",
    "sample_kernel_risk",
    "simulate_kernel_ridge",
    "sphere_multiplicity",
]

MAX_STEPS = 200
BLOCK = 2**14
EPSILON = np.finfo(np.float64).eps
PROFILES = ("ridge", "flow")


@dataclass(frozen=True)
class KernelRisk:
    r"""What the eigenframework predicts; arrays have the broadcast shape of samples, ridge, noise.

    Attributes
    ----------
    kappa : float or numpy.ndarray
        Eigenvalue :math:`\kappa` at which half of a mode is learned.
    overfitting : float or numpy.ndarray
        Overfitting coefficient :math:`\mathcal E_0\ge1`: by how much fitting a sample instead of
        the population multiplies the error.
    test : float or numpy.ndarray
        Mean squared error on a fresh, noisy label.
    train : float or numpy.ndarray
        Mean squared error on the samples.
    eigenvalues : numpy.ndarray, shape (modes,)
        The eigenvalues asked for.
    """

    kappa: float | np.ndarray
    overfitting: float | np.ndarray
    test: float | np.ndarray
    train: float | np.ndarray
    eigenvalues: np.ndarray = field(repr=False)

    @property
    def learnability(self) -> np.ndarray:
        r"""Fraction :math:`\lambda_i/(\lambda_i+\kappa)` learned of each mode, modes last."""
        return self.eigenvalues / (self.eigenvalues + np.asarray(self.kappa)[..., None])


class _Spectrum(NamedTuple):
    """The positive eigenvalues in ascending order, and the target's power in all modes."""

    ascending: np.ndarray
    weights: np.ndarray | None
    held: np.ndarray | None  # modes in the highest 1, 2, ... levels, if not one in each
    below: np.ndarray  # sum of eigenvalues of the lower levels, in units of the largest
    modes: float
    unsorted: np.ndarray
    power: np.ndarray


def _spectrum(eigenvalues, coefficients, multiplicities=None) -> _Spectrum:
    values, power, weights = checked_modes(eigenvalues, coefficients, multiplicities)
    if weights is None:
        rising = bool((values[1:] >= values[:-1]).all())
        falling = not rising and bool((values[1:] <= values[:-1]).all())
        ascending = values if rising else values[::-1] if falling else np.sort(values)
    else:
        order = np.argsort(values, kind="stable")
        ascending, weights = values[order], weights[order]
    first = int(np.searchsorted(ascending, 0.0, side="right"))
    ascending = np.ascontiguousarray(ascending[first:])
    weights = None if weights is None else weights[first:]
    below = np.zeros(len(ascending) + 1)
    if len(ascending):
        np.divide(ascending, ascending[-1], out=below[1:])
    if weights is None:
        held, modes = None, float(len(ascending))
    else:
        held, modes = np.cumsum(weights[::-1]), float(weights.sum())
        below[1:] *= weights
    np.add.accumulate(below, out=below)
    return _Spectrum(ascending, weights, held, below, modes, values, power)


def _modes_from(spectrum: _Spectrum, level: int) -> float:
    """Number of modes in this level and all higher ones."""
    rest = len(spectrum.ascending) - level
    if spectrum.held is None or not rest:
        return float(rest)
    return float(spectrum.held[rest - 1])


def _levels_holding(spectrum: _Spectrum, modes: float) -> int:
    """Largest k such that levels k, k+1, ... hold at least so many modes; 0 if all hold fewer."""
    levels = len(spectrum.ascending)
    if spectrum.held is None:
        short = math.ceil(modes) - 1 if modes < levels else levels
        return levels - max(min(short, levels), 0)
    return levels - int(np.searchsorted(spectrum.held, modes, side="left"))


def _blocks(start: int, stop: int):
    """Slices short enough for their temporaries to stay in the processor's cache."""
    for low in range(start, stop, BLOCK):
        yield slice(low, min(low + BLOCK, stop))


class _Sums(NamedTuple):
    count: float  # modes above κ
    excess: float  # Σ L - count
    spread: float  # Σ L (1 - L)


def _sums(spectrum: _Spectrum, kappa: float) -> _Sums:
    r"""Σ L and Σ L(1−L), without cancellation: L is 1−s above κ and s below, with s <= 1/2."""
    values, weights = spectrum.ascending, spectrum.weights
    cut = int(np.searchsorted(values, kappa, side="right"))
    count = _modes_from(spectrum, cut)
    excess = spread = 0.0
    for learned, start, stop in ((False, 0, cut), (True, cut, len(values))):
        for block in _blocks(start, stop):
            part = values[block] + kappa
            np.divide(kappa if learned else values[block], part, out=part)
            weighted = part if weights is None else weights[block] * part
            total = float(weighted.sum())
            spread += total - float(weighted @ part)
            excess += -total if learned else total
    return _Sums(count, excess, spread)


def _bracket(spectrum: _Spectrum, samples: float, ridge: float) -> tuple[float, float]:
    """Two numbers with κ between them, from counting modes above and summing those below."""
    values, below = spectrum.ascending, spectrum.below
    scale = values[-1]
    log_ridge = math.log(ridge) if ridge > 0 else -math.inf
    lows, highs = [log_ridge - math.log(samples)], []
    for factor in (0.0, 0.3, 0.6, 0.8, 0.95, 1.0, 1.05, 1.3, 2.0, 4.0, 16.0, math.inf):
        # levels k, k+1, ... hold at least `factor * samples` modes, levels below k the rest
        k = _levels_holding(spectrum, factor * samples)
        for start in {k, max(k - 1, 0)}:
            held = _modes_from(spectrum, start)
            rest = np.logaddexp(math.log(scale) + _log(below[start]), log_ridge)
            if held < samples:  # 1e-300 for each mode that underflows beside the largest one
                full = math.log(scale) + _log(below[start] + 1e-300 * spectrum.modes)
                highs.append(np.logaddexp(full, log_ridge) - math.log(samples - held))
            elif held > samples:
                lows.append(_log(values[start]) + math.log(held / samples - 1))
            if start:
                spare = math.exp(min(rest - math.log(samples) - _log(values[start - 1]), 700.0))
                if spare > 1:
                    lows.append(_log(values[start - 1]) + math.log(spare - 1))
    low, high = max(lows), min(highs)
    return math.exp(max(low - 1e-6, -744.0)), math.exp(min(high + 1e-6, 709.7))


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _refuse_without_ridge(spectrum: _Spectrum, samples: float) -> None:
    if samples >= spectrum.modes:
        raise ValueError(
            f"samples is {samples:g} with ridge 0, and {spectrum.modes:g} modes have a nonzero "
            "eigenvalue; the risk is undefined, since Σ λ/(λ+κ) = samples has no solution κ > 0 "
            "(the samples determine or over-determine every mode); allowed are fewer samples than "
            "such modes, or a ridge > 0"
        )


def _kappa(spectrum: _Spectrum, samples: float, ridge: float) -> float:
    r"""Solve Σ λ/(λ+κ) + δ/κ = N for κ > 0 by Newton steps in log κ inside a bracket."""
    if ridge == 0:
        _refuse_without_ridge(spectrum, samples)
    if not len(spectrum.ascending):
        return ridge / samples
    low, high = _bracket(spectrum, samples, ridge)
    kappa, width = math.sqrt(low) * math.sqrt(high), math.inf
    for step in range(MAX_STEPS):
        sums = _sums(spectrum, kappa)
        residual = (sums.excess + ridge / kappa) - (samples - sums.count)
        slope = sums.spread + ridge / kappa
        if residual > 0:
            low = kappa
        else:
            high = kappa
        newton = residual / slope
        closed = high <= low * (1 + 4e-16)  # rounding in huge multiplicities ends the search
        if abs(newton) <= (1e-6 if closed else 1e-13):
            return kappa * math.exp(newton)
        if closed:
            break
        # Newton on log Σ against log κ is exact for a power law; on 1/Σ it never overshoots.
        ratio = 1 + residual / samples
        for move in (
            math.log(ratio) * ratio * samples / slope,
            math.log1p(max(newton * ratio, -0.999)),
        ):
            proposal = kappa * math.exp(max(min(move, 600.0), -600.0))
            if low < proposal < high:
                break
        else:
            proposal = math.sqrt(low) * math.sqrt(high)
        if step % 4 == 3:
            if math.log(high / low) > width / 2:
                proposal = math.sqrt(low) * math.sqrt(high)
            width = math.log(high / low)
        kappa = proposal
    raise RuntimeError(
        f"κ did not converge at samples {samples:g}, ridge {ridge:g}: last step {newton:.2g}"
    )


def _unlearned(spectrum: _Spectrum, kappa: float) -> float:
    """Σ v² (κ/(λ+κ))²: the power that is not learned."""
    total = 0.0
    for block in _blocks(0, len(spectrum.unsorted)):
        left = kappa / (spectrum.unsorted[block] + kappa)
        left *= left
        total += float(left @ spectrum.power[block])
    return total


def _shape(*arrays: np.ndarray, names: str) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ValueError(
            f"{names} have shapes {shapes}; allowed are shapes that broadcast together"
        ) from None


def _plain(array: np.ndarray) -> float | np.ndarray:
    return float(array) if array.ndim == 0 else array


def kernel_ridge_risk(
    eigenvalues, coefficients, *, samples, ridge=0.0, noise=0.0, multiplicities=None
) -> KernelRisk:
    r"""Test and train error of kernel ridge regression, averaged over samples.

    .. math::
       \sum_i L_i+\frac\delta\kappa=N,\qquad L_i=\frac{\lambda_i}{\lambda_i+\kappa},\qquad
       \mathcal E_0=\frac{N}{N-\sum_iL_i^2},

    .. math::
       E_{\rm test}=\mathcal E_0\Bigl[\sum_i(1-L_i)^2v_i^2+\sigma^2\Bigr],\qquad
       E_{\rm train}=\Bigl(\frac{\delta}{N\kappa}\Bigr)^2E_{\rm test}

    The predictor is :math:`k(x,X)(K+\delta)^{-1}y`, with the kernel matrix :math:`K` not divided
    by :math:`N`.

    Parameters
    ----------
    eigenvalues : array_like, shape (modes,)
        Eigenvalues :math:`\lambda_i\ge0` of the kernel, in any order, zeros included.
    coefficients : array_like, shape (modes,)
        Squared coefficients :math:`v_i^2` of the target in the orthonormal eigenfunctions; with
        ``multiplicities``, their sum over the level.
    samples : float or array_like
        Number of samples :math:`N>0`; need not be whole.
    ridge : float or array_like
        Ridge :math:`\delta\ge0`.
    noise : float or array_like
        Variance :math:`\sigma^2` of the noise on the labels, also on those of the test.
    multiplicities : array_like, shape (modes,), optional
        How many eigenfunctions share each eigenvalue; one by default.

    Returns
    -------
    KernelRisk
        Its arrays have the shape to which samples, ridge and noise broadcast; ``learnability``
        has the modes as a further, last axis.

    Raises
    ------
    ValueError
        If the risk is undefined: a negative eigenvalue, no eigenvalue, NaN, or without ridge as
        many samples as modes of nonzero eigenvalue.

    Notes
    -----
    The average is over Gaussian eigenfunctions, to leading order in :math:`1/N`. A call costs a
    few passes over the modes for each pair of samples and ridge. Velikanov, Panov and Yarotsky
    (2024) and Zhou, Simon, Vardi and Srebro (2024) start from these formulas. Taught in chapter
    3.2, sections *One number for all modes* and *From κ to the error*.
    """
    spectrum = _spectrum(eigenvalues, coefficients, multiplicities)
    counts = nonnegative("samples", samples, zero=False)
    ridges = nonnegative("ridge", ridge)
    variances = nonnegative("noise", noise)
    shape = _shape(counts, ridges, variances, names="samples, ridge and noise")
    pairs = np.broadcast_shapes(counts.shape, ridges.shape)
    solved = np.empty((3, *pairs))
    for index in np.ndindex(pairs):
        count = float(np.broadcast_to(counts, pairs)[index])
        delta = float(np.broadcast_to(ridges, pairs)[index])
        kappa = _kappa(spectrum, count, delta)
        spread = _sums(spectrum, kappa).spread + delta / kappa
        solved[(slice(None), *index)] = kappa, count / spread, _unlearned(spectrum, kappa)
    kappa, overfitting, unlearned = (np.broadcast_to(part, shape) for part in solved)
    test = overfitting * (unlearned + variances)
    train = (ridges / (counts * kappa)) ** 2 * test
    return KernelRisk(
        _plain(kappa.copy()), _plain(overfitting.copy()), _plain(test), _plain(train),
        spectrum.unsorted,
    )  # fmt: skip


@dataclass(frozen=True)
class OverfittingCost:
    r"""No ridge beside the best ridge; arrays have the broadcast shape of samples and noise.

    Attributes
    ----------
    cost : float or numpy.ndarray
        Error without ridge over the smallest error of any ridge :math:`\ge0`.
    overfitting : float or numpy.ndarray
        The bound on it, :math:`\mathcal E_0` without ridge, which knows nothing of the target.
    ridgeless, tuned : float or numpy.ndarray
        The two errors.
    ridge : float or numpy.ndarray
        The best ridge; infinite where it is best to learn nothing.
    """

    cost: float | np.ndarray
    overfitting: float | np.ndarray
    ridgeless: float | np.ndarray
    tuned: float | np.ndarray
    ridge: float | np.ndarray


def _tuned(spectrum: _Spectrum, samples: float, noise: float, start: float):
    """Smallest test error and its ridge, over κ >= start; κ fixes the ridge, so no root is left."""

    def test(log_kappa: float) -> float:
        kappa = math.exp(log_kappa)
        sums = _sums(spectrum, kappa)
        spread = max(samples - sums.count - sums.excess, 0.0) + sums.spread
        return samples / spread * (_unlearned(spectrum, kappa) + noise)

    first, last = math.log(start), math.log(max(spectrum.ascending[-1], start)) + 12
    grid = np.linspace(first, last, 64)
    errors = np.array([test(point) for point in grid])
    best = int(errors.argmin())
    nothing = float(spectrum.power.sum()) + noise
    if errors[best] >= nothing:
        return nothing, math.inf
    left, right = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = minimize_scalar(test, bounds=(left, right), method="bounded", options={"xatol": 1e-9})
    log_kappa, error = min(
        ((float(found.x), float(found.fun)), (float(grid[best]), float(errors[best]))),
        key=lambda pair: pair[1],
    )
    if log_kappa == first:
        return error, 0.0
    sums = _sums(spectrum, math.exp(log_kappa))
    return error, math.exp(log_kappa) * max(samples - sums.count - sums.excess, 0.0)


def cost_of_overfitting(eigenvalues, coefficients, *, samples, noise=0.0) -> OverfittingCost:
    r"""How much worse than the best ridge it is to use none.

    .. math:: \text{cost}=\frac{E_{\rm test}(\delta=0)}{\min_{\delta\ge0}E_{\rm test}(\delta)}
              \le\mathcal E_0(\delta=0)

    Parameters
    ----------
    eigenvalues, coefficients : array_like, shape (modes,)
        As in `kernel_ridge_risk`.
    samples, noise : float or array_like
        Number of samples, fewer than modes of nonzero eigenvalue; variance of the noise.

    Returns
    -------
    OverfittingCost
        With arrays of the shape to which samples and noise broadcast.

    Raises
    ------
    ValueError
        As `kernel_ridge_risk` does, and for an error that vanishes for every ridge.

    Notes
    -----
    Zhou, Simon, Vardi and Srebro (2024) define the cost and bound it. Taught in chapter 3.2,
    section *The cost of overfitting*.
    """
    spectrum = _spectrum(eigenvalues, coefficients)
    counts = nonnegative("samples", samples, zero=False)
    variances = nonnegative("noise", noise)
    shape = _shape(counts, variances, names="samples and noise")
    result = np.empty((5, *shape))
    for index in np.ndindex(shape):
        count = float(np.broadcast_to(counts, shape)[index])
        variance = float(np.broadcast_to(variances, shape)[index])
        if variance == 0 and not spectrum.power.any():
            raise ValueError(
                "coefficients are all 0 and noise is 0; the error vanishes for every ridge, and "
                "the ratio of errors is undefined; allowed is a target or a noise that is not 0"
            )
        kappa = _kappa(spectrum, count, 0.0)
        overfitting = count / _sums(spectrum, kappa).spread
        ridgeless = overfitting * (_unlearned(spectrum, kappa) + variance)
        tuned, ridge = _tuned(spectrum, count, variance, kappa)
        tuned = min(tuned, ridgeless)
        parts = ridgeless / tuned, overfitting, ridgeless, tuned, ridge
        result[(slice(None), *index)] = parts
    return OverfittingCost(*(_plain(part.copy()) for part in result))


class ProfileRisk(NamedTuple):
    """Test error of a spectral profile, and its parts; one entry for each strength.

    Attributes
    ----------
    test : float or numpy.ndarray
        Sum of ``signal``, ``noise`` and the noise of the test label.
    signal : float or numpy.ndarray
        Error of the predictor trained on labels without noise.
    noise : float or numpy.ndarray
        What the noise on the training labels adds to the predictor.
    """

    test: float | np.ndarray
    signal: float | np.ndarray
    noise: float | np.ndarray


def _contour(profile: str, strength: float):
    """Nodes ζ on the upper half of a hyperbola around the spectrum, and their weights."""
    if profile == "flow":
        # Weideman and Trefethen's hyperbola for exp: the error falls as 10^-nodes.
        nodes, angle = 14, 1.1721
        spacing, scale = 1.0818 / nodes, 4.4921 * nodes / strength
    else:
        # The pole at -strength and the spectrum lie equally far, 0.6, in the plane of u.
        nodes, angle, spacing = 150, math.pi / 2 - 0.6, 0.135
        scale = strength / (1 - math.sin(angle - 0.6))
    u = (np.arange(nodes) + 0.5) * spacing
    points = scale * (math.sin(angle) * np.cosh(u) - 1 + 1j * math.cos(angle) * np.sinh(u))
    slopes = scale * (math.sin(angle) * np.sinh(u) + 1j * math.cos(angle) * np.cosh(u))
    return points, -slopes * spacing / (2j * math.pi)


def _complex_kappa(spectrum: _Spectrum, samples: float, points: np.ndarray) -> np.ndarray:
    """Solve κ (N - Σ λ/(λ+κ)) = -ζ off the real axis, for the κ in the other half-plane."""
    values = spectrum.ascending
    kappa = (values.sum() - points.real - 1j * np.abs(points.imag)) / samples

    def learned(kappa):
        return values / (values + kappa[:, None])

    for _ in range(20):
        for _ in range(60):  # maps the half-plane into itself, so that it converges
            last = kappa
            kappa = (kappa * learned(kappa).sum(axis=1) - points) / samples
            if (np.abs(kappa - last) <= 0.05 * np.abs(kappa)).all():
                break
        root, step = kappa, np.inf
        for _ in range(12):  # Newton
            part = learned(root)
            slope = samples - (part * part).sum(axis=1)
            step = (root * (samples - part.sum(axis=1)) + points) / slope
            root = root - step
            if (np.abs(step) <= 1e-8 * np.abs(root)).all():
                break
        part = learned(root)
        physical = (part.real**2 + part.imag**2).sum(axis=1) < samples
        if (physical & (np.abs(step) <= 1e-8 * np.abs(root))).all():
            return root
    raise RuntimeError(f"κ did not converge on the contour at samples {samples:g}")


def profile_risk(
    eigenvalues, coefficients, *, samples, profile="flow", strength, order=1, noise=0.0
) -> ProfileRisk:
    r"""Test error of a kernel machine that leaves the fraction :math:`g(k)` of each mode unlearned.

    A mode of the kernel matrix with eigenvalue :math:`k` is learned but for the fraction
    :math:`g(k)=e^{-kt}` by gradient flow at time :math:`t`, and :math:`(\delta/(k+\delta))^p` by
    ridge regression repeated :math:`p` times on its own residual. With
    :math:`\kappa(\zeta)` from :math:`\kappa\,(N-\sum_iL_i)=-\zeta`, and contours
    :math:`\mathcal C` around the spectrum,

    .. math::
       E_{\rm signal}=\int_{\mathcal C}\int_{\mathcal C}\frac{d\zeta\,d\zeta'}{(2\pi i)^2}\,
       \frac{g(\zeta)\,g(\zeta')}{\zeta\,\zeta'}\;
       \frac{\sum_iv_i^2\,(1-L_i)(1-L_i')}{1-\frac1N\sum_iL_iL_i'},\qquad
       E_{\rm noise}=\sigma^2\int_{\mathcal C}\frac{d\zeta}{2\pi i}\,\frac{g^2-2g}{\zeta^2}\,
       \kappa\sum_iL_i

    Parameters
    ----------
    eigenvalues, coefficients : array_like, shape (modes,)
        As in `kernel_ridge_risk`.
    samples : int or float
        Number of samples :math:`N`.
    profile : {"flow", "ridge"}
        Gradient flow on half the summed squared error, or (iterated) ridge regression.
    strength : float or array_like
        Time :math:`t>0`, or ridge :math:`\delta>0`.
    order : int
        How often ridge regression is repeated, :math:`p`; for profile ``"ridge"`` only.
    noise : float
        Variance :math:`\sigma^2` of the noise on the labels, also on those of the test.

    Returns
    -------
    ProfileRisk
        Numbers, or arrays of the shape of ``strength``. Absolute errors are below 1e-6 of the
        power of target and noise, and far smaller away from the limit of no ridge.

    Raises
    ------
    ValueError
        As `kernel_ridge_risk` does, and for an unknown profile.
    RuntimeError
        If :math:`\kappa` does not converge on the contour.

    Notes
    -----
    A loss functional of the profile in the sense of Velikanov, Panov and Yarotsky (2024), for
    Gaussian eigenfunctions. Taught in chapter 3.2, section *Other ways to learn*.
    """
    spectrum = _spectrum(eigenvalues, coefficients)
    count = validate.real("samples", samples, low=0, strict=True)
    variance = validate.real("noise", noise, low=0)
    validate.choice("profile", profile, PROFILES)
    order = validate.whole("order", order)
    if profile == "flow" and order != 1:
        raise ValueError(f"order is {order}; allowed is 1 for profile 'flow'")
    strengths = nonnegative("strength", strength, zero=False)
    parts = np.empty((2, *strengths.shape))
    for index in np.ndindex(strengths.shape):
        parts[(slice(None), *index)] = _profile_parts(
            spectrum, count, profile, float(strengths[index]), order
        )
    signal, spread = parts
    fitted = variance * spread
    return ProfileRisk(_plain(signal + fitted + variance), _plain(signal), _plain(fitted))


def _profile_parts(spectrum, samples, profile, strength, order) -> tuple[float, float]:
    if not len(spectrum.ascending):
        return float(spectrum.power.sum()), 0.0
    points, weights = _contour(profile, strength)
    kappa = _complex_kappa(spectrum, samples, points)
    left = np.exp(-strength * points) if profile == "flow" else (1 + points / strength) ** -order
    signal = _signal(spectrum, samples, kappa, weights * left / points)
    once = _trace(spectrum, kappa, weights * left / points**2)
    if profile == "flow":  # g² is g at twice the time, with a contour of its own
        points, weights = _contour(profile, 2 * strength)
        kappa, left = _complex_kappa(spectrum, samples, points), np.exp(-2 * strength * points)
    else:
        left = left**2
    twice = _trace(spectrum, kappa, weights * left / points**2)
    spread = twice - 2 * once
    if 1e-11 * abs(twice) > 1e-4 * abs(spread) + 1e-9:
        raise RuntimeError(
            f"strength {strength:g} is too close to its limit for the contour integral, which "
            "cancels to fewer than four digits there; the limit is ridge 0 in kernel_ridge_risk"
        )
    return signal, spread


def _signal(spectrum, samples, kappa, factor) -> float:
    # Both halves of the contour: the integrand of the lower one is the conjugate of the upper's.
    kappa, factor = (np.concatenate([part, part.conj()]) for part in (kappa, factor))
    kept = kappa[:, None] / (spectrum.unsorted + kappa[:, None])
    learned = spectrum.ascending / (spectrum.ascending + kappa[:, None])
    pairs = (kept * spectrum.power) @ kept.T / (1 - learned @ learned.T / samples)
    return float((factor @ pairs @ factor).real)


def _trace(spectrum, kappa, factor) -> float:
    learned = spectrum.ascending / (spectrum.ascending + kappa[:, None])
    return 2 * float((factor * kappa * learned.sum(axis=1)).sum().real)


class Simulation(NamedTuple):
    """Errors of trained kernel machines; one row for each seed.

    Attributes
    ----------
    test, train : numpy.ndarray, shape (seeds, ridges + times)
        Mean squared errors, on fresh noisy labels and on the samples; ridges first, then times.
    kappa : numpy.ndarray, shape (seeds, ridges)
        One over the trace of the inverse of kernel matrix plus ridge.
    """

    test: np.ndarray
    train: np.ndarray
    kappa: np.ndarray


def simulate_kernel_ridge(
    eigenvalues, coefficients, *, samples: int, noise: float = 0.0, seeds: int,
    rng: np.random.Generator, ridges: Sequence[float] = (), times: Sequence[float] = (),
) -> Simulation:  # fmt: skip
    r"""Train kernel machines on Gaussian eigenfunctions, and measure their errors exactly.

    Sample :math:`j` has the eigenfunction values :math:`Z_{ji}\sim\mathcal N(0,1)` and the label
    :math:`\sum_iZ_{ji}v_i+\varepsilon_j`; the kernel matrix is :math:`K=Z\Lambda Z^\top`. With
    dual weights :math:`a`, the learned coefficients are :math:`\hat v=\Lambda Z^\top a`, and the
    test error is :math:`|v-\hat v|^2+\sigma^2`, without a test set.

    Parameters
    ----------
    eigenvalues, coefficients : array_like, shape (modes,)
        As in `kernel_ridge_risk`; the signs of the :math:`v_i` are drawn.
    samples : int
        Number of samples.
    noise : float
        Variance of the noise on the labels, also on those of the test.
    seeds : int
        Number of independent training sets.
    rng : numpy.random.Generator
        Source of randomness.
    ridges : sequence of float
        Ridges :math:`\delta\ge0` of ridge regression.
    times : sequence of float
        Times of gradient flow on half the summed squared error.

    Returns
    -------
    Simulation

    Raises
    ------
    ValueError
        As `kernel_ridge_risk` does.
    RuntimeError
        If ridge 0 is asked for and a kernel matrix is singular to rounding.

    Notes
    -----
    Used throughout chapter 3.2; section *One number for all modes* does it by hand.
    """
    spectrum = _spectrum(eigenvalues, coefficients)
    count = validate.whole("samples", samples)
    seeds = validate.whole("seeds", seeds)
    variance = validate.real("noise", noise, low=0)
    validate.generator("rng", rng, np.random.Generator)
    ridges = validate.array("ridges", ridges, dimensions=1)
    times = validate.array("times", times, dimensions=1)
    if len(ridges) + len(times) == 0 or (ridges < 0).any() or (times < 0).any():
        raise ValueError(
            "ridges and times are empty or negative; allowed is at least one, all >= 0"
        )
    if len(ridges) and ridges.min() == 0:
        _refuse_without_ridge(spectrum, count)
    rows = [_train_once(spectrum, count, variance, ridges, times, rng) for _ in range(seeds)]
    return Simulation(*(np.stack(part) for part in zip(*rows, strict=True)))


def _train_once(spectrum, samples, variance, ridges, times, rng):
    values, power = spectrum.unsorted, spectrum.power
    z = rng.standard_normal((samples, len(values)))
    target = np.sqrt(power) * rng.choice((-1.0, 1.0), len(values))
    labels = z @ target + math.sqrt(variance) * rng.standard_normal(samples)
    features = z * np.sqrt(values)
    roots, vectors = np.linalg.eigh(features @ features.T)
    if len(ridges) and ridges.min() == 0 and roots[0] <= samples * EPSILON * roots[-1]:
        raise RuntimeError(
            f"ridges contains 0, and a kernel matrix of {samples} samples is singular to rounding "
            f"(eigenvalues from {roots[0]:.2g} to {roots[-1]:.2g}); take fewer samples, or a ridge"
        )
    roots = np.maximum(roots, 0)[:, None]
    if len(ridges) == 0:
        left, inverse = np.empty((samples, 0)), np.empty((samples, 0))
    else:
        inverse = 1 / (roots + ridges)
        left = ridges * inverse
    exponents = -roots * times
    left = np.concatenate([left, np.exp(exponents)], axis=1)
    flow = np.divide(-np.expm1(exponents), roots, out=times + 0 * exponents, where=roots > 0)
    dual = np.concatenate([inverse, flow], axis=1)
    projected = (vectors.T @ labels)[:, None]
    learned = np.sqrt(values)[:, None] * (features.T @ (vectors @ (dual * projected)))
    test = ((target[:, None] - learned) ** 2).sum(axis=0) + variance
    return test, ((left * projected) ** 2).mean(axis=0), 1 / inverse.sum(axis=0)


class SampleRisk(NamedTuple):
    """Errors of kernel ridge regression on a part of a finite data set; one row for each seed.

    Attributes
    ----------
    population : numpy.ndarray, shape (seeds, ridges)
        Mean squared error over the whole set, samples included.
    unseen : numpy.ndarray, shape (seeds, ridges)
        Mean squared error over the points that were not drawn.
    train : numpy.ndarray, shape (seeds, ridges)
        Mean squared error on the samples.
    """

    population: np.ndarray
    unseen: np.ndarray
    train: np.ndarray


def sample_kernel_risk(
    kernel, targets, *, samples: int, ridges: Sequence[float], seeds: int, rng: np.random.Generator,
    replace: bool = False,
) -> SampleRisk:  # fmt: skip
    """Kernel ridge regression on random parts of a finite data set.

    Parameters
    ----------
    kernel : array_like, shape (points, points)
        Kernel matrix of the whole set.
    targets : array_like, shape (points,) or (points, outputs)
        Labels, without noise; errors are summed over outputs.
    samples : int
        Number of samples drawn.
    ridges : sequence of float
        Ridges, positive where points are drawn with replacement.
    seeds : int
        Number of independent draws.
    rng : numpy.random.Generator
        Source of randomness.
    replace : bool
        Whether a point may be drawn more than once.

    Returns
    -------
    SampleRisk

    Raises
    ------
    ValueError
        For shapes that do not match, more samples than points without replacement, or ridge 0
        with replacement (equal points make the kernel matrix singular).

    Notes
    -----
    Used in chapter 3.2, section *Real data*.
    """
    kernel = validate.array("kernel", kernel, dimensions=2, empty=False)
    points = len(kernel)
    if kernel.shape != (points, points):
        raise ValueError(f"kernel has shape {kernel.shape}; allowed are square matrices")
    targets = validate.array("targets", targets, dimensions=(1, 2))
    if len(targets) != points:
        raise ValueError(
            f"targets has {len(targets)} rows; allowed is one for each point, {points}"
        )
    targets = targets.reshape(points, -1)
    samples = validate.whole("samples", samples)
    if samples >= points and not replace:
        raise ValueError(
            f"samples is {samples}; allowed without replacement are fewer than the points, {points}"
        )
    ridges = nonnegative("ridges", ridges, zero=not replace).ravel()
    validate.generator("rng", rng, np.random.Generator)
    result = np.empty((3, validate.whole("seeds", seeds), len(ridges)))
    for seed in range(result.shape[1]):
        drawn = rng.choice(points, samples, replace=replace)
        labels = targets[drawn]
        unseen = np.setdiff1d(np.arange(points), drawn)
        block, columns = kernel[np.ix_(drawn, drawn)], kernel[:, drawn]
        for j, ridge in enumerate(ridges):
            dual = cho_solve(cho_factor(block + ridge * np.eye(samples)), labels)
            errors = ((columns @ dual - targets) ** 2).sum(axis=1)
            train = ridge**2 * (dual**2).sum() / samples
            result[:, seed, j] = errors.mean(), errors[unseen].mean(), train
    return SampleRisk(*result)


def sphere_multiplicity(degree: int, dimension: int) -> int:
    r"""Number of independent harmonics of one degree on the sphere in ``dimension`` dimensions.

    .. math:: \binom{l+d-1}{l}-\binom{l+d-3}{l-2}

    Parameters
    ----------
    degree : int
        Degree :math:`l\ge0`.
    dimension : int
        Dimension :math:`d\ge2` of the space around the sphere.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        For a negative degree or a dimension below 2.

    Notes
    -----
    Taught in chapter 3.2, section *The cost of overfitting*.
    """
    degree = validate.whole("degree", degree, low=0)
    dimension = validate.whole("dimension", dimension, low=2)
    lower = math.comb(degree + dimension - 3, degree - 2) if degree >= 2 else 0
    return math.comb(degree + dimension - 1, degree) - lower
