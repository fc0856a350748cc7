"""The launch buttons lead to something that works: Binder's image and a Colab session."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest
import yaml

import course
from course.book import address, pairs

ROOT = Path(__file__).parents[1]
PINS = dict(
    re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "requirements.txt").read_text("utf-8"), flags=re.M)
)
URL = "https://github.com/owner/repository"
QUIET = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
"""An environment in which git has no settings but those of the command."""


def copy_checkout(target: Path) -> Path:
    """The working tree as it is now: without what git ignores or, outside git, what is built."""
    for name in listed(ROOT) or plain(ROOT):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    return target


def listed(folder: Path) -> set[str]:
    """Files under a folder that git does not ignore; none where git knows nothing of it."""
    if shutil.which("git") is None:
        return set()
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others"]
    found = subprocess.run(
        [*command, "--exclude-standard"], cwd=folder, capture_output=True, text=True, env=QUIET
    )
    return set(filter(None, found.stdout.split("\0"))) if found.returncode == 0 else set()


def plain(folder: Path) -> set[str]:
    """Files under a folder, without environments, built pages and git's own."""
    skipped = {".venv", "_build", ".envs", ".git", "__pycache__"}
    found = set()
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in skipped]
        found |= {Path(place, name).relative_to(folder).as_posix() for name in files}
    return found


