"""Devices, sizes, random generators, progress and recorded results."""

from __future__ import annotations

import datetime
import hashlib
import inspect
import json
import os
import platform
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = [
    "Record", "device", "generator", "loaded_files", "progress", "provenance", "recorded", "rng",
    "scale",
]  # fmt: skip

RECORDS = Path(__file__).parent / "records"
SEED_SHIFT = "COURSE_SEED_SHIFT"
_NAME = re.compile(r"[a-z_]+\.[a-z0-9-]+")
_loaded: set[Path] = set()


def device():
    """The device that tensors should live on: a GPU if torch sees one, else the CPU.

    Returns
    -------
    torch.device
    """
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def scale(*, cpu, gpu):
    """``gpu`` on a machine with a GPU, else ``cpu``: one cell, two sizes."""
    return gpu if device().type == "cuda" else cpu


def _checked_seed(seed) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed is {seed!r}; allowed are non-negative integers")
    return int(seed) + int(os.environ.get(SEED_SHIFT, "0"))


def rng(seed: int) -> np.random.Generator:
    """An explicit NumPy generator; the same stream on every machine.

    The environment variable ``COURSE_SEED_SHIFT``, for `make reseed`, is added to every seed.
    """
    return np.random.default_rng(_checked_seed(seed))


def generator(seed: int, device="cpu"):
    """An explicit torch generator on ``device``, for draws that are too many for NumPy.

    Returns
    -------
    torch.Generator
    """
    number = _checked_seed(seed)
    import torch

    return torch.Generator(device=device).manual_seed(number)


def progress(iterable: Iterable, description: str, total: int | None = None) -> Iterator:
    """``iterable`` with a progress bar; without one where outputs are stored or tested.

    ``total`` is the number of steps, needed where ``iterable`` has no length. The environment
    variable ``COURSE_PROGRESS=off`` switches the bar off.
    """
    if os.environ.get("COURSE_PROGRESS") == "off":
        return iter(iterable)
    from tqdm.auto import tqdm

    return iter(tqdm(iterable, desc=description, total=total, leave=False))


def provenance() -> dict[str, str]:
    """Where and with what a result was computed: device, processor, versions, date (UTC)."""
    import torch

    from course import __version__

    where = device()
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else "CPU"
    return {
        "device": name,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__.split("+")[0],
        "course": __version__,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


@dataclass(frozen=True)
class Record:
    """A stored result of a run that is too long or too large for a page.

    Attributes
    ----------
    values : dict of str to numpy.ndarray
        What ``compute`` returned.
    settings : dict
        The settings, seeds included, that ``compute`` was called with.
    provenance : dict of str to str
        Device, versions and date of the run, and the digest of the function that made it.
    current : bool
        Whether the text of that function is the one in use now. Of that function alone: what it
        calls may have changed since, which the claim that compares the record with a live run
        guards.
    """

    values: dict[str, np.ndarray]
    settings: dict
    provenance: dict[str, str]
    current: bool

    def __str__(self) -> str:
        settings = ", ".join(f"{key}={value}" for key, value in self.settings.items())
        made = self.provenance
        older = "" if self.current else "; by an earlier version of this code"
        return (
            f"recorded {made['date']} on {made['device']} ({made['machine']}), "
            f"torch {made['torch']}, with {settings}{older}"
        )


def _source_digest(compute: Callable) -> str:
    return hashlib.sha256(inspect.getsource(compute).encode()).hexdigest()[:16]


def recorded(
    name: str, compute: Callable[..., dict], *, settings: dict, refresh: bool = False
) -> Record | None:
    """Load a stored result; compute and store it only when asked.

    Parameters
    ----------
    name : str
        ``"chapter.what"``; the file is ``src/course/records/<name>.json``.
    compute : callable
        ``compute(**settings)`` returns a dict of numbers and arrays: a named function.
    settings : dict
        Every setting of the run, seeds included; JSON-serialisable.
    refresh : bool
        Compute now and store. The environment variable ``COURSE_RECORD=<name>`` does the same
        without an edit.

    Returns
    -------
    Record or None
        None, after one plain line of text, when there is no stored result.

    Raises
    ------
    ValueError
        For a name of another form, or if the stored result was made with other settings than those
        asked for.
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise ValueError(f"name is {name!r}; allowed is 'chapter.what' in lower case")
    path = RECORDS / f"{name}.json"
    if refresh or os.environ.get("COURSE_RECORD") == name:
        made = provenance() | {"source": _source_digest(compute)}  # before a long run, not after
        values = {key: np.asarray(value).tolist() for key, value in compute(**settings).items()}
        path.parent.mkdir(exist_ok=True)
        content = {"settings": settings, "provenance": made, "values": values}
        draft = path.with_suffix(".json.new")
        draft.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        os.replace(draft, path)
    _loaded.add(path)
    if not path.exists():
        print(f"No recorded result {name!r} is stored. Set COURSE_RECORD={name} to compute it.")
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["settings"] != json.loads(json.dumps(settings)):
        raise ValueError(
            f"settings is {settings}, but the record {name!r} was made with "
            f"{content['settings']}; set COURSE_RECORD={name} to compute it anew"
        )
    values = {key: np.asarray(value) for key, value in content["values"].items()}
    current = content["provenance"]["source"] == _source_digest(compute)
    return Record(values, content["settings"], content["provenance"], current)


def loaded_files() -> list[Path]:
    """Record and data files asked for so far; stored outputs depend on them, missing or not."""
    return sorted(_loaded)
