"""The trace of a run: its spans as a tree."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from gateway.api.routing import PathId, SignedIn, WithServices, api_router
from gateway.api.shapes import Shape
from gateway.store import runs, spans
from gateway.store.spans import SpanRow
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.ids import trace_id

router = api_router("runs")

MAX_SPANS = 5000
#: Runners send what they like; deeper spans are shown beside each other, not below.
MAX_DEPTH = 64


class Span(Shape):
    """A span as the SDK made it, with those below it."""

    id: str
    type: str | None = Field(examples=["generation"])
    name: str | None
    started_at: datetime
    ended_at: datetime | None
    data: dict[str, Any]
    error: Any
    children: list["Span"] = Field(default_factory=list)


class Trace(Shape):
    """All attempts of a root run and of its resumes are one trace."""

    trace_id: str = Field(examples=["trace_01993b7c5d5e7c0f8a51c6f7b1f2a3d4"])
    run_id: str
    spans: list[Span]
    truncated: bool = Field(description="There are more spans than are shown.")
    deleted: bool = Field(description="Spans were deleted, as retention says.")


@router.get("/runs/{id}/trace", operation_id="getTrace")
async def get_trace(run_id: PathId, caller: SignedIn, services: WithServices) -> Trace:
    """Read the trace that a run belongs to."""
    async with services.db.reading(caller.user_id) as db:
        run = await runs.find(db, caller.user_id, run_id)
        if run is None:
            raise BatonError(Code.NOT_FOUND)
        rows = await spans.of_root(db, run.root, MAX_SPANS + 1)
        deleted = await spans.deleted(db, run.root)
    return Trace(
        trace_id=trace_id(run.root),
        run_id=run.public_id,
        spans=tree(rows[:MAX_SPANS]),
        truncated=len(rows) > MAX_SPANS,
        deleted=deleted,
    )


def tree(rows: Sequence[SpanRow]) -> list[Span]:
    """Spans below their parents. One whose parent is missing, or is itself, stands at the top."""
    nodes = {row.id: _span(row) for row in rows}
    below: dict[str, list[str]] = defaultdict(list)
    tops: list[str] = []
    for row in rows:
        place = below[row.parent] if row.parent in nodes else tops
        place.append(row.id)
    placed: set[str] = set()
    roots: list[Span] = []
    # The tops first; whatever they do not reach is part of a ring, which is cut open anywhere.
    for top in (*tops, *nodes):
        if top not in placed:
            roots.append(nodes[top])
            _hang(top, nodes, below, placed)
    return roots


def _hang(top: str, nodes: dict[str, Span], below: dict[str, list[str]], placed: set[str]) -> None:
    placed.add(top)
    todo = [(top, top, 1)]
    while todo:
        id_, hook, depth = todo.pop()
        for child in below.get(id_, ()):
            if child in placed:
                continue
            placed.add(child)
            nodes[hook].children.append(nodes[child])
            deeper = depth < MAX_DEPTH
            todo.append((child, child if deeper else hook, depth + 1 if deeper else depth))


def _span(row: SpanRow) -> Span:
    # Somebody may have altered it by hand.
    data = row.data if isinstance(row.data, dict) else {}
    kind, name = data.get("type"), data.get("name")
    return Span(
        id=row.id,
        type=kind if isinstance(kind, str) else None,
        name=name if isinstance(name, str) else None,
        started_at=row.started_at,
        ended_at=row.ended_at,
        data=data,
        error=row.error,
    )
