r"""Delayed generalisation in polynomial regression: networks as their moments.

The network is :math:`f(x)=\frac\alpha n\sum_j\phi(w_j\cdot x)` with
:math:`\phi(h)=h+\frac\kappa2h^2`, trained on :math:`y=\frac12(\beta\cdot x)^2`. Its function
depends on the weights through two moments alone, the mean weight :math:`\bar w` and
:math:`M=\frac1n\sum_jw_jw_j^\top`, and gradient descent maps moments to moments. We keep both in
one symmetric matrix, the average of :math:`(w_j,1)(w_j,1)^\top`:

.. math:: S=\begin{pmatrix}M&\bar w\\\bar w^\top&1\end{pmatrix}.

A step costs the same at every width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import binomtest

from course import figures, validate
from course.estimates import Estimate
from course.lazy_rich.ensembles import Divergence
from course.lazy_rich.measures import kernel_alignment, kernel_distance

__all__ = [
    "VARIANCE", "Delay", "PolynomialDial", "PolynomialHistory", "PolynomialTask", "delay_sweep",
    "draw_delays", "draw_fraction", "draw_history", "geometric_steps", "grokking_delay",
    "initial_weights", "median_exponent", "median_time", "moments", "outputs", "polynomial_dial",
    "polynomial_task", "population_error", "population_time", "safe_learning_rate",
    "tangent_kernel", "train_polynomial", "value_at",
]  # fmt: skip

VARIANCE = 0.5
"""Variance of the target; errors are in its units, so that a constant guess has error 1."""

Array = np.ndarray | torch.Tensor
_BLOW_UP = 1e6


class PolynomialTask(NamedTuple):
    """Training data, one set for each network.

    Attributes
    ----------
    inputs : torch.Tensor
        Shape (networks, N, d), normal with variance 1/d.
    targets : torch.Tensor
        :math:`y=\\frac12(\\beta\\cdot x)^2`, shape (networks, N).
    direction : torch.Tensor
        The target's direction, of squared norm d, shape (networks, d).
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    direction: torch.Tensor


class PolynomialHistory(NamedTuple):
    """What :func:`train_polynomial` saw at the recorded steps.

    Attributes
    ----------
    steps : numpy.ndarray
        The recorded steps, shape (times,).
    times : numpy.ndarray
        Training time, steps times learning rate, shape (networks, times).
    train, test : numpy.ndarray
        Mean squared error on the training set, and over the whole input distribution (exact), in
        units of the target's variance, shape (networks, times).
    moments : torch.Tensor
        The matrix S, shape (networks, times, d + 1, d + 1).
    weight_change : numpy.ndarray
        Distance of the weights from their start over the norm of their start, shape
        (networks, times).
    """

    steps: np.ndarray
    times: np.ndarray
    train: np.ndarray
    test: np.ndarray
    moments: torch.Tensor
    weight_change: np.ndarray


class PolynomialDial(NamedTuple):
    """Where on the dial of Part II a history lies; each of shape (networks, times).

    Attributes
    ----------
    distance : numpy.ndarray
        Kernel distance to the start, on the training inputs.
    alignment, centred_alignment : numpy.ndarray
        Kernel alignment with the targets, without and with centring.
    weight_change : numpy.ndarray
        Relative weight change.
    overlap : numpy.ndarray
        Squared cosine of the top eigenvector of M with the target's direction.
    norm : numpy.ndarray
        Squared norm of the weights over its value at the start.
    """

    distance: np.ndarray
    alignment: np.ndarray
    centred_alignment: np.ndarray
    weight_change: np.ndarray
    overlap: np.ndarray
    norm: np.ndarray


class Delay(NamedTuple):
    """First times at which train and test error are below a threshold, one for each network.

    Attributes
    ----------
    train, test : numpy.ndarray
        The times; for a network that never got there, the last time recorded.
    fitted, generalised : numpy.ndarray
        Whether it got there.
    """

    train: np.ndarray
    test: np.ndarray
    fitted: np.ndarray
    generalised: np.ndarray

    @property
    def factor(self) -> np.ndarray:
        """Test time over train time; a lower bound where ``generalised`` is False."""
        return self.test / self.train


