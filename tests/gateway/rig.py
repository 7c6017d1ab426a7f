"""What tests of the gateway stand on: an app with its services, clients, and rows made by hand."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import orjson
from ag_ui.core import RunAgentInput
from fastapi import FastAPI
from sqlalchemy import text

from gateway.app import make_app
from gateway.auth.caller import Caller, How
from gateway.services import Services
from gateway.store import people
from gateway.store.turns import Own
from shared.settings import GatewaySettings
from tests.until import PATIENCE_S

OPERATOR_KEY = "operator-key-operator-key-operator-key"
HOST = "http://localhost:8000"


def gateway_settings(database_url: str, redis_url: str, **more: Any) -> GatewaySettings:
    given = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "BATON_GATEWAY_KEY": "gateway-key-gateway-key-gateway-key",
        "BATON_COOKIE_KEY": "cookie-key-cookie-key-cookie-key-cookie",
        "BATON_OPERATOR_KEY": OPERATOR_KEY,
        "BATON_DEV_MODE": True,
        "TOOLSVC_URL": "http://127.0.0.1:9",
    }
    return GatewaySettings.model_validate(given | more)


@dataclass
class Rig:
    """A gateway under test."""

    app: FastAPI
    services: Services
    lifetime: AsyncExitStack

    async def client(self, **options: Any) -> httpx.AsyncClient:
        """A client that knows nobody; cookies of its own."""
        transport = httpx.ASGITransport(self.app)
        client = httpx.AsyncClient(transport=transport, base_url=HOST, **options)
        return await self.lifetime.enter_async_context(client)

    async def sign_in(self, email: str) -> httpx.AsyncClient:
        """A client with somebody's cookie."""
        client = await self.client()
        answer = await client.post("/auth/dev-login", json={"email": email})
        assert answer.status_code == 200, answer.text
        return client

    async def operator(self) -> httpx.AsyncClient:
        return await self.client(headers={"authorization": f"Bearer {OPERATOR_KEY}"})

    async def caller(self, email: str = "ada@example.com", *, admin: bool = False) -> Caller:
        """Somebody, for what is called without HTTP."""
        async with self.services.db.writing(Own.UPKEEP) as db:
            person = await people.ensure(db, email)
        return Caller(
            user_id=person.id,
            email=person.email,
            admin=admin,
            how=How.SIGN_IN,
            expires_at=None,
            credential=b"",
        )

    async def sql(self, statement: str, **values: Any) -> list[Any]:
        async with self.services.db.writing(Own.UPKEEP) as db:
            found = await db.execute(text(statement), values)
            return list(found) if found.returns_rows else []

    async def value(self, statement: str, **values: Any) -> Any:
        ((found,),) = await self.sql(statement, **values)
        return found

    async def announce(
        self, *agents: str, runner: str = "runner_1", lease: str = "4 s", **more: Any
    ) -> None:
        """Let a runner serve agents; `more` is what it says of each of them."""
        about = {name: {"title": name, "digest": "d", **more} for name in agents}
        await self.sql(
            "INSERT INTO runners (id, lease_until, version, slots, agents, broken) VALUES "
            "(:runner, now() + CAST(:lease AS interval), 'dev', 4, :agents, '{}') "
            "ON CONFLICT (id) DO UPDATE SET agents = excluded.agents",
            runner=runner,
            lease=lease,
            agents=orjson.dumps(about).decode(),
        )

    async def thread(self, public_id: str) -> UUID:
        found: UUID = await self.value("SELECT id FROM threads WHERE public_id = :id", id=public_id)
        return found

    async def begin(self, run_id: str) -> None:
        """What a claim does to a run, as far as the gateway can see it."""
        await self.sql(
            "UPDATE runs SET status = 'running', claimed_at = now(), started_at = now() "
            "WHERE public_id = :run",
            run=run_id,
        )

    async def finish(self, run_id: str, status: str = "finished") -> None:
        await self.sql(
            "UPDATE runs SET status = :status, ended_at = now() WHERE public_id = :run",
            run=run_id,
            status=status,
        )

    async def rings(self) -> list[UUID]:
        """Which runs the doorbell speaks of."""
        entries: Any = await self.services.redis.xrange("runs")
        return [UUID(fields[b"run"].decode()) for _, fields in entries]


#: Postgres may take so long here: other tests share its machine.
UNHURRIED_S = 60.0


@asynccontextmanager
async def opened_rig(settings: GatewaySettings) -> AsyncIterator[Rig]:
    app = make_app(settings)
    async with AsyncExitStack() as lifetime:
        await lifetime.enter_async_context(app.router.lifespan_context(app))
        app.state.services.db.budget_s = UNHURRIED_S
        yield Rig(app, app.state.services, lifetime)


def user_message(id_: str = "msg_1", content: Any = "Hello") -> dict[str, Any]:
    return {"id": id_, "role": "user", "content": content}


def run_input(
    thread_id: str = "thr_1", run_id: str = "run_1", *messages: dict[str, Any], **more: Any
) -> RunAgentInput:
    said = list(messages) or [user_message(f"msg_{run_id}")]
    whole = {"threadId": thread_id, "runId": run_id, "messages": said, **more}
    return RunAgentInput.model_validate(whole)


async def wait_until(fact: Callable[[], Any], *, within_s: float = PATIENCE_S) -> None:
    """Wait for a fact (awaited, if need be)."""
    until = time.monotonic() + within_s
    while True:
        found = fact()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        assert time.monotonic() < until, "the fact did not come true"
        await asyncio.sleep(0.01)


def code_of(answer: httpx.Response) -> str:
    error = answer.json()["error"]
    assert set(error) >= {"code", "message", "requestId"}
    assert "Traceback" not in answer.text
    return str(error["code"])


async def heard(channel: Any, what: str) -> Any:
    """The next notice on a channel of `changed` that says `what` has changed."""
    async with asyncio.timeout(30):
        async for message in channel.listen():
            if message["type"] != "message":
                continue
            notice = orjson.loads(message["data"])
            if notice["what"] == what:
                return notice
    raise AssertionError("the channel ended")
