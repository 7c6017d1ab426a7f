"""Run tokens against the attacks that python-jose alone would let pass, and against mistakes."""

import base64
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jose import jwe, jws, jwt

from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.ids import uuid7
from shared.tokens import (
    LEEWAY_S,
    MAX_TOKEN_CHARS,
    RENEWABLE_FOR_S,
    RunClaims,
    mint_run_token,
    renewed_run_token,
    verify_run_token,
)

KEY = "0Y-a-secret-of-the-tests-with-enough-bytes"
CLAIMS = RunClaims(
    run=uuid7(),
    root=uuid7(),
    thread=uuid7(),
    user=uuid7(),
    fence=7,
    tools=("save_note", "echo_context"),
    scopes=("notes:write", "context:read"),
    project=uuid7(),
    public_run="run_1",
    public_thread="thr_1",
    agent="Assistant",
)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def payload(**changes: Any) -> dict[str, Any]:
    """The claims of a good token, with changes; a change to `...` leaves the claim out."""
    body: dict[str, Any] = jwt.get_unverified_claims(mint_run_token(KEY, CLAIMS)) | changes
    return {name: value for name, value in body.items() if value is not ...}


def signed(body: Any, key: Any = KEY, algorithm: str = "HS256", **header: Any) -> str:
    return jws.sign(json.dumps(body).encode(), key, headers=header, algorithm=algorithm)


