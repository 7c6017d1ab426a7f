"""What a request asks for, and every bad form of one."""

from typing import Any

import pytest

from gateway.openai.asked import MOST_MESSAGES, Asked, idempotency_key, read_request
from gateway.openai.messages import Said
from shared.errors import BatonError
from shared.protocol.codes import Code

USER = {"role": "user", "content": "Hello"}


def request(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"model": "Assistant", "messages": list(messages) or [USER], **more}


def read(body: Any, **headers: str) -> Asked:
    return read_request(body, {name.replace("_", "-"): said for name, said in headers.items()})


def test_a_plain_question() -> None:
    asked = read(request())
    assert asked.said == [Said("user", "Hello")]
    assert (asked.stream, asked.include_usage, asked.thread, asked.ignored) == (
        *(False, False, None),
        [],
    )


def test_history_is_words_and_instructions_stand_apart() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"q":1}'}}
    custom = {"id": "c2", "type": "custom", "custom": {"name": "shout", "input": "ho"}}
    asked = read(
        request(
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            },
            {"role": "assistant", "content": "Looking.", "tool_calls": [call, custom]},
            {"role": "tool", "tool_call_id": "c1", "content": "17"},
            {"role": "tool", "tool_call_id": "other", "content": [{"type": "text", "text": "x"}]},
            {"role": "assistant", "content": None, "refusal": "I will not."},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            {"role": "assistant", "content": ""},
            {"role": "assistant", "function_call": {"name": "old", "arguments": "{}"}},
            {"role": "function", "name": "old", "content": "ok"},
            {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
            {"role": "user", "content": "And now?", "name": "ada"},
        )
    )
    assert asked.instructions == ["Be brief.", "Be kind."]
    assert asked.said == [
        Said("user", "a\nb"),
        Said("assistant", 'Looking.\n[called find with {"q":1}]\n[called shout with ho]'),
        Said("user", "[find returned: 17]"),
        Said("user", "[other returned: x]"),
        Said("assistant", "I will not."),
        Said("assistant", "No."),
        Said("assistant", "[called old with {}]"),
        Said("user", "[old returned: ok]"),
        Said("user", "And now?"),
    ]


def test_in_a_durable_thread_only_what_is_new_counts() -> None:
    messages = [
        {"role": "user", "content": "old"},
        {"role": "assistant", "content": "known"},
        {"role": "user", "content": "first"},
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "second"},
    ]
    for asked in (
        read(request(*messages), baton_thread="thr_1"),
        read(request(*messages, metadata={"thread_id": "thr_1", "tenant": "x"})),
    ):
        assert asked.thread == "thr_1"
        assert asked.said == [Said("user", "first"), Said("user", "second")]
        assert asked.instructions == ["Be brief."]


def test_metadata_reaches_the_agent_without_the_thread() -> None:
    asked = read(request(metadata={"thread_id": "thr_1", "tenant": "x"}))
    assert asked.metadata == {"tenant": "x"}


def test_what_has_no_effect_is_named() -> None:
    more = {"temperature": 0, "tool_choice": "auto", "stop": None, "a\r\nset-cookie: x": 1, "ü": 2}
    assert read(request(**more)).ignored == ["temperature", "tool_choice"]
    assert len(read(request(**{f"p{number}": 1 for number in range(99)})).ignored) == 50


def test_response_formats_that_can_be_met() -> None:
    assert not read(request(response_format={"type": "text"})).wants_json
    assert read(request(response_format={"type": "json_object"})).wants_json
    schema = {"name": "city", "schema": {"type": "object"}, "strict": True}
    wanted = {"type": "json_schema", "json_schema": schema}
    assert read(request(response_format=wanted)).wants_json


def schema_of(schema: Any) -> dict[str, Any]:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    return request(response_format=wanted)


def test_a_pattern_may_be_one_of_javascript() -> None:
    patterns = [r"^\p{L}+$", r"(?<year>\d{4})", r"^(?!-)[a-z]+$"]
    schema = {"properties": {str(at): {"pattern": one} for at, one in enumerate(patterns)}}
    assert read(schema_of(schema)).wants_json


