r"""Parametrisations of wide networks, and how far features move in each; taught in chapter 2.3.

A parametrisation says with which power of the width :math:`n` multipliers, initial weights and
learning rate shrink. Powers alone decide whether features move in the limit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from course import figures, validate
from course.estimates import Estimate, fit_exponent
from course.lazy_rich.ensembles import OPTIMIZERS, DenseEnsemble, several, train
from course.lazy_rich.measures import kernel_alignment, kernel_distance, weight_change

__all__ = [
    "PHASES", "CoordinateCheck", "DialSweep", "Exponents", "Parametrization", "RateSweep",
    "ResidualRun", "coordinate_check", "dial_sweep", "draw_plane", "linear_limit", "linear_loss",
    "networks_at_a_time", "on_the_plane", "rate_record", "rate_sweep", "residual_gram",
    "residual_training", "wave_data",
]  # fmt: skip

PHASES = ("unstable", "trivial", "kernel", "feature learning")
"""What a parametrisation can be; see :meth:`Parametrization.phase`."""

MEMORY_BUDGET = 2**25
"""Bytes of weights, gradients and moments that the sweeps over widths hold at a time.

Small enough for a processor's cache: twice as fast as all networks at once. A single network may
need more.
"""

_POWER = {"sgd": 2, "adam": 1}
_SLACK = 1e-9


class Exponents(NamedTuple):
    """How updates shrink with the width; each size goes as the width to minus the number.

    Attributes
    ----------
    hidden : tuple of float
        For the preactivations of each hidden layer that moves, what comes from the layers below
        included.
    output : float
        For the output.
    """

    hidden: tuple[float, ...]
    output: float

    @property
    def slopes(self) -> np.ndarray:
        """Slopes against the width on logarithmic axes, hidden layers first, the output last."""
        return 0.0 - np.array([*self.hidden, self.output])  # no negative zeros


@dataclass(frozen=True)
class Parametrization:
    r"""An (a, b, c) parametrisation of a bias-free dense network of width :math:`n`.

    .. math::

        h^1=\frac{n^{-a_1}}{\sqrt d}W^1x,\quad h^l=n^{-a_l}W^l\phi(h^{l-1}),\quad
        f=n^{-a_{L+1}}W^{L+1}\phi(h^L)

    .. math:: W^l_{ij}\sim\mathcal N(0,n^{-2b_l}),\qquad \text{learning rate }\eta\,n^{-c}

    Parameters
    ----------
    a, b : sequence of float
        One entry for each of the :math:`L+1` layers of weights, input layer first. The last of
        ``b`` may be infinite: a readout that starts at zero.
    c : float or sequence of float
        One exponent for all layers, or one for each.

    Attributes
    ----------
    sp, ntp, mup : Parametrization
        Standard, tangent-kernel and maximal-update parametrisation (for SGD), two hidden layers;
        :meth:`at_depth` gives other depths.
    mean_field : Parametrization
        One hidden layer.
    mup_adam : Parametrization
        The maximal update for Adam, two hidden layers.

    Raises
    ------
    ValueError
        For exponents that are not finite, or tuples of different lengths or shorter than two.

    Notes
    -----
    The family and the presets are those of Yang and Hu, "Feature Learning in Infinite-Width
    Neural Networks" (2020), section 3; ``mup_adam`` is derived in the chapter.
    Taught in chapter 2.3, "Three exponents".
    """

    a: tuple[float, ...]
    b: tuple[float, ...]
    c: float | tuple[float, ...]

    sp: ClassVar[Parametrization]
    ntp: ClassVar[Parametrization]
    mup: ClassVar[Parametrization]
    mean_field: ClassVar[Parametrization]
    mup_adam: ClassVar[Parametrization]

    def __post_init__(self) -> None:
        for name in ("a", "b"):
            value = getattr(self, name)
            if not isinstance(value, list | tuple | np.ndarray) or len(value) < 2:
                raise ValueError(
                    f"{name} is {value!r}; allowed is one number for each of two or more layers "
                    "of weights"
                )
        count = len(self.a)
        if len(self.b) != count:
            raise ValueError(
                f"b has {len(self.b)} entries; allowed is one for each of the {count} entries of a"
            )
        a = tuple(validate.real("a", value) for value in self.a)
        b = [validate.real("b", value) for value in self.b[:-1]]
        b.append(validate.real("b", self.b[-1], infinite=True))
        if b[-1] == -math.inf:
            raise ValueError("b is -inf for the readout; allowed are numbers and inf")
        if isinstance(self.c, list | tuple | np.ndarray):
            c = tuple(validate.real("c", value) for value in self.c)
            if len(c) != count:
                raise ValueError(
                    f"c has {len(c)} entries; allowed is one number, or one for each of the "
                    f"{count} layers of weights"
                )
        else:
            c = validate.real("c", self.c)
        for name, value in (("a", a), ("b", tuple(b)), ("c", c)):
            object.__setattr__(self, name, value)

    @property
    def depth(self) -> int:
        """Number of hidden layers, :math:`L`."""
        return len(self.a) - 1

    @property
    def layer_c(self) -> tuple[float, ...]:
        """The exponent of the learning rate of each layer of weights."""
        return self.c if isinstance(self.c, tuple) else (self.c,) * len(self.a)

    def at_depth(self, depth: int) -> Parametrization:
        """The same parametrisation for another number of hidden layers.

        Parameters
        ----------
        depth
            Number of hidden layers, at least 1. The weights between two hidden layers all get the
            exponents that they have here; with one hidden layer there are none.

        Returns
        -------
        Parametrization

        Raises
        ------
        ValueError
            If layers are asked for whose exponents are not given, because there is no hidden layer
            of weights to repeat or because those here differ.
        """
        depth = validate.whole("depth", depth)
        if depth == self.depth:
            return self
        rows = list(zip(self.a, self.b, self.layer_c, strict=True))
        middle = set(rows[1:-1])
        if depth > 1 and len(middle) != 1:
            raise ValueError(
                f"depth is {depth}; allowed is {self.depth if middle else 1} where the "
                f"parametrisation has {len(middle)} kinds of weights between hidden layers"
            )
        rows = [rows[0], *list(middle) * (depth - 1), rows[-1]]
        a, b, c = (tuple(row[i] for row in rows) for i in range(3))
        return Parametrization(a, b, c if isinstance(self.c, tuple) else self.c)

    def shifted(self, theta, optimizer: str = "sgd") -> Parametrization:
        r"""Another parametrisation that trains the same functions.

        .. math:: a_l\to a_l+\theta_l,\quad b_l\to b_l-\theta_l,\quad
            c_l\to c_l-2\theta_l\ \text{(SGD)},\quad c_l-\theta_l\ \text{(Adam with }\epsilon=0)

        Parameters
        ----------
        theta : float or sequence of float
            One shift for all layers, or one for each; then ``c`` becomes a tuple.
        optimizer : {"sgd", "adam"}

        Returns
        -------
        Parametrization
        """
        validate.choice("optimizer", optimizer, OPTIMIZERS)
        power = _POWER[optimizer]
        if isinstance(theta, list | tuple | np.ndarray):
            if len(theta) != len(self.a):
                raise ValueError(f"theta has {len(theta)} entries; allowed are {len(self.a)}")
            shifts = [validate.real("theta", value) for value in theta]
            c = tuple(c - power * t for c, t in zip(self.layer_c, shifts, strict=True))
        else:
            shift = validate.real("theta", theta)
            shifts = [shift] * len(self.a)
            c = tuple(value - power * shift for value in self.layer_c)
            c = c if isinstance(self.c, tuple) else c[0]
        a = tuple(value + t for value, t in zip(self.a, shifts, strict=True))
        b = tuple(value - t for value, t in zip(self.b, shifts, strict=True))
        return Parametrization(a, b, c)

    def _own(self, optimizer: str, first_step: bool) -> list[float]:
        """Exponents of what each hidden layer's own update does to its preactivations."""
        power, rates = _POWER[optimizer], self.layer_c
        signal = 0.0
        if optimizer == "sgd":
            signal = self._readout(optimizer, first_step)
        return [
            signal + c - 1 + power * a + (layer == 0)
            for layer, (a, c) in enumerate(zip(self.a[:-1], rates[:-1], strict=True))
        ]

    def _readout(self, optimizer: str, first_step: bool) -> float:
        """Exponent of an entry of the effective readout: as drawn, or as learned."""
        start = self.a[-1] + self.b[-1]
        learned = _POWER[optimizer] * self.a[-1] + self.layer_c[-1]
        return start if first_step else min(start, learned)

    def exponents(
        self, optimizer: str = "sgd", *, first_step: bool = False, trained: int | None = None
    ) -> Exponents:
        r"""Exponents of the updates of every layer and of the output.

        With the readout's exponent :math:`p=\min(a_{L+1}+b_{L+1},\,2a_{L+1}+c)`, the own update
        of hidden layer :math:`l` has the exponent

        .. math:: p+c-1+2a_l+1_{l=1}\ \text{(SGD)},\qquad c-1+a_l+1_{l=1}\ \text{(Adam)};

        layers pass on what comes from below, so that :math:`\Delta h^l` has the minimum over the
        layers up to :math:`l`, and the output :math:`\min(2a_{L+1}+c-1,\;p+r-1)`, with
        :math:`a_{L+1}` in place of :math:`2a_{L+1}` for Adam.

        Parameters
        ----------
        optimizer : {"sgd", "adam"}
            Adam without its epsilon.
        first_step
            Whether only one step was taken: then :math:`p=a_{L+1}+b_{L+1}`.
        trained
            Number of the only layer of weights that is trained, from 1 to L + 1; all unless told.
            Then each size is a single power: hidden layers from that one on have its own exponent.

        Returns
        -------
        Exponents

        Notes
        -----
        To first order in the learning rate; the start must be stable
        (:math:`a_1+b_1=0`, :math:`a_l+b_l=\frac12`). SGD's exponents are those of
        Yang and Hu (2020), section 3; Adam's are derived in chapter 2.3, "Adam".
        """
        validate.choice("optimizer", optimizer, OPTIMIZERS)
        learned = _POWER[optimizer] * self.a[-1] + self.layer_c[-1] - 1
        if trained is not None:
            layer = _layer(trained, self.depth)
            if layer > self.depth:
                return Exponents((), learned)
            own = self._own(optimizer, True)[layer - 1]
            start = self.a[-1] + self.b[-1]
            return Exponents((own,) * (self.depth - layer + 1), start + own - 1)
        hidden = tuple(np.minimum.accumulate(self._own(optimizer, first_step)).tolist())
        moved = self._readout(optimizer, first_step) + hidden[-1] - 1
        return Exponents(hidden, min(learned, moved))

    def feature_exponent(self, optimizer: str = "sgd", *, first_step: bool = False) -> float:
        r"""The exponent :math:`r` of feature learning: :math:`\Delta h\sim n^{-r}`.

        .. math::

            r_\text{SGD}&=\min(a_{L+1}+b_{L+1},\,2a_{L+1}+c)+c-1+\min_{l\le L}(2a_l+1_{l=1})\\
            r_\text{Adam}&=c-1+\min_{l\le L}(a_l+1_{l=1})

        Parameters
        ----------
        optimizer : {"sgd", "adam"}
        first_step
            Whether only one step was taken: then SGD's first minimum is :math:`a_{L+1}+b_{L+1}`.

        Returns
        -------
        float
            Zero: features move by order one. Positive: they freeze. Negative: they explode.

        Notes
        -----
        SGD: Yang and Hu (2020), section 3. Taught in chapter 2.3, "Three exponents" and
        "Adam".
        """
        return self.exponents(optimizer, first_step=first_step).hidden[-1]

    def kernel_exponent(self) -> float:
        r"""Exponent of the tangent kernel's relative change under SGD.

        .. math:: \min\bigl(2r,\;r+\tfrac12,\;2a_{L+1}+c+c-1+\min_{l\le L}(2a_l+1_{l=1})\bigr)

        Returns
        -------
        float

        Notes
        -----
        For stable parametrisations and a readout drawn from a symmetric law. Derived in chapter
        2.3, "Never both".
        """
        r = self.feature_exponent("sgd")
        learned = 2 * self.a[-1] + self.layer_c[-1]
        lowest = min(
            learned + c - 1 + 2 * a + (layer == 0)
            for layer, (a, c) in enumerate(zip(self.a[:-1], self.layer_c[:-1], strict=True))
        )
        return min(2 * r, r + 0.5, lowest)

    def phase(self, optimizer: str = "sgd") -> str:
        """Which of the four phases the parametrisation is in.

        Parameters
        ----------
        optimizer : {"sgd", "adam"}

        Returns
        -------
        str
            One of :data:`PHASES`: "unstable" if activations or outputs grow with the width,
            "trivial" if the output does not move, "feature learning" if features move by order
            one, and else "kernel".

        Notes
        -----
        Yang and Hu (2020), section 3, for SGD. Taught in chapter 2.3, "Never both".
        """
        validate.choice("optimizer", optimizer, OPTIMIZERS)
        start = [a + b for a, b in zip(self.a, self.b, strict=True)]
        wanted = [0.0] + [0.5] * (self.depth - 1)
        given = all(abs(s - w) < _SLACK for s, w in zip(start[:-1], wanted, strict=True))
        learned = _POWER[optimizer] * self.a[-1] + self.layer_c[-1]
        r = self.feature_exponent(optimizer)
        moved = start[-1] + r
        if not given or start[-1] < 0.5 - _SLACK or min(r, learned - 1, moved - 1) < -_SLACK:
            return "unstable"
        if min(learned, moved) > 1 + _SLACK:
            return "trivial"
        return "feature learning" if r < _SLACK else "kernel"

    def stable_c(self, optimizer: str = "sgd") -> float:
        """The smallest exponent c for which training is stable: the fastest learning rate allowed.

        Parameters
        ----------
        optimizer : {"sgd", "adam"}

        Returns
        -------
        float
            With a and b as they are; the exponent c of this parametrisation is not used.

        Notes
        -----
        Derived in chapter 2.3, "Learning rates that transfer".
        """
        validate.choice("optimizer", optimizer, OPTIMIZERS)
        start = self.a[-1] + self.b[-1]
        power = _POWER[optimizer]
        low = min(power * a + (layer == 0) for layer, a in enumerate(self.a[:-1]))
        learned = power * self.a[-1]
        if optimizer == "adam":
            return max(1 - low, 1 - learned, 2 - low - start)
        # r >= 0 with the readout as drawn and as learned, the output's two conditions
        return max(1 - low - start, (1 - low - learned) / 2, 1 - learned, 2 - low - 2 * start)

    def ensemble(
        self,
        width: int,
        *,
        inputs: int,
        networks: int,
        generator: torch.Generator,
        activation="tanh",
        dtype: torch.dtype = torch.float64,
    ) -> DenseEnsemble:
        r"""Networks of this parametrisation with one output.

        Parameters
        ----------
        width
            Neurons in each hidden layer.
        inputs
            Input dimension :math:`d`; the first multiplier carries :math:`1/\sqrt d`.
        networks, generator, activation, dtype
            As in :class:`course.lazy_rich.ensembles.DenseEnsemble`.

        Returns
        -------
        DenseEnsemble
        """
        width, inputs = validate.whole("width", width), validate.whole("inputs", inputs)
        multipliers = [float(width) ** -a for a in self.a]
        multipliers[0] /= math.sqrt(inputs)
        return DenseEnsemble(
            [inputs, *[width] * self.depth, 1], networks=networks, activation=activation,
            multipliers=multipliers, deviations=[float(width) ** -b for b in self.b],
            generator=generator, dtype=dtype,
        )  # fmt: skip

    def layer_rates(self, width: int) -> list[float]:
        """The factor on the learning rate of each layer of weights.

        For :func:`course.lazy_rich.ensembles.train`.

        Parameters
        ----------
        width
            Neurons in each hidden layer.

        Returns
        -------
        list of float
        """
        width = validate.whole("width", width)
        return [float(width) ** -c for c in self.layer_c]