def by_hand(header: dict[str, Any], body: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(body).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def public_bytes(key: Any, encoding: serialization.Encoding) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    encoded: bytes = key.public_key().public_bytes(encoding, form)
    return encoded


def private_pem(key: Any) -> bytes:
    pem: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem


def refusal(token: str) -> str:
    """The sentence with which a token is refused; it never repeats the token."""
    with pytest.raises(BatonError) as caught:
        verify_run_token(KEY, token)
    assert caught.value.code is Code.NOT_SIGNED_IN
    assert not token or token not in caught.value.message
    return caught.value.message


def test_a_token_says_what_was_minted() -> None:
    read = verify_run_token(KEY, mint_run_token(KEY, CLAIMS, life_s=120))
    assert replace(read, expires=0) == CLAIMS
    assert 110 < read.expires - time.time() <= 120


def test_tools_and_project_may_be_absent() -> None:
    claims = replace(CLAIMS, tools=None, project=None, scopes=())
    assert replace(verify_run_token(KEY, mint_run_token(KEY, claims)), expires=0) == claims


def test_each_token_has_an_id_of_its_own() -> None:
    tokens = [jwt.get_unverified_claims(mint_run_token(KEY, CLAIMS)) for _ in range(3)]
    assert len({token["jti"] for token in tokens}) == 3
    assert {"iss", "aud", "sub", "exp", "iat", "jti"} <= tokens[0].keys()


FORGERIES: dict[str, Callable[[], str]] = {
    "alg none": lambda: by_hand({"alg": "none", "typ": "JWT"}, payload()),
    "alg none, right header": lambda: by_hand({"alg": "HS256", "typ": "JWT"}, payload()),
    "signed with the EC public key in DER": lambda: signed(
        payload(), public_bytes(EC_KEY, serialization.Encoding.DER)
    ),
    "signed with the RSA public key in DER": lambda: signed(
        payload(), public_bytes(RSA_KEY, serialization.Encoding.DER)
    ),
    "RS256": lambda: signed(payload(), private_pem(RSA_KEY), "RS256"),
    "ES256": lambda: signed(payload(), private_pem(EC_KEY), "ES256"),
    "HS512": lambda: signed(payload(), KEY, "HS512"),
    "HS384": lambda: signed(payload(), KEY, "HS384"),
    "crit": lambda: signed(payload(), crit=["exp"]),
    "unknown crit": lambda: signed(payload(), crit=["x-unknown"]),
    "kid": lambda: signed(payload(), kid="another key"),
    "jwk in the header": lambda: signed(payload(), jwk={"kty": "oct", "k": "AAAA"}),
    "empty secret": lambda: signed(payload(), ""),
    "another secret": lambda: signed(payload(), "another-secret-of-at-least-32-bytes!"),
    "JWE": lambda: jwe.encrypt(
        json.dumps(payload()), "k" * 32, algorithm="dir", encryption="A256GCM"
    ).decode(),
    "oversized": lambda: signed(payload(tools=["x" * 100] * 200)),
    "empty": lambda: "",
    "rubbish": lambda: "not a token",
    "two parts": lambda: mint_run_token(KEY, CLAIMS).rpartition(".")[0],
    "four parts": lambda: mint_run_token(KEY, CLAIMS) + ".AAAA",
    "padding": lambda: mint_run_token(KEY, CLAIMS) + "=",
    "line end": lambda: mint_run_token(KEY, CLAIMS) + "\n",
    "foreign characters": lambda: mint_run_token(KEY, CLAIMS).replace(".", ".!", 1),
    "lone surrogate": lambda: mint_run_token(KEY, CLAIMS) + "\ud800",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_token_is_refused(name: str) -> None:
    assert refusal(FORGERIES[name]()).startswith("The run token is not valid: it")


def test_a_changed_byte_is_refused() -> None:
    header, body, signature = mint_run_token(KEY, CLAIMS).split(".")
    other = body[:-2] + ("AA" if body[-2:] != "AA" else "BB")
    assert "signature" in refusal(f"{header}.{other}.{signature}")


@pytest.mark.parametrize("claim", sorted(payload()))
def test_a_missing_claim_is_refused_by_its_name(claim: str) -> None:
    assert f"'{claim}'" in refusal(signed(payload(**{claim: ...})))


WRONG: dict[str, tuple[Any, ...]] = {
    "aud": ("baton-web", ["baton-run"], None, ""),
    "iss": ("https://accounts.google.com", None, ["baton"]),
    "sub": (7, "ada@example.com", None, "", ["x"]),
    "exp": ("9999999999", True, None, -1, 1e12, {}),
    "iat": ("0", False, None, 1.5),
    "jti": (7, "", None, "j" * 65),
    "fence": ("7", 7.0, True, 0, -1, 2**53, None),
    "run": (7, "run_1", None, {"uuid": "x"}),
    "root": (7, None),
    "thread": (7, None),
    "tools": ("save_note", [1], [""], {"save_note": True}, ["x" * 129]),
    "scopes": ("notes:write", None, [None], {"notes": "write"}),
    "project": (7, "mine", []),
    "run_id": (7, "", "../x", "x" * 65, "run_1\n"),
    "thread_id": (7, "a b", None),
    "agent": (7, "", None),
}


@pytest.mark.parametrize(
    ("claim", "value"),
    [(claim, value) for claim, values in WRONG.items() for value in values],
    ids=lambda value: repr(value)[:30],
)
def test_a_claim_of_the_wrong_type_or_value_is_refused_by_its_name(claim: str, value: Any) -> None:
    assert f"'{claim}'" in refusal(signed(payload(**{claim: value})))


@pytest.mark.parametrize("body", [[], "text", 7, None], ids=repr)
def test_a_payload_that_is_no_object_is_refused(body: Any) -> None:
    assert "payload" in refusal(signed(body))


def test_a_payload_that_is_not_json_is_refused() -> None:
    assert "payload" in refusal(jws.sign(b"\xff{", KEY))


@pytest.mark.parametrize(
    ("claim", "offset_s", "why"),
    [
        ("exp", -LEEWAY_S - 2, "expired"),
        ("exp", -LEEWAY_S + 10, None),
        ("iat", LEEWAY_S + 10, "future"),
        ("iat", LEEWAY_S - 10, None),
    ],
)
def test_clocks_may_differ_by_a_minute(claim: str, offset_s: int, why: str | None) -> None:
    token = signed(payload(**{claim: int(time.time()) + offset_s}))
    if why:
        assert why in refusal(token)
    else:
        assert verify_run_token(KEY, token).run == CLAIMS.run


def renewed(token: str, *, run: UUID = CLAIMS.run, fence: int = CLAIMS.fence) -> str:
    return renewed_run_token(KEY, token, run=run, fence=fence, scopes=("new:read",))


def test_a_renewed_token_says_the_same_with_the_scopes_of_today() -> None:
    read = verify_run_token(KEY, renewed(mint_run_token(KEY, CLAIMS, life_s=1)))
    assert replace(read, expires=0) == replace(CLAIMS, scopes=("new:read",))
    assert read.expires > time.time() + 200


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_token_is_not_renewed(name: str) -> None:
    with pytest.raises(BatonError) as caught:
        renewed(FORGERIES[name]())
    assert caught.value.code is Code.NOT_SIGNED_IN


@pytest.mark.parametrize("claim", sorted(payload()))
def test_a_token_with_a_claim_missing_is_not_renewed(claim: str) -> None:
    with pytest.raises(BatonError, match=f"'{claim}'"):
        renewed(signed(payload(**{claim: ...})))


@pytest.mark.parametrize("named", [{"run": uuid7()}, {"fence": 6}, {"fence": 8}])
def test_a_token_of_another_run_or_claim_is_not_renewed(named: Any) -> None:
    with pytest.raises(BatonError) as caught:
        renewed(mint_run_token(KEY, CLAIMS), **named)
    assert caught.value.code is Code.FORBIDDEN


def test_a_token_may_be_renewed_for_a_day_after_its_end_and_not_longer() -> None:
    ended = int(time.time()) - LEEWAY_S - RENEWABLE_FOR_S
    assert renewed(signed(payload(exp=ended + 10)))
    with pytest.raises(BatonError, match="expired"):
        renewed(signed(payload(exp=ended - 1)))
    with pytest.raises(BatonError, match="future"):
        renewed(signed(payload(iat=int(time.time()) + LEEWAY_S + 10)))


@pytest.mark.parametrize(
    "key",
    [
        "",
        "x" * 31,
        private_pem(EC_KEY).decode(),
        public_bytes(RSA_KEY, serialization.Encoding.PEM).decode(),
        public_bytes(EC_KEY, serialization.Encoding.DER).decode("latin-1"),
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtestkeytestkeytestkey",
    ],
    ids=["empty", "short", "private PEM", "public PEM", "public DER", "OpenSSH"],
)
def test_a_key_that_is_no_secret_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="key of run tokens"):
        mint_run_token(key, CLAIMS)
    with pytest.raises(ValueError, match="key of run tokens"):
        verify_run_token(key, "any")


@pytest.mark.parametrize(
    "claims",
    [
        replace(CLAIMS, fence=0),
        replace(CLAIMS, public_run="not an id"),
        replace(CLAIMS, tools=("x" * 120,) * (MAX_TOKEN_CHARS // 120)),
        replace(CLAIMS, user="not a uuid"),  # type: ignore[arg-type]
    ],
    ids=["fence", "id", "too long", "user"],
)
def test_claims_that_would_be_refused_are_not_minted(claims: RunClaims) -> None:
    with pytest.raises(ValueError, match=r".+"):
        mint_run_token(KEY, claims)


def test_a_user_of_the_token_is_a_uuid() -> None:
    assert isinstance(verify_run_token(KEY, mint_run_token(KEY, CLAIMS)).user, UUID)
