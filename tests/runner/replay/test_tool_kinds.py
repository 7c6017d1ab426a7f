"""Tools that are no functions are carried out once, whatever process carries the run."""

from typing import Any

import pytest
from agents import (
    Agent,
    AgentHooks,
    ApplyPatchTool,
    ComputerTool,
    CustomTool,
    LocalShellTool,
    Runner,
    ShellCommandOutput,
    ShellResult,
    ShellTool,
    function_tool,
)
from agents.editor import ApplyPatchOperation, ApplyPatchResult
from agents.sandbox import SandboxAgent
from agents.tool_context import ToolContext
from openai.types.responses import ResponseCustomToolCall, ResponseOutputItem
from pydantic import TypeAdapter

from runner.wrap import wrap_agent
from shared.errors import BatonError
from shared.protocol.codes import Code
from tests.runner.replay.approving import until_it_ends
from tests.runner.replay.rig import (
    StopKind,
    World,
    assert_ends_alike,
    assert_replays,
    attempt,
    call,
    outputs,
    text,
)

pytestmark = pytest.mark.asyncio

ITEM: TypeAdapter[Any] = TypeAdapter(ResponseOutputItem)


def custom(name: str, id_: str, given: str) -> ResponseCustomToolCall:
    return ResponseCustomToolCall(
        id=f"ct_{id_}", type="custom_tool_call", name=name, call_id=id_, input=given
    )


def shell(id_: str, *commands: str) -> Any:
    action = {"commands": list(commands), "max_output_length": None, "timeout_ms": None}
    return ITEM.validate_python(
        {"id": f"sh_{id_}", "type": "shell_call", "call_id": id_, "action": action}
        | {"status": "completed", "environment": None}
    )


def local_shell(id_: str, *command: str) -> Any:
    action = {"type": "exec", "command": list(command), "env": {}}
    return ITEM.validate_python(
        {"id": f"ls_{id_}", "type": "local_shell_call", "call_id": id_, "action": action}
        | {"status": "completed"}
    )


def patch(id_: str, kind: str, path: str) -> Any:
    operation = {"type": kind, "path": path, "diff": "+new"}
    return ITEM.validate_python(
        {"id": f"ap_{id_}", "type": "apply_patch_call", "call_id": id_, "operation": operation}
        | {"status": "completed"}
    )


