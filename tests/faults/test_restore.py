"""A backup of Postgres, taken while runs are under way, restored beside an empty Redis."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from shared.db.restored import LEAP
from shared.protocol.ids import new_id, new_thread_id
from stack.postgres import binaries
from stack.program import ROOT
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from tests.scenarios.client import Person, assert_gapless
from tests.scenarios.sql import select
from tests.until import until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio, pytest.mark.timeout(240)]

LIVE = "SELECT public_id, status FROM runs WHERE status IN ('queued', 'running')"


async def test_every_run_of_a_backup_ends_and_no_client_is_left_in_silence(
    stores: TestStores, tmp_path: Path
) -> None:
    email = f"{new_id('ada')}@example.com"
    backup = tmp_path / "baton.dump"
    quiet, busy, long = (new_thread_id() for _ in range(3))
    with stores.database() as before, stores.database() as after:
        async with running_stack(database_url=before, runners=2) as stack:
            ada = await Person(stack.gateway_urls[0], email).sign_in()
            async with ada.socket() as socket:
                await socket.say(quiet, "hello")
                at_backup = (await socket.finished())["id"]
                await socket.say(busy, '[[turns=4 save_note {"text":"n"}]] [[tokens_per_s=5]]')
                await socket.until(is_("TOOL_CALL_RESULT"))
                await socket.say(busy, "and then")  # waits behind it
                await socket.say(long, "[[deltas=200]] [[tokens_per_s=20]]")
                await socket.until(is_("TEXT_MESSAGE_CHUNK"))
                known = (await ada.get(f"/api/threads/{quiet}/messages"))["data"]
                await asyncio.to_thread(dump, before, backup)
                # What follows is lost; its clients have seen it.
                await socket.say(quiet, "never heard of")
                lost = await socket.until(
                    lambda frame: frame.get("threadId") == quiet and is_("RUN_FINISHED")(frame)
                )
            await ada.http.aclose()
        await asyncio.to_thread(restore, backup, after)
        with psycopg.connect(after) as db:
            under_way = db.execute(LIVE).fetchall()
        assert sorted(status for _, status in under_way) == ["queued", "running", "running"]

        async with running_stack(database_url=after, runners=2) as stack:
            ada = await Person(stack.gateway_urls[0], email).sign_in()
            await all_ended(stack, len(under_way))
            await nobody_is_left_in_silence(ada, quiet, at_backup, lost["id"])
            messages = (await ada.get(f"/api/threads/{quiet}/messages"))["data"]
            assert messages[: len(known)] == known
            assert "never heard of" not in str(messages)
            for thread in (busy, long):
                events = (await ada.get(f"/api/threads/{thread}/events?limit=1000"))["data"]
                started = [one["event"]["type"] for one in events].count("RUN_STARTED")
                assert started == (2 if thread == busy else 1)
            # A note is saved once for each turn, whether before the backup or after it.
            assert len(await select(stack, "SELECT 1 FROM notes")) == 4
            assert await findings(stack) == []
            await ada.http.aclose()


async def nobody_is_left_in_silence(ada: Person, thread: str, known: str, lost: str) -> None:
    """Clients of the time before and after the backup, before and after the thread goes on."""
    async with ada.socket() as socket:
        await socket.answer(await socket.send(op="subscribe", threadId=thread, after=known))
        await socket.until(lambda frame: frame["op"] == "live")
        assert socket.events() == []
        for _ in range(2):
            async with ada.socket() as other:
                await other.answer(await other.send(op="subscribe", threadId=thread, after=lost))
                reset = await other.until(lambda frame: frame["op"] == "reset")
                assert reset["cursor"] != lost
                await other.until(lambda frame: frame["op"] == "live")
            answer = await ada.http.get(f"/api/threads/{thread}/events", params={"after": lost})
            assert answer.json()["error"]["code"] == "bad_cursor"
            await socket.say(thread, "a longer answer than the one that was lost [[deltas=100]]")
            end = await socket.finished()
            assert end["event"]["type"] == "RUN_FINISHED"
            assert int(end["id"].partition("-")[0]) > LEAP
        assert_gapless(socket.events())


def is_(kind: str) -> Any:
    return lambda frame: frame.get("event", {}).get("type") == kind


async def all_ended(stack: Stack, runs: int) -> None:
    """Everything accepted ends, and well: take-overs begin when leases are judged again."""

    async def none_live() -> bool:
        return not await select(stack, LIVE)

    await until(none_live, within_s=90)
    rows = await select(stack, "SELECT status FROM runs ORDER BY id")
    assert rows == [("finished",)] * (runs + 1)


async def findings(stack: Stack) -> Any:
    key = {"authorization": f"Bearer {stack.secrets.operator_key}"}
    async with httpx.AsyncClient(base_url=stack.gateway_urls[0], trust_env=False) as http:
        answer = await http.get("/api/doctor", headers=key, timeout=30)
    return answer.json()["findings"]


def dump(url: str, file: Path) -> None:
    """What docs/operations.md tells operators to do."""
    run("pg_dump", "--format=custom", f"--file={file}", url)


def restore(file: Path, url: str) -> None:
    run("pg_restore", "--clean", "--if-exists", "--no-owner", f"--dbname={url}", str(file))
    subprocess.run(
        [sys.executable, "-m", "shared.db", "restored"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DATABASE_URL": url},
        check=True,
    )


def run(tool: str, *arguments: str) -> None:
    subprocess.run([str(binaries() / tool), *arguments], check=True, env={"PATH": os.defpath})
