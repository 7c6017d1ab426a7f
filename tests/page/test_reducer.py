"""The page's reducer and shared/protocol/transcript.py make the same messages of a stream."""

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from shared.protocol.transcript import messages_of

pytestmark = pytest.mark.node

ROOT = Path(__file__).resolve().parents[2]
STREAMS = sorted((Path(__file__).parent / "streams").glob("*.ndjson"))
NODE = shutil.which("node") or "node"

Events = list[dict[str, Any]]


def node(*arguments: str, stdin: str = "") -> str:
    done = subprocess.run(
        [NODE, *arguments], cwd=ROOT, input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def by_page(streams: list[Events]) -> list[list[dict[str, Any]]]:
    made: list[list[dict[str, Any]]] = json.loads(
        node("tests/js/messages.mjs", stdin=json.dumps(streams))
    )
    return made


def recorded(file: Path) -> Events:
    return [json.loads(line)["event"] for line in file.read_text().splitlines()]


def test_recorded_streams_make_the_same_messages() -> None:
    streams = [recorded(file) for file in STREAMS]
    assert len(streams) >= 8
    for file, events, made in zip(STREAMS, streams, by_page(streams), strict=True):
        assert made == messages_of(events), file.name
        assert made


def test_random_streams_make_the_same_messages() -> None:
    streams = [invented(random.Random(seed)) for seed in range(400)]
    made = by_page(streams)
    expected = [messages_of(events) for events in streams]
    assert made == expected
    # A generator that makes nothing would prove nothing.
    roles = [message["role"] for messages in expected for message in messages]
    assert min(roles.count(role) for role in ("assistant", "reasoning", "tool")) > 200
    assert sum("toolCalls" in message for messages in expected for message in messages) > 200


def invented(chance: random.Random) -> Events:
    """Events in any order, about few enough messages and calls that they meet."""
    return [event(chance) for _ in range(chance.randrange(3, 30))]


def event(chance: random.Random) -> dict[str, Any]:
    message, call = f"m{chance.randrange(5)}", f"c{chance.randrange(4)}"
    delta = chance.choice(["", "a", "ü𝕏", '{"x":', "<b>"])
    made: dict[str, Any] = chance.choice(
        [
            {"type": "TEXT_MESSAGE_CHUNK", "messageId": message, "delta": delta},
            {"type": "TEXT_MESSAGE_START", "messageId": message, "role": "assistant"},
            {"type": "TEXT_MESSAGE_CONTENT", "messageId": message, "delta": delta},
            {"type": "REASONING_MESSAGE_START", "messageId": f"r{message}"},
            {"type": "REASONING_MESSAGE_CONTENT", "messageId": f"r{message}", "delta": delta},
            {"type": "TOOL_CALL_START", "toolCallId": call, "toolCallName": "t"},
            {
                "type": "TOOL_CALL_START",
                "toolCallId": call,
                "toolCallName": "t",
                "parentMessageId": message,
            },
            {"type": "TOOL_CALL_ARGS", "toolCallId": call, "delta": delta},
            {
                "type": "TOOL_CALL_RESULT",
                "messageId": f"t{message}",
                "toolCallId": call,
                "content": delta,
            },
            {"type": "STEP_STARTED", "stepName": "A"},
            {"type": "CUSTOM", "name": "baton.resumed", "value": {}},
            snapshot(chance),
        ]
    )
    return made | ({"subagentRunId": "s1"} if chance.random() < 0.1 else {})


def snapshot(chance: random.Random) -> dict[str, Any]:
    """Some messages restated, one of them with a call."""
    messages: list[dict[str, Any]] = [
        {"id": f"m{number}", "role": "assistant", "content": "again"}
        for number in chance.sample(range(5), 3)
    ]
    call = {"id": "c0", "type": "function", "function": {"name": "t", "arguments": "{"}}
    messages[0]["toolCalls"] = [call]
    return {"type": "MESSAGES_SNAPSHOT", "messages": messages}


def test_the_pages_own_rules_hold() -> None:
    node("--test", *(f"tests/js/{name}.test.mjs" for name in ("conversation", "markdown")))
