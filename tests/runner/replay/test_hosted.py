"""What a model server does and says beside text and calls: it comes back as it was."""

from typing import Any

import orjson
import pytest
from agents import (
    Agent,
    CodeInterpreterTool,
    FileSearchTool,
    HostedMCPTool,
    ImageGenerationTool,
    ModelSettings,
    RunConfig,
    Runner,
    ToolSearchTool,
    WebSearchTool,
    function_tool,
)
from agents.exceptions import ModelRefusalError
from openai.types.responses import ResponseOutputItem, ResponseOutputRefusal
from pydantic import BaseModel, TypeAdapter

from shared.protocol.codes import Code
from tests.runner.replay.approving import decided
from tests.runner.replay.rig import (
    CrashedError,
    StopKind,
    World,
    assert_replays,
    attempt,
    call,
    outputs,
    text,
)

pytestmark = pytest.mark.asyncio

ITEM: TypeAdapter[Any] = TypeAdapter(ResponseOutputItem)

SEARCHED: dict[str, Any] = {
    "id": "ws_1",
    "type": "web_search_call",
    "status": "completed",
    "action": {
        "type": "search",
        "query": "replay",
        "queries": ["replay"],
        "sources": [{"type": "url", "url": "https://example.org"}],
    },
}
FOUND: dict[str, Any] = {
    "id": "fs_1",
    "type": "file_search_call",
    "status": "completed",
    "queries": ["a", "b"],
    "results": [
        {
            "file_id": "f",
            "filename": "a.txt",
            "score": 0.75,
            "text": "found",
            "attributes": {"n": 1},
        }
    ],
}
COUNTED: dict[str, Any] = {
    "id": "ci_1",
    "type": "code_interpreter_call",
    "status": "completed",
    "code": "print(1)",
    "container_id": "cntr_1",
    "outputs": [{"type": "logs", "logs": "1\n"}],
}
DRAWN: dict[str, Any] = {
    "id": "ig_1",
    "type": "image_generation_call",
    "status": "completed",
    "result": "aGVsbG8=",
}
THOUGHT: dict[str, Any] = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "hm"}],
    "encrypted_content": "gAAAA==",
    "status": None,
}
LISTED: dict[str, Any] = {
    "id": "mcpl_1",
    "type": "mcp_list_tools",
    "server_label": "shop",
    "tools": [
        {
            "name": "buy",
            "input_schema": {"type": "object"},
            "annotations": None,
            "description": "Buys.",
        }
    ],
    "error": None,
}
BOUGHT: dict[str, Any] = {
    "id": "mcp_1",
    "type": "mcp_call",
    "server_label": "shop",
    "name": "buy",
    "arguments": '{"what":"tea"}',
    "output": "bought",
    "error": None,
    "status": "completed",
    "approval_request_id": "mcpr_1",
}


def asked(id_: str, what: str) -> dict[str, Any]:
    return {
        "id": id_,
        "type": "mcp_approval_request",
        "server_label": "shop",
        "name": "buy",
        "arguments": orjson.dumps({"what": what}).decode(),
    }


def item(plain: dict[str, Any]) -> Any:
    return ITEM.validate_python(plain)


def given(items: Any) -> str:
    """All of a model's input, as it came."""
    return orjson.dumps(items, option=orjson.OPT_SORT_KEYS).decode()


async def test_items_of_hosted_tools_come_back_byte_for_byte() -> None:
    hosted = [SEARCHED, FOUND, COUNTED, DRAWN, THOUGHT, LISTED, BOUGHT]

    def program(world: World) -> Agent[Any]:
        @function_tool
        def look() -> str:
            world.do("c1")
            return "saw"

        mcp: Any = {"type": "mcp", "server_label": "shop", "server_url": "https://example.org"}
        return Agent(
            name="A",
            tools=[
                look,
                WebSearchTool(),
                FileSearchTool(vector_store_ids=["v"]),
                CodeInterpreterTool(
                    tool_config={"type": "code_interpreter", "container": {"type": "auto"}}
                ),
                ImageGenerationTool(tool_config={"type": "image_generation"}),
                HostedMCPTool(tool_config=mcp | {"require_approval": "never"}),
            ],
        )

    def answers(_system: str, items: Any) -> Any:
        if outputs(items):
            return [text(given(items))]
        return [*(item(one) for one in hosted), call("look", "c1").model_copy(update={"id": "f"})]

    outcome = await assert_replays(program, answers)
    seen = {one.get("id"): one for one in orjson.loads(outcome.stop.result)}
    for one in hosted:
        kept = {name: value for name, value in one.items() if value is not None}
        found = {name: value for name, value in seen[one["id"]].items() if value is not None}
        assert found == kept


