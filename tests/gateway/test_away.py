"""A store is away: every request answers within 3 s, and all is well soon after."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import psycopg
import pytest
import pytest_asyncio

from gateway.accept import accept_run
from gateway.store.database import BUDGET_S, SHARE
from shared.errors import BatonError
from shared.protocol.codes import Code
from tests.gateway.proxy import Proxy, proxy_to
from tests.gateway.rig import (
    Rig,
    code_of,
    gateway_settings,
    opened_rig,
    run_input,
    user_message,
)

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

WITHIN_S = 3.0


@pytest_asyncio.fixture
async def postgres(database_url: str) -> AsyncIterator[Proxy]:
    parts = urlsplit(database_url)
    async with proxy_to(parts.hostname or "", parts.port or 5432) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncIterator[Proxy]:
    parts = urlsplit(redis_url)
    async with proxy_to(parts.hostname or "", parts.port or 6379) as proxy:
        yield proxy


def through(url: str, proxy: Proxy) -> str:
    parts = urlsplit(url)
    credentials = parts.netloc.rpartition("@")[0]
    netloc = f"{credentials}@127.0.0.1:{proxy.port}" if credentials else f"127.0.0.1:{proxy.port}"
    return parts._replace(netloc=netloc).geturl()


@pytest_asyncio.fixture
async def rig(
    database_url: str, redis_url: str, postgres: Proxy, redis: Proxy
) -> AsyncIterator[Rig]:
    settings = gateway_settings(through(database_url, postgres), through(redis_url, redis))
    async with opened_rig(settings) as opened:
        opened.services.db.budget_s = BUDGET_S
        await opened.announce("Assistant")
        yield opened


def body(run: str) -> dict[str, Any]:
    return {
        "agent": "Assistant",
        "input": {"runId": run, "messages": [user_message(f"m_{run}")]},
    }


async def timed(answer: Any) -> httpx.Response:
    begun = time.monotonic()
    found: httpx.Response = await answer
    assert time.monotonic() - begun < WITHIN_S
    return found


async def test_a_frozen_postgres(rig: Rig, postgres: Proxy) -> None:
    ada = await rig.sign_in("ada@example.com")
    postgres.block()
    requests = [
        *(ada.post(f"/api/threads/t{n}/runs", json=body(f"r{n}")) for n in range(12)),
        ada.get("/api/threads"),
    ]
    for answer in await asyncio.gather(*(timed(request) for request in requests)):
        assert (answer.status_code, code_of(answer)) == (503, "unavailable")
        assert answer.headers["retry-after"] == "1"
    ready = await timed(ada.get("/readyz"))
    assert (ready.status_code, ready.json()["checks"]["postgres"]) == (503, False)
    assert (await timed(ada.get("/healthz"))).status_code == 200
    postgres.cut()
    postgres.unblock()
    assert (await timed(ada.post("/api/threads/t0/runs", json=body("r0")))).status_code == 202
    assert await rig.value("SELECT count(*) FROM runs") == 1


async def test_connections_that_postgres_closed_are_not_noticed_by_a_new_run(
    rig: Rig, postgres: Proxy
) -> None:
    """A restart leaves dead connections in the pool; reading one of them costs one answer."""
    ada = await rig.sign_in("ada@example.com")
    caller = await rig.caller()
    given: dict[str, Any] = {"thread_id": "thr_1", "agent": "Assistant"}
    await accept_run(rig.services, caller, **given, input=run_input("thr_1", "run_0"))
    postgres.cut()
    accepted = await accept_run(rig.services, caller, **given, input=run_input())
    assert (accepted.created, accepted.queued) == (True, True)
    assert (await ada.get("/api/runs/run_1")).status_code == 200


async def test_a_flood_of_one_person_holds_up_nobody_else(rig: Rig, database_url: str) -> None:
    """All of Ada's messages wait for a row that somebody has locked; Bob does not notice."""
    ada, bob = await rig.sign_in("ada@example.com"), await rig.sign_in("bob@example.com")
    assert (await ada.post("/api/threads/t/runs", json=body("r0"))).status_code == 202
    lock = await psycopg.AsyncConnection.connect(database_url)
    async with lock, lock.transaction():
        await lock.execute("SELECT FROM threads FOR UPDATE")
        flood = [
            asyncio.create_task(ada.post("/api/threads/t/runs", json=body(f"r{n}")))
            for n in range(1, 60)
        ]
        await asyncio.wait(flood, timeout=0.2)
        for _ in range(5):
            assert (await timed(bob.get("/api/threads"))).status_code == 200
            assert (await timed(bob.get("/readyz"))).json()["checks"]["postgres"]
    answers = await asyncio.gather(*flood)
    assert {answer.status_code for answer in answers} == {202}


async def test_who_waits_too_long_behind_others_is_told_so(
    rig: Rig, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres answers all the while, so nobody may say that it cannot be reached."""
    monkeypatch.setattr("gateway.store.database.PATIENCE_S", 0.3)
    monkeypatch.setattr("gateway.store.database.ANSWERING_S", 0.2)
    rig.services.db.budget_s = 0.5
    ada = (await rig.caller()).user_id
    async with AsyncExitStack() as busy:
        for _ in range(SHARE):
            await busy.enter_async_context(rig.services.db.reading(ada))
        asking = asyncio.create_task(_read(rig, ada))
        while not asking.done():
            await rig.services.db.check()
        with pytest.raises(BatonError, match="Too many requests") as refused:
            await asking
        assert refused.value.code is Code.RATE_LIMITED
    await _read(rig, ada)


async def _read(rig: Rig, who: UUID) -> None:
    async with rig.services.db.reading(who):
        pass


async def test_a_postgres_that_is_not_there(redis_url: str) -> None:
    settings = gateway_settings("postgresql://postgres@127.0.0.1:1/x", redis_url)
    async with opened_rig(settings) as rig:
        client = await rig.client(cookies={"baton_sign_in": "x"})
        answer = await timed(client.get("/api/me"))
        assert (answer.status_code, code_of(answer)) == (503, "unavailable")
        assert "Traceback" not in answer.text


async def test_a_redis_that_never_answers(rig: Rig, redis: Proxy) -> None:
    """Until the relay says otherwise a run is accepted: SQL has it, and toolsvc rings."""
    ada = await rig.sign_in("ada@example.com")
    redis.block()
    answer = await timed(ada.post("/api/threads/t/runs", json=body("r")))
    assert answer.status_code == 202
    ready = await timed(ada.get("/readyz"))
    assert ready.status_code == 503
    assert ready.json()["checks"] == {"postgres": True, "redis": False, "accepting": True}
    rig.services.redis_ready = lambda: False
    refused = await timed(ada.post("/api/threads/t/runs", json=body("r2")))
    assert (refused.status_code, code_of(refused)) == (503, "unavailable")
    assert refused.headers["retry-after"] == "1"
