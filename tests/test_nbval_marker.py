"""A changed digit inside the marker passes nbval, a changed digit anywhere else fails."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import nbformat
import pytest

SANITIZE = Path(__file__).with_name("nbval_sanitize.cfg")
SOURCE = """\
from IPython.display import HTML, display
print("width 64: variance \u27e80.123\u27e9, 2 seeds, error \u27e80.01\u27e9")
display(HTML("<b>width 64</b>: <i>\u27e80.123\u27e9</i>"))
3.25"""
OUTPUTS = {
    "stdout": "width 64: variance \u27e80.123\u27e9, 2 seeds, error \u27e80.01\u27e9\n",
    "html": "<b>width 64</b>: <i>\u27e80.123\u27e9</i>",
    "plain": "3.25",
}
CHANGES = {
    "unchanged": ("stdout", "", "", True),
    "stdout_inside": ("stdout", "0.123", "0.456", True),
    "stdout_both_inside": ("stdout", "0.01", "-1e-5", True),
    "html_inside": ("html", "0.123", "0.456", True),
    "stdout_outside": ("stdout", "width 64", "width 65", False),
    "stdout_between": ("stdout", "2 seeds", "3 seeds", False),
    "html_outside": ("html", "width 64", "width 65", False),
    "plain_outside": ("plain", "3.25", "3.26", False),
    "marker_missing": ("stdout", "\u27e80.01\u27e9", "0.01", False),
}


def cell(count: int, changed: dict[str, str]) -> nbformat.NotebookNode:
    v4 = nbformat.v4
    html = {"text/html": changed["html"], "text/plain": "<IPython.core.display.HTML object>"}
    outputs = [
        v4.new_output("stream", name="stdout", text=changed["stdout"]),
        v4.new_output("display_data", html),
        v4.new_output("execute_result", {"text/plain": changed["plain"]}, execution_count=count),
    ]
    return v4.new_code_cell(SOURCE, execution_count=count, outputs=outputs)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory) -> dict[str, bool]:
    """Whether nbval passes each change: one cell for each, in one notebook."""
    folder = tmp_path_factory.mktemp("marker")
    cells = []
    for count, (key, before, after, _) in enumerate(CHANGES.values(), start=1):
        assert before in OUTPUTS[key]
        changed = OUTPUTS[key].replace(before, after) if before else OUTPUTS[key]
        cells.append(cell(count, OUTPUTS | {key: changed}))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / "changes.ipynb")
    report = folder / "report.xml"
    command = [
        sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "--nbval-sanitize-with",
        SANITIZE, "-p", "no:cacheprovider", "--junitxml", report, "--rootdir", folder, folder,
    ]  # fmt: skip
    subprocess.run(command, cwd=folder, capture_output=True, timeout=120)
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    assert [case.get("name").split()[-1] for case in cases] == [str(n) for n in range(len(CHANGES))]
    assert not any(case.find("error") is not None for case in cases)
    return {name: case.find("failure") is None for name, case in zip(CHANGES, cases, strict=True)}


@pytest.mark.parametrize("name", CHANGES)
def test_only_digits_inside_the_marker_may_change(verdicts, name):
    assert verdicts[name] is CHANGES[name][-1]
