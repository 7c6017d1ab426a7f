"""Commits that are refused, by whom they come or for what they hold: nothing of them is stored."""

from dataclasses import replace
from random import Random
from typing import Any
from uuid import UUID

import pytest

from shared.protocol.record import ClaimedRun
from shared.tokens import mint_run_token, verify_run_token
from tests.toolsvc.record_rig import (
    BODY_LIMIT,
    FINISHED,
    GATEWAY_KEY,
    RUNNER_KEY,
    TOKEN_KEY,
    RecordRig,
    everything,
    refused,
    row,
    span,
    step,
    taken_over,
)

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


# ------------------------------------------------------------------------------ by whom
async def test_a_stale_fence_is_fenced(rig: RecordRig, claimed: ClaimedRun) -> None:
    await taken_over(rig, claimed)
    before = await everything(rig)
    assert await rig.refusal(claimed, rows=[row(2)]) == (409, "fenced")
    assert await rig.refusal(claimed, end=FINISHED) == (409, "fenced")
    assert await everything(rig) == before


async def test_a_future_fence_is_refused_with_and_without_a_token_for_it(
    rig: RecordRig, claimed: ClaimedRun
) -> None:
    future = claimed.model_copy(update={"fence": 2})
    assert await rig.refusal(future, rows=[row(2)]) == (403, "forbidden")
    claims = replace(verify_run_token(TOKEN_KEY, claimed.token), fence=2)
    minted = future.model_copy(update={"token": mint_run_token(TOKEN_KEY, claims)})
    assert await rig.refusal(minted, rows=[row(2)]) == (409, "fenced")


async def test_a_token_is_for_one_run_and_must_be_ours_and_hold(
    rig: RecordRig, claimed: ClaimedRun
) -> None:
    await rig.run(await rig.person())
    foreign = await (await rig.runner("r2")).claim()
    claims = verify_run_token(TOKEN_KEY, claimed.token)
    before = await everything(rig)

    async def told(token: str) -> tuple[int, str]:
        return await rig.refusal(claimed.model_copy(update={"token": token}), rows=[row(2)])

    assert await told(foreign.token) == (403, "forbidden")
    for token in (
        mint_run_token(TOKEN_KEY, claims, life_s=-3600),
        mint_run_token("another-key-of-at-least-32-bytes-long", claims),
        claimed.token[:-2] + "xx",
        "rubbish",
        "",
        RUNNER_KEY,
        GATEWAY_KEY,
    ):
        assert await told(token) == (401, "not_signed_in")
    assert await everything(rig) == before


@pytest.mark.parametrize("path", ["steps", "finish", "fence"])
async def test_an_unknown_run_is_not_found(rig: RecordRig, claimed: ClaimedRun, path: str) -> None:
    sent = {"authorization": f"Bearer {claimed.token}"}
    method = "GET" if path == "fence" else "POST"
    answer = await rig.http.request(method, f"/runs/no-uuid/{path}", headers=sent)
    assert refused(answer) == (404, "not_found")
    answer = await rig.http.request(method, f"/runs/{UUID(int=1)}/{path}", headers=sent)
    assert answer.status_code in (403, 422)


async def test_the_fence_can_be_confirmed_until_somebody_else_has_claimed(
    rig: RecordRig, claimed: ClaimedRun
) -> None:
    async def confirmed(run: ClaimedRun) -> int:
        sent = {"authorization": f"Bearer {run.token}"}
        return (await rig.http.get(f"/runs/{run.run}/fence", headers=sent)).status_code

    assert await confirmed(claimed) == 200
    taken = await taken_over(rig, claimed)
    assert (await confirmed(claimed), await confirmed(taken)) == (409, 200)
    await rig.committed(taken, tail=[], end=FINISHED)
    assert await confirmed(taken) == 409


async def test_a_runner_cannot_change_spans_of_another_root(
    rig: RecordRig, claimed: ClaimedRun
) -> None:
    await rig.committed(claimed, spans=[span("s1", said="mine")])
    await rig.run(await rig.person())
    other = await (await rig.runner("r2")).claim()
    await rig.committed(other, spans=[span("s1", said="forged")])
    (stored,) = await rig.sql("SELECT * FROM spans")
    assert (stored.root_id, stored.data["said"]) == (claimed.run, "mine")


