"""The AG-UI door: the official client over HTTP, lost connections, replays, and bad input."""

import asyncio
import json
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from ag_ui_validate.pytest_plugin import assert_valid_agui

from shared.protocol.ids import new_id, new_run_id, new_thread_id
from stack.running import Stack
from tests.scenarios.client import PATIENCE_S, Person
from tests.scenarios.sql import carrier, select
from tests.until import until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

CLIENT = Path(__file__).parent.parent / "js" / "http_agent.mjs"
SLOW = "[[deltas=60]] [[tokens_per_s=30]]"
Event = dict[str, Any]


@pytest_asyncio.fixture(loop_scope="module")
async def doors(ada: Person, stack: Stack) -> AsyncIterator[list[httpx.AsyncClient]]:
    """The same person with a key, at both gateways."""
    made = await ada.http.post("/api/keys", json={"name": "program"})
    headers = {"authorization": f"Bearer {made.json()['key']}"}
    both = [
        httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=PATIENCE_S)
        for url in stack.gateway_urls
    ]
    yield both
    for one in both:
        await one.aclose()


def asked(text: str, thread: str | None = None, **more: Any) -> dict[str, Any]:
    message = {"id": new_id("msg"), "role": "user", "content": text}
    return {
        "threadId": thread or new_thread_id(),
        "runId": new_run_id(),
        "protocolVersion": "1.0",
        "state": None,
        "messages": [message],
        "tools": [],
        "context": [],
        "forwardedProps": None,
    } | more


