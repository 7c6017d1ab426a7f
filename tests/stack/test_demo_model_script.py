"""The script's rules and directives, without a server."""

import json
import re
from pathlib import Path

import pytest

from stack.demo_model import directives, script
from stack.demo_model.errors import ApiError
from stack.demo_model.question import Question, ToolOutput
from stack.demo_model.reply import Fault, Reply

_HANDBOOK = Path(__file__).parents[2] / "docs" / "demo-model.md"
_TOOLS = [
    "update_profile",
    "get_profile",
    "save_note",
    "search_notes",
    "delete_note",
    "current_time",
    "echo_context",
    "summarize",
    "transfer_to_writer",
    "transfer_to_researcher",
]


def _ask(text: str, *, tools: list[str] = _TOOLS, outputs: tuple[ToolOutput, ...] = ()) -> Reply:
    plain, asked = directives.read(text)
    offered: dict[str, dict[str, object]] = {name: {} for name in tools}
    return script.answer(Question(text=plain, directives=asked, tools=offered, outputs=outputs))


def _calls(reply: Reply) -> list[tuple[str, object]]:
    return [(call.name, json.loads(call.arguments)) for call in reply.calls]


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("Please set my display name to Ada in my profile", "update_profile", "Ada"),
        ('Change my name to "Ada Lovelace", please!', "update_profile", "Ada Lovelace"),
        ("my name is Grace. Thanks", "update_profile", "Grace"),
        ("call me J. R. Tolkien.", "update_profile", "J. R. Tolkien"),
        ("Call me Zoë", "update_profile", "Zoë"),
        ("what is my name?", "get_profile", None),
        ("Show my profile", "get_profile", None),
        ("note: buy milk", "save_note", "buy milk"),
        ("Remember that tea is at five", "save_note", "tea is at five"),
        ("search notes for milk", "search_notes", "milk"),
        ("What did I note about the milk?", "search_notes", "the milk"),
        ("delete note 12", "delete_note", "12"),
        ("What time is it?", "current_time", None),
        ("echo hello there", "echo_context", "hello there"),
        ("research whales", "transfer_to_researcher", None),
        ("summarize the book", "summarize", "the book"),
    ],
)
def test_a_phrase_calls_its_tool(text: str, name: str, arguments: str | None) -> None:
    ((called, given),) = _calls(_ask(text))
    assert called == name
    assert isinstance(given, dict)
    assert list(given.values()) == ([] if arguments is None else [arguments])


def test_a_failed_tool_is_not_called_a_success() -> None:
    refused = ToolOutput(name="save_note", output="Tool execution was not approved.")
    reply = _ask("note: buy milk", outputs=(refused,))
    assert reply.text.startswith("That did not work.")


def test_outputs_are_read_out_like_a_person_would() -> None:
    profile = ToolOutput(name="get_profile", output='{"displayName": "Ada", "locale": "en"}')
    found = ToolOutput(name="search_notes", output='[{"id": 1, "text": "milk"}]')
    assert "display name: Ada, locale: en" in _ask("who am I", outputs=(profile,)).text
    assert "1, milk" in _ask("search notes for milk", outputs=(found,)).text


def test_without_its_tool_a_phrase_is_only_echoed() -> None:
    assert 'You said: "note: buy milk"' in _ask("note: buy milk", tools=[]).text


def test_thinking_is_streamed_before_the_answer() -> None:
    reply = _ask("Think about tea")
    assert "tea" in reply.reasoning
    assert "tea" in reply.text


def test_every_phrase_of_the_handbook_finds_a_rule() -> None:
    phrases = re.findall(r"^\| “(.+?)” \|", _HANDBOOK.read_text(), re.MULTILINE)
    unknown = [phrase for phrase in phrases if "You said" in _ask(phrase).text]
    assert len(phrases) >= len(script.RULES) - 2
    assert unknown == []


def test_the_handbook_and_the_docstring_have_every_directive_and_fault() -> None:
    handbook = _HANDBOOK.read_text()
    for name in directives.NAMES:
        assert f"[[{name}" in handbook
        assert f"[[{name}" in (directives.__doc__ or "")
    assert [fault for fault in Fault if f"| `{fault}` |" not in handbook] == []


def test_directives_are_taken_out_of_the_text() -> None:
    text, asked = directives.read('note: milk [[delay=0.5]] [[tool=x {"a": "]] [[deltas=1]]"}]]')
    assert text == "note: milk"
    assert asked.delay_s == 0.5
    assert asked.calls[0].arguments == '{"a": "]] [[deltas=1]]"}'
    assert asked.deltas is None


@pytest.mark.parametrize("text", ["[[ -f file ]] && ls", "[[1, 2], [3]]", "a [ b ]]", ""])
def test_other_brackets_are_just_text(text: str) -> None:
    assert directives.read(text) == (text, directives.Directives())


@pytest.mark.parametrize(
    "text",
    [
        "[[fualt=cut]]",
        "[[fault]]",
        "[[fault=zap]]",
        "[[fault=cut times=x]]",
        "[[deltas=0]]",
        "[[deltas=1.5]]",
        "[[deltas=many]]",
        "[[deltas=1 2]]",
        "[[deltas=5]] [[deltas=5]]",
        "[[large=3]] [[deltas=5]]",
        "[[tokens_per_s=nan]]",
        "[[delay=-1]]",
        "[[delay 1]]",
        '[[delay=1 {"a": 1}]]',
        "[[repeat_call_ids=yes]]",
        "[[tool=]]",
        "[[tool=a b]]",
        "[[tool=a {nope}]]",
        '[[tool=a {"b": 1} c]]',
        "[[turns=2]]",
        "[[turns=x a]]",
        "[[turns=2 a]] [[tool=b]]",
        "[[delay=1",
    ],
)
def test_a_malformed_directive_is_named(text: str) -> None:
    with pytest.raises(ApiError) as caught:
        directives.read(text)
    assert caught.value.status == 400
    assert "[[" in caught.value.message


@pytest.mark.parametrize(("text", "deltas"), [("[[deltas=1]]", 1), ("hello [[deltas=50]]", 50)])
def test_as_many_deltas_as_asked(text: str, deltas: int) -> None:
    assert len(_ask(text).text.split()) == deltas
