"""Spans of traces."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.tables import SPANS


class SpanRow(NamedTuple):
    """A span as the SDK made it."""

    id: str
    parent: str | None
    started_at: datetime
    ended_at: datetime | None
    data: Any
    error: Any


_FORGOTTEN = text("SELECT 'spans' = ANY(COALESCE(forgotten, '{}')) FROM runs WHERE id = :root")


async def deleted(db: AsyncConnection, root: UUID) -> bool:
    """Whether retention has deleted spans of a root run."""
    return bool((await db.execute(_FORGOTTEN, {"root": root})).scalar_one_or_none())


async def of_root(db: AsyncConnection, root: UUID, limit: int) -> Sequence[SpanRow]:
    """The oldest spans of a root run's trace, in order of their beginning."""
    columns = SPANS.c
    query = (
        select(
            columns.id,
            columns.parent_id,
            columns.started_at,
            columns.ended_at,
            columns.data,
            columns.error,
        )
        .where(columns.root_id == root)
        .order_by(columns.started_at, columns.id)
        .limit(limit)
    )
    return [SpanRow(*row) for row in await db.execute(query)]