def polynomial_task(
    *, networks: int, points: int, dimension: int, generator: torch.Generator
) -> PolynomialTask:
    """Independent training sets with independent target directions.

    Parameters
    ----------
    networks, points, dimension : int
        How many sets, the N points in each, and the d inputs of a point.
    generator : torch.Generator

    Returns
    -------
    PolynomialTask

    Raises
    ------
    ValueError
        For counts below 1 (dimension below 2), or another kind of generator.

    Notes
    -----
    The setting of Kumar, Bordelon, Gershman and Pehlevan (2023). Taught in chapter 2.4, "A network
    that is two moments".
    """
    networks = validate.whole("networks", networks)
    points = validate.whole("points", points)
    dimension = validate.whole("dimension", dimension, low=2)
    draw = _normal(validate.generator("generator", generator, torch.Generator))
    inputs = draw(networks, points, dimension) / dimension**0.5
    direction = draw(networks, dimension)
    direction = direction * (dimension**0.5 / direction.norm(dim=1, keepdim=True))
    targets = (inputs @ direction[:, :, None])[..., 0] ** 2 / 2
    return PolynomialTask(inputs, targets, direction)


def _normal(generator: torch.Generator):
    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return draw


def initial_weights(
    task: PolynomialTask, *, width: int, generator: torch.Generator, hint: float = 0.0
) -> torch.Tensor:
    r"""Standard normal weights, with a larger variance along the target's direction if wanted.

    .. math:: w_j\sim\mathcal N(0,\,I+\text{hint}\;\beta\beta^\top/d)

    Parameters
    ----------
    task : PolynomialTask
        Brings the directions.
    width : int
        Neurons n of each network.
    generator : torch.Generator
    hint : float
        Additional variance along the direction; 0 knows nothing of the target.

    Returns
    -------
    torch.Tensor
        Shape (networks, width, d).

    Raises
    ------
    ValueError
        For a width below 1 or a hint below 0.

    Notes
    -----
    Taught in chapter 2.4, "Three knobs".
    """
    width, hint = validate.whole("width", width), validate.real("hint", hint, low=0)
    draw = _normal(validate.generator("generator", generator, torch.Generator))
    networks, dimension = task.direction.shape
    weights = draw(networks, width, dimension)
    unit = task.direction / dimension**0.5
    along = (weights @ unit[:, :, None]) * unit[:, None, :]
    return weights + ((1 + hint) ** 0.5 - 1) * along


def moments(weights: Array) -> torch.Tensor:
    """The matrix S of the second moments of :math:`(w_j,1)`.

    Parameters
    ----------
    weights : array or tensor, shape (..., n, d)

    Returns
    -------
    torch.Tensor
        Shape (..., d + 1, d + 1): M, the mean weight in the last row and column, and 1.

    Raises
    ------
    ValueError
        For arrays of fewer than two axes, empty ones, or numbers that are not finite.

    Notes
    -----
    Taught in chapter 2.4, "A network that is two moments".
    """
    weights = torch.as_tensor(validate.array("weights", weights, dimensions=None, empty=False))
    if weights.ndim < 2:
        raise ValueError(f"weights has shape {tuple(weights.shape)}; allowed are (…, n, d)")
    extended = torch.cat([weights, torch.ones_like(weights[..., :1])], dim=-1)
    return extended.mT @ extended / weights.shape[-2]


def _per_network(name: str, value, networks: int, *, zero: bool = False) -> torch.Tensor:
    """One number for each network, shape (networks,)."""
    numbers = validate.array(name, value, dimensions=(0, 1))
    low = numbers.min(initial=np.inf)
    if numbers.shape not in ((), (networks,)) or low < 0 or (low == 0 and not zero):
        sign = ">= 0" if zero else "> 0"
        raise ValueError(
            f"{name} is {value!r}; allowed are numbers {sign}, one or one for each of "
            f"{networks} networks"
        )
    return torch.as_tensor(np.broadcast_to(numbers, (networks,)).copy())


def _square(name: str, value: Array) -> torch.Tensor:
    array = torch.as_tensor(validate.array(name, value, dimensions=None, empty=False))
    if array.ndim < 2 or array.shape[-1] != array.shape[-2] or array.shape[-1] < 2:
        raise ValueError(
            f"{name} has shape {tuple(array.shape)}; allowed are matrices of moments "
            "(…, d + 1, d + 1)"
        )
    return array


def _starts(moments: Array, inputs: torch.Tensor) -> torch.Tensor:
    """Moments of as many networks as there are training sets, shape (networks, d + 1, d + 1)."""
    start, size = _square("moments", moments), inputs.shape[2] + 1
    if start.shape != (len(inputs), size, size):
        raise ValueError(
            f"moments has shape {tuple(start.shape)}; allowed is {(len(inputs), size, size)}"
        )
    return start


