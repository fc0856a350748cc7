"""Exponents against counting, brute force and networks; sweeps, limits and residual networks."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from course.lazy_rich import DenseEnsemble, Parametrization, coordinate_check, train
from course.lazy_rich import feature_learning as module
from course.lazy_rich.ensembles import Divergence
from course.lazy_rich.feature_learning import (
    dial_sweep,
    draw_plane,
    linear_limit,
    on_the_plane,
    rate_record,
    rate_sweep,
    residual_gram,
    residual_training,
    wave_data,
)

P = Parametrization
HALVES = np.arange(-2, 2.1, 0.5)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def stable_start(a, s, c):
    start = [0.0, *[0.5] * (len(a) - 2), 0.5 + s]
    return P(tuple(a), tuple(w - v for w, v in zip(start, a, strict=True)), c)


# --- the rules -----------------------------------------------------------------------------------


def test_presets_are_those_of_the_reference():
    assert (P.sp.a, P.sp.b, P.sp.c) == ((0, 0, 0), (0, 0.5, 0.5), 0)
    assert (P.ntp.a, P.ntp.b, P.ntp.c) == ((0, 0.5, 0.5), (0, 0, 0), 0)
    assert (P.mup.a, P.mup.b, P.mup.c) == ((-0.5, 0, 0.5), (0.5, 0.5, 0.5), 0)
    assert (P.mean_field.a, P.mean_field.b, P.mean_field.c) == ((0, 1), (0, 0), -1)
    assert (P.mup_adam.a, P.mup_adam.b, P.mup_adam.c) == ((-0.5, 0.5, 0.5), (0.5, 0, 0.5), 0.5)


@pytest.mark.parametrize(
    ("preset", "optimizer", "first", "r", "phase"),
    [
        ("sp", "sgd", True, -0.5, "unstable"),
        ("sp", "sgd", False, -1.0, "unstable"),
        ("ntp", "sgd", False, 0.5, "kernel"),
        ("mup", "sgd", False, 0.0, "feature learning"),
        ("mean_field", "sgd", False, 0.0, "feature learning"),
        ("mup_adam", "sgd", False, 0.5, "trivial"),
        ("sp", "adam", False, -1.0, "unstable"),
        ("ntp", "adam", False, -0.5, "unstable"),
        ("mup", "adam", False, -1.0, "unstable"),
        ("mup_adam", "adam", False, 0.0, "feature learning"),
    ],
)
def test_feature_exponents_and_phases(preset, optimizer, first, r, phase):
    p = getattr(P, preset)
    assert p.feature_exponent(optimizer, first_step=first) == r
    assert p.phase(optimizer) == phase


def test_sp_with_a_learning_rate_of_one_over_n_is_a_kernel():
    p = P(P.sp.a, P.sp.b, 1)
    assert (p.phase(), p.feature_exponent()) == ("kernel", 0.5)
    assert p.exponents(first_step=True).slopes.tolist() == [-1.5, -0.5, 0.0]


def test_phase_follows_the_theorem_on_a_grid():
    seen = set()
    for a1, a2, a3, s, c in itertools.product(
        HALVES[::2], HALVES[::2], HALVES, (0, 0.5, 1), HALVES
    ):
        p = stable_start((a1, a2, a3), s, c)
        r = min(a3 + p.b[2], 2 * a3 + c) + c - 1 + min(2 * a1 + 1, 2 * a2)
        stable = r >= 0 and 2 * a3 + c >= 1 and a3 + p.b[2] + r >= 1
        moves = 2 * a3 + c == 1 or a3 + p.b[2] + r == 1
        expected = "unstable"
        if stable:
            expected = ("feature learning" if r == 0 else "kernel") if moves else "trivial"
        assert p.phase() == expected
        seen.add(expected)
    assert seen == set(module.PHASES)


def test_a_wrong_start_is_unstable():
    assert P((0, 0, 0.5), (0, 0, 0), 0).phase() == "unstable"
    assert P((0.5, 0.5, 0.5), (0, 0, 0), 0).phase() == "unstable"
    assert P((0, 0.5, 0.25), (0, 0, 0), 0).phase() == "unstable"


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_shifts_change_no_exponent(optimizer):
    rng = np.random.default_rng(3)
    for _ in range(40):
        p = stable_start(
            rng.integers(-4, 5, 4) / 2, rng.integers(0, 3) / 2, rng.integers(-4, 5) / 2
        )
        for theta in (0.5, -1.0, tuple(rng.integers(-2, 3, 4) / 2)):
            q = p.shifted(theta, optimizer)
            for first in (True, False):
                assert q.exponents(optimizer, first_step=first) == p.exponents(
                    optimizer, first_step=first
                )
            assert q.phase(optimizer) == p.phase(optimizer)
            assert isinstance(q.c, tuple) == isinstance(theta, tuple)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_shifts_train_the_same_functions(optimizer):
    x, y = wave_data(5)

    def outputs(p):
        nets = p.ensemble(9, inputs=10, networks=3, generator=seeded())
        train(nets, (x, y), learning_rate=0.05, steps=4, optimizer=optimizer,
              layer_rates=p.layer_rates(9))  # fmt: skip
        return nets(x)

    p = P.mup if optimizer == "sgd" else P.mup_adam
    other = "adam" if optimizer == "sgd" else "sgd"
    for theta in (0.5, (0.5, -1.0, 1.0)):
        torch.testing.assert_close(outputs(p.shifted(theta, optimizer)), outputs(p))
        assert (outputs(p.shifted(theta, other)) - outputs(p)).abs().max() > 1e-3


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_stable_c_is_the_smallest(optimizer):
    rng = np.random.default_rng(4)
    for _ in range(60):
        depth = rng.integers(1, 4)
        p = stable_start(rng.integers(-4, 5, depth + 1) / 2, rng.integers(0, 3) / 2, 0)
        c = p.stable_c(optimizer)
        assert P(p.a, p.b, c).phase(optimizer) != "unstable"
        assert P(p.a, p.b, c - 1e-3).phase(optimizer) == "unstable"
    assert (P.sp.stable_c("sgd"), P.sp.stable_c("adam")) == (1.0, 1.5)


def test_depths():
    for preset in (P.sp, P.ntp, P.mup, P.mup_adam):
        for depth in (1, 2, 5):
            p = preset.at_depth(depth)
            assert p.depth == depth
            assert p.a == (preset.a[0], *[preset.a[1]] * (depth - 1), preset.a[2])
            assert p.c == preset.c
        assert preset.at_depth(2) is preset
    for rule, preset in (("sgd", P.mup), ("adam", P.mup_adam)):
        assert {preset.at_depth(k).phase(rule) for k in (1, 2, 7)} == {"feature learning"}
    layered = P.mup_adam.shifted((0.5, -0.5, 0.5), "adam").at_depth(4)
    assert layered.c == (0, 1, 1, 1, 0)
    # One hidden layer: the maximal update is the mean field, under another name.
    assert P.mup.at_depth(1).shifted(0.5) == P.mean_field
    with pytest.raises(ValueError, match="depth is 2; allowed is 1 where"):
        P.mean_field.at_depth(2)
    with pytest.raises(ValueError, match="depth is 2; allowed is 3 where"):
        P((0, 0, 1, 0), (0, 0, 0, 0), 0).at_depth(2)


def test_plane():
    assert on_the_plane(0, 0.5) == P.ntp
    assert on_the_plane(0.5, 0) == P.mup
    for s, q in itertools.product(np.arange(0, 1.01, 0.125), np.arange(-0.25, 1, 0.125)):
        p = on_the_plane(s, q)
        stable = q >= max(0, 0.5 - s)
        learns = "feature learning" if q == 0 else "kernel"
        assert p.phase() == (learns if stable else "unstable")
        assert p.feature_exponent() == min(0.5 + s, 1) - 1 + 2 * q
        if stable:
            assert p.kernel_exponent() == 2 * q


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((0,), (0,), 0), "a is"),
        ((0, (0, 0), 0), "a is 0"),
        (((0, 0), (0, 0, 0), 0), "b has 3 entries"),
        (((0, math.inf), (0, 0), 0), "a is inf"),
        (((0, 0), (math.inf, 0), 0), "b is inf"),
        (((0, 0), (0, -math.inf), 0), "b is -inf"),
        (((0, 0), (0, math.nan), 0), "b is nan"),
        (((0, 0), (0, 0), math.nan), "c is nan"),
        (((0, 0), (0, 0), (0, 0, 0)), "c has 3 entries"),
        (((0, 0), (0, 0), "x"), "c is 'x'"),
    ],
)
def test_bad_parametrizations(arguments, message):
    with pytest.raises(ValueError, match=message):
        P(*arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: P.sp.feature_exponent("adamw"), "optimizer is 'adamw'"),
        (lambda: P.sp.phase("x"), "optimizer is 'x'"),
        (lambda: P.sp.stable_c("x"), "optimizer is 'x'"),
        (lambda: P.sp.shifted(1, "x"), "optimizer is 'x'"),
        (lambda: P.sp.shifted((1, 2)), "theta has 2 entries"),
        (lambda: P.sp.shifted(math.nan), "theta is nan"),
        (lambda: P.sp.at_depth(0), "depth is 0"),
        (
            lambda: P.sp.exponents(trained=4),
            "trained is 4; allowed are the layers of weights 1 to 3",
        ),
        (lambda: P.sp.exponents(trained=0), "trained is 0"),
        (lambda: P.sp.layer_rates(0), "width is 0"),
        (lambda: P.sp.ensemble(0, inputs=1, networks=1, generator=seeded()), "width is 0"),
    ],
)
def test_bad_arguments_of_methods(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_ensemble_has_the_powers():
    p = P((0.25, -0.5, 1.0), (-0.25, 1.0, math.inf), (0, 1, 2))
    nets = p.ensemble(16, inputs=4, networks=2, generator=seeded())
    assert nets.multipliers == [16**-0.25 / 2, 4.0, 1 / 16]
    assert nets.deviations == [2.0, 1 / 16, 0.0]
    assert p.layer_rates(16) == [1.0, 1 / 16, 1 / 256]
    assert [tuple(w.shape) for w in nets.weights] == [(2, 16, 4), (2, 16, 16), (2, 1, 16)]


# --- the coordinate check ------------------------------------------------------------------------


def by_torch(weights, multipliers, x, y, rate, steps, optimizer, factors):
    """One network, with torch's own optimiser; changes of the preactivations."""
    leaves = [torch.nn.Parameter(w.clone()) for w in weights]

    def forward():
        found = []
        for weight, m in zip(leaves, multipliers, strict=True):
            signal = torch.tanh(found[-1]) if found else x
            found.append(m * signal @ weight.T)
        return found

    groups = [{"params": [w], "lr": rate * f} for w, f in zip(leaves, factors, strict=True)]
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    optimiser = kind(groups, **({"eps": 1e-12} if optimizer == "adam" else {}))
    with torch.no_grad():
        before = forward()
    for _ in range(steps):
        optimiser.zero_grad()
        (-(forward()[-1][:, 0] * y).sum()).backward()
        optimiser.step()
    with torch.no_grad():
        return [
            float((a - b).square().mean().sqrt()) for a, b in zip(forward(), before, strict=True)
        ]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("steps", [1, 3])
