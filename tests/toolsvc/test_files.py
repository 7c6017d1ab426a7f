"""Results too large for a model: kept whole as files, and given to it cut."""

from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import orjson
import pytest
import pytest_asyncio

from shared.protocol.ids import uuid7
from shared.web.files import file_id, file_key
from tests.toolsvc.tool_rig import Rig, opened
from tests.toolsvc.tool_world import World
from toolsvc.effects import Outcome
from toolsvc.files import NewFile, cut
from toolsvc.tool import SqlCall, Tool, ToolCall, tool

LIMIT = 262_144
KIB_256, MIB_10 = LIMIT, 10 * 1_048_576


def tools() -> list[Tool]:
    async def plain(call: ToolCall, chars: int, of: str = "x") -> str:
        return of * chars

    async def stored(call: SqlCall, chars: int) -> list[str]:
        return ["é" * chars]

    return [
        tool(name="plain", description="Say much.", scope="w:w")(plain),
        tool(name="stored", description="Say much.", scope="w:w")(stored),
    ]


@pytest_asyncio.fixture
async def rig(database_url: str) -> AsyncIterator[Rig]:
    async with opened(database_url, *tools(), max_result_bytes=LIMIT) as made:
        yield made


def file_in(result: str) -> str:
    remark = result.rpartition("\n")[2]
    assert remark.startswith("[cut: the first ")
    return remark.removesuffix("]").rpartition(" ")[2]


async def read(rig: Rig, id_: str, **claims: Any) -> Any:
    headers = {"authorization": f"Bearer {rig.token(**claims)}"}
    return await rig.http.get(f"/files/{id_}", headers=headers)


