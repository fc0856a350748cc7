r"""Chapter 5.6, second part: the neural tangent hierarchy and its truncations.

Networks :math:`f(x)=n^{-1/2}\sum_j v_j\,\phi(w_j\cdot x)` are trained by gradient flow on
:math:`\frac12\sum_b(f_b-y_b)^2`. With :math:`O_1=f` on the training inputs and

.. math:: O_{s+1}(a_1,\dots,a_s,b)=\nabla_\theta O_s(a_1,\dots,a_s)\cdot\nabla_\theta f_b,\qquad
          \dot O_s=-\sum_b O_{s+1}(\dots,b)\,(f_b-y_b),

The powers of the width taught in the chapter hold for this one hidden layer.
:math:`O_2` is the tangent kernel. A truncation at order :math:`p` holds :math:`O_p` at its initial
value; order 2 is a constant kernel.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.ticker import NullLocator
from torch import Tensor
from torch.func import jvp

from course import validate

__all__ = [
    "TangentFlow", "TangentReport", "TruncationDiverged", "convergence_radius", "linear_flow",
    "network_flow", "sample_weights", "tangent_tensors", "tangent_validity", "truncated_flow",
    "truncation_errors",
]  # fmt: skip

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda z: z * 1.0,
    "quadratic": lambda z: 0.5 * z * z,
    "tanh": torch.tanh,
    "erf": torch.erf,
}
MAX_ORDER = 8
RUNAWAY = 1e3
"""An output this many times larger than the largest label or start counts as diverged."""

ROUNDING = 1e-9
"""Eigenvalues of a kernel above minus this part of the largest count as not negative."""

Weights = tuple[Tensor, Tensor]


class TruncationDiverged(RuntimeError):
    """A truncated hierarchy ran away; the message says which networks, and when."""


@dataclass(frozen=True, eq=False)
class TangentFlow:
    r"""Outputs and kernels over time, for many networks at once.

    Attributes
    ----------
    times : numpy.ndarray, shape (times,)
        Training time, with the start.
    output : numpy.ndarray, shape (networks, times, N)
        :math:`f` on the training inputs; infinite from the time on at which a truncation has
        run away.
    kernel : numpy.ndarray, shape (networks, times, N, N)
        :math:`O_2`.
    diverged_at : numpy.ndarray, shape (networks,)
        The time of running away, infinite for the others.
    """

    times: np.ndarray
    output: np.ndarray
    kernel: np.ndarray
    diverged_at: np.ndarray


def _activation(name: str) -> Callable[[Tensor], Tensor]:
    return ACTIVATIONS[validate.choice("activation", name, tuple(ACTIVATIONS))]


def sample_weights(
    width: int, *, dimension: int, networks: int, generator: torch.Generator
) -> Weights:
    r"""Standard normal weights of networks with one hidden layer.

    Parameters
    ----------
    width : int
        :math:`n`.
    dimension : int
        :math:`d`, the number of inputs.
    networks : int
        Number of independent networks.
    generator : torch.Generator

    Returns
    -------
    (torch.Tensor, torch.Tensor)
        Readout weights :math:`v`, shape (networks, n), and first-layer weights :math:`w`, shape
        (networks, n, d), in float64.

    Notes
    -----
    Taught in chapter 5.6, "A hierarchy for one network".
    """
    shape = (
        validate.whole("networks", networks),
        validate.whole("width", width),
        validate.whole("dimension", dimension),
    )
    validate.generator("generator", generator, torch.Generator)
    options = {"generator": generator, "dtype": torch.float64}
    return torch.randn(shape[:2], **options), torch.randn(shape, **options)


def _problem(weights, x, y=None):
    """Checked weights, inputs (N, d) and labels (N,)."""
    if not isinstance(weights, Sequence) or len(weights) != 2:
        raise ValueError("weights is not a pair; allowed are (v, w) of sample_weights")
    v, w = (validate.real_tensor(part, name) for part, name in zip(weights, "vw", strict=True))
    x = validate.real_tensor(x, "x").to(v.device)
    if v.ndim != 2 or w.ndim != 3 or w.shape[:2] != v.shape:
        raise ValueError(
            f"weights have shapes {tuple(v.shape)} and {tuple(w.shape)}; allowed are "
            "(networks, n) and (networks, n, d)"
        )
    if x.ndim != 2 or x.shape[1] != w.shape[2] or len(x) == 0:
        raise ValueError(f"x has shape {tuple(x.shape)}; allowed is (N, {w.shape[2]})")
    if not bool(torch.isfinite(x).all()):
        raise ValueError("x contains NaN or infinity; allowed are finite numbers")
    if y is None:
        return v, w, x
    return v, w, x, _labels(y, len(x)).to(v.device)


def _labels(y, count: int) -> Tensor:
    y = validate.real_tensor(y, "y")
    if y.shape != (count,) or not bool(torch.isfinite(y).all()):
        raise ValueError(f"y is {y}; allowed are {count} finite numbers, one for each input")
    return y


def _output(phi, v: Tensor, w: Tensor, x: Tensor) -> Tensor:
    return (phi(w @ x.T) * v[..., None]).sum(1) / v.shape[1] ** 0.5


def _gradients(phi, v: Tensor, w: Tensor, x: Tensor):
    """Gradients of each output: (networks, n, N) for v, (networks, n, N, d) for w."""
    h = w @ x.T
    value, slope = jvp(phi, (h,), (torch.ones_like(h),))
    scale = v.shape[1] ** -0.5
    return scale * value, scale * (v[..., None] * slope)[..., None] * x


def tangent_tensors(weights: Weights, x, *, order: int, activation: str) -> tuple[Tensor, ...]:
    r"""The first tensors of the hierarchy of given networks.

    .. math:: O_1=f,\qquad O_{s+1}(\dots,b)=\nabla_\theta O_s\cdot\nabla_\theta f_b

    Parameters
    ----------
    weights : (torch.Tensor, torch.Tensor)
        :math:`v` of shape (networks, n) and :math:`w` of shape (networks, n, d).
    x : array_like, shape (N, d)
        Training inputs.
    order : int
        The last order, 2 to 8. The cost grows as :math:`(2N)^{\text{order}-1}`.
    activation : {"linear", "quadratic", "tanh", "erf"}
        :math:`z`, :math:`z^2/2`, ...; smooth ones only, since higher orders hold all derivatives.

    Returns
    -------
    tuple of torch.Tensor
        :math:`O_1,\dots,O_p`; :math:`O_s` has shape (networks, N, ..., N) with :math:`s` axes of
        the inputs.

    Raises
    ------
    ValueError
        For shapes that do not match, or an order out of range.

    Notes
    -----
    Forward derivatives along the gradients of the outputs, nested: no Jacobian is formed. Taught
    in chapter 5.6, "A hierarchy for one network".
    """
    v, w, x = _problem(weights, x)
    phi, order = _activation(activation), validate.whole("order", order, low=2)
    if order > MAX_ORDER:
        raise ValueError(f"order is {order}; allowed are 2 to {MAX_ORDER}")

    def field(v, w, b):
        along_v, along_w = _gradients(phi, v, w, x[b : b + 1])
        return along_v[..., 0], along_w[..., 0, :]

    def level(s):
        if s == 1:
            return lambda v, w: _output(phi, v, w, x)
        lower = level(s - 1)

        def tensor(v, w):
            parts = [jvp(lower, (v, w), field(v, w, b))[1] for b in range(len(x))]
            return torch.stack(parts, -1)

        return tensor

    return tuple(level(s)(v, w) for s in range(1, order + 1))


def _runge_kutta(velocity, state: tuple[Tensor, ...], step: float) -> tuple[Tensor, ...]:
    def moved(slopes, size):
        return tuple(s + size * k for s, k in zip(state, slopes, strict=True))

    k1 = velocity(state)
    k2 = velocity(moved(k1, step / 2))
    k3 = velocity(moved(k2, step / 2))
    k4 = velocity(moved(k3, step))
    total = tuple(a + 2 * b + 2 * c + d for a, b, c, d in zip(k1, k2, k3, k4, strict=True))
    return moved(total, step / 6)


def _grid(time: float, steps: int, record: int):
    time = validate.real("time", time, low=0, strict=True)
    steps = validate.whole("steps", steps)
    record = validate.whole("record", record)
    if steps % record:
        raise ValueError(f"record is {record}; allowed are divisors of steps, {steps}")
    return time / steps, np.linspace(0, time, steps // record + 1)


def network_flow(
    weights: Weights, x, y, *, time: float, steps: int = 100, record: int = 10, activation: str
) -> TangentFlow:
    r"""Gradient flow of the networks themselves: the truth that a truncation is measured by.

    Parameters
    ----------
    weights, x, activation
        As in :func:`tangent_tensors`.
    y : array_like, shape (N,)
        Labels.
    time : float
        Training time; the loss is :math:`\frac12\sum_b(f_b-y_b)^2`.
    steps : int
        Steps of the classical Runge–Kutta rule, whose error falls as ``steps``:sup:`-4`.
    record : int
        Every how many steps output and kernel are kept; a divisor of ``steps``.

    Returns
    -------
    TangentFlow

    Raises
    ------
    RuntimeError
        If the outputs are no longer finite: the step is too large.

    Notes
    -----
    Taught in chapter 5.6, "A hierarchy for one network".
    """
    v, w, x, y = _problem(weights, x, y)
    phi = _activation(activation)
    step, times = _grid(time, steps, record)

    def velocity(state):
        residual = _output(phi, *state, x) - y
        along_v, along_w = _gradients(phi, *state, x)
        return (
            -(along_v * residual[:, None]).sum(-1),
            -(along_w * residual[:, None, :, None]).sum(-2),
        )

    def observed(state):
        along_v, along_w = _gradients(phi, *state, x)
        flat = along_w.movedim(2, 1).flatten(2)
        kernel = along_v.mT @ along_v + flat @ flat.mT
        return _output(phi, *state, x), kernel

    state, found = (v, w), [observed((v, w))]
    for number in range(1, steps + 1):
        state = _runge_kutta(velocity, state, step)
        if number % record == 0:
            found.append(observed(state))
    output, kernel = (torch.stack(part, 1).numpy(force=True) for part in zip(*found, strict=True))
    if not np.isfinite(output).all():
        raise RuntimeError(f"the outputs are not finite; {steps} steps over time {time:g} are few")
    return TangentFlow(times, output, kernel, np.full(len(output), np.inf))


def truncated_flow(
    tensors: Sequence[Tensor],
    y,
    *,
    time: float,
    order: int | None = None,
    steps: int = 100,
    record: int = 10,
    allow_divergence: bool = False,
) -> TangentFlow:
    r"""The hierarchy with its tensor of order :math:`p` held at the initial value.

    .. math:: \dot O_s=-\sum_bO_{s+1}(\dots,b)(f_b-y_b)\quad(s<p),\qquad O_p=O_p(0)

    Parameters
    ----------
    tensors : sequence of torch.Tensor
        :math:`O_1,\dots,O_p` from :func:`tangent_tensors`, or more of them.
    y : array_like, shape (N,)
        Labels.
    time : float
        Training time.
    order : int, optional
        :math:`p\ge2`; the number of tensors by default.
    steps, record : int
        As in :func:`network_flow`.
    allow_divergence : bool
        Mark networks that run away, with infinite output from there on, instead of raising.

    Returns
    -------
    TangentFlow

    Raises
    ------
    TruncationDiverged
        If outputs exceed a thousand times the largest label or start.
    ValueError
        For an order without its tensor, or shapes that do not match.

    Notes
    -----
    The system is closed, but nothing makes it a network's: the kernel can lose positivity, and
    the output can run away. Taught in chapter 5.6, "Cutting the hierarchy".
    """
    tensors = [validate.real_tensor(t, "tensors") for t in tensors]
    order = len(tensors) if order is None else validate.whole("order", order, low=2)
    if not 2 <= order <= len(tensors):
        raise ValueError(f"order is {order}; allowed are 2 to {len(tensors)}, the tensors given")
    networks, count = tensors[0].shape
    for s, tensor in enumerate(tensors, start=1):
        if tensor.shape != (networks, *[count] * s):
            raise ValueError(f"tensors[{s - 1}] has shape {tuple(tensor.shape)}")
    y = _labels(y, count).to(tensors[0].device)
    step, times = _grid(time, steps, record)
    last = tensors[order - 1]
    limit = RUNAWAY * max(1.0, float(y.abs().max()), float(tensors[0].abs().max()))
    alive = torch.ones(networks, dtype=torch.bool, device=last.device)
    ended = np.full(networks, np.inf)

    def velocity(state):
        residual = torch.where(alive[:, None], state[0] - y, 0.0)
        return tuple(-_contracted(upper, residual) for upper in (*state[1:], last))

    state = tuple(tensors[: order - 1])
    found = [_seen(state, last, alive)]
    for number in range(1, steps + 1):
        moved = _runge_kutta(velocity, state, step)
        good = (moved[0].abs() < limit).all(1)
        for part in moved:
            good &= part.flatten(1).isfinite().all(1)
        ended[(alive & ~good).numpy(force=True)] = number * step
        alive = alive & good
        state = tuple(
            torch.where(alive.view(networks, *[1] * (new.ndim - 1)), new, old)
            for new, old in zip(moved, state, strict=True)
        )
        if number % record == 0:
            found.append(_seen(state, last, alive))
    lost = np.flatnonzero(np.isfinite(ended))
    if len(lost) and not allow_divergence:
        kernel = found[-1][1][lost[0]]
        raise TruncationDiverged(
            f"the hierarchy truncated at order {order} runs away for {len(lost)} of {networks} "
            f"networks: network {lost[0]} at time {ended[lost[0]]:.3g}, where the lowest "
            f"eigenvalue of its kernel is {float(torch.linalg.eigvalsh(kernel)[0]):.3g}; a "
            "network's own is never negative. allow_divergence=True marks such networks"
        )
    output, kernel = (torch.stack(part, 1).numpy(force=True) for part in zip(*found, strict=True))
    return TangentFlow(times, output, kernel, ended)


def _contracted(tensor: Tensor, residual: Tensor) -> Tensor:
    """Sum over the last axis with the residuals as weights."""
    networks, count = residual.shape
    return (tensor * residual.view(networks, *[1] * (tensor.ndim - 2), count)).sum(-1)


def _seen(state, last, alive):
    kernel = state[1] if len(state) > 1 else last
    return torch.where(alive[:, None], state[0], torch.inf), kernel.clone()


def linear_flow(f, theta, y: float, *, width: int, times) -> np.ndarray:
    r"""Output of a two-layer linear network with one input, in closed form.

    The hierarchy of :math:`f=n^{-1/2}\sum_jv_jw_j` closes: :math:`\dot f=-\Theta(f-y)`,
    :math:`\dot\Theta=-\frac4nf(f-y)`, and :math:`\Theta^2-\frac4nf^2=c^2` is conserved. With
    :math:`f=\frac{\sqrt n}2\,c\sinh u` and :math:`\Theta=c\cosh u` one equation is left,
    :math:`\dot u=-\frac2{\sqrt n}(f-y)`, which is integrated in :math:`z=e^u`.

    Parameters
    ----------
    f, theta : float
        Output and kernel at the start, :math:`\Theta_0>2|f_0|/\sqrt n`.
    y : float
        The label.
    width : int
        :math:`n`.
    times : array_like
        Times :math:`t\ge0`.

    Returns
    -------
    numpy.ndarray
        :math:`f(t)`.

    Raises
    ------
    ValueError
        If no network of this width has this output and kernel.

    Notes
    -----
    Taught in chapter 5.6, "Networks whose hierarchy closes".
    """
    f, y = validate.real("f", f), validate.real("y", y)
    theta = validate.real("theta", theta, low=0, strict=True)
    root = np.sqrt(validate.whole("width", width))
    times = validate.array("times", times, dimensions=(0, 1))
    squared = theta**2 - (2 * f / root) ** 2
    if squared <= 0:
        raise ValueError(f"theta is {theta}; allowed are numbers > 2|f|/sqrt(width)")
    c = np.sqrt(squared)
    # z = e^u obeys dz/dt = -(c/2)(z - z_plus)(z - z_minus), the labels' two roots
    shift = 2 * y / (root * c)
    z_plus = shift + np.hypot(shift, 1.0) if shift >= 0 else 1 / (np.hypot(shift, 1.0) - shift)
    z_minus = -1 / z_plus
    start = (theta + 2 * f / root) / c
    rate = 0.5 * c * (z_plus - z_minus)
    ratio = (start - z_plus) / (start - z_minus) * np.exp(-rate * times)
    z = (z_plus - ratio * z_minus) / (1 - ratio)
    return root * c / 4 * (z - 1 / z)


def convergence_radius(v, h) -> np.ndarray:
    r"""How far the Taylor series of a tanh neuron on its own gradient curve converges.

    The neuron :math:`v\tanh h` with :math:`h=w\cdot x` and :math:`|x|=1` moves as
    :math:`v'=\tanh h`, :math:`h'=v/\cosh^2h`, and :math:`E=v^2-\sinh^2h` is conserved. With
    :math:`v=\sqrt E\cosh\chi`

    .. math:: \tau=\int\sqrt{1+E\sinh^2\chi}\,\mathrm d\chi,

    and the singularities lie at the zeros of the root. In a network of width :math:`n` the
    variable is :math:`\tau=u/\sqrt n`, and the smallest radius counts.

    Parameters
    ----------
    v, h : array_like, shape (n,)
        Readout weights, not zero, and preactivations.

    Returns
    -------
    numpy.ndarray, shape (n,)
        The distance in :math:`\tau` of the nearest singularity found: along straight paths in
        :math:`\chi` to the six nearest zeros.

    Notes
    -----
    Taught in chapter 5.6, "Where it breaks".
    """
    v = validate.array("v", v, dimensions=1, empty=False)
    h = validate.array("h", h, dimensions=1, empty=False)
    if v.shape != h.shape or (v == 0).any():
        raise ValueError(f"v is {v}; allowed are numbers other than 0, as many as in h")
    return np.array([_nearest_singularity(*pair) for pair in zip(v, h, strict=True)])


def _nearest_singularity(v: float, h: float) -> float:
    nodes, weights = np.polynomial.legendre.leggauss(200)
    energy = complex(v * v - math.sinh(h) ** 2)
    start, zero = cmath.atanh(math.sinh(h) / v), cmath.asinh(1j / cmath.sqrt(energy))
    found = []
    for shift in (-1j * math.pi, 0.0, 1j * math.pi):
        for end in (zero + shift, -zero + shift):
            path = start + (end - start) * (nodes + 1) / 2
            root = np.sqrt(1 + energy * np.sinh(path) ** 2)
            turned = np.abs(root[1:] + root[:-1]) < np.abs(root[1:] - root[:-1])
            root[1:] *= np.cumprod(np.where(turned, -1, 1))  # stay on one branch
            found.append(abs((end - start) / 2 * (weights @ root)))
    return min(found)


def truncation_errors(
    *, x, y, widths, orders, activation: str, time: float, groups: int, networks: int, seed: int
) -> dict[str, np.ndarray]:
    r"""How far truncated hierarchies are from training, for several widths and orders.

    Parameters
    ----------
    x, y : array_like
        Training inputs (N, d) and labels (N,).
    widths, orders : sequence of int
    activation, time
        As in :func:`network_flow`.
    groups, networks : int
        Independent groups, and networks in each.
    seed : int

    Returns
    -------
    dict of str to numpy.ndarray
        ``median`` of shape (groups, orders, widths): the median over the group's networks of the
        largest deviation of an output at the end.

    Notes
    -----
    Taught in chapter 5.6, "Powers of the width".
    """
    x, y = (validate.real_tensor(part, name) for part, name in ((x, "x"), (y, "y")))
    flow = {"time": time, "steps": 20, "record": 20}
    median = np.empty((groups, len(orders), len(widths)))
    for g, j in np.ndindex(groups, len(widths)):
        generator = torch.Generator().manual_seed(seed + 1000 * g + j)
        weights = sample_weights(
            widths[j], dimension=x.shape[1], networks=networks, generator=generator
        )
        truth = network_flow(weights, x, y, activation=activation, **flow).output
        tensors = tangent_tensors(weights, x, order=max(orders), activation=activation)
        for i, order in enumerate(orders):
            cut = truncated_flow(tensors, y, order=order, allow_divergence=True, **flow).output
            median[g, i, j] = np.median(np.abs(cut - truth)[:, -1].max(-1))
    return {"median": median}


@dataclass(frozen=True, eq=False)
class TangentReport:
    r"""Where a truncation describes networks: by order and width.

    Attributes
    ----------
    widths, orders : tuple of int
    networks : int
        Networks of each width.
    runaway, indefinite : numpy.ndarray, shape (orders, widths)
        Fractions of the networks whose truncation runs away, and whose truncated kernel has a
        negative eigenvalue at some recorded time.
    first : numpy.ndarray, shape (orders, widths)
        Time at which the first network runs away; infinite where none does.
    error : numpy.ndarray, shape (orders, widths)
        Median over the networks of the largest deviation of the outputs from the truth at any
        recorded time; infinite where half of them run away.
    stderr : numpy.ndarray, shape (orders, widths)
        Standard error of that median, half the distance of the order statistics one binomial
        standard deviation, :math:`\tfrac12\sqrt{\text{networks}}`, to either side of it.
    better : numpy.ndarray, shape (orders, widths)
        Fraction of the networks whose own error is below that at the order before; 1 for the
        first order.
    """

    widths: tuple[int, ...]
    orders: tuple[int, ...]
    networks: int
    runaway: np.ndarray
    indefinite: np.ndarray
    first: np.ndarray
    error: np.ndarray
    stderr: np.ndarray
    better: np.ndarray

    @property
    def helps(self) -> np.ndarray:
        """Whether an order's error is below that of every lower one, shape (orders, widths)."""
        best = np.minimum.accumulate(self.error, axis=0)
        return np.vstack([np.full((1, len(self.widths)), True), self.error[1:] < best[:-1]])

    @property
    def valid(self) -> np.ndarray:
        """Whether nothing failed (finite, positive, and better than lower orders)."""
        return (self.runaway == 0) & (self.indefinite == 0) & self.helps

    @property
    def alarms(self) -> tuple[str, ...]:
        """What failed, one sentence for each width and order with a failure."""
        found = []
        for j, width in enumerate(self.widths):
            for i, order in enumerate(self.orders):
                reasons = []
                if self.runaway[i, j]:
                    reasons.append(
                        f"{self.runaway[i, j]:.0%} of the networks run away, the first at time "
                        f"{self.first[i, j]:.2g}"
                    )
                if self.indefinite[i, j]:
                    reasons.append(f"{self.indefinite[i, j]:.0%} lose a positive kernel")
                if not self.helps[i, j]:
                    reasons.append("a lower order has a smaller error")
                if reasons:
                    found.append(f"width {width}, order {order}: {'; '.join(reasons)}")
        return tuple(found)

    def __str__(self) -> str:
        head = f"{'width':>5} {'order':>5} {'finite':>7} {'positive':>9} {'converges':>10}"
        lines = [f"{head} {'distance':>9} {'± error':>8}"]
        for j, width in enumerate(self.widths):
            for i, order in enumerate(self.orders):
                lines.append(
                    f"{width:>5} {order:>5} {1 - self.runaway[i, j]:>7.0%} "
                    f"{1 - self.indefinite[i, j]:>9.0%} "
                    f"{'yes' if self.helps[i, j] else 'NO':>10} {self.error[i, j]:>9.1e} "
                    f"{self.stderr[i, j]:>8.0e}"
                )
        return "\n".join(lines)

    def plot(self, ax) -> None:
        """Draw the error against the width, a line for each order, open where an alarm is."""
        for i, order in enumerate(self.orders):
            shown = np.where(np.isfinite(self.error[i]), self.error[i], np.nan)
            bars = np.where(np.isfinite(self.stderr[i]), self.stderr[i], 0.0)
            line = ax.errorbar(self.widths, shown, bars, fmt="o-", label=f"order {order}")[0]
            bad = np.where(self.valid[i], np.nan, shown)
            ax.plot(self.widths, bad, "o", color=line.get_color(), mfc="white", zorder=4)
        ax.set(xscale="log", yscale="log", xlabel="width $n$", ylabel="median error of the output")
        ax.set_xticks(self.widths, [str(width) for width in self.widths])
        ax.xaxis.set_minor_locator(NullLocator())