# ------------------------------------------------------------------------------ bad bodies
MALFORMED: dict[str, Any] = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "not UTF-8": b'{"fence": 1, "n": 1, "rows": [[2, 2, "\xff", "{}"]]}',
    "100,000 brackets": b"[" * 100_000,
    "no number": {"fence": 1},
    "number 0": {"fence": 1, "n": 0},
    "a number that is a text": {"fence": 1, "n": "x"},
    "a short row": {"fence": 1, "n": 1, "rows": [[2, 2, "CUSTOM"]]},
    "a row with a number as data": {"fence": 1, "n": 1, "rows": [[2, 2, "CUSTOM", 5]]},
    "an unknown outcome": {"fence": 1, "n": 1, "end": {"outcome": "exploded"}},
    "a message without an id": {
        "fence": 1, "n": 1, "end": {"outcome": "finished", "messages": [{"role": "user"}]},
    },
    "a message without a role": {
        "fence": 1, "n": 1, "end": {"outcome": "finished", "messages": [{"id": "m"}]},
    },
    "a step without a digest": {
        "fence": 1, "n": 1, "steps": [{"scope": "a", "kind": "b", "place": "c", "record": "{}"}],
    },
}  # fmt: skip


UNSTORABLE: dict[str, dict[str, Any]] = {
    "NUL in a type": {"rows": [[2, 2, "CUS\0TOM", "{}"]]},
    "NUL in an event": {"rows": [[2, 2, "CUSTOM", '"\0"']]},
    "NUL in a step's place": {"steps": [step("a\0")]},
    "NUL in an error": {"end": {"outcome": "failed", "error_message": "a\0b"}},
    "a seq beyond 64 bits": {"rows": [[2, 2**63, "CUSTOM", "{}"]]},
    "a place that no index takes": {"steps": [step(Random(1).randbytes(3000).hex())]},
    "a span that no index takes": {"spans": [span(Random(1).randbytes(3000).hex())]},
    "a span that began never": {"spans": [span("s") | {"started": "yesterday-ish"}]},
}


@pytest.mark.parametrize("case", MALFORMED)
async def test_a_malformed_commit_is_refused_and_nothing_stored(
    rig: RecordRig, claimed: ClaimedRun, case: str
) -> None:
    body = MALFORMED[case]
    path = "finish" if isinstance(body, dict) and "end" in body else "steps"
    before = await everything(rig)
    answer = await rig.post(f"/runs/{claimed.run}/{path}", body, claimed.token)
    assert refused(answer) == (422, "bad_input")
    assert await everything(rig) == before


@pytest.mark.parametrize("case", UNSTORABLE)
async def test_what_sql_cannot_hold_is_refused_and_nothing_stored(
    rig: RecordRig, claimed: ClaimedRun, case: str
) -> None:
    before = await everything(rig)
    assert await rig.refusal(claimed, **UNSTORABLE[case]) == (422, "bad_input")
    assert await everything(rig) == before


async def test_an_integer_that_nothing_can_write_again_is_refused(
    rig: RecordRig, claimed: ClaimedRun
) -> None:
    body = (
        b'{"fence":1,"n":1,"spans":[{"id":"s","started":"2026-11-21T12:00:00Z","data":{"a":%d}}]}'
    )
    answer = await rig.post(f"/runs/{claimed.run}/steps", body % 2**70, claimed.token)
    assert refused(answer) == (422, "bad_input")


async def test_an_oversized_body_is_refused(rig: RecordRig, claimed: ClaimedRun) -> None:
    before = await everything(rig)
    big = [2, 2, "CUSTOM", "x" * BODY_LIMIT]
    assert await rig.refusal(claimed, rows=[big]) == (413, "too_large")
    assert await everything(rig) == before


async def test_an_end_belongs_to_finish_and_finish_needs_one(
    rig: RecordRig, claimed: ClaimedRun
) -> None:
    for path, more in (("steps", {"end": FINISHED}), ("finish", {})):
        body = {"fence": 1, "n": 1} | more
        answer = await rig.post(f"/runs/{claimed.run}/{path}", body, claimed.token)
        assert refused(answer) == (422, "bad_input")
    assert await rig.status(claimed.run) == "running"