@pytest.mark.stores
@pytest.mark.asyncio
class TestSizes:
    """Two characters of a JSON string are its quotes."""

    @pytest.mark.parametrize(
        ("size", "kept"), [(KIB_256, False), (KIB_256 + 1, True), (MIB_10, True)]
    )
    async def test_up_to_the_limit_it_is_given_whole_and_above_cut(
        self, rig: Rig, size: int, kept: bool
    ) -> None:
        result = await rig.result("plain", {"chars": size - 2})
        if not kept:
            assert result == "x" * (size - 2)
            assert await rig.sql("SELECT FROM files") == []
            return
        assert len(orjson.dumps(result)) <= LIMIT
        assert result.startswith("x" * (LIMIT * 3 // 4))
        assert f" of {size - 2:,} bytes are shown" in result
        whole = await read(rig, file_in(result))
        assert whole.status_code == 200
        assert whole.text == "x" * (size - 2)
        assert whole.headers["content-type"] == "text/plain; charset=utf-8"
        (row,) = await rig.sql("SELECT * FROM files")
        assert (row.size, row.sha256) == (size - 2, sha256(whole.content).digest())

    async def test_over_ten_mebibytes_it_is_an_error(self, rig: Rig) -> None:
        status, error = await rig.refusal("plain", {"chars": MIB_10 - 1})
        assert (status, error["code"]) == (500, "tool_result_too_large")
        assert await rig.sql("SELECT FROM files") == []


@pytest.mark.stores
@pytest.mark.asyncio
async def test_what_is_no_text_is_kept_and_cut_as_json(rig: Rig) -> None:
    result = await rig.result("stored", {"chars": LIMIT})
    assert isinstance(result, str)
    assert result.startswith('["éé')
    whole = await read(rig, file_in(result))
    assert whole.headers["content-type"] == "application/json"
    assert whole.json() == ["é" * LIMIT]


@pytest.mark.stores
@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["plain", "stored"])
async def test_every_repeat_gets_the_identical_text(rig: Rig, name: str) -> None:
    answers = [await rig.call(name, {"chars": LIMIT}, call_id="call_x") for _ in range(3)]
    assert len({answer.text for answer in answers}) == 1
    assert len(await rig.sql("SELECT FROM files")) == 1


@pytest.mark.stores
@pytest.mark.asyncio
async def test_nobody_else_reads_it_than_runs_of_its_thread(rig: Rig) -> None:
    id_ = file_in(await rig.result("plain", {"chars": LIMIT}))
    other = await rig.add_person("eve@example.com")
    theirs = {name: getattr(other, name) for name in ("run", "root", "thread", "user")}
    assert (await read(rig, id_, **theirs)).status_code == 404
    next_run = uuid7()
    await rig.sql(
        "INSERT INTO runs (id, public_id, user_id, thread_id, root_id, agent, status, ready,"
        " priority, input, input_digest, fence, commits) SELECT :run, 'run_2', user_id,"
        " thread_id, :run, agent, 'running', true, 0, '{}', '', fence, 0 FROM runs"
        " WHERE id = :old",
        run=next_run,
        old=rig.claims.run,
    )
    assert (await read(rig, id_, run=next_run, root=next_run)).status_code == 200
    for unknown in (file_id(uuid7()), "file_x", id_.removeprefix("file_"), id_.upper()):
        assert (await read(rig, unknown)).status_code == 404
    assert (await rig.http.get(f"/files/{id_}")).status_code == 401
    for claims in (theirs | {"root": rig.claims.root}, {"fence": 9}, {"user": other.user}):
        assert (await read(rig, id_, **claims)).json()["error"]["code"] == "fenced"
    await rig.sql("UPDATE runs SET status = 'finished'")
    assert (await read(rig, id_)).json()["error"]["code"] == "fenced"


@pytest.mark.stores
@pytest.mark.asyncio
@pytest.mark.parametrize("whose", ["threads", "users"])
async def test_it_goes_with_its_thread_and_with_its_owner(rig: Rig, whose: str) -> None:
    await rig.result("plain", {"chars": LIMIT})
    await rig.sql(f"DELETE FROM {whose}")
    assert await rig.sql("SELECT FROM files") == []


@pytest.mark.stores
@pytest.mark.asyncio
async def test_an_executor_that_was_overtaken_leaves_no_file(database_url: str) -> None:
    world = World()

    async def overtaken(call: ToolCall) -> str:
        async with call.engine.begin() as connection:
            settled = "UPDATE effects SET status = 'done', result = '\"by hand\"'"
            await connection.exec_driver_sql(settled)
        return "x" * LIMIT

    slow = tool(name="slow", description="Be slow.", scope="w:w")(overtaken)
    async with opened(database_url, slow, *world.tools()) as rig:
        assert await rig.result("slow") == "by hand"
        assert await rig.sql("SELECT FROM files") == []


@pytest.mark.parametrize("character", ["x", "é", "€", "𝄞", '"', "\\", "\n", "\x01"])
@pytest.mark.parametrize("most", [1024, 4096, 4097, 4098, 4099])
def test_a_cut_falls_between_characters_and_keeps_to_its_size(character: str, most: int) -> None:
    text = character * most
    file = NewFile(media_type="text/plain", content=text.encode())
    result = cut(file, most=most)
    assert len(result.encode()) <= most
    shown, _, remark = orjson.loads(result).rpartition("\n[cut: ")
    assert text.startswith(shown)
    assert shown
    assert f"the first {len(shown.encode()):,} of {len(text.encode()):,} bytes" in remark
    assert file_key(file_in(orjson.loads(result))) == file.id
    assert cut(file, most=most) == result


def test_an_outcome_shows_no_content() -> None:
    file = NewFile(media_type="text/plain", content=b"secret")
    assert "secret" not in repr(Outcome(result='""', files=(file,)))


@pytest.mark.stores
@pytest.mark.asyncio
async def test_a_run_reads_what_its_owner_has_sent_in_its_thread_and_nothing_else(
    rig: Rig,
) -> None:
    other = await rig.add_person("eve@example.com")
    mine, claims = rig.claims.user, rig.claims
    for user, thread, status in (
        (mine, claims.thread, 200),
        (mine, None, 404),
        (other.user, claims.thread, 404),
        (mine, other.thread, 404),
    ):
        key = uuid7()
        await rig.sql(
            "INSERT INTO files (id, user_id, thread_id, media_type, size, sha256, content)"
            " VALUES (:key, :user, :thread, 'text/plain', 4, '', CAST('milk' AS bytea))",
            key=key,
            user=user,
            thread=thread,
        )
        assert (await read(rig, file_id(key))).status_code == status
