"""A runner of a recorded release is served by this toolsvc: its requests, byte for byte."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
import pytest_asyncio

from agent.release import covers, recorded_releases
from tests.toolsvc.record_rig import RUNNER_KEY, RecordRig, opened

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

#: What is another one each time.
NEW_EACH_TIME = ("token", "token_expires", "tokens", "in_use", "cut_off")
UNKNOWN = {"fieldOfTheNextRelease": {"x": 1}}


@pytest_asyncio.fixture
async def rig(database_url: str, redis_url: str) -> AsyncIterator[RecordRig]:
    async with opened(database_url, redis_url) as made:
        yield made


def exchanges(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "exchanges.ndjson").read_text().splitlines()]


async def accept(rig: RecordRig, claimed: dict[str, Any]) -> None:
    """What a gateway had stored when the run was claimed."""
    said = claimed["messages"]
    await rig.sql(
        "INSERT INTO users (id, email, admin) VALUES (:id, 'ada@example.com', false) "
        "ON CONFLICT DO NOTHING",
        id=claimed["user"],
    )
    await rig.sql(
        "INSERT INTO threads (id, user_id, public_id, agent) VALUES (:id, :user, :name, :agent) "
        "ON CONFLICT DO NOTHING",
        id=claimed["thread"],
        user=claimed["user"],
        name=claimed["thread_id"],
        agent=claimed["agent"],
    )
    for one in said:
        await rig.sql(
            "INSERT INTO messages (thread_id, id, run_id, role, content) "
            "VALUES (:thread, :id, :run, 'user', CAST(:content AS json))",
            thread=claimed["thread"],
            id=one["id"],
            run=claimed["run"],
            content=orjson.dumps(one).decode(),
        )
    await rig.sql(
        """
        INSERT INTO runs (id, public_id, user_id, thread_id, root_id, agent, status, ready,
            priority, turn, message_id, input, input_digest, commits)
        VALUES (:run, :name, :user, :thread, :run, :agent, 'queued', true, 0, 1, :message,
            CAST(:input AS json), '', 0)
        """,
        run=claimed["run"],
        name=claimed["run_id"],
        user=claimed["user"],
        thread=claimed["thread"],
        agent=claimed["agent"],
        message=said[0]["id"],
        input=orjson.dumps(claimed["input"] | {"messages": said}).decode(),
    )


def known(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what is another one each time."""
    inner = answer.get("claimed")
    more = {"claimed": known(inner)} if isinstance(inner, dict) else {}
    return {name: value for name, value in answer.items() if name not in NEW_EACH_TIME} | more


@pytest.mark.parametrize("later", [False, True], ids=["as it was", "with unknown fields"])
@pytest.mark.parametrize("folder", recorded_releases(), ids=lambda folder: folder.name)
async def test_each_run_is_claimed_committed_and_ended_as_it_was(
    rig: RecordRig, folder: Path, later: bool
) -> None:
    tokens: dict[str, str] = {}
    done = 0
    for one in exchanges(folder):
        path, told = one["path"], json.loads(one["answered"])
        run = path.split("/")[2] if path.startswith("/runs/") else None
        if not path.startswith(("/claims", "/runners/", "/runs/")) or run not in {None, *tokens}:
            continue
        claimed = told.get("claimed")
        if path == "/claims" and claimed is not None:
            if len(claimed["starts"]) > 1:
                await rig.sql("UPDATE runners SET lease_until = now() - interval '1 s'")
                await rig.sql(
                    "UPDATE runners SET lease_until = now() + interval '9 s' WHERE id = :id",
                    id=json.loads(one["sent"])["runner"],
                )
            else:
                await accept(rig, claimed)
        elif run and told["cancelled"]:
            await rig.cancel(UUID(run))
        body = one["sent"].encode()
        if later:
            body = orjson.dumps(orjson.loads(body) | UNKNOWN)
        proof = {
            name: value for name, value in one["headers"].items() if name == "baton-runner-proof"
        }
        answer = await rig.post(path, body, tokens[run] if run else RUNNER_KEY, proof)
        assert answer.status_code == one["status"], f"{path}: {answer.text}"
        if claimed is not None:
            tokens[claimed["run"]] = answer.json()["claimed"]["token"]
        if not path.endswith("/heartbeat"):  # it names runs whose others have gone on meanwhile
            assert covers(known(answer.json()), known(told)), path
        assert answer.json().keys() >= told.keys()
        done += path.endswith("/finish")
    assert done >= 6
