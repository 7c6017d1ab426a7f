"""The lean way through a stream comes to what the stock way comes to, however the bytes are cut.

Whole calls are compared, over openai's own client and over ours: what people are shown, what is
recorded, and how a call fails. What is sent are recordings (`tests/fixtures/model_streams`, the
demo model's answers) with other line ends, comments in between, and cut off in the middle.
"""

import asyncio
import contextvars
import random
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import httpx2
import orjson
import pytest
from agents import Model, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel
from agents.models.interface import ModelTracing
from openai import AsyncOpenAI

from runner.carried import CARRIED
from runner.models.client import LeanClient
from runner.models.errors import described
from runner.models.journaled import JournaledModel
from runner.scope import SCOPE
from shared.protocol.record import Commit, CommitAnswer
from stack.demo_model.app import DemoModel
from tests.runner.doubles import carried

pytestmark = pytest.mark.asyncio

FOLDER = Path(__file__).parent.parent / "fixtures" / "model_streams"
RECORDINGS = sorted(path.name for path in FOLDER.iterdir())
TOOL = {"name": "look", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}
ASKED = (
    "hello [[deltas=30]]",
    "research the history of tea",
    '[[tool=look {"a": 1}]] [[tool=look {"a": 22222222}]] [[repeat_call_ids]]',
    "[[fault=empty]]",
    "[[fault=empty_stream]]",
    "[[fault=nonsense]]",
    "[[fault=rate_limit]]",
)


@dataclass(frozen=True)
class Recording:
    """What a server answers."""

    api: str
    status: int
    kind: str
    body: bytes
    cut: bool = False

    def with_body(self, body: bytes, *, cut: bool = False) -> "Recording":
        return Recording(self.api, self.status, self.kind, body, cut)


class Server(httpx2.AsyncBaseTransport, httpx2.AsyncByteStream):
    """Answers with the recording, in pieces."""

    def __init__(self, recording: Recording, pieces: list[bytes]) -> None:
        self.recording, self.pieces = recording, pieces
        self.closed = asyncio.Event()
        self.requests: list[bytes] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request.content)
        headers = {"content-type": self.recording.kind, "retry-after": "7", "x-request-id": "req"}
        return httpx2.Response(self.recording.status, headers=headers, stream=self)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece
        if self.recording.cut:
            raise httpx2.ReadError("cut off")

    async def aclose(self) -> None:
        self.closed.set()


class Toolsvc:
    def __init__(self) -> None:
        self.commits: list[Commit] = []

    async def commit(self, _run: Any, _token: str, commit: Commit) -> CommitAnswer:
        self.commits.append(commit)
        return CommitAnswer()


@dataclass(frozen=True)
class Outcome:
    """All that a call leaves behind."""

    rows: list[tuple[int, int, str, str]]
    record: Any
    error: Any
    request: bytes


def asked_of(kind: type[AsyncOpenAI], api: str, server: Server) -> JournaledModel:
    client = kind(
        api_key="none",
        base_url="http://model.test/v1",
        max_retries=0,
        http_client=httpx2.AsyncClient(transport=server),
    )
    models: dict[str, Callable[..., Model]] = {
        "responses": OpenAIResponsesModel,
        "chat": OpenAIChatCompletionsModel,
    }
    return JournaledModel(models[api](model="m", openai_client=client), "m", timeout_s=60)


def calling(model: JournaledModel, toolsvc: Any) -> tuple[Any, Any]:
    """A call under way in a run of its own: the run, and what is to be awaited."""
    run = carried(toolsvc)
    CARRIED.set(run)
    SCOPE.set(run.root.invocation("A", "digest"))
    settings = ModelSettings(include_usage=True)
    call = model.stream_response(
        *("Answer.", "hello", settings, [], None, [], ModelTracing.DISABLED),
        previous_response_id=None,
        conversation_id=None,
        prompt=None,
    )
    return run, anext(aiter(call))


async def outcome(kind: type[AsyncOpenAI], recording: Recording, pieces: list[bytes]) -> Outcome:
    """Of one call, in a context of its own."""

    async def call() -> Outcome:
        server, toolsvc = Server(recording, pieces), Toolsvc()
        run, answer = calling(asked_of(kind, recording.api, server), toolsvc)
        error = None
        try:
            await answer
        except Exception as raised:  # noqa: BLE001 - whatever it is, it must be the same
            error = type(raised).__name__, described(raised), getattr(raised, "body", None)
        assert server.closed.is_set()
        # The stock path of Chat Completions does not know why a server ended its answer.
        rows = [row for commit in toolsvc.commits for row in commit.rows if not _says_why(row.data)]
        rows += run.outbox.uncommitted(ending=True) if error else []
        record = [orjson.loads(s.record) for commit in toolsvc.commits for s in commit.steps]
        for one in record:
            one["response"].pop("created_at", None)
            for message in one["shown"]:
                about = message.get("metadata", {}).get("baton", {})
                if about.pop("incomplete", None) and not about:
                    del message["metadata"]
        return Outcome(
            [(row.seq, row.seq_to, row.type, row.data) for row in rows],
            record,
            error,
            b"".join(server.requests),
        )

    task = asyncio.create_task(call(), context=contextvars.Context())
    return named_alike(await task)


def _says_why(data: str) -> bool:
    event = orjson.loads(data)
    return event["type"] == "TEXT_MESSAGE_CHUNK" and "delta" not in event


def named_alike(found: Outcome) -> Outcome:
    """Our ids are random: they are numbered as they come."""
    names: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        return names.setdefault(match[0], f"id-{len(names)}")

    plain = orjson.dumps([found.rows, found.record]).decode()
    rows, record = orjson.loads(re.sub(r"(msg|rsn|call)_[0-9a-f-]{20,}", number, plain))
    return Outcome(rows, record, found.error, found.request)


