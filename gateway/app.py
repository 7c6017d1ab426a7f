"""Wires the gateway together: what lives as long as the process, and which routes there are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from fastapi import FastAPI
from starlette.middleware.sessions import SessionMiddleware

from gateway.agui import door as agui
from gateway.api import (
    agents,
    all_agents,
    approvals,
    doctor,
    effects,
    events,
    files,
    invites,
    keys,
    me,
    messages,
    page,
    poisoned,
    receipts,
    runs,
    status,
    threads,
    trace,
)
from gateway.auth import invite
from gateway.auth import routes as auth
from gateway.auth.oidc import STATE_COOKIE, STATE_LIFE_S, oidc_router
from gateway.following import Followers
from gateway.openai import chat, models, responses
from gateway.openai.errors import openai_shape
from gateway.relay.relay import Relay
from gateway.services import Services
from gateway.store.database import CONNECTIONS, Database
from gateway.toolsvc import toolsvc_client
from gateway.websocket import Realtime, Sockets
from shared.bus.connect import REDIS, commands_client
from shared.bus.limits import Limiter
from shared.db.direct import direct as opened_direct
from shared.db.engine import POSTGRES
from shared.db.engine import engine as opened_engine
from shared.media import MAX_FILE_BYTES
from shared.process import essential
from shared.settings import GatewaySettings
from shared.settings.security import SecurityConfig, load_security, security_of
from shared.settings.security_file import LOOK_EVERY_S, SecurityFile
from shared.web.errors import install_error_handlers
from shared.web.health import health_router
from shared.web.middleware import DEFAULT_BODY_LIMIT, Outermost

PROCESS = "gateway"
#: Where files come inside of JSON: one of the largest, as base64, and a body as anywhere else.
CARRYING_BYTES = MAX_FILE_BYTES * 4 // 3 + DEFAULT_BODY_LIMIT
RESOURCES = (
    *(me, agents, threads, messages, events, runs, approvals, receipts, trace),
    *(files, keys, invites, status, effects, poisoned, doctor, all_agents),
)

Rules = SecurityFile[SecurityConfig]


def make_app(settings: GatewaySettings) -> FastAPI:
    """The gateway as an ASGI application; nothing is connected before its lifespan begins."""
    app = FastAPI(
        title="Baton",
        description="Durable, streaming runs for agents written with the OpenAI Agents SDK.",
        version="1",
        lifespan=_lifespan,
        docs_url=None,  # the page would load its scripts from a CDN
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.settings = settings
    path = settings.security_config
    app.state.security = SecurityFile(path, load_security, security_of(settings))
    install_error_handlers(app, POSTGRES, REDIS)
    for part in (auth, invite, *RESOURCES):
        app.include_router(part.router)
    app.include_router(files.uploads)
    app.include_router(receipts.public_router)
    app.include_router(page.router)
    for door in (models, chat, responses, agui):
        app.include_router(door.router)
    if settings.dev_mode:
        app.include_router(auth.dev_router)
    if settings.oidc_client_id:
        _add_issuer(app, settings)
    app.add_middleware(Realtime)
    # The last one added is the outermost.
    app.add_middleware(
        Outermost,
        process=PROCESS,
        begins_traces=True,
        shapes={"/v1/": openai_shape},
        limits={
            files.PATH: settings.max_file_bytes + files.AROUND_BYTES,
            **dict.fromkeys(("/v1/", "/agui/"), CARRYING_BYTES),
        },
        refusals={files.PATH: files.too_large(settings.max_file_bytes)},
    )
    app.include_router(
        health_router(
            {
                "postgres": partial(_postgres, app),
                "redis": partial(_redis, app),
                "accepting": partial(_accepting, app),
            }
        )
    )
    return app


def _add_issuer(app: FastAPI, settings: GatewaySettings) -> None:
    app.include_router(oidc_router(settings))
    app.add_middleware(
        SessionMiddleware,
        secret_key=settings.cookie_key.get_secret_value(),
        session_cookie=STATE_COOKIE,
        max_age=STATE_LIFE_S,
        path="/auth",
        same_site="lax",
        https_only=settings.secure,
    )


async def _postgres(app: FastAPI) -> None:
    await app.state.services.db.check()


async def _redis(app: FastAPI) -> None:
    await app.state.services.redis.ping()


async def _accepting(app: FastAPI) -> bool:
    sockets: Sockets = app.state.sockets
    return not sockets.draining


async def drain(app: FastAPI) -> None:
    """Send the people of a gateway that stops to others, while it still serves."""
    sockets: Sockets = app.state.sockets
    followers: Followers = app.state.followers
    try:
        await sockets.drain(sockets.services.settings.drain_s)
    finally:
        followers.end_all()


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    rules: Rules = app.state.security
    async with opened_services(app.state.settings, rules.rules) as services:
        app.state.services = services
        async with relaying(services) as sockets, _following_rules(services, rules):
            app.state.sockets = sockets
            app.state.followers = Followers(services, sockets.relay)
            yield


@asynccontextmanager
async def opened_services(
    settings: GatewaySettings, security: SecurityConfig
) -> AsyncIterator[Services]:
    """Everything the routes need, closed in reverse order."""
    async with AsyncExitStack() as lifetime:
        url = settings.database_url.get_secret_value()
        engine = await lifetime.enter_async_context(opened_engine(url, pool_size=CONNECTIONS))
        direct = await lifetime.enter_async_context(opened_direct(url, size=CONNECTIONS))
        redis = commands_client(settings.redis_url.get_secret_value(), PROCESS)
        lifetime.push_async_callback(redis.aclose)
        toolsvc = await lifetime.enter_async_context(toolsvc_client())
        services = Services(
            settings=settings,
            engine=engine,
            db=Database(engine, direct),
            redis=redis,
            toolsvc=toolsvc,
            limiter=Limiter(redis),
            security=security,
        )
        lifetime.push_async_callback(services.background.finish)
        yield services


@asynccontextmanager
async def _following_rules(services: Services, file: Rules) -> AsyncIterator[None]:
    """Take changes of the file of rules, for the block."""

    async def follow() -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if await asyncio.to_thread(file.look):
                services.security, services.security_problem = file.rules, file.problem

    following = essential(asyncio.create_task(follow(), name="rules"))
    try:
        yield
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


@asynccontextmanager
async def relaying(services: Services) -> AsyncIterator[Sockets]:
    """The relay and the ticker of the sockets, for as long as the process serves."""
    relay = Relay(services.settings.redis_url.get_secret_value(), services.redis, services.db)
    services.redis_ready = relay.ready
    services.relay_lag_s = relay.lag_s
    sockets = Sockets(services, relay)
    tasks = [
        essential(asyncio.create_task(relay.run(), name="relay")),
        essential(asyncio.create_task(sockets.watch(), name="sockets")),
    ]
    try:
        yield sockets
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
