r"""Dense networks: Hebbian couplings between P spins at a time.

Two conventions of the energy are in use, with different crosstalk and different capacities:

.. math:: H_{\rm ordered}&=-N^{1-P}\sum_\mu\sum_{i_1<\dots<i_P}
          \xi_{i_1}^\mu\sigma_{i_1}\cdots\xi_{i_P}^\mu\sigma_{i_P},\\
          H_{\rm power}&=-\frac{N^{1-P}}{P!}\sum_\mu\Bigl(\sum_i\xi_i^\mu\sigma_i\Bigr)^P .

In this module every energy and temperature is counted in units of :math:`1/(P-1)!`, the field of a
clean state: :math:`T'=(P-1)!\,T=1/\beta'`, and a stored pattern has the energy :math:`-1/P` a spin.
The dense load is :math:`\gamma=K/N^{P-1}`. Taught in chapter 4.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.linalg import hadamard
from scipy.optimize import brentq, minimize_scalar, root
from scipy.special import erf, erfinv, log_ndtr

from course import validate
from course.hebbian.averages import tanh_averages

__all__ = [
    "CONVENTIONS", "DenseRS", "DenseRSB", "GlassTransition", "all_energies", "crosstalk",
    "dense_1rsb", "dense_1rsb_capacity", "dense_critical_load", "dense_first_order_load",
    "dense_ground_state", "dense_rs", "dense_spinodal", "glass_transition", "overlap_distribution",
    "pattern_counts",
]  # fmt: skip

CONVENTIONS = ("ordered", "power")
RESIDUAL = 1e-10
"""Largest residual of the order-parameter equations that a solver here returns."""

_SQRT2 = math.sqrt(2.0)


class DenseRS(NamedTuple):
    """A replica-symmetric state of a dense network; energies in units of 1/(P−1)!.

    Attributes
    ----------
    overlap : float
        m, overlap with the retrieved pattern.
    spin_glass : float
        q, overlap of two replicas.
    noise : float
        c(q), so that the crosstalk field has the variance load times noise.
    free_energy : float
        F/N, times (P−1)!.
    energy : float
        Energy per spin, times (P−1)!.
    entropy : float
        Entropy per spin.
    replicon : float
        Eigenvalue of the stability matrix that breaks the symmetry of replicas; −inf at T = 0.
    stable : bool
        Whether it is positive (the criterion of de Almeida and Thouless).
    """

    overlap: float
    spin_glass: float
    noise: float
    free_energy: float
    energy: float
    entropy: float
    replicon: float
    stable: bool


class DenseRSB(NamedTuple):
    """A state of a dense network with one step of replica symmetry breaking.

    Attributes
    ----------
    load : float
        γ.
    overlap : float
        m, overlap with the retrieved pattern.
    inner : float
        q1, overlap of two replicas in one valley.
    outer : float
        q0, overlap of two replicas in different valleys.
    breakpoint : float
        x, the probability of different valleys; 0 at T = 0.
    slope : float
        Limit of x/T', finite at T = 0 too.
    free_energy, energy, entropy : float
        Per spin; energies times (P−1)!.
    replicon : float
        Eigenvalue of the stability matrix that splits a valley further; −inf at T = 0.
    stable : bool
        Whether it is positive.
    """

    load: float
    overlap: float
    inner: float
    outer: float
    breakpoint: float
    slope: float
    free_energy: float
    energy: float
    entropy: float
    replicon: float
    stable: bool


def _dense_order(order) -> int:
    order = validate.whole("order", order, low=2)
    if order == 2:
        raise ValueError(
            "order is 2; allowed are even numbers >= 4. For P = 2 the noise patterns feed back on "
            "the state and these equations do not hold: use course.hebbian.hopfield_rs"
        )
    if order % 2:
        raise ValueError(
            f"order is {order}; allowed are even numbers >= 4 (for an odd one the energy is odd in "
            "the spins, and the full power has a random external field)"
        )
    return order


def _moments_kernel(order: int) -> np.ndarray:
    """Coefficients in q of E[x^{P−1} y^{P−1}], ascending, from the Hermite expansion."""
    n = order - 1
    result = np.zeros(n + 1)
    for k in range(n % 2, n + 1, 2):
        half = (n - k) // 2
        weight = math.factorial(n) // (2**half * math.factorial(half) * math.factorial(k))
        result[k] = weight**2 * math.factorial(k)
    return result


def crosstalk(overlap, *, order: int, convention: str, derivative: int = 0):
    r"""Covariance of the crosstalk in two states of given overlap.

    With x, y unit Gaussian variables of correlation q,

    .. math:: c_{\rm ordered}(q)=(P-1)!\,q^{P-1},\qquad c_{\rm power}(q)=E[x^{P-1}y^{P-1}];

    the field of a spin, in units of 1/(P−1)!, has crosstalk of covariance :math:`\gamma c(q)`.

    Parameters
    ----------
    overlap : float or array_like
        q, from −1 to 1.
    order : int
        P, even. P = 2 is allowed here, where c(q) = q in both conventions.
    convention : {"ordered", "power"}
    derivative : int
        0 for c, 1 for its derivative, −1 for its integral from 0, which is the covariance of the
        energies.

    Returns
    -------
    float or numpy.ndarray

    Raises
    ------
    ValueError
        For an odd order, an unknown convention, an overlap out of range, or another derivative.

    Notes
    -----
    Derived and taught in chapter 4.4, "Two conventions".
    """
    if validate.whole("order", order, low=2) % 2:
        raise ValueError(f"order is {order}; allowed are even numbers >= 2")
    convention = validate.choice("convention", convention, CONVENTIONS)
    q = validate.array("overlap", overlap, dimensions=None)
    if (np.abs(q) > 1).any():
        raise ValueError(f"overlap is {overlap!r}; allowed are numbers from -1 to 1")
    if isinstance(derivative, bool) or derivative not in (-1, 0, 1):
        raise ValueError(f"derivative is {derivative!r}; allowed are -1, 0 and 1")
    value = _Kernel(order, convention)[derivative](q)
    return float(value) if np.ndim(overlap) == 0 else value


class _Kernel:
    """c(q), its derivative and its integral as polynomials."""

    def __init__(self, order: int, convention: str):
        if convention == "ordered":
            coefficients = np.zeros(order)
            coefficients[-1] = math.factorial(order - 1)
        else:
            coefficients = _moments_kernel(order)
        self.order = order
        self.c = np.polynomial.Polynomial(coefficients)
        self.slope = self.c.deriv()
        self.integral = self.c.integ()
        self.at_one = float(self.c(1.0))

    def __getitem__(self, derivative: int) -> Callable:
        return {0: self.c, 1: self.slope, -1: self.integral}[derivative]


def _kernel(order: int, convention: str) -> _Kernel:
    return _Kernel(_dense_order(order), validate.choice("convention", convention, CONVENTIONS))


# ---- replica symmetry -------------------------------------------------------------------------


def dense_critical_load(*, order: int, convention: str = "ordered") -> float:
    r"""Largest load at which a pattern is a replica-symmetric state at T = 0.

    .. math:: \gamma_c=\max_u\frac{\operatorname{erf}(u)^{2(P-1)}}{2c(1)u^2},\qquad
              c(1)=(P-1)!\ \text{(ordered)},\quad(2P-3)!!\ \text{(power)}

    Parameters
    ----------
    order : int
        P, even and at least 4.
    convention : {"ordered", "power"}

    Returns
    -------
    float
        :math:`\gamma_c`, to about 1e-15 relative.

    Raises
    ------
    ValueError
        For another order (P = 2 too, where the noise patterns feed back) or convention.

    Notes
    -----
    Taught in chapter 4.4, "Capacity".
    """
    kernel = _kernel(order, convention)
    u = _critical_ratio(order)
    return float(erf(u) ** (2 * (order - 1)) / (2 * kernel.at_one * u * u))


def _critical_ratio(order: int) -> float:
    """The u at which erf(u)^{P−1}/u is largest."""
    slope = 2 / math.sqrt(math.pi) * (order - 1)
    high = 1.0
    while slope * high * math.exp(-high * high) > erf(high):
        high += 1.0
    return brentq(lambda u: slope * u * math.exp(-u * u) - erf(u), 0.5, high, xtol=1e-15)


def _clean_overlap(beta: float, power: int) -> tuple[float, float]:
    """The smaller and the larger positive root of m = tanh(β' m^{P−1})."""

    def excess(m):
        return math.tanh(beta * m**power) - m

    # tanh(β'm^p) − m is largest where β'p m^{p−1} sech² = 1; a fine grid brackets that point
    grid = np.linspace(0.0, 1.0, 2001)[1:]
    values = np.tanh(beta * grid**power) - grid
    best = int(values.argmax())
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    peak = minimize_scalar(lambda m: -excess(m), bounds=(low, high), method="bounded",
                           options={"xatol": 1e-12}).x  # fmt: skip
    if excess(peak) <= 0:
        return math.nan, math.nan
    larger = brentq(excess, peak, 1.0, xtol=1e-16) if excess(1.0) < 0 else 1.0
    tiny = peak
    while excess(tiny) > 0:
        tiny *= 0.7
    return brentq(excess, tiny, peak, xtol=1e-16), larger


def _load_at(m: float, beta: float, kernel: _Kernel) -> tuple[float, float]:
    """The load at which m is the overlap of a stationary state, and q there."""
    mean = beta * m ** (kernel.order - 1)
    high = mean / (_SQRT2 * erfinv(m)) * (1 + 1e-9)

    def excess(deviation):
        return tanh_averages(mean, deviation).tanh - m

    if excess(0.0) <= 0:
        return 0.0, m * m
    deviation = brentq(excess, 0.0, high, xtol=1e-15 * high, rtol=1e-14)
    q = float(tanh_averages(mean, deviation).tanh2)
    return deviation**2 / (beta**2 * float(kernel.c(q))), q


def _spinodal(beta: float, kernel: _Kernel) -> tuple[float, float, float]:
    """Largest load with a retrieval state, the overlap there, and the clean overlap."""
    low, high = _clean_overlap(beta, kernel.order - 1)
    if math.isnan(low):
        return 0.0, math.nan, math.nan
    top = min(high, 1 - 1e-11)
    grid = np.linspace(low, top, 42)[1:-1]
    loads = [_load_at(m, beta, kernel)[0] for m in grid]
    best = int(np.argmax(loads))
    left = grid[best - 1] if best else low
    right = grid[best + 1] if best + 1 < len(grid) else top
    found = minimize_scalar(lambda m: -_load_at(m, beta, kernel)[0], bounds=(left, right),
                            method="bounded", options={"xatol": 1e-10})  # fmt: skip
    return -float(found.fun), float(found.x), high


def dense_spinodal(temperature: float, *, order: int, convention: str = "ordered") -> float:
    """Largest load at which a retrieval state exists in replica symmetry.

    Parameters
    ----------
    temperature : float
        T' = (P−1)! T, at least 0.
    order : int
        P, even and at least 4.
    convention : {"ordered", "power"}

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For a temperature at which not even a single pattern is retrieved, or bad arguments.

    Notes
    -----
    Taught in chapter 4.4, "The replica-symmetric equations".
    """
    kernel = _kernel(order, convention)
    temperature = validate.real("temperature", temperature, low=0.0)
    if temperature == 0.0:
        return dense_critical_load(order=order, convention=convention)
    load = _spinodal(1 / temperature, kernel)[0]
    if load == 0.0:
        raise ValueError(
            f"temperature is {temperature}; at order {order} not even a single pattern is "
            "retrieved at this temperature"
        )
    return load


def dense_rs(
    load: float,
    temperature: float,
    *,
    order: int,
    convention: str = "ordered",
    branch: str = "retrieval",
) -> DenseRS:
    r"""Replica-symmetric state of a dense network.

    .. math:: m=\int Dz\tanh\beta'\bigl[m^{P-1}+z\sqrt{\gamma c(q)}\bigr],\qquad
              q=\int Dz\tanh^2\beta'\bigl[m^{P-1}+z\sqrt{\gamma c(q)}\bigr],

    .. math:: f'=\Bigl(1-\frac1P\Bigr)m^P-\frac{\beta'\gamma}2\bigl[\Gamma(1)-\Gamma(q)-(1-q)c(q)
              \bigr]-\frac1{\beta'}\int Dz\ln2\cosh\beta'[\dots],\qquad\Gamma(q)=\int_0^qc .

    Parameters
    ----------
    load : float
        :math:`\gamma=K/N^{P-1}`, positive.
    temperature : float
        :math:`T'=(P-1)!\,T=1/\beta'`, at least 0; T = 0 is a limit of its own. T is the
        temperature of :func:`course.hebbian.monte_carlo.retrieve`.
    order : int
        P, even and at least 4.
    convention : {"ordered", "power"}
        Which energy, see the module.
    branch : {"retrieval", "glass"}
        The state with the larger m > 0, or the one with m = 0 and the largest q > 0.

    Returns
    -------
    DenseRS
        Residuals of both equations are below 1e-10.

    Raises
    ------
    ValueError
        Where the branch does not exist, for an odd order, P = 2, or bad numbers.
    RuntimeError
        If the residuals are larger.

    Notes
    -----
    Derived and taught in chapter 4.4, "The replica-symmetric equations". Source: Albanese et al.
    (2021), who derive the ordered case by interpolation.
    """
    kernel = _kernel(order, convention)
    load = validate.real("load", load, low=0.0, strict=True)
    temperature = validate.real("temperature", temperature, low=0.0)
    validate.choice("branch", branch, ("retrieval", "glass"))
    if temperature == 0.0:
        return _rs_at_zero(load, kernel, branch, convention)
    beta = 1 / temperature
    if branch == "glass":
        m, q = 0.0, _rs_glass(load, beta, kernel, convention)
    else:
        m, q = _rs_retrieval(load, beta, kernel, convention)
    return _rs_state(load, beta, kernel, m, q)


def _no_retrieval(load, temperature, kernel, convention, limit) -> ValueError:
    return ValueError(
        f"load is {load:g}; at order {kernel.order}, convention {convention!r} and temperature "
        f"{temperature:g} retrieval states exist for loads up to {limit:.6g} only"
    )


def _rs_at_zero(load: float, kernel: _Kernel, branch: str, convention: str) -> DenseRS:
    power, spread = kernel.order - 1, math.sqrt(load * kernel.at_one)
    if branch == "glass":
        m = u = 0.0
    else:
        critical = dense_critical_load(order=kernel.order, convention=convention)
        if load > critical:
            raise _no_retrieval(load, 0.0, kernel, convention, critical)
        low, high = _critical_ratio(kernel.order), 1 / (_SQRT2 * spread)

        def excess(u):
            return erf(u) ** power - _SQRT2 * spread * u

        u = brentq(excess, low, high, xtol=1e-15) if excess(low) > 0 > excess(high) else high
        u = low if excess(low) <= 0 else u
        m = float(erf(u))
        if abs(erf(m**power / (_SQRT2 * spread)) - m) > RESIDUAL:
            raise RuntimeError(f"no convergence at load {load}")
    kinetic = spread * math.sqrt(2 / math.pi) * math.exp(-u * u)
    energy = -(m**kernel.order) / kernel.order - kinetic
    return DenseRS(m, 1.0, kernel.at_one, energy, energy, _rs_zero_entropy(kernel, load, u),
                   -math.inf, False)  # fmt: skip


def _rs_zero_entropy(kernel: _Kernel, load: float, u: float) -> float:
    """−γ c'(1) C²/4 with C = β'(1 − q): from ln 2cosh and the second order of Γ."""
    susceptibility = math.sqrt(2 / (math.pi * load * kernel.at_one)) * math.exp(-u * u)
    return -load * float(kernel.slope(1.0)) * susceptibility**2 / 4


def _rs_retrieval(load: float, beta: float, kernel: _Kernel, convention: str):
    low, high = _clean_overlap(beta, kernel.order - 1)
    if math.isnan(low):
        raise _no_retrieval(load, 1 / beta, kernel, convention, 0.0)
    m, q = high, high * high
    for _ in range(60):  # away from the spinodal the map contracts fast
        previous = m, q
        averages = tanh_averages(beta * m ** (kernel.order - 1),
                                 beta * math.sqrt(load * float(kernel.c(q))))  # fmt: skip
        m, q = float(averages.tanh), float(averages.tanh2)
        if m < low:
            break
        if max(abs(m - previous[0]), abs(q - previous[1])) < 1e-14:
            return m, q
    limit, at_limit, high = _spinodal(beta, kernel)
    if load > limit:
        raise _no_retrieval(load, 1 / beta, kernel, convention, limit)

    def excess(m):
        return _load_at(m, beta, kernel)[0] - load

    top = min(high, 1 - 1e-13)
    m = at_limit if excess(at_limit) <= 0 else brentq(excess, at_limit, top, xtol=1e-15)
    return m, _load_at(m, beta, kernel)[1]


def _rs_glass(load: float, beta: float, kernel: _Kernel, convention: str) -> float:
    """Largest q > 0 of the state with m = 0."""

    def ratio(log_s):
        q = float(tanh_averages(0.0, math.exp(log_s)).tanh2)
        return 2 * log_s - math.log(float(kernel.c(q)))

    target = math.log(load * beta**2)
    top = 0.5 * (target + math.log(kernel.at_one)) + 1e-9
    bottom = math.log(1e-4)
    grid = np.linspace(min(bottom, top - 1), top, 160)
    values = np.array([ratio(s) for s in grid])
    best = int(values.argmin())
    if 0 < best < len(grid) - 1:
        found = minimize_scalar(ratio, bounds=(grid[best - 1], grid[best + 1]), method="bounded",
                                options={"xatol": 1e-12})  # fmt: skip
        start, least = float(found.x), float(found.fun)
    else:
        start, least = grid[best], values[best]
    if least >= target:
        raise ValueError(
            f"temperature is {1 / beta:g}; at order {kernel.order}, convention {convention!r} and "
            f"load {load:g} the only replica-symmetric state without retrieval is q = 0 (a glass "
            f"with q > 0 exists below {1 / beta * math.exp((target - least) / 2):.6g})"
        )
    s = math.exp(brentq(lambda log_s: ratio(log_s) - target, start, top, xtol=1e-15))
    return float(tanh_averages(0.0, s).tanh2)


def _rs_state(load: float, beta: float, kernel: _Kernel, m: float, q: float) -> DenseRS:
    noise = float(kernel.c(q))
    averages = tanh_averages(beta * m ** (kernel.order - 1), beta * math.sqrt(load * noise))
    residual = max(abs(float(averages.tanh) - m), abs(float(averages.tanh2) - q))
    if not residual <= RESIDUAL:
        raise RuntimeError(
            f"the order parameters {m}, {q} have a residual of {residual:.2g} at load {load}, "
            f"temperature {1 / beta}; allowed is {RESIDUAL:g}"
        )
    left = float(averages.sech2)  # 1 − q without loss of digits
    integrals = _integral_gap(kernel, q, left)
    bracket = integrals - left * noise
    free = ((1 - 1 / kernel.order) * m**kernel.order - beta * load / 2 * bracket
            - float(averages.log2cosh) / beta)  # fmt: skip
    energy = -(m**kernel.order) / kernel.order - beta * load * integrals
    replicon = 1 - load * beta**2 * float(kernel.slope(q)) * float(averages.sech4)
    return DenseRS(m, q, noise, free, energy, beta * (energy - free), replicon, replicon > 0)


def _integral_gap(kernel: _Kernel, q: float, left: float) -> float:
    """Γ(1) − Γ(q) as a polynomial in 1 − q, so that no digits are lost near q = 1."""
    if left > 0.1:
        return float(kernel.integral(1.0) - kernel.integral(q))
    total, term, derivative = 0.0, -1.0, kernel.integral
    for k in range(1, kernel.order + 1):
        derivative = derivative.deriv()
        term *= -left / k
        total += term * float(derivative(1.0))
    return total


# ---- one step of replica symmetry breaking -----------------------------------------------------


def _trapezoid(width: float, reach: float = 9.0):
    """Nodes, weights and their logarithms, for Gaussian averages of functions of width·y."""
    count = 2 * max(60, math.ceil(reach * width / 0.28)) + 1
    if count > 200001:
        raise RuntimeError(
            f"a field of width {width:g} in units of the temperature is too steep for the "
            "quadrature; T = 0 has formulas of its own: use temperature 0"
        )
    nodes = np.linspace(-reach, reach, count)
    weights = np.exp(-(nodes**2) / 2)
    total = weights.sum()
    return nodes, weights / total, -(nodes**2) / 2 - math.log(total)


def _log2cosh(u):
    return np.logaddexp(u, -u)


def _glass_averages(x: float, s: float):
    """ln W, ⟨ln 2cosh⟩, ⟨tanh²⟩, ⟨sech⁴⟩ with weight (2cosh sy)^x."""
    y, _, log_weights = _trapezoid(s, reach=9.0 + x * s)
    field = s * y
    entropy = _log2cosh(field)
    exponent = x * entropy + log_weights
    top = exponent.max()
    weight = np.exp(exponent - top)
    total = weight.sum()
    weight /= total
    squared = np.tanh(field) ** 2
    return (top + math.log(total), float(weight @ entropy), float(weight @ squared),
            float(weight @ (1 - squared) ** 2))  # fmt: skip


def _glass_stationarity(x: float, s: float, kernel: _Kernel) -> float:
    """x-derivative of −β'f' at s = β'√(γ c(q1)), with q1 eliminated, over s²."""
    log_w, mean, q, _ = _glass_averages(x, s)
    gap = float(kernel.integral(q)) / float(kernel.c(q)) - q
    return gap / 2 + (mean / x - log_w / x**2) / (s * s)


def _glass_breakpoint(s: float, kernel: _Kernel) -> float:
    """The breakpoint x of the one-step glass with field width s, at least that of the onset."""
    high = min(1.0, (4 + 2 * math.sqrt(kernel.order)) / s)  # x s tends to about √(2 ln2 P)
    if _glass_stationarity(high, s, kernel) <= 0:
        return high
    low = 0.05 / (1 + s)
    return brentq(lambda x: _glass_stationarity(x, s, kernel), low, high, xtol=1e-15, rtol=1e-14)


def _frozen_averages(signal, outer: float, kernel: _Kernel, slope: float):
    """Averages of the T = 0 one-step state in units of the noise √γ.

    Returns m, the mean square of ⟨sign⟩, ∫Dz ln∫Dy e^{ν|u|}, ∫Dz ⟨|u|⟩ and ∫Dz ⟨2δ(u)⟩.
    """
    c0 = float(kernel.c(outer))
    wide, narrow = math.sqrt(c0), math.sqrt(kernel.at_one - c0)
    z, weights, _ = _trapezoid(wide * max(slope, 1 / narrow))
    u = signal + wide * z
    logs = [sign * slope * u + log_ndtr(sign * u / narrow + slope * narrow) for sign in (1, -1)]
    total = np.logaddexp(*logs)
    up, down = np.exp(logs[0] - total), np.exp(logs[1] - total)
    density = np.exp(-((u / narrow) ** 2) / 2 - (slope * narrow) ** 2 / 2 - total)
    density /= narrow * math.sqrt(2 * math.pi)  # ⟨δ(u)⟩
    mean_field = (up - down) * u + slope * narrow**2 + 2 * narrow**2 * density
    log_w = total + (slope * narrow) ** 2 / 2
    sign = up - down
    return (float(weights @ sign), float(weights @ sign**2), float(weights @ log_w),
            float(weights @ mean_field), float(weights @ (2 * density)))  # fmt: skip


def _frozen_stationarity(outer, slope, log_w, mean_field, kernel):
    gap = kernel.at_one - float(kernel.integral(1.0)) + float(kernel.integral(outer))
    gap -= outer * float(kernel.c(outer))
    return gap / 2 * slope**2 - mean_field * slope + log_w


def _frozen_glass_slope(kernel: _Kernel) -> float:
    """ν = √γ x/T' of the one-step glass at T = 0."""

    def stationarity(slope):
        _, _, log_w, mean_field, _ = _frozen_averages(0.0, 0.0, kernel, slope)
        return _frozen_stationarity(0.0, slope, log_w, mean_field, kernel)

    unit = 1 / math.sqrt(kernel.at_one)
    high = unit
    while stationarity(high) > 0:
        high *= 1.5
    return brentq(stationarity, 0.05 * unit, high, xtol=1e-15 * high, rtol=1e-14)


_GUESSES = (0.04, 0.1, 0.01, 0.2, 1e-3)  # of 1 − q0


def _frozen_retrieval(signal: float, kernel: _Kernel, guess=None) -> tuple[float, float, float]:
    """q0, ν and m of the one-step state at T = 0 with the given ratio of signal to √γ."""
    unit = math.sqrt(kernel.at_one)

    def read(unknown):
        left = math.exp(min(max(unknown[0], -9.0), -1e-3))
        return 1 - left, math.exp(min(max(unknown[1], -4.0), 5.0)) / unit

    def equations(unknown):
        outer, slope = read(unknown)
        _, square, log_w, mean_field, _ = _frozen_averages(signal, outer, kernel, slope)
        left = 1 - square
        stationarity = _frozen_stationarity(outer, slope, log_w, mean_field, kernel)
        return [math.log(left) - unknown[0], stationarity / left**2]

    steepness = float(kernel.slope(1.0)) / kernel.at_one
    typical = [(1 - left, 1.13 / math.sqrt(steepness * left)) for left in _GUESSES]
    for outer, scaled in [guess or typical[0], *typical]:
        start = [math.log(1 - outer), math.log(scaled)]
        found = root(equations, start, method="hybr", options={"xtol": 1e-13})
        outer, slope = read(found.x)
        rounding = 1e-14 / (1 - outer) ** 2  # the second residual is divided by this square
        if abs(found.fun[0]) < 1e-7 and abs(found.fun[1]) < max(1e-7, rounding):
            return outer, slope, _frozen_averages(signal, outer, kernel, slope)[0]
    raise RuntimeError(f"no one-step state found at the ratio {signal} of signal to noise")


def _frozen_load(signal: float, kernel: _Kernel, memory: list) -> float:
    """The load of that state; ``memory`` keeps the last solution as a first guess."""
    outer, slope, m = _frozen_retrieval(signal, kernel, memory[0])
    memory[0] = outer, slope * math.sqrt(kernel.at_one)
    return m ** (2 * kernel.order - 2) / signal**2


def _capacity(kernel: _Kernel) -> tuple[float, float]:
    """Largest load with a one-step retrieval state at T = 0, and its signal over √γ."""
    memory = [None]
    signal = _SQRT2 * math.sqrt(kernel.at_one) * _critical_ratio(kernel.order)
    load = _frozen_load(signal, kernel, memory)
    while (lower := _frozen_load(0.9 * signal, kernel, memory)) > load:  # weaker, until it falls
        signal, load = 0.9 * signal, lower
    found = minimize_scalar(lambda value: -_frozen_load(value, kernel, memory),
                            bounds=(0.9 * signal, signal / 0.9), method="bounded",
                            options={"xatol": 1e-9 * signal})  # fmt: skip
    return -float(found.fun), float(found.x)


def _at_zero(load, kernel, m, outer, slope) -> DenseRSB:
    """The state at T = 0 with these order parameters; slope in units of 1/√γ."""
    unit = math.sqrt(load)
    signal = m ** (kernel.order - 1) / unit
    found, square, log_w, mean_field, density = _frozen_averages(signal, outer, kernel, slope)
    stationarity = _frozen_stationarity(outer, slope, log_w, mean_field, kernel)
    residual = max(abs(found - m), abs(square - outer) if outer else 0.0, abs(stationarity))
    if not residual <= RESIDUAL:
        raise RuntimeError(f"residual {residual:.2g} at load {load}; allowed is {RESIDUAL:g}")
    gap = kernel.at_one - float(kernel.integral(1.0)) + float(kernel.integral(outer))
    gap -= outer * float(kernel.c(outer))
    energy = (1 - 1 / kernel.order) * m**kernel.order + unit * (slope / 2 * gap - log_w / slope)
    entropy = -float(kernel.slope(1.0)) * density**2 / 4
    return DenseRSB(load, m, 1.0, outer, 0.0, slope / unit, energy, energy, entropy, -math.inf,
                    False)  # fmt: skip


def dense_1rsb_capacity(*, order: int, convention: str = "ordered") -> DenseRSB:
    r"""Largest load with a retrieval state at T = 0, with one step of replica symmetry breaking.

    The state is labelled by the ratio of signal to noise, for which the equations of
    :func:`dense_1rsb` always have one solution; the load is largest at one ratio.

    Parameters
    ----------
    order : int
        P, even and at least 4.
    convention : {"ordered", "power"}

    Returns
    -------
    DenseRSB
        The state at the capacity; ``load`` is the capacity :math:`\gamma_c^{\rm 1RSB}`.

    Raises
    ------
    ValueError
        For an odd order, P = 2, or an unknown convention.

    Notes
    -----
    Taught in chapter 4.4, "Breaking the symmetry".
    """
    kernel = _kernel(order, convention)
    load, signal = _capacity(kernel)
    outer, slope, m = _frozen_retrieval(signal, kernel)
    return _at_zero(load, kernel, m, outer, slope)


def dense_1rsb(
    load: float,
    temperature: float,
    *,
    order: int,
    convention: str = "ordered",
    branch: str = "retrieval",
) -> DenseRSB:
    r"""State of a dense network with one step of replica symmetry breaking.

    Stationary point in :math:`m, q_0, q_1, x` of

    .. math:: f'&=\Bigl(1-\frac1P\Bigr)m^P-\frac{\beta'\gamma}2\bigl[\Gamma(1)-\Gamma(q_1)
              -(1-q_1)c(q_1)+x\bigl(\Gamma(q_1)-q_1c(q_1)-\Gamma(q_0)+q_0c(q_0)\bigr)\bigr]\\
              &\quad-\frac1{\beta'x}\int Dz\ln\int Dy\,(2\cosh h)^x,

    .. math:: h=\beta'\bigl[m^{P-1}+z\sqrt{\gamma c(q_0)}+y\sqrt{\gamma(c(q_1)-c(q_0))}\bigr].

    Parameters
    ----------
    load, temperature, order, convention
        As for :func:`dense_rs`.
    branch : {"retrieval", "glass"}
        The state connected to a stored pattern, or the one with m = 0 and :math:`q_0=0`.

    Returns
    -------
    DenseRSB
        Residuals of the equations are below 1e-10.

    Raises
    ------
    ValueError
        Where there is no such state: load too large, or temperature so high that the symmetric
        state is stable (retrieval) or that the paramagnet is (glass).
    RuntimeError
        If the solver does not reach the residual.

    Notes
    -----
    Taught in chapter 4.4, "Breaking the symmetry". Source: Albanese et al. (2021), who derive the
    same free energy by interpolation.
    """
    kernel = _kernel(order, convention)
    load = validate.real("load", load, low=0.0, strict=True)
    temperature = validate.real("temperature", temperature, low=0.0)
    validate.choice("branch", branch, ("retrieval", "glass"))
    if branch == "glass":
        if temperature == 0.0:
            return _at_zero(load, kernel, 0.0, 0.0, _frozen_glass_slope(kernel))
        return _warm_glass(load, 1 / temperature, kernel, convention)
    frozen = _frozen_at_load(load, kernel, convention)
    if temperature == 0.0:
        return frozen
    return _warm_retrieval(load, 1 / temperature, kernel, frozen)


def _frozen_at_load(load: float, kernel: _Kernel, convention: str) -> DenseRSB:
    capacity, weakest = _capacity(kernel)
    if load > capacity:
        raise ValueError(
            f"load is {load:g}; at order {kernel.order}, convention {convention!r} one-step "
            f"retrieval states at temperature 0 exist for loads up to {capacity:.6g} only"
        )
    strongest, memory = 1 / math.sqrt(load), [None]
    if strongest > 3 * math.sqrt(kernel.at_one):
        raise ValueError(
            f"load is {load:g}; so far below the capacity {capacity:.6g} the broken symmetry is "
            "not resolved in double precision (1 - q0 < 1e-3): use dense_rs"
        )
    signal = weakest
    while _frozen_load(1.1 * signal, kernel, memory) > load:  # small steps, each a good first guess
        signal *= 1.1
    if load < capacity:
        signal = brentq(lambda value: _frozen_load(value, kernel, memory) - load, signal,
                        1.1 * signal, xtol=1e-14 * strongest)  # fmt: skip
    outer, slope, m = _frozen_retrieval(signal, kernel, memory[0])
    return _at_zero(load, kernel, m, outer, slope)


def _warm_glass(load: float, beta: float, kernel: _Kernel, convention: str) -> DenseRSB:
    strength = beta * math.sqrt(load)
    start = _glass_onset(kernel)[1]

    def state(log_s):
        s = math.exp(log_s)
        x = _glass_breakpoint(s, kernel)
        return x, _glass_averages(x, s)

    def excess(log_s):
        x, averages = state(log_s)
        return log_s - math.log(strength) - math.log(float(kernel.c(averages[2]))) / 2

    low = math.log(start)
    if excess(low) >= 0:
        raise ValueError(
            f"temperature is {1 / beta:g}; at order {kernel.order}, convention {convention!r} and "
            f"load {load:g} a one-step glass is found up to "
            f"{math.sqrt(load) * _onset_temperature(start, kernel):.6g} only (where it sets in "
            "continuously, the last few per cent below are not resolved)"
        )
    high = math.log(strength) + math.log(kernel.at_one) / 2 + 1e-9
    log_s = brentq(lambda value: -excess(value), high, low, xtol=1e-15)
    s = math.exp(log_s)
    x, (log_w, mean, q, sech4) = state(log_s)
    integral, at_q = float(kernel.integral(q)), float(kernel.c(q))
    residual = max(abs(beta * math.sqrt(load * at_q) / s - 1),
                   s * s * abs(_glass_stationarity(x, s, kernel)))  # fmt: skip
    if not residual <= RESIDUAL:
        raise RuntimeError(f"residual {residual:.2g} at load {load}; allowed is {RESIDUAL:g}")
    bracket = _integral_gap(kernel, q, 1 - q) - (1 - q) * at_q + x * (integral - q * at_q)
    free = float(-beta * load / 2 * bracket - log_w / (beta * x))
    energy = -beta * load * (_integral_gap(kernel, q, 1 - q) + x * integral)
    replicon = 1 - beta**2 * load * float(kernel.slope(q)) * sech4
    return DenseRSB(load, 0.0, q, 0.0, x, beta * x, free, energy, beta * (energy - free), replicon,
                    replicon > 0)  # fmt: skip


def _onset_temperature(s: float, kernel: _Kernel) -> float:
    """T'/√γ of the one-step glass with field width s."""
    x = _glass_breakpoint(s, kernel)
    return math.sqrt(float(kernel.c(_glass_averages(x, s)[2]))) / s


_SMALLEST_WIDTH = 0.3  # below, the x-derivative is lost in rounding


def _glass_onset(kernel: _Kernel) -> tuple[bool, float]:
    """Whether the glass sets in with a jump of q, and the field width s at which it does."""

    def excess(s):
        return _glass_stationarity(1.0, s, kernel)

    high = 1.0
    while excess(high) <= 0:
        high *= 1.5
    low = high
    while low > _SMALLEST_WIDTH and excess(low) > 0:
        low /= 1.2
    if excess(low) > 0:
        return False, _SMALLEST_WIDTH
    return True, brentq(excess, low, high, xtol=1e-14)


class GlassTransition(NamedTuple):
    """Where the glass without retrieval sets in.

    Attributes
    ----------
    temperature : float
        T'/√γ at the transition.
    overlap : float
        q there, just below: 0 for a continuous transition.
    local : float
        T'/√γ below which q = 0 is locally unstable, √c'(0); 0 if it never is.
    """

    temperature: float
    overlap: float
    local: float


def glass_transition(*, order: int, convention: str = "ordered") -> GlassTransition:
    r"""Temperature at which a dense network without retrieval becomes a glass.

    Without retrieval the equations depend on :math:`\gamma\beta'^2` alone. At a discontinuous
    transition the breakpoint x of the one-step solution reaches 1; a continuous one lies where
    :math:`\gamma\beta'^2c'(0)=1`. The higher of the two is returned.

    Parameters
    ----------
    order : int
        P, even and at least 4.
    convention : {"ordered", "power"}

    Returns
    -------
    GlassTransition

    Raises
    ------
    ValueError
        For an odd order, P = 2, or an unknown convention.

    Notes
    -----
    Taught in chapter 4.4, "The glass".
    """
    kernel = _kernel(order, convention)
    local = math.sqrt(float(kernel.slope(0.0)))
    jumps, s = _glass_onset(kernel)
    if jumps:
        temperature = _onset_temperature(s, kernel)
        if temperature > local:
            return GlassTransition(temperature, _glass_averages(1.0, s)[2], local)
    return GlassTransition(local, 0.0, local)


def _warm_averages(m, outer, inner, x, load, beta, kernel):
    """Averages over z of ⟨tanh⟩, ⟨tanh⟩², ⟨tanh²⟩, ⟨ln 2cosh⟩, ln W and ⟨sech⁴⟩."""
    wide = beta * math.sqrt(load * float(kernel.c(outer)))
    narrow = beta * math.sqrt(load * float(kernel.c(inner) - kernel.c(outer)))
    z, weights, _ = _trapezoid(wide / max(1.0, narrow / 4))  # the average over y smooths
    y, _, inner_weights = _trapezoid(narrow, reach=9.0 + x * narrow)
    field = beta * m ** (kernel.order - 1) + wide * z[:, None] + narrow * y
    entropy = _log2cosh(field)
    exponent = x * entropy + inner_weights
    top = exponent.max(axis=1)
    weight = np.exp(exponent - top[:, None])
    total = weight.sum(axis=1)
    weight /= total[:, None]
    tangent = np.tanh(field)
    mean = (weight * tangent).sum(1)
    square = (weight * tangent**2).sum(1)
    quartic = (weight * (1 - tangent**2) ** 2).sum(1)
    columns = [mean, mean**2, square, (weight * entropy).sum(1), top + np.log(total), quartic]
    return [float(weights @ column) for column in columns]


def _warm_gap(outer, inner, kernel):
    ends = [float(kernel.integral(q)) - q * float(kernel.c(q)) for q in (inner, outer)]
    return ends[0] - ends[1]


def _warm_read(unknown):
    """m, q0, q1, x from ln(1 − m), ln(1 − q1), ln(q1 − q0), ln x."""
    m, inner = 1 - math.exp(unknown[0]), 1 - math.exp(unknown[1])
    return m, inner - math.exp(unknown[2]), inner, math.exp(unknown[3])


def _warm_solution(load, beta, kernel, guess):
    """The unknowns that solve the one-step equations, from a first guess, and their residual."""

    def residuals(point):
        m, outer, inner, x = point
        tangent, squared, square, mean, log_w, _ = _warm_averages(*point, load, beta, kernel)
        slope = beta**2 * load / 2 * _warm_gap(outer, inner, kernel) + mean / x - log_w / x**2
        return tangent - m, square - inner, squared - outer, slope

    def equations(unknown):
        if max(unknown) > 1:
            return [1e3] * 4
        point = m, outer, inner, x = _warm_read(unknown)
        if not (0 < m < 1 and 0 < inner < 1 and outer >= 0):
            return [1e3] * 4
        by_m, by_inner, by_outer, by_x = residuals(point)
        spread = inner - outer
        return [by_m / (1 - m), by_inner / (1 - inner), (by_outer - by_inner) / spread,
                by_x / spread**2]  # fmt: skip

    found = root(equations, guess, method="hybr", options={"xtol": 1e-13})
    m, outer, inner, x = point = _warm_read(np.minimum(found.x, 1))
    if not (inner - outer > 1e-6 and outer > 0 and 0 < x < 1 and m > 0.1 and inner < 1):
        return found.x, math.inf
    return found.x, max(map(abs, residuals(point)))


def _warm_path(load, beta, kernel, frozen):
    """The same by small steps of temperature, each extrapolated from the two before."""
    previous = None
    steps = np.linspace(0.2, 1.0, 9)
    for share, last in zip(steps, np.append(steps[0], steps), strict=False):
        here = beta / share
        if previous is None:
            guess = _warm_start(load, here, kernel, frozen)
        elif len(previous) == 1:
            guess = previous[0] + np.array([0, 1, 0, 1]) * math.log(share / last)
        else:
            guess = 2 * previous[1] - previous[0]
        unknown, residual = _warm_solution(load, here, kernel, guess)
        if not residual <= RESIDUAL:
            break
        previous = [*(previous or [])[-1:], unknown]
    return unknown, residual


def _warm_retrieval(load: float, beta: float, kernel: _Kernel, frozen: DenseRSB) -> DenseRSB:
    where = f"load is {load:g}, temperature {1 / beta:g}; "
    try:
        stable = _rs_state(load, beta, kernel, *_rs_retrieval(load, beta, kernel, "")).stable
    except ValueError:
        stable = False
    if stable:
        raise ValueError(where + "the symmetric retrieval state is stable there: use dense_rs")
    start = _warm_start(load, beta, kernel, frozen)
    unknown, residual = _warm_solution(load, beta, kernel, start)
    if not residual <= RESIDUAL:
        unknown, residual = _warm_path(load, beta, kernel, frozen)
    if not residual <= RESIDUAL:
        raise ValueError(where + f"no one-step retrieval state was found ({residual:.2g} left)")
    m, outer, inner, x = _warm_read(unknown)
    _, _, _, _, log_w, sech4 = _warm_averages(m, outer, inner, x, load, beta, kernel)
    missing = _integral_gap(kernel, inner, 1 - inner)
    bracket = missing - (1 - inner) * float(kernel.c(inner)) + x * _warm_gap(outer, inner, kernel)
    free = float((1 - 1 / kernel.order) * m**kernel.order - beta * load / 2 * bracket
                 - log_w / (beta * x))  # fmt: skip
    energy = -(m**kernel.order) / kernel.order - beta * load * (
        missing + x * float(kernel.integral(inner) - kernel.integral(outer))
    )
    replicon = 1 - beta**2 * load * float(kernel.slope(inner)) * sech4
    return DenseRSB(load, m, inner, outer, x, beta * x, free, energy, beta * (energy - free),
                    replicon, replicon > 0)  # fmt: skip


def _warm_start(load, beta, kernel, frozen):
    """Unknowns from the state at T = 0, with 1 − q1 and x linear in the temperature."""
    outer, slope = frozen.outer, frozen.slope * math.sqrt(load)
    signal = frozen.overlap ** (kernel.order - 1) / math.sqrt(load)
    density = _frozen_averages(signal, outer, kernel, slope)[4] / math.sqrt(load)
    left = min(density / beta, 0.5 * (1 - outer))
    return [math.log(1 - frozen.overlap), math.log(left), math.log(1 - left - outer),
            math.log(min(slope / math.sqrt(load) / beta, 0.8))]  # fmt: skip


# ---- ground states and exact enumeration ---------------------------------------------------------


def dense_ground_state(*, order: int, convention: str = "ordered") -> float:
    r"""Energy per spin of the one-step glass at T = 0, over √γ, times (P−1)!.

    It tends to :math:`-\sqrt{2\ln2\,\Gamma(1)}`, that of the random energy model, for large P.

    Parameters
    ----------
    order : int
        P, even and at least 4.
    convention : {"ordered", "power"}

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For an odd order, P = 2, or an unknown convention.

    Notes
    -----
    Taught in chapter 4.4, "The random-energy limit, and Gardner's picture".
    """
    kernel = _kernel(order, convention)
    return _at_zero(1.0, kernel, 0.0, 0.0, _frozen_glass_slope(kernel)).energy


def dense_first_order_load(*, order: int, convention: str = "ordered") -> float:
    """Load at which retrieval and glass have the same energy at T = 0.

    Both with one step of symmetry breaking; where :func:`dense_1rsb` does not resolve it, far
    below the capacity, the retrieval state is the symmetric one, which has the same energy there.

    Parameters
    ----------
    order : int
        P, even and at least 4.
    convention : {"ordered", "power"}

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For an odd order, P = 2, or an unknown convention.

    Notes
    -----
    Taught in chapter 4.4, "The random-energy limit, and Gardner's picture".
    """
    kernel = _kernel(order, convention)
    glass = dense_ground_state(order=order, convention=convention)
    capacity = _capacity(kernel)[0]

    def excess(load):
        try:
            retrieval = _frozen_at_load(load, kernel, convention).energy
        except ValueError:  # far below the capacity
            retrieval = dense_rs(load, 0.0, order=order, convention=convention).energy
        return retrieval - glass * math.sqrt(load)

    start = 0.5 / (glass * order) ** 2
    return brentq(excess, start, capacity, xtol=1e-13 * capacity)


def pattern_counts(patterns: int, spins: int, *, rng: np.random.Generator) -> np.ndarray:
    r"""How often each of the :math:`2^N` possible patterns is stored, for random patterns.

    For :func:`all_energies` the number of patterns costs nothing then.

    Parameters
    ----------
    patterns, spins : int
        K and N; N at most 24.
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray
        Shape (2^N,). Bit i of the index is 1 where :math:`\xi_i=-1`.

    Raises
    ------
    ValueError
        For counts below 1, more than 24 spins, or another kind of generator.
    """
    patterns = validate.whole("patterns", patterns)
    spins = validate.whole("spins", spins)
    if spins > 24:
        raise ValueError(f"spins is {spins}; allowed are up to 24, for 2^24 states")
    rng = validate.generator("rng", rng, np.random.Generator)
    states = 2**spins
    if patterns < states:
        return np.bincount(rng.integers(states, size=patterns), minlength=states).astype(float)
    return rng.multinomial(patterns, np.full(states, 1 / states)).astype(float)


def _hadamard(values: np.ndarray) -> np.ndarray:
    """Walsh–Hadamard transform of an array of 2^N numbers, at most six spins at a time."""
    result = np.asarray(values, dtype=np.float64)
    left = result.size.bit_length() - 1
    while left:
        bits = min(left, 6)
        result = (hadamard(2**bits, dtype=float) @ result.reshape(2**bits, -1)).T.ravel()
        left -= bits
    return result


def _spins_of(values: np.ndarray, name: str) -> int:
    spins = values.size.bit_length() - 1
    if values.size != 2**spins or spins < 1:
        raise ValueError(f"{name} has {values.size} entries; allowed are powers of two, 2^N")
    return spins


def all_energies(counts: np.ndarray, *, order: int, convention: str = "ordered") -> np.ndarray:
    r"""Energies of all :math:`2^N` states of a network, exactly, by two fast transforms.

    The energy is a convolution over the group of sign flips,

    .. math:: H(\sigma)=-N^{1-P}\sum_\xi n_\xi\,g(\xi\cdot\sigma),

    with the multiplicity :math:`n_\xi` of a pattern and :math:`g=e_P` (ordered) or
    :math:`g(S)=S^P/P!` (power). A Walsh–Hadamard transform makes it a product: the cost is
    :math:`O(N2^N)` for any number of patterns.

    Parameters
    ----------
    counts : numpy.ndarray
        :math:`n_\xi`, shape (2^N,), as of :func:`pattern_counts`.
    order : int
        P, even.
    convention : {"ordered", "power"}

    Returns
    -------
    numpy.ndarray
        Shape (2^N,), in units of 1/(P−1)!, states numbered as the patterns.

    Raises
    ------
    ValueError
        For an odd order, an unknown convention, or a shape other than (2^N,).

    Notes
    -----
    Taught in chapter 4.4, "Every state at once".
    """
    if validate.whole("order", order, low=2) % 2:
        raise ValueError(f"order is {order}; allowed are even numbers >= 2")
    convention = validate.choice("convention", convention, CONVENTIONS)
    counts = validate.array("counts", counts, dimensions=1)
    spins = _spins_of(counts, "counts")
    distance = np.bitwise_count(np.arange(counts.size))
    sums = spins - 2 * np.arange(spins + 1)
    if convention == "power":
        table = sums.astype(float) ** order / math.factorial(order)
    else:
        table = np.array([
            sum((-1) ** k * math.comb(d, k) * math.comb(spins - d, order - k)
                for k in range(order + 1))
            for d in range(spins + 1)
        ], dtype=float)  # fmt: skip
    energies = _hadamard(_hadamard(counts) * _hadamard(table[distance])) / counts.size
    return -(float(spins) ** (1 - order)) * math.factorial(order - 1) * energies


def overlap_distribution(energies: np.ndarray, temperature: float) -> np.ndarray:
    r"""Distribution of the overlap of two replicas, exactly, from the energies of all states.

    Parameters
    ----------
    energies : numpy.ndarray
        Shape (2^N,), as of :func:`all_energies`.
    temperature : float
        T', positive.

    Returns
    -------
    numpy.ndarray
        Probabilities of :math:`q=1-2d/N` for d = 0 … N, shape (N + 1,).

    Raises
    ------
    ValueError
        For a shape other than (2^N,) or a temperature that is not positive.

    Notes
    -----
    Taught in chapter 4.4, "Every state at once".
    """
    energies = validate.array("energies", energies, dimensions=1)
    spins = _spins_of(energies, "energies")
    temperature = validate.real("temperature", temperature, low=0.0, strict=True)
    weights = np.exp(-(energies - energies.min()) / temperature)
    weights /= weights.sum()
    pairs = _hadamard(_hadamard(weights) ** 2) / energies.size
    distance = np.bitwise_count(np.arange(energies.size))
    return np.bincount(distance, weights=pairs, minlength=spins + 1)
