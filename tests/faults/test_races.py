"""Two things at once, and a cancel at any moment: one outcome, and one terminal event each."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from shared.bus.connect import commands_client
from shared.bus.doorbell import Ring, ring
from shared.protocol.ids import new_id, new_thread_id
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from tests.scenarios.client import TERMINAL, Frame, Person, Socket, assert_gapless, is_terminal
from tests.scenarios.sql import carrier, select

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

#: Slow enough to be met in the middle.
LONG = "[[deltas=400]] [[tokens_per_s=20]]"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(stores: TestStores) -> AsyncIterator[Stack]:
    with stores.database() as url:
        stores.empty_redis()
        async with running_stack(gateways=2, runners=2, toolsvc=2, database_url=url) as started:
            yield started


@pytest_asyncio.fixture(loop_scope="module")
async def ada(stack: Stack) -> AsyncIterator[Person]:
    """A new person, signed in at the first gateway."""
    person = await Person(stack.gateway_urls[0], f"{new_id('ada')}@example.com").sign_in()
    yield person
    await person.http.aclose()


async def came(socket: Socket, kind: str) -> Frame:
    return await socket.until(lambda frame: frame.get("event", {}).get("type") == kind)


async def cancel(socket: Socket, thread: str, run: str) -> Frame:
    return await socket.answer(await socket.send(op="cancel", threadId=thread, runId=run))


async def outcome(ada: Person, thread: str, run: str) -> str:
    """How a run ended, as SQL and a client that comes now have it: the same, once."""
    found = await ada.get(f"/api/runs/{run}")
    status: str = found["status"]
    async with ada.socket() as late:
        await late.send(op="subscribe", threadId=thread, after="1-1")
        await late.until(lambda frame: frame["op"] == "live")
    ends = [
        one["event"]
        for one in late.events()
        if one["event"]["type"] in TERMINAL and one["event"].get("runId", run) == run
    ]
    assert len(ends) == 1
    assert ends[0].get("outcome", {}).get("type", "failed") in (status, "success")
    return status


async def ends_of(stack: Stack, run: str) -> int:
    """How many terminal events SQL has of a run."""
    query = """
        SELECT count(*) FROM events e JOIN runs r ON r.id = e.run_id
        WHERE r.public_id = %s AND e.type IN ('RUN_FINISHED', 'RUN_ERROR')
    """
    (row,) = await select(stack, query, run)
    return int(row[0])


async def test_cancelled_in_the_middle_of_a_tool(ada: Person) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        ack = await socket.say(thread, '[[turns=20 save_note {"text":"mid-tool"}]]')
        await came(socket, "TOOL_CALL_START")
        await cancel(socket, thread, ack["runId"])
        await socket.finished()
    assert_gapless(socket.events())
    assert await outcome(ada, thread, ack["runId"]) == "cancelled"


async def test_cancelled_while_its_runner_is_dead(ada: Person, stack: Stack) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        ack = await socket.say(thread, LONG)
        await came(socket, "TEXT_MESSAGE_CHUNK")
        stack.processes[await carrier(stack, ack["runId"])].kill(signal.SIGKILL)
        await cancel(socket, thread, ack["runId"])
        await socket.finished()
    assert_gapless(socket.events())
    assert await outcome(ada, thread, ack["runId"]) == "cancelled"


async def test_cancelled_just_as_it_is_taken_over(ada: Person, stack: Stack) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        ack = await socket.say(thread, LONG)
        await came(socket, "TEXT_MESSAGE_CHUNK")
        stack.processes[await carrier(stack, ack["runId"])].kill(signal.SIGKILL)
        await came(socket, "CUSTOM")
        await cancel(socket, thread, ack["runId"])
        await socket.finished()
    assert_gapless(socket.events())
    assert await outcome(ada, thread, ack["runId"]) == "cancelled"


async def test_two_runners_hear_of_a_stranded_run_at_the_same_moment(
    ada: Person, stack: Stack
) -> None:
    """And many times over, at two toolsvcs: one of them carries it, under one new fence."""
    thread = new_thread_id()
    async with ada.socket() as socket:
        ack = await socket.say(thread, "[[deltas=100]] [[tokens_per_s=20]]")
        await came(socket, "TEXT_MESSAGE_CHUNK")
        victim = stack.processes[await carrier(stack, ack["runId"])]
        victim.kill(signal.SIGKILL)
        await victim.dead()
        await victim.ready()
        rings = asyncio.create_task(ring_all_the_time(stack, ack["runId"]))
        await came(socket, "CUSTOM")
        await socket.finished()
        rings.cancel()
    assert_gapless(socket.events())
    resumed = [one["event"]["name"] for one in socket.events() if one["event"]["type"] == "CUSTOM"]
    assert resumed == ["baton.resumed"]
    assert await outcome(ada, thread, ack["runId"]) == "finished"
    (found,) = await select(
        stack,
        "SELECT threads.fence FROM runs JOIN threads ON threads.id = runs.thread_id"
        " WHERE runs.public_id = %s",
        ack["runId"],
    )
    assert found == (2,)


async def ring_all_the_time(stack: Stack, run: str) -> None:
    """So many entries at once that every runner reads some of them."""
    ((key, thread),) = await select(
        stack, "SELECT id, thread_id FROM runs WHERE public_id = %s", run
    )
    redis = commands_client(stack.redis_url(), "baton-test")
    try:
        while True:
            await ring(redis, [Ring(key, thread)] * 16)
            await asyncio.sleep(0.05)
    finally:
        await redis.aclose()


async def test_cancelled_while_it_waits_for_its_turn(ada: Person) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        first = await socket.say(thread, LONG)
        second = await socket.say(thread, "never said")
        await cancel(socket, thread, second["runId"])
        await cancel(socket, thread, first["runId"])
        await socket.ends(first["runId"], second["runId"])
    assert_gapless(socket.events())
    assert await outcome(ada, thread, first["runId"]) == "cancelled"
    assert await outcome(ada, thread, second["runId"]) == "cancelled"


async def test_cancelled_from_both_gateways_at_once_and_again_afterwards(
    ada: Person, stack: Stack
) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket, ada.socket(url=stack.gateway_urls[1]) as other:
        ack = await socket.say(thread, LONG)
        await came(socket, "TEXT_MESSAGE_CHUNK")
        await asyncio.gather(*(cancel(one, thread, ack["runId"]) for one in (socket, other)))
        if not any(one["event"]["type"] in TERMINAL for one in socket.events()):
            await socket.finished()
        before = await outcome(ada, thread, ack["runId"])
        assert (await cancel(socket, thread, ack["runId"]))["op"] in ("ack", "error")
    assert before == await outcome(ada, thread, ack["runId"]) == "cancelled"


def tells_the_end(frame: Frame) -> bool:
    """Who asks when the run has ended already gets its answer as a message of the past."""
    past = frame["messages"] if frame["op"] == "reset" and not frame.get("run") else []
    return is_terminal(frame) or any(one["role"] == "assistant" for one in past)


async def test_the_same_run_from_fifty_connections_over_two_gateways(
    ada: Person, stack: Stack
) -> None:
    thread, run = new_thread_id(), new_id("run")
    message = {"id": new_id("usr"), "role": "user", "content": "once"}
    given = {"threadId": thread, "runId": run, "messages": [message]}

    async def say(number: int) -> Frame:
        async with ada.socket(url=stack.gateway_urls[number % 2]) as socket:
            sent = await socket.send(op="run", input=given, agent="Assistant")
            answer = await socket.answer(sent)
            if answer["op"] == "ack" and not any(map(tells_the_end, socket.frames)):
                await socket.until(tells_the_end)
            return answer

    answers = await asyncio.gather(*(say(number) for number in range(50)))
    assert {(one["op"], one.get("runId")) for one in answers} == {("ack", run)}
    assert await outcome(ada, thread, run) == "finished"
    rows = await select(stack, "SELECT count(*) FROM runs WHERE public_id = %s", run)
    assert rows == [(1,)]


async def test_a_thread_is_deleted_while_its_run_goes_on(ada: Person, stack: Stack) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        ack = await socket.say(thread, LONG)
        await came(socket, "TEXT_MESSAGE_CHUNK")
        (await ada.http.delete(f"/api/threads/{thread}")).raise_for_status()
        async with asyncio.timeout(30):
            while await ends_of(stack, ack["runId"]) == 0:  # noqa: ASYNC110 - SQL tells nobody
                await asyncio.sleep(0.1)
    assert (await ada.http.get(f"/api/threads/{thread}")).status_code == 404
    assert await ends_of(stack, ack["runId"]) == 1
    query = "SELECT status FROM runs WHERE public_id = %s"
    assert await select(stack, query, ack["runId"]) == [("cancelled",)]
