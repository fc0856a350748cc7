"""The dial, the solvable network and matrix factorisation against independent routes."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from course import runtime
from course.data import circle
from course.exercises import check
from course.lazy_rich import laziness
from course.lazy_rich.ensembles import DenseEnsemble, Divergence, train
from course.lazy_rich.exercises import CHECKERS
from course.lazy_rich.laziness import (
    dense_networks,
    draw_tasks,
    equivalent_start,
    factor_kernel,
    factorise,
    lazy_response,
    linear_network_flow,
    rebalance,
    redundant_rate,
    task_sweep,
    turn_dial,
)

X = circle(np.array([0.3, 1.9, 3.0, 4.6]))
Y = np.array([1.0, -1.0, 0.5, -0.3])


def networks(width=16, count=3, seed=1, activation="gelu"):
    return dense_networks(
        2, width, networks=count, generator=runtime.generator(seed), activation=activation
    )


# The linear network


@pytest.mark.parametrize(("gamma", "value"), [(1.0, 0.66186408), (4.0, 0.90238437)])
def test_mean_field_checkpoints(gamma, value):
    flow = linear_network_flow(0.5, target=1.0, output_scale=1 / gamma, width=1)
    assert abs(flow.output - value) < 5e-9
    assert isinstance(flow.output, float)
    assert isinstance(flow.kernel, float)


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize(("n", "alpha", "y"), [(2, 0.3, 1.3), (7, 4.0, -0.8), (3, 0.02, 1.0)])
def test_linear_flow_solves_the_equations_of_all_weights(n, alpha, y, centred):
    v, w = runtime.rng(n).standard_normal((2, n))
    f0 = v @ w / math.sqrt(n)
    goal = y / alpha + (f0 if centred else 0.0)

    def velocity(_, weights):
        v, w = weights[:n], weights[n:]
        pull = (goal - v @ w / math.sqrt(n)) / math.sqrt(n)
        return np.concatenate([pull * w, pull * v])

    times = np.array([0.0, 0.1, 0.4, 1.5])
    solved = solve_ivp(
        velocity, (0, 1.5), np.concatenate([v, w]), t_eval=times, rtol=1e-11, atol=1e-12
    ).y
    flow = linear_network_flow(
        times, target=y, output_scale=alpha, width=n, kernel=(v @ v + w @ w) / n, output=f0,
        centred=centred,
    )  # fmt: skip
    f = (solved[:n] * solved[n:]).sum(0) / math.sqrt(n)
    predictor = alpha * (f - (f0 if centred else 0.0))
    np.testing.assert_allclose(flow.output, predictor, rtol=0, atol=1e-7)
    np.testing.assert_allclose(flow.kernel, (solved**2).sum(0) / n, rtol=1e-7)


def test_linear_flow_at_its_ends():
    flow = linear_network_flow(
        [0.0, np.inf], target=-2.0, output_scale=0.5, width=9, kernel=2.5, output=0.7
    )
    np.testing.assert_allclose(flow.output, [0, -2], rtol=0, atol=1e-13)
    end = 2.5**2 + 4 / 9 * (2 / 0.5) ** 2 - 8 * 0.7 * 2 / (9 * 0.5)
    np.testing.assert_allclose(flow.kernel, [2.5, math.sqrt(end)], rtol=1e-13)


def test_linear_flow_far_out_stays_finite_and_right():
    lazy = linear_network_flow(0.3, target=1.0, output_scale=1e9, width=4)
    assert abs(lazy.output / -math.expm1(-0.6) - 1) < 1e-6
    for sign in (1.0, -1.0):
        rich = linear_network_flow([0.0, 1e-9, 1e-3, 1.0], target=sign, output_scale=1e-6, width=1)
        assert np.isfinite(rich.output).all()
        np.testing.assert_allclose(rich.output[[0, 3]], [0, sign], rtol=0, atol=1e-8)
        assert abs(rich.kernel[3] / 2e6 - 1) < 1e-8
    still = linear_network_flow([0.0, 1.0, np.inf], target=0.0, output_scale=1.0, width=3)
    np.testing.assert_array_equal(still.output, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time": -1.0}, "time is -1.0"),
        ({"time": np.nan}, "time contains NaN"),
        ({"output_scale": 0.0}, "output_scale is 0.0"),
        ({"output_scale": np.inf}, "output_scale contains"),
        ({"width": -2}, "width is -2"),
        ({"kernel": 1.0, "output": 2.0}, "kernel is 1.0 and output 2.0"),
        ({"kernel": -2.0}, "kernel is -2.0"),
        ({"target": "one"}, "target is 'one'"),
    ],
)
def test_bad_linear_flow(changes, message):
    arguments = {"time": 1.0, "target": 1.0, "output_scale": 1.0, "width": 4} | changes
    with pytest.raises(ValueError, match=message):
        linear_network_flow(arguments.pop("time"), **arguments)


# The dial


def test_response_is_the_limit_of_training():
    nets = networks()
    response = lazy_response(nets, X, Y)
    run = turn_dial(nets, X, Y, output_scales=[1000.0, 2000.0], steps=400)
    for name in ("weight_change", "kernel_distance"):
        scaled = getattr(run, name) * run.output_scales
        limit = 2 * scaled[:, 1] - scaled[:, 0]  # removes the next order
        np.testing.assert_allclose(limit, getattr(response, name), rtol=2e-5)
    kernel = nets.kernel(X).numpy()
    squared = np.einsum("i,nij,j->n", Y, np.linalg.inv(kernel), Y)
    size = sum((weight**2).sum((1, 2)) for weight in nets.weights).numpy()
    np.testing.assert_allclose(response.weight_change, np.sqrt(squared / size), rtol=1e-10)


def test_response_scales_with_labels_and_takes_them_for_each_network():
    nets = networks()
    one = lazy_response(nets, X, Y)
    many = lazy_response(nets, np.stack([X] * 3), np.stack([Y, 2 * Y, -3 * Y]))
    for a, b in zip(one, many, strict=True):
        np.testing.assert_allclose(b, a * [1, 2, 3], rtol=1e-6)


def test_dial_trains_each_scale_as_train_does():
    nets = networks()
    run = turn_dial(nets, X, Y, output_scales=[0.3, 2.0], steps=20, x_test=X[:2] + 0.1)
    top = torch.linalg.eigvalsh(nets.kernel(X))[:, -1].numpy()
    for place, alpha in enumerate((0.3, 2.0)):
        alone, start = nets.copy(), nets.copy()
        rate = 0.5 / top / np.sqrt(1 + 9 * (Y**2).mean() / (16 * alpha**2))
        train(alone, (X, Y), learning_rate=rate, steps=20, output_scale=alpha, centred=True)
        moved = alpha * (alone(X[:2] + 0.1) - start(X[:2] + 0.1))[..., 0]
        np.testing.assert_allclose(run.test[:, place], moved, rtol=0, atol=1e-10)
        before, after = start.kernel(X).numpy(), alone.kernel(X).numpy()
        distance = [np.linalg.norm(b - a) / np.linalg.norm(a)
                    for a, b in zip(before, after, strict=True)]  # fmt: skip
        np.testing.assert_allclose(run.kernel_distance[:, place], distance, rtol=1e-9)
        aligned = [Y @ b @ Y / np.linalg.norm(b) / (Y @ Y) for b in after]
        np.testing.assert_allclose(run.kernel_alignment[:, place], aligned, rtol=1e-9)
        residual = alpha * (alone(X) - start(X))[..., 0].numpy() - Y
        np.testing.assert_allclose(
            run.residual[:, place], np.sqrt((residual**2).mean(1)), rtol=1e-8
        )
        for network in range(3):
            number = place * 3 + network
            np.testing.assert_allclose(
                run.ensemble.weights[0][number], alone.weights[0][network], rtol=0, atol=1e-10
            )


def test_dial_leaves_the_start_alone():
    nets = networks()
    weights = [weight.clone() for weight in nets.weights]
    turn_dial(nets, X, Y, output_scales=[0.5], steps=5)
    assert all(torch.equal(a, b) for a, b in zip(nets.weights, weights, strict=True))


@pytest.mark.parametrize("centred", [True, False])
def test_frozen_kernel_is_the_lazy_limit(centred):
    """Also with the same few steps, when nothing has converged."""
    nets = networks(width=32)
    gaps = []
    for alpha in (1e3, 1e4):
        targets = Y if centred else Y * alpha  # uncentred: labels as large as the start
        run = turn_dial(nets, X, targets / 50 if not centred else Y, output_scales=[alpha],
                        steps=3, x_test=X + 0.2, centred=centred)  # fmt: skip
        gaps.append(np.abs(run.test - run.kernel_prediction).max())
        size = np.abs(run.test).max()
    if centred:
        assert gaps[1] < 0.12 * gaps[0]
        assert gaps[1] < 1e-3 * size
    else:  # no lazy limit
        assert gaps[1] > 5 * gaps[0]


def test_uncentred_prediction_starts_at_the_network():
    nets = networks(width=32)
    run = turn_dial(nets, X, Y, output_scales=[2.0], steps=1, stability=1e-9, centred=False)
    start = 2 * nets(X)[..., 0].numpy()
    np.testing.assert_allclose(run.kernel_prediction[:, 0], start, rtol=0, atol=1e-7)
    np.testing.assert_allclose(run.test[:, 0], start, rtol=0, atol=1e-7)


def test_dial_takes_inputs_of_each_network_and_common_test_points():
    nets = networks()
    own = np.stack([X, X + 0.1, X - 0.1])
    mixed = turn_dial(nets, own, Y, output_scales=[1.0, 3.0], steps=4, x_test=X[:2])
    common = turn_dial(nets, own, Y, output_scales=[1.0, 3.0], steps=4,
                       x_test=np.stack([X[:2]] * 3))  # fmt: skip
    np.testing.assert_allclose(mixed.test, common.test, rtol=1e-12)
    np.testing.assert_allclose(mixed.kernel_prediction, common.kernel_prediction, rtol=1e-10)
    other = turn_dial(nets, X, Y, output_scales=[1.0], steps=4, x_test=np.stack([X] * 3))
    plain = turn_dial(nets, X, Y, output_scales=[1.0], steps=4)
    np.testing.assert_allclose(other.kernel_prediction, plain.kernel_prediction, rtol=1e-10)


def test_dial_keeps_single_precision():
    nets = networks()
    nets.weights = [weight.float() for weight in nets.weights]
    run = turn_dial(nets, X, Y, output_scales=[1.0], steps=2)
    assert run.ensemble.weights[0].dtype == torch.float32
    assert run.test.dtype == np.float64


def test_dial_reports_divergence():
    with pytest.raises(Divergence, match="diverge"):
        turn_dial(networks(activation="linear"), X[:2], Y[:2], output_scales=[1e-3], steps=300,
                  stability=30.0, growth=0.0)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output_scales": [1.0, 0.0]}, "output_scales is"),
        ({"output_scales": []}, "output_scales has shape"),
        ({"y": Y[:3]}, "y has shape"),
        ({"y": [1.0, 2.0, np.nan, 1.0]}, "y contains NaN"),
        ({"x": X[0]}, "x has shape"),
        ({"x": np.stack([X] * 2)}, "x is for 2 networks"),
        ({"x_test": np.stack([X] * 2)}, "x_test is for 2 networks"),
        ({"steps": 0}, "steps is 0"),
        ({"stability": 0.0}, "stability is 0.0"),
        ({"growth": -1.0}, "growth is -1.0"),
    ],
)
def test_bad_dial(changes, message):
    arguments = {"x": X, "y": Y, "output_scales": [1.0], "steps": 2} | changes
    with pytest.raises(ValueError, match=message):
        turn_dial(networks(), arguments.pop("x"), arguments.pop("y"), **arguments)


def test_response_refuses_a_singular_kernel():
    twice = np.vstack([X[:2], X[:1]])
    with pytest.raises(ValueError, match="singular tangent kernel"):
        lazy_response(networks(), twice, Y[:3])


# One dial, three handles


@pytest.mark.parametrize("layers", [1, 2, 4])
@pytest.mark.parametrize("alpha", [0.2, 5.0])
def test_equivalent_start(layers, alpha):
    shape = {
        "widths": [2, *[6] * (layers - 1), 1], "networks": 2, "activation": "relu",
        "multipliers": [1.0] * layers, "deviations": [0.6] * layers,
    }  # fmt: skip
    scaled, plain = (DenseEnsemble(**shape, generator=runtime.generator(3)) for _ in range(2))
    factor, rate = equivalent_start(alpha, 0.01, degree=layers)
    plain.weights = [factor * weight for weight in plain.weights]
    train(scaled, (X, Y), learning_rate=0.01, steps=15, output_scale=alpha)
    train(plain, (X, Y), learning_rate=rate, steps=15)
    torch.testing.assert_close(alpha * scaled(X), plain(X), rtol=1e-9, atol=1e-11)
    assert not torch.allclose(plain(X), torch.as_tensor(0.0).double())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 1.0, 2), "output_scale is 0.0"),
        ((1.0, -1.0, 2), "learning_rate is -1.0"),
        ((1.0, 1.0, 0), "degree is 0"),
    ],
)
def test_bad_equivalent_start(arguments, message):
    with pytest.raises(ValueError, match=message):
        equivalent_start(*arguments[:2], degree=arguments[2])


# Matrix factorisation


def target(rows=6, columns=5, rank=1):
    rng = runtime.rng(20)
    left, right = (np.linalg.qr(rng.standard_normal((n, n)))[0] for n in (rows, columns))
    return (left[:, :rank] * np.arange(rank, 0, -1)) @ right[:, :rank].T


def factors(rows=6, columns=5, k=3, runs=4, scale=0.3, seed=21):
    rng = runtime.rng(seed)
    return scale * rng.standard_normal((runs, rows, k)), scale / 3 * rng.standard_normal(
        (runs, columns, k)
    )


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("measured", [None, "common", "own"])
def test_asymmetric_steps_follow_autograd(measured, centred):
    matrix, (left, right) = torch.as_tensor(target()), factors()
    shape = {None: None, "common": (7, 6, 5), "own": (4, 7, 6, 5)}[measured]
    sensing = None if shape is None else runtime.rng(22).standard_normal(shape)
    run = factorise(matrix, left, right, learning_rate=0.05, record=[0, 2, 3],
                    measurements=sensing, centred=centred)  # fmt: skip
    one, two = torch.as_tensor(left).clone(), torch.as_tensor(right).clone()
    offset = one @ two.mT if centred else 0.0
    errors = []
    for step in range(4):
        gap = (one @ two.mT - offset - matrix).norm(dim=(1, 2))
        if step != 1:
            errors.append(gap.numpy())
        if step == 3:
            break
        one.requires_grad_(), two.requires_grad_()
        residual = one @ two.mT - offset - matrix
        if sensing is None:
            loss = 0.5 * (residual**2).sum()
        else:
            weights = torch.as_tensor(np.broadcast_to(sensing, (4, 7, 6, 5)).copy())
            loss = (torch.einsum("rmij,rij->rm", weights, residual) ** 2).sum() / 14
        gradients = torch.autograd.grad(loss, (one, two))
        with torch.no_grad():
            one, two = (one - 0.05 * gradients[0]).detach(), (two - 0.05 * gradients[1]).detach()
    np.testing.assert_allclose(run.error, errors, rtol=1e-11)
    np.testing.assert_allclose(run.left, one, rtol=0, atol=1e-12)
    np.testing.assert_allclose(run.right, two, rtol=0, atol=1e-12)
    np.testing.assert_allclose(run.times, [0, 0.1, 0.15])


@pytest.mark.parametrize("measured", [False, True])
def test_symmetric_steps_follow_autograd(measured):
    matrix = torch.as_tensor(target(6, 6) @ target(6, 6).T)
    start = factors(6, 6)[0]
    sensing = runtime.rng(23).standard_normal((9, 6, 6)) if measured else None
    run = factorise(matrix, start, learning_rate=0.05, record=[1], measurements=sensing)
    factor = torch.as_tensor(start).clone().requires_grad_()
    residual = factor @ factor.mT - matrix
    if measured:
        seen = torch.einsum("mij,rij->rm", torch.as_tensor(sensing), residual)
        loss = (seen**2).sum() / (4 * 9)
    else:
        loss = 0.25 * (residual**2).sum()
    expected = factor - 0.05 * torch.autograd.grad(loss, factor)[0]
    np.testing.assert_allclose(run.left, expected.detach(), rtol=0, atol=1e-13)
    assert run.right is run.left


@pytest.mark.parametrize(("k", "redundant"), [(2, 1), (4, 3), (12, 5)])
def test_symmetric_tail_is_universal(k, redundant):
    """One over the error grows by 2/sqrt(q): q counts what both k and d allow."""
    unit = target(6, 6)
    matrix = unit @ unit.T
    run = factorise(matrix, factors(6, 6, k=k, scale=1.0)[0], learning_rate=0.05,
                    record=[40_000, 60_000])  # fmt: skip
    slope = np.diff(1 / run.error, axis=0)[0] / np.diff(run.times)[0]
    np.testing.assert_allclose(slope * math.sqrt(redundant) / 2, 1, rtol=0.005)


@pytest.mark.parametrize(("larger", "rank", "k"), [("left", 1, 3), ("right", 2, 3), ("left", 2, 4)])
def test_redundant_rate_is_the_rate_of_decay(larger, rank, k):
    matrix = target(8, 7, rank)
    left, right = factors(8, 7, k=k, scale=0.03, seed=24)
    if larger == "right":
        left, right = left / 3, right * 3
    predicted = redundant_rate(matrix, left, right)
    for number, value in enumerate(predicted):
        end = 8 / (0.1 * value)
        alone = left[number : number + 1], right[number : number + 1]
        run = factorise(matrix, *alone, learning_rate=0.1, record=[int(0.8 * end), int(end)])
        rate = -np.diff(np.log(run.error[:, 0]))[0] / np.diff(run.times)[0]
        assert abs(rate / value - 1) < 0.15  # a small start; two close rates mix at finite time
    np.testing.assert_allclose(
        redundant_rate(matrix, 2 * left, 2 * right), 4 * predicted, rtol=1e-10
    )


def test_rebalance_keeps_the_product_and_sets_the_rate():
    matrix, (left, right) = target(8, 7, 2), factors(8, 7, k=4)
    new_left, new_right = rebalance(left, right, scale=0.6)
    np.testing.assert_allclose(new_left @ new_right.mT, left @ right.mT, rtol=0, atol=1e-13)
    np.testing.assert_allclose(
        new_left.mT @ new_left, np.broadcast_to(0.36 * np.eye(4), (4, 4, 4)), rtol=0, atol=1e-13
    )
    first = factorise(matrix, left, right, learning_rate=0.05, record=[400])
    run = factorise(matrix, *rebalance(first.left, first.right, scale=0.6), learning_rate=0.05,
                    record=[400, 600])  # fmt: skip
    rate = -np.diff(np.log(run.error), axis=0)[0] / 10
    np.testing.assert_allclose(rate, -math.log1p(-0.05 * 0.36) / 0.05, rtol=0.02)


def test_factor_kernel_is_the_kernel_of_all_entries():
    left, right = factors(3, 4, k=2, runs=2)
    kernels = factor_kernel(left, right)
    for number in range(2):

        def product(f, g):
            return (f @ g.T).reshape(-1)

        one, two = torch.as_tensor(left[number]), torch.as_tensor(right[number])
        parts = torch.autograd.functional.jacobian(product, (one, two))
        jacobian = torch.cat([part.reshape(12, -1) for part in parts], dim=1)
        np.testing.assert_allclose(kernels[number], jacobian @ jacobian.T, rtol=0, atol=1e-14)


def test_factorise_reports_divergence():
    with pytest.raises(Divergence, match="diverge at step"):
        factorise(target(), *factors(scale=3.0), learning_rate=1.0, record=[200])


GOOD = {"target": target(), "left": factors()[0], "right": factors()[1]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": np.zeros(3)}, "target has shape"),
        ({"left": factors()[0][0]}, "left has shape"),
        ({"left": factors(rows=4)[0]}, "left has shape"),
        ({"right": factors(k=2)[1]}, "right has shape"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"record": []}, "record is"),
        ({"record": None}, "record is None; allowed is a sequence"),
        ({"record": 3}, "record is 3; allowed is a sequence"),
        ({"record": [3, 3]}, "record is"),
        ({"record": [-1]}, "record is -1"),
        ({"measurements": np.ones((3, 5, 6))}, "measurements has shape"),
        ({"measurements": np.ones((3, 2, 6, 5))}, "measurements has shape"),
        ({"target": target(6, 6) + np.eye(6)[0], "right": None}, "target must be symmetric"),
        ({"target": np.eye(6), "right": None, "centred": True}, "centred False"),
    ],
)
def test_bad_factorisation(changes, message):
    arguments = GOOD | {"learning_rate": 0.1, "record": [1]} | changes
    with pytest.raises(ValueError, match=message):
        factorise(**arguments)


def test_bad_rates_and_steps():
    with pytest.raises(ValueError, match="more than the rank 1"):
        redundant_rate(target(), *factors(k=1))
    equal = factors(8, 8, k=5, seed=25)
    with pytest.raises(ValueError, match="indefinite imbalance"):
        redundant_rate(target(8, 8), equal[0], 3 * equal[1])
    with pytest.raises(ValueError, match="scale is 0"):
        rebalance(*factors(), scale=0)
    with pytest.raises(ValueError, match="rows >= k"):
        rebalance(*factors(k=7), scale=1.0)
    with pytest.raises(ValueError, match="left and right have shapes"):
        factor_kernel(factors()[0], factors(k=2)[1])


# Tasks


def test_tasks_have_the_variances_that_they_promise():
    shape = {"inputs": 6, "samples": 20, "tests": 60, "tasks": 12, "seed": 5}
    direction, cubic, dense = (draw_tasks(name, **shape) for name in laziness.TARGETS)
    assert direction.x.shape == (12, 20, 6)
    assert dense.y_test.shape == (12, 60)
    np.testing.assert_allclose((direction.x**2).sum(-1), 6)
    np.testing.assert_array_equal(direction.y, (direction.x[..., 0] ** 2 - 1) / math.sqrt(2))
    values = np.concatenate([direction.y, direction.y_test], axis=1)
    assert abs(values.var() - 5 / 8) < 0.12  # 960 points: 4 standard errors
    polynomial = np.polynomial.hermite_e.hermeval(cubic.x[..., 0], [0, 0, 0, 1]) / math.sqrt(6)
    np.testing.assert_allclose(cubic.y, polynomial, rtol=0, atol=1e-12)
    values = np.concatenate([cubic.y, cubic.y_test], axis=1)
    assert abs((values**2).mean() - 3 / 8) < 0.1  # 5·36/(2·8·10) − 18/8 + 3/2, 4 standard errors
    assert abs((dense.y_test**2).mean() - 1) < 0.5  # 12 draws of few effective degrees
    for name, task in (("cubic", cubic), ("dense", dense)):
        quick = draw_tasks(name, **shape, optimal=False)
        np.testing.assert_array_equal(task.y_test, quick.y_test)
        assert quick.optimal is None


def test_nothing_beats_the_optimal_predictor_on_its_own_prior():
    """Networks' own kernels lose on average, and far more with the target exchanged."""
    task = draw_tasks("dense", inputs=5, samples=15, tests=40, tasks=16, seed=6)
    nets = dense_networks(5, 32, networks=16, generator=runtime.generator(7))
    run = turn_dial(nets, task.x, task.y, output_scales=[100.0], steps=300, x_test=task.x_test)
    own = ((run.kernel_prediction[:, 0] - task.y_test) ** 2).mean(1)
    gap = own - task.optimal
    assert gap.mean() > 2 * gap.std() / 4
    assert (task.optimal > 0).all()


