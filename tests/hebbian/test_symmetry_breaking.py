"""Stability of replica symmetry, and one step of breaking: against quadrature and stationarity."""

import math

import numpy as np
import pytest
from scipy.special import ndtr

from course.hebbian import symmetry_breaking as module
from course.hebbian.averages import tanh_averages
from course.hebbian.replica import critical_load, hopfield_rs
from course.hebbian.symmetry_breaking import (
    hopfield_1rsb_capacity,
    one_step,
    stability_end,
    stability_line,
    stability_temperature,
)


def margin(load, temperature):
    """T^2 (1 - C)^2 - load E sech^4 at the retrieval state, over T^2."""
    state = hopfield_rs(load, temperature)
    deviation = math.sqrt(load * state.noise) / temperature
    sech4 = tanh_averages(state.overlap / temperature, deviation).sech4
    return (1 - state.response) ** 2 - load * sech4 / temperature**2


@pytest.mark.parametrize("load", [0.02, 0.06, 0.1, 0.13, 0.1379, 0.13815])
def test_stability_changes_sign_at_the_line(load):
    temperature = stability_temperature(load)
    assert margin(load, temperature) == pytest.approx(0, abs=1e-7)
    assert hopfield_rs(load, temperature * 1.001).stable
    assert not hopfield_rs(load, temperature * 0.999).stable


def test_line_and_temperature_agree():
    line = stability_line(np.array([[2.5, 3.0], [4.0, 7.0]]))
    assert line.load.shape == (2, 2)
    for load, temperature, overlap in zip(
        line.load.ravel(), line.temperature.ravel(), line.overlap.ravel(), strict=True
    ):
        assert stability_temperature(load) == pytest.approx(temperature, rel=1e-9)
        assert hopfield_rs(load, temperature).overlap == pytest.approx(overlap, abs=1e-11)


def test_small_loads_follow_the_exponential_law():
    def law(load):
        small = math.exp(-1 / (2 * load))
        leading = math.sqrt(8 * load / (9 * math.pi)) * small
        return leading * (1 + math.sqrt(2 / math.pi) * small * load**-1.5)

    for load, close in ((0.05, 5e-4), (0.03, 1e-6), (0.01, 1e-11), (0.003, 1e-14)):
        assert stability_temperature(load) == pytest.approx(law(load), rel=close)
    edge = 1 / 225
    below, above = (stability_temperature(edge * (1 + s * 1e-9)) for s in (-1, 1))
    assert above / below == pytest.approx(1 + 2e-9 * 112.5, rel=1e-9)


def test_line_ends_at_the_spinodal_above_the_re_entrance():
    with pytest.raises(ValueError, match="allowed are loads up to 0.1381") as caught:
        stability_temperature(0.13819)
    end = float(str(caught.value).split("up to ")[1].split(",")[0])
    found = stability_end()
    assert found.load == pytest.approx(end, abs=1e-8)
    assert critical_load(found.temperature) == pytest.approx(found.load, abs=1e-13)
    assert margin(found.load - 1e-12, found.temperature) == pytest.approx(0, abs=1e-5)
    assert all(isinstance(value, float) for value in found)
    temperature = stability_temperature(end - 1e-8)
    assert temperature == pytest.approx(0.0251, abs=5e-4)
    assert critical_load(temperature) == pytest.approx(end, abs=1e-6)
    assert temperature > 0.02287  # where the spinodal has its largest load


def one_step_energy(load, m, q0, c, y, r0, r1):
    """The energy with all parameters free, by quadrature over both fields."""
    d = 1 - c
    delta = d - y * (1 - q0)
    outer, inner = math.sqrt(load * r0), math.sqrt(load * (r1 - r0))
    z = np.linspace(-9, 9, 3601)
    w = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    a = m + outer * z

    def half_line(a):  # E exp(y h) over h > 0, as one shifted Gaussian
        return np.exp(y * a + (y * inner) ** 2 / 2) * ndtr(a / inner + y * inner)

    total = w @ np.log(half_line(a) + half_line(-a))
    bracket = 1 + math.log(delta / d) / y - q0 / delta + r1 * c + y * (r1 - r0 * q0)
    return m**2 / 2 + load / 2 * bracket - total / y


