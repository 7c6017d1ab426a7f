"""The doorbell: stream `runs`. An entry wakes a free runner; SQL decides what it carries.

Entries may be lost, doubled or forged without harm: toolsvc rings again for what still waits.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from shared.bus.keys import GROUP, RUNS

#: An entry that was read and not deleted for this long lost its reader before it asked.
RESCUE_AFTER_MS = 5_000
#: After this long that is likely enough to ring anew: readers ask within milliseconds.
LOST_AFTER_MS = 1_000
#: A living reader asks every few seconds.
IDLE_MS = 600_000


class Bell(NamedTuple):
    """One entry: its id, and the run it speaks of (`None` when it is rubbish)."""

    entry: bytes
    run: UUID | None


class Ring(NamedTuple):
    """What to ring for."""

    run: UUID
    thread: UUID


async def ring(redis: Redis, rings: Iterable[Ring]) -> None:
    """Ring for runs that wait."""
    pipe = redis.pipeline(transaction=False)
    for one in rings:
        pipe.xadd(RUNS, {"run": str(one.run), "thread": str(one.thread)})
    if len(pipe):
        await pipe.execute()


async def ensure_group(redis: Redis) -> None:
    """Make the stream and its group, where they are not there (or were flushed away).

    What is no stream and has its name goes: it was never ours.
    """
    try:
        await redis.xgroup_create(RUNS, GROUP, id="0", mkstream=True)
    except ResponseError as error:
        if "WRONGTYPE" in str(error):
            await redis.delete(RUNS)
            await redis.xgroup_create(RUNS, GROUP, id="0", mkstream=True)
        elif "BUSYGROUP" not in str(error):
            raise


async def listen(redis: Redis, consumer: str, *, most: int, block_ms: int) -> list[Bell]:
    """Wait up to `block_ms` for entries; at most `most` of them."""
    try:
        found: Any = await redis.xreadgroup(
            GROUP, consumer, {RUNS: ">"}, count=most, block=block_ms
        )
    except ResponseError as error:
        if not any(word in str(error) for word in ("NOGROUP", "WRONGTYPE")):
            raise
        await ensure_group(redis)
        return []
    return [_bell(entry, fields) for _, entries in found or [] for entry, fields in entries]


async def rescue(redis: Redis, consumer: str, *, most: int = 10) -> list[Bell]:
    """Take over entries whose reader died between reading and asking."""
    try:
        _, entries, *_ = await redis.xautoclaim(
            RUNS, GROUP, consumer, RESCUE_AFTER_MS, "0-0", count=most
        )
    except ResponseError as error:
        if "NOGROUP" not in str(error):
            raise
        return []
    return [_bell(entry, fields) for entry, fields in entries if fields]


async def answered(redis: Redis, bells: Sequence[Bell]) -> None:
    """The runner has asked: these entries have done their work, whatever the answer was."""
    if bells:
        ids = [bell.entry for bell in bells]
        pipe = redis.pipeline(transaction=False)
        # In this order: what is deleted and pending is cleared by a rescue, but what is
        # acknowledged and not deleted would lie in the stream for ever.
        pipe.xdel(RUNS, *ids)
        pipe.xack(RUNS, GROUP, *ids)
        await pipe.execute()


async def bells(redis: Redis) -> list[Bell]:
    """The oldest 10,000 entries, whether somebody has read them or not."""
    entries: Any = await redis.xrange(RUNS, count=10_000)
    return [_bell(entry, fields) for entry, fields in entries]


async def waiting(redis: Redis, *, but: Collection[bytes] = ()) -> set[UUID]:
    """Runs that an entry speaks of now, among the oldest 10,000, and not one of `but`."""
    return {bell.run for bell in await bells(redis) if bell.run and bell.entry not in but}


async def lost(redis: Redis) -> set[bytes]:
    """Entries that somebody has read a while ago and not answered, 1,000 at most."""
    try:
        found: Any = await redis.xpending_range(RUNS, GROUP, "-", "+", 1_000, idle=LOST_AFTER_MS)
    except ResponseError:  # no stream, no group, or not ours
        return set()
    return {one["message_id"] for one in found}


async def has_group(redis: Redis) -> bool:
    """Whether the stream and its group are there."""
    try:
        groups: Any = await redis.xinfo_groups(RUNS)
    except ResponseError:
        return False
    return any(group["name"] == GROUP.encode() for group in groups)


async def remove_consumer(redis: Redis, consumer: str) -> None:
    """Forget a reader that ends; not one with entries pending, for they would go with it."""
    if not await redis.xpending_range(RUNS, GROUP, "-", "+", 1, consumername=consumer):
        await redis.xgroup_delconsumer(RUNS, GROUP, consumer)


async def forget_idle_consumers(redis: Redis, *, idle_ms: int = IDLE_MS) -> int:
    """Forget readers that died: long idle, nothing pending; the answer is how many.

    Should one read in this very moment, its entry is lost, and toolsvc rings again.
    """
    try:
        consumers: Any = await redis.xinfo_consumers(RUNS, GROUP)
    except ResponseError:
        return 0
    idle = [one["name"] for one in consumers if not one["pending"] and one["idle"] > idle_ms]
    for name in idle:
        await redis.xgroup_delconsumer(RUNS, GROUP, name)
    return len(idle)


def _bell(entry: bytes, fields: dict[bytes, bytes]) -> Bell:
    try:
        return Bell(entry, UUID(fields[b"run"].decode()))
    except (KeyError, ValueError):
        return Bell(entry, None)