def test_sizes_are_those_of_single_networks_in_torch(optimizer, steps, monkeypatch):
    monkeypatch.setattr(module, "MEMORY_BUDGET", 1)  # one network at a time, in this order
    x, y = wave_data(4)
    p, widths = (P.mup, P.mup_adam)[optimizer == "adam"], [4, 6, 9]
    result = coordinate_check(p, widths, data=(x, y), generator=seeded(5), networks=2,
                              optimizer=optimizer, steps=steps, learning_rate=0.05)  # fmt: skip
    generator = seeded(5)
    for column, width in enumerate(widths):
        for row in range(2):
            net = p.ensemble(width, inputs=10, networks=1, generator=generator)
            expected = by_torch(
                [w[0] for w in net.weights], net.multipliers, torch.tensor(x), torch.tensor(y),
                0.05, steps, optimizer, p.layer_rates(width),
            )  # fmt: skip
            np.testing.assert_allclose(result.sizes[row, column], expected, rtol=1e-6)


def test_fits_and_predictions():
    result = coordinate_check(P.mup, [8, 16, 64], data=wave_data(3), generator=seeded(),
                              networks=6)  # fmt: skip
    sizes = np.log(np.sqrt((result.sizes**2).mean(0)))
    slopes = np.polyfit(np.log([8, 16, 64]), sizes, 1)[0]
    np.testing.assert_allclose(result.exponents.value, slopes)
    assert result.exponents.seeds == 6
    assert (result.exponents.stderr > 0).all()
    assert result.deviation == pytest.approx(np.abs(slopes - result.predicted).max())
    assert result.exponent(-1) == pytest.approx((slopes[-1], result.exponents.stderr[-1], 6))
    np.testing.assert_array_equal(result.predicted, [0, 0, 0])
    small = P(P.mup.a, (0.5, 0.5, 1.0), 0)
    for steps, expected in ((1, [-0.5, -0.5, 0]), (2, [0, 0, 0])):
        run = coordinate_check(small, [4, 8, 16], data=wave_data(3), generator=seeded(),
                               steps=steps)  # fmt: skip
        np.testing.assert_array_equal(run.predicted, expected)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("depth", [1, 3])
