"""What stock clients say besides the user's words, and what counts of it.

They keep the conversation themselves and send all of it. Ours is in the thread, so what they know
of the agent's own messages is passed over, also where the thread has it under other ids, or a run
failed before it was kept. Results of their own tools stand at the end: those that the thread waits
for are AG-UI's `resume` by another name, the rest is history, in words.
"""

from itertools import takewhile
from typing import NamedTuple

from ag_ui.core import (
    AssistantMessage,
    Message,
    ResumeEntry,
    RunAgentInput,
    TextPart,
    ToolMessage,
    UserMessage,
)

from gateway.auth.caller import Caller
from gateway.openai.messages import returned
from gateway.services import Services
from gateway.store import interrupts
from shared.protocol.ids import place_of

#: Whose words new messages may be; those of the second kind are refused by name.
_READ = ("user", "system", "developer")


class ToldInput(NamedTuple):
    """An input as it counts, and the calls whose results it brings."""

    input: RunAgentInput
    calls: frozenset[str]


async def told_by(services: Services, caller: Caller, sent: RunAgentInput) -> ToldInput:
    """The same input, in the words that count.

    What it says does not depend on whether a call still waits, so that the same one again is the
    same run.
    """
    results = _results(sent.messages)
    asked = await _asked(services, caller, sent.thread_id, results) if results else {}
    answered = {one.interrupt_id for one in sent.resume or ()}
    told = {
        asked[one.tool_call_id]: ResumeEntry(
            interrupt_id=asked[one.tool_call_id],
            status="resolved",
            payload={"result": _text(one)},
        )
        for one in results
        if asked.get(one.tool_call_id, "") not in ("", *answered)
    }
    history = [_in_words(one, sent.messages) for one in results if one.tool_call_id not in asked]
    words = [one for one in sent.messages if one.role in _READ]
    resume = [*(sent.resume or ()), *told.values()]
    counted = sent.model_copy(
        update={"messages": [*words, *history], "resume": resume or sent.resume}
    )
    return ToldInput(counted, frozenset(asked))


def _results(messages: list[Message]) -> list[ToolMessage]:
    """Results that the input ends with."""
    last = takewhile(lambda one: isinstance(one, ToolMessage), reversed(messages))
    return [one for one in last if isinstance(one, ToolMessage)][::-1]


async def _asked(
    services: Services, caller: Caller, thread: str, results: list[ToolMessage]
) -> dict[str, str]:
    """What the thread has asked, by the ids of the calls that it is about."""
    places = {one.tool_call_id: place_of(one.tool_call_id) for one in results}
    async with services.db.reading(caller.user_id) as db:
        found = await interrupts.of_calls(db, caller.user_id, thread, list(places.values()))
    return {call: found[place] for call, place in places.items() if place in found}


def _text(result: ToolMessage) -> str:
    if isinstance(result.content, str):
        return result.content or result.error or ""
    return "\n".join(part.text for part in result.content if isinstance(part, TextPart))


def _in_words(result: ToolMessage, messages: list[Message]) -> UserMessage:
    names = {
        call.id: call.function.name
        for one in messages
        if isinstance(one, AssistantMessage)
        for call in one.tool_calls or ()
    }
    name = names.get(result.tool_call_id, result.tool_call_id)
    return UserMessage(id=result.id, role="user", content=returned(name, _text(result)))
