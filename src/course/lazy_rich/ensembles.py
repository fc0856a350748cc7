"""Ensembles of dense networks that are trained in one batched computation, used in Part II.

Every parameter carries a first axis that numbers independent networks. One step of the ensemble
costs about as much as one step of a single network until the arithmetic fills the processor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from course import validate
from course.activations import find_activation
from course.empirical import Layer, layer_features, layered_kernel

GROWTH = 1e6
"""A loss above this number, and above this multiple of its first value, counts as divergence."""

OPTIMIZERS = ("sgd", "adam")


class Divergence(RuntimeError):
    """Training left the finite numbers, or the loss grew without bound.

    Attributes
    ----------
    step : int
        The first step whose loss was out of bounds.
    networks : list of int
        The networks that were.
    """

    def __init__(self, step: int, networks: list[int], rate: float) -> None:
        super().__init__(
            f"networks {networks} diverge at step {step} with learning_rate {rate:g}; "
            "allowed are smaller learning rates"
        )
        self.step, self.networks = step, networks


class History(NamedTuple):
    """What :func:`train` saw.

    Attributes
    ----------
    loss : numpy.ndarray
        Loss before each step and at the end, shape (steps + 1, networks); infinite from the step
        on at which a network diverged.
    diverged_at : numpy.ndarray
        That step, or -1 for a network that did not diverge.
    observed : Any
        What ``observe`` returned at each step, stacked along a new first axis where these are
        arrays or numbers, else a list; None without ``observe``.
    """

    loss: np.ndarray
    diverged_at: np.ndarray
    observed: Any


class DenseEnsemble:
    """Independent dense networks of one shape, without biases.

    .. math:: h^1=m_1W^1x,\\qquad h^l=m_lW^l\\phi(h^{l-1}),\\qquad
        f=m_{L+1}W^{L+1}\\phi(h^L),\\qquad W^l_{ij}\\sim\\mathcal N(0,s_l^2)

    Only the product :math:`m_ls_l` matters for the function at the start; how it is split decides
    how the network trains.

    Parameters
    ----------
    widths
        Number of inputs, of neurons in each hidden layer, of outputs.
    networks
        Number of networks.
    activation
        A key of :data:`course.activations.activations` or an elementwise torch function.
    multipliers, deviations
        m_l and s_l of all layers, finite; s_l >= 0.
    generator
        Source of the initial weights; its device is the ensemble's.
    dtype
        Precision, float64 unless told.

    Attributes
    ----------
    weights : list of torch.Tensor
        Of shape (networks, n_l, n_{l-1}) for each layer.
    multipliers, deviations : list of float
        As given.

    Raises
    ------
    ValueError
        For parameters that are not allowed.

    Notes
    -----
    Network k of an ensemble is no function of its companions. Taught in chapter 2.2, "One dial,
    three handles".
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        networks: int,
        activation: str | Callable[[Tensor], Tensor] = "tanh",
        multipliers: Sequence[float],
        deviations: Sequence[float],
        generator: torch.Generator,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        sizes = [validate.whole("widths", width) for width in several("widths", widths)]
        if len(sizes) < 2:
            raise ValueError(f"widths is {widths!r}; allowed are inputs, hidden layers, outputs")
        validate.generator("generator", generator, torch.Generator)
        count = validate.whole("networks", networks)
        self.activation = find_activation(activation)
        self.multipliers = [
            validate.real("multipliers", m) for m in several("multipliers", multipliers)
        ]
        self.deviations = [
            validate.real("deviations", s, low=0) for s in several("deviations", deviations)
        ]
        for name, values in (("multipliers", self.multipliers), ("deviations", self.deviations)):
            if len(values) != len(sizes) - 1:
                raise ValueError(
                    f"{name} has {len(values)} entries; allowed is one for each of the "
                    f"{len(sizes) - 1} layers of weights"
                )
        if dtype not in (torch.float64, torch.float32):
            raise ValueError(f"dtype is {dtype}; allowed are torch.float64 and torch.float32")
        self.weights = [
            deviation
            * torch.randn(
                count, rows, columns, generator=generator, dtype=dtype, device=generator.device
            )
            for rows, columns, deviation in zip(sizes[1:], sizes, self.deviations, strict=False)
        ]

    @property
    def networks(self) -> int:
        """Number of networks."""
        return len(self.weights[0])

    def copy(self) -> DenseEnsemble:
        """An ensemble with the same weights, which training leaves alone.

        Returns
        -------
        DenseEnsemble
        """
        new = object.__new__(DenseEnsemble)
        new.__dict__.update(self.__dict__)
        new.weights = [weight.detach().clone() for weight in self.weights]
        return new

    def _inputs(self, x) -> Tensor:
        like = self.weights[0]
        points = _numbers("x", x).to(like.device, like.dtype)
        shapes = (2, (like.shape[2],)), (3, (like.shape[2],))
        if points.ndim not in (2, 3) or points.shape[-1:] not in [shape for _, shape in shapes]:
            raise ValueError(
                f"x has shape {tuple(points.shape)}; allowed are (points, {like.shape[2]}) and "
                f"({self.networks}, points, {like.shape[2]})"
            )
        if points.ndim == 3 and len(points) != self.networks:
            raise ValueError(
                f"x is for {len(points)} networks; allowed are the ensemble's {self.networks}"
            )
        return points

    def preactivations(self, x: np.ndarray | Tensor) -> list[Tensor]:
        """Preactivations of all layers, the output last.

        Parameters
        ----------
        x
            Inputs, shape (points, d), or (networks, points, d) with inputs of its own for each
            network.

        Returns
        -------
        list of torch.Tensor
            :math:`h^1,\\dots,h^L,f`, each of shape (networks, points, n_l).
        """
        found = []
        signal = self._inputs(x)
        for weight, multiplier in zip(self.weights, self.multipliers, strict=True):
            if found:
                signal = self.activation.function(found[-1])
            found.append(multiplier * (signal @ weight.mT))
        return found

    def __call__(self, x: np.ndarray | Tensor) -> Tensor:
        return self.preactivations(x)[-1]

    @torch.no_grad()
    def kernel(self, x: np.ndarray | Tensor) -> Tensor:
        """Empirical tangent kernel of each network's first output, over all weights.

        Parameters
        ----------
        x
            Inputs, as in :meth:`preactivations`.

        Returns
        -------
        torch.Tensor
            Shape (networks, points, points).

        Notes
        -----
        With layer-wise factors on the learning rate, weigh the layers likewise: this is the kernel
        for equal learning rates.
        """

        def both(h):
            return self.activation.function(h), self.activation.derivative(h)

        weights = [weight.detach() for weight in self.weights]
        weights[-1] = weights[-1][:, :1]
        layers = [
            Layer(weight, None, m, 0.0, m, 0.0, both if number < len(weights) - 1 else None)
            for number, (weight, m) in enumerate(zip(weights, self.multipliers, strict=True))
        ]
        features = layer_features(layers, self._inputs(x))
        return layered_kernel(layers, features, features)[..., 0, 0]