Parametrization.sp = Parametrization((0, 0, 0), (0, 0.5, 0.5), 0)
Parametrization.ntp = Parametrization((0, 0.5, 0.5), (0, 0, 0), 0)
Parametrization.mup = Parametrization((-0.5, 0, 0.5), (0.5, 0.5, 0.5), 0)
Parametrization.mean_field = Parametrization((0, 1), (0, 0), -1)
Parametrization.mup_adam = Parametrization((-0.5, 0.5, 0.5), (0.5, 0, 0.5), 0.5)


def on_the_plane(s: float, q: float) -> Parametrization:
    r"""A point of the plane that holds both the tangent-kernel and the maximal-update network.

    .. math:: a=(q-\tfrac12,\,q,\,\tfrac12),\qquad b=(\tfrac12-q,\,\tfrac12-q,\,s),\qquad c=0

    Parameters
    ----------
    s
        The readout starts with entries of size :math:`n^{-1/2-s}`.
    q
        The hidden weights learn at a rate lower by :math:`n^{-2q}` than in the maximal update.

    Returns
    -------
    Parametrization
        (0, ½) is the tangent-kernel parametrisation, (½, 0) the maximal update.

    Notes
    -----
    Taught in chapter 2.3, "Never both".
    """
    return Parametrization((q - 0.5, q, 0.5), (0.5 - q, 0.5 - q, s), 0)


