"""Threads: conversations of a person."""

from collections.abc import Container
from datetime import datetime
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import Query, Response
from pydantic import Field, StringConstraints

from gateway.access import usable_agent
from gateway.api.routing import PathId, SignedIn, WithServices, api_router
from gateway.api.shapes import (
    Body,
    Cursor,
    Limit,
    Line,
    Page,
    Shape,
    page_of,
    parse_time_cursor,
    time_cursor,
)
from gateway.stopping import announce_stops
from gateway.store import files, interrupts, runs, threads
from gateway.store.threads import ThreadRow
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.frames import PublicId
from shared.protocol.ids import LONGEST_AGENT_NAME, new_thread_id

router = api_router("threads")

AgentName = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_AGENT_NAME)]
Title = Annotated[Line, StringConstraints(min_length=1, max_length=200)]


class Thread(Shape):
    """A conversation."""

    id: str = Field(examples=["thr_01993b7c5d5e7c0f8a51c6f7b1f2a3d4"])
    agent: str = Field(examples=["Assistant"])
    title: str | None = Field(examples=["Holiday plans"])
    asks: bool = Field(description="Whether it waits for a decision, or for a client's tool.")
    created_at: datetime
    updated_at: datetime


class NewThread(Body):
    """A conversation to be."""

    agent: AgentName = Field(examples=["Assistant"])
    title: Title | None = Field(None, examples=["Holiday plans"])
    id: PublicId | None = Field(None, description="Chosen by the caller; makes repeats harmless.")


class ThreadChange(Body):
    """What may be changed of a thread."""

    title: Title | None = Field(examples=["Holiday plans"])


def shape(row: ThreadRow, asking: Container[UUID] = ()) -> Thread:
    """A thread as people see it; `asking` are those that wait for somebody."""
    return Thread(
        id=row.public_id,
        agent=row.agent,
        title=row.title,
        asks=row.key in asking,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


@router.post("/threads", status_code=201, operation_id="createThread")
async def create_thread(
    body: NewThread, caller: SignedIn, services: WithServices, response: Response
) -> Thread:
    """Make a thread. The same id with the same content again answers 200 with the same thread."""
    agent = (await usable_agent(services, caller, body.agent))["name"]
    public_id = body.id or new_thread_id()
    async with services.db.locking(caller.user_id) as tx:
        inserted = threads.make(tx, caller.user_id, public_id, agent, body.title)
    row = made = inserted.row
    asking: set[UUID] = set()
    if made is None:
        async with services.db.reading(caller.user_id) as db:
            row = await threads.find(db, caller.user_id, public_id)
            asking = await interrupts.asking(db, [row.key] if row else [])
    if row is None or (row.agent, row.title) != (agent, body.title):
        raise BatonError(Code.CONFLICT)
    if made:
        services.tell(caller.user_id, "thread", public_id)
    else:
        response.status_code = 200
    return shape(row, asking)


@router.get("/threads", operation_id="listThreads")
async def list_threads(
    caller: SignedIn,
    services: WithServices,
    limit: Limit = 50,
    cursor: Annotated[Cursor, Query()] = None,
) -> Page[Thread]:
    """List my threads, the last changed first."""
    before = parse_time_cursor(cursor)
    async with services.db.reading(caller.user_id) as db:
        rows = await threads.page(db, caller.user_id, limit=limit + 1, before=before)
        asking = await interrupts.asking(db, [row.key for row in rows])
    return page_of(
        rows,
        limit,
        shape=partial(shape, asking=asking),
        cursor=lambda row: time_cursor(row.updated_at, row.key),
    )


@router.get("/threads/{id}", operation_id="getThread")
async def get_thread(thread_id: PathId, caller: SignedIn, services: WithServices) -> Thread:
    """Read a thread."""
    async with services.db.reading(caller.user_id) as db:
        row = await threads.find(db, caller.user_id, thread_id)
        asking = await interrupts.asking(db, [row.key] if row else [])
    if row is None:
        raise BatonError(Code.NOT_FOUND)
    return shape(row, asking)


@router.patch("/threads/{id}", operation_id="changeThread")
async def change_thread(
    thread_id: PathId,
    body: ThreadChange,
    caller: SignedIn,
    services: WithServices,
) -> Thread:
    """Give a thread another title, or none."""
    async with services.db.writing(caller.user_id) as db:
        row = await threads.rename(db, caller.user_id, thread_id, body.title)
        asking = await interrupts.asking(db, [row.key] if row else [])
    if row is None:
        raise BatonError(Code.NOT_FOUND)
    services.tell(caller.user_id, "thread", thread_id)
    return shape(row, asking)


@router.delete("/threads/{id}", status_code=204, operation_id="deleteThread")
async def delete_thread(thread_id: PathId, caller: SignedIn, services: WithServices) -> None:
    """Delete a thread and its files; its runs are stopped."""
    async with services.db.locking(caller.user_id) as db:
        locked = threads.lock(db, caller.user_id, thread_id)
        await db.run()
        row = locked.row
        if row is None or row.deleted_at:
            raise BatonError(Code.NOT_FOUND)
        stopping = runs.ask_to_stop(db, row.key)
        threads.mark_deleted(db, row.key)
        files.forget(db, row.key)
    announce_stops(services, caller, thread_id, stopping.rows)
    services.tell(caller.user_id, "thread", thread_id)
