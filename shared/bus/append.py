"""Appending to a thread's stream: the only way in which events get into Redis.

`append.lua` fences, recognises what it has already, and publishes, all in one step. A batch may be
sent again after a lost reply: nothing is doubled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha1
from importlib.resources import files
from typing import Any, NamedTuple
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from shared.bus.keys import events_key
from shared.protocol.position import Position

_SCRIPT = files("shared.bus").joinpath("lua/append.lua").read_text()
_SHA = sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


class Entry(NamedTuple):
    """An event as it lies in a stream."""

    at: Position
    type: str
    run: str
    data: str


class Mode(StrEnum):
    """How an append treats what the stream holds already."""

    APPEND = "append"  #: own events, the next seqs
    FORCE = "force"  #: own events, past a gap that nobody can fill any more
    CREATE = "create"  #: start rows of a claim, or a refill; may make the stream


class Answer(StrEnum):
    """What the stream says to an append."""

    OK = "OK"
    HAVE = "HAVE"  #: it holds our fence up to `seq`; go on from the next
    FENCED = "FENCED"  #: a higher fence has written
    EMPTY = "EMPTY"  #: the stream is gone


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one thread, in order, to be appended under `fence`."""

    thread: UUID
    fence: int
    entries: Sequence[Entry]
    mode: Mode = Mode.APPEND
    settled: bool = True
    ttl_s: int = 600
    #: Mode CREATE: the last id that SQL held when the claim was made; `None` for a refill.
    sql_last: Position | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The stream's answer; `seq` counts for OK, HAVE and, as a fence, for FENCED."""

    answer: Answer
    seq: int = 0


async def append_all(redis: Redis, batches: Sequence[Batch]) -> list[Reply | RedisError]:
    """Send all batches in one pipeline; an answer per batch, in order.

    Raises:
        RedisError, OSError: Redis is away; nothing is known about any batch, so send them again.
    """
    answers = await _pipeline(redis, batches)
    if any(isinstance(answer, NoScriptError) for answer in answers):
        await redis.script_load(_SCRIPT)
        answers = await _pipeline(redis, batches)
    return [answer if isinstance(answer, RedisError) else _reply(answer) for answer in answers]


async def discard(redis: Redis, thread: UUID) -> None:
    """Delete a stream that holds what is not ours, so that it can be refilled."""
    await redis.delete(events_key(thread))


async def append(redis: Redis, batch: Batch) -> Reply:
    """Append one batch; raises what Redis raises."""
    (reply,) = await append_all(redis, [batch])
    if isinstance(reply, RedisError):
        raise reply
    return reply


async def _pipeline(redis: Redis, batches: Sequence[Batch]) -> list[Any]:
    pipe = redis.pipeline(transaction=False)
    for batch in batches:
        pipe.evalsha(_SHA, 1, events_key(batch.thread), *_arguments(batch))
    return await pipe.execute(raise_on_error=False)


def _arguments(batch: Batch) -> list[str]:
    settled = "1" if batch.settled else "0"
    sql_last = "" if batch.sql_last is None else str(batch.sql_last)
    found = [batch.mode.value, str(batch.fence), settled, str(batch.ttl_s), sql_last]
    for entry in batch.entries:
        found += (f"{entry.at.fence}-{entry.at.seq}", entry.type, entry.run, entry.data)
    return found


def _reply(raw: list[Any]) -> Reply:
    return Reply(Answer(raw[0].decode()), int(raw[1]) if len(raw) > 1 else 0)
