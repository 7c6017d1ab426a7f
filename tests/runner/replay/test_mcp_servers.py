"""MCP servers that agents only name: connected for a run, closed with it, or shared by all runs."""

import asyncio
import gc
import json
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from agents import Agent, Runner, function_tool
from agents.mcp import MCPServerStdio, MCPServerStreamableHttp
from mcp.server.mcpserver import Context, MCPServer

from runner import mcp_servers
from runner.carried import Stop, StopKind
from runner.home import Home
from shared.protocol.codes import Code
from shared.telemetry.tracecontext import TRACE, TraceParent, parsed
from tests.runner.replay.approving import decided
from tests.runner.replay.rig import (
    CrashedError,
    Program,
    World,
    attempt,
    call,
    outputs,
    text,
)
from tests.until import until

pytestmark = [
    pytest.mark.asyncio,
    # A server's process may end after the loop of the test that it was begun in.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SHOP = Path(__file__).with_name("mcp_shop.py")


class Shop:
    """The server's process, as far as its files tell."""

    def __init__(self, folder: Path) -> None:
        self.book = folder / "book"
        self.lives = folder / "book.lives"

    def server(self, **more: Any) -> MCPServerStdio:
        return MCPServerStdio(
            params={"command": sys.executable, "args": [str(SHOP), str(self.book)]},
            name="shop",
            client_session_timeout_seconds=60,
            **more,
        )

    @property
    def booked(self) -> list[str]:
        return sorted(self.book.read_text().split()) if self.book.exists() else []

    @property
    def lived(self) -> list[int]:
        """The ids of its processes so far."""
        return [int(one) for one in self.lives.read_text().split()] if self.lives.exists() else []

    async def has_lived(self, times: int) -> None:
        """Wait until all of so many processes have ended."""
        assert len(self.lived) == times

        async def ended() -> bool:
            return not any(map(is_alive, self.lived))

        await until(ended)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for its parent to hear of it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.fixture(scope="module", autouse=True)
def _heard_of_here() -> Iterator[None]:
    """What is left of processes is told by this module's end, and no other test's."""
    yield
    gc.collect()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def naming(agent: Agent[Any]) -> Program:
    """All runs have this one agent."""
    return lambda _world: agent


def buys(_system: str, items: Any) -> Any:
    done = outputs(items)
    match len(done):
        case 0:
            return [call("buy", "c1", mark="c1", what="tea")]
        case 1:
            return [call("price", "c2", mark="c2", what="tea")]
    return [text(" | ".join(map(str, done.values())))]


async def test_each_run_has_one_of_its_own_and_closes_it(shop: Shop) -> None:
    program = naming(Agent(name="A", mcp_servers=[shop.server()]))
    for _ in range(2):
        outcome = await attempt(program, World(), answers=buys)
        assert "bought tea" in outcome.stop.result
    assert shop.booked == ["c1", "c1", "c2", "c2"]
    await shop.has_lived(2)


async def test_who_takes_over_connects_anew_and_calls_nothing_again(shop: Shop) -> None:
    program, world = naming(Agent(name="A", mcp_servers=[shop.server()])), World()
    with pytest.raises(CrashedError):
        await attempt(program, world, answers=buys, dies_at=2)
    assert shop.booked == ["c1"]
    outcome = await attempt(program, world, answers=buys)
    assert "bought tea" in outcome.stop.result
    assert shop.booked == ["c1", "c2"]
    await shop.has_lived(2)


async def test_a_run_that_is_stopped_closes_it_too(shop: Shop) -> None:
    @function_tool
    async def wait() -> str:
        mcp_run[0].stop(Stop(StopKind.CANCELLED))
        await asyncio.Event().wait()
        return ""

    mcp_run: list[Any] = []

    def note(context: Any, _agent: Any) -> str:
        from runner.carried import CARRIED  # noqa: PLC0415 - the run of this very code

        mcp_run.append(CARRIED.get())
        return ""

    agent = Agent(name="A", instructions=note, tools=[wait], mcp_servers=[shop.server()])
    outcome = await attempt(naming(agent), World(), answers=lambda *_: [call("wait", "w")])
    assert outcome.stop.kind is StopKind.CANCELLED
    await shop.has_lived(1)


async def test_an_agent_in_another_loop_has_it_too(shop: Shop) -> None:
    """`Runner.run_sync` in a plain tool: connections stay at home."""
    inner = Agent(name="B", instructions="inner", mcp_servers=[shop.server()])

    @function_tool
    def go() -> str:
        return str(Runner.run_sync(inner, "go").final_output)

    def model(system: str, items: Any) -> Any:
        if system == "inner":
            return buys(system, items)
        done = outputs(items)
        return [text(done["g"])] if done else [call("go", "g")]

    outer = Agent(name="A", instructions="outer", tools=[go])
    outcome = await attempt(naming(outer), World(), answers=model)
    assert "bought tea" in outcome.stop.result
    await shop.has_lived(1)


async def connected(server: MCPServerStdio) -> None:
    """Have it connected outside of the runs, which take along what they begin."""
    await mcp_servers.Servers(Home()).of([server])


async def test_a_shared_one_is_connected_once_and_closed_with_its_code(shop: Shop) -> None:
    server = shop.server()
    mcp_servers.share([server])
    await connected(server)
    program = naming(Agent(name="A", mcp_servers=[server]))
    for _ in range(2):
        outcome = await attempt(program, World(), answers=buys)
        assert "bought tea" in outcome.stop.result
    (pid,) = shop.lived
    assert is_alive(pid)
    mcp_servers.close_shared([server])
    await shop.has_lived(1)
    await connected(server)  # who is still there gets another one
    assert len(shop.lived) == 2
    mcp_servers.close_shared([server])
    await shop.has_lived(2)


@pytest.mark.parametrize("shared", [False, True])
async def test_one_that_dies_in_a_call_fails_that_call_and_the_next_finds_another(
    shop: Shop, *, shared: bool
) -> None:
    def model(_system: str, items: Any) -> Any:
        done = outputs(items)
        if not done:
            return [call("buy", "c1", mark="c1", what="bomb")]
        if "c2" not in done:
            return [call("buy", "c2", mark="c2", what="tea")]
        if shared:  # the run began this connection, and its end is waited for
            mcp_servers.close_shared([server])
        return [text(str(done["c2"]))]

    server = shop.server()
    if shared:
        mcp_servers.share([server])
        await connected(server)
    outcome = await attempt(naming(Agent(name="A", mcp_servers=[server])), World(), answers=model)
    assert "bought tea" in outcome.stop.result
    told = next(one for one in outcome.run.messages() if one.get("toolCallId") == "c1")
    assert "MCP server 'shop' was lost in the middle of this call" in told["content"]
    assert shop.booked == ["c1", "c2"]
    await shop.has_lived(2)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_servers, "CONNECT_S", 0.05)