def test_task_sweep_returns_what_its_parts_give():
    sweep = task_sweep(target="direction", output_scales=[0.1, 10.0], inputs=4, samples=10,
                       width=16, networks=3, steps=5, seed=8)  # fmt: skip
    task = draw_tasks("direction", inputs=4, samples=10, tests=200, tasks=3, seed=8)
    nets = dense_networks(4, 16, networks=3, generator=runtime.generator(9))
    run = turn_dial(nets, task.x, task.y, output_scales=[0.1, 10.0], steps=5, x_test=task.x_test)
    np.testing.assert_array_equal(sweep["kernel_distance"], run.kernel_distance)
    error = ((run.test - task.y_test[:, None]) ** 2).mean(-1)
    np.testing.assert_allclose(sweep["error"], error)
    assert sweep["error"].shape == (3, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "linear"}, "target is 'linear'"),
        ({"inputs": 0}, "inputs is 0"),
        ({"samples": 1.5}, "samples is 1.5"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_bad_tasks(changes, message):
    arguments = {"target": "dense", "inputs": 3, "samples": 5, "tests": 5, "tasks": 1, "seed": 0}
    with pytest.raises(ValueError, match=message):
        draw_tasks(**(arguments | changes))


def test_drawing_of_neurons():
    from course import figures

    fig, axs = figures.panels(1)
    start = networks(width=5, count=1)
    run = turn_dial(start, X, Y, output_scales=[1.0, 4.0], steps=2)
    laziness.draw_neurons(axs[0], start, run.ensemble, 1)
    drawn = [line for line in axs[0].lines if line.get_label() == "start"][0]
    np.testing.assert_array_equal(np.column_stack(drawn.get_data()), start.weights[0][0])


def test_drawing_of_decay():
    from course import figures

    fig, axs = figures.panels(1)
    run = factorise(target(), *factors(), learning_rate=0.1, record=[10, 20])
    laziness.draw_decay(axs[0], run, 0.1, label="some")
    steps, values = axs[0].containers[0].lines[0].get_data()
    np.testing.assert_allclose(steps, [10, 20])
    np.testing.assert_allclose(values, np.prod(run.error**2, axis=1) ** 0.25)


@pytest.mark.parametrize("number", range(5, 9))
def test_wrong_answers_are_explained(number):
    from course.exercises import find

    name = f"lazy_rich.{number}"
    assert CHECKERS[name] == "laziness"
    for answer, fragment in find(name).wrong:
        verdict = check(name, answer).verdict
        assert not verdict.passed
        assert fragment in verdict.message
