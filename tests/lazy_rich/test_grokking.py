"""The network as two moments: against weights, quadrature, kernels, flows and other estimators."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.stats import CensoredData, ecdf

from course import figures
from course.empirical import empirical_ntk
from course.estimates import Estimate
from course.lazy_rich import grokking as module
from course.lazy_rich import kernel_alignment, kernel_distance, weight_change
from course.lazy_rich.ensembles import Divergence
from course.lazy_rich.grokking import (
    VARIANCE,
    PolynomialTask,
    delay_sweep,
    geometric_steps,
    grokking_delay,
    initial_weights,
    median_exponent,
    median_time,
    moments,
    outputs,
    polynomial_dial,
    polynomial_task,
    population_error,
    population_time,
    safe_learning_rate,
    tangent_kernel,
    train_polynomial,
    value_at,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def setting(networks=3, points=9, dimension=4, width=6, seed=0):
    task = polynomial_task(
        networks=networks, points=points, dimension=dimension, generator=seeded(seed)
    )
    return task, initial_weights(task, width=width, generator=seeded(seed + 1))


class Quadratic(torch.nn.Module):
    def __init__(self, weights, alpha, kappa):
        super().__init__()
        self.weights = torch.nn.Parameter(weights.clone())
        self.alpha, self.kappa = alpha, kappa

    def forward(self, x):
        h = x @ self.weights.T
        return self.alpha * (h + self.kappa / 2 * h**2).mean(-1)


def descend(weights, x, y, *, alpha, kappa, eta, steps, centred=False):
    """Gradient descent on the weights by automatic differentiation."""
    model = Quadratic(weights, alpha, kappa)
    base = model(x).detach() if centred else 0.0
    for _ in range(steps):
        loss = len(weights) / (2 * alpha**2) * ((model(x) - base - y) ** 2).sum()
        (gradient,) = torch.autograd.grad(loss, model.weights)
        with torch.no_grad():
            model.weights -= eta * gradient
    return model.weights.detach()


@pytest.mark.parametrize("centred", [False, True])
def test_moments_follow_the_weights_of_each_network(centred):
    task, weights = setting()
    alpha, kappa, eta = [0.6, 1.0, 2.5], [0.3, 1.0, 0.0], [0.05, 0.02, 0.1]
    history = train_polynomial(
        task, moments(weights), output_scale=alpha, curvature=kappa, learning_rate=eta,
        steps=[0, 40], centred=centred,
    )  # fmt: skip
    for i in range(3):
        x, y = task.inputs[i], task.targets[i]
        end = descend(
            weights[i], x, y, alpha=alpha[i], kappa=kappa[i], eta=eta[i], steps=40, centred=centred
        )
        model = Quadratic(end, alpha[i], kappa[i])
        base = Quadratic(weights[i], alpha[i], kappa[i])(x) if centred else 0.0
        torch.testing.assert_close(history.moments[i, 1], moments(end), rtol=1e-11, atol=1e-12)
        error = float(((model(x) - base - y) ** 2).mean().detach()) / VARIANCE
        assert history.train[i, 1] == pytest.approx(error, rel=1e-10)
        assert history.weight_change[i, 1] == pytest.approx(
            weight_change([end], [weights[i]]), rel=1e-9
        )
        assert history.times[i, 1] == pytest.approx(40 * eta[i])
    assert (history.weight_change[:, 0] == 0).all()
    torch.testing.assert_close(history.moments[:, 0], moments(weights))


def test_small_steps_follow_gradient_flow_on_the_weights():
    task, weights = setting(networks=1, points=7, dimension=3, width=4)
    x, y = task.inputs[0].numpy(), task.targets[0].numpy()
    alpha, kappa, end = 0.8, 0.6, 3.0

    def flow(_, flat):
        w = flat.reshape(4, 3)
        h = x @ w.T
        r = alpha * (h + kappa / 2 * h**2).mean(1) - y
        return -((r[:, None] * (1 + kappa * h)).T @ x / alpha).ravel()

    exact = solve_ivp(
        flow, (0, end), weights[0].numpy().ravel(), rtol=1e-10, atol=1e-12
    ).y[:, -1].reshape(4, 3)  # fmt: skip
    errors = []
    for steps in (300, 600):
        history = train_polynomial(
            task, moments(weights), output_scale=alpha, curvature=kappa,
            learning_rate=end / steps, steps=[steps],
        )  # fmt: skip
        errors.append(float((history.moments[0, 0] - moments(exact)).abs().max()))
    assert errors[0] < 0.01
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.1)  # first order in the step


def test_width_enters_through_the_moments_alone():
    task, weights = setting()
    twice = torch.cat([weights, weights], dim=1)
    torch.testing.assert_close(moments(twice), moments(weights))
    state = moments(weights)
    assert state.shape == (3, 5, 5)
    torch.testing.assert_close(state[0, :-1, -1], weights[0].mean(0))
    torch.testing.assert_close(state[0, :-1, :-1], weights[0].T @ weights[0] / 6)
    assert (state[:, -1, -1] == 1).all()


def test_outputs_are_those_of_the_neurons():
    task, weights = setting()
    found = outputs(moments(weights), task.inputs, output_scale=1.7, curvature=0.4)
    for i in range(3):
        torch.testing.assert_close(
            found[i], Quadratic(weights[i], 1.7, 0.4)(task.inputs[i]).detach()
        )


def test_tangent_kernel_is_that_of_automatic_differentiation():
    task, weights = setting()
    kernel = tangent_kernel(moments(weights), task.inputs, curvature=0.7)
    cross = tangent_kernel(moments(weights), task.inputs[:, :2], task.inputs[:, 3:8], curvature=0.7)
    for i in range(3):
        model = Quadratic(weights[i], 1.3, 0.7)
        exact = empirical_ntk(model, task.inputs[i]).numpy() * 6 / 1.3**2
        np.testing.assert_allclose(kernel[i], exact, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(cross[i], exact[:2, 3:8], rtol=1e-11, atol=1e-13)


def test_population_error_by_exact_cubature():
    nodes, weights = np.polynomial.hermite_e.hermegauss(4)  # exact up to degree 7
    weights = weights / weights.sum()
    grid = np.stack(np.meshgrid(*[nodes] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    mass = np.prod(np.meshgrid(*[weights] * 3, indexing="ij"), axis=0).ravel()
    x = torch.tensor(grid / math.sqrt(3))
    task, w = setting(networks=2, dimension=3)
    later = moments(w + 0.3)
    for i in range(2):
        y = (x @ task.direction[i]) ** 2 / 2
        f = Quadratic(w[i] + 0.3, 1.4, 0.8)(x).detach()
        base = Quadratic(w[i], 1.4, 0.8)(x).detach()
        plain = population_error(later[i], task.direction[i], output_scale=1.4, curvature=0.8)
        shifted = population_error(
            later[i], task.direction[i], output_scale=1.4, curvature=0.8, reference=moments(w[i])
        )
        assert plain == pytest.approx(mass @ ((f - y) ** 2).numpy(), rel=1e-12)
        assert shifted == pytest.approx(mass @ ((f - base - y) ** 2).numpy(), rel=1e-12)
    assert mass @ ((y - 0.5) ** 2).numpy() == pytest.approx(VARIANCE, rel=1e-12)


def test_population_error_broadcasts_over_times_and_is_what_training_reports():
    task, weights = setting()
    history = train_polynomial(
        task, moments(weights), output_scale=0.9, curvature=0.5, learning_rate=0.05,
        steps=[0, 3, 9],
    )  # fmt: skip
    errors = population_error(
        history.moments, task.direction[:, None], output_scale=0.9, curvature=0.5
    )
    np.testing.assert_allclose(errors / VARIANCE, history.test, rtol=1e-12)


def test_the_solution_has_no_error():
    direction = torch.tensor([3.0, 0.0, 4.0]).double() * math.sqrt(3) / 5
    state = torch.zeros(4, 4).double()
    state[-1, -1] = 1
    state[:-1, :-1] = torch.outer(direction, direction) / (0.5 * 0.2)
    assert population_error(state, direction, output_scale=0.5, curvature=0.2) == pytest.approx(0)
    nothing = torch.zeros(4, 4).double()
    # E y² = 3/4
    assert population_error(nothing, direction, curvature=1.0) == pytest.approx(0.75)


@pytest.mark.parametrize("centred", [False, True])
def test_linearised_training_is_kernel_gradient_descent(centred):
    task, weights = setting(networks=1, points=6)
    start, eta, steps = moments(weights), 0.05, 70
    alpha, kappa = 1.3, 0.8
    history = train_polynomial(
        task, start, output_scale=alpha, curvature=kappa, learning_rate=eta, steps=[0, steps],
        centred=centred, linearised=True,
    )  # fmt: skip
    x, y = task.inputs[0], task.targets[0].numpy()
    kernel = tangent_kernel(start, task.inputs, curvature=kappa)[0]
    model = Quadratic(weights[0], alpha, kappa)
    base = model(x).detach().numpy()
    residual = -y if centred else base - y
    decay = np.linalg.matrix_power(np.eye(6) - eta * kernel, steps)
    expected = ((decay @ residual) ** 2).mean() / VARIANCE
    assert history.train[0, 1] == pytest.approx(expected, rel=1e-10)
    fresh = torch.tensor(np.random.default_rng(0).standard_normal((20, 4)))
    moved = outputs(history.moments[0, 1], fresh, output_scale=alpha, curvature=kappa).numpy()
    cross = tangent_kernel(start[0], fresh, x, curvature=kappa)
    learned = cross @ np.linalg.solve(kernel, (decay - np.eye(6)) @ residual)
    np.testing.assert_allclose(moved, model(fresh).detach().numpy() + learned, rtol=1e-9)
    # The linear model's weights move, too: the gradients are those of the start.
    change = -eta * sum(
        np.linalg.matrix_power(np.eye(6) - eta * kernel, k) @ residual for k in range(steps)
    )
    slopes = (1 + kappa * (x @ weights[0].T)).numpy()
    delta = (change[:, None] * slopes).T @ x.numpy() / alpha
    norm = np.linalg.norm(delta) / np.linalg.norm(weights[0])
    assert history.weight_change[0, 1] == pytest.approx(norm, rel=1e-9)


def test_centring_subtracts_the_start():
    task, weights = setting()
    history = train_polynomial(
        task, moments(weights), output_scale=3.0, curvature=1.0, learning_rate=0.01, steps=[0],
        centred=True,
    )  # fmt: skip
    np.testing.assert_allclose(
        history.train[:, 0], (task.targets**2).mean(1).numpy() / VARIANCE, rtol=1e-12
    )
    np.testing.assert_allclose(history.test[:, 0], 1.5, rtol=1e-12)


def test_large_scale_centred_follows_the_linearisation():
    task, weights = setting(points=5)
    ends = [
        train_polynomial(
            task, moments(weights), output_scale=1e4, curvature=1.0, learning_rate=0.05,
            steps=[50], centred=True, linearised=linearised,
        ).test
        for linearised in (False, True)
    ]  # fmt: skip
    np.testing.assert_allclose(*ends, rtol=1e-3)


def test_dial_agrees_with_weights():
    task, weights = setting(networks=2)
    history = train_polynomial(
        task, moments(weights), output_scale=0.7, curvature=0.9, learning_rate=0.03, steps=[0, 25]
    )
    dial = polynomial_dial(history, task, curvature=0.9)
    for i in range(2):
        x, y = task.inputs[i], task.targets[i]
        end = descend(weights[i], x, y, alpha=0.7, kappa=0.9, eta=0.03, steps=25)
        before, after = (empirical_ntk(Quadratic(w, 0.7, 0.9), x) for w in (weights[i], end))
        assert dial.distance[i, 1] == pytest.approx(kernel_distance(after, before), rel=1e-9)
        assert dial.alignment[i, 1] == pytest.approx(kernel_alignment(after, y), rel=1e-9)
        assert dial.centred_alignment[i, 1] == pytest.approx(
            kernel_alignment(after, y, centred=True), rel=1e-9
        )
        top = np.linalg.svd(end.numpy())[2][0]
        unit = task.direction[i].numpy() / 2
        assert dial.overlap[i, 1] == pytest.approx((top @ unit) ** 2, rel=1e-9)
        ratio = float((end**2).sum() / (weights[i] ** 2).sum())
        assert dial.norm[i, 1] == pytest.approx(ratio, rel=1e-10)
    assert (dial.distance[:, 0] == 0).all()
    assert (dial.norm[:, 0] == 1).all()


def test_positive_matrices_stay_positive_in_training_but_not_in_the_linearisation():
    task, weights = setting(networks=8, points=20, dimension=8, width=40, seed=3)
    common = {"output_scale": 1.0, "curvature": 1.0, "learning_rate": 0.03, "steps": [2000]}
    lows = {
        linearised: torch.linalg.eigvalsh(
            train_polynomial(task, moments(weights), linearised=linearised, **common).moments
        )[..., 0]
        for linearised in (False, True)
    }
    assert float(lows[False].min()) > -1e-12
    assert float(lows[True].max()) < -0.1


def test_hint_raises_the_variance_along_the_direction_alone():
    task = polynomial_task(networks=1, points=2, dimension=5, generator=seeded())
    plain, hinted = (
        initial_weights(task, width=200_000, generator=seeded(1), hint=hint)[0]
        for hint in (0.0, 8.0)
    )
    unit = task.direction[0] / math.sqrt(5)
    assert float((hinted @ unit).var()) == pytest.approx(9, rel=0.02)
    torch.testing.assert_close(
        hinted - torch.outer(hinted @ unit, unit), plain - torch.outer(plain @ unit, unit)
    )
    torch.testing.assert_close(hinted @ unit, 3 * (plain @ unit))


def test_task_is_what_the_model_says():
    task = polynomial_task(networks=50, points=200, dimension=6, generator=seeded())
    assert task.inputs.dtype == torch.float64
    assert float(task.inputs.var()) == pytest.approx(1 / 6, rel=0.02)
    torch.testing.assert_close((task.direction**2).sum(1), torch.full((50,), 6.0).double())
    y = torch.einsum("bnd,bd->bn", task.inputs, task.direction) ** 2 / 2
    torch.testing.assert_close(task.targets, y)
    assert float(task.targets.var()) == pytest.approx(VARIANCE, rel=0.1)
    again = polynomial_task(networks=50, points=200, dimension=6, generator=seeded())
    assert torch.equal(task.inputs, again.inputs)


def history_of(times, train, test):
    times, train, test = (np.atleast_2d(np.asarray(part, float)) for part in (times, train, test))
    return module.PolynomialHistory(
        np.arange(times.shape[1]), times, train, test, torch.zeros(1), np.zeros_like(train)
    )


def test_delays_of_power_laws_are_found_between_records():
    times = np.concatenate([[0.0], np.geomspace(0.1, 1000, 13)])
    with np.errstate(divide="ignore"):
        train = np.minimum(1 / times, 2.0)
        test = np.minimum(5 / np.sqrt(times), 3.0)
    delay = grokking_delay(history_of(times, train, test), threshold=0.2)
    assert delay.train[0] == pytest.approx(5, rel=1e-9)
    assert delay.test[0] == pytest.approx(625, rel=1e-9)
    assert delay.factor[0] == pytest.approx(125, rel=1e-9)
    assert delay.fitted[0]
    assert delay.generalised[0]


def test_what_never_falls_is_censored_at_the_last_time():
    times = [0.0, 1.0, 2.0, 4.0]
    delay = grokking_delay(
        history_of([times] * 2, [[1, 0.5, 0.01, 0]] * 2, [[1, 1, 1, 0.9], [1, 0.5, 0.3, 0.04]]),
        threshold=0.05,
    )
    assert delay.generalised.tolist() == [False, True]
    assert delay.fitted.all()
    assert delay.test[0] == 4.0
    assert 2 < delay.test[1] < 4
    assert 1 < delay.train[0] < 2


def test_below_from_the_start_is_time_zero():
    delay = grokking_delay(history_of([0.0, 1.0], [0.01, 0.01], [0.01, 0.01]), threshold=0.05)
    assert delay.test[0] == 0.0


def test_median_is_that_of_scipys_kaplan_meier():
    rng = np.random.default_rng(3)
    for _ in range(60):
        times, observed = rng.uniform(1, 50, 11).round(0), rng.uniform(size=11) < 0.7
        if not observed.any():
            continue
        survival = ecdf(CensoredData(uncensored=times[observed], right=times[~observed])).sf
        low = survival.probabilities <= 0.5 + 1e-12
        expected = survival.quantiles[low.argmax()] if low.any() else np.inf
        assert module._medians(times[None], observed[None])[0] == expected
    assert module._medians(times[None], np.zeros((1, 11), bool))[0] == np.inf


def test_median_time_with_and_without_censoring():
    rng = np.random.default_rng(0)
    times = 10 ** rng.normal(1.5, 0.3, 400)
    seen = np.ones(400, bool)
    full = median_time(times, seen, generator=np.random.default_rng(1))
    assert full.value == pytest.approx(1.5, abs=4 * 0.3 * 1.25 / 20)
    assert full.stderr == pytest.approx(0.3 * 1.2533 / 20, rel=0.25)
    assert full.seeds == 400
    budget = 40.0  # 63 per cent of the times lie below
    cut, seen = np.minimum(times, budget), times <= budget
    kept = median_time(cut, seen, generator=np.random.default_rng(1))
    assert kept.value == pytest.approx(full.value, abs=1e-12)
    assert np.log10(np.median(times[seen])) < full.value - 0.1  # dropping would bias
    cut, seen = np.minimum(times, 20.0), times <= 20.0
    assert median_time(cut, seen, generator=np.random.default_rng(1)) is None


def test_median_exponent_of_an_exact_law():
    medians = [Estimate(2 + 1.5 * math.log10(x), 0.1, 20) for x in (1, 2, 8, 32)]
    found = median_exponent([1, 2, 8, 32], medians)
    assert found.value == pytest.approx(1.5)
    log = np.log10([1, 2, 8, 32])
    assert found.stderr == pytest.approx(0.1 / np.sqrt(((log - log.mean()) ** 2).sum()))
    assert found.seeds == 20


def test_population_time_is_that_of_the_flow_of_eigenvalues():
    d, points, alpha, kappa, theta = 7, 3000, 0.6, 1.7, 1e-5
    speed = 2 * kappa * points / (alpha * d**2)

    def flow(_, values):
        excess = alpha * kappa * values - np.array([d, 0.0])
        trace = excess[0] + (d - 1) * excess[1]
        return -speed * (excess + trace / 2) * values

    def error(_, values):
        excess = alpha * kappa * values - np.array([d, 0.0])
        squares = excess[0] ** 2 + (d - 1) * excess[1] ** 2
        trace = excess[0] + (d - 1) * excess[1]
        return (2 * squares + trace**2) / (4 * d**2) / VARIANCE - theta

    error.terminal = True
    expected = population_time(
        theta, points=points, dimension=d, output_scale=alpha, curvature=kappa
    )
    result = solve_ivp(
        flow, (0, 3 * expected), np.ones(2), method="LSODA", rtol=1e-10, atol=1e-14, events=error
    )
    assert expected == pytest.approx(result.t_events[0][0], rel=0.01)


def test_value_at_is_linear_in_log_time():
    history = history_of([[0.0, 1.0, 10.0, 100.0]] * 2, np.ones((2, 4)), np.ones((2, 4)))
    values = np.array([[9.0, 0.0, 1.0, 2.0], [9.0, 5.0, 5.0, 7.0]])
    found = value_at(history, np.array([10**0.5, 10**1.5]), values)
    np.testing.assert_allclose(found, [0.5, 6.0])
    for time in (0.5, 101.0):
        with pytest.raises(ValueError, match="times is"):
            value_at(history, np.array([time, 10.0]), values)


def test_safe_learning_rate_trains_and_is_below_the_limit():
    task, weights = setting(networks=4, points=12, dimension=5, width=20)
    start, alpha = moments(weights), np.array([0.05, 0.3, 2.0, 8.0])
    rate = safe_learning_rate(task, start, output_scale=alpha, curvature=1.0)
    assert rate.shape == (4,)
    top = np.linalg.eigvalsh(tangent_kernel(start, task.inputs, curvature=1.0))[:, -1]
    assert (rate <= 0.7 / top + 1e-12).all()
    assert rate[0] < rate[2]  # the kernel at the end grows as 1/α
    history = train_polynomial(
        task, start, output_scale=alpha, curvature=1.0, learning_rate=rate, steps=[0, 300]
    )
    assert (history.train[:, 1] < history.train[:, 0]).all()


def test_divergence_is_an_error_that_names_the_network():
    task, weights = setting()
    with pytest.raises(Divergence, match=r"networks \[1\] diverge at step \d+") as caught:
        train_polynomial(
            task, moments(weights), output_scale=1.0, curvature=1.0,
            learning_rate=[0.01, 30.0, 0.01], steps=[500],
        )  # fmt: skip
    assert caught.value.networks == [1]


def test_sweep_is_training_case_by_case():
    case = {
        "points": 20, "output_scale": 0.5, "curvature": 1.0, "hint": 2.0, "centred": False,
        "steps": 200,
    }  # fmt: skip
    other = case | {"centred": True, "output_scale": 2.0}
    found = delay_sweep(
        [case, other], networks=3, dimension=4, width=30, thresholds=[0.1, 0.3], seed=5
    )
    assert found["test_time"].shape == (2, 2, 3)
    assert found["alignment"].shape == (2, 3)
    generator = seeded(6)
    task = polynomial_task(networks=3, points=20, dimension=4, generator=generator)
    start = moments(initial_weights(task, width=30, generator=generator, hint=2.0))
    rate = found["learning_rate"][1]
    history = train_polynomial(
        task, start, output_scale=2.0, curvature=1.0, learning_rate=rate,
        steps=geometric_steps(200, 120), centred=True,
    )  # fmt: skip
    delay = grokking_delay(history, threshold=0.3)
    np.testing.assert_array_equal(found["test_time"][1, 1], delay.test)
    np.testing.assert_array_equal(found["generalised"][1, 1], delay.generalised)
    dial = polynomial_dial(history, task, curvature=1.0)
    np.testing.assert_allclose(found["distance"][1], dial.distance[:, -1])
    np.testing.assert_allclose(found["alignment"][1], dial.centred_alignment[:, 0])


def test_geometric_steps():
    assert geometric_steps(5, 50).tolist() == [0, 1, 2, 3, 4, 5]
    steps = geometric_steps(10_000, 40)
    assert steps[0] == 0
    assert steps[-1] == 10_000
    assert (np.diff(steps) > 0).all()


def test_drawing():
    task, weights = setting()
    history = train_polynomial(
        task, moments(weights), curvature=1.0, learning_rate=0.05, steps=geometric_steps(20)
    )
    fig, axs = figures.panels(4)
    module.draw_history(axs[0], history)
    module.draw_history(axs[1], history, network=1)
    module.draw_delays(axs[2], [1, 2], [Estimate(1.0, 0.1, 9), None], [50, 70], label="x")
    module.draw_fraction(axs[3], [1, 2], np.array([[True, True], [False, True]]))
    arrow = axs[2].lines[-1]
    assert arrow.get_xdata().tolist() == [2]
    assert arrow.get_ydata().tolist() == [70]
    figures.plt.close(fig)


TASK, WEIGHTS = setting()
START = moments(WEIGHTS)
SIZES = {"networks": 1, "points": 1, "dimension": 2, "generator": seeded()}
GOOD = {"output_scale": 1.0, "curvature": 1.0, "learning_rate": 0.01, "steps": [0, 1]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output_scale": 0.0}, "output_scale is 0.0"),
        ({"output_scale": [1.0, 2.0]}, r"output_scale is \[1.0, 2.0\]"),
        ({"curvature": -1.0}, "curvature is -1.0"),
        ({"curvature": math.nan}, "curvature"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"steps": []}, r"steps is \[\]"),
        ({"steps": [3, 3]}, r"steps is \[3, 3\]"),
        ({"steps": [-1, 3]}, "steps is"),
        ({"steps": [0.5]}, "steps is"),
        ({"moments": START[:2]}, "moments has shape"),
        ({"moments": torch.eye(6).double().expand(3, 6, 6)}, "moments has shape"),
    ],
)
def test_bad_training(changes, message):
    arguments = {"moments": START} | GOOD | changes
    with pytest.raises(ValueError, match=message):
        train_polynomial(TASK, arguments.pop("moments"), **arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: polynomial_task(**(SIZES | {"networks": 0})), "networks is 0"),
        (lambda: polynomial_task(**(SIZES | {"points": 0})), "points is 0"),
        (lambda: polynomial_task(**(SIZES | {"dimension": 1})), "dimension is 1"),
        (lambda: polynomial_task(**(SIZES | {"generator": 0})), "generator is 0"),
        (lambda: initial_weights(TASK, width=0, generator=seeded()), "width is 0"),
        (lambda: initial_weights(TASK, width=2, generator=seeded(), hint=-1.0), "hint is -1.0"),
        (lambda: moments(np.ones(3)), "weights has shape"),
        (lambda: moments(np.full((2, 2), np.nan)), "weights contains NaN"),
        (lambda: outputs(START, np.ones((4, 3)), curvature=1.0), "inputs has shape"),
        (lambda: outputs(START, TASK.inputs, output_scale=0.0, curvature=1.0), "output_scale"),
        (lambda: outputs(np.ones((2, 3)), np.ones((4, 2)), curvature=1.0), "moments has shape"),
        (lambda: tangent_kernel(START, TASK.inputs, curvature=-0.1), "curvature is -0.1"),
        (lambda: tangent_kernel(START, TASK.inputs, np.ones((2, 9)), curvature=1.0), "inputs has"),
        (lambda: population_error(START, np.ones(3), curvature=1.0), "direction has shape"),
        (lambda: population_error(START, np.ones(4), curvature=-1.0), "curvature is -1.0"),
        (lambda: safe_learning_rate(TASK, START[:2], output_scale=1.0, curvature=1.0),
         "moments has shape"),
        (lambda: safe_learning_rate(TASK, START, output_scale=1.0, curvature=0.0),
         "curvature is 0.0"),
        (lambda: geometric_steps(0), "last is 0"),
        (lambda: population_time(0.0, points=9, dimension=3, output_scale=1.0, curvature=1.0),
         "threshold is 0.0"),
        (lambda: grokking_delay(history_of([0, 1], [1, 1], [1, 1]), threshold=0.0), "threshold"),
        (lambda: median_time([1.0] * 4, np.ones(4, bool), generator=np.random.default_rng()),
         "at least five"),
        (lambda: median_time([0.0] + [1.0] * 5, np.ones(6, bool),
                             generator=np.random.default_rng()), "positive"),
        (lambda: median_time([1.0] * 6, np.ones(6), generator=np.random.default_rng()), "observed"),
        (lambda: median_time([1.0] * 6, np.ones(6, bool), generator=None), "generator"),
        (lambda: median_exponent([1, 2], [Estimate(1, 1, 9)] * 2), "at least three"),
        (lambda: median_exponent([1, 2, 3], [Estimate(1, 1, 9), None, None]), "None"),
    ],
)  # fmt: skip
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_task_can_be_cut_to_its_first_networks():
    few = PolynomialTask(*(part[:2] for part in TASK))
    both = [
        train_polynomial(task, start, **GOOD).test
        for task, start in ((few, START[:2]), (TASK, START))
    ]
    np.testing.assert_allclose(both[0], both[1][:2], rtol=1e-14)
