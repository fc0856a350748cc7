r"""Four regimes of scaling in one solvable student, and the fit that measures their exponents.

The student has ``features`` random linear features of an input with a given covariance spectrum and
learns a linear teacher from ``samples`` inputs by least squares of minimal norm. Its loss falls
as a power of either number in two ways: limited by variance, or by resolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from scipy import linalg, optimize, stats
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import cKDTree

from course import validate
from course.estimates import Estimate, fit_exponent

__all__ = [
    "PowerLawFit", "fit_power_law", "manifold_loss", "power_law_spectrum", "resolution_scale",
    "ridgeless_loss", "simulate_losses", "train_networks",
]  # fmt: skip

STEEPEST, SHALLOWEST = -12.0, -0.01
"""Range of exponents in which a fit with a free floor looks."""


# Spectra and the theory of the student


def power_law_spectrum(exponent: float, modes: int) -> np.ndarray:
    r"""Eigenvalues :math:`\lambda_i=i^{-(1+a)}`, :math:`i=1\dots M`.

    Parameters
    ----------
    exponent : float
        The spectrum's exponent :math:`a>0`.
    modes : int
        Number of modes :math:`M`.

    Returns
    -------
    numpy.ndarray, shape (modes,)

    Raises
    ------
    ValueError
        For an exponent that is not positive (the total variance must be finite), or no modes.

    Notes
    -----
    Taught in chapter 3.1, "One student, two numbers".
    """
    exponent = validate.real("exponent", exponent, low=0, strict=True)
    return np.arange(1.0, validate.whole("modes", modes) + 1) ** -(1 + exponent)


def _spectrum(eigenvalues) -> np.ndarray:
    eigenvalues = validate.array("eigenvalues", eigenvalues, dimensions=1, empty=False)
    if (eigenvalues < 0).any() or not (eigenvalues > 0).any():
        raise ValueError(
            f"eigenvalues has smallest entry {eigenvalues.min():.3g} and largest "
            f"{eigenvalues.max():.3g}; allowed are numbers >= 0, not all zero, since they are "
            "variances"
        )
    return eigenvalues


def _target(coefficients, eigenvalues: np.ndarray) -> np.ndarray:
    if coefficients is None:
        return eigenvalues
    coefficients = validate.array("coefficients", coefficients, dimensions=1)
    if coefficients.shape != eigenvalues.shape or (coefficients < 0).any():
        raise ValueError(
            f"coefficients has shape {coefficients.shape} and smallest entry "
            f"{coefficients.min(initial=0):.3g}; allowed are {len(eigenvalues)} squared "
            "coefficients >= 0, one for each eigenvalue"
        )
    if coefficients[eigenvalues == 0].any():
        raise ValueError(
            "coefficients is positive where eigenvalues is 0; allowed is 0 there: the target is a "
            "linear function of an input that does not vary in that direction"
        )
    return coefficients


def _size(name: str, value) -> float:
    """A whole number of at least 1, or infinity."""
    if isinstance(value, float | np.floating) and math.isinf(value) and value > 0:
        return math.inf
    return validate.whole(name, value)


def _sizes(samples, features, modes: int) -> tuple[float, float]:
    samples, features = _size("samples", samples), _size("features", features)
    if min(samples, features) >= modes:
        raise ValueError(
            f"samples is {samples} and features {features}; allowed is that one of them is below "
            f"the number of positive eigenvalues, {modes}: otherwise the student finds the "
            "teacher and nothing is left to scale"
        )
    return samples, features


def resolution_scale(eigenvalues, size: int) -> float:
    r"""The eigenvalue :math:`\gamma` down to which ``size`` random directions resolve a spectrum.

    .. math:: \sum_i\frac{\lambda_i}{\lambda_i+\gamma}=m

    A mode far above :math:`\gamma` counts as learned, a mode far below as unseen. The number
    :math:`m` is that of samples or of features: the equation does not ask.

    Parameters
    ----------
    eigenvalues : array_like, shape (modes,)
        Eigenvalues :math:`\lambda_i\ge0`.
    size : int
        Number of random directions :math:`m`, below the number of positive eigenvalues.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For negative, NaN or all-zero eigenvalues, or a size that leaves no mode unresolved.

    Notes
    -----
    Equation (eq-four-regimes-resolution), found with Brent's method between two bounds that
    enclose the root. Taught in chapter 3.1, "Resolution-limited".
    """
    eigenvalues = _spectrum(eigenvalues)
    positive = eigenvalues[eigenvalues > 0]
    size = validate.whole("size", size)
    if size >= len(positive):
        raise ValueError(
            f"size is {size}; allowed are sizes below the number of positive eigenvalues, "
            f"{len(positive)}: otherwise every mode is resolved and the scale is 0"
        )
    # positive.sum()/size overestimates the root, the smallest eigenvalue alone underestimates it
    low = math.log(positive.min()) + math.log((len(positive) - size) / size) - 1e-9
    high = math.log(positive.sum() / size) + 1e-9

    def excess(log_scale: float) -> float:
        # modes above the scale are counted, and what they miss is summed: no cancellation
        scale = math.exp(log_scale)
        above = positive > scale
        part = np.where(above, -scale, positive) / (positive + scale)
        return float(part.sum()) + int(above.sum()) - size

    return math.exp(optimize.brentq(excess, low, high, xtol=1e-13, rtol=1e-14))


def ridgeless_loss(
    eigenvalues, coefficients=None, *, samples, features, noise: float = 0.0
) -> float:
    r"""Mean test loss of the student in theory.

    With :math:`m=\min(N,n)` and the resolution scale :math:`\gamma`, an aligned teacher and no
    noise,

    .. math:: L=\gamma m\;\frac{\max(N,n)-1}{|N-n|-1}.

    For any teacher :math:`v^2`, with :math:`q=\sum(\lambda/(\lambda+\gamma))^2`,

    .. math:: L_{n<N}&=\Bigl[\sum\frac{\gamma v^2}{\lambda+\gamma}+\sigma^2\Bigr]
              \frac{N-1}{N-n-1},\\
              L_{N<n}&=\frac{N}{N-q}\Bigl[\sum\frac{\gamma^2v^2}{(\lambda+\gamma)^2}+\sigma^2
              \Bigr]+\frac{N}{n-N-1}\Bigl[\sum\frac{\gamma v^2}{\lambda+\gamma}+\sigma^2\Bigr].

    The dependence on the larger number is exact at any size (an inverse Wishart mean); that on
    the smaller one is asymptotic, with a relative error of order :math:`1/m` (for a power law, an
    aligned teacher and no noise :math:`a/2m`; equation (eq-four-regimes-next)).

    Parameters
    ----------
    eigenvalues : array_like, shape (modes,)
        Variances :math:`\lambda_i` of the input.
    coefficients : array_like, shape (modes,), optional
        Squared coefficients :math:`v_i^2` of the target: its variance in each mode. By default the
        eigenvalues, an aligned teacher.
    samples, features : int or inf
        Numbers :math:`N` of training inputs and :math:`n` of features.
    noise : float
        Variance :math:`\sigma^2` of the noise on training and test labels.

    Returns
    -------
    float
        Mean squared error on new, noisy labels.

    Raises
    ------
    ValueError
        For sizes that leave nothing to learn, or with \|samples - features\| <= 1, where the mean
        loss is infinite; for negative eigenvalues, coefficients or noise.

    Notes
    -----
    Equations (eq-four-regimes-loss) and (eq-four-regimes-teacher) of chapter 3.1, "Where it
    breaks"; the ridgeless limit of chapter 3.3's equations.
    """
    eigenvalues = _spectrum(eigenvalues)
    target = _target(coefficients, eigenvalues)
    noise = validate.real("noise", noise, low=0)
    samples, features = _sizes(samples, features, int((eigenvalues > 0).sum()))
    if abs(samples - features) <= 1:
        raise ValueError(
            f"samples is {samples} and features {features}; allowed are numbers that differ by at "
            "least 2: closer to the interpolation threshold the mean loss is infinite"
        )
    size = int(min(samples, features))
    scale = resolution_scale(eigenvalues, size)
    missed = scale / (eigenvalues + scale)
    once = float(missed @ target)
    gap = abs(samples - features) - 1
    if features < samples:
        return (once + noise) * (1 + features / gap)
    learned = eigenvalues / (eigenvalues + scale)
    spread = float((learned * missed).sum())  # size - q, because what is learned sums to size
    twice = float(missed**2 @ target)
    return size / spread * (twice + noise) + size / gap * (once + noise)


def _resolved(loss: float, total: float) -> float:
    """The loss, a difference of numbers as large as ``total``, or an error if rounding hides it."""
    if not loss > 1e-11 * total:
        raise RuntimeError(
            f"the loss is {loss:.2g} beside a target variance of {total:.2g}, which rounding "
            "hides; take fewer samples or features, or a flatter spectrum"
        )
    return loss


def _one_loss(
    roots: np.ndarray, target: np.ndarray, samples, features, noise: float,
    draw_inputs: Callable, draw_directions: Callable,
) -> float:  # fmt: skip
    """Loss of one draw of inputs and features, averaged over teachers and noise."""
    eigenvalues, total = roots**2, float(target.sum())
    if samples == math.inf:
        basis = np.linalg.qr((draw_directions() * roots).T)[0]
        return _resolved(float((1 - (basis**2).sum(axis=1)) @ target), total) + noise
    inputs = draw_inputs()
    # The student maps a teacher to left.T @ right @ diag(roots) @ teacher; both factors have
    # min(samples, features) rows.
    if features == math.inf:
        basis, triangle = np.linalg.qr((inputs * roots).T)
        left, right = linalg.solve_triangular(triangle, basis.T), inputs
        amplified = float(((left * roots) ** 2).sum())
    else:
        directions = draw_directions()
        pseudo = np.linalg.pinv((inputs * roots) @ directions.T, rcond=1e-13)
        if features < samples:
            left, right = directions, pseudo @ inputs
            amplified = float((((left * eigenvalues) @ left.T @ pseudo) * pseudo).sum())
        else:
            left, right = pseudo.T @ directions, inputs
            amplified = float(((left * roots) ** 2).sum())
    cross = float((left * right).sum(axis=0) @ (roots * target))
    square = float((((left * eigenvalues) @ left.T) * ((right * target) @ right.T)).sum())
    return _resolved(total - 2 * cross + square, total) + noise * (1 + amplified)


def simulate_losses(
    eigenvalues, coefficients=None, *, samples, features, seeds: int, rng, noise: float = 0.0,
    inputs=None, directions=None,
) -> np.ndarray:  # fmt: skip
    r"""Test losses of students, each with its own training inputs and random features.

    For standard normal matrices :math:`Z` (samples × modes) and :math:`W` (features × modes) and
    :math:`S=\mathrm{diag}\sqrt{\lambda_i}`, the student fits its readout to
    :math:`ZS\omega` by least squares of minimal norm. Its loss on new inputs, averaged in closed
    form over teachers :math:`\omega_i` of mean 0 and variance :math:`v_i^2/\lambda_i`, is

    .. math:: L=\bigl\|\bigl(S-SW^\top(ZSW^\top)^+ZS\bigr)\,T\bigr\|_F^2,\qquad
              T=\mathrm{diag}\sqrt{v_i^2/\lambda_i}.

    With infinitely many features this is ridgeless kernel regression with the kernel
    :math:`ZS^2Z^\top`; with infinitely many samples, least squares on the whole population.

    Parameters
    ----------
    eigenvalues, coefficients, samples, features, noise
        As for :func:`ridgeless_loss`.
    seeds : int
        Number of independent draws of :math:`Z` and :math:`W`.
    rng : numpy.random.Generator
        Source of randomness.
    inputs : array_like, shape (samples, modes), optional
        One :math:`Z` for all seeds, in place of draws.
    directions : array_like, shape (features, modes), optional
        One :math:`W` for all seeds, in place of draws.

    Returns
    -------
    numpy.ndarray, shape (seeds,)

    Raises
    ------
    ValueError
        For bad spectra, sizes that leave nothing to learn, matrices of another shape, or another
        kind of generator.
    RuntimeError
        If a loss is below 1e-11 of the target's variance, where rounding hides it.

    Notes
    -----
    Equation (eq-four-regimes-sketch); taught in chapter 3.1, "One student, two numbers". Cost of a
    draw: modes × samples × features.
    """
    eigenvalues = _spectrum(eigenvalues)
    target = _target(coefficients, eigenvalues)
    noise = validate.real("noise", noise, low=0)
    seeds = validate.whole("seeds", seeds)
    rng = validate.generator("rng", rng, np.random.Generator)
    keep = eigenvalues > 0
    eigenvalues, target = eigenvalues[keep], target[keep]
    samples, features = _sizes(samples, features, len(eigenvalues))
    roots = np.sqrt(eigenvalues)

    def source(name: str, rows: float, given) -> Callable[[], np.ndarray]:
        if given is None:
            return lambda: rng.standard_normal((int(rows), len(roots)))
        matrix = validate.array(name, given, dimensions=2)
        if matrix.shape != (rows, len(keep)):
            raise ValueError(
                f"{name} has shape {matrix.shape}; allowed is ({rows}, {len(keep)}), and nothing "
                "for an infinite number"
            )
        return lambda: matrix[:, keep]

    draws = source("inputs", samples, inputs), source("directions", features, directions)
    return np.array(
        [_one_loss(roots, target, samples, features, noise, *draws) for _ in range(seeds)]
    )


# Fitting a power law


@dataclass(frozen=True)
class PowerLawFit:
    r"""A fitted power law :math:`y=F+A\,x^{p}` with bootstrap errors.

    Attributes
    ----------
    exponent : Estimate
        The exponent :math:`p` with its bootstrap standard error.
    interval : (float, float)
        Confidence interval of the exponent.
    amplitude : Estimate
        The amplitude :math:`A`, the fitted value at :math:`x=1` above the floor.
    floor : Estimate
        The limit :math:`F`; its standard error is 0 where it was given.
    floor_interval : (float, float)
        Confidence interval of the floor.
    confidence : float
        Nominal coverage of both intervals.
    local : Estimate
        Exponents between neighbouring abscissae, one fewer than points. A trend along them says
        that the data are no power law, whatever the interval.
    chi_squared : float
        Sum of squared residuals in standard errors, corrected for errors estimated from few seeds.
    p_value : float
        Probability of a larger sum if the law holds and the points are independent.
    degrees : int
        Degrees of freedom, points minus fitted parameters.
    resampled : numpy.ndarray
        The exponents of the bootstrap samples.
    """

    exponent: Estimate
    interval: tuple[float, float]
    amplitude: Estimate
    floor: Estimate
    floor_interval: tuple[float, float]
    confidence: float
    local: Estimate
    chi_squared: float
    p_value: float
    degrees: int
    resampled: np.ndarray = field(repr=False)

    def __call__(self, x) -> np.ndarray:
        """The fitted law at ``x``."""
        x = validate.array("x", x, dimensions=None)
        return self.floor.value + self.amplitude.value * x**self.exponent.value


def _line(log_x: np.ndarray, log_y: np.ndarray, weights: np.ndarray):
    """Weighted slopes and intercepts of rows of ``log_y``."""
    centre = weights @ log_x / weights.sum()
    lever = weights * (log_x - centre)
    slopes = log_y @ lever / (lever @ log_x)
    return slopes, log_y @ weights / weights.sum() - slopes * centre


def _project(powers: np.ndarray, y: np.ndarray, weights: np.ndarray):
    """Best floor >= 0 and amplitude of each row, for each row's exponent; their chi squared.

    ``powers`` and ``y`` have shapes that broadcast to (..., points).
    """
    total, mean_p, mean_y = weights.sum(), powers @ weights, y @ weights
    pp, py, yy = powers**2 @ weights, (powers * y) @ weights, y**2 @ weights
    determinant = total * pp - mean_p**2
    with np.errstate(divide="ignore", invalid="ignore"):
        amplitude = (total * py - mean_p * mean_y) / determinant
        floor = (mean_y - amplitude * mean_p) / total
    alone = ~(floor > 0)
    amplitude, floor = np.where(alone, py / pp, amplitude), np.where(alone, 0.0, floor)
    chi = yy - amplitude * py - floor * mean_y
    return chi, floor, amplitude


def _free_floor(x: np.ndarray, y: np.ndarray, weights: np.ndarray):
    """Exponents, amplitudes and floors >= 0 of rows of ``y``, shape (rows, points)."""
    unit = x / x[0]
    grid = -np.geomspace(-SHALLOWEST, -STEEPEST, 120)
    chi = np.stack([_project(unit**power, y, weights)[0] for power in grid])
    best = np.clip(chi.argmin(axis=0), 1, len(grid) - 2)
    low, high = grid[best + 1], grid[best - 1]
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(40):  # golden section, on every row at once
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        smaller = (
            _project(unit ** left[:, None], y, weights)[0]
            < _project(unit ** right[:, None], y, weights)[0]
        )
        low, high = np.where(smaller, low, left), np.where(smaller, right, high)
    power = (low + high) / 2
    _, floor, amplitude = _project(unit ** power[:, None], y, weights)
    return power, amplitude * x[0] ** -power, floor


def _weights(log_x: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Inverse squares of errors, smoothed by a line through their logarithms.

    Errors estimated from a few seeds scatter; raw, they favour the points that happen to scatter
    little, and the bootstrap, which keeps the weights, would not know of it.
    """
    slope, intercept = _line(log_x, np.log(error), np.ones(len(log_x)))
    return np.exp(-2 * (intercept + slope * log_x))


