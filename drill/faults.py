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
from drill.records import Hit, Log, Victim
from stack.resp import RespConnection, RespError
from stack.running import Stack

_KILLS = {
    FaultKind.KILL_RUNNER,
    FaultKind.KILL_GATEWAY,
    FaultKind.KILL_TOOLSVC,
    FaultKind.KILL_VALKEY,
    FaultKind.KILL_POSTGRES,
}
_DEPLOYS = {FaultKind.DEPLOY_RUNNER, FaultKind.DEPLOY_GATEWAY, FaultKind.DEPLOY_TOOLSVC}

#: A runner's id is host, process id and chance.
_CARRIED = """
    SELECT public_id, fence FROM runs
    WHERE status = 'running' AND runner_id LIKE '%%-' || %s || '-%%'
"""
_TERMINATE = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND usename = current_user
"""

#: Before a fault SQL is asked which runs it hits; if that takes longer, nobody knows.
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
            case FaultKind.STOP_RUNNER:
                await self._signal(fault, hit, signal.SIGSTOP)
            case FaultKind.FLUSH:
                await asyncio.to_thread(self._redis, ["FLUSHALL"])
            case FaultKind.CLIENTS:
                await asyncio.to_thread(
                    self._redis,
                    *(["CLIENT", "KILL", "TYPE", kind] for kind in ("normal", "pubsub")),
                )
            case FaultKind.BACKENDS:
                await asyncio.to_thread(self._terminate_backends)
            case FaultKind.DROP:
                for client in fault.clients:
                    self._net.links[client].drop()
            case _:
                for client in fault.clients:
                    self._later(self._net.links[client].stall(fault.lasts_s))

    async def _signal(self, fault: Fault, hit: Hit, number: signal.Signals) -> None:
        child = self._stack.processes[fault.target]
        pid = child.pid
        if pid and fault.target.startswith("runner"):
            hit.victims = await self._carried_by(pid)
        if not pid or pid != child.pid:
            hit.missed = "it was not running"
            return
        hit.at = time.time()
        child.kill(number)
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

    async def _carried_by(self, pid: int) -> tuple[Victim, ...] | None:
        with suppress(psycopg.Error, TimeoutError, OSError):
            async with asyncio.timeout(ASK_WITHIN_S):
                url = self._stack.database_url
                async with await psycopg.AsyncConnection.connect(url, connect_timeout=1) as db:
                    rows = await (await db.execute(_CARRIED, (str(pid),))).fetchall()
                    return tuple(Victim(run=run, fence=fence) for run, fence in rows)
        return None

    def _redis(self, *commands: list[str]) -> None:
        with RespConnection(self._stack.redis_url("admin")) as redis:
            for command in commands:
                redis.call(*command)

    def _terminate_backends(self) -> None:
        with psycopg.connect(self._stack.database_url, connect_timeout=2) as db:
            db.execute(_TERMINATE)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.create_task(work, name="a fault that lasts"))