def test_measured_exponents_follow_theory_layer_by_layer(optimizer, depth):
    # Depths that no preset has. 24 networks: errors of 0.03 and less; 1/n at width 64.
    for trained in range(1, depth + 2):
        result = coordinate_check(
            P.sp.at_depth(depth), [64, 128, 256], data=wave_data(4), networks=24,
            optimizer=optimizer, learning_rate=1e-6, trained=trained, generator=seeded(trained),
        )  # fmt: skip
        assert result.sizes.shape[2] == depth + 2 - trained
        excess = np.abs(result.exponents.value - result.predicted) - 0.06
        assert (excess < 4 * result.exponents.stderr).all()


def test_zero_readout_needs_two_steps():
    zero = P(P.mup.a, (0.5, 0.5, math.inf), 0)
    arguments = {"data": wave_data(3), "learning_rate": 0.5, "generator": seeded()}
    with pytest.raises(ValueError, match="layer 1 does not move in 1 step"):
        coordinate_check(zero, [4, 8, 16], **arguments)
    result = coordinate_check(zero, [4, 8, 16], steps=2, **arguments)
    assert (result.sizes > 0).all()


CHECK = {"data": wave_data(3), "generator": seeded()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parametrization": "sp"}, "parametrization is 'sp'"),
        ({"widths": [8, 4, 16]}, r"widths is \[8, 4, 16\]; allowed are 3 or more, increasing"),
        ({"widths": [8, 8, 16]}, "widths is"),
        ({"widths": [8, 16]}, "widths is"),
        ({"widths": [8, 16.0, 32]}, "widths is 16.0"),
        ({"widths": None}, "widths is None; allowed is a sequence"),
        ({"widths": 64}, "widths is 64; allowed is a sequence"),
        ({"data": wave_data(3)[0]}, "data is ndarray"),
        ({"data": (np.ones((3, 2)), np.ones(4))}, "x and y have 3 and 4 points"),
        ({"data": (np.ones((3, 2)) * np.nan, np.ones(3))}, "x contains NaN"),
        ({"optimizer": "lion"}, "optimizer is 'lion'"),
        ({"networks": 1}, "networks is 1"),
        ({"learning_rate": 0}, "learning_rate is 0"),
        ({"steps": 0}, "steps is 0"),
        ({"loss": "hinge"}, "loss is 'hinge'"),
        ({"trained": 5}, "trained is 5"),
        ({"generator": 0}, "generator is 0"),
        ({"epsilon": -1.0}, "epsilon is -1"),
    ],
)
def test_bad_coordinate_checks(changes, message):
    arguments = {"parametrization": P.sp, "widths": [4, 8, 16]} | CHECK | changes
    first, second = arguments.pop("parametrization"), arguments.pop("widths")
    with pytest.raises(ValueError, match=message):
        coordinate_check(first, second, **arguments)


