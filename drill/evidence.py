"""What the judge looks at besides the clients' records: SQL, the model's log, the ledger's file."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import psycopg

from drill.poison import Killed
from drill.talk import MARK
from shared.chain import StoredRow


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run as SQL has it in the end."""

    run: str
    thread: str
    status: str
    error_code: str | None
    answer: str | None  #: the text of its last message of role `assistant`
    last_death: str | None = None  #: how the process died that it had to itself, in toolsvc's words


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """A row of events, with the hash that the chain has there."""

    run: str
    row: StoredRow
    hash: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadRow:
    """A thread's chain, and its rows in the order of ids."""

    thread: str
    settled: int
    chain: bytes | None
    rows: tuple[EventRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanRow:
    """A span as SQL has it."""

    id: str
    run: str
    ended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """A request that reached the model server; they are in the order of their arrival."""

    mark: str  #: of the last thing a user said, so of the run
    agent: str
    items: int  #: how much of the run was there already
    digest: str  #: of instructions and input


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A line that the tool `ledger` has written."""

    run: str
    key: str


@dataclass(slots=True, kw_only=True)
class Evidence:
    """All of it."""

    runs: dict[str, RunRow] = field(default_factory=dict)
    threads: dict[str, ThreadRow] = field(default_factory=dict)
    spans: list[SpanRow] = field(default_factory=list)
    exported: list[str] = field(default_factory=list)  #: ids of spans that the ingest was sent
    calls: list[ModelCall] = field(default_factory=list)
    calls_missed: int = 0  #: requests that the model's log had dropped before we looked
    ledger: list[Effect] = field(default_factory=list)
    killed: list[Killed] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)  #: how many notes have a mark as text


_RUNS = """
    SELECT r.public_id, t.public_id, r.status, r.error_code,
        (SELECT m.content FROM messages m WHERE m.run_id = r.id AND m.role = 'assistant'
         ORDER BY m.ordinal DESC LIMIT 1),
        r.last_words ->> 'status'
    FROM runs r JOIN threads t ON t.id = r.thread_id
"""
_THREADS = "SELECT id, public_id, settled, chain FROM threads"
_EVENTS = """
    SELECT r.public_id, e.fence, e.seq, e.seq_to, e.type, e.data, e.salt, e.digest, e.hash
    FROM events e JOIN runs r ON r.id = e.run_id
    WHERE e.thread_id = %s ORDER BY e.fence, e.seq
"""
_SPANS = "SELECT s.id, r.public_id, s.ended_at FROM spans s JOIN runs r ON r.id = s.root_id"
_NOTES = "SELECT body, count(*) FROM notes GROUP BY body"


def read_sql(url: str, evidence: Evidence) -> None:
    """Put in what SQL holds; blocks.

    Raises:
        psycopg.Error: Postgres is away.
    """
    with psycopg.connect(url, connect_timeout=5) as db:
        db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        for run, thread, status, error, content, death in db.execute(_RUNS):
            evidence.runs[run] = RunRow(
                run=run,
                thread=thread,
                status=status,
                error_code=error,
                answer=_text(content),
                last_death=death,
            )
        for id_, thread, settled, chain in db.execute(_THREADS).fetchall():
            evidence.threads[thread] = ThreadRow(
                thread=thread,
                settled=settled,
                chain=chain,
                rows=tuple(
                    EventRow(run=run, row=StoredRow(*row), hash=found)
                    for run, *row, found in db.execute(_EVENTS, (id_,))
                ),
            )
        evidence.spans = [
            SpanRow(id=id_, run=run, ended=ended is not None)
            for id_, run, ended in db.execute(_SPANS)
        ]
        evidence.notes = dict(db.execute(_NOTES).fetchall())


def _text(content: Any) -> str | None:
    """The text of an AG-UI message."""
    message = json.loads(content) if isinstance(content, str) else content
    text = message.get("content") if isinstance(message, Mapping) else None
    return text if isinstance(text, str) else None


def read_ledger(file: Path) -> list[Effect]:
    """The effects outside, in the order in which they happened."""
    if not file.exists():
        return []
    lines = (json.loads(line) for line in file.read_text("utf-8").splitlines())
    return [Effect(run=line["run"], key=line["key"]) for line in lines]


class ModelLog:
    """Reads the demo model's records from time to time, for it keeps only the newest."""

    def __init__(self, url: str) -> None:
        self.calls: list[ModelCall] = []
        self.missed = 0
        self._url = url
        self._total = 0

    async def read(self) -> None:
        """Take in what is new."""
        found = await self._get("requests")
        new = found["total"] - self._total
        self._total = found["total"]
        taken = found["data"][-new:] if new else []
        self.missed += new - len(taken)
        self.calls += [call for one in taken if (call := model_call(one["body"]))]

    async def exported(self) -> list[str]:
        """Ids of all spans that were sent to the ingest, as often as they were sent."""
        found = await self._get("traces")
        return list(exported_spans(one["body"] for one in found["data"]))

    async def _get(self, what: str) -> dict[str, Any]:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
            answer = await http.get(f"{self._url}/_demo/{what}")
            answer.raise_for_status()
            found: dict[str, Any] = answer.json()
            return found


def exported_spans(payloads: Iterable[Any]) -> Iterable[str]:
    """The ids of the spans in payloads of the Agents SDK's exporter."""
    for payload in payloads:
        for item in payload.get("data", []) if isinstance(payload, dict) else []:
            if item.get("object") == "trace.span":
                yield item["id"]


def model_call(body: Any) -> ModelCall | None:
    """A request to `POST /v1/responses`; `None` for one that belongs to no run of ours."""
    if not isinstance(body, dict):
        return None
    given = body.get("input")
    items = given if isinstance(given, list) else [{"role": "user", "content": given}]
    said = [json.dumps(item.get("content")) for item in items if item.get("role") == "user"]
    marks = MARK.findall(said[-1]) if said else []
    if not marks:
        return None
    instructions = str(body.get("instructions"))
    return ModelCall(
        mark=marks[-1],
        agent=instructions.partition(":")[0],
        items=len(items),
        digest=sha256(json.dumps([instructions, items], sort_keys=True).encode()).hexdigest(),
    )
