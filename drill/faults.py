"""Carries the plan's faults out, against a running stack and the network of the clients."""

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import psycopg

from drill.network import Network
from drill.plan import Fault, FaultKind
from drill.poison import Killed
from drill.records import Hit, Log, Victim
from drill.stores import ask_redis, frozen_postgres, take_connections, terminate_backends
from stack.resp import RespError
from stack.running import Stack

_KILLS = {
    FaultKind.KILL_RUNNER,
    FaultKind.KILL_GATEWAY,
    FaultKind.KILL_TOOLSVC,
    FaultKind.KILL_VALKEY,
    FaultKind.KILL_POSTGRES,
}
_DEPLOYS = {FaultKind.DEPLOY_RUNNER, FaultKind.DEPLOY_GATEWAY, FaultKind.DEPLOY_TOOLSVC}

_KILL_CLIENTS: list[list[str | int]] = [
    ["CLIENT", "KILL", "TYPE", kind] for kind in ("normal", "pubsub")
]

#: A runner's id is host, process id and chance.
_CARRIED = """
    SELECT public_id, fence FROM runs
    WHERE status = 'running' AND (runner_id LIKE '%%-' || %s || '-%%' OR public_id = %s)
"""

#: SQL is asked which runs a fault hits; if that takes longer, nobody knows.
ASK_WITHIN_S = 1.0


class Faults:
    """Breaks things at their times, and writes down what was really broken."""

    def __init__(self, stack: Stack, net: Network, log: Log, said: Callable[[Hit], None]) -> None:
        self.hits: list[Hit] = []
        self._stack, self._net, self._log, self._said = stack, net, log, said
        self._tasks: set[asyncio.Task[None]] = set()

    async def carry_out(self, faults: tuple[Fault, ...], began: float) -> None:
        """All faults, each at its time after `began` (by `time`)."""
        try:
            for fault in faults:
                await asyncio.sleep(max(0.0, began + fault.at_s - time.time()))
                await self._carry_out(fault)
            await asyncio.gather(*self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry_out(self, fault: Fault) -> None:
        hit = Hit(
            at=time.time(),
            kind=fault.kind,
            target=fault.target,
            clients=fault.clients,
            lasts_s=fault.lasts_s,
        )
        self.hits.append(hit)
        try:
            await self._break(fault, hit)
        except (OSError, RespError, psycopg.Error) as error:
            hit.missed = f"{type(error).__name__}: {error}".splitlines()[0]
        self._log.add("fault", fault=hit)
        self._said(hit)

    async def _break(self, fault: Fault, hit: Hit) -> None:
        match fault.kind:
            case kind if kind in _KILLS:
                await self._signal(fault, hit, signal.SIGKILL)
            case kind if kind in _DEPLOYS:
                await self._signal(fault, hit, signal.SIGTERM)
            case FaultKind.STOP_RUNNER | FaultKind.HOLE:
                await self._signal(fault, hit, signal.SIGSTOP)
            case _ if fault.target == "valkey":
                await self._break_redis(fault)
            case _ if fault.target == "postgres":
                await self._break_postgres(fault)
            case FaultKind.DROP:
                for client in fault.clients:
                    self._net.links[client].drop()
            case _:
                for client in fault.clients:
                    self._later(self._net.links[client].stall(fault.lasts_s))

    async def _break_redis(self, fault: Fault) -> None:
        match fault.kind:
            case FaultKind.FLUSH:
                await self._redis(["FLUSHALL"])
            case FaultKind.CLIENTS:
                await self._redis(*_KILL_CLIENTS)
            case FaultKind.GROUP:
                await self._redis(["XGROUP", "DESTROY", "runs", "runners"])
            case FaultKind.PAUSE:
                await self._redis(["CLIENT", "PAUSE", int(fault.lasts_s * 1000), "ALL"])
            case FaultKind.FULL:
                await self._redis(["CONFIG", "SET", "maxmemory", 1])
                self._later(self._make_room(fault.lasts_s))
            case FaultKind.SLEEP:
                self._later(self._quietly(self._redis(["DEBUG", "SLEEP", str(fault.lasts_s)])))
            case _:
                self._later(self._quietly(self._cut(fault.lasts_s)))

    async def _break_postgres(self, fault: Fault) -> None:
        match fault.kind:
            case FaultKind.BACKENDS:
                await asyncio.to_thread(terminate_backends, self._stack.database_url)
            case FaultKind.GREEDY:
                self._later(
                    self._quietly(take_connections(self._stack.database_url, fault.lasts_s))
                )
            case _:
                self._later(self._quietly(self._freeze(fault.lasts_s)))

    async def _signal(self, fault: Fault, hit: Hit, number: signal.Signals) -> None:
        child = self._stack.processes[fault.target]
        pid = child.pid
        if pid and fault.target.startswith("runner"):
            hit.victims = await self._carried_by(pid)
        if not pid or pid != child.pid:
            hit.missed = "it was not running"
            return
        hit.at, hit.pid = time.time(), pid
        child.kill(number)
        if hit.victims is not None:  # and what it claimed between the question and the signal
            later = await self._carried_by(pid)
            hit.victims = None if later is None else tuple({*hit.victims, *later})
        if number is signal.SIGSTOP:
            self._later(self._wake(fault, pid))

    async def _wake(self, fault: Fault, pid: int) -> None:
        child = self._stack.processes[fault.target]
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            if child.pid == pid:
                child.kill(signal.SIGCONT)
                self._log.add("woken", target=fault.target)

    async def killed(self, one: Killed) -> None:
        """A poisonous run has ended a process, and all that this carried has lost its carrier."""
        hit = Hit(
            at=one.at,
            kind=FaultKind.POISON,
            target="process of its own" if one.alone else "runner",
            pid=one.pid,
            victims=await self._carried_by(one.pid, one.run),
        )
        self.hits.append(hit)
        self._log.add("fault", fault=hit)
        self._said(hit)

    async def _carried_by(self, pid: int, run: str = "") -> tuple[Victim, ...] | None:
        """Runs of the runner with this process id, and this `run` whoever carries it."""
        with suppress(psycopg.Error, TimeoutError, OSError):
            async with asyncio.timeout(ASK_WITHIN_S):
                url = self._stack.database_url
                async with await psycopg.AsyncConnection.connect(url, connect_timeout=1) as db:
                    rows = await (await db.execute(_CARRIED, (str(pid), run))).fetchall()
                    return tuple(Victim(run=run, fence=fence) for run, fence in rows)
        return None

    async def _redis(self, *commands: list[str | int]) -> None:
        await asyncio.to_thread(ask_redis, self._stack.redis_url("admin"), *commands)

    async def _make_room(self, after_s: float) -> None:
        """Also where Redis was killed meanwhile, which has forgotten its limit then."""
        try:
            await asyncio.sleep(after_s)
        finally:
            await self._quietly(self._redis(["CONFIG", "SET", "maxmemory", 0]))

    async def _cut(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await self._redis(*_KILL_CLIENTS)
            await asyncio.sleep(1)

    async def _freeze(self, seconds: float) -> None:
        if pid := self._stack.processes["postgres"].pid:
            async with frozen_postgres(self._stack.database_url, pid):
                await asyncio.sleep(seconds)

    async def _quietly(self, work: Coroutine[Any, Any, Any]) -> None:
        """What a store says while it is broken is no news."""
        with suppress(OSError, RespError, psycopg.Error):
            await work

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.create_task(work, name="a fault that lasts"))
