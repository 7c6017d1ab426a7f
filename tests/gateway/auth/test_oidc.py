"""Signing in at an issuer, against one that listens on a real port."""

from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio
from joserfc.jwk import RSAKey

from shared.settings import GatewaySettings
from stack.program import free_port
from tests.gateway.auth.fake_issuer import CLIENT, SECRET, FakeIssuer, running_issuer
from tests.gateway.rig import HOST, Rig, gateway_settings, opened_rig

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


@pytest.fixture(scope="module")
def running() -> Iterator[FakeIssuer]:
    with running_issuer(free_port()) as issuer:
        yield issuer


@pytest.fixture
def issuer(running: FakeIssuer) -> FakeIssuer:
    running.claims, running.forged, running.signs_with = {}, {}, running.key
    return running


@pytest.fixture
def settings(database_url: str, redis_url: str, issuer: FakeIssuer) -> GatewaySettings:
    return gateway_settings(
        database_url,
        redis_url,
        BATON_DEV_MODE=False,
        BATON_OIDC_ISSUER=issuer.url,
        GOOGLE_CLIENT_ID=CLIENT,
        GOOGLE_CLIENT_SECRET=SECRET,
        BATON_ALLOWED_EMAILS="example.com",
    )


@pytest_asyncio.fixture
async def client(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    yield await rig.client()


async def signed_in(client: httpx.AsyncClient, issuer: FakeIssuer) -> httpx.Response:
    """Go to the issuer and come back."""
    there = await client.get("/auth/login")
    assert there.status_code == 302, there.text
    return await client.get(issuer.approve(there.headers["location"]))


async def test_the_whole_way(client: httpx.AsyncClient, issuer: FakeIssuer, rig: Rig) -> None:
    there = await client.get("/auth/login")
    asked = parse_qs(urlsplit(there.headers["location"]).query)
    assert asked["redirect_uri"] == [f"{HOST}/auth/callback"]
    assert asked["code_challenge_method"] == ["S256"]
    assert {"state", "nonce", "code_challenge"} <= set(asked)
    state_cookie = there.headers["set-cookie"]
    assert "path=/auth" in state_cookie
    assert "httponly" in state_cookie
    back = await client.get(issuer.approve(there.headers["location"]))
    assert (back.status_code, back.headers["location"]) == (303, "/")
    assert (await client.get("/api/me")).json()["email"] == "ada@example.com"
    assert await rig.value("SELECT subject FROM users") == f"{issuer.url}|subject-1"
    assert "baton_sign_in_state" not in client.cookies
    ways = {"dev": False, "issuer": True, "issuerName": "127.0.0.1"}
    assert (await client.get("/auth/ways")).json() == ways


async def test_the_way_back_works_on_another_gateway(
    client: httpx.AsyncClient, issuer: FakeIssuer, settings: GatewaySettings
) -> None:
    there = await client.get("/auth/login")
    back = issuer.approve(there.headers["location"])
    async with opened_rig(settings) as other:
        there_too = await other.client(cookies=client.cookies)
        assert (await there_too.get(back)).status_code == 303


async def test_a_forged_state_or_a_second_use_signs_nobody_in(
    client: httpx.AsyncClient, issuer: FakeIssuer, rig: Rig
) -> None:
    there = await client.get("/auth/login")
    back = issuer.approve(there.headers["location"])
    stranger = await rig.client()
    assert (await stranger.get(back)).status_code == 400
    assert (await client.get(back.replace("state=", "state=x"))).status_code == 400
    for path in ("/auth/callback", "/auth/callback?error=access_denied", "/auth/callback?code=x"):
        answer = await client.get(path)
        assert answer.status_code == 400
        assert "Traceback" not in answer.text
    assert (await client.get("/api/me")).status_code == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"email_verified": False},
        {"email_verified": None},
        {"email": None},
        {"email": "not an address"},
        {"nonce": "another"},
        {"iss": "https://evil.example"},
        {"aud": "another-client"},
        {"aud": ["another-client", "third"], "azp": CLIENT},
        {"exp": 1_000_000_000},
        {"sub": None},
    ],
)
async def test_a_token_that_does_not_fit_signs_nobody_in(
    client: httpx.AsyncClient, issuer: FakeIssuer, rig: Rig, claims: dict[str, Any]
) -> None:
    issuer.forged = claims
    answer = await signed_in(client, issuer)
    assert answer.status_code in (400, 422), answer.text
    assert await rig.value("SELECT count(*) FROM users") == 0
    assert (await client.get("/api/me")).status_code == 401


async def test_a_token_signed_by_somebody_else_signs_nobody_in(
    client: httpx.AsyncClient, issuer: FakeIssuer
) -> None:
    issuer.signs_with = RSAKey.generate_key(2048, {"kid": "k1"})
    assert (await signed_in(client, issuer)).status_code == 400


async def test_whoever_is_not_on_the_list_is_told_so(
    client: httpx.AsyncClient, issuer: FakeIssuer, rig: Rig
) -> None:
    issuer.claims = {"email": "eve@elsewhere.example"}
    answer = await signed_in(client, issuer)
    assert answer.status_code == 403
    assert "may not sign in" in answer.text
    assert await rig.value("SELECT count(*) FROM users") == 0


async def test_another_subject_does_not_get_the_account(
    client: httpx.AsyncClient, issuer: FakeIssuer, rig: Rig
) -> None:
    await signed_in(client, issuer)
    issuer.claims = {"sub": "subject-2"}
    stranger = await rig.client()
    assert (await signed_in(stranger, issuer)).status_code == 403
    assert (await stranger.get("/api/me")).status_code == 401


async def test_an_issuer_that_is_not_there_is_said_in_words(settings: GatewaySettings) -> None:
    away = settings.model_copy(update={"oidc_issuer": f"http://127.0.0.1:{free_port()}"})
    async with opened_rig(away) as rig:
        answer = await (await rig.client()).get("/auth/login")
    assert answer.status_code == 502
    assert "cannot be reached" in answer.text
