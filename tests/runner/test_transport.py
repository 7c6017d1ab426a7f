"""The shorter way for each read gives what openai's own gives over real sockets, errors too."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import httpx2
import pytest
from openai import DefaultAioHttpClient

from runner.models.transport import LeanHttpClient

pytestmark = pytest.mark.asyncio

SILENCE_S = 0.2
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
ZIPPED = gzip.compress(b"data: 1\n\n" * 100)
ANSWERS = {
    "whole": CHUNKED + b"9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n",
    "cut off": CHUNKED + b"9\r\ndata: 1\n\n\r\n9\r\nda",
    "cut off before its length": HEAD + b"Content-Length: 99\r\n\r\ndata: 1\n\n",
    "until the connection closes": HEAD + b"Connection: close\r\n\r\ndata: 1\n\n",
    "no chunk": CHUNKED + b"9\r\ndata: 1\n\n\r\nnonsense\r\n",
    "zipped": HEAD
    + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(ZIPPED), ZIPPED),
    "said to be zipped": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n123",
    "empty": HEAD + b"Content-Length: 0\r\n\r\n",
    "silent": CHUNKED + b"9\r\ndata: 1\n\n\r\n",
}


@asynccontextmanager
async def answering(what: str) -> AsyncIterator[int]:
    """A server that answers so, and then closes the connection, or keeps silent; its port."""
    done = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWERS[what])
        await writer.drain()
        if what == "silent":
            await done.wait()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        done.set()


async def read(kind: type[httpx2.AsyncClient], what: str) -> tuple[bytes, object]:
    """What comes, and how it ends."""
    got = b""
    timeout = httpx2.Timeout(60, read=SILENCE_S if what == "silent" else 60)
    async with answering(what) as port, kind(timeout=timeout) as client:
        request = client.build_request("POST", f"http://127.0.0.1:{port}/", content=b"{}")
        response = None
        try:
            response = await client.send(request, stream=True)
            async for piece in response.aiter_bytes():
                got += piece
        except (httpx2.RequestError, aiohttp.ClientError) as error:
            ended = type(error), str(error).replace(str(port), "port"), type(error.__cause__)
            # How much comes before a silence is up to the machine.
            got = b"" if what == "silent" else got
            return got, (*ended, getattr(error, "request", None) is request)
        finally:
            assert response is None or response.is_closed
        with pytest.raises(httpx2.StreamConsumed):
            await anext(response.aiter_bytes())
    return got, None


@pytest.mark.parametrize("what", ANSWERS)
async def test_an_answer_comes_and_ends_as_over_the_stock_client(what: str) -> None:
    assert await read(LeanHttpClient, what) == await read(DefaultAioHttpClient, what)


async def test_a_body_that_is_read_at_once_is_whole() -> None:
    async with answering("zipped") as port, LeanHttpClient() as client:
        response = await client.post(f"http://127.0.0.1:{port}/", content=b"{}")
    assert response.content == b"data: 1\n\n" * 100
    assert [piece async for piece in response.aiter_bytes()] == [response.content]


async def test_whoever_stops_reading_closes_the_connection() -> None:
    async with answering("silent") as port, LeanHttpClient() as client:
        request = client.build_request("POST", f"http://127.0.0.1:{port}/", content=b"{}")
        response = await client.send(request, stream=True)
        reads = response.aiter_bytes()
        assert await anext(reads) == b"data: 1\n\n"
        await reads.aclose()
        assert response.is_closed
