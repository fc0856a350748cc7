r"""The power-law random-feature model: one-pass SGD solved exactly, and compute-optimal phases.

The model has :math:`v` data coordinates :math:`x_j\sim N(0,j^{-2\alpha})`, a target
:math:`\langle b,x\rangle` with :math:`b_j=j^{-\beta}`, and :math:`d` features
:math:`W^\top x` with entries of :math:`W` of variance :math:`1/d`. Chapter 3.4 derives every
formula.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from scipy.optimize import brentq, minimize_scalar
from scipy.special import zeta

from course import figures, runtime, validate

__all__ = [
    "ComputeOptimal", "Divergence", "EquivalentSpectrum", "Frontier", "PowerLawFeatures",
    "Spectrum", "balance", "compute_optimal", "critical_rate", "draw_approach", "draw_frontier",
    "draw_plane", "expected_loss", "forcing_and_kernel", "frontier", "kernel_norm", "loss_terms",
    "optimal_budgets", "plrf_spectrum", "reference_rate", "sample_losses", "sample_phases",
    "sgd_loss", "time_exact", "volterra_loss",
]  # fmt: skip

NODES = 32
"""Nodes of the contour that inverts a transform; its error falls as 10 to the power −0.6 NODES."""
GROUPS = 8
"""Independent groups of W, from which standard errors follow."""
DIRECT_STEPS = 64
"""Losses of one W up to this step come from the recursion itself."""
CIRCLE_STEPS = 10
"""Up to this step a circle inverts the transform of the deterministic equivalent."""
ROUNDING = 1e-11
"""A value below this fraction of the terms that sum to it has lost all but a few digits."""
MEMORY = 2**26
"""Numbers that one block of W, or of a Cauchy matrix, may hold."""


class Divergence(RuntimeError):
    """The learning rate is beyond the stable range, so that the loss grows without bound."""


class ComputeOptimal(NamedTuple):
    """Phase and exponents of the compute-optimal frontier.

    Attributes
    ----------
    phase : str
        One of Ia, Ib, Ic, II, III, IVa, IVb.
    size_exponent : float
        Exponent of the optimal number of features in the compute.
    loss_exponent : float
        Exponent of the optimal loss in the compute; negative.
    """

    phase: str
    size_exponent: float
    loss_exponent: float


def _defined(alpha, beta) -> tuple[float, float]:
    alpha = validate.real("alpha", alpha, low=0, strict=True)
    beta = validate.real("beta", beta, low=0, strict=True)
    if alpha + beta <= 0.5:
        raise ValueError(
            f"alpha + beta is {alpha + beta:g}; allowed are sums above 0.5: below, the loss at the "
            "start, the sum of j^(−2 alpha − 2 beta), is infinite in the limit of many features, "
            "and no compute lowers it by a power law"
        )
    return alpha, beta


_BOUNDARIES = (
    (lambda a, b: a - 0.5, lambda a, b: True, "alpha = 1/2"),
    (lambda a, b: b - 0.5, lambda a, b: True, "beta = 1/2"),
    (lambda a, b: a - b, lambda a, b: a > 0.5, "alpha = beta"),
    (lambda a, b: a - 0.25, lambda a, b: b > 0.5, "alpha = 1/4"),
    (lambda a, b: a - 1 + math.sqrt(0.5), lambda a, b: b > 0.5, "alpha = 1 − 1/√2"),
)


def _phase(alpha: float, beta: float) -> str:
    for distance, applies, name in _BOUNDARIES:
        if applies(alpha, beta) and abs(distance(alpha, beta)) < 1e-12:
            raise ValueError(
                f"(alpha, beta) is ({alpha:g}, {beta:g}), on the boundary {name}; allowed are "
                "points inside a phase: on boundaries the power laws carry logarithms"
            )
    if beta < 0.5:
        return "Ia" if alpha > 0.5 else "Ib"
    if alpha > 0.5:
        return "II" if beta < alpha else "III"
    if alpha < 0.25:
        return "Ic"
    return "IVb" if alpha < 1 - math.sqrt(0.5) else "IVa"


def compute_optimal(alpha: float, beta: float) -> ComputeOptimal:
    r"""Phase and exponents of the compute-optimal frontier.

    With compute :math:`f=B\,d\,r` (batch times features times steps), the best number of features
    is :math:`d^\star\sim f^{\text{size exponent}}` and the loss there
    :math:`\sim f^{\text{loss exponent}}`.

    Parameters
    ----------
    alpha : float
        Decay of the data, :math:`x_j\sim j^{-\alpha}`; positive.
    beta : float
        Decay of the target, :math:`b_j=j^{-\beta}`; positive, with ``alpha + beta > 1/2``.

    Returns
    -------
    ComputeOptimal

    Raises
    ------
    ValueError
        Where the loss is undefined (``alpha + beta <= 1/2``), and on a boundary between phases,
        where power laws carry logarithms.

    Notes
    -----
    Paquette et al. (2024), who prove phase Ib for ``alpha > 1/4`` only, and Ic
    not at all. Taught in chapter 3.4, "The phase plane".

    Examples
    --------
    >>> compute_optimal(0.8, 1.2).phase
    'III'
    """
    alpha, beta = _defined(alpha, beta)
    phase = _phase(alpha, beta)
    excess = 2 * alpha + 2 * beta - 1
    if phase == "Ia":
        size, loss = 1 / (2 * alpha + 1), -excess / (2 * alpha + 1)
    elif phase == "Ib":
        size, loss = 0.5, -excess / 2
    elif phase == "Ic":
        size = excess / (6 * alpha + 4 * beta - 2 - 4 * alpha * beta)
        loss = -2 * alpha * size
    elif phase == "II":
        size, loss = beta / (alpha + beta), -excess / (2 * (alpha + beta))
    elif phase == "III":
        size, loss = 0.5, -(4 * alpha - 1) / (4 * alpha)
    elif phase == "IVa":
        size, loss = 0.5, -alpha
    else:
        denominator = 2 * beta - alpha - 2 * alpha * beta
        size = (beta - alpha) / denominator
        loss = -(1 - 2 * alpha) * excess / (2 * denominator)
    return ComputeOptimal(phase, size, loss)


def loss_terms(alpha: float, beta: float) -> dict[str, tuple[float, float]]:
    r"""Power laws that make up the loss: exponents of :math:`d` and of the number of steps.

    A term :math:`d^a r^b` has the entry ``(a, b)``; the learning rate is
    :math:`\eta\sim d^{\min(0,2\alpha-1)}`.

    Parameters
    ----------
    alpha, beta : float
        Decay of data and target, with ``alpha + beta > 1/2``.

    Returns
    -------
    dict
        ``"unreachable"``: :math:`d^{-2\alpha+\max(0,1-2\beta)}`. ``"signal"``:
        :math:`(\eta r)^{-(2\alpha+2\beta-1)/2\alpha}`. ``"distortion"``, for
        :math:`\alpha,\beta>\frac12`: :math:`d^{-1}(\eta r)^{-1+1/2\alpha}`. ``"noise"``, for
        :math:`\alpha>\frac14,\beta>\frac12`: :math:`\eta(\eta r)^{-2+1/2\alpha}`.

    Notes
    -----
    Paquette et al. (2024), where they are called :math:`F_0`, :math:`F_{pp}`,
    :math:`F_{ac}` and :math:`K_{pp}`. Taught in chapter 3.4, "Four power laws".
    """
    alpha, beta = _defined(alpha, beta)
    rate = min(0.0, 2 * alpha - 1)
    signal = -(2 * alpha + 2 * beta - 1) / (2 * alpha)
    terms = {
        "unreachable": (-2 * alpha + max(0.0, 1 - 2 * beta), 0.0),
        "signal": (rate * signal, signal),
    }
    if alpha > 0.5 and beta > 0.5:
        terms["distortion"] = (-1.0, -1 + 1 / (2 * alpha))
    if alpha > 0.25 and beta > 0.5:
        noise = -2 + 1 / (2 * alpha)
        terms["noise"] = (rate * (1 + noise), noise)
    return terms


def balance(alpha: float, beta: float) -> tuple[float, float]:
    r"""Exponents of the frontier by brute force: the minimum over sizes of the largest term.

    With :math:`d=f^x` and :math:`r=f^{1-x}` every term is a power of :math:`f`, whose exponent is
    a straight line in :math:`x`. The largest of them is convex; its minimum is found numerically.

    Parameters
    ----------
    alpha, beta : float
        Decay of data and target, with ``alpha + beta > 1/2``.

    Returns
    -------
    (float, float)
        The size exponent :math:`x^\star` and the loss exponent.

    Notes
    -----
    Independent of the table in :func:`compute_optimal`. Taught in chapter 3.4, "The phase plane".
    """
    size, steps = np.array(list(loss_terms(alpha, beta).values())).T
    crossings = {0.0, 1.0}
    for i in range(len(size)):
        for k in range(i):
            slope = (size[i] - steps[i]) - (size[k] - steps[k])
            if slope:
                crossings.add((steps[k] - steps[i]) / slope)
    x = np.array(sorted(c for c in crossings if 0 <= c <= 1))
    envelope = (np.outer(x, size) + np.outer(1 - x, steps)).max(axis=1)
    best = int(envelope.argmin())
    return float(x[best]), float(envelope[best])


@dataclass(frozen=True)
class Spectrum:
    r"""What SGD's mean loss depends on: eigenvalues, the target on them, and what is out of reach.

    Attributes
    ----------
    eigenvalues : numpy.ndarray, shape (features,)
        Eigenvalues :math:`\lambda_j` of :math:`W^\top DW`, the covariance of the features.
    signal : numpy.ndarray, shape (features,)
        Loss :math:`c_j=\lambda_j(u_j\cdot\theta^\star)^2` in each mode before training.
    unreachable : float
        Loss :math:`P_\perp` of the best weights :math:`\theta^\star`.
    """

    eigenvalues: np.ndarray
    signal: np.ndarray
    unreachable: float

    def __post_init__(self):
        eigenvalues = validate.array("eigenvalues", self.eigenvalues, dimensions=1, empty=False)
        signal = validate.array("signal", self.signal, dimensions=1, empty=False)
        if signal.shape != eigenvalues.shape:
            raise ValueError(
                f"signal has shape {signal.shape}; allowed is that of eigenvalues, "
                f"{eigenvalues.shape}"
            )
        for name, values in (("eigenvalues", eigenvalues), ("signal", signal)):
            if (values < 0).any():
                raise ValueError(f"{name} contains {values.min():g}; allowed are numbers >= 0")
        validate.real("unreachable", self.unreachable, low=0)
        object.__setattr__(self, "eigenvalues", eigenvalues)
        object.__setattr__(self, "signal", signal)

    @property
    def start(self) -> float:
        """The loss before training, with all weights zero."""
        return float(self.signal.sum() + self.unreachable)

    def transforms(self, w: np.ndarray, *, beyond: bool = False) -> tuple[np.ndarray, np.ndarray]:
        r"""The two sums over modes of the loss and of the noise that its gradients make.

        They are :math:`\sum_jc_j/(\lambda_j+w)+P_\perp/w` and
        :math:`\sum_j\lambda_j^2/(\lambda_j+w)`.

        Parameters
        ----------
        w : numpy.ndarray of complex
            Any shape, off the eigenvalues' mirror image on the negative real axis.
        beyond : bool
            Whether the points lie around the negative axis to the left of all of them; this form of
            spectrum has no use for it.

        Returns
        -------
        (numpy.ndarray, numpy.ndarray)
        """
        flat = np.asarray(w).ravel()
        block = max(1, MEMORY // (16 * len(self.eigenvalues)))
        both = []
        for i in range(0, len(flat), block):
            cauchy = 1 / (self.eigenvalues + flat[i : i + block, None])
            both.append((cauchy @ self.signal, cauchy @ self.eigenvalues**2))
        columns = (np.concatenate(part) for part in zip(*both, strict=True))
        first, second = (column.reshape(np.shape(w)) for column in columns)
        return first + self.unreachable / w, second


def _power_law(name: str, exponent: float, dimensions: int) -> np.ndarray:
    return np.arange(1, dimensions + 1, dtype=np.float64) ** -exponent


@dataclass(frozen=True)
class PowerLawFeatures:
    r"""One sample of the power-law random-feature model.

    Attributes
    ----------
    alpha, beta : float
        Decay of data and target.
    weights : numpy.ndarray, shape (dimensions, features)
        The fixed random matrix :math:`W`.
    """

    alpha: float
    beta: float
    weights: np.ndarray

    @classmethod
    def sample(cls, alpha, beta, *, features, dimensions=None, rng) -> PowerLawFeatures:
        """Draw W; the parameters are those of :func:`plrf_spectrum`."""
        alpha, beta = _defined(alpha, beta)
        features, dimensions = _sizes(features, dimensions)
        validate.generator("rng", rng, np.random.Generator)
        return cls(alpha, beta, rng.standard_normal((dimensions, features)) / math.sqrt(features))

    @property
    def deviations(self) -> np.ndarray:
        r"""Standard deviations :math:`j^{-\alpha}` of the data's coordinates."""
        return _power_law("alpha", self.alpha, len(self.weights))

    @property
    def target(self) -> np.ndarray:
        r"""The target vector :math:`b_j=j^{-\beta}`."""
        return _power_law("beta", self.beta, len(self.weights))

    def spectrum(self) -> Spectrum:
        """Eigenvalues, signal and unreachable loss of this W."""
        return _spectrum(self.alpha, self.beta, lambda: iter([self.weights]), self.weights.shape)