BAD: list[tuple[Any, str | None]] = [
    (None, None),
    ([], None),
    ("x", None),
    ({}, "model"),
    ({"model": "A"}, "messages"),
    ({"model": "", "messages": [USER]}, "model"),
    ({"model": 1, "messages": [USER]}, "model"),
    ({"model": "x" * 257, "messages": [USER]}, "model"),
    ({"model": "A", "messages": []}, "messages"),
    ({"model": "A", "messages": "Hello"}, "messages"),
    ({"model": "A", "messages": {"0": USER}}, "messages"),
    (request(*[USER] * (MOST_MESSAGES + 1)), "messages"),
    (request("Hello"), "messages[0]"),
    (request({}), "messages[0]"),
    (request({"role": "root", "content": "x"}), "messages[0]"),
    (request({"role": 7, "content": "x"}), "messages[0]"),
    (request(USER, {"role": "user"}), "messages[1].content"),
    (request({"role": "user", "content": None}), "messages[0].content"),
    (request({"role": "user", "content": 5}), "messages[0].content"),
    (request({"role": "user", "content": []}), "messages[0].content"),
    (request({"role": "user", "content": ["x"]}), "messages[0].content[0]"),
    (request({"role": "user", "content": [{"type": "x"}]}), "messages[0].content[0]"),
    (request({"role": "user", "content": [{"type": "text"}]}), "messages[0].content[0].text"),
    (request({"role": "user", "content": "  "}), "messages"),
    (request({"role": "assistant", "content": "x"}, {"role": "user", "content": ""}), "messages"),
    (request({"role": "system", "content": "Be brief."}), "messages"),
    (request({"role": "system", "content": 1}), "messages[0].content"),
    (request({"role": "tool", "content": "x"}), "messages[0].tool_call_id"),
    (request({"role": "assistant", "tool_calls": [{}]}), "messages[0].tool_calls[0]"),
    (request(n=2), "n"),
    (request(n=0), "n"),
    (request(n="1"), "n"),
    (request(n=1.0), "n"),
    (request(stream="yes"), "stream"),
    (request(stream=1), "stream"),
    (request(stream_options={"include_usage": True}), "stream_options"),
    (request(stream=True, stream_options=[]), "stream_options"),
    (request(response_format="json"), "response_format"),
    (request(response_format={"type": "xml"}), "response_format.type"),
    (request(response_format={"type": "json_schema"}), "response_format.json_schema"),
    (schema_of({"type": "objekt"}), "response_format.json_schema.schema"),
    (schema_of({"properties": 1}), "response_format.json_schema.schema"),
    (schema_of({"pattern": "("}), "response_format.json_schema.schema"),
    (schema_of([]), "response_format.json_schema.schema"),
    (request(metadata="x"), "metadata"),
    (request(metadata={"a": 1}), "metadata.a"),
    (request(metadata={str(number): "" for number in range(17)}), "metadata"),
    (request(metadata={"k" * 65: "v"}), "metadata"),
    (request(metadata={"k": "v" * 513}), "metadata"),
]


@pytest.mark.parametrize(("body", "param"), BAD, ids=lambda value: repr(value)[:60])
def test_bad_requests_name_the_place(body: Any, param: str | None) -> None:
    with pytest.raises(BatonError) as caught:
        read(body)
    assert caught.value.code is Code.BAD_INPUT
    assert caught.value.details["param"] == param
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    ("kind", "given", "code"),
    [
        ("input_audio", {}, Code.NOT_SUPPORTED),
        ("image_url", {"url": "http://x"}, Code.URL_REFUSED),
        ("image_url", {"url": "data:image/png;base64,?"}, Code.BAD_INPUT),
        ("file", {"file_id": "file-x"}, Code.NOT_FOUND),
        ("file", {"file_id": "file_x", "file_data": "AAAA"}, Code.BAD_INPUT),
        ("file", {"filename": "x"}, Code.BAD_INPUT),
    ],
)
def test_parts_that_cannot_be_read_are_refused_in_words(kind: str, given: Any, code: Code) -> None:
    parts = [{"type": "text", "text": "See:"}, {"type": kind, kind: given}]
    with pytest.raises(BatonError) as caught:
        read(request({"role": "user", "content": parts}))
    assert caught.value.code is code
    assert caught.value.details["param"] == "messages[0].content[1]"


def test_pictures_and_files_keep_their_place_among_the_text() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
        {"type": "text", "text": "and"},
        {"type": "file", "file": {"file_data": "AAAA", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_id": f"file_{'0' * 32}"}},
    ]
    (said,) = read(request({"role": "user", "content": parts})).said
    assert said.text == "and"
    assert [part.type for part in said.parts] == ["image", "text", "document", "document"]


def test_two_threads_at_once_are_refused() -> None:
    with pytest.raises(BatonError) as caught:
        read(request(metadata={"thread_id": "thr_1"}), baton_thread="thr_2")
    assert caught.value.details["param"] == "metadata"


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_idempotency_keys_have_a_length(key: str) -> None:
    with pytest.raises(BatonError):
        idempotency_key({"idempotency-key": key})
    assert idempotency_key({}) is None


@pytest.mark.parametrize(
    ("given", "most", "stop"),
    [
        ({}, None, ()),
        ({"max_tokens": 5}, 5, ()),
        ({"max_completion_tokens": 9}, 9, ()),
        ({"max_tokens": 5, "max_completion_tokens": 9}, 5, ()),
        ({"max_tokens": None, "stop": None}, None, ()),
        ({"stop": "END"}, None, ("END",)),
        ({"stop": ["a", "b", "c", "\n"]}, None, ("a", "b", "c", "\n")),
        ({"stop": []}, None, ()),
    ],
)
def test_limits_of_an_answer(
    given: dict[str, Any], most: int | None, stop: tuple[str, ...]
) -> None:
    asked = read(request(**given))
    assert (asked.most_tokens, asked.stop, asked.ignored) == (most, stop, [])


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 2**31}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"stop": ""}, "stop"),
        ({"stop": 7}, "stop"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": ["a", ""]}, "stop[1]"),
        ({"stop": ["a", 7]}, "stop[1]"),
        ({"stop": "x" * 1001}, "stop"),
    ],
)
def test_limits_that_are_none(given: dict[str, Any], param: str) -> None:
    with pytest.raises(BatonError) as raised:
        read(request(**given))
    assert raised.value.code is Code.BAD_INPUT
    assert raised.value.details["param"] == param