async def told(
    door: httpx.AsyncClient,
    given: dict[str, Any],
    *,
    path: str = "/agui/Assistant",
    after: str | None = None,
    most: int | None = None,
) -> list[tuple[str | None, Event]]:
    """The events of a stream, each with its cursor; at most so many, then the client leaves."""
    headers = {"last-event-id": after} if after else {}
    found: list[tuple[str | None, Event]] = []
    async with door.stream("POST", path, json=given, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        cursor: str | None = None
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                cursor = value
            elif name == "data":
                found.append((cursor, json.loads(value)))
                cursor = None
                if len(found) == most:
                    break
    return found


def text_of(events: list[tuple[str | None, Event]]) -> str:
    return "".join(one["delta"] for _, one in events if one["type"] == "TEXT_MESSAGE_CHUNK")


@pytest.mark.node
async def test_the_official_client_talks_and_a_second_one_is_told_the_same(
    ada: Person, doors: list[httpx.AsyncClient]
) -> None:
    thread = new_thread_id()
    given = {
        "url": f"{doors[0].base_url}/agui/Assistant",
        "headers": {"authorization": doors[0].headers["authorization"]},
        "threadId": thread,
        "says": [
            {"id": "u1", "content": "hello"},
            {"id": "u2", "content": "Please set my display name to Ada in my profile"},
        ],
    }
    node = await asyncio.create_subprocess_exec(
        *(shutil.which("node") or "node", str(CLIENT)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await node.communicate(json.dumps(given).encode())
    said = json.loads(out)
    assert (said["warnings"], said["errors"]) == ([], [])
    stored = (await ada.get(f"/api/threads/{thread}/messages"))["data"]
    assert said["messages"] == said["replayed"] == stored
    assert [one["role"] for one in stored].count("tool") == 1


async def test_a_stream_is_valid_and_its_cursors_are_those_of_sql(
    doors: list[httpx.AsyncClient], stack: Stack
) -> None:
    given = asked("do both")
    events = await told(doors[0], given)
    assert_valid_agui([one for _, one in events])
    rows = await select(
        stack,
        "SELECT events.fence, seq_to FROM events JOIN runs ON runs.id = events.run_id"
        " WHERE public_id = %s ORDER BY events.fence, seq",
        given["runId"],
    )
    assert {f"{fence}-{seq}" for fence, seq in rows} <= {cursor for cursor, _ in events}
    again = await told(doors[1], given)  # the very events, with adjacent deltas joined
    assert text_of(again) == text_of(events)
    assert [cursor for cursor, _ in again] == [f"{fence}-{seq}" for fence, seq in rows]


async def test_who_loses_the_connection_goes_on_at_another_gateway(
    doors: list[httpx.AsyncClient],
) -> None:
    given = asked(SLOW)
    first = await told(doors[0], given, most=12)
    rest = await told(doors[1], given, after=first[-1][0])
    both = [*first, *rest]
    assert_valid_agui([one for _, one in both])
    assert text_of(both).split() == [f"word{number}" for number in range(1, 61)]
    cursors = [cursor for cursor, _ in both]
    assert len(set(cursors)) == len(cursors)


async def test_a_runner_that_dies_is_not_the_clients_business(
    doors: list[httpx.AsyncClient], stack: Stack
) -> None:
    given = asked(SLOW)
    streaming = asyncio.create_task(told(doors[0], given))

    async def writes() -> bool:
        query = "SELECT count(*) FROM runs WHERE public_id = %s AND status = 'running'"
        return await select(stack, query, given["runId"]) == [(1,)]

    await until(writes)
    stack.processes[await carrier(stack, given["runId"])].kill(signal.SIGKILL)
    events = [one for _, one in await streaming]
    assert_valid_agui(events)
    assert events[-1]["outcome"] == {"type": "success"}


async def test_a_thread_is_replayed_with_the_run_that_goes_on(
    doors: list[httpx.AsyncClient],
) -> None:
    given = asked("hello")
    await told(doors[0], given)
    following = asked(SLOW, given["threadId"])
    streaming = asyncio.create_task(told(doors[0], following))
    replayed: list[tuple[str | None, Event]] = []

    async def goes_on() -> bool:
        connecting = asked("", given["threadId"])
        replayed[:] = await told(doors[1], connecting, path="/agui/Assistant/connect", most=3)
        return bool(replayed[0][1]["runId"] == following["runId"])

    await until(goes_on)
    started, snapshot, _ = (one for _, one in replayed)
    assert (started["type"], snapshot["type"]) == ("RUN_STARTED", "MESSAGES_SNAPSHOT")
    assert [one["role"] for one in snapshot["messages"]] == ["user", "assistant", "user"]
    await streaming


async def test_older_clients_are_spared_what_they_cannot_read(
    doors: list[httpx.AsyncClient], ada: Person
) -> None:
    given = asked("[[delay=30]]")
    del given["protocolVersion"]
    streaming = asyncio.create_task(told(doors[0], given))

    async def runs() -> bool:
        answer = await ada.http.post(f"/api/runs/{given['runId']}/cancel")
        return answer.status_code == 202

    await until(runs)
    last = (await streaming)[-1][1]
    assert (last["type"], "outcome" in last) == ("RUN_FINISHED", False)


@pytest.mark.parametrize(
    ("path", "change", "headers", "status", "code"),
    [
        ("/agui/Nobody", {}, {}, 404, "unknown_agent"),
        ("/agui/Assistant", {"messages": []}, {}, 422, "bad_input"),
        ("/agui/Assistant", {"messages": 3}, {}, 422, "bad_input"),
        ("/agui/Assistant", {"threadId": "../x"}, {}, 422, "bad_input"),
        ("/agui/Assistant", {"threadId": 7}, {}, 422, "bad_input"),
        ("/agui/Assistant", {"runId": ""}, {}, 422, "bad_input"),
        ("/agui/Assistant", {"runId": None}, {}, 422, "bad_input"),
        ("/agui/Assistant", {"resume": [{"interruptId": "i"}]}, {}, 422, "bad_input"),
        ("/agui/Assistant", {}, {"last-event-id": "x"}, 400, "bad_cursor"),
        ("/agui/Assistant/connect", {}, {}, 404, "not_found"),
        ("/agui/Assistant", {}, {"authorization": "Bearer nonsense"}, 401, "not_signed_in"),
        ("/agui/Assistant", {}, {"authorization": ""}, 401, "not_signed_in"),
    ],
)
async def test_bad_input_begins_no_stream(
    doors: list[httpx.AsyncClient],
    path: str,
    change: dict[str, Any],
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    answer = await doors[0].post(path, json=asked("hello") | change, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_a_cursor_of_another_run_or_behind_the_end_is_refused(
    doors: list[httpx.AsyncClient],
) -> None:
    given = asked("hello")
    events = await told(doors[0], given)
    for cursor in ("99-1", events[-1][0]):
        headers = {"last-event-id": str(cursor)}
        answer = await doors[0].post("/agui/Assistant", json=given, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_cursor")


async def test_somebody_elses_thread_is_unknown(
    doors: list[httpx.AsyncClient], stack: Stack
) -> None:
    given = asked("hello")
    await told(doors[0], given)
    ben = await Person(stack.gateway_urls[0], f"{new_id('ben')}@example.com").sign_in()
    answer = await ben.http.post("/agui/Assistant/connect", json=given)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    await ben.http.aclose()
