"""The neural tangent kernel of finite networks, taught in chapter 1.2."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap
from torch.nn.parameter import is_lazy

from course import validate
from course.data import circle
from course.ntk.kernels import find_activation, real_tensor

Array = np.ndarray | Tensor

MEMORY_BUDGET = 2**28
"""Bytes that gradients or layer activations may take at a time in :func:`empirical_ntk`."""

ACTIVATIONS = 4
"""How many numbers memory holds at a time for each one that autograd keeps."""

ELEMENTWISE = (
    nn.CELU, nn.ELU, nn.GELU, nn.Hardtanh, nn.Identity, nn.LeakyReLU, nn.ReLU, nn.SELU,
    nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Tanh,
)  # fmt: skip
"""Activation modules that the layered route of :func:`empirical_ntk` knows."""


def _deviations(sigma_w: float, sigma_b: float) -> tuple[float, float]:
    for name, value, good in (
        ("sigma_w", sigma_w, lambda s: 0 < s < math.inf),
        ("sigma_b", sigma_b, lambda s: 0 <= s < math.inf),
    ):
        if not isinstance(value, (int, float, np.number)) or not good(value):
            bound = "> 0" if name == "sigma_w" else ">= 0"
            raise ValueError(f"{name} is {value!r}; allowed is a finite number {bound}")
    return float(sigma_w), float(sigma_b)


def _widths(widths: Sequence[int]) -> list[int]:
    sizes = [validate.whole("widths", width) for width in widths]
    if len(sizes) < 2:
        raise ValueError(f"widths is {widths!r}; allowed are inputs, hidden layers, outputs")
    return sizes


class _Layer(NamedTuple):
    """h = weight_scale * weight a + bias_scale * bias, then the activation.

    The ``trained`` scales enter the kernel: 0 for what is frozen. ``activation`` maps h to
    (phi(h), phi'(h)), or is None for the identity. Leading dimensions number networks.
    """

    weight: Tensor
    bias: Tensor | None
    weight_scale: float
    bias_scale: float
    trained_weight_scale: float
    trained_bias_scale: float
    activation: Callable[[Tensor], tuple[Tensor, Tensor]] | None


class _Features(NamedTuple):
    """Output (…, n, k); per layer its input (…, n, n_in) and d output / d h (…, n, k, n_out)."""

    output: Tensor
    inputs: list[Tensor]
    deltas: list[Tensor]


def _features(layers: Sequence[_Layer], x: Tensor) -> _Features:
    inputs, slopes = [], []
    for layer in layers:
        inputs.append(x)
        x = (x @ layer.weight.mT).mul_(layer.weight_scale)
        if layer.bias is not None:
            x += layer.bias_scale * layer.bias[..., None, :]
        slope = None
        if layer.activation is not None:
            x, slope = layer.activation(x)
        slopes.append(slope)
    outputs = x.shape[-1]
    delta = torch.eye(outputs, dtype=x.dtype, device=x.device).expand(*x.shape, outputs)
    deltas = []
    for layer, slope in zip(reversed(layers), reversed(slopes), strict=True):
        if slope is not None:
            delta = delta * slope[..., None, :]
        deltas.append(delta)
        if len(deltas) < len(layers):
            flat = (delta.flatten(-3, -2) @ layer.weight).mul_(layer.weight_scale)
            delta = flat.unflatten(-2, delta.shape[-3:-1])
    return _Features(x, inputs, deltas[::-1])


def _layered_kernel(layers: Sequence[_Layer], one: _Features, two: _Features) -> Tensor:
    """sum_l (c_l² a a' + s_l²) (delta_l delta_l'), shape (…, n1, n2, k, k)."""
    total = 0.0
    for layer, a1, a2, d1, d2 in zip(
        layers, one.inputs, two.inputs, one.deltas, two.deltas, strict=True
    ):
        forward = (a1 @ a2.mT).mul_(layer.trained_weight_scale**2).add_(layer.trained_bias_scale**2)
        backward = d1.flatten(-3, -2) @ d2.flatten(-3, -2).mT
        backward = backward.unflatten(-1, d2.shape[-3:-1]).unflatten(-3, d1.shape[-3:-1])
        total = total + forward[..., None, None] * backward.transpose(-3, -2)
    return total


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
        A key of :data:`course.ntk.kernels.activations` or an elementwise torch function.
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


def _normal_parameters(sizes, lead: tuple[int, ...], generator) -> tuple[list, list]:
    def draw(*shape):
        return torch.randn(
            *lead, *shape, generator=generator, dtype=torch.float64, device=generator.device
        )

    pairs = list(zip(sizes[1:], sizes[:-1], strict=True))
    return [draw(*pair) for pair in pairs], [draw(pair[0]) for pair in pairs]


def _dense_layers(weights, biases, activation, sigma_w, sigma_b, trained=None) -> list[_Layer]:
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
            _Layer(weight, bias, scale, sigma_b, train_weight * scale, train_bias * sigma_b, both)
        )
    return layers


def _module_activation(modules: list[nn.Module]):
    if not modules:
        return None

    def both(h):
        with torch.enable_grad():
            start = h.detach().requires_grad_()
            image = start.clone()  # an in-place module must not meet the leaf
            for module in modules:
                image = module(image)
            (slope,) = torch.autograd.grad(image.sum(), start)
        return image.detach(), slope

    return both


def _known_layers(model: nn.Module) -> list[_Layer] | None:
    """The model as a stack of layers, or None if it is not one that we can be sure of."""
    modules = list(model.modules())
    if any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in modules):
        return None
    named = list(model.parameters())
    if len(named) != sum(1 for _ in model.named_parameters(remove_duplicate=False)):
        return None

    def double(parameter):
        return None if parameter is None else parameter.detach().to(torch.float64)

    if type(model) is DenseNetwork:
        trained = [
            (float(weight.requires_grad), float(bias.requires_grad))
            for weight, bias in zip(model.weights, model.biases, strict=True)
        ]
        return _dense_layers(
            [double(weight) for weight in model.weights],
            [double(bias) for bias in model.biases],
            model.activation, model.sigma_w, model.sigma_b, trained,
        )  # fmt: skip
    if type(model) is not nn.Sequential or not len(model) or type(model[0]) is not nn.Linear:
        return None
    groups: list[list[nn.Module]] = []
    for module in model:
        if type(module) is nn.Linear:
            groups.append([module])
        elif type(module) in ELEMENTWISE:
            groups[-1].append(module)
        else:
            return None
    return [
        _Layer(
            double(linear.weight), double(linear.bias), 1.0, 1.0,
            float(linear.weight.requires_grad),
            float(linear.bias is not None and linear.bias.requires_grad),
            _module_activation(following),
        )
        for linear, *following in groups
    ]  # fmt: skip


def _batch(x: Array, name: str, device: torch.device, tokens: bool = False) -> Tensor:
    """float64 inputs, or with ``tokens`` whole numbers as they are."""
    batch = real_tensor(x, name)
    if batch.ndim < 1 or 0 in batch.shape:
        raise ValueError(
            f"{name} has shape {tuple(batch.shape)}; allowed is (n, …), n >= 1 inputs of the model"
        )
    if not torch.isfinite(batch).all():
        raise ValueError(f"{name} contains NaN or infinity; allowed are finite numbers")
    if tokens:
        if not _whole(x):
            raise ValueError(f"{name} has real entries, x1 whole numbers; allowed is one kind")
        batch = batch.to(torch.int64)
    return batch.detach().to(device)


def _whole(x: Array) -> bool:
    if isinstance(x, Tensor):
        return not (x.is_floating_point() or x.is_complex())
    return np.asarray(x).dtype.kind in "biu"


def _check_mode(model: nn.Module) -> None:
    for name, module in model.named_modules():
        known = f"model has the module {name or type(module).__name__!r} ({type(module).__name__})"
        if any(is_lazy(part) for part in (*module._parameters.values(), *module._buffers.values())):
            raise ValueError(f"{known} that is not initialised; allowed is a model called before")
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and (
            module.training or module.running_mean is None
        ):
            reason = "mixes the inputs of a batch"
        elif module.training and (
            (isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0)
            or (isinstance(module, nn.RNNBase | nn.MultiheadAttention) and module.dropout > 0)
            or isinstance(module, nn.RReLU)
        ):
            reason = "is random"
        else:
            continue
        mode = "training mode" if module.training else "evaluation mode without running mean"
        raise ValueError(
            f"{known} in {mode}, which {reason}: f(x) is then no function of one input; "
            "allowed is model.eval(), with running statistics"
        )


def _paired(count1: int, count2: int | None, rows: int, block) -> Tensor:
    """Fill an (n1, n2, k, k) array from blocks of rows; count2=None: same points, symmetric."""
    symmetric = count2 is None
    count2 = count1 if symmetric else count2
    result = None
    for i in range(0, count1, rows):
        for j in range(i if symmetric else 0, count2, rows):
            part = block(slice(i, i + rows), slice(j, j + rows))
            if result is None:
                result = part.new_empty(count1, count2, *part.shape[2:])
            result[i : i + rows, j : j + rows] = part
            if symmetric and i < j:
                result[j : j + rows, i : i + rows] = part.transpose(0, 1).transpose(2, 3)
    return result


def empirical_ntk(model: nn.Module, x1: Array, x2: Array | None = None) -> Array:
    """Neural tangent kernel of a network at its present parameters.

    .. math:: \\hat\\Theta_{ab}(x, x') =
        \\sum_p \\frac{\\partial f_a(x)}{\\partial\\theta_p}
        \\frac{\\partial f_b(x')}{\\partial\\theta_p}

    Parameters
    ----------
    model
        A torch module that maps n inputs to (n,) or (n, k) outputs, each input by itself. The sum
        runs over its **trainable** parameters (``requires_grad``): frozen ones do not train, and
        add nothing.
    x1, x2
        Inputs, shapes (n1, …) and (n2, …); ``x2=None`` means x1. They are converted to float64,
        but for whole numbers (tokens) where the model has an ``nn.Embedding`` or
        ``nn.EmbeddingBag``; x2 is taken as x1 is.

    Returns
    -------
    Array
        Shape (n1, n2) for one output, else (n1, n2, k, k); float64, detached: a tensor on the
        model's device if x1 is a tensor, else a NumPy array. Parameters of other precision are
        converted to float64 for the computation; the model is left as it is.

    Raises
    ------
    ValueError
        For a model without trainable parameters, whose output is random or no function of one
        input (batch normalisation or dropout in training mode), which computes in another
        precision inside, or whose output has another shape; for inputs that do not fit.

    Notes
    -----
    Source: Jacot et al. (2018), section 4; taught in chapter 1.2, "By hand". For
    :class:`DenseNetwork` and for ``nn.Sequential`` of ``nn.Linear`` and elementwise activations
    the sum over a layer's weights is done by hand,
    :math:`\\hat\\Theta=\\sum_l (c_l^2\\,a_l\\cdot a_l'+s_l^2)\\,\\delta_l\\cdot\\delta_l'` with
    layer inputs a and backpropagated :math:`\\delta_l=\\partial f/\\partial h_l`, so that no
    parameter gradient is ever formed. Other modules go through ``torch.func``, one input being a
    batch of one; where that fails on the first inputs, or differs from one backward pass after
    the other, all inputs go the slow way. Both work in blocks of inputs that take about
    :data:`MEMORY_BUDGET` bytes.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model is {model!r}; allowed is a torch.nn.Module")
    _check_mode(model)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if sum(parameter.numel() for parameter in trained) == 0:
        frozen = sum(1 for _ in model.parameters())
        raise ValueError(
            f"model has no trainable parameters ({frozen} frozen ones); allowed is a module with "
            "at least one parameter that requires a gradient"
        )
    device = trained[0].device
    embeds = any(isinstance(part, nn.Embedding | nn.EmbeddingBag) for part in model.modules())
    tokens = embeds and _whole(x1)
    batch1 = _batch(x1, "x1", device, tokens)
    batch2 = None if x2 is None else _batch(x2, "x2", device, tokens)
    if batch2 is not None and batch1.shape[1:] != batch2.shape[1:]:
        raise ValueError(
            f"x2 has inputs of shape {tuple(batch2.shape[1:])}, x1 {tuple(batch1.shape[1:])}; "
            "allowed is the same shape"
        )
    layers = None
    if batch1.ndim == 2 and batch1.is_floating_point():
        layers = _known_layers(model)
    if layers is None:
        kernel = _jacobian_ntk(model, batch1, batch2)
    else:
        expected = layers[0].weight.shape[1]
        if batch1.shape[1] != expected:
            raise ValueError(
                f"x1 has {batch1.shape[1]} inputs per point; allowed are the model's {expected}"
            )
        kernel = _layered_ntk(layers, batch1, batch2)
    if kernel.shape[2:] == (1, 1):
        kernel = kernel[:, :, 0, 0]
    return kernel if isinstance(x1, Tensor) else kernel.cpu().numpy()


@torch.no_grad()
def _layered_ntk(layers: Sequence[_Layer], x1: Tensor, x2: Tensor | None) -> Tensor:
    outputs = layers[-1].weight.shape[0]
    # Per input: layer inputs, slopes, deltas, and one temporary of the size of the deltas.
    numbers = sum(2 * sum(layer.weight.shape) for layer in layers) * (1 + outputs)
    rows = max(1, MEMORY_BUDGET // (2 * 8 * numbers))
    if x2 is None and rows >= len(x1):
        features = _features(layers, x1)
        return _layered_kernel(layers, features, features)

    def block(i, j):
        one = _features(layers, x1[i])
        same = x2 is None and i == j
        return _layered_kernel(layers, one, one if same else _features(layers, second[j]))

    second = x1 if x2 is None else x2
    return _paired(len(x1), None if x2 is None else len(x2), rows, block)


def _looped_jacobian(output, variables, points) -> dict[str, Tensor]:
    """One backward pass for each input and output."""
    with torch.enable_grad():
        leaves = {name: value.clone().requires_grad_() for name, value in variables.items()}
        rows = [
            torch.autograd.grad(
                value, list(leaves.values()), retain_graph=True, materialize_grads=True,
                allow_unused=True,
            )
            for point in points
            for value in output(leaves, point)
        ]  # fmt: skip
    columns = zip(*rows, strict=True)
    return {
        name: torch.stack([part.reshape(-1) for part in column])
        for name, column in zip(leaves, columns, strict=True)
    }


def _private_copy(model: nn.Module) -> nn.Module:
    """A copy to work on: ``functional_call`` does not restore a module that has two names."""
    derived = [
        value
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf  # which deepcopy refuses
    ]
    return copy.deepcopy(model, {id(value): value.detach() for value in derived})


def _probe(output, x: Tensor) -> Tensor:
    """The output for one input, checked to be that of a model for which a kernel is defined."""
    other = x[-1:] + 1 if x.is_floating_point() else x[-1:]
    several = torch.cat([*[x[:1]] * 8, other])
    try:
        with torch.no_grad():
            probe, together = output(x[:1]), output(several)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        raise ValueError(
            f"x1 has shape {tuple(x.shape)} and goes to the model as {x.dtype}; the model fails "
            f"on its first input: {error}"
        ) from error
    if not isinstance(probe, Tensor) or probe.ndim not in (1, 2) or len(probe) != 1:
        shape = tuple(probe.shape) if isinstance(probe, Tensor) else type(probe).__name__
        raise ValueError(
            f"model maps one input to an output of shape {shape}; allowed are (1,) and (1, k)"
        )
    if probe.dtype != torch.float64:
        raise ValueError(
            f"model returns {probe.dtype} although its parameters and inputs are float64: it "
            "converts inside; allowed is a model that computes in the precision of its input"
        )
    # Rounding differs between batch sizes, by about 1e-16 for each layer.
    tolerance = 1e-9 * float(probe.abs().max())
    if together.shape != (9, *probe.shape[1:]) or not torch.allclose(
        together[:8], probe, rtol=0, atol=tolerance, equal_nan=True
    ):
        raise ValueError(
            f"model maps an input to {probe.tolist()} alone, and to {together[:8].tolist()} in a "
            "batch: it is random or mixes the inputs; allowed is a function of one input"
        )
    return probe


def _saved_numbers(output, variables, constants, x: Tensor) -> int:
    """Numbers that one input makes autograd keep for the backward pass, parameters aside."""
    sizes: dict[int, int] = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes() // 8
        return tensor

    leaves = {name: value.clone().requires_grad_() for name, value in variables.items()}
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept):
        kept = output(x[:1].clone(), leaves)
    for value in (*leaves.values(), *constants.values()):
        sizes.pop(value.untyped_storage().data_ptr(), None)
    return sum(sizes.values()) + kept.numel()


def _jacobian_ntk(model: nn.Module, x1: Tensor, x2: Tensor | None) -> Tensor:
    def double(tensor):
        tensor = tensor.detach()
        return tensor.to(torch.float64) if tensor.is_floating_point() else tensor

    model = _private_copy(model)
    variables = {name: double(p) for name, p in model.named_parameters() if p.requires_grad}
    constants = {
        name: double(value)
        for name, value in [*model.named_parameters(), *model.named_buffers()]
        if name not in variables
    }

    def batched(points, leaves=variables):
        return functional_call(model, (leaves, constants), (points,))

    def output(leaves, point):
        return batched(point[None], leaves).reshape(-1)

    outputs = _probe(batched, x1).numel()
    count = sum(value.numel() for value in variables.values())
    saved = _saved_numbers(batched, variables, constants, x1)
    rows = max(1, MEMORY_BUDGET // (2 * 8 * (count * outputs + ACTIVATIONS * saved)))

    def fast(points):
        gradients = vmap(jacrev(output), in_dims=(None, 0))(variables, points)
        return {name: part.flatten(2).flatten(0, 1) for name, part in gradients.items()}

    def slow(points):
        return _looped_jacobian(output, variables, points)

    second = x1 if x2 is None else x2
    few = torch.cat([x1[:3], second[:3]])[: min(3, rows)]
    jacobian = fast if _agree(fast, slow, few) else slow

    def block(i, j):
        one = jacobian(x1[i])
        two = one if x2 is None and i == j else jacobian(second[j])
        product = sum(one[name] @ two[name].T for name in variables)
        return product.unflatten(1, (-1, outputs)).unflatten(0, (-1, outputs)).transpose(1, 2)

    return _paired(len(x1), None if x2 is None else len(x2), rows, block)


def _agree(fast, slow, points: Tensor) -> bool:
    """Whether the vectorised Jacobian exists and is right: vmap mistakes the shapes of PReLU."""
    exact = slow(points)
    try:
        found = fast(points)
    except (RuntimeError, ValueError, TypeError, IndexError):
        return False  # no batching rule: the loop is complete by itself
    size = max(float(value.abs().max()) for value in exact.values() if value.numel())
    return all(
        found[name].shape == value.shape
        and torch.allclose(found[name], value, rtol=0, atol=1e-9 * size)
        for name, value in exact.items()
    )


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
        Number of networks; they are computed in batches that fit :data:`MEMORY_BUDGET`.
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
    The same kernel as :func:`empirical_ntk` of a :class:`DenseNetwork`, for many networks at
    once. Taught in chapter 1.2, "Wide networks have the same kernel".
    """
    first = _batch(x1, "x1", generator.device)
    second = first if x2 is None else _batch(x2, "x2", generator.device)
    for name, points in (("x1", first), ("x2", second)):
        if points.ndim != 2 or points.shape[1] != first.shape[1]:
            raise ValueError(
                f"{name} has shape {tuple(points.shape)}; allowed is (n, d), the same d for both"
            )
    kernels = []
    for layers in _ensembles(
        first, width, depth, networks, activation, sigma_w, sigma_b, generator
    ):
        one = _features(layers, first)
        two = one if x2 is None else _features(layers, second)
        kernels.append(_layered_kernel(layers, one, two)[..., 0, 0].cpu())
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
    inputs = _batch(x, "x", generator.device)
    targets = _batch(y, "y", generator.device)
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
        features = _features(layers, inputs)
        initial = _layered_kernel(layers, features, features)
        before = ((features.output[..., 0] - targets) ** 2).sum(-1)
        for _ in range(steps):
            residual = features.output[..., 0] - targets
            for layer, below, delta in zip(layers, features.inputs, features.deltas, strict=True):
                pull = learning_rate * residual[..., None] * delta[..., 0, :]
                layer.weight.sub_(layer.weight_scale * (pull.mT @ below))
                layer.bias.sub_(layer.bias_scale * pull.sum(-2))
            features = _features(layers, inputs)
        after = ((features.output[..., 0] - targets) ** 2).sum(-1)
        if not torch.isfinite(after).all():
            raise RuntimeError(
                f"a network of width {width} diverges with learning_rate {learning_rate}"
            )
        final = _layered_kernel(layers, features, features)
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
