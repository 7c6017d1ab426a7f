"""From events to messages, as the official client's reducer makes them."""

from typing import Any

from shared.protocol.transcript import messages_of


def chunk(id_: str, delta: str, **more: Any) -> dict[str, Any]:
    event = {"type": "TEXT_MESSAGE_CHUNK", "messageId": id_, "role": "assistant", "delta": delta}
    return event | more


def call(id_: str, *deltas: str, parent: str | None = None) -> list[dict[str, Any]]:
    start = {"type": "TOOL_CALL_START", "toolCallId": id_, "toolCallName": f"tool_{id_}"}
    arguments = [{"type": "TOOL_CALL_ARGS", "toolCallId": id_, "delta": delta} for delta in deltas]
    parented = {"parentMessageId": parent} if parent else {}
    return [start | parented, *arguments, {"type": "TOOL_CALL_END", "toolCallId": id_}]


def result(id_: str, content: str) -> dict[str, Any]:
    message = f"m_{id_}"
    return {
        "type": "TOOL_CALL_RESULT",
        "messageId": message,
        "toolCallId": id_,
        "content": content,
        "role": "tool",
    }


def shown(id_: str, arguments: str) -> dict[str, Any]:
    function = {"name": f"tool_{id_}", "arguments": arguments}
    return {"id": id_, "type": "function", "function": function}


def test_chunks_of_a_message_are_one_text() -> None:
    events = [{"type": "RUN_STARTED"}, chunk("a", "Hel"), chunk("b", "X"), chunk("a", "lo")]
    assert messages_of(events) == [
        {"id": "a", "role": "assistant", "content": "Hello"},
        {"id": "b", "role": "assistant", "content": "X"},
    ]


def test_what_tells_of_a_failure_is_kept_as_one() -> None:
    failed = result("1", "No.") | {"metadata": {"baton": {"failed": True}}}
    assert messages_of([*call("1", "{}"), failed])[-1] == {
        "id": "m_1",
        "role": "tool",
        "toolCallId": "1",
        "content": "No.",
        "metadata": {"baton": {"failed": True}},
    }


def test_calls_belong_to_their_message_and_results_follow() -> None:
    events = [
        chunk("a", "I look."),
        *call("1", '{"x"', ":1}", parent="a"),
        *call("2", "{}", parent="a"),
        result("2", "two"),
        result("1", "one"),
    ]
    assert messages_of(events) == [
        {
            "id": "a",
            "role": "assistant",
            "content": "I look.",
            "toolCalls": [shown("1", '{"x":1}'), shown("2", "{}")],
        },
        {"id": "m_2", "role": "tool", "toolCallId": "2", "content": "two"},
        {"id": "m_1", "role": "tool", "toolCallId": "1", "content": "one"},
    ]


def test_a_call_without_a_message_is_a_message_of_its_own() -> None:
    assert messages_of(call("1", "{}")) == [
        {"id": "1", "role": "assistant", "toolCalls": [shown("1", "{}")]}
    ]


def test_reasoning_is_a_message_and_a_half_written_one_stays() -> None:
    events = [
        {"type": "REASONING_START", "messageId": "r"},
        {"type": "REASONING_MESSAGE_START", "messageId": "r", "role": "reasoning"},
        {"type": "REASONING_MESSAGE_CONTENT", "messageId": "r", "delta": "Hm"},
    ]
    assert messages_of(events) == [{"id": "r", "role": "reasoning", "content": "Hm"}]


def test_what_a_sub_agent_says_inside_is_left_out() -> None:
    events = [
        {"type": "TEXT_MESSAGE_START", "messageId": "s", "subagentRunId": "sub_1"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "s", "delta": "x", "subagentRunId": "sub_1"},
        {"type": "TEXT_MESSAGE_END", "messageId": "s", "subagentRunId": "sub_1"},
    ]
    assert messages_of(events) == []


def test_a_snapshot_takes_back_what_it_does_not_restate() -> None:
    kept = {"id": "a", "role": "assistant", "content": "Kept."}
    events = [
        chunk("a", "Kep"),
        chunk("b", "Withdrawn"),
        *call("1", '{"half', parent="b"),
        {"type": "MESSAGES_SNAPSHOT", "messages": [{"id": "u", "role": "user"}, kept]},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "1", "delta": "late"},
        chunk("c", "New"),
    ]
    assert messages_of(events) == [kept, {"id": "c", "role": "assistant", "content": "New"}]


def test_arguments_go_on_after_a_snapshot_that_restates_their_call() -> None:
    restated = {"id": "a", "role": "assistant", "toolCalls": [shown("1", '{"x"')]}
    events = [
        *call("1", '{"x"', parent="a"),
        {"type": "MESSAGES_SNAPSHOT", "messages": [restated]},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "1", "delta": ":1}"},
    ]
    assert messages_of(events)[0]["toolCalls"] == [shown("1", '{"x":1}')]


def test_an_activity_is_a_message_of_its_own() -> None:
    content = {"summary": "All of it.", "until": "a"}
    event = {"type": "ACTIVITY_SNAPSHOT", "messageId": "s", "activityType": "x", "content": content}
    activity = {"id": "s", "role": "activity", "activityType": "x", "content": content}
    assert messages_of([event, chunk("b", "Hi")]) == [
        activity,
        {"id": "b", "role": "assistant", "content": "Hi"},
    ]
