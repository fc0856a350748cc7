r"""Wide networks as Gaussian processes (chapter 1.1).

Parametrisation: :math:`h^1=\frac{\sigma_w}{\sqrt d}W^1x+\sigma_b b^1`,
:math:`h^{l+1}=\frac{\sigma_w}{\sqrt n}W^{l+1}\phi(h^l)+\sigma_b b^{l+1}`, output
:math:`f=h^{L+1}` (one number per input), all entries of :math:`W^l,b^l` standard normal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.polynomial.hermite_e import hermeval
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.special import gammaln

from course import validate
from course.activations import find_activation
from course.estimates import Estimate, jackknife

__all__ = [
    "GaussianPosterior",
    "StudentTPosterior",
    "bin_probabilities",
    "characteristic_function",
    "draw_density",
    "draw_joint",
    "draw_prior",
    "edgeworth_density",
    "excess_kurtosis",
    "gp_posterior",
    "output_density",
    "sample_outputs",
    "stable_variates",
    "student_t_posterior",
    "weighted_moments",
]

Activation = str | Callable[[torch.Tensor], torch.Tensor]
_CHUNK = 2**18  # numbers held at once for one layer of one chunk of networks (2 MB)


class GaussianPosterior(NamedTuple):
    """Gaussian-process regression at the test points.

    Attributes
    ----------
    mean : numpy.ndarray, shape (test,)
        Posterior mean of the noise-free function.
    covariance : numpy.ndarray, shape (test, test)
        Posterior covariance of the noise-free function.
    log_marginal : float
        Logarithm of the density of the training targets under the prior (nats).
    """

    mean: np.ndarray
    covariance: np.ndarray
    log_marginal: float


class StudentTPosterior(NamedTuple):
    """Student-t regression at the test points.

    Attributes
    ----------
    mean : numpy.ndarray, shape (test,)
        Location of the predictive law (its mean if ``degrees_of_freedom`` > 1).
    scale : numpy.ndarray, shape (test, test)
        Scale matrix. The covariance is ``scale * dof / (dof - 2)``.
    degrees_of_freedom : float
        Degrees of freedom, ``2 * shape + train``.
    log_marginal : float
        Logarithm of the density of the training targets under the prior (nats).
    """

    mean: np.ndarray
    scale: np.ndarray
    degrees_of_freedom: float
    log_marginal: float


def _apply(function: Callable[[torch.Tensor], torch.Tensor], values: np.ndarray) -> np.ndarray:
    return function(torch.from_numpy(np.ascontiguousarray(values))).numpy()


def stable_variates(
    stability: float, size: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray:
    r"""Symmetric stable random numbers with :math:`E\,e^{itX}=e^{-|t|^\alpha/2}`.

    ``stability`` is :math:`\alpha`: 2 gives the standard normal, 1 a Cauchy law of scale 1/2.

    Parameters
    ----------
    stability : float
        :math:`0<\alpha\le2`.
    size : tuple of int
        Shape of the result.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    numpy.ndarray
        Independent variates of shape ``size``.

    Raises
    ------
    ValueError
        For a stability outside (0, 2] or another kind of generator.

    Notes
    -----
    Transforms one uniform angle :math:`U` and one exponential :math:`E` (Chambers, Mallows and
    Stuck, 1976): :math:`X=2^{-1/\alpha}\frac{\sin\alpha U}{(\cos U)^{1/\alpha}}
    \bigl(\frac{\cos((1-\alpha)U)}{E}\bigr)^{(1-\alpha)/\alpha}`.
    Taught in chapter 1.1, section *Where it breaks*.
    """
    alpha = validate.real("stability", stability, low=0, strict=True)
    if alpha > 2:
        raise ValueError(f"stability is {stability!r}; allowed are numbers in (0, 2]")
    validate.generator("rng", rng, np.random.Generator)
    if alpha == 2:
        return rng.standard_normal(size)
    angle = rng.uniform(-np.pi / 2, np.pi / 2, size)
    tail = (np.cos((1 - alpha) * angle) / rng.standard_exponential(size)) ** (1 / alpha - 1)
    return 2 ** (-1 / alpha) * np.sin(alpha * angle) / np.cos(angle) ** (1 / alpha) * tail


def sample_outputs(
    x,
    *,
    width: int,
    depth: int = 1,
    activation: Activation = "relu",
    sigma_w: float,
    sigma_b: float,
    networks: int,
    rng: np.random.Generator,
    readout_variance=1.0,
    stability: float = 2.0,
) -> np.ndarray:
    r"""Outputs of independent random networks, all networks on the same inputs.

    .. math:: f(x)=\sqrt s\Bigl(\frac{\sigma_w}{n^{1/\alpha}}\sum_{j=1}^n v_j\,\phi(h^L_j(x))
              +\sigma_b\,c\Bigr)

    with standard normal weights, except that the readout :math:`v_j,c` is symmetric stable with
    index :math:`\alpha` (standard normal at :math:`\alpha=2`). Every weight is drawn; nothing is
    replaced by its infinite-width law.

    Parameters
    ----------
    x : array_like, shape (points, d)
        Inputs.
    width : int
        Neurons :math:`n` in each hidden layer.
    depth : int
        Hidden layers :math:`L\ge1`.
    activation : str or callable
        A name in ``course.activations.activations`` or a function of a tensor.
    sigma_w, sigma_b : float
        Standard deviations of weights and biases, in every layer.
    networks : int
        Number of independent networks.
    rng : numpy.random.Generator
        Source of all weights.
    readout_variance : float or array_like, shape (networks,)
        The scale :math:`s` of the readout of each network.
    stability : float
        Index :math:`\alpha` of the readout law.

    Returns
    -------
    numpy.ndarray, shape (networks, points)
        One row per network, float64.

    Raises
    ------
    ValueError
        For inputs that are not a finite matrix, sizes below 1, negative standard deviations or
        scales, a stability outside (0, 2], an unknown activation, or another kind of generator.

    Notes
    -----
    Works through the networks in chunks, so memory stays bounded. Taught in chapter 1.1,
    section *One hidden layer*.
    """
    x = validate.array("x", x, dimensions=2, empty=False)
    points, dimension = x.shape
    width, depth = validate.whole("width", width), validate.whole("depth", depth)
    networks = validate.whole("networks", networks)
    sigma_w = validate.real("sigma_w", sigma_w, low=0)
    sigma_b = validate.real("sigma_b", sigma_b, low=0)
    scales = validate.array("readout_variance", readout_variance, dimensions=(0, 1))
    if scales.shape not in ((), (networks,)) or (scales < 0).any():
        raise ValueError(
            f"readout_variance is {readout_variance!r}; allowed is one finite number >= 0, "
            f"or {networks} of them (one per network)"
        )
    validate.generator("rng", rng, np.random.Generator)
    function = find_activation(activation).function
    features = np.hstack([x * (sigma_w / math.sqrt(dimension)), np.full((points, 1), sigma_b)])
    per_network = width * max(points, dimension + 1, width if depth > 1 else 1)
    chunk = max(1, _CHUNK // per_network)
    outputs = np.empty((networks, points))
    for start in range(0, networks, chunk):
        size = min(chunk, networks - start)
        weights = rng.standard_normal((dimension + 1, size * width))
        hidden = _apply(function, (features @ weights).reshape(points, size, width))
        hidden = hidden.transpose(1, 0, 2)
        for _ in range(depth - 1):
            weights = rng.standard_normal((size, width, width))
            bias = rng.standard_normal((size, 1, width))
            preactivation = sigma_w / math.sqrt(width) * (hidden @ weights) + sigma_b * bias
            hidden = _apply(function, preactivation)
        readout = stable_variates(stability, (size, width + 1), rng)
        total = (hidden @ readout[:, :width, None])[..., 0]
        outputs[start : start + size] = (
            sigma_w * width ** (-1 / stability) * total + sigma_b * readout[:, width:]
        )
    return outputs * np.sqrt(scales).reshape(-1, 1)


def _condition(kernel_train, kernel_cross, kernel_test, y, noise):
    """Check all but y; return mean, Schur complement, yᵀA⁻¹y and log det A (A: with noise)."""
    train = validate.array("kernel_train", kernel_train, dimensions=2)
    cross = validate.array("kernel_cross", kernel_cross, dimensions=2)
    test = validate.array("kernel_test", kernel_test, dimensions=2)
    noise = validate.real("noise", noise, low=0)
    n, m = len(y), len(test)
    for name, matrix, allowed in (
        ("kernel_train", train, (n, n)),
        ("kernel_cross", cross, (m, n)),
        ("kernel_test", test, (m, m)),
    ):
        if matrix.shape != allowed:
            raise ValueError(
                f"{name} has shape {matrix.shape}; allowed is {allowed} for {n} targets y and "
                f"{m} test points"
            )
    for name, matrix in (("kernel_train", train), ("kernel_test", test)):
        if not np.allclose(matrix, matrix.T, rtol=1e-9, atol=1e-12):
            raise ValueError(f"{name} is not symmetric; allowed are symmetric kernel matrices")
    try:
        factor = cho_factor(train + noise * np.eye(n), lower=True)
    except LinAlgError as error:
        raise ValueError(
            f"kernel_train with noise={noise:g} is not positive definite; allowed are positive "
            "definite matrices: remove repeated inputs or give noise > 0"
        ) from error
    solved = cho_solve(factor, cross.T)
    covariance = test - cross @ solved
    quadratic = float(y @ cho_solve(factor, y))
    log_determinant = 2 * float(np.log(np.diag(factor[0])).sum())
    return y @ solved, (covariance + covariance.T) / 2, quadratic, log_determinant


def gp_posterior(
    kernel_train, kernel_cross, kernel_test, y, *, noise: float = 0.0
) -> GaussianPosterior:
    r"""Gaussian-process regression by Cholesky factorisation.

    .. math:: m=K_*A^{-1}y,\quad C=K_{**}-K_*A^{-1}K_*^\top,\quad A=K+\sigma_\epsilon^2I,\quad
              \log p(y)=-\tfrac12y^\top A^{-1}y-\tfrac12\log\det A-\tfrac N2\log2\pi

    Parameters
    ----------
    kernel_train : array_like, shape (train, train)
        Prior covariance :math:`K` of the function at the training inputs.
    kernel_cross : array_like, shape (test, train)
        Prior covariance :math:`K_*` between test and training inputs.
    kernel_test : array_like, shape (test, test)
        Prior covariance :math:`K_{**}` at the test inputs.
    y : array_like, shape (train,)
        Targets.
    noise : float
        Variance :math:`\sigma_\epsilon^2` of independent Gaussian noise on the targets.

    Returns
    -------
    GaussianPosterior
        ``mean``, ``covariance`` of the noise-free function, and ``log_marginal``.

    Raises
    ------
    ValueError
        For shapes that do not fit, entries that are not finite, negative noise, or a training
        kernel that is not symmetric and positive definite.

    Notes
    -----
    Taught in chapter 1.1, section *Learning without training*.
    """
    y = validate.array("y", y, dimensions=1)
    mean, covariance, quadratic, log_determinant = _condition(
        kernel_train, kernel_cross, kernel_test, y, noise
    )
    constant = len(y) * math.log(2 * math.pi)
    return GaussianPosterior(mean, covariance, -(quadratic + log_determinant + constant) / 2)


def student_t_posterior(
    kernel_train,
    kernel_cross,
    kernel_test,
    y,
    *,
    shape: float,
    rate: float,
    noise: float = 0.0,
) -> StudentTPosterior:
    r"""Regression with a Gaussian process of unknown scale.

    The prior is :math:`f\mid s\sim\mathcal{GP}(0,sK)`, :math:`s\sim` inverse gamma with shape
    :math:`a` and rate :math:`b`; targets have noise of variance :math:`s\,\sigma_\epsilon^2`.
    With :math:`A=K+\sigma_\epsilon^2I` and :math:`N` targets,

    .. math:: f_*\mid y\sim t_{2a+N}\Bigl(K_*A^{-1}y,\;
              \frac{b+\frac12y^\top A^{-1}y}{a+\frac N2}(K_{**}-K_*A^{-1}K_*^\top)\Bigr)

    Parameters
    ----------
    kernel_train, kernel_cross, kernel_test, y
        As in :func:`gp_posterior`, with the kernels at :math:`s=1`.
    shape, rate : float
        Parameters :math:`a,b>0` of the inverse gamma prior.
    noise : float
        Noise variance in units of the scale.

    Returns
    -------
    StudentTPosterior
        ``mean``, ``scale`` matrix, ``degrees_of_freedom`` and ``log_marginal``.

    Raises
    ------
    ValueError
        As :func:`gp_posterior`, and for ``shape`` or ``rate`` that is not positive.

    Notes
    -----
    Source: Lee et al. (2021). Taught in chapter 1.1, section *A random readout scale*.
    """
    shape = validate.real("shape", shape, low=0, strict=True)
    rate = validate.real("rate", rate, low=0, strict=True)
    y = validate.array("y", y, dimensions=1)
    mean, covariance, quadratic, log_determinant = _condition(
        kernel_train, kernel_cross, kernel_test, y, noise
    )
    n = len(y)
    new_shape, new_rate = shape + n / 2, rate + quadratic / 2
    log_marginal = (
        gammaln(new_shape)
        - gammaln(shape)
        + shape * math.log(rate)
        - new_shape * math.log(new_rate)
        - (n * math.log(2 * math.pi) + log_determinant) / 2
    )
    return StudentTPosterior(
        mean, new_rate / new_shape * covariance, 2 * new_shape, float(log_marginal)
    )


def weighted_moments(weights, values, *, seeds: int = 20) -> Estimate:
    r"""Posterior mean and variance from prior samples weighted by their likelihood.

    .. math:: m=\frac{\sum_i\omega_if_i}{\sum_i\omega_i},\qquad
              v=\frac{\sum_i\omega_if_i^2}{\sum_i\omega_i}-m^2

    Parameters
    ----------
    weights : array_like, shape (samples,)
        Likelihood :math:`\omega_i\ge0` of each sample.
    values : array_like, shape (samples, points)
        The sampled functions.
    seeds : int
        Number of equal groups of samples for the jackknife error; divides the samples.

    Returns
    -------
    Estimate
        The means, then the variances: arrays of length ``2 * points``.

    Raises
    ------
    ValueError
        For shapes that do not fit, negative weights, or weights that are all zero.

    Notes
    -----
    Taught in chapter 1.1, section *Learning without training*.
    """
    weights = validate.array("weights", weights, dimensions=1)
    values = validate.array("values", values, dimensions=2)
    if len(weights) != len(values) or (weights < 0).any() or not weights.any():
        raise ValueError(
            f"weights has shape {weights.shape}; allowed are {len(values)} numbers >= 0, one per "
            "row of values, not all zero"
        )
    if len(weights) % validate.whole("seeds", seeds, low=2):
        raise ValueError(f"seeds is {seeds}; allowed are divisors >= 2 of {len(weights)}")
    columns = [weights[:, None], weights[:, None] * values, weights[:, None] * values**2]
    groups = np.hstack(columns).reshape(seeds, -1, 1 + 2 * values.shape[1]).mean(axis=1)

    def moments(rows):
        total = rows.mean(axis=0)
        mean, second = np.split(total[1:] / total[0], 2)
        return np.concatenate([mean, second - mean**2])

    return jackknife(moments, groups)


def _law(width, preactivation_variance, sigma_w, sigma_b) -> tuple[int, float, float, float]:
    return (
        validate.whole("width", width),
        validate.real("preactivation_variance", preactivation_variance, low=0, strict=True),
        validate.real("sigma_w", sigma_w, low=0, strict=True),
        validate.real("sigma_b", sigma_b, low=0),
    )


def _neuron(activation: Activation, variance: float) -> tuple[np.ndarray, np.ndarray]:
    """Return φ at quadrature nodes and weights of a Gaussian of this variance (kink at 0 only)."""
    panels = 12
    nodes, weights = np.polynomial.legendre.leggauss(40)
    edges = np.linspace(0.0, 12.0, panels + 1)
    half = (edges[1] - edges[0]) / 2
    z = (edges[:-1, None] + half * (nodes + 1)).ravel()
    mass = np.tile(weights * half, panels) * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    z, mass = np.concatenate([-z[::-1], z]), np.concatenate([mass[::-1], mass])
    return _apply(find_activation(activation).function, math.sqrt(variance) * z), mass


def excess_kurtosis(
    activation: Activation = "relu",
    *,
    width: int,
    preactivation_variance: float = 1.0,
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
) -> float:
    r"""Excess kurtosis of the output of a one-hidden-layer network, exact at every width.

    .. math:: g=\frac{E f^4}{(E f^2)^2}-3
              =\frac3n\,\frac{\sigma_w^4\,(E\phi^4-(E\phi^2)^2)}{(\sigma_w^2E\phi^2+\sigma_b^2)^2}

    Parameters
    ----------
    activation : str or callable
        Activation :math:`\phi`, smooth except possibly at zero.
    width : int
        Hidden neurons :math:`n`.
    preactivation_variance : float
        Variance :math:`K^1(x,x)` of a hidden preactivation.
    sigma_w, sigma_b : float
        Standard deviations of the readout weights and bias.

    Returns
    -------
    float
        The excess kurtosis :math:`g`.

    Raises
    ------
    ValueError
        For a width below 1, variances that are not positive, or an unknown activation.

    Notes
    -----
    Source: Antognini (2019). Taught in chapter 1.1, section *The first correction*.
    """
    width, variance, sigma_w, sigma_b = _law(width, preactivation_variance, sigma_w, sigma_b)
    values, mass = _neuron(activation, variance)
    second, fourth = mass @ values**2, mass @ values**4
    output = sigma_w**2 * second + sigma_b**2
    return float(3 / width * sigma_w**4 * (fourth - second**2) / output**2)


def edgeworth_density(x, *, variance: float, kurtosis: float) -> np.ndarray:
    r"""Gaussian density with its first correction for excess kurtosis.

    .. math:: p(x)=\mathcal N(x;0,K)\Bigl[1+\frac g{24}\,He_4\Bigl(\frac x{\sqrt K}\Bigr)\Bigr],
              \qquad He_4(u)=u^4-6u^2+3

    Parameters
    ----------
    x : array_like
        Outputs at which to evaluate.
    variance : float
        Variance :math:`K` of the output.
    kurtosis : float
        Excess kurtosis :math:`g`; 0 gives the Gaussian. Above 4 the result is negative near
        :math:`x=\pm\sqrt{3K}`.

    Returns
    -------
    numpy.ndarray
        Density, of the shape of ``x``.

    Raises
    ------
    ValueError
        For outputs that are not finite numbers, a variance that is not positive or a kurtosis
        below -2 (no such law exists).

    Notes
    -----
    Source: Antognini (2019); derived in chapter 1.1, section *From kurtosis to density*.
    """
    variance = validate.real("variance", variance, low=0, strict=True)
    kurtosis = validate.real("kurtosis", kurtosis, low=-2)
    u = validate.array("x", x, dimensions=None) / math.sqrt(variance)
    normal = np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi * variance)
    return normal * (1 + kurtosis / 24 * hermeval(u, [0, 0, 0, 0, 1]))


def characteristic_function(
    t,
    *,
    width: int,
    activation: Activation = "relu",
    preactivation_variance: float = 1.0,
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
) -> np.ndarray:
    r"""Characteristic function of a one-hidden-layer network's output, exact at every width.

    .. math:: \psi(t)=E\,e^{itf}=e^{-\sigma_b^2t^2/2}
              \Bigl[E_h\,e^{-t^2\sigma_w^2\phi(h)^2/2n}\Bigr]^n

    Parameters
    ----------
    t : array_like
        Real arguments.
    width, activation, preactivation_variance, sigma_w, sigma_b
        As in :func:`excess_kurtosis`.

    Returns
    -------
    numpy.ndarray
        :math:`\psi(t)`, real because the law is symmetric, of the shape of ``t``.

    Raises
    ------
    ValueError
        As :func:`excess_kurtosis`; for arguments that are not finite numbers.

    Notes
    -----
    Source: derived in chapter 1.1, section *From kurtosis to density*.
    """
    width, variance, sigma_w, sigma_b = _law(width, preactivation_variance, sigma_w, sigma_b)
    values, mass = _neuron(activation, variance)
    t = validate.array("t", t, dimensions=None)
    exponent = np.multiply.outer(t**2, sigma_w**2 * values**2 / (2 * width))
    return np.exp(-(sigma_b**2) * t**2 / 2) * (np.exp(-exponent) @ mass) ** width


def output_density(
    x,
    *,
    width: int,
    activation: Activation = "relu",
    preactivation_variance: float = 1.0,
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
) -> np.ndarray:
    r"""Density of a one-hidden-layer network's output, exact at every width, without sampling.

    .. math:: p(x)=\frac1\pi\int_0^\infty\cos(tx)\,\psi(t)\,dt

    by the trapezoidal rule, which converges exponentially here.

    Parameters
    ----------
    x : array_like
        Outputs at which to evaluate.
    width, activation, preactivation_variance, sigma_w, sigma_b
        As in :func:`excess_kurtosis`.

    Returns
    -------
    numpy.ndarray
        Density, of the shape of ``x``, to about 1e-11 of its maximum.

    Raises
    ------
    ValueError
        As :func:`excess_kurtosis`, and when :math:`\psi` does not decay: a narrow network
        without bias has a singular density (all neurons of a ReLU layer may be off).
    RuntimeError
        When halving the step does not settle the integral.

    Notes
    -----
    Source: derived in chapter 1.1, section *From kurtosis to density*.
    """
    law = {
        "width": width,
        "activation": activation,
        "preactivation_variance": preactivation_variance,
        "sigma_w": sigma_w,
        "sigma_b": sigma_b,
    }
    x = validate.array("x", x, dimensions=None, empty=False)
    width, variance, sigma_w, sigma_b = _law(width, preactivation_variance, sigma_w, sigma_b)
    values, mass = _neuron(activation, variance)
    deviation = math.sqrt(sigma_w**2 * (mass @ values**2) + sigma_b**2)
    limit = 8.0 / deviation
    while abs(float(characteristic_function(limit, **law))) > 1e-13:
        limit *= 1.25
        if limit > 400 / deviation:
            raise ValueError(
                f"width is {width} with sigma_b={sigma_b:g}: the characteristic function does "
                "not decay, so the density is singular; allowed are larger widths or sigma_b > 0"
            )
    step = 2 * math.pi / (float(np.abs(x).max(initial=0.0)) + 60 * deviation)
    flat, previous = x.ravel(), None
    for _ in range(4):
        t = np.arange(0.0, limit + step, step)
        psi = characteristic_function(t, **law)
        psi[0] /= 2
        rows = max(1, _CHUNK // len(t))
        blocks = [flat[start : start + rows] for start in range(0, flat.size, rows)]
        density = np.concatenate([np.cos(np.multiply.outer(block, t)) @ psi for block in blocks])
        density *= step / math.pi
        if previous is not None and np.abs(density - previous).max(initial=0.0) * deviation < 1e-11:
            return density.reshape(x.shape)
        previous, step = density, step / 2
    raise RuntimeError(
        f"the Fourier integral at width {width} did not settle to 1e-11 after 4 step sizes"
    )


def bin_probabilities(density: Callable[[np.ndarray], np.ndarray], edges) -> np.ndarray:
    r"""Probability of each bin, :math:`\int_{e_i}^{e_{i+1}}p(x)\,dx`, by eight Gauss nodes.

    Parameters
    ----------
    density : callable
        Maps an array of points to the density there.
    edges : array_like, shape (bins + 1,)
        Increasing bin edges.

    Returns
    -------
    numpy.ndarray, shape (bins,)
        One probability per bin.

    Raises
    ------
    ValueError
        For edges that do not increase.

    Notes
    -----
    Used in chapter 1.1, section *From kurtosis to density*.
    """
    edges = validate.array("edges", edges, dimensions=1)
    if len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(f"edges is {edges!r}; allowed are at least two increasing numbers")
    nodes, weights = np.polynomial.legendre.leggauss(8)
    half = np.diff(edges)[:, None] / 2
    points = edges[:-1, None] + half * (nodes + 1)
    return (density(points) * half) @ weights


def draw_prior(x, functions: dict, outputs: dict, at: float, kernel, rng: np.random.Generator):
    """Draw random functions (top) and one output's density (bottom), with the limit beside them.

    Parameters
    ----------
    x : numpy.ndarray, shape (points,)
        Where the functions are evaluated.
    functions : dict of int to numpy.ndarray, shape (networks, points)
        A few functions for each width.
    outputs : dict of int to numpy.ndarray, shape (networks, 1)
        Many outputs at the input ``at`` for each width.
    at : float
        The input of the bottom row.
    kernel : numpy.ndarray, shape (points, points)
        Covariance of the limiting process on ``x``; the last column shows draws of it.
    rng : numpy.random.Generator
        Source of those draws.

    Returns
    -------
    matplotlib.figure.Figure
        Two rows; one column per width, and one for the limit.
    """
    from course import figures

    columns = len(functions) + 1
    fig, axs = figures.panels(columns, 2, size=(8.4, 4.2), sharex="row", sharey="row")
    band, variance = 2 * np.sqrt(np.diag(kernel)), float(np.interp(at, x, np.diag(kernel)))
    count = max(len(curves) for curves in functions.values())
    limit = rng.multivariate_normal(np.zeros(len(x)), kernel, size=count, method="eigh")
    curves = [*functions.values(), limit]
    titles = [*(f"width $n={width}$" for width in functions), r"Gaussian process, $n=\infty$"]
    grid, edges = np.sqrt(variance) * np.linspace(-4, 4, 161), np.linspace(-4, 4, 33)
    for top, title, group in zip(axs, titles, curves, strict=False):
        top.fill_between(x, -band, band, color="0.9", lw=0)
        for curve, color in zip(group, figures.COLORS, strict=False):
            top.plot(x, curve, color=color, lw=1.1)
        top.axvline(at, color="0.5", lw=0.8, ls=":")
        top.set(title=title, xlabel="input angle")
    for i, bottom in enumerate(axs[columns:]):
        gaussian = edgeworth_density(grid, variance=variance, kurtosis=0.0)
        figures.theory(bottom, grid, gaussian, color=figures.COLORS[1])
        bottom.set(xlabel=f"output $f$ at angle {at:g}")
        if i < len(outputs):
            values = list(outputs.values())[i][:, 0]
            counts, bins = np.histogram(values, edges * math.sqrt(variance))
            per = len(values) * np.diff(bins)
            centres = (bins[1:] + bins[:-1]) / 2
            figures.simulation(bottom, centres, counts / per, np.sqrt(counts) / per, markersize=2.5)
    axs[0].set(ylabel="random functions $f$")
    axs[columns].set(ylabel="density")
    return fig


def draw_joint(outputs: dict, kernel):
    """Scatter of two outputs for several widths, with the ellipses of the limiting Gaussian.

    Parameters
    ----------
    outputs : dict of int to numpy.ndarray, shape (networks, 2)
        Outputs at two inputs for each width.
    kernel : numpy.ndarray, shape (2, 2)
        Their covariance.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per width; the ellipses hold 50 and 95 % of the limiting law.
    """
    from course import figures

    fig, axs = figures.panels(len(outputs), size=(6.6, 3.1), sharex=True, sharey=True)
    angle = np.linspace(0, 2 * np.pi, 181)
    circle = np.linalg.cholesky(kernel) @ np.array([np.cos(angle), np.sin(angle)])
    reach = 3.5 * np.sqrt(np.diag(kernel))
    for ax, (width, pairs) in zip(axs, outputs.items(), strict=True):
        ax.plot(*pairs.T, ".", ms=2, label="networks" if ax is axs[0] else None)
        for share in (0.5, 0.95):
            radius = math.sqrt(-2 * math.log(1 - share))
            label = "GP: 50 and 95 %" if share < 0.9 and ax is axs[0] else None
            figures.theory(ax, *(radius * circle), label=label, color=figures.COLORS[1])
        ax.set(
            title=f"width $n={width}$",
            xlabel="output $f(x_1)$",
            xlim=(-reach[0], reach[0]),
            ylim=(-reach[1], reach[1]),
        )
    axs[0].set(ylabel="output $f(x_2)$")
    axs[0].legend(loc="upper left")
    return fig


def draw_density(ax, outputs, *, width: int, **law) -> None:
    """Draw the output density at one width: networks, exact, Gaussian and first correction.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    width : int
        Hidden neurons.
    outputs : numpy.ndarray, shape (networks,)
        Simulated outputs in units of their standard deviation.
    **law
        ``activation``, ``preactivation_variance``, ``sigma_w``, ``sigma_b`` of
        :func:`excess_kurtosis`, scaled so that the output variance is 1.
    """
    from course import figures

    u = np.linspace(-4.5, 4.5, 181)
    edges = np.linspace(-4.5, 4.5, 61)
    counts, _ = np.histogram(outputs, edges)
    size = len(outputs) * np.diff(edges)
    centres = (edges[1:] + edges[:-1]) / 2
    kept = counts > 9
    figures.simulation(
        ax,
        centres[kept],
        (counts / size)[kept],
        (np.sqrt(counts) / size)[kept],
        label="networks",
        color="black",
        markersize=3,
    )
    figures.rejected(ax, u, edgeworth_density(u, variance=1.0, kurtosis=0.0), "Gaussian")
    kurtosis = excess_kurtosis(width=width, **law)
    figures.theory(
        ax,
        u,
        edgeworth_density(u, variance=1.0, kurtosis=kurtosis),
        label="first correction",
        color=figures.COLORS[1],
    )
    figures.theory(
        ax, u, output_density(u, width=width, **law), label="exact", color=figures.COLORS[0], lw=1.2
    )
    ax.set(
        xlabel="output $f$ in standard deviations",
        ylabel="density $p(f)$",
        ylim=(-0.12, 0.95),
        title=f"width $n={width}$, excess kurtosis $g={kurtosis:.3g}$",
    )
