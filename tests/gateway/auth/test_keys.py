"""API keys, the operator key, and how sockets and long-lived connections are known."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import httpx
import pytest
from starlette.requests import HTTPConnection

from gateway.auth.authenticate import authenticate, authenticate_socket, still_valid
from gateway.auth.caller import Caller, How
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.settings import GatewaySettings
from tests.gateway.rig import OPERATOR_KEY, Rig, code_of, opened_rig, wait_until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


async def with_key(rig: Rig, key: str) -> httpx.AsyncClient:
    return await rig.client(headers={"authorization": f"Bearer {key}"})


async def test_a_key_is_shown_once_and_kept_as_a_hash(rig: Rig, ada: httpx.AsyncClient) -> None:
    made = (await ada.post("/api/keys", json={"name": "laptop", "expiresInDays": 30})).json()
    key = made.pop("key")
    assert key.startswith("bt_")
    assert len(key) >= 46
    assert (made["name"], made["email"]) == ("laptop", "ada@example.com")
    assert key.startswith(made["shown"])
    assert bytes(await rig.value("SELECT key_hash FROM api_keys")) == sha256(key.encode()).digest()
    listed = await ada.get("/api/keys")
    assert listed.json()["data"] == [made]
    assert key not in listed.text
    me = (await (await with_key(rig, key)).get("/api/me")).json()
    assert me["email"] == "ada@example.com"


async def test_a_key_may_cancel_what_its_callers_leave(rig: Rig, ada: httpx.AsyncClient) -> None:
    for wish in ({}, {"cancelOnDisconnect": True}):
        made = (await ada.post("/api/keys", json=wish)).json()
        assert made["cancelOnDisconnect"] is bool(wish)
    listed = (await ada.get("/api/keys")).json()["data"]
    assert [one["cancelOnDisconnect"] for one in listed] == [True, False]
    assert code_of(await ada.post("/api/keys", json={"cancelOnDisconnect": "yes"})) == "bad_input"


async def test_its_use_is_noted(rig: Rig, ada: httpx.AsyncClient) -> None:
    key = (await ada.post("/api/keys", json={})).json()["key"]
    await (await with_key(rig, key)).get("/api/me")

    async def noted() -> Any:
        return await rig.value("SELECT used_at FROM api_keys")

    await wait_until(noted)


async def test_a_revoked_or_expired_key_ends_at_once(rig: Rig, ada: httpx.AsyncClient) -> None:
    made = (await ada.post("/api/keys", json={})).json()
    client = await with_key(rig, made["key"])
    assert (await client.get("/api/me")).status_code == 200
    assert (await ada.delete(f"/api/keys/{made['id']}")).status_code == 204
    assert (await client.get("/api/me")).status_code == 401
    other = (await ada.post("/api/keys", json={"expiresInDays": 1})).json()
    await rig.sql("UPDATE api_keys SET expires_at = now() WHERE revoked_at IS NULL")
    assert (await (await with_key(rig, other["key"])).get("/api/me")).status_code == 401


async def test_a_key_makes_no_key_that_outlives_it(rig: Rig, ada: httpx.AsyncClient) -> None:
    key = (await ada.post("/api/keys", json={"expiresInDays": 1})).json()["key"]
    client = await with_key(rig, key)
    for wish in ({}, {"expiresInDays": 30}):
        ends = (await client.post("/api/keys", json=wish)).json()["expiresAt"]
        assert datetime.fromisoformat(ends) < datetime.now(UTC) + timedelta(days=1.1)


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer bt_",
        "Bearer bt_" + "x" * 43,
        "Bearer bt_" + "x" * 5000,
        "Bearer é",
        "Basic dXNlcjpwYXNz",
        "bt_" + "x" * 43,
        "",
    ],
)
async def test_a_bad_bearer_is_nobody_even_with_a_good_cookie(
    ada: httpx.AsyncClient, header: str
) -> None:
    answer = await ada.get("/api/me", headers={b"authorization": header.encode()})
    assert (answer.status_code, code_of(answer)) == (401, "not_signed_in")
    is_about_a_key = header.startswith("Bearer ") and header.strip() != "Bearer"
    assert ("This key is not valid" in answer.json()["error"]["message"]) == is_about_a_key


async def test_keys_of_others_are_unknown(ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    made = (await ada.post("/api/keys", json={})).json()
    foreign = await bob.delete(f"/api/keys/{made['id']}")
    unknown = await bob.delete("/api/keys/01993b7c-5d5e-7c0f-8a51-c6f7b1f2a3d4")
    malformed = await bob.delete("/api/keys/x")
    for answer in (foreign, unknown, malformed):
        assert (answer.status_code, code_of(answer)) == (404, "not_found")
    assert (await bob.get("/api/keys")).json()["data"] == []
    assert (await bob.get("/api/keys?everybody=true")).status_code == 403
    answer = await bob.post("/api/keys", json={"email": "ada@example.com"})
    assert (answer.status_code, code_of(answer)) == (403, "forbidden")


async def test_the_operator_makes_keys_for_anybody(settings: GatewaySettings) -> None:
    async with opened_rig(settings.model_copy(update={"dev_mode": False})) as rig:
        operator = await rig.operator()
        me = (await operator.get("/api/me")).json()
        assert (me["email"], me["admin"]) == ("operator@localhost", True)
        made = (await operator.post("/api/keys", json={"email": "Eve@example.com"})).json()
        client = await with_key(rig, made["key"])
        eve = (await client.get("/api/me")).json()
        assert (eve["email"], eve["admin"]) == ("eve@example.com", False)
        assert (await operator.delete(f"/api/keys/{made['id']}")).status_code == 204
        everybody = await operator.get("/api/keys?everybody=true")
        assert len(everybody.json()["data"]) == 1


async def test_an_admin_makes_keys_for_whoever_may_sign_in(settings: GatewaySettings) -> None:
    there = settings.model_copy(
        update={
            "dev_mode": False,
            "allowed_emails": ("example.com", "one@other.example"),
            "admin_emails": ("root@example.com",),
        }
    )
    async with opened_rig(there) as rig:
        operator = await rig.operator()
        key = (await operator.post("/api/keys", json={"email": "root@example.com"})).json()["key"]
        admin = await with_key(rig, key)
        for email, status in (
            ("ada@example.com", 201),
            ("one@other.example", 201),
            ("two@other.example", 403),
            ("x@notexample.com", 403),
            ("Operator@localhost", 403),
        ):
            assert (await admin.post("/api/keys", json={"email": email})).status_code == status


async def test_without_an_operator_key_there_is_no_operator(settings: GatewaySettings) -> None:
    async with opened_rig(settings.model_copy(update={"operator_key": None})) as rig:
        assert (await (await rig.operator()).get("/api/me")).status_code == 401


def socket(*protocols: str, **headers: str) -> HTTPConnection:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    raw.append((b"host", b"localhost:8000"))
    return HTTPConnection(
        {"type": "websocket", "scheme": "ws", "headers": raw, "subprotocols": list(protocols)}
    )


async def test_how_sockets_are_known(rig: Rig, ada: httpx.AsyncClient) -> None:
    key = (await ada.post("/api/keys", json={})).json()["key"]
    cookie = f"baton_sign_in={ada.cookies['baton_sign_in']}"
    own, foreign = "http://localhost:8000", "http://localhost:3000"
    signed_in, forbidden = Code.NOT_SIGNED_IN, Code.FORBIDDEN
    cases: list[tuple[HTTPConnection, How | Code]] = [
        (socket("baton.v1", origin=own, cookie=cookie), How.SIGN_IN),
        (socket("baton.v1", f"bearer.{key}", origin=own), How.KEY),
        (socket("baton.v1", f"bearer.{key}"), How.KEY),
        (socket("baton.v1", authorization=f"Bearer {key}"), How.KEY),
        (socket("baton.v1", f"bearer.{OPERATOR_KEY}"), How.OPERATOR),
        (socket("baton.v1", cookie=cookie), signed_in),
        (socket("baton.v1", origin=own), signed_in),
        (socket("baton.v1", "bearer.", origin=own, cookie=cookie), signed_in),
        (socket("baton.v1", "bearer.bt_no", origin=own, cookie=cookie), signed_in),
        (socket("baton.v1", origin=foreign, cookie=cookie), forbidden),
        (socket("baton.v1", f"bearer.{key}", origin=foreign), forbidden),
    ]
    for connection, expected in cases:
        found: How | Code
        try:
            found = (await authenticate_socket(rig.services, connection)).how
        except BatonError as error:
            found = error.code
        assert found is expected, connection.scope


async def test_one_query_says_which_credentials_still_count(rig: Rig) -> None:
    callers: dict[str, Caller] = {}
    for name in ("ada", "bob", "eve"):
        client = await rig.sign_in(f"{name}@example.com")
        cookie = f"baton_sign_in={client.cookies['baton_sign_in']}"
        callers[name] = await authenticate_socket(
            rig.services, socket(origin="http://localhost:8000", cookie=cookie)
        )
        if name == "eve":
            key = (await client.post("/api/keys", json={})).json()["key"]
            callers["key"] = await authenticate(rig.services, socket(authorization=f"Bearer {key}"))
        if name == "bob":
            await client.post("/auth/logout")
    callers["operator"] = await authenticate(
        rig.services, socket(authorization=f"Bearer {OPERATOR_KEY}")
    )
    valid = await still_valid(rig.services.db, callers.values())
    alive = {name for name, caller in callers.items() if caller.credential in valid}
    assert alive == {"ada", "eve", "key", "operator"}
    await rig.sql("UPDATE api_keys SET revoked_at = now()")
    await rig.sql("UPDATE sign_ins SET expires_at = now()")
    valid = await still_valid(rig.services.db, callers.values())
    assert valid == {callers["operator"].credential}
    assert await still_valid(rig.services.db, []) == frozenset()
