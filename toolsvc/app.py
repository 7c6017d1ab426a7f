"""toolsvc's wiring: connections, tools, routes, and the loops that ring again and delete."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI
from sqlalchemy import text
from starlette.routing import Route
from starlette.types import ASGIApp

from shared.bus.connect import REDIS, commands_client
from shared.bus.doorbell import ensure_group
from shared.bus.limits import Limiter
from shared.db.direct import direct as opened_direct
from shared.db.engine import POSTGRES
from shared.db.engine import engine as make_engine
from shared.process import essential
from shared.protocol.ids import uuid7
from shared.settings import ToolsvcSettings
from shared.settings.security import SecurityConfig, security_of
from shared.signing import SigningKey
from shared.telemetry.logs import get_logger
from shared.web.errors import install_error_handlers
from shared.web.health import Check, health_router
from shared.web.middleware import Outermost
from toolsvc.mcp_door import PATH as MCP_PATH
from toolsvc.mcp_door import McpDoor
from toolsvc.registry import load_registry
from toolsvc.retention.loop import keep_deleting
from toolsvc.runs.lease import LeaseJudge
from toolsvc.runs.record import Record
from toolsvc.runs.rering import keep_ringing
from toolsvc.services import Services
from toolsvc.tool_api import router as tool_router

log = get_logger(__name__)

#: A commit carries up to 5 s of events and whole model responses.
BODY_LIMIT = 64 * 1_048_576
POOL_SIZE = 16
#: For claims and commits, which take some milliseconds each.
DIRECT_SIZE = 8


def make_app(settings: ToolsvcSettings) -> ASGIApp:
    """The ASGI app; nothing connects before its lifespan begins."""
    mcp, rules = McpDoor(), security_of(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _services(settings, rules) as services:
            app.state.services = services
            app.state.closing = set()
            loops = [
                essential(asyncio.create_task(keep_ringing(services), name="ring again")),
                essential(asyncio.create_task(keep_deleting(services), name="retention")),
            ]
            app.include_router(health_router(_checks(services)))
            try:
                yield
            finally:
                for loop in loops:
                    loop.cancel()
                await mcp.close()
                await asyncio.gather(*loops, *app.state.closing, return_exceptions=True)

    app = FastAPI(title="Baton toolsvc", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.include_router(tool_router)
    app.router.routes.append(Route(MCP_PATH, mcp))
    stores = (POSTGRES, REDIS)
    install_error_handlers(app, *stores)
    return Outermost(Record(app), process="toolsvc", body_limit=BODY_LIMIT, stores=stores)


@asynccontextmanager
async def _services(settings: ToolsvcSettings, rules: SecurityConfig) -> AsyncIterator[Services]:
    redis = commands_client(settings.redis_url.get_secret_value(), "baton-toolsvc")
    url = settings.database_url.get_secret_value()
    try:
        async with (
            make_engine(url, pool_size=POOL_SIZE) as engine,
            opened_direct(url, size=DIRECT_SIZE) as direct,
            httpx.AsyncHTTPTransport() as connections,
        ):
            yield Services(
                settings=settings,
                engine=engine,
                direct=direct,
                redis=redis,
                connections=connections,
                limiter=Limiter(redis),
                registry=load_registry(settings.tool_folders, rules.tool_modules),
                instance=f"toolsvc-{socket.gethostname()}-{os.getpid()}-{uuid7().hex[-8:]}",
                judge=LeaseJudge(settings.lease_s),
                receipt_key=_receipt_key(settings),
            )
    finally:
        await redis.aclose()


def _receipt_key(settings: ToolsvcSettings) -> SigningKey | None:
    """The key of receipts; its public half is what gateways have to be told, so it is logged."""
    if settings.receipt_key is None:
        log.info("runs get no receipts: there is no key to sign them with")
        return None
    key = SigningKey(settings.receipt_key.get_secret_value())
    log.info("runs get receipts", kid=key.public.id, public_key=key.public.text)
    return key


def _checks(services: Services) -> dict[str, Check]:
    async def postgres() -> None:
        async with services.engine.connect() as db:
            await db.execute(text("SELECT 1"))

    async def redis() -> None:
        await ensure_group(services.redis)

    return {"postgres": postgres, "redis": redis}
