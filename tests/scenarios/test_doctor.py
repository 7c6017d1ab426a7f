"""The doctor at a whole installation: a busy one is healthy, what is mended goes on by itself."""

import asyncio
import json
import os
import signal
import sys

import pytest

from shared.protocol.ids import new_thread_id
from stack.program import ROOT
from stack.running import Stack
from tests.scenarios.client import Person, Socket, is_terminal
from tests.scenarios.sql import carrier, select

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]


async def doctor(stack: Stack, *options: str) -> tuple[int, list[str]]:
    """Exit status and codes of what was found, from the command line as the operator has it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent", "doctor", "--json", *options),
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "BATON_API_KEY": stack.secrets.operator_key,
            "BATON_URL": stack.gateway_urls[1],
        },
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, [one["code"] for one in json.loads(said)["findings"]]


async def ended(socket: Socket, runs: int) -> None:
    """So many runs have ended; some may have while another frame was waited for."""
    while sum(is_terminal(frame) for frame in socket.frames) < runs:
        await socket.next()


async def test_a_busy_installation_is_healthy(ada: Person, stack: Stack) -> None:
    """Runs stream, wait behind each other, end and are cancelled while the doctor looks."""
    threads = [new_thread_id() for _ in range(6)]
    async with ada.socket() as socket:
        for thread in threads:
            for _ in range(2):
                await socket.say(thread, "[[deltas=200]] [[tokens_per_s=40]]")
        for _ in range(3):
            quick = await socket.say(new_thread_id(), "[[deltas=40]] [[tokens_per_s=40]]")
            await ada.http.post(f"/api/runs/{quick['runId']}/cancel", json={})
        for _ in range(3):
            assert await doctor(stack) == (0, [])
        await ended(socket, 2 * len(threads) + 3)
    assert await doctor(stack) == (0, [])


async def test_a_take_over_is_no_finding(ada: Person, stack: Stack) -> None:
    async with ada.socket() as socket:
        ack = await socket.say(new_thread_id(), "[[deltas=80]] [[tokens_per_s=20]]")
        await socket.until(lambda f: f.get("event", {}).get("type") == "TEXT_MESSAGE_CHUNK")
        stack.processes[await carrier(stack, ack["runId"])].kill(signal.SIGKILL)
        look = asyncio.create_task(doctor(stack))
        await socket.finished()
        assert await look == (0, [])


async def test_what_is_mended_goes_on(ada: Person, stack: Stack) -> None:
    """A thread of which nobody is next does not mend itself."""
    thread = new_thread_id()
    async with ada.socket() as socket:
        first = await socket.say(thread, "[[deltas=400]] [[tokens_per_s=20]]")
        second = await socket.say(thread, "hello")
        # Out of sight while the first one ends, so that this does not name it as the next one.
        await _set_status(stack, second["runId"], "aside")
        await ada.http.post(f"/api/runs/{first['runId']}/cancel", json={})
        await socket.finished()
        await _set_status(stack, second["runId"], "queued")
        assert await doctor(stack) == (1, ["thread_stuck"])
        assert await doctor(stack, "--fix") == (0, ["thread_stuck"])
        end = await socket.finished()
    assert end["event"]["runId"] == second["runId"]
    assert await doctor(stack) == (0, [])


async def _set_status(stack: Stack, run: str, status: str) -> None:
    statement = "UPDATE runs SET status = %s WHERE public_id = %s RETURNING 1"
    assert await select(stack, statement, status, run)
