"""Runtime: explicit generators, sizes by device, and records that are never invented."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from course import runtime
from course.book import digest, pairs

ROOT = Path(__file__).parents[1]


def test_import_course_is_light():
    code = "import sys, course; print([m for m in ('torch', 'numpy', 'scipy') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_scale_follows_the_device(monkeypatch):
    monkeypatch.setattr(runtime, "device", lambda: torch.device("cpu"))
    assert runtime.scale(cpu=1, gpu=2) == 1
    monkeypatch.setattr(runtime, "device", lambda: torch.device("cuda"))
    assert runtime.scale(cpu=1, gpu=2) == 2


def test_generators_are_explicit_and_leave_global_state_alone():
    before = torch.get_rng_state()
    draws = [torch.randn(3, generator=runtime.generator(7)) for _ in range(2)]
    torch.testing.assert_close(draws[0], draws[1], rtol=0, atol=0)
    assert torch.equal(before, torch.get_rng_state())
    assert runtime.rng(1).normal() == runtime.rng(1).normal() != runtime.rng(2).normal()


@pytest.mark.parametrize("seed", [-1, 1.5, None, True])
def test_bad_seeds_are_named(seed):
    for make in (runtime.rng, runtime.generator):
        with pytest.raises(ValueError, match="seed"):
            make(seed)


def test_progress_is_silent_when_outputs_are_stored(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    assert list(runtime.progress(range(3), "counting")) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def squares(count):
    return {"squares": np.arange(count) ** 2.0}


@pytest.fixture
def records(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "RECORDS", tmp_path)
    monkeypatch.setattr(runtime, "_loaded", set())
    return tmp_path


def test_a_missing_record_says_so_and_invents_nothing(records, capsys):
    assert runtime.recorded("a.b", squares, settings={"count": 3}) is None
    assert "No recorded result 'a.b'" in capsys.readouterr().out
    # A record that appears later makes the stored output stale.
    assert runtime.loaded_files() == [records / "a.b.json"]


def test_a_record_comes_back_with_its_provenance(records, monkeypatch):
    monkeypatch.setenv("COURSE_RECORD", "a.b")
    runtime.recorded("a.b", squares, settings={"count": 4})
    monkeypatch.delenv("COURSE_RECORD")

    record = runtime.recorded("a.b", squares, settings={"count": 4})
    np.testing.assert_array_equal(record.values["squares"], [0, 1, 4, 9])
    assert record.current
    assert {"device", "date", "torch", "source"} <= set(record.provenance)
    assert runtime.loaded_files() == [records / "a.b.json"]
    assert "count=4" in str(record)


def test_a_record_is_computed_only_when_asked(records):
    runtime.recorded("a.b", squares, settings={"count": 4}, refresh=True)

    def never(count):
        raise AssertionError("computed although a record exists")

    record = runtime.recorded("a.b", never, settings={"count": 4})
    assert not record.current
    assert "earlier version" in str(record)


def test_a_record_of_other_settings_is_refused(records):
    runtime.recorded("a.b", squares, settings={"count": 4}, refresh=True)
    with pytest.raises(ValueError, match="settings"):
        runtime.recorded("a.b", squares, settings={"count": 5})


@pytest.mark.parametrize("name", ["ab", "../a.b", "a.b/c", "A.b", "a.b.json", "", None])
def test_a_name_that_is_no_file_name_is_refused(records, name, monkeypatch):
    monkeypatch.setattr(runtime, "RECORDS", records / "inner")
    with pytest.raises(ValueError, match="name is"):
        runtime.recorded(name, squares, settings={"count": 3}, refresh=True)
    assert list(records.rglob("*.json")) == []


def test_a_failed_write_leaves_the_old_record(records, monkeypatch):
    runtime.recorded("a.b", squares, settings={"count": 4}, refresh=True)
    before = (records / "a.b.json").read_bytes()

    def full(path, text, **options):
        with path.open("w") as file:
            file.write(text[:10])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space left"):
        runtime.recorded("a.b", squares, settings={"count": 5}, refresh=True)
    assert (records / "a.b.json").read_bytes() == before


def test_committed_records_are_those_that_chapters_load():
    """With other settings than those asked for, ``recorded`` raises when the chapter runs."""
    loaded = set()
    for path in pairs.chapters([ROOT / "chapters"]):
        notebook = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
        sources = notebook.metadata[digest.KEY]["sources"]
        loaded |= {Path(name).name for name in sources if name.startswith("records/")}
    assert loaded
    assert {path.name for path in runtime.RECORDS.glob("*.json")} == loaded


def test_committed_records_carry_their_provenance():
    for path in (runtime.RECORDS).glob("*.json"):
        content = json.loads(path.read_text())
        assert set(content) == {"settings", "provenance", "values"}, path.name
        assert {"device", "machine", "date", "torch", "course", "source"} <= set(
            content["provenance"]
        ), path.name
