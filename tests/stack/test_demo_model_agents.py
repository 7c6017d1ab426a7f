"""The demo model under the real Agents SDK, through both APIs."""

from collections.abc import AsyncIterator
from typing import Any, cast

import openai
import pytest
import pytest_asyncio
from agents import (
    Agent,
    Model,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    function_tool,
)
from openai.types.responses import ResponseTextDeltaEvent
from pydantic import BaseModel

_QUIET = RunConfig(tracing_disabled=True)


@pytest_asyncio.fixture(params=[OpenAIResponsesModel, OpenAIChatCompletionsModel])
async def model(request: pytest.FixtureRequest, demo_url: str) -> AsyncIterator[Model]:
    async with openai.AsyncOpenAI(base_url=f"{demo_url}/v1", api_key="k", max_retries=0) as client:
        yield request.param("demo", client)


@function_tool
def update_profile(display_name: str) -> dict[str, str]:
    """Change the profile."""
    return {"display_name": display_name}


@function_tool
def get_profile() -> str:
    """Read the profile."""
    return '{"display_name": "Ada"}'


@function_tool
def current_time() -> str:
    """Tell the time."""
    return "12:00"


@function_tool
def save_note(content: str) -> str:
    """Keep a note, under another parameter name than the script has."""
    return content


def _agent(model: Model, **more: Any) -> Agent[None]:
    tools = [update_profile, get_profile, current_time, save_note]
    return Agent(name="Assistant", model=model, **({"tools": tools} | more))


async def _called(agent: Agent[None], text: str) -> tuple[list[tuple[str, str]], str]:
    """The calls a run makes, and its final output."""
    result = await Runner.run(agent, text, run_config=_QUIET)
    calls = [
        (call.name, call.arguments)
        for response in result.raw_responses
        for call in cast("list[Any]", response.output)
        if call.type == "function_call"
    ]
    return calls, str(result.final_output)


@pytest.mark.asyncio
async def test_a_greeting_is_streamed_in_several_deltas(model: Model) -> None:
    result = Runner.run_streamed(_agent(model), "Hello!", run_config=_QUIET)
    deltas = [
        event.data.delta
        async for event in result.stream_events()
        if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent)
    ]
    assert len(deltas) > 10
    assert "".join(deltas) == result.final_output
    assert "what time is it" in str(result.final_output)


@pytest.mark.asyncio
async def test_a_tool_is_called_and_its_output_spoken(model: Model) -> None:
    calls, answer = await _called(_agent(model), "Please set my display name to Ada in my profile")
    assert calls == [("update_profile", '{"display_name":"Ada"}')]
    assert answer == "Done: your display name is now Ada."


@pytest.mark.asyncio
async def test_two_tools_are_called_in_one_response(model: Model) -> None:
    calls, answer = await _called(_agent(model), "time and profile, please")
    assert [name for name, _ in calls] == ["current_time", "get_profile"]
    assert "current_time answered: 12:00." in answer
    assert "get_profile answered: display name: Ada." in answer


@pytest.mark.asyncio
async def test_arguments_fit_the_tools_own_parameters(model: Model) -> None:
    calls, _ = await _called(_agent(model), "note: water the plants")
    assert calls == [("save_note", '{"content":"water the plants"}')]


@pytest.mark.asyncio
async def test_research_is_handed_to_the_researcher(model: Model) -> None:
    back = Agent[None](name="Assistant", model=model)
    researcher = Agent[None](
        name="Researcher", instructions="You research.", model=model, handoffs=[back]
    )
    result = await Runner.run(
        _agent(model, handoffs=[researcher]), "research tidal power", run_config=_QUIET
    )
    assert result.last_agent.name == "Researcher"
    assert "about tidal power" in str(result.final_output)
    again = [*result.to_input_list(), {"role": "user", "content": "research tea"}]
    second = await Runner.run(researcher, cast("Any", again), run_config=_QUIET)
    assert "about tea" in str(second.final_output)


@pytest.mark.asyncio
async def test_an_agent_as_tool_summarizes(model: Model) -> None:
    summarizer = Agent[None](name="S", instructions="You summarize texts.", model=model)
    tool = summarizer.as_tool("summarize", "Summarizes a text.")
    calls, answer = await _called(_agent(model, tools=[tool]), "Summarise: the cat sat on the mat.")
    assert calls == [("summarize", '{"input":"the cat sat on the mat."}')]
    assert answer == "In short: the cat sat on the mat."


@pytest.mark.asyncio
async def test_a_tool_is_called_in_as_many_turns_as_asked(model: Model) -> None:
    result = await Runner.run(
        _agent(model), "[[turns=4 current_time]]", run_config=_QUIET, max_turns=10
    )
    assert len(result.raw_responses) == 5
    assert result.final_output == "The tool current_time answered: 12:00."


@pytest.mark.asyncio
async def test_call_ids_can_repeat_as_with_local_servers(model: Model) -> None:
    result = await Runner.run(
        _agent(model), "[[tool=current_time]] [[repeat_call_ids]]", run_config=_QUIET
    )
    call = cast("Any", result.raw_responses[0].output[0])
    assert call.call_id == "call_1"


class _Verdict(BaseModel):
    is_fine: bool
    reasons: list[str]


@pytest.mark.asyncio
async def test_an_output_type_gets_json_that_fits(model: Model) -> None:
    agent = Agent[None](name="Judge", model=model, output_type=_Verdict)
    result = await Runner.run(agent, "hello", run_config=_QUIET)
    assert isinstance(result.final_output, _Verdict)
