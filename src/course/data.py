r"""Inputs, generated and real, scaled so that the mean square of an input's components is one.

`circle` and `sphere` draw inputs; `digits` comes with scikit-learn; `mnist` and `fashion_mnist`
read files that you have.
"""

from __future__ import annotations

import gzip
import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from course import validate

__all__ = ["Images", "circle", "digits", "fashion_mnist", "mnist", "sphere"]

_FILES = {"train": "train", "test": "t10k"}
_SUBSETS = tuple(_FILES)


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
    Used in chapters 1.1 to 1.3 and 3.2; chapter 1.3, section *One rate per mode*, has the
    eigenfunctions.
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


class Images(NamedTuple):
    """A set of labelled images.

    Attributes
    ----------
    x : numpy.ndarray, shape (images, pixels)
        One image a row: the mean image of the set is subtracted, and each row is scaled to mean
        square one. All inputs lie on the sphere of radius :math:`\\sqrt d`, with
        :math:`d` the number of pixels.
    labels : numpy.ndarray, shape (images,)
        The classes, whole numbers from 0 to 9.
    """

    x: np.ndarray
    labels: np.ndarray


def _standardised(pixels: np.ndarray) -> np.ndarray:
    centred = pixels - pixels.mean(axis=0)
    sizes = np.sqrt((centred**2).mean(axis=1, keepdims=True))
    if (sizes == 0).any():
        raise ValueError(
            f"image {int(sizes[:, 0].argmin())} equals the mean image; allowed are images that "
            "differ from it, since the scale of this one is undefined"
        )
    return centred / sizes


def digits() -> Images:
    r"""The 1,797 handwritten digits of 8 by 8 pixels that come with scikit-learn.

    The mean image is subtracted from every image, and each image is scaled to mean square one.

    Returns
    -------
    Images
        ``x`` of shape (1797, 64). No two images are equal.

    Notes
    -----
    Used in chapter 3.2, section *Real data*. Nothing is downloaded.
    """
    from sklearn.datasets import load_digits

    loaded = load_digits()
    return Images(_standardised(loaded.data), loaded.target.astype(np.int64))


def mnist(folder=None, *, subset: str = "train") -> Images:
    r"""The MNIST digits of 28 by 28 pixels, read from files that you have.

    Standardised like `digits`.

    Parameters
    ----------
    folder : str or pathlib.Path, optional
        Folder with the four standard IDX files, plain or compressed (``.gz``). By default the
        folder ``mnist`` under the one that the environment variable ``COURSE_DATA`` names.
    subset : {"train", "test"}
        60,000 or 10,000 images.

    Returns
    -------
    Images

    Raises
    ------
    FileNotFoundError
        If the files are not there; the message says which files are missing, and where they
        should be.
    ValueError
        For files of another format.
    """
    return _idx_images("mnist", folder, subset)


def fashion_mnist(folder=None, *, subset: str = "train") -> Images:
    """The Fashion-MNIST images of clothes, of 28 by 28 pixels, read from files that you have.

    Parameters, result and errors are those of :func:`~course.data.mnist`; the default folder is
    ``fashion-mnist``.
    """
    return _idx_images("fashion-mnist", folder, subset)


def _idx_images(name: str, folder, subset: str) -> Images:
    prefix = _FILES[validate.choice("subset", subset, _SUBSETS)]
    names = f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"
    wanted = " and ".join(names)
    if folder is None:
        root = os.environ.get("COURSE_DATA")
        if not root:
            raise FileNotFoundError(
                f"{name} does not come with the book. Put the files {wanted} (or the same with "
                f".gz) into a folder {name}, and set the environment variable COURSE_DATA to the "
                "folder above it; or pass their folder as the argument"
            )
        folder = Path(root) / name
    images, labels = (_idx(Path(folder), file, wanted) for file in names)
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or not images.size:
        raise ValueError(
            f"the files in {folder} hold arrays of shapes {images.shape} and {labels.shape}; "
            "allowed are (images, rows, columns) and (images,)"
        )
    pixels = images.reshape(len(images), -1).astype(np.float64)
    return Images(_standardised(pixels), labels.astype(np.int64))


def _idx(folder: Path, name: str, wanted: str) -> np.ndarray:
    """An array of unsigned bytes from a file in IDX format."""
    path = next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"{folder / name} does not exist, nor does {name}.gz. Put the files {wanted} (or the "
            f"same with .gz) into {folder}"
        )
    raw = path.read_bytes()
    if path.suffix == ".gz":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError) as error:
            raise ValueError(f"{path} is no complete gzip file: {error}") from error
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08" or len(raw) < 4 * (1 + raw[3]):
        raise ValueError(
            f"{path} begins with {raw[:4].hex()!r}; allowed are IDX files of unsigned bytes, which "
            "begin with 000008"
        )
    shape = tuple(int(size) for size in np.frombuffer(raw, ">u4", raw[3], offset=4))
    body = np.frombuffer(raw, np.uint8, offset=4 * (1 + raw[3]))
    if math.prod(shape) != body.size:
        raise ValueError(
            f"{path} announces shape {shape}, {math.prod(shape)} bytes, and holds {body.size}"
        )
    return body.reshape(shape)
