"""Tools of a real MCP server: each call is made once, whatever the server is like at the replay."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from agents import Agent, Runner, function_tool
from agents.mcp import MCPServerStdio

from shared.protocol.codes import Code
from tests.runner.replay.rig import (
    CrashedError,
    World,
    assert_replays,
    attempt,
    call,
    outputs,
    text,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHOP = Path(__file__).with_name("mcp_shop.py")


class Shop(MCPServerStdio):
    """The server as a runner sees it; it may go away, or lose a tool."""

    def __init__(self, book: Path) -> None:
        super().__init__(
            params={"command": sys.executable, "args": [str(SHOP), str(book)]},
            name="shop",
            client_session_timeout_seconds=60,
        )
        self.book = book
        self.away = False
        self.lost: set[str] = set()

    async def list_tools(self, *args: Any, **kwargs: Any) -> Any:
        if self.away:
            raise ConnectionError("away")
        found = await super().list_tools(*args, **kwargs)
        return [one for one in found if one.name not in self.lost]

    @property
    def booked(self) -> list[str]:
        return self.book.read_text().split() if self.book.exists() else []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """One server for all tests; it has to be left by the task that entered it."""
    ready: asyncio.Future[Shop] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def hold() -> None:
        async with Shop(tmp_path_factory.mktemp("shop") / "book") as shop:
            ready.set_result(shop)
            await over.wait()

    holding = asyncio.create_task(hold())
    yield await ready
    over.set()
    await holding


@pytest.fixture
def shop(running: Shop) -> Shop:
    running.book.unlink(missing_ok=True)
    running.away, running.lost, running.use_structured_content = False, set(), False
    return running


def shopping(shop: Shop) -> Any:
    def program(_world: World) -> Agent[Any]:
        return Agent(name="A", mcp_servers=[shop])

    return program


def answers(_system: str, items: Any) -> Any:
    match len(done := outputs(items)):
        case 0:
            return [
                call("price", "c1", mark="c1", what="tea"),
                call("buy", "c2", mark="c2", what="tea"),
            ]
        case 2:
            return [call("buy", "c3", mark="c3", what="tnt")]
    return [text(json.dumps(list(done.values()), sort_keys=True))]


def said(output: Any) -> str:
    return str(output if isinstance(output, str) else output[0]["text"])


@pytest.mark.parametrize("structured", [False, True], ids=["content", "structured content"])
async def test_it_replays_from_every_step(shop: Shop, structured: bool) -> None:
    shop.use_structured_content = structured
    outcome = await assert_replays(shopping(shop), answers, racing=True)
    price, bought, failed = json.loads(outcome.stop.result)
    assert json.loads(said(price))["cents"] == 300
    assert "bought tea" in said(bought)
    assert "nobody sells tnt" in said(failed)


@pytest.mark.parametrize("how", ["there", "away", "without a tool"])
async def test_a_replay_calls_nothing_again(shop: Shop, how: str) -> None:
    world = World()
    first = await attempt(shopping(shop), world, answers=answers)
    assert sorted(shop.booked) == ["c1", "c2", "c3"]
    shop.away, shop.lost = how == "away", {"buy"} if how == "without a tool" else set()
    again = await attempt(shopping(shop), world, answers=answers)
    assert (again.seen, again.asked) == (first.seen, 0)
    assert len(shop.booked) == 3


async def test_a_call_that_is_left_while_its_server_is_away_ends_the_run(shop: Shop) -> None:
    world = World()
    with pytest.raises(CrashedError):
        await attempt(shopping(shop), world, answers=answers, dies_at=1)
    shop.away = True
    outcome = await attempt(shopping(shop), world, answers=answers)
    assert outcome.stop.error is not None
    assert outcome.stop.error.code is Code.TOOL_UNKNOWN


async def test_approvals_that_an_author_gives_itself(running: Shop, shop: Shop) -> None:
    """`require_approval` of a server, answered by the tool that runs the agent."""

    def program(_world: World) -> Agent[Any]:
        careful = Agent(name="Careful", instructions="careful", mcp_servers=[shop])

        @function_tool
        async def go() -> str:
            result = await Runner.run(careful, "go")
            while result.interruptions:
                state = result.to_state()
                for one in result.interruptions:
                    if "tnt" in str(one.arguments):
                        state.reject(one, rejection_message="not that")
                    else:
                        state.approve(one)
                result = await Runner.run(careful, state)
            return str(result.final_output)

        return Agent(name="A", instructions="outer", tools=[go])

    def decided(system: str, items: Any) -> Any:
        if system == "careful":
            return answers(system, items)
        done = outputs(items)
        return [text(done["g"])] if done else [call("go", "g")]

    policy, shop._needs_approval_policy = shop._needs_approval_policy, {"buy": True}
    try:
        outcome = await assert_replays(program, decided, racing=True)
    finally:
        shop._needs_approval_policy = policy
    price, bought, refused = json.loads(outcome.stop.result)
    assert "300" in said(price)
    assert "bought tea" in said(bought)
    assert refused == "not that"