def _tail(confidence: float, seeds: int) -> float:
    """Tail probability of the expanded percentile interval."""
    quantile = stats.t.ppf((1 + confidence) / 2, seeds - 1)
    return float(stats.norm.cdf(-math.sqrt(seeds / (seeds - 1)) * quantile))


def _scatter(resampled: np.ndarray, seeds: int) -> np.ndarray:
    return resampled.std(axis=0) * math.sqrt(seeds / (seeds - 1))


def _fit_input(x, samples, floor):
    x = validate.array("x", x, dimensions=1)
    samples = validate.array("samples", samples, dimensions=2, empty=False)
    needed = 4 if floor == "fit" else 3
    if len(x) < needed or not (x[0] > 0 and (np.diff(x) > 0).all()):
        raise ValueError(
            f"x is {x}; allowed are at least {needed} positive, increasing numbers, more than "
            "the law has parameters"
        )
    seeds, points = samples.shape
    if points != len(x) or seeds < 5:
        raise ValueError(
            f"samples has shape {samples.shape}; allowed is (seeds, {len(x)}) with at least 5 "
            "independent seeds"
        )
    if (samples <= 0).any():
        raise ValueError(
            f"samples has the entry {samples.min():.3g}; allowed are losses > 0. Subtract a known "
            "limit with floor, not from the samples"
        )
    error = samples.std(axis=0, ddof=1) / math.sqrt(seeds)
    if (error == 0).any():
        where = x[int(np.argmin(error))]
        raise ValueError(
            f"samples are equal at x={where:g}; allowed are independent measurements, which scatter"
        )
    return x, samples, error


