"""Functions on grids of settings: phase diagrams and the like, on all cores, with a progress bar.

A thin layer on joblib. Results do not depend on the number of processes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import joblib
import numpy as np

from course import runtime, validate

__all__ = ["sweep"]


def sweep(
    function: Callable,
    grid: Mapping[str, Sequence],
    *,
    jobs: int | None = None,
    description: str = "Sweep",
):
    """The values of a function at all combinations of its arguments.

    Parameters
    ----------
    function : callable
        Called as ``function(**setting)``. Returns a number, an array whose shape does not depend on
        the setting, or a NamedTuple of such.
    grid : mapping of str to sequence
        For each argument the values that it takes, such as ``{"load": loads, "temperature": ts}``.
    jobs : int, optional
        Processes, by default one for each core; 1 stays in this process.
    description : str
        Stands beside the progress bar.

    Returns
    -------
    numpy.ndarray or NamedTuple of numpy.ndarray
        Shape: one axis for each argument, in the order of ``grid``, then the shape of the value.

    Raises
    ------
    ValueError
        For a grid that is empty, an argument without values, or values of unequal shapes.
    RuntimeError
        If the function raises; the message names the setting, the cause is the function's error.

    Notes
    -----
    Whatever is random in ``function`` must come from a seed in the grid. Taught in chapter 4.2,
    "The phase diagram".

    Examples
    --------
    >>> sweep(lambda a, b: a * b, {"a": [1, 2], "b": [1, 10, 100]}, jobs=1)
    array([[  1,  10, 100],
           [  2,  20, 200]])
    """
    if jobs is not None:
        jobs = validate.whole("jobs", jobs)
    axes = {name: list(values) for name, values in grid.items()}
    if not axes or not all(axes.values()):
        raise ValueError(
            f"grid is {dict(grid)!r}; allowed is one argument or more, each with at least one value"
        )
    settings = [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]
    found = joblib.Parallel(n_jobs=jobs or joblib.cpu_count(), return_as="generator")(
        joblib.delayed(_value)(function, setting) for setting in settings
    )
    values = list(runtime.progress(found, description, len(settings)))
    return _gathered(values, tuple(map(len, axes.values())), settings)


def _value(function: Callable, setting: dict):
    try:
        return function(**setting)
    except Exception as error:
        text = ", ".join(f"{name}={value!r}" for name, value in setting.items())
        raise RuntimeError(f"at {text}: {error}") from error


def _gathered(values: list, shape: tuple[int, ...], settings: list[dict]):
    """One array of all values, or one for each field of a NamedTuple."""
    first = values[0]
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        fields = zip(*values, strict=True)
        return type(first)(*(_gathered(list(field), shape, settings) for field in fields))
    parts = [np.asarray(value) for value in values]
    for part, setting in zip(parts, settings, strict=True):
        if part.shape != parts[0].shape:
            raise ValueError(
                f"the value has shape {part.shape} at {setting} and {parts[0].shape} at "
                f"{settings[0]}; allowed are values of one shape"
            )
    return np.stack(parts).reshape(shape + parts[0].shape)
