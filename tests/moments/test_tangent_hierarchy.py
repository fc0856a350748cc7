"""The tangent hierarchy: tensors, truncations, networks that close, and the report."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from scipy import integrate

from course import runtime
from course.moments.tangent_hierarchy import (
    TruncationDiverged,
    convergence_radius,
    linear_flow,
    network_flow,
    sample_weights,
    tangent_tensors,
    tangent_validity,
    truncated_flow,
    truncation_errors,
)

X, Y = np.array([[1.0, 0.3], [-0.4, 0.9]]), np.array([0.8, -0.5])
PHI = {
    "linear": lambda z: z,
    "quadratic": lambda z: z**2 / 2,
    "tanh": torch.tanh,
    "erf": torch.erf,
}


def weights(width=5, networks=1, dimension=2, seed=1):
    return sample_weights(
        width, dimension=dimension, networks=networks, generator=runtime.generator(seed)
    )


@pytest.mark.parametrize("activation", list(PHI))
def test_tensors_agree_with_reverse_derivatives(activation):
    """By torch's reverse mode on a plain module-like function, one network at a time."""
    v, w = weights(networks=2)
    tensors = tangent_tensors((v, w), X, order=4, activation=activation)
    x = torch.tensor(X)
    for number in range(2):
        theta = torch.cat([v[number], w[number].flatten()]).requires_grad_()
        outputs = PHI[activation](theta[5:].reshape(5, 2) @ x.T).T @ theta[:5] / math.sqrt(5)

        def gradient(value, theta=theta):
            return torch.autograd.grad(value, theta, create_graph=True)[0]

        firsts = [gradient(f) for f in outputs]
        level = {(a,): f for a, f in enumerate(outputs)}
        for s in range(1, 5):
            for index, value in level.items():
                assert float(tensors[s - 1][(number, *index)]) == pytest.approx(
                    float(value.detach()), rel=1e-9, abs=1e-11
                )
            level = (
                {
                    (*index, b): gradient(value) @ firsts[b]
                    for index, value in level.items()
                    for b in range(2)
                }
                if s < 4
                else {}
            )


def test_networks_follow_gradient_descent_in_small_steps():
    v, w = (part.clone().requires_grad_() for part in weights())
    flow = network_flow((v.detach(), w.detach()), X, Y, time=0.5, steps=50, activation="tanh")
    x, y = torch.tensor(X), torch.tensor(Y)
    for _ in range(5000):
        f = torch.tanh(w[0] @ x.T).T @ v[0] / math.sqrt(5)
        grads = torch.autograd.grad(((f - y) ** 2).sum() / 2, (v, w))
        with torch.no_grad():
            v -= 1e-4 * grads[0]
            w -= 1e-4 * grads[1]
    np.testing.assert_allclose(flow.output[0, -1], f.detach(), atol=2e-4)
    np.testing.assert_allclose(flow.times, np.linspace(0, 0.5, 6))


def test_kernel_of_the_flow_starts_at_the_second_tensor():
    given = weights(networks=3)
    flow = network_flow(given, X, Y, time=0.1, steps=10, activation="erf")
    tensors = tangent_tensors(given, X, order=2, activation="erf")
    np.testing.assert_allclose(flow.kernel[:, 0], tensors[1], atol=1e-13)
    np.testing.assert_allclose(flow.output[:, 0], tensors[0], atol=1e-13)


def test_order_two_is_a_constant_kernel():
    tensors = tangent_tensors(weights(), X, order=2, activation="tanh")
    cut = truncated_flow(tensors, Y, time=1.0, steps=100)
    values, vectors = np.linalg.eigh(tensors[1][0].numpy())
    decay = vectors @ np.diag(np.exp(-values)) @ vectors.T
    expected = Y + decay @ (tensors[0][0].numpy() - Y)
    np.testing.assert_allclose(cut.output[0, -1], expected, atol=1e-8)
    np.testing.assert_array_equal(cut.kernel[0, -1], tensors[1][0])


def test_short_times_gain_a_power_with_each_order():
    given = weights(width=10)
    tensors = tangent_tensors(given, X, order=4, activation="tanh")
    for order in (2, 3, 4):
        errors = [
            np.abs(
                truncated_flow(tensors, Y, time=t, order=order, steps=20, record=20).output[0, -1]
                - network_flow(given, X, Y, time=t, steps=20, record=20, activation="tanh").output[
                    0, -1
                ]
            ).max()
            for t in (0.02, 0.04)
        ]
        assert math.log2(errors[1] / errors[0]) == pytest.approx(order, abs=0.25)


