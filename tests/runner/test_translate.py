"""From raw model events to AG-UI, judged by `ag-ui-validate` and by our own reducer."""

from types import SimpleNamespace
from typing import Any

import openai
import orjson
import pytest
from ag_ui_validate.pytest_plugin import assert_valid_agui
from agents import (
    Model,
    ModelSettings,
    ModelTracing,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
)

from runner.scope import Scope
from runner.stage import Stage
from runner.translate import Translator
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.transcript import messages_of

SUBAGENT = "sub_1"


class Show:
    """Everything one translator gives out, with the events of a run around it."""

    def __init__(self, *, subagent: str | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self.translator = Translator(
            self.events.append, self.delta, lambda given: given, subagent=subagent
        )

    def delta(self, type_: str, prefix: str, text: str) -> None:
        event = orjson.loads(f"{prefix}{orjson.dumps(text).decode()}}}")
        assert event["type"] == type_
        self.events.append(event)

    def feed(self, *raw: Any) -> "Show":
        for one in raw:
            self.translator.feed(one)
        return self

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    @property
    def shown(self) -> list[dict[str, Any]]:
        return self.translator.shown()


def check(events: list[dict[str, Any]], *, subagent: str | None = None) -> None:
    inside: list[dict[str, Any]] = list(events)
    if subagent:
        started = {"type": "SUBAGENT_STARTED", "subagentRunId": subagent, "name": "S"}
        inside = [started, *inside, {"type": "SUBAGENT_FINISHED", "subagentRunId": subagent}]
    assert_valid_agui(
        [
            {"type": "RUN_STARTED", "threadId": "t", "runId": "r", "protocolVersion": "1.0"},
            {"type": "STEP_STARTED", "stepName": "A"},
            *inside,
            *_results(events),
            {"type": "STEP_FINISHED", "stepName": "A"},
            {"type": "RUN_FINISHED", "threadId": "t", "runId": "r"},
        ]
    )


def _results(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "type": "TOOL_CALL_RESULT",
            "messageId": f"m_{event['toolCallId']}",
            "toolCallId": event["toolCallId"],
            "content": "done",
            "role": "tool",
        }
        for event in events
        if event["type"] == "TOOL_CALL_START" and not event.get("subagentRunId")
    ]


# ------------------------------------------------------------------------------ raw events
def raw(kind: str, **fields: Any) -> Any:
    return SimpleNamespace(type=f"response.{kind}", **fields)


def text(delta: str) -> Any:
    return raw("output_text.delta", delta=delta)


def thought(delta: str) -> Any:
    return raw("reasoning_summary_text.delta", delta=delta)


def _item(name: str, arguments: str = "") -> Any:
    return SimpleNamespace(
        type="function_call", call_id=f"call_{name}", name=name, arguments=arguments
    )


def begun(index: int, name: str) -> Any:
    return raw("output_item.added", output_index=index, item=_item(name))


def argued(index: int, delta: str) -> Any:
    return raw("function_call_arguments.delta", output_index=index, delta=delta)


def done(index: int, name: str, arguments: str = "") -> Any:
    return raw("output_item.done", output_index=index, item=_item(name, arguments))


TEXT, REASONING_START = "TEXT_MESSAGE_CHUNK", ["REASONING_START", "REASONING_MESSAGE_START"]
REASONED = ["REASONING_MESSAGE_CONTENT", "REASONING_MESSAGE_END", "REASONING_END"]
CALLED = ["TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END"]

