"""Agents as tools and helpers, with all that may be said about how they run."""

from pathlib import Path
from typing import Any

import pytest
from agents import (
    Agent,
    HandoffInputData,
    ModelSettings,
    RunConfig,
    RunContextWrapper,
    RunHooks,
    Runner,
    SQLiteSession,
    ToolExecutionConfig,
    function_tool,
)
from agents.run_config import CallModelData, ModelInputData, ToolErrorFormatterArgs
from pydantic import BaseModel

from tests.runner.replay.rig import Scripted, World, assert_replays, attempt, call, outputs, text

pytestmark = pytest.mark.asyncio


class Order(BaseModel):
    """What an agent is asked for."""

    what: str
    many: int


async def test_structured_input_with_a_builder_and_an_extractor() -> None:
    def program(world: World) -> Agent[Any]:
        @function_tool
        def fetch(context: RunContextWrapper[Any], what: str) -> str:
            world.do(f"f_{what}")
            context.context[what] = context.tool_input
            return f"fetched {what}"

        inner = Agent(name="Inner", instructions="inner", tools=[fetch])

        def built(options: Any) -> str:
            return f"{options['params']['many']} {options['params']['what']}"

        async def extracted(result: Any) -> str:
            asked = result.agent_tool_invocation
            return f"{asked.tool_call_id}: {result.final_output} ({len(result.new_items)} items)"

        def after_tea(context: RunContextWrapper[Any], _agent: Any) -> bool:
            return "tea" in context.context

        first = inner.as_tool(
            "order",
            "Orders.",
            parameters=Order,
            input_builder=built,
            custom_output_extractor=extracted,
        )
        second = inner.as_tool(
            "reorder",
            "Orders again.",
            parameters=Order,
            include_input_schema=True,
            is_enabled=after_tea,
        )
        return Agent(name="A", instructions="outer", tools=[first, second])

    def answers(system: str, items: Any) -> Any:
        done = outputs(items)
        if system == "inner":
            said = str(items[0]["content"])
            what = "tea" if "tea" in said else "rum"
            return [text(f"got {what}")] if done else [call("fetch", f"f_{what}", what=what)]
        match len(done):
            case 0:
                return [call("order", "o1", what="tea", many=2)]
            case 1:
                return [call("reorder", "o2", what="rum", many=1)]
        return [text(" | ".join(done.values()))]

    outcome = await assert_replays(program, answers, context=dict)
    assert outcome.stop.result == "o1: got tea (3 items) | got rum"


async def test_hooks_turns_and_a_config_of_its_own() -> None:
    def program(world: World) -> Agent[Any]:
        class Counting(RunHooks[Any]):
            async def on_tool_end(self, context: Any, *_: Any) -> None:
                context.context["ended"] = context.context.get("ended", 0) + 1

        def shorter(data: CallModelData[Any]) -> ModelInputData:
            return ModelInputData(data.model_data.input[-2:], f"{data.agent.name} short")

        @function_tool
        def look(context: RunContextWrapper[Any], number: int) -> str:
            world.do(f"l{number}")
            return f"saw {number} after {context.context.get('ended', 0)}"

        inner = Agent(name="Inner", instructions="inner", tools=[look])
        tool = inner.as_tool(
            "ask",
            "Asks.",
            hooks=Counting(),
            max_turns=2,
            run_config=RunConfig(
                call_model_input_filter=shorter,
                tool_execution=ToolExecutionConfig(max_function_tool_concurrency=1),
            ),
        )
        return Agent(name="A", instructions="outer", tools=[tool])

    def answers(system: str, items: Any) -> Any:
        done = outputs(items)
        if system == "outer":
            if len(done) == 2:
                return [text(" | ".join(done.values()))]
            return [call("ask", f"o{len(done)}", input="short" if done else "long")]
        assert system == "Inner short"
        if not done:
            first = 2 if items[-1]["content"] == "short" else 0
            return [call("look", f"l{first + n}", number=first + n) for n in (0, 1)]
        if "l1" in done:  # one turn too many
            return [call("look", "l9", number=9)]
        return [text(" ".join(done.values()))]

    outcome = await assert_replays(program, answers, context=dict)
    failed, said = outcome.stop.result.split(" | ")
    assert "error" in failed
    assert said == "saw 2 after 3 saw 3 after 4"


