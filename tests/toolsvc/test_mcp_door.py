"""`/mcp` with the SDK's own client: the same tools, tokens and ledger as over HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from agents.mcp import MCPServerStreamableHttp
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult

from shared.telemetry.tracecontext import TRACE
from tests.toolsvc.tool_rig import Rig, opened
from toolsvc.mcp_door import CALL_ID_META, CODE_META, REPLAYED_META
from toolsvc.tool import ToolCall, ToolError, tool

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

ran: list[str] = []


@tool(name="append", description="Append a word.", scope="a:b")
async def append(call: ToolCall, word: str) -> dict[str, str]:
    ran.append(word)
    return {"word": word, "key": call.idempotency_key}


@tool(name="refuse", description="Refuse.", scope="a:b")
async def refuse(call: ToolCall) -> str:
    raise ToolError("no_way", "It cannot be done.")


@tool(name="trace", description="The trace.", scope="a:b")
async def trace(call: ToolCall) -> dict[str, str | None]:
    found = TRACE.get()
    return {"trace": found.trace if found else None}


@pytest_asyncio.fixture
async def rig(database_url: str) -> AsyncIterator[Rig]:
    ran.clear()
    async with opened(database_url, append, refuse, trace) as made:
        yield made


@asynccontextmanager
async def connected(rig: Rig, token: str | None = None) -> AsyncIterator[MCPServerStreamableHttp]:
    """A client as an agent's author would write it."""

    def client(
        headers: dict[str, str] | None = None,
        timeout: Any = None,
        auth: Any = None,
    ) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(rig.app)
        return httpx2.AsyncClient(transport=transport, headers=headers, timeout=timeout)

    headers = {"authorization": f"Bearer {token or rig.token()}"}
    server = MCPServerStreamableHttp(
        params={
            "url": "http://toolsvc/mcp",
            "headers": headers,
            "httpx_client_factory": client,
        }
    )
    async with server:
        yield server


def ours(result: CallToolResult) -> dict[str, Any]:
    """What of a result's `_meta` is not the library's."""
    return {key: value for key, value in (result.meta or {}).items() if key.startswith("baton/")}


async def test_a_run_sees_the_tools_that_it_may_call(rig: Rig) -> None:
    async with connected(rig) as server:
        tools = {one.name: one for one in await server.list_tools()}
    assert tools.keys() == rig.registry.tools.keys()
    assert tools["append"].input_schema == append.parameters.published
    async with connected(rig, rig.token(tools=("append",))) as server:
        assert [one.name for one in await server.list_tools()] == ["append"]


async def test_a_named_call_takes_effect_once_by_whatever_door_it_comes(rig: Rig) -> None:
    async with connected(rig) as server:
        meta = {CALL_ID_META: "call_a"}
        first = await server.call_tool("append", {"word": "x"}, meta)
        again = await server.call_tool("append", {"word": "x"}, meta)
    assert ran == ["x"]
    assert first.structured_content == again.structured_content
    assert (ours(first), ours(again)) == ({}, {REPLAYED_META: True})
    assert await rig.result("append", {"word": "x"}, call_id="call_a") == first.structured_content
    assert await rig.effects() == [("append", "done")]


async def test_calls_without_a_name_are_different_calls(rig: Rig) -> None:
    async with connected(rig) as server:
        for _ in range(2):
            await server.call_tool("append", {"word": "x"})
    assert ran == ["x", "x"]


@pytest.mark.parametrize(
    ("header", "found"), [(f"00-{'a' * 32}-{'b' * 16}-01", "a" * 32), ("no trace", None)]
)
async def test_a_call_belongs_to_the_trace_of_its_meta(
    rig: Rig, header: str, found: str | None
) -> None:
    async with connected(rig) as server:
        result = await server.call_tool("trace", {}, {"traceparent": header})
    assert result.structured_content == {"trace": found}


async def test_errors_that_a_model_can_mend_are_results(rig: Rig) -> None:
    async with connected(rig) as server:
        wrong = await server.call_tool("append", {"word": 3})
        refused = await server.call_tool("refuse", {})
    assert (wrong.is_error, ours(wrong)) == (True, {CODE_META: "tool_invalid_arguments"})
    assert (refused.is_error, ours(refused)) == (True, {CODE_META: "no_way"})
    (said,) = refused.content
    assert getattr(said, "text", "") == "It cannot be done."


@pytest.mark.parametrize(
    ("name", "changes", "meta", "code"),
    [
        ("nothing", {}, None, "tool_unknown"),
        ("append", {"tools": ("refuse",)}, None, "forbidden"),
        ("append", {"fence": 2}, None, "fenced"),
        ("append", {}, {CALL_ID_META: "with space"}, "bad_input"),
        ("append", {}, {CALL_ID_META: 7}, "bad_input"),
    ],
)
async def test_other_refusals_are_errors_with_our_code(
    rig: Rig, name: str, changes: dict[str, Any], meta: dict[str, Any] | None, code: str
) -> None:
    async with connected(rig, rig.token(**changes)) as server:
        with pytest.raises(MCPError) as refused:
            await server.call_tool(name, {"word": "x"}, meta)
    assert refused.value.error.data == {"code": code}
    assert ran == []


@pytest.mark.parametrize("token", ["", "nonsense", None])
async def test_without_a_token_of_ours_nothing_is_read(rig: Rig, token: str | None) -> None:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    answer = await rig.http.post("/mcp", content=b"{", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "not_signed_in"


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 400), (b'{"jsonrpc": "2.0", "method": 3}', 400), (b"x" * 1_048_577, 413)],
)
async def test_what_is_no_message_is_refused(rig: Rig, body: bytes, status: int) -> None:
    headers = {
        "authorization": f"Bearer {rig.token()}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
    }
    answer = await rig.http.post("/mcp", content=body, headers=headers)
    assert answer.status_code == status
