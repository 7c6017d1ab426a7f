"""The heartbeat: what it says of the runs, and by whose right."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import web

from runner.carrying import Carrying
from runner.heartbeat import HeartbeatThread
from runner.models.gate import Gates
from runner.record import RunToken
from runner.worker import Worker
from shared.protocol.record import (
    RUN_TOKEN_LIFE_S,
    RUNNER_PROOF,
    Carried,
    Heartbeat,
    HeartbeatAnswer,
)
from shared.settings import RunnerSettings
from shared.settings.models import ModelsConfig, Provider
from stack.program import free_port


def worker_with(*tokens: RunToken) -> tuple[Worker, list[UUID]]:
    """A worker that carries a run for each token, and connects to nothing."""
    settings = RunnerSettings.model_validate(
        {"redis_url": "redis://127.0.0.1:1", "runner_key": "k" * 32}
    )
    nothing: Any = None
    carrying = Carrying(
        settings,
        redis=nothing,
        record=nothing,
        catalog=nothing,
        exporter=nothing,
        configs=nothing,
        gates=Gates(ModelsConfig(providers={"default": Provider()})),
    )
    worker = Worker(
        "r1",
        settings,
        redis=nothing,
        blocking=nothing,
        record=nothing,
        carrying=carrying,
        isolation=nothing,
    )
    ids = [uuid4() for _ in tokens]
    for id_, token in zip(ids, tokens, strict=True):
        run: Any = SimpleNamespace(
            claimed=SimpleNamespace(run=id_, fence=7), committer=SimpleNamespace(token=token)
        )
        carrying._runs[id_] = run
    return worker, ids


def test_a_heartbeat_brings_the_tokens_that_have_lived_for_half_their_lives() -> None:
    """By the clock that never jumps: what the wall clocks say counts for nothing."""
    now = time.monotonic()
    fresh = RunToken("fresh", 1, since=now)
    old = RunToken("old", int(time.time()) + 9999, since=now - RUN_TOKEN_LIFE_S / 2 - 5)
    refused = RunToken("refused", int(time.time()) + 9999, since=now)
    refused.refused()
    worker, ids = worker_with(fresh, old, refused)
    beat = worker.carrying.beat()
    assert beat.runs[0] == Carried(ids[0], 7, fresh.expires)
    assert [one.run for one in beat.runs] == ids
    assert beat.tokens == {ids[1]: "old", ids[2]: "refused"}


def test_a_renewed_token_takes_the_place_of_the_old_one_wherever_it_is_used() -> None:
    token = RunToken("old", 1, since=0)
    worker, (run,) = worker_with(token)
    before = time.monotonic()
    worker.heard(HeartbeatAnswer(lease_s=4, tokens={run: ("new", 99), uuid4(): ("other", 1)}))
    assert (token.value, token.expires, token.due) == ("new", 99, False)
    assert token.since >= before


@asynccontextmanager
async def toolsvc_saying(
    got: "asyncio.Queue[tuple[str, str | None, Heartbeat]]",
) -> AsyncIterator[str]:
    """A toolsvc that renews; its URL."""

    async def answer(request: web.Request) -> web.StreamResponse:
        beat = Heartbeat.model_validate_json(await request.read())
        got.put_nowait((request.path, request.headers.get(RUNNER_PROOF), beat))
        return web.Response(body=HeartbeatAnswer(lease_s=4).model_dump_json())

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    toolsvc = web.AppRunner(app)
    await toolsvc.setup()
    port = free_port()
    await web.TCPSite(toolsvc, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await toolsvc.cleanup()


@asynccontextmanager
async def beating(said: Heartbeat, *urls: str) -> AsyncIterator[HeartbeatThread]:
    heartbeat = HeartbeatThread(
        "r1", urls, "key", secret="its own", beat=lambda: said, heard=lambda _: None
    )
    heartbeat.start()
    try:
        yield heartbeat
    finally:
        await asyncio.to_thread(heartbeat.stop)


@pytest.mark.asyncio
async def test_every_heartbeat_shows_the_runners_own_secret() -> None:
    got: asyncio.Queue[tuple[str, str | None, Heartbeat]] = asyncio.Queue()
    said = Heartbeat(slots=3, tokens={uuid4(): "t"})
    async with toolsvc_saying(got) as url, beating(said, url) as heartbeat:
        assert await got.get() == ("/runners/r1/heartbeat", "its own", said)
        await heartbeat.leased.wait()


@pytest.mark.asyncio
async def test_where_one_instance_is_away_the_next_is_asked_before_any_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runner.heartbeat.EVERY_S", 3600)
    away = f"http://127.0.0.1:{free_port()}"
    async with toolsvc_saying(asyncio.Queue()) as url, beating(Heartbeat(), away, url) as heartbeat:
        await heartbeat.leased.wait()