def _sizes(features, dimensions) -> tuple[int, int]:
    features = validate.whole("features", features)
    dimensions = 4 * features if dimensions is None else validate.whole("dimensions", dimensions)
    if dimensions < features:
        raise ValueError(
            f"dimensions is {dimensions}; allowed are whole numbers >= features, {features}, since "
            "with fewer the features are linearly dependent"
        )
    return features, dimensions


def _spectrum(alpha, beta, blocks, shape) -> Spectrum:
    """The spectrum from row blocks of W, on the device that the machine has."""
    dimensions, features = shape
    device, places = runtime.device(), np.arange(1, dimensions + 1, dtype=np.float64)
    variance, target = (torch.as_tensor(places**-p, device=device) for p in (2 * alpha, beta))
    gram = torch.zeros(features, features, dtype=torch.float64, device=device)
    overlap, row = torch.zeros(features, dtype=torch.float64, device=device), 0
    for block in blocks():
        rows, part = slice(row, row + len(block)), torch.as_tensor(block, device=device)
        gram += part.T @ (variance[rows, None] * part)
        overlap += part.T @ (variance * target)[rows]
        row += len(block)
    eigenvalues, vectors = torch.linalg.eigh(gram)
    if not bool((eigenvalues > 0).all()):
        raise RuntimeError(
            f"the smallest eigenvalue of the features' covariance is {float(eigenvalues[0]):.3g}: "
            f"with alpha={alpha:g} and {features} features its spectrum is wider than double "
            "precision; use fewer features, or a smaller alpha"
        )
    projected = vectors.T @ overlap
    best, unreachable, row = vectors @ (projected / eigenvalues), 0.0, 0
    for block in blocks():
        rows, part = slice(row, row + len(block)), torch.as_tensor(block, device=device)
        unreachable += float((variance[rows] * (target[rows] - part @ best) ** 2).sum())
        row += len(block)
    signal = projected**2 / eigenvalues
    return Spectrum(eigenvalues.flip(0).cpu().numpy(), signal.flip(0).cpu().numpy(), unreachable)