def _points(inputs: Array, dimension: int) -> torch.Tensor:
    inputs = torch.as_tensor(validate.array("inputs", inputs, dimensions=None, empty=False))
    if inputs.ndim < 2 or inputs.shape[-1] != dimension:
        raise ValueError(
            f"inputs has shape {tuple(inputs.shape)}; allowed are (…, points, {dimension})"
        )
    return inputs


def _extended(inputs: torch.Tensor) -> torch.Tensor:
    return torch.cat([inputs, torch.ones_like(inputs[..., :1])], dim=-1)


def _coefficients(dimension: int, alpha: torch.Tensor, kappa: torch.Tensor) -> torch.Tensor:
    """What turns S into the quadratic form of f on (x, 1), shape (networks, d + 1, d + 1)."""
    form = torch.zeros(len(alpha), dimension + 1, dimension + 1, dtype=torch.float64)
    form[:, :-1, :-1] = (alpha * kappa / 2)[:, None, None]
    form[:, :-1, -1] = form[:, -1, :-1] = (alpha / 2)[:, None]
    return form


def outputs(
    moments: Array, inputs: Array, *, output_scale: float = 1.0, curvature: float
) -> torch.Tensor:
    r"""Outputs of networks with given moments.

    .. math:: f(x)=\alpha\bigl(\bar w\cdot x+\tfrac\kappa2\,x^\top Mx\bigr)

    Parameters
    ----------
    moments : array or tensor, shape (..., d + 1, d + 1)
    inputs : array or tensor, shape (..., points, d)
        Leading axes broadcast with those of ``moments``.
    output_scale, curvature : float
        α and κ.

    Returns
    -------
    torch.Tensor
        Shape (..., points).

    Raises
    ------
    ValueError
        For shapes that do not fit, α ≤ 0 or κ < 0.

    Notes
    -----
    Taught in chapter 2.4, "A network that is two moments".
    """
    alpha = validate.real("output_scale", output_scale, low=0, strict=True)
    kappa = validate.real("curvature", curvature, low=0)
    matrix = _square("moments", moments)
    x = _points(inputs, matrix.shape[-1] - 1)
    linear = (x @ matrix[..., :-1, -1:])[..., 0]
    return alpha * (linear + kappa / 2 * ((x @ matrix[..., :-1, :-1]) * x).sum(-1))


def tangent_kernel(
    moments: Array, inputs: Array, others: Array | None = None, *, curvature: float
) -> np.ndarray:
    r"""Tangent kernel in units in which training speed does not depend on width or output scale.

    .. math:: K(x,x')=\frac1n\sum_j\phi'(h_j)\phi'(h_j')\;x\cdot x'
        =\bigl(1+\kappa\,\bar w\cdot(x+x')+\kappa^2x^\top Mx'\bigr)\,x\cdot x'

    The tangent kernel proper is :math:`\hat\Theta=\frac{\alpha^2}nK`.

    Parameters
    ----------
    moments : array or tensor, shape (..., d + 1, d + 1)
    inputs : array or tensor, shape (..., points, d)
        Leading axes broadcast with those of ``moments``.
    others : array or tensor, optional, shape (..., others, d)
        Second inputs; the first by default.
    curvature : float
        κ.

    Returns
    -------
    numpy.ndarray
        Shape (..., points, others).

    Raises
    ------
    ValueError
        For shapes that do not fit or κ < 0.

    Notes
    -----
    Taught in chapter 2.4, "First the kernel's solution".
    """
    kappa = validate.real("curvature", curvature, low=0)
    matrix = _square("moments", moments)
    x = _points(inputs, matrix.shape[-1] - 1)
    other = x if others is None else _points(others, matrix.shape[-1] - 1)
    mean = matrix[..., :-1, -1:]
    slopes = 1 + kappa * (x @ mean + (other @ mean).mT)
    slopes = slopes + kappa**2 * (x @ matrix[..., :-1, :-1] @ other.mT)
    return (slopes * (x @ other.mT)).numpy()


def _population_error(shift, direction, alpha, kappa):
    """Mean squared error of the form that ``shift`` defines; all leading axes broadcast."""
    dimension = direction.shape[-1]
    mean, second = shift[..., :-1, -1], shift[..., :-1, :-1]
    target = direction[..., :, None] * direction[..., None, :]
    excess = (alpha * kappa)[..., None, None] * second - target
    trace = excess.diagonal(dim1=-2, dim2=-1).sum(-1)
    linear = alpha**2 * (mean**2).sum(-1) / dimension
    return linear + (2 * (excess**2).sum((-2, -1)) + trace**2) / (4 * dimension**2)