def test_divergence_is_an_error():
    with pytest.raises(Divergence, match="diverge"):
        coordinate_check(P.sp, [8, 16, 32], loss="squared", steps=50, learning_rate=10.0, **CHECK)


def test_single_precision():
    arguments = {"data": wave_data(3), "learning_rate": 0.1, "loss": "squared"}
    single = coordinate_check(P.mup, [8, 16, 32], generator=seeded(), dtype=torch.float32,
                              **arguments)  # fmt: skip
    assert single.sizes.dtype == np.float64
    # The generator draws other numbers in single precision: other networks of the same law.
    double = coordinate_check(P.mup, [8, 16, 32], generator=seeded(), **arguments)
    np.testing.assert_allclose(single.sizes.mean(0), double.sizes.mean(0), rtol=0.8)
    assert not np.array_equal(single.sizes, double.sizes)


def test_squared_loss_pulls_towards_the_targets():
    (x, y), p = wave_data(3), P.mup
    net = p.ensemble(8, inputs=10, networks=4, generator=seeded(4))
    h = net.preactivations(x)[1]
    train(net, (x, y), learning_rate=0.1, steps=1,
          loss=lambda f, y: ((f[..., 0].detach() - y[..., 0]) * f[..., 0]).sum(1))  # fmt: skip
    expected = (net.preactivations(x)[1] - h).square().mean((1, 2)).sqrt()
    found = coordinate_check(p, [8, 16, 32], data=(x, y), generator=seeded(4), networks=4,
                             learning_rate=0.1, loss="squared")  # fmt: skip
    np.testing.assert_allclose(found.sizes[:, 0, 1], expected)