def _layer(trained, depth: int) -> int:
    layer = validate.whole("trained", trained)
    if layer > depth + 1:
        raise ValueError(
            f"trained is {trained}; allowed are the layers of weights 1 to {depth + 1}"
        )
    return layer


def _arranged(data) -> tuple[Tensor, Tensor]:
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise ValueError(f"data is {type(data).__name__}; allowed is a pair (x, y)")
    x = validate.array("x", data[0], dimensions=2, empty=False)
    y = validate.array("y", data[1], dimensions=1, empty=False)
    if len(x) != len(y):
        raise ValueError(f"x and y have {len(x)} and {len(y)} points; allowed are as many of each")
    return torch.as_tensor(x), torch.as_tensor(y)


def _increasing(widths: Sequence[int], least: int = 3) -> list[int]:
    sizes = [validate.whole("widths", width) for width in several("widths", widths)]
    if len(sizes) < least or any(b <= a for a, b in zip(sizes, sizes[1:], strict=False)):
        raise ValueError(f"widths is {widths!r}; allowed are {least} or more, increasing")
    return sizes


def _chosen(parametrization) -> Parametrization:
    if not isinstance(parametrization, Parametrization):
        raise ValueError(f"parametrization is {parametrization!r}; allowed is a Parametrization")
    return parametrization


