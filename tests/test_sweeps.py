"""Sweeps over grids: order, shapes, processes, errors."""

import math
import os
from typing import NamedTuple

import numpy as np
import pytest

from course.sweeps import sweep


class Both(NamedTuple):
    total: float
    pair: np.ndarray


def both(a, b) -> Both:
    return Both(a + b, np.array([a, b]))


def process(a) -> int:
    return os.getpid()


def root(a) -> float:
    return math.sqrt(a)


@pytest.mark.parametrize("jobs", [None, 1, 2])
def test_axes_come_in_the_order_of_the_grid(jobs):
    found = sweep(both, {"b": [1, 2, 3], "a": (10, 20)}, jobs=jobs)
    assert isinstance(found, Both)
    np.testing.assert_array_equal(found.total, [[11, 21], [12, 22], [13, 23]])
    assert found.pair.shape == (3, 2, 2)
    np.testing.assert_array_equal(found.pair[2, 0], [10, 3])


def test_one_job_stays_in_this_process_and_two_do_not():
    assert set(sweep(process, {"a": range(3)}, jobs=1)) == {os.getpid()}
    assert os.getpid() not in sweep(process, {"a": range(3)}, jobs=2)


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_names_its_setting(jobs):
    with pytest.raises(RuntimeError, match=r"at a=-1: .*(domain|nonnegative)"):
        sweep(root, {"a": [4, -1]}, jobs=jobs)


@pytest.mark.parametrize(
    ("grid", "message"),
    [({}, "one argument or more"), ({"a": []}, "at least one value")],
)
def test_an_empty_grid_is_refused(grid, message):
    with pytest.raises(ValueError, match=message):
        sweep(root, grid)


def test_values_of_unequal_shape_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2,\) at {'a': 2} and \(1,\) at {'a': 1}"):
        sweep(lambda a: np.ones(a), {"a": [1, 2]}, jobs=1)


@pytest.mark.parametrize("jobs", [0, 1.5])
def test_bad_jobs(jobs):
    with pytest.raises(ValueError, match="jobs is"):
        sweep(root, {"a": [1]}, jobs=jobs)


def test_the_bar_counts_every_setting(monkeypatch):
    seen = []

    def progress(values, description, total):
        for value in values:
            seen.append((value, description, total))
            yield value

    monkeypatch.setattr("course.runtime.progress", progress)
    sweep(root, {"a": [0, 1, 4]}, jobs=1, description="Roots")
    assert seen == [(0, "Roots", 3), (1, "Roots", 3), (2, "Roots", 3)]
