"""The wall clock of a process jumps an hour back or two hours ahead: nothing is lost.

Leases go by the database's clock, waits by the clock that never jumps; a token that one process
takes for expired, or for made in the future, is renewed or shown to another instance.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from drill.plan import LEASE_S
from tests.faults.crowd import Crowd, crowd

pytestmark = [
    pytest.mark.stores,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
]

#: Python loads this before anything else, and then asks a file by how much its clock is wrong.
SITE = """
import os, time
now, now_ns = time.time, time.time_ns
def off():
    with open(os.environ["CLOCK"]) as file:
        return int(file.read() or 0)
time.time = lambda: now() + off()
time.time_ns = lambda: now_ns() + off() * 10**9
"""
BACK_S, AHEAD_S = -3600, 7200
PROCESSES = ("runner-1", "gateway-1", "toolsvc-1")


@pytest.fixture(scope="module")
def clocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file for each process whose clock can jump."""
    folder = tmp_path_factory.mktemp("clocks")
    (folder / "sitecustomize.py").write_text(SITE)
    for name in PROCESSES:
        (folder / name).write_text("0")
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def people(tmp_path_factory: pytest.TempPathFactory, clocks: Path) -> AsyncIterator[Crowd]:
    async with crowd(tmp_path_factory.mktemp("people")) as made:
        for name in PROCESSES:
            child = made.stack.processes[name]
            own = {"PYTHONPATH": str(clocks), "CLOCK": str(clocks / name)}
            child.program = replace(child.program, env={**child.program.env, **own})
        await asyncio.gather(*(made.stack.processes[name].restart() for name in PROCESSES))
        yield made


@pytest.mark.parametrize("seconds", [BACK_S, AHEAD_S], ids=["an hour back", "two hours ahead"])
async def test_clocks_jump(people: Crowd, clocks: Path, seconds: int) -> None:
    async def fault() -> None:
        for name in PROCESSES:
            (clocks / name).write_text(str(seconds))
        await asyncio.sleep(LEASE_S + 1)

    story = await people.live_through(fault)
    for name in PROCESSES:
        (clocks / name).write_text("0")
    story.assert_unharmed()
    assert set(story.claims.values()) == {1}
