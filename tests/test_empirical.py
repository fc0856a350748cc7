"""The empirical kernel of torch modules by several routes, its memory, its errors."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course import empirical
from course.ntk import DenseNetwork, empirical_ntk


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def points(count, inputs, seed=1):
    return torch.tensor(np.random.default_rng(seed).standard_normal((count, inputs)))


class Opaque(nn.Module):
    """The same function, of a type that the layered route does not know."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


def initialise(model, seed=0):
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(
                torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.5
            )
    return model


def sequential(*modules, seed=0, dtype=torch.float64):
    return initialise(nn.Sequential(*modules).to(dtype), seed)


def by_autograd(model, x1, x2):
    """Backward passes one by one, nothing vectorised."""

    def gradient(x, output):
        value = model(x[None]).reshape(-1)[output]
        parameters = [p for p in model.parameters() if p.requires_grad]
        parts = torch.autograd.grad(value, parameters, allow_unused=True)
        return torch.cat(
            [(torch.zeros_like(p) if g is None else g).reshape(-1)
             for p, g in zip(parameters, parts, strict=True)]
        )  # fmt: skip

    outputs = model(x1[:1]).numel()
    left = torch.stack([torch.stack([gradient(x, a) for a in range(outputs)]) for x in x1])
    right = torch.stack([torch.stack([gradient(x, a) for a in range(outputs)]) for x in x2])
    return torch.einsum("iap,jbp->ijab", left, right)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    hidden=st.lists(st.integers(1, 9), min_size=0, max_size=3),
    outputs=st.integers(1, 3),
    activation=st.sampled_from(["relu", "erf", "gelu", "tanh", torch.sin]),
    sigma_b=st.sampled_from([0.0, 0.6]),
)
def test_three_routes_agree(seed, hidden, outputs, activation, sigma_b):
    model = DenseNetwork(
        [3, *hidden, outputs], activation=activation, sigma_w=1.3, sigma_b=sigma_b,
        generator=seeded(seed),
    )  # fmt: skip
    x1, x2 = points(4, 3, seed), points(3, 3, seed + 1)
    layered = empirical_ntk(model, x1, x2)
    assert layered.shape == ((4, 3) if outputs == 1 else (4, 3, outputs, outputs))
    general = empirical_ntk(Opaque(model), x1, x2)
    single = by_autograd(model, x1, x2).reshape(layered.shape)
    size = float(single.abs().max())
    # Not "<": where all ReLUs are off and there is no bias, the kernel is 0.
    assert float((layered - general).abs().max()) <= 1e-10 * size
    assert float((layered - single).abs().max()) <= 1e-10 * size


def test_finite_differences():
    model = DenseNetwork(
        [2, 4, 3, 1], activation="erf", sigma_w=1.2, sigma_b=0.3, generator=seeded()
    )
    x = points(5, 2)
    step = 1e-5
    columns = []
    with torch.no_grad():
        for parameter in model.parameters():
            flat = parameter.view(-1)
            for index in range(len(flat)):
                centre = flat[index].item()
                flat[index] = centre + step
                above = model(x)[:, 0]
                flat[index] = centre - step
                columns.append((above - model(x)[:, 0]) / (2 * step))
                flat[index] = centre
    jacobian = torch.stack(columns, dim=1)
    # Central differences: truncation of order step² = 1e-10, rounding 1e-16/step = 1e-11.
    assert torch.allclose(empirical_ntk(model, x), jacobian @ jacobian.T, rtol=0, atol=1e-8)


LAYERED = {
    "two activations in a row": lambda: sequential(
        nn.Linear(3, 6), nn.Tanh(), nn.GELU(approximate="tanh"), nn.Linear(6, 2)
    ),
    "final activation": lambda: sequential(
        nn.Linear(3, 6), nn.ELU(), nn.Linear(6, 2), nn.Sigmoid()
    ),
    "in place": lambda: sequential(nn.Linear(3, 6), nn.ReLU(inplace=True), nn.Linear(6, 1)),
    "no bias": lambda: sequential(nn.Linear(3, 6, bias=False), nn.SiLU(), nn.Linear(6, 1)),
    "linear after linear": lambda: sequential(nn.Linear(3, 4), nn.Linear(4, 2)),
    "one layer": lambda: sequential(nn.Linear(3, 2)),
}


