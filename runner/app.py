"""The runner's wiring: connections, agents, the worker's loops, and HTTP for health."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from secrets import token_urlsafe
from typing import Any, NamedTuple

from fastapi import FastAPI
from starlette.types import ASGIApp

from runner.carrying import Carrying
from runner.catalog import Catalog
from runner.configure import RunConfigs
from runner.drop_ins.inspector import Inspector
from runner.drop_ins.reload import DropIns
from runner.drop_ins.rules import read_rules, rules_of
from runner.heartbeat import HeartbeatThread
from runner.hints import listen_for_hints
from runner.home import ToolThreads
from runner.invocations import patch_runner
from runner.isolation import Isolation
from runner.kept import KeptCode
from runner.models.provider import UpstreamProvider, missing_keys
from runner.models.warm import warm_up
from runner.record import Record
from runner.tracing import Exporter, install_tracing
from runner.worker import BLOCK_MS, Worker
from shared.bus.connect import REDIS, Redis, blocking_client, commands_client
from shared.bus.doorbell import ensure_group
from shared.process import end_if_stuck, essential
from shared.protocol.ids import uuid7
from shared.protocol.record import Catalogue
from shared.settings import RunnerSettings
from shared.settings.common import refuse_setting
from shared.settings.models import ModelsConfig, load_models
from shared.settings.runner import ChangedAgents
from shared.settings.security import SecurityConfig
from shared.settings.security_file import NAME as RULES
from shared.settings.security_file import SecurityFile
from shared.settings.yaml_file import YamlFileError
from shared.telemetry.logs import get_logger
from shared.web.errors import install_error_handlers
from shared.web.health import Check, health_router
from shared.web.middleware import Outermost

log = get_logger(__name__)


#: Plain functions used as tools may block; one run's must not keep those of the others waiting.
THREADS_PER_RUN = 4


def make_app(settings: RunnerSettings, inspector: Inspector) -> ASGIApp:
    """Health over HTTP; the work goes on in the lifespan."""
    models, rules = models_of(settings), rules_file(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        runner = f"{socket.gethostname()}-{os.getpid()}-{uuid7().hex[-8:]}"
        secret = token_urlsafe(32)
        opened = opened_worker(settings, models, rules, runner, secret, inspector)
        async with opened as (worker, reloading):
            await warm_up()  # tracing is set up by now
            parts = _parts(worker) | reloading()
            async with working(worker, secret, parts):
                app.include_router(health_router(_checks(worker)))
                log.info("ready", runner=runner)
                yield

    app = FastAPI(title="Baton runner", lifespan=lifespan, docs_url=None, redoc_url=None)
    install_error_handlers(app, REDIS)
    return Outermost(app, process="runner")


_MODELS = "docs/models.md"


def models_of(settings: RunnerSettings) -> ModelsConfig:
    """The model servers; a file that cannot be used ends the process in words."""
    try:
        config = load_models(settings.models_config)
    except YamlFileError as error:
        refuse_setting("BATON_MODELS_CONFIG", str(error), page=_MODELS)
    if missing := missing_keys(config):
        refuse_setting("BATON_MODELS_CONFIG", "; ".join(missing), page=_MODELS)
    return config


def rules_file(settings: RunnerSettings) -> SecurityFile[SecurityConfig]:
    """The file of rules; one that cannot be used ends the process in words."""
    return SecurityFile(settings.security_config, read_rules, rules_of(settings))


Parts = dict[str, Coroutine[Any, Any, None]]


@asynccontextmanager
async def opened_worker(
    settings: RunnerSettings,
    models: ModelsConfig,
    rules: SecurityFile[SecurityConfig],
    runner: str,
    secret: str,
    inspector: Inspector | None = None,
) -> AsyncIterator[tuple[Worker, Callable[[], Parts]]]:
    """Everything that a worker needs, from the first connection on; it has announced its agents.

    Besides the worker there are the loops that keep its agents up to date. Without an inspector
    agents are loaded unseen, for a process that may die of them.
    """
    patch_runner()
    asyncio.get_running_loop().set_default_executor(
        ToolThreads(THREADS_PER_RUN * settings.concurrency, thread_name_prefix="tool")
    )
    async with AsyncExitStack() as lifetime:
        near = await lifetime.enter_async_context(_surroundings(settings, models, secret))
        drop_ins = DropIns(
            settings.agents_folders,
            catalog := Catalog(KeptCode(settings.agents_kept), rules=rules.rules),
            inspector=inspector,
            tools=near.record.tools,
        )
        lifetime.callback(drop_ins.close)
        await drop_ins.load()
        worker = _worker(runner, settings, near, catalog)
        announce = partial(_announce, near.record, worker, catalog)
        await announce()
        yield (
            worker,
            lambda: {
                "agents": drop_ins.watch(announce),
                "rules": drop_ins.watch_rules(rules, announce),
            },
        )


class _Surroundings(NamedTuple):
    """Whom a worker talks to."""

    redis: Redis
    blocking: Redis
    record: Record
    upstream: UpstreamProvider
    exporter: Exporter


@asynccontextmanager
async def _surroundings(
    settings: RunnerSettings, models: ModelsConfig, secret: str
) -> AsyncIterator[_Surroundings]:
    """The connections, closed in reverse order."""
    url = settings.redis_url.get_secret_value()
    async with AsyncExitStack() as lifetime:
        redis = commands_client(url, "baton-runner")
        lifetime.push_async_callback(redis.aclose)
        blocking = blocking_client(url, "baton-doorbell", block_s=BLOCK_MS / 1000)
        lifetime.push_async_callback(blocking.aclose)
        record = Record(
            settings.toolsvc_urls, settings.runner_key.get_secret_value(), secret=secret
        )
        lifetime.push_async_callback(record.close)
        upstream = UpstreamProvider(settings, models)
        lifetime.push_async_callback(upstream.aclose)
        upstream.greet()
        exporter = install_tracing(settings)
        lifetime.push_async_callback(asyncio.to_thread, exporter.shutdown)
        yield _Surroundings(redis, blocking, record, upstream, exporter)


def _worker(runner: str, settings: RunnerSettings, near: _Surroundings, catalog: Catalog) -> Worker:
    carrying = Carrying(
        settings,
        redis=near.redis,
        record=near.record,
        catalog=catalog,
        exporter=near.exporter,
        configs=RunConfigs(settings, near.upstream),
        gates=near.upstream.gates,
    )
    return Worker(
        runner,
        settings,
        redis=near.redis,
        blocking=near.blocking,
        record=near.record,
        carrying=carrying,
        isolation=Isolation(settings, near.record),
    )


async def _announce(record: Record, worker: Worker, catalog: Catalog) -> None:
    """Say what is served here; of former code, what no run needs any more is dropped."""
    served = {name: one.described() for name, one in catalog.agents.items()}
    answer = await record.announce(
        worker.id,
        Catalogue(
            agents=served,
            broken=catalog.broken
            | ({RULES: catalog.rules_problem} if catalog.rules_problem else {}),
            version=worker.settings.code_version,
            slots=worker.settings.concurrency,
            former=await asyncio.to_thread(catalog.kept.digests),
            same_code=worker.settings.changed_agents is ChangedAgents.WAIT,
        ),
    )
    log.info("announced", agents=sorted(catalog.agents), broken=len(catalog.broken))
    current = {one.digest for one in catalog.agents.values()}
    await asyncio.to_thread(catalog.kept.forget, current | set(answer.in_use))


def parts_of(worker: Worker) -> Parts:
    """The loops without which no run can be carried, by name."""
    return {
        "publisher": worker.carrying.publisher.run(),
        "hints": listen_for_hints(
            worker.redis, worker.id, {b"cancel": worker.carrying.cancel, b"claim": worker.ring}
        ),
    }


def _parts(worker: Worker) -> Parts:
    """Those, and the ones that bring it work."""
    return parts_of(worker) | {
        "doorbell": worker.listen(),
        "rescue": worker.rescue(),
        "show": worker.show(),
    }


@asynccontextmanager
async def working(worker: Worker, secret: str, parts: Parts) -> AsyncIterator[None]:
    """The worker's loops; at the end runs are given away while the pump still works."""
    settings = worker.settings
    heartbeat = HeartbeatThread(
        worker.id,
        settings.toolsvc_urls,
        settings.runner_key.get_secret_value(),
        secret=secret,
        beat=worker.carrying.beat,
        heard=worker.heard,
    )
    worker.carrying.on_begin = heartbeat.look
    heartbeat.start()
    parts = parts | {"watchdog": end_if_stuck()}
    loops = [essential(asyncio.create_task(part, name=name)) for name, part in parts.items()]
    try:
        yield
    finally:
        await worker.drain()
        heartbeat.stop()
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


def _checks(worker: Worker) -> dict[str, Check]:
    async def redis() -> None:
        await ensure_group(worker.redis)

    async def not_draining() -> bool:
        return not worker.draining

    return {"redis": redis, "accepting": not_draining}
