"""Generated inputs: their scale, their law, and what they refuse."""

import math

import numpy as np
import pytest

from course.data import circle, sphere


def test_circle_has_its_angles_and_mean_square_one():
    angles = np.linspace(-3, 3, 7)
    x = circle(angles)
    assert x.shape == (7, 2)
    np.testing.assert_allclose(np.arctan2(x[:, 1], x[:, 0]), angles, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose((x**2).mean(axis=1), 1, rtol=1e-15)
    np.testing.assert_array_equal(circle(3.0), x[-1:])


@pytest.mark.parametrize("angles", [None, "1", [[0.0]], [math.nan], [1j]])
def test_circle_refuses(angles):
    with pytest.raises(ValueError, match=r"^angles .*allowed"):
        circle(angles)


def test_sphere_is_uniform_with_mean_square_one():
    count, d = 20_000, 4
    x = sphere(count, d, np.random.default_rng(0))
    assert x.shape == (count, d)
    np.testing.assert_allclose((x**2).mean(axis=1), 1, rtol=1e-14)
    # E x_i = 0; E x_i x_j = δ_ij; E x_i⁴ = 3d/(d+2), which points on a cube's corners, say, miss.
    for values, mean in ((x, 0), (x[:, :2].prod(axis=1), 0), (x**2, 1), (x**4, 3 * d / (d + 2))):
        error = values.std(axis=0, ddof=1) / math.sqrt(count)
        assert (np.abs(values.mean(axis=0) - mean) < 4.5 * error).all()  # 13 means


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 0}, "count is 0"),
        ({"count": 2.5}, "count is 2.5"),
        ({"dimension": None}, "dimension is None"),
        ({"rng": None}, "rng is None"),
        ({"rng": 3}, "rng is 3"),
    ],
)
def test_sphere_refuses(change, message):
    with pytest.raises(ValueError, match=f"^{message}; allowed"):
        sphere(**({"count": 2, "dimension": 3, "rng": np.random.default_rng(0)} | change))
