"""What the tests of tools stand on: the routes over a real Postgres, with one run going on."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.routing import Route

from shared.bus.limits import Limit, Limiter
from shared.db.engine import POSTGRES, engine
from shared.protocol.ids import uuid7
from shared.settings import ToolsvcSettings
from shared.tokens import RunClaims, mint_run_token
from shared.web.errors import install_error_handlers
from shared.web.middleware import Outermost
from tests.toolsvc.record_rig import built_in
from toolsvc.mcp_door import PATH as MCP_PATH
from toolsvc.mcp_door import McpDoor
from toolsvc.registry import Registry
from toolsvc.tool import Tool
from toolsvc.tool_api import router

TOKEN_KEY = "token-key-of-the-tests-with-32-bytes-or-more"
RUNNER_KEY = "runner-key-of-the-tests-with-32-bytes-or-more"

_PEOPLE = text("INSERT INTO users (id, email, admin) VALUES (:user, :email, false)")
_THREAD = text("""
    INSERT INTO threads (id, user_id, public_id, agent, fence)
    VALUES (:thread, :user, 'thr_1', 'Assistant', :fence)
""")
_RUN = text("""
    INSERT INTO runs (id, public_id, user_id, thread_id, root_id, agent, status, ready, priority,
        input, input_digest, fence, commits)
    VALUES (:run, 'run_1', :user, :thread, :run, 'Assistant', 'running', true, 0,
        '{}', '', :fence, 0)
""")


@dataclass
class Rig:
    """The routes, a run that may call every tool, and SQL to look behind the scenes."""

    http: httpx.AsyncClient
    app: FastAPI
    engine: AsyncEngine
    claims: RunClaims
    registry: Registry
    calls: int = field(default=0)

    def token(self, **changes: Any) -> str:
        return mint_run_token(TOKEN_KEY, replace(self.claims, **changes))

    async def call(
        self,
        tool: str,
        arguments: Any = None,
        *,
        call_id: str | None = None,
        token: str | None = None,
        **headers: str,
    ) -> httpx.Response:
        """Call a tool, under a new call id unless one is given."""
        self.calls += 1
        sent = {
            "authorization": f"Bearer {token or self.token()}",
            "idempotency-key": call_id or f"call_{self.calls}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return await self.http.post(
            f"/tools/{tool}", json={"arguments": arguments or {}}, headers=sent
        )

    async def result(self, tool: str, arguments: Any = None, **more: Any) -> Any:
        answer = await self.call(tool, arguments, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    async def refusal(self, tool: str, arguments: Any = None, **more: Any) -> tuple[int, Any]:
        answer = await self.call(tool, arguments, **more)
        return answer.status_code, answer.json()["error"]

    async def sql(self, statement: str, **values: Any) -> list[Any]:
        async with self.engine.begin() as connection:
            rows = await connection.execute(text(statement), values)
            return list(rows.all()) if rows.returns_rows else []

    async def effects(self) -> list[tuple[str, str]]:
        rows = await self.sql("SELECT tool, status FROM effects ORDER BY created_at")
        return [(row.tool, row.status) for row in rows]

    async def add_person(self, email: str) -> RunClaims:
        """Somebody else, with a thread and a run of their own."""
        claims = replace(self.claims, user=uuid7(), thread=uuid7(), run=(run := uuid7()), root=run)
        await _seed(self.engine, claims, email)
        return claims


class Uncounted:
    """Limits without a Redis: there are none."""

    async def count(self, *limits: Limit) -> None:
        """Nothing is refused."""


@asynccontextmanager
async def opened(
    database_url: str,
    *tools: Tool,
    timeout_s: float = 10,
    max_result_bytes: int = 4096,
    limiter: Limiter | None = None,
    **more: Any,
) -> AsyncIterator[Rig]:
    """A rig with the built-in tools and `tools`."""
    registry = Registry({**built_in().tools, **{tool.name: tool for tool in tools}})
    claims = RunClaims(
        run=(run := uuid7()),
        root=run,
        thread=uuid7(),
        user=uuid7(),
        fence=3,
        tools=None,
        scopes=registry.scopes,
        project=uuid7(),
        public_run="run_1",
        public_thread="thr_1",
        agent="Assistant",
    )
    settings = ToolsvcSettings.model_validate(
        {
            "database_url": database_url,
            "redis_url": "redis://unused",
            "run_token_key": TOKEN_KEY,
            "runner_key": RUNNER_KEY,
            "gateway_key": "g" * 32,
            "tool_timeout_s": timeout_s,
            "max_result_bytes": max_result_bytes,
        }
        | more
    )
    async with AsyncExitStack() as lifetime, engine(database_url, pool_size=5) as made:
        await _seed(made, claims, "ada@example.com")
        app = FastAPI()
        app.include_router(router)
        mcp = McpDoor()
        lifetime.push_async_callback(mcp.close)
        app.router.routes.append(Route(MCP_PATH, mcp))
        install_error_handlers(app, POSTGRES)
        app.state.services = SimpleNamespace(
            engine=made,
            connections=await lifetime.enter_async_context(httpx.AsyncHTTPTransport()),
            settings=settings,
            registry=registry,
            instance="toolsvc-test",
            limiter=limiter or Uncounted(),
        )
        transport = httpx.ASGITransport(Outermost(app, process="toolsvc"))
        async with httpx.AsyncClient(transport=transport, base_url="http://toolsvc") as http:
            yield Rig(http, app, made, claims, registry)


async def _seed(made: AsyncEngine, claims: RunClaims, email: str) -> None:
    values = {
        "user": claims.user,
        "thread": claims.thread,
        "run": claims.run,
        "fence": claims.fence,
        "email": email,
    }
    async with made.begin() as connection:
        for statement in (_PEOPLE, _THREAD, _RUN):
            await connection.execute(statement, values)
