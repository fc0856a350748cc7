"""The commands that a reader types first fail early, with a message that says what to do."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A folder with the files that ``make book`` reads before anything is installed."""
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def script(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def python_that_says(path: Path, version: str) -> Path:
    """A Python that takes itself for another version; it makes no environment."""
    return script(
        path,
        "#!/bin/sh\n"
        'if [ "$1" = -m ]; then echo "making an environment"; exit 9; fi\n'
        f"exec '{sys.executable}' -c 'import sys; code = sys.argv[1]\n"
        f"sys.version_info = ({version.replace('.', ', ')}, 0)\n"
        'exec(code)\' "$2"\n',
    )


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {
        k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "PYTHON")
    }
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.14"])
def test_other_pythons_are_refused_with_a_clear_message(checkout, version):
    python = python_that_says(checkout / "python", version)
    made = make(checkout, "book", f"PYTHON={python}")
    assert made.returncode != 0
    assert "The book needs Python 3.11, 3.12 or 3.13" in made.stderr
    assert f"is Python {version}" in made.stderr
    assert "making an environment" not in made.stdout
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_three_pythons_are_accepted(checkout, version):
    python = python_that_says(checkout / "python", version)
    assert "making an environment" in make(checkout, "book", f"PYTHON={python}").stdout


def test_missing_python_is_named(checkout):
    made = make(checkout, "book", "PYTHON=no-such-python")
    assert made.returncode != 0
    assert "There is no 'no-such-python' here" in made.stdout


def test_torch_can_come_from_another_index_and_then_it_comes_first(checkout):
    planned = make(checkout, "--dry-run", "book", "TORCH_INDEX=https://index.example/cpu").stdout
    lines = [line for line in planned.splitlines() if "pip install" in line]
    (torch,) = [number for number, line in enumerate(lines) if "https://index.example/cpu" in line]
    (rest,) = [number for number, line in enumerate(lines) if "--requirement" in line]
    assert torch < rest
    assert "^torch" in lines[torch]
    assert "--index-url" not in make(checkout, "--dry-run", "book").stdout


def test_help_names_every_command_a_reader_needs(checkout):
    shown = make(checkout).stdout
    for command in ("book", "serve", "test", "check", "run", "run-all", "measure", "reseed",
                    "bench", "address URL=", "clean"):  # fmt: skip
        assert f"make {command}" in shown


STAGES = ("lint", "fresh", "unit", "notebooks", "pages")
SIGNS = {
    "ruff": "lint", "course.book.pairs": "fresh", "--dist": "unit",
    "course.book.verify": "notebooks", " tests/test_browser.py": "pages",
}  # fmt: skip


@pytest.mark.parametrize("failing", [None, *STAGES])
def test_make_test_goes_stage_by_stage_and_ends_at_the_first_that_fails(checkout, failing):
    tools = checkout / ".venv" / "bin"
    tools.mkdir(parents=True)
    log = checkout / "log"
    sign = next((sign for sign, stage in SIGNS.items() if stage == failing), "nothing fails")
    for name in ("python", "ruff", "codespell"):
        script(
            tools / name,
            f'#!/bin/sh\necho "{name} $*" >> "{log}"\n'
            f'case "{name} $*" in *"{sign}"*) exit 1;; esac\n',
        )
    (checkout / ".venv" / ".ready").touch()
    made = make(checkout, "test")
    text = log.read_text()
    ran = [stage for sign, stage in SIGNS.items() if sign in text]
    assert ran == list(STAGES[: STAGES.index(failing) + 1] if failing else STAGES)
    places = [text.index(sign) for sign, stage in SIGNS.items() if stage in ran]
    assert places == sorted(places)
    assert made.returncode == (2 if failing else 0)
    assert ("all passed" in made.stdout) is (failing is None)


def test_address_is_asked_for_before_anything_is_installed(checkout):
    made = make(checkout, "address", "PYTHON=no-such-python")
    assert made.returncode != 0
    assert "make address URL=https://github.com/owner/repository" in made.stdout
    assert "no-such-python" not in made.stdout


def test_bench_runs_the_benchmarks(checkout):
    plan = make(checkout, "--dry-run", "bench").stdout
    scripts = {path.name for path in (ROOT / "benchmarks").glob("*.py")} - {"sides.py"}
    assert {line.split("/")[-1] for line in plan.splitlines() if "benchmarks/" in line} == scripts


def ci(folder: Path, browser: str | None) -> subprocess.CompletedProcess:
    """Run a copy of ``.ci/run`` where ``make`` only says that it was called."""
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", folder / ".ci")
    tools = folder / "tools"
    tools.mkdir()
    for name in ("bash", "dirname", "rm"):
        (tools / name).symlink_to(shutil.which(name))
    shell = f"#!{tools / 'bash'}\n"
    script(tools / "id", shell + "echo 1000\n")
    script(tools / "make", shell + 'echo "make $* with $COURSE_BROWSER"\n')
    script(folder / "good", shell + "echo version 1\n")
    script(folder / "broken", shell + "echo no library; exit 127\n")
    environment = {"PATH": str(tools)}
    if browser is not None:
        environment["COURSE_BROWSER"] = str(folder / browser)
    return subprocess.run(
        [folder / ".ci" / "run"], capture_output=True, text=True, timeout=60, env=environment
    )


def test_ci_takes_the_browser_that_it_is_given(tmp_path):
    started = ci(tmp_path, "good")
    assert started.returncode == 0, started.stderr
    assert f"make test with {tmp_path / 'good'}" in started.stdout


@pytest.mark.parametrize("browser", ["broken", "absent"])
def test_ci_with_a_browser_that_does_not_start_says_so(tmp_path, browser):
    started = ci(tmp_path, browser)
    assert started.returncode == 1
    assert f"the browser {tmp_path / browser} does not start" in started.stderr
    assert "make" not in started.stdout


def test_ci_without_a_browser_that_it_could_install_says_so(tmp_path):
    started = ci(tmp_path, None)
    assert started.returncode == 1
    assert "there is no Chromium here" in started.stderr
