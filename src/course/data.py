r"""Generated inputs, scaled so that the mean square of an input's components is one."""

from __future__ import annotations

import math

import numpy as np

from course import validate

__all__ = ["circle", "sphere"]


def circle(angles) -> np.ndarray:
    r"""Points on the circle of radius :math:`\sqrt2` in the plane.

    .. math:: x=\sqrt2\,(\cos\vartheta,\sin\vartheta),\qquad |x|^2/d=1,\quad d=2

    On the circle a kernel of the inputs' scalar products depends on the angle between them alone,
    and its eigenfunctions are sines and cosines.

    Parameters
    ----------
    angles : float or array_like, shape (points,)
        Angles :math:`\vartheta` in radians.

    Returns
    -------
    numpy.ndarray, shape (points, 2)
        One row for each angle; one row for a single number.

    Raises
    ------
    ValueError
        For angles that are not a finite number or a row of them.

    Notes
    -----
    Used in chapters 1.1 to 1.3; chapter 1.3, section *One rate per mode*, has the eigenfunctions.
    """
    angles = np.atleast_1d(validate.array("angles", angles, dimensions=(0, 1)))
    return math.sqrt(2) * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def sphere(count: int, dimension: int, rng: np.random.Generator) -> np.ndarray:
    r"""Independent, uniformly distributed points on the sphere of radius :math:`\sqrt d`.

    .. math:: x=\sqrt d\,z/|z|,\qquad z\sim\mathcal N(0,1_d),\qquad |x|^2/d=1

    Parameters
    ----------
    count : int
        Number of points.
    dimension : int
        Their dimension :math:`d`.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    numpy.ndarray, shape (count, dimension)

    Raises
    ------
    ValueError
        For a count or a dimension below 1, or another kind of generator.

    Notes
    -----
    The law of :math:`z` depends on :math:`|z|` alone, so the direction of :math:`z` is uniform.
    Used in chapter 1.2, section *When is the kernel positive definite?*.
    """
    count = validate.whole("count", count)
    dimension = validate.whole("dimension", dimension)
    x = validate.generator("rng", rng, np.random.Generator).standard_normal((count, dimension))
    return math.sqrt(dimension) * x / np.linalg.norm(x, axis=1, keepdims=True)
