"""The neural tangent kernel of finite networks, taught in chapter 1.2."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from course import validate
from course.activations import find_activation
from course.data import circle
from course.empirical import (
    MEMORY_BUDGET,
    Layer,
    input_batch,
    layer_features,
    layered_kernel,
)

Array = np.ndarray | Tensor


def _deviations(sigma_w: float, sigma_b: float) -> tuple[float, float]:
    return validate.real("sigma_w", sigma_w, low=0, strict=True), validate.real(
        "sigma_b", sigma_b, low=0
    )


def _widths(widths: Sequence[int]) -> list[int]:
    sizes = [validate.whole("widths", width) for width in widths]
    if len(sizes) < 2:
        raise ValueError(f"widths is {widths!r}; allowed are inputs, hidden layers, outputs")
    return sizes


class DenseNetwork(nn.Module):
    """Dense network in the NTK parametrisation, float64.

    .. math:: h^{l} = \\frac{\\sigma_w}{\\sqrt{n_{l-1}}} W^l a^{l-1} + \\sigma_b b^l, \\qquad
        a^l = \\phi(h^l),

    with all entries of W and b standard normal; the readout has the same form and no activation.

    Parameters
    ----------
    widths
        Number of inputs, of neurons in each hidden layer, of outputs.
    activation
        A key of :data:`course.activations.activations` or an elementwise torch function.
    sigma_w, sigma_b
        Standard deviations > 0 and >= 0.
    generator
        Source of the initial parameters; its device is the network's.

    Raises
    ------
    ValueError
        For parameters that are not allowed.

    Notes
    -----
    ``network(x)`` maps (n, inputs) to (n, outputs). Taught in chapter 1.2, "What the kernel is".
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        activation: str | Callable[[Tensor], Tensor] = "relu",
        sigma_w: float,
        sigma_b: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        sizes = _widths(widths)
        self.activation = find_activation(activation)
        self.sigma_w, self.sigma_b = _deviations(sigma_w, sigma_b)
        weights, biases = _normal_parameters(sizes, (), generator)
        self.weights = nn.ParameterList(weights)
        self.biases = nn.ParameterList(biases)

    def forward(self, x: Tensor) -> Tensor:
        last = len(self.weights) - 1
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = self.sigma_w / math.sqrt(weight.shape[1]) * (x @ weight.T) + self.sigma_b * bias
            if number < last:
                x = self.activation.function(x)
        return x

    def tangent_layers(self) -> list[Layer]:
        """The layers as :func:`course.empirical.empirical_ntk` reads them.

        Returns
        -------
        list of course.empirical.Layer
        """
        trained = [
            (float(weight.requires_grad), float(bias.requires_grad))
            for weight, bias in zip(self.weights, self.biases, strict=True)
        ]
        return _dense_layers(
            self.weights, self.biases, self.activation, self.sigma_w, self.sigma_b, trained
        )


def _normal_parameters(sizes, lead: tuple[int, ...], generator) -> tuple[list, list]:
    def draw(*shape):
        return torch.randn(
            *lead, *shape, generator=generator, dtype=torch.float64, device=generator.device
        )

    pairs = list(zip(sizes[1:], sizes[:-1], strict=True))
    return [draw(*pair) for pair in pairs], [draw(pair[0]) for pair in pairs]


def _dense_layers(weights, biases, activation, sigma_w, sigma_b, trained=None) -> list[Layer]:
    """Layers of networks in the NTK parametrisation; ``trained``: pairs of 0 and 1, or all."""
    layers = []
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        train_weight, train_bias = trained[number] if trained else (1, 1)
        scale = sigma_w / math.sqrt(weight.shape[-1])
        both = None
        if number < len(weights) - 1:

            def both(h):
                return activation.function(h), activation.derivative(h)

        layers.append(
            Layer(weight, bias, scale, sigma_b, train_weight * scale, train_bias * sigma_b, both)
        )
    return layers


