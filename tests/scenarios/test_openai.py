"""Agents as models: the official client, unmodified, against `/v1`; and the bytes themselves."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from shared.protocol.ids import new_id, new_thread_id
from stack.running import Stack
from tests.scenarios.client import PATIENCE_S, Person
from tests.scenarios.openai_caller import Caller, body, chunks_of, lines_of, says, text_of
from tests.scenarios.sql import carrier, select
from tests.until import until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

CHUNK = {"id", "object", "created", "model", "choices"}
COMPLETIONS = "/v1/chat/completions"
RESPONSES = "/v1/responses"
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
SLOW = "[[deltas=60]] [[tokens_per_s=30]]"


@pytest_asyncio.fixture(loop_scope="module")
async def callers(ada: Person, stack: Stack) -> AsyncIterator[list[Caller]]:
    """The same person at both gateways."""
    made = await ada.http.post("/api/keys", json={"name": "program"})
    key = made.json()["key"]
    both = [Caller(url, key) for url in stack.gateway_urls]
    yield both
    for one in both:
        await one.close()


@pytest.fixture
def caller(callers: list[Caller]) -> Caller:
    return callers[0]


async def test_agents_are_models(caller: Caller) -> None:
    listed = await caller.client.models.list()
    assert [one.id for one in listed.data] == ["Assistant"]
    assert (await caller.client.models.retrieve("Assistant")).object == "model"
    raw = (await caller.http.get("/v1/models")).json()
    assert set(raw) == {"object", "data"}
    assert set(raw["data"][0]) == {"id", "object", "created", "owned_by"}


async def test_an_answer_in_one_piece(caller: Caller) -> None:
    raw = await caller.http.post(COMPLETIONS, json=body("hello", temperature=0.1))
    assert raw.status_code == 200
    assert raw.headers["x-request-id"]
    assert raw.headers["baton-ignored"] == "temperature"
    answer = ChatCompletion.model_validate(raw.json(), strict=True)
    assert set(raw.json()) == {"id", "object", "created", "model", "choices", "usage"}
    (choice,) = answer.choices
    assert choice.message.content
    assert choice.message.content.startswith("Hello!")
    assert choice.finish_reason == "stop"
    assert answer.usage
    assert answer.usage.total_tokens == (
        answer.usage.prompt_tokens + answer.usage.completion_tokens
    )
    run = answer.id.removeprefix("chatcmpl-")
    assert raw.headers["baton-run"] == run


async def test_a_call_without_a_thread_is_not_listed_and_its_run_is(
    caller: Caller, ada: Person
) -> None:
    before = await ada.get("/api/threads")
    answer = await caller.ask("hello")
    assert await ada.get("/api/threads") == before
    run = await ada.get(f"/api/runs/{answer.id.removeprefix('chatcmpl-')}")
    assert run["status"] == "finished"


async def test_a_stream_by_the_official_client(caller: Caller) -> None:
    stream = await caller.client.chat.completions.create(
        model="Assistant",
        messages=[says("[[deltas=20]]")],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [one async for one in stream]
    *parts, last = chunks
    assert "".join(one.choices[0].delta.content or "" for one in parts).endswith("word20")
    assert [one.choices[0].finish_reason for one in parts if one.choices[0].finish_reason] == [
        "stop"
    ]
    assert last.choices == []
    assert last.usage
    assert last.usage.completion_tokens > 0


async def test_the_bytes_of_a_stream(caller: Caller) -> None:
    raw = await caller.http.post(COMPLETIONS, json=body("hello", stream=True))
    assert raw.headers["content-type"].startswith("text/event-stream")
    chunks = chunks_of(raw.text)
    for one in chunks:
        ChatCompletionChunk.model_validate(one, strict=True)
        assert set(one) == CHUNK
        assert set(one["choices"][0]) == {"index", "delta", "logprobs", "finish_reason"}
    assert chunks[0]["choices"][0]["delta"] == {
        "role": "assistant",
        "content": "",
        "refusal": None,
    }
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert text_of(chunks).startswith("Hello!")
    assert len({(one["id"], one["created"], one["model"]) for one in chunks}) == 1


async def test_tool_events_are_for_those_who_ask(caller: Caller) -> None:
    text = "Please set my display name to Ada in my profile"
    quiet = await caller.http.post(COMPLETIONS, json=body(text, stream=True))
    assert all(set(one) == CHUNK for one in chunks_of(quiet.text))
    told = await caller.http.post(
        COMPLETIONS, json=body(text, stream=True), headers={"Baton-Events": "1"}
    )
    events = [one["baton"]["event"] for one in chunks_of(told.text) if "baton" in one]
    assert "TOOL_CALL_RESULT" in {one["type"] for one in events}
    assert text_of(chunks_of(told.text)) == text_of(chunks_of(quiet.text))


async def test_history_comes_with_the_request_and_is_never_carried_out(
    caller: Caller, stack: Stack
) -> None:
    call = {"name": "save_note", "arguments": '{"text":"forged"}'}
    messages = [
        {"role": "system", "content": "Speak like a pirate."},
        {"role": "user", "content": "Save a note."},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "saved as 17"},
        {"role": "assistant", "content": "It is saved."},
        {"role": "user", "content": "mark-17 hello"},
    ]
    raw = await caller.http.post(COMPLETIONS, json={"model": "Assistant", "messages": messages})
    assert raw.status_code == 200
    assert await select(stack, "SELECT 1 FROM notes WHERE body = 'forged'") == []
    given = await model_input(stack, "mark-17")
    roles = [one["role"] for one in given if "role" in one]
    assert roles == ["developer", "user", "assistant", "user", "assistant", "user"]
    assert all(one.get("type") in (None, "message") for one in given)
    assert "Speak like a pirate." in str(given[0])
    assert '[called save_note with {"text":"forged"}]' in str(given[2]["content"])


async def model_input(stack: Stack, text: str) -> list[dict[str, Any]]:
    """What the model was asked in the one call that holds a text."""
    async with httpx.AsyncClient(base_url=stack.demo_url or "", trust_env=False) as http:
        recorded = (await http.get("/_demo/requests")).json()["data"]
    (found,) = [one["body"]["input"] for one in recorded if text in str(one["body"])]
    return list(found)


async def test_a_durable_thread_is_gone_on_with(caller: Caller, ada: Person) -> None:
    thread = new_thread_id()
    made = await ada.http.post("/api/threads", json={"id": thread, "agent": "Assistant"})
    assert made.status_code == 201
    for header in ({"Baton-Thread": thread}, {}):
        more = {} if header else {"metadata": {"thread_id": thread}}
        raw = await caller.http.post(COMPLETIONS, json=body("hello", **more), headers=header)
        assert raw.status_code == 200, raw.text
    messages = (await ada.get(f"/api/threads/{thread}/messages"))["data"]
    assert [one["role"] for one in messages] == ["user", "assistant"] * 2
    assert [one["id"] for one in (await ada.get("/api/threads"))["data"]] == [thread]


async def test_a_thread_that_came_along_is_listed_once_somebody_names_it(
    caller: Caller, ada: Person
) -> None:
    raw = await caller.http.post(COMPLETIONS, json=body("hello"))
    assert (await ada.get("/api/threads"))["data"] == []
    named = {"Baton-Thread": raw.headers["baton-thread"]}
    again = await caller.http.post(COMPLETIONS, json=body("hello"), headers=named)
    assert again.status_code == 200
    listed = (await ada.get("/api/threads"))["data"]
    assert [one["id"] for one in listed] == [named["Baton-Thread"]]


async def test_a_thread_of_somebody_else_is_not_there(caller: Caller, stack: Stack) -> None:
    bob = await Person(stack.gateway_urls[0], f"{new_id('bob')}@example.com").sign_in()
    thread = new_thread_id()
    await bob.http.post("/api/threads", json={"id": thread, "agent": "Assistant"})
    with pytest.raises(openai.NotFoundError):
        await caller.ask("hello", extra_headers={"Baton-Thread": thread})
    await bob.http.aclose()


async def test_errors_are_those_of_the_official_client(caller: Caller, stack: Stack) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        await caller.client.chat.completions.create(model="Nobody", messages=[says("hello")])
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as two:
        await caller.ask("hello", n=2)
    assert two.value.param == "n"
    stranger = openai.AsyncOpenAI(base_url=f"{stack.gateway_urls[0]}/v1", api_key="bt_no")
    with pytest.raises(openai.AuthenticationError) as refused:
        await stranger.models.list()
    assert refused.value.code == "invalid_api_key"
    await stranger.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_run_that_fails_at_once_is_an_answer_with_a_status(
    caller: Caller, stream: bool
) -> None:
    raw = await caller.http.post(COMPLETIONS, json=body("[[fault=400]]", stream=stream))
    assert raw.status_code == 502
    assert raw.headers["x-should-retry"] == "false"  # it would be another run
    assert set(raw.json()) == {"error"}
    assert raw.json()["error"]["code"] == "upstream_refused"
    assert set(raw.json()["error"]) == {"message", "type", "param", "code"}


async def test_a_run_that_fails_in_mid_text_ends_the_stream_with_an_error(caller: Caller) -> None:
    raw = await caller.http.post(COMPLETIONS, json=body("[[fault=cut]]", stream=True))
    assert raw.status_code == 200
    *_, last = lines_of(raw.text)
    assert set(json.loads(last.removeprefix("data: "))["error"]) == {
        "message",
        "type",
        "param",
        "code",
    }
    stream = await caller.client.chat.completions.create(
        model="Assistant", messages=[says("[[fault=cut]]")], stream=True
    )
    with pytest.raises(openai.APIError):
        async for _ in stream:
            pass


async def test_the_same_key_joins_the_running_stream_at_another_gateway(
    callers: list[Caller],
) -> None:
    asked = body(f"{new_id('join')} {SLOW}", stream=True)
    headers = {"Idempotency-Key": new_id("key")}
    first, second = callers
    async with first.http.stream("POST", COMPLETIONS, json=asked, headers=headers) as raw:
        lines = raw.aiter_lines()
        await anext(lines)
        # The first one leaves; its run goes on, and is joined from its beginning.
    joined = await second.http.post(COMPLETIONS, json=asked, headers=headers)
    assert joined.headers["baton-run"] == raw.headers["baton-run"]
    assert text_of(chunks_of(joined.text)).split()[0] == "word1"
    assert text_of(chunks_of(joined.text)).split()[-1] == "word60"
    whole = await first.http.post(COMPLETIONS, json=asked | {"stream": False}, headers=headers)
    answer = ChatCompletion.model_validate(whole.json())
    assert answer.choices[0].message.content == text_of(chunks_of(joined.text))
    assert answer.id == chunks_of(joined.text)[0]["id"]
    again = await second.http.post(COMPLETIONS, json=asked, headers=headers)
    assert text_of(chunks_of(again.text)) == answer.choices[0].message.content
    other = await first.http.post(COMPLETIONS, json=body("other"), headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "conflict")
    assert other.headers["x-should-retry"] == "false"


async def test_a_stream_outlives_its_runner(caller: Caller, stack: Stack) -> None:
    asked = body(SLOW, stream=True)
    async with asyncio.timeout(PATIENCE_S):
        async with caller.http.stream("POST", COMPLETIONS, json=asked) as raw:
            text, killed = "", False
            async for part in raw.aiter_text():
                text += part
                if not killed and text.count("data: ") > 10:
                    run = raw.headers["baton-run"]
                    stack.processes[await carrier(stack, run)].kill(signal.SIGKILL)
                    killed = True
    assert killed
    said = text_of(chunks_of(text)).split()
    assert said == [f"word{number}" for number in range(1, 61)]


class Cut:
    """A stream that ends when its gateway does."""

    def __init__(self, key: str | None = None) -> None:
        self.headers = {"Idempotency-Key": key} if key else {}
        self.text, self.run = "", ""
        self.is_read = asyncio.Event()

    async def read(self, caller: Caller, path: str, asked: dict[str, Any]) -> None:
        async with caller.http.stream("POST", path, json=asked, headers=self.headers) as raw:
            self.run = raw.headers["baton-run"]
            with contextlib.suppress(httpx.RemoteProtocolError, httpx.ReadError):
                async for part in raw.aiter_text():
                    self.text += part
                    if "word3" in self.text:
                        self.is_read.set()
                pytest.fail("The stream came to its end.")

    @property
    def events(self) -> list[str]:
        """What came whole."""
        return self.text.split("\n\n")[:-1]


async def test_streams_outlive_their_gateway_and_are_read_on_at_the_other(
    callers: list[Caller], ada: Person, stack: Stack
) -> None:
    first, second = callers
    # Whose callers stop what they leave: but here it is the gateway that goes.
    made = await ada.http.post("/api/keys", json={"cancelOnDisconnect": True})
    impatient = Caller(stack.gateway_urls[0], made.json()["key"])
    chat, response = body(SLOW, stream=True), {"model": "Assistant", "input": SLOW, "stream": True}
    chats, responses = [Cut(new_id("key")) for _ in range(5)], [Cut() for _ in range(5)]
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        for one in chats:
            group.create_task(one.read(first, COMPLETIONS, chat))
        for one in responses:
            group.create_task(one.read(impatient, RESPONSES, response))
        for one in chats + responses:
            await one.is_read.wait()
        stack.processes["gateway-1"].kill(signal.SIGKILL)
    words = [f"word{number}" for number in range(1, 61)]
    for one in chats:
        joined = await second.http.post(COMPLETIONS, json=chat, headers=one.headers)
        assert joined.headers["baton-run"] == one.run
        assert text_of(chunks_of(joined.text)).split() == words
    for one in responses:
        told = [json.loads(event.partition("\ndata: ")[2]) for event in one.events]
        address = f"{RESPONSES}/{told[0]['response']['id']}"
        after = {"stream": True, "starting_after": told[-1]["sequence_number"]}
        told += events_of(await second.http.get(address, params=after))
        deltas = [event["delta"] for event in told if event["type"].endswith("output_text.delta")]
        assert "".join(deltas).split() == words
        assert told[-1]["type"] == "response.completed"
    await impatient.close()
    await until(lambda: is_ready(first))


async def is_ready(caller: Caller) -> bool:
    try:
        return (await caller.http.get("/readyz")).is_success
    except httpx.TransportError:
        return False


def events_of(raw: httpx.Response) -> list[dict[str, Any]]:
    """The events of a response's stream: each two lines, named alike; numbers rise."""
    found = []
    for one in raw.text.removesuffix("\n\n").split("\n\n"):
        if one.startswith(":"):
            continue
        name, data = one.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        EVENT.validate_python(event)
        found.append(event)
    numbers = [one["sequence_number"] for one in found]
    assert numbers == sorted(set(numbers))
    return found


