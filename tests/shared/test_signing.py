"""Keys of receipts: RFC 8037's own example, and what is no key."""

from typing import Any

import pytest

from shared.receipts import canonical, holds
from shared.settings import ToolsvcSettings
from shared.signing import PublicKey, SigningKey, from_base64url, to_base64url
from tests.gateway.rig import gateway_settings

#: RFC 8037, appendix A.
PRIVATE = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
PUBLIC = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
MESSAGE = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
SIGNATURE = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
NO_KEYS = ["x", "A" * 42, "A" * 44, "A" * 42 + "B", "A" * 42 + "=", "é" * 43, PUBLIC + "\n"]


def test_the_example_of_the_rfc_is_ours() -> None:
    key = SigningKey(PRIVATE)
    assert key.public == PublicKey.parse(PUBLIC)
    assert to_base64url(key.sign(MESSAGE)) == SIGNATURE
    assert key.public.signed(from_base64url(SIGNATURE, 64), MESSAGE)
    assert not key.public.signed(from_base64url(SIGNATURE, 64), MESSAGE + b".")
    assert not key.public.signed(b"", MESSAGE)


def test_a_key_goes_out_and_comes_back_as_jwk() -> None:
    key = PublicKey.parse(PUBLIC)
    assert PublicKey.of_jwk(key.jwk) == key
    assert key.jwk["x"] == PUBLIC
    assert (key.jwk["kid"], len(key.id)) == (key.id, 16)


@pytest.mark.parametrize(
    "jwk",
    [
        None,
        7,
        [],
        {},
        {"kty": "OKP"},
        {"kty": "OKP", "crv": "Ed25519"},
        {"kty": "RSA", "x": PUBLIC},
    ],
)
def test_what_is_no_jwk_of_ours_is_refused(jwk: Any) -> None:
    with pytest.raises(ValueError, match="this"):
        PublicKey.of_jwk(jwk)


@pytest.mark.parametrize("text", NO_KEYS)
def test_a_key_has_one_spelling(text: str) -> None:
    for parse in (SigningKey, PublicKey.parse):
        with pytest.raises(ValueError, match="32 bytes in base64url"):
            parse(text)


@pytest.mark.parametrize("text", NO_KEYS)
def test_settings_refuse_what_is_no_key(text: str) -> None:
    if text == text.strip():  # what stands around the members of a list does not matter
        with pytest.raises(ValueError, match="32 bytes in base64url"):
            gateway_settings("postgresql://x/y", "redis://x", BATON_RECEIPT_PUBLIC_KEYS=text)
    secrets = dict.fromkeys(("run_token_key", "runner_key", "gateway_key"), "k" * 32)
    stores = {"database_url": "postgresql://x/y", "redis_url": "redis://x"}
    with pytest.raises(ValueError, match="32 bytes in base64url"):
        ToolsvcSettings.model_validate(secrets | stores | {"receipt_key": text})


@pytest.mark.parametrize("signature", [None, "", 7, "A" * 85, "A" * 86, "é"])
def test_a_signature_that_is_none_does_not_hold(signature: Any) -> None:
    assert not holds({"kind": "baton.receipt", "signature": signature}, PublicKey.parse(PUBLIC))


def test_canonical_form_is_that_of_rfc_8785() -> None:
    value = {"b": [1, '\u20ac$\u000f\nA\'B"\\\\"/'], "a": None, "\u00e9": True}
    told = '{"a":null,"b":[1,"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"],"é":true}'
    assert canonical(value).decode() == told