class KernelChange(NamedTuple):
    """What training did to each network of an ensemble; arrays of shape (networks,).

    Attributes
    ----------
    kernel
        :math:`\\|\\hat\\Theta(t)-\\hat\\Theta(0)\\| / \\|\\hat\\Theta(0)\\|` (Frobenius) on the
        training points.
    weights
        The same for all parameters as one vector.
    loss
        Final loss divided by the initial one.
    """

    kernel: np.ndarray
    weights: np.ndarray
    loss: np.ndarray


def _ensembles(x, width, depth, networks, activation, sigma_w, sigma_b, generator):
    """Initial layers of the networks, in batches that fit the memory budget."""
    sizes = [x.shape[1], *[validate.whole("width", width)] * validate.whole("depth", depth), 1]
    found, deviations = find_activation(activation), _deviations(sigma_w, sigma_b)
    numbers = 2 * sum(a * b for a, b in zip(sizes[1:], sizes[:-1], strict=True))
    numbers += 6 * len(x) * sum(sizes)
    batch = max(1, MEMORY_BUDGET // (8 * numbers))
    left = validate.whole("networks", networks)
    while left:
        weights, biases = _normal_parameters(sizes, (min(batch, left),), generator)
        yield _dense_layers(weights, biases, found, *deviations)
        left -= min(batch, left)


@torch.no_grad()
def sample_ntk(
    x1: Array,
    x2: Array | None = None,
    *,
    width: int,
    depth: int = 1,
    networks: int,
    activation: str | Callable[[Tensor], Tensor] = "relu",
    sigma_w: float,
    sigma_b: float,
    generator: torch.Generator,
) -> np.ndarray:
    """Empirical kernels of independent networks at initialisation.

    Parameters
    ----------
    x1, x2
        Inputs, shapes (n1, d) and (n2, d); ``x2=None`` means x1.
    width, depth
        Neurons in each hidden layer, and number of hidden layers, >= 1.
    networks
        Number of networks; they are computed in batches that fit
        :data:`course.empirical.MEMORY_BUDGET`.
    activation, sigma_w, sigma_b
        As in :class:`DenseNetwork`.
    generator
        Source of the parameters; its device does the work.

    Returns
    -------
    numpy.ndarray
        Shape (networks, n1, n2).

    Raises
    ------
    ValueError
        For parameters that are not allowed.

    Notes
    -----
    The same kernel as :func:`course.empirical.empirical_ntk` of a :class:`DenseNetwork`, for many
    networks at once. Taught in chapter 1.2, "Wide networks have the same kernel".
    """
    first = input_batch(x1, "x1", generator.device)
    second = first if x2 is None else input_batch(x2, "x2", generator.device)
    for name, points in (("x1", first), ("x2", second)):
        if points.ndim != 2 or points.shape[1] != first.shape[1]:
            raise ValueError(
                f"{name} has shape {tuple(points.shape)}; allowed is (n, d), the same d for both"
            )
    kernels = []
    for layers in _ensembles(
        first, width, depth, networks, activation, sigma_w, sigma_b, generator
    ):
        one = layer_features(layers, first)
        two = one if x2 is None else layer_features(layers, second)
        kernels.append(layered_kernel(layers, one, two)[..., 0, 0].cpu())
    return torch.cat(kernels).numpy()


@torch.no_grad()
def kernel_change(
    x: Array,
    y: Array,
    *,
    width: int,
    depth: int = 1,
    networks: int,
    activation: str | Callable[[Tensor], Tensor] = "relu",
    sigma_w: float,
    sigma_b: float,
    learning_rate: float,
    steps: int,
    generator: torch.Generator,
) -> KernelChange:
    """Train networks by gradient descent and measure how far their kernels move.

    The loss is :math:`\\tfrac12\\sum_i (f(x_i)-y_i)^2`, over all parameters.

    Parameters
    ----------
    x, y
        Inputs (n, d) and targets (n,).
    width, depth, networks, activation, sigma_w, sigma_b, generator
        As in :func:`sample_ntk`.
    learning_rate, steps
        Size > 0 and number >= 1 of the gradient steps.

    Returns
    -------
    KernelChange

    Raises
    ------
    ValueError
        For parameters that are not allowed.
    RuntimeError
        If a network diverges.

    Notes
    -----
    Taught in chapter 1.2, "The kernel stays put".
    """
    inputs = input_batch(x, "x", generator.device)
    targets = input_batch(y, "y", generator.device)
    if inputs.ndim != 2 or targets.shape != (len(inputs),):
        raise ValueError(
            f"x and y have shapes {tuple(inputs.shape)} and {tuple(targets.shape)}; "
            "allowed are (n, d) and (n,)"
        )
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate is {learning_rate!r}; allowed is a finite number > 0")
    steps = validate.whole("steps", steps)
    results = []
    for layers in _ensembles(
        inputs, width, depth, networks, activation, sigma_w, sigma_b, generator
    ):
        start = [(layer.weight.clone(), layer.bias.clone()) for layer in layers]
        features = layer_features(layers, inputs)
        initial = layered_kernel(layers, features, features)
        before = ((features.output[..., 0] - targets) ** 2).sum(-1)
        for _ in range(steps):
            residual = features.output[..., 0] - targets
            for layer, below, delta in zip(layers, features.inputs, features.deltas, strict=True):
                pull = learning_rate * residual[..., None] * delta[..., 0, :]
                layer.weight.sub_(layer.weight_scale * (pull.mT @ below))
                layer.bias.sub_(layer.bias_scale * pull.sum(-2))
            features = layer_features(layers, inputs)
        after = ((features.output[..., 0] - targets) ** 2).sum(-1)
        if not torch.isfinite(after).all():
            raise RuntimeError(
                f"a network of width {width} diverges with learning_rate {learning_rate}"
            )
        final = layered_kernel(layers, features, features)
        pairs = [
            (now, then)
            for layer, parts in zip(layers, start, strict=True)
            for now, then in zip((layer.weight, layer.bias), parts, strict=True)
        ]
        moved = sum((now - then).flatten(1).square().sum(1) for now, then in pairs)
        norm = sum(then.flatten(1).square().sum(1) for _, then in pairs)
        change = (final - initial).flatten(1).norm(dim=1) / initial.flatten(1).norm(dim=1)
        results.append(torch.stack([change, (moved / norm).sqrt(), after / before]).cpu())
    return KernelChange(*torch.cat(results, dim=1).numpy())


def width_sweep(
    widths: Sequence[int], depth: int, networks: int, angle: float, seed: int
) -> dict[str, np.ndarray]:
    """Empirical kernel of ReLU networks at one pair of inputs, at initialisation.

    The two inputs lie on the circle, ``angle`` apart; :math:`\\sigma_w^2=2`,
    :math:`\\sigma_b=0.3`.

    Parameters
    ----------
    widths
        Neurons in each hidden layer.
    depth, networks
        Number of hidden layers and of networks at each width.
    angle
        In radians.
    seed
        Of the torch generator of all networks.

    Returns
    -------
    dict
        ``"kernels"``: :math:`\\hat\\Theta(x,x')`, shape (networks, widths).

    Notes
    -----
    Taught in chapter 1.2, "Wide networks have the same kernel".
    """
    generator = torch.Generator().manual_seed(seed)
    x1, x2 = circle(np.array([0.0])), circle(np.array([angle]))
    columns = [
        sample_ntk(
            x1, x2, width=width, depth=depth, networks=networks, sigma_w=math.sqrt(2),
            sigma_b=0.3, generator=generator,
        )[:, 0, 0]
        for width in widths
    ]  # fmt: skip
    return {"kernels": np.stack(columns, axis=1)}
