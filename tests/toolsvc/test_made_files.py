"""Files that tools and agents make: the person's, once each, and gone with what failed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from shared.media import MAX_FILE_BYTES
from shared.web.files import LINK
from tests.toolsvc.tool_rig import Rig, opened
from toolsvc.files import MOST_FILES, MadeFiles
from toolsvc.tool import SqlCall, Tool, ToolCall, ToolError, tool

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


def tools() -> list[Tool]:
    async def report(call: ToolCall, rows: int) -> dict[str, Any]:
        text = "a,b\n" * rows
        return {"report": call.files.put("report.csv", text), "rows": rows}

    async def stored(call: SqlCall) -> str:
        return call.files.put("../n[o]te.txt", b"hello")

    async def failing(call: ToolCall) -> str:
        call.files.put("a.txt", "x")
        raise ToolError("no_luck", "It did not work.")

    async def empty(call: ToolCall) -> str:
        return call.files.put("a.txt", "")

    made = (report, stored, failing, empty)
    return [tool(name=one.__name__, description="Make it.", scope="w:w")(one) for one in made]


@pytest_asyncio.fixture
async def rig(database_url: str) -> AsyncIterator[Rig]:
    async with opened(database_url, *tools()) as made:
        yield made


async def read(rig: Rig, id_: str) -> Any:
    return await rig.http.get(f"/files/{id_}", headers={"authorization": f"Bearer {rig.token()}"})


async def put(
    rig: Rig, content: bytes, name: str = "a.txt", scope: str = "A", **claims: Any
) -> Any:
    headers = {"authorization": f"Bearer {rig.token(**claims)}", "baton-scope": scope}
    named = {"baton-name": quote(name, safe="")} if name else {}
    return await rig.http.post("/files", content=content, headers=headers | named)


async def test_a_tool_gives_the_person_a_file_once_however_often_it_is_called(rig: Rig) -> None:
    answers = await asyncio.gather(
        *(rig.call("report", {"rows": 2}, call_id="call_1") for _ in range(3))
    )
    (text,) = {answer.text for answer in answers}
    ((name, id_),) = LINK.findall(text)
    assert name == "report.csv"
    whole = await read(rig, id_)
    assert (whole.content, whole.headers["content-type"]) == (
        b"a,b\na,b\n",
        "text/csv; charset=utf-8",
    )
    (row,) = await rig.sql("SELECT name, thread_id, root_id, user_id FROM files")
    assert tuple(row) == ("report.csv", rig.claims.thread, rig.claims.root, rig.claims.user)


async def test_a_tool_inside_of_a_transaction_does_too_and_names_are_made_harmless(
    rig: Rig,
) -> None:
    ((name, id_),) = LINK.findall(await rig.result("stored", {}))
    assert name == "note.txt"
    assert (await read(rig, id_)).content == b"hello"


@pytest.mark.parametrize("name", ["failing", "empty"])
async def test_a_call_that_fails_leaves_no_file(rig: Rig, name: str) -> None:
    await rig.refusal(name, {})
    assert await rig.sql("SELECT FROM files") == []


async def test_a_call_makes_a_number_of_files_of_a_size() -> None:
    files = MadeFiles()
    for name, content in (("", b"x"), ("/", b"x"), ("a", b""), ("a", b"x" * (MAX_FILE_BYTES + 1))):
        with pytest.raises(ValueError, match="file"):
            files.put(name, content)
    assert files.made == []
    for number in range(MOST_FILES):
        files.put(f"{number}", b"x")
    with pytest.raises(ValueError, match="at most"):
        files.put("one more", b"x")


async def test_code_of_a_run_keeps_one_file_however_often_it_is_repeated(rig: Rig) -> None:
    again = [(await put(rig, b"hello", "grüße.txt")).json() for _ in range(3)]
    assert again[0] == again[1] == again[2]
    assert again[0]["link"] == f"[grüße.txt](/api/files/{again[0]['id']})"
    for content, name, scope in (
        (b"other", "grüße.txt", "A"),
        (b"hello", "b", "A"),
        (b"hello", "grüße.txt", "B"),
    ):
        assert (await put(rig, content, name, scope)).json()["id"] != again[0]["id"]
    assert len(await rig.sql("SELECT FROM files")) == 4
    assert (await read(rig, again[0]["id"])).content == b"hello"


async def test_what_is_no_file_of_a_run_is_refused_and_not_kept(rig: Rig) -> None:
    for answer, code in (
        (await put(rig, b""), "bad_input"),
        (await put(rig, b"x", name=""), "bad_input"),
        (await put(rig, b"x", name="/"), "bad_input"),
        (await put(rig, b"x", name="x" * 3000), "bad_input"),
        (await put(rig, b"x" * (MAX_FILE_BYTES + 1)), "too_large"),
        (await put(rig, b"x", fence=9), "fenced"),
        (await rig.http.post("/files", content=b"x"), "not_signed_in"),
    ):
        assert answer.json()["error"]["code"] == code, answer.text
    assert await rig.sql("SELECT FROM files") == []