# --- the dial ------------------------------------------------------------------------------------


def test_dial_sweep_against_one_network_by_hand(monkeypatch):
    monkeypatch.setattr(module, "MEMORY_BUDGET", 1)
    (x, y), rest = wave_data(4), wave_data(6)[0][4:]
    sweep = dial_sweep(P.ntp, [6], data=(x, y), x_test=rest, generator=seeded(1), networks=2,
                       learning_rate=0.1, steps=5)  # fmt: skip
    net = P.ntp.ensemble(6, inputs=10, networks=1, generator=seeded(1))
    start = net.copy()
    kernel, f0 = start.kernel(x)[0].numpy(), start(x)[0, :, 0].numpy()
    train(net, (x, y), learning_rate=0.1, steps=5)
    frozen = f0 - y
    for _ in range(5):
        frozen = frozen - 0.1 * kernel @ frozen
    after = net.kernel(x)[0].numpy()
    trained = net(x)[0, :, 0].numpy()
    assert sweep.kernel_distance[0, 0] == pytest.approx(
        np.linalg.norm(after - kernel) / np.linalg.norm(kernel)
    )
    assert sweep.linearised[0, 0] == pytest.approx(
        np.sqrt(((trained - y - frozen) ** 2).mean()), rel=1e-9
    )
    assert sweep.kernel_alignment[0, 0] == pytest.approx(
        y @ after @ y / (y @ y) / np.linalg.norm(after)
    )
    np.testing.assert_allclose(sweep.outputs[0, 0], net(rest)[0, :, 0].numpy())
    assert sweep.weight_change.shape == (2, 1)
    assert sweep.outputs.shape == (2, 1, 2)


def test_dial_sweep_needs_one_learning_rate():
    with pytest.raises(ValueError, match="allowed here is one number"):
        dial_sweep(P.ntp.shifted((1, 0, 0)), [4], x_test=wave_data(1)[0], learning_rate=1.0,
                   steps=1, **CHECK)  # fmt: skip


# --- the exact limit -----------------------------------------------------------------------------


@pytest.mark.parametrize("inputs", [1, 3])
def test_moments_are_exact_at_any_width(inputs):
    x, y = wave_data(4, inputs=inputs)
    net = P.mean_field.ensemble(7, inputs=inputs, networks=5, activation="linear",
                                generator=seeded())  # fmt: skip
    neurons = torch.cat([net.weights[0], net.weights[1].mT], 2)
    start = (neurons.mT @ neurons / 7).numpy()
    train(net, (x, y), learning_rate=0.7, steps=6)
    limit = linear_limit(x, y, learning_rate=0.1, steps=6, start=start)
    np.testing.assert_allclose(limit[:, -1], net(x)[..., 0].numpy(), atol=1e-12)
    assert limit.shape == (5, 7, 4)


def test_small_steps_follow_the_differential_equation():
    flow = solve_ivp(
        lambda t, f: 2 * np.sqrt(1 + f**2) * (1 - f), (0, 0.5), [0.0], rtol=1e-10, atol=1e-12
    )
    found = linear_limit([[1.0]], [1.0], learning_rate=1e-4, steps=5000)[-1, 0]
    assert flow.y[0, -1] == pytest.approx(0.66186408, abs=1e-7)
    assert found == pytest.approx(flow.y[0, -1], abs=1e-4)


