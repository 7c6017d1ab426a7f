"""What the model is told of the past."""

from typing import Any

from runner.conversation import as_input


def asked(*ids: str, text: str | None = None) -> dict[str, Any]:
    calls = [
        {"id": id_, "type": "function", "function": {"name": f"t_{id_}", "arguments": ""}}
        for id_ in ids
    ]
    said = {"content": text} if text else {}
    return {"id": "a", "role": "assistant", "toolCalls": calls} | said


def answer(id_: str, content: Any = "done") -> dict[str, Any]:
    return {"id": f"m_{id_}", "role": "tool", "toolCallId": id_, "content": content}


def call_item(id_: str) -> dict[str, Any]:
    return {"type": "function_call", "call_id": id_, "name": f"t_{id_}", "arguments": "{}"}


def output_item(id_: str, output: str = "done") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": id_, "output": output}


def test_each_role_has_its_item_and_reasoning_none() -> None:
    messages: list[dict[str, Any]] = [
        {"id": "0", "role": "system", "content": "Be brief."},
        {"id": "1", "role": "user", "content": "Hello"},
        {"id": "2", "role": "reasoning", "content": "Hm"},
        {"id": "3", "role": "assistant", "content": "Hi"},
        {"id": "4", "role": "activity", "content": {}},
    ]
    assert as_input(messages) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
    ]


def test_text_goes_before_calls_and_results_keep_their_order() -> None:
    messages = [asked("1", "2", text="I look."), answer("2"), answer("1", "first")]
    assert as_input(messages) == [
        {"role": "assistant", "content": "I look."},
        call_item("1"),
        call_item("2"),
        output_item("2"),
        output_item("1", "first"),
    ]


def test_a_call_without_result_and_a_result_without_call_are_left_out() -> None:
    messages = [answer("lost"), asked("1", "2"), answer("2")]
    assert as_input(messages) == [call_item("2"), output_item("2")]


def test_the_text_of_parts_is_given() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image", "source": {}}, {"type": "text"}]
    messages = [
        {"id": "1", "role": "user", "content": parts},
        asked("1"),
        answer("1", [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]),
    ]
    assert as_input(messages) == [
        {"role": "user", "content": "a\n"},
        call_item("1"),
        output_item("1", "x\ny"),
    ]
