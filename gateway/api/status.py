"""What goes on in this installation; for admins all of it, for others their own part."""

import os
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import Field

from gateway.api.routing import SignedIn, WithServices, api_router
from gateway.api.shapes import Shape
from gateway.store import status
from gateway.store.status import ProcessRow, ProviderRow, QueueRow

router = api_router("operations")


class Process(Shape):
    """A process that carries runs, and until when its lease holds."""

    id: str
    kind: Literal["runner", "toolsvc"]
    version: str
    alive: bool
    started_at: datetime
    lease_until: datetime
    slots: int
    carried: int
    agents: list[str]
    broken: dict[str, Any] = Field(
        description="Agents that could not be loaded: name → reason, with file and line."
    )

    @classmethod
    def of(cls, row: ProcessRow) -> Self:
        """A process as operators see it."""
        return cls(
            id=row.id,
            kind="toolsvc" if row.agents is None and row.broken is None else "runner",
            version=row.version,
            alive=row.alive,
            started_at=row.started_at,
            lease_until=row.lease_until,
            slots=row.slots,
            carried=row.carried,
            agents=sorted(row.agents or {}),
            broken=row.broken or {},
        )


class Queue(Shape):
    """What waits, and what is carried; `stranded` runs wait to be taken over."""

    waiting: int = Field(description="Runs that wait for a runner.")
    oldest_s: float | None = Field(description="Age of the oldest waiting run, in seconds.")
    behind: int = Field(
        description="Runs that wait for another one of their thread, or behind what that asks."
    )
    asking: int = Field(description="Threads that wait for a decision.")
    running: int
    stranded: int | None

    @classmethod
    def of(cls, row: QueueRow) -> Self:
        """The queue as it stands."""
        oldest = None if row.oldest_s is None else round(float(row.oldest_s), 3)
        return cls(
            waiting=row.waiting,
            oldest_s=oldest,
            behind=row.behind,
            asking=row.asking,
            running=row.running,
            stranded=row.stranded,
        )


class ModelServer(Shape):
    """A model server as the runners find it."""

    name: str
    state: Literal["works", "held", "down"]
    seconds: float = Field(description="So long nobody asks it.")
    active: int = Field(description="Calls that go on.")
    waiting: int = Field(description="Calls that wait for their turn.")

    @classmethod
    def of(cls, row: ProviderRow) -> Self:
        """A model server as operators see it."""
        held_s, open_s = float(row.held_s), float(row.open_s)
        return cls(
            name=row.name,
            state="down" if row.down else "held" if held_s else "works",
            seconds=round(max(held_s, open_s), 1),
            active=row.active,
            waiting=row.waiting,
        )


class Gateway(Shape):
    """The gateway that answers."""

    version: str
    redis_ready: bool
    relay_lag_s: float | None


class Status(Shape):
    """What goes on."""

    scope: Literal["all", "mine"]
    gateway: Gateway
    queue: Queue
    leases: int | None = Field(description="Living runners.")
    processes: list[Process] | None
    model_servers: list[ModelServer] | None


@router.get("/status", operation_id="getStatus")
async def get_status(caller: SignedIn, services: WithServices) -> Status:
    """See processes, leases, broken agents and the queue; without admin rights, my own queue."""
    everything = caller.admin or services.settings.dev_mode
    async with services.db.reading(caller.user_id) as db:
        queue = await status.queue(db, None if everything else caller.user_id)
        rows = await status.processes(db) if everything else None
        servers = await status.providers(db) if everything else None
    processes = [Process.of(row) for row in rows] if rows is not None else None
    living = [one for one in processes or () if one.alive and one.kind == "runner"]
    return Status(
        scope="all" if everything else "mine",
        gateway=Gateway(
            version=os.environ.get("BATON_VERSION", "dev"),
            redis_ready=services.redis_ready(),
            relay_lag_s=services.relay_lag_s(),
        ),
        queue=Queue.of(queue),
        leases=len(living) if everything else None,
        processes=processes,
        model_servers=None if servers is None else [ModelServer.of(row) for row in servers],
    )