#: Raw events, and the types that come of them.
TABLE: dict[str, tuple[list[Any], list[str]]] = {
    "text": ([text("Hel"), text("lo")], [TEXT, TEXT]),
    "a refusal": ([raw("refusal.delta", delta="No.")], [TEXT]),
    "text, then a refusal": ([text("Well, "), raw("refusal.delta", delta="no.")], [TEXT, TEXT]),
    "reasoning, then text": (
        [thought("Hm"), text("So")],
        [*REASONING_START, *REASONED, TEXT],
    ),
    "raw reasoning": (
        [raw("reasoning_text.delta", delta="Hm")],
        [*REASONING_START, *REASONED],
    ),
    "text, reasoning, text": (
        [text("a"), thought("Hm"), text("b")],
        [TEXT, *REASONING_START, *REASONED, TEXT],
    ),
    "a call": ([begun(0, "x"), argued(0, "{}"), done(0, "x", "{}")], CALLED),
    "text, then a call, then text": (
        [text("a"), begun(1, "x"), argued(1, "{}"), done(1, "x", "{}"), text("b")],
        [TEXT, *CALLED, TEXT],
    ),
    "reasoning, then a call": (
        [thought("Hm"), begun(1, "x"), argued(1, "{}"), done(1, "x", "{}")],
        [*REASONING_START, *REASONED, *CALLED],
    ),
    "text, reasoning, a call": (
        [text("a"), thought("Hm"), begun(2, "x"), argued(2, "{}"), done(2, "x", "{}")],
        [TEXT, *REASONING_START, *REASONED, *CALLED],
    ),
    "a call that comes whole": ([done(0, "x", '{"a":1}')], CALLED),
    "a call without arguments": (
        [begun(0, "x"), done(0, "x")], ["TOOL_CALL_START", "TOOL_CALL_END"],
    ),
    "a call whose arguments come only at its end": (
        [begun(0, "x"), done(0, "x", '{"a":1}')], CALLED,
    ),
    "a call that is never ended": (
        [begun(0, "x"), argued(0, "{}")], CALLED,
    ),
    "two calls at once": (
        [begun(0, "x"), begun(1, "y"), argued(0, "{"), argued(1, "["), argued(0, "}"),
         done(0, "x", "{}"), argued(1, "]"), done(1, "y", "[]")],
        ["TOOL_CALL_START"] * 2 + ["TOOL_CALL_ARGS"] * 3 + ["TOOL_CALL_END", "TOOL_CALL_ARGS",
         "TOOL_CALL_END"],
    ),
    "text while a call is written": (
        [begun(0, "x"), text("a"), argued(0, "{}"), done(0, "x", "{}")],
        ["TOOL_CALL_START", TEXT, "TOOL_CALL_ARGS", "TOOL_CALL_END"],
    ),
    "reasoning while a call is written": (
        [begun(0, "x"), thought("Hm"), argued(0, "{}"), done(0, "x", "{}")],
        ["TOOL_CALL_START", *REASONING_START, REASONED[0], "TOOL_CALL_ARGS", "TOOL_CALL_END",
         *REASONED[1:]],
    ),
    "what means nothing to people": (
        [raw("created", response=None), raw("in_progress"), argued(7, "{}"),
         raw("output_item.added", output_index=0, item=SimpleNamespace(type="message")),
         raw("output_item.done", output_index=0, item=SimpleNamespace(type="web_search_call"))],
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_each_stream_becomes_the_events_that_clients_accept(case: str) -> None:
    given, types = TABLE[case]
    show = Show().feed(*given)
    show.translator.end()
    assert show.types == types
    check(show.events)
    assert messages_of(show.events) == show.shown


@pytest.mark.parametrize("case", TABLE)
def test_a_stream_that_is_cut_anywhere_shows_what_clients_saw(case: str) -> None:
    given, _ = TABLE[case]
    for length in range(len(given) + 1):
        show = Show().feed(*given[:length])
        assert messages_of(show.events) == show.shown


@pytest.mark.parametrize("case", TABLE)
def test_a_sub_agents_events_say_whose_they_are_and_leave_no_message(case: str) -> None:
    given, _ = TABLE[case]
    show = Show(subagent=SUBAGENT).feed(*given)
    show.translator.end()
    assert all(event["subagentRunId"] == SUBAGENT for event in show.events)
    assert TEXT not in show.types
    check(show.events, subagent=SUBAGENT)
    assert messages_of(show.events) == []


def test_two_sub_agents_may_write_at_the_same_time() -> None:
    one, two = Show(subagent="sub_1"), Show(subagent="sub_2")
    two.events, two.translator._emit = one.events, one.events.append
    for _ in range(3):
        one.feed(text("a"))
        two.feed(text("b"))
    one.translator.end()
    two.translator.end()
    started = [
        {"type": "SUBAGENT_STARTED", "subagentRunId": s, "name": s} for s in ("sub_1", "sub_2")
    ]
    finished = [{"type": "SUBAGENT_FINISHED", "subagentRunId": s} for s in ("sub_1", "sub_2")]
    check([*started, *one.events, *finished])


def test_calls_get_the_ids_that_the_run_gives_them() -> None:
    ids = iter(["unique_1", "unique_2"])
    events: list[dict[str, Any]] = []
    translator = Translator(events.append, lambda *_: None, lambda _given: next(ids))
    for one in (done(0, "x", "{}"), done(1, "x", "{}")):
        translator.feed(one)
    assert [translator.call_id(index) for index in (0, 1, 2)] == ["unique_1", "unique_2", None]
    (message,) = translator.shown()
    assert [call["id"] for call in message["toolCalls"]] == ["unique_1", "unique_2"]


@pytest.mark.parametrize("given", [text("a\ud83d"), thought("\ude00"), done(0, "x", '"\ud83d"')])
def test_half_a_surrogate_pair_fails_the_call_and_goes_nowhere(given: Any) -> None:
    show = Show()
    with pytest.raises(BatonError) as refused:
        show.feed(given)
    assert refused.value.code is Code.UPSTREAM_INVALID
    orjson.dumps([show.events, show.shown])


# ------------------------------------------------------------------------------ both APIs
QUESTIONS = {
    "a greeting": ("Hello!", {TEXT}),
    "many deltas": ("[[deltas=50]] x", {TEXT}),
    "reasoning": ("think about tea", {TEXT, *REASONING_START, *REASONED}),
    "a call": ("[[tool=get_profile]] x", {"TOOL_CALL_START", "TOOL_CALL_END"}),
    "calls in parallel": (
        '[[tool=save_note {"text": "é"}]] [[tool=current_time {"zone": "UTC"}]] x', set(CALLED),
    ),
    "a refusal": ("[[fault=refusal]] hi", {TEXT}),
}  # fmt: skip


@pytest.mark.asyncio
@pytest.mark.parametrize("api", [OpenAIResponsesModel, OpenAIChatCompletionsModel])
@pytest.mark.parametrize("subagent", [None, SUBAGENT])
@pytest.mark.parametrize("case", QUESTIONS)
async def test_what_either_api_streams_is_a_valid_run(
    demo_url: str, api: Any, subagent: str | None, case: str
) -> None:
    question, types = QUESTIONS[case]
    show = Show(subagent=subagent)
    async with openai.AsyncOpenAI(base_url=f"{demo_url}/v1", api_key="k", max_retries=0) as client:
        model: Model = api("demo", client)
        stream = model.stream_response(
            None,
            question,
            ModelSettings(),
            [],
            None,
            [],
            ModelTracing.DISABLED,
            previous_response_id=None,
            conversation_id=None,
            prompt=None,
        )
        async for event in stream:
            show.feed(event)
    show.translator.end()
    check(show.events, subagent=subagent)
    if subagent is None:
        assert set(show.types) >= types
        assert messages_of(show.events) == show.shown


# ------------------------------------------------------------------------------ who is on stage
class OnStage:
    """A stage, and a root invocation to begin with."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.stage = Stage(self.events.append)
        self.root = Scope().invocation("A", "0")

    def inner(self, around: Scope, name: str, call_id: str) -> Scope:
        return around.call(call_id).invocation(name, "0")

    @property
    def told(self) -> list[tuple[str, str]]:
        return [
            (event["type"], event.get("stepName") or event.get("name") or "")
            for event in self.events
        ]


def test_a_step_lasts_until_another_agent_works() -> None:
    on = OnStage()
    for agent in ("A", "A", "B"):
        on.stage.enter(on.root, agent)
    on.stage.leave(on.root)
    assert on.told == [
        (f"STEP_{how}", agent) for agent in ("A", "B") for how in ("STARTED", "FINISHED")
    ]


def test_what_was_only_replayed_is_never_shown() -> None:
    on = OnStage()
    on.stage.leave(on.inner(on.root, "B", "c1"))
    on.stage.leave(on.root)
    assert on.events == []


def test_nested_sub_agents_are_opened_from_the_outside_and_closed_from_the_inside() -> None:
    on = OnStage()
    on.stage.enter(on.root, "A")
    outer = on.inner(on.root, "B", "c1")
    inner = on.inner(outer, "C", "c2")
    on.stage.enter(inner, "C")  # the outer one has only been replayed so far
    started = [event for event in on.events if event["type"] == "SUBAGENT_STARTED"]
    assert [event["name"] for event in started] == ["B", "C"]
    assert started[1]["parentSubagentRunId"] == started[0]["subagentRunId"]
    assert [event["parentToolCallId"] for event in started] == ["c1", "c2"]
    on.stage.leave(outer)  # the inner one was streamed, and its end was not waited for
    on.stage.leave(inner)
    on.stage.leave(on.root)
    assert on.told[-4:] == [
        ("STEP_FINISHED", "C"), ("SUBAGENT_FINISHED", ""), ("SUBAGENT_FINISHED", ""),
        ("STEP_FINISHED", "A"),
    ]  # fmt: skip
    called = {"type": "TOOL_CALL_START", "toolCallId": "c1", "toolCallName": "b"}
    ended = {"type": "TOOL_CALL_END", "toolCallId": "c1"}
    events = [event for event in on.events if event.get("stepName") != "A"]
    check([called, ended, *events])


def test_sub_agents_side_by_side_have_ids_of_their_own() -> None:
    on = OnStage()
    pair = [on.inner(on.root, "B", call_id) for call_id in ("c1", "c2")]
    for scope in pair:
        on.stage.enter(scope, "B")
    assert on.stage.subagent(pair[0]) != on.stage.subagent(pair[1])
    assert on.stage.subagent(on.root) is None
    for scope in pair:
        on.stage.leave(scope)
    assert on.told.count(("SUBAGENT_FINISHED", "")) == 2
