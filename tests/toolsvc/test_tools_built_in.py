"""The built-in tools: profile, time, notes, echo."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
import pytest_asyncio

from shared.tokens import mint_run_token
from tests.toolsvc.tool_rig import TOKEN_KEY, Rig, opened

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


@pytest_asyncio.fixture
async def rig(database_url: str) -> AsyncIterator[Rig]:
    async with opened(database_url) as made:
        yield made


async def test_the_context_is_the_tokens(rig: Rig) -> None:
    assert await rig.result("echo_context", {"text": "hi"}) == {
        "text": "hi",
        "run_id": "run_1",
        "thread_id": "thr_1",
        "user_id": str(rig.claims.user),
        "project_id": str(rig.claims.project),
        "agent": "Assistant",
        "scopes": list(rig.claims.scopes),
    }


async def test_only_given_fields_of_the_profile_change(rig: Rig) -> None:
    empty = {"email": "ada@example.com"} | dict.fromkeys(
        ("display_name", "locale", "time_zone", "about")
    )
    assert await rig.result("get_profile") == empty
    changed = empty | {"display_name": "Ada", "locale": "en-GB"}
    assert (
        await rig.result("update_profile", {"display_name": " Ada\n", "locale": "en-GB"}) == changed
    )
    zone = {"display_name": None, "locale": None, "time_zone": "Europe/London", "about": None}
    assert await rig.result("update_profile", zone) == changed | {"time_zone": "Europe/London"}
    cleared = await rig.result("update_profile", {"display_name": "", "time_zone": ""})
    assert cleared == empty | {"locale": "en-GB"}
    assert await rig.result("update_profile", {}) == cleared


PROFILES: list[tuple[str, str]] = [
    *[("time_zone", zone) for zone in ("Mars/Base", "Europe", "../etc/passwd", "/etc/localtime")],
    *[("time_zone", zone) for zone in (" UTC", "Europe/Berlin\n", "CET ")],
    *[("locale", locale) for locale in ("e", "english", "en_GB", "en-", "en-GB ", "ä-GB")],
    *[("display_name", name) for name in ("A\x07", "A\u202eB")],
]


@pytest.mark.parametrize(("field", "value"), PROFILES, ids=repr)
async def test_a_profile_takes_no_nonsense(rig: Rig, field: str, value: str) -> None:
    status, error = await rig.refusal("update_profile", {field: value})
    assert (status, error["code"], error["onError"]) == (422, "bad_input", "model")
    assert field in error["message"]


async def test_the_time_is_the_users(rig: Rig) -> None:
    utc = await rig.result("current_time")
    assert utc["time_zone"] == "UTC"
    await rig.result("update_profile", {"time_zone": "Asia/Tokyo"})
    for arguments, zone, hours in (({}, "Asia/Tokyo", 9), ({"time_zone": "UTC"}, "UTC", 0)):
        told = await rig.result("current_time", arguments)
        local = datetime.fromisoformat(told["local"])
        assert (told["time_zone"], local.utcoffset()) == (zone, timedelta(hours=hours))
        assert local == datetime.fromisoformat(told["utc"])
        assert told["weekday"] == f"{local:%A}"
    assert (await rig.refusal("current_time", {"time_zone": "Mars/Base"}))[0] == 422


async def test_notes_are_found_by_words_then_by_parts_newest_first(rig: Rig) -> None:
    for body in ("buy milk", "Milk the cow", "100% wool_socks", "café in Zürich"):
        await rig.result("save_note", {"text": body})

    async def found(query: str | None, limit: int | None = None) -> list[str]:
        result = await rig.result("search_notes", {"query": query, "limit": limit})
        return [note["text"] for note in result["notes"]]

    assert await found("milk") == ["Milk the cow", "buy milk"]
    assert await found("milk cow") == ["Milk the cow"]
    assert await found("mil") == ["Milk the cow", "buy milk"]
    assert await found("100%") == ["100% wool_socks"]
    assert await found("%") == ["100% wool_socks"]
    assert await found("l_s") == ["100% wool_socks"]
    assert await found("\\") == []
    assert await found("züri") == ["café in Zürich"]
    assert await found("'; DROP TABLE notes; --") == []
    assert await found(None, 2) == ["café in Zürich", "100% wool_socks"]
    assert len(await found("")) == 4


async def test_a_note_is_its_owners_alone(rig: Rig) -> None:
    mine = await rig.result("save_note", {"text": "my secret"})
    other = mint_run_token(TOKEN_KEY, await rig.add_person("eve@example.com"))
    assert await rig.result("search_notes", {"query": "secret"}, token=other) == {"notes": []}
    refusals = [
        await rig.refusal("delete_note", {"id": mine["id"]}, token=other),
        await rig.refusal("delete_note", {"id": "00000000-0000-7000-8000-000000000000"}),
    ]
    for status, error in refusals:
        assert (status, error["code"], error["onError"]) == (404, "not_found", "model")
    assert await rig.result("delete_note", {"id": mine["id"]}) == {"deleted": mine["id"]}
    assert (await rig.refusal("delete_note", {"id": mine["id"]}))[0] == 404


async def test_many_different_calls_at_once_all_take_effect(rig: Rig) -> None:
    saved = await asyncio.gather(
        *(rig.result("save_note", {"text": f"note {number}"}) for number in range(20))
    )
    assert len({note["id"] for note in saved}) == 20
