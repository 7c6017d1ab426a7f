"""What a run leaves can be proved: over a take-over, to a stranger, with a key that has changed."""

import json
import signal
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio

from shared.export import lines_of
from shared.judge import Trouble, Verdict, judge
from shared.protocol.ids import new_id, new_thread_id
from shared.receipts import KEYS_PATH
from shared.signing import PublicKey, SigningKey
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from tests.scenarios.client import Person, Socket
from tests.scenarios.sql import carrier, select

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

FORMER = SigningKey("A" * 43)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(stores: TestStores) -> AsyncIterator[Stack]:
    """An installation whose key has changed: the former one stays published."""
    with stores.database() as url:
        stores.empty_redis()
        former = {"BATON_RECEIPT_PUBLIC_KEYS": FORMER.public.text}
        async with running_stack(
            gateways=2, runners=2, demo=True, database_url=url, env=former
        ) as started:
            yield started


async def keys(stack: Stack) -> list[PublicKey]:
    """The same at every gateway."""
    found = []
    for url in stack.gateway_urls:
        nobody = Person(url, "nobody@example.com")
        found.append((await nobody.get(KEYS_PATH))["keys"])
        await nobody.http.aclose()
    assert found[0] == found[-1]
    return [PublicKey.of_jwk(one) for one in found[0]]


async def exported(person: Person, run: str) -> list[bytes]:
    answer = await person.http.get(f"/api/runs/{run}/export")
    assert answer.status_code == 200, answer.text
    return list(lines_of([answer.content]))


async def judged(stack: Stack, person: Person, run: str) -> Verdict:
    verdict = judge(await exported(person, run), await keys(stack))
    assert verdict.problem is None
    assert verdict.trusted
    return verdict


async def said(socket: Socket, thread: str, text: str) -> str:
    """The id of a run that has ended."""
    ack = await socket.say(thread, text)
    await socket.finished()
    return str(ack["runId"])


async def test_runs_of_a_thread_prove_themselves_and_follow_each_other(
    ada: Person, stack: Stack
) -> None:
    thread = new_thread_id()
    async with ada.socket() as socket:
        runs = [await said(socket, thread, f"hello {number}") for number in range(3)]
    receipts: list[Any] = [(await judged(stack, ada, run)).receipt for run in runs]
    assert receipts[0]["before"] == "00" * 32
    assert all(one["chain"] == two["before"] for one, two in pairwise(receipts))
    rows = await select(stack, "SELECT chain FROM threads WHERE public_id = %s", thread)
    assert receipts[-1]["chain"] == rows[0][0].hex()
    assert {one["agentDigest"] for one in receipts} != {None}
    for receipt in receipts:
        run = await ada.get(f"/api/runs/{receipt['run']}")
        shown = (run["startedAt"], run["endedAt"], run["status"])
        assert shown == (receipt["startedAt"], receipt["endedAt"], receipt["status"])


async def test_a_run_that_was_taken_over_proves_itself(ada: Person, stack: Stack) -> None:
    async with ada.socket() as socket:
        ack = await socket.say(new_thread_id(), "[[deltas=60]] [[tokens_per_s=30]]")
        await socket.until(lambda f: f.get("event", {}).get("type") == "TEXT_MESSAGE_CHUNK")
        stack.processes[await carrier(stack, ack["runId"])].kill(signal.SIGKILL)
        await socket.finished()
    verdict = await judged(stack, ada, ack["runId"])
    lines = await exported(ada, ack["runId"])
    fences = {json.loads(line)["id"].partition("-")[0] for line in lines[1:-1]}
    assert len(fences) == 2
    assert verdict.receipt
    assert verdict.receipt["rows"] == len(lines) - 2
    resumed = next(n for n, line in enumerate(lines) if b"baton.resumed" in line)
    without = judge([*lines[:resumed], *lines[resumed + 1 :]], await keys(stack))
    assert without.problem
    assert without.problem[:2] == (Trouble.MISSING, resumed + 1)


async def test_a_cancelled_and_a_failed_run_prove_themselves_too(ada: Person, stack: Stack) -> None:
    async with ada.socket() as socket:
        ack = await socket.say(new_thread_id(), "[[deltas=400]] [[tokens_per_s=20]]")
        await socket.until(lambda f: f.get("event", {}).get("type") == "TEXT_MESSAGE_CHUNK")
        await ada.http.post(f"/api/runs/{ack['runId']}/cancel", json={})
        await socket.finished()
        failed = await said(socket, new_thread_id(), "[[fault=400]]")
    for run, status in ((ack["runId"], "cancelled"), (failed, "failed")):
        receipt = (await judged(stack, ada, run)).receipt
        assert receipt
        assert receipt["status"] == status


async def test_a_key_that_has_changed_is_still_published_last(stack: Stack) -> None:
    present = SigningKey(stack.secrets.receipt_key).public
    assert await keys(stack) == [present, FORMER.public]


async def test_another_persons_run_is_not_found(ada: Person, stack: Stack) -> None:
    async with ada.socket() as socket:
        run = await said(socket, new_thread_id(), "hello")
    eve = await Person(stack.gateway_urls[1], f"{new_id('eve')}@example.com").sign_in()
    for what in ("receipt", "export"):
        assert (await eve.http.get(f"/api/runs/{run}/{what}")).status_code == 404
    await eve.http.aclose()


async def test_what_somebody_changes_in_sql_is_named(ada: Person, stack: Stack) -> None:
    async with ada.socket() as socket:
        run = await said(socket, new_thread_id(), "hello")
    await select(
        stack,
        "UPDATE events SET data = replace(data, 'RUN_STARTED', 'RUN_STOPPED') WHERE seq = 1 "
        "AND run_id = (SELECT id FROM runs WHERE public_id = %s) RETURNING 1",
        run,
    )
    verdict = judge(await exported(ada, run), await keys(stack))
    assert verdict.problem
    assert verdict.problem[:3] == (Trouble.ALTERED, 2, "1-1")
