"""Batched networks against single ones, torch's optimisers and its automatic derivatives."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from course.empirical import empirical_ntk
from course.lazy_rich import DenseEnsemble, kernel_distance, train
from course.lazy_rich.ensembles import GROWTH, Divergence

SCALES = {"multipliers": [0.7, 0.5, 1.3], "deviations": [1.1, 0.4, 0.9]}


def ensemble(networks=3, widths=(2, 6, 5, 1), activation="tanh", seed=0, **changes):
    settings = SCALES | changes
    if len(widths) == 3 and not changes:
        settings = {name: values[:2] for name, values in SCALES.items()}
    generator = torch.Generator().manual_seed(seed)
    return DenseEnsemble(
        widths, networks=networks, activation=activation, generator=generator, **settings
    )


def data(points=7, inputs=2, outputs=1, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((points, inputs)), rng.standard_normal((points, outputs))


class Single(nn.Module):
    """One network of an ensemble, written out."""

    def __init__(self, source, number, activation):
        super().__init__()
        self.weights = nn.ParameterList([w[number].clone() for w in source.weights])
        self.multipliers, self.activation = source.multipliers, activation

    def forward(self, x):
        for number, (weight, m) in enumerate(zip(self.weights, self.multipliers, strict=True)):
            x = m * (self.activation(x) if number else x) @ weight.T
        return x


@pytest.mark.parametrize(
    ("name", "function"), [("tanh", torch.tanh), ("relu", torch.relu), ("linear", lambda z: z)]
)
def test_networks_are_what_the_formula_says(name, function):
    together, (x, _) = ensemble(activation=name), data()
    points = torch.as_tensor(x)
    outputs, kernels = together(x), together.kernel(x)
    for k in range(3):
        single = Single(together, k, function)
        assert torch.allclose(outputs[k], single(points), rtol=0, atol=1e-14)
        assert torch.allclose(kernels[k], empirical_ntk(single, points), rtol=0, atol=1e-12)


def test_each_network_may_have_inputs_of_its_own():
    together = ensemble()
    x = np.random.default_rng(3).standard_normal((3, 4, 2))
    for k in range(3):
        assert torch.allclose(together(x)[k], together(x[k])[k], rtol=0, atol=1e-15)
        assert torch.allclose(together.kernel(x)[k], together.kernel(x[k])[k], rtol=0, atol=1e-14)


def test_kernel_of_several_outputs_is_that_of_the_first():
    together, (x, _) = ensemble(widths=(2, 6, 5, 4)), data()
    first = together.copy()
    first.weights[-1] = first.weights[-1][:, :1]
    assert torch.allclose(together.kernel(x), first.kernel(x), rtol=0, atol=1e-14)


def test_start_has_the_deviations_it_was_given():
    big = ensemble(networks=50, widths=(40, 50, 60, 30))
    for weight, deviation in zip(big.weights, SCALES["deviations"], strict=True):
        count = weight.numel()
        assert float(weight.std()) == pytest.approx(deviation, rel=5 / math.sqrt(2 * count))
        assert abs(float(weight.mean())) < 5 * deviation / math.sqrt(count)


def torch_run(single, x, y, optimizer, steps, alpha=1.0, centred=False):
    x, y = torch.as_tensor(x), torch.as_tensor(y)
    start = single(x).detach() if centred else 0.0
    losses = []
    for step in range(steps + 1):
        optimizer.zero_grad()
        loss = ((alpha * (single(x) - start) - y) ** 2).sum() / (2 * alpha**2)
        losses.append(float(loss.detach()))
        if step < steps:
            loss.backward()
            optimizer.step()
    return losses


@pytest.mark.parametrize(("alpha", "centred"), [(1.0, False), (3.0, True), (0.5, False)])
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_training_is_that_of_torch_for_each_network(name, alpha, centred):
    together, (x, y) = ensemble(), data()
    singles = [Single(together, k, torch.tanh) for k in range(3)]
    rates = [0.02, 0.05, 0.01]
    found = train(
        together, (x, y), learning_rate=rates, steps=12, optimizer=name, output_scale=alpha,
        centred=centred, epsilon=1e-8,
    )  # fmt: skip
    for k, single in enumerate(singles):
        if name == "sgd":
            optimizer = torch.optim.SGD(single.parameters(), lr=rates[k])
        else:
            optimizer = torch.optim.Adam(single.parameters(), lr=rates[k], eps=1e-8)
        losses = torch_run(single, x, y, optimizer, 12, alpha, centred)
        assert found.loss[:, k] == pytest.approx(losses, rel=1e-10)
        for batched, alone in zip(together.weights, single.weights, strict=True):
            assert torch.allclose(batched[k], alone, rtol=0, atol=1e-11)


def test_adam_without_epsilon_does_not_feel_the_size_of_the_loss():
    x, y = data()
    results = []
    for size in (1.0, 1e-9):
        together = ensemble()
        train(
            together, (x, y), learning_rate=0.01, steps=5, optimizer="adam",
            loss=lambda F, y, size=size: size * ((F - y) ** 2).flatten(1).sum(1),
        )  # fmt: skip
        results.append(together.weights)
    for one, two in zip(*results, strict=True):
        assert torch.allclose(one, two, rtol=0, atol=1e-9)


def test_adam_leaves_weights_without_gradient_alone():
    together = ensemble()
    start = together.copy()
    train(together, (np.zeros((1, 2)), [1.0]), learning_rate=0.1, steps=3, optimizer="adam")
    assert all(torch.equal(a, b) for a, b in zip(together.weights, start.weights, strict=True))


def test_layer_rates_freeze_and_weigh_layers():
    x, y = data()
    base, weighed = ensemble(), ensemble()
    start = base.copy()
    train(base, (x, y), learning_rate=0.01, steps=1)
    train(weighed, (x, y), learning_rate=0.02, steps=1, layer_rates=[0, 0.5, 2])
    for layer, factor in enumerate((0, 1, 4)):
        one = base.weights[layer] - start.weights[layer]
        two = weighed.weights[layer] - start.weights[layer]
        assert torch.allclose(factor * one, two, rtol=0, atol=1e-14)


def test_linear_loss_by_a_function_and_data_that_change():
    together, (x, y) = ensemble(networks=2), data()
    steps_seen = []

    def batches(step):
        steps_seen.append(step)
        return x[step : step + 2], y[step : step + 2]

    found = train(
        together, batches, learning_rate=0.01, steps=3,
        loss=lambda F, y: -(F * y).flatten(1).sum(1),
    )  # fmt: skip
    assert steps_seen == [0, 1, 2, 2]
    assert found.loss.shape == (4, 2)
    assert found.loss[3, 0] < found.loss[2, 0]


def test_observations_are_stacked_and_come_before_the_step():
    together, (x, y) = ensemble(), data()
    start = together.kernel(x)
    found = train(
        together, (x, y), learning_rate=0.01, steps=4,
        observe=lambda step, net: kernel_distance(net.kernel(x), start),
    )  # fmt: skip
    assert found.observed.shape == (5, 3)
    assert (found.observed[0] == 0).all()
    assert (found.observed[1:] > 0).all()
    ragged = train(
        together, (x, y), learning_rate=0.01, steps=1, observe=lambda step, net: np.ones(step + 1)
    )
    assert [len(entry) for entry in ragged.observed] == [1, 2]


def test_companions_do_not_matter():
    x, y = data()
    alone, together = ensemble(), ensemble()
    for weight in alone.weights:
        weight.copy_(weight[1:2].expand_as(weight).clone())
    train(together, (x, y), learning_rate=0.03, steps=20)
    train(alone, (x, y), learning_rate=0.03, steps=20)
    for one, two in zip(alone.weights, together.weights, strict=True):
        assert torch.allclose(one[1], two[1], rtol=0, atol=1e-14)


def test_divergence_is_an_error_that_names_step_and_network():
    with pytest.raises(Divergence, match=r"networks \[1\] diverge at step \d+") as caught:
        train(ensemble(), data(), learning_rate=[0.01, 500.0, 0.01], steps=60)
    assert caught.value.networks == [1]
    assert 0 < caught.value.step <= 60


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_divergence_can_be_marked_and_leaves_the_others_alone(optimizer):
    x, y = data()
    mixed = ensemble(activation="linear")
    found = train(
        mixed, (x, y), learning_rate=[0.01, 500.0, 0.01], steps=60, optimizer=optimizer,
        allow_divergence=True,
    )  # fmt: skip
    step = found.diverged_at[1]
    assert step > 0
    assert found.diverged_at[[0, 2]].tolist() == [-1, -1]
    assert np.isinf(found.loss[step:, 1]).all()
    assert np.isfinite(found.loss[:step, 1]).all()
    assert found.loss[:step, 1].max() <= GROWTH * max(1, found.loss[0, 1])
    assert np.isfinite(found.loss[:, [0, 2]]).all()
    calm = ensemble(activation="linear")
    train(calm, (x, y), learning_rate=0.01, steps=60, optimizer=optimizer)
    assert torch.allclose(mixed.weights[0][0], calm.weights[0][0], rtol=0, atol=1e-14)
    assert not torch.isnan(mixed.weights[0]).any()


def test_a_run_that_is_lost_altogether_ends_with_infinite_losses():
    found = train(
        ensemble(activation="linear"), data(), learning_rate=500.0, steps=40, allow_divergence=True
    )
    assert np.isinf(found.loss[-1]).all()
    assert (found.diverged_at > 0).all()


def test_copy_is_not_touched_and_float32_stays():
    together = ensemble(dtype=torch.float32)
    kept = together.copy()
    before = copy.deepcopy(kept.weights)
    train(together, data(), learning_rate=0.01, steps=2)
    assert all(torch.equal(a, b) for a, b in zip(kept.weights, before, strict=True))
    assert together.weights[0].dtype == torch.float32
    assert not torch.equal(together.weights[0], before[0])
    assert not together.weights[0].requires_grad


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": (2,)}, "widths"),
        ({"widths": (2, 0, 5, 1)}, "widths is 0"),
        ({"networks": 0}, "networks is 0"),
        ({"multipliers": [1.0, 1.0]}, "multipliers has 2 entries"),
        ({"multipliers": [1.0, math.nan, 1.0]}, "multipliers is nan"),
        ({"multipliers": None}, "multipliers is None; allowed is a sequence"),
        ({"deviations": 1.0}, "deviations is 1.0; allowed is a sequence"),
        ({"deviations": [1.0, -1.0, 1.0]}, "deviations is -1.0"),
        ({"activation": "swish"}, "activation is 'swish'"),
        ({"dtype": torch.float16}, "dtype is torch.float16"),
    ],
)
def test_bad_ensembles(changes, message):
    with pytest.raises(ValueError, match=message):
        ensemble(**changes)


@pytest.mark.parametrize("widths", [None, 5])
def test_widths_are_a_sequence(widths):
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match=f"widths is {widths}; allowed is a sequence"):
        DenseEnsemble(widths, networks=1, generator=generator, **SCALES)


def test_generator_is_required():
    with pytest.raises(ValueError, match="generator is 3"):
        DenseEnsemble([2, 2, 1], networks=1, multipliers=[1, 1], deviations=[1, 1], generator=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0}, "learning_rate is 0"),
        ({"learning_rate": [0.1, 0.2]}, r"learning_rate has shape \(2,\)"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"steps": 0}, "steps is 0"),
        ({"optimizer": "lbfgs"}, "optimizer is 'lbfgs'"),
        ({"loss": "hinge"}, "loss is 'hinge'"),
        ({"loss": lambda F, y: (F - y).sum()}, "loss returns"),
        ({"output_scale": 0}, "output_scale is 0"),
        ({"layer_rates": [1, 1]}, "layer_rates has 2 entries"),
        ({"layer_rates": [1, 1, -1]}, "layer_rates is -1"),
        ({"betas": (0.9, 1.0)}, "betas is"),
        ({"betas": (0.9,)}, "betas is"),
        ({"betas": 0.9}, "betas is 0.9; allowed is a sequence"),
        ({"layer_rates": 1.0}, "layer_rates is 1.0; allowed is a sequence"),
        ({"epsilon": -1e-8}, "epsilon is"),
    ],
)
def test_bad_training(changes, message):
    with pytest.raises(ValueError, match=message):
        train(ensemble(), data(), **({"learning_rate": 0.1, "steps": 1} | changes))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.ones((4, 3)), np.ones(4), r"x has shape \(4, 3\)"),
        (np.ones((2, 4, 2)), np.ones(4), "x is for 2 networks"),
        (np.ones((4, 2)), np.ones(3), r"y has shape \(3,\)"),
        (np.ones((4, 2)), np.ones((4, 2)), r"y has shape \(4, 2\)"),
        (np.full((4, 2), math.nan), np.ones(4), "x contains NaN or infinity"),
        (np.ones((4, 2)), np.full(4, math.inf), "y contains NaN or infinity"),
        (torch.full((4, 2), math.nan), np.ones(4), "x contains NaN or infinity"),
        (np.ones((4, 2)), torch.full((4,), math.nan), "y contains NaN or infinity"),
        (np.ones((4, 2)) + 1j, np.ones(4), "allowed are arrays of real numbers"),
        (np.ones((4, 2)), torch.ones(4) + 1j, "y has dtype torch.complex64"),
        ("a", np.ones(4), "x is 'a'; allowed are arrays of real numbers"),
    ],
)
def test_bad_data(x, y, message):
    for data in ((x, y), lambda step: (x, y)):
        with pytest.raises(ValueError, match=message):
            train(ensemble(), data, learning_rate=0.1, steps=1)


@pytest.mark.parametrize("pair", [None, (np.ones((4, 2)),), 3])
def test_data_are_a_pair(pair):
    with pytest.raises(ValueError, match="allowed is a pair"):
        train(ensemble(), pair, learning_rate=0.1, steps=1)