async def test_an_author_s_function_answers_each_request_for_approval_once() -> None:
    def program(world: World) -> Agent[Any]:
        async def decide(request: Any) -> Any:
            world.do(request.data.id)
            if "tea" in request.data.arguments:
                return {"approve": True}
            return {"approve": False, "reason": f"asked {len(world.done)} times"}

        mcp: Any = {"type": "mcp", "server_label": "shop", "server_url": "https://example.org"}
        return Agent(name="A", tools=[HostedMCPTool(tool_config=mcp, on_approval_request=decide)])

    def answers(_system: str, items: Any) -> Any:
        answered = [one for one in items if one.get("type") == "mcp_approval_response"]
        if len(answered) == 2:
            return [item(BOUGHT), text(given(answered))]
        return [item(asked("mcpr_1", "tea")), item(asked("mcpr_2", "tnt"))]

    whole = World()
    first = await attempt(program, whole, answers=answers)
    said = {one["approval_request_id"]: one for one in orjson.loads(first.stop.result)}
    assert said["mcpr_1"]["approve"] is True
    assert said["mcpr_2"]["reason"] == "asked 2 times"
    again = await attempt(program, whole, answers=answers)
    assert (again.seen, len(whole.done)) == (first.seen, 2)
    for steps in range(len(whole.journal)):
        world = World(journal=whole.journal[:steps])
        await attempt(program, world, answers=answers)
        assert not {step.place for step in whole.journal[:steps]} & set(world.done)


async def test_a_person_answers_requests_for_approval_that_no_function_answers() -> None:
    def program(_world: World) -> Agent[Any]:
        mcp: Any = {"type": "mcp", "server_label": "shop", "server_url": "https://example.org"}
        return Agent(name="A", tools=[HostedMCPTool(tool_config=mcp)])

    def answers(_system: str, items: Any) -> Any:
        answered = [one for one in items if one.get("type") == "mcp_approval_response"]
        if answered:
            return [item(BOUGHT), text(given(answered))]
        return [item(asked("mcpr_1", "tea")), item(asked("mcpr_2", "tnt"))]

    world = World()
    waiting = await attempt(program, world, answers=answers)
    assert [one.record.call_id for one in waiting.stop.asked] == ["mcpr_1", "mcpr_2"]
    world.decisions = decided(waiting, lambda _, arguments: "tea" in arguments or "Not that.")
    with pytest.raises(CrashedError):
        await attempt(program, world, answers=answers, resumes=True, dies_at=1)
    ended = await attempt(program, world, answers=answers, resumes=True)
    said = {one["approval_request_id"]: one for one in orjson.loads(ended.stop.result)}
    assert (said["mcpr_1"]["approve"], said["mcpr_2"]["approve"]) == (True, False)


async def test_tools_that_the_model_finds_first() -> None:
    searched = {
        "id": "ts_1",
        "type": "tool_search_call",
        "execution": "server",
        "call_id": None,
        "status": "completed",
        "arguments": {"query": "look"},
    }
    brought = {
        "id": "to_1",
        "type": "tool_search_output",
        "execution": "server",
        "call_id": None,
        "status": "completed",
        "tools": [{"type": "function", "name": "look", "parameters": {}, "strict": True}],
    }

    def program(world: World) -> Agent[Any]:
        @function_tool(defer_loading=True)
        def look() -> str:
            world.do("c1")
            return "saw"

        return Agent(name="A", tools=[look, ToolSearchTool()])

    def answers(_system: str, items: Any) -> Any:
        done = outputs(items)
        if done:
            return [text(given([one for one in items if "tool_search" in one.get("type", "")]))]
        return [
            item(searched),
            item(brought),
            call("look", "c1").model_copy(update={"namespace": "look"}),
        ]

    outcome = await assert_replays(program, answers)
    assert [one["id"] for one in orjson.loads(outcome.stop.result)] == ["ts_1", "to_1"]


def refusal(said: str) -> Any:
    message = text("")
    message.content = [ResponseOutputRefusal(type="refusal", refusal=said)]
    return message


