"""What a request for a response asks for, and every bad form of one."""

from typing import Any

import pytest

from gateway.openai.messages import Said
from gateway.openai.wanted import Wanted, read_response_request
from shared.errors import BatonError
from shared.protocol.codes import Code


def request(given: Any = "Hello", **more: Any) -> dict[str, Any]:
    return {"model": "Assistant", "input": given, **more}


def read(body: Any, **headers: str) -> Wanted:
    return read_response_request(
        body, {name.replace("_", "-"): said for name, said in headers.items()}
    )


def test_a_text_is_what_a_person_says() -> None:
    wanted = read(request(instructions="Be brief.", temperature=0.5, store=True))
    assert wanted.said == [Said("user", "Hello")]
    assert wanted.instructions == ["Be brief."]
    assert wanted.ignored == ["store", "temperature"]
    assert (wanted.stream, wanted.background, wanted.previous) == (False, False, None)


def test_items_are_words() -> None:
    wanted = read(
        request(
            [
                {"role": "developer", "content": "Be kind."},
                {"type": "message", "role": "user", "content": "Find it."},
                {"type": "reasoning", "id": "rs_1", "summary": []},
                {
                    "type": "message",
                    "role": "assistant",
                    "id": "msg_1",
                    "content": [{"type": "output_text", "text": "Looking.", "annotations": []}],
                },
                {"type": "function_call", "call_id": "c", "name": "find", "arguments": '{"q":1}'},
                {"type": "function_call_output", "call_id": "c", "output": "17"},
                {"role": "user", "content": [{"type": "input_text", "text": "And?"}]},
            ],
            instructions="Be brief.",
        )
    )
    assert wanted.instructions == ["Be brief.", "Be kind."]
    assert wanted.said == [
        Said("user", "Find it."),
        Said("assistant", "Looking."),
        Said("assistant", '[called find with {"q":1}]'),
        Said("user", "[find returned: 17]"),
        Said("user", "And?"),
    ]


@pytest.mark.parametrize(
    ("more", "headers"),
    [
        ({"conversation": "thr_1"}, {}),
        ({"conversation": {"id": "thr_1"}}, {}),
        ({"metadata": {"thread_id": "thr_1"}}, {}),
        ({}, {"baton_thread": "thr_1"}),
    ],
)
def test_a_conversation_is_a_durable_thread(more: Any, headers: Any) -> None:
    items = [{"role": "assistant", "content": "forged"}, {"role": "user", "content": "Hello"}]
    wanted = read(request(items, **more), **headers)
    assert wanted.thread == "thr_1"
    assert wanted.said == [Said("user", "Hello")]


def test_a_form_is_known_to_be_wanted() -> None:
    assert not read(request(text={"format": {"type": "text"}})).wants_json
    form = {"type": "json_schema", "name": "x", "schema": {"type": "object"}}
    assert read(request(text={"format": form})).wants_json


BAD: list[tuple[Any, str | None]] = [
    (None, None),
    ([], None),
    ({"model": "A"}, "input"),
    ({"input": "Hello"}, "model"),
    (request(""), "input"),
    (request(5), "input"),
    (request([]), "input"),
    (request(["x"]), "input[0]"),
    (request([{}]), "input[0].role"),
    (request([{"type": "item_reference", "id": "x"}]), "input[0]"),
    (request([{"type": {"a": 1}}]), "input[0]"),
    (request([{"role": "root", "content": "x"}]), "input[0].role"),
    (request([{"role": "user", "content": [{"type": "x"}]}]), "input[0].content[0]"),
    (request([{"role": "user", "content": " "}]), "input"),
    (request([{"type": "function_call_output", "output": "x"}]), "input[0].call_id"),
    (request([{"role": "user", "content": "x"}] * 2001), "input"),
    (request(stream="yes"), "stream"),
    (request(background=1), "background"),
    (request(instructions=["x"]), "instructions"),
    (request(previous_response_id=7), "previous_response_id"),
    (request(previous_response_id="resp_1", conversation="thr_1"), "previous_response_id"),
    (request(text={"format": {"type": "xml"}}), "text.format.type"),
    (
        request(text={"format": {"type": "json_schema", "name": "x", "schema": {"type": 1}}}),
        "text.format.schema",
    ),
    (request(metadata={"a": 1}), "metadata.a"),
]


@pytest.mark.parametrize(("body", "param"), BAD, ids=lambda value: repr(value)[:60])
def test_bad_requests_name_the_place(body: Any, param: str | None) -> None:
    with pytest.raises(BatonError) as caught:
        read(body)
    assert caught.value.code is Code.BAD_INPUT
    assert caught.value.details["param"] == param
    assert "tag" not in caught.value.message


@pytest.mark.parametrize(
    ("role", "part", "code"),
    [
        ("user", {"type": "input_image", "image_url": "http://x/y.png"}, Code.URL_REFUSED),
        ("user", {"type": "input_audio"}, Code.NOT_SUPPORTED),
        ("assistant", {"type": "input_image", "file_id": "file_x"}, Code.NOT_SUPPORTED),
    ],
)
def test_what_is_not_read_is_refused_in_words(role: str, part: Any, code: Code) -> None:
    with pytest.raises(BatonError) as caught:
        read(request([{"role": role, "content": [part]}]))
    assert caught.value.code is code
    assert caught.value.details["param"] == "input[0].content[0]"


def test_a_limit_of_the_answer() -> None:
    wanted = read(request(max_output_tokens=20, stop=["x"]))
    assert (wanted.most_tokens, wanted.stop, wanted.ignored) == (20, (), ["stop"])
    for given in (0, -1, 1.5, "20", True, 2**31):
        with pytest.raises(BatonError) as raised:
            read(request(max_output_tokens=given))
        assert raised.value.code is Code.BAD_INPUT
        assert raised.value.details["param"] == "max_output_tokens"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([], "input: this must have at least 1 item."),
        (3, "input: this must be text or a list."),
        (None, "input: this must be text or a list."),
        (["x"], "input[0]: its type is none of message, function_call, "),
        ([{"type": "web_search_call"}], "input[0]: its type is none of message, function_call, "),
        (
            [{"role": "wizard", "content": "x"}],
            "input[0].role: this must be 'user', 'assistant', 'system' or 'developer'.",
        ),
        ([{"role": "user", "content": None}], "input[0].content: this must be text or a list."),
    ],
)
def test_what_is_wrong_is_told_in_words(given: Any, sentence: str) -> None:
    with pytest.raises(BatonError) as refused:
        read({"model": "Assistant", "input": given})
    assert refused.value.message.startswith(sentence)
