"""The three numbers of the dial against matrices where they are known."""

import math

import numpy as np
import pytest
import torch

from course.lazy_rich import kernel_alignment, kernel_distance, weight_change

RNG = np.random.default_rng(0)
ROOT = RNG.standard_normal((5, 4, 4))
RAGGED = [np.ones(2), np.ones(3)]
KERNELS = ROOT @ ROOT.transpose(0, 2, 1)


def test_distance_of_a_scaled_kernel_is_the_change_of_scale():
    assert kernel_distance(3 * KERNELS, KERNELS) == pytest.approx(np.full(5, 2.0), abs=1e-14)
    assert kernel_distance(KERNELS[0], KERNELS[0]) == 0.0


def test_distance_is_relative_to_the_reference():
    one, two = np.diag([3.0, 4.0]), np.diag([3.0, 0.0])
    assert kernel_distance(one, two) == pytest.approx(4 / 3)
    assert kernel_distance(two, one) == pytest.approx(4 / 5)
    assert isinstance(kernel_distance(one, two), float)


def test_alignment_by_hand():
    one, two = np.diag([1.0, 0.0]), np.ones((2, 2))
    assert kernel_alignment(one, two) == pytest.approx(1 / 2)
    assert kernel_alignment(one, -two) == pytest.approx(-1 / 2)
    assert kernel_alignment(one, [1.0, 1.0]) == pytest.approx(1 / 2)
    assert kernel_alignment(one, [1.0, -1.0]) == pytest.approx(1 / 2)


def test_alignment_with_a_target_is_a_quadratic_form():
    y = RNG.standard_normal((5, 4))
    found = kernel_alignment(KERNELS, y)
    for kernel, target, value in zip(KERNELS, y, found, strict=True):
        form = target @ kernel @ target / (np.linalg.norm(kernel) * target @ target)
        assert value == pytest.approx(form, abs=1e-14)


def test_alignment_ignores_scale_and_is_one_for_the_same_kernel():
    assert kernel_alignment(7 * KERNELS, KERNELS) == pytest.approx(np.ones(5), abs=1e-14)
    y = RNG.standard_normal(4)
    assert kernel_alignment(2 * np.outer(y, y), y) == pytest.approx(1)


def test_centring_ignores_constants():
    y = RNG.standard_normal(4)
    H = np.eye(4) - 0.25
    centred = kernel_alignment(KERNELS, y, centred=True)
    by_hand = kernel_alignment(H @ KERNELS @ H, H @ y)
    assert centred == pytest.approx(by_hand, abs=1e-13)
    assert kernel_alignment(KERNELS + 5, y + 3, centred=True) == pytest.approx(centred, abs=1e-13)
    assert abs(kernel_alignment(KERNELS[0], y) - centred[0]) > 1e-3


def test_change_of_weights_is_that_of_one_vector():
    start = [torch.full((2, 3), 2.0), torch.ones(2, 1, 4)]
    now = [start[0] + 1, start[1].clone()]
    expected = math.sqrt(6 / (24 + 8))
    assert weight_change(now, start) == pytest.approx(expected)
    assert weight_change(now, start, networks=True) == pytest.approx([expected] * 2)
    now[0][1] -= 1
    assert weight_change(now, start, networks=True) == pytest.approx([expected, 0])


def test_tensors_that_require_gradients_are_taken():
    kernel = torch.eye(3, dtype=torch.float64, requires_grad=True)
    assert kernel_distance(2 * kernel, kernel) == pytest.approx(1)
    assert kernel_alignment(kernel, torch.ones(3)) == pytest.approx(1 / math.sqrt(3))
    assert weight_change([2 * kernel], [kernel]) == pytest.approx(1)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_measures_take_numbers_whose_squares_leave_the_range(size):
    kernel, target = size * KERNELS[0], size * RNG.standard_normal(4)
    assert kernel_distance(3 * kernel, kernel) == pytest.approx(2, abs=1e-14)
    assert kernel_alignment(kernel, KERNELS[0]) == pytest.approx(1, abs=1e-14)
    assert kernel_alignment(KERNELS[0], kernel) == pytest.approx(1, abs=1e-14)
    expected = kernel_alignment(KERNELS[0], target / size)
    assert kernel_alignment(kernel, target) == pytest.approx(expected, abs=1e-14)
    assert weight_change([3 * kernel], [kernel]) == pytest.approx(2, abs=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kernel_distance(np.ones((2, 3)), np.ones((2, 3))), "square"),
        (lambda: kernel_distance(np.ones(3), np.ones(3)), "square"),
        (lambda: kernel_distance(np.eye(2), np.eye(3)), "one size"),
        (lambda: kernel_distance(np.eye(2), np.zeros((2, 2))), "reference is zero"),
        (lambda: kernel_distance(np.eye(2) * np.nan, np.eye(2)), "kernel contains NaN"),
        (lambda: kernel_distance(np.eye(2), np.diag([1, np.inf])), "reference contains NaN"),
        (lambda: kernel_alignment(np.eye(2), np.ones(3)), r"target has shape \(3,\)"),
        (lambda: kernel_alignment(np.eye(2), 1.0), "target has shape"),
        (lambda: kernel_alignment(np.eye(2), np.zeros(2)), "target is zero"),
        (lambda: kernel_alignment(np.zeros((2, 2)), np.ones(2)), "kernel is zero"),
        (lambda: kernel_alignment(np.eye(2), np.ones(2), centred=True), "target is zero"),
        (lambda: kernel_alignment(np.eye(2), np.full(2, 0.1), centred=True), "target is zero"),
        (lambda: weight_change([], []), "same shapes"),
        (lambda: weight_change(None, [np.ones(2)]), "parameters is None; allowed is a list"),
        (lambda: weight_change([np.ones(2)], 3), "start is 3; allowed is a list"),
        (lambda: weight_change([np.ones(2)], [np.ones(3)]), "same shapes"),
        (lambda: weight_change([np.ones(2)], [np.zeros(2)]), "start is zero"),
        (lambda: weight_change([np.array([np.nan])], [np.ones(1)]), "parameters contains NaN"),
        (
            lambda: weight_change(
                [np.ones(2), np.ones(3)], [np.ones(2), np.ones(3)], networks=True
            ),
            "same first axis",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
