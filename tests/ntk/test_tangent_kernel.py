"""Dense networks, their kernels' limit at infinite width, and ensembles of them."""

import math

import numpy as np
import pytest
import torch

from course.data import circle
from course.ntk import DenseNetwork, empirical_ntk, infinite_width_kernels
from course.ntk import tangent_kernel as module
from course.ntk.tangent_kernel import kernel_change, sample_ntk, width_sweep


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def points(count, inputs, seed=1):
    return torch.tensor(np.random.default_rng(seed).standard_normal((count, inputs)))


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("activation", ["relu", "erf", "gelu", "tanh"])
def test_infinite_width_limit(depth, activation):
    x = points(3, 4)
    arguments = {"activation": activation, "sigma_w": 1.3, "sigma_b": 0.4}
    width, networks = 400, 60
    kernels = torch.stack(
        [
            empirical_ntk(
                DenseNetwork([4, *[width] * depth, 1], generator=seeded(seed), **arguments), x
            )
            for seed in range(networks)
        ]
    )
    limit = infinite_width_kernels(x, depth=depth, **arguments).ntk
    error = kernels.std(0) / math.sqrt(networks)
    # 5 standard errors (48 comparisons), and for depth > 1 a mean that is off by order 1/width.
    bias = 0 if depth == 1 else 3 / width * limit.abs().max()
    assert ((kernels.mean(0) - limit).abs() < 5 * error + bias).all()


@pytest.mark.parametrize(
    ("widths", "changes", "message"),
    [
        ([3], {}, r"widths is \[3\]"),
        ([3, 0, 1], {}, "widths is 0"),
        ([3, 2.5, 1], {}, "widths is 2.5"),
        ([3, 4, 1], {"sigma_w": 0.0}, "sigma_w is 0.0"),
        ([3, 4, 1], {"sigma_b": -1.0}, "sigma_b is -1.0"),
        ([3, 4, 1], {"sigma_w": math.nan}, "sigma_w is nan"),
        ([3, 4, 1], {"activation": "rule"}, "activation is 'rule'"),
    ],
)
def test_bad_networks(widths, changes, message):
    arguments = {"sigma_w": 1.0, "sigma_b": 0.1} | changes
    with pytest.raises(ValueError, match=message):
        DenseNetwork(widths, generator=seeded(), **arguments)


def test_networks_come_from_their_generator_alone():
    first, again, other = (
        DenseNetwork([3, 5, 1], sigma_w=1.0, sigma_b=0.1, generator=seeded(seed))
        for seed in (0, 0, 1)
    )
    x = points(4, 3)
    assert torch.equal(first(x), again(x))
    assert not torch.equal(first(x), other(x))
    assert first(x).shape == (4, 1)
    assert first(x).dtype == torch.float64


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("budget", [2**28, 1])
def test_ensemble_of_one_is_a_dense_network(depth, budget, monkeypatch):
    # With one network the generator's draws come in the same order on both routes.
    monkeypatch.setattr(module, "MEMORY_BUDGET", budget)
    x1, x2 = points(4, 3), points(2, 3, seed=5)
    arguments = {"activation": "erf", "sigma_w": 1.3, "sigma_b": 0.4}
    model = DenseNetwork([3, *[6] * depth, 1], generator=seeded(3), **arguments)
    both = sample_ntk(x1, x2, width=6, depth=depth, networks=1, generator=seeded(3), **arguments)
    square = sample_ntk(x1, width=6, depth=depth, networks=1, generator=seeded(3), **arguments)
    np.testing.assert_allclose(both[0], empirical_ntk(model, x1, x2).numpy(), rtol=1e-12)
    np.testing.assert_allclose(square[0], empirical_ntk(model, x1).numpy(), rtol=1e-12)


def test_batches_of_networks_are_independent_networks(monkeypatch):
    monkeypatch.setattr(module, "MEMORY_BUDGET", 1)  # one network at a time
    x = points(3, 2)
    kernels = sample_ntk(x, width=5, networks=4, sigma_w=1.3, sigma_b=0.4, generator=seeded())
    assert kernels.shape == (4, 3, 3)
    assert len({float(kernel[0, 0]) for kernel in kernels}) == 4


