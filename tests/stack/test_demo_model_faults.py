"""What goes wrong on purpose goes wrong in the way it says."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from stack.demo_model.reply import Fault

_APIS = ("responses", "chat/completions")


@pytest.fixture
def http(demo_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=demo_url, headers={"authorization": "Bearer k"}) as http:
        yield http


def _body(api: str, text: str, *, stream: bool) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    key, value = ("input", text) if api == "responses" else ("messages", messages)
    return {"model": "demo", "stream": stream, key: value}


def _post(http: httpx.Client, api: str, text: str, *, stream: bool = True) -> httpx.Response:
    return http.post(f"/v1/{api}", json=_body(api, text, stream=stream))


def _received(http: httpx.Client, api: str, text: str) -> tuple[str, Exception | None]:
    """What of a streamed answer arrives, and how it breaks off."""
    text_so_far = ""
    timeout = httpx.Timeout(5, read=0.3)
    with http.stream(
        "POST", f"/v1/{api}", json=_body(api, text, stream=True), timeout=timeout
    ) as answer:
        try:
            for piece in answer.iter_text():
                text_so_far += piece
        except httpx.TransportError as error:
            return text_so_far, error
    return text_so_far, None


@pytest.mark.parametrize("api", _APIS)
@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
def test_http_faults_have_openais_shape(http: httpx.Client, api: str, status: int) -> None:
    answer = _post(http, api, f"[[fault={status}]]")
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert ("retry-after" in answer.headers) == (status == 429)


@pytest.mark.parametrize("api", _APIS)
def test_a_cut_answer_ends_after_a_few_deltas(http: httpx.Client, api: str) -> None:
    text, error = _received(http, api, "[[fault=cut]] [[deltas=9]]")
    assert isinstance(error, httpx.RemoteProtocolError)
    assert "word3" in text
    assert "word4" not in text
    with pytest.raises(httpx.RemoteProtocolError):
        _post(http, api, "[[fault=cut]]", stream=False)


@pytest.mark.parametrize("api", _APIS)
def test_a_hanging_answer_never_begins_or_never_goes_on(http: httpx.Client, api: str) -> None:
    with pytest.raises(httpx.ReadTimeout):
        _received(http, api, "[[fault=hang]]")
    text, error = _received(http, api, "[[fault=hang_mid]] [[deltas=9]]")
    assert isinstance(error, httpx.ReadTimeout)
    assert "word3" in text
    assert "word4" not in text


@pytest.mark.parametrize("api", _APIS)
def test_nonsense_is_no_json(http: httpx.Client, api: str) -> None:
    text, error = _received(http, api, "[[fault=nonsense]]")
    assert error is None
    assert "{not json" in text
    with pytest.raises(ValueError, match=r"Expecting|codec|char"):
        _post(http, api, "[[fault=nonsense]]", stream=False).json()


@pytest.mark.parametrize("api", _APIS)
@pytest.mark.parametrize("stream", [True, False])
def test_an_empty_answer_is_a_200_with_an_error_body(
    http: httpx.Client, api: str, *, stream: bool
) -> None:
    answer = _post(http, api, "[[fault=empty]]", stream=stream)
    assert (answer.status_code, list(answer.json())) == (200, ["error"])


def test_an_empty_stream_ends_without_content_or_reason(http: httpx.Client) -> None:
    responses, _ = _received(http, "responses", "hello [[fault=empty_stream]]")
    chat, _ = _received(http, "chat/completions", "hello [[fault=empty_stream]]")
    plain = _post(http, "chat/completions", "[[fault=empty_stream]]", stream=False)
    assert [_kind(line) for line in _data(responses)] == [
        "response.created",
        "response.in_progress",
    ]
    assert '"finish_reason":"' not in chat
    assert chat.count("data: ") == 2
    assert plain.json()["choices"] == []


def test_an_incomplete_answer_says_why(http: httpx.Client) -> None:
    text, _ = _received(http, "responses", "hello [[fault=incomplete]]")
    last = json.loads(_data(text)[-1])
    chat = _post(http, "chat/completions", "hi [[fault=incomplete]]", stream=False).json()
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert last["response"]["output"][0]["status"] == "incomplete"
    assert chat["choices"][0]["finish_reason"] == "length"


def test_a_failed_answer_reports_a_server_error(http: httpx.Client) -> None:
    text, _ = _received(http, "responses", "hello [[fault=failed]]")
    chat, _ = _received(http, "chat/completions", "hello [[fault=failed]]")
    assert json.loads(_data(text)[-1])["response"]["error"]["code"] == "server_error"
    assert json.loads(_data(chat)[-1])["error"]["type"] == "server_error"


def test_a_refusal_is_no_text(http: httpx.Client) -> None:
    text, _ = _received(http, "responses", "[[fault=refusal]]")
    chat = _post(http, "chat/completions", "[[fault=refusal]]", stream=False).json()
    assert "response.refusal.delta" in text
    assert "response.output_text.delta" not in text
    assert chat["choices"][0]["message"]["content"] is None
    assert "can't help" in chat["choices"][0]["message"]["refusal"]


def test_a_fault_may_pass_after_some_times(http: httpx.Client) -> None:
    text = "passing [[fault=503 times=2]]"
    statuses = [_post(http, "responses", text).status_code for _ in range(3)]
    assert statuses == [503, 503, 200]


def test_the_server_outlives_every_fault(http: httpx.Client) -> None:
    for fault in set(Fault) - {Fault.HANG, Fault.HANG_MID, Fault.CUT}:
        _post(http, "responses", f"[[fault={fault}]]")
    assert http.get("/healthz").status_code == 200


def _data(text: str) -> list[str]:
    return [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]


def _kind(line: str) -> str:
    kind: str = json.loads(line)["type"]
    return kind
