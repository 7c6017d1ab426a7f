"""Streams of runs that a test carries by hand: take-overs, losses, and the end of a gateway."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.requests import ClientDisconnect

from gateway.agui import door
from gateway.inbox import Inbox, Taken
from gateway.openai import serving
from gateway.relay import relay
from tests.gateway.openai.carried import FINISHED, CarriedRun, says
from tests.gateway.rig import Rig, wait_until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

CHAT = "/v1/chat/completions"
RESUMED = {"type": "CUSTOM", "name": "baton.resumed", "value": {}}
SNAPSHOT: dict[str, Any] = {"type": "MESSAGES_SNAPSHOT", "messages": []}


def body(*, stream: bool = True) -> dict[str, Any]:
    said = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Brought along."},
        {"role": "user", "content": "Go on"},
    ]
    return {"model": "Assistant", "messages": said, "stream": stream}


@asynccontextmanager
async def asked(
    rig: Rig, ada: httpx.AsyncClient, **given: Any
) -> AsyncIterator[tuple[CarriedRun, "asyncio.Task[httpx.Response]"]]:
    """A request under way, and its run, which has begun."""
    await rig.announce("Assistant")
    answering = asyncio.create_task(ada.post(CHAT, **({"json": body()} | given)))
    try:
        yield await CarriedRun.claimed(rig), answering
        await asyncio.wait({answering})
    finally:
        answering.cancel()


def events_of(answer: httpx.Response) -> list[Any]:
    lines = answer.text.removesuffix("\n\n").split("\n\n")
    return [one if one == "data: [DONE]" else json.loads(one[6:]) for one in lines]


def text_of(events: list[Any]) -> str:
    return "".join(
        one["choices"][0]["delta"].get("content", "") for one in events if "choices" in one
    )


async def test_after_a_take_over_what_repeats_is_not_sent_twice(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    async with asked(rig, ada) as (run, answering):
        await run.told(says("one "), says("two"))
        await run.take(RESUMED)
        await run.say(SNAPSHOT, says("one two", "m2"), says(" three", "m2"), FINISHED)
    *events, done = events_of(await answering)
    assert done == "data: [DONE]"
    assert text_of(events) == "one two three"


async def test_another_text_after_a_take_over_ends_the_stream(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    headers = {"Idempotency-Key": "k"}
    async with asked(rig, ada, headers=headers) as (run, answering):
        await run.told(says("one "), says("two"))
        await run.take(RESUMED)
        await run.say(SNAPSHOT, says("one or", "m2"))
        answer = await answering
        *events, last = events_of(answer)
        assert text_of(events) == "one two"
        assert last["error"]["code"] == "answer_restarted"
        assert "[DONE]" not in answer.text
        await run.end("finished", {"id": "m2", "role": "assistant", "content": "one or other"})
    again = events_of(await ada.post(CHAT, json=body(), headers=headers))
    assert text_of(again[:-1]) == "one or other"


async def test_in_one_piece_a_take_over_is_not_seen(rig: Rig, ada: httpx.AsyncClient) -> None:
    async with asked(rig, ada, json=body(stream=False)) as (run, answering):
        await run.told(says("one two"))
        await run.take(RESUMED)
        await run.say(SNAPSHOT, says("other", "m2"), FINISHED)
    answer = (await answering).json()
    assert answer["choices"][0]["message"]["content"] == "other"


async def test_where_redis_loses_a_text_half_sent_sql_has_the_rest(
    rig: Rig, ada: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row in SQL joins what was sent with what was not."""
    monkeypatch.setattr(relay, "LOOK_EVERY_S", 0.02)
    async with asked(rig, ada) as (run, answering):
        await run.told(says("one "))
        await run.only_store(says("two"), FINISHED)
    *events, done = events_of(await answering)
    assert done == "data: [DONE]"
    assert text_of(events) == "one two"


async def test_what_retention_deletes_meanwhile_is_told_from_the_messages(
    rig: Rig, ada: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "LOOK_EVERY_S", 0.02)
    async with asked(rig, ada) as (run, answering):
        await run.told(says("one "))
        await run.end("finished", {"id": "m1", "role": "assistant", "content": "one two"})
        await rig.sql(
            "INSERT INTO heads (thread_id, fence, seq, hash, rows) VALUES (:thread, 1, 9, '', 1)",
            thread=run.thread,
        )
        await run.only_store(FINISHED)
    assert text_of(events_of(await answering)[:-1]) == "one two"


