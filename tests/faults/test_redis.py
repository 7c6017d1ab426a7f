"""Redis breaks in every way it knows, while people watch: nothing is lost, nothing comes twice."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpx
import pytest
import pytest_asyncio

from drill.stores import ask_redis
from stack.resp import Reply
from tests.faults.crowd import Crowd, crowd
from tests.until import until

pytestmark = [
    pytest.mark.stores,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
]

#: Long enough for people to notice, short of what makes runners look for help.
LASTS_S = 2.5


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def people(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Crowd]:
    async with crowd(tmp_path_factory.mktemp("redis")) as made:
        yield made


async def ask(people: Crowd, *commands: list[str | int]) -> list[Reply]:
    """Commands of an administrator, in order."""
    return await asyncio.to_thread(ask_redis, people.stack.redis_url(), *commands)


async def refused(people: Crowd, word: str) -> bool:
    """Whether Redis has refused somebody with this word."""
    (stats,) = await ask(people, ["INFO", "errorstats"])
    assert isinstance(stats, bytes)
    return f"errorstat_{word}:".encode() in stats


async def test_restarted(people: Crowd) -> None:
    async def fault() -> None:
        await people.stack.processes["valkey"].restart()

    (await people.live_through(fault)).assert_unharmed()


async def test_killed(people: Crowd) -> None:
    async def fault() -> None:
        await people.kill("valkey", signal.SIGKILL)

    (await people.live_through(fault)).assert_unharmed()


async def test_flushed(people: Crowd) -> None:
    async def fault() -> None:
        await ask(people, ["FLUSHALL"])

    (await people.live_through(fault)).assert_unharmed()


async def test_without_its_group(people: Crowd) -> None:
    async def fault() -> None:
        await ask(people, ["XGROUP", "DESTROY", "runs", "runners"])
        await until(lambda: refused(people, "NOGROUP"))

    (await people.live_through(fault)).assert_unharmed()


async def test_asleep(people: Crowd) -> None:
    async def fault() -> None:
        await ask(people, ["DEBUG", "SLEEP", str(LASTS_S)])

    (await people.live_through(fault)).assert_unharmed()


async def test_clients_paused(people: Crowd) -> None:
    async def fault() -> None:
        await ask(people, ["CLIENT", "PAUSE", int(LASTS_S * 1000), "ALL"])
        await asyncio.sleep(LASTS_S)

    (await people.live_through(fault)).assert_unharmed()


async def test_clients_cut_off_each_second(people: Crowd) -> None:
    async def fault() -> None:
        for _ in range(4):
            for kind in ("normal", "pubsub"):
                await ask(people, ["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"])
            await asyncio.sleep(1)

    (await people.live_through(fault)).assert_unharmed()


async def test_full(people: Crowd) -> None:
    async def fault() -> None:
        await ask(people, ["CONFIG", "SET", "maxmemory", 1])
        await asyncio.sleep(LASTS_S)
        await ask(people, ["CONFIG", "SET", "maxmemory", 0])
        assert await refused(people, "OOM")

    (await people.live_through(fault)).assert_unharmed()


@contextmanager
def frozen(people: Crowd) -> Iterator[None]:
    valkey = people.stack.processes["valkey"]
    valkey.kill(signal.SIGSTOP)
    try:
        yield
    finally:
        valkey.kill(signal.SIGCONT)


async def test_a_black_hole(people: Crowd) -> None:
    """The kernel takes its connections, and nobody ever answers."""

    async def fault() -> None:
        with frozen(people):
            urls = (*people.stack.gateway_urls, *people.stack.runner_urls)
            async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
                answers = await asyncio.gather(*(http.get(f"{url}/readyz") for url in urls))
            assert {answer.status_code for answer in answers} == {503}
            await asyncio.sleep(LASTS_S)

    (await people.live_through(fault)).assert_unharmed()
