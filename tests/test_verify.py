"""Notebooks are executed again: a differing output fails, a hanging kernel gets a second try."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import psutil
import pytest

from course.book import kernel, pairs, run, verify

HEADER = """\
---
jupytext:
  formats: md:myst,ipynb
  text_representation: {extension: .md, format_name: myst}
kernelspec: {display_name: Python 3, language: python, name: python3}
---
"""
FLAKY = """\
import os
from pathlib import Path

before = Path("seen").exists()
Path("seen").touch()
if not before:
    os._exit(1)
print("alive")
"""


def page(folder: Path, source: str, output: str) -> Path:
    path = folder / "page.md"
    path.write_text(f"{HEADER}```{{code-cell}} ipython3\n{source}\n```\n", encoding="utf-8")
    notebook = run.canonical(pairs.read(path))
    (cell,) = notebook.cells
    cell.execution_count = 1
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=output)]
    nbformat.write(notebook, path.with_suffix(".ipynb"))
    return path


def test_output_that_comes_out_again_passes_and_each_kernel_has_one_thread(tmp_path):
    source = "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['COURSE_PROGRESS'])"
    assert verify.main([str(page(tmp_path, source, "1 off\n"))]) == 0


def test_kernel_draws_its_own_way_and_its_threads_sleep_while_they_wait(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    source = "import os; print(os.environ['MPLBACKEND'], os.environ['OMP_WAIT_POLICY'])"
    output = "module://matplotlib_inline.backend_inline PASSIVE\n"
    assert verify.main([str(page(tmp_path, source, output))]) == 0


PARENT = """\
import subprocess, sys
children = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])]
print(children[0].pid, flush=True)
for child in children:
    child.wait()
    children.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))
    print(children[-1].pid, flush=True)
"""


def test_ending_a_process_ends_it_before_it_can_replace_its_children():
    process = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(process.stdout.readline()))
    kernel.end(process)
    assert process.returncode is not None
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert process.stdout.read() == ""


def test_output_that_differs_fails_without_a_second_try(tmp_path, capfd):
    assert verify.main([str(page(tmp_path, "print('one')", "two\n"))]) == 1
    assert "trying once more" not in capfd.readouterr().err


def test_notebook_over_the_limit_is_ended_and_tried_once_more(tmp_path, capfd):
    path = page(tmp_path, "import time; time.sleep(60)", "")
    assert verify.main([str(path), "--limit", "5"]) == 1
    errors = capfd.readouterr().err
    assert errors.count("not finished after 5 s") == 2
    assert errors.count("trying once more") == 1


def test_kernel_that_dies_once_passes_at_the_second_try(tmp_path, capfd):
    path = page(tmp_path, FLAKY, "alive\n")
    assert verify.main([str(path), "--cell-limit", "20"]) == 0
    assert "trying once more" in capfd.readouterr().err


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("a.ipynb", "b.ipynb"):
        (tmp_path / name).write_text("{}")
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init"], ["add", "--all"], ["commit", "--message", "Two notebooks"]):
        subprocess.run(["git", *identity, *command], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_changed_notebooks_are_those_not_in_the_last_commit(repository):
    names = [Path("a.ipynb"), Path("b.ipynb"), Path("c.ipynb")]
    assert verify.changed(names) == []
    (repository / "b.ipynb").write_text("[]")
    (repository / "c.ipynb").write_text("{}")
    assert verify.changed(names) == names[1:]


def test_folder_of_another_owner_is_read_all_the_same(repository, monkeypatch):
    (repository / "b.ipynb").write_text("[]")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    refused = subprocess.run(["git", "status"], capture_output=True, text=True)
    assert "dubious ownership" in refused.stderr
    assert verify.changed([Path("a.ipynb"), Path("b.ipynb")]) == [Path("b.ipynb")]


@pytest.mark.parametrize("why", ["no repository", "no git"])
def test_all_notebooks_are_verified_where_git_cannot_tell(repository, monkeypatch, capsys, why):
    if why == "no repository":
        shutil.rmtree(repository / ".git")
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(repository.parent))
    else:
        monkeypatch.setenv("PATH", str(repository))
    names = [Path("a.ipynb"), Path("b.ipynb")]
    assert verify.changed(names) == names
    assert "git cannot tell what changed, so all is verified" in capsys.readouterr().err