def test_linear_limit_complains():
    x, y = wave_data(3, inputs=2)
    with pytest.raises(RuntimeError, match="diverges at step"):
        linear_limit(x, y, learning_rate=50.0, steps=40)
    with pytest.raises(ValueError, match="start has shape"):
        linear_limit(x, y, learning_rate=0.1, steps=1, start=np.eye(2))
    with pytest.raises(ValueError, match="x and y have"):
        linear_limit(x, y[:2], learning_rate=0.1, steps=1)
    with pytest.raises(ValueError, match="learning_rate is 0"):
        linear_limit(x, y, learning_rate=0, steps=1)
    with pytest.raises(ValueError, match="steps is 0"):
        linear_limit(x, y, learning_rate=0.1, steps=0)


# --- learning rates ------------------------------------------------------------------------------


def test_rate_sweep_is_training_one_by_one(monkeypatch):
    monkeypatch.setattr(module, "MEMORY_BUDGET", 1)
    x, y = wave_data(5)
    rates = 2.0 ** np.arange(-4, 1)
    sweep = rate_sweep(P.mup, [4, 6, 8], rates=rates, data=(x, y), generator=seeded(2),
                       networks=2, steps=3)  # fmt: skip
    generator = seeded(2)
    for column, width in enumerate((4, 6, 8)):
        for row in range(2):
            start = P.mup.ensemble(width, inputs=10, networks=1, generator=generator)
            for k, rate in enumerate(rates):
                loss = train(start.copy(), (x, y), learning_rate=rate, steps=3,
                             allow_divergence=True).loss  # fmt: skip
                mean = loss[1:].mean() / (0.5 * (y**2).sum())
                assert sweep.loss[row, column, k] == pytest.approx(mean, rel=1e-9)


def rate_result(loss, rates, widths=(8, 16, 32)):
    loss = np.asarray(loss, dtype=float)
    return module.RateSweep(np.array(widths), np.asarray(rates), loss, ~np.isfinite(loss))


def test_best_rate_is_the_minimum_of_a_parabola():
    rates = 2.0 ** np.arange(-6, 3)
    centre = np.array([[-1.3, -2.2, -3.4], [-1.1, -2.5, -3.3]])
    loss = np.exp((np.log2(rates) - centre[..., None]) ** 2)
    sweep = rate_result(loss, rates)
    np.testing.assert_allclose(np.log2(sweep.best), centre)
    # The next rate diverges: the grid point stands, moved at most by half a step.
    loss[:, :, -1] = np.inf
    loss[0, 0, 6:] = np.inf
    best = rate_result(loss, rates).best
    assert np.isfinite(best).all()
    assert abs(np.log2(best[0, 0]) - -1.3) < 0.5


def test_best_rate_must_be_enclosed():
    rates = 2.0 ** np.arange(3)
    with pytest.raises(RuntimeError, match="at an end of the rates"):
        _ = rate_result(np.tile([1.0, 2.0, 3.0], (2, 3, 1)), rates).best


def test_divergence_is_marked():
    sweep = rate_sweep(P.sp, [8, 16, 32], rates=[1e-3, 1.0, 1e3], data=wave_data(3),
                       generator=seeded(), networks=2, steps=20)  # fmt: skip
    assert sweep.diverged[:, :, -1].all()
    assert np.isinf(sweep.loss[sweep.diverged]).all()
    assert np.isfinite(sweep.loss[~sweep.diverged]).all()


@pytest.mark.parametrize("rates", [[1.0, 2.0], [1.0, 2.0, 3.0], [4.0, 2.0, 1.0], [0.0, 1.0, 2.0]])
def test_bad_rates(rates):
    with pytest.raises(ValueError, match="rates is"):
        rate_sweep(P.sp, [4, 8, 16], rates=rates, **CHECK)


def test_rate_record_is_plain_numbers():
    record = rate_record(preset="mup", optimizer="sgd", widths=[8, 16, 32], low=-5, high=3,
                         networks=2, steps=4, points=4, seed=0)  # fmt: skip
    assert record["loss"].shape == (2, 3, 17)
    assert np.isfinite(record["loss"]).all()
    assert (record["loss"] == -1).any()
    assert record["best"].shape == (2, 3)


def test_wave_data():
    x, y = wave_data(7, inputs=4)
    np.testing.assert_allclose((x**2).sum(1), 4)
    assert (y**2).mean() == pytest.approx(1)
    np.testing.assert_array_equal(wave_data(9, inputs=4)[0][:7], x)
    with pytest.raises(ValueError, match="points is 0"):
        wave_data(0)


# --- residual networks ---------------------------------------------------------------------------


