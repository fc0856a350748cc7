"""Tangent kernels of finite networks, for any torch module; taught in chapter 1.2."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap
from torch.nn.parameter import is_lazy

from course.validate import real_tensor

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


class Layer(NamedTuple):
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


class Features(NamedTuple):
    """Output (…, n, k); per layer its input (…, n, n_in) and d output / d h (…, n, k, n_out)."""

    output: Tensor
    inputs: list[Tensor]
    deltas: list[Tensor]


def layer_features(layers: Sequence[Layer], x: Tensor) -> Features:
    """Forward pass and backward pass of dense layers.

    Parameters
    ----------
    layers
        From input to readout; leading dimensions of their tensors number networks.
    x
        Inputs, shape (n, d) or (…, n, d).

    Returns
    -------
    Features
    """
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
    return Features(x, inputs, deltas[::-1])


def layered_kernel(layers: Sequence[Layer], one: Features, two: Features) -> Tensor:
    """Tangent kernel of dense layers from their features at two sets of inputs.

    .. math:: \\hat\\Theta=\\sum_l (c_l^2\\,a_l\\cdot a_l'+s_l^2)\\,\\delta_l\\cdot\\delta_l'

    Parameters
    ----------
    layers
        Their trained scales are c and s.
    one, two
        Of the two sets of inputs.

    Returns
    -------
    Tensor
        Shape (…, n1, n2, k, k).
    """
    total = 0.0
    for layer, a1, a2, d1, d2 in zip(
        layers, one.inputs, two.inputs, one.deltas, two.deltas, strict=True
    ):
        forward = (a1 @ a2.mT).mul_(layer.trained_weight_scale**2).add_(layer.trained_bias_scale**2)
        backward = d1.flatten(-3, -2) @ d2.flatten(-3, -2).mT
        backward = backward.unflatten(-1, d2.shape[-3:-1]).unflatten(-3, d1.shape[-3:-1])
        total = total + forward[..., None, None] * backward.transpose(-3, -2)
    return total


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


def _known_layers(model: nn.Module) -> list[Layer] | None:
    """The model as a stack of layers, or None if it is not one that we can be sure of."""
    modules = list(model.modules())
    if any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in modules):
        return None
    named = list(model.parameters())
    if len(named) != sum(1 for _ in model.named_parameters(remove_duplicate=False)):
        return None

    def double(parameter):
        return None if parameter is None else parameter.detach().to(torch.float64)

    if "tangent_layers" in vars(
        type(model)
    ):  # of this very class: a subclass may compute otherwise
        return [
            layer._replace(weight=double(layer.weight), bias=double(layer.bias))
            for layer in model.tangent_layers()
        ]
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
        Layer(
            double(linear.weight), double(linear.bias), 1.0, 1.0,
            float(linear.weight.requires_grad),
            float(linear.bias is not None and linear.bias.requires_grad),
            _module_activation(following),
        )
        for linear, *following in groups
    ]  # fmt: skip


def input_batch(x: Array, name: str, device: torch.device, tokens: bool = False) -> Tensor:
    """Check inputs: float64, or with ``tokens`` whole numbers as they are.

    Parameters
    ----------
    x, name
        Inputs, shape (n, …), and their name for the error.
    device
        Where the result lies.
    tokens
        Whether whole numbers stay whole.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        For inputs that are empty, not real or not finite.
    """
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
    models whose class defines ``tangent_layers()`` (a list of :class:`Layer`) and for
    ``nn.Sequential`` of ``nn.Linear`` and elementwise activations the sum over a layer's weights
    is done by hand,
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
    batch1 = input_batch(x1, "x1", device, tokens)
    batch2 = None if x2 is None else input_batch(x2, "x2", device, tokens)
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
def _layered_ntk(layers: Sequence[Layer], x1: Tensor, x2: Tensor | None) -> Tensor:
    outputs = layers[-1].weight.shape[0]
    # Per input: layer inputs, slopes, deltas, and one temporary of the size of the deltas.
    numbers = sum(2 * sum(layer.weight.shape) for layer in layers) * (1 + outputs)
    rows = max(1, MEMORY_BUDGET // (2 * 8 * numbers))
    if x2 is None and rows >= len(x1):
        features = layer_features(layers, x1)
        return layered_kernel(layers, features, features)

    def block(i, j):
        one = layer_features(layers, x1[i])
        same = x2 is None and i == j
        return layered_kernel(layers, one, one if same else layer_features(layers, second[j]))

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