class Noting(AgentHooks[Any]):
    """Notes the tools that begin and end."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def on_tool_start(self, _context: Any, _agent: Any, tool: Any) -> None:
        self.world.do(f"begin {tool.name}")

    async def on_tool_end(self, _context: Any, _agent: Any, tool: Any, result: object) -> None:
        self.world.do(f"end {tool.name}: {result}")


async def test_custom_tools_that_work_fail_and_run_agents() -> None:
    def program(world: World) -> Agent[Any]:
        helper = Agent(name="Helper", instructions="helper")

        async def work(context: ToolContext[Any], given: str) -> str:
            world.do(context.tool_call_id)
            if given == "fail":
                raise ValueError("it does not work")
            said = await Runner.run(helper, given)
            context.context[given] = "seen"
            return f"{said.final_output} {sorted(context.context)}"

        tool = CustomTool(name="work", description="Works.", on_invoke_tool=work)
        return Agent(name="A", instructions="outer", tools=[tool], hooks=Noting(world))

    def answers(system: str, items: Any) -> Any:
        if system == "helper":
            return [text(f"<{items[0]['content']}>")]
        match len(done := outputs(items)):
            case 0:
                return [custom("work", "c1", "one"), custom("work", "c2", "fail")]
            case 2:
                return [custom("work", "c3", "two")]
        return [text(" | ".join(done.values()))]

    outcome = await assert_replays(program, answers, context=dict)
    said = outcome.stop.result.split(" | ")
    assert (said[0], said[2]) == ("<one> ['one']", "<two> ['one', 'two']")
    assert "it does not work" in said[1]


async def test_hooks_of_such_tools_do_not_fire_again() -> None:
    def program(world: World) -> Agent[Any]:
        tool = ShellTool(executor=lambda _request: "listed")
        return Agent(name="A", tools=[tool], hooks=Noting(world))

    def answers(_system: str, items: Any) -> Any:
        return [text("ok")] if outputs(items) else [shell("s1", "ls")]

    world = World()
    await attempt(program, world, answers=answers)
    assert world.done == ["begin shell", "end shell: listed"]
    await attempt(program, world, answers=answers)
    assert world.done == ["begin shell", "end shell: listed"]


async def test_shells_whose_commands_work_fail_and_are_refused() -> None:
    def program(world: World) -> Agent[Any]:
        async def run(request: Any) -> Any:
            world.do(request.data.call_id)
            command = request.data.action.commands[0]
            if command == "fail":
                raise OSError(2, "no such command")
            if command == "plain":
                return "plain text"
            found = ShellCommandOutput(stdout=f"{command}!", stderr="", command=command)
            return ShellResult(output=[found], provider_data={"host": "a"})

        async def risky(_context: Any, action: Any, _call_id: str) -> bool:
            return "rm" in action.commands[0]

        def decide(_context: Any, item: Any) -> Any:
            world.do(f"decide {item.call_id}")
            return {"approve": item.call_id == "s4", "reason": "not that"}

        tool = ShellTool(executor=run, needs_approval=risky, on_approval=decide)
        return Agent(name="A", tools=[tool])

    commands = ["ls", "plain", "fail", "rm a", "rm b"]

    def answers(_system: str, items: Any) -> Any:
        done = outputs(items)
        if len(done) == len(commands):
            return [text(str([one for one in items if one.get("type") == "shell_call_output"]))]
        return [shell(f"s{len(done) + 1}", commands[len(done)])]

    outcome = await assert_replays(program, answers)
    for said in ("ls!", "plain text", "no such command", "rm a!", "not that"):
        assert said in outcome.stop.result
    assert "rm b!" not in outcome.stop.result
    whole = World()
    await attempt(program, whole, answers=answers)
    assert whole.done == ["s1", "s2", "s3", "decide s4", "s4", "decide s5"]
    await attempt(program, whole, answers=answers)
    assert len(whole.done) == 6


async def test_the_older_shell() -> None:
    def program(world: World) -> Agent[Any]:
        def run(request: Any) -> str:
            world.do(request.data.call_id)
            return " ".join(request.data.action.command)

        return Agent(name="A", tools=[LocalShellTool(executor=run)])

    def answers(_system: str, items: Any) -> Any:
        done = outputs(items)
        if len(done) == 2:
            return [text(" ".join(done.values()))]
        return [local_shell(f"s{len(done)}", "echo", str(len(done)))]

    outcome = await assert_replays(program, answers)
    assert outcome.stop.result == "echo 0 echo 1"


async def test_patches_beside_functions() -> None:
    def program(world: World) -> Agent[Any]:
        class Editor:
            def create_file(self, operation: ApplyPatchOperation) -> ApplyPatchResult:
                world.do("p1")
                return ApplyPatchResult(status="completed", output=f"made {operation.path}")

            async def update_file(self, operation: ApplyPatchOperation) -> str:
                world.do("p2")
                return f"changed {operation.path}"

            def delete_file(self, operation: ApplyPatchOperation) -> ApplyPatchResult:
                world.do("p3")
                raise PermissionError(f"{operation.path} stays")

        @function_tool
        def look() -> str:
            world.do("f1")
            return "saw"

        return Agent(name="A", tools=[ApplyPatchTool(editor=Editor()), look])

    def answers(_system: str, items: Any) -> Any:
        if done := outputs(items):
            return [text(" | ".join(done[one] for one in sorted(done)))]
        return [
            patch("p1", "create_file", "a"),
            patch("p2", "update_file", "b"),
            patch("p3", "delete_file", "c"),
            call("look", "f1"),
        ]

    outcome = await assert_replays(program, answers, racing=True)
    said = outcome.stop.result.split(" | ")
    assert said[:3] == ["saw", "made a", "changed b"]
    assert "c stays" in said[3]


async def test_people_see_such_calls_like_any_other() -> None:
    def program(_world: World) -> Agent[Any]:
        tool = CustomTool(name="work", description="", on_invoke_tool=lambda *_: _answer())
        return Agent(name="A", tools=[tool, ShellTool(executor=lambda _request: "listed")])

    async def _answer() -> str:
        return "worked"

    def answers(_system: str, items: Any) -> Any:
        return [text("ok")] if outputs(items) else [custom("work", "c1", "x"), shell("s1", "ls")]

    outcome = await attempt(program, World(), answers=answers)
    asked, *results = [one for one in outcome.run.messages() if one.get("content") != "ok"]
    assert [one["function"]["name"] for one in asked["toolCalls"]] == ["work", "shell"]
    assert {one["toolCallId"]: one["content"] for one in results} == {
        "c1": "worked",
        "s1": "listed",
    }
    assert not any("metadata" in one for one in results)  # which would say that it failed


async def test_kinds_of_calls_that_wait_for_a_person() -> None:
    def program(world: World) -> Agent[Any]:
        class Editor:
            def update_file(self, operation: ApplyPatchOperation) -> ApplyPatchResult:
                world.do(f"patched {operation.path}")
                return ApplyPatchResult(output="patched")

            create_file = delete_file = update_file

        async def work(_context: ToolContext[Any], given: str) -> str:
            world.do(f"worked {given}")
            return "worked"

        async def listing(request: Any) -> str:
            world.do(f"listed {request.data.call_id}")
            return "listed"

        tools: list[Any] = [
            ShellTool(executor=listing, needs_approval=True),
            ApplyPatchTool(editor=Editor(), needs_approval=True),
            CustomTool(name="work", description="", on_invoke_tool=work, needs_approval=True),
        ]
        return Agent(name="A", tools=tools)

    def answers(_system: str, items: Any) -> Any:
        if done := outputs(items):
            return [text(str(done))]
        calls = [shell("s1", "ls"), shell("s2", "rm"), patch("p1", "update_file", "a")]
        return [*calls, custom("work", "c1", "x")]

    def judge(_tool: str, arguments: str) -> bool | str:
        return "Nothing is removed." if "rm" in arguments else True

    world = World()
    first = await attempt(program, world, answers=answers)
    asked = {one.record.call_id: one.record for one in first.stop.asked}
    assert {id_: one.tool for id_, one in asked.items()} == {
        "s1": "shell",
        "s2": "shell",
        "p1": "apply_patch",
        "c1": "work",
    }
    assert '"ls"' in asked["s1"].arguments
    assert (world.done, asked["c1"].arguments) == ([], "x")
    outcome = await until_it_ends(program, world, answers, judge)
    assert outcome.stop.kind is StopKind.FINISHED
    assert "Nothing is removed." in outcome.stop.result
    assert sorted(world.done) == ["listed s1", "patched a", "worked x"]


async def test_what_a_process_keeps_the_state_of_is_refused_at_once() -> None:
    def program(_world: World) -> Agent[Any]:
        @function_tool
        async def browse() -> str:
            computer: Any = object()
            surfer = Agent(name="Surfer", tools=[ComputerTool(computer=computer)])
            return str((await Runner.run(surfer, "go")).final_output)

        return Agent(name="A", tools=[browse])

    with pytest.raises(BatonError, match=r"Box.* uses a sandbox"):
        wrap_agent(SandboxAgent(name="Box"))

    def answers(_system: str, items: Any) -> Any:
        return [text("ok")] if outputs(items) else [call("browse", "c1")]

    outcome = await assert_ends_alike(program, answers)
    assert outcome.stop.error is not None
    assert outcome.stop.error.code is Code.AGENT_ERROR
    assert "'Surfer' uses a computer" in outcome.stop.error.message