def fit_power_law(
    x,
    samples,
    *,
    rng: np.random.Generator,
    floor: float | str = 0.0,
    weights: str = "errors",
    resamples: int = 2000,
    confidence: float = 0.95,
) -> PowerLawFit:
    r"""Exponent, amplitude and limit of a loss that falls as a power, with bootstrap errors.

    .. math:: y=F+A\,x^{p}

    The mean over seeds is fitted. With a given floor :math:`F` this is a line in
    :math:`\log(\bar y-F)`, each point weighted by its inverse squared error (errors of few seeds
    scatter, so they are first smoothed by a power law of :math:`x`). With
    ``floor="fit"`` the weighted squares of :math:`\bar y-F-Ax^p` are minimised over
    :math:`F\ge0` and :math:`A` in closed form, and over the exponent by a search.

    Seeds are resampled whole, with all their points, so that points which share a seed may be
    correlated. Intervals are expanded percentile intervals: quantiles of the bootstrap at
    :math:`\Phi(\mp\sqrt{s/(s-1)}\,t)` for :math:`s` seeds and Student's :math:`t`; the plain
    percentile interval is too narrow for few seeds. An interval of 95 % then covers 93 to 94 % with
    eight seeds and 89 % with five.

    Parameters
    ----------
    x : array_like, shape (points,)
        Sizes: positive, increasing; at least three, or four with ``floor="fit"``.
    samples : array_like, shape (seeds, points)
        Positive losses, one row for each of at least five seeds.
    rng : numpy.random.Generator
        Source of randomness of the bootstrap.
    floor : float or "fit"
        The known limit :math:`F\ge0`, or ``"fit"`` for an unknown one.
    weights : {"errors", "equal"}
        Weigh the points by their errors, or all alike. With equal weights the exponent is that of
        :func:`course.estimates.fit_exponent` for the mean over seeds, which this function then
        calls; use that one for an exponent with a jackknife error and nothing else.
    resamples : int
        Number of bootstrap samples, at least 200.
    confidence : float
        Nominal coverage of the intervals, between 0 and 1.

    Returns
    -------
    PowerLawFit

    Raises
    ------
    ValueError
        For abscissae or samples of another form; for a mean, or a resampled mean, at or below the
        given floor, since no power law has a value there.
    RuntimeError
        If the free floor leaves the exponent undetermined: the best one lies at an end of the
        range from -12 to -0.01. An end of the interval that lies there means that it is open.

    Notes
    -----
    Equation (eq-four-regimes-fit); taught in chapter 3.1, "Measuring an exponent".
    """
    free = isinstance(floor, str)
    if free:
        validate.choice("floor", floor, ("fit",))
    else:
        floor = validate.real("floor", floor, low=0)
    validate.choice("weights", weights, ("errors", "equal"))
    if free and weights == "equal":
        raise ValueError("weights is 'equal'; allowed is 'errors' with a fitted floor")
    validate.generator("rng", rng, np.random.Generator)
    resamples = validate.whole("resamples", resamples, low=200)
    confidence = validate.real("confidence", confidence, low=0, strict=True)
    if confidence >= 1:
        raise ValueError(f"confidence is {confidence}; allowed are numbers between 0 and 1")
    x, samples, error = _fit_input(x, samples, floor)
    seeds, points = samples.shape
    counts = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples)
    means = np.vstack([samples.mean(axis=0), counts @ samples / seeds])
    log_x = np.log(x)
    if free:
        slopes, amplitudes, floors = _free_floor(x, means, _weights(log_x, error))
        if not STEEPEST * 0.99 < slopes[0] < SHALLOWEST * 1.05:
            raise RuntimeError(
                f"the best exponent is {slopes[0]:.3g}, an end of the range searched: these "
                "points do not determine exponent and floor together; add larger and smaller sizes"
            )
    else:
        floors = np.full(len(means), floor)
        low = means.min(axis=0)
        if (low <= floor).any():
            where = int(np.argmax(low <= floor))
            raise ValueError(
                f"floor is {floor:.4g}, but the mean at x={x[where]:g} is {means[0, where]:.4g} ± "
                f"{error[where]:.2g}; allowed are floors below the means by several standard "
                "errors: drop this point or add seeds"
            )
        log_y = np.log(means - floor)
        relative = error / (means[0] - floor) if weights == "errors" else np.ones(points)
        slopes, intercepts = _line(log_x, log_y, _weights(log_x, relative))
        if weights == "equal":
            slopes[0] = fit_exponent(
                x, samples, statistic=lambda rows: rows.mean(axis=0) - floor
            ).value
        amplitudes = np.exp(intercepts)
    fitted = floors[0] + amplitudes[0] * x ** slopes[0]
    degrees = points - (3 if free else 2)
    chi = float((((means[0] - fitted) / error) ** 2).sum()) * (seeds - 3) / (seeds - 1)
    tail = _tail(confidence, seeds)
    above = np.maximum(means - floors[:, None], 1e-300)
    local = np.diff(np.log(above), axis=1) / np.diff(log_x)
    boot = slopes[1:]

    def measured(values: np.ndarray) -> Estimate:
        spread = 0.0 if np.ptp(values) == 0 else _scatter(values[1:], seeds)
        return Estimate(float(values[0]), float(spread), seeds)

    def interval(values: np.ndarray) -> tuple[float, float]:
        low, high = np.quantile(values, [tail, 1 - tail])
        return float(low), float(high)

    return PowerLawFit(
        exponent=measured(slopes),
        interval=interval(boot),
        amplitude=measured(amplitudes),
        floor=measured(floors),
        floor_interval=interval(floors[1:]),
        confidence=confidence,
        local=Estimate(local[0], _scatter(local[1:], seeds), seeds),
        chi_squared=chi,
        p_value=float(stats.chi2.sf(chi, degrees)),
        degrees=degrees,
        resampled=boot,
    )


