"""What a client asks of the model's answers reaches the server, and how they ended is known."""

import contextvars
from typing import Any

import orjson
import pytest
from agents import ModelSettings
from agents.models.interface import ModelTracing

from runner.carried import CARRIED, CarriedRun
from runner.models.client import LeanClient
from runner.models.limits import within
from runner.scope import SCOPE
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.record import Commit
from tests.runner.doubles import carried
from tests.runner.test_tap import Recording, Server, Toolsvc, asked_of

pytestmark = pytest.mark.asyncio

LIMITS = {"maxTokens": 7, "stop": ["END", "\n\n"]}
MESSAGE = {
    "type": "message",
    "id": "m",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Half", "annotations": []}],
}
CALL = {"type": "function_call", "id": "f", "call_id": "c", "name": "look", "arguments": '{"q'}


def of_chat(reason: str | None, **delta: Any) -> Recording:
    begun = {"index": 0, "delta": delta or {"content": "Half"}, "finish_reason": None}
    ended = {"index": 0, "delta": {}, "finish_reason": reason}
    return _recording("chat", [{"id": "c", "choices": [one]} for one in (begun, ended)])


def of_responses(reason: str | None, *output: dict[str, Any]) -> Recording:
    status = "incomplete" if reason else "completed"
    response = {"id": "r", "status": status, "output": list(output)}
    details = {"incomplete_details": {"reason": reason}} if reason else {}
    delta = {"type": "response.output_text.delta", "output_index": 0, "delta": "Half"}
    ended = {"type": f"response.{status}", "response": response | details}
    return _recording("responses", [delta, ended])


def _recording(api: str, events: list[Any]) -> Recording:
    body = b"".join(b"data: %b\n\n" % orjson.dumps(event) for event in events)
    return Recording(api, 200, "text/event-stream", body)


async def called(
    recording: Recording,
    given: dict[str, Any],
    *,
    nested: bool = False,
    again: Commit | None = None,
    **own: Any,
) -> tuple[CarriedRun, Toolsvc, dict[str, Any]]:
    """One call in a run with this input: the run, what was committed, and what the server got."""
    server, toolsvc = Server(recording, [recording.body]), Toolsvc()
    model = asked_of(LeanClient, recording.api, server)
    run = carried(toolsvc)
    run.claimed.input.update(given)
    run.claimed.journal.extend(again.steps if again else [])
    run.begin()

    async def call() -> None:
        CARRIED.set(run)
        scope = run.root.invocation("A", "digest")
        SCOPE.set(scope.call("call_1").invocation("B", "digest") if nested else scope)
        stream = model.stream_response(
            *(None, "hello", ModelSettings(**own), [], None, [], ModelTracing.DISABLED),
            previous_response_id=None,
            conversation_id=None,
            prompt=None,
        )
        async for _ in stream:
            pass

    await contextvars.copy_context().run(call)
    sent = b"".join(server.requests)
    return run, toolsvc, orjson.loads(sent) if sent else {}


def limits_in(body: dict[str, Any]) -> dict[str, Any]:
    return {
        name: body[name] for name in ("max_tokens", "max_output_tokens", "stop") if name in body
    }


@pytest.mark.parametrize(
    ("recording", "asked"),
    [
        (of_chat("stop"), {"max_tokens": 7, "stop": LIMITS["stop"]}),
        (of_responses(None, MESSAGE), {"max_output_tokens": 7}),
    ],
    ids=["chat", "responses"],
)
async def test_the_server_is_told_what_it_understands(
    recording: Recording, asked: dict[str, Any]
) -> None:
    _, _, body = await called(recording, {"limits": LIMITS})
    assert limits_in(body) == asked
    _, _, body = await called(recording, {})
    assert limits_in(body) == {}
    _, _, body = await called(recording, {"limits": LIMITS}, nested=True)
    assert limits_in(body) == {}


@pytest.mark.parametrize(("own", "asked"), [(3, 3), (7, 7), (99, 7), (None, 7)])
async def test_the_smaller_limit_counts(own: int | None, asked: int) -> None:
    _, _, body = await called(of_chat("stop"), {"limits": LIMITS}, max_tokens=own)
    assert body["max_tokens"] == asked


async def test_an_agents_other_settings_stay() -> None:
    own = ModelSettings(temperature=0.5, extra_args={"seed": 1})
    model = asked_of(LeanClient, "chat", Server(of_chat("stop"), []))
    limited = await within(own, LIMITS, model.inner)
    assert (limited.temperature, limited.extra_args) == (0.5, {"seed": 1, "stop": LIMITS["stop"]})
    assert own.extra_args == {"seed": 1}


@pytest.mark.parametrize(
    ("recording", "given", "why"),
    [
        (of_chat("length"), {}, "max_output_tokens"),
        (of_chat("content_filter"), {}, "content_filter"),
        (of_chat("stop"), {"limits": LIMITS}, None),
        (of_responses("max_output_tokens", MESSAGE), {"limits": LIMITS}, "max_output_tokens"),
        (of_responses("content_filter", MESSAGE), {}, "content_filter"),
        (of_responses(None, MESSAGE), {"limits": LIMITS}, None),
    ],
)
async def test_how_an_answer_ended_is_told_and_replayed(
    recording: Recording, given: dict[str, Any], why: str | None
) -> None:
    first, toolsvc, _ = await called(recording, given)
    (commit,) = [one for one in toolsvc.commits if one.steps]
    second, _, body = await called(recording, given, again=commit)
    assert body == {}  # the server was not asked again
    about = {"baton": {"incomplete": why}} if why else None
    for run in (first, second):
        (message,) = run.messages()
        assert (message["content"], message.get("metadata")) == ("Half", about)
    texts = [orjson.loads(row.data) for row in commit.rows if row.type == "TEXT_MESSAGE_CHUNK"]
    assert "".join(one.get("delta", "") for one in texts) == "Half"
    assert texts[-1].get("metadata") == about


@pytest.mark.parametrize(
    ("recording", "given"),
    [
        (of_responses("max_output_tokens", MESSAGE), {}),
        (of_responses("max_output_tokens", MESSAGE), {"limits": {"stop": ["x"]}}),
        (of_responses("max_output_tokens", MESSAGE, CALL), {"limits": LIMITS}),
        (of_responses("max_output_tokens", CALL), {"limits": LIMITS}),
        (of_responses("max_output_tokens"), {"limits": LIMITS}),
        (of_responses("of its own", MESSAGE), {"limits": LIMITS}),
    ],
)
async def test_half_a_response_is_an_error_where_nobody_asked_for_it_or_it_calls(
    recording: Recording, given: dict[str, Any]
) -> None:
    with pytest.raises(BatonError, match="before its answer was complete") as raised:
        await called(recording, given)
    assert raised.value.code is Code.UPSTREAM_INVALID


async def test_a_call_that_lacks_its_end_is_no_answer() -> None:
    function = {"name": "look", "arguments": '{"q'}
    call = {"index": 0, "id": "c", "type": "function", "function": function}
    run, _, _ = await called(of_chat("length", content="Half", tool_calls=[call]), {})
    (message,) = run.messages()
    assert (message["content"], "metadata" in message) == ("Half", False)
