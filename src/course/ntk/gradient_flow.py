r"""Training a wide network is kernel gradient flow (chapter 1.3).

For the loss :math:`\frac12\sum_i (f(x_i)-y_i)^2` gradient flow on the parameters moves the function
by :math:`\partial_t f(x) = -\Theta(x, X)\,(f(X)-y)`. With a constant kernel :math:`\Theta` this is
linear and solved by :math:`M_t = \Theta_*\Theta^{-1}(1-e^{-\Theta t})`. `lazy_ensemble` gives the
mean and the covariance that this implies for randomly initialised networks; `train_ensemble`
trains the networks themselves.

Chapter 1.3 teaches every function here; the formulas follow Jacot, Gabriel and Hongler (2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from course import figures, runtime, validate
from course.activations import find_activation
from course.estimates import Estimate, estimate
from course.ntk.kernels import infinite_width_kernels

__all__ = [
    "LazyEnsemble",
    "StoppingCurve",
    "TrainedEnsemble",
    "draw_catapult",
    "draw_decay",
    "draw_functions",
    "draw_moments",
    "draw_stopping",
    "flow_filter",
    "flow_operator",
    "lazy_ensemble",
    "linearised_outputs",
    "stopping_curve",
    "train_ensemble",
]

_TRAINED = ("all", "readout")


def _inputs(x_train, x_test) -> tuple[np.ndarray, np.ndarray]:
    x_train = validate.array("x_train", x_train, dimensions=2, empty=False)
    x_test = validate.array("x_test", x_test, dimensions=2, empty=False)
    if x_train.shape[1] != x_test.shape[1]:
        raise ValueError(
            f"x_test has {x_test.shape[1]} inputs per point, x_train has {x_train.shape[1]}; "
            "allowed is the same number"
        )
    return x_train, x_test


def _targets(name: str, values, points: int, columns: bool = False) -> np.ndarray:
    array = validate.array(name, values, dimensions=(1, 2) if columns else 1, empty=False)
    if len(array) != points:
        shapes = f"({points},) or ({points}, k)" if columns else f"({points},)"
        raise ValueError(f"{name} has shape {array.shape}; allowed is {shapes}")
    return array


def _labels(y_train, networks: int, points: int) -> np.ndarray:
    labels = validate.array("y_train", y_train, dimensions=(1, 2))
    if labels.shape not in ((points,), (networks, points)):
        raise ValueError(
            f"y_train has shape {labels.shape}; allowed is ({points},) or ({networks}, {points})"
        )
    return labels


def _time(value) -> float:
    return validate.real("time", value, low=0, infinite=True)


def flow_filter(eigenvalues, time, *, learning_rate: float | None = None) -> np.ndarray:
    r"""How much of each mode gradient flow has learned, per unit of eigenvalue.

    .. math:: \varphi(\lambda, t) = \frac{1 - e^{-\lambda t}}{\lambda},
              \qquad \varphi(0, t) = t .

    Parameters
    ----------
    eigenvalues : array_like
        Eigenvalues :math:`\lambda \ge 0` of the kernel on the training set.
    time : float
        Training time :math:`t \ge 0`; ``math.inf`` is allowed.
    learning_rate : float, optional
        With a step size :math:`\eta`, gradient descent instead of gradient flow: after
        :math:`k = t/\eta` steps :math:`e^{-\lambda t}` becomes :math:`(1-\eta\lambda)^k`.

    Returns
    -------
    numpy.ndarray
        :math:`\varphi(\lambda, t)`, stable for small :math:`\lambda t`. At infinite time a
        zero eigenvalue gives ``inf``.

    Raises
    ------
    ValueError
        Negative or NaN time; negative eigenvalues; a ``time`` that is no whole number of steps;
        infinite time with :math:`\eta\lambda \ge 2`, where gradient descent diverges.

    Notes
    -----
    Section "One rate per mode" of chapter 1.3.
    """
    eigenvalues = validate.array("eigenvalues", eigenvalues, dimensions=None)
    time = _time(time)
    if (eigenvalues < 0).any():
        raise ValueError(f"eigenvalues is {eigenvalues}; allowed are numbers of at least 0")
    positive = eigenvalues > 0
    safe = np.where(positive, eigenvalues, 1.0)
    if learning_rate is None:
        with np.errstate(over="ignore"):
            return np.where(positive, -np.expm1(-safe * time) / safe, time)
    eta = validate.real("learning_rate", learning_rate, low=0, strict=True)
    if math.isinf(time):
        if (eta * eigenvalues >= 2).any():
            raise ValueError(
                f"time is infinite and learning_rate times the largest eigenvalue is "
                f"{eta * eigenvalues.max():.4g}: gradient descent diverges; allowed is below 2"
            )
        return np.where(positive, 1 / safe, math.inf)
    steps = round(time / eta)
    if abs(steps * eta - time) > 1e-9 * max(time, eta):
        raise ValueError(f"time is {time!r}; allowed are whole numbers of steps of {eta}")
    slow = eta * safe < 1
    product = np.where(slow, eta * safe, 0.5)
    gentle = -np.expm1(steps * np.log1p(-product))
    return np.where(positive, np.where(slow, gentle, 1 - (1 - eta * safe) ** steps) / safe, time)


class _Flow:
    """One eigendecomposition of the training kernel, many times."""

    def __init__(self, theta_train: np.ndarray, theta_cross: np.ndarray):
        eigenvalues, self.vectors = np.linalg.eigh((theta_train + theta_train.T) / 2)
        largest = eigenvalues[-1]
        # Below this an eigenvalue of a positive semi-definite matrix cannot be told from zero.
        self.resolution = len(eigenvalues) * np.finfo(float).eps * max(largest, 0.0)
        if eigenvalues[0] < -100 * self.resolution:
            raise ValueError(
                f"theta_train has an eigenvalue of {eigenvalues[0]:.3g} beside a largest of "
                f"{largest:.3g}; allowed are positive semi-definite matrices"
            )
        self.eigenvalues = np.where(eigenvalues > self.resolution, eigenvalues, 0.0)
        self.projected = theta_cross @ self.vectors

    def operator(self, time: float, learning_rate: float | None) -> np.ndarray:
        weight = flow_filter(self.eigenvalues, time, learning_rate=learning_rate)
        if not time * self.resolution <= 1e-8:  # also where the product is inf × 0
            weight[self.eigenvalues == 0] = 0.0
        return (self.projected * weight) @ self.vectors.T


def flow_operator(
    theta_train, theta_cross, *, time: float, learning_rate: float | None = None
) -> np.ndarray:
    r"""The matrix :math:`M_t` that turns training residuals into changes of the test outputs.

    .. math:: M_t = \Theta_*\,\Theta^{-1}\left(1 - e^{-\Theta t}\right)
                  = \Theta_*\,U\,\varphi(\Lambda, t)\,U^\top,
              \qquad f_t(x_*) = f_0(x_*) - M_t\,(f_0(X) - y).

    Parameters
    ----------
    theta_train : array_like, n × n
        Kernel on the training set, :math:`\Theta = U\Lambda U^\top`; may be singular.
    theta_cross : array_like, m × n
        Kernel :math:`\Theta_*` between test and training points.
    time : float
        Training time; ``math.inf`` is allowed.
    learning_rate : float, optional
        Step size of gradient descent; without it, gradient flow.

    Returns
    -------
    numpy.ndarray, m × n

    Raises
    ------
    ValueError
        Shapes that do not match, a kernel with a negative eigenvalue, a bad time.

    Notes
    -----
    A null vector :math:`u` of :math:`\Theta` (two equal inputs, say) is never learned, and by the
    Cauchy–Schwarz inequality a positive semi-definite kernel also has :math:`\Theta_* u = 0`. Its
    term is therefore zero at all times, infinity included: contradicting labels on equal
    inputs are fitted by their average. In floating point :math:`\Theta_* u` is rounding error, so
    the term is dropped as soon as :math:`\varphi` would amplify it beyond about 1e-8.
    Source: Jacot et al. (2018), section 5, for the flow; the treatment of null vectors is derived
    in chapter 1.3, section "One rate per mode".
    """
    theta_train = validate.array("theta_train", theta_train, dimensions=2, empty=False)
    theta_cross = validate.array("theta_cross", theta_cross, dimensions=2, empty=False)
    points = len(theta_train)
    if theta_train.shape != (points, points):
        raise ValueError(f"theta_train has shape {theta_train.shape}; allowed is a square matrix")
    if theta_cross.shape[1] != points:
        raise ValueError(f"theta_cross has shape {theta_cross.shape}; allowed is (m, {points})")
    return _Flow(theta_train, theta_cross).operator(_time(time), learning_rate)


@dataclass(frozen=True)
class LazyEnsemble:
    """Mean and covariance over initialisations of infinitely wide networks in training.

    Attributes
    ----------
    mean : numpy.ndarray, m or m × k
        Mean output on the test points.
    covariance : numpy.ndarray, m × m
        Covariance of one output between test points (the same for each of the k outputs).
    """

    mean: np.ndarray
    covariance: np.ndarray

    @property
    def standard_deviation(self) -> np.ndarray:
        """Square root of the diagonal; rounding below zero counts as zero."""
        return np.sqrt(np.clip(np.diag(self.covariance), 0, None))


def lazy_ensemble(
    x_train,
    y_train,
    x_test,
    *,
    time: float,
    depth: int,
    activation="relu",
    sigma_w: float,
    sigma_b: float,
    trained: str = "all",
    learning_rate: float | None = None,
) -> LazyEnsemble:
    r"""Mean and covariance of trained, infinitely wide networks at a finite or infinite time.

    .. math::

        \mathrm{E} f_t(x_*) = M_t\,y, \qquad
        \mathrm{Cov} f_t = K_{**} + M_t K M_t^\top - M_t K_*^\top - K_* M_t^\top,

    with :math:`M_t` from `flow_operator`, the tangent kernel :math:`\Theta` inside it and the
    covariance :math:`K` of the outputs at initialisation around it.

    Parameters
    ----------
    x_train, x_test : array_like, n × d and m × d
        Inputs.
    y_train : array_like, n or n × k
        Labels.
    time : float
        Training time :math:`t \ge 0` under the loss :math:`\frac12\sum_i(f(x_i)-y_i)^2`;
        0 is the prior, ``math.inf`` the end of training.
    depth : int
        Number of hidden layers.
    activation : str or callable
        As in `infinite_width_kernels`.
    sigma_w, sigma_b : float
        Standard deviations of weights and biases (NTK parametrisation, readout included).
    trained : {"all", "readout"}
        Which parameters move. With ``"readout"`` the kernel in :math:`M_t` is :math:`K`, and
        infinite time is the posterior of the Gaussian process.
    learning_rate : float, optional
        Step size: the exact theory of gradient *descent* after ``time / learning_rate`` steps.

    Returns
    -------
    LazyEnsemble

    Raises
    ------
    ValueError
        Negative or NaN time, dimensions that do not match, empty or non-finite data.

    Notes
    -----
    Jacot et al. (2018), sections 4 and 5. Section "Eight thousand networks" of chapter 1.3.
    Singular kernels: see `flow_operator`.

    Examples
    --------
    >>> x = [[1, 0.5, -0.5], [0, 1, 1], [-1, 0.3, 0.2]]
    >>> end = lazy_ensemble(x, [1, -1, 0.5], [[2, -1, 0.5]], time=math.inf, depth=1,
    ...                     activation="erf", sigma_w=1.5**0.5, sigma_b=0.1**0.5)
    >>> print(end.mean.round(6), end.covariance.round(6))
    [-0.328623] [[0.643508]]
    """
    x_train, x_test = _inputs(x_train, x_test)
    y_train = _targets("y_train", y_train, len(x_train), columns=True)
    time = _time(time)
    trained = validate.choice("trained", trained, _TRAINED)
    flow, train, cross, test = _kernel_flow(
        x_train, x_test, trained, depth, activation, sigma_w, sigma_b
    )
    operator = flow.operator(time, learning_rate)
    covariance = _covariance(operator, train, cross, test)
    return LazyEnsemble(operator @ y_train, (covariance + covariance.T) / 2)


def _kernel_flow(x_train, x_test, trained, depth, activation, sigma_w, sigma_b):
    settings = {"depth": depth, "activation": activation, "sigma_w": sigma_w, "sigma_b": sigma_b}
    train = infinite_width_kernels(x_train, **settings)
    cross = infinite_width_kernels(x_test, x_train, **settings)
    test = infinite_width_kernels(x_test, **settings)
    flow = _Flow(train.ntk, cross.ntk) if trained == "all" else _Flow(train.nngp, cross.nngp)
    return flow, train.nngp, cross.nngp, test.nngp


def _covariance(operator, train, cross, test):
    mixed = operator @ cross.T
    return test + operator @ train @ operator.T - mixed - mixed.T


@dataclass(frozen=True)
class StoppingCurve:
    """Expected test error against training time, in its three parts (mean over test points).

    Attributes
    ----------
    times : numpy.ndarray
    bias : numpy.ndarray
        Squared error of the noise-free ensemble mean: what has not been learned yet.
    noise : numpy.ndarray
        Variance that the label noise puts into the function: grows with time.
    ensemble : numpy.ndarray
        Variance between initialisations.
    """

    times: np.ndarray
    bias: np.ndarray
    noise: np.ndarray
    ensemble: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """Expected squared error of one network against the noise-free target."""
        return self.bias + self.noise + self.ensemble

    @property
    def best_time(self) -> float:
        """Time of the smallest total error among ``times``."""
        return float(self.times[np.argmin(self.total)])


def stopping_curve(
    x_train,
    target_train,
    x_test,
    target_test,
    *,
    times,
    noise: float,
    depth: int,
    activation="relu",
    sigma_w: float,
    sigma_b: float,
    trained: str = "all",
    learning_rate: float | None = None,
) -> StoppingCurve:
    r"""Expected test error of one network with noisy labels, against training time.

    With labels :math:`y = f^\star(X) + \varepsilon` and noise of variance
    :math:`\sigma_\epsilon^2`, the error against :math:`f^\star` at a test point, averaged over
    noise and initialisation, is

    .. math:: (M_t f^\star(X) - f^\star(x_*))^2 + \sigma_\epsilon^2\,\|M_t\|^2
              + \mathrm{Var} f_t(x_*) .

    Parameters
    ----------
    x_train, x_test : array_like, n × d and m × d
    target_train, target_test : array_like, n and m
        The noise-free target :math:`f^\star`.
    times : array_like
        Training times.
    noise : float
        Variance :math:`\sigma_\epsilon^2 \ge 0` of the label noise.
    depth, activation, sigma_w, sigma_b, trained, learning_rate
        As in `lazy_ensemble`.

    Returns
    -------
    StoppingCurve

    Raises
    ------
    ValueError
        As `lazy_ensemble`; negative noise.

    Notes
    -----
    Source: derived in chapter 1.3, section "When to stop", from the ensemble of `lazy_ensemble`.
    """
    x_train, x_test = _inputs(x_train, x_test)
    target_train = _targets("target_train", target_train, len(x_train))
    target_test = _targets("target_test", target_test, len(x_test))
    noise = validate.real("noise", noise, low=0)
    times = np.atleast_1d(
        validate.array("times", times, dimensions=(0, 1), empty=False, infinite=True)
    )
    if (times < 0).any():
        raise ValueError(f"times is {times!r}; allowed are numbers >= 0, also infinite ones")
    trained = validate.choice("trained", trained, _TRAINED)
    flow, train, cross, test = _kernel_flow(
        x_train, x_test, trained, depth, activation, sigma_w, sigma_b
    )
    rows = []
    for time in times:
        operator = flow.operator(float(time), learning_rate)
        rows.append(
            (
                np.mean((operator @ target_train - target_test) ** 2),
                noise * np.mean(np.sum(operator**2, axis=1)),
                np.mean(np.diag(_covariance(operator, train, cross, test))),
            )
        )
    return StoppingCurve(times, *np.array(rows).T)


class _Networks:
    """Many dense networks of one shape, in NTK parametrisation, as batched matrices.

    The bias of a layer is the last column of its weights: the vector that enters the layer is
    (σ_w φ(h)/√n, σ_b), so that the field is one product, and so is the gradient.
    """

    def __init__(self, networks, sizes, activation, sigma_w, sigma_b, generator):
        self.function, self.derivative = activation.function, activation.derivative
        self.sigma_b = sigma_b
        self.scales = [sigma_w / math.sqrt(columns) for columns in sizes[:-1]]
        self.weights = [
            torch.randn(
                (networks, rows, columns + 1),
                dtype=torch.float64,
                device=generator.device,
                generator=generator,
            )
            for rows, columns in zip(sizes[1:], sizes[:-1], strict=True)
        ]

    def enter(self, layer, activity):
        """What enters ``layer``: scaled activities (networks × n × points) and a row of σ_b."""
        networks, rows, points = activity.shape
        entering = activity.new_full((networks, rows + 1, points), self.sigma_b)
        torch.mul(activity, self.scales[layer], out=entering[:, :rows])
        return entering

    def forward(self, entering, first=0):
        """Inputs and fields of each layer from ``first`` on, and the output, networks × points."""
        inputs, fields = [entering.expand(len(self.weights[0]), -1, -1)], []
        for layer in range(first, len(self.weights)):
            fields.append(self.weights[layer] @ inputs[-1])
            if layer < len(self.weights) - 1:
                inputs.append(self.enter(layer + 1, self.function(fields[-1])))
        return inputs, fields, fields[-1][:, 0]

    def backward(self, fields, errors, first=0):
        """∂(Σ errors · output)/∂h of each layer from ``first`` on."""
        deltas = [errors[:, None]]
        for layer in range(len(self.weights) - 1, first, -1):
            back = self.weights[layer][..., :-1].transpose(1, 2) @ deltas[0]
            slope = self.derivative(fields[layer - 1 - first])
            deltas.insert(0, back.mul_(slope).mul_(self.scales[layer]))
        return deltas

    def descend(self, inputs, deltas, step, first=0):
        """One step of gradient descent on layers ``first`` and later."""
        for weights, entering, delta in zip(self.weights[first:], inputs, deltas, strict=True):
            weights.baddbmm_(delta, entering.transpose(1, 2), alpha=-step)

    def tangent_kernel(self, entering, columns, first=0):
        """Empirical kernel between all points and the first ``columns`` of them."""
        inputs, fields, outputs = self.forward(entering)
        deltas = self.backward(fields, torch.ones_like(outputs))
        kernel = 0.0
        for value, delta in zip(inputs[first:], deltas[first:], strict=True):
            overlap = value.transpose(1, 2) @ value[..., :columns]
            kernel = kernel + overlap * (delta.transpose(1, 2) @ delta[..., :columns])
        return kernel


@dataclass(frozen=True)
class TrainedEnsemble:
    """Outputs of independently initialised networks in training.

    Attributes
    ----------
    times : numpy.ndarray, s
        Recorded training times, steps × learning rate.
    train, test : numpy.ndarray, networks × s × n and networks × s × m
        Outputs on the training and on the test points.
    kernel : numpy.ndarray or None, networks × s × (n + m) × n
        Empirical tangent kernel between (training, then test) points and training points.
    """

    times: np.ndarray
    train: np.ndarray
    test: np.ndarray
    kernel: np.ndarray | None = None


def train_ensemble(
    x_train,
    y_train,
    x_test,
    *,
    steps,
    learning_rate: float,
    width: int,
    networks: int,
    generator: torch.Generator,
    depth: int = 1,
    activation="erf",
    sigma_w: float,
    sigma_b: float,
    trained: str = "all",
    output_scale: float = 1.0,
    kernel: bool = False,
    description: str = "training",
) -> TrainedEnsemble:
    r"""Train many finite networks at once by full-batch gradient descent.

    Every network has its own random parameters; all take
    :math:`\theta \leftarrow \theta - \eta\,\nabla_\theta \tfrac12\sum_i (f(x_i)-y_i)^2` with
    gradients written out by hand, as batched matrix products in float64.

    Parameters
    ----------
    x_train, x_test : array_like, n × d and m × d
    y_train : array_like, n or networks × n
        Labels, common to all networks or one row for each.
    steps : array_like of int
        Increasing numbers of steps (0 is the start) at which outputs are recorded.
    learning_rate : float
        Step size :math:`\eta`; time is steps × :math:`\eta`.
    width, depth : int
        Neurons per hidden layer and number of hidden layers.
    networks : int
        Number of networks.
    generator : torch.Generator
        Source of the parameters; the networks are trained on its device.
    activation : str or callable
        As in `infinite_width_kernels`.
    sigma_w, sigma_b : float
        Standard deviations of weights and biases (NTK parametrisation, readout included).
    trained : {"all", "readout"}
        Which parameters move.
    output_scale : float
        The network's function is ``output_scale`` × the last layer; the step is divided by its
        square, so that time keeps its meaning. ``width ** -0.5`` is the mean-field scaling.
    kernel : bool
        Also record the empirical tangent kernel of the *unscaled* output.
    description : str
        Text of the progress bar.

    Returns
    -------
    TrainedEnsemble

    Raises
    ------
    ValueError
        Bad shapes or settings; another kind of generator.
    FloatingPointError
        Training diverged: an output at a recorded step is not finite.

    Notes
    -----
    Networks are handled in batches of at most about 3e5 activations (one network at least), so
    that memory stays bounded whatever ``networks`` is.
    Source: the parametrisation is that of Jacot et al. (2018), section 2; the gradients are
    backpropagation, written out. Section "Eight thousand networks" of chapter 1.3.
    """
    x_train, x_test = _inputs(x_train, x_test)
    points = len(x_train)
    networks, width = validate.whole("networks", networks), validate.whole("width", width)
    depth = validate.whole("depth", depth)
    labels = _labels(y_train, networks, points)
    times = np.atleast_1d(validate.array("steps", steps, dimensions=(0, 1), empty=False))
    if times[0] < 0 or (np.diff(times) <= 0).any() or (times % 1 != 0).any():
        raise ValueError(f"steps is {steps!r}; allowed are increasing whole numbers >= 0")
    steps = [int(step) for step in times]
    eta = validate.real("learning_rate", learning_rate, low=0, strict=True)
    scale = validate.real("output_scale", output_scale, low=0, strict=True)
    sigma_w = validate.real("sigma_w", sigma_w, low=0, strict=True)
    sigma_b = validate.real("sigma_b", sigma_b, low=0)
    activation = find_activation(activation)
    validate.generator("generator", generator, torch.Generator)
    first = depth if validate.choice("trained", trained, _TRAINED) == "readout" else 0

    sizes = [x_train.shape[1], *[width] * depth, 1]
    per_network = width * max(len(x_train) + len(x_test), width if depth > 1 else 1)
    batch = max(1, min(networks, 300_000 // per_network))
    points_in_rows = torch.from_numpy(np.concatenate([x_train, x_test]).T.copy())
    labels = torch.from_numpy(np.broadcast_to(labels, (networks, points)).copy())
    labels = labels.to(generator.device)
    recorded, outputs, kernels = set(steps), [], []
    for start in runtime.progress(range(0, networks, batch), description):
        target = labels[start : start + batch]
        nets = _Networks(len(target), sizes, activation, sigma_w, sigma_b, generator)
        everything = nets.enter(0, points_in_rows.to(generator.device)[None])
        entering = nets.forward(everything[..., :points])[0][first]
        records, tangents = [], []
        for step in range(steps[-1] + 1):
            if step in recorded:
                records.append(scale * nets.forward(everything)[2])
                if kernel:
                    tangents.append(nets.tangent_kernel(everything, points, first))
            if step < steps[-1]:
                inputs, fields, output = nets.forward(entering, first)
                deltas = nets.backward(fields, scale * output - target, first)
                nets.descend(inputs, deltas, eta / scale, first)
        outputs.append(torch.stack(records, 1).cpu().numpy())
        if kernel:
            kernels.append(torch.stack(tangents, 1).cpu().numpy())
    outputs = np.concatenate(outputs)
    if not np.isfinite(outputs).all():
        raise FloatingPointError(
            f"training diverged: outputs are not finite at learning_rate={eta}; the linear theory "
            "allows rates below 2 / (largest eigenvalue of the kernel on x_train)"
        )
    return TrainedEnsemble(
        times * eta,
        outputs[..., :points],
        outputs[..., points:],
        np.concatenate(kernels) if kernel else None,
    )


def linearised_outputs(ensemble: TrainedEnsemble, y_train, *, learning_rate: float) -> np.ndarray:
    r"""Where each network would be had its kernel stayed what it was at the start.

    .. math:: f^{\mathrm{lin}}_k = f_0 - \hat\Theta_0(\cdot, X)\,\hat\Theta_0^{-1}
              \left(1 - (1-\eta\hat\Theta_0)^k\right)(f_0(X) - y)

    Parameters
    ----------
    ensemble : TrainedEnsemble
        Trained with ``kernel=True`` and a record at step 0.
    y_train : array_like, n or networks × n
    learning_rate : float
        The step size the ensemble was trained with.

    Returns
    -------
    numpy.ndarray, networks × s × m
        Outputs of the linearised networks on the test points.

    Raises
    ------
    ValueError
        The ensemble has no kernel, or no record at step 0; labels that do not fit; a bad step.

    Notes
    -----
    Section "Two ways to be wrong at finite width" of chapter 1.3.
    """
    if ensemble.kernel is None or ensemble.times[0] != 0:
        raise ValueError(
            "ensemble lacks its kernel or its start; allowed is one trained with kernel=True and "
            "with steps that begin at 0"
        )
    points = ensemble.train.shape[2]
    residuals = ensemble.train[:, 0] - _labels(y_train, len(ensemble.train), points)
    result = np.empty_like(ensemble.test)
    for net, (kernel, residual) in enumerate(zip(ensemble.kernel[:, 0], residuals, strict=True)):
        flow = _Flow(kernel[:points], kernel[points:])
        for record, time in enumerate(ensemble.times):
            change = flow.operator(time, learning_rate) @ residual
            result[net, record] = ensemble.test[net, 0] - change
    return result


def draw_functions(
    ax, angles, paths, theory: LazyEnsemble, data, labels, *, labelled: bool = True
) -> None:
    """Functions of an angle: some networks, mean and two standard deviations of the theory."""
    spread = 2 * theory.standard_deviation
    ax.fill_between(angles, theory.mean - spread, theory.mean + spread, color="#BBD5EA", lw=0)
    ax.plot(angles, paths.T, color="#D55E00", lw=0.7, alpha=0.8)
    mean = figures.theory(ax, angles, theory.mean, color="#0072B2")
    (points,) = ax.plot(data, labels, "ks", ms=5, zorder=4)
    if labelled:
        names = ["networks", r"theory, mean $\pm$ 2 s.d.", "labels"]
        ax.legend([ax.lines[0], mean, points], names, fontsize=8, loc="lower left")
    ax.set(xlabel=r"angle of the input", ylabel="output $f$", ylim=(-3.5, 2.4))


def draw_decay(ax, times, ratio: np.ndarray, theory: np.ndarray, wrong: np.ndarray, modes) -> None:
    """Residual of each mode against time: networks × times × modes, and two theories."""
    for column, mode in enumerate(modes):
        color = figures.COLORS[column]
        label = "rates from the NNGP kernel" if column == 0 else None
        figures.rejected(ax, times, wrong[:, column], label)
        figures.theory(ax, times, theory[:, column], color=color)
        figures.simulation(
            ax, times, estimate(ratio[:, :, column]), label=f"mode {mode}", color=color, ms=4
        )
    ax.set(xlabel="training time $t$", ylabel="residual, relative to its start", xscale="log")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def draw_stopping(ax, curve: StoppingCurve, wrong: StoppingCurve, times, error: Estimate) -> None:
    """Test error against time: the theory, its parts, the wrong rates, and the networks."""
    names = {"bias": "not yet learned", "noise": "noise learned", "ensemble": "initialisation"}
    for color, (part, label) in zip(figures.COLORS[1:], names.items(), strict=False):
        figures.theory(ax, curve.times, getattr(curve, part), label=label, color=color, lw=1)
    figures.rejected(ax, wrong.times, wrong.total, "total, with NNGP rates")
    figures.theory(ax, curve.times, curve.total, label="total", color=figures.COLORS[0])
    figures.simulation(ax, times, error, label="networks", color=figures.COLORS[0])
    ax.axvline(curve.best_time, color="0.4", lw=0.8, ls=":")
    ax.set(xlabel="training time $t$", ylabel="test error", xscale="log", ylim=(0, 1.2))


def draw_moments(axs, times, theories: dict[str, np.ndarray], wrong: dict, measured: dict) -> None:
    """Ensemble mean and variance against time: keys "mean", "variance" and their "_stderr"."""
    for ax, name in zip(axs, ("mean", "variance"), strict=True):
        figures.rejected(ax, times, wrong[name], "readout only (NNGP kernel)")
        figures.theory(ax, times, theories[name], label="all parameters (NTK)")
        figures.simulation(
            ax, measured["time"], measured[name], measured[f"{name}_stderr"],
            label="trained networks",
        )  # fmt: skip
        ax.set(xlabel="training time $t$", ylabel=f"{name} of the output")
        ax.set_xscale("symlog", linthresh=0.25)


def draw_catapult(axs, loss: np.ndarray, curvature: np.ndarray) -> None:
    """Loss and step × top eigenvalue against steps (both networks × steps)."""
    steps, middle = np.arange(loss.shape[1]), np.median(loss, axis=0)
    growth = (curvature[:, 0].mean() - 1) ** (2 * steps)
    figures.theory(axs[0], steps, middle[0] * growth, label="linear theory, top mode")
    figures.simulation(axs[0], steps, middle, label="networks (median)")
    axs[0].set(xlabel="steps", ylabel="loss", yscale="log", ylim=(1e-6, 1e4))
    figures.simulation(axs[1], steps, estimate(curvature), label="networks")
    axs[1].axhline(2, color="0.4", ls=":", label="limit of stability")
    axs[1].set(xlabel="steps", ylabel=r"step × top eigenvalue, $\eta\hat\lambda$", ylim=(0, 3.5))