def population_error(
    moments: Array,
    direction: Array,
    *,
    output_scale: float = 1.0,
    curvature: float,
    reference: Array | None = None,
) -> np.ndarray:
    r"""Exact mean squared error over all inputs :math:`x\sim\mathcal N(0,I/d)`.

    .. math:: E\bigl[(f-y)^2\bigr]=\frac{\alpha^2|\bar w|^2}{d}
        +\frac{2\|A\|_F^2+(\operatorname{tr}A)^2}{4d^2},\qquad A=\alpha\kappa M-\beta\beta^\top

    Parameters
    ----------
    moments : array or tensor, shape (..., d + 1, d + 1)
    direction : array or tensor, shape (..., d)
        β; leading axes broadcast with those of ``moments``.
    output_scale, curvature : float
        α and κ.
    reference : array or tensor, optional
        Moments of the start, for a network whose initial output is subtracted.

    Returns
    -------
    numpy.ndarray
        Of the leading shape, not divided by the target's variance.

    Raises
    ------
    ValueError
        For shapes that do not fit, α ≤ 0 or κ < 0.

    Notes
    -----
    The sufficient statistics of Kumar, Bordelon, Gershman and Pehlevan (2023). Taught in
    chapter 2.4, "The exact test error".
    """
    alpha = validate.real("output_scale", output_scale, low=0, strict=True)
    kappa = validate.real("curvature", curvature, low=0)
    matrix = _square("moments", moments)
    if reference is not None:
        matrix = matrix - _square("reference", reference)
    beta = torch.as_tensor(validate.array("direction", direction, dimensions=None))
    if beta.ndim < 1 or beta.shape[-1] != matrix.shape[-1] - 1:
        raise ValueError(
            f"direction has shape {tuple(beta.shape)}; allowed are (…, {matrix.shape[-1] - 1})"
        )
    scales = (torch.tensor(value, dtype=torch.float64) for value in (alpha, kappa))
    return _population_error(matrix, beta, *scales).numpy()


def safe_learning_rate(
    task: PolynomialTask, moments: Array, *, output_scale, curvature, centred: bool = False
) -> np.ndarray:
    """A step that is stable at start and end of training: 0.7 over the larger top eigenvalue.

    Parameters
    ----------
    task : PolynomialTask
    moments : array or tensor, shape (networks, d + 1, d + 1)
    output_scale, curvature : float or array_like, shape (networks,)
        α and κ.
    centred : bool
        Whether the initial output is subtracted.

    Returns
    -------
    numpy.ndarray
        Shape (networks,). The largest stable step has 2 in place of 0.7; the margin is for the way
        between start and end.

    Raises
    ------
    ValueError
        For shapes that do not fit, α ≤ 0 or κ ≤ 0.

    Notes
    -----
    Taught in chapter 2.4, "Three knobs".
    """
    beta, x = task.direction, task.inputs
    matrix, networks = _starts(moments, x), len(x)
    alpha = _per_network("output_scale", output_scale, networks)
    kappa = _per_network("curvature", curvature, networks)
    end = matrix.clone() if centred else torch.zeros_like(matrix)
    end[:, -1, -1] = 1
    end[:, :-1, :-1] += beta[:, :, None] * beta[:, None, :] / (alpha * kappa)[:, None, None]
    largest = [
        max(
            np.linalg.eigvalsh(tangent_kernel(state[i], x[i], curvature=float(kappa[i])))[-1]
            for state in (matrix, end)
        )
        for i in range(networks)
    ]
    return 0.7 / np.array(largest)


def geometric_steps(last: int, count: int = 60) -> np.ndarray:
    """Step 0 and about ``count`` whole numbers up to ``last``, evenly spaced on a log scale."""
    last, count = validate.whole("last", last), validate.whole("count", count, low=2)
    return np.unique(np.concatenate([[0], np.geomspace(1, last, count).round().astype(int)]))


def _recorded_steps(steps: Sequence[int]) -> np.ndarray:
    recorded = np.asarray(steps)
    if (
        recorded.ndim != 1
        or not len(recorded)
        or recorded.dtype.kind not in "iu"
        or recorded[0] < 0
        or (np.diff(recorded) <= 0).any()
    ):
        raise ValueError(f"steps is {steps!r}; allowed are increasing whole numbers >= 0")
    return recorded


