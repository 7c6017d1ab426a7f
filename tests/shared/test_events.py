"""Announcements taken apart, and streams read page by page."""

from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.connect import commands_client
from shared.bus.events import PAGE, parse_announcement, read_after, read_all_after, read_tail
from shared.bus.keys import events_key, thread_of
from shared.protocol.position import START, Position

FIELDS: dict[Any, Any] = {"type": "CUSTOM", "run": "r", "data": "{}"}
#: What was written by hand: other fields, and no event in ours.
STRANGE: list[dict[Any, Any]] = [
    {"hello": "there"},
    FIELDS | {"data": b"\xff"},
    FIELDS | {"data": "[1]"},
    FIELDS | {"data": "cposix\nsystem\n."},
    FIELDS | {"type": b"\xff"},
]


@given(
    before=st.builds(Position, st.integers(0, 2**53), st.integers(0, 2**53)),
    first=st.builds(Position, st.integers(0, 2**53), st.integers(0, 2**53)),
    settled=st.booleans(),
    events=st.lists(st.binary().map(lambda raw: raw.replace(b"\n", b"")), min_size=1),
)
def test_an_announcement_is_read_as_it_is_written(
    before: Position, first: Position, settled: bool, events: list[bytes]
) -> None:
    head = f"{before} {int(settled)} {first} {len(events)}\n".encode()
    assert parse_announcement(head + b"\n".join(events)) == (before, settled, first, events)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\n", b"hello", b"0-0 1 1-1 2\n{}", b"0-0 1 1-1 1\n{}\n{}",
     b"0-0 1 1-1\n{}", b"x 1 1-1 1\n{}", b"0-0 1 1 1\n{}", b"0-0 1 1-1 one\n{}", b"\xff\n\xff"],
)  # fmt: skip
def test_what_somebody_else_published_is_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_announcement(payload)


def test_a_channel_names_its_thread() -> None:
    thread = uuid4()
    assert thread_of(events_key(thread).encode()) == str(thread)


@pytest.mark.stores
@pytest.mark.asyncio
async def test_a_long_stream_is_read_whole_although_strangers_wrote_into_it(redis_url: str) -> None:
    redis = commands_client(redis_url, "baton-test")
    thread = uuid4()
    pipe = redis.pipeline(transaction=False)
    for seq in range(1, 3 * PAGE):
        strange = STRANGE[seq // 100 % len(STRANGE)]
        pipe.xadd(events_key(thread), strange if seq % 100 == 3 else FIELDS, id=f"1-{seq}")
    await pipe.execute()
    ours = [Position(1, seq) for seq in range(1, 3 * PAGE) if seq % 100 != 3]

    assert [one.at for one in await read_all_after(redis, thread, START)] == ours
    later = await read_all_after(redis, thread, Position(1, 700))
    assert [one.at for one in later] == [at for at in ours if at.seq > 700]
    assert [one.at.seq for one in await read_after(redis, thread, START, count=4)] == [1, 2, 4]
    assert await read_all_after(redis, uuid4(), START) == []
    await redis.aclose()


@pytest.mark.stores
@pytest.mark.asyncio
@pytest.mark.parametrize("gap", ["1-9", "3-2", "9-9"])
async def test_a_tail_ends_before_what_does_not_follow(redis_url: str, gap: str) -> None:
    redis = commands_client(redis_url, "baton-test")
    thread = uuid4()
    for id_ in ("1-1", "1-2", "1-3", *(("2-1",) if gap > "2" else ()), gap):
        await redis.xadd(events_key(thread), FIELDS, id=id_)
    for below, expected in ((2, [2, 3]), (1, [])):
        tail = await read_tail(redis, thread, Position(1, 1), below=below)
        assert [one.at for one in tail] == [Position(1, seq) for seq in expected]
    await redis.aclose()
