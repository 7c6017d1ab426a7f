"""What somebody has written into the stores by hand: refused, passed over or named, never run."""

import json
import os
import pickle
import signal
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
import pytest_asyncio

from shared.protocol.ids import new_id, new_thread_id
from stack.resp import RespConnection
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from tests.scenarios.client import Frame, Person, Socket, positions, text_of
from tests.scenarios.sql import carrier, select, thread_key
from tests.until import until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

MADE = Path("/tmp/baton-ran-a-pickle")
WORDS = " ".join(f"word{number}" for number in range(1, 61))


class Payload:
    """Runs code wherever somebody unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (MADE,)


PICKLE = pickle.dumps(Payload(), protocol=0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(stores: TestStores) -> AsyncIterator[Stack]:
    with stores.database() as url:
        async with running_stack(runners=2, demo=True, database_url=url) as started:
            yield started
    assert not os.path.exists(MADE)  # noqa: PTH110, ASYNC240 - nothing else goes on any more


@pytest_asyncio.fixture(loop_scope="module")
async def ada(stack: Stack) -> AsyncIterator[Person]:
    person = await Person(stack.gateway_urls[0], f"{new_id('ada')}@example.com").sign_in()
    yield person
    await person.http.aclose()


def redis(stack: Stack) -> RespConnection:
    return RespConnection(stack.redis_url())


async def change(stack: Stack, statement: str, *values: Any) -> None:
    """Change rows by hand."""
    async with await psycopg.AsyncConnection.connect(stack.database_url) as db:
        done = await db.execute(statement.encode(), values)
        assert done.rowcount > 0


async def seen(socket: Socket, kind: str, times: int = 1) -> Frame:
    for _ in range(times):
        frame = await socket.until(lambda f: f.get("event", {}).get("type") == kind)
    return frame


async def metric(stack: Stack, sample: str) -> float:
    """A counter over all runners."""
    found = 0.0
    async with httpx.AsyncClient(trust_env=False) as http:
        for url in stack.runner_urls:
            lines = (await http.get(f"{url}/metrics")).text.splitlines()
            found += sum(float(line.split()[-1]) for line in lines if line.startswith(sample))
    return found


async def assert_well(ada: Person) -> None:
    """A run goes through as ever."""
    async with ada.socket() as socket:
        await socket.say(new_thread_id(), "hello")
        assert (await socket.finished())["event"]["type"] == "RUN_FINISHED"


# ---------------------------------------------------------------------- the doorbell
async def test_rubbish_at_the_doorbell_is_counted_and_dropped(ada: Person, stack: Stack) -> None:
    entries: list[list[str | bytes]] = [
        ["run", "not-a-uuid", "thread", "x"],
        ["run", PICKLE],
        ["run", b"\xff\xfe", "thread", b"\x00"],
        ["nothing", "of ours"],
        ["run", "{}", "run", "[]"],
    ]
    unknown: list[list[str | bytes]] = [["run", str(uuid4()), "thread", str(uuid4())]] * 3
    with redis(stack) as db:
        for entry in entries + unknown:
            db.call("XADD", "runs", "*", *entry)

        async def gone() -> bool:
            return db.call("XLEN", "runs") == 0 and db.call("XPENDING", "runs", "runners")[0] == 0  # type: ignore[index]

        await until(gone)
    assert await metric(stack, 'baton_bells_total{held="rubbish"}') == len(entries)
    await assert_well(ada)


async def test_something_else_in_the_place_of_the_doorbell_goes(ada: Person, stack: Stack) -> None:
    with redis(stack) as db:
        db.call("DEL", "runs")
        db.call("SET", "runs", PICKLE)
    await assert_well(ada)


# ---------------------------------------------------------------------- the journal
def sealed(record: str) -> str:
    return sha256(record.encode()).hexdigest()[:16]


async def replayed_over(
    ada: Person, stack: Stack, record: str, *, seal: bool, kind: str = "model"
) -> tuple[str, bool]:
    """The code with which a run ends whose first step says something else at its replay."""
    async with ada.socket() as socket:
        text = '[[turns=4 save_note {"text":"once"}]] [[tokens_per_s=5]]'
        ack = await socket.say(new_thread_id(), text)
        await seen(socket, "TOOL_CALL_RESULT")
        name = await carrier(stack, ack["runId"])
        stack.processes[name].kill(signal.SIGSTOP)
        digest = f"split_part(digest, '.', 1) || '.' || '{sealed(record)}'" if seal else "digest"
        await change(
            stack,
            f"UPDATE steps SET record = %s, digest = {digest} WHERE kind = %s"
            " AND root_id = (SELECT root_id FROM runs WHERE public_id = %s)",
            record,
            kind,
            ack["runId"],
        )
        other = next(one for one in ("runner-1", "runner-2") if one != name)
        pid = stack.processes[other].pid
        stack.processes[name].kill(signal.SIGKILL)
        end = await socket.finished()
    assert end["event"]["type"] == "RUN_ERROR"
    return end["event"]["code"], stack.processes[other].pid == pid


async def test_a_record_that_was_altered_is_not_carried_out(ada: Person, stack: Stack) -> None:
    record = json.dumps({"shown": [], "response": {"output": []}, "usage": {}})
    assert await replayed_over(ada, stack, record, seal=False) == ("journal_diverged", True)
    await assert_well(ada)


@pytest.mark.parametrize(
    "record",
    [
        PICKLE.decode("ascii"),
        "[]",
        '{"shown": {}, "response": [], "usage": 1}',
        '{"shown": [], "response": {"output": [{"type": 7}]}, "usage": {}}',
    ],
    ids=["a pickle", "a list", "other types", "other types below"],
)
async def test_a_record_of_another_shape_is_not_carried_out(
    ada: Person, stack: Stack, record: str
) -> None:
    assert await replayed_over(ada, stack, record, seal=True) == ("invalid_state", True)
    await assert_well(ada)


# ---------------------------------------------------------------------- events
async def test_events_that_were_altered_end_the_run_that_is_taken_over(
    ada: Person, stack: Stack
) -> None:
    async with ada.socket() as socket:
        ack = await socket.say(new_thread_id(), '[[turns=4 save_note {"text":"x"}]] [[delay=0.5]]')
        await seen(socket, "TOOL_CALL_RESULT")
        name = await carrier(stack, ack["runId"])
        stack.processes[name].kill(signal.SIGSTOP)
        await change(
            stack,
            "UPDATE events SET data = %s WHERE type = 'TOOL_CALL_START'"
            " AND run_id = (SELECT id FROM runs WHERE public_id = %s)",
            PICKLE.decode("ascii"),
            ack["runId"],
        )
        stack.processes[name].kill(signal.SIGKILL)
        end = await socket.finished()
    assert (end["event"]["type"], end["event"]["code"]) == ("RUN_ERROR", "invalid_state")
    await assert_well(ada)


# ---------------------------------------------------------------------- streams
STREAMS: dict[str, list[list[str | bytes]]] = {
    "a higher fence": [["XADD", "KEY", "99-1", "type", "CUSTOM", "run", "r", "data", "{}"]],
    "ids far ahead": [["XADD", "KEY", "1-9999", "type", "CUSTOM", "run", "r", "data", "{}"]],
    "a pickle at the end": [["XADD", "KEY", "1-*", "type", "CUSTOM", "run", "r", "data", PICKLE]],
    "bytes that are no text": [["XADD", "KEY", "1-*", "type", "X", "run", "r", "data", b"\xff"]],
    "no fields of ours": [["XADD", "KEY", "1-*", "hello", "world"]],
    "json of another type": [["XADD", "KEY", "1-*", "type", "X", "run", "r", "data", "[1]"]],
    "another kind of key": [["DEL", "KEY"], ["SET", "KEY", PICKLE]],
    "nothing": [["DEL", "KEY"]],
}


def since_reset(socket: Socket) -> list[Frame]:
    """What counts of what was shown: where an id was taken, a reset begins anew from SQL."""
    resets = [number for number, frame in enumerate(socket.frames) if frame["op"] == "reset"]
    frames = socket.frames[resets[-1] :] if resets else socket.frames
    return [frame for frame in frames if frame["op"] == "event"]


@pytest.mark.parametrize("killed", [True, False], ids=["the writer dies", "the writer lives"])
@pytest.mark.parametrize("case", STREAMS)
async def test_what_was_written_into_a_stream_changes_nothing(
    ada: Person, stack: Stack, case: str, killed: bool
) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        ack = await socket.say(thread, "[[deltas=60]] [[tokens_per_s=40]]")
        await seen(socket, "TEXT_MESSAGE_CHUNK", 10)
        key = f"thread:{{{await thread_key(stack, thread)}}}:events"
        with redis(stack) as db:
            for command in STREAMS[case]:
                db.call(*(key if word == "KEY" else word for word in command))
        if killed:
            stack.processes[await carrier(stack, ack["runId"])].kill(signal.SIGKILL)
        end = await socket.finished()
    assert end["event"]["type"] == "RUN_FINISHED"
    shown = since_reset(socket)
    assert positions(shown) == sorted(set(positions(shown)))
    stored = (await ada.get(f"/api/threads/{thread}/messages"))["data"][-1]
    assert stored["content"] == WORDS
    if not killed:
        assert text_of(shown) == WORDS
    rows = await select(
        stack,
        "SELECT data FROM events JOIN runs ON runs.id = events.run_id WHERE public_id = %s",
        ack["runId"],
    )
    assert all(isinstance(json.loads(data), dict) for (data,) in rows)