def test_one_input_is_a_taylor_polynomial():
    tensors = tangent_tensors(weights(dimension=1), [[1.0]], order=5, activation="tanh")
    c = [float(t.flatten()[0]) / math.factorial(s) for s, t in enumerate(tensors)]
    cut = truncated_flow(tensors, [0.7], time=1.5, steps=300, record=300)
    u = integrate.solve_ivp(
        lambda _, u: 0.7 - np.polyval(c[::-1], u), (0, 1.5), [0.0], rtol=1e-10, atol=1e-12
    ).y[0, -1]
    assert cut.output[0, -1, 0] == pytest.approx(np.polyval(c[::-1], u), abs=1e-8)


def test_linear_network_has_the_known_output_and_truncations():
    assert linear_flow(0.2, 2.0, 1.0, width=10, times=1.0) == pytest.approx(0.8962248362, abs=1e-10)
    tensors = [
        torch.full((1,) * (s + 1), value, dtype=torch.float64)
        for s, value in ((1, 0.2), (2, 2.0), (3, 4 * 0.2 / 10))
    ]
    for order, value in ((2, 0.8917317734), (3, 0.8936763963)):
        cut = truncated_flow(tensors, [1.0], order=order, time=1.0, steps=200)
        assert cut.output[0, -1, 0] == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("label", [2.0, -3.0, 0.0])
def test_linear_flow_is_that_of_a_network(label):
    v, w = weights(width=6, dimension=1)
    flow = network_flow((v, w), [[1.0]], [label], time=2.0, steps=400, record=100,
                        activation="linear")  # fmt: skip
    found = linear_flow(
        flow.output[0, 0, 0], flow.kernel[0, 0, 0, 0], label, width=6, times=flow.times
    )
    np.testing.assert_allclose(found, flow.output[0, :, 0], atol=1e-7)


def test_runaway_is_raised_marked_and_timed():
    # f = u - u², label 1: no root; infinite at the time of the integral
    tensors = [torch.full((1,) * (s + 1), value, dtype=torch.float64)
               for s, value in ((1, 0.0), (2, 1.0), (3, -2.0))]  # fmt: skip
    with pytest.raises(TruncationDiverged, match=r"order 3 runs away.*network 0 at time.*eigenv"):
        truncated_flow(tensors, [1.0], time=5.0, steps=1000)
    cut = truncated_flow(tensors, [1.0], time=5.0, steps=1000, allow_divergence=True)
    expected = integrate.quad(lambda u: 1 / (1 - u + u**2), 0, np.inf)[0]
    assert cut.diverged_at[0] == pytest.approx(expected, abs=0.05)
    assert np.isinf(cut.output[0, -1, 0])
    assert np.isfinite(cut.kernel).all()
    ok = truncated_flow(tensors, [0.2], time=5.0, steps=100)
    assert np.isinf(ok.diverged_at).all()


def test_large_inputs_are_no_runaway():
    given = weights(dimension=1)
    tensors = tangent_tensors(given, [[40.0]], order=2, activation="linear")
    assert float(tensors[1].max()) > 1000
    cut = truncated_flow(tensors, [1.0], time=1e-3, steps=50)
    assert np.isfinite(cut.output).all()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_radius_is_that_of_the_taylor_coefficients(seed):
    rng = runtime.rng(seed)
    v, h = rng.standard_normal(6), rng.standard_normal(6)
    count = 160
    V, H, t, c = (np.zeros((count + 1, 6)) for _ in range(4))
    V[0], H[0], t[0], c[0] = v, h, np.tanh(h), 1 - np.tanh(h) ** 2
    for k in range(count):
        V[k + 1] = t[k] / (k + 1)
        H[k + 1] = (V[: k + 1] * c[k::-1]).sum(0) / (k + 1)
        t[k + 1] = (np.arange(1, k + 2)[:, None] * H[1 : k + 2] * c[k::-1]).sum(0) / (k + 1)
        c[k + 1] = -(t[: k + 2] * t[k + 1 :: -1]).sum(0)
    f = np.array([(V[: k + 1] * t[k::-1]).sum(0) for k in range(count + 1)])
    envelope = [np.log(np.abs(f[low : low + 25])).max(0) for low in (35, 135)]
    # coefficients fall as k^(-2/3) rho^(-k)
    slope = (envelope[1] - envelope[0] + 2 / 3 * math.log(147 / 47)) / 100
    found, expected = convergence_radius(v, h), np.exp(-slope)
    np.testing.assert_allclose(found, expected, rtol=0.05)  # distant ones oscillate slowly
    assert found.min() == pytest.approx(expected.min(), rel=0.01)


def test_errors_by_width_and_order():
    found = truncation_errors(
        x=X, y=Y, widths=[20, 80], orders=[2, 4], activation="linear", time=1.0, groups=2,
        networks=20, seed=1,
    )["median"]  # fmt: skip
    assert found.shape == (2, 2, 2)
    assert (found[:, :, 1] < found[:, :, 0]).all()
    assert (found[:, 1] < found[:, 0]).all()