def plrf_spectrum(
    alpha: float,
    beta: float,
    *,
    features: int,
    dimensions: int | None = None,
    rng: np.random.Generator,
) -> Spectrum:
    r"""Spectrum of one random W: all that the mean loss of SGD depends on.

    .. math:: W^\top DW=\sum_j\lambda_ju_ju_j^\top,\qquad
              c_j=\frac{(u_j\cdot W^\top Db)^2}{\lambda_j},\qquad
              P_\perp=b^\top Db-\sum_jc_j,\qquad D=\mathrm{diag}(j^{-2\alpha}).

    Parameters
    ----------
    alpha, beta : float
        Decay of data and target, with ``alpha + beta > 1/2``.
    features : int
        Number :math:`d` of features (trained weights).
    dimensions : int, optional
        Number :math:`v` of data coordinates, at least ``features``; four times as many by default.
    rng : numpy.random.Generator
        Source of W. W is drawn in blocks of rows and not kept if it is large.

    Returns
    -------
    Spectrum
        Eigenvalues in falling order.

    Raises
    ------
    ValueError
        For sizes or exponents that are not allowed.
    RuntimeError
        If the spectrum is wider than double precision.

    Notes
    -----
    The eigenvalues are computed on a GPU where there is one. Paquette et al. (2024).
    Taught in chapter 3.4, "The spectrum".
    """
    alpha, beta = _defined(alpha, beta)
    features, dimensions = _sizes(features, dimensions)
    validate.generator("rng", rng, np.random.Generator)
    rows, fresh = max(1, MEMORY // features), [copy.deepcopy(rng), rng]

    def blocks():
        source = fresh.pop()
        for start in range(0, dimensions, rows):
            count = min(rows, dimensions - start)
            yield source.standard_normal((count, features)) / math.sqrt(features)

    return _spectrum(alpha, beta, blocks, (dimensions, features))


class EquivalentSpectrum:
    r"""The spectrum for large :math:`d`, without drawing W: the deterministic equivalent.

    With :math:`\sigma_j=j^{-2\alpha}` and
    :math:`S(\kappa)=\sum_{j\le v}\sigma_j/(\sigma_j+\kappa)`, every :math:`w` off the negative
    real axis has one :math:`\kappa` with

    .. math:: w=\kappa\,\bigl(1-S(\kappa)/d\bigr),\qquad
              \sum_j\frac{c_j}{\lambda_j+w}+\frac{P_\perp}{w}
              \to\frac\kappa w\sum_j\frac{\sigma_jb_j^2}{\sigma_j+\kappa},\qquad
              \sum_j\frac{\lambda_j}{\lambda_j+w}\to S(\kappa).

    Sums over :math:`j` are exact to about ten digits, and cost a few hundred terms for any
    :math:`v`.

    Parameters
    ----------
    alpha, beta : float
        Decay of data and target, with ``alpha + beta > 1/2``.
    features : float
        Number :math:`d` of features, at least 1; need not be whole.
    dimensions : float, optional
        Number :math:`v` of data coordinates, at least ``features``; by default four times it.

    Notes
    -----
    Paquette et al. (2024), in the variable :math:`\kappa=w/m`. Taught in chapter 3.4,
    "The spectrum".
    """

    def __init__(self, alpha, beta, *, features, dimensions=None):
        self.alpha, self.beta = _defined(alpha, beta)
        self.features = validate.real("features", features, low=1)
        dimensions = 4 * self.features if dimensions is None else dimensions
        self.dimensions = validate.real("dimensions", dimensions, low=self.features)
        places, self._counts = _bins(self.dimensions)
        self._variance = places ** (-2 * self.alpha)
        self._energy = self._counts * places ** (-2 * self.alpha - 2 * self.beta)

    @property
    def start(self) -> float:
        """The loss before training, with all weights zero."""
        return float(self._energy.sum())

    @property
    def unreachable(self) -> float:
        r"""Loss of the best weights, :math:`\kappa_0\sum_j\sigma_jb_j^2/(\sigma_j+\kappa_0)`."""
        kappa = self.kappa(np.array([1e-9 * (1 + 2 * self.alpha) * self._variance[-1]]))[0]
        return float(kappa.real * (self._energy / (self._variance + kappa.real)).sum())

    def _sums(self, kappa):
        """S, and minus its derivative by log kappa."""
        ratio = self._variance / (self._variance + kappa[..., None])
        weighted = ratio * self._counts  # sums, not products of matrices: those wait for threads
        return weighted.sum(axis=-1), (weighted * (1 - ratio)).sum(axis=-1)

    def kappa(self, w: np.ndarray) -> np.ndarray:
        r"""Solve :math:`w=\kappa(1-S(\kappa)/d)`.

        Parameters
        ----------
        w : numpy.ndarray, shape (m,) or (m, n)
            Real and positive, shape (m,); or complex, shape (m, n), where each row is a path whose
            first entry is near the positive axis and whose steps are short.

        Returns
        -------
        numpy.ndarray of complex
            Of the shape of ``w``.

        Raises
        ------
        RuntimeError
            If Newton's method does not converge.
        """
        w = np.asarray(w)
        if w.ndim == 1:
            return self._follow(w.astype(complex), self._real_start(np.abs(w)))
        found = np.empty(w.shape, dtype=complex)
        guess = self._real_start(np.abs(w[:, 0])).astype(complex)
        # Turn to the first node in three steps, then walk along each path.
        angle = np.angle(w[:, 0])
        for part in (1 / 3, 2 / 3):
            guess = self._follow(np.abs(w[:, 0]) * np.exp(1j * part * angle), guess)
        for k in range(w.shape[1]):
            guess = found[:, k] = self._follow(w[:, k], guess)
        return found

    def _real_start(self, w):
        """Kappa for positive w, by Newton's method in log kappa within a shrinking bracket."""
        low = np.log(w)
        high = np.log(w + (self._counts @ self._variance) / self.features)
        u = high.copy()
        for _ in range(200):
            kappa = np.exp(u)
            total, slope = self._sums(kappa)
            excess = total / self.features + w / kappa
            low, high = np.where(excess > 1, u, low), np.where(excess > 1, high, u)
            moved = u + np.log(excess) * excess / (slope / self.features + w / kappa)
            moved = np.where((moved > low) & (moved < high), moved, (low + high) / 2)
            if np.abs(moved - u).max() < 1e-13 * np.abs(u).max() + 1e-14:
                return np.exp(moved)
            u = moved
        raise RuntimeError("the equation for kappa was not solved for a positive w")

    def _follow(self, w, kappa):
        """Newton's method for complex w from a near start."""
        u = np.log(kappa.astype(complex))
        for _ in range(60):
            kappa = np.exp(u)
            total, slope = self._sums(kappa)
            step = (total / self.features + w / kappa - 1) / (slope / self.features + w / kappa)
            size = np.abs(step)
            u = u + step * np.minimum(1, 0.5 / np.maximum(size, 1e-300))
            if size.max() < 1e-9:  # the next step would be of the order of its square
                return np.exp(u)
        raise RuntimeError("the equation for kappa was not solved on the contour")

    def degrees_beyond(self, p: float) -> float:
        r"""The sum :math:`\sum_j\lambda_j/(\lambda_j-p)`, for p above all eigenvalues; else −∞.

        It is :math:`S(\kappa)` at :math:`w=-p`. There :math:`w=\kappa(1-S(\kappa)/d)` rises with
        :math:`\kappa`, up to the mirror image of the largest eigenvalue.
        """
        w = np.array([-p], dtype=complex)
        try:
            kappa = self._follow(w, w)
        except RuntimeError:
            return -math.inf
        total, slope = (part[0].real for part in self._sums(kappa))
        rising = 1 - total / self.features + slope / self.features > 0
        return float(total) if kappa[0].real < -self._variance[0] and rising else -math.inf

    def transforms(self, w: np.ndarray, *, beyond: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """The two sums of :meth:`Spectrum.transforms`; ``w`` as for :meth:`kappa`.

        ``beyond`` says that all ``w`` lie left of the eigenvalues' mirror image, where kappa is
        close to ``w``.
        """
        w = np.asarray(w, dtype=complex)
        kappa = self._follow(w, w) if beyond else self.kappa(w)
        resolvent = 1 / (self._variance + kappa[..., None])
        first = kappa / w * (resolvent * self._energy).sum(axis=-1)
        weighted = resolvent * (self._counts * self._variance)
        total = weighted.sum(axis=-1)
        # sum of lambda − w S, without the cancellation: kappa − w = kappa S/d
        tail = kappa * total / self.features * total
        second = (weighted * self._variance).sum(axis=-1) + tail
        return first, second


def _bins(dimensions: float) -> tuple[np.ndarray, np.ndarray]:
    """Places and weights that turn a sum over j = 1 … dimensions into a few hundred terms."""
    first = 64
    if dimensions <= 4 * first:
        return _bins_all(dimensions)
    nodes, weights = np.polynomial.legendre.leggauss(10)
    panels = max(2, math.ceil(math.log(dimensions / first) / 0.7))
    edges = np.linspace(math.log(first + 0.5), math.log(dimensions + 0.5), panels + 1)
    half = np.diff(edges)[:, None] / 2
    log_place = (edges[:-1, None] + half + half * nodes).ravel()
    place = np.exp(log_place)
    # Midpoint rule: the sum exceeds the integral by (f'(start) − f'(end))/24, each a difference of
    # two terms.
    end = [dimensions, dimensions + 1]
    places = np.concatenate([np.arange(1.0, first + 2), place, end])
    inside = (half * weights).ravel() * place
    counts = np.concatenate([np.ones(first - 1), [1 - 1 / 24, 1 / 24], inside, [1 / 24, -1 / 24]])
    return places, counts


def _bins_all(dimensions: float) -> tuple[np.ndarray, np.ndarray]:
    whole = math.floor(dimensions)
    places, counts = np.arange(1.0, whole + 1), np.ones(whole)
    if dimensions > whole:
        places, counts = np.append(places, whole + 1), np.append(counts, dimensions - whole)
    return places, counts


def _sampled(spectrum) -> Spectrum:
    if not isinstance(spectrum, Spectrum):
        raise ValueError(f"spectrum is {spectrum!r}; allowed is a Spectrum of one sampled W")
    return spectrum


def kernel_norm(
    spectrum: Spectrum | EquivalentSpectrum, learning_rate: float, *, batch: int = 1
) -> float:
    r"""Total weight of the Volterra kernel; SGD is stable if and only if it is below 1.

    .. math:: \|K\|=\sum_{r\ge0}K(r)=\sum_j\frac{\eta\lambda_j}{2-\eta(B+1)\lambda_j}

    Infinite if :math:`\eta(B+1)\lambda_j\ge2` for some mode.

    Parameters
    ----------
    spectrum : Spectrum or EquivalentSpectrum
    learning_rate : float
        Step :math:`\eta` that multiplies the *sum* of the batch's gradients.
    batch : int
        Batch size :math:`B`.

    Returns
    -------
    float

    Notes
    -----
    Taught in chapter 3.4, "The Volterra equation".
    """
    rate = validate.real("learning_rate", learning_rate, low=0, strict=True)
    batch = validate.whole("batch", batch)
    if isinstance(spectrum, EquivalentSpectrum):
        return -spectrum.degrees_beyond(2 / (rate * (batch + 1))) / (batch + 1)
    room = 2 - rate * (batch + 1) * _sampled(spectrum).eigenvalues
    if (room <= 0).any():
        return math.inf
    return float((rate * spectrum.eigenvalues / room).sum())


def critical_rate(spectrum: Spectrum, *, batch: int = 1) -> float:
    """Learning rate at which :func:`kernel_norm` reaches 1: beyond it the mean loss diverges."""
    batch = validate.whole("batch", batch)
    edge = 2 / ((batch + 1) * float(_sampled(spectrum).eigenvalues.max()))
    lowest = 1 / ((batch + 1) * float(spectrum.eigenvalues.sum()))

    def excess(rate):
        return 1 - 1 / kernel_norm(spectrum, rate, batch=batch)

    return float(brentq(excess, lowest, edge * (1 - 1e-13), xtol=1e-15, rtol=1e-13))


def reference_rate(alpha: float, *, features: float, dimensions: float | None = None) -> float:
    r"""A stable learning rate for one point a batch, a power of the number of features.

    .. math:: \eta=\frac1{2T},\qquad
              T=\zeta(2\alpha)\ \ (\alpha>\tfrac12),\qquad
              T=\frac{v^{1-2\alpha}}{1-2\alpha}\ \ (\alpha<\tfrac12)

    :math:`T` bounds the trace :math:`\sum_{j\le v}j^{-2\alpha}`, so that the Volterra kernel
    weighs at most about 1/2.

    Parameters
    ----------
    alpha : float
        Decay of the data; positive, not 1/2.
    features : float
        Number :math:`d` of features.
    dimensions : float, optional
        Number :math:`v` of data coordinates; four times ``features`` by default.

    Returns
    -------
    float

    Notes
    -----
    Taught in chapter 3.4, "Four power laws".
    """
    alpha = validate.real("alpha", alpha, low=0, strict=True)
    if abs(alpha - 0.5) < 1e-12:
        raise ValueError(
            "alpha is 0.5; allowed are other positive numbers: there the trace is a logarithm"
        )
    features = validate.real("features", features, low=1)
    dimensions = 4 * features if dimensions is None else dimensions
    dimensions = validate.real("dimensions", dimensions, low=features)
    if alpha > 0.5:
        trace = float(zeta(2 * alpha))
    else:
        trace = dimensions ** (1 - 2 * alpha) / (1 - 2 * alpha)
    return 1 / (2 * trace)


def _steps(steps) -> np.ndarray:
    array = validate.array("steps", steps, dimensions=(0, 1), empty=False)
    if (array < 0).any():
        raise ValueError(f"steps contains {array.min():g}; allowed are numbers >= 0")
    return array


def _arguments(spectrum, steps, learning_rate, batch) -> tuple[np.ndarray, float, int]:
    """Steps, rate and batch of a loss curve; an equivalent needs a stable rate."""
    if not isinstance(spectrum, Spectrum | EquivalentSpectrum):
        raise ValueError(
            f"spectrum is {spectrum!r}; allowed are a Spectrum and an EquivalentSpectrum"
        )
    array, sampled = _steps(steps), isinstance(spectrum, Spectrum)
    rate = validate.real("learning_rate", learning_rate, low=0, strict=True)
    batch = validate.whole("batch", batch)
    broken = array[array != np.floor(array)]
    if broken.size and (sampled or broken.min() < CIRCLE_STEPS):
        raise ValueError(
            f"steps is {steps!r}; allowed are whole numbers, and for an EquivalentSpectrum any "
            f"number from {CIRCLE_STEPS} on"
        )
    if not sampled:
        _refuse_unstable(spectrum, rate, batch)
    return array, rate, batch


def _refuse_unstable(spectrum, rate: float, batch: int) -> None:
    norm = kernel_norm(spectrum, rate, batch=batch)
    if norm >= 1:
        limit = (
            f", reached at {critical_rate(spectrum, batch=batch):.6g}"
            if isinstance(spectrum, Spectrum)
            else ""
        )
        raise Divergence(
            f"learning_rate {rate:g} with batch {batch} is unstable: the Volterra kernel weighs "
            f"{norm:.4g}, allowed is below 1{limit}; the mean loss grows without bound"
        )


def _decay(spectrum: Spectrum, rate: float, batch: int) -> np.ndarray:
    """What one step leaves of the second moment of each mode, without the noise."""
    scaled = rate * spectrum.eigenvalues
    return 1 - 2 * batch * scaled + batch * (batch + 1) * scaled**2


def _recursion(spectrum: Spectrum, steps: int, rate: float, batch: int) -> np.ndarray:
    """Mean loss at steps 0 … steps, step by step."""
    decay = _decay(spectrum, rate, batch)
    kick = rate**2 * batch * spectrum.eigenvalues**2
    modes, losses = spectrum.signal.copy(), np.empty(steps + 1)
    losses[0] = modes.sum() + spectrum.unreachable
    for r in range(1, steps + 1):
        modes = decay * modes + kick * losses[r - 1]
        losses[r] = modes.sum() + spectrum.unreachable
    return losses


def _generating(spectrum, log_mu, rate, batch):
    r"""Transforms of forcing and kernel, sums over steps times mu^(−r−1), at mu = exp(log_mu)."""
    left = -np.expm1(log_mu)  # 1 − mu
    plus = (1 + np.sqrt(1 - left * (batch + 1) / batch)) / (rate * (batch + 1))
    minus = left / (rate**2 * batch * (batch + 1) * plus)
    near_first, near_second = spectrum.transforms(-minus)
    far_first, far_second = spectrum.transforms(-plus, beyond=True)
    gap = plus - minus
    forcing = (near_first - far_first) / (rate**2 * batch * (batch + 1) * gap)
    return forcing, (near_second - far_second) / ((batch + 1) * gap)


def _invert(spectrum, steps: np.ndarray, rate: float, batch: int, combine) -> np.ndarray:
    """Sequences at given steps from ``combine(forcing, kernel)``, a tuple of their transforms.

    Talbot's contour with the constants of Weideman (2006), which shrinks as 1/(r + 1); for the
    first steps a circle.
    """
    late, parts = steps >= CIRCLE_STEPS, []
    if late.any():
        theta = (2 * np.arange(NODES // 2) + 1) * math.pi / NODES
        path = NODES * (0.5017 * theta / np.tan(0.6407 * theta) - 0.6122 + 0.2645j * theta)
        turn = NODES * (
            0.5017 / np.tan(0.6407 * theta)
            - 0.5017 * 0.6407 * theta / np.sin(0.6407 * theta) ** 2
            + 0.2645j
        )
        elapsed = steps[late, None] + 1
        values = combine(*_generating(spectrum, path / elapsed, rate, batch))
        parts.append((late, [2 / NODES * np.exp(path) * turn / elapsed / 1j * v for v in values]))
    if not late.all():
        points = 256
        log_mu = 24 / points + 2j * math.pi * (np.arange(points // 2) + 0.5) / points
        values = combine(*_generating(spectrum, log_mu[None], rate, batch))
        powers = 2 / points * np.exp(log_mu * (steps[~late, None] + 1))
        parts.append((~late, [powers * v for v in values]))
    sequences = np.empty((len(parts[0][1]), len(steps)))
    for chosen, terms in parts:
        for sequence, term in zip(sequences, terms, strict=True):
            sequence[chosen] = term.real.sum(axis=1)
            noise = ROUNDING * np.abs(term).max(axis=1)
            if (np.abs(sequence[chosen]) < noise).any():
                worst = steps[chosen][np.argmin(np.abs(sequence[chosen]) / noise)]
                raise RuntimeError(
                    f"at step {worst:g} the value is lost in rounding: the sequence has decayed "
                    "too far below its sum over all steps; ask for fewer steps"
                )
    return sequences


def expected_loss(
    spectrum: Spectrum | EquivalentSpectrum, steps, *, learning_rate: float, batch: int = 1
) -> np.ndarray:
    r"""Mean loss of one-pass SGD after any number of steps, exactly.

    .. math:: m_j'=m_j\bigl(1-2\eta B\lambda_j+\eta^2B(B+1)\lambda_j^2\bigr)
              +\eta^2B\lambda_jP,\qquad P=\sum_j\lambda_jm_j+P_\perp .

    The first steps come from this recursion. Its generating function is a ratio of two sums over
    modes, and a contour integral of 32 nodes inverts it at any later step, so that step
    :math:`10^{12}` costs as much as step 100.

    Parameters
    ----------
    spectrum : Spectrum or EquivalentSpectrum
        Of one W, or for large sizes without W.
    steps : array_like
        Numbers of steps, at least 0; for an EquivalentSpectrum they need not be whole from 10 on.
    learning_rate : float
        Step :math:`\eta` that multiplies the *sum* of the batch's gradients.
    batch : int
        Fresh data points in each step, :math:`B`.

    Returns
    -------
    numpy.ndarray
        Of the shape of ``steps``: the mean over data (not over W) of
        :math:`E_x(\langle W^\top x,\theta\rangle-\langle b,x\rangle)^2`. About nine correct digits.

    Raises
    ------
    Divergence
        If the learning rate is beyond the stable range.
    ValueError
        For negative steps, or fractions of a step of one W.

    Notes
    -----
    Paquette et al. (2024), the Volterra equation. Taught in chapter 3.4, "The Volterra equation".
    """
    array, rate, batch = _arguments(spectrum, steps, learning_rate, batch)
    flat, sampled = np.atleast_1d(array), isinstance(spectrum, Spectrum)
    if sampled:
        _refuse_unstable(spectrum, rate, batch)
    losses, early = np.empty(len(flat)), np.zeros(len(flat), dtype=bool)
    if sampled:
        early = flat <= DIRECT_STEPS
        if early.any():
            table = _recursion(spectrum, int(flat[early].max()), rate, batch)
            losses[early] = table[flat[early].astype(int)]
    if not early.all():
        losses[~early] = _invert(
            spectrum, flat[~early], rate, batch, lambda forcing, kernel: (forcing / (1 - kernel),)
        )[0]
    return losses.reshape(array.shape)


def forcing_and_kernel(
    spectrum: Spectrum | EquivalentSpectrum, steps, *, learning_rate: float, batch: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    r"""Forcing function and kernel of the Volterra equation at any steps.

    .. math:: F(r)=P_\perp+\sum_jc_ja_j^r,\qquad K(r)=\eta^2B\sum_j\lambda_j^2a_j^r,\qquad
              a_j=1-2\eta B\lambda_j+\eta^2B(B+1)\lambda_j^2 .

    Parameters
    ----------
    spectrum, steps, learning_rate, batch
        As for :func:`expected_loss`; for a Spectrum the learning rate may be unstable.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray)
        Both of the shape of ``steps``.

    Notes
    -----
    Taught in chapter 3.4, "The Volterra equation".
    """
    array, rate, batch = _arguments(spectrum, steps, learning_rate, batch)
    flat = np.atleast_1d(array)
    if isinstance(spectrum, Spectrum):
        powers = _decay(spectrum, rate, batch) ** flat[:, None]
        forcing = spectrum.unreachable + powers @ spectrum.signal
        kernel = rate**2 * batch * (powers @ spectrum.eigenvalues**2)
    else:
        forcing, kernel = _invert(spectrum, flat, rate, batch, lambda *both: both)
    return forcing.reshape(array.shape), kernel.reshape(array.shape)


def volterra_loss(
    spectrum: Spectrum, steps: int, *, learning_rate: float, batch: int = 1
) -> np.ndarray:
    r"""Mean loss at steps 0 … steps by forward solution of the Volterra equation.

    .. math:: P(r)=F(r)+\sum_{s<r}K(r-1-s)\,P(s),\qquad
              F(r)=P_\perp+\sum_jc_ja_j^r,\qquad K(r)=\eta^2B\sum_j\lambda_j^2a_j^r,

    with :math:`a_j=1-2\eta B\lambda_j+\eta^2B(B+1)\lambda_j^2`.

    Parameters
    ----------
    spectrum : Spectrum
    steps : int
        Last step; the cost grows as its square.
    learning_rate, batch
        As for :func:`expected_loss`.

    Returns
    -------
    numpy.ndarray, shape (steps + 1,)

    Notes
    -----
    Holds for an unstable learning rate as well. Taught in chapter 3.4, "The Volterra equation".
    """
    _sampled(spectrum)
    steps = validate.whole("steps", steps, low=0)
    rate = validate.real("learning_rate", learning_rate, low=0, strict=True)
    batch = validate.whole("batch", batch)
    decay, power = _decay(spectrum, rate, batch), np.ones(len(spectrum.eigenvalues))
    forcing, kernel = np.empty(steps + 1), np.empty(steps + 1)
    losses = np.empty(steps + 1)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
        for r in range(steps + 1):
            forcing[r] = spectrum.unreachable + spectrum.signal @ power
            kernel[r] = rate**2 * batch * (spectrum.eigenvalues**2 @ power)
            power = power * decay
        for r in range(steps + 1):
            losses[r] = forcing[r] + kernel[:r][::-1] @ losses[:r]
    if not np.isfinite(losses).all():
        raise Divergence(
            f"the loss overflows at step {int(np.argmin(np.isfinite(losses)))} with learning_rate "
            f"{rate:g}; allowed are rates below {critical_rate(spectrum, batch=batch):.6g}"
        )
    return losses


def sgd_loss(
    model: PowerLawFeatures,
    steps,
    *,
    learning_rate: float,
    batch: int = 1,
    runs: int,
    rng: np.random.Generator,
    draw=None,
) -> np.ndarray:
    r"""Loss of plain one-pass SGD: fresh data in every step, all weights trained.

    .. math:: \theta'=\theta-\eta\sum_{i=1}^BW^\top x_i\,
              \bigl(\langle W^\top x_i,\theta\rangle-\langle b,x_i\rangle\bigr),\qquad\theta_0=0.

    Parameters
    ----------
    model : PowerLawFeatures
        One sampled W.
    steps : array_like of int
        Increasing numbers of steps at which the loss is computed (exactly, not on test data).
    learning_rate, batch
        As for :func:`expected_loss`.
    runs : int
        Independent runs on independent data, side by side.
    rng : numpy.random.Generator
    draw : callable, optional
        ``draw(rng, shape)`` gives independent numbers of mean 0 and variance 1 that the deviations
        of the data multiply; standard normal ones by default.

    Returns
    -------
    numpy.ndarray, shape (runs, len(steps))

    Raises
    ------
    Divergence
        If a run's loss exceeds 1e6 times the first one, or a squared error on the data 1e8 times.

    Notes
    -----
    Taught in chapter 3.4, "By hand".
    """
    if not isinstance(model, PowerLawFeatures):
        raise ValueError(f"model is {model!r}; allowed is PowerLawFeatures.sample(…)")
    stops = _steps(steps)
    if stops.ndim != 1 or (np.diff(stops) <= 0).any() or (stops != np.floor(stops)).any():
        raise ValueError(f"steps is {steps!r}; allowed are increasing whole numbers")
    rate = validate.real("learning_rate", learning_rate, low=0, strict=True)
    batch, runs = validate.whole("batch", batch), validate.whole("runs", runs)
    validate.generator("rng", rng, np.random.Generator)
    draw = np.random.Generator.standard_normal if draw is None else draw
    weights, target, deviations = model.weights, model.target, model.deviations
    dimensions, features = weights.shape
    theta, losses = np.zeros((runs, features)), np.empty((runs, len(stops)))
    start, last = float(((target * deviations) ** 2).sum()), int(stops[-1])
    for r in range(last + 1):
        if r in stops:
            error = (theta @ weights.T - target) * deviations
            now = (error**2).sum(axis=1)
            _refuse_growth(now.max(), start, 1e6, r, rate)
            losses[:, np.searchsorted(stops, r)] = now
        if r == last:
            break
        x = deviations * draw(rng, (runs * batch, dimensions))
        features_x = (x @ weights).reshape(runs, batch, features)
        residual = (features_x @ theta[:, :, None])[..., 0] - (x @ target).reshape(runs, batch)
        _refuse_growth(np.abs(residual).max() ** 2, start, 1e8, r, rate)
        theta = theta - rate * (residual[:, None] @ features_x)[:, 0]
    return losses


def _refuse_growth(found, start, factor, step, rate) -> None:
    if not found < factor * start:
        raise Divergence(
            f"at step {step} the squared error of a run has grown {factor:.0e}-fold with "
            f"learning_rate {rate:g}; allowed are rates well below critical_rate"
        )


class Frontier(NamedTuple):
    """The compute-optimal frontier.

    Attributes
    ----------
    compute : numpy.ndarray
        Budgets f = batch × features × steps.
    size : numpy.ndarray
        The best number of features at each budget.
    loss : numpy.ndarray
        The loss there.
    """

    compute: np.ndarray
    size: np.ndarray
    loss: np.ndarray


def _budgets(compute) -> np.ndarray:
    budgets = validate.array("compute", compute, dimensions=1, empty=False)
    if (budgets < 1e3).any():
        raise ValueError(
            f"compute contains {budgets.min():g}; allowed are budgets of at least 1000"
        )
    return budgets


def frontier(alpha: float, beta: float, compute, *, aspect: float = 4.0) -> Frontier:
    r"""Best size and loss at each compute budget, from the deterministic equivalent.

    .. math:: P^\star(f)=\min_dP\Bigl(\frac fd,\,d\Bigr)

    with one point a batch, :func:`reference_rate`, :math:`v=\text{aspect}\cdot d` and at least
    10 steps; sizes and steps are real numbers.

    Parameters
    ----------
    alpha, beta : float
        Decay of data and target, inside a phase.
    compute : array_like
        Budgets, at least 1,000 each.
    aspect : float
        Data coordinates per feature, at least 1.

    Returns
    -------
    Frontier

    Raises
    ------
    RuntimeError
        If the minimum lies at an end of the range of sizes.

    Notes
    -----
    Taught in chapter 3.4, "Seven phases".
    """
    predicted = compute_optimal(alpha, beta)
    budgets = _budgets(compute)
    aspect = validate.real("aspect", aspect, low=1)
    sizes, losses = np.empty(len(budgets)), np.empty(len(budgets))

    def loss(log_size, budget):
        size = math.exp(log_size)
        spectrum = EquivalentSpectrum(alpha, beta, features=size, dimensions=aspect * size)
        rate = reference_rate(alpha, features=size, dimensions=aspect * size)
        return math.log(expected_loss(spectrum, budget / size, learning_rate=rate))

    shift = 0.0
    for i, budget in enumerate(budgets):
        top = math.log(budget / CIRCLE_STEPS)
        middle = min(predicted.size_exponent * math.log(budget) + shift, top - 1)
        for width in (2.0, 5.0, 12.0):
            bounds = (max(math.log(2), middle - width), min(top, middle + width))
            best = minimize_scalar(
                loss, bounds=bounds, args=(budget,), method="bounded", options={"xatol": 1e-4}
            )
            if min(best.x - bounds[0], bounds[1] - best.x) > 0.01:
                break
        else:
            raise RuntimeError(
                f"at compute {budget:g} the loss has no minimum between {math.exp(bounds[0]):.3g} "
                f"and {math.exp(bounds[1]):.3g} features"
            )
        shift = best.x - predicted.size_exponent * math.log(budget)
        sizes[i], losses[i] = math.exp(best.x), math.exp(best.fun)
    return Frontier(budgets, sizes, losses)


def sample_losses(alpha, beta, *, sizes, samples, compute, seed) -> dict[str, np.ndarray]:
    """Mean losses of eight independent groups of W at each size and budget.

    Parameters
    ----------
    alpha, beta : float
        Decay of data and target.
    sizes : sequence of int
        Numbers of features; each with four times as many data coordinates.
    samples : sequence of int
        How many W a group has at each size.
    compute : sequence of float
        Budgets, with batch 1; the number of steps is rounded to a whole one.
    seed : int
        Size number i draws all its W from ``runtime.rng(seed + i)``.

    Returns
    -------
    dict
        ``loss``, shape (8, sizes, budgets): the mean over a group's W.

    Notes
    -----
    Taught in chapter 3.4, "Seven phases".
    """
    budgets = _budgets(compute)
    losses = np.empty((GROUPS, len(sizes), len(budgets)))
    for i, (size, count) in enumerate(zip(sizes, samples, strict=True)):
        rng, rate = runtime.rng(seed + i), reference_rate(alpha, features=size)
        steps = np.maximum(np.round(budgets / size), 1)
        for group in range(GROUPS):
            draws = [plrf_spectrum(alpha, beta, features=size, rng=rng) for _ in range(count)]
            curves = [expected_loss(draw, steps, learning_rate=rate) for draw in draws]
            losses[group, i] = np.mean(curves, axis=0)
    return {"loss": losses}


def optimal_budgets(alpha: float, beta: float, sizes) -> np.ndarray:
    """Budgets at which given sizes are compute-optimal, to two digits.

    Parameters
    ----------
    alpha, beta : float
        Decay of data and target, inside a phase.
    sizes : array_like
        Increasing numbers of features, at least 16 each.

    Returns
    -------
    numpy.ndarray
        Interpolated on :func:`frontier`.

    Raises
    ------
    ValueError
        If the sizes are smaller than 16 or not increasing.

    Notes
    -----
    Taught in chapter 3.4, "Seven phases".
    """
    sizes = validate.array("sizes", sizes, dimensions=1, empty=False)
    if sizes[0] < 16 or (np.diff(sizes) <= 0).any():
        raise ValueError(f"sizes is {sizes}; allowed are increasing numbers >= 16")
    known = _walk(alpha, beta, sizes[-1])
    if known.size[0] > sizes[0]:
        raise ValueError(
            f"sizes is {sizes}; allowed are numbers >= {known.size[0]:.3g}: smaller ones are best "
            f"only at budgets of fewer than {CIRCLE_STEPS} steps"
        )
    logs = np.interp(np.log(sizes), np.log(known.size), np.log(known.compute))
    return np.array([float(f"{value:.1e}") for value in np.exp(logs)])


def _walk(alpha: float, beta: float, last: float) -> Frontier:
    """The frontier from the smallest budget where it exists up to a size, four points in 10³."""
    found, budget = [], 1e3
    while not found or found[-1].size[0] < last:
        try:
            found.append(frontier(alpha, beta, [budget]))
        except RuntimeError:
            if found or budget > 1e6:
                raise
        budget *= 10**0.75
    return Frontier(*(np.concatenate(part) for part in zip(*found, strict=True)))


def sample_phases(*, points, sizes, samples, best, seed) -> dict[str, np.ndarray]:
    """:func:`sample_losses` at several points of the phase plane.

    Parameters
    ----------
    points : sequence of (float, float)
        Pairs (alpha, beta).
    sizes, samples, seed
        As for :func:`sample_losses`.
    best : sequence of int
        Sizes for which the budgets are optimal.

    Returns
    -------
    dict
        ``compute``, shape (points, best), and ``loss``, shape (points, 8, sizes, best).
    """
    compute = [optimal_budgets(alpha, beta, best) for alpha, beta in points]
    losses = [
        sample_losses(
            alpha, beta, sizes=sizes, samples=samples, compute=budgets, seed=seed + 100 * i
        )["loss"]
        for i, ((alpha, beta), budgets) in enumerate(zip(points, compute, strict=True))
    ]
    return {"compute": np.array(compute), "loss": np.array(losses)}


def time_exact(*, sizes, steps, repeats, seed) -> dict[str, list[float]]:
    """Processor seconds for the spectrum of one W and for a loss curve from it; the best of a few.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of features.
    steps : sequence of int
        Steps of the loss curve.
    repeats, seed : int
        Runs for each size, and the seed of W.

    Returns
    -------
    dict
        ``spectrum`` and ``curve``: processor seconds for each size, all threads together.
    """
    seconds = {"spectrum": [], "curve": []}
    for size in sizes:
        best = [math.inf, math.inf]
        for _ in range(repeats):
            begin = time.process_time()
            spectrum = plrf_spectrum(0.8, 1.2, features=size, rng=runtime.rng(seed))
            middle = time.process_time()
            expected_loss(spectrum, steps, learning_rate=0.1)
            end = time.process_time()
            best = [min(best[0], middle - begin), min(best[1], end - middle)]
        seconds["spectrum"].append(best[0])
        seconds["curve"].append(best[1])
    return seconds


_REGIONS = {
    "Ia": [(0.5, 0), (1.5, 0), (1.5, 0.5), (0.5, 0.5)],
    "Ib": [(0.5, 0), (0.5, 0.5), (0, 0.5)],
    "Ic": [(0, 0.5), (0.25, 0.5), (0.25, 1.5), (0, 1.5)],
    "II": [(0.5, 0.5), (1.5, 0.5), (1.5, 1.5)],
    "III": [(0.5, 0.5), (1.5, 1.5), (0.5, 1.5)],
    "IVa": [(1 - math.sqrt(0.5), 0.5), (0.5, 0.5), (0.5, 1.5), (1 - math.sqrt(0.5), 1.5)],
    "IVb": [(0.25, 0.5), (1 - math.sqrt(0.5), 0.5), (1 - math.sqrt(0.5), 1.5), (0.25, 1.5)],
}
_CENTRES = {
    "Ia": (1.0, 0.12), "Ib": (0.36, 0.38), "Ic": (0.125, 1.1), "II": (1.15, 0.7),
    "III": (0.8, 1.35), "IVa": (0.395, 1.3), "IVb": (0.271, 1.3),
}  # fmt: skip


def draw_plane(ax, points=()) -> None:
    """Draw the phase plane, with some points marked.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    points : sequence of (float, float)
        Pairs (alpha, beta).
    """
    ax.fill([0, 0.5, 0], [0, 0, 0.5], color="#D9D9D9")
    for (name, corners), color in zip(_REGIONS.items(), figures.COLORS, strict=True):
        ax.fill(*zip(*corners, strict=True), facecolor=color, alpha=0.28, edgecolor="white")
        ax.text(
            *_CENTRES[name], name, ha="center", va="center", fontweight="bold",
            fontsize=8 if name == "IVb" else 11, rotation=90 if name == "IVb" else 0,
        )  # fmt: skip
    ax.text(0.14, 0.13, "undefined", ha="center", va="center", fontsize=8, rotation=-45)
    if len(points):
        ax.plot(*zip(*points, strict=True), "ko", markersize=5)
    ax.set(
        xlabel=r"decay of the data $\alpha$", ylabel=r"decay of the target $\beta$", xlim=(0, 1.5),
        ylim=(0, 1.5), aspect="equal",
    )  # fmt: skip
    ax.grid(False)


def draw_frontier(ax, alpha: float, beta: float, *, largest: float = 3e4) -> None:
    """Draw losses against compute for several sizes, their envelope and the predicted slope.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    alpha, beta : float
        A point inside a phase.
    largest : float
        Size up to which the envelope is drawn.
    """
    predicted, best = compute_optimal(alpha, beta), _walk(alpha, beta, largest)
    sizes = np.geomspace(32, largest, 7)
    shades = matplotlib.colormaps["viridis"](np.linspace(0.05, 0.85, len(sizes)))
    for i, (size, shade) in enumerate(zip(sizes, shades, strict=True)):
        spectrum = EquivalentSpectrum(alpha, beta, features=size)
        steps = np.geomspace(10, max(best.compute[-1] / size, 20), 28)
        loss = expected_loss(spectrum, steps, learning_rate=reference_rate(alpha, features=size))
        name = f"{size:.0f} features" if i in (0, len(sizes) - 1) else None
        figures.theory(ax, size * steps, loss, color=shade, linewidth=1.2, label=name)
    figures.theory(ax, best.compute, best.loss, color="black", linewidth=2.4, label="best size")
    line = best.loss[-1] * (best.compute / best.compute[-1]) ** predicted.loss_exponent
    figures.rejected(
        ax, best.compute, 0.8 * line, label=f"slope −{-predicted.loss_exponent:.3f}",
        color=figures.COLORS[1],
    )  # fmt: skip
    ax.set(
        xscale="log", yscale="log", xlabel=r"compute $f=B\,d\,r$", ylabel="loss $P$",
        ylim=(0.5 * best.loss[-1], 3 * best.loss[0]), title=f"phase {predicted.phase}",
        xlim=(best.compute[0] / 2, 2 * best.compute[-1]),
    )  # fmt: skip


def draw_approach(axs, fronts: dict, measured: dict) -> None:
    """Draw local loss exponents against the best size, one pair of axes for each phase.

    Parameters
    ----------
    axs : sequence of matplotlib.axes.Axes
        One for each phase.
    fronts : dict of str to (ComputeOptimal, Frontier)
        Prediction and frontier, by phase.
    measured : dict of str to (array, Estimate)
        Sizes, and exponents of sampled W there.
    """
    for ax, (name, (predicted, front)) in zip(axs, fronts.items(), strict=True):
        slope = np.diff(np.log(front.loss)) / np.diff(np.log(front.compute))
        middle = np.sqrt(front.size[1:] * front.size[:-1])
        ax.axhline(predicted.loss_exponent, color=figures.COLORS[1], linestyle="--", linewidth=1.4)
        figures.theory(ax, middle, slope, color=figures.COLORS[0])
        figures.simulation(ax, *measured[name], color="black")
        low, high = ax.get_ylim()
        room = max(0.0, 0.06 - (high - low)) / 2  # no smaller range than others need
        ax.set(
            xscale="log", ylim=(low - room, high + room),
            title=f"{name}: limit −{-predicted.loss_exponent:.3f}",
        )  # fmt: skip