# Resolution on a manifold


def manifold_loss(
    samples: int, *, dimension: int, seeds: int, rng, method: str, ambient: int | None = None,
    tests: int = 2000,
) -> np.ndarray:  # fmt: skip
    r"""Test losses of two interpolators of :math:`f^\star(u)=\sum_j\sin2\pi u_j`.

    ``method="nearest"`` predicts the value at the nearest of ``samples`` uniform points on the
    flat torus, embedded as a product of circles of length 1 in :math:`R^{2d}` and turned at random
    into :math:`R^{\text{ambient}}`; distances are measured there. ``method="linear"`` interpolates
    linearly on the Delaunay triangulation of ``samples`` uniform points in the unit cube, and is
    tested in its inner half, away from the faces.

    Parameters
    ----------
    samples : int
        Number :math:`N` of training points.
    dimension : int
        Dimension :math:`d` of the manifold.
    seeds : int
        Number of independent draws of the points.
    rng : numpy.random.Generator
        Source of randomness.
    method : {"nearest", "linear"}
    ambient : int, optional
        Dimension of the space in which the torus lies, at least :math:`2d` (the default); for
        ``"nearest"`` only.
    tests : int
        Number of test points of each draw.

    Returns
    -------
    numpy.ndarray, shape (seeds,)

    Raises
    ------
    ValueError
        For an ambient space that is too small, or so few points that a test point lies outside
        their hull.

    Notes
    -----
    Taught in chapter 3.1, "Resolution on a manifold".
    """
    samples, d = validate.whole("samples", samples), validate.whole("dimension", dimension)
    seeds, tests = validate.whole("seeds", seeds), validate.whole("tests", tests)
    validate.choice("method", method, ("nearest", "linear"))
    rng = validate.generator("rng", rng, np.random.Generator)
    if ambient is not None and (method == "linear" or validate.whole("ambient", ambient) < 2 * d):
        raise ValueError(
            f"ambient is {ambient} with method {method!r}; allowed are whole numbers >= {2 * d}, "
            "with method 'nearest'"
        )
    predict = partial(_nearest, ambient=ambient or 2 * d) if method == "nearest" else _linear
    return np.array([predict(rng, samples, d, tests) for _ in range(seeds)])