def tangent_validity(
    x,
    y,
    *,
    widths: Sequence[int],
    orders: Sequence[int],
    activation: str,
    time: float,
    networks: int,
    generator: torch.Generator,
    steps: int = 100,
) -> TangentReport:
    r"""Report where the truncated hierarchy describes random networks, and how it fails.

    Parameters
    ----------
    x, y : array_like
        Training inputs (N, d) and labels (N,).
    widths, orders : sequence of int
        Increasing; orders from 2 on.
    activation : str
        As in :func:`tangent_tensors`.
    time, steps
        As in :func:`network_flow`; ten times are recorded, so ``steps`` is a multiple of ten.
    networks : int
        Networks of each width.
    generator : torch.Generator

    Returns
    -------
    TangentReport
        Prints as a table; ``plot(ax)`` draws it, ``alarms`` says what failed.

    Notes
    -----
    The counterpart of the report on moment closures in chapter 5.3: is the truncation finite, is
    its kernel positive, does an order more help, how far is it from exact training? Taught in
    chapter 5.6, "A validity report".
    """
    x, widths, orders = validate.real_tensor(x, "x"), tuple(widths), tuple(orders)
    for name, values, low in (("widths", widths, 1), ("orders", orders, 2)):
        if not values or list(values) != sorted(set(values)):
            raise ValueError(f"{name} is {values}; allowed are increasing whole numbers")
        validate.whole(name, values[0], low=low)
    if x.ndim != 2:
        raise ValueError(f"x has shape {tuple(x.shape)}; allowed is (N, d)")
    flow = {"time": time, "steps": steps, "record": max(1, validate.whole("steps", steps) // 10)}
    shape = (len(orders), len(widths))
    runaway, indefinite, first, error, stderr = (np.zeros(shape) for _ in range(5))
    better = np.ones(shape)
    ranks = np.rint(networks / 2 + np.array([-0.5, 0.5]) * math.sqrt(networks) - 0.5).astype(int)
    low, high = np.clip(ranks, 0, networks - 1)
    for j, width in enumerate(widths):
        weights = sample_weights(
            width, dimension=x.shape[1], networks=networks, generator=generator
        )
        truth = network_flow(weights, x, y, activation=activation, **flow)
        tensors = tangent_tensors(weights, x, order=orders[-1], activation=activation)
        scale = np.linalg.eigvalsh(truth.kernel[:, 0])[:, -1]
        errors = []
        for i, order in enumerate(orders):
            cut = truncated_flow(tensors, y, order=order, allow_divergence=True, **flow)
            lowest = np.linalg.eigvalsh(cut.kernel)[..., 0].min(1)
            runaway[i, j] = np.isfinite(cut.diverged_at).mean()
            first[i, j] = cut.diverged_at.min()
            indefinite[i, j] = (lowest < -ROUNDING * scale).mean()
            own = np.abs(cut.output - truth.output).max((1, 2))
            error[i, j] = np.median(own)
            ordered = np.sort(own)
            finite = np.isfinite(ordered[high])
            stderr[i, j] = (ordered[high] - ordered[low]) / 2 if finite else np.inf
            errors.append(own)
            better[i, j] = (own < errors[-2]).mean() if i else 1.0
    return TangentReport(
        widths, orders, int(networks), runaway, indefinite, first, error, stderr, better
    )
