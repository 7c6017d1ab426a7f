"""An agent's modules import each other, and nobody else's modules change by it."""

import sys
import typing
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from runner.drop_ins.imports import import_source, package_of, unload
from runner.drop_ins.reason import reason_of
from runner.drop_ins.source import read_source


def written(folder: Path, name: str, /, **files: str) -> Path:
    for path, text in files.items():
        file = folder / name / f"{path.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder / name / "agent.py"


def imported(file: Path) -> Any:
    return import_source(read_source(file.parent.name, file))


SIBLINGS = """
import helpers
import tools.text as text
from helpers import NAME
from tools.text import shout, whisper
from . import helpers as relative
from .tools import text as relative_text

def late():
    import later
    from tools import late as deep
    return later.NAME, deep.NAME
"""


def test_siblings_import_as_from_a_script_and_relatively(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "One",
        agent=SIBLINGS,
        helpers="NAME = 'one'",
        tools__text="import helpers\nfrom ..helpers import NAME\n"
        "def shout(): return NAME.upper()\nwhisper = helpers.NAME",
        later="NAME = 'later'",
        tools__late="import json\nfrom agents import Agent\nNAME = Agent(name='deep').name",
    )
    before, path = set(sys.modules), list(sys.path)
    module = imported(file)
    assert module.NAME == "one"
    assert (module.shout(), module.whisper) == ("ONE", "one")
    assert module.helpers is module.relative
    assert module.text is module.relative_text
    assert module.late() == ("later", "deep")
    added = {name for name in set(sys.modules) - before if not name.startswith("baton_agents")}
    assert not added & {"helpers", "tools", "later", "agent", "text"}
    assert sys.path == path
    assert not list(tmp_path.rglob("__pycache__"))


def test_agents_and_versions_have_siblings_of_one_name_side_by_side(tmp_path: Path) -> None:
    code = "import helpers\ndef late():\n    import other\n    return other.NAME\n"
    one = imported(written(tmp_path, "One", agent=code, helpers="NAME = 1", other="NAME = 1"))
    two = imported(written(tmp_path, "Two", agent=code, helpers="NAME = 2", other="NAME = 2"))
    newer = imported(written(tmp_path, "One", agent=code, helpers="NAME = 3", other="NAME = 3"))
    assert [each.helpers.NAME for each in (one, two, newer)] == [1, 2, 3]
    # What is imported late is of the code that was read, and not what lies there now.
    assert [each.late() for each in (one, two, newer)] == [1, 2, 3]


def test_a_file_saved_twice_in_a_second_is_read_twice(tmp_path: Path) -> None:
    for value in range(3):
        module = imported(written(tmp_path, "One", agent=f"X = {value}"))
        assert vars(module)["X"] == value


@pytest.mark.parametrize("name", ["agents", "baton"])
def test_the_sdk_and_ours_cannot_be_shadowed(tmp_path: Path, name: str) -> None:
    files = {"agent": f"import {name}\nwho = {name}.__name__\n", name: "raise SystemExit"}
    module = imported(written(tmp_path, "One", **files))
    assert vars(module)[name] is sys.modules[name]


def test_names_that_are_no_identifiers_are_imported_too(tmp_path: Path) -> None:
    (tmp_path / "My agent 2.0.py").write_text("def f(): return __name__")
    source = read_source("My agent 2.0", tmp_path / "My agent 2.0.py")
    assert import_source(source).f() == f"{package_of(source)}.agent"
    sub = read_source("team/One", written(tmp_path, "One", agent="X = 1"))
    flat = read_source("team_One", tmp_path / "One/agent.py")
    assert package_of(sub) != package_of(flat)


USES = """
from __future__ import annotations
import dataclasses, typing
import pydantic

@dataclasses.dataclass
class Point:
    x: int
    next: Point | None = None

class Model(pydantic.BaseModel):
    point: Point
    more: list[Model] = []

if __name__ == "__main__":
    raise SystemExit("this is no script")
"""


def test_libraries_find_the_modules_that_classes_say_they_are_of(tmp_path: Path) -> None:
    module = imported(written(tmp_path, "One", agent=USES))
    assert typing.get_type_hints(module.Point)["next"] == module.Point | None
    made = module.Model.model_validate({"point": {"x": "1"}, "more": [{"point": {"x": 2}}]})
    assert made.more[0].point == module.Point(2)
    assert sys.modules[module.Point.__module__] is module


def test_prints_are_lines_of_the_log(tmp_path: Path) -> None:
    code = (
        "import io\nprint('a', 'b\\nc', sep='-')\n"
        "def f():\n    print(1, file=io.StringIO())\n    print(2)"
    )
    with capture_logs() as lines:
        imported(written(tmp_path, "One", agent=code)).f()
    said = [(one["agent"], one["line"], one["log_level"]) for one in lines]
    assert said == [("One", "a-b", "info"), ("One", "c", "info"), ("One", "2", "info")]


def test_code_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    file, before = (
        written(tmp_path, "One", agent="import helpers\n1 / 0", helpers=""),
        set(sys.modules),
    )
    with pytest.raises(ZeroDivisionError):
        imported(file)
    assert set(sys.modules) - before <= {"baton_agents"}


def test_modules_go_unless_the_same_code_was_imported_anew(tmp_path: Path) -> None:
    file = written(tmp_path, "One", agent="import helpers", helpers="")
    first = imported(file)
    second = imported(file)
    unload(first)
    assert sys.modules[second.__name__] is second
    unload(second)
    assert not [name for name in sys.modules if name.startswith(str(second.__package__))]


REASONS = {
    "import nothing_like_this": "Install it: pip install nothing_like_this",
    "import helpers\nhelpers.f()": "One/helpers.py:2: ZeroDivisionError",
    "from . import gone": "agent.py:1: ",
    "from .gone import x": "No module named 'gone' beside the agent's file",
    "import helpers.more": "agent.py:1: ModuleNotFoundError",
    "import looped": "partially initialized module",
    "x = = 1": "agent.py:1: SyntaxError",
    "raise SystemExit(3)": "agent.py:1: SystemExit: 3",
    "def f(): f()\nf()": "agent.py:1: RecursionError",
}


@pytest.mark.parametrize("code", REASONS)
def test_what_fails_is_told_with_file_line_and_traceback(tmp_path: Path, code: str) -> None:
    loop = "from looped_too import x\ny = 1"
    file = written(
        tmp_path,
        "One",
        agent=code,
        helpers="def f():\n    1 / 0",
        looped=loop,
        looped_too="from looped import y\nx = 1",
    )
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - any may come
        imported(file)
    sentence, _, shown = reason_of(caught.value, file).partition("\n")
    assert REASONS[code] in sentence
    assert str(tmp_path) in sentence
    assert "importlib" not in shown
    assert shown.count("  File ") <= 20