def several(name: str, values) -> list:
    """The entries of an argument that holds one number for each layer, width or step.

    Parameters
    ----------
    name : str
        The parameter's name, for the error.
    values : iterable

    Returns
    -------
    list

    Raises
    ------
    ValueError
        For a single number, None, and all else that has no entries.
    """
    try:
        return list(values)
    except TypeError:
        raise ValueError(f"{name} is {values!r}; allowed is a sequence of numbers") from None


def _numbers(name: str, values) -> Tensor:
    if not isinstance(values, Tensor):
        return torch.as_tensor(validate.array(name, values, dimensions=None))
    if values.is_complex():
        raise ValueError(f"{name} has dtype {values.dtype}; allowed are real numbers")
    return values


def _batch(data) -> tuple[Tensor, Tensor]:
    """Inputs and targets as tensors of finite numbers: NaN in the data is no divergence."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise ValueError(f"data is {data!r}; allowed is a pair (x, y), or a function that gives it")
    x, y = (_numbers(name, part) for name, part in zip("xy", data, strict=True))
    for name, part in (("x", x), ("y", y)):
        if not part.isfinite().all():
            raise ValueError(f"{name} contains NaN or infinity; allowed are finite numbers")
    return x, y


def _squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return 0.5 * ((outputs - targets) ** 2).flatten(1).sum(1)


def _targets(y, outputs: Tensor) -> Tensor:
    targets = _numbers("y", y).to(outputs.device, outputs.dtype)
    networks, points, width = outputs.shape
    if width == 1 and targets.shape in ((points,), (networks, points)):
        targets = targets[..., None]
    if targets.shape not in ((points, width), (networks, points, width)):
        raise ValueError(
            f"y has shape {tuple(targets.shape)}; allowed are ({points}, {width}) and "
            f"({networks}, {points}, {width}); the last axis may be left out for one output"
        )
    return targets.expand(networks, points, width)


class _Adam:
    """Adam's direction; the learning rate is applied by the caller, for each network its own."""

    def __init__(self, weights: list[Tensor], betas: tuple[float, float], epsilon: float) -> None:
        self.betas, self.epsilon, self.steps = betas, epsilon, 0
        self.first = [torch.zeros_like(weight) for weight in weights]
        self.second = [torch.zeros_like(weight) for weight in weights]

    def __call__(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        self.steps += 1
        directions = []
        for gradient, first, second in zip(gradients, self.first, self.second, strict=True):
            first.lerp_(gradient, 1 - self.betas[0])
            second.lerp_(gradient**2, 1 - self.betas[1])
            mean = first / (1 - self.betas[0] ** self.steps)
            size = (second / (1 - self.betas[1] ** self.steps)).sqrt_() + self.epsilon
            # 0/0 without epsilon: a weight that never had a gradient does not move
            directions.append(torch.where(size > 0, mean / size, 0.0))
        return directions


def train(
    ensemble: DenseEnsemble,
    data: tuple | Callable[[int], tuple],
    *,
    learning_rate: float | Sequence[float] | np.ndarray,
    steps: int,
    optimizer: str = "sgd",
    loss: str | Callable[[Tensor, Tensor], Tensor] = "squared",
    output_scale: float = 1.0,
    centred: bool = False,
    layer_rates: Sequence[float] | None = None,
    betas: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 0.0,
    observe: Callable[[int, DenseEnsemble], Any] | None = None,
    allow_divergence: bool = False,
) -> History:
    """Train all networks of an ensemble at once; the ensemble is changed in place.

    With :math:`F=\\alpha f`, or :math:`F=\\alpha(f-f_0)` if ``centred``, the squared loss is

    .. math:: \\mathcal L=\\frac1{2\\alpha^2}\\sum_i\\bigl(F(x_i)-y_i\\bigr)^2,

    summed over points and outputs, for each network by itself.

    Parameters
    ----------
    ensemble
        The networks.
    data
        ``(x, y)``, or a function of the step that returns such a pair. x as in
        :meth:`DenseEnsemble.preactivations`; y of shape (points, outputs) or (networks, points,
        outputs), the last axis left out at will for one output.
    learning_rate
        A number > 0, or one for each network.
    steps
        Number of steps, >= 1.
    optimizer
        ``"sgd"``: :math:`\\theta\\leftarrow\\theta-\\eta\\,\\partial\\mathcal L`; ``"adam"``.
    loss
        ``"squared"``, or a function of F and y, both (networks, points, outputs), that gives one
        number for each network; it is divided by nothing.
    output_scale, centred
        :math:`\\alpha` > 0, and whether the output at the start is subtracted.
    layer_rates
        A factor >= 0 on the learning rate for each layer of weights.
    betas, epsilon
        Of Adam, as torch names them (eps there). The default epsilon = 0 keeps Adam's steps
        independent of the size of the gradients, at any width.
    observe
        ``observe(step, ensemble)`` before each step and, with step = steps, at the end.
    allow_divergence
        Mark networks that diverge and leave them as they were, instead of raising.

    Returns
    -------
    History

    Raises
    ------
    Divergence
        If the loss of a network is not finite or exceeds both :data:`GROWTH` and that multiple of
        its first value, unless ``allow_divergence``.
    ValueError
        For parameters that are not allowed, and data that are not finite.

    Notes
    -----
    Taught in chapter 2.2, "Turning the dial".
    """
    count = ensemble.networks
    steps = validate.whole("steps", steps)
    validate.choice("optimizer", optimizer, OPTIMIZERS)
    scale = validate.real("output_scale", output_scale, low=0, strict=True)
    if not callable(loss):
        validate.choice("loss", loss, ("squared",))
    pair = [validate.real("betas", beta, low=0) for beta in several("betas", betas)]
    if len(pair) != 2 or max(pair) >= 1:
        raise ValueError(f"betas is {betas!r}; allowed are two numbers >= 0 and < 1")
    weights = ensemble.weights
    rates = _rates(learning_rate, count, weights[0])
    factors = [1.0] * len(weights) if layer_rates is None else several("layer_rates", layer_rates)
    factors = [validate.real("layer_rates", factor, low=0) for factor in factors]
    if len(factors) != len(weights):
        raise ValueError(
            f"layer_rates has {len(factors)} entries; allowed is one for each of the "
            f"{len(weights)} layers of weights"
        )
    adam = _Adam(weights, betas, validate.real("epsilon", epsilon, low=0))
    start = ensemble.copy() if centred else None
    losses = torch.full((steps + 1, count), math.inf, dtype=torch.float64)
    diverged = torch.full((count,), -1)
    seen = []
    fixed = None if callable(data) else _batch(data)
    for step in range(steps + 1):
        if observe is not None:
            with torch.no_grad():
                seen.append(observe(step, ensemble))
        x, y = fixed or _batch(data(min(step, steps - 1)))
        leaves = [weight.detach().requires_grad_() for weight in weights]
        ensemble.weights = leaves
        outputs = ensemble(x)
        ensemble.weights = weights
        if start is not None:
            with torch.no_grad():
                initial = start(x)
            outputs = outputs - initial
        targets = _targets(y, outputs)
        if callable(loss):
            value = loss(scale * outputs, targets)
            if not isinstance(value, Tensor) or value.shape != (count,):
                raise ValueError(
                    f"loss returns {getattr(value, 'shape', type(value))}; allowed is a tensor of "
                    f"one number for each of the {count} networks"
                )
        else:
            value = _squared(scale * outputs, targets) / scale**2
        now = value.detach().to("cpu", torch.float64)
        first = losses[0] if step else now
        good = (now.abs() <= torch.clamp(GROWTH * first.abs(), min=GROWTH)) & (diverged < 0)
        lost = ~good & (diverged < 0)
        if lost.any():
            numbers = lost.nonzero().flatten().tolist()
            if not allow_divergence:
                raise Divergence(step, numbers, float(rates[numbers[0]]))
            diverged[lost] = step
        losses[step, good] = now[good]
        if step == steps or not good.any():
            continue
        gradients = torch.autograd.grad(value.sum(), leaves)
        directions = adam(gradients) if optimizer == "adam" else gradients
        active = good.to(rates.device)
        for weight, direction, factor in zip(weights, directions, factors, strict=True):
            move = (factor * rates)[:, None, None] * direction
            if not good.all():
                move = torch.where(active[:, None, None], move, 0.0)
            weight.sub_(move)
    return History(losses.numpy(), diverged.numpy(), _stacked(seen) if observe else None)


def _rates(learning_rate, count: int, like: Tensor) -> Tensor:
    rates = np.asarray(learning_rate, dtype=object)
    if rates.shape not in ((), (count,)):
        raise ValueError(
            f"learning_rate has shape {rates.shape}; allowed are a number and ({count},), one for "
            "each network"
        )
    values = [validate.real("learning_rate", rate, low=0, strict=True) for rate in rates.flat]
    return torch.tensor(values, dtype=like.dtype, device=like.device).expand(count)


def _stacked(seen: list):
    try:
        arrays = [
            entry.detach().cpu().numpy() if isinstance(entry, Tensor) else np.asarray(entry)
            for entry in seen
        ]
        same = len({array.shape for array in arrays}) == 1 and arrays[0].dtype != object
    except ValueError:  # a list of arrays of several shapes
        same = False
    return np.stack(arrays) if same else seen
