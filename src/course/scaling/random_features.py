r"""Risk of regression with random features, and of deep random features; chapter 3.3.

Notation: :math:`N` samples, :math:`n` features (the width of a network whose hidden layer stays
as it was drawn), ridge :math:`\delta` added to the :math:`N\times N` Gram matrix, eigenvalues
:math:`\lambda_i` of the kernel of infinitely many features, target coefficients :math:`v_i`,
noise of variance :math:`\sigma^2`. Everything is computed in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import comb
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import roots_gegenbauer

from course import validate
from course.activations import find_activation
from course.scaling.spectra import checked_modes, nonnegative

__all__ = [
    "DeepRisk",
    "Layer",
    "RandomFeatureRisk",
    "Samples",
    "SphereSpectrum",
    "TunedRisk",
    "arccosine_spectrum",
    "deep_feature_risk",
    "layer_statistics",
    "random_feature_risk",
    "readouts",
    "sample_deep_features",
    "sample_random_features",
    "tuned_risk",
]

BLOCK_MODES, BLOCK_ENTRIES = 2**14, 2**17
"""Modes, and modes times settings, handled at a time, so that temporaries stay in the cache."""
STEPS = 200
"""Bisection alone needs fewer; a solver that takes more raises."""
STEP_TOLERANCE = 1e-13
"""The root is found when a Newton step changes the effective ridge by this relative amount."""
BLURRED = 1e-6
"""Where z falls by less than this part of itself over a factor e, rounding is kept out of it."""
SMALLEST, LARGEST = 1e-300, 1e301
"""A positive ridge, in units of the largest eigenvalue, beyond which products overflow."""


class _Sums(NamedTuple):
    """Sums over modes at given effective ridges: z, z - q, and the target's two."""

    modes: np.ndarray
    spread: np.ndarray
    missed: np.ndarray
    missed_twice: np.ndarray


class _Task(NamedTuple):
    """A checked task; eigenvalues are positive and scaled to a maximum of one."""

    eigenvalues: np.ndarray
    multiplicities: np.ndarray
    coefficients: np.ndarray
    unlearnable: float
    scale: float

    @property
    def modes(self) -> float:
        return float(self.multiplicities.sum())


class _Count(NamedTuple):
    """z - q, and two parts of z: whole modes and the rest."""

    spread: np.ndarray
    whole: np.ndarray
    rest: np.ndarray