def cut_up(body: bytes, seed: int) -> list[bytes]:
    """The body whole (0), by bytes (1), or in random pieces."""
    if seed < 2:
        return [body] if seed == 0 else [body[n : n + 1] for n in range(len(body))]
    chance, pieces, at = random.Random(seed), [], 0
    while at < len(body):
        size = chance.choice((1, 2, 7, 40, 300))
        pieces.append(body[at : at + size])
        at += size
    return pieces


def variants(recording: Recording) -> Iterator[tuple[str, Recording]]:
    body = recording.body
    commented = body.replace(b"\n\n", b"\n\n: still there\n\n:\n")
    yield "as it is", recording
    yield "CRLF", recording.with_body(body.replace(b"\n", b"\r\n"))
    yield "CR", recording.with_body(body.replace(b"\n", b"\r"))
    yield "BOM", recording.with_body("\ufeff".encode() + body)
    yield "comments", recording.with_body(commented)
    yield "cut off", recording.with_body(body[: len(body) * 2 // 3], cut=True)
    yield "over too soon", recording.with_body(body[: len(body) // 2])
    yield "no UTF-8", recording.with_body(body.replace(b"\n\ndata: ", b"\n\n: \xff\ndata: "))


async def compare(recording: Recording) -> None:
    for what, variant in variants(recording):
        expected = await outcome(AsyncOpenAI, variant, [variant.body])
        seeds = (0, 1, 2, 3, 4) if what in ("as it is", "CRLF") else (2,)
        for seed in seeds:
            found = await outcome(LeanClient, variant, cut_up(variant.body, seed))
            assert found == expected, (what, seed)


@pytest.mark.parametrize("name", RECORDINGS)
async def test_a_recorded_stream_comes_to_the_same(name: str) -> None:
    _, *status, api, end = name.split(".")
    kind = "text/event-stream" if end == "sse" else "application/json"
    body = (FOLDER / name).read_bytes()
    await compare(Recording(api, int(status[0]) if status else 200, kind, body))


@pytest.mark.parametrize("api", ["responses", "chat"])
@pytest.mark.parametrize("text", ASKED)
async def test_an_answer_of_the_demo_model_comes_to_the_same(text: str, api: str) -> None:
    transport = httpx.ASGITransport(DemoModel())
    asked: dict[str, Any] = {"model": "demo", "stream": True}
    if api == "responses":
        path, asked["input"], asked["tools"] = "responses", text, [{"type": "function", **TOOL}]
    else:
        path, asked["messages"] = "chat/completions", [{"role": "user", "content": text}]
        asked["tools"] = [{"type": "function", "function": TOOL}]
        asked["stream_options"] = {"include_usage": True}
    headers = {"authorization": "Bearer none"}
    async with httpx.AsyncClient(transport=transport, headers=headers) as http:
        answer = await http.post(f"http://demo/v1/{path}", json=asked)
    await compare(
        Recording(api, answer.status_code, answer.headers["content-type"], answer.content)
    )


def long_answer(api: str, deltas: int, size: int) -> Recording:
    text = "x" * size
    if api == "chat":
        choice: dict[str, Any] = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        plain: list[Any] = [{"id": "c", "choices": [choice]}] * deltas
        end: Any = {"index": 0, "delta": {}, "finish_reason": "stop"}
        events = [*plain, {"id": "c", "choices": [end]}]
    else:
        delta = {"type": "response.output_text.delta", "output_index": 0, "delta": text}
        part = {"type": "output_text", "text": text * deltas, "annotations": []}
        message = {"type": "message", "id": "m", "role": "assistant", "content": [part]}
        end = {"type": "response.completed", "response": {"id": "r", "output": [message]}}
        events = [*[delta] * deltas, end]
    body = b"".join(b"data: %b\n\n" % orjson.dumps(event) for event in events)
    return Recording(api, 200, "text/event-stream", body)


@pytest.mark.parametrize("api", ["responses", "chat"])
async def test_huge_deltas_come_to_the_same(api: str) -> None:
    recording = long_answer(api, 3, 300_000)
    expected = await outcome(AsyncOpenAI, recording, [recording.body])
    size = 16_384
    pieces = [recording.body[at : at + size] for at in range(0, len(recording.body), size)]
    assert await outcome(LeanClient, recording, pieces) == expected


@pytest.mark.parametrize("api", ["responses", "chat"])
async def test_the_deltas_of_a_long_answer_do_not_become_objects(
    api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[object] = []
    build = LeanClient._process_response_data

    def count(self: LeanClient, *, data: object, cast_to: Any, response: Any) -> Any:
        built.append(data)
        return build(self, data=data, cast_to=cast_to, response=response)

    monkeypatch.setattr(LeanClient, "_process_response_data", count)
    recording = long_answer(api, 500, 4)
    await outcome(LeanClient, recording, cut_up(recording.body, 2))
    assert 0 < len(built) <= 3


@pytest.mark.parametrize("api", ["responses", "chat"])
async def test_a_cancel_in_mid_answer_closes_the_connection(api: str) -> None:
    recording = long_answer(api, 5, 4)

    class Hanging(Server):
        said = asyncio.Event()

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield recording.body[: len(recording.body) // 2]
            self.said.set()
            await asyncio.Event().wait()

    server = Hanging(recording, [])
    run, answer = calling(asked_of(LeanClient, api, server), Toolsvc())
    task = asyncio.ensure_future(answer)
    await server.said.wait()
    assert run.outbox.uncommitted(ending=True)[-1].type == "TEXT_MESSAGE_CHUNK"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await server.closed.wait()  # the SDK closes it behind a cancelled call
