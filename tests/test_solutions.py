"""Every printed solution passes its checker, every wrong answer is explained by it."""

import importlib
import re
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import pytest

import course
from course.book import pairs
from course.exercises import check, find

mpl.use("Agg")

ROOT = Path(__file__).parents[1]
CHAPTERS = pairs.chapters([ROOT / "chapters"])

SOLUTION = re.compile(
    r"^(?P<fence>:{3,}|`{3,})\{solution\} (?P<label>ex-[a-z_]+-\d+)\n(?P<body>.*?)^(?P=fence)$",
    flags=re.M | re.S,
)
PYTHON = re.compile(r"^```python\n(.*?)^```$", flags=re.M | re.S)
CHECK = re.compile(r"^check\(\"(?P<name>[a-z_]+\.\d+)\", (?P<function>\w+)\)", flags=re.M)


class Exercise(NamedTuple):
    chapter: Path
    name: str
    function: str
    starter: str
    solution: str
    imports: str


def exercises(path: Path) -> list[Exercise]:
    """Exercises of a chapter, from its ``check(...)`` cells and its printed solutions."""
    cells = pairs.read(path).cells
    code = [c.source for c in cells if c.cell_type == "code" and not pairs.is_bootstrap(c)]
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    solutions = {
        match["label"]: "\n".join(PYTHON.findall(match["body"]))
        for match in SOLUTION.finditer(text)
    }
    found = [
        Exercise(
            path,
            match["name"],
            match["function"],
            source,
            solutions.pop("ex-" + match["name"].replace(".", "-"), ""),
            code[0],
        )
        for source in code
        for match in CHECK.finditer(source)
    ]
    assert not solutions, f"{path.name}: solutions without an exercise: {sorted(solutions)}"
    return found


EXERCISES = [exercise for path in CHAPTERS for exercise in exercises(path)]
PARTS = sorted(
    path.parent.parent.name for path in Path(course.__file__).parent.glob("*/exercises/__init__.py")
)
CHECKERS = [
    name for part in PARTS for name in importlib.import_module(f"course.{part}.exercises").CHECKERS
]

exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.name)


def answer(exercise: Exercise, text: str):
    """The function that a reader who typed ``text`` would hand to the checker."""
    scope: dict = {}
    exec(exercise.imports, scope)
    exec(CHECK.sub("", text), scope)
    return scope[exercise.function]


def test_every_checker_belongs_to_one_exercise_in_the_book():
    assert sorted(e.name for e in EXERCISES) == sorted(CHECKERS)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_header_lists_the_exercises(path):
    listed = [entry["name"] for entry in pairs.read(path).metadata["chapter"]["exercises"]]
    assert listed == [exercise.name for exercise in exercises(path)]


@exercise
def test_printed_solution_passes(exercise):
    assert exercise.solution, "no printed solution"
    verdict = check(exercise.name, answer(exercise, exercise.solution)).verdict
    assert verdict is not None
    assert verdict.passed, verdict.message


@exercise
def test_starter_counts_as_no_answer_yet(exercise):
    assert check(exercise.name, answer(exercise, exercise.starter)).verdict is None


@pytest.mark.parametrize("name", CHECKERS)
def test_wrong_answers_are_explained(name):
    for function, fragment in find(name).wrong:
        verdict = check(name, function).verdict
        assert verdict is not None
        assert not verdict.passed
        assert fragment in verdict.message