@pytest.mark.parametrize("overlap", [0.7, 0.9, 0.96678])
def test_one_step_energy_is_stationary(overlap):
    (state,) = one_step([overlap])
    d = 1 - state.response
    delta = d - state.breaking * (1 - state.outer_overlap)
    r0 = state.outer_overlap / delta**2
    r1 = r0 + (1 - state.outer_overlap) / (d * delta)
    place = np.array([overlap, state.outer_overlap, state.response, state.breaking, r0, r1])
    assert one_step_energy(state.load, *place) == pytest.approx(state.energy, abs=1e-10)
    gap = r1 - r0
    scales = np.array([0.1, 1 - state.outer_overlap, state.response, state.breaking, gap, gap])
    for k in range(6):
        shift = 1e-3 * scales[k] * np.eye(6)[k]
        f = {s: one_step_energy(state.load, *(place + s * shift)) for s in (-2, -1, 1, 2)}
        slope = (8 * (f[1] - f[-1]) - (f[2] - f[-2])) / 12e-3
        assert slope == pytest.approx(0, abs=1e-8), k
    wrong = one_step_energy(state.load, *(place * (1, 1, 1, 1.1, 1, 1)))
    assert abs(wrong - state.energy) > 1e-7  # the energy does depend on the breaking


def test_inner_average_is_that_of_two_fields():
    m, outer, inner, y = 0.9, 0.4, 0.15, 3.0
    z = np.linspace(-9, 9, 6001)
    w = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    fields = m + outer * z[::10, None] + inner * z
    tilt = np.exp(y * np.abs(fields)) * w
    norm = tilt.sum(1)
    sign = (tilt * np.sign(fields)).sum(1) / norm
    length = (tilt * np.abs(fields)).sum(1) / norm
    outer_weight = w[::10] / w[::10].sum()
    found = module._group_averages(m, outer, inner, y)
    assert found[0] == pytest.approx(outer_weight @ sign, abs=1e-4)
    assert found[1] == pytest.approx(outer_weight @ sign**2, abs=1e-4)
    assert found[3] == pytest.approx(outer_weight @ np.log(norm), abs=1e-5)
    assert found[4] == pytest.approx(outer_weight @ length, abs=1e-5)


def test_capacity():
    best = hopfield_1rsb_capacity()
    assert best.load == pytest.approx(0.13818649, abs=5e-9)
    assert best.load > critical_load(0.0)
    beside = one_step([best.overlap - 1e-3, best.overlap + 1e-3])
    assert all(state.load < best.load for state in beside)
    assert best.outer_overlap < 1
    # the fixed grid of the outer field is fine enough
    coarse, weights = module._Z[::2], module._WEIGHTS[::2] * 2
    original = module._Z, module._WEIGHTS
    try:
        module._Z, module._WEIGHTS = coarse, weights
        assert hopfield_1rsb_capacity().load == pytest.approx(best.load, abs=3e-9)
    finally:
        module._Z, module._WEIGHTS = original


def test_breaking_raises_the_energy():
    """One step of breaking raises the energy of the replica-symmetric state."""
    (state,) = one_step([0.97])
    symmetric = hopfield_rs(min(state.load, critical_load(0.0)), 0.0)
    (matched,) = one_step([0.975])
    assert matched.energy > hopfield_rs(matched.load, 0.0).energy
    assert abs(state.energy - symmetric.energy) < 1e-3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stability_line([2.0, 0.0]), "signal_to_noise is"),
        (lambda: stability_line(16.0), "up to 15"),
        (lambda: stability_temperature(0.0), "load is 0.0"),
        (lambda: stability_temperature(0.14), "load is 0.14"),
        (lambda: one_step([0.5]), "from 0.6 to 0.985"),
        (lambda: one_step([0.99]), "from 0.6 to 0.985"),
        (lambda: one_step(0.9), "overlaps has shape"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_failed_solution_is_an_error(monkeypatch):
    monkeypatch.setattr(module, "_START", np.log([0.9, 0.9, 1e-6, 0.9]))
    with pytest.raises(RuntimeError, match="was not solved at overlap"):
        one_step([0.967])
