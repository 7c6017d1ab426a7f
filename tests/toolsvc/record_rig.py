"""What the tests of the record stand on: its routes over real stores, people, threads, runners."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import Any
from uuid import UUID

import httpx
import orjson
from fastapi import FastAPI
from redis.asyncio import Redis
from sqlalchemy import text

from shared.bus.append import Batch, Entry, Mode, Reply, append
from shared.bus.connect import commands_client
from shared.bus.doorbell import ensure_group, waiting
from shared.bus.events import read_all_after
from shared.bus.limits import Limiter
from shared.db.direct import direct
from shared.db.engine import POSTGRES, engine
from shared.protocol.ids import uuid7
from shared.protocol.position import START, Position
from shared.protocol.record import RUNNER_PROOF, ClaimAnswer, ClaimedRun, HeartbeatAnswer
from shared.settings import ToolsvcSettings
from shared.signing import SigningKey
from shared.web.errors import install_error_handlers
from shared.web.middleware import Outermost
from toolsvc.registry import load_registry
from toolsvc.runs.lease import LeaseJudge
from toolsvc.runs.record import Record
from toolsvc.services import Services

TOKEN_KEY = "token-key-of-the-tests-with-32-bytes-or-more"
RUNNER_KEY = "runner-key-of-the-tests-with-32-bytes-or-more"
GATEWAY_KEY = "gateway-key-of-the-tests-with-32-bytes-or-more"
RECEIPT_KEY = SigningKey("A" * 43)
BODY_LIMIT = 1_048_576
AGENTS = {"Assistant": {"digest": "d"}}
FINISHED = {"outcome": "finished"}


#: The tools that are always there. To import them takes 30 ms, which tests need not spend each.
built_in = cache(load_registry)


class ToldJudge(LeaseJudge):
    """Judges when a test says so; the real rules have tests of their own."""

    told = True

    def may_judge(self, *, now: float | None = None) -> bool:
        return self.told


@dataclass
class Person:
    """Somebody with threads."""

    id: UUID
    turn: int = 0


@dataclass
class RunnerDouble:
    """A runner as toolsvc sees one: requests, and nothing behind them."""

    rig: "RecordRig"
    id: str
    #: What it shows as its own secret; runners of old show none.
    secret: str | None = None

    @property
    def shown(self) -> dict[str, str]:
        return {} if self.secret is None else {RUNNER_PROOF: self.secret}

    async def ask(self, hint: UUID | None = None, *, alone: bool = False) -> ClaimedRun | None:
        return (await self.asked(hint, alone=alone)).claimed

    async def asked(self, hint: UUID | None = None, **more: Any) -> ClaimAnswer:
        body = {"runner": self.id, "slots": 1, "hint": str(hint) if hint else None} | more
        answer = await self.rig.post("/claims", body, RUNNER_KEY)
        assert answer.status_code == 200, answer.text
        return ClaimAnswer.model_validate_json(answer.content)

    async def claim(self, hint: UUID | None = None) -> ClaimedRun:
        claimed = await self.ask(hint)
        assert claimed is not None
        return claimed

    async def beat(
        self, *runs: ClaimedRun, tokens: dict[UUID, str] | None = None, **fields: Any
    ) -> HeartbeatAnswer:
        answer = await self.try_beat(*runs, tokens=tokens, **fields)
        assert answer.status_code == 200, answer.text
        return HeartbeatAnswer.model_validate_json(answer.content)

    async def try_beat(
        self, *runs: ClaimedRun, tokens: dict[UUID, str] | None = None, **fields: Any
    ) -> httpx.Response:
        named = [[str(r.run), r.fence, r.token_expires] for r in runs]
        body: dict[str, Any] = {"runs": named} | fields
        if tokens is not None:
            body["tokens"] = {str(run): token for run, token in tokens.items()}
        return await self.rig.post(f"/runners/{self.id}/heartbeat", body, RUNNER_KEY, self.shown)

    async def announce(self, agents: Any = None, **more: Any) -> httpx.Response:
        body = {"agents": AGENTS if agents is None else agents} | more
        return await self.rig.post(f"/runners/{self.id}/catalogue", body, RUNNER_KEY, self.shown)

    async def leave(self) -> httpx.Response:
        sent = {"authorization": f"Bearer {RUNNER_KEY}"} | self.shown
        return await self.rig.http.delete(f"/runners/{self.id}", headers=sent)

    async def lose_lease(self) -> None:
        """Its lease ends, as if it had been silent for long."""
        await self.rig.sql(
            "UPDATE runners SET lease_until = now() - interval '1 s' WHERE id = :id", id=self.id
        )


@dataclass
class RecordRig:
    """The routes, and a look behind them."""

    http: httpx.AsyncClient
    services: Services
    app: FastAPI
    redis: Redis
    runs: int = field(default=0)

    @property
    def judge(self) -> ToldJudge:
        assert isinstance(self.services.judge, ToldJudge)
        return self.services.judge

    # -------------------------------------------------------------------- requests
    async def post(
        self, path: str, body: Any, key: str, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        sent = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        return await self.http.post(path, content=raw, headers=sent | (headers or {}))

    async def commit(self, claimed: ClaimedRun, n: int = 1, **more: Any) -> httpx.Response:
        body = {"fence": claimed.fence, "n": n} | more
        path = f"/runs/{claimed.run}/{'finish' if 'end' in more else 'steps'}"
        return await self.post(path, body, claimed.token)

    async def committed(self, claimed: ClaimedRun, n: int = 1, **more: Any) -> Any:
        answer = await self.commit(claimed, n, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refusal(self, claimed: ClaimedRun, n: int = 1, **more: Any) -> tuple[int, str]:
        return refused(await self.commit(claimed, n, **more))

    async def runner(
        self, name: str = "r1", agents: Any = None, *, secret: str | None = "its own"
    ) -> RunnerDouble:
        """A runner that has announced its agents and holds a lease."""
        double = RunnerDouble(self, name, secret)
        assert (await double.announce(agents)).status_code == 200
        await double.beat()
        return double

    # -------------------------------------------------------------------- what gateways store
    async def person(self) -> Person:
        person = Person(uuid7())
        email = f"{person.id.hex}@example.com"
        await self.sql(
            "INSERT INTO users (id, email, admin) VALUES (:id, :email, false)",
            id=person.id,
            email=email,
        )
        return person

    async def thread(self, person: Person, agent: str = "Assistant") -> UUID:
        thread = uuid7()
        await self.sql(
            "INSERT INTO threads (id, user_id, public_id, agent) "
            "VALUES (:id, :user, :name, :agent)",
            id=thread,
            user=person.id,
            name=f"thr_{thread.hex}",
            agent=agent,
        )
        return thread

    async def run(
        self,
        person: Person,
        thread: UUID | None = None,
        *,
        ready: bool = True,
        agent: str = "Assistant",
        age_s: float = 60,
    ) -> UUID:
        """An accepted run with one message of the person's, in a new thread unless one is given."""
        run, thread = uuid7(), thread or await self.thread(person, agent)
        person.turn += 1
        message = {"id": f"msg_{run.hex}", "role": "user", "content": "hello"}
        await self.sql(
            """
            WITH said AS (
                INSERT INTO messages (thread_id, id, run_id, role, content)
                VALUES (:thread, :message, :run, 'user', CAST(:content AS json))
            )
            INSERT INTO runs (id, public_id, user_id, thread_id, root_id, agent, status, ready,
                priority, turn, message_id, input, input_digest, commits, created_at)
            VALUES (:run, :name, :user, :thread, :run, :agent, 'queued', :ready, 0, :turn, :message,
                CAST(:input AS json), '', 0, now() - make_interval(secs => :age))
            """,
            run=run,
            name=f"run_{run.hex}",
            user=person.id,
            thread=thread,
            agent=agent,
            ready=ready,
            turn=person.turn,
            message=message["id"],
            content=orjson.dumps(message).decode(),
            input=orjson.dumps({"messages": [message], "forwardedProps": {"x": 1}}).decode(),
            age=age_s,
        )
        return run

    async def cancel(self, run: UUID) -> None:
        """What a gateway does: the wish is in SQL before toolsvc is told."""
        await self.sql("UPDATE runs SET cancel_requested_at = now() WHERE id = :run", run=run)

    # -------------------------------------------------------------------- behind the scenes
    async def sql(self, statement: str, **values: Any) -> list[Any]:
        async with self.services.engine.begin() as connection:
            rows = await connection.execute(text(statement), values)
            return list(rows.all()) if rows.returns_rows else []

    async def one(self, statement: str, **values: Any) -> Any:
        (row,) = await self.sql(statement, **values)
        return row

    async def run_row(self, run: UUID) -> Any:
        return await self.one("SELECT * FROM runs WHERE id = :run", run=run)

    async def thread_row(self, thread: UUID) -> Any:
        return await self.one("SELECT * FROM threads WHERE id = :thread", thread=thread)

    async def status(self, run: UUID) -> str:
        return str((await self.run_row(run)).status)

    async def events(self, thread: UUID) -> list[Any]:
        return await self.sql(
            "SELECT * FROM events WHERE thread_id = :thread ORDER BY fence, seq", thread=thread
        )

    async def positions(self, thread: UUID) -> list[tuple[int, int, int, str]]:
        return [(row.fence, row.seq, row.seq_to, row.type) for row in await self.events(thread)]

    async def rung(self) -> set[UUID]:
        return await waiting(self.redis)

    async def publish(
        self, claimed: ClaimedRun, seqs: range, *, starts: bool = False, type_: str = "CUSTOM"
    ) -> Reply:
        """What the claim's runner does in Redis: its start rows, then events."""
        if starts:
            entries = [
                Entry(Position(one.fence, one.seq), one.type, claimed.run_id, one.data)
                for one in claimed.starts
            ]
            sql_last = Position(*claimed.sql_last)
            batch = Batch(
                claimed.thread, claimed.fence, entries, Mode.CREATE, False, sql_last=sql_last
            )
            reply = await append(self.redis, batch)
            if not seqs:
                return reply
        own = [
            Entry(Position(claimed.fence, seq), type_, claimed.run_id, event(type_, seq))
            for seq in seqs
        ]
        return await append(self.redis, Batch(claimed.thread, claimed.fence, own))

    async def streamed(self, thread: UUID) -> list[Entry]:
        return await read_all_after(self.redis, thread, START)

    async def chain_holds(self, thread: UUID) -> bool:
        """Recompute the thread's chain from its rows alone."""
        last = bytes(32)
        for row in await self.events(thread):
            if row.hash is None:
                continue
            digest = sha256(row.salt + row.data.encode()).digest()
            said = f"{row.fence}-{row.seq} {row.seq_to} {row.type} ".encode()
            last = sha256(last + said + digest).digest()
            if (row.digest, row.hash) != (digest, last):
                return False
        return bool((await self.thread_row(thread)).chain == last)

    async def closings(self) -> None:
        """Wait until every close that was asked for is over."""
        await asyncio.gather(*self.app.state.closing)


