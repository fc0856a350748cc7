"""The workflows are valid, safe, and run what a contributor runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
BIN = Path(sys.executable).parent

USES_PIN = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40}")


def load(name: str) -> dict:
    content = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))
    content["on"] = content.pop(True)  # YAML 1.1 reads the key `on` as a boolean
    return content


def run(*command) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    "schema", ["vendor.github-workflows", "custom.github-workflows-require-timeout"]
)
def test_workflows_follow_the_schema(schema):
    checked = run(BIN / "check-jsonschema", "--builtin-schema", schema, *WORKFLOWS)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_zizmor_finds_nothing():
    checked = run(BIN / "zizmor", "--offline", "--no-progress", "--pedantic", ".github")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_zizmor_would_find_a_token_left_behind(tmp_path):
    text = (ROOT / ".github" / "workflows" / "book.yml").read_text(encoding="utf-8")
    bad = tmp_path / "book.yml"
    bad.write_text(text.replace("        with:\n          persist-credentials: false\n", ""))
    checked = run(BIN / "zizmor", "--offline", "--no-progress", bad)
    assert checked.returncode != 0
    assert "artipacked" in checked.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_and_nobody_may_do_anything_by_default(path):
    workflow = load(path.name)
    assert workflow["permissions"] == {}
    uses = [
        step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step
    ]
    assert all(USES_PIN.fullmatch(action) for action in uses), uses


def test_book_is_tested_on_push_and_pull_request_with_the_oldest_and_newest_python():
    workflow = load("book.yml")
    assert {"push", "pull_request"} <= workflow["on"].keys()
    test = workflow["jobs"]["test"]
    assert test["strategy"]["matrix"]["python"] == ["3.11", "3.13"]
    assert any(step.get("run") == ".ci/run" for step in test["steps"])


def test_only_the_main_branch_is_published_and_only_after_the_tests():
    jobs = load("book.yml")["jobs"]
    assert jobs["build"]["needs"] == "test"
    assert "github.ref == 'refs/heads/main'" in jobs["build"]["if"]
    assert "github.event_name == 'push'" in jobs["build"]["if"]
    assert jobs["publish"]["needs"] == "build"
    writers = {name for name, job in jobs.items() if "write" in str(job["permissions"])}
    assert writers == {"publish"}


def test_weekly_run_drops_every_pin_but_that_of_jupyter_book(tmp_path):
    workflow = load("newest.yml")
    assert "schedule" in workflow["on"]
    (command,) = [
        step["run"]
        for step in workflow["jobs"]["test"]["steps"]
        if "newest.txt" in step.get("run", "")
    ]
    (tmp_path / "requirements.txt").write_bytes((ROOT / "requirements.txt").read_bytes())
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, timeout=60)
    lines = (tmp_path / "newest.txt").read_text().splitlines()
    names = [line for line in lines if line and not line.startswith("#")]
    assert "torch" in names
    assert [name for name in names if re.search(r"[=<>~!]", name)] == ["jupyter-book<2"]


def test_weekly_run_opens_an_issue_when_it_fails():
    report = load("newest.yml")["jobs"]["report"]
    assert report["if"] == "failure()"
    assert report["needs"] == "test"
    assert "gh issue create" in report["steps"][0]["run"]