def test_outside_git_a_checkout_is_the_plain_tree(tmp_path, monkeypatch):
    monkeypatch.setitem(QUIET, "GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("a/b.py", ".venv/x", "_build/x", "benchmarks/.envs/x", ".git/x", ".ci/run"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert listed(tmp_path) == set()
    assert plain(tmp_path) == {"a/b.py", ".ci/run"}


def test_a_checkout_of_another_owner_is_still_listed(tmp_path, monkeypatch):
    git(tmp_path, "init")
    (tmp_path / "a.py").touch()
    monkeypatch.setitem(QUIET, "GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert listed(tmp_path) == {"a.py"}


def dependencies() -> set[str]:
    """Names of what the package needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}


# Binder


@pytest.fixture(scope="module")
def dockerfile(tmp_path_factory) -> str:
    checkout = copy_checkout(tmp_path_factory.mktemp("binder") / "checkout")
    command = [Path(sys.executable).with_name("jupyter-repo2docker"), "--no-build", "--debug", "."]
    shown = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=120)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout + shown.stderr


def test_binder_s_python_is_pinned(dockerfile):
    assert "Building conda environment for python=3.12" in dockerfile


def test_binder_s_image_installs_from_the_binder_folder_then_the_package(dockerfile):
    environment = dockerfile.index('--file "binder/environment.yml"')
    assert environment < dockerfile.index("binder/postBuild")
    assert "requirements.txt" not in dockerfile


def test_binder_s_torch_brings_no_gpu_libraries():
    environment = yaml.safe_load((ROOT / "binder" / "environment.yml").read_text("utf-8"))
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    assert environment["channels"][0] == "conda-forge"
    assert any(entry.startswith("pytorch-cpu") for entry in conda)
    assert "python=3.12" in conda


def test_binder_gets_the_versions_that_are_pinned_here_and_all_that_the_package_needs():
    environment = yaml.safe_load((ROOT / "binder" / "environment.yml").read_text("utf-8"))
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    binder = dict(entry.split("==") for entry in pip)
    assert binder == {name: PINS[name] for name in binder}
    assert set(binder) | {"torch"} == dependencies()


def test_binder_installs_the_package_without_touching_the_rest():
    script = ROOT / "binder" / "postBuild"
    assert os.access(script, os.X_OK)
    assert "pip install --no-deps ." in script.read_text("utf-8")
    subprocess.run(["bash", "-n", script], check=True, timeout=60)


# Colab

SESSION = """
import importlib.util, json, sys, types
assert importlib.util.find_spec("course") is None, "course is there before the first cell"
assert importlib.util.find_spec("torch") is not None, "torch is not"
sys.modules["google.colab"] = types.ModuleType("google.colab")

from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
with open(sys.argv[1], encoding="utf-8") as file:
    cells = json.load(file)["cells"]
for cell in cells:
    if cell["cell_type"] == "code":
        shell.run_cell("".join(cell["source"]), store_history=True).raise_error()

import course
print("course", course.__version__, "from", course.__file__)
"""


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    command = ["git", *who, "-c", "init.defaultBranch=main", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60, env=QUIET)


@pytest.fixture
def tagged(tmp_path) -> Path:
    """A repository of the working tree, tagged with its version; the address is set in it."""
    checkout = copy_checkout(tmp_path / "repository")
    address.write(URL, checkout)
    git(checkout, "init")
    git(checkout, "add", "--all")
    git(checkout, "commit", "--message", "As it is now")
    git(checkout, "tag", f"v{course.__version__}")
    return checkout


@pytest.fixture
def colab(tmp_path) -> Path:
    """Python of a fresh environment: pip and the packages that ours needs, but not ours.

    The packages are those installed here, linked one by one; the environment may read and not
    change them.
    """
    packages = tmp_path / "packages"
    packages.mkdir()
    hidden = re.compile(
        r"(__editable__|mechanics_of_learning|course|pip|_distutils_hack).*|.*\.pth"
    )
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not hidden.fullmatch(entry.name):
            (packages / entry.name).symlink_to(entry)
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    place = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = subprocess.run(place, capture_output=True, text=True, check=True).stdout.strip()
    Path(site, "packages.pth").write_text(f"{packages}\n")
    return python


def session(python: Path, notebook: Path, **environment: str) -> subprocess.CompletedProcess:
    kept = {
        name: value
        for name, value in QUIET.items()
        if name not in ("PYTHONPATH", "VIRTUAL_ENV", "BINDER_SERVICE_HOST")
    }
    return subprocess.run(
        [python, "-c", SESSION, notebook.name],
        cwd=notebook.parent,
        env=kept | {"MPLBACKEND": "agg", "COURSE_PROGRESS": "off"} | environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


UNREACHED = re.compile(
    r"NewConnectionError|ConnectionError|ConnectTimeout|ReadTimeout|name resolution|"
    r"Max retries exceeded|No matching distribution found for setuptools|SSLError|ProxyError"
)
"""How pip says that it did not reach a package index, where the build's setuptools come from."""


def why(ran: subprocess.CompletedProcess) -> str:
    """Why a session failed: the network first, if that is the reason."""
    text = ran.stdout + ran.stderr
    network = "pip did not reach a package index: check the network.\n"
    return (network if UNREACHED.search(text) else "") + text[-6000:]


def test_failure_of_the_network_is_named():
    command = [sys.executable, "-m", "pip", "download", "--retries", "0", "--timeout", "2"]
    command += ["--no-deps", "--no-cache-dir", "--index-url", "http://127.0.0.1:9/simple"]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    ran = subprocess.run(
        [*command, "setuptools"], capture_output=True, text=True, timeout=120,
        env=alone | {"PIP_CONFIG_FILE": os.devnull},
    )  # fmt: skip
    assert ran.returncode != 0
    assert why(ran).startswith("pip did not reach a package index: check the network.")
    other = subprocess.CompletedProcess([], 1, "", "KeyError: 'x'")
    assert why(other) == "KeyError: 'x'"


def test_colab_installs_the_tagged_version_and_runs_the_first_chapter(colab, tagged):
    (first, *_) = sorted(
        pairs.chapters([tagged / "chapters"]),
        key=lambda path: pairs.read(path).metadata["chapter"]["number"],
    )
    ran = session(
        colab,
        first.with_suffix(".ipynb"),
        GIT_CONFIG_COUNT="1",
        GIT_CONFIG_KEY_0=f"url.file://{tagged}.insteadOf",
        GIT_CONFIG_VALUE_0=URL,
    )
    assert ran.returncode == 0, why(ran)
    installed = re.search(r"^course (\S+) from (.*)$", ran.stdout, flags=re.M)
    assert installed[1] == course.__version__
    assert Path(installed[2]).is_relative_to(colab.parents[1] / "lib")
    assert "site-packages" in installed[2]


def test_colab_without_an_address_says_what_to_do(colab, tmp_path):
    checkout = copy_checkout(tmp_path / "checkout")
    address.write("", checkout)
    first = pairs.chapters([checkout / "chapters"])[0]
    ran = session(colab, first.with_suffix(".ipynb"))
    assert ran.returncode != 0
    assert "RuntimeError: No public address is set" in ran.stdout + ran.stderr