def train_polynomial(
    task: PolynomialTask,
    moments: Array,
    *,
    output_scale=1.0,
    curvature,
    learning_rate,
    steps: Sequence[int],
    centred: bool = False,
    linearised: bool = False,
) -> PolynomialHistory:
    r"""Gradient descent on :math:`\frac n{2\alpha^2}\sum_i(f(x_i)-y_i)^2` over all weights.

    Each step moves every neuron by the same affine map, so that it is exact on the moments:

    .. math:: S\to TST^\top,\qquad T=I-\frac\eta\alpha
        \begin{pmatrix}\kappa G&g\\0&0\end{pmatrix},\quad
        G=\sum_ir_ix_ix_i^\top,\ g=\sum_ir_ix_i,\ r_i=f(x_i)-y_i

    Parameters
    ----------
    task : PolynomialTask
    moments : array or tensor, shape (networks, d + 1, d + 1)
        Moments of the initial weights, from :func:`moments`.
    output_scale, curvature, learning_rate : float or array_like, shape (networks,)
        α, κ and η: one for all networks or one for each, so that a sweep is one batch.
    steps : sequence of int
        Steps after which errors and moments are recorded, increasing; the last one ends training.
    centred : bool
        Whether the initial output is subtracted from the network.
    linearised : bool
        Train the network's linearisation at its start instead: regression with the initial kernel.

    Returns
    -------
    PolynomialHistory

    Raises
    ------
    ValueError
        For shapes that do not fit or parameters out of bounds.
    course.lazy_rich.ensembles.Divergence
        If a training error is not finite, or exceeds a million times both its start and the
        target's variance; the message names the step and the networks.

    Notes
    -----
    Taught in chapter 2.4, "A network that is two moments".
    """
    x, y, beta = task
    start = _starts(moments, x)
    networks, _, dimension = x.shape
    alpha = _per_network("output_scale", output_scale, networks)
    kappa = _per_network("curvature", curvature, networks, zero=True)
    eta = _per_network("learning_rate", learning_rate, networks)
    recorded = _recorded_steps(steps)
    rates = torch.zeros_like(start)
    rates[:, :-1, :-1] = (eta / alpha * kappa)[:, None, None]
    rates[:, :-1, -1] = (eta / alpha)[:, None]
    form = _coefficients(dimension, alpha, kappa)
    extended = _extended(x)
    identity = torch.eye(dimension + 1, dtype=torch.float64).expand_as(start)
    state, transport = start.clone(), identity.clone()
    base = ((extended @ (form * start)) * extended).sum(-1) if centred else 0.0
    reference = start if centred else torch.zeros_like(start)
    rows, wanted, limit = [], set(recorded.tolist()), None
    for step in range(int(recorded[-1]) + 1):
        residual = ((extended @ (form * state)) * extended).sum(-1) - base - y
        error = (residual**2).mean(1) / VARIANCE
        limit = _BLOW_UP * error.clamp(min=1) if limit is None else limit
        if not bool((error <= limit).all()):
            lost = torch.nonzero(~(error <= limit))[:, 0].tolist()
            raise Divergence(step, lost, float(eta[lost[0]]))
        if step in wanted:
            test = _population_error(state - reference, beta, alpha, kappa) / VARIANCE
            rows.append((error, test, _moved(transport - identity, start), state))
        update = rates * (extended.mT @ (residual[..., None] * extended))
        if linearised:
            transport = transport - update
            shift = (transport - identity) @ start
            state = start + shift + shift.mT
        else:
            state = state - update @ state
            state = state - state @ update.mT
            transport = transport - update @ transport
    train, test, moved, states = (torch.stack(column, dim=1) for column in zip(*rows, strict=True))
    times = eta[:, None].numpy() * recorded
    return PolynomialHistory(recorded, times, train.numpy(), test.numpy(), states, moved.numpy())


