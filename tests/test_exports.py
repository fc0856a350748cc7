"""Names that are imported on first use: all there, and nothing heavy before."""

import subprocess
import sys
from importlib import import_module

import pytest
from conftest import ROOT

from course import exports

PARTS = sorted(path.parts[-3] for path in ROOT.glob("src/course/*/exercises/__init__.py"))


@pytest.mark.parametrize("part", PARTS)
def test_every_offered_name_is_there(part):
    package = import_module(f"course.{part}")
    assert len(package.__all__) >= 4
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in dir(package)
    assert "__doc__" in dir(package)


@pytest.mark.parametrize("part", PARTS)
def test_an_unknown_name_is_an_attribute_error(part):
    package = import_module(f"course.{part}")
    with pytest.raises(AttributeError, match=f"module 'course.{part}' has no attribute 'nonsense'"):
        _ = package.nonsense


@pytest.mark.parametrize("part", PARTS)
def test_a_part_alone_loads_nothing_heavy(part):
    heavy = "{'numpy', 'scipy', 'torch'}"
    code = f"import sys, course.{part}; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_relative_and_absolute_homes():
    get, names, everything = exports.lazy(
        "course", {"record": ".claims", "rng": "course.runtime"} | {"claim": ".claims"}
    )
    assert everything == ["claim", "record", "rng"]
    assert get("claim").__module__ == "course.claims"
    assert get("rng").__module__ == "course.runtime"
    assert set(names()) >= {"claim", "record", "rng", "__version__"}
