"""What a step leaves in the conversation when the run is stopped while it is committed."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from agents import Agent, Model, function_tool
from agents.tool_context import ToolContext
from openai.types.responses import Response

from runner.carried import CARRIED
from runner.models.journaled import JournaledModel
from runner.scope import SCOPE
from runner.wrap import wrap_agent
from shared.protocol.record import Commit, CommitAnswer
from tests.runner.doubles import carried

pytestmark = pytest.mark.asyncio

SAID = "All of it."


class OneAnswer(Model):
    """A model server that says one thing."""

    async def get_response(self, *_args: Any, **_kwargs: Any) -> Any:
        raise NotImplementedError

    async def stream_response(self, *_args: Any, **_kwargs: Any) -> AsyncIterator[Any]:
        yield SimpleNamespace(type="response.output_text.delta", delta=SAID)
        part = {"type": "output_text", "text": SAID, "annotations": []}
        message = {"type": "message", "id": "m", "role": "assistant", "content": [part]}
        usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
        response = Response.construct(id="r", output=[message], usage=usage)
        yield SimpleNamespace(type="response.completed", response=response)


class RecordDouble:
    """toolsvc, which answers when it is told to."""

    def __init__(self, *, cancelled: bool) -> None:
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()
        self.cancelled = cancelled

    async def commit(self, _run: Any, _token: str, _commit: Commit) -> CommitAnswer:
        self.asked.set()
        await self.may_answer.wait()
        return CommitAnswer(cancelled=self.cancelled)


@pytest.mark.parametrize("committed", [False, True], ids=["in its commit", "by its commit"])
async def test_what_was_said_stays_when_a_stop_meets_its_commit(committed: bool) -> None:
    record = RecordDouble(cancelled=True)
    run = carried(record)
    CARRIED.set(run)
    SCOPE.set(run.root.invocation("A", "digest"))
    model = JournaledModel(OneAnswer(), "demo", timeout_s=10)

    async def call() -> None:
        await anext(aiter(model.stream_response(None, "hello")))

    calling = asyncio.create_task(call())
    await record.asked.wait()
    assert [one["content"] for one in run.messages()] == [SAID]
    if committed:
        record.may_answer.set()
        await run.stopped
    calling.cancel()
    await asyncio.wait({calling})
    assert [one["content"] for one in run.messages()] == [SAID]
    assert run.usage == {"demo": {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}}


@pytest.mark.parametrize("committed", [False, True], ids=["in its commit", "by its commit"])
async def test_what_a_tool_gave_stays_too(committed: bool) -> None:
    @function_tool
    def look() -> str:
        return "found"

    record = RecordDouble(cancelled=True)
    run = carried(record)
    CARRIED.set(run)
    SCOPE.set(run.root.invocation("A", "digest"))
    wrap_agent(Agent(name="A", tools=[look]))
    context: Any = ToolContext(None, tool_name="look", tool_call_id="c1", tool_arguments="{}")
    invoking: Any = look.on_invoke_tool(context, "{}")

    calling = asyncio.create_task(invoking)
    await record.asked.wait()
    if committed:
        record.may_answer.set()
        await run.stopped
    calling.cancel()
    await asyncio.wait({calling})
    assert [(one["toolCallId"], one["content"]) for one in run.messages()] == [("c1", "found")]