@pytest.mark.parametrize("name", LAYERED)
def test_sequential_takes_the_layered_route(name, monkeypatch):
    model = LAYERED[name]()
    x1, x2 = points(4, 3), points(2, 3, seed=2)
    expected = empirical_ntk(Opaque(model), x1, x2)
    monkeypatch.setattr(empirical, "_jacobian_ntk", None)  # calling it would fail
    torch.testing.assert_close(empirical_ntk(model, x1, x2), expected, rtol=1e-10, atol=1e-12)


def hooked():
    model = sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))
    model[0].register_forward_hook(lambda _module, _inputs, output: output * 2)
    return model


def tied():
    model = sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    return model


def repeated():
    layer = nn.Linear(3, 3)
    return sequential(layer, nn.Tanh(), layer)


OTHER = {
    "hook": hooked,
    "tied weights": tied,
    "repeated module": repeated,
    "layer norm": lambda: sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)),
    "batch norm": lambda: sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).eval(),
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(
        sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))[0]
    ),
    "activation first": lambda: sequential(nn.Tanh(), nn.Linear(3, 1)),
}


@pytest.mark.parametrize("name", OTHER)
def test_what_is_no_plain_stack_takes_the_general_route(name):
    model = OTHER[name]()
    x1, x2 = points(4, 3), points(2, 3, seed=2)
    expected = by_autograd(model, x1, x2)
    kernel = empirical_ntk(model, x1, x2)
    torch.testing.assert_close(kernel.reshape(expected.shape), expected, rtol=1e-10, atol=1e-12)


def test_convolutional_network():
    model = sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 4 * 4, 2))
    x = torch.tensor(np.random.default_rng(0).standard_normal((3, 1, 6, 6)))
    torch.testing.assert_close(empirical_ntk(model, x), by_autograd(model, x, x))


class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 3, dtype=torch.float64)

    def forward(self, tokens):
        return torch.tanh(self.table(tokens)).sum((1, 2))


def test_tokens_and_outputs_without_a_second_axis():
    model = initialise(Bag())
    tokens = torch.tensor([[0, 1, 2], [2, 3, 3], [4, 5, 6]])
    kernel = empirical_ntk(model, tokens)
    assert kernel.shape == (3, 3)
    torch.testing.assert_close(kernel, by_autograd(model, tokens, tokens)[:, :, 0, 0])
    assert kernel[0, 2] == 0  # no token in common
    assert kernel[0, 1] > 0


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.recurrent = nn.GRU(3, 4, batch_first=True, dtype=torch.float64)
        self.unused = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def forward(self, x):
        return self.recurrent(x)[0][:, -1, :2]


def test_recurrent_network():
    model = initialise(Recurrent())
    x = torch.tensor(np.random.default_rng(0).standard_normal((3, 5, 3)))
    with torch.no_grad():
        kernel = empirical_ntk(model, x)
    torch.testing.assert_close(kernel, by_autograd(model, x, x))


@pytest.mark.parametrize("wrap", [lambda model: model, Opaque])
def test_blocks_change_nothing(wrap, monkeypatch):
    model = wrap(sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2)))
    x1, x2 = points(7, 3), points(5, 3, seed=3)
    whole = empirical_ntk(model, x1), empirical_ntk(model, x1, x2)
    for budget in (1, 4000):
        monkeypatch.setattr(empirical, "MEMORY_BUDGET", budget)
        parts = empirical_ntk(model, x1), empirical_ntk(model, x1, x2)
        for left, right in zip(whole, parts, strict=True):
            torch.testing.assert_close(left, right, rtol=1e-13, atol=1e-13)