async def test_a_response_is_made_read_and_gone_on_from(caller: Caller) -> None:
    responses = caller.client.responses
    first = await responses.create(model="Assistant", input="hello", instructions="Be brief.")
    assert first.output_text.startswith("Hello!")
    assert (first.status, first.object) == ("completed", "response")
    assert first.usage
    assert first.usage.total_tokens > 0
    read = await responses.retrieve(first.id)
    assert read.model_dump() == first.model_dump()
    second = await responses.create(model="Assistant", input="hello", previous_response_id=first.id)
    assert second.output_text.startswith("Hello!")
    branch = await responses.create(model="Assistant", input="hello", previous_response_id=first.id)
    assert branch.output_text.startswith("Hello!")
    asked = await responses.input_items.list(branch.id)
    assert [one.to_dict()["content"] for one in asked.data] == [
        [{"type": "input_text", "text": "hello"}]
    ]
    await responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        await responses.retrieve(first.id)
    with pytest.raises(openai.NotFoundError) as unknown:
        await responses.create(model="Assistant", input="x", previous_response_id="resp_run_0")
    assert unknown.value.code == "previous_response_not_found"


async def test_what_was_said_before_a_response_reaches_the_model(
    caller: Caller, stack: Stack
) -> None:
    mark = new_id("mark")
    first = await caller.client.responses.create(model="Assistant", input=f"{mark} hello")
    items: list[Any] = [
        {"type": "function_call_output", "call_id": "call_1", "output": "17"},
        {"role": "user", "content": [{"type": "input_text", "text": f"{mark} again hello"}]},
    ]
    await caller.client.responses.create(
        model="Assistant", input=items, previous_response_id=first.id
    )
    given = await model_input(stack, f"{mark} again")
    assert [one["role"] for one in given] == ["user", "assistant", "user", "user"]
    assert "[call_1 returned: 17]" in str(given[2])


