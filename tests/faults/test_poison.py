"""Runs that kill whatever carries them: isolated, then closed; their neighbours end normally."""

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from shared.protocol.ids import new_id, new_thread_id
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from tests.scenarios.client import TERMINAL, Frame, Person, Socket, assert_gapless, text_of
from tests.scenarios.sql import carrier, select
from tests.until import until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

AGENTS = Path(__file__).parent / "agents"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(stores: TestStores) -> AsyncIterator[Stack]:
    env = {"BATON_AGENTS_HOME": str(AGENTS), "BATON_LEASE_S": "2", "BATON_LOG_FORMAT": "json"}
    with stores.database() as url:
        stores.empty_redis()
        async with running_stack(runners=3, demo=True, database_url=url, env=env) as started:
            yield started


@pytest_asyncio.fixture(loop_scope="module")
async def ada(stack: Stack) -> AsyncIterator[Person]:
    person = await Person(stack.gateway_urls[0], f"{new_id('ada')}@example.com").sign_in()
    yield person
    await person.http.aclose()


async def say(socket: Socket, text: str) -> tuple[str, str]:
    """Thread and run of a new conversation with the agent."""
    thread = new_thread_id()
    return thread, (await socket.say(thread, text, agent="Deadly"))["runId"]


def tool(name: str, **arguments: Any) -> str:
    return f"[[tool={name} {json.dumps(arguments)}]]"


def of(socket: Socket, thread: str) -> list[Frame]:
    return [frame for frame in socket.events() if frame["threadId"] == thread]


async def ends(socket: Socket, threads: set[str]) -> dict[str, dict[str, Any]]:
    """The terminal events of threads."""
    found: dict[str, dict[str, Any]] = {}
    while set(found) < threads:
        frame = await socket.finished()
        found[frame["threadId"]] = frame["event"]
    return found


async def test_a_run_that_kills_its_carriers_is_poisoned_and_its_neighbours_end(
    ada: Person, stack: Stack
) -> None:
    async with ada.socket() as socket:
        leaving, left = await say(socket, tool("leave", status=9, word="farewell"))
        faulty, hit = await say(socket, tool("signal", number=int(signal.SIGSEGV)))
        slow = "[[deltas=60]] [[tokens_per_s=12]]"
        neighbours = [await say(socket, slow) for _ in range(4)]
        threads = {leaving, faulty, *(thread for thread, _ in neighbours)}
        found = await ends(socket, threads)
    for thread in (leaving, faulty):
        events = [frame["event"] for frame in of(socket, thread)]
        assert (found[thread]["type"], found[thread]["code"]) == ("RUN_ERROR", "poisoned")
        assert [event["type"] for event in events if event["type"] in TERMINAL] == ["RUN_ERROR"]
        assert_gapless(of(socket, thread))
    for thread, _ in neighbours:
        assert found[thread]["type"] == "RUN_FINISHED"
        messages = (await ada.get(f"/api/threads/{thread}/messages"))["data"]
        assert messages[-1]["content"].split()[-1].startswith("word60")
    for run, status in ((left, "exit status 9"), (hit, "SIGSEGV")):
        ((code, deaths, words),) = await select(
            stack, "SELECT error_code, deaths, last_words FROM runs WHERE public_id = %s", run
        )
        assert (code, deaths, words["status"]) == ("poisoned", 4, status)
        said = "\n".join(words["lines"])
        assert stack.secrets.runner_key not in said
        assert ("the last word is farewell" if run == left else "most recent call first") in said


async def test_one_that_kills_three_times_ends_normally_in_its_own_process(
    ada: Person, stack: Stack, tmp_path: Path
) -> None:
    file = tmp_path / "tries"
    async with ada.socket() as socket:
        thread, run = await say(socket, tool("leave_at_first", times=3, file=str(file)))
        end = await socket.finished()
    assert end["event"]["type"] == "RUN_FINISHED"
    assert len(set(file.read_text().split())) == 4  # processes
    kinds = [frame["event"]["type"] for frame in of(socket, thread)]
    assert kinds.count("RUN_STARTED") == 1
    assert sum(kind in TERMINAL for kind in kinds) == 1
    assert_gapless(of(socket, thread))
    ((deaths,),) = await select(stack, "SELECT deaths FROM runs WHERE public_id = %s", run)
    assert deaths == 0  # the tool's result was a step
    assert text_of(of(socket, thread))


async def test_the_death_of_its_parent_does_not_count_against_a_run(
    ada: Person, stack: Stack, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    tries = Path(f"{file}.tries")
    async with ada.socket() as socket:
        _, run = await say(socket, tool("wait_for", file=str(file)))
        await until(lambda: tried(tries, 1))
        # As if one runner had died with it before.
        await select(stack, "UPDATE runs SET deaths = 1 WHERE public_id = %s RETURNING 1", run)
        stack.processes[await carrier(stack, run)].kill(signal.SIGKILL)
        await until(lambda: tried(tries, 2))
        ((deaths,),) = await select(stack, "SELECT deaths FROM runs WHERE public_id = %s", run)
        assert deaths == 2
        lone, before = lone_pid(tries), await deaths_alone(stack)
        (runner,) = (one for one in stack.processes.values() if one.pid == parent_of(lone))
        runner.kill(signal.SIGKILL)
        await runner.dead()
        file.touch()  # the step ends, and the run is given away
        end = await socket.finished()
    assert end["event"]["type"] == "RUN_FINISHED"
    assert len(lines_of(tries)) == 2  # what was done alone counts
    assert await deaths_alone(stack) == before
    await until(lambda: gone(lone))


async def deaths_alone(stack: Stack) -> list[str]:
    """What toolsvc counted, as its page shows it."""
    async with httpx.AsyncClient(base_url=stack.toolsvc_urls[0], trust_env=False) as http:
        page = (await http.get("/metrics")).text
    return [
        line
        for line in page.splitlines()
        if line.startswith("baton_carrier_deaths") and "alone" in line
    ]


async def tried(file: Path, times: int) -> bool:
    return len(lines_of(file)) >= times


async def gone(pid: int) -> bool:
    return not lives(pid)


def lone_pid(file: Path) -> int:
    return int(lines_of(file)[-1])


def lines_of(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def parent_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("PPid:")).split()[1])
