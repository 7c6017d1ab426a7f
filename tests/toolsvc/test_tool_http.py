"""What other services are sent by tools: the same keys when a tool is run again, else others."""

import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated, Any

import httpx
import pytest
import pytest_asyncio
from pydantic import Field

from tests.toolsvc.tool_rig import Rig, opened
from toolsvc.tool import Tool, ToolCall, tool
from toolsvc.tool_http import http_client

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

Asked = tuple[str, str, str | None]


@dataclass
class Service:
    """Another service, over real HTTP, that writes down what it is asked."""

    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    @property
    def keys(self) -> list[str | None]:
        return [key for _, _, key in self.asked]


@pytest.fixture
def service() -> Iterator[Service]:
    told = Service()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            told.asked.append((self.command, self.path, self.headers.get("idempotency-key")))
            moved = self.path == "/moved"
            self.send_response(307 if moved else 200)
            if moved:
                self.send_header("location", "/here")
            self.send_header("set-cookie", "who=me")
            self.send_header("content-length", "0")
            self.end_headers()

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - its names

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_port}"
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


def tools() -> list[Tool]:
    async def refund(
        call: ToolCall, url: Annotated[str, Field(description="Where.")], crash: bool = False
    ) -> int:
        await call.http.get(f"{url}/order")
        await call.http.post(f"{url}/refund", json={})
        if crash:
            raise RuntimeError
        return (await call.http.delete(f"{url}/order")).status_code

    return [tool(name="refund", description="R.", scope="w:w", idempotent=True)(refund)]


@pytest_asyncio.fixture
async def rig(database_url: str) -> AsyncIterator[Rig]:
    async with opened(database_url, *tools()) as made:
        yield made


async def test_a_tool_that_is_run_again_sends_the_same_keys(rig: Rig, service: Service) -> None:
    """As after the death of the executor that ran it first: the outcome was never told."""
    assert await rig.result("refund", {"url": service.url}, call_id="call_x") == 200
    await rig.sql(
        "UPDATE effects SET status = 'claimed', result = NULL,"
        " executor_until = now() - interval '1 s'"
    )
    assert await rig.result("refund", {"url": service.url}, call_id="call_x") == 200
    (key,) = [row.key for row in await rig.sql("SELECT key FROM effects")]
    assert service.keys == [None, f"{key}-1", f"{key}-2"] * 2


async def test_other_calls_send_other_keys(rig: Rig, service: Service) -> None:
    for call_id in ("call_1", "call_2"):
        await rig.result("refund", {"url": service.url}, call_id=call_id)
        await rig.call("refund", {"url": service.url, "crash": True}, call_id=call_id)
    keys = [key for key in service.keys if key]
    assert len(keys) == len(set(keys)) == 6


async def test_a_key_that_is_given_stays_and_a_redirect_is_the_same_request(
    service: Service,
) -> None:
    async with httpx.AsyncHTTPTransport() as connections:
        http = http_client(connections, "k")
        await http.post(f"{service.url}/a", headers={"Idempotency-Key": "mine"})
        await http.put(f"{service.url}/moved", follow_redirects=True)
        await http.patch(f"{service.url}/b")
    assert service.asked == [
        ("POST", "/a", "mine"),
        ("PUT", "/moved", "k-1"),
        ("PUT", "/here", "k-1"),
        ("PATCH", "/b", "k-2"),
    ]


async def test_calls_share_connections_and_no_cookies(service: Service) -> None:
    async with httpx.AsyncHTTPTransport() as connections:
        async with http_client(connections, "a") as first:
            await first.get(service.url)
            assert first.cookies["who"] == "me"
        second = http_client(connections, "b")
        assert (await second.get(service.url)).status_code == 200
        assert "cookie" not in http_client(connections, "c").build_request("GET", "/").headers
