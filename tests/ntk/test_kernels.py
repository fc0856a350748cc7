"""The infinite-width kernels against the reference table, independent routes and identities."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course.ntk import infinite_width_kernels
from course.ntk import kernels as module

POINTS = np.array([(1, 0.5, -0.5), (0, 1, 1), (-1, 0.3, 0.2), (2, -1, 0.5)])
SIGMA_B = math.sqrt(0.1)
TABLE = {
    "relu": (2.0, [1.06563996, 1.17421635, 5.0, 1.91915280, 1.61566298]),
    "erf": (1.5, [0.27424308, -0.05260416, 2.81046941, 0.58665229, -0.77520960]),
}


def picked(kernels):
    nngp, ntk = kernels
    return np.array([nngp[0, 1], nngp[2, 3], ntk[0, 0], ntk[0, 1], ntk[2, 3]])


@pytest.mark.parametrize("activation", ["relu", "erf", torch.erf])
def test_reference_table(activation):
    key = activation if isinstance(activation, str) else "erf"
    variance, expected = TABLE[key]
    kernels = infinite_width_kernels(
        POINTS, depth=3, activation=activation, sigma_w=math.sqrt(variance), sigma_b=SIGMA_B
    )
    # The table has eight decimals.
    np.testing.assert_allclose(picked(kernels), expected, rtol=0, atol=1e-8)


def mpmath_relu(x1, x2, depth, variance_w, variance_b):
    """The textbook recursion with 60 digits, for one pair."""
    with mpmath.workdps(60):
        x1, x2 = ([mpmath.mpf(float(v)) for v in x] for x in (x1, x2))
        w, b = mpmath.mpf(variance_w), mpmath.mpf(variance_b)

        def inner(x, y):
            return w * sum(s * t for s, t in zip(x, y, strict=True)) / len(x) + b

        q1, q2, k = inner(x1, x1), inner(x2, x2), inner(x1, x2)
        theta = k
        for _ in range(depth):
            root = mpmath.sqrt(q1 * q2)
            cosine = k / root
            angle = mpmath.acos(max(min(cosine, mpmath.mpf(1)), mpmath.mpf(-1)))
            k = w * root / (2 * mpmath.pi) * (mpmath.sin(angle) + (mpmath.pi - angle) * cosine) + b
            theta = k + w * (mpmath.pi - angle) / (2 * mpmath.pi) * theta
            q1, q2 = w * q1 / 2 + b, w * q2 / 2 + b
        return k, theta, mpmath.sqrt(q1 * q2) - k


@pytest.mark.parametrize("offset", [1.0, 1e-3, 1e-6, 1e-9, 0.0])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("variance_b", [0.0, 0.25])
def test_relu_near_duplicates_and_antipodes(offset, sign, variance_b):
    x = np.array([[0.3, -1.2, 0.7, 0.1]])
    y = sign * x + offset * np.array([[0.4, 0.2, -0.5, 1.0]])
    for depth in (1, 3):
        nngp, ntk = infinite_width_kernels(
            x, y, depth=depth, sigma_w=math.sqrt(2.0), sigma_b=math.sqrt(variance_b)
        )
        k, theta, _ = mpmath_relu(x[0], y[0], depth, 2.0, variance_b)
        # Twenty roundings of numbers of order 1; an arccos of the cosine fails at 1e-8.
        assert abs(nngp[0, 0] - float(k)) < 5e-15
        assert abs(ntk[0, 0] - float(theta)) < 2e-14


def test_relu_angle_of_near_duplicates_keeps_relative_precision():
    # Theta - its value for a duplicate is -theta/pi at leading order: only an angle that is
    # precise relative to itself gives it at a separation of 1e-6.
    x = np.array([[1.0, 0.0]])
    y = np.array([[math.cos(1e-6), math.sin(1e-6)]])
    settings_ = {"depth": 1, "sigma_w": math.sqrt(2.0), "sigma_b": 0.0}
    gap = (
        infinite_width_kernels(x, x, **settings_).ntk
        - infinite_width_kernels(x, y, **settings_).ntk
    )
    assert gap[0, 0] * math.pi == pytest.approx(1e-6, rel=1e-5)


def test_gelu_closed_form_equals_quadrature():
    closed = infinite_width_kernels(
        POINTS, depth=3, activation="gelu", sigma_w=1.2, sigma_b=SIGMA_B
    )
    numerical = infinite_width_kernels(
        POINTS, depth=3, activation=torch.nn.functional.gelu, sigma_w=1.2, sigma_b=SIGMA_B
    )
    for left, right in zip(closed, numerical, strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=1e-11)


@pytest.mark.parametrize("function", [torch.sign, torch.nn.functional.elu])
def test_quadrature_that_does_not_converge_says_so(function):
    with pytest.raises(ValueError, match="does not converge"):
        infinite_width_kernels(POINTS, depth=1, activation=function, sigma_w=1.0, sigma_b=0.1)


@pytest.mark.parametrize(
    "function", [torch.relu, torch.nn.functional.relu, torch.nn.ReLU(), torch.nn.ReLU(inplace=True)]
)
def test_torch_relu_is_the_relu(function):
    arguments = {"depth": 2, "sigma_w": 1.3, "sigma_b": 0.2}
    kernels = infinite_width_kernels(POINTS, activation=function, **arguments)
    expected = infinite_width_kernels(POINTS, activation="relu", **arguments)
    np.testing.assert_array_equal(kernels.ntk, expected.ntk)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize(("right", "left"), [(1.0, 0.2), (1.0, -1.0), (1.0, 0.0)])
def test_functions_with_a_kink_on_the_diagonal(right, left, depth):
    def function(z):
        return right * torch.relu(z) - left * torch.relu(-z)

    rng = np.random.default_rng(8)
    x = rng.standard_normal((20, 5))
    kernels = infinite_width_kernels(
        x, x.copy(), depth=depth, activation=function, sigma_w=1.3, sigma_b=0.2
    )
    half = (right**2 + left**2) / 2  # E phi(u)² = half q, E phi'(u)² = half
    q = theta = 1.69 * (x**2).mean(1) + 0.04
    for _ in range(depth):
        q = 1.69 * half * q + 0.04
        theta = q + 1.69 * half * theta
    np.testing.assert_allclose(np.diagonal(kernels.nngp), q, rtol=1e-13)
    # From the second layer on, a cosine that is rounded by 1e-16 turns the angle by 1e-8.
    np.testing.assert_allclose(np.diagonal(kernels.ntk), theta, rtol=1e-13 if depth == 1 else 1e-7)


def mpmath_erf_ntk(x, y):
    with mpmath.workdps(60):
        q1, q2, k = (
            sum(mpmath.mpf(s) * mpmath.mpf(t) for s, t in zip(a, b, strict=True)) / 2 + 1
            for a, b in ((x, x), (y, y), (x, y))
        )
        product = (1 + 2 * q1) * (1 + 2 * q2)
        first = 2 / mpmath.pi * mpmath.asin(2 * k / mpmath.sqrt(product)) + 1
        slope = 4 / mpmath.pi / mpmath.sqrt(product - 4 * k**2)
        return float(first), float(first + slope * k)


def mpmath_gelu_ntk(x, y):
    with mpmath.workdps(60):
        q1, q2, k = (
            sum(mpmath.mpf(s) * mpmath.mpf(t) for s, t in zip(a, b, strict=True)) / 2 + 1
            for a, b in ((x, x), (y, y), (x, y))
        )
        product = (1 + q1) * (1 + q2)
        determinant = product - k**2
        both = mpmath.mpf(1) / 4 + mpmath.asin(k / mpmath.sqrt(product)) / (2 * mpmath.pi)
        curvature = (1 - q1 * q2) / product
        rest = q1 * q2 + curvature * k**2
        root = 2 * mpmath.pi * mpmath.sqrt(determinant)
        first = k * both + rest / root + 1
        slope = both + k * (1 + 2 * curvature + rest / determinant) / root
        return float(first), float(first + slope * k)


@pytest.mark.parametrize("size", [1.0, 1e4, 1e8])
@pytest.mark.parametrize("offset", [0.0, 1e-9, 0.1])
@pytest.mark.parametrize(("name", "exact"), [("erf", mpmath_erf_ntk), ("gelu", mpmath_gelu_ntk)])
def test_large_inputs_keep_their_precision(name, exact, size, offset):
    x = size * np.array([[0.3, -1.2]])
    y = x * (1 + offset * np.array([[1.0, -0.5]]))
    found = infinite_width_kernels(x, y, depth=1, activation=name, sigma_w=1.0, sigma_b=1.0)
    expected = exact(x[0], y[0])
    # Rounding of a direction by 1e-16 moves a separation of 1e-9 by 1e-7 of itself; that enters
    # the kernel of erf in full, once the points are large.
    rel = 1e-13 if offset != 1e-9 else 1e-6
    for value, target in zip(found, expected, strict=True):
        assert value[0, 0] == pytest.approx(target, rel=rel)


def test_depth_zero_is_the_linear_kernel():
    nngp, ntk = infinite_width_kernels(POINTS, depth=0, sigma_w=1.5, sigma_b=0.5)
    np.testing.assert_allclose(nngp, 2.25 * POINTS @ POINTS.T / 3 + 0.25, rtol=1e-14)
    np.testing.assert_array_equal(nngp, ntk)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_linear_network_in_closed_form(depth):
    nngp, ntk = infinite_width_kernels(
        POINTS, depth=depth, activation="linear", sigma_w=1.2, sigma_b=0.0
    )
    gram = POINTS @ POINTS.T / 3 * 1.2 ** (2 * depth + 2)
    np.testing.assert_allclose(nngp, gram, rtol=0, atol=1e-13)
    np.testing.assert_allclose(ntk, (depth + 1) * gram, rtol=0, atol=1e-13)


@pytest.mark.parametrize("activation", ["relu", "erf", "gelu", "tanh", torch.sin])
@pytest.mark.parametrize("sigma_b", [0.0, 0.4])
def test_gradients(activation, sigma_b):
    # Distinct points: first and second argument, and both standard deviations.
    rng = np.random.default_rng(3)
    x1, x2 = (torch.tensor(rng.standard_normal((n, 3)), requires_grad=True) for n in (2, 3))
    sigma_w = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
    sigma_b = torch.tensor(sigma_b, dtype=torch.float64, requires_grad=sigma_b > 0)

    def both(x1, x2, sigma_w, sigma_b):
        return tuple(
            infinite_width_kernels(
                x1, x2, depth=2, activation=activation, sigma_w=sigma_w, sigma_b=sigma_b
            )
        )

    # One random projection instead of every entry where the quadrature makes them slow.
    fast = activation in ("tanh", torch.sin)
    assert torch.autograd.gradcheck(both, (x1, x2, sigma_w, sigma_b), fast_mode=fast)


@pytest.mark.parametrize("activation", ["relu", "erf", "gelu", "tanh"])
def test_gradient_on_the_diagonal(activation):
    # Same points on both sides: the diagonal moves smoothly with x, and has no NaN.
    rng = np.random.default_rng(4)
    x = torch.tensor(rng.standard_normal((3, 3)), requires_grad=True)

    def kernels(x):
        return tuple(
            infinite_width_kernels(x, depth=2, activation=activation, sigma_w=0.9, sigma_b=0.4)
        )

    assert torch.autograd.gradcheck(kernels, (x,), fast_mode=activation == "tanh")


@pytest.mark.parametrize("activation", ["erf", "gelu"])
def test_gradient_at_duplicates_of_smooth_activations(activation):
    x = torch.tensor([[1.0, 2.0], [1.0, 2.0], [-1.0, -2.0]], dtype=torch.float64)

    def kernels(x1, x2):
        return tuple(
            infinite_width_kernels(x1, x2, depth=2, activation=activation, sigma_w=0.9, sigma_b=0.4)
        )

    assert torch.autograd.gradcheck(kernels, (x.clone().requires_grad_(), x.requires_grad_()))


@pytest.mark.parametrize("activation", ["relu", "erf", "gelu", torch.nn.functional.leaky_relu])
def test_second_derivatives_of_near_duplicates(activation):
    # Enough close pairs in enough dimensions for the distance matrix, were no gradient asked for.
    rng = np.random.default_rng(2)
    x = torch.tensor(1 + 0.01 * rng.standard_normal((3, 4)), requires_grad=True)

    def kernels(x):
        return infinite_width_kernels(
            x, depth=2, activation=activation, sigma_w=0.9, sigma_b=0.4
        ).nngp

    assert torch.autograd.gradgradcheck(kernels, (x,), eps=1e-7, rtol=1e-2)


@pytest.mark.parametrize("sigma_b", [0.0, 0.4])
@pytest.mark.parametrize(
    "activation", ["relu", "erf", "gelu", torch.nn.functional.leaky_relu, torch.abs]
)
def test_gradient_is_finite_at_duplicates_antipodes_and_zero(activation, sigma_b):
    x = torch.tensor(
        [[1.0, 2.0], [1.0, 2.0], [-1.0, -2.0], [2.0, 4.0], [0.0, 0.0]],
        dtype=torch.float64,
        requires_grad=True,
    )
    kernels = infinite_width_kernels(
        x, depth=3, activation=activation, sigma_w=1.4, sigma_b=sigma_b
    )
    (gradient,) = torch.autograd.grad(kernels.nngp.sum() + kernels.ntk.sum(), x)
    assert torch.isfinite(gradient).all()
    assert torch.isfinite(kernels.ntk).all()


def test_blocks_of_rows_change_nothing(monkeypatch):
    rng = np.random.default_rng(5)
    x1, x2 = rng.standard_normal((7, 4)), rng.standard_normal((5, 4))
    for activation in ("relu", "gelu", "tanh"):
        arguments = {"depth": 2, "activation": activation, "sigma_w": 1.3, "sigma_b": 0.2}
        whole = infinite_width_kernels(x1, x2, **arguments)
        monkeypatch.setattr(module, "BLOCK_ENTRIES", 10)
        parts = infinite_width_kernels(x1, x2, **arguments)
        monkeypatch.undo()
        # Quadrature may take another number of nodes for another range of variances.
        tolerance = 1e-9 if activation == "tanh" else 1e-13
        for left, right in zip(whole, parts, strict=True):
            np.testing.assert_allclose(left, right, rtol=tolerance)


def test_points_close_to_each_other_take_the_same_values_on_both_routes():
    # Few close pairs are refined one by one, many by a distance matrix.
    rng = np.random.default_rng(6)
    x = 1 + 1e-3 * rng.standard_normal((40, 30))
    whole = infinite_width_kernels(x, depth=2, sigma_w=1.4, sigma_b=0.1).ntk
    single = [
        infinite_width_kernels(x[i : i + 1], x[j : j + 1], depth=2, sigma_w=1.4, sigma_b=0.1).ntk
        for i in range(3)
        for j in range(40)
    ]
    np.testing.assert_allclose(whole[:3].ravel(), np.concatenate(single).ravel(), rtol=1e-14)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    depth=st.integers(0, 4),
    activation=st.sampled_from(["relu", "erf", "gelu", "linear"]),
    sigma_w=st.floats(0.3, 2.0),
    sigma_b=st.floats(0.0, 1.0),
)
def test_symmetric_positive_semidefinite_and_rotation_invariant(
    seed, depth, activation, sigma_w, sigma_b
):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((6, 4))
    rotation = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    arguments = {
        "depth": depth,
        "activation": activation,
        "sigma_w": sigma_w,
        "sigma_b": sigma_b,
    }
    kernels = infinite_width_kernels(x, **arguments)
    turned = infinite_width_kernels(x @ rotation, x, **arguments)
    straight = infinite_width_kernels(x, x @ rotation.T, **arguments)
    for k, left, right in zip(kernels, turned, straight, strict=True):
        size = np.abs(k).max()
        np.testing.assert_allclose(k, k.T, rtol=0, atol=1e-14 * size)
        assert np.linalg.eigvalsh((k + k.T) / 2).min() > -1e-12 * size
        np.testing.assert_allclose(left, right, rtol=0, atol=1e-12 * size)


def relu_diagonal(x, depth, sigma_w, sigma_b):
    q = theta = sigma_w**2 * float(x @ x) / len(x) + sigma_b**2
    for _ in range(depth):
        q = sigma_w**2 * q / 2 + sigma_b**2
        theta = q + sigma_w**2 / 2 * theta
    return theta


def test_types():
    single = POINTS.astype(np.float32)
    arguments = {"depth": 2, "sigma_w": 1.4, "sigma_b": 0.1}
    from_numpy = infinite_width_kernels(single, **arguments)
    assert isinstance(from_numpy.ntk, np.ndarray)
    assert from_numpy.ntk.dtype == np.float64
    # 1.4 and 0.1 are no float32 numbers: a silent cast would show at 1e-8.
    double = infinite_width_kernels(single.astype(np.float64), **arguments)
    np.testing.assert_array_equal(from_numpy.ntk, double.ntk)
    assert from_numpy.ntk[3, 3] == pytest.approx(relu_diagonal(POINTS[3], 2, 1.4, 0.1), rel=1e-14)
    from_torch = infinite_width_kernels(torch.tensor(single), **arguments)
    assert from_torch.nngp.dtype == torch.float64
    np.testing.assert_allclose(from_torch.ntk.numpy(), from_numpy.ntk, rtol=1e-15)
    assert infinite_width_kernels(POINTS.tolist(), **arguments).ntk.shape == (4, 4)


def test_any_order_of_bytes_and_axes():
    arguments = {"depth": 2, "sigma_w": 1.4, "sigma_b": 0.1}
    expected = infinite_width_kernels(POINTS[::-1].copy(), **arguments).ntk
    frozen = POINTS[::-1].copy()
    frozen.flags.writeable = False
    for x in (POINTS[::-1], POINTS[::-1].astype(">f8"), np.asfortranarray(POINTS[::-1]), frozen):
        np.testing.assert_array_equal(infinite_width_kernels(x, **arguments).ntk, expected)
    half = infinite_width_kernels(POINTS.astype(np.float16), **arguments).ntk
    rounded = infinite_width_kernels(POINTS.astype(np.float16).tolist(), **arguments).ntk
    np.testing.assert_array_equal(half, rounded)


GOOD = {"depth": 1, "sigma_w": 1.0, "sigma_b": 0.1}


@pytest.mark.parametrize(
    ("x1", "x2", "changes", "message"),
    [
        (POINTS, POINTS[:, :2], {}, "x2 has 2 inputs"),
        (POINTS[0], None, {}, r"x1 has shape \(3,\)"),
        (POINTS[:0], None, {}, r"x1 has shape \(0, 3\)"),
        (np.full((2, 3), np.nan), None, {}, "x1 contains NaN"),
        (POINTS, np.full((2, 3), np.inf), {}, "x2 contains NaN or infinity"),
        (POINTS * 1j, None, {}, "of dtype complex128; allowed are real"),
        (torch.tensor(POINTS * 1j), None, {}, "x1 has dtype"),
        (POINTS.astype(object), None, {}, "(?s)x1 is .* of dtype object"),
        (POINTS * 1e200, None, {}, r"x1 has entries up to 2\.0e\+200; the kernels overflow"),
        (POINTS, POINTS * 1e200, {"activation": "erf"}, "x1 and x2 have entries up to"),
        ([["a", "b"]], None, {}, "x1 is"),
        (POINTS, None, {"depth": -1}, "depth is -1"),
        (POINTS, None, {"depth": 1.5}, "depth is 1.5"),
        (POINTS, None, {"depth": True}, "depth is True"),
        (POINTS, None, {"activation": "rleu"}, "activation is 'rleu'; allowed are .*'relu'"),
        (POINTS, None, {"activation": 3}, "activation is 3"),
        (POINTS, None, {"activation": torch.sum}, "does not map a float64 tensor"),
        (POINTS, None, {"activation": np.tanh}, "activation is .*tanh.* fails on a float64"),
        (POINTS, None, {"activation": math.tanh}, "activation is .*tanh.* fails on a float64"),
        (POINTS, None, {"activation": torch.tanh_}, "activation is .* changes its input"),
        (POINTS, None, {"activation": lambda z: z - z.mean()}, "activation is .* mixes"),
        (POINTS, None, {"sigma_w": 0.0}, "sigma_w is 0.0"),
        (POINTS, None, {"sigma_w": -1.0}, "sigma_w is -1.0"),
        (POINTS, None, {"sigma_w": math.nan}, "sigma_w is nan"),
        (POINTS, None, {"sigma_w": [1.0, 2.0]}, "sigma_w is"),
        (POINTS, None, {"sigma_b": -0.1}, "sigma_b is -0.1"),
        (POINTS, None, {"sigma_b": None}, "sigma_b is None"),
    ],
)
def test_bad_input(x1, x2, changes, message):
    with pytest.raises(ValueError, match=message):
        infinite_width_kernels(x1, x2, **(GOOD | changes))
