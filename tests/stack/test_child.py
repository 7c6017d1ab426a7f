import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from stack.child import Child
from stack.errors import GaveUpError, PortLostError
from stack.program import Program, Tier

pytestmark = pytest.mark.asyncio

Start = Callable[..., Awaitable["Started"]]


class Started:
    """A child with everything it said, and the file by which it tells that it is ready."""

    def __init__(self, folder: Path, script: str, **options: object) -> None:
        self.flag = folder / "flag"
        self.said: list[str] = []
        self.news: list[str] = []
        program = Program(
            name="it",
            tier=Tier.RUNNER,
            argv=(sys.executable, "-c", f"flag = {str(self.flag)!r}\n{script}"),
            env={"PATH": os.defpath, "PYTHONUNBUFFERED": "1"},
            ready=self.flag.exists,
            **options,  # type: ignore[arg-type]
        )
        self.child = Child(
            program,
            show=lambda _, line: self.said.append(line),
            news=lambda _, line: self.news.append(line),
        )
        self.child.start()


@pytest_asyncio.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    begun: list[Started] = []

    async def one(script: str, **options: object) -> Started:
        begun.append(Started(tmp_path, script, **options))
        return begun[-1]

    yield one
    for each in begun:
        await each.child.stop_by_force()


SERVE = """
import pathlib, signal, time
pathlib.Path(flag).touch()
print("here")
while True: time.sleep(1)
"""

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + SERVE

READS_STDIN = """
import pathlib, sys
pathlib.Path(flag).touch()
sys.stdin.read()
"""


async def until(fact: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not fact():  # noqa: ASYNC110 - facts of other processes ring no bell
            await asyncio.sleep(0.01)


async def test_a_child_is_ready_when_its_program_says_so(start: Start) -> None:
    it = await start(SERVE)
    await it.child.ready()
    assert it.flag.exists()
    await until(lambda: it.said == ["here"])


async def test_a_dead_child_is_started_again_and_that_is_told(start: Start) -> None:
    it = await start(SERVE)
    await it.child.ready()
    first = it.child.pid
    assert first
    os.kill(first, signal.SIGKILL)
    await until(lambda: it.child.pid not in {None, first})
    assert it.news == ["was ended by SIGKILL; started again in 0.1 s"]


async def test_five_deaths_within_a_minute_are_too_many(start: Start) -> None:
    it = await start("print('oh no'); raise SystemExit(3)")
    with pytest.raises(GaveUpError, match="exit status 3 for the 5th time"):
        await it.child.ready()
    assert [line.rsplit(" ", 2)[1] for line in it.news] == ["0.1", "0.2", "0.4", "0.8"]


async def test_a_refused_setting_is_not_tried_again(start: Start) -> None:
    it = await start("raise SystemExit(2)")
    with pytest.raises(GaveUpError, match="exit status 2"):
        await it.child.ready()
    assert it.news == []


async def test_a_lost_port_is_told_apart(start: Start) -> None:
    it = await start("print('[Errno 98] Address already in use'); raise SystemExit(1)")
    with pytest.raises(PortLostError):
        await it.child.ready()


async def test_a_quiet_program_shows_its_last_words_when_it_is_given_up(start: Start) -> None:
    it = await start("print('disk full'); raise SystemExit(2)", chatty=False)
    with pytest.raises(GaveUpError, match="disk full"):
        await it.child.ready()
    assert it.said == []


async def test_deaths_that_a_test_wants_are_not_counted(start: Start) -> None:
    it = await start(SERVE)
    for _ in range(6):
        await it.child.ready()
        it.child.kill()
        await it.child.dead()
    await it.child.ready()
    assert it.news == []


async def test_a_killed_child_stays_dead_when_asked_to(start: Start) -> None:
    it = await start(SERVE)
    await it.child.ready()
    it.child.kill(again=False)
    await it.child.dead()
    assert it.child.pid is None
    await it.child.restart()
    assert it.child.pid


async def test_stopping_waits_for_the_end(start: Start) -> None:
    it = await start(SERVE)
    await it.child.ready()
    pid = it.child.pid
    await it.child.stop()
    assert it.child.pid is None
    assert pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_stopped_process_can_be_ended(start: Start) -> None:
    it = await start(SERVE)
    await it.child.ready()
    it.child.kill(signal.SIGSTOP)
    await it.child.stop()
    assert it.child.pid is None


async def test_patience_has_an_end(start: Start) -> None:
    it = await start(STUBBORN, patience_s=0.2)
    await it.child.ready()
    await it.child.stop()
    assert it.child.pid is None


async def test_a_service_sees_the_end_of_its_supervisor_on_standard_input(start: Start) -> None:
    it = await start(READS_STDIN)
    await it.child.ready()
    assert it.child._process
    assert it.child._process.stdin
    it.child._process.stdin.close()
    await asyncio.wait_for(it.child.dead(), 20)


async def test_long_and_strange_output_is_passed_on(start: Start) -> None:
    it = await start(
        "import sys; sys.stdout.buffer.write(b'x' * 200_000 + b'\\n\\xff\\n'); " + SERVE[1:]
    )
    await until(lambda: len(it.said) > 2)
    assert [len(it.said[0]), it.said[1]] == [200_000, "\N{REPLACEMENT CHARACTER}"]
