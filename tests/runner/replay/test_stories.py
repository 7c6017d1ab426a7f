"""What replay must not do: fire a hook again, ask a clock anew, take another path unnoticed."""

import asyncio
import itertools
from typing import Any

import pytest
from agents import Agent, RunContextWrapper, RunHooks, Runner, function_tool, handoff
from agents.tool_context import ToolContext

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
from tests.until import until

pytestmark = pytest.mark.asyncio


async def taken_over(program: Any, answers: Any, *, after: int, **options: Any) -> World:
    """A run that died after some steps, and was carried to its end by another process."""
    world = World()
    with pytest.raises(CrashedError):
        await attempt(program, world, answers=answers, dies_at=after, **options)
    world.do("|")
    await attempt(program, world, answers=answers, **options)
    return world


class Noting(RunHooks[Any]):
    """Notes every moment."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def on_agent_start(self, _context: Any, agent: Any) -> None:
        self.world.do(f"start {agent.name}")

    async def on_llm_start(self, *_: Any) -> None:
        self.world.do("ask")

    async def on_llm_end(self, *_: Any) -> None:
        self.world.do("answered")

    async def on_tool_start(self, context: Any, *_: Any) -> None:
        self.world.do(f"call {context.tool_call_id}")

    async def on_tool_end(self, context: Any, *_: Any) -> None:
        self.world.do(f"done {context.tool_call_id}")

    async def on_agent_end(self, *_: Any) -> None:
        self.world.do("end")


async def test_hooks_fire_for_what_happens_and_not_for_what_is_replayed() -> None:
    def program(world: World) -> Agent[Any]:
        @function_tool
        def look() -> str:
            return "saw"

        helper = Agent(name="Helper", instructions="helper", tools=[look])

        @function_tool
        async def helped() -> str:
            result = await Runner.run(helper, "help", hooks=Noting(world))
            return str(result.final_output)

        return Agent(name="A", instructions="outer", tools=[helped])

    def answers(system: str, items: Any) -> Any:
        done = outputs(items)
        if system == "helper":
            return [text("helped")] if len(done) == 2 else [call("look", f"c{len(done)}")]
        return [text("ok")] if done else [call("helped", "h")]

    whole = World()
    await attempt(program, whole, answers=answers)
    assert whole.done == [
        *("start Helper", "ask", "answered", "call c0", "done c0"),
        *("ask", "answered", "call c1", "done c1", "ask", "answered", "end"),
    ]
    for after in range(1, len(whole.journal)):
        world = await taken_over(program, answers, after=after)
        fired = [what for what in world.done if what != "|"]
        assert set(fired) == set(whole.done), f"after {after} steps"
        edge = len(fired) - len(whole.done)
        # Begun and cut off, or ended without another step to prove it: twice, but not more.
        assert 0 <= edge <= 3, f"after {after} steps: {world.done}"


@pytest.mark.parametrize("odd", ["x" * 4000, "häh", "a b", "a/b/c"], ids=lambda id_: id_[:5])
async def test_ids_of_calls_may_be_long_and_odd(odd: str) -> None:
    def program(world: World) -> Agent[Any]:
        @function_tool
        def look(context: ToolContext[Any]) -> str:
            world.do(context.tool_call_id)
            return "saw"

        helper = Agent(name="Helper", instructions="helper", tools=[look])
        return Agent(name="A", instructions="outer", tools=[helper.as_tool("help", "It helps.")])

    def answers(system: str, items: Any) -> Any:
        done = outputs(items)
        if system == "helper":
            return [text("helped")] if f"{odd}2" in done else [call("look", f"{odd}2")]
        return [text("ok")] if odd in done else [call("help", odd, input="x")]

    await assert_replays(program, answers)
    whole = World()
    await attempt(program, whole, answers=answers)
    assert whole.done == [f"{odd}2"]  # whoever asks is told the model's own id
    kept = [part for step in whole.journal for part in (*step.scope.split("/"), step.place)]
    assert all(part.isascii() and " " not in part and len(part) <= 120 for part in kept)


async def test_a_hand_off_s_own_function_is_not_called_again() -> None:
    def program(world: World) -> Agent[Any]:
        async def handed(_context: RunContextWrapper[Any]) -> None:
            world.do("handed")

        second = Agent(name="Second", instructions="second")
        return Agent(
            name="First", instructions="first", handoffs=[handoff(second, on_handoff=handed)]
        )

    def answers(system: str, items: Any) -> Any:
        return [text("hello")] if system == "second" else [call("transfer_to_second", "h1")]

    world = World()
    await attempt(program, world, answers=answers)
    assert world.done == ["handed"]
    await attempt(program, world, answers=answers)
    assert world.done == ["handed"]


async def test_a_predicate_that_looks_at_a_clock_is_asked_once_a_turn() -> None:
    ticks = itertools.count()

    def program(world: World) -> Agent[Any]:
        def even(_context: Any, _agent: Any) -> bool:
            return next(ticks) % 2 == 0

        @function_tool(is_enabled=even)
        def sometimes() -> str:
            return "here"

        @function_tool
        def always() -> str:
            return "always"

        return Agent(name="A", tools=[sometimes, always])

    def answers(_system: str, items: Any) -> Any:
        done = outputs(items)
        if not done:
            return [call("sometimes", "c1"), call("always", "c2")]
        return [text(f"{done}")]

    world = World()
    first = await attempt(program, world, answers=answers)
    again = await attempt(program, world, answers=answers)
    assert again.asked == 0
    assert again.seen == first.seen


async def test_an_approval_predicate_is_not_asked_about_what_has_been_done() -> None:
    asked: list[str] = []

    def program(world: World) -> Agent[Any]:
        async def risky(_context: Any, _arguments: Any, call_id: str) -> bool:
            asked.append(call_id)
            return len(asked) > 2

        @function_tool(needs_approval=risky)
        def act() -> str:
            return "acted"

        return Agent(name="A", tools=[act])

    def answers(_system: str, items: Any) -> Any:
        done = outputs(items)
        return [text("done")] if len(done) == 2 else [call("act", f"c{len(done)}")]

    world = World()
    first = await attempt(program, world, answers=answers)
    again = await attempt(program, world, answers=answers)
    assert (first.stop.result, again.seen) == ("done", first.seen)
    assert asked == ["c0", "c1"]


async def test_another_input_ends_the_run_with_the_step_named() -> None:
    changed: list[bool] = []

    def program(world: World) -> Agent[Any]:
        @function_tool
        def clock() -> str:
            return "now"

        helper = Agent(name="Helper", instructions="helper", tools=[clock])

        @function_tool
        async def helped() -> str:
            extra = " changed" if changed else ""
            first = await Runner.run(helper, "help" + extra)
            return str(first.final_output)

        return Agent(name="A", instructions="outer", tools=[helped])

    def answers(system: str, items: Any) -> Any:
        done = outputs(items)
        if system == "helper":
            return [text("helped")] if done else [call("clock", "k")]
        return [text("ok")] if done else [call("helped", "h")]

    world = World()
    with pytest.raises(CrashedError):
        await attempt(program, world, answers=answers, dies_at=3)
    changed.append(True)
    outcome = await attempt(program, world, answers=answers)
    assert outcome.stop.error is not None
    assert outcome.stop.error.code is Code.JOURNAL_DIVERGED
    assert "run:Helper" in outcome.stop.error.message
    assert outcome.asked == 0


async def test_a_streamed_run_inside_a_tool() -> None:
    def program(world: World) -> Agent[Any]:
        helper = Agent(name="Helper", instructions="helper")

        @function_tool
        async def helped() -> str:
            result = Runner.run_streamed(helper, "help")
            async for _ in result.stream_events():
                pass
            return str(result.final_output)

        return Agent(name="A", instructions="outer", tools=[helped])

    def answers(system: str, items: Any) -> Any:
        done = outputs(items)
        if system == "helper":
            return [text("helped")]
        return [text(done["h"])] if done else [call("helped", "h")]

    outcome = await assert_replays(program, answers)
    assert outcome.stop.result == "helped"


async def test_a_plain_function_that_runs_an_agent_in_a_thread_of_its_own() -> None:
    def program(world: World) -> Agent[Any]:
        @function_tool
        def look(at: int) -> str:
            return f"saw {at}"

        helper = Agent(name="Helper", instructions="helper", tools=[look])

        @function_tool
        def helped(part: int) -> str:
            return str(Runner.run_sync(helper, f"help {part}").final_output)

        return Agent(name="A", instructions="outer", tools=[helped])

    def answers(system: str, items: Any) -> Any:
        done = outputs(items)
        if system == "helper":
            part = items[0]["content"][-1]
            return [text(done[f"k{part}"])] if done else [call("look", f"k{part}", at=int(part))]
        if len(done) == 2:
            return [text(" ".join(done.values()))]
        return [call("helped", f"h{len(done)}", part=len(done))]

    outcome = await assert_replays(program, answers)
    assert outcome.stop.result == "saw 0 saw 1"


async def test_a_stop_cancels_what_runs_in_other_threads_loops() -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    ended: list[str] = []

    def program(world: World) -> Agent[Any]:
        @function_tool
        async def wait() -> str:
            loop.call_soon_threadsafe(begun.set)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise
            return "waited"

        helper = Agent(name="Helper", instructions="helper", tools=[wait])

        @function_tool
        def helped() -> str:
            return str(Runner.run_sync(helper, "help").final_output)

        return Agent(name="A", instructions="outer", tools=[helped])

    def answers(system: str, _items: Any) -> Any:
        return [call("wait", "w")] if system == "helper" else [call("helped", "h")]

    running = asyncio.create_task(attempt(program, World(), answers=answers))
    await begun.wait()
    running.cancel()
    await asyncio.wait({running})

    async def has_ended() -> bool:
        return bool(ended)

    await until(has_ended)


async def test_only_so_many_replays_go_on_at_once_and_live_runs_do_not_wait() -> None:
    """One place: a run whose live part lasts lets the next one replay."""
    going = asyncio.Event()

    def program(world: World) -> Agent[Any]:
        @function_tool
        async def step(number: int) -> str:
            if number == 1:
                world.do("waits")
                await going.wait()
            return f"step {number}"

        return Agent(name="A", tools=[step])

    def answers(_system: str, items: Any) -> Any:
        done = outputs(items)
        if len(done) == 2:
            return [text("end")]
        return [call("step", f"c{len(done)}", number=len(done))]

    worlds = [World(), World()]
    for world in worlds:
        with pytest.raises(CrashedError):
            await attempt(program, world, answers=answers, dies_at=2)
    place = asyncio.Semaphore(1)
    runs = [
        asyncio.create_task(attempt(program, world, answers=answers, replays=place))
        for world in worlds
    ]

    async def both_wait() -> bool:
        return all("waits" in world.done for world in worlds)

    await until(both_wait)
    assert not place.locked()
    going.set()
    assert [(await run).stop.result for run in runs] == ["end", "end"]
    assert not place.locked()


async def test_instructions_find_in_a_replay_what_a_hand_off_has_put_into_the_context() -> None:
    def program(world: World) -> Agent[Any]:
        def note(context: RunContextWrapper[Any]) -> None:
            context.context.metadata["why"] = "odd"

        def told(context: RunContextWrapper[Any], _agent: Any) -> str:
            return f"It is {context.context.metadata['why']}."

        return Agent(
            name="A", handoffs=[handoff(Agent(name="B", instructions=told), on_handoff=note)]
        )

    def answers(system: str, _items: Any) -> Any:
        return [text("end")] if system == "It is odd." else [call("transfer_to_b", "c")]

    await assert_replays(program, answers)
