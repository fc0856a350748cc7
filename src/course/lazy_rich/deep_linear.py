r"""Deep linear networks, solved (chapter 2.1).

A deep linear network multiplies its input by :math:`D` weight matrices. Its output is linear in
the input, its gradient flow is not linear in the weights. From an aligned, balanced start the flow
falls apart into one equation for each singular mode of the task,
:math:`\tau\dot a=D\,a^{2-2/D}(s-a)`, which `deep_linear_mode` solves; `balanced_modes` and
`unbalanced_mode` solve two layers whose modes are coupled, or carry a charge. `descend` is
gradient descent on many such networks at once.

Chapter 2.1 teaches every function here; the formulas follow Saxe, McClelland and Ganguli (2014).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.integrate import quad, solve_ivp

from course import figures, validate
from course.estimates import Estimate
from course.lazy_rich.ensembles import Divergence, several

__all__ = [
    "Training",
    "aligned_start",
    "balanced_modes",
    "charges",
    "deep_linear_mode",
    "descend",
    "draw_modes",
    "finite_step_delay",
    "gaussian_start",
    "greedy_start",
    "growing_part",
    "learning_time",
    "mode_matrix",
    "orthogonal_start",
    "stable_rate",
    "tangent_kernel",
    "unbalanced_mode",
]


def _positive(name: str, values, *, zero: bool = False) -> np.ndarray:
    array = validate.array(name, values, dimensions=None)
    if (array < 0).any() or (not zero and (array == 0).any()):
        raise ValueError(f"{name} is {values!r}; allowed are numbers {'>=' if zero else '>'} 0")
    return array


def _broadcast(**arrays) -> list[np.ndarray]:
    try:
        return list(np.broadcast_arrays(*arrays.values()))
    except ValueError as problem:
        shapes = ", ".join(f"{name} {np.shape(value)}" for name, value in arrays.items())
        raise ValueError(f"{shapes} do not match; allowed are shapes that broadcast") from problem


def _plain(values: np.ndarray) -> float | np.ndarray:
    return float(values) if values.ndim == 0 else values


def _logit_flow(s: float, a0: float, times: np.ndarray, layers: int) -> np.ndarray:
    """Mode strength at sorted times for three or more layers, through log(a / |s - a|)."""
    power = 1 - 2 / layers
    if a0 == s or times[-1] == 0:
        return np.full(times.shape, a0)
    if s == 0:  # no task: the strength decays as a power of time
        return (a0 ** -(1 + power) + (1 + power) * layers * times) ** (-1 / (1 + power))

    def strength(logit):
        return s / (1 + np.exp(-logit)) if a0 < s else s / -np.expm1(-logit)

    # Beyond log(a/|s-a|) = 40 the strength is s to the last bit, and the flow need not go on.
    def arrived(_, logit):
        return logit[0] - 40.0

    arrived.terminal = True
    start = math.log(a0) - math.log(abs(s - a0))
    if start >= 40:
        return np.full(times.shape, s)
    flow = solve_ivp(
        lambda _, logit: layers * s * strength(logit) ** power, (0.0, times[-1]), [start],
        method="DOP853", t_eval=times, events=arrived, rtol=1e-12, atol=1e-12,
    )  # fmt: skip
    if not flow.success:
        raise RuntimeError(f"the mode equation was not solved: {flow.message}")
    result = np.full(times.shape, s)
    if len(flow.t):  # else even the first time lies beyond
        result[: len(flow.t)] = strength(flow.y[0])
    return result


def deep_linear_mode(s, a0, t, tau: float = 1.0, *, layers: int = 2) -> float | np.ndarray:
    r"""Strength of one singular mode of a deep linear network at time ``t``.

    .. math:: \tau\,\dot a=D\,a^{2-2/D}\,(s-a),\qquad a(0)=a_0,

    for :math:`D` layers of weights, from an aligned and balanced start. Two layers have the closed
    form

    .. math:: a(t)=\frac{s}{1+(s/a_0-1)\,e^{-2st/\tau}} .

    Parameters
    ----------
    s : array_like
        Singular value of the input-output correlation, :math:`s\ge0`.
    a0 : array_like
        Strength at the start, :math:`a_0>0`. A mode that starts at zero never leaves it.
    t : array_like
        Time, :math:`t\ge0`: steps of gradient descent times the learning rate. The three broadcast
        against one another.
    tau : float
        Time constant :math:`\tau>0`.
    layers : int
        Layers of weights :math:`D\ge1`, one more than there are hidden layers.

    Returns
    -------
    float or numpy.ndarray
        Of the broadcast shape. Late times give ``s``; nothing overflows.

    Raises
    ------
    ValueError
        For a start that is not positive, negative ``s`` or ``t``, or shapes that do not match.
    RuntimeError
        If the integration fails (three or more layers).

    Notes
    -----
    One and two layers in closed form; otherwise :math:`\log(a/|s-a|)`, which moves at the rate
    :math:`Ds\,a^{1-2/D}/\tau`, is integrated to a relative error of 1e-12. Saxe et al. (2014).
    Taught in chapter 2.1, "One equation per mode".

    Examples
    --------
    >>> print(round(deep_linear_mode(3.0, 1e-3, 1.0), 8))
    0.35571248
    """
    s, a0 = _positive("s", s, zero=True), _positive("a0", a0)
    t, layers = _positive("t", t, zero=True), validate.whole("layers", layers)
    t = t / validate.real("tau", tau, low=0, strict=True)
    s, a0, t = _broadcast(s=s, a0=a0, t=t)
    if layers == 1:
        return _plain(s + (a0 - s) * np.exp(-t))
    if layers == 2:
        decay = np.exp(-2 * s * t)
        safe = np.where(s > 0, s, 1.0)
        grown = np.where(s > 0, -np.expm1(-2 * s * t) / safe, 2 * t)
        return _plain(a0 / (decay + a0 * grown))
    result = np.empty(s.shape)
    for pair in set(zip(s.ravel().tolist(), a0.ravel().tolist(), strict=True)):
        chosen = (s == pair[0]) & (a0 == pair[1])
        times, back = np.unique(t[chosen], return_inverse=True)
        result[chosen] = _logit_flow(*pair, times, layers)[back.ravel()]
    return _plain(result)


def learning_time(s: float, a0: float, a: float, tau: float = 1.0, *, layers: int = 2) -> float:
    r"""Time in which a mode grows from strength ``a0`` to ``a``, by quadrature.

    .. math:: t=\frac{\tau}{D}\int_{a_0}^{a}\frac{da'}{a'^{\,2-2/D}\,(s-a')}

    Parameters
    ----------
    s, a0, a : float
        Singular value, start and end, with :math:`0<a_0\le a<s`.
    tau : float
        Time constant :math:`\tau>0`.
    layers : int
        Layers of weights :math:`D\ge1`.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For strengths that are not in this order.
    RuntimeError
        If the quadrature does not reach a relative error of 1e-9.

    Notes
    -----
    The half-time, at :math:`a=s/2`, is :math:`\tau\log(s/a_0-1)/(2s)` for two layers. Independent
    of `deep_linear_mode`. Taught in chapter 2.1, "Plateaus".

    Examples
    --------
    >>> print(round(learning_time(3.0, 1e-3, 1.5), 8))
    1.33433903
    """
    s = validate.real("s", s, low=0, strict=True)
    a0 = validate.real("a0", a0, low=0, strict=True)
    a = validate.real("a", a, low=a0)
    tau, layers = validate.real("tau", tau, low=0, strict=True), validate.whole("layers", layers)
    if a >= s:
        raise ValueError(f"a is {a!r}; allowed are numbers below s = {s!r}, reached at no time")
    # In x = log a the integrand is smooth over any number of decades.
    value, error = quad(
        lambda x: math.exp((2 / layers - 1) * x) / (s - math.exp(x)), math.log(a0), math.log(a),
        epsabs=0, epsrel=1e-11, limit=500,
    )  # fmt: skip
    if error > 1e-9 * abs(value):
        raise RuntimeError(f"the quadrature has a relative error of {error / abs(value):.2g}")
    return tau * value / layers


def unbalanced_mode(s, a0, charge, t, tau: float = 1.0) -> float | np.ndarray:
    r"""Strength of a two-layer mode whose two weights differ: from rich to lazy.

    The weights :math:`p, q` of one mode conserve the charge :math:`c=p^2-q^2`, and their product
    :math:`a=pq` obeys

    .. math:: \tau\,\dot a=\sqrt{c^2+4a^2}\;(s-a).

    With :math:`z=(p+q)^2=2a+\sqrt{c^2+4a^2}`, :math:`\kappa=\sqrt{4s^2+c^2}` and
    :math:`z_\pm=2s\pm\kappa` the solution is

    .. math:: z(t)=\frac{z_+-z_-B\,e^{-\kappa t/\tau}}{1-B\,e^{-\kappa t/\tau}},\quad
              B=\frac{z(0)-z_+}{z(0)-z_-},\quad a=\frac14\Bigl(z-\frac{c^2}{z}\Bigr).

    Parameters
    ----------
    s : array_like
        Singular value :math:`s>0`.
    a0 : array_like
        Product of the weights at the start: any number, positive if the charge is zero.
    charge : array_like
        The charge :math:`c`; its sign does not matter.
    t : array_like
        Time, :math:`t\ge0`. All four broadcast against one another.
    tau : float
        Time constant :math:`\tau>0`.

    Returns
    -------
    float or numpy.ndarray

    Raises
    ------
    ValueError
        For ``s`` that is not positive, a negative time, or a start with :math:`a_0\le0` and
        charge zero.

    Notes
    -----
    The sigmoid of `deep_linear_mode` at :math:`c=0`; for :math:`|c|\gg s` the exponential
    :math:`s-(s-a_0)e^{-|c|t/\tau}` of a network whose tangent kernel stays at :math:`|c|`. Derived
    in chapter 2.1, "A charge makes it lazy".

    Examples
    --------
    >>> print(round(unbalanced_mode(3.0, 0.0, 1.0, 0.5), 8))
    1.99104088
    """
    s, t = _positive("s", s), _positive("t", t, zero=True)
    t = t / validate.real("tau", tau, low=0, strict=True)
    a0 = validate.array("a0", a0, dimensions=None)
    charge = np.abs(validate.array("charge", charge, dimensions=None))
    s, a0, charge, t = _broadcast(s=s, a0=a0, charge=charge, t=t)
    if ((charge == 0) & (a0 <= 0)).any():
        raise ValueError("a0 is not positive where charge is 0; allowed are numbers > 0 there")
    root = np.hypot(charge, 2 * a0)
    safe = np.where(a0 < 0, root - 2 * a0, 1.0)
    start = np.where(a0 < 0, charge**2 / safe, 2 * a0 + root)
    kappa = np.hypot(2 * s, charge)
    upper = 2 * s + kappa
    lower = -(charge**2) / upper
    decay = (start - upper) / (start - lower) * np.exp(-kappa * t)
    z = (upper - lower * decay) / (1 - decay)
    return _plain((z - charge**2 / z) / 4)


def finite_step_delay(s, a0, a, *, learning_rate: float, layers: int = 2) -> float | np.ndarray:
    r"""How much later than gradient flow gradient descent reaches strength ``a``.

    .. math:: \delta t=\frac{\eta}{2}\,\log\frac{v(w)}{v(w_0)}+O(\eta^2),\qquad
              v(w)=w^{D-1}(s-w^D),\quad w=a^{1/D},

    where :math:`v` is the velocity of each weight of a balanced, aligned mode.

    Parameters
    ----------
    s, a0, a : array_like
        Singular value, strength at the start and at the time in question: both between 0 and s.
    learning_rate : float
        Step :math:`\eta>0`, in units in which :math:`\tau=1`.
    layers : int
        Layers of weights :math:`D\ge1`.

    Returns
    -------
    float or numpy.ndarray

    Raises
    ------
    ValueError
        For a strength that is not between 0 and ``s``.

    Notes
    -----
    A step :math:`w+\eta v` is, to second order, time :math:`\eta` of the flow with the velocity
    :math:`v-\frac\eta2vv'`, which takes the time :math:`\int(1+\frac\eta2v')\,dw/v`. Derived in
    chapter 2.1, "One equation per mode".
    """
    s, a0, a = _broadcast(s=_positive("s", s), a0=_positive("a0", a0), a=_positive("a", a))
    for name, value in (("a0", a0), ("a", a)):
        if (value >= s).any():
            raise ValueError(f"{name} is {value}; allowed are numbers below s = {s}")
    eta = validate.real("learning_rate", learning_rate, low=0, strict=True)
    layers = validate.whole("layers", layers)
    growth = (1 - 1 / layers) * np.log(a / a0) + np.log((s - a) / (s - a0))
    return _plain(eta / 2 * growth)


def balanced_modes(s, start, t, tau: float = 1.0) -> np.ndarray:
    r"""All modes of a balanced two-layer network at once, coupled through the hidden layer.

    .. math:: \tau\dot A=(S-A)A+A(S-A),\qquad
              A(t)^{-1}=S^{-1}+e^{-St/\tau}\bigl(A(0)^{-1}-S^{-1}\bigr)e^{-St/\tau},

    with :math:`S=\mathrm{diag}(s)`: the inverse of the mode matrix moves linearly.

    Parameters
    ----------
    s : array_like, shape (modes,)
        Singular values, each :math:`>0`.
    start : array_like, shape (..., modes, modes)
        The symmetric, positive definite mode matrix :math:`A(0)`.
    t : float or array_like, shape (times,)
        Times, :math:`t\ge0`.
    tau : float
        Time constant :math:`\tau>0`.

    Returns
    -------
    numpy.ndarray, shape ([times,] ..., modes, modes)

    Raises
    ------
    ValueError
        For a start that is not symmetric and positive definite.

    Notes
    -----
    A diagonal start gives the sigmoids of `deep_linear_mode`. Derived in chapter 2.1, "Random
    starts align".
    """
    s = _positive("s", s)
    start = validate.array("start", start, dimensions=None)
    if s.ndim != 1 or start.shape[-2:] != (len(s), len(s)):
        raise ValueError(
            f"start has shape {start.shape}, s {s.shape}; allowed are (..., k, k) and (k,)"
        )
    size = np.abs(start).max()
    if not np.allclose(start, start.swapaxes(-1, -2), rtol=0, atol=1e-10 * size):
        raise ValueError(
            "start is not symmetric; allowed are symmetric, positive definite matrices"
        )
    if not (np.linalg.eigvalsh(start) > 1e-14 * size).all():
        raise ValueError(
            "start has an eigenvalue that is not positive; allowed are positive definite matrices "
            "(at least as many hidden neurons as modes)"
        )
    t = _positive("t", t, zero=True) / validate.real("tau", tau, low=0, strict=True)
    if t.ndim > 1:
        raise ValueError(f"t has shape {t.shape}; allowed are () and (times,)")
    decay = np.exp(-s * t[..., None])
    decay = decay.reshape(*t.shape, *(1,) * (start.ndim - 2), len(s))
    rest = np.diag(1 / s)
    inverse = rest + decay[..., :, None] * (np.linalg.inv(start) - rest) * decay[..., None, :]
    return np.linalg.inv(inverse)


def growing_part(weights, correlation) -> np.ndarray:
    r"""Effective mode matrix of a small two-layer start: the part that will grow.

    .. math:: A_{\alpha\beta}=q_\alpha\cdot q_\beta,\qquad
              q_\alpha=\tfrac12\bigl(W^1v_\alpha+(W^2)^\top u_\alpha\bigr)

    Parameters
    ----------
    weights : list of two array_like, each (n_l, n_{l-1}) or (networks, n_l, n_{l-1})
        First layer first.
    correlation : array_like, shape (outputs, inputs)
        :math:`\Sigma^{yx}=\sum_\alpha s_\alpha u_\alpha v_\alpha^\top`.

    Returns
    -------
    numpy.ndarray, shape ([networks,] modes, modes)

    Notes
    -----
    While the output is small, :math:`q_\alpha` grows as :math:`e^{s_\alpha t/\tau}` and the
    difference of its two terms decays at the same rate. Derived in chapter 2.1, "Random starts
    align".
    """
    layers = [w.numpy() for w in _weights(weights)]
    if len(layers) != 2:
        raise ValueError(f"weights has {len(layers)} layers; allowed are two")
    sigma = validate.array("correlation", correlation, dimensions=2, empty=False)
    expected = layers[1].shape[-2], layers[0].shape[-1]
    if sigma.shape != expected:
        raise ValueError(f"correlation has shape {sigma.shape}; allowed is {expected}")
    u, _, vt = np.linalg.svd(sigma, full_matrices=False)
    growing = (layers[0] @ vt.T + layers[1].swapaxes(-1, -2) @ u) / 2
    return growing.swapaxes(-1, -2) @ growing


def stable_rate(s: float, *, layers: int) -> float:
    r"""Largest learning rate at which gradient descent stays at a learned mode.

    .. math:: \eta_c=\frac{2}{D\,s^{2-2/D}}

    Parameters
    ----------
    s : float
        The largest singular value, :math:`s>0`.
    layers : int
        Layers of weights :math:`D\ge1`.

    Returns
    -------
    float

    Notes
    -----
    Two over the curvature of the loss along the :math:`D` weights of a balanced, aligned mode, of
    which each is :math:`s^{1/D}`. Taught in chapter 2.1, "Where it breaks".
    """
    s = validate.real("s", s, low=0, strict=True)
    layers = validate.whole("layers", layers)
    return 2 / (layers * s ** (2 - 2 / layers))


def _weights(weights) -> list[torch.Tensor]:
    if isinstance(weights, np.ndarray | torch.Tensor) or not isinstance(weights, Sequence):
        raise ValueError(
            "weights is no list; allowed is one array for each layer, first layer first"
        )
    if not weights:
        raise ValueError("weights is empty; allowed is a list with one array for each layer")
    layers = [
        torch.as_tensor(validate.array(f"weights[{i}]", w, dimensions=(2, 3), empty=False))
        for i, w in enumerate(weights)
    ]
    for i, (below, above) in enumerate(zip(layers[:-1], layers[1:], strict=True)):
        if above.shape[-1] != below.shape[-2] or above.shape[:-2] != below.shape[:-2]:
            raise ValueError(
                f"weights[{i + 1}] has shape {tuple(above.shape)} above {tuple(below.shape)}; "
                f"allowed is {(*below.shape[:-2], above.shape[-2], below.shape[-2])}"
            )
    return layers


def _square(name: str, value, size: int) -> np.ndarray:
    array = validate.array(name, value, dimensions=2)
    if array.shape != (size, size):
        raise ValueError(f"{name} has shape {array.shape}; allowed is {(size, size)}")
    return array


@dataclass(frozen=True)
class Training:
    """Gradient descent on one or many deep linear networks.

    Attributes
    ----------
    steps : numpy.ndarray
        The steps at which products were recorded, shape (snapshots,).
    products : numpy.ndarray
        The product of all weight matrices at these steps, shape (snapshots, outputs, inputs), or
        (snapshots, networks, outputs, inputs) for many networks.
    loss : numpy.ndarray
        Half the squared distance to the best linear map, weighted by the covariance of the inputs,
        before every step and at the end; shape (steps + 1,) or (steps + 1, networks). Infinite from
        the step of divergence on.
    weights : list of numpy.ndarray
        The trained weights, first layer first.
    diverged_at : numpy.ndarray
        Step at which a network diverged, shape () or (networks,); -1 if it did not.
    """

    steps: np.ndarray
    products: np.ndarray
    loss: np.ndarray
    weights: list[np.ndarray]
    diverged_at: np.ndarray


def _chain(weights: list[torch.Tensor]) -> list[torch.Tensor]:
    """Products of the first 0, 1, ..., D layers; the first is the identity."""
    identity = torch.eye(weights[0].shape[-1], dtype=torch.float64)
    partial = [identity.expand(*weights[0].shape[:-2], *identity.shape)]
    for w in weights:
        partial.append(w @ partial[-1])
    return partial


def descend(
    weights,
    correlation,
    *,
    learning_rate,
    steps: int,
    covariance=None,
    record: Sequence[int] | None = None,
    allow_divergence: bool = False,
) -> Training:
    r"""Full-batch gradient descent on deep linear networks, many at once.

    .. math::

        W^l\leftarrow W^l+\eta\,(W^D\cdots W^{l+1})^\top
        \bigl(\Sigma^{yx}-W^D\cdots W^1\Sigma^{xx}\bigr)(W^{l-1}\cdots W^1)^\top

    Parameters
    ----------
    weights : list of array_like, each (n_l, n_{l-1}) or (networks, n_l, n_{l-1})
        The start, first layer first. It is not changed.
    correlation : array_like, shape (outputs, inputs)
        Input-output correlation :math:`\Sigma^{yx}=\mathrm E[y\,x^\top]`.
    learning_rate : float or array_like, shape (networks,)
        Step :math:`\eta>0`: one for all, or one for each network.
    steps : int
        Number of steps.
    covariance : array_like, shape (inputs, inputs), optional
        :math:`\Sigma^{xx}=\mathrm E[x\,x^\top]`, positive definite; white inputs by default.
    record : sequence of int, optional
        Increasing steps at which to keep the product; the start and the end by default.
    allow_divergence : bool
        Mark networks that diverge instead of raising.

    Returns
    -------
    Training

    Raises
    ------
    ValueError
        For shapes that do not match, a learning rate that is not positive, or recorded steps out of
        range.
    course.lazy_rich.ensembles.Divergence
        If a loss is not finite, or exceeds one million and one million times its start.

    Notes
    -----
    Saxe et al. (2014). Taught in chapter 2.1, "One equation per mode".
    """
    layers = _weights(weights)
    batch = tuple(layers[0].shape[:-2])
    inputs, outputs = layers[0].shape[-1], layers[-1].shape[-2]
    sigma_yx = validate.array("correlation", correlation, dimensions=2, empty=False)
    if sigma_yx.shape != (outputs, inputs):
        raise ValueError(
            f"correlation has shape {sigma_yx.shape}; allowed is {(outputs, inputs)} to match "
            "the weights"
        )
    sigma_xx = np.eye(inputs) if covariance is None else _square("covariance", covariance, inputs)
    if covariance is not None and np.linalg.eigvalsh((sigma_xx + sigma_xx.T) / 2)[0] <= 0:
        raise ValueError(
            "covariance has an eigenvalue <= 0; allowed are positive definite matrices"
        )
    rates = _positive("learning_rate", learning_rate)
    if rates.shape not in ((), batch):
        raise ValueError(f"learning_rate has shape {rates.shape}; allowed are () and {batch}")
    steps = validate.whole("steps", steps, low=0)
    given = [0, steps] if record is None else several("record", record)
    marks = [validate.whole("record", k, low=0) for k in given]
    marks = sorted(set(marks)) if record is None else marks
    if not marks or marks != sorted(set(marks)) or marks[-1] > steps:
        raise ValueError(f"record is {record!r}; allowed are increasing steps from 0 to {steps}")
    target = torch.as_tensor(np.linalg.solve(sigma_xx, sigma_yx.T).T.copy())
    xx = torch.as_tensor(sigma_xx)
    rate = torch.as_tensor(rates.copy())[..., None, None]
    layers = [w.clone() for w in layers]
    active = torch.ones(batch, dtype=torch.bool)
    diverged = torch.full(batch, -1)
    losses, kept, products = [], [], []
    for step in range(steps + 1):
        partial = _chain(layers)
        error = partial[-1] - target
        delta = error @ xx
        loss = 0.5 * (delta * error).sum((-1, -2))
        first = losses[0] if losses else loss
        bad = active & ~(loss <= 1e6 * torch.clamp(first, min=1.0))
        if bad.any():
            if not allow_divergence:
                which = bad.reshape(-1).nonzero().reshape(-1).tolist()
                raise Divergence(step, which, float(np.broadcast_to(rates, batch).flat[which[0]]))
            diverged[bad], active = step, active & ~bad
        losses.append(torch.where(active, loss, torch.inf))
        last = step == steps or not active.any()
        if step in marks or (last and record is None and step not in kept):
            kept.append(step)
            products.append(partial[-1].numpy().copy())
        if last:
            break
        for i in range(len(layers) - 1, -1, -1):
            change = rate * (delta @ partial[i].mT)
            delta = layers[i].mT @ delta
            layers[i] = torch.where(active[..., None, None], layers[i] - change, layers[i])
    shape = (len(products), *batch, outputs, inputs)
    return Training(
        np.array(kept), np.array(products).reshape(shape), torch.stack(losses).numpy(),
        [w.numpy() for w in layers], diverged.numpy(),
    )  # fmt: skip


def mode_matrix(products, correlation) -> np.ndarray:
    r"""Network products in the singular basis of the task.

    .. math:: A_{\alpha\beta}=u_\alpha^\top W\,v_\beta,\qquad
              \Sigma^{yx}=\sum_\alpha s_\alpha u_\alpha v_\alpha^\top

    Parameters
    ----------
    products : array_like, shape (..., outputs, inputs)
        Products of the weight matrices.
    correlation : array_like, shape (outputs, inputs)
        :math:`\Sigma^{yx}`.

    Returns
    -------
    numpy.ndarray, shape (..., modes, modes)
        Mode strengths on the diagonal, couplings beside it; the largest singular value first.

    Notes
    -----
    Taught in chapter 2.1, "One equation per mode".
    """
    sigma = validate.array("correlation", correlation, dimensions=2, empty=False)
    products = validate.array("products", products, dimensions=None)
    if products.shape[-2:] != sigma.shape:
        raise ValueError(f"products has shape {products.shape}; allowed is (..., {sigma.shape})")
    u, _, vt = np.linalg.svd(sigma, full_matrices=False)
    return u.T @ products @ vt.T


def charges(weights) -> list[np.ndarray]:
    r"""The conserved quantities of gradient flow, one matrix for each hidden layer.

    .. math:: C^l=(W^{l+1})^\top W^{l+1}-W^l(W^l)^\top

    Parameters
    ----------
    weights : list of array_like, each (n_l, n_{l-1}) or (networks, n_l, n_{l-1})
        First layer first.

    Returns
    -------
    list of numpy.ndarray, each ([networks,] n_l, n_l)
        All zero for a balanced network. A step of gradient descent changes :math:`C^l` by
        :math:`\eta^2\bigl[(G^{l+1})^\top G^{l+1}-G^l(G^l)^\top\bigr]`, with the gradients
        :math:`G^l`.

    Notes
    -----
    For two layers in Saxe et al. (2014). Taught in chapter 2.1, "What is conserved".
    """
    layers = [w.numpy() for w in _weights(weights)]
    return [
        above.swapaxes(-1, -2) @ above - below @ below.swapaxes(-1, -2)
        for below, above in zip(layers[:-1], layers[1:], strict=True)
    ]


def tangent_kernel(weights, x1, x2=None) -> np.ndarray:
    r"""Tangent kernel of deep linear networks, summed over layers.

    .. math:: \hat\Theta(x,x')=\sum_{l=1}^{D}
              (h^{l-1}\!\cdot h'^{\,l-1})\;W^{D:l+1}(W^{D:l+1})^\top,
              \qquad h^l=W^l\cdots W^1x

    Parameters
    ----------
    weights : list of array_like, each (n_l, n_{l-1}) or (networks, n_l, n_{l-1})
        First layer first.
    x1, x2 : array_like, shape (points, inputs)
        Inputs; ``x2`` is ``x1`` by default.

    Returns
    -------
    numpy.ndarray, shape ([networks,] points * outputs, points * outputs)
        Rows run over the points, and over the outputs within a point.

    Notes
    -----
    :math:`W^{D:l+1}` is the product of the layers above layer l. Derived in chapter 2.1,
    "Where on the dial".
    """
    layers = _weights(weights)
    left = torch.as_tensor(validate.array("x1", x1, dimensions=2, empty=False))
    right = left if x2 is None else torch.as_tensor(validate.array("x2", x2, dimensions=2))
    for name, points in (("x1", left), ("x2", right)):
        if points.shape[1] != layers[0].shape[-1]:
            raise ValueError(
                f"{name} has {points.shape[1]} inputs per point; allowed is {layers[0].shape[-1]}"
            )
    above = torch.eye(layers[-1].shape[-2], dtype=torch.float64)
    partial, kernel = _chain(layers), 0.0
    for i in range(len(layers) - 1, -1, -1):
        hidden = partial[i] @ left.T, partial[i] @ right.T
        overlap, backward = hidden[0].mT @ hidden[1], above @ above.mT
        kernel = kernel + torch.einsum("...ij,...ab->...iajb", overlap, backward)
        above = above @ layers[i]
    outputs = layers[-1].shape[-2]
    return kernel.reshape(*layers[0].shape[:-2], len(left) * outputs, len(right) * outputs).numpy()


def _sizes(widths) -> list[int]:
    if not isinstance(widths, Sequence | np.ndarray) or len(widths) < 2:
        raise ValueError(f"widths is {widths!r}; allowed are two or more layer sizes")
    return [validate.whole("widths", n) for n in widths]


def _haar(rows: int, columns: int, networks: int, rng: np.random.Generator) -> np.ndarray:
    """Random matrices with orthonormal rows or columns, whichever are fewer."""
    tall = max(rows, columns), min(rows, columns)
    q, r = np.linalg.qr(rng.standard_normal((networks, *tall)))
    q = q * np.sign(np.diagonal(r, axis1=-2, axis2=-1))[:, None, :]
    return q if rows >= columns else q.swapaxes(-1, -2)


def aligned_start(
    correlation, a0, *, layers: int, width: int, rng: np.random.Generator
) -> list[np.ndarray]:
    r"""A start from which the modes of a task never mix.

    .. math:: W^l=R^{l}\,\mathrm{diag}(a_0^{1/D})\,(R^{l-1})^\top,\qquad R^0=V,\quad R^D=U

    Parameters
    ----------
    correlation : array_like, shape (outputs, inputs)
        :math:`\Sigma^{yx}=U\,\mathrm{diag}(s)\,V^\top`.
    a0 : float or array_like, shape (modes,)
        Strengths at the start, each :math:`>0`.
    layers : int
        Layers of weights :math:`D\ge1`.
    width : int
        Neurons in each hidden layer, at least as many as there are modes.
    rng : numpy.random.Generator
        Source of the hidden frames :math:`R^l`, which have orthonormal columns.

    Returns
    -------
    list of numpy.ndarray, each (n_l, n_{l-1})
        First layer first.

    Notes
    -----
    The decoupled starts of Saxe et al. (2014). Taught in chapter 2.1, "One equation per mode".
    """
    sigma = validate.array("correlation", correlation, dimensions=2, empty=False)
    layers, width = validate.whole("layers", layers), validate.whole("width", width)
    rng = validate.generator("rng", rng, np.random.Generator)
    u, s, vt = np.linalg.svd(sigma, full_matrices=False)
    strengths = _positive("a0", a0)
    if strengths.shape not in ((), s.shape):
        raise ValueError(f"a0 has shape {strengths.shape}; allowed are () and {s.shape}")
    if width < len(s):
        raise ValueError(f"width is {width}; allowed are at least as many as modes, {len(s)}")
    frames = [vt.T, *(_haar(width, len(s), 1, rng)[0] for _ in range(layers - 1)), u]
    root = np.broadcast_to(strengths, s.shape) ** (1 / layers)
    return [above * root @ below.T for below, above in zip(frames[:-1], frames[1:], strict=True)]


def gaussian_start(
    widths, *, networks: int, deviation=None, rng: np.random.Generator
) -> list[np.ndarray]:
    r"""Independent normal weights.

    Parameters
    ----------
    widths : sequence of int
        Layer sizes from the inputs to the outputs.
    networks : int
        How many networks.
    deviation : float, optional
        Standard deviation of every weight; by default :math:`1/\sqrt{n_{l-1}}` in layer l, which
        keeps the mean square of a signal.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    list of numpy.ndarray, each (networks, n_l, n_{l-1})

    Notes
    -----
    Taught in chapter 2.1, "Random starts align".
    """
    sizes, networks = _sizes(widths), validate.whole("networks", networks)
    rng = validate.generator("rng", rng, np.random.Generator)
    if deviation is not None:
        deviation = validate.real("deviation", deviation, low=0, strict=True)
    return [
        rng.standard_normal((networks, rows, columns)) * (deviation or columns**-0.5)
        for columns, rows in zip(sizes[:-1], sizes[1:], strict=True)
    ]


def orthogonal_start(
    widths, *, networks: int, gain: float = 1.0, rng: np.random.Generator
) -> list[np.ndarray]:
    r"""Uniformly random orthogonal weights; rows or columns are orthonormal in a layer that is not
    square.

    Parameters
    ----------
    widths : sequence of int
        Layer sizes from the inputs to the outputs.
    networks : int
        How many networks.
    gain : float
        Singular value of every layer, :math:`>0`.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    list of numpy.ndarray, each (networks, n_l, n_{l-1})

    Notes
    -----
    Saxe et al. (2014). Taught in chapter 2.1, "Depth without delay".
    """
    sizes, networks = _sizes(widths), validate.whole("networks", networks)
    rng = validate.generator("rng", rng, np.random.Generator)
    gain = validate.real("gain", gain, low=0, strict=True)
    return [
        gain * _haar(rows, columns, networks, rng)
        for columns, rows in zip(sizes[:-1], sizes[1:], strict=True)
    ]


def greedy_start(
    widths,
    *,
    networks: int,
    covariance=None,
    deviation: float = 0.01,
    learning_rate: float,
    steps: int,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    r"""Greedy layer-by-layer pre-training: every layer first learns to rebuild its input.

    Layer l and a decoder are trained as a linear autoencoder, from small random weights, on the
    activity that the layers below it, already trained, pass on. The decoders are then dropped. The
    last layer is random orthogonal: there is no input for it to rebuild.

    Parameters
    ----------
    widths : sequence of int
        Layer sizes from the inputs to the outputs.
    networks : int
        How many networks.
    covariance : array_like, shape (inputs, inputs), optional
        Covariance of the inputs; white by default.
    deviation : float
        Standard deviation of all weights before the training.
    learning_rate, steps : float, int
        Gradient descent on each autoencoder.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    list of numpy.ndarray, each (networks, n_l, n_{l-1})

    Raises
    ------
    course.lazy_rich.ensembles.Divergence
        If the learning rate is too large for an autoencoder.

    Notes
    -----
    Saxe et al. (2014). Taught in chapter 2.1, "Greedy pre-training".
    """
    sizes, networks = _sizes(widths), validate.whole("networks", networks)
    rng = validate.generator("rng", rng, np.random.Generator)
    rate = validate.real("learning_rate", learning_rate, low=0, strict=True)
    steps = validate.whole("steps", steps)
    below = np.eye(sizes[0]) if covariance is None else _square("covariance", covariance, sizes[0])
    sigma = torch.as_tensor(np.broadcast_to(below, (networks, sizes[0], sizes[0])).copy())
    weights = []
    for columns, rows in zip(sizes[:-2], sizes[1:-1], strict=True):
        both = gaussian_start(
            [columns, rows, columns], networks=networks, deviation=deviation, rng=rng
        )
        encoder, decoder = map(torch.as_tensor, both)
        for step in range(steps):
            error = (decoder @ encoder - torch.eye(columns, dtype=torch.float64)) @ sigma
            bad = ~(error.abs().amax((-1, -2)) < 1e6)
            if bad.any():
                raise Divergence(step, bad.nonzero().reshape(-1).tolist(), rate)
            encoder, decoder = (
                encoder - rate * decoder.mT @ error,
                decoder - rate * error @ encoder.mT,
            )
        weights.append(encoder.numpy())
        sigma = encoder @ sigma @ encoder.mT
    weights.append(_haar(sizes[-1], sizes[-2], networks, rng))
    return weights


def draw_modes(ax, times, theory, seen_times, seen, *, labels=None, **settings) -> None:
    """Draw mode strengths against time: a line for each mode, and points for the simulation.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    times, theory : array_like, shapes (times,) and (times, modes)
        The theory curves.
    seen_times, seen : array_like, shapes (points,) and (points, modes), or an Estimate of it
        The simulation.
    labels : sequence of str, optional
        What the modes are called.
    **settings
        Go to ``ax.set``.

    Notes
    -----
    Used in chapter 2.1, all sections.
    """
    value, stderr = (seen.value, seen.stderr) if isinstance(seen, Estimate) else (seen, None)
    for mode in range(np.shape(theory)[1]):
        color = figures.COLORS[mode]
        error = None if stderr is None else stderr[:, mode]
        figures.simulation(ax, seen_times, value[:, mode], error, color=color, markersize=3.5)
        label = None if labels is None else labels[mode]
        figures.theory(ax, times, theory[:, mode], color=color, label=label)
    ax.set(**{"xlabel": "time $t$"} | settings)
