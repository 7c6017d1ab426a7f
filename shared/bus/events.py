"""Reading a thread's stream: ranges of entries, and the messages that announce them."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from redis.asyncio import Redis

from shared.bus.append import Entry
from shared.bus.keys import events_key
from shared.protocol.position import Position

#: Large replies can run into the time limit of one reply.
PAGE = 500


class Announcement(NamedTuple):
    """A message of an events channel: consecutive events of one fence."""

    before: Position
    settled: bool
    first: Position
    events: Sequence[bytes]


def parse_announcement(payload: bytes) -> Announcement:
    """Take a message apart; the events stay the bytes they are.

    Raises:
        ValueError: somebody else published on the channel.
    """
    head, _, body = payload.partition(b"\n")
    before, settled, first, count = head.split(b" ")
    events = body.split(b"\n")
    if len(events) != int(count):
        raise ValueError("the message does not hold as many events as it says")
    return Announcement(position_of(before), settled == b"1", position_of(first), events)


def position_of(raw: bytes) -> Position:
    """An entry id of Redis as a position."""
    fence, _, seq = raw.partition(b"-")
    return Position(int(fence), int(seq))


async def read_after(
    redis: Redis, thread: UUID, after: Position, *, count: int = PAGE
) -> list[Entry]:
    """Up to `count` entries of the stream after a position, in order."""
    return entries_of(await _page(redis, thread, f"{after}", count))


async def read_all_after(redis: Redis, thread: UUID, after: Position) -> list[Entry]:
    """Every entry after a position, read page by page."""
    found: list[Entry] = []
    last = str(after)
    while True:
        page = await _page(redis, thread, last, PAGE)
        found += entries_of(page)
        if len(page) < PAGE:
            return found
        last = page[-1][0].decode()


async def read_tail(redis: Redis, thread: UUID, after: Position, *, below: int) -> list[Entry]:
    """What fences lower than `below` have written after a position.

    It ends before the first that does not follow, for that one was written by nobody of ours.
    """
    found: list[Entry] = []
    last = after
    for entry in await read_all_after(redis, thread, after):
        if not last.precedes(entry.at) and not (entry.at.fence > last.fence and entry.at.seq == 1):
            break
        last = entry.at
        if last.fence < below:
            found.append(entry)
    return found


async def last_of(redis: Redis, threads: Sequence[UUID]) -> dict[UUID, Position]:
    """The newest entry of each thread's stream, of those that have one."""
    pipe = redis.pipeline(transaction=False)
    for thread in threads:
        pipe.xrevrange(events_key(thread), count=1)
    answers: Any = await pipe.execute() if threads else []
    pairs = zip(threads, answers, strict=True)
    return {thread: position_of(found[0][0]) for thread, found in pairs if found}


async def _page(redis: Redis, thread: UUID, after: str, count: int) -> Any:
    return await redis.xrange(events_key(thread), f"({after}", "+", count=count)


def entries_of(raw: Any) -> list[Entry]:
    """Entries as Redis answers them.

    What somebody wrote by hand, without our fields or with no event in them, is passed over.
    """
    return [entry for id_, fields in raw if (entry := _entry(id_, fields))]


def _entry(id_: bytes, fields: dict[bytes, bytes]) -> Entry | None:
    try:
        event: Any = orjson.loads(fields[b"data"])
        if isinstance(event, dict):
            words = [fields[name].decode() for name in (b"type", b"run", b"data")]
            if not any("\0" in word for word in words):  # which no text of SQL's may hold
                return Entry(position_of(id_), *words)
    except (KeyError, ValueError):
        pass
    return None
