"""What is said while a release is recorded, and again to see that its successors say the same."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from shared.protocol.ids import new_id, new_thread_id
from tests.scenarios.client import PATIENCE_S, Frame, Person, Socket

AGENT = "Recorded"
NOTE = '[[tool=save_note {"text":"once"}]]'
#: Each leads through other kinds of steps and events.
TEXTS = (
    "hello",
    NOTE,
    '[[tool=add {"a":1,"b":2}]] [[tool=save_note {"text":"two at once"}]]',
    "research the history of tea",
    '[[tool=summarize {"input":"a story"}]]',
    "[[fault=400]]",
)
#: Runs that are cut off after some steps: among tools, behind a hand-off, inside another agent.
LONG = (
    '[[turns=40 save_note {"text":"again"}]] [[tokens_per_s=20]]',
    "research the tea of ancients [[tokens_per_s=5]]",
    '[[tool=summarize {"input": "[[deltas=400]] [[tokens_per_s=10]]"}]]',
)


class Taped(Socket):
    """A socket that keeps what was said in both directions, to the letter."""

    def __init__(self, raw: Any, tape: list[dict[str, str]]) -> None:
        super().__init__(raw)
        self.tape = tape

    async def send(self, **fields: Any) -> str:
        fields.setdefault("id", new_id("op"))
        text = json.dumps(fields)
        self.tape.append({"from": "client", "frame": text})
        await self.raw.send(text)
        return str(fields["id"])

    async def next(self) -> Frame:
        async with asyncio.timeout(PATIENCE_S):
            text = str(await self.raw.recv())
        self.tape.append({"from": "gateway", "frame": text})
        frame: Frame = json.loads(text)
        self.frames.append(frame)
        return frame

    async def run(self, thread: str, text: str) -> str:
        """Say something and wait for the end; the run's id."""
        ack = await self.say(thread, text, agent=AGENT)
        await self.finished()
        return str(ack["runId"])


@asynccontextmanager
async def taped(person: Person, tape: list[dict[str, str]]) -> AsyncIterator[Taped]:
    """A socket of a person's that is taped."""
    async with person.socket() as socket:
        yield Taped(socket.raw, tape)


async def converse(person: Person, tape: list[dict[str, str]]) -> list[str]:
    """Everything that a client may say, and every kind of answer; ids of the runs."""
    thread = new_thread_id()
    async with taped(person, tape) as socket:
        runs = [await socket.run(thread, text) for text in TEXTS]
        runs.append(await _cancelled(socket, thread))
        runs.append(await _queued(socket, thread))
        after = socket.events()[3]["id"]
        await socket.answer(await socket.send(op="ping"))
        await socket.answer(await socket.send(op="unsubscribe", threadId=thread))
        await socket.answer(await socket.send(op="subscribe", threadId="thr_unknown"))
        await socket.answer(await socket.send(op="of_another_time"))
        await _rename(person, socket, thread)
    for cursor in ({"after": after}, {}, {"after": "rubbish"}):
        async with taped(person, tape) as socket:
            await socket.send(op="subscribe", threadId=thread, **cursor)
            await socket.until(lambda frame: frame["op"] in ("live", "error"))
    return runs


async def _cancelled(socket: Taped, thread: str) -> str:
    ack = await socket.say(thread, "[[deltas=400]] [[tokens_per_s=20]]", agent=AGENT)
    await socket.until(lambda f: f.get("event", {}).get("type") == "TEXT_MESSAGE_CHUNK")
    await socket.send(op="cancel", threadId=thread, runId=ack["runId"])
    await socket.finished()
    return str(ack["runId"])


async def _queued(socket: Taped, thread: str) -> str:
    """A run that waits behind another one, which a second client joins in its middle."""
    await socket.say(thread, "[[deltas=20]] [[tokens_per_s=20]]", agent=AGENT)
    ack = await socket.say(thread, "hello", agent=AGENT)
    for _ in range(2):
        await socket.finished()
    return str(ack["runId"])


async def _rename(person: Person, socket: Taped, thread: str) -> None:
    answer = await person.http.patch(f"/api/threads/{thread}", json={"title": "Recorded"})
    answer.raise_for_status()
    await socket.until(lambda frame: frame["op"] == "changed")


async def begin_long_runs(person: Person, tape: list[dict[str, str]]) -> list[tuple[str, str]]:
    """Runs that go on for long, each with finished steps; one more waits. (Thread, run) of each."""
    begun: list[tuple[str, str]] = []
    async with taped(person, tape) as socket:
        for text in LONG:
            thread = new_thread_id()
            ack = await socket.say(thread, text, agent=AGENT)
            begun.append((thread, str(ack["runId"])))
            await socket.until(_comes_after_a_step)
        ack = await socket.say(begun[0][0], "hello", agent=AGENT)
        begun.append((begun[0][0], str(ack["runId"])))
    return begun


def _comes_after_a_step(frame: Frame) -> bool:
    """An event that a second step brings: its call is made when the first has been committed."""
    kind = frame.get("event", {}).get("type")
    return kind in ("REASONING_MESSAGE_CONTENT", "TEXT_MESSAGE_CONTENT", "TOOL_CALL_RESULT")
