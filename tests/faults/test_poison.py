"""Runs that kill whatever carries them: isolated, then closed; their neighbours end normally."""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from shared.protocol.ids import new_id, new_thread_id
from stack.program import ROOT
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from tests.scenarios.client import TERMINAL, Frame, Person, Socket, assert_gapless
from tests.scenarios.sql import carrier, select
from tests.until import until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

AGENTS = Path(__file__).parent / "agents"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("agents")
    shutil.copytree(AGENTS, made, dirs_exist_ok=True)
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(stores: TestStores, home: Path) -> AsyncIterator[Stack]:
    env = {"BATON_AGENTS_HOME": str(home), "BATON_LEASE_S": "2", "BATON_LOG_FORMAT": "json"}
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
    async with ada.socket() as socket, pinging(socket):
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


async def test_a_poisoned_run_is_tried_again_until_its_cause_is_gone(
    ada: Person, stack: Stack, home: Path, tmp_path: Path
) -> None:
    """Each try goes on after the last finished step: nothing is called, done or told again."""
    file, note = tmp_path / "file", new_id("note")
    asked = tool("save_note", text=note) + tool("leave_until", file=str(file))
    async with ada.socket() as socket, pinging(socket):
        thread, first = await say(socket, f"{asked} {note}")
        await until(lambda: recorded(stack, first))
        tell(f"{file}.go")
        assert (await socket.finished())["event"]["code"] == "poisoned"
        # As after two deaths in company; so much shorter than waiting for leases.
        second = (await ada.http.post(f"/api/runs/{first}/requeue")).json()["runId"]
        assert (await socket.finished())["event"]["code"] == "poisoned"
        cure(home / "Deadly" / "agent.py")
        third = (await by_command(stack, tmp_path, "runs", "requeue", second))["runId"]
        assert (await socket.finished())["event"]["type"] == "RUN_FINISHED"
    runs = await select(
        stack,
        "SELECT runs.public_id, resumes, status, error_code, deaths, last_words, root_id FROM runs"
        " JOIN threads ON threads.id = runs.thread_id WHERE threads.public_id = %s"
        " ORDER BY runs.id",
        thread,
    )
    assert [row[:4] for row in runs] == [
        (first, None, "failed", "poisoned"),
        (second, first, "failed", "poisoned"),
        (third, second, "finished", None),
    ]
    for row in runs[:2]:  # the tool killed the third process, and the fourth died at its start
        assert (row[4], row[5]["status"]) == (4, "exit status 7")
        assert "the last word is stillborn" in "\n".join(row[5]["lines"])
    events = [frame["event"] for frame in of(socket, thread)]
    assert [event["runId"] for event in events if event["type"] == "RUN_STARTED"] == [
        first,
        second,
        third,
    ]
    assert sum(event["type"] in TERMINAL for event in events) == 3
    assert_gapless(of(socket, thread))
    assert len({row[6] for row in runs}) == 1
    traces = [await ada.get(f"/api/runs/{run}/trace") for run in (first, second, third)]
    assert len({trace["traceId"] for trace in traces}) == 1
    assert await select(stack, "SELECT count(*) FROM notes WHERE body = %s", note) == [(1,)]
    assert await calls_of_the_model(stack, note) == 2
    # Twice in company, then each time alone.
    assert len(lines_of(Path(f"{file}.tries"))) == 2 + 1 + 1 + 1
    digests = "SELECT agent_digest FROM runs WHERE public_id = ANY(%s) ORDER BY id"
    had, again, newest = await select(stack, digests, [first, second, third])
    assert had == again != newest


def tell(file: str) -> None:
    """Let the tools go on that wait for the file."""
    Path(file).touch()


def cure(file: Path) -> None:
    """Give the agent other code, as its author would."""
    deadly = "    if Path(file).exists():\n        return"
    code = file.read_text()
    assert deadly in code
    file.write_text(code.replace(deadly, "    return"))


@asynccontextmanager
async def pinging(socket: Socket) -> AsyncIterator[None]:
    """A busy machine takes longer than a socket lives in silence."""

    async def ping() -> None:
        while True:
            await asyncio.sleep(10)
            await socket.send(op="ping")

    task = asyncio.create_task(ping())
    try:
        yield
    finally:
        task.cancel()


async def by_command(stack: Stack, folder: Path, *arguments: str) -> Any:
    """What an operator's command line answers."""
    (folder / "secrets.json").touch(0o600)
    (folder / "secrets.json").write_text(json.dumps({"operator_key": stack.secrets.operator_key}))
    where = {"BATON_URL": stack.gateway_urls[0], "BATON_HOME": str(folder)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent", *arguments, "--json"),
        env={"PATH": os.environ["PATH"], "HOME": str(folder)} | where,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(said)


async def calls_of_the_model(stack: Stack, mark: str) -> int:
    async with httpx.AsyncClient(base_url=stack.demo_url or "", trust_env=False) as http:
        requests = (await http.get("/_demo/requests")).json()["data"]
    return sum(mark in json.dumps(request["body"]) for request in requests)


async def test_the_death_of_its_parent_does_not_count_against_a_run(
    ada: Person, stack: Stack, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    tries = Path(f"{file}.tries")
    async with ada.socket() as socket, pinging(socket):
        _, run = await say(socket, tool("wait_for", file=str(file)))
        await until(lambda: tried(tries, 1))
        # As if one runner had died with it before.
        await select(stack, "UPDATE runs SET deaths = 1 WHERE public_id = %s RETURNING 1", run)
        stack.processes[await carrier(stack, run)].kill(signal.SIGKILL)
        await until(lambda: tried(tries, 2))
        ((deaths,),) = await select(stack, "SELECT deaths FROM runs WHERE public_id = %s", run)
        assert deaths == 2
        lone, before = lone_pid(tries), await deaths_alone(stack)
        (runner,) = (
            one for one in stack.processes.values() if one.pid == parent_of(parent_of(lone))
        )
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


async def recorded(stack: Stack, run: str) -> bool:
    """Whether a tool call of the run is in its journal."""
    found = await select(
        stack,
        "SELECT FROM steps JOIN runs ON runs.id = steps.run_id WHERE public_id = %s"
        " AND kind = 'tool'",
        run,
    )
    return bool(found)


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
