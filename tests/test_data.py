"""Inputs: their scale, their law, the files they come from, and what they refuse."""

import gzip
import math

import numpy as np
import pytest
from sklearn.datasets import load_digits

from course.data import circle, digits, fashion_mnist, mnist, sphere


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


def test_digits_are_standardised_and_distinct():
    images = digits()
    assert images.x.shape == (1797, 64)
    assert images.labels.shape == (1797,)
    np.testing.assert_allclose((images.x**2).mean(axis=1), 1, rtol=1e-12)
    assert set(images.labels.tolist()) == set(range(10))
    assert len(np.unique(images.x, axis=0)) == 1797
    # subtracting the mean image, then scaling: images of one class are closer than others
    raw = load_digits().data
    centred = raw - raw.mean(axis=0)
    cosines = (images.x * centred).sum(axis=1) / 8 / np.linalg.norm(centred, axis=1)
    np.testing.assert_allclose(cosines, 1, rtol=1e-12)


def write_idx(folder, prefix, images, labels, compress=False):
    folder.mkdir(exist_ok=True)
    for array, kind in ((images, "images-idx3"), (labels, "labels-idx1")):
        header = b"\x00\x00\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes()
        raw = header + array.astype(np.uint8).tobytes()
        path = folder / f"{prefix}-{kind}-ubyte"
        if compress:
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(raw))
        else:
            path.write_bytes(raw)


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (6, 28, 28)), rng.integers(0, 10, 6)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(("load", "name"), [(mnist, "mnist"), (fashion_mnist, "fashion-mnist")])
def test_idx_files_are_read(load, name, compress, pictures, tmp_path, monkeypatch):
    images, labels = pictures
    write_idx(tmp_path / name, "train", images, labels, compress)
    write_idx(tmp_path / name, "t10k", images[:4], labels[:4], compress)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    loaded = load()
    pixels = images.reshape(6, 784) - images.reshape(6, 784).mean(axis=0)
    expected = pixels / np.sqrt((pixels**2).mean(axis=1, keepdims=True))
    np.testing.assert_allclose(loaded.x, expected, rtol=1e-12)
    np.testing.assert_array_equal(loaded.labels, labels)
    assert loaded.labels.dtype == np.int64
    assert load(subset="test").x.shape == (4, 784)
    monkeypatch.delenv("COURSE_DATA")
    np.testing.assert_array_equal(load(tmp_path / name).x, loaded.x)
    np.testing.assert_array_equal(load(str(tmp_path / name)).x, loaded.x)


@pytest.mark.parametrize(("load", "name"), [(mnist, "mnist"), (fashion_mnist, "fashion-mnist")])
def test_missing_files_say_where_they_belong(load, name, tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=f"{name} does not come with the book.*COURSE_DATA"):
        load()
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"{name}/train-images-idx3-ubyte does not exist"):
        load()
    with pytest.raises(FileNotFoundError, match="t10k-images-idx3-ubyte.*t10k-labels-idx1-ubyte"):
        load(tmp_path, subset="test")
    with pytest.raises(ValueError, match="subset is 'all'"):
        load(tmp_path, subset="all")


def test_one_file_missing(pictures, tmp_path):
    write_idx(tmp_path, "train", *pictures)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="train-labels-idx1-ubyte does not exist"):
        mnist(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda raw: raw[:-1], "holds 4703"),
        (lambda raw: raw + b"\x00", "holds 4705"),
        (lambda raw: b"\x00\x00\x0d" + raw[3:], "begins with '00000d03'"),
        (lambda raw: raw[:10], "begins with"),
        (lambda raw: b"", "begins with"),
        (lambda raw: raw[:4] + np.array([5, 28, 28], ">u4").tobytes() + raw[16:3936], "shapes"),
    ],
)
def test_damaged_idx_files(spoil, message, pictures, tmp_path):
    write_idx(tmp_path, "train", *pictures)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        mnist(tmp_path)


def test_damaged_archive(pictures, tmp_path):
    write_idx(tmp_path, "train", *pictures, compress=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="no complete gzip file"):
        mnist(tmp_path)


def test_image_without_contrast(pictures, tmp_path):
    images, labels = pictures
    write_idx(tmp_path, "train", np.repeat(images[:1], 6, axis=0), labels)
    with pytest.raises(ValueError, match="image 0 equals the mean image"):
        mnist(tmp_path)