def _count(gamma: np.ndarray, task: _Task, *, exact: bool) -> _Count:
    """Modes learned; if ``exact``, those above gamma are whole, and what they miss is in the rest.

    The rest is then a sum of small terms, which keeps its digits. Otherwise it is zero.
    """
    out = np.zeros((3, len(gamma)))
    for start in range(0, len(task.eigenvalues), BLOCK_MODES):
        block = slice(start, start + BLOCK_MODES)
        values, weights = task.eigenvalues[block], task.multiplicities[block]
        rows = max(1, BLOCK_ENTRIES // len(values))
        for first in range(0, len(gamma), rows):
            some = slice(first, first + rows)
            missed = 1 / (values + gamma[some, None])
            learned = values * missed
            missed *= gamma[some, None]
            if exact:
                above = values > gamma[some, None]
                out[1, some] += above @ weights
                out[2, some] += np.where(above, -missed, learned) @ weights
            else:
                out[1, some] += learned @ weights
            learned *= missed
            out[0, some] += learned @ weights
    return _Count(*out)


def _sums(gamma: np.ndarray, task: _Task) -> _Sums:
    """Sums over modes for each entry of ``gamma``, an array of any shape."""
    flat = gamma.ravel()
    out = np.zeros((4, len(flat)))
    for start in range(0, len(task.eigenvalues), BLOCK_MODES):
        block = slice(start, start + BLOCK_MODES)
        values, weights = task.eigenvalues[block], task.multiplicities[block]
        rows = max(1, BLOCK_ENTRIES // len(values))
        for first in range(0, len(flat), rows):
            some = slice(first, first + rows)
            missed = 1 / (values + flat[some, None])
            learned = values * missed
            missed *= flat[some, None]
            out[0, some] += learned @ weights
            learned *= missed
            out[1, some] += learned @ weights
            out[2, some] += missed @ task.coefficients[block]
            missed *= missed
            out[3, some] += missed @ task.coefficients[block]
    out[2:] += task.unlearnable
    return _Sums(*out.reshape(4, *gamma.shape))


def _task(eigenvalues, coefficients, multiplicities=None) -> _Task:
    values, power, weights = checked_modes(eigenvalues, coefficients, multiplicities)
    if weights is None:
        weights = np.ones(len(values))
    scale = float(values.max(initial=0.0)) or 1.0
    values = values / scale  # what underflows beside the largest one counts as zero
    positive = values > 0
    lost = float(power[~positive].sum())
    if not positive.all():
        values, weights, power = values[positive], weights[positive], power[positive]
    return _Task(values, weights, power, lost, scale)


def _settings(**values) -> tuple[tuple[int, ...], list[np.ndarray]]:
    """The shape to which the settings broadcast, and each of them flat."""
    checked = [
        nonnegative(
            name, value, zero=name not in ("samples", "features"), infinite=name == "features"
        )
        for name, value in values.items()
    ]
    try:
        spread = np.broadcast_arrays(*checked)
    except ValueError:
        shapes = ", ".join(str(entry.shape) for entry in checked)
        raise ValueError(
            f"{', '.join(values)} have shapes {shapes}; allowed are shapes that broadcast together"
        ) from None
    return spread[0].shape, [entry.astype(np.float64).ravel() for entry in spread]


def _check_ridgeless(samples, features, ridge, modes: float) -> None:
    """Refuse the settings without ridge in which the risk is infinite or has no equations."""
    bare = ridge == 0
    peak = bare & (samples == features) & (samples < modes)
    if peak.any():
        count = samples[peak][0]
        raise ValueError(
            f"ridge is 0 with samples = features = {count:g}; allowed is a ridge > 0 there: the "
            "square feature matrix is inverted, its smallest singular value has no bound below, "
            "and the risk is infinite (the peak of double descent)"
        )
    full = bare & (np.minimum(samples, features) >= modes)
    if full.any():
        raise ValueError(
            f"samples is {samples[full][0]:g} and features is {features[full][0]:g} with ridge 0 "
            f"and {modes:g} modes of positive eigenvalue; allowed are fewer samples or features "
            "than modes, or a ridge > 0: the sum of learnabilities cannot reach its value for "
            "any positive effective ridge, so the risk is undefined"
        )


def _scaled_ridge(ridge: np.ndarray, scale: float) -> np.ndarray:
    """The ridge in units of the largest eigenvalue."""
    with np.errstate(over="ignore"):
        scaled = ridge / scale
    bad = (ridge > 0) & ~((scaled >= SMALLEST) & (scaled <= LARGEST))
    if bad.any():
        raise ValueError(
            f"ridge is {ridge[bad][0]:g} with a largest eigenvalue of {scale:g}; allowed are 0 and "
            f"{SMALLEST:g} to {LARGEST:g} times that eigenvalue: beyond, sums over the modes leave "
            "the range of double precision"
        )
    return scaled


def _gaps(gamma, samples, features, ridge):
    """N - z and 1 - z/n from (N - z)(n - z) = n delta / gamma; min(N, n) - z, and z's slope.

    The slope is in log gamma.
    """
    ratio = ridge / gamma
    finite = np.isfinite(features)
    width = np.where(finite, features, 1.0)
    root = np.sqrt((samples - width) ** 2 + 4 * width * ratio)
    large = (np.abs(samples - width) + root) / 2
    small = np.divide(width * ratio, large, out=np.zeros_like(large), where=large > 0)
    few = samples <= width
    slope = np.divide(width * ratio, root, out=np.zeros_like(root), where=root > 0)
    return (
        np.where(finite, np.where(few, small, large), ratio),
        np.where(finite, np.where(few, large, small) / width, 1.0),
        np.where(finite, small, ratio),
        np.where(finite, slope, ratio),
    )


def _solve(task: _Task, samples, features, ridge, *, exact: bool = False) -> np.ndarray:
    """The effective ridge of each setting: safeguarded Newton steps on log z - log zeta.

    zeta, the value that z must have at the root, rises with gamma and z falls: one crossing. Behind
    a wide gap in the spectrum both stay close to min(N, n), where rounding hides the crossing;
    there the root is sought once more, with differences that keep their digits.
    """
    if not task.modes:
        return ridge / samples
    modes, total = task.modes, task.eigenvalues @ task.multiplicities
    fewest = np.minimum(samples, features)
    high = np.log(np.maximum(2 * total / fewest, 4 * ridge / samples))
    with np.errstate(divide="ignore"):
        room = np.log(np.maximum(modes - fewest, 0) / (2 * modes)) + np.log(task.eigenvalues.min())
        low = np.maximum(np.log(ridge / samples), room)
    high = np.maximum(high, low) + 1e-9
    x = np.clip(np.log(total / fewest), low, high)
    step, active, sharp = high - low, np.arange(len(x)), np.ones(len(x), dtype=bool)
    for _ in range(STEPS):
        gamma = np.exp(x[active])
        spread, whole, rest = _count(gamma, task, exact=exact)
        _, _, free, slope = _gaps(gamma, samples[active], features[active], ridge[active])
        z, zeta = whole + rest, fewest[active] - free
        difference = (whole - fewest[active]) + rest + free
        above = difference > 0  # the root lies at larger gamma
        sharp[active] = exact | (spread + slope > BLURRED * z)
        low[active] = np.where(above, x[active], low[active])
        high[active] = np.where(above, high[active], x[active])
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = x[active] + np.log1p(difference / zeta) / (spread / z + slope / zeta)
        middle = (low[active] + high[active]) / 2
        good = (newton > low[active]) & (newton < high[active])
        good &= (zeta > z / 8) & (np.abs(newton - x[active]) < step[active] / 2)
        new = np.where(good, newton, middle)
        step[active] = np.abs(new - x[active])
        x[active] = new
        active = active[step[active] > STEP_TOLERANCE * np.maximum(1, np.abs(x[active]))]
        if not len(active):
            gamma, some = np.exp(x), ~sharp
            if some.any():
                chosen = samples[some], features[some], ridge[some]
                gamma[some] = _solve(task, *chosen, exact=True)
            return gamma
    raise RuntimeError(
        f"the effective ridge was not found in {STEPS} steps for samples={samples[active[0]]:g}, "
        f"features={features[active[0]]:g}, ridge={ridge[active[0]]:g}"
    )


def _risk(sums: _Sums, free_samples, free_features, samples, features, noise):
    """Overfitting coefficient and test error; every term is positive, so nothing cancels."""
    share = 1 / features
    inner = free_features + share * sums.spread
    bottom = free_samples * free_features + sums.spread * (free_features + share * free_samples)
    bias = free_features * sums.missed_twice + share * sums.spread * sums.missed
    return samples * inner / bottom, samples * (bias + inner * noise) / bottom


@dataclass(frozen=True)
class RandomFeatureRisk:
    r"""Risk of regression with random features; arrays have the shape of the settings.

    Attributes
    ----------
    gamma : float or numpy.ndarray
        Effective ridge :math:`\gamma` that the modes feel.
    kappa : float or numpy.ndarray
        Effective ridge :math:`\kappa` of the regression for given features;
        :math:`\kappa\le\gamma`, equal for infinitely many features.
    overfitting : float or numpy.ndarray
        What one unit of noise adds to the test error.
    test : float or numpy.ndarray
        Mean squared error on new points, noise included.
    train : float or numpy.ndarray
        Mean squared error on the training points.
    eigenvalues : numpy.ndarray, shape (modes,)
        The eigenvalues asked for.
    """

    gamma: float | np.ndarray
    kappa: float | np.ndarray
    overfitting: float | np.ndarray
    test: float | np.ndarray
    train: float | np.ndarray
    eigenvalues: np.ndarray = field(repr=False)

    @property
    def learnability(self) -> np.ndarray:
        r"""Fraction of each mode that is learned on average, :math:`\lambda_i/(\lambda_i+\gamma)`.

        The last axis numbers the modes.
        """
        gamma = np.asarray(self.gamma)[..., None]
        return self.eigenvalues / (self.eigenvalues + gamma)


def _shaped(values: np.ndarray, shape: tuple[int, ...]):
    return values.reshape(shape) if shape else float(values[0])


def random_feature_risk(
    eigenvalues, coefficients, *, samples, features, ridge, noise=0.0, multiplicities=None
) -> RandomFeatureRisk:
    r"""Test and training error of ridge regression with random features.

    The effective ridge solves one equation with one root,

    .. math:: (N-z)(n-z)\,\gamma=n\,\delta,\qquad
              z=\sum_i\frac{\lambda_i}{\lambda_i+\gamma},

    which the two coupled equations :math:`z+\delta/\kappa=N`, :math:`z+n\kappa/\gamma=n` become
    without :math:`\kappa`. With :math:`q=\sum_i\lambda_i^2/(\lambda_i+\gamma)^2`,
    :math:`\beta_p=\sum_iv_i^2\gamma^p/(\lambda_i+\gamma)^p`,

    .. math:: E_\text{test}=N\,\frac{(n-z)\beta_2+(z-q)\beta_1+(n-q)\sigma^2}
              {(N-z)(n-z)+(z-q)(N+n-2z)},\qquad
              E_\text{train}=\Bigl(1-\frac zN\Bigr)^2E_\text{test}.

    Parameters
    ----------
    eigenvalues : array_like, shape (modes,)
        Eigenvalues :math:`\lambda_i\ge0` of the kernel of infinitely many features.
    coefficients : array_like, shape (modes,)
        Squared coefficients :math:`v_i^2` of the target in the kernel's eigenfunctions.
    samples, features, ridge : float or array_like
        :math:`N>0`, :math:`n>0` (infinity is kernel regression) and :math:`\delta\ge0`, which
        is added to the Gram matrix of features scaled by :math:`1/\sqrt n`. They are broadcast.
    noise : float or array_like
        Variance :math:`\sigma^2` of the noise on the targets, broadcast with the others.
    multiplicities : array_like, shape (modes,), optional
        How many eigenfunctions share each eigenvalue; one by default. Coefficients are then sums
        over the eigenfunctions of a level.

    Returns
    -------
    RandomFeatureRisk

    Raises
    ------
    ValueError
        For numbers out of range, and without ridge for ``samples == features`` below the number
        of positive eigenvalues (infinite risk) or both at or above it (no root).
    RuntimeError
        If the effective ridge is not found.

    Notes
    -----
    Simon et al. (2023) give the risk in another form, under their Gaussian universality ansatz.
    Taught in chapter 3.3, "One equation for two". Cost: about ten passes over the modes for each
    setting.

    Examples
    --------
    >>> from course.scaling import random_feature_risk
    >>> risk = random_feature_risk([1, 0.5], [1, 1], samples=1, features=1, ridge=1)
    >>> round(risk.gamma, 4)
    2.8562
    """
    task = _task(eigenvalues, coefficients, multiplicities)
    shape, (samples, features, ridge, noise) = _settings(
        samples=samples, features=features, ridge=ridge, noise=noise
    )
    _check_ridgeless(samples, features, ridge, task.modes)
    scaled = _scaled_ridge(ridge, task.scale)
    gamma = _solve(task, samples, features, scaled)
    sums = _sums(gamma, task)
    free_samples, free_features, _, _ = _gaps(gamma, samples, features, scaled)
    overfitting, test = _risk(sums, free_samples, free_features, samples, features, noise)
    return RandomFeatureRisk(
        gamma=_shaped(gamma * task.scale, shape),
        kappa=_shaped(gamma * free_features * task.scale, shape),
        overfitting=_shaped(overfitting, shape),
        test=_shaped(test, shape),
        train=_shaped((free_samples / samples) ** 2 * test, shape),
        eigenvalues=validate.array("eigenvalues", eigenvalues, dimensions=1),
    )


@dataclass(frozen=True)
class TunedRisk:
    r"""The smallest risk over all ridges; arrays have the shape of the settings.

    Attributes
    ----------
    ridge : float or numpy.ndarray
        The best ridge :math:`\delta\ge0`.
    gamma : float or numpy.ndarray
        Its effective ridge.
    test, train : float or numpy.ndarray
        The errors there.
    """

    ridge: float | np.ndarray
    gamma: float | np.ndarray
    test: float | np.ndarray
    train: float | np.ndarray


def tuned_risk(
    eigenvalues, coefficients, *, samples, features, noise=0.0, multiplicities=None
) -> TunedRisk:
    r"""Risk of random-feature regression at the best ridge :math:`\delta\ge0`.

    The risk is explicit in the effective ridge :math:`\gamma`, and
    :math:`\delta=\gamma(N-z)(1-z/n)` is positive where :math:`z(\gamma)<\min(N,n)`. The search
    runs over :math:`\gamma`: a grid over the range, then finer ones around the best point.

    Parameters
    ----------
    eigenvalues, coefficients, samples, features, noise, multiplicities
        As in :func:`random_feature_risk`.

    Returns
    -------
    TunedRisk
        Where interpolation is best, ``ridge`` is exactly 0.

    Raises
    ------
    ValueError
        For numbers out of range.

    Notes
    -----
    By Theorem 1 of Simon et al. (2023) the tuned risk falls in samples and in features; where the
    best ridge of a power-law kernel is zero, say their Theorem 2 and Corollary 1. Taught in
    chapter 3.3, "More is better".
    """
    task = _task(eigenvalues, coefficients, multiplicities)
    shape, (samples, features, noise) = _settings(samples=samples, features=features, noise=noise)
    if not task.modes:
        raise ValueError(
            "eigenvalues are all 0; allowed is a spectrum with a positive one, since a kernel that "
            "is zero predicts zero at every ridge, and none is best"
        )
    fewest = np.minimum(samples, features)
    bounded = fewest < task.modes
    floor = np.full(len(samples), task.eigenvalues.min() * 1e-9)
    if bounded.any():  # below this gamma the ridge would be negative
        limit = np.full(bounded.sum(), np.inf)
        floor[bounded] = _solve(task, fewest[bounded], limit, np.zeros(bounded.sum()))
    power = task.coefficients.sum() + task.unlearnable
    ceiling = 1e4 * (task.eigenvalues @ task.multiplicities) * (1 + noise / max(power, 1e-300))

    def evaluate(gamma):
        """Test error on a grid of shape (settings, points); infinite at the peak."""
        sums = _sums(gamma, task)
        free_samples = np.maximum(samples[:, None] - sums.modes, 0)
        free_features = np.maximum(1 - sums.modes / features[:, None], 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            _, test = _risk(
                sums, free_samples, free_features, samples[:, None], features[:, None],
                noise[:, None],
            )  # fmt: skip
        return np.where(np.isnan(test), np.inf, test), free_samples, free_features

    low, high, rows = np.log(floor), np.log(ceiling), np.arange(len(samples))
    for points in (97, *[17] * 6):
        grid = np.linspace(low, high, points, axis=1)
        test, free_samples, free_features = evaluate(np.exp(grid))
        best = test.argmin(axis=1)
        low, high = (
            grid[rows, np.maximum(best - 1, 0)],
            grid[rows, np.minimum(best + 1, points - 1)],
        )
    gamma, free_samples = np.exp(grid[rows, best]), free_samples[rows, best]
    ridge = gamma * free_samples * free_features[rows, best]
    edge = bounded & (gamma <= floor * (1 + 1e-8))
    ridge = np.where(edge, 0.0, ridge) * task.scale
    free_samples = np.where(edge, samples - fewest, free_samples)
    test = test[rows, best]
    return TunedRisk(
        *(
            _shaped(entry, shape)
            for entry in (ridge, gamma * task.scale, test, (free_samples / samples) ** 2 * test)
        )
    )


class Samples(NamedTuple):
    """Errors of simulated regressions.

    Attributes
    ----------
    test, train : numpy.ndarray, shape (networks, ridges)
        Each network has its own features, training set and noise.
    """

    test: np.ndarray
    train: np.ndarray


def readouts(design, targets, ridges) -> np.ndarray:
    r"""Readouts of ridge regression, for many ridges from one singular value decomposition.

    .. math:: a=(G^\top G+\delta)^{-1}G^\top y,

    and without ridge the solution of least norm, :math:`a=G^+y`.

    Parameters
    ----------
    design : array_like, shape (samples, features)
        Features :math:`G` at the data.
    targets : array_like, shape (samples,)
        Targets :math:`y`.
    ridges : array_like, shape (ridges,)
        Ridges :math:`\delta\ge0`.

    Returns
    -------
    numpy.ndarray, shape (features, ridges)

    Raises
    ------
    ValueError
        For shapes that do not fit, numbers that are not finite, or a negative ridge.

    Notes
    -----
    Singular values below the rounding of the largest count as zero. Taught in chapter 3.3,
    "The model, by hand".
    """
    design = validate.array("design", design, dimensions=2, empty=False)
    targets = validate.array("targets", targets, dimensions=1)
    if len(targets) != len(design):
        raise ValueError(
            f"targets has shape {targets.shape}; allowed is one for each of the {len(design)} rows "
            "of design"
        )
    ridges = nonnegative("ridges", validate.array("ridges", ridges, dimensions=1, empty=False))
    left, values, right = np.linalg.svd(design, full_matrices=False)
    rounding = values.max() * max(design.shape) * np.finfo(float).eps
    kept = (values > rounding)[:, None]
    scale = np.where(kept, values[:, None], 1.0)
    gain = np.where(kept, scale / (scale**2 + ridges), 0.0)
    return right.T @ (gain * (left.T @ targets)[:, None])


def sample_random_features(
    eigenvalues, coefficients, *, samples, features, ridges, noise, networks, rng
) -> Samples:
    r"""Simulate ridge regression with Gaussian random features in the kernel's eigenbasis.

    Data are :math:`\phi(x)\sim\mathcal N(0,1_M)`, feature :math:`j` is
    :math:`g_j(x)=\sum_iW_{ji}\sqrt{\lambda_i}\phi_i(x)/\sqrt n` with standard normal
    :math:`W_{ji}`, targets are :math:`\sum_iv_i\phi_i(x)+\varepsilon`. The test error is the exact
    average over new points, noise included.

    Parameters
    ----------
    eigenvalues, coefficients : array_like, shape (modes,)
        As in :func:`random_feature_risk`.
    samples, features : int
        ``features`` may be infinite: then the kernel itself is used.
    ridges : array_like, shape (ridges,)
        All of them see the same data.
    noise : float
        Variance of the noise.
    networks : int
        Independent repetitions.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    Samples

    Raises
    ------
    ValueError
        For numbers out of range.

    Notes
    -----
    Taught in chapter 3.3, "The model, by hand".
    """
    values = validate.array("eigenvalues", eigenvalues, dimensions=1, empty=False)
    _task(values, coefficients)
    target = np.sqrt(validate.array("coefficients", coefficients, dimensions=1))
    samples = validate.whole("samples", samples)
    endless = isinstance(features, float) and features == np.inf
    features = features if endless else validate.whole("features", features)
    ridges = nonnegative("ridges", np.atleast_1d(ridges))
    noise = validate.real("noise", noise, low=0)
    validate.generator("rng", rng, np.random.Generator)
    errors = np.zeros((2, validate.whole("networks", networks), len(ridges)))
    for network in range(networks):
        data = rng.standard_normal((samples, len(values)))
        targets = data @ target + np.sqrt(noise) * rng.standard_normal(samples)
        basis = np.sqrt(values)
        if not endless:
            basis = rng.standard_normal((features, len(values))) * basis / np.sqrt(features)
        design = data * basis if endless else data @ basis.T
        readout = readouts(design, targets, ridges)
        learned = readout * basis[:, None] if endless else basis.T @ readout
        errors[0, network] = ((target[:, None] - learned) ** 2).sum(axis=0) + noise
        errors[1, network] = ((targets[:, None] - design @ readout) ** 2).mean(axis=0)
    return Samples(*errors)


class SphereSpectrum(NamedTuple):
    """Levels of a kernel on the sphere.

    Attributes
    ----------
    eigenvalues : numpy.ndarray, shape (degrees + 1,)
        One for each degree of harmonic polynomials.
    multiplicities : numpy.ndarray, shape (degrees + 1,)
        How many harmonics of that degree there are.
    """

    eigenvalues: np.ndarray
    multiplicities: np.ndarray


def arccosine_spectrum(dimension: int, *, degree: int) -> SphereSpectrum:
    r"""Spectrum of infinitely many ReLU features on the sphere.

    Inputs are uniform on the sphere of radius :math:`\sqrt d`, weights are
    :math:`\mathcal N(0,1/d)`. The eigenvalue of degree :math:`\ell` is the average of the kernel
    times the Legendre polynomial in :math:`d` dimensions over :math:`t=x\cdot x'/d`,

    .. math:: \lambda_\ell=E_t[K(t)P_\ell(t)],\qquad
              K(t)=\frac{\sqrt{1-t^2}+(\pi-\arccos t)\,t}{2\pi}.

    Parameters
    ----------
    dimension : int
        :math:`d\ge3`.
    degree : int
        Largest degree. What is left out, up to the trace :math:`K(1)=\frac12`, is added as one
        more level of :math:`10^9` equal modes, so that the trace is exact.

    Returns
    -------
    SphereSpectrum

    Raises
    ------
    ValueError
        For a dimension below 3 or a degree below 1.

    Notes
    -----
    Cho and Saul's kernel of order one. Taught in chapter 3.3, "Real neurons".
    """
    dimension = validate.whole("dimension", dimension, low=3)
    degree = validate.whole("degree", degree)
    nodes, weights = roots_gegenbauer(2000, dimension / 2 - 1)
    weights = weights / weights.sum()
    kernel = (np.sqrt(1 - nodes**2) + (np.pi - np.arccos(nodes)) * nodes) / (2 * np.pi)
    legendre = [np.ones_like(nodes), nodes]
    for k in range(1, degree):
        legendre.append(
            ((2 * k + dimension - 2) * nodes * legendre[k] - k * legendre[k - 1])
            / (k + dimension - 2)
        )
    values = np.stack(legendre) @ (weights * kernel)
    values[np.abs(values) < 1e-12] = 0  # odd degrees from three on
    counts = np.array(
        [
            comb(k + dimension - 1, k) - (comb(k + dimension - 3, k - 2) if k > 1 else 0)
            for k in range(degree + 1)
        ],
        dtype=float,
    )
    rest = max(0.5 - float(values @ counts), 0.0)
    return SphereSpectrum(np.append(values, rest / 1e9), np.append(counts, 1e9))


class Layer(NamedTuple):
    r"""What a wide random layer does to a Gaussian preactivation :math:`u` of a given variance.

    :math:`\phi(u)-E\phi=c\,u+\nu\,\zeta`, with :math:`\zeta` of unit variance and
    uncorrelated with :math:`u`.

    Attributes
    ----------
    mean : float
        :math:`E\phi`, which is subtracted.
    slope : float
        :math:`c=E\phi'(u)`.
    residual : float
        :math:`\nu^2`, the variance of what is not linear.
    variance : float
        Variance of the output, :math:`c^2E u^2+\nu^2`.
    """

    mean: float
    slope: float
    residual: float
    variance: float


def layer_statistics(activation: str | Callable, variance: float) -> Layer:
    r"""Linear part and remainder of an activation at a Gaussian preactivation.

    Parameters
    ----------
    activation : str or callable
        A name that :mod:`course.activations` knows, or an elementwise torch function; a kink is
        allowed at 0.
    variance : float
        :math:`E u^2>0`.

    Returns
    -------
    Layer

    Raises
    ------
    ValueError
        For a variance that is not positive, or an unknown activation.

    Notes
    -----
    Integrals by Gauss–Legendre quadrature on each side of zero. Taught in chapter 3.3, "Deep
    random features".
    """
    variance = validate.real("variance", variance, low=0, strict=True)
    function = find_activation(activation).function
    nodes, weights = np.polynomial.legendre.leggauss(200)
    nodes = np.concatenate([5 * nodes - 5, 5 * nodes + 5])
    weights = np.tile(5 * weights, 2) * np.exp(-(nodes**2) / 2) / np.sqrt(2 * np.pi)
    inputs = np.sqrt(variance) * nodes
    values = function(torch.as_tensor(inputs)).numpy()
    mean = float(weights @ values)
    slope = float(weights @ (inputs * values)) / variance
    spread = float(weights @ (values - mean) ** 2)
    return Layer(mean, slope, max(spread - slope**2 * variance, 0.0), spread)


@dataclass(frozen=True)
class DeepRisk:
    r"""Risk of ridge regression on the last layer of a deep random network.

    Attributes
    ----------
    kappas : numpy.ndarray, shape (layers + 1,)
        Effective ridges, from that of the inputs to that of the last layer's features.
    learned : numpy.ndarray, shape (layers + 1,)
        Effective dimensions :math:`z_l` that are learned, from the inputs to the last layer.
    overfitting : float
        What one unit of noise adds to the test error.
    test, train : float
        Mean squared errors, noise included.
    """

    kappas: np.ndarray
    learned: np.ndarray
    overfitting: float
    test: float
    train: float


def _climb(log_ridge: float, spectrum, widths, layers):
    r"""Effective ridges and dimensions of all layers, with derivatives in :math:`\log\kappa_0`.

    None where a layer would need a negative ridge: the guess is then too small.
    """
    kappa = np.exp(log_ridge)
    share = spectrum / (spectrum + kappa)
    z, dz, dkappa = share.sum(), -(share * (1 - share)).sum(), kappa
    rows = [(kappa, dkappa, z, dz)]
    below = len(spectrum)
    for width, layer in zip(widths, layers, strict=True):
        gain = layer.slope**2 / below
        total, dtotal = kappa * gain * (width - z), gain * (dkappa * (width - z) - kappa * dz)
        kappa, dkappa = total - layer.residual, dtotal  # total = kappa + nu^2
        if kappa <= 0 or z >= width:
            return None
        missing, dmissing = width - z, -dz
        ratio = kappa / total
        dratio = layer.residual * dtotal / total**2
        z, dz = width - ratio * missing, -(dratio * missing + ratio * dmissing)
        rows.append((kappa, dkappa, z, dz))
        below = width
    return np.array(rows)


def _check_deep(eigenvalues, coefficients, widths):
    spectrum = validate.array("eigenvalues", eigenvalues, dimensions=1, empty=False)
    if not (spectrum > 0).all():
        raise ValueError(
            f"eigenvalues contains {spectrum.min():.3g}; allowed are numbers > 0, the variances "
            "of the inputs' principal components"
        )
    power = None
    if coefficients is not None:
        power = validate.array("coefficients", coefficients, dimensions=1)
        if power.shape != spectrum.shape or (power < 0).any():
            raise ValueError(
                f"coefficients is {coefficients!r}; allowed are {len(spectrum)} numbers >= 0, one "
                "for each eigenvalue"
            )
    if isinstance(widths, int | np.integer) or not len(widths):
        raise ValueError(f"widths is {widths!r}; allowed is a sequence of one width or more")
    return spectrum, power, [validate.whole("widths", width) for width in widths]


def deep_feature_risk(
    eigenvalues,
    coefficients,
    *,
    widths: Sequence[int],
    activation: str | Callable,
    samples: float,
    ridge: float,
    noise: float = 0.0,
) -> DeepRisk:
    r"""Test and training error of ridge regression on a deep network with random hidden layers.

    Inputs are Gaussian with covariance :math:`\Omega_0`, :math:`h^l=\phi(W^lh^{l-1}/\sqrt{n_{l-1}})
    -E\phi` with standard normal :math:`W^l`. Each layer acts as :math:`c_lW h/\sqrt n` plus
    independent noise of variance :math:`\nu_l^2`, so that the effective ridges climb

    .. math:: \kappa_l+\nu_l^2=c_l^2\,\kappa_{l-1}\frac{n_l-z_{l-1}}{n_{l-1}},
              \qquad n_l-z_l=\frac{\kappa_l}{\kappa_l+\nu_l^2}(n_l-z_{l-1}),

    from :math:`z_0=\sum_i\omega_i/(\omega_i+\kappa_0)` to :math:`\kappa_L(N-z_L)=n_L\delta`.

    Parameters
    ----------
    eigenvalues : array_like, shape (d,)
        Variances :math:`\omega_i` of the inputs' principal components.
    coefficients : array_like, shape (d,), or None
        Squares :math:`v_i^2` for the target :math:`\sum_iv_ix_i/\sqrt{\omega_i}`. None stands for
        a random readout :math:`\theta\cdot h^L/\sqrt{n_L}` of the network's own last layer.
    widths : sequence of int
        :math:`n_1,\dots,n_L`.
    activation : str or callable
        As in :func:`layer_statistics`.
    samples, ridge, noise : float
        :math:`N>0`, :math:`\delta>0` added to the Gram matrix :math:`h\cdot h'/n_L`, and the noise.

    Returns
    -------
    DeepRisk

    Raises
    ------
    ValueError
        For numbers out of range, or an activation without a linear part.

    Notes
    -----
    Schröder et al. (2023): deterministic equivalents of all layers in their Theorem 3.3, the error
    of the random readout in their section 4; the form with one unknown and the error of the linear
    target are derived in chapter 3.3, "Deep random features".
    """
    spectrum, power, widths = _check_deep(eigenvalues, coefficients, widths)
    samples = validate.real("samples", samples, low=0, strict=True)
    ridge = validate.real("ridge", ridge, low=0, strict=True)
    noise = validate.real("noise", noise, low=0)
    layers, variance = [], float(spectrum.mean())
    for _ in widths:
        layers.append(layer_statistics(activation, variance))
        variance = layers[-1].variance
        if abs(layers[-1].slope) < 1e-10:
            raise ValueError(
                f"activation is {activation!r}, whose linear part vanishes; allowed are "
                "activations correlated with their input, since a layer without linear part "
                "passes nothing on at these sizes"
            )
    wanted = ridge * widths[-1]

    def excess(log_ridge: float) -> float:
        rows = _climb(log_ridge, spectrum, widths, layers)
        return -np.inf if rows is None else rows[-1, 0] * (samples - rows[-1, 2]) - wanted

    high = float(np.log(spectrum.max()))
    low = high - 60.0
    while excess(high) < 0:
        high += 2.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    rows = _climb(high, spectrum, widths, layers)
    kappa, dkappa, z, dz = rows[-1]
    slope = dz / dkappa
    overfitting = samples / (samples - z - kappa * slope)
    if power is None:
        bias = -(kappa**2) * slope / widths[-1]
    else:
        missed = rows[0, 0] / (spectrum + rows[0, 0])
        bias = power @ missed - kappa * (power @ (missed * (1 - missed))) / dkappa
    test = overfitting * (bias + noise)
    return DeepRisk(
        rows[:, 0], rows[:, 2], float(overfitting), float(test),
        float((1 - z / samples) ** 2 * test),
    )  # fmt: skip


def sample_deep_features(
    eigenvalues, coefficients, *, widths, activation, samples, ridges, noise, networks, rng,
    tests=2000,
) -> Samples:  # fmt: skip
    """Simulate :func:`deep_feature_risk` with networks and Gaussian inputs.

    Parameters
    ----------
    eigenvalues, coefficients, widths, activation, samples, noise
        As there.
    ridges : array_like, shape (ridges,)
        All of them see the same data.
    networks : int
        Independent repetitions.
    rng : numpy.random.Generator
        Source of randomness.
    tests : int
        New points on which the test error is measured.

    Returns
    -------
    Samples

    Raises
    ------
    ValueError
        For numbers out of range.

    Notes
    -----
    Taught in chapter 3.3, "Deep random features".
    """
    spectrum, power, widths = _check_deep(eigenvalues, coefficients, widths)
    samples, tests = validate.whole("samples", samples), validate.whole("tests", tests)
    ridges = nonnegative("ridges", np.atleast_1d(ridges))
    noise = validate.real("noise", noise, low=0)
    validate.generator("rng", rng, np.random.Generator)
    function = find_activation(activation).function
    errors = np.zeros((2, validate.whole("networks", networks), len(ridges)))
    for network in range(networks):
        unit = rng.standard_normal((samples + tests, len(spectrum)))
        hidden, variance = unit * np.sqrt(spectrum), float(spectrum.mean())
        for width in widths:
            layer = layer_statistics(activation, variance)
            weights = rng.standard_normal((width, hidden.shape[1])) / np.sqrt(hidden.shape[1])
            hidden = function(torch.as_tensor(hidden @ weights.T)).numpy() - layer.mean
            variance = layer.variance
        hidden = hidden / np.sqrt(widths[-1])
        target = (
            hidden @ rng.standard_normal(widths[-1]) if power is None else unit @ np.sqrt(power)
        )
        targets = target[:samples] + np.sqrt(noise) * rng.standard_normal(samples)
        outputs = hidden @ readouts(hidden[:samples], targets, ridges)
        errors[0, network] = ((outputs[samples:] - target[samples:, None]) ** 2).mean(axis=0)
        errors[1, network] = ((outputs[:samples] - targets[:, None]) ** 2).mean(axis=0)
    return Samples(errors[0] + noise, errors[1])
