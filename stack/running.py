"""A running stack: stores, migrations, services; started together, stopped in order.

`dev.py up` and the end-to-end tests run the same one: `async with running_stack(…) as stack`.
"""

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from stack.child import Child, Show
from stack.credentials import Credentials
from stack.errors import GaveUpError, PortLostError, StackError
from stack.postgres import Postgres
from stack.program import ROOT, Program, Tier, free_port
from stack.scratch import scratch_folder
from stack.services import SURROUNDINGS, Ports, Wiring
from stack.valkey import Valkey

#: A port that was free a moment ago may be gone; this many picks, and something else is wrong.
TRIES = 3

READY_WITHIN_S = 60

MIGRATIONS = ROOT / "shared" / "db" / "migrations"

#: A file beside the data, with the digest of the migrations it has had.
MARK = "migrated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many processes of each kind."""

    gateways: int = 1
    runners: int = 1
    toolsvc: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to start. A URL given replaces the embedded server."""

    folder: Path
    credentials: Credentials
    environ: Mapping[str, str]  #: of whoever starts the stack; each process gets its share
    size: Size = Size()
    demo: bool = False
    demo_tokens_per_s: float | None = None  #: `None`: as fast as possible
    first_port: int | None = None  #: of the gateways; `None` takes free ones
    database_url: str | None = None
    redis_url: str | None = None
    durable: bool = True
    migrated: bool = False  #: the database of `database_url` has its schema already


class Stack:
    """Everything of one plan, as running processes."""

    def __init__(
        self, plan: Plan, *, show: Show, news: Show, changed: Callable[[], None] = lambda: None
    ) -> None:
        self.plan = plan
        self.processes: dict[str, Child] = {}
        self._show = show
        self._news = news
        self._changed = changed

    @property
    def secrets(self) -> Credentials:
        """Keys and passwords of this stack."""
        return self.plan.credentials

    @property
    def gateway_urls(self) -> tuple[str, ...]:
        """Where the gateways answer."""
        return tuple(f"http://127.0.0.1:{port}" for port in self._ports.gateways)

    @property
    def toolsvc_urls(self) -> tuple[str, ...]:
        """Where the instances of toolsvc answer."""
        return tuple(f"http://127.0.0.1:{port}" for port in self._ports.toolsvc)

    @property
    def runner_urls(self) -> tuple[str, ...]:
        """Where the runners show health and metrics."""
        return tuple(f"http://127.0.0.1:{port}" for port in self._ports.runners)

    @property
    def demo_url(self) -> str | None:
        """Where the demo model answers (`/v1` below it)."""
        return f"http://127.0.0.1:{self._ports.demo}" if self._ports.demo else None

    @property
    def database_url(self) -> str:
        """Where services connect to Postgres."""
        return self.plan.database_url or self._postgres.url()

    @property
    def redis_port(self) -> int | None:
        """Port of the embedded Valkey; `None` where a URL was given."""
        return None if self.plan.redis_url else self._valkey.port

    def redis_url(self, user: str = "admin") -> str:
        """Where `user` connects to Redis; a URL that was given serves all."""
        return self.plan.redis_url or self._valkey.url(user)

    async def start(self) -> None:
        """Start everything and wait until all of it answers.

        Raises:
            StackError: something cannot be started; nothing is left running.
        """
        for attempt in range(1, TRIES + 1):
            try:
                async with asyncio.timeout(READY_WITHIN_S):
                    await self._start()
                return
            except PortLostError:
                await self.stop_by_force()
                if attempt == TRIES:
                    raise
            except TimeoutError:
                slow = await self._not_ready()
                await self.stop_by_force()
                raise StackError(
                    f"{', '.join(slow)} did not become ready within {READY_WITHIN_S} s; "
                    "where no line above says why, the machine is too busy: try again"
                ) from None
            except BaseException:
                await self.stop_by_force()
                raise

    async def stop(self) -> None:
        """Stop gateways, runners, toolsvc, demo model and stores, in this order."""
        children = sorted(self.processes.values(), key=_tier, reverse=True)
        for _, tier in groupby(children, key=_tier):
            await asyncio.gather(*(child.stop() for child in tier))

    async def stop_by_force(self) -> None:
        """Stop everything at once."""
        await asyncio.gather(*(child.stop_by_force() for child in self.processes.values()))

    async def failure(self) -> GaveUpError:
        """Wait until one of the programs is given up, and say why."""
        failures = [child.failure for child in self.processes.values()]
        done, _ = await asyncio.wait(failures, return_when=asyncio.FIRST_COMPLETED)
        return GaveUpError(str(done.pop().result()))

    async def _start(self) -> None:
        self._pick_ports()
        stores = await self._stores()
        services = Wiring(
            ports=self._ports,
            credentials=self.plan.credentials,
            database_url=self.database_url,
            redis_url=self.redis_url,
            environ=self.plan.environ,
            home=self.plan.folder,
            demo_tokens_per_s=self.plan.demo_tokens_per_s,
        ).programs()
        if await asyncio.to_thread(self._schema_is_current):
            # Our own stores listen long before a service has imported itself.
            await self._run([*stores, *services])
            return
        await self._run(stores)
        await self._migrate()
        await self._run(services)

    def _pick_ports(self) -> None:
        plan, size = self.plan, self.plan.size
        first = plan.first_port
        self._ports = Ports(
            gateways=tuple(
                first + number if first else free_port() for number in range(size.gateways)
            ),
            runners=tuple(free_port() for _ in range(size.runners)),
            toolsvc=tuple(free_port() for _ in range(size.toolsvc)),
            demo=free_port() if plan.demo else None,
        )
        self._valkey = Valkey(
            folder=plan.folder / "valkey",
            port=free_port(),
            credentials=plan.credentials,
            durable=plan.durable,
        )
        self._postgres = Postgres(
            folder=plan.folder / "postgres",
            port=free_port(),
            credentials=plan.credentials,
            durable=plan.durable,
        )

    async def _stores(self) -> list[Program]:
        stores = []
        if not self.plan.redis_url:
            stores.append(self._valkey.program())
        if not self.plan.database_url:
            await asyncio.to_thread(self._postgres.prepare)
            stores.append(self._postgres.program())
        return stores

    async def _run(self, programs: list[Program]) -> None:
        started = []
        for program in programs:
            child = Child(program, show=self._show, news=self._news, started=self._changed)
            self.processes[program.name] = child
            child.start()
            started.append(child)
        waiting = [asyncio.create_task(child.ready()) for child in started]
        try:
            await asyncio.gather(*waiting)
        finally:
            for task in waiting:
                task.cancel()

    def _schema_is_current(self) -> bool:
        """Whether the database is known to have had the present migrations."""
        if self.plan.database_url:
            return self.plan.migrated
        mark = self._postgres.folder / MARK
        return mark.exists() and mark.read_text() == _digest(MIGRATIONS)

    async def _migrate(self) -> None:
        environ = {name: value for name, value in self.plan.environ.items() if name in SURROUNDINGS}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "shared.db", "upgrade"),
            cwd=ROOT,
            env=environ | {"DATABASE_URL": self.database_url},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        output, _ = await process.communicate()
        if process.returncode:
            lines = output.decode("utf-8", "replace").strip().splitlines()
            # SQLAlchemy's last lines point to its manual; the error itself stands before them.
            said = [line for line in lines if "Error" in line or "error" in line] or lines[-1:]
            raise StackError(f"the migrations failed: {' '.join(said[-1:])}")
        if not self.plan.database_url:
            (self._postgres.folder / MARK).write_text(_digest(MIGRATIONS))

    async def _not_ready(self) -> list[str]:
        return [
            name
            for name, child in self.processes.items()
            if not await asyncio.to_thread(child.program.ready)
        ]


@asynccontextmanager
async def running_stack(
    *,
    gateways: int = 1,
    runners: int = 1,
    toolsvc: int = 1,
    demo: bool = True,
    env: Mapping[str, str] | None = None,
    database_url: str | None = None,
    redis_url: str | None = None,
    durable: bool = False,
    credentials: Credentials | None = None,
) -> AsyncIterator[Stack]:
    """A whole stack of its own for a test, with scratch stores where no URL is given.

    `env` is all that the services see of an environment, besides PATH and the like. What they
    print is printed at the end, where pytest shows it for tests that fail. `durable` stores keep
    what they have when they are started again, as under `dev.py up`. A `database_url` names a
    migrated database, as the fixture of this name does.
    """
    lines: list[str] = []

    def show(name: str, line: str) -> None:
        lines.append(f"{name:>10} | {line}")

    surroundings = {name: value for name, value in os.environ.items() if name in SURROUNDINGS}
    with scratch_folder() as folder:
        plan = Plan(
            folder=folder,
            credentials=credentials or Credentials.generate(),
            environ=surroundings | dict(env or {}),
            size=Size(gateways=gateways, runners=runners, toolsvc=toolsvc),
            demo=demo,
            database_url=database_url,
            redis_url=redis_url,
            durable=durable,
            migrated=database_url is not None,
        )
        stack = Stack(plan, show=show, news=show)
        try:
            await stack.start()
            yield stack
        finally:
            await stack.stop()
            print("\n".join(lines), file=sys.stderr)


def _tier(child: Child) -> Tier:
    return child.program.tier


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