def residual_output(inner, outer, readout, x):
    state = x
    for w, v in zip(inner, outer, strict=True):
        state = state + torch.tanh(state @ w.T) @ v.T / (inner.shape[0] * inner.shape[1])
    return state @ readout


@pytest.mark.parametrize("shape", [(1, 1, 1, 2), (3, 4, 2, 3), (5, 2, 4, 1)])
def test_residual_gram_against_autograd(shape):
    depth, width, inputs, points = shape
    generator = seeded(sum(shape))
    inner = torch.randn(2, depth, width, inputs, generator=generator, dtype=torch.float64)
    outer = torch.randn(2, depth, inputs, width, generator=generator, dtype=torch.float64)
    readout = torch.randn(inputs, generator=generator, dtype=torch.float64)
    x = torch.randn(points, inputs, generator=generator, dtype=torch.float64)
    found = residual_gram(inner, outer, readout, x)
    for k in range(2):
        jacobian = torch.autograd.functional.jacobian(
            lambda w, v: residual_output(w, v, readout, x), (inner[k], outer[k])
        )
        flat = torch.cat([j.reshape(points, -1) for j in jacobian], 1)
        torch.testing.assert_close(found[k], depth * width * flat @ flat.T)


def test_residual_training_is_gradient_descent():
    x, y = wave_data(3, inputs=2)
    run = residual_training((x, y), width=4, depth=3, networks=2, learning_rate=0.05, steps=4,
                            generator=seeded(1), readout_scale=1.5)  # fmt: skip
    generator = seeded(1)
    inner = torch.randn(2, 3, 4, 2, generator=generator, dtype=torch.float64)
    outer = torch.randn(2, 3, 2, 4, generator=generator, dtype=torch.float64)
    readout = torch.full((2,), 1.5 / math.sqrt(2), dtype=torch.float64)
    x, y = torch.tensor(x), torch.tensor(y)
    for k in range(2):
        leaves = [torch.nn.Parameter(inner[k].clone()), torch.nn.Parameter(outer[k].clone())]
        optimiser = torch.optim.SGD(leaves, lr=0.05 * 12)
        for step in range(5):
            error = residual_output(*leaves, readout, x) - y
            loss = 0.5 * (error**2).sum()
            assert run.loss[k, step] == pytest.approx(loss.item())
            expected = residual_gram(leaves[0][None], leaves[1][None], readout, x)[0]
            np.testing.assert_allclose(run.gram[k, step], expected.detach().numpy())
            if step == 0:
                np.testing.assert_allclose(run.residual[k], error.detach().numpy())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    np.testing.assert_allclose(run.least, np.linalg.eigvalsh(run.gram)[..., 0])


def test_residual_training_complains():
    task = wave_data(3, inputs=2)
    arguments = {"width": 4, "depth": 2, "networks": 2, "steps": 50, "generator": seeded()}
    with pytest.raises(RuntimeError, match="diverges at step"):
        residual_training(task, learning_rate=50.0, **arguments)
    for changes, message in (
        ({"width": 0}, "width is 0"),
        ({"depth": 0}, "depth is 0"),
        ({"networks": 0}, "networks is 0"),
        ({"learning_rate": -1.0}, "learning_rate is -1"),
        ({"readout_scale": 0.0}, "readout_scale is 0"),
        ({"generator": None}, "generator is None"),
    ):
        with pytest.raises(ValueError, match=message):
            residual_training(task, **({"learning_rate": 0.1} | arguments | changes))


# --- pictures ------------------------------------------------------------------------------------


def test_the_picture_shows_what_was_measured():
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    result = coordinate_check(P.mup, [4, 8, 16], data=wave_data(3), generator=seeded())
    sizes = np.sqrt((result.sizes[:, :, 1] ** 2).mean(0))
    _, ax = plt.subplots()
    draw_plane(ax, 0.5, 0.0, result)
    titles = [child.get_title() + child.get_title(loc="left") for child in ax.child_axes]
    assert "feature learning" in titles[1]
    np.testing.assert_allclose(ax.child_axes[1].lines[0].get_ydata(), sizes)
    plt.close("all")


def test_names_are_those_of_the_part():
    assert isinstance(P.sp.ensemble(2, inputs=1, networks=1, generator=seeded()), DenseEnsemble)
    assert set(module.__all__) <= set(dir(module))