def event(type_: str, seq: int, **fields: Any) -> str:
    return orjson.dumps({"type": type_, "name": f"n{seq}", "value": seq} | fields).decode()


def row(seq: int, type_: str = "CUSTOM", *, to: int | None = None) -> list[Any]:
    return [seq, to or seq, type_, event(type_, seq)]


def step(place: str, *, scope: str = "run:A:1#0", kind: str = "model") -> dict[str, str]:
    record = orjson.dumps({"shown": [], "place": place}).decode()
    return {"scope": scope, "kind": kind, "place": place, "digest": f"d{place}", "record": record}


def span(id_: str, *, ended: bool = False, **data: Any) -> dict[str, Any]:
    at = "2026-11-21T12:00:00+00:00"
    return {"id": id_, "started": at, "ended": at if ended else None, "data": {"type": "x"} | data}


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def everything(rig: RecordRig) -> list[Any]:
    """All that a refused commit must leave as it was."""
    tables = ("events", "steps", "spans", "messages", "runs", "threads")
    return [await rig.sql(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in tables]


async def taken_over(rig: RecordRig, claimed: ClaimedRun, name: str = "next") -> ClaimedRun:
    """The claim of a second runner after the first one died."""
    await rig.sql("UPDATE runners SET lease_until = now() - interval '1 s'")
    await rig.sql("UPDATE runs SET deaths = 0")  # else it would go to a process of its own
    return await (await rig.runner(name)).claim(claimed.run)


@asynccontextmanager
async def opened(database_url: str, redis_url: str) -> AsyncIterator[RecordRig]:
    """The routes of the record, with a judge that does as it is told, and no loop beside them."""
    settings = ToolsvcSettings.model_validate(
        {
            "database_url": database_url,
            "redis_url": redis_url,
            "run_token_key": TOKEN_KEY,
            "runner_key": RUNNER_KEY,
            "gateway_key": GATEWAY_KEY,
        }
    )
    redis = commands_client(redis_url, "baton-test")
    async with (
        engine(database_url, pool_size=16) as made,
        direct(database_url, size=8) as own,
        httpx.AsyncHTTPTransport() as connections,
    ):
        app = FastAPI()
        install_error_handlers(app)
        app.state.closing = set()
        app.state.services = services = Services(
            limiter=Limiter(redis),
            settings=settings,
            engine=made,
            direct=own,
            redis=redis,
            connections=connections,
            registry=built_in(),
            instance="toolsvc-test",
            judge=ToldJudge(settings.lease_s),
            receipt_key=RECEIPT_KEY,
        )
        await ensure_group(redis)
        outermost = Outermost(
            Record(app), process="toolsvc", body_limit=BODY_LIMIT, stores=(POSTGRES,)
        )
        transport = httpx.ASGITransport(outermost)
        async with httpx.AsyncClient(transport=transport, base_url="http://toolsvc") as http:
            yield RecordRig(http, services, app, redis)
            await asyncio.gather(*app.state.closing, return_exceptions=True)
    await redis.aclose()
