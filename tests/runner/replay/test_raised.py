"""What tools raise, and their time-outs: recorded, and raised again as it was."""

import asyncio
from typing import Any

import httpx2
import openai
import pytest
from agents import Agent, Runner, ToolTimeoutError, UserError, function_tool
from agents.exceptions import MaxTurnsExceeded, ModelBehaviorError

from runner.raised import described, raised_again
from runner.theirs import AgentCodeError
from shared.errors import BatonError
from shared.protocol.codes import Code
from tests.runner.replay.rig import (
    StopKind,
    World,
    assert_replays,
    attempt,
    call,
    outputs,
    text,
)


class ShopError(Exception):
    """An author's own, made in a way of its own."""

    def __init__(self, shop: str, *, until: int) -> None:
        super().__init__(f"{shop} is closed until {until}")
        self.shop, self.until = shop, until


class OddError(Exception):
    """One that holds what JSON cannot carry."""

    def __init__(self) -> None:
        super().__init__("odd")
        self.held = object()


def chained() -> Exception:
    error = KeyError("name")
    middle = OddError()
    middle.__cause__ = BatonError(Code.MAX_TURNS)
    error.__cause__ = middle
    return error


KEPT = (
    ShopError("north", until=7),
    KeyError("name"),
    FileNotFoundError(2, "No such file", "a.txt"),
    ToolTimeoutError("slow", 0.5),
    UserError("wrong use"),
    MaxTurnsExceeded("too many"),
    ModelBehaviorError("bad"),
    BatonError(Code.TOOL_UNKNOWN, "no such tool"),
    openai.RateLimitError(
        "slow", response=httpx2.Response(429, request=httpx2.Request("POST", "http://x")), body={}
    ),
    TimeoutError("late"),
    AgentCodeError(SystemExit(3)),
)


@pytest.mark.parametrize("error", KEPT, ids=lambda error: type(error).__name__)
def test_an_error_is_raised_again_as_it_was(error: Exception) -> None:
    kept = described(error)
    assert kept is not None
    again = raised_again(kept)
    assert (type(again), str(again), again.args) == (type(error), str(error), error.args)
    for name in ("shop", "until", "errno", "filename", "tool_name", "code", "status_code"):
        assert getattr(again, name, None) == getattr(error, name, None)


