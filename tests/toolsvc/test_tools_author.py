"""What an author of tools meets: signatures, schemas, folders, and how mistakes are named."""

import asyncio
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from agents.strict_schema import ensure_strict_json_schema
from pydantic import BaseModel, Field

from shared.settings.security import Rule
from toolsvc.registry import load_registry
from toolsvc.tool import SqlCall, Tool, ToolCall, ToolError, tool
from toolsvc.tool_schema import ArgumentsError, SignatureError

HEAD = "from toolsvc.tool import SqlCall, ToolCall, ToolError, tool\n"
GOOD = HEAD + (
    '@tool(name="{name}", description="Say hello.", scope="greetings:read")\n'
    "async def hello(call: ToolCall) -> str:\n"
    '    return "hello"\n'
)


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Place(BaseModel):
    city: str = Field(min_length=1)
    zip: str | None = None


def make(function: Any) -> Tool:
    return tool(name="t", description="A tool.", scope="a:b")(function)


async def everything(
    call: ToolCall,
    count: Annotated[int, Field(ge=1, le=9, description="How many.")],
    colour: Colour,
    places: Annotated[list[Place], Field(max_length=2)],
    size: Literal["s", "m"] = "m",
    ratio: float | None = None,
    copy: bool = False,
) -> dict[str, Any]:
    return {}


def test_models_get_a_strict_schema() -> None:
    published = make(everything).parameters.published
    assert ensure_strict_json_schema(json.loads(json.dumps(published))) == published
    assert published["required"] == ["count", "colour", "places", "size", "ratio", "copy"]
    assert published["properties"]["count"] == {"type": "integer", "description": "How many."}
    assert {"type": "null"} in published["properties"]["size"]["anyOf"]
    assert published["$defs"]["Place"]["required"] == ["city", "zip"]
    assert published["$defs"]["Place"]["additionalProperties"] is False
    for word in ("minLength", "maximum", "maxItems", "default", "title"):
        assert f'"{word}"' not in json.dumps(published)


def test_all_built_in_tools_are_strict_and_described() -> None:
    registry = load_registry()
    assert registry.broken == ()
    assert sorted(registry.tools) == [
        "current_time",
        "delete_note",
        "echo_context",
        "get_profile",
        "save_note",
        "search_notes",
        "update_profile",
    ]
    for each in registry.tools.values():
        published = each.parameters.published
        assert ensure_strict_json_schema(json.loads(json.dumps(published))) == published
        assert all("description" in field for field in published["properties"].values())


GIVEN: dict[str, Any] = {"count": 1, "colour": "red", "places": [{"city": "Rome"}]}


def test_arguments_become_typed_values_and_defaults_stay_the_functions() -> None:
    read = make(everything).parameters.read
    assert read(GIVEN) == {"count": 1, "colour": Colour.RED, "places": [Place(city="Rome")]}
    assert read(GIVEN | {"size": None, "ratio": None, "copy": None}) == read(GIVEN)
    assert read(GIVEN | {"size": "s", "ratio": 1, "copy": True})["copy"] is True


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"count": 0}, "arguments.count:"),
    ({"count": "1"}, "arguments.count:"),
    ({"count": True}, "arguments.count:"),
    ({"count": None}, "arguments.count:"),
    ({"count": 1.5}, "arguments.count:"),
    ({"colour": "green"}, "arguments.colour:"),
    ({"places": [{"city": "a"}] * 3}, "arguments.places:"),
    ({"places": [{"city": ""}]}, "arguments.places.0.city:"),
    ({"places": [{}]}, "'city' is a required property"),
    ({"places": [{"city": "a", "x": 1}]}, "'x' was unexpected"),
    ({"size": "xl"}, "arguments.size:"),
    ({"ratio": "much"}, "arguments.ratio:"),
    ({"copy": "yes"}, "arguments.copy:"),
    ({"user": "somebody else"}, "'user' was unexpected"),
]


@pytest.mark.parametrize(("change", "problem"), WRONG, ids=lambda value: repr(value)[:40])
def test_wrong_arguments_are_named_by_their_field(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        make(everything).parameters.read(GIVEN | change)
    assert problem in str(caught.value)


@pytest.mark.parametrize("missing", GIVEN)
def test_a_missing_argument_is_named(missing: str) -> None:
    given = {name: value for name, value in GIVEN.items() if name != missing}
    with pytest.raises(ArgumentsError, match=f"'{missing}' is a required property"):
        make(everything).parameters.read(given)


def test_a_huge_value_is_not_sent_back_whole() -> None:
    with pytest.raises(ArgumentsError) as caught:
        make(everything).parameters.read(GIVEN | {"count": "x" * 100_000})
    assert len(str(caught.value)) < 400


def not_async(call: ToolCall) -> None: ...


async def without_call() -> None: ...
async def untyped_call(call) -> None: ...  # type: ignore[no-untyped-def]
async def wrong_call(text: str) -> None: ...
async def untyped(call: ToolCall, text) -> None: ...  # type: ignore[no-untyped-def]
async def anything(call: ToolCall, text: Any) -> None: ...
async def anything_in_a_list(call: ToolCall, texts: list[Any]) -> None: ...
async def open_object(call: ToolCall, fields: dict[str, str]) -> None: ...
async def many(call: ToolCall, *texts: str) -> None: ...
async def named(call: ToolCall, **texts: str) -> None: ...
async def no_schema(call: ToolCall, other: SqlCall) -> None: ...
async def positional(call: ToolCall, text: str, /) -> None: ...


BAD_FUNCTIONS = [
    (not_async, "async"),
    (without_call, "SqlCall or a ToolCall"),
    (untyped_call, "SqlCall or a ToolCall"),
    (wrong_call, "SqlCall or a ToolCall"),
    (untyped, "'text' has no type"),
    (anything, "'text' may be anything"),
    (anything_in_a_list, "'items' may be anything"),
    (open_object, "object of unknown content"),
    (many, "'texts'"),
    (named, "'texts'"),
    (no_schema, "no JSON Schema"),
    (positional, "'text' must be a plain"),
]


@pytest.mark.parametrize(
    ("function", "problem"), BAD_FUNCTIONS, ids=[each.__name__ for each, _ in BAD_FUNCTIONS]
)
def test_a_function_that_cannot_be_a_tool_is_refused_in_words(function: Any, problem: str) -> None:
    with pytest.raises(SignatureError, match=r"the tool t cannot be offered: .+") as caught:
        make(function)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "two words"},
        {"name": ""},
        {"name": "x" * 65},
        {"scope": "everything"},
        {"scope": ""},
        {"description": " "},
        {"on_error": "ignore"},
    ],
    ids=repr,
)
def test_a_wrong_declaration_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SignatureError):
        tool(**({"name": "t", "description": "A tool.", "scope": "a:b"} | change))


