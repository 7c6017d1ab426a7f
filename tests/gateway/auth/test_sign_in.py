"""Signing in and out, in dev mode and by invitation."""

from hashlib import sha256

import httpx
import pytest

from shared.settings import GatewaySettings
from tests.gateway.rig import HOST, Rig, code_of, opened_rig

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


async def test_a_sign_in_is_an_opaque_cookie_of_which_sql_has_the_hash(rig: Rig) -> None:
    client = await rig.client()
    answer = await client.post("/auth/dev-login", json={"email": " Ada@Example.COM "})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("baton_sign_in=")
    assert all(part in cookie for part in ("HttpOnly", "SameSite=lax", "Path=/"))
    secret = client.cookies["baton_sign_in"]
    assert len(secret) >= 43
    stored = await rig.value("SELECT id_hash FROM sign_ins")
    assert bytes(stored) == sha256(secret.encode()).digest()
    me = (await client.get("/auth/me")).json()
    assert (me["email"], me["admin"]) == ("ada@example.com", False)
    assert (await client.get("/api/me")).json() == me


async def test_over_https_the_cookie_is_bound_to_the_host(settings: GatewaySettings) -> None:
    there = settings.model_copy(update={"public_url": "https://dev.example"})
    async with opened_rig(there) as rig:
        client = await rig.client(headers={"host": "dev.example"})
        answer = await client.post("/auth/dev-login", json={"email": "ada@example.com"})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-baton_sign_in=")
    assert "Secure" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie


async def test_signing_in_again_ends_the_sign_in_before(rig: Rig) -> None:
    client = await rig.sign_in("ada@example.com")
    before = client.cookies["baton_sign_in"]
    await client.post("/auth/dev-login", json={"email": "ada@example.com"})
    assert client.cookies["baton_sign_in"] != before
    old = await rig.client(cookies={"baton_sign_in": before})
    assert code_of(await old.get("/api/me")) == "not_signed_in"


async def test_signing_out_ends_the_sign_in_everywhere(rig: Rig, ada: httpx.AsyncClient) -> None:
    copied = await rig.client(cookies=dict(ada.cookies))
    assert (await ada.post("/auth/logout")).status_code == 204
    for client in (ada, copied):
        answer = await client.get("/api/me")
        assert (answer.status_code, code_of(answer)) == (401, "not_signed_in")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert (await ada.post("/auth/logout")).status_code == 204


async def test_a_sign_in_expires(rig: Rig, ada: httpx.AsyncClient) -> None:
    await rig.sql("UPDATE sign_ins SET expires_at = now()")
    assert (await ada.get("/api/me")).status_code == 401


@pytest.mark.parametrize("value", ["", "x", "x" * 5000, "%00", "é", "' OR 1=1 --"])
async def test_a_made_up_cookie_is_nobody(rig: Rig, value: str) -> None:
    client = await rig.client(headers={"cookie": f"baton_sign_in={value}".encode()})
    assert (await client.get("/api/me")).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": ""},
        {"email": "nobody"},
        {"email": 1},
        {"email": None},
        {"email": "a@b@c"},
        {"email": "a b@example.com"},
        {"email": "x" * 300 + "@example.com"},
        {"email": "ada@example.com", "admin": True},
        [],
        "ada@example.com",
    ],
)
async def test_a_wrong_address_is_refused(rig: Rig, body: object) -> None:
    answer = await (await rig.client()).post("/auth/dev-login", json=body)
    assert (answer.status_code, code_of(answer)) == (422, "bad_input")


async def test_outside_dev_mode_there_is_no_dev_sign_in(settings: GatewaySettings) -> None:
    async with opened_rig(settings.model_copy(update={"dev_mode": False})) as rig:
        client = await rig.client()
        answer = await client.post("/auth/dev-login", json={"email": "ada@example.com"})
        unknown = await client.post("/auth/nothing", json={})
        assert (answer.status_code, code_of(answer)) == (404, "not_found")
        assert answer.json()["error"]["message"] == unknown.json()["error"]["message"]
        ways = {"dev": False, "issuer": False, "issuerName": None}
        assert (await client.get("/auth/ways")).json() == ways
        assert "/auth/dev-login" not in (await client.get("/openapi.json")).json()["paths"]


async def test_a_page_whose_name_was_pointed_at_us_cannot_sign_in(rig: Rig) -> None:
    client = await rig.client(headers={"host": "evil.example:8000"})
    answer = await client.post("/auth/dev-login", json={"email": "ada@example.com"})
    assert (answer.status_code, code_of(answer)) == (403, "forbidden")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/auth/logout", None),
        ("POST", "/auth/dev-login", {"email": "ada@example.com"}),
        ("POST", "/auth/invite", {"token": "x"}),
        ("POST", "/api/threads", {"agent": "Assistant"}),
        ("PATCH", "/api/threads/thr_1", {"title": "x"}),
        ("DELETE", "/api/threads/thr_1", None),
        ("POST", "/api/threads/thr_1/runs", {"input": {"messages": []}}),
        ("POST", "/api/runs/run_1/cancel", None),
        ("POST", "/api/keys", {}),
        ("DELETE", "/api/keys/x", None),
        ("POST", "/api/invites", {"email": "bob@example.com"}),
    ],
)
async def test_pages_of_other_sites_change_nothing(
    ada: httpx.AsyncClient, method: str, path: str, body: object
) -> None:
    for headers in ({"origin": "http://localhost:3000"}, {"sec-fetch-site": "cross-site"}):
        answer = await ada.request(method, path, json=body, headers=headers)
        assert (answer.status_code, code_of(answer)) == (403, "forbidden")
    assert (await ada.get("/api/me", headers={"origin": "http://evil.example"})).status_code == 200


