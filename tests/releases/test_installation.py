"""All processes of a recorded release are replaced by this one's: nobody notices."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from agent.release import recorded_releases
from shared.db.conversations import LIVE
from shared.protocol.position import parse_position
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from tests.releases.conversation import converse
from tests.releases.left_behind import AGENTS, SECRETS, put_back
from tests.scenarios.client import Frame, Person, assert_gapless, is_terminal

pytestmark = [
    pytest.mark.stores,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
]


@pytest.fixture(scope="module", params=recorded_releases(), ids=lambda folder: folder.name)
def release(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.param
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(stores: TestStores, release: Path) -> AsyncIterator[Stack]:
    env = {"BATON_AGENTS_HOME": str(AGENTS)}
    with stores.database() as url:
        stores.empty_redis()
        await put_back(release, url, stores.redis_url)
        async with running_stack(
            database_url=url, redis_url=stores.redis_url, env=env, credentials=SECRETS
        ) as started:
            yield started


@pytest_asyncio.fixture(loop_scope="module")
async def ada(stack: Stack) -> AsyncIterator[Person]:
    person = await Person(stack.gateway_urls[0], "ada@example.com").sign_in()
    yield person
    await person.http.aclose()


def told(release: Path) -> Any:
    return json.loads((release / "runs.json").read_text())


def frames(release: Path, who: str = "gateway") -> list[Frame]:
    lines = (release / "frames.ndjson").read_text().splitlines()
    taped = [json.loads(line) for line in lines]
    return [json.loads(one["frame"]) for one in taped if one["from"] == who]


async def test_runs_that_were_under_way_go_on_and_clients_see_no_gap(
    ada: Person, release: Path
) -> None:
    events = [one for one in frames(release) if one["op"] == "event"]
    begun = dict(reversed(told(release)["begun"]))  # of a thread the run that was under way
    await asyncio.gather(*(_goes_on(ada, thread, run, events) for thread, run in begun.items()))
    waiting = told(release)["begun"][-1][1]
    waiting, waits_for = told(release)["begun"][-1], begun[told(release)["begun"][-1][0]]
    async with ada.socket() as socket:
        await socket.send(op="subscribe", threadId=waiting[0])
        await socket.until(lambda frame: frame["op"] == "live")
        while (state := await ada.get(f"/api/runs/{waiting[1]}"))["status"] in LIVE:
            await socket.next()
    assert state["status"] == "finished"
    assert (await ada.get(f"/api/runs/{waits_for}"))["status"] == "cancelled"


async def _goes_on(ada: Person, thread: str, run: str, events: list[Frame]) -> None:
    seen = [one for one in events if one["threadId"] == thread]
    async with ada.socket() as socket:
        await socket.send(op="subscribe", threadId=thread, after=seen[-1]["id"])
        await socket.until(_goes_on_live)
        await socket.answer(await socket.send(op="cancel", threadId=thread, runId=run))
        end = await socket.until(is_terminal)
    got = [*seen, *socket.events()]
    assert_gapless(got)
    assert end["event"]["type"] == "RUN_FINISHED", end
    assert {parse_position(one["id"]) for one in seen} < {parse_position(one["id"]) for one in got}


def _goes_on_live(frame: Frame) -> bool:
    """What is said after the conversation has been restated."""
    kind = frame.get("event", {}).get("type")
    at = parse_position(frame["id"]) if frame["op"] == "event" else None
    return at is not None and at.fence > 1 and kind not in ("CUSTOM", "MESSAGES_SNAPSHOT")


async def test_what_was_exported_is_exported_again_to_the_letter(
    ada: Person, release: Path
) -> None:
    for run in told(release)["ended"]:
        answer = await ada.http.get(f"/api/runs/{run}/export")
        assert answer.content == (release / "exports" / f"{run}.ndjson").read_bytes()


async def test_a_client_of_then_is_told_all_that_it_was_told(ada: Person, release: Path) -> None:
    """The same conversation once more: frames and events have what they had, of the same types."""
    tape: list[dict[str, str]] = []
    await converse(ada, tape)
    now = shapes([json.loads(one["frame"]) for one in tape if one["from"] == "gateway"])
    then = shapes(frames(release))
    lost = {
        kind: fields - now.get(kind, set())
        for kind, fields in then.items()
        if not fields <= now.get(kind, set())
    }
    # What only a take-over says, which is not a part of the conversation.
    assert set(lost) <= {"event CUSTOM", "event MESSAGES_SNAPSHOT"}


Shapes = dict[str, set[tuple[str, str]]]


def shapes(found: list[Frame]) -> Shapes:
    """Of each kind of frame and event, the fields that all of them have, with their types."""
    kinds: Shapes = {}
    for one in found:
        name = " ".join(filter(None, (one["op"], one.get("event", {}).get("type"))))
        fields = set(_fields(one, ""))
        kinds[name] = kinds[name] & fields if name in kinds else fields
    return kinds


def _fields(value: Any, path: str) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [one for key, inner in value.items() for one in _fields(inner, f"{path}.{key}")]
    if isinstance(value, list):
        return [
            (path, "list"),
            *(one for inner in value[:1] for one in _fields(inner, f"{path}[]")),
        ]
    return [(path, type(value).__name__)]