MEMORY = """
import resource, sys
import numpy as np, torch
from torch import nn
from course.ntk import DenseNetwork, empirical_ntk
generator = torch.Generator().manual_seed(0)
if sys.argv[1] == "layered":
    model = DenseNetwork([10, 3000, 3000, 1], sigma_w=1.4, sigma_b=0.1, generator=generator)
elif sys.argv[1] == "convolutional":
    model = nn.Sequential(
        nn.Unflatten(1, (1, 64, 64)), nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(16, 1),
    )
else:
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = DenseNetwork(
                [10, 1000, 1000, 1], sigma_w=1.4, sigma_b=0.1, generator=generator)
        def forward(self, x):
            return self.inner(x)
    model = Net()
inputs = 64 * 64 if sys.argv[1] == "convolutional" else 10
x = torch.tensor(np.random.default_rng(0).standard_normal((int(sys.argv[2]), inputs)))
empirical_ntk(model, x[:1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
empirical_ntk(model, x)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize(
    ("route", "count"), [("layered", 500), ("general", 64), ("convolutional", 96)]
)
def test_memory_stays_bounded(route, count):
    # The Jacobian of the wide net has 500 x 9 million entries (36 GB), that of the other 64 x
    # 1 million (0.5 GB). The images have few parameters, but 96 x 270 000 numbers in their layers,
    # with gradients and temporaries about 0.6 GB.
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, route, str(count)],
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    unit = 1024 if sys.platform != "darwin" else 1
    # The budget, half of it again for temporaries of the layers, and the kernel itself.
    assert int(run.stdout) * unit < 1.5 * empirical.MEMORY_BUDGET + 8 * count**2


@pytest.mark.parametrize("wrap", [lambda model: model, Opaque])
def test_single_precision_model_gives_the_double_precision_kernel(wrap):
    model = sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1), dtype=torch.float32)
    twin = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1)).double()
    twin.load_state_dict(model.state_dict())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = points(4, 3)
    kernel = empirical_ntk(wrap(model), x.float())
    assert kernel.dtype == torch.float64
    expected = empirical_ntk(wrap(twin), x.float().double())
    torch.testing.assert_close(kernel, expected, rtol=1e-13, atol=0)
    for name, value in model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, before[name])
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("wrap", [lambda model: model, Opaque])
@pytest.mark.parametrize("frozen", [["0.weight"], ["0.bias", "2.weight"], ["2.bias"]])
def test_frozen_parameters_add_nothing(wrap, frozen):
    model = sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1))
    x = points(4, 3)
    whole = empirical_ntk(wrap(model), x)
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)
    rest = empirical_ntk(wrap(model), x)
    torch.testing.assert_close(rest, by_autograd(model, x, x)[:, :, 0, 0])
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in frozen)
    torch.testing.assert_close(rest + empirical_ntk(wrap(model), x), whole)


def test_frozen_dense_network():
    model = DenseNetwork([3, 5, 1], sigma_w=1.4, sigma_b=0.5, generator=seeded())
    model.weights[0].requires_grad_(False)
    model.biases[0].requires_grad_(False)
    x = points(4, 3)
    features = torch.relu(1.4 / math.sqrt(3) * x @ model.weights[0].T + 0.5 * model.biases[0])
    expected = 1.4**2 / 5 * features @ features.T + 0.5**2
    torch.testing.assert_close(empirical_ntk(model, x), expected.detach())


def test_numpy_in_numpy_out():
    model = DenseNetwork([3, 5, 1], sigma_w=1.4, sigma_b=0.5, generator=seeded())
    x = points(4, 3)
    kernel = empirical_ntk(model, x.numpy())
    assert isinstance(kernel, np.ndarray)
    np.testing.assert_array_equal(kernel, empirical_ntk(model, x).numpy())


class Kinked(nn.Module):
    def __init__(self, outputs, activation):
        super().__init__()
        self.inner = sequential(nn.Linear(3, outputs), activation)

    def forward(self, x):
        return self.inner(x)


@pytest.mark.parametrize("outputs", [1, 3, 4])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("activation", [nn.PReLU, nn.RReLU])
def test_activations_that_do_not_vectorise(outputs, count, activation):
    # vmap takes the inputs of PReLU for its channels where there are as many of them.
    model = Kinked(outputs, activation().double()).eval()
    x1, x2 = points(count, 3), points(3, 3, seed=4)
    for second in (x1, x2):
        kernel = empirical_ntk(model, x1, None if second is x1 else second)
        expected = by_autograd(model, x1, second)
        torch.testing.assert_close(kernel.reshape(expected.shape), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "make", [repeated, tied, hooked, lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))]
)
def test_the_model_is_left_as_it_is(make):
    model = make().float()
    before = dict(model.named_parameters(remove_duplicate=False))
    values = {name: value.detach().clone() for name, value in before.items()}
    expected = model(torch.ones(2, 3))
    empirical_ntk(model, points(4, 3))
    after = dict(model.named_parameters(remove_duplicate=False))
    assert list(after) == list(before)
    for name, parameter in after.items():
        assert parameter is before[name]
        assert torch.equal(parameter, values[name])
    assert torch.equal(model(torch.ones(2, 3)), expected)


def test_whole_numbers_are_real_inputs_where_nothing_is_embedded():
    x1, x2 = torch.tensor([[1, 0, -2], [3, 1, 1]]), torch.tensor([[0, 1, 1]])
    for model in (LAYERED["no bias"](), Opaque(LAYERED["no bias"]())):
        expected = empirical_ntk(model, x1.double(), x2.double())
        for first, second in ((x1, x2), (x1.double(), x2), (x1, x2.double())):
            assert torch.equal(empirical_ntk(model, first, second), expected)
        assert torch.equal(empirical_ntk(model, x1 > 0), empirical_ntk(model, (x1 > 0).double()))
    tokens = torch.tensor([[0, 1, 2], [2, 3, 3]])
    with pytest.raises(ValueError, match="x2 has real entries, x1 whole numbers"):
        empirical_ntk(initialise(Bag()), tokens, tokens.double())


def test_any_order_of_bytes_and_axes():
    model = LAYERED["no bias"]()
    x = points(4, 3).numpy()
    expected = empirical_ntk(model, x[::-1].copy())
    frozen = x[::-1].copy()
    frozen.flags.writeable = False
    for other in (x[::-1], x[::-1].astype(">f8"), np.asfortranarray(x[::-1]), frozen):
        np.testing.assert_array_equal(empirical_ntk(model, other), expected)
    half = x.astype(np.float16)
    np.testing.assert_array_equal(
        empirical_ntk(model, half), empirical_ntk(model, half.astype(np.float64))
    )


class Mixing(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.inner, self.function = nn.Linear(3, 2), function

    def forward(self, x):
        return self.function(self.inner(x))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.MultiheadAttention(3, 1, dropout=0.1, batch_first=True)

    def forward(self, x):
        return self.inner(x, x, x)[0][:, 0]


def untracked():
    norm = nn.BatchNorm1d(4, track_running_stats=False)
    return sequential(nn.Linear(3, 4), norm, nn.Linear(4, 1)).eval()


class Single(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 1)

    def forward(self, x):
        return self.inner(x).float()


class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 4)

    def forward(self, x):
        return self.inner(x).reshape(-1, 2, 2)


def frozen_model():
    return sequential(nn.Linear(3, 1)).requires_grad_(False)


@pytest.mark.parametrize(
    ("model", "x1", "x2", "message"),
    [
        (lambda: nn.Tanh(), points(2, 3), None, "no trainable parameters"),
        (frozen_model, points(2, 3), None, r"no trainable parameters \(2 frozen"),
        (lambda: torch.tanh, points(2, 3), None, "model is"),
        (lambda: nn.Linear(3, 1), points(2, 3), points(2, 4), "x2 has inputs of shape"),
        (lambda: sequential(nn.Linear(3, 1)), points(2, 4), None, "x1 has 4 inputs"),
        (lambda: nn.Linear(3, 1), points(2, 3) * math.nan, None, "x1 contains NaN"),
        (lambda: nn.Linear(3, 1), points(2, 3)[:0], None, "x1 has shape"),
        (lambda: nn.Linear(3, 1), ["a"], None, "x1 is"),
        (
            lambda: sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)),
            points(2, 3), None, "'1' .BatchNorm1d. in training mode, which mixes",
        ),
        (
            lambda: sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1)),
            points(2, 3), None, "Dropout. in training mode, which is random",
        ),
        (untracked, points(2, 3), None, "'1' .BatchNorm1d. in evaluation mode without"),
        (lambda: nn.RNN(3, 2, 2, dropout=0.1), points(2, 3), None, "RNN. in training mode, which"),
        (Attention, points(2, 3), None, "MultiheadAttention. in training mode, which is random"),
        (
            lambda: sequential(nn.Linear(3, 4), nn.RReLU()), points(2, 3), None,
            "RReLU. in training mode, which is random",
        ),
        (lambda: Mixing(nn.functional.dropout), points(2, 3), None, "it is random or mixes"),
        (lambda: Mixing(lambda z: z - z.mean(0)), points(2, 3), None, "it is random or mixes"),
        (lambda: Mixing(lambda z: z - z.mean(0)), points(1, 3), None, "it is random or mixes"),
        (
            lambda: Opaque(nn.Linear(3, 1)), points(2, 4), None,
            r"x1 has shape \(2, 4\).*first input: mat1 and mat2",
        ),
        (lambda: nn.LazyLinear(2), points(2, 3), None, "LazyLinear. that is not initialised"),
        (lambda: nn.Linear(3, 1), points(2, 3) * 1j, None, "x1 has dtype torch.complex128"),
        (lambda: nn.Linear(3, 1), points(2, 3).numpy() * 1j, None, "of dtype complex128"),
        (Single, points(2, 3), None, "model returns torch.float32"),
        (Wide, points(2, 3), None, r"output of shape \(1, 2, 2\)"),
    ],
)  # fmt: skip
def test_bad_input(model, x1, x2, message):
    with pytest.raises(ValueError, match=message):
        empirical_ntk(model(), x1, x2)
