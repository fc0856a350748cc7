r"""The laziness dial: how the scale of the output decides how far the features move.

Networks are trained as :math:`F=\alpha(f-f_0)` with the loss divided by :math:`\alpha^2`. Taught in
chapter 2.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from course import figures, validate
from course.estimates import estimate
from course.lazy_rich.ensembles import DenseEnsemble, Divergence, several, train
from course.lazy_rich.measures import kernel_alignment, kernel_distance, weight_change

SINGULAR = 1e-12
"""A kernel whose smallest eigenvalue is below this fraction of its largest counts as singular."""


class LinearFlow(NamedTuple):
    """Output and tangent kernel of the two-layer linear network, see :func:`linear_network_flow`.

    Attributes
    ----------
    output : numpy.ndarray or float
        The predictor F at the given times.
    kernel : numpy.ndarray or float
        The tangent kernel Θ of f at these times.
    """

    output: np.ndarray | float
    kernel: np.ndarray | float


def linear_network_flow(
    time,
    *,
    target,
    output_scale,
    width,
    kernel=2.0,
    output=0.0,
    centred: bool = True,
) -> LinearFlow:
    r"""Gradient flow of a two-layer linear network on one input, in closed form at any width.

    The network is :math:`f=n^{-1/2}\sum_jv_jw_j` and the loss
    :math:`(F-y)^2/(2\alpha^2)`. With :math:`\Theta=\frac1n\sum_j(v_j^2+w_j^2)` the flow closes,

    .. math:: \dot f=\Theta\,(f_\infty-f),\qquad
        \Theta^2=D^2+\tfrac4nf^2,\qquad D^2=\Theta_0^2-\tfrac4nf_0^2,

    where :math:`f_\infty=f_0+y/\alpha` for :math:`F=\alpha(f-f_0)` and :math:`y/\alpha` for
    :math:`F=\alpha f`. With :math:`f=\frac{\sqrt n}2D\sinh u` it becomes
    :math:`\dot u=D(\sinh u_\infty-\sinh u)`, which is elementary.

    Parameters
    ----------
    time : array_like
        Times >= 0. Broadcasts with all other arrays; infinity is allowed.
    target : array_like
        The label y.
    output_scale : array_like
        The dial, α > 0.
    width : array_like
        The number of neurons n > 0. For the mean-field limit of width infinity at
        :math:`\gamma=1/(\alpha\sqrt n)` fixed take width 1 and α = 1/γ, with the other arguments
        as they are.
    kernel, output : array_like
        Θ₀ and f₀ at the start; :math:`\Theta_0\ge2|f_0|/\sqrt n` for every network. The defaults
        are their averages over standard normal weights.
    centred : bool
        Whether the output at the start is subtracted.

    Returns
    -------
    LinearFlow
        Predictor F and kernel Θ, of the broadcast shape.

    Raises
    ------
    ValueError
        For arguments out of range.

    Notes
    -----
    Derived in chapter 2.2, "A network that can be solved".
    """
    given = {"time": time, "target": target, "output_scale": output_scale, "width": width,
             "kernel": kernel, "output": output}  # fmt: skip
    arrays = {
        name: validate.array(name, value, dimensions=None, infinite=name == "time")
        for name, value in given.items()
    }
    for name, strict in (("time", False), ("output_scale", True), ("width", True)):
        low = arrays[name].min(initial=np.inf)
        if low < 0 or (strict and low == 0):
            raise ValueError(f"{name} is {low}; allowed are numbers {'>' if strict else '>='} 0")
    t, y, alpha, n, theta0, f0 = np.broadcast_arrays(*arrays.values())
    square = theta0**2 - 4 * f0**2 / n
    if not ((theta0 > 0) & (square > 0)).all():
        raise ValueError(
            f"kernel is {kernel} and output {output}; allowed is kernel > 2|output|/sqrt(width), "
            "which holds unless all neurons have v = w or all have v = -w"
        )
    scale = np.sqrt(square)
    start = f0 if centred else np.zeros_like(f0)
    final = start + y / alpha
    u0, u_inf = (np.arcsinh(2 * f / (np.sqrt(n) * scale)) for f in (f0, final))
    # d = exp(u) - exp(u_inf) and s = exp(u) + exp(-u_inf): d/s decays at rate D cosh(u_inf).
    decayed = np.expm1(u0 - u_inf) / (np.exp(u0 - u_inf) + np.exp(-2 * u_inf))
    with np.errstate(invalid="ignore"):
        decayed = decayed * np.exp(-scale * np.cosh(u_inf) * t)
    growth = (1 + decayed * np.exp(-2 * u_inf)) / (1 - decayed)  # exp(u - u_inf)
    u = u_inf + np.log(growth)
    f = np.sqrt(n) * scale / 2 * np.sinh(u)
    predictor = alpha * (f - start)
    result = predictor, scale * np.cosh(u)
    return LinearFlow(*(float(value) if np.ndim(value) == 0 else value for value in result))


class LazyResponse(NamedTuple):
    """Leading order of training in 1/α, see :func:`lazy_response`; one number for each network.

    Attributes
    ----------
    weight_change : numpy.ndarray
        α times the relative change of the weights.
    kernel_distance : numpy.ndarray
        α times the relative change of the kernel.
    """

    weight_change: np.ndarray
    kernel_distance: np.ndarray


def _labels(y, networks: int, points: int) -> Tensor:
    labels = torch.as_tensor(validate.array("y", y, dimensions=(1, 2)))
    if labels.shape not in ((points,), (networks, points)):
        raise ValueError(
            f"y has shape {tuple(labels.shape)}; allowed are ({points},) and ({networks}, {points})"
        )
    return labels.expand(networks, points)


def _inputs(name: str, x, networks: int) -> Tensor:
    points = torch.as_tensor(validate.array(name, x, dimensions=(2, 3), empty=False))
    if points.ndim == 3 and len(points) != networks:
        raise ValueError(f"{name} is for {len(points)} networks; allowed are {networks}")
    return points


def _spectrum(kernel: Tensor) -> tuple[Tensor, Tensor]:
    rates, modes = torch.linalg.eigh(kernel)
    if not (rates[:, 0] > SINGULAR * rates[:, -1]).all():
        worst = int((rates[:, 0] / rates[:, -1]).argmin())
        raise ValueError(
            f"x gives network {worst} a singular tangent kernel, with eigenvalues from "
            f"{rates[worst, 0]:.3g} to {rates[worst, -1]:.3g}; allowed are inputs that a network "
            "can fit: fewer, distinct points, or wider networks"
        )
    return rates, modes


def lazy_response(ensemble: DenseEnsemble, x, y) -> LazyResponse:
    r"""How far weights and kernel move in training, to leading order in 1/α.

    Gradient flow of :math:`F=\alpha(f-f_0)` from a kernel :math:`\Theta_0` moves the weights by

    .. math:: \theta_\infty-\theta_0=\frac{\Delta}{\alpha}+O(\alpha^{-2}),\qquad
        \Delta=J_0^\top\Theta_0^{-1}y,\qquad
        \Theta_\infty-\Theta_0=\frac1\alpha\,\Delta\cdot\nabla\Theta_0+O(\alpha^{-2}).

    Parameters
    ----------
    ensemble : DenseEnsemble
        Networks at their start; one output, float64. They are not changed.
    x : array_like
        Training inputs, shape (points, d) or (networks, points, d).
    y : array_like
        Labels, shape (points,) or (networks, points).

    Returns
    -------
    LazyResponse
        :math:`\|\Delta\|/\|\theta_0\|` and
        :math:`\|\Delta\cdot\nabla\Theta_0\|_F/\|\Theta_0\|_F`. The derivative is a central
        difference, good to about eight digits.

    Raises
    ------
    ValueError
        For shapes that do not fit, or a singular kernel.

    Notes
    -----
    Derived in chapter 2.2, "Turning the dial"; the limit is that of Chizat, Oyallon and Bach
    (2019).
    """
    x = _inputs("x", x, ensemble.networks)
    labels = _labels(y, ensemble.networks, x.shape[-2])
    kernel = ensemble.kernel(x)
    _spectrum(kernel)
    coefficients = torch.linalg.solve(kernel, labels[..., None])
    probe = ensemble.copy()
    probe.weights = [weight.requires_grad_() for weight in probe.weights]
    moves = torch.autograd.grad((probe(x)[..., :1] * coefficients).sum(), probe.weights)
    sizes = [sum((part**2).sum((1, 2)) for part in parts).sqrt()
             for parts in (moves, ensemble.weights)]  # fmt: skip
    step = (1e-5 * sizes[1] / sizes[0])[:, None, None]

    def shifted(sign: int) -> Tensor:
        moved = ensemble.copy()
        moved.weights = [w + sign * step * move for w, move in
                         zip(ensemble.weights, moves, strict=True)]  # fmt: skip
        return moved.kernel(x)

    derivative = (shifted(1) - shifted(-1)) / (2 * step)
    relative = derivative.norm(dim=(1, 2)) / kernel.norm(dim=(1, 2))
    return LazyResponse((sizes[0] / sizes[1]).detach().numpy(), relative.detach().numpy())


class DialRun(NamedTuple):
    """What one turn of the dial gives, see :func:`turn_dial`.

    Attributes
    ----------
    output_scales : numpy.ndarray
        The dial's positions α, shape (scales,).
    kernel_distance : numpy.ndarray
        Relative change of the tangent kernel on the training points, shape (networks, scales).
    kernel_alignment : numpy.ndarray
        Alignment of the final kernel with the labels, of the same shape.
    weight_change : numpy.ndarray
        Relative change of the weights, of the same shape.
    residual : numpy.ndarray
        Root-mean-square of F - y on the training points at the end, of the same shape.
    test : numpy.ndarray
        Predictor F at the test points, shape (networks, scales, points).
    kernel_prediction : numpy.ndarray
        What the same steps give with the kernel frozen at its start, of the same shape.
    ensemble : DenseEnsemble
        The trained networks, those of the first scale first.
    """

    output_scales: np.ndarray
    kernel_distance: np.ndarray
    kernel_alignment: np.ndarray
    weight_change: np.ndarray
    residual: np.ndarray
    test: np.ndarray
    kernel_prediction: np.ndarray
    ensemble: DenseEnsemble


def turn_dial(
    ensemble: DenseEnsemble,
    x,
    y,
    *,
    output_scales: Sequence[float],
    steps: int,
    x_test=None,
    centred: bool = True,
    stability: float = 0.5,
    growth: float = 3.0,
) -> DialRun:
    r"""Train the same networks at several output scales, all in one batched computation.

    Since :math:`(F-y)^2/\alpha^2=(f-f_0-y/\alpha)^2`, a network at scale α is a network at scale 1
    with labels :math:`y/\alpha`, so that all scales fit into one ensemble. The learning rate of
    each network is

    .. math:: \eta=\frac{s}{\lambda_{\max}(\Theta_0)}
        \Bigl(1+\frac{g^2\,\overline{y^2}}{\alpha^2n}\Bigr)^{-1/2},

    where the bracket allows for the kernel's growth at the rich end.

    Parameters
    ----------
    ensemble : DenseEnsemble
        Networks at their start, one output; not changed.
    x, y : array_like
        Training inputs, (points, d) or (networks, points, d), and labels, (points,) or (networks,
        points).
    output_scales : sequence of float
        The scales α > 0.
    steps : int
        Steps of full-batch gradient descent.
    x_test : array_like, optional
        Test inputs, like x; by default the training inputs.
    centred : bool
        Whether :math:`F=\alpha(f-f_0)` or :math:`F=\alpha f`.
    stability, growth : float
        s and g above; s < 2 is stable as long as the kernel grows by less than the bracket.

    Returns
    -------
    DialRun

    Raises
    ------
    course.lazy_rich.ensembles.Divergence
        If a network diverges.
    ValueError
        For arguments that are not allowed.

    Notes
    -----
    Taught in chapter 2.2, "Turning the dial".
    """
    networks = ensemble.networks
    scales = validate.array("output_scales", output_scales, dimensions=1, empty=False)
    if not (scales > 0).all():
        raise ValueError(f"output_scales is {output_scales}; allowed are numbers > 0")
    stability = validate.real("stability", stability, low=0, strict=True)
    growth = validate.real("growth", growth, low=0)
    dtype = ensemble.weights[0].dtype
    x = _inputs("x", x, networks)
    labels = _labels(y, networks, x.shape[-2])
    x_test = x if x_test is None else _inputs("x_test", x_test, networks)

    def repeated(points: Tensor) -> Tensor:
        points = points if points.ndim == 2 else points.repeat(len(scales), 1, 1)
        return points.to(dtype)

    crowd = ensemble.copy()
    crowd.weights = [weight.repeat(len(scales), 1, 1) for weight in crowd.weights]
    start = crowd.copy()
    alpha = torch.as_tensor(np.repeat(scales, networks))
    scaled = labels.repeat(len(scales), 1) / alpha[:, None]
    before = crowd.kernel(repeated(x)).double()
    top = torch.linalg.eigvalsh(before)[:, -1]
    width = ensemble.weights[-1].shape[-1]
    rates = stability / top / (1 + growth**2 * (scaled**2).mean(1) / width).sqrt()
    train(crowd, (repeated(x), scaled), learning_rate=rates.numpy(), steps=steps, centred=centred)
    after = crowd.kernel(repeated(x)).double()
    with torch.no_grad():
        outputs = [
            (crowd(repeated(points)) - (start(repeated(points)) if centred else 0))[..., 0].double()
            for points in (x, x_test)
        ]
        frozen = _frozen(start, repeated(x), scaled, repeated(x_test), rates, steps, centred)

    def table(values) -> np.ndarray:
        values = np.asarray(values)
        return np.moveaxis(values.reshape(len(scales), networks, *values.shape[1:]), 0, 1)

    return DialRun(
        scales,
        table(kernel_distance(after, before)),
        table(kernel_alignment(after, scaled)),
        table(weight_change(crowd.weights, start.weights, networks=True)),
        table(alpha * ((outputs[0] - scaled) ** 2).mean(1).sqrt()),
        table(alpha[:, None] * outputs[1]),
        table(alpha[:, None] * frozen),
        crowd,
    )


def _frozen(start, x, labels, x_test, rates, steps: int, centred: bool) -> Tensor:
    """Output after gradient descent with the tangent kernel of the start, in double precision."""
    if x.ndim == 2 and x_test.ndim == 3:
        x = x.expand(len(x_test), *x.shape)
    if x_test.ndim == 2 and x.ndim == 3:
        x_test = x_test.expand(len(x), *x_test.shape)
    count = x.shape[-2]
    whole = start.kernel(torch.cat([x, x_test], dim=-2)).double()
    rates_of_modes, modes = torch.linalg.eigh(whole[:, :count, :count])
    filtered = 1 - (1 - rates[:, None] * rates_of_modes) ** steps
    safe = rates_of_modes.abs() > SINGULAR * rates_of_modes[:, -1:]
    filtered = torch.where(safe, filtered / torch.where(safe, rates_of_modes, 1.0), 0.0)
    residual = labels if centred else labels - start(x)[..., 0].double()
    coefficients = modes @ (filtered * (modes.mT @ residual[..., None])[..., 0])[..., None]
    change = (whole[:, count:, :count] @ coefficients)[..., 0]
    return change if centred else change + start(x_test)[..., 0].double()


def equivalent_start(
    output_scale: float, learning_rate: float, *, degree: int
) -> tuple[float, float]:
    r"""Initial scale and learning rate that do the same as an output scale.

    For f homogeneous of degree p in its parameters, :math:`f(c\theta)=c^pf(\theta)`, gradient
    descent on :math:`F=\alpha f` with the loss divided by :math:`\alpha^2` and step η passes
    through the same functions as gradient descent on f itself from :math:`c\,\theta_0` with

    .. math:: c=\alpha^{1/p},\qquad \tilde\eta=\alpha^{2/p-2}\,\eta.

    Parameters
    ----------
    output_scale, learning_rate : float
        α > 0 and η > 0.
    degree : int
        p, which is the number of layers of a bias-free ReLU or linear network.

    Returns
    -------
    (float, float)
        c and the new learning rate.

    Notes
    -----
    Derived in chapter 2.2, "One dial, three handles".
    """
    alpha = validate.real("output_scale", output_scale, low=0, strict=True)
    eta = validate.real("learning_rate", learning_rate, low=0, strict=True)
    p = validate.whole("degree", degree)
    return alpha ** (1 / p), alpha ** (2 / p - 2) * eta


class Factorisation(NamedTuple):
    """A run of :func:`factorise`.

    Attributes
    ----------
    times : numpy.ndarray
        Learning rate times step, shape (records,).
    error : numpy.ndarray
        Frobenius norm of product minus target, shape (records, runs).
    left, right : numpy.ndarray
        Factors at the end, shape (runs, d, k); right is left in the symmetric case.
    """

    times: np.ndarray
    error: np.ndarray
    left: np.ndarray
    right: np.ndarray


def factorise(
    target,
    left,
    right=None,
    *,
    learning_rate: float,
    record: Sequence[int],
    measurements=None,
    centred: bool = False,
) -> Factorisation:
    r"""Gradient descent on a matrix factorisation, many starts at once.

    Without ``right``, :math:`\frac14\|XX^\top-M\|_F^2`; with it,
    :math:`\frac12\|FG^\top-M\|_F^2`. The gradient flows are

    .. math:: \dot X=(M-XX^\top)X,\qquad
        \dot F=(M-FG^\top)G,\quad\dot G=(M-FG^\top)^\top F.

    With measurements :math:`A_1,\dots,A_m` the loss is
    :math:`\frac1{2m}\sum_i\langle A_i,FG^\top-M\rangle^2`, and M − FGᵀ in the flow becomes
    :math:`\frac1m\sum_i\langle A_i,M-FG^\top\rangle A_i`, of which the symmetric case takes the
    symmetric part.

    Parameters
    ----------
    target : array_like
        M, shape (rows, columns); symmetric if ``right`` is left out.
    left, right : array_like
        Starts F₀ and G₀, or X₀, shape (runs, rows, k) and (runs, columns, k).
    learning_rate : float
        Step size η > 0.
    record : sequence of int
        Increasing step numbers >= 0 at which the error is kept; the last one ends the run.
    measurements : array_like, optional
        Shape (m, rows, columns), or (runs, m, rows, columns).
    centred : bool
        Whether :math:`F_0G_0^\top` is subtracted from the product.

    Returns
    -------
    Factorisation

    Raises
    ------
    course.lazy_rich.ensembles.Divergence
        If the error of a run is not finite or grows beyond 1e6 times its first value.
    ValueError
        For arguments that are not allowed.

    Notes
    -----
    Taught in chapter 2.2, "Small and large starts in matrix factorisation".
    """
    matrix, one, two = _factors(target, left, right)
    eta = validate.real("learning_rate", learning_rate, low=0, strict=True)
    moments = [validate.whole("record", step, low=0) for step in several("record", record)]
    if not moments or any(b <= a for a, b in zip(moments, moments[1:], strict=False)):
        raise ValueError(f"record is {record!r}; allowed are increasing steps, at least one")
    if right is None and (not np.allclose(matrix, matrix.T, rtol=0, atol=1e-12) or centred):
        raise ValueError("target must be symmetric, and centred False, without right")
    sensed = _sensing(measurements, matrix.shape, len(one))
    offset = one @ two.transpose(0, 2, 1) if centred else 0.0
    errors, first = [], None
    for step in range(moments[-1] + 1):
        gap = matrix - one @ two.transpose(0, 2, 1) + offset
        size = np.linalg.norm(gap, axis=(1, 2))
        first = size if first is None else first
        bad = ~(size <= 1e6 * np.maximum(first, 1.0))
        if bad.any():
            raise Divergence(step, np.flatnonzero(bad).tolist(), eta)
        if step == moments[len(errors)]:
            errors.append(size)
        if step == moments[-1]:
            break
        if sensed is not None:
            flat = gap.reshape(len(gap), -1, 1)
            gap = (sensed @ flat).reshape(gap.shape)
        if right is None:
            gap = (gap + gap.transpose(0, 2, 1)) / 2  # measurements need not be symmetric
            one = two = one + eta * gap @ one
        else:
            one, two = one + eta * gap @ two, two + eta * gap.transpose(0, 2, 1) @ one
    return Factorisation(eta * np.array(moments), np.array(errors), one, two)


def _factors(target, left, right) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    matrix = validate.array("target", target, dimensions=2, empty=False)
    one = validate.array("left", left, dimensions=3, empty=False)
    two = one if right is None else validate.array("right", right, dimensions=3, empty=False)
    if one.shape[1] != matrix.shape[0]:
        raise ValueError(f"left has shape {one.shape}; allowed is (runs, {matrix.shape[0]}, k)")
    if two.shape != (len(one), matrix.shape[1], one.shape[2]):
        raise ValueError(
            f"right has shape {two.shape}; allowed is "
            f"{(len(one), matrix.shape[1], one.shape[2])} for this target and left"
        )
    return matrix, one, two


def _sensing(measurements, shape: tuple[int, ...], runs: int) -> np.ndarray | None:
    if measurements is None:
        return None
    sensed = validate.array("measurements", measurements, dimensions=(3, 4), empty=False)
    if sensed.shape[-2:] != shape or (sensed.ndim == 4 and len(sensed) != runs):
        raise ValueError(
            f"measurements has shape {sensed.shape}; allowed are (m, {shape[0]}, {shape[1]}) and "
            f"({runs}, m, {shape[0]}, {shape[1]})"
        )
    rows = sensed.reshape(*sensed.shape[:-2], -1)
    return rows.mT @ rows / rows.shape[-2]  # the identity, on average


def redundant_rate(target, left, right) -> np.ndarray:
    r"""Final decay rate of an over-parameterised asymmetric factorisation from a small start.

    Gradient flow conserves the imbalance :math:`C=F^\top F-G^\top G`. A small start grows along
    the rows of :math:`U^\top F_0+V^\top G_0`, where :math:`M=U\Sigma V^\top` has rank r; let the
    columns of Q be an orthonormal basis of the other k − r directions. There the smaller factor
    decays as :math:`\exp(-|C_Q|t)` with :math:`C_Q=Q^\top CQ`, and so does the error:

    .. math:: \|FG^\top-M\|_F\sim e^{-\lambda t},\qquad
        \lambda=\min_i|\lambda_i(C_Q)|\propto\alpha_0^2 .

    Parameters
    ----------
    target : array_like
        M of rank r < k, shape (rows, columns).
    left, right : array_like
        F₀ and G₀, shape (runs, rows, k) and (runs, columns, k).

    Returns
    -------
    numpy.ndarray
        λ for each run, to leading order in the size of the start, for a definite :math:`C_Q`.

    Raises
    ------
    ValueError
        For shapes that do not fit, k <= r, or an indefinite :math:`C_Q`, which leaves no single
        rate.

    Notes
    -----
    Derived in chapter 2.2, "Small and large starts in matrix factorisation"; the scaling is that
    of Xiong, Ding and Du (2024).
    """
    matrix, one, two = _factors(target, left, right)
    u, s, vt = np.linalg.svd(matrix)
    rank = int((s > 1e-10 * s[0]).sum())
    if one.shape[2] <= rank:
        raise ValueError(f"left has {one.shape[2]} columns; allowed are more than the rank {rank}")
    imbalance = one.transpose(0, 2, 1) @ one - two.transpose(0, 2, 1) @ two
    grown = u[:, :rank].T @ one + vt[:rank] @ two
    others = np.linalg.svd(grown)[2][:, rank:]
    rates = np.linalg.eigvalsh(others @ imbalance @ others.transpose(0, 2, 1))
    mixed = (rates[:, 0] < 0) & (rates[:, -1] > 0)
    if mixed.any():
        raise ValueError(
            f"left and right have an indefinite imbalance in runs {np.flatnonzero(mixed)}; "
            "allowed are starts of clearly different size, such as one and one third"
        )
    return np.abs(rates).min(axis=1)


def rebalance(left, right, *, scale: float) -> tuple[np.ndarray, np.ndarray]:
    r"""Change the factors, and not their product, so that :math:`F^\top F=\beta^2I`.

    With the singular values :math:`F=ASB^\top`,

    .. math:: F\leftarrow\beta A,\qquad G\leftarrow\beta^{-1}GBS .

    Parameters
    ----------
    left, right : array_like
        F and G, shape (runs, rows, k) with rows >= k, and (runs, columns, k).
    scale : float
        β > 0.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray)
        The new factors. From here on every redundant direction decays at the rate β².

    Notes
    -----
    Derived in chapter 2.2, "Small and large starts in matrix factorisation". That one modified
    step suffices is a result of Xiong, Ding and Du (2024); this form of it is the chapter's own.
    """
    one = validate.array("left", left, dimensions=3, empty=False)
    two = validate.array("right", right, dimensions=3, empty=False)
    beta = validate.real("scale", scale, low=0, strict=True)
    if one.shape[1] < one.shape[2] or len(one) != len(two) or one.shape[2] != two.shape[2]:
        raise ValueError(
            f"left and right have shapes {one.shape} and {two.shape}; allowed are (runs, rows, k) "
            "and (runs, columns, k) with rows >= k"
        )
    a, s, bt = np.linalg.svd(one, full_matrices=False)
    return beta * a, two @ bt.transpose(0, 2, 1) * s[:, None] / beta


def draw_neurons(ax, start: DenseEnsemble, end: DenseEnsemble, network: int = 0) -> None:
    """Draw the first-layer weights of a network with two inputs, before and after training.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes of equal scales.
    start, end : DenseEnsemble
        The same networks at two moments; the start may be that of :func:`turn_dial`, whose
        networks repeat for each scale.
    network : int
        Which one of ``end``.
    """
    before = start.weights[0][network % start.networks].detach().numpy()
    after = end.weights[0][network].detach().numpy()
    positive = end.weights[-1][network, 0].detach().numpy() > 0
    for a, b in zip(before, after, strict=True):
        ax.plot([a[0], b[0]], [a[1], b[1]], color="#BBBBBB", linewidth=0.8, zorder=1)
    ax.plot(*before.T, "o", color="#6B6B6B", mfc="white", markersize=3.5, label="start")
    for sign, color, name in ((True, "#0072B2", "end, $v>0$"), (False, "#D55E00", "end, $v<0$")):
        ax.plot(*after[positive == sign].T, "o", color=color, markersize=4, label=name, zorder=3)
    reach = 1.08 * max(math.sqrt(float((w**2).sum(1).max())) for w in (before, after))
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal",
           xlabel="weight of input 1", ylabel="weight of input 2")  # fmt: skip


def factor_kernel(left, right) -> np.ndarray:
    r"""Tangent kernel of a matrix factorisation on all entries of the product.

    .. math:: \Theta=FF^\top\otimes I+I\otimes GG^\top

    Parameters
    ----------
    left, right : array_like
        F and G, shape (runs, rows, k) and (runs, columns, k).

    Returns
    -------
    numpy.ndarray
        Shape (runs, rows·columns, rows·columns), for entries in row-major order.

    Notes
    -----
    Taught in chapter 2.2, "Too few measurements".
    """
    one = validate.array("left", left, dimensions=3, empty=False)
    two = validate.array("right", right, dimensions=3, empty=False)
    if len(one) != len(two) or one.shape[2] != two.shape[2]:
        raise ValueError(
            f"left and right have shapes {one.shape} and {two.shape}; allowed are (runs, rows, k) "
            "and (runs, columns, k)"
        )
    rows, columns = np.eye(one.shape[1]), np.eye(two.shape[1])
    return np.stack([
        np.kron(f @ f.T, columns) + np.kron(rows, g @ g.T) for f, g in zip(one, two, strict=True)
    ])  # fmt: skip


class Task(NamedTuple):
    """Independent data sets of one kind, see :func:`draw_tasks`.

    Attributes
    ----------
    x, y : numpy.ndarray
        Training inputs (tasks, samples, d) and labels (tasks, samples).
    x_test, y_test : numpy.ndarray
        Test inputs (tasks, tests, d) and labels (tasks, tests).
    optimal : numpy.ndarray or None
        Mean squared test error of regression with the wide network's kernel, shape (tasks,), if
        asked for.
    """

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    optimal: np.ndarray | None


TARGETS = ("direction", "cubic", "dense")


def draw_tasks(
    target: str,
    *,
    inputs: int,
    samples: int,
    tests: int,
    tasks: int,
    seed: int,
    optimal: bool = True,
) -> Task:
    r"""Data with a target that one direction decides, or one without preferred directions.

    ``direction``: :math:`f^\star=(x_1^2-1)/\sqrt2`. ``cubic``:
    :math:`f^\star=(x_1^3-3x_1)/\sqrt6`. ``dense``: :math:`f^\star` is drawn from a Gaussian
    process whose covariance is the tangent kernel of wide GELU networks, so that regression with
    this kernel has the smallest expected error of all predictors. Inputs are uniform on the sphere
    of radius :math:`\sqrt d`; targets have mean square 1 (``dense``), :math:`(d-1)/(d+2)`
    (``direction``), or :math:`\frac{5d^2}{2(d+2)(d+4)}-\frac{3d}{d+2}+\frac32` (``cubic``).

    Parameters
    ----------
    target : {"direction", "cubic", "dense"}
        The kind of target.
    inputs, samples, tests, tasks : int
        d, N, the number of test points, and the number of independent data sets.
    seed : int
        Seed of inputs and targets.
    optimal : bool
        Whether to compute the error of the wide network's kernel, which takes most of the time.

    Returns
    -------
    Task

    Notes
    -----
    The kernel is the mean of 16 networks of width 1024, normalised to mean diagonal 1: the prior
    is exactly this kernel, whatever its distance to infinite width. Taught in chapter 2.2, "Do
    features help?".
    """
    validate.choice("target", target, TARGETS)
    d, count = validate.whole("inputs", inputs), validate.whole("samples", samples)
    extra, number = validate.whole("tests", tests), validate.whole("tasks", tasks)
    rng = np.random.default_rng(validate.whole("seed", seed, low=0))
    x = rng.standard_normal((number, count + extra, d))
    x *= math.sqrt(d) / np.linalg.norm(x, axis=-1, keepdims=True)
    if target == "dense" or optimal:
        wide = dense_networks(d, 1024, networks=16, generator=torch.Generator().manual_seed(0))
        kernels = np.stack([wide.kernel(points).mean(0).numpy() for points in x])
        kernels /= np.trace(kernels, axis1=1, axis2=2).mean() / (count + extra)
    if target == "direction":
        y = (x[..., 0] ** 2 - 1) / math.sqrt(2)
    elif target == "cubic":
        y = (x[..., 0] ** 3 - 3 * x[..., 0]) / math.sqrt(6)
    else:
        noise = rng.standard_normal((number, count + extra, 1))
        y = (np.linalg.cholesky(kernels) @ noise)[..., 0]
    best = None
    if optimal:
        inner = np.linalg.solve(kernels[:, :count, :count], y[:, :count, None])
        predicted = (kernels[:, count:, :count] @ inner)[..., 0]
        best = ((predicted - y[:, count:]) ** 2).mean(axis=1)
    return Task(x[:, :count], y[:, :count], x[:, count:], y[:, count:], best)


def dense_networks(
    inputs: int, width: int, *, networks: int, generator: torch.Generator, activation: str = "gelu"
) -> DenseEnsemble:
    r"""Networks :math:`f=n^{-1/2}\sum_jv_j\phi(w_j\cdot x/\sqrt d)` with standard normal weights.

    Parameters
    ----------
    inputs, width, networks : int
        d, n and the number of networks.
    generator : torch.Generator
        Source of the weights.
    activation : str
        As in :class:`~course.lazy_rich.ensembles.DenseEnsemble`.

    Returns
    -------
    DenseEnsemble
    """
    d, n = validate.whole("inputs", inputs), validate.whole("width", width)
    return DenseEnsemble(
        [d, n, 1], networks=networks, activation=activation, generator=generator,
        multipliers=[d**-0.5, n**-0.5], deviations=[1.0, 1.0],
    )  # fmt: skip


def task_sweep(
    *,
    target: str,
    output_scales: Sequence[float],
    inputs: int,
    samples: int,
    width: int,
    networks: int,
    steps: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """Test errors of networks on tasks of their own, over output scales, for a record.

    Parameters
    ----------
    target, inputs, samples, seed
        As in :func:`draw_tasks`; each network has a data set of its own, with 200 test points.
    output_scales, steps
        As in :func:`turn_dial`.
    width, networks : int
        n, and the number of networks.

    Returns
    -------
    dict of str to numpy.ndarray
        ``error``, ``frozen`` (the same steps with the kernel frozen), ``kernel_distance``,
        ``kernel_alignment``, ``weight_change``, ``residual``: shape (networks, scales);
        ``optimal`` and ``regression`` (fully fitted by the kernel of the start): shape
        (networks,).
    """
    task = draw_tasks(
        target, inputs=inputs, samples=samples, tests=200, tasks=networks, seed=seed
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed + 1)
    start = dense_networks(inputs, width, networks=networks, generator=generator)
    kernel = start.kernel(np.concatenate([task.x, task.x_test], axis=1)).numpy()
    weights = np.linalg.solve(kernel[:, :samples, :samples], task.y[..., None])
    regression = (kernel[:, samples:, :samples] @ weights)[..., 0]
    run = turn_dial(
        start, task.x, task.y, output_scales=output_scales, steps=steps, x_test=task.x_test
    )
    truth = task.y_test[:, None]
    return {
        "regression": ((regression - task.y_test) ** 2).mean(axis=1),
        "error": ((run.test - truth) ** 2).mean(axis=2),
        "frozen": ((run.kernel_prediction - truth) ** 2).mean(axis=2),
        "kernel_distance": run.kernel_distance,
        "kernel_alignment": run.kernel_alignment,
        "weight_change": run.weight_change,
        "residual": run.residual,
        "optimal": task.optimal,
    }


def draw_decay(ax, run: Factorisation, learning_rate: float, *, label: str, fmt: str = "o") -> None:
    """Draw the squared error of a factorisation against steps: geometric means with errors.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes with two logarithmic scales.
    run : Factorisation
        At least two runs with positive errors.
    learning_rate : float
        Turns times into steps.
    label, fmt : str
        Label and marker.
    """
    logs = estimate(np.log(run.error.T**2))
    value = np.exp(logs.value)
    bars = value * np.abs(np.expm1([-logs.stderr, logs.stderr]))
    figures.simulation(
        ax, run.times / learning_rate, value, bars, label=label, fmt=fmt, markersize=3.5, capsize=0
    )  # fmt: skip