class Answer(BaseModel):
    x: int


HANDLED = pytest.mark.parametrize("handled", [True, False])


@HANDLED
async def test_a_refusal(handled: bool) -> None:
    def program(_world: World) -> Agent[Any]:
        helper = Agent(name="Helper", instructions="helper", output_type=Answer)
        handlers: Any = {"model_refusal": lambda data: Answer(x=len(str(data.error)))}

        @function_tool
        async def ask() -> str:
            try:
                result = await Runner.run(
                    helper, "help", error_handlers=handlers if handled else None
                )
            except ModelRefusalError as error:
                return f"refused: {error.refusal}"
            return f"handled: {result.final_output}"

        return Agent(name="A", instructions="outer", tools=[ask])

    def answers(system: str, items: Any) -> Any:
        if system != "outer":
            return [refusal("I will not")]
        done = outputs(items)
        return [text(done["c1"])] if done else [call("ask", "c1")]

    outcome = await assert_replays(program, answers)
    said = outcome.stop.result
    assert said.startswith("handled: ") if handled else said == "refused: I will not"


async def test_a_refusal_of_the_root_agent_ends_the_run() -> None:
    def program(_world: World) -> Agent[Any]:
        return Agent(name="A", output_type=Answer)

    outcome = await assert_replays(program, lambda *_: [refusal("I will not")])
    assert outcome.stop.kind is StopKind.FAILED
    assert outcome.stop.error is not None
    assert outcome.stop.error.code is Code.AGENT_ERROR
    assert "I will not" in outcome.stop.error.message


async def test_handlers_of_too_many_turns_and_of_what_is_no_answer() -> None:
    def program(world: World) -> Agent[Any]:
        @function_tool
        def again(number: int) -> str:
            world.do(f"a{number}")
            return "again"

        endless = Agent(name="Endless", instructions="endless", tools=[again])
        typed = Agent(name="Typed", instructions="typed", output_type=Answer)

        @function_tool
        async def ask() -> str:
            tired = await Runner.run(
                endless,
                "go",
                max_turns=2,
                error_handlers={"max_turns": lambda data: f"{len(data.run_data.new_items)} items"},
            )
            odd = await Runner.run(
                typed,
                "go",
                error_handlers={"invalid_final_output": lambda _data: {"final_output": {"x": 7}}},
            )
            return f"{tired.final_output}, {odd.final_output}"

        return Agent(name="A", instructions="outer", tools=[ask])

    def answers(system: str, items: Any) -> Any:
        done = outputs(items)
        if system == "endless":
            return [call("again", f"a{len(done)}", number=len(done))]
        if system.startswith("typed"):
            return [text("no JSON")]
        return [text(done["c1"])] if done else [call("ask", "c1")]

    outcome = await assert_replays(program, answers)
    assert outcome.stop.result == "4 items, x=7"


async def test_conversations_that_the_server_keeps() -> None:
    """Each call gives what is new alone, and names what it goes on from."""

    def program(world: World) -> Agent[Any]:
        @function_tool
        def look(number: int) -> str:
            world.do(f"l{number}")
            return f"saw {number}"

        helper = Agent(
            name="Helper",
            instructions="helper",
            tools=[look],
            model_settings=ModelSettings(tool_choice="required"),
        )

        @function_tool
        async def ask() -> str:
            first = await Runner.run(helper, "first", auto_previous_response_id=True)
            second = await Runner.run(helper, "second", previous_response_id=first.last_response_id)
            third = await Runner.run(helper, "third", conversation_id="conv_1")
            fourth = await Runner.run(
                helper, "fourth", run_config=RunConfig(reasoning_item_id_policy="omit")
            )
            return " ".join(str(one.final_output) for one in (first, second, third, fourth))

        return Agent(name="A", instructions="outer", tools=[ask])

    numbers = {"first": 1, "second": 2, "third": 3, "fourth": 4}

    def answers(system: str, items: Any) -> Any:
        done = outputs(items)
        if system != "helper":
            return [text(done["c1"])] if done else [call("ask", "c1")]
        if done:
            return [text(f"{len(items)}:{next(iter(done.values()))}")]
        number = numbers[items[0]["content"]]
        return [call("look", f"l{number}", number=number)]

    outcome = await assert_replays(program, answers)
    assert outcome.stop.result == "1:saw 1 1:saw 2 1:saw 3 3:saw 4"