async def test_a_session_of_an_agent_as_tool(tmp_path: Path) -> None:
    paths = iter(range(1000))

    def program(world: World) -> Agent[Any]:
        inner = Agent(name="Inner", instructions="inner")
        # What a file keeps would be seen by the next world.
        session = SQLiteSession("s", tmp_path / f"{next(paths)}.db")
        return Agent(
            name="A", instructions="outer", tools=[inner.as_tool("ask", "Asks.", session=session)]
        )

    def answers(system: str, items: Any) -> Any:
        done = outputs(items)
        if system == "inner":
            return [text(f"{len(items)} items")]
        if len(done) == 3:
            return [text(" | ".join(done.values()))]
        return [call("ask", f"o{len(done)}", input=f"question {len(done)}")]

    outcome = await attempt(program, World(), answers=answers)
    assert outcome.stop.result == "1 items | 3 items | 5 items"


def asks_for_tea_and_rum(system: str, items: Any) -> Any:
    done = outputs(items)
    if system == "inner":
        return [text("done")] if done else [call("act", "a1")]
    if system == "middle":
        if done:
            return [text(" ".join(done.values()))]
        return [call("ask", "m1", input="tea"), call("ask", "m2", input="rum")]
    return [text(done["g"])] if done else [call("go", "g")]


async def test_an_agent_that_needs_an_approval_which_its_caller_gives() -> None:
    def program(world: World) -> Agent[Any]:
        @function_tool(needs_approval=True)
        def act() -> str:
            world.do("a1")
            return "acted"

        async def only_tea(_context: Any, arguments: Any, _call_id: str) -> bool:
            return "tea" not in arguments["input"]

        inner = Agent(name="Inner", instructions="inner", tools=[act])
        middle = Agent(
            name="Middle",
            instructions="middle",
            tools=[inner.as_tool("ask", "Asks.", needs_approval=only_tea)],
        )

        @function_tool
        async def go() -> str:
            result = await Runner.run(middle, "go")
            asked = []
            while result.interruptions:
                state = result.to_state()
                for one in result.interruptions:
                    asked.append(str(one.tool_name))
                    if "rum" in str(one.arguments):
                        state.reject(one, rejection_message="no rum")
                    else:
                        state.approve(one)
                result = await Runner.run(middle, state)
            return f"{result.final_output} {sorted(asked)}"

        return Agent(name="A", instructions="outer", tools=[go])

    outcome = await assert_replays(program, asks_for_tea_and_rum, racing=True)
    assert outcome.stop.result == "done no rum ['act', 'ask']"


def words(args: ToolErrorFormatterArgs[Any]) -> str:
    return f"{args.kind}: {args.error or args.tool_name}"


def newest(data: HandoffInputData) -> HandoffInputData:
    return data.clone(input_history=(), pre_handoff_items=())


def fails_then_hands_off(system: str, items: Any) -> Any:
    if system == "second":
        return [text(f"{len(items)} items")]
    number = int(str(items[0]["content"])[-1])
    if len(outputs(items)) == 2:
        return [call("transfer_to_second", f"h{number}")]
    return [call("fail", f"f{number}", number=number), call("nothing", f"n{number}")]


async def test_helpers_with_a_model_filters_and_words_of_their_own() -> None:
    def program(world: World) -> Agent[Any]:
        @function_tool
        def fail(number: int) -> str:
            world.do(f"f{number}")
            raise ValueError(f"{number} is wrong")

        second = Agent(name="Second", instructions="second")
        first = Agent(
            name="First",
            instructions="first",
            tools=[fail],
            handoffs=[second],
            reset_tool_choice=False,
            model_settings=ModelSettings(tool_choice="required", parallel_tool_calls=False),
        )

        configs = [
            RunConfig(handoff_input_filter=newest),
            RunConfig(nest_handoff_history=True),
        ]

        @function_tool
        async def go(number: int) -> str:
            config = configs[number]
            config.model = Scripted(world, fails_then_hands_off)
            config.tool_error_formatter = words
            config.tool_not_found_behavior = "return_error_to_model"
            result = await Runner.run(first, f"go {number}", run_config=config)
            told = [one.output for one in result.new_items if one.type == "tool_call_output_item"]
            return f"{result.final_output} {told}"

        return Agent(name="A", instructions="outer", tools=[go])

    def answers(_system: str, items: Any) -> Any:
        done = outputs(items)
        if len(done) == 2:
            return [text(" | ".join(done.values()))]
        return [call("go", f"g{len(done)}", number=len(done))]

    outcome = await assert_replays(program, answers)
    for number, said in enumerate(outcome.stop.result.split(" | ")):
        assert f"'tool_exception: {number} is wrong', 'tool_not_found: nothing'" in said
