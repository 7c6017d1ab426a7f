"""A model server that is not there, as the client that runners use meets it: real sockets."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import openai
import pytest

from runner.failures import failure_of
from runner.models.errors import described, raised_again
from runner.models.provider import make_client
from runner.models.retry import Kind, details_of, judged
from shared.protocol.codes import MEANINGS, Code
from shared.settings import RunnerSettings
from shared.settings.models import Provider

pytestmark = pytest.mark.asyncio

SETTINGS = RunnerSettings(REDIS_URL="redis://unused", BATON_RUNNER_KEY="k" * 32)


@contextmanager
def refusing() -> Iterator[int]:
    """A port that is taken, and on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@asynccontextmanager
async def hanging_up() -> AsyncIterator[int]:
    """A server that closes each connection as soon as it is asked."""

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(close, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def fails(port: int) -> Exception:
    """What a call of the model at this port raises."""
    client = make_client(SETTINGS, Provider(base_url=f"http://127.0.0.1:{port}/v1"))
    async with client:
        with pytest.raises(openai.OpenAIError) as raised:
            await client.responses.create(model="m", input="hello")
    return raised.value


async def test_where_nobody_listens_people_are_told_where() -> None:
    with refusing() as port:
        error = await fails(port)
    fault = judged(error, now=time.time())
    assert (fault.kind, fault.again) == (Kind.DOWN, True)
    assert details_of(error)["cause"] == "ConnectionRefusedError"
    failure = failure_of(error)
    assert failure.code is Code.UPSTREAM_UNAVAILABLE
    expected = f"Nothing answers at 127.0.0.1:{port}; is the model server running?"
    assert failure.message == expected


async def test_a_server_that_hangs_up_answers_but_failed() -> None:
    async with hanging_up() as port:
        failure = failure_of(await fails(port))
    assert failure.code is Code.UPSTREAM_UNAVAILABLE
    assert failure.message == f"{MEANINGS[failure.code].text[:-1]} (127.0.0.1:{port})."


async def test_replay_comes_to_the_same_code() -> None:
    with refusing() as port:
        error = await fails(port)
    kept = described(error)
    assert kept is not None
    again = raised_again(kept)
    assert type(again) is type(error)
    assert failure_of(again).code is failure_of(error).code
