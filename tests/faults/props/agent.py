"""An agent that uses all of the SDK behind which ours awaits something; its answers are sure."""

import time
from pathlib import Path
from typing import Any

from agents import (
    Agent,
    AgentHooks,
    FunctionTool,
    GuardrailFunctionOutput,
    Runner,
    ToolGuardrailFunctionOutput,
    function_tool,
    handoff,
    input_guardrail,
    output_guardrail,
    tool_input_guardrail,
)
from agents.mcp import MCPServer
from agents.memory import SessionABC
from mcp.types import CallToolResult, TextContent, Tool

from baton import gateway_tool


class Diary(SessionABC):
    """A session that always begins with the same item, and keeps nothing."""

    def __init__(self) -> None:
        self.session_id = "diary"
        self.session_settings = None

    async def get_items(self, limit: int | None = None) -> list[Any]:
        return [{"role": "assistant", "content": "Dear diary."}]

    async def add_items(self, items: list[Any]) -> None:
        pass

    async def pop_item(self) -> Any:
        return None

    async def clear_session(self) -> None:
        pass


class Weather(MCPServer):
    """An MCP server in this very process."""

    @property
    def name(self) -> str:
        return "weather"

    async def connect(self) -> None:
        pass

    async def cleanup(self) -> None:
        pass

    async def list_tools(self, run_context: Any = None, agent: Any = None) -> list[Tool]:
        return [Tool(name="weather", inputSchema={"type": "object", "properties": {}})]

    async def call_tool(self, tool_name: str, arguments: Any, meta: Any = None) -> CallToolResult:
        return CallToolResult(content=[TextContent(type="text", text="It rains.")])

    async def list_prompts(self) -> Any:
        raise NotImplementedError

    async def get_prompt(self, name: str, arguments: Any = None) -> Any:
        raise NotImplementedError


class Hooks(AgentHooks[Any]):
    """Hooks that do nothing; ours stand around them."""


async def always(*_: Any) -> bool:
    return True


async def never(*_: Any) -> bool:
    return False


@tool_input_guardrail
async def polite(data: Any) -> ToolGuardrailFunctionOutput:
    return ToolGuardrailFunctionOutput.allow(output_info="polite")


@input_guardrail
async def reads(context: Any, agent: Any, given: Any) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(output_info="read", tripwire_triggered=False)


@output_guardrail
async def rereads(context: Any, agent: Any, output: Any) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(output_info="reread", tripwire_triggered=False)


async def instructions(context: Any, agent: Any) -> str:
    return f"{agent.name}: do what you are told."


writer = Agent(name="Summarizer", instructions=instructions)


@function_tool(is_enabled=always, needs_approval=never, tool_input_guardrails=[polite])
async def remember(text: str) -> str:
    """Ask an agent of its own, which has a session."""
    result = await Runner.run(writer, text, session=Diary())
    return str(result.final_output)


@function_tool
def shout(text: str) -> str:
    """A plain function, which runs in a thread and asks an agent from there."""
    return str(Runner.run_sync(writer, text).final_output).upper()


@function_tool
async def block(seconds: float, once: str) -> str:
    """Hold up everything; only whoever comes first does."""
    if _first(Path(once)):
        time.sleep(seconds)  # noqa: ASYNC251 - this is the fault
    return "awake"


def _first(file: Path) -> bool:
    there = file.exists()
    file.touch()
    return not there


async def whisper(context: Any, arguments: str) -> str:
    return "psst"


async def handed_over(context: Any) -> None:
    pass


plain = FunctionTool(
    name="whisper",
    description="Say something softly.",
    params_json_schema={"type": "object", "properties": {}, "additionalProperties": False},
    on_invoke_tool=whisper,
)

researcher = Agent(
    name="Researcher",
    handoff_description="Answers questions that need research.",
    instructions=instructions,
    hooks=Hooks(),
)

agent = Agent(
    name="Drill",
    instructions=instructions,
    hooks=Hooks(),
    handoffs=[handoff(researcher, is_enabled=always, on_handoff=handed_over)],
    input_guardrails=[reads],
    output_guardrails=[rereads],
    mcp_servers=[Weather()],
    tools=[
        gateway_tool("ledger"),
        gateway_tool("jot"),
        remember,
        shout,
        block,
        plain,
        writer.as_tool(tool_name="summarize", tool_description="Summarize a text."),
    ],
)
