"""Who leaves an answer early stops its run, where the key says so, and nobody else needs it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.gateway.openai.carried import FINISHED, CarriedRun, says
from tests.gateway.rig import Rig, wait_until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"model": "Assistant", "messages": [{"role": "user", "content": "Hi"}]},
    RESPONSES: {"model": "Assistant", "input": "Hi"},
}
CANCELS = {"cancelOnDisconnect": True}


async def program(rig: Rig, ada: httpx.AsyncClient, **wishes: Any) -> httpx.AsyncClient:
    """A client of ada's with a key of its own."""
    key = (await ada.post("/api/keys", json=wishes)).json()["key"]
    return await rig.client(headers={"authorization": f"Bearer {key}"})


@asynccontextmanager
async def asked(
    rig: Rig, client: httpx.AsyncClient, path: str, *, stream: bool, **headers: str
) -> AsyncIterator[tuple[CarriedRun, "asyncio.Task[httpx.Response]"]]:
    """A request that is answered, and its run, which has begun to speak."""
    await rig.announce("Assistant")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    asking = client.post(path, json=BODIES[path] | {"stream": stream}, headers=named)
    answering = asyncio.create_task(asking)
    try:
        run = await CarriedRun.claimed(rig)
        await run.told(says("one "))
        yield run, answering
    finally:
        answering.cancel()
        await asyncio.wait({answering})


async def left(rig: Rig) -> None:
    """Wait until nobody here follows anything, and what leaving has begun is done."""
    followers = rig.app.state.followers
    await wait_until(lambda: not followers._followed)
    await rig.app.state.services.background.finish(60)


async def is_cancelled(rig: Rig) -> bool:
    return await rig.value("SELECT cancel_requested_at FROM runs") is not None


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize("stream", [True, False])
async def test_who_leaves_stops_the_run(
    rig: Rig, ada: httpx.AsyncClient, path: str, stream: bool
) -> None:
    client = await program(rig, ada, **CANCELS)
    async with asked(rig, client, path, stream=stream):
        pass
    await wait_until(lambda: is_cancelled(rig))


@pytest.mark.parametrize("wishes", [{}, {"cancelOnDisconnect": False}])
async def test_with_another_key_it_goes_on(
    rig: Rig, ada: httpx.AsyncClient, wishes: dict[str, Any]
) -> None:
    async with asked(rig, await program(rig, ada, **wishes), CHAT, stream=True):
        pass
    await left(rig)
    assert not await is_cancelled(rig)


@pytest.mark.parametrize("stream", [True, False])
async def test_who_comes_back_finds_it_going_on(
    rig: Rig, ada: httpx.AsyncClient, stream: bool
) -> None:
    client = await program(rig, ada, **CANCELS)
    async with asked(rig, client, CHAT, stream=stream, Idempotency_Key="k"):
        pass
    await left(rig)
    assert not await is_cancelled(rig)


async def test_it_goes_on_while_somebody_else_follows_it(rig: Rig, ada: httpx.AsyncClient) -> None:
    client, followers = await program(rig, ada, **CANCELS), rig.app.state.followers
    async with asked(rig, client, RESPONSES, stream=True) as (run, answering):
        address = f"{RESPONSES}/resp_{run.run_id}"
        reading = asyncio.create_task(client.get(address, params={"stream": True}))
        await wait_until(lambda: followers._followed[run.run] == 2)
        answering.cancel()
        await wait_until(lambda: followers._followed[run.run] == 1)
        await run.say(FINISHED)
        assert "response.completed" in (await reading).text
    await left(rig)
    assert not await is_cancelled(rig)


async def test_a_response_in_the_background_needs_nobody(rig: Rig, ada: httpx.AsyncClient) -> None:
    await rig.announce("Assistant")
    client = await program(rig, ada, **CANCELS)
    made = await client.post(RESPONSES, json=BODIES[RESPONSES] | {"background": True})
    assert made.json()["status"] == "queued"
    await left(rig)
    assert not await is_cancelled(rig)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_gateway_that_stops_leaves_by_itself(
    rig: Rig, ada: httpx.AsyncClient, stream: bool
) -> None:
    client = await program(rig, ada, **CANCELS)
    async with asked(rig, client, CHAT, stream=stream) as (_, answering):
        rig.app.state.followers.end_all()
        await answering
    await left(rig)
    assert not await is_cancelled(rig)


async def test_a_run_that_asks_is_not_taken_for_one_that_was_left(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    client = await program(rig, ada, **CANCELS)
    async with asked(rig, client, CHAT, stream=True) as (run, answering):
        await run.say(FINISHED | {"outcome": {"type": "interrupt", "interrupts": []}})
        await answering
    await left(rig)
    assert not await is_cancelled(rig)