async def test_a_key_needs_no_origin(rig: Rig) -> None:
    operator = await rig.operator()
    answer = await operator.post("/api/keys", json={}, headers={"origin": "http://evil.example"})
    assert answer.status_code == 201


async def test_admins_are_named_by_the_settings(settings: GatewaySettings) -> None:
    there = settings.model_copy(update={"admin_emails": ("Ada@Example.com",)})
    async with opened_rig(there) as rig:
        ada, bob = await rig.sign_in("ada@example.com"), await rig.sign_in("bob@example.com")
        assert (await ada.get("/api/me")).json()["admin"] is True
        assert (await bob.get("/api/me")).json()["admin"] is False
        answer = await bob.post("/api/invites", json={"email": "eve@example.com"})
        assert (answer.status_code, code_of(answer)) == (403, "forbidden")


async def test_who_leaves_the_list_of_admins_is_none_any_more(settings: GatewaySettings) -> None:
    there = settings.model_copy(update={"admin_emails": ("ada@example.com",)})
    async with opened_rig(there) as rig:
        cookies = dict((await rig.sign_in("ada@example.com")).cookies)
        key = (await (await rig.client(cookies=cookies)).post("/api/keys", json={})).json()["key"]
    async with opened_rig(settings) as rig:
        for client in (
            await rig.client(cookies=cookies),
            await rig.client(headers={"authorization": f"Bearer {key}"}),
            await rig.sign_in("ada@example.com"),
        ):
            assert (await client.get("/api/me")).json()["admin"] is False
            answer = await client.post("/api/invites", json={"email": "eve@example.com"})
            assert (answer.status_code, code_of(answer)) == (403, "forbidden")


async def test_who_may_not_sign_in_any_more_is_signed_out(settings: GatewaySettings) -> None:
    closed = settings.model_copy(update={"dev_mode": False})
    async with opened_rig(settings) as rig:
        people = {
            name: dict((await rig.sign_in(f"{name}@{name}.example")).cookies)
            for name in ("listed", "admin", "invited", "other")
        }
        operator = await rig.operator()
        answer = await operator.post("/api/invites", json={"email": "invited@invited.example"})
        assert answer.status_code == 201
    there = closed.model_copy(
        update={"allowed_emails": ("listed.example",), "admin_emails": ("admin@admin.example",)}
    )
    async with opened_rig(there) as rig:
        found = {
            name: (await (await rig.client(cookies=cookies)).get("/api/me")).status_code
            for name, cookies in people.items()
        }
        assert found == {"listed": 200, "admin": 200, "invited": 200, "other": 401}
        answer = await (await rig.client(cookies=people["other"])).get("/api/me")
        assert (code_of(answer), "any more" in answer.text) == ("not_signed_in", True)
        await rig.sql("DELETE FROM invites")
        invited = await rig.client(cookies=people["invited"])
        assert (await invited.get("/api/me")).status_code == 401


async def test_nobody_signs_in_as_the_operator(settings: GatewaySettings) -> None:
    there = settings.model_copy(update={"admin_emails": ("ada@example.com", "operator@localhost")})
    async with opened_rig(there) as rig:
        ada = await rig.sign_in("ada@example.com")
        asked = {"email": " Operator@LOCALHOST"}
        for answer in (
            await (await rig.client()).post("/auth/dev-login", json=asked),
            await ada.post("/api/invites", json=asked),
            await ada.post("/api/keys", json=asked),
        ):
            assert (answer.status_code, code_of(answer)) == (403, "forbidden")
            assert "operator@localhost is the operator's own account" in answer.text


async def test_an_old_way_in_as_the_operator_is_closed(rig: Rig, ada: httpx.AsyncClient) -> None:
    """An invitation and a sign-in from before the address was refused."""
    operator = await rig.operator()
    await operator.get("/api/me")
    url = (await operator.post("/api/invites", json={"email": "eve@example.com"})).json()["url"]
    await rig.sql("UPDATE invites SET email = 'operator@localhost'")
    answer = await (await rig.client()).post("/auth/invite", json={"token": url.partition("#")[2]})
    assert (answer.status_code, code_of(answer)) == (403, "forbidden")
    await rig.sql(
        "UPDATE sign_ins SET user_id = (SELECT id FROM users WHERE email = 'operator@localhost')"
    )
    assert (await ada.get("/api/me")).status_code == 401


async def test_an_invitation_signs_one_person_in_once(settings: GatewaySettings) -> None:
    async with opened_rig(settings.model_copy(update={"dev_mode": False})) as rig:
        made = await (await rig.operator()).post("/api/invites", json={"email": "Eve@example.com"})
        assert made.status_code == 201
        link, token = made.json()["url"].split("#")
        assert link == f"{HOST}/auth/invite"
        client = await rig.client()
        page = await client.get(link)
        assert "<button>" in page.text
        assert token not in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert await rig.value("SELECT count(*) FROM users WHERE email LIKE 'eve%'") == 0
        answer = await client.post("/auth/invite", json={"token": token})
        assert answer.json()["email"] == "eve@example.com"
        assert (await client.get("/api/me")).status_code == 200
        again = await (await rig.client()).post("/auth/invite", json={"token": token})
        assert (again.status_code, code_of(again)) == (404, "not_found")
        stored = await rig.value("SELECT token_hash FROM invites")
        assert bytes(stored) == sha256(token.encode()).digest()


async def test_an_old_invitation_is_used_up(settings: GatewaySettings) -> None:
    async with opened_rig(settings) as rig:
        made = await (await rig.operator()).post("/api/invites", json={"email": "eve@example.com"})
        await rig.sql("UPDATE invites SET expires_at = now()")
        token = made.json()["url"].split("#")[1]
        answer = await (await rig.client()).post("/auth/invite", json={"token": token})
        assert answer.status_code == 404