@pytest.mark.parametrize(("code", "status"), [("Not Good", 422), ("fine", 500), ("fine", 200)])
def test_an_error_of_a_tool_has_a_code_and_a_status_of_the_four_hundreds(
    code: str, status: int
) -> None:
    with pytest.raises(ValueError, match="not a code"):
        ToolError(code, "No.", status=status)


def test_the_kind_of_call_decides_about_the_transaction() -> None:
    async def sql(call: SqlCall) -> None: ...
    async def plain(call: ToolCall) -> None: ...

    assert [make(sql).transactional, make(plain).transactional] == [True, False]


def test_a_folder_of_ones_own_adds_tools(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(GOOD.format(name="one"))
    (tmp_path / "my-two.py").write_text("from ._words import WORD\n" + GOOD.format(name="two"))
    (tmp_path / "_words.py").write_text("WORD = 'hello'\n")
    (tmp_path / ".hidden.py").write_text("this is not python")
    (tmp_path / "notes.txt").write_text("this is not python")
    registry = load_registry([tmp_path])
    assert registry.broken == ()
    assert {"one", "two", "get_profile"} <= registry.tools.keys()
    assert "greetings:read" in registry.scopes


BROKEN = {
    "syntax": ("x = 1\nx = = 2\n", ":2", "SyntaxError"),
    "import": ("x = 1\n\nimport nothing_of_this_name\n", ":3", "ModuleNotFoundError"),
    "raise": ("def f():\n    raise RuntimeError('no')\nf()\n", ":2", "RuntimeError: no"),
    "exit": ("raise SystemExit(3)\n", ":1", "SystemExit"),
    "name": (GOOD.format(name="two words"), ":2", "cannot be called 'two words'"),
    "signature": (HEAD + GOOD.format(name="x").replace(": ToolCall", ""), ":3", "SqlCall or a"),
    "empty": ("x = 1\n", "", "no tool"),
    "bytes": ("\x00", "", "null bytes"),
    "taken": (GOOD.format(name="save_note"), "", "a tool called save_note is already there"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_with_its_line_and_the_others_serve(
    tmp_path: Path, name: str
) -> None:
    source, line, why = BROKEN[name]
    (tmp_path / "bad.py").write_text(source)
    (tmp_path / "good.py").write_text(GOOD.format(name="good"))
    registry = load_registry([tmp_path])
    (broken,) = registry.broken
    assert broken.where == f"{tmp_path / 'bad.py'}{line}"
    assert why in broken.why
    assert "good" in registry.tools
    assert registry.tools["save_note"].scope == "notes:write"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    registry = load_registry([tmp_path / "nowhere"])
    assert registry.broken[0].where.endswith("nowhere")
    assert "get_profile" in registry.tools


def test_loading_again_reads_the_files_again(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(GOOD.format(name="first"))
    load_registry([tmp_path])
    (tmp_path / "one.py").write_text(GOOD.format(name="the_second"))
    registry = load_registry([tmp_path])
    assert "the_second" in registry.tools
    assert "first" not in registry.tools


async def _run_example(tool_of_docs: Tool, **arguments: Any) -> Any:
    return await tool_of_docs.function(None, **tool_of_docs.parameters.read(arguments))


def test_the_example_of_the_docs_is_a_tool(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "tools.md").read_text()
    (tmp_path / "weather.py").write_text(page.split("```python\n")[1].split("```")[0])
    registry = load_registry([tmp_path])
    assert registry.broken == ()
    weather = registry.tools["get_weather"]
    told = asyncio.run(_run_example(weather, city="Rome", days_ahead=1))
    assert told.celsius == 20
    with pytest.raises(ToolError) as caught:
        asyncio.run(_run_example(weather, city="Atlantis", days_ahead=None))
    assert (caught.value.code, caught.value.status) == ("unknown_city", 404)


def test_a_module_that_a_rule_refuses_is_not_even_read(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(GOOD.format(name="mine"))
    (tmp_path / "theirs.py").write_text("raise SystemExit")
    registry = load_registry([tmp_path], Rule(deny=("theirs", "notes")))
    assert "mine" in registry.tools
    assert not any("note" in name for name in registry.tools)
    told = {Path(one.where).name: one.why for one in registry.broken}
    assert told == {
        "notes.py": "security.yaml does not allow the module notes: tool_modules.deny: notes",
        "theirs.py": "security.yaml does not allow the module theirs: tool_modules.deny: theirs",
    }