def test_an_error_that_would_come_back_otherwise_is_not_kept() -> None:
    class LocalError(Exception):
        """Nobody finds it by its name."""

    class SlyError(ShopError):
        def __str__(self) -> str:
            raise ValueError("sly")

    assert described(LocalError("x")) is None
    assert described(OddError()) is None
    assert described(SlyError("x", until=1)) is None
    assert described(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")) is None
    assert described(Exception(object())) is None
    assert described(asyncio.CancelledError()) is None


def test_a_cause_with_a_code_is_kept_through_what_is_not() -> None:
    kept = described(chained())
    assert kept is not None
    cause = raised_again(kept).__cause__
    assert isinstance(cause, BatonError)
    assert cause.code is Code.MAX_TURNS


def test_a_record_names_no_class_that_is_not_an_error() -> None:
    for module, name in (("os", "system"), ("not_loaded_yet", "Error"), ("builtins", "object")):
        kept = {"module": module, "class": name, "message": "m", "args": ["x"], "state": {}}
        assert type(raised_again(kept)) is RuntimeError


@pytest.mark.asyncio
async def test_a_helper_that_catches_what_its_tool_raised() -> None:
    def program(world: World) -> Agent[Any]:
        @function_tool(failure_error_function=None)
        def buy(shop: str) -> str:
            world.do(f"b_{shop}")
            raise ShopError(shop, until=len(world.done))

        buyer = Agent(name="Buyer", instructions="buyer", tools=[buy])

        @function_tool
        async def shopping() -> str:
            found = []
            for shop in ("north", "south"):
                try:
                    await Runner.run(buyer, shop)
                except UserError as error:
                    cause = error.__cause__
                    assert isinstance(cause, ShopError)
                    found.append(f"{error} ({cause.shop})")
            return str((await Runner.run(buyer, " ".join(found))).final_output)

        return Agent(name="A", instructions="outer", tools=[shopping])

    def answers(system: str, items: Any) -> Any:
        if system == "buyer":
            said = str(items[0]["content"])
            return [text(said)] if "closed" in said else [call("buy", f"b_{said}", shop=said)]
        done = outputs(items)
        return [text(done["c1"])] if done else [call("shopping", "c1")]

    # What is told depends on how often the tool was tried: from its record on, it is fixed.
    whole = World()
    first = await attempt(program, whole, answers=answers)
    assert "north is closed until 1 (north)" in first.stop.result
    raised = [place for place, one in enumerate(whole.journal) if one.kind == "raised"]
    assert [whole.journal[one].place for one in raised] == ["b_north", "b_south"]
    for steps in range(raised[-1] + 1, len(whole.journal) + 1):
        world = World(journal=whole.journal[:steps])
        again = await attempt(program, world, answers=answers)
        assert again.seen == first.seen, f"after {steps} steps"
        assert world.done == []


@pytest.mark.asyncio
async def test_a_tool_that_raises_ends_the_run_beside_its_siblings() -> None:
    def program(world: World) -> Agent[Any]:
        @function_tool(failure_error_function=None)
        async def fail() -> str:
            for _ in range(20):
                await asyncio.sleep(0)
            world.do("c2")
            raise ShopError("north", until=3)

        @function_tool
        def look() -> str:
            world.do("c1")
            return "saw"

        return Agent(name="A", tools=[look, fail])

    outcome = await assert_replays(
        program, lambda _system, _items: [call("look", "c1"), call("fail", "c2")]
    )
    assert outcome.stop.kind is StopKind.FAILED
    assert outcome.stop.error is not None
    assert "north is closed until 3" in outcome.stop.error.message


@pytest.mark.asyncio
async def test_an_error_told_to_the_model_in_the_author_s_words() -> None:
    def program(world: World) -> Agent[Any]:
        def word(_context: Any, error: Exception) -> str:
            return f"told: {error}"

        @function_tool(failure_error_function=word)
        def fail() -> str:
            world.do("c1")
            raise ShopError("north", until=3)

        return Agent(name="A", tools=[fail])

    def answers(_system: str, items: Any) -> Any:
        done = outputs(items)
        return [text(done["c1"])] if done else [call("fail", "c1")]

    outcome = await assert_replays(program, answers)
    assert outcome.stop.result == "told: north is closed until 3"


def waiting(world: World, **options: Any) -> Any:
    """A tool that never answers in time."""

    async def wait() -> str:
        world.do("w1")
        await asyncio.Event().wait()
        return "waited"

    return function_tool(wait, timeout=0.01, **options)


@pytest.mark.asyncio
@pytest.mark.parametrize("own", [False, True], ids=["the SDK's words", "the author's words"])
async def test_a_time_out_is_told_to_the_model_and_not_waited_for_again(own: bool) -> None:
    words = {"timeout_error_function": lambda _context, error: f"late: {error}"} if own else {}

    def program(world: World) -> Agent[Any]:
        return Agent(name="A", tools=[waiting(world, **words)])

    def answers(_system: str, items: Any) -> Any:
        done = outputs(items)
        return [text(done["w1"])] if done else [call("wait", "w1")]

    outcome = await assert_replays(program, answers)
    said = "Tool 'wait' timed out after 0.01 seconds."
    assert outcome.stop.result == (f"late: {said}" if own else said)


@pytest.mark.asyncio
async def test_a_time_out_that_is_raised() -> None:
    def program(world: World) -> Agent[Any]:
        patient = Agent(
            name="Patient",
            instructions="patient",
            tools=[waiting(world, timeout_behavior="raise_exception")],
        )

        @function_tool
        async def try_it() -> str:
            try:
                return str((await Runner.run(patient, "go")).final_output)
            except ToolTimeoutError as error:
                said = await Runner.run(patient, f"{error.tool_name} {error.timeout_seconds}")
                return str(said.final_output)

        return Agent(name="A", instructions="outer", tools=[try_it])

    def answers(system: str, items: Any) -> Any:
        said = str(items[0]["content"])
        if system == "patient":
            return [call("wait", "w1")] if said == "go" else [text(said)]
        done = outputs(items)
        return [text(done["c1"])] if done else [call("try_it", "c1")]

    outcome = await assert_replays(program, answers)
    assert outcome.stop.result == "wait 0.01"