@pytest.mark.parametrize(("status", "code"), [("cancelled", "cancelled"), ("failed", "max_turns")])
async def test_how_a_run_ended_is_told_again(
    rig: Rig, ada: httpx.AsyncClient, status: str, code: str
) -> None:
    headers = {"Idempotency-Key": "k"}
    async with asked(rig, ada, headers=headers) as (run, answering):
        answering.cancel()
        await rig.sql("UPDATE runs SET error_code = 'max_turns' WHERE id = :run", run=run.run)
        await run.end(status)
    for stream in (True, False):
        answer = await ada.post(CHAT, json=body(stream=stream), headers=headers)
        assert answer.json()["error"]["code"] == code
        assert answer.headers.get("x-should-retry", "false") == "false"
        assert answer.headers["baton-run"] == await rig.value("SELECT public_id FROM runs")
        assert answer.headers["baton-thread"] == await rig.value("SELECT public_id FROM threads")


@pytest.mark.parametrize("stream", [True, False])
async def test_who_leaves_stops_nothing_and_is_followed_no_more(
    rig: Rig, ada: httpx.AsyncClient, stream: bool
) -> None:
    async with asked(rig, ada, json=body(stream=stream)) as (run, answering):
        await run.told(says("one "))
        answering.cancel()
    feeds = rig.app.state.sockets.relay._feeds
    await wait_until(lambda: not feeds)
    assert await rig.value("SELECT status FROM runs") == "running"
    assert await rig.value("SELECT cancel_requested_at FROM runs") is None


@pytest.mark.parametrize("path", [CHAT, "/v1/responses", "/agui/Assistant"])
async def test_who_leaves_before_the_first_event_is_noticed_at_once(
    rig: Rig, ada: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    for module in (serving, door):
        monkeypatch.setattr(module, "KEEP_ALIVE_S", 3600.0)
    await rig.announce("Assistant")
    said = {"id": "m1", "role": "user", "content": "Hello"}
    given = {"model": "Assistant", "messages": [said], "input": "Hello", "stream": True}
    arrived, left = asyncio.Event(), asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not arrived.is_set():
            arrived.set()
            return {"type": "http.request", "body": json.dumps(given).encode()}
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError(f"nobody reads {message}")

    asked = ada.build_request("POST", path, headers={"content-type": "application/json"})
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "scheme": "http",
        "raw_path": path.encode(),
        "root_path": "",
        "http_version": "1.1",
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 8000),
        "headers": [(name.lower(), value) for name, value in asked.headers.raw],
    }
    serving_it = asyncio.create_task(rig.app(scope, receive, send))
    feeds = rig.app.state.sockets.relay._feeds
    await wait_until(lambda: feeds or serving_it.done())
    left.set()
    async with asyncio.timeout(60):
        await serving_it
    await wait_until(lambda: not feeds)
    assert await rig.value("SELECT status FROM runs") == "queued"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("key", [None, "k"])
async def test_a_gateway_that_stops_says_so_before_the_first_byte(
    rig: Rig, ada: httpx.AsyncClient, key: str | None, stream: bool
) -> None:
    headers = {"Idempotency-Key": key} if key else {}
    async with asked(rig, ada, json=body(stream=stream), headers=headers) as (_, answering):
        rig.app.state.followers.end_all()
        answer = await answering
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "unavailable"
    assert answer.headers["retry-after"]
    # Without a key, asking again would begin another run.
    assert answer.headers.get("x-should-retry") == (None if key else "false")


async def test_a_gateway_that_stops_ends_a_stream_in_mid_text_with_an_error(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    async with asked(rig, ada) as (run, answering):
        await run.told(says("one "))
        rig.app.state.followers.end_all()
        *events, last = events_of(await answering)
    assert text_of(events) == "one "
    assert last["error"]["code"] == "unavailable"


async def test_a_silent_stream_says_that_it_lives(
    rig: Rig, ada: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    silences: list[float] = []
    take = Inbox.take

    async def impatient(self: Inbox, within_s: float) -> Taken | None:
        taken = await take(self, 0.001)
        if taken is None:
            silences.append(within_s)
        return taken

    monkeypatch.setattr(Inbox, "take", impatient)
    async with asked(rig, ada) as (run, answering):
        await wait_until(lambda: len(silences) >= 2)
        await run.say(says("one"), FINISHED)
        answer = await answering
    first, second, *_ = answer.text.split("\n\n")
    assert json.loads(first[6:])["choices"][0]["delta"]["role"] == "assistant"
    assert second == ": keep-alive"
    assert set(silences) == {serving.KEEP_ALIVE_S}


async def test_a_client_that_never_reads_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "STUCK_S", 0.01)
    closed: list[bool] = []

    async def lines() -> AsyncIterator[bytes]:
        try:
            yield b"data: {}\n\n"
        finally:
            closed.append(True)

    async def never() -> Any:
        await asyncio.Event().wait()

    async def takes_the_head(message: Any) -> None:
        if message["type"] == "http.response.body":
            await never()

    scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
    with pytest.raises(ClientDisconnect):
        await serving.EventStream(lines())(scope, never, takes_the_head)
    assert closed == [True]