def test_report_finds_runaway_and_stays_silent_where_all_is_well():
    options = {"activation": "tanh", "orders": (2, 3), "steps": 20}
    good = tangent_validity(X, 0.3 * Y, widths=(64,), time=0.5, networks=20,
                            generator=runtime.generator(2), **options)  # fmt: skip
    assert good.alarms == ()
    assert good.valid.all()
    bad = tangent_validity(X, 8 * Y, widths=(4, 8), time=8.0, networks=40,
                           generator=runtime.generator(3), **options)  # fmt: skip
    assert bad.runaway[0].max() == bad.indefinite[0].max() == 0
    assert bad.runaway[1, 0] > 0
    assert np.isfinite(bad.first[1, 0])
    assert (bad.indefinite >= bad.runaway).all()
    assert "run away, the first at time" in bad.alarms[0]
    assert len(str(bad).splitlines()) == 5
    fig, ax = plt.subplots()
    bad.plot(ax)
    plt.close(fig)


V, W = weights()
TENSORS = tangent_tensors((V, W), X, order=3, activation="tanh")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: tangent_tensors((V, W), X, order=1, activation="tanh"), "order"),
        (lambda: tangent_tensors((V, W), X, order=9, activation="tanh"), "2 to 8"),
        (lambda: tangent_tensors((V, W), X, order=2, activation="relu"), "activation"),
        (lambda: tangent_tensors((V, W), [[1.0]], order=2, activation="tanh"), "x has shape"),
        (lambda: tangent_tensors((V, W), np.inf * X, order=2, activation="tanh"), "x contains"),
        (lambda: tangent_tensors((V, W[:, :3]), X, order=2, activation="tanh"), "shapes"),
        (lambda: tangent_tensors(V, X, order=2, activation="tanh"), "pair"),
        (lambda: truncated_flow(TENSORS, Y, time=1.0, order=4), "2 to 3"),
        (lambda: truncated_flow([TENSORS[0], TENSORS[2]], Y, time=1.0), "tensors"),
        (lambda: truncated_flow(TENSORS, [1.0], time=1.0), "y is"),
        (lambda: truncated_flow(TENSORS, Y, time=1.0, steps=10, record=3), "record"),
        (lambda: truncated_flow(TENSORS, Y, time=0.0), "time"),
        (lambda: network_flow((V, W), X, [np.nan, 1.0], time=1.0, activation="tanh"), "y is"),
        (lambda: linear_flow(5.0, 1.0, 1.0, width=4, times=1.0), "theta"),
        (lambda: convergence_radius([0.0], [1.0]), "v is"),
        (lambda: convergence_radius([1.0], [1.0, 2.0]), "v is"),
        (lambda: sample_weights(0, dimension=1, networks=1, generator=None), "width"),
    ],
)
def test_bad_arguments_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize(
    ("change", "words"),
    [({"widths": (8, 4)}, "widths"), ({"orders": (1, 2)}, "orders"), ({"orders": ()}, "orders")],
)
def test_bad_reports_are_named(change, words):
    options = {"widths": (4, 8), "orders": (2, 3), "activation": "tanh", "time": 1.0,
               "networks": 2, "generator": runtime.generator(4)}  # fmt: skip
    with pytest.raises(ValueError, match=words):
        tangent_validity(X, Y, **options | change)


def test_a_step_that_is_too_large_is_an_error():
    with pytest.raises(RuntimeError, match="steps"):
        network_flow(weights(), 30 * X, Y, time=50.0, steps=10, activation="quadratic")


def test_report_has_the_errors_of_its_medians_and_compares_network_by_network():
    options = {"widths": (8,), "activation": "tanh", "time": 2.0, "networks": 64, "steps": 20}
    report = tangent_validity(
        X, 2 * Y, orders=(2, 3), generator=runtime.generator(5), **options
    )  # fmt: skip
    given = sample_weights(8, dimension=2, networks=64, generator=runtime.generator(5))
    flow = {"time": 2.0, "steps": 20, "record": 2}
    truth = network_flow(given, X, 2 * Y, activation="tanh", **flow).output
    tensors = tangent_tensors(given, X, order=3, activation="tanh")
    own = [
        np.abs(
            truncated_flow(tensors, 2 * Y, order=p, allow_divergence=True, **flow).output - truth
        ).max((1, 2))
        for p in (2, 3)
    ]
    assert report.better[:, 0] == pytest.approx([1.0, np.mean(own[1] < own[0])])
    drawn = runtime.rng(1).choice(own[0], (4000, 64))  # the bootstrap, another route
    assert report.stderr[0, 0] == pytest.approx(np.median(drawn, axis=1).std(), rel=0.5)
