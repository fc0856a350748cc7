"""Arguments: what is allowed comes back in one form, all else raises and says so."""

import math

import numpy as np
import pytest
import torch

from course import validate

NOT_REAL = [None, True, np.True_, 1j, "1", [1.0], np.array(1.0), torch.tensor(1.0), math.nan]


class TestWhole:
    @pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
    def test_returns_a_python_integer(self, value):
        found = validate.whole("width", value)
        assert found == 3
        assert type(found) is int

    @pytest.mark.parametrize("value", [*NOT_REAL, 0, -1, 2.0, 2.5, math.inf])
    def test_refuses(self, value):
        with pytest.raises(ValueError, match=r"^width is .*; allowed are whole numbers >= 1$"):
            validate.whole("width", value)

    def test_lower_bound(self):
        assert validate.whole("steps", 0, low=0) == 0
        with pytest.raises(ValueError, match="seeds is 1; allowed are whole numbers >= 2"):
            validate.whole("seeds", 1, low=2)


class TestReal:
    @pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int64(2)])
    def test_returns_a_python_float(self, value):
        found = validate.real("time", value)
        assert found == 2
        assert type(found) is float

    @pytest.mark.parametrize("value", [*NOT_REAL, np.float64("nan"), 10**400])
    @pytest.mark.parametrize("infinite", [False, True])
    def test_refuses(self, value, infinite):
        with pytest.raises(ValueError, match=r"^time is .*; allowed are .*numbers"):
            validate.real("time", value, infinite=infinite)

    def test_bounds(self):
        assert validate.real("noise", 0, low=0) == 0
        assert validate.real("shift", -5) == -5
        with pytest.raises(ValueError, match="noise is -1; allowed are finite numbers >= 0"):
            validate.real("noise", -1, low=0)
        with pytest.raises(ValueError, match="rate is 0; allowed are finite numbers > 0"):
            validate.real("rate", 0, low=0, strict=True)

    def test_infinity_only_where_allowed(self):
        assert validate.real("time", math.inf, low=0, infinite=True) == math.inf
        with pytest.raises(ValueError, match="time is inf; allowed are finite numbers$"):
            validate.real("time", math.inf)
        with pytest.raises(ValueError, match="time is -inf; allowed are numbers >= 0, also inf"):
            validate.real("time", -math.inf, low=0, infinite=True)


def test_choice():
    assert validate.choice("trained", "all", ("all", "readout")) == "all"
    for value in ("half", None, 1, ["all"], np.array(["all", "all"])):
        with pytest.raises(ValueError, match=r"^trained is .*; allowed are 'all', 'readout'$"):
            validate.choice("trained", value, ("all", "readout"))


class TestArray:
    @pytest.mark.parametrize(
        "value",
        [
            [[1, 2], [3, 4]],
            np.array([[1, 3], [2, 4]], dtype=np.float32).T,
            torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True),
            torch.tensor([[1, 2], [3, 4]], dtype=torch.bfloat16),
            torch.tensor([[1, 2], [3, 4]]),
        ],
    )
    def test_returns_float64_in_c_order(self, value):
        found = validate.array("x", value, dimensions=2)
        assert type(found) is np.ndarray
        assert found.dtype == np.float64
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, [[1, 2], [3, 4]])

    @pytest.mark.parametrize(
        "value",
        [
            None, "1", ["1", "2"], [[1.0], [1.0, 2.0]], [1j], [True], [None], {1.0}, b"1",
            np.array([1.0, None]), torch.tensor([1j]).conj(), torch.tensor([True]),
            [torch.tensor([1.0], requires_grad=True)], [10**400],
        ],
    )  # fmt: skip
    def test_refuses(self, value):
        with pytest.raises(ValueError, match=r"^x is [\s\S]*; allowed are arrays of real numbers$"):
            validate.array("x", value, dimensions=None)

    def test_dimensions(self):
        assert validate.array("x", 1.0, dimensions=(0, 1)).shape == ()
        assert validate.array("x", np.ones((1, 1, 1)), dimensions=None).shape == (1, 1, 1)
        for value, dimensions in ((1.0, 1), ([[1.0]], 1), ([[[1.0]]], (1, 2))):
            with pytest.raises(ValueError, match=r"x has shape .*; allowed are arrays of .*dimens"):
                validate.array("x", value, dimensions=dimensions)

    def test_empty_only_where_allowed(self):
        assert validate.array("x", [], dimensions=1).shape == (0,)
        for dimensions in (2, None):
            with pytest.raises(ValueError, match=r"x has shape \(0, 2\); allowed are non-empty"):
                validate.array("x", np.zeros((0, 2)), dimensions=dimensions, empty=False)

    def test_infinity_only_where_allowed(self):
        assert validate.array("times", [1.0, math.inf], dimensions=1, infinite=True)[1] == math.inf
        for value in (math.nan, math.inf, -math.inf):
            with pytest.raises(ValueError, match="x contains NaN or infinity; allowed are finite"):
                validate.array("x", [1.0, value], dimensions=1)
        with pytest.raises(ValueError, match="times contains NaN; allowed are numbers"):
            validate.array("times", [math.nan], dimensions=1, infinite=True)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (np.random.default_rng(0), torch.Generator()),
        (torch.Generator(), np.random.default_rng(0)),
    ],
)
def test_generator(good, bad):
    assert validate.generator("rng", good, type(good)) is good
    for value in (bad, None, 0, np.random.RandomState(0), np.random):
        with pytest.raises(ValueError, match=r"^rng is .*; allowed are .*Generator objects"):
            validate.generator("rng", value, type(good))
