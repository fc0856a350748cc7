"""Kernel gradient flow: the solved flow by other routes, its limits, and the trained networks."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from course.activations import find_activation
from course.data import circle
from course.ntk.gradient_flow import (
    flow_filter,
    flow_operator,
    lazy_ensemble,
    linearised_outputs,
    stopping_curve,
    train_ensemble,
)
from course.ntk.kernels import infinite_width_kernels

X_TRAIN = np.array([[1, 0.5, -0.5], [0, 1, 1], [-1, 0.3, 0.2]])
X_TEST = np.array([[2, -1, 0.5], [0.3, 0.2, -0.9]])
Y = np.array([1, -1, 0.5])
ERF = {"depth": 1, "activation": "erf", "sigma_w": 1.5**0.5, "sigma_b": 0.1**0.5}
RELU3 = {"depth": 3, "activation": "relu", "sigma_w": 2**0.5, "sigma_b": 0.1**0.5}
ROUNDING = 1e-10


@pytest.mark.parametrize(
    ("time", "trained", "mean", "variance"),
    [
        (1, "all", 0.00078792, 0.65545634),
        (math.inf, "all", -0.32862261, 0.64350786),
        (math.inf, "readout", -0.17765768, 0.62531036),
    ],
)
def test_independent_checkpoints(time, trained, mean, variance):
    result = lazy_ensemble(X_TRAIN, Y, X_TEST[:1], time=time, trained=trained, **ERF)
    np.testing.assert_allclose(result.mean, [mean], atol=1e-8)  # checkpoints have 8 digits
    np.testing.assert_allclose(result.covariance, [[variance]], atol=1e-8)


@pytest.mark.parametrize("settings", [ERF, RELU3])
def test_operator_matches_matrix_exponential(settings):
    theta = infinite_width_kernels(X_TRAIN, **settings).ntk
    cross = infinite_width_kernels(X_TEST, X_TRAIN, **settings).ntk
    for time in (1e-6, 0.3, 5.0):
        expected = cross @ np.linalg.solve(theta, np.eye(3) - expm(-theta * time))
        np.testing.assert_allclose(
            flow_operator(theta, cross, time=time), expected, atol=ROUNDING, rtol=0
        )


def test_mean_solves_the_function_space_equation():
    kernels = [infinite_width_kernels(x, X_TRAIN, **RELU3).ntk for x in (X_TRAIN, X_TEST)]
    theta = np.concatenate(kernels)

    def velocity(_, outputs):
        return -theta @ (outputs[:3] - Y)

    end = solve_ivp(velocity, (0, 0.7), np.zeros(5), rtol=1e-11, atol=1e-12).y[:, -1]
    mean = lazy_ensemble(X_TRAIN, Y, np.concatenate([X_TRAIN, X_TEST]), time=0.7, **RELU3).mean
    np.testing.assert_allclose(mean, end, atol=1e-9)  # a hundred times the solver's tolerance


def test_covariance_matches_samples_pushed_through_the_linear_map():
    """Second route: E of outer products of f0 - M f0(X), with M from the equation of motion."""
    points = np.concatenate([X_TRAIN, X_TEST])
    joint = infinite_width_kernels(points, **ERF)
    generator_matrix = np.zeros((5, 5))
    generator_matrix[:, :3] = -joint.ntk[:, :3]
    push = expm(generator_matrix * 1.3)
    expected = (push @ joint.nngp @ push.T)[3:, 3:]
    result = lazy_ensemble(X_TRAIN, Y, X_TEST, time=1.3, **ERF)
    np.testing.assert_allclose(result.covariance, expected, atol=ROUNDING)


def test_gradient_descent_matches_explicit_iteration():
    points = np.concatenate([X_TRAIN, X_TEST])
    theta = infinite_width_kernels(points, X_TRAIN, **ERF).ntk
    for eta in (0.2, 0.7):  # 0.7 × largest eigenvalue (2.19) lies between 1 and 2
        outputs = np.zeros(5)
        for _ in range(9):
            outputs = outputs - eta * theta @ (outputs[:3] - Y)
        mean = lazy_ensemble(X_TRAIN, Y, points, time=9 * eta, learning_rate=eta, **ERF).mean
        np.testing.assert_allclose(mean, outputs, atol=ROUNDING)


def test_time_zero_is_the_prior():
    start = lazy_ensemble(X_TRAIN, Y, X_TEST, time=0, **ERF)
    np.testing.assert_array_equal(start.mean, [0, 0])
    prior = infinite_width_kernels(X_TEST, **ERF).nngp
    np.testing.assert_allclose(start.covariance, prior, atol=ROUNDING)


def test_infinite_time_interpolates_without_variance():
    end = lazy_ensemble(X_TRAIN, Y, X_TRAIN, time=math.inf, **RELU3)
    np.testing.assert_allclose(end.mean, Y, atol=ROUNDING)
    np.testing.assert_allclose(end.covariance, np.zeros((3, 3)), atol=ROUNDING)
    np.testing.assert_allclose(end.standard_deviation, 0, atol=1e-5)  # root of ROUNDING


def test_readout_training_ends_at_the_posterior():
    k = [infinite_width_kernels(a, b, **ERF).nngp for a, b in
         [(X_TRAIN, X_TRAIN), (X_TEST, X_TRAIN), (X_TEST, X_TEST)]]  # fmt: skip
    end = lazy_ensemble(X_TRAIN, Y, X_TEST, time=math.inf, trained="readout", **ERF)
    np.testing.assert_allclose(end.mean, k[1] @ np.linalg.solve(k[0], Y), atol=ROUNDING)
    posterior = k[2] - k[1] @ np.linalg.solve(k[0], k[1].T)
    np.testing.assert_allclose(end.covariance, posterior, atol=ROUNDING)


def test_several_outputs_are_independent_columns():
    labels = np.stack([Y, Y**2], axis=1)
    both = lazy_ensemble(X_TRAIN, labels, X_TEST, time=2.0, **ERF)
    assert both.mean.shape == (2, 2)
    for column in range(2):
        alone = lazy_ensemble(X_TRAIN, labels[:, column], X_TEST, time=2.0, **ERF)
        np.testing.assert_allclose(both.mean[:, column], alone.mean, atol=ROUNDING)
        np.testing.assert_allclose(both.covariance, alone.covariance, atol=ROUNDING)


@pytest.mark.parametrize("time", [math.inf, 1e15])
@pytest.mark.parametrize("settings", [ERF, RELU3])
def test_contradicting_duplicates_end_at_their_average(time, settings):
    twice = np.concatenate([X_TRAIN, X_TRAIN[:1]])
    singular = lazy_ensemble(twice, [*Y, 3.0], X_TEST, time=time, **settings)
    merged = lazy_ensemble(X_TRAIN, [2.0, -1, 0.5], X_TEST, time=math.inf, **settings)
    np.testing.assert_allclose(singular.mean, merged.mean, atol=1e-9)
    np.testing.assert_allclose(singular.covariance, merged.covariance, atol=1e-9)


def test_duplicates_at_finite_time_solve_the_equation_of_motion():
    twice = np.concatenate([X_TRAIN, X_TRAIN[:1]])
    labels = np.array([*Y, 3.0])
    points = np.concatenate([twice, X_TEST])
    motion = np.zeros((6, 6))
    motion[:, :4] = -infinite_width_kernels(points, twice, **ERF).ntk
    pushed = (np.eye(6) - expm(0.8 * motion))[4:, :4] @ labels
    mean = lazy_ensemble(twice, labels, X_TEST, time=0.8, **ERF).mean
    np.testing.assert_allclose(mean, pushed, atol=ROUNDING)


def test_low_rank_kernel_ends_at_least_squares():
    """A linear network on more points than dimensions: Θ is singular, labels cannot be met."""
    rng = np.random.default_rng(0)
    x, y, x_test = rng.normal(size=(12, 2)), rng.normal(size=12), rng.normal(size=(4, 2))
    linear = {"depth": 0, "sigma_w": 1.0, "sigma_b": 0.5}
    end = lazy_ensemble(x, y, x_test, time=math.inf, **linear)
    with_bias = [np.c_[a, np.ones(len(a))] for a in (x, x_test)]
    fitted = with_bias[1] @ np.linalg.lstsq(with_bias[0], y, rcond=None)[0]
    np.testing.assert_allclose(end.mean, fitted, atol=1e-9)
    np.testing.assert_allclose(end.covariance, 0, atol=1e-9)


def test_filter_is_stable_for_small_products_and_zero():
    tiny = flow_filter([0.0, 1e-18, 1e-9], 3.0)
    np.testing.assert_allclose(tiny, [3, 3, 3 * (1 - 1.5e-9)], rtol=1e-14)
    np.testing.assert_array_equal(flow_filter([0.0, 2.0], math.inf), [math.inf, 0.5])
    steps = flow_filter([0.0, 1e-12, 0.5], 3.0, learning_rate=0.1)
    np.testing.assert_allclose(steps, [3, 3, (1 - 0.95**30) / 0.5], rtol=1e-10)


def test_flow_is_the_limit_of_small_steps():
    errors = [
        abs(flow_filter(1.7, 2.0, learning_rate=eta) - flow_filter(1.7, 2.0))
        for eta in (0.02, 0.01)
    ]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)  # first order in the step


def test_stopping_curve_matches_sampled_noise_and_starts():
    rng = np.random.default_rng(4)
    target, points = np.array([1.0, 0.2, -0.7]), np.concatenate([X_TRAIN, X_TEST])
    joint = infinite_width_kernels(points, **ERF)
    motion = np.zeros((5, 5))
    motion[:, :3] = -joint.ntk[:, :3]
    push = expm(0.9 * motion)
    samples = 200_000
    start = rng.multivariate_normal(np.zeros(5), joint.nngp, samples)
    labels = target + 0.6 * rng.standard_normal((samples, 3))
    shifted = start - np.concatenate([labels, np.zeros((samples, 2))], 1)
    outputs = (shifted @ push.T)[:, 3:]
    errors = ((outputs - [0.4, -0.1]) ** 2).mean(1)
    curve = stopping_curve(X_TRAIN, target, X_TEST, [0.4, -0.1], times=[0.9], noise=0.36, **ERF)
    stderr = errors.std() / samples**0.5
    assert curve.total[0] == pytest.approx(errors.mean(), abs=4 * stderr)
    parts = [curve.bias[0], curve.noise[0], curve.ensemble[0]]
    assert 4 * stderr < 0.1 * min(parts)  # so that leaving a part out would show


def test_best_time_of_a_stopping_curve_lies_at_its_minimum():
    angles = 2 * np.pi * np.arange(8) / 8
    times = np.geomspace(0.1, 100, 30)
    curve = stopping_curve(
        circle(angles), np.cos(angles), circle(angles + 0.3), np.cos(angles + 0.3),
        times=times, noise=1.0, **ERF,
    )  # fmt: skip
    assert times[0] < curve.best_time < times[-1]
    assert (curve.total >= curve.total[times == curve.best_time]).all()


def test_circle_kernels_have_fourier_modes():
    angles = 2 * np.pi * np.arange(7) / 7
    theta = infinite_width_kernels(circle(angles), **RELU3).ntk
    fourier = np.exp(1j * np.outer(angles, np.arange(7)))
    rotated = fourier.conj().T @ theta @ fourier
    np.testing.assert_allclose(rotated - np.diag(np.diag(rotated)), 0, atol=1e-10)


# ------------------------------------------------------------------------------- trained networks
def _autograd_training(x, y, x_test, weights, settings, eta, steps, scale, readout):
    """The same networks, one at a time, with torch.autograd."""
    function = find_activation(settings["activation"]).function
    x, y, x_test = (torch.as_tensor(a) for a in (x, y, x_test))
    weights = [w.clone().requires_grad_() for w in weights]

    def network(inputs):
        activity = inputs.T
        for layer, weight in enumerate(weights):
            activity = function(activity) if layer else activity
            field = settings["sigma_w"] / len(activity) ** 0.5 * weight[:, :-1] @ activity
            activity = field + settings["sigma_b"] * weight[:, -1:]
        return scale * activity[0]

    moving = weights[-1:] if readout else weights
    for _ in range(steps):
        loss = 0.5 * ((network(x) - y) ** 2).sum()
        for weight, slope in zip(moving, torch.autograd.grad(loss, moving), strict=True):
            weight.data -= eta / scale**2 * slope
    rows = []
    for point in torch.cat([x, x_test]):
        gradients = torch.autograd.grad(network(point[None])[0] / scale, moving)
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    jacobian = torch.stack(rows)
    kernel = jacobian @ jacobian[: len(x)].T
    return network(x).detach(), network(x_test).detach(), kernel


@pytest.mark.parametrize("trained", ["all", "readout"])
@pytest.mark.parametrize(
    ("depth", "activation", "scale"), [(1, "erf", 1.0), (3, "relu", 1.0), (2, "gelu", 0.3)]
)
def test_training_by_hand_agrees_with_autograd(depth, activation, scale, trained):
    settings = {"activation": activation, "sigma_w": 1.2, "sigma_b": 0.4}
    ensemble = train_ensemble(
        X_TRAIN, Y, X_TEST, steps=[0, 4], learning_rate=0.05, width=7, networks=3, depth=depth,
        output_scale=scale, trained=trained, kernel=True,
        generator=torch.Generator().manual_seed(1), **settings,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    sizes = [3, *[7] * depth, 1]
    draws = [
        torch.randn((3, rows, columns + 1), dtype=torch.float64, generator=generator)
        for rows, columns in zip(sizes[1:], sizes[:-1], strict=True)
    ]
    for record, steps in enumerate([0, 4]):
        for net in range(3):
            train, test, kernel = _autograd_training(
                X_TRAIN, Y, X_TEST, [d[net] for d in draws], settings, 0.05, steps, scale,
                trained == "readout",
            )  # fmt: skip
            np.testing.assert_allclose(ensemble.train[net, record], train, atol=1e-11)
            np.testing.assert_allclose(ensemble.test[net, record], test, atol=1e-11)
            np.testing.assert_allclose(ensemble.kernel[net, record], kernel, atol=1e-11)


def test_start_has_the_prior_covariance():
    start = train_ensemble(
        X_TRAIN, Y, X_TEST, steps=[0], learning_rate=0.1, width=64, networks=4000,
        generator=torch.Generator().manual_seed(2), **ERF,
    )  # fmt: skip
    outputs = np.concatenate([start.train, start.test], axis=2)[:, 0]
    products = outputs[:, :, None] * outputs[:, None]
    stderr = products.std(0) / 4000**0.5
    prior = infinite_width_kernels(np.concatenate([X_TRAIN, X_TEST]), **ERF).nngp
    assert (abs(products.mean(0) - prior) < 4.5 * stderr).all()  # the prior is exact at any width
    assert stderr.max() < 0.05


def test_linearised_outputs_are_descent_with_the_first_kernel():
    labels = np.stack([Y, -Y])
    ensemble = train_ensemble(
        X_TRAIN, labels, X_TEST, steps=[0, 1, 5], learning_rate=0.2, width=40, networks=2,
        kernel=True, generator=torch.Generator().manual_seed(3), **ERF,
    )  # fmt: skip
    linear = linearised_outputs(ensemble, labels, learning_rate=0.2)
    for net in range(2):
        outputs = np.concatenate([ensemble.train[net, 0], ensemble.test[net, 0]])
        for step in range(1, 6):
            outputs = outputs - 0.2 * ensemble.kernel[net, 0] @ (outputs[:3] - labels[net])
            if step in (1, 5):
                record = [0, 1, 5].index(step)
                np.testing.assert_allclose(linear[net, record], outputs[3:], atol=ROUNDING)


@pytest.mark.parametrize("width", [16, 40_000])  # one batch of both networks, or one for each
def test_a_label_row_for_each_network(width):
    shared = {
        "steps": [0, 3], "learning_rate": 0.1, "width": width, "networks": 2, **ERF,
    }  # fmt: skip
    own = train_ensemble(
        X_TRAIN, np.stack([Y, 2 * Y]), X_TEST, generator=torch.Generator().manual_seed(5), **shared
    )
    same = train_ensemble(X_TRAIN, Y, X_TEST, generator=torch.Generator().manual_seed(5), **shared)
    np.testing.assert_array_equal(own.test[0], same.test[0])
    assert abs(own.test[1, 1] - same.test[1, 1]).max() > 0.01


def test_divergence_raises():
    with pytest.raises(FloatingPointError, match="learning_rate=20"):
        train_ensemble(
            X_TRAIN, Y, X_TEST, steps=[400], learning_rate=20.0, width=32, networks=2,
            generator=torch.Generator().manual_seed(6), **RELU3,
        )  # fmt: skip


# --------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time": -1}, "time is -1"),
        ({"time": math.nan}, "time is nan"),
        ({"x_test": [[1, 2]]}, "x_test has 2 inputs"),
        ({"x_train": np.empty((0, 3)), "y_train": []}, "x_train has shape"),
        ({"x_train": [[1, np.nan, 0]] * 3}, "x_train contains NaN"),
        ({"y_train": [1, 2]}, "y_train has shape"),
        ({"y_train": [1, np.inf, 0]}, "y_train contains NaN or infinity"),
        ({"y_train": np.zeros((3, 1, 1))}, "y_train has shape"),
        ({"trained": "half"}, "trained is 'half'"),
        ({"learning_rate": 0}, "learning_rate is 0"),
        ({"learning_rate": 0.3}, "whole numbers of steps"),
        ({"depth": -1}, "depth is -1"),
        ({"activation": "sine"}, "activation is 'sine'"),
        ({"sigma_w": -1}, "sigma_w is -1"),
        *(({"time": time}, "time is .*allowed") for time in (None, [1.0], 1j, "1", True)),
        *(
            ({name: bad}, f"{name} is .*allowed")
            for name in ("x_train", "y_train", "x_test")
            for bad in ([[1j, 0, 0]], [["1", "2", "3"]], [[1.0], [1.0, 2.0]], None)
        ),
        ({"learning_rate": "a"}, "learning_rate is 'a'"),
        ({"learning_rate": True}, "learning_rate is True"),
        ({"trained": None}, "trained is None"),
        ({"trained": ["all"]}, "trained is .'all'."),
    ],
)
def test_bad_input_of_lazy_ensemble(change, message):
    good = {"x_train": X_TRAIN, "y_train": Y, "x_test": X_TEST, "time": 1.0, **ERF}
    with pytest.raises(ValueError, match=message):
        lazy_ensemble(**(good | change))


def test_tensors_that_require_gradients_are_data():
    x, y, x_test = (torch.tensor(part, requires_grad=True) for part in (X_TRAIN, Y, X_TEST))
    plain = lazy_ensemble(X_TRAIN, Y, X_TEST, time=1.0, **ERF)
    found = lazy_ensemble(x, y, x_test, time=1.0, **ERF)
    np.testing.assert_array_equal(found.mean, plain.mean)
    np.testing.assert_array_equal(found.covariance, plain.covariance)
    settings = {"steps": [0, 2], "learning_rate": 0.1, "width": 4, "networks": 2, **ERF}
    outputs = [
        train_ensemble(*data, generator=torch.Generator().manual_seed(0), **settings).test
        for data in ((x, y, x_test), (X_TRAIN, Y, X_TEST))
    ]
    np.testing.assert_array_equal(*outputs)


def test_infinite_descent_beyond_the_stable_step_is_refused():
    with pytest.raises(ValueError, match="diverges"):
        lazy_ensemble(X_TRAIN, Y, X_TEST, time=math.inf, learning_rate=1.0, **ERF)


@pytest.mark.parametrize(
    ("theta", "cross", "message"),
    [
        (np.ones((2, 3)), np.ones((1, 2)), "theta_train has shape"),
        (np.eye(2), np.ones((1, 3)), "theta_cross has shape"),
        (np.diag([1.0, -0.5]), np.ones((1, 2)), "theta_train has an eigenvalue of -0.5"),
    ],
)
def test_bad_kernels(theta, cross, message):
    with pytest.raises(ValueError, match=message):
        flow_operator(theta, cross, time=1.0)


def test_bad_eigenvalues():
    with pytest.raises(ValueError, match="eigenvalues is"):
        flow_filter([-1.0], 1.0)
    for bad, message in ((1j, "eigenvalues is 1j"), ([np.nan], "eigenvalues contains NaN")):
        with pytest.raises(ValueError, match=message):
            flow_filter(bad, 1.0)


def test_bad_input_of_stopping_curve():
    good = {"times": [1.0], "noise": 0.1, **ERF}
    with pytest.raises(ValueError, match="noise is -1"):
        stopping_curve(X_TRAIN, Y, X_TEST, [0, 0], **(good | {"noise": -1}))
    with pytest.raises(ValueError, match="target_test has shape"):
        stopping_curve(X_TRAIN, Y, X_TEST, [0], **good)
    for times in (None, 1j, "1", True, [[1.0]], [], [1.0, [2.0]], [1.0, -1.0], math.nan):
        with pytest.raises(ValueError, match="^times .*allowed"):
            stopping_curve(X_TRAIN, Y, X_TEST, [0, 0], **(good | {"times": times}))
    for noise in (None, "a", 1j, [0.1], math.nan):
        with pytest.raises(ValueError, match="^noise is .*allowed"):
            stopping_curve(X_TRAIN, Y, X_TEST, [0, 0], **(good | {"noise": noise}))
    with pytest.raises(ValueError, match="target_train is .*allowed"):
        stopping_curve(X_TRAIN, [1j, 0, 0], X_TEST, [0, 0], **good)
    with pytest.raises(ValueError, match="learning_rate is 'a'"):
        stopping_curve(X_TRAIN, Y, X_TEST, [0, 0], learning_rate="a", **good)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": [3, 1]}, "steps is"),
        ({"steps": [-1, 1]}, "steps is"),
        ({"steps": [0.5]}, "steps is"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"width": 0}, "width is 0"),
        ({"networks": 2.5}, "networks is 2.5"),
        ({"depth": 0}, "depth is 0"),
        ({"y_train": np.zeros((5, 3))}, "y_train has shape"),
        ({"y_train": [0, np.nan, 1]}, "y_train contains NaN"),
        ({"activation": "sine"}, "activation is 'sine'"),
        ({"output_scale": 0.0}, "output_scale is 0"),
        ({"sigma_b": -0.1}, "sigma_b is -0.1"),
        ({"trained": "none"}, "trained is 'none'"),
        *(({"steps": bad}, "steps .*allowed") for bad in (None, [], [[0, 1]], [0, [1]], "1", 1j)),
        *(({"learning_rate": bad}, "learning_rate is ") for bad in ("a", None, True, [0.1])),
        *(({"width": bad}, f"width is {bad}") for bad in (math.nan, None, True)),
        *(({"generator": bad}, "generator is .*allowed") for bad in (None, 0)),
        ({"generator": np.random.default_rng(0)}, "generator is .*allowed are torch.Generator"),
        ({"x_train": [[1j, 0, 0]] * 3}, "x_train is .*allowed"),
        ({"x_test": [[1.0, 2.0, 3.0], [1.0]]}, "x_test is .*allowed"),
        ({"y_train": ["1", "2", "3"]}, "y_train is .*allowed"),
        ({"sigma_w": "a"}, "sigma_w is 'a'"),
    ],
)
def test_bad_input_of_train_ensemble(change, message):
    good = {
        "x_train": X_TRAIN, "y_train": Y, "x_test": X_TEST, "steps": [0, 1], "learning_rate": 0.1,
        "width": 4, "networks": 2, "generator": torch.Generator().manual_seed(0), **ERF,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        train_ensemble(**(good | change))


def test_linearised_outputs_need_the_first_kernel():
    settings = {"learning_rate": 0.1, "width": 4, "networks": 2, **ERF}
    for steps, kernel in (([0, 1], False), ([1, 2], True)):
        ensemble = train_ensemble(
            X_TRAIN, Y, X_TEST, steps=steps, kernel=kernel,
            generator=torch.Generator().manual_seed(0), **settings,
        )  # fmt: skip
        with pytest.raises(ValueError, match="lacks its kernel or its start"):
            linearised_outputs(ensemble, Y, learning_rate=0.1)
    whole = train_ensemble(
        X_TRAIN, Y, X_TEST, steps=[0, 1], kernel=True,
        generator=torch.Generator().manual_seed(0), **settings,
    )  # fmt: skip
    for labels in (Y[:2], [1j, 0, 0], None, np.zeros((3, 3))):
        with pytest.raises(ValueError, match="^y_train .*allowed"):
            linearised_outputs(whole, labels, learning_rate=0.1)
    with pytest.raises(ValueError, match="learning_rate is 'a'"):
        linearised_outputs(whole, Y, learning_rate="a")