def linear_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    r"""The loss :math:`-\sum_iy_if(x_i)` of each network.

    Its derivative with respect to the outputs is the same at every start and at every step.

    Parameters
    ----------
    outputs, targets
        Tensors of shape (networks, points, outputs).

    Returns
    -------
    torch.Tensor
        Shape (networks,).
    """
    return -(outputs * targets).flatten(1).sum(1)


@dataclass(frozen=True)
class CoordinateCheck:
    """Sizes of the updates at several widths, with fitted exponents.

    Attributes
    ----------
    parametrization : Parametrization
    widths : numpy.ndarray
        Shape (widths,).
    sizes : numpy.ndarray
        Root mean square of each layer's change over points and neurons, the output's last; shape
        (networks, widths, layers). Layers are 1 to L + 1, or those from ``trained`` on (for the
        readout: L + 1 alone).
    exponents : Estimate
        Slopes of the sizes (root mean square over networks) on logarithmic axes, with jackknife
        errors over networks; arrays with one entry for each layer.
    predicted : numpy.ndarray
        Theory's slopes, one for each layer.
    """

    parametrization: Parametrization
    widths: np.ndarray
    sizes: np.ndarray
    exponents: Estimate
    predicted: np.ndarray

    @property
    def deviation(self) -> float:
        """Largest distance of a fitted from a predicted exponent."""
        return float(np.abs(self.exponents.value - self.predicted).max())

    def exponent(self, column: int) -> Estimate:
        """The fitted slope of one layer.

        Parameters
        ----------
        column
            Position in ``sizes``: -1 is the output, -2 the last hidden layer.

        Returns
        -------
        Estimate
        """
        value, stderr, seeds = self.exponents
        return Estimate(float(value[column]), float(stderr[column]), seeds)


def _rms(samples: np.ndarray) -> np.ndarray:
    return np.sqrt((samples**2).mean(axis=0))


def coordinate_check(
    parametrization: Parametrization,
    widths: Sequence[int],
    *,
    data: tuple,
    generator: torch.Generator,
    optimizer: str = "sgd",
    steps: int = 1,
    networks: int = 8,
    learning_rate: float = 1e-3,
    trained: int | None = None,
    loss: str = "linear",
    epsilon: float = 0.0,
    dtype: torch.dtype = torch.float64,
) -> CoordinateCheck:
    r"""Train networks of several widths for a few steps, and fit how far each layer moved.

    Parameters
    ----------
    parametrization
        Which powers of the width scale the network and its learning rate.
    widths
        Three or more, increasing.
    data
        Inputs of shape (points, d) with :math:`|x|^2\approx d`, and targets of shape (points,).
    generator
        Source of the initial weights; the networks live on its device.
    optimizer : {"sgd", "adam"}
    steps
        Number of steps.
    networks
        Independent networks at each width, two or more.
    learning_rate
        :math:`\eta`, before the factor :math:`n^{-c}`.
    trained
        Number of the only layer of weights to train, from 1 (input) to L + 1 (readout); all layers
        unless told.
    loss : {"linear", "squared"}
        The linear loss is :math:`-\sum_iy_if(x_i)`.
    epsilon
        Of Adam.
    dtype
        Precision. At float32, changes below 1e-6 of a preactivation are rounding.

    Returns
    -------
    CoordinateCheck

    Raises
    ------
    ValueError
        For parameters that are not allowed, or a layer that does not move at all, so that no
        exponent exists.
    course.lazy_rich.ensembles.Divergence
        If a network diverges.

    Notes
    -----
    Networks are handled in groups that fit into ``MEMORY_BUDGET``, at least one at a time.
    Taught in chapter 2.3, "Coordinate check".
    """
    _chosen(parametrization)
    sizes, (x, y) = _increasing(widths), _arranged(data)
    validate.choice("optimizer", optimizer, OPTIMIZERS)
    networks = validate.whole("networks", networks, low=2)
    rate = validate.real("learning_rate", learning_rate, low=0, strict=True)
    validate.generator("generator", generator, torch.Generator)
    validate.choice("loss", loss, ("linear", "squared"))
    first = 1 if trained is None else _layer(trained, parametrization.depth)
    moves = np.empty((networks, len(sizes), parametrization.depth + 2 - first))
    for column, width in enumerate(sizes):
        group = networks_at_a_time(parametrization.depth, width, networks, optimizer, dtype)
        factors = [
            factor if trained in (None, number) else 0.0
            for number, factor in enumerate(parametrization.layer_rates(width), start=1)
        ]
        for start in range(0, networks, group):
            count = min(group, networks - start)
            ensemble = parametrization.ensemble(
                width, inputs=x.shape[1], networks=count, generator=generator, dtype=dtype
            )
            before = ensemble.preactivations(x)
            train(
                ensemble, (x, y), learning_rate=rate, steps=steps, optimizer=optimizer,
                loss=linear_loss if loss == "linear" else loss, layer_rates=factors,
                epsilon=epsilon,
            )  # fmt: skip
            with torch.no_grad():
                after = ensemble.preactivations(x)
                change = [
                    (new - old).double().square().mean((1, 2)).sqrt()
                    for new, old in zip(after[first - 1 :], before[first - 1 :], strict=True)
                ]
            moves[start : start + count, column] = torch.stack(change, 1).cpu().numpy()
    if not (moves > 0).all():
        layer = int(np.argwhere(~(moves > 0))[0][2]) + first
        raise ValueError(
            f"layer {layer} does not move in {steps} step(s), so that no exponent exists; take "
            "more steps or a larger learning_rate"
        )
    fits = [fit_exponent(sizes, moves[:, :, k], statistic=_rms) for k in range(moves.shape[2])]
    exponents = Estimate(
        np.array([fit.value for fit in fits]), np.array([fit.stderr for fit in fits]), networks
    )
    theory = parametrization.exponents(optimizer, first_step=steps == 1, trained=trained)
    return CoordinateCheck(parametrization, np.array(sizes), moves, exponents, theory.slopes)