@pytest.mark.parametrize("depth", [1, 2])
def test_training_is_gradient_descent(depth):
    x, y = points(4, 3), points(4, 1, seed=9)[:, 0]
    arguments = {"activation": "gelu", "sigma_w": 1.3, "sigma_b": 0.4}
    model = DenseNetwork([3, *[7] * depth, 1], generator=seeded(2), **arguments)
    before = empirical_ntk(model, x)
    start = torch.cat([parameter.detach().clone().reshape(-1) for parameter in model.parameters()])
    first = float(((model(x)[:, 0] - y) ** 2).sum().detach())
    optimiser = torch.optim.SGD(model.parameters(), lr=0.03)
    for _ in range(5):
        optimiser.zero_grad()
        (((model(x)[:, 0] - y) ** 2).sum() / 2).backward()
        optimiser.step()
    end = torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])
    result = kernel_change(
        x, y, width=7, depth=depth, networks=1, learning_rate=0.03, steps=5,
        generator=seeded(2), **arguments,
    )  # fmt: skip
    change = (empirical_ntk(model, x) - before).norm() / before.norm()
    last = float(((model(x)[:, 0] - y) ** 2).sum().detach())
    assert result.kernel[0] == pytest.approx(float(change), rel=1e-10)
    assert result.weights[0] == pytest.approx(float((end - start).norm() / start.norm()), rel=1e-10)
    assert result.loss[0] == pytest.approx(last / first, rel=1e-10)


def test_divergence_is_an_error():
    arguments = {"sigma_w": 1.3, "sigma_b": 0.4, "width": 5, "networks": 3, "generator": seeded()}
    with pytest.raises(RuntimeError, match="diverges with learning_rate 1000"):
        kernel_change(points(4, 3), points(4, 1)[:, 0], learning_rate=1e3, steps=300, **arguments)


def test_bias_free_relu_layer_fluctuates_by_three_over_n():
    kernels = sample_ntk(
        circle(np.zeros(1)), width=20, networks=20_000, sigma_w=math.sqrt(2), sigma_b=0.0,
        generator=seeded(),
    )[:, 0, 0]  # fmt: skip
    squares = 20 * (kernels / 4 - 1) ** 2
    assert abs(squares.mean() - 3) < 5 * squares.std() / math.sqrt(len(squares))


def test_width_sweep_draws_what_it_says():
    sweep = width_sweep([4, 8], depth=2, networks=3, angle=0.7, seed=4)["kernels"]
    expected = sample_ntk(
        circle(np.zeros(1)), circle(np.array([0.7])), width=4, depth=2, networks=3,
        sigma_w=math.sqrt(2), sigma_b=0.3, generator=seeded(4),
    )[:, 0, 0]  # fmt: skip
    assert sweep.shape == (3, 2)
    np.testing.assert_array_equal(sweep[:, 0], expected)


ENSEMBLE = {"width": 4, "networks": 2, "sigma_w": 1.0, "sigma_b": 0.1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "width is 0"),
        ({"depth": 0}, "depth is 0"),
        ({"networks": 1.5}, "networks is 1.5"),
        ({"sigma_w": 0.0}, "sigma_w is 0.0"),
        ({"activation": "no"}, "activation is 'no'"),
        ({"x2": points(2, 4)}, "x2 has shape"),
    ],
)
def test_bad_ensembles(changes, message):
    with pytest.raises(ValueError, match=message):
        sample_ntk(points(3, 2), generator=seeded(), **(ENSEMBLE | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": torch.ones(4)}, "x and y have shapes"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"steps": 0}, "steps is 0"),
    ],
)
def test_bad_training(changes, message):
    arguments = {"y": torch.ones(3), "learning_rate": 0.1, "steps": 2}
    with pytest.raises(ValueError, match=message):
        kernel_change(points(3, 2), generator=seeded(), **(ENSEMBLE | arguments | changes))
