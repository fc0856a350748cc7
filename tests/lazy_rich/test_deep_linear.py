"""Mode equations by other routes, gradient descent against autograd, starts, charges, kernels."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from course.empirical import empirical_ntk
from course.lazy_rich import deep_linear as module
from course.lazy_rich.deep_linear import (
    aligned_start,
    balanced_modes,
    charges,
    deep_linear_mode,
    descend,
    finite_step_delay,
    gaussian_start,
    greedy_start,
    growing_part,
    learning_time,
    mode_matrix,
    orthogonal_start,
    stable_rate,
    tangent_kernel,
    unbalanced_mode,
)
from course.lazy_rich.ensembles import Divergence


def rng(seed=0):
    return np.random.default_rng(seed)


def task(outputs=3, inputs=5, s=(3.0, 2.0, 1.0), seed=0):
    u = np.linalg.qr(rng(seed).standard_normal((outputs, len(s))))[0]
    v = np.linalg.qr(rng(seed + 1).standard_normal((inputs, len(s))))[0]
    return u * np.array(s) @ v.T


def integrate(velocity, start, time):
    flow = solve_ivp(lambda _, y: velocity(y), (0, time), start, rtol=1e-11, atol=1e-13)
    assert flow.success
    return flow.y[:, -1]


# Mode equations


def test_checkpoint():
    assert deep_linear_mode(3.0, 1e-3, 1.0) == pytest.approx(0.35571248, abs=5e-9)
    assert deep_linear_mode(3.0, 1e-3, 1.33433903) == pytest.approx(1.5, abs=1e-7)
    assert learning_time(3.0, 1e-3, 1.5) == pytest.approx(1.33433903, abs=5e-9)
    assert isinstance(deep_linear_mode(3.0, 1e-3, 1.0), float)


@settings(max_examples=30, deadline=None)
@given(
    s=st.floats(0.3, 4), ratio=st.floats(0.01, 3), t=st.floats(0.01, 2), tau=st.floats(0.3, 3),
    layers=st.sampled_from([1, 2, 3, 4, 7]),
)  # fmt: skip
def test_mode_solves_the_equation_from_either_side(s, ratio, t, tau, layers):
    a0 = ratio * s
    expected = integrate(lambda a: layers * a ** (2 - 2 / layers) * (s - a) / tau, [a0], t)[0]
    assert deep_linear_mode(s, a0, t, tau, layers=layers) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("layers", [1, 2, 3, 5, 30])
@pytest.mark.parametrize("fraction", [0.3, 0.9, 0.999])
def test_learning_time_inverts_the_mode(layers, fraction):
    s, a0, tau = 1.7, 0.02, 2.5
    t = learning_time(s, a0, fraction * s, tau, layers=layers)
    assert deep_linear_mode(s, a0, t, tau, layers=layers) == pytest.approx(fraction * s, rel=1e-8)


def test_learning_time_over_many_decades():
    assert learning_time(2.0, 1e-12, 1.0, layers=4) == pytest.approx(1e6 / (2 * 2.0), rel=1e-4)
    assert learning_time(2.0, 0.3, 0.3) == 0


@pytest.mark.parametrize("layers", [1, 2, 3, 6])
def test_late_times_end_at_s_without_overflow(layers):
    with np.errstate(all="raise", under="ignore"):
        late = deep_linear_mode([3.0, 0.5], 0.4, [[1e4], [1e9]], layers=layers)
    assert np.allclose(late, [[3.0, 0.5]] * 2, rtol=1e-12)


def test_mode_broadcasts_and_takes_times_in_any_order():
    times = np.array([1.0, 0.0, 2.0, 1.0])
    for layers in (2, 3):
        grid = deep_linear_mode(np.array([[1.0], [2.0]]), 0.1, times, layers=layers)
        assert grid.shape == (2, 4)
        for i, s in enumerate((1.0, 2.0)):
            for j, t in enumerate(times):
                one = deep_linear_mode(s, 0.1, t, layers=layers)
                assert grid[i, j] == pytest.approx(one, rel=1e-9)
        assert np.allclose(grid[:, 1], 0.1, rtol=1e-13, atol=0)


@pytest.mark.parametrize("layers", [1, 2, 3, 5])
def test_a_mode_without_task_decays(layers):
    expected = integrate(lambda a: -layers * a ** (3 - 2 / layers), [0.8], 1.5)[0]
    assert deep_linear_mode(0.0, 0.8, 1.5, layers=layers) == pytest.approx(expected, rel=1e-8)


def test_a_mode_that_starts_at_its_end_stays():
    assert deep_linear_mode(2.0, 2.0, [0.0, 5.0], layers=4).tolist() == [2.0, 2.0]
    nearly = deep_linear_mode(2.0, 2.0 * (1 + 1e-15), 3.0, layers=4)
    assert nearly == pytest.approx(2.0, rel=1e-12)


@pytest.mark.parametrize("a0", [0, -1e-3, [0.1, 0.0], math.nan, "small"])
def test_mode_refuses_a_start_that_is_not_positive(a0):
    with pytest.raises(ValueError, match="a0"):
        deep_linear_mode(3.0, a0, 1.0)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"s": -1.0}, "s is"), ({"t": -0.1}, "t is"), ({"tau": 0}, "tau"), ({"layers": 0}, "layers"),
     ({"layers": 2.0}, "layers"), ({"t": math.inf}, "t contains"), ({"tau": -1.0}, "tau")],
)  # fmt: skip
def test_mode_names_what_is_wrong(change, named):
    with pytest.raises(ValueError, match=named):
        deep_linear_mode(**{"s": 1.0, "a0": 0.1, "t": 1.0} | change)


def test_mode_refuses_shapes_that_do_not_match():
    with pytest.raises(ValueError, match="broadcast"):
        deep_linear_mode(np.ones(2), 0.1, np.ones(3))


@pytest.mark.parametrize(("a0", "a"), [(0.0, 0.5), (0.5, 0.2), (0.1, 1.0), (0.1, 1.5)])
def test_learning_time_refuses_strengths_out_of_order(a0, a):
    with pytest.raises(ValueError, match="a0 is|a is"):
        learning_time(1.0, a0, a)


def test_a_failed_integration_or_quadrature_raises(monkeypatch):
    class Failed:
        success, message = False, "no"

    monkeypatch.setattr(module, "solve_ivp", lambda *_, **__: Failed())
    with pytest.raises(RuntimeError, match="not solved"):
        deep_linear_mode(1.0, 0.1, 1.0, layers=3)
    monkeypatch.setattr(module, "quad", lambda *_, **__: (1.0, 0.1))
    with pytest.raises(RuntimeError, match="quadrature"):
        learning_time(1.0, 0.1, 0.5)


@settings(max_examples=30, deadline=None)
@given(
    s=st.floats(0.3, 3), p=st.floats(-0.5, 2), q=st.floats(-0.5, 2), t=st.floats(0, 2),
    tau=st.floats(0.5, 2),
)  # fmt: skip
def test_unbalanced_mode_is_the_product_of_two_weights(s, p, q, t, tau):
    if p + q < 0.05:  # the branch of positive sums; the other one is its mirror image
        p, q = abs(p) + 0.1, abs(q) + 0.1
    end = integrate(lambda w: (s - w[0] * w[1]) * w[::-1] / tau, [p, q], t)
    value = unbalanced_mode(s, p * q, p**2 - q**2, t, tau)
    assert value == pytest.approx(end[0] * end[1], rel=1e-6, abs=1e-8)


def test_unbalanced_mode_has_both_limits():
    t = np.linspace(0, 2, 9)
    assert np.allclose(unbalanced_mode(3.0, 0.1, 0.0, t), deep_linear_mode(3.0, 0.1, t), rtol=1e-12)
    assert np.allclose(unbalanced_mode(3.0, 0.1, 1e-9, t), deep_linear_mode(3.0, 0.1, t), rtol=1e-6)
    lazy = 1 - 0.9 * np.exp(-1e3 * t / 1e3)
    assert np.allclose(unbalanced_mode(1.0, 0.1, 1e3, t / 1e3), lazy, atol=1e-5)
    mirrored = unbalanced_mode(3.0, 0.1, -2.0, t)
    assert np.array_equal(mirrored, unbalanced_mode(3.0, 0.1, 2.0, t))
    assert unbalanced_mode(3.0, -0.4, 1.0, 1e6) == pytest.approx(3.0, rel=1e-12)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"s": 0.0}, "s is"), ({"t": -1.0}, "t is"), ({"a0": 0.0, "charge": 0.0}, "a0"),
     ({"a0": -1.0, "charge": 0.0}, "a0"), ({"charge": math.nan}, "charge"), ({"tau": 0.0}, "tau")],
)  # fmt: skip
def test_unbalanced_mode_names_what_is_wrong(change, named):
    with pytest.raises(ValueError, match=named):
        unbalanced_mode(**{"s": 1.0, "a0": 0.1, "charge": 1.0, "t": 1.0} | change)


@pytest.mark.parametrize("layers", [1, 2, 3, 6])
def test_finite_step_delay_is_right_to_second_order(layers):
    s, a0, a, remainders = 2.0, 0.05, 1.3, []
    for eta in (2e-3, 1e-3):
        w, goal, step = a0 ** (1 / layers), a ** (1 / layers), 0
        while True:
            new = w + eta * w ** (layers - 1) * (s - w**layers)
            if new >= goal:
                break
            w, step = new, step + 1
        # Within the last step, the time that the flow needs (its own delay included).
        reached = eta * step + learning_time(s, w**layers, a, layers=layers)
        reached += finite_step_delay(s, w**layers, a, learning_rate=eta, layers=layers)
        flow = learning_time(s, a0, a, layers=layers)
        delay = finite_step_delay(s, a0, a, learning_rate=eta, layers=layers)
        remainders.append(reached - flow - delay)
    assert 3 < remainders[0] / remainders[1] < 5  # second order: 4
    assert abs(remainders[1]) < 0.05 * abs(delay)


@pytest.mark.parametrize("bad", [{"a": 2.0}, {"a0": 0.0}, {"a0": 2.5}, {"learning_rate": 0.0}])
def test_finite_step_delay_refuses(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        finite_step_delay(**{"s": 2.0, "a0": 0.1, "a": 1.0, "learning_rate": 0.1} | bad)


def test_balanced_modes_solve_the_matrix_equation():
    s = np.array([2.0, 1.0, 0.5])
    root = 0.3 * rng(3).standard_normal((2, 4, 3))
    start = root.swapaxes(-1, -2) @ root
    solved = balanced_modes(s, start, [0.0, 0.7, 3.0], 1.3)
    assert solved.shape == (3, 2, 3, 3)
    assert np.allclose(solved[0], start, rtol=1e-9)

    def velocity(flat):
        a = flat.reshape(3, 3)
        return ((np.diag(s) - a) @ a + a @ (np.diag(s) - a)).ravel() / 1.3

    for i, t in ((1, 0.7), (2, 3.0)):
        for network in range(2):
            expected = integrate(velocity, start[network].ravel(), t)
            assert np.allclose(solved[i, network].ravel(), expected, atol=1e-8)


def test_balanced_modes_of_a_diagonal_start_are_sigmoids():
    s, a0 = np.array([2.0, 1.0]), np.array([1e-3, 1e-5])
    t = np.array([0.5, 4.0, 1e5])
    solved = balanced_modes(s, np.diag(a0), t)
    assert np.allclose(np.diagonal(solved, axis1=1, axis2=2), deep_linear_mode(s, a0, t[:, None]))
    assert balanced_modes(s, np.diag(a0), 1.0).shape == (2, 2)


@pytest.mark.parametrize(
    ("start", "named"),
    [(np.diag([1.0, 0.0]), "eigenvalue"), (np.array([[1.0, 0.5], [0.1, 1.0]]), "symmetric"),
     (np.eye(3), "shape"), (-np.eye(2), "eigenvalue")],
)  # fmt: skip
def test_balanced_modes_refuse(start, named):
    with pytest.raises(ValueError, match=named):
        balanced_modes([2.0, 1.0], start, 1.0)


def test_growing_part_predicts_a_small_random_start():
    sigma = task()
    start = gaussian_start([5, 12, 3], networks=4, deviation=1e-3, rng=rng(4))
    run = descend(start, sigma, learning_rate=5e-4, steps=8000, record=[2000, 5000, 8000])
    theory = balanced_modes([3.0, 2.0, 1.0], growing_part(start, sigma), run.steps * 5e-4)
    assert np.abs(mode_matrix(run.products, sigma) - theory).max() < 0.02


def test_growing_part_of_a_balanced_start_is_its_mode_matrix():
    sigma = task()
    start = aligned_start(sigma, [0.1, 0.2, 0.3], layers=2, width=4, rng=rng(5))
    assert np.allclose(growing_part(start, sigma), np.diag([0.1, 0.2, 0.3]), atol=1e-14)
    with pytest.raises(ValueError, match="two"):
        growing_part([np.eye(2)] * 3, np.eye(2))
    with pytest.raises(ValueError, match="correlation"):
        growing_part(start, sigma.T)


# Gradient descent


@pytest.mark.parametrize("widths", [[5, 3], [5, 4, 3], [5, 2, 6, 3]])
@pytest.mark.parametrize("white", [True, False])
def test_steps_are_those_of_autograd(widths, white):
    sigma, eta, spread = task(), 0.03, rng(6).standard_normal((40, 5))
    covariance = np.eye(5) if white else spread.T @ spread / 40
    start = gaussian_start(widths, networks=3, rng=rng(7))
    run = descend(
        start, sigma, covariance=None if white else covariance, learning_rate=eta, steps=4
    )
    best = torch.tensor(sigma @ np.linalg.inv(covariance))
    for network in range(3):
        weights = [torch.tensor(w[network], requires_grad=True) for w in start]
        for step in range(5):
            product = weights[0]
            for w in weights[1:]:
                product = w @ product
            error = product - best
            loss = 0.5 * (error @ torch.tensor(covariance) * error).sum()
            assert run.loss[step, network] == pytest.approx(loss.item(), rel=1e-10)
            if step == 4:
                break
            grads = torch.autograd.grad(loss, weights)
            weights = [
                (w - eta * g).detach().requires_grad_() for w, g in zip(weights, grads, strict=True)
            ]
        assert np.allclose(run.products[-1, network], product.detach(), atol=1e-12)
        for mine, theirs in zip(run.weights, weights, strict=True):
            assert np.allclose(mine[network], theirs.detach(), atol=1e-12)


def test_one_network_and_a_batch_take_the_same_steps_and_leave_the_start_alone():
    sigma, start = task(), gaussian_start([5, 4, 3], networks=2, rng=rng(8))
    before = [w.copy() for w in start]
    batch = descend(start, sigma, learning_rate=[0.01, 0.05], steps=30, record=[0, 7, 30])
    for network, eta in enumerate((0.01, 0.05)):
        one = descend(
            [w[network] for w in start], sigma, learning_rate=eta, steps=30, record=[0, 7, 30]
        )
        assert one.products.shape == (3, 3, 5)
        assert np.allclose(one.products, batch.products[:, network], atol=1e-13)
        assert one.loss.shape == (31,)
    assert all(np.array_equal(a, b) for a, b in zip(start, before, strict=True))
    assert np.allclose(batch.weights[1] @ batch.weights[0], batch.products[2])


def test_training_follows_the_theory_at_four_depths():
    sigma, s = task(), np.array([3.0, 2.0, 1.0])
    for layers in (1, 2, 3, 5):
        start = aligned_start(sigma, 0.1, layers=layers, width=4, rng=rng(9))
        ends = []
        for eta in (2e-3, 1e-3):
            run = descend(start, sigma, learning_rate=eta, steps=round(1 / eta))
            modes = mode_matrix(run.products[-1], sigma)
            ends.append(np.diag(modes))
            assert np.abs(modes - np.diag(np.diag(modes))).max() < 1e-13
        theory = deep_linear_mode(s, 0.1, 1.0, layers=layers)
        assert np.abs(2 * ends[1] - ends[0] - theory).max() < 5e-4
        assert np.abs(ends[1] - theory).max() < np.abs(ends[0] - theory).max()


def test_divergence_is_an_error_or_is_marked():
    sigma, start = task(), gaussian_start([5, 4, 3], networks=3, rng=rng(11))
    with pytest.raises(Divergence, match="diverge") as caught:
        descend(start, sigma, learning_rate=[0.01, 3.0, 0.01], steps=100)
    assert caught.value.networks == [1]
    run = descend(start, sigma, learning_rate=[0.01, 3.0, 0.01], steps=100, allow_divergence=True)
    assert run.diverged_at.tolist() == [-1, caught.value.step, -1]
    assert np.isinf(run.loss[caught.value.step :, 1]).all()
    assert np.isfinite(run.loss[:, [0, 2]]).all()
    alone = descend([w[2] for w in start], sigma, learning_rate=0.01, steps=100)
    assert np.allclose(run.loss[:, 2], alone.loss)


def test_a_step_that_overflows_at_once_is_divergence():
    start = [np.full((2, 2), 5.0)] * 20
    with pytest.raises(Divergence):
        descend(start, np.eye(2), learning_rate=1e30, steps=5)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"learning_rate": 0.0}, "learning_rate"), ({"learning_rate": [0.1, 0.1]}, "learning_rate"),
     ({"steps": -1}, "steps"), ({"record": [3, 2]}, "record"), ({"record": [11]}, "record"),
     ({"record": [0, 1.5]}, "record is 1.5"), ({"record": 5}, "record is 5"),
     ({"record": []}, "record"), ({"correlation": np.eye(3)}, "correlation"),
     ({"covariance": np.eye(3)}, "covariance"), ({"covariance": -np.eye(5)}, "covariance"),
     ({"weights": []}, "weights"), ({"weights": np.eye(3)}, "weights"),
     ({"weights": [np.ones((4, 5)), np.ones((3, 3))]}, r"weights\[1\]"),
     ({"weights": [np.ones((2, 4, 5)), np.ones((3, 4))]}, r"weights\[1\]"),
     ({"weights": [np.full((3, 5), math.nan)]}, r"weights\[0\]")],
)  # fmt: skip
def test_descend_names_what_is_wrong(change, named):
    good = {"weights": [np.ones((4, 5)), np.ones((3, 4))], "correlation": task(),
            "learning_rate": 0.01, "steps": 10}  # fmt: skip
    with pytest.raises(ValueError, match=named):
        descend(**good | change)


@pytest.mark.parametrize("layers", [1, 2, 3, 5])
def test_stable_rate_is_two_over_the_curvature(layers):
    s = 1.7

    def loss(weights):
        return 0.5 * (s - torch.prod(weights)) ** 2

    point = torch.full((layers,), s ** (1 / layers), dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(loss, point)
    curvature = torch.linalg.eigvalsh(hessian)[-1].item()
    assert stable_rate(s, layers=layers) == pytest.approx(2 / curvature, rel=1e-10)
    with pytest.raises(ValueError, match="s is"):
        stable_rate(0.0, layers=layers)


# Starts, charges, kernels


def test_mode_matrix_recovers_the_singular_values():
    sigma = task()
    assert np.allclose(mode_matrix(sigma, sigma), np.diag([3.0, 2.0, 1.0]), atol=1e-13)
    assert mode_matrix(np.zeros((7, 2, 3, 5)), sigma).shape == (7, 2, 3, 3)
    with pytest.raises(ValueError, match="products"):
        mode_matrix(sigma.T, sigma)


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_aligned_start_is_aligned_and_balanced(layers):
    sigma = task()
    start = aligned_start(sigma, [0.1, 0.2, 0.3], layers=layers, width=6, rng=rng(12))
    product = np.eye(5)
    for w in start:
        product = w @ product
    assert np.allclose(mode_matrix(product, sigma), np.diag([0.1, 0.2, 0.3]), atol=1e-13)
    assert all(np.abs(c).max() < 1e-13 for c in charges(start))
    assert len(start) == layers


@pytest.mark.parametrize(
    ("change", "named"),
    [({"a0": 0.0}, "a0"), ({"a0": [0.1, 0.2]}, "a0"), ({"width": 2}, "width"),
     ({"layers": 0}, "layers"), ({"rng": None}, "rng")],
)  # fmt: skip
def test_aligned_start_names_what_is_wrong(change, named):
    with pytest.raises(ValueError, match=named):
        aligned_start(task(), **{"a0": 0.1, "layers": 2, "width": 4, "rng": rng()} | change)


def test_gaussian_start_has_the_right_spread():
    weights = gaussian_start([50, 20, 10], networks=40, rng=rng(13))
    assert [w.shape for w in weights] == [(40, 20, 50), (40, 10, 20)]
    for w in weights:
        assert (w**2).mean() * w.shape[2] == pytest.approx(1, abs=0.05)
    (small,) = gaussian_start([50, 20], networks=40, deviation=0.1, rng=rng(13))
    assert small.std() == pytest.approx(0.1, rel=0.02)


def test_orthogonal_start_is_orthogonal_uniform_and_balanced():
    weights = orthogonal_start([3, 5, 5, 2], networks=500, gain=2.0, rng=rng(14))
    assert np.allclose(weights[0].swapaxes(-1, -2) @ weights[0], 4 * np.eye(3))
    assert np.allclose(weights[1] @ weights[1].swapaxes(-1, -2), 4 * np.eye(5))
    assert np.allclose(weights[2] @ weights[2].swapaxes(-1, -2), 4 * np.eye(2))
    # Both signs of the determinant, and no preferred direction: QR alone fails this.
    assert 0.4 < (np.linalg.det(weights[1]) > 0).mean() < 0.6
    assert np.abs(weights[1].mean(0)).max() < 4 * 2 / math.sqrt(5 * 500)
    square = orthogonal_start([4, 4, 4], networks=2, rng=rng(15))
    assert np.abs(charges(square)[0]).max() < 1e-13


@pytest.mark.parametrize(
    "bad", [{"widths": [3]}, {"widths": [3, 0]}, {"widths": 3}, {"networks": 0}, {"rng": 1}]
)
def test_random_starts_refuse(bad):
    for maker in (gaussian_start, orthogonal_start):
        with pytest.raises(ValueError, match=next(iter(bad))):
            maker(**{"widths": [3, 4], "networks": 1, "rng": rng()} | bad)
    with pytest.raises(ValueError, match="deviation"):
        gaussian_start([3, 4], networks=1, deviation=0.0, rng=rng())
    with pytest.raises(ValueError, match="gain"):
        orthogonal_start([3, 4], networks=1, gain=-1.0, rng=rng())


def test_greedy_layers_keep_the_principal_components():
    axes = np.linalg.qr(rng(16).standard_normal((6, 6)))[0]
    covariance = axes * np.array([3.0, 2.5, 2.0, 0.3, 0.2, 0.1]) @ axes.T
    weights = greedy_start([6, 3, 3, 2], networks=4, covariance=covariance, deviation=1e-3,
                           learning_rate=0.1, steps=600, rng=rng(17))  # fmt: skip
    assert [w.shape for w in weights] == [(4, 3, 6), (4, 3, 3), (4, 2, 3)]
    passed = weights[1] @ weights[0] @ axes
    gram = passed.swapaxes(-1, -2) @ passed
    # Steps of 0.1 leave charges behind, so that no length is exactly one.
    assert np.allclose(gram[:, :3, :3], np.eye(3), atol=5e-3)
    assert np.abs(passed[..., 3:]).max() < 1e-4
    assert np.allclose(weights[2] @ weights[2].swapaxes(-1, -2), np.eye(2))
    with pytest.raises(Divergence):
        greedy_start([6, 3, 2], networks=1, covariance=covariance, learning_rate=2.0, steps=400,
                     rng=rng(18))  # fmt: skip
    with pytest.raises(ValueError, match="covariance"):
        greedy_start([6, 3, 2], networks=1, covariance=np.eye(2), learning_rate=0.1, steps=4,
                     rng=rng(18))  # fmt: skip


def test_flow_conserves_the_charges_and_steps_move_them_by_squares():
    sigma, start = task(), gaussian_start([5, 4, 4, 3], networks=2, rng=rng(19))
    before = charges(start)
    assert [c.shape for c in before] == [(2, 4, 4), (2, 4, 4)]
    moves = []
    for eta in (1e-3, 2e-3):
        after = charges(descend(start, sigma, learning_rate=eta, steps=1).weights)
        moves.append([b - a for a, b in zip(before, after, strict=True)])
    for small, large in zip(*moves, strict=True):
        assert np.allclose(large, 4 * small, rtol=1e-6, atol=1e-15)
    assert np.abs(moves[0][0]).max() > 1e-8
    # A balanced network has none; one layer has no charge.
    assert charges([np.eye(3)]) == []


@pytest.mark.parametrize("widths", [[5, 3], [5, 4, 3], [5, 4, 6, 1]])
def test_tangent_kernel_is_that_of_autograd(widths):
    weights = gaussian_start(widths, networks=2, rng=rng(20))
    x1, x2 = rng(21).standard_normal((4, 5)), rng(22).standard_normal((3, 5))
    kernels = tangent_kernel(weights, x1, x2)
    outputs = widths[-1]
    assert kernels.shape == (2, 4 * outputs, 3 * outputs)
    for network in range(2):
        leaves = [torch.tensor(w[network], requires_grad=True) for w in weights]

        def jacobian(x, leaves=leaves):
            h = torch.tensor(x)
            for w in leaves:
                h = h @ w.T
            rows = [torch.autograd.grad(y, leaves, retain_graph=True) for y in h.reshape(-1)]
            return torch.stack([torch.cat([g.reshape(-1) for g in row]) for row in rows])

        assert np.allclose(kernels[network], (jacobian(x1) @ jacobian(x2).T).numpy())
    assert np.allclose(tangent_kernel(weights, x1), tangent_kernel(weights, x1, x1))
    with pytest.raises(ValueError, match="x2"):
        tangent_kernel(weights, x1, x2[:, :4])


def test_tangent_kernel_is_the_empirical_kernel_of_the_module():
    weights = [w[0] for w in gaussian_start([5, 4, 1], networks=1, rng=rng(23))]
    model = torch.nn.Sequential(*(torch.nn.Linear(*w.shape[::-1], bias=False) for w in weights))
    model = model.double()
    for layer, w in zip(model, weights, strict=True):
        layer.weight.data = torch.tensor(w)
    x = rng(24).standard_normal((6, 5))
    kernel = empirical_ntk(model, torch.tensor(x))
    assert np.allclose(tangent_kernel(weights, x), np.asarray(kernel.detach()))
