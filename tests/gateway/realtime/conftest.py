"""`/realtime` of one gateway in this process, so that its patience can be made short."""

import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
import pytest_asyncio
import uvicorn

from gateway import websocket
from gateway.app import make_app
from shared.bus.connect import Redis, commands_client
from shared.settings import GatewaySettings
from shared.web.serve import server_config
from stack.program import free_port
from tests.gateway.relay.rig import Written, make_thread
from tests.gateway.rig import gateway_settings
from tests.scenarios.client import Person


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ticker in a twentieth of the time."""
    monkeypatch.setattr(websocket, "TICK_S", 0.05)
    monkeypatch.setattr(websocket, "VALIDITY_EVERY_S", 0.1)


@pytest.fixture
def more_settings() -> dict[str, Any]:
    return {}


@pytest.fixture
def served(
    database_url: str, redis_url: str, more_settings: dict[str, Any]
) -> Iterator[GatewaySettings]:
    """A gateway on a port of its own, in a thread."""
    more = {"BATON_PORT": free_port()} | more_settings
    settings = gateway_settings(database_url, redis_url, **more)
    server = uvicorn.Server(server_config(make_app(settings), settings))
    thread = threading.Thread(target=server.run, name="gateway")
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive()
    yield settings
    server.should_exit = True
    thread.join()


@pytest_asyncio.fixture
async def ada(served: GatewaySettings) -> AsyncIterator[Person]:
    person = await Person(f"http://127.0.0.1:{served.port}", "ada@example.com").sign_in()
    yield person
    await person.http.aclose()


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = commands_client(redis_url, "test")
    yield client
    await client.aclose()


class World:
    """Threads of Ada that the test writes by hand."""

    def __init__(self, database_url: str, redis: Redis, user: UUID) -> None:
        self.database_url, self.redis, self.user = database_url, redis, user

    async def thread(self, public_id: str = "thr_1") -> Written:
        return await make_thread(self.database_url, self.redis, public_id, self.user)

    async def sql(self, statement: str, *values: Any) -> None:
        async with await psycopg.AsyncConnection.connect(self.database_url) as db:
            await db.execute(statement.encode(), values)


@pytest_asyncio.fixture
async def world(ada: Person, database_url: str, redis: Redis) -> World:
    async with ada.socket() as opened:
        welcome = await opened.next()
    return World(database_url, redis, UUID(welcome["user"]["id"]))