def _moved(difference: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """Relative change of weights under an affine map, from the map less the identity."""
    square = torch.einsum("bij,bjk,bik->b", difference, start, difference)
    norm = start.diagonal(dim1=1, dim2=2)[:, :-1].sum(1)
    return (square.clamp(min=0) / norm).sqrt()


def polynomial_dial(
    history: PolynomialHistory, task: PolynomialTask, *, curvature: float
) -> PolynomialDial:
    """The three measures of Part II on a history, with the overlap and the norm of the weights.

    Parameters
    ----------
    history : PolynomialHistory
    task : PolynomialTask
        What it was trained on.
    curvature : float
        κ, the same for all networks.

    Returns
    -------
    PolynomialDial

    Notes
    -----
    Taught in chapter 2.4, "What moves when".
    """
    rows, start = [], None
    for state in history.moments.unbind(1):
        kernel = tangent_kernel(state, task.inputs, curvature=curvature)
        start = kernel if start is None else start
        top = torch.linalg.eigh(state[:, :-1, :-1]).eigenvectors[..., -1]
        overlap = (top * task.direction).sum(-1) ** 2 / task.direction.shape[-1]
        rows.append((
            kernel_distance(kernel, start),
            kernel_alignment(kernel, task.targets),
            kernel_alignment(kernel, task.targets, centred=True),
            overlap.numpy(),
        ))  # fmt: skip
    distance, alignment, centred, overlap = (
        np.stack(row, axis=1) for row in zip(*rows, strict=True)
    )
    norm = history.moments.diagonal(dim1=-2, dim2=-1)[..., :-1].sum(-1).numpy()
    return PolynomialDial(
        distance, alignment, centred, history.weight_change, overlap, norm / norm[:, :1]
    )


def _first_below(times: np.ndarray, errors: np.ndarray, threshold: float):
    """First crossing, between recorded times by a power law; and whether there is one."""
    below = errors < threshold
    crossed = below.any(axis=1)
    first = np.where(crossed, below.argmax(axis=1), errors.shape[1] - 1)
    result = np.take_along_axis(times, first[:, None], axis=1)[:, 0].copy()
    for i in np.flatnonzero(crossed & (first > 1)):
        j = first[i]
        high, low = np.log(errors[i, j - 1]), np.log(max(errors[i, j], 1e-300))
        part = (high - np.log(threshold)) / (high - low)
        result[i] = times[i, j - 1] * (times[i, j] / times[i, j - 1]) ** part
    return result, crossed


def grokking_delay(history: PolynomialHistory, *, threshold: float) -> Delay:
    """When train and test error first fall below a threshold.

    Parameters
    ----------
    history : PolynomialHistory
    threshold : float
        In units of the target's variance, above 0; the same for both errors.

    Returns
    -------
    Delay
        Networks that never get there are marked, and carry the last recorded time: a censored
        observation, for :func:`median_time`.

    Raises
    ------
    ValueError
        For a threshold that is not positive.

    Notes
    -----
    Taught in chapter 2.4, "What counts as a delay".
    """
    threshold = validate.real("threshold", threshold, low=0, strict=True)
    train, fitted = _first_below(history.times, history.train, threshold)
    test, generalised = _first_below(history.times, history.test, threshold)
    return Delay(train, test, fitted, generalised)


def population_time(
    threshold: float, *, points: int, dimension: int, output_scale: float, curvature: float
) -> float:
    r"""Time at which the error falls below a threshold when the training set is very large.

    .. math:: t_*=\frac{\sqrt3}2\,\frac\alpha\kappa\,\frac dN\sqrt{\frac{d-1}{(d+2)\,E_*}}

    Leading order for small thresholds; train and test error agree.

    Parameters
    ----------
    threshold : float
        E*, in units of the target's variance.
    points, dimension : int
        N and d.
    output_scale, curvature : float
        α and κ.

    Returns
    -------
    float
        Training time, steps times learning rate.

    Raises
    ------
    ValueError
        For parameters that are not positive.

    Notes
    -----
    Taught in chapter 2.4, "How the delay scales".
    """
    theta = validate.real("threshold", threshold, low=0, strict=True)
    alpha = validate.real("output_scale", output_scale, low=0, strict=True)
    kappa = validate.real("curvature", curvature, low=0, strict=True)
    points = validate.whole("points", points)
    d = validate.whole("dimension", dimension, low=2)
    return 0.75**0.5 * alpha / kappa * d / points * ((d - 1) / ((d + 2) * theta)) ** 0.5


def value_at(history: PolynomialHistory, times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values of a history at one time for each network, linear in the logarithm of time.

    Parameters
    ----------
    history : PolynomialHistory
    times : array_like, shape (networks,)
        Positive times within the recorded ones.
    values : array_like, shape (networks, times)
        A field of the history or of its dial.

    Returns
    -------
    numpy.ndarray
        Shape (networks,).

    Raises
    ------
    ValueError
        For times outside the history.

    Notes
    -----
    Taught in chapter 2.4, "What moves when".
    """
    times = validate.array("times", times, dimensions=1)
    known = history.times[:, history.steps > 0]
    if (times < known[:, 0]).any() or (times > known[:, -1] * (1 + 1e-12)).any():
        raise ValueError(
            f"times is {times}; allowed are times from {known[:, 0]} to {known[:, -1]}"
        )
    values = validate.array("values", values, dimensions=2)[:, history.steps > 0]
    return np.array([
        np.interp(np.log(time), np.log(row), value)
        for time, row, value in zip(times, known, values, strict=True)
    ])  # fmt: skip


def _medians(times: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Kaplan–Meier medians of rows; infinite where the curve does not come down to one half."""
    order = np.lexsort((~observed, times), axis=-1)  # of equal times, the observed come first
    times, observed = (np.take_along_axis(part, order, axis=-1) for part in (times, observed))
    waiting = np.arange(times.shape[-1], 0, -1)
    survival = np.cumprod(np.where(observed, 1 - 1 / waiting, 1.0), axis=-1)
    reached = survival <= 0.5 + 1e-12
    first = np.take_along_axis(times, reached.argmax(-1)[..., None], axis=-1)[..., 0]
    return np.where(reached.any(-1), first, np.inf)


def median_time(
    times, observed, *, generator: np.random.Generator, resamples: int = 500
) -> Estimate | None:
    r"""Median of :math:`\log_{10}` of waiting times, some of them censored.

    The Kaplan–Meier curve estimates the survival function without dropping the networks that did
    not generalise within the budget. Its median exists if the curve falls to one half.

    Parameters
    ----------
    times : array_like, shape (networks,)
        Positive times; where ``observed`` is False, the time at which observation ended.
    observed : array_like of bool, shape (networks,)
    generator : numpy.random.Generator
        For the bootstrap over networks that gives the standard error.
    resamples : int
        Bootstrap samples.

    Returns
    -------
    Estimate or None
        None if the median lies beyond the observation, or for more than one bootstrap sample in
        forty: then only the bound is known.

    Raises
    ------
    ValueError
        For fewer than five networks, times that are not positive, or shapes that differ.

    Notes
    -----
    Taught in chapter 2.4, "What counts as a delay".
    """
    times = validate.array("times", times, dimensions=1)
    observed = np.asarray(observed)
    if len(times) < 5 or not (times > 0).all():
        raise ValueError(f"times is {times!r}; allowed are at least five positive numbers")
    if observed.dtype != bool or observed.shape != times.shape:
        raise ValueError(f"observed is {observed!r}; allowed is one bool for each time")
    validate.generator("generator", generator, np.random.Generator)
    resamples = validate.whole("resamples", resamples, low=2)
    value = float(_medians(times[None], observed[None])[0])
    draws = generator.integers(len(times), size=(resamples, len(times)))
    medians = _medians(times[draws], observed[draws])
    finite = np.isfinite(medians)
    if not np.isfinite(value) or finite.mean() < 0.975:
        return None
    return Estimate(
        float(np.log10(value)), float(np.log10(medians[finite]).std(ddof=1)), len(times)
    )


def median_exponent(x, medians: Sequence[Estimate]) -> Estimate:
    """Exponent of a power law through medians from :func:`median_time`.

    Least squares of the medians on :math:`\\log_{10}x`; their errors propagate, as those of
    independent sets of networks.

    Parameters
    ----------
    x : array_like, shape (settings,)
        At least three positive numbers.
    medians : sequence of Estimate
        One for each setting.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        For fewer than three settings, numbers that are not positive, or a median that is None.

    Notes
    -----
    Taught in chapter 2.4, "Three knobs".
    """
    x = validate.array("x", x, dimensions=1)
    if len(x) < 3 or len(x) != len(medians) or not (x > 0).all():
        raise ValueError(f"x is {x}; allowed are at least three positive numbers, one a median")
    if any(median is None for median in medians):
        raise ValueError("medians contains None; a median beyond the budget cannot be fitted")
    centred = np.log10(x) - np.log10(x).mean()
    weights = centred / (centred @ centred)
    values, errors, seeds = (np.array(column) for column in zip(*medians, strict=True))
    stderr = np.sqrt((weights**2) @ (errors**2))
    return Estimate(float(weights @ values), float(stderr), int(seeds.min()))


def delay_sweep(
    cases: Sequence[dict],
    *,
    networks: int,
    dimension: int,
    width: int,
    thresholds: Sequence[float],
    seed: int,
) -> dict[str, np.ndarray]:
    """Fit and generalisation times of several settings, each with its own networks and data.

    Parameters
    ----------
    cases : sequence of dict
        Each with ``points``, ``output_scale``, ``curvature``, ``hint``, ``centred`` and ``steps``.
        The learning rate of a case is the smallest of its :func:`safe_learning_rate`.
    networks : int
        Independent networks for each case, each with a training set of its own.
    dimension, width : int
        d and n.
    thresholds : sequence of float
        Of :func:`grokking_delay`.
    seed : int
        Case k uses the generator of ``seed + k``.

    Returns
    -------
    dict
        ``fit_time``, ``fitted``, ``test_time``, ``generalised`` of shape (cases, thresholds,
        networks); ``train_end``, ``test_end``, ``alignment`` (centred, at the start), ``distance``
        (kernel, at the end), ``weight_change`` of shape (cases, networks); ``learning_rate`` and
        ``last_time`` of shape (cases,).

    Notes
    -----
    Taught in chapter 2.4, "Three knobs".
    """
    columns: dict[str, list] = {}
    for number, case in enumerate(cases):
        generator = torch.Generator().manual_seed(validate.whole("seed", seed, low=0) + number)
        task = polynomial_task(
            networks=networks, points=case["points"], dimension=dimension, generator=generator
        )
        start = moments(initial_weights(task, width=width, generator=generator, hint=case["hint"]))
        knobs = {name: case[name] for name in ("output_scale", "curvature", "centred")}
        rate = float(safe_learning_rate(task, start, **knobs).min())
        history = train_polynomial(
            task, start, learning_rate=rate, steps=geometric_steps(case["steps"], 120), **knobs
        )
        delays = [grokking_delay(history, threshold=threshold) for threshold in thresholds]
        ends = history._replace(moments=history.moments[:, [0, -1]])
        dial = polynomial_dial(ends, task, curvature=case["curvature"])
        row = {
            "fit_time": [delay.train for delay in delays],
            "fitted": [delay.fitted for delay in delays],
            "test_time": [delay.test for delay in delays],
            "generalised": [delay.generalised for delay in delays],
            "train_end": history.train[:, -1],
            "test_end": history.test[:, -1],
            "alignment": dial.centred_alignment[:, 0],
            "distance": dial.distance[:, -1],
            "weight_change": history.weight_change[:, -1],
            "learning_rate": rate,
            "last_time": history.times[0, -1],
        }
        for name, value in row.items():
            columns.setdefault(name, []).append(np.asarray(value))
    return {name: np.stack(values) for name, values in columns.items()}


def draw_history(ax, history: PolynomialHistory, *, network: int | None = None) -> None:
    """Draw train and test error of one network, or of all with their median, on log axes."""
    for errors, name, color in (
        (history.train, "train error", figures.COLORS[0]),
        (history.test, "test error", figures.COLORS[1]),
    ):
        if network is None:
            ax.plot(history.times.T[1:], errors.T[1:], color=color, alpha=0.25, linewidth=0.8)
            times, shown, name = history.times[0], np.median(errors, axis=0), f"{name}, median"
        else:
            times, shown = history.times[network], errors[network]
        figures.simulation(ax, times[1:], shown[1:], label=name, color=color, markersize=3)
    ax.set(xscale="log", yscale="log")


def draw_fraction(ax, x, observed: np.ndarray) -> None:
    """Draw the fraction of networks (last axis) for which something was observed.

    The bars are Wilson intervals of 68 per cent: they stay between 0 and 1.
    """
    fraction = np.asarray(observed).mean(axis=-1)
    intervals = [
        binomtest(int(row.sum()), len(row)).proportion_ci(0.68, "wilson") for row in observed
    ]
    low, high = np.array(intervals).T
    errors = np.maximum([fraction - low, high - fraction], 0)
    figures.simulation(ax, x, fraction, errors, label=f"of {observed.shape[-1]} networks")


def draw_delays(ax, x, medians: Sequence[Estimate | None], limits, label: str, **kwargs) -> None:
    """Draw medians with their errors, and an upward arrow at the bound where there is none."""
    x = np.asarray(x, dtype=float)
    known = np.array([median is not None for median in medians])
    values = np.array([10**median.value for median in medians if median is not None])
    spread = np.array([median.stderr for median in medians if median is not None])
    errors = np.array([values * (1 - 10**-spread), values * (10**spread - 1)])
    shown = figures.simulation(ax, x[known], values, errors, label=label, **kwargs)
    color = shown.lines[0].get_color()
    ax.plot(x[~known], np.asarray(limits, dtype=float)[~known], "^", color=color, mfc="none",
            markersize=8, label="median beyond the budget" if (~known).any() else None)  # fmt: skip
