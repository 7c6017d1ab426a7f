"""Receipts and exports: as they were signed and stored, for their owner only."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio

from gateway.api.receipts import ROWS_AT_ONCE
from shared.chain import BEGINNING, extend, sealed
from shared.export import lines_of
from shared.judge import Trouble, judge
from shared.receipts import KEYS_PATH, RunFacts, canonical, holds, signed_receipt
from shared.signing import PublicKey, SigningKey
from tests.gateway.rig import Rig, code_of, gateway_settings, opened_rig, user_message, wait_until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

KEY, FORMER, STRANGE = (SigningKey(letter * 42 + "A") for letter in "ABC")
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest_asyncio.fixture
async def rig(database_url: str, redis_url: str) -> AsyncIterator[Rig]:
    """A gateway that publishes two keys, one of them twice."""
    texts = [KEY.public.text, FORMER.public.text, KEY.public.text]
    settings = gateway_settings(database_url, redis_url, BATON_RECEIPT_PUBLIC_KEYS=", ".join(texts))
    async with opened_rig(settings) as opened:
        await wait_until(opened.services.redis_ready)
        await opened.announce("Assistant")
        yield opened


async def start(ada: httpx.AsyncClient, run: str = "run_1") -> None:
    body = {"agent": "Assistant", "input": {"runId": run, "messages": [user_message(run)]}}
    answer = await ada.post("/api/threads/thr_1/runs", json=body)
    assert answer.status_code == 202, answer.text


async def end(rig: Rig, datas: list[str], *, key: SigningKey | None = KEY) -> None:
    """What toolsvc leaves of a run: chained rows, and a receipt where it has a key."""
    rows = [sealed(1, number, number, "CUSTOM", data) for number, data in enumerate(datas, 1)]
    chained = extend(None, rows)
    for row, hash_ in chained:
        await rig.sql(
            "INSERT INTO events (thread_id, fence, seq, seq_to, run_id, type, data, salt, digest, "
            "hash) SELECT thread_id, :fence, :seq, :seq_to, id, :type, :data, :salt, :digest, "
            ":hash FROM runs WHERE public_id = 'run_1'",
            **row._asdict(),
            hash=hash_,
        )
    facts = RunFacts(
        run="run_1",
        root="run_1",
        thread="thr_1",
        agent="Assistant",
        agent_digest=None,
        status="finished",
        started_at=NOW,
        ended_at=NOW,
        first="1-1",
        last=f"1-{len(rows)}",
        rows=len(rows),
        before=BEGINNING,
        chain=chained[-1].hash,
    )
    receipt = canonical(signed_receipt(facts, key)).decode() if key else None
    await rig.sql(
        "UPDATE runs SET status = 'finished', first_fence = 1, receipt = :receipt "
        "WHERE public_id = 'run_1'",
        receipt=receipt,
    )


async def keys(client: httpx.AsyncClient) -> list[PublicKey]:
    answer = await client.get(KEYS_PATH)
    assert answer.status_code == 200
    return [PublicKey.of_jwk(one) for one in answer.json()["keys"]]


async def test_keys_are_there_for_everybody_the_present_one_first(rig: Rig) -> None:
    answer = await (await rig.client()).get(KEYS_PATH)
    assert answer.json() == {"keys": [KEY.public.jwk, FORMER.public.jwk]}
    assert answer.json()["keys"][0] == {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": KEY.public.text,
        "kid": KEY.public.id,
        "use": "sig",
        "alg": "EdDSA",
    }
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_a_receipt_is_shown_as_it_was_signed(rig: Rig, ada: httpx.AsyncClient) -> None:
    await start(ada)
    await end(rig, ["{}"])
    answer = await ada.get("/api/runs/run_1/receipt")
    assert answer.status_code == 200
    assert answer.content == canonical(answer.json())
    assert holds(answer.json(), KEY.public)


#: Twice as many as are read at once, one more, and just as many.
@pytest.mark.parametrize("count", [1, ROWS_AT_ONCE, 2 * ROWS_AT_ONCE + 1])
async def test_an_export_has_every_row_and_verifies(
    rig: Rig, ada: httpx.AsyncClient, count: int
) -> None:
    datas = [orjson.dumps({"type": "CUSTOM", "value": f'"ü\n{n}'}).decode() for n in range(count)]
    await start(ada)
    await end(rig, datas)
    answer = await ada.get("/api/runs/run_1/export")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert answer.headers["content-disposition"] == 'attachment; filename="run_1.ndjson"'
    header, *rows, receipt = map(orjson.loads, answer.content.splitlines())
    assert [row["data"] for row in rows] == datas
    assert receipt == (await ada.get("/api/runs/run_1/receipt")).json()
    assert header["key"] == KEY.public.jwk
    verdict = judge(lines_of([answer.content]), await keys(ada))
    assert (verdict.problem, verdict.trusted, verdict.rows) == (None, True, count)


async def test_an_erased_row_leaves_the_chain_whole(rig: Rig, ada: httpx.AsyncClient) -> None:
    await start(ada)
    await end(rig, ["{}", '{"secret":1}', "{}"])
    await rig.sql("UPDATE events SET data = '', salt = '' WHERE seq = 2")
    answer = await ada.get("/api/runs/run_1/export")
    assert "secret" not in answer.text
    verdict = judge(lines_of([answer.content]), await keys(ada))
    assert (verdict.problem, verdict.trusted, verdict.erased) == (None, True, 1)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("UPDATE events SET data = '[]' WHERE seq = 2", (Trouble.ALTERED, 3, "1-2")),
        ("UPDATE events SET type = 'RAW' WHERE seq = 2", (Trouble.ALTERED, 3, "1-2")),
        ("DELETE FROM events WHERE seq = 2", (Trouble.MISSING, 3, "1-3")),
        ("DELETE FROM events WHERE seq = 3", (Trouble.MISSING, 4, None)),
    ],
)
async def test_what_was_changed_in_sql_is_found(
    rig: Rig, ada: httpx.AsyncClient, change: str, found: Any
) -> None:
    await start(ada)
    await end(rig, ["{}", "{}", "{}"])
    await rig.sql(change)
    answer = await ada.get("/api/runs/run_1/export")
    verdict = judge(lines_of([answer.content]), await keys(ada))
    assert verdict.problem
    assert verdict.problem[:3] == found


async def test_a_receipt_outlives_its_key(rig: Rig, ada: httpx.AsyncClient) -> None:
    await start(ada)
    await end(rig, ["{}"], key=FORMER)
    answer = await ada.get("/api/runs/run_1/export")
    assert judge(lines_of([answer.content]), await keys(ada)).trusted


async def test_a_receipt_by_a_key_that_is_not_published_is_not_trusted(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await start(ada)
    await end(rig, ["{}"], key=STRANGE)
    answer = await ada.get("/api/runs/run_1/export")
    assert orjson.loads(answer.content.splitlines()[0])["key"] is None
    verdict = judge(lines_of([answer.content]), await keys(ada))
    assert verdict.problem
    assert verdict.problem.trouble is Trouble.UNSIGNED


@pytest.mark.parametrize("what", ["receipt", "export"])
async def test_before_its_end_a_run_has_none(rig: Rig, ada: httpx.AsyncClient, what: str) -> None:
    await start(ada)
    for begin in (False, True):
        if begin:
            await rig.begin("run_1")
        answer = await ada.get(f"/api/runs/run_1/{what}")
        assert (answer.status_code, code_of(answer)) == (409, "busy")


@pytest.mark.parametrize("what", ["receipt", "export"])
async def test_a_run_that_ended_without_a_key_has_none(
    rig: Rig, ada: httpx.AsyncClient, what: str
) -> None:
    await start(ada)
    await end(rig, ["{}"], key=None)
    answer = await ada.get(f"/api/runs/run_1/{what}")
    assert (answer.status_code, code_of(answer)) == (422, "not_supported")
    assert "no receipt" in answer.text


@pytest.mark.parametrize("id_", ["run_9", "a b", "%2e%2e", "x" * 65, "rün"])
async def test_an_unknown_or_malformed_id_is_not_found(
    rig: Rig, ada: httpx.AsyncClient, id_: str
) -> None:
    for what in ("receipt", "export"):
        answer = await ada.get(f"/api/runs/{id_}/{what}")
        assert answer.status_code == 404


async def test_what_was_deleted_cannot_be_exported(rig: Rig, ada: httpx.AsyncClient) -> None:
    await start(ada)
    await end(rig, ["{}"])
    assert (await ada.delete("/api/threads/thr_1")).status_code < 300
    assert (await ada.get("/api/runs/run_1/export")).status_code == 404