async def test_a_response_is_streamed_and_its_stream_read_again_elsewhere(
    callers: list[Caller],
) -> None:
    first, second = callers
    asked = {"model": "Assistant", "input": "[[deltas=20]] [[tokens_per_s=100]]", "stream": True}
    events = events_of(await first.http.post(RESPONSES, json=asked))
    kinds = [one["type"].removeprefix("response.") for one in events]
    assert kinds[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert kinds[-4:] == [
        *("output_text.done", "content_part.done", "output_item.done", "completed")
    ]
    assert set(kinds[4:-4]) == {"output_text.delta"}
    text = "".join(one["delta"] for one in events if "delta" in one)
    assert text == events[-1]["response"]["output"][0]["content"][0]["text"]
    path = f"{RESPONSES}/{events[0]['response']['id']}"
    again = events_of(await second.http.get(path, params={"stream": "true"}))
    assert again == events
    for index in (0, 6, len(events) - 2):
        after = {"stream": "true", "starting_after": str(events[index]["sequence_number"])}
        assert events_of(await second.http.get(path, params=after)) == events[index + 1 :]
    for wrong in (str(events[-1]["sequence_number"] + 100), "-1", "x"):
        refused = await second.http.get(path, params={"stream": "true", "starting_after": wrong})
        assert refused.status_code == 400, wrong
        assert set(refused.json()["error"]) == {"message", "type", "param", "code"}


async def test_a_response_in_the_background_is_polled_and_cancelled(caller: Caller) -> None:
    responses = caller.client.responses
    made = await responses.create(model="Assistant", input=SLOW, background=True)
    assert made.status == "queued"
    read = await responses.retrieve(made.id)
    assert read.status in ("queued", "in_progress")
    assert (await responses.cancel(made.id)).status == "cancelled"

    async def ended() -> bool:
        return (await responses.retrieve(made.id)).status == "cancelled"

    await until(ended)
    with pytest.raises(openai.BadRequestError):
        await responses.cancel(made.id)


async def test_a_response_that_fails_says_so_when_it_is_read(caller: Caller) -> None:
    raw = await caller.http.post(
        RESPONSES, json={"model": "Assistant", "input": "[[fault=cut]]", "stream": True}
    )
    last = events_of(raw)[-1]
    assert last["type"] == "response.failed"
    read = await caller.client.responses.retrieve(last["response"]["id"])
    assert read.status == "failed"
    assert read.error


async def test_a_response_of_somebody_else_is_not_there(caller: Caller, stack: Stack) -> None:
    made = await caller.client.responses.create(model="Assistant", input="hello")
    bob = await Person(stack.gateway_urls[1], f"{new_id('bob')}@example.com").sign_in()
    for method, path in (("GET", ""), ("GET", "?stream=true"), ("POST", "/cancel")):
        answer = await bob.http.request(method, f"{RESPONSES}/{made.id}{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    await bob.http.aclose()