def networks_at_a_time(
    depth: int, width: int, networks: int, optimizer: str, dtype: torch.dtype = torch.float64
) -> int:
    """How many networks fit into the memory budget with gradients, moments and temporaries.

    Parameters
    ----------
    depth : int
        Number of hidden layers.
    width : int
        Width of the hidden layers.
    networks : int
        How many networks there are; the result is no larger.
    optimizer : {"sgd", "adam"}
        Adam keeps two moments of every weight.
    dtype : torch.dtype
        Of the weights.

    Returns
    -------
    int
        At least 1.
    """
    entries = max(depth - 1, 1) * width**2
    copies = 8 if optimizer == "adam" else 4
    bytes_each = entries * copies * (8 if dtype == torch.float64 else 4)
    return min(networks, max(1, MEMORY_BUDGET // bytes_each))


@dataclass(frozen=True)
class DialSweep:
    """Where on the dial of Part II networks of several widths end up.

    Attributes
    ----------
    widths : numpy.ndarray
    kernel_distance : numpy.ndarray
        Relative change of the tangent kernel on the training set, shape (networks, widths), as the
        next three.
    kernel_alignment : numpy.ndarray
        Alignment of the tangent kernel at the end with the targets.
    weight_change : numpy.ndarray
        Relative change of all weights together.
    linearised : numpy.ndarray
        Root mean square distance of the trained outputs from training with the kernel frozen at
        its start.
    outputs : numpy.ndarray
        Outputs on the test points at the end, shape (networks, widths, points).
    """

    widths: np.ndarray
    kernel_distance: np.ndarray
    kernel_alignment: np.ndarray
    weight_change: np.ndarray
    linearised: np.ndarray
    outputs: np.ndarray


def dial_sweep(
    parametrization: Parametrization,
    widths: Sequence[int],
    *,
    data: tuple,
    x_test,
    generator: torch.Generator,
    learning_rate: float,
    steps: int,
    networks: int = 8,
) -> DialSweep:
    r"""Train networks of several widths with SGD on the squared loss and read the dial.

    Parameters
    ----------
    parametrization, widths, data, networks, generator
        As in :func:`coordinate_check`; one width will do.
    x_test
        Inputs of shape (points, d) on which the trained function is stored.
    learning_rate, steps
        Of SGD; the rate is multiplied by :math:`n^{-c}`. A single exponent c is needed, since the
        kernel weighs all layers alike.

    Returns
    -------
    DialSweep

    Notes
    -----
    Taught in chapter 2.3, "Never both".
    """
    _chosen(parametrization)
    if isinstance(parametrization.c, tuple):
        raise ValueError(f"c is {parametrization.c}; allowed here is one number for all layers")
    sizes, (x, y) = _increasing(widths, 1), _arranged(data)
    points = torch.as_tensor(validate.array("x_test", x_test, dimensions=2, empty=False))
    networks, steps = validate.whole("networks", networks), validate.whole("steps", steps)
    rate = validate.real("learning_rate", learning_rate, low=0, strict=True)
    rows = []
    for width in sizes:
        step = rate * float(width) ** -parametrization.c
        group = networks_at_a_time(parametrization.depth, width, networks, "sgd")
        parts = []
        for first in range(0, networks, group):
            ensemble = parametrization.ensemble(
                width, inputs=x.shape[1], networks=min(group, networks - first),
                generator=generator,
            )  # fmt: skip
            parts.append(_dial(ensemble, x, y, points, step, steps))
        rows.append([np.concatenate(part) for part in zip(*parts, strict=True)])
    columns = [np.stack(column, axis=1) for column in zip(*rows, strict=True)]
    return DialSweep(np.array(sizes), *columns)


def _dial(ensemble, x, y, points, step: float, steps: int) -> tuple[np.ndarray, ...]:
    """The fields of a dial sweep for one group of networks, networks first."""
    start, kernel = ensemble.copy(), ensemble.kernel(x)
    train(ensemble, (x, y), learning_rate=step, steps=steps)
    with torch.no_grad():
        residual = start(x)[..., 0] - y
        decay = torch.eye(len(x), dtype=x.dtype) - step * kernel
        frozen = (torch.linalg.matrix_power(decay, steps) @ residual[..., None])[..., 0]
        distance = (ensemble(x)[..., 0] - y - frozen).square().mean(1).sqrt()
        outputs = ensemble(points)[..., 0].numpy()
    after = ensemble.kernel(x)
    return (
        kernel_distance(after, kernel),
        kernel_alignment(after, y),
        weight_change(ensemble.weights, start.weights, networks=True),
        distance.numpy(),
        outputs,
    )


def linear_limit(x, y, *, learning_rate: float, steps: int, start=None) -> np.ndarray:
    r"""Gradient descent of a mean-field linear network, at infinite width unless told otherwise.

    For :math:`f(x)=\frac1n v^\top Wx/\sqrt d` collect the neurons in :math:`Z=[W,v]` and their
    moments in :math:`G=\frac1nZ^\top Z`. The network's output is a block of :math:`G`, and one step
    with learning rate :math:`\eta n` is

    .. math:: G\leftarrow MGM,\qquad M=1-\eta\begin{pmatrix}0&g\\g^\top&0\end{pmatrix},\qquad
        g=\sum_i(f(x_i)-y_i)\,x_i/\sqrt d .

    Parameters
    ----------
    x, y : array_like, shapes (N, d) and (N,)
        Training points and targets.
    learning_rate
        :math:`\eta`.
    steps
        Number of steps, at least 1.
    start : array_like, shape (..., d + 1, d + 1), optional
        G at the start; the identity, its limit at infinite width, unless told.

    Returns
    -------
    numpy.ndarray
        Outputs on the training points before each step and at the end, shape (..., steps + 1, N).

    Raises
    ------
    RuntimeError
        If training diverges.

    Notes
    -----
    Exact at every width, given its start. Yang and Hu (2020) solve the same network by
    following coefficients of the neurons. Taught in chapter 2.3, "An exact limit".
    """
    x, y = (values.numpy() for values in _arranged((x, y)))
    rate = validate.real("learning_rate", learning_rate, low=0, strict=True)
    size = x.shape[1] + 1
    given = np.eye(size) if start is None else validate.array("start", start, dimensions=None)
    if given.shape[-2:] != (size, size):
        raise ValueError(f"start has shape {given.shape}; allowed is (…, {size}, {size})")
    inputs, moments = x / math.sqrt(size - 1), given
    identity, outputs = np.eye(size), []
    for step in range(validate.whole("steps", steps) + 1):
        outputs.append(moments[..., :-1, -1] @ inputs.T)
        if not np.abs(outputs[-1]).max() < 1e12:
            raise RuntimeError(f"training diverges at step {step} with learning_rate {rate:g}")
        if step == steps:
            break
        gradient = (outputs[-1] - y) @ inputs
        move = np.broadcast_to(identity, moments.shape).copy()
        move[..., :-1, -1] = -rate * gradient
        move[..., -1, :-1] = -rate * gradient
        moments = move @ moments @ move
    return np.stack(outputs, axis=-2)


@dataclass(frozen=True)
class RateSweep:
    """Mean training loss against learning rate and width.

    Attributes
    ----------
    widths : numpy.ndarray
    rates : numpy.ndarray
        Learning rates before the factor of the parametrisation, increasing.
    loss : numpy.ndarray
        Loss averaged over the steps and relative to the mean square of the targets, shape
        (networks, widths, rates); infinite where a network diverged.
    diverged : numpy.ndarray
        Where that is so.
    """

    widths: np.ndarray
    rates: np.ndarray
    loss: np.ndarray
    diverged: np.ndarray

    @property
    def best(self) -> np.ndarray:
        """Learning rate of least loss, by a parabola in logarithms; shape (networks, widths).

        Raises
        ------
        RuntimeError
            If the least loss lies at an end of the rates, so that they do not enclose it.
        """
        place = self.loss.argmin(axis=2)
        if (place == 0).any() or (place == len(self.rates) - 1).any():
            raise RuntimeError("the best learning rate lies at an end of the rates: widen them")
        low, mid, high = (
            np.log(np.take_along_axis(self.loss, (place + k)[..., None], 2)[..., 0])
            for k in (-1, 0, 1)
        )
        logs = np.log(self.rates)
        known = np.isfinite(high)  # the next rate may diverge: then the grid point stands
        high = np.where(known, high, low)
        bend = low - 2 * mid + high
        offset = np.where(bend > 0, 0.5 * (low - high) / np.where(bend > 0, bend, 1.0), 0.0)
        return np.exp(logs[place] + offset * (logs[1] - logs[0]))


def rate_sweep(
    parametrization: Parametrization,
    widths: Sequence[int],
    *,
    rates,
    data: tuple,
    generator: torch.Generator,
    optimizer: str = "sgd",
    steps: int = 5,
    networks: int = 8,
) -> RateSweep:
    r"""Train every network with every learning rate, all rates in one batch.

    Parameters
    ----------
    parametrization, widths, data, optimizer, networks, generator
        As in :func:`coordinate_check`.
    rates
        Learning rates :math:`\eta` before the factor :math:`n^{-c}`, in constant ratio.
    steps
        Steps on the squared loss.

    Returns
    -------
    RateSweep

    Notes
    -----
    A network starts from the same weights at every rate. Taught in chapter 2.3, "Learning rates
    that transfer".
    """
    _chosen(parametrization)
    sizes, (x, y) = _increasing(widths), _arranged(data)
    grid = validate.array("rates", rates, dimensions=1, empty=False)
    ratios = np.diff(np.log(grid)) if (grid > 0).all() else np.array([])
    if len(grid) < 3 or len(ratios) == 0 or ratios[0] <= 0 or not np.allclose(ratios, ratios[0]):
        raise ValueError(f"rates is {rates!r}; allowed are three or more > 0 in constant ratio > 1")
    networks = validate.whole("networks", networks, low=2)
    loss = np.empty((networks, len(sizes), len(grid)))
    diverged = np.empty(loss.shape, dtype=bool)
    for column, width in enumerate(sizes):
        room = networks_at_a_time(parametrization.depth, width, networks * len(grid), optimizer)
        group = max(1, room // len(grid))
        for start in range(0, networks, group):
            count = min(group, networks - start)
            ensemble = parametrization.ensemble(
                width, inputs=x.shape[1], networks=count, generator=generator
            )
            ensemble.weights = [w.repeat_interleave(len(grid), 0) for w in ensemble.weights]
            history = train(
                ensemble, (x, y), learning_rate=np.tile(grid, count), steps=steps,
                optimizer=optimizer, layer_rates=parametrization.layer_rates(width),
                allow_divergence=True,
            )  # fmt: skip
            here = slice(start, start + count)
            mean = history.loss[1:].mean(axis=0) / (0.5 * float((y**2).sum()))
            loss[here, column] = mean.reshape(count, -1)
            diverged[here, column] = (history.diverged_at >= 0).reshape(count, -1)
    return RateSweep(np.array(sizes), grid, loss, diverged)


def rate_record(*, preset, optimizer, widths, low, high, networks, steps, points, seed) -> dict:
    """A learning-rate sweep of one preset as plain arrays, for a stored result.

    Parameters
    ----------
    preset
        Name of a preset with two hidden layers.
    optimizer, widths, networks, steps
        As in :func:`rate_sweep`.
    low, high
        Base-two logarithms of the ends of the rates, half an octave apart.
    points, seed
        Of :func:`wave_data`, and of the generator.

    Returns
    -------
    dict
        "loss", "best" and "rates".
    """
    sweep = rate_sweep(
        getattr(Parametrization, preset), widths, rates=2.0 ** np.arange(low, high + 0.1, 0.5),
        data=wave_data(points), optimizer=optimizer, networks=networks, steps=steps,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    # A diverged loss is stored as -1: the file knows no infinity.
    loss = np.where(sweep.diverged, -1.0, np.where(np.isfinite(sweep.loss), sweep.loss, -1.0))
    return {"loss": loss.round(6), "best": sweep.best, "rates": sweep.rates}


def wave_data(points: int, *, inputs: int = 10, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    r"""Points on a sphere with a wave of one direction as targets, the chapter's running task.

    .. math:: y=\sin(2\,\beta\cdot x/\sqrt d)\ \text{over its root mean square},\qquad
        \beta\sim\mathcal N(0,1_d)

    Parameters
    ----------
    points, inputs
        How many points, in how many dimensions.
    seed
        Of points and direction.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray)
        Shapes (points, inputs) and (points,).
    """
    rng = np.random.default_rng(validate.whole("seed", seed, low=0))
    shape = validate.whole("points", points), validate.whole("inputs", inputs)
    x = rng.standard_normal(shape)
    x *= math.sqrt(shape[1]) / np.linalg.norm(x, axis=1, keepdims=True)
    y = np.sin(2 * x @ rng.standard_normal(shape[1]) / math.sqrt(shape[1]))
    return x, y / math.sqrt((y**2).mean())


def _residual_pass(weights, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    inner, outer = weights
    networks, depth, width, _ = inner.shape
    states, hidden = [x.expand(networks, *x.shape)], []
    for layer in range(depth):
        hidden.append(torch.tanh(states[-1] @ inner[:, layer].mT))
        states.append(states[-1] + hidden[-1] @ outer[:, layer].mT / (depth * width))
    return states, hidden


def residual_gram(inner, outer, readout, x) -> Tensor:
    r"""Gram matrix of a scaled residual network on a set of points.

    .. math:: x_{k+1}=x_k+\frac1{Ln}\sum_{j\le n}v_{kj}\tanh(w_{kj}\cdot x_k),\qquad
        f=u\cdot x_L

    .. math:: H(x,x')=Ln\sum_{k,j}\bigl(\partial_{v_{kj}}f\cdot\partial_{v_{kj}}f'
        +\partial_{w_{kj}}f\cdot\partial_{w_{kj}}f'\bigr)

    Parameters
    ----------
    inner : torch.Tensor, shape (networks, L, n, d)
        :math:`w_{kj}`.
    outer : torch.Tensor, shape (networks, L, d, n)
        :math:`v_{kj}`, one column for each neuron.
    readout : torch.Tensor, shape (d,)
        :math:`u`, not trained.
    x : torch.Tensor, shape (N, d)

    Returns
    -------
    torch.Tensor
        Shape (networks, N, N).

    Notes
    -----
    The gradient with respect to the state of a layer runs backwards from :math:`\pi_L=u`,

    .. math:: \pi_k=\pi_{k+1}+\frac1{Ln}\sum_jw_{kj}\tanh'(w_{kj}\cdot x_k)\,v_{kj}\cdot\pi_{k+1},

    and the Gram matrix adds up over the layers on the way. After
    Chen et al., "Generalization of Scaled Deep ResNets in the Mean-Field Regime" (2024), for a
    readout that is not trained. Taught in chapter 2.3, "Depth".
    """
    networks, depth, width, inputs = inner.shape
    states, hidden = _residual_pass((inner, outer), x)
    adjoint = readout.expand(networks, len(x), inputs)
    gram = torch.zeros(networks, len(x), len(x), dtype=inner.dtype)
    for k in reversed(range(depth)):
        back = (adjoint @ outer[:, k]) * (1 - hidden[k] ** 2)
        gram += (adjoint @ adjoint.mT) * (hidden[k] @ hidden[k].mT)
        gram += (back @ back.mT) * (states[k] @ states[k].mT)
        adjoint = adjoint + back @ inner[:, k] / (depth * width)
    return gram / (depth * width)


@dataclass(frozen=True)
class ResidualRun:
    """Training of scaled residual networks.

    Attributes
    ----------
    loss : numpy.ndarray
        Loss before each step and at the end, shape (networks, steps + 1).
    gram : numpy.ndarray
        Gram matrix before each step and at the end, shape (networks, steps + 1, N, N).
    residual : numpy.ndarray
        Outputs minus targets at the start, shape (networks, N).
    """

    loss: np.ndarray
    gram: np.ndarray
    residual: np.ndarray

    @property
    def least(self) -> np.ndarray:
        """Least eigenvalue of the Gram matrix, shape (networks, steps + 1)."""
        return np.linalg.eigvalsh(self.gram)[..., 0]


def residual_training(
    data: tuple,
    *,
    width: int,
    depth: int,
    networks: int,
    learning_rate: float,
    steps: int,
    generator: torch.Generator,
    readout_scale: float = 1.0,
) -> ResidualRun:
    r"""Gradient descent of scaled residual networks on the squared loss.

    Parameters
    ----------
    data
        Points of shape (N, d) and targets of shape (N,).
    width, depth
        Neurons in each residual layer, and number :math:`L` of layers.
    networks
        Independent networks; all entries of :math:`w,v` start standard normal.
    learning_rate
        :math:`\eta`; a step is :math:`\theta\leftarrow\theta-\eta\,Ln\,\partial\mathcal L`, so that
        one neuron moves by :math:`O(\eta)` at any size.
    steps
        Number of steps.
    generator
        Source of the initial weights.
    readout_scale
        :math:`\beta` in the readout :math:`u=\beta(1,\dots,1)/\sqrt d`.

    Returns
    -------
    ResidualRun

    Raises
    ------
    RuntimeError
        If the loss of a network exceeds a million times its start, or is not finite.

    Notes
    -----
    Taught in chapter 2.3, "Depth".
    """
    x, y = _arranged(data)
    width, depth = validate.whole("width", width), validate.whole("depth", depth)
    networks, steps = validate.whole("networks", networks), validate.whole("steps", steps)
    rate = validate.real("learning_rate", learning_rate, low=0, strict=True)
    scale = validate.real("readout_scale", readout_scale, low=0, strict=True)
    validate.generator("generator", generator, torch.Generator)
    inputs = x.shape[1]
    readout = torch.full((inputs,), scale / math.sqrt(inputs), dtype=torch.float64)
    weights = [
        torch.randn(networks, depth, *shape, generator=generator, dtype=torch.float64)
        for shape in ((width, inputs), (inputs, width))
    ]
    losses, grams, start = [], [], None
    for step in range(steps + 1):
        leaves = [weight.detach().requires_grad_() for weight in weights]
        error = _residual_pass(leaves, x)[0][-1] @ readout - y
        loss = 0.5 * (error**2).sum(1)
        losses.append(loss.detach().numpy())
        start = error.detach().numpy() if start is None else start
        if not (losses[-1] <= 1e6 * np.maximum(losses[0], 1.0)).all():
            raise RuntimeError(
                f"training diverges at step {step} with learning_rate {rate:g}; allowed are "
                "smaller ones"
            )
        with torch.no_grad():
            grams.append(residual_gram(*weights, readout, x).numpy())
        if step < steps:
            gradients = torch.autograd.grad(loss.sum(), leaves)
            weights = [
                weight - rate * depth * width * gradient
                for weight, gradient in zip(weights, gradients, strict=True)
            ]
    return ResidualRun(np.stack(losses, 1), np.stack(grams, 1), start)


def draw_plane(ax, s: float, q: float, check: CoordinateCheck) -> None:
    """Draw the phases of :func:`on_the_plane` with one point marked, and its coordinate check.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Replaced by two panels.
    s, q
        The point.
    check
        Its coordinate check.
    """
    ax.axis("off")
    left = ax.inset_axes([0.0, 0.0, 0.42, 1.0])
    left.fill([0, 0.5, 1.1, 1.1, 0], [0.5, 0, 0, 0.85, 0.85], color="#CFE3F3", lw=0)
    left.plot([0.5, 1.1], [0, 0], color=figures.COLORS[1], lw=5, solid_capstyle="butt")
    left.text(0.62, 0.5, "kernel", ha="center", fontsize=8)
    left.text(0.02, 0.08, "unstable", fontsize=8)
    left.text(0.55, 0.05, "features learn", color=figures.COLORS[1], fontsize=7)
    left.plot([0, 0.5], [0.5, 0], "s", color="black", ms=4)
    left.annotate("NTP", (0, 0.5), (5, 5), textcoords="offset points", fontsize=8)
    left.annotate("μP", (0.5, 0), (-17, 3), textcoords="offset points", fontsize=8)
    left.plot([s], [q], "o", ms=11, mfc="none", mec=figures.COLORS[3], mew=2.5)
    left.set(xlabel="$s$, smaller readout", ylabel="$q$, slower hidden layers",
             xlim=(-0.08, 1.1), ylim=(-0.08, 0.85))  # fmt: skip
    right = ax.inset_axes([0.6, 0.0, 0.4, 0.86])
    layer, slope = check.parametrization.depth - 1, 0.0 - check.parametrization.feature_exponent()
    size = _rms(check.sizes[:, :, layer])
    right.loglog(check.widths, size, "o", color=figures.COLORS[0])
    middle = np.log(size).mean() - slope * np.log(check.widths).mean()
    right.loglog(check.widths, np.exp(middle + slope * np.log(check.widths)),
                 color=figures.COLORS[0])  # fmt: skip
    right.set(xlabel="width $n$", ylabel=r"feature change $\Delta h^2$", ylim=(1e-3, 30))
    right.set_xticks(check.widths[::2], [str(width) for width in check.widths[::2]])
    right.minorticks_off()
    measured = check.exponents.value[layer]
    phase = check.parametrization.phase()
    right.set_title(f"{phase}\n$-r$ = {slope:g}, measured {measured:.1f}", fontsize=8.5)