def _target_on_torus(points: np.ndarray) -> np.ndarray:
    return np.sin(2 * math.pi * points).sum(axis=1)


def _nearest(rng, samples: int, d: int, tests: int, *, ambient: int) -> float:
    rotation = np.linalg.qr(rng.standard_normal((ambient, 2 * d)))[0]

    def embed(points: np.ndarray) -> np.ndarray:
        angles = 2 * math.pi * points
        return np.hstack([np.cos(angles), np.sin(angles)]) / (2 * math.pi) @ rotation.T

    train, test = rng.random((samples, d)), rng.random((tests, d))
    nearest = cKDTree(embed(train)).query(embed(test))[1]
    return float(((_target_on_torus(train)[nearest] - _target_on_torus(test)) ** 2).mean())


def _linear(rng, samples: int, d: int, tests: int) -> float:
    train, test = rng.random((samples, d)), 0.25 + 0.5 * rng.random((tests, d))
    values = _target_on_torus(train)
    if d == 1:
        order = np.argsort(train[:, 0])
        outside = {"left": math.nan, "right": math.nan}
        found = np.interp(test[:, 0], train[order, 0], values[order], **outside)
    elif samples <= d:
        found = np.full(tests, math.nan)
    else:
        found = LinearNDInterpolator(train, values)(test)
    if np.isnan(found).any():
        raise ValueError(
            f"samples is {samples} in dimension {d}; allowed are enough points that their hull "
            "holds the inner half of the cube"
        )
    return float(((found - _target_on_torus(test)) ** 2).mean())


