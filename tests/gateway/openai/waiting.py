"""Runs that a test carries by hand until they ask something."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from shared.protocol.ids import new_id
from tests.gateway.openai.carried import CarriedRun, Event, says
from tests.gateway.rig import Rig

PATH = "/v1/responses"
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
ARGUMENTS = '{"to": "ada"}'
ABOUT = {"tool": "send", "agent": "Mailer", "arguments": ARGUMENTS}


def asks(reason: str, *ids: str) -> Event:
    about = {"reason": reason, "metadata": {"baton": ABOUT}}
    interrupts = [{"id": one, "toolCallId": one, **about} for one in ids]
    return {"type": "RUN_FINISHED", "outcome": {"type": "interrupt", "interrupts": interrupts}}


@asynccontextmanager
async def carried(
    rig: Rig, ada: httpx.AsyncClient, body: dict[str, Any], path: str = PATH
) -> AsyncIterator[tuple[CarriedRun, "asyncio.Task[httpx.Response]"]]:
    """A request under way, and its run, which has begun."""
    answering = asyncio.create_task(ada.post(path, json={"model": "Assistant", **body}))
    try:
        yield await CarriedRun.claimed(rig), answering
        await asyncio.wait({answering})
    finally:
        answering.cancel()


async def waiting(rig: Rig, run: CarriedRun, *ids: str, reason: str = "tool_call") -> None:
    """Let the run end with questions."""
    for place, one in enumerate(ids):
        await rig.sql(
            "INSERT INTO interrupts (id, thread_id, root_id, run_id, ordinal, reason, scope,"
            " call_id, agent, tool, arguments, digest, status) VALUES (:id, :thread, :run, :run,"
            " :place, :reason, 's', :id, 'Mailer', 'send', :arguments, 'd', 'open')",
            id=one,
            thread=run.thread,
            run=run.run,
            place=place,
            reason=reason,
            arguments=ARGUMENTS,
        )
    await run.say(says("I will."), asks(reason, *ids))
    await run.store()
    await run.end("interrupted", {"id": new_id("m"), "role": "assistant", "content": "I will."})


def events_of(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    found = [
        json.loads(one.split("\n")[1].removeprefix("data: "))
        for one in answer.text.removesuffix("\n\n").split("\n\n")
    ]
    for one in found:
        EVENT.validate_python(one)
    numbers = [one["sequence_number"] for one in found]
    assert numbers == sorted(set(numbers))
    return found