async def ends_unavailable(server: Any) -> str:
    outcome = await attempt(naming(Agent(name="A", mcp_servers=[server])), World(), answers=buys)
    assert outcome.stop.error is not None
    assert outcome.stop.error.code is Code.MCP_UNAVAILABLE
    assert server.name in outcome.stop.error.message
    return outcome.stop.error.message


async def test_one_that_does_not_exist_ends_the_run() -> None:
    params: Any = {"command": "/no/such/server"}
    assert "/no/such/server" in await ends_unavailable(MCPServerStdio(params, name="gone"))


async def test_one_that_ends_at_once_ends_the_run() -> None:
    params: Any = {"command": sys.executable, "args": ["-c", "raise SystemExit(3)"]}
    await ends_unavailable(MCPServerStdio(params, name="short"))


@pytest.mark.usefixtures("impatient")
async def test_one_that_says_nothing_ends_the_run() -> None:
    params: Any = {"command": sys.executable, "args": ["-c", "import sys; sys.stdin.read()"]}
    assert "does not answer" in await ends_unavailable(MCPServerStdio(params, name="silent"))


async def test_one_that_nobody_serves_ends_the_run() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and never listens
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/mcp"
        await ends_unavailable(MCPServerStreamableHttp({"url": url}, name="closed"))


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """The app at a port of its own."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None))
        serving = asyncio.create_task(server.serve(sockets=[sock]))

        async def started() -> bool:
            return server.started

        await until(started)
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}/mcp"
        finally:
            server.should_exit = True
            await serving


async def test_one_over_http() -> None:
    shop = MCPServer("shop")
    booked: list[str] = []

    @shop.tool()
    def buy(mark: str, what: str) -> str:
        """Buy something."""
        booked.append(mark)
        return f"bought {what}"

    @shop.tool()
    def price(mark: str, what: str) -> str:
        """The price of something."""
        booked.append(mark)
        return f"{len(what)}"

    async with served(shop.streamable_http_app()) as url:
        server = MCPServerStreamableHttp({"url": url}, name="shop")
        outcome = await attempt(
            naming(Agent(name="A", mcp_servers=[server])), World(), answers=buys
        )
        assert "bought tea" in outcome.stop.result
    assert booked == ["c1", "c2"]


async def test_a_server_is_told_the_trace_of_each_call() -> None:
    shop, told = MCPServer("shop"), []

    @shop.tool()
    def buy(mark: str, what: str, context: Context) -> str:
        """Buy something."""
        told.append((context.request_context.meta or {}).get("traceparent"))
        return f"bought {what}"

    within = TRACE.set(TraceParent("a" * 32, "b" * 16))
    async with served(shop.streamable_http_app()) as url:
        server = MCPServerStreamableHttp({"url": url}, name="shop")

        def once(_system: str, items: Any) -> Any:
            return [text("x") if outputs(items) else call("buy", "c", mark="m", what="tea")]

        await attempt(naming(Agent(name="A", mcp_servers=[server])), World(), answers=once)
    TRACE.reset(within)
    (header,) = told
    assert (found := parsed(header)) is not None
    assert found.trace == "a" * 32


async def test_calls_that_need_an_approval_wait_for_it_and_are_made_once(shop: Shop) -> None:
    agent = Agent(name="A", mcp_servers=[shop.server(require_approval={"buy": "always"})])
    program, world = naming(agent), World()
    asked = await attempt(program, world, answers=buys)
    (question,) = asked.stop.asked
    assert (question.record.tool, json.loads(question.record.arguments)["what"]) == ("buy", "tea")
    assert shop.booked == []
    world.decisions += decided(asked, lambda *_: True)
    with pytest.raises(CrashedError):  # with the commit of the call's result still to come
        await attempt(program, world, answers=buys, resumes=True, dies_at=2)
    outcome = await attempt(program, world, answers=buys, resumes=True)
    assert "bought tea" in outcome.stop.result
    assert shop.booked == ["c1", "c2"]