# Trained networks


def train_networks(
    width: int, *, networks: int, samples: int, seed: int, learning_rate: float, steps: int,
    tests: int = 400,
) -> np.ndarray:  # fmt: skip
    r"""Test predictions of networks with one tanh layer, all of it trained by gradient descent.

    .. math:: f(\vartheta)=\frac1{\sqrt n}\sum_jv_j\tanh(w_j\cdot x),\qquad
              x=(\cos\vartheta,\sin\vartheta,1),\qquad f^\star(\vartheta)=\sin2\vartheta

    The output at the start is subtracted, so that all networks start from the same function, and
    the loss is half the summed squared error. All widths get the same ``samples`` random training
    angles, and tests on an even grid.

    Parameters
    ----------
    width : int
        Number of neurons :math:`n`.
    networks : int
        Number of networks; they are trained side by side.
    samples : int
        Number of training points.
    seed : int
        Seed of the weights.
    learning_rate : float
    steps : int
    tests : int
        Number of test points.

    Returns
    -------
    numpy.ndarray, shape (networks, tests)
        Errors :math:`f-f^\star` at the test points.

    Raises
    ------
    RuntimeError
        If training diverges.

    Notes
    -----
    Taught in chapter 3.1, "Digits and trained networks".
    """
    width, networks = validate.whole("width", width), validate.whole("networks", networks)
    samples, tests = validate.whole("samples", samples), validate.whole("tests", tests)
    steps = validate.whole("steps", steps)
    learning_rate = validate.real("learning_rate", learning_rate, low=0, strict=True)
    generator = torch.Generator().manual_seed(validate.whole("seed", seed, low=0))
    angles = torch.as_tensor(np.random.default_rng(0).uniform(0, 2 * math.pi, samples))
    grid = torch.arange(tests, dtype=torch.float64) * (2 * math.pi / tests)

    def inputs(theta):
        return torch.stack([torch.cos(theta), torch.sin(theta), torch.ones_like(theta)])

    x, y = inputs(angles), torch.sin(2 * angles)
    w = torch.randn((networks, width, 3), generator=generator, dtype=torch.float64)
    v = torch.randn((networks, 1, width), generator=generator, dtype=torch.float64)
    scale = 1 / math.sqrt(width)

    def output(points):
        return scale * (v @ torch.tanh(w @ points))

    start, start_grid = output(x), output(inputs(grid))
    for _ in range(steps):
        hidden = torch.tanh(w @ x)
        residual = scale * (v @ hidden) - start - y
        back = (v.mT * residual) * (1 - hidden**2)
        v = v - learning_rate * scale * (residual @ hidden.mT)
        w = w - learning_rate * scale * (back @ x.T)
    errors = output(inputs(grid)) - start_grid - torch.sin(2 * grid)
    if not torch.isfinite(errors).all() or float(residual.abs().max()) > 1e3:
        raise RuntimeError(
            f"learning_rate is {learning_rate}: gradient descent diverged at width {width}; "
            "choose a smaller one"
        )
    return errors[:, 0].numpy()
