"""Secrets in text that people will see."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.telemetry import redact as rules
from shared.telemetry.redact import HIDDEN, redact, redact_value

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"

#: A text, and the part of it that must be gone.
SECRETS = {
    "an OpenAI key": ("Incorrect API key provided: sk-proj-abc123def456ghi789.", "abc123"),
    "a short service key": ("using sk_live_0123456789ab", "0123456789ab"),
    "our own key": ("key bt_abcdefghijklmnop123 was refused", "abcdefghijklmnop"),
    "a JWT": (f"token was {JWT}", "c2lnbmF0dXJl"),
    "a bearer header": ("Authorization: Bearer abcdefghijkl0123", "abcdefghijkl0123"),
    "a lower-case bearer": ("bearer abcdefghijkl0123=", "abcdefghijkl"),
    "a password in a URL": ("redis://runner:hunter22@127.0.0.1:6379/0", "hunter22"),
    "a nameless user in a URL": ("redis://:hunter22@host/0", "hunter22"),
    "a named key": ("api_key=abcdef123456", "abcdef123456"),
    "a named key in JSON": ('{"apiKey": "abcdef123456"}', "abcdef123456"),
    "a named key in JSON inside JSON": ('{\\"password\\": \\"abcdef123456\\"}', "abcdef123456"),
    "a client secret": ("GOOGLE_CLIENT_SECRET: abcdef123456", "abcdef123456"),
    "a GitHub token": ("ghp_0123456789abcdefghij0123", "0123456789abcdefghij"),
    "an AWS key": ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
    "a Slack token": ("xoxb-0123456789-abc", "0123456789"),
}

HARMLESS = [
    "The run needed more turns than allowed.",
    "run_0199f0a000007000 of thread thr_0199f0a000007000",
    "https://api.openai.com/v1/responses?x=1",
    "postgresql://127.0.0.1:5432/baton",
    "12 tokens: 5 in, 7 out",
    "trace_0199f0a0000070008000000000000001",
]


@pytest.mark.parametrize("case", SECRETS)
def test_a_secret_is_hidden(case: str) -> None:
    text, secret = SECRETS[case]
    hidden = redact(text)
    assert secret not in hidden
    assert HIDDEN in hidden
    assert redact(hidden) == hidden


PIECES = ["sk-", "RK_", "ek_", "bt_", "xoxb-", "ghp_", "AKIA", "eyJ", "Bearer ", "bearer ", "://"]
PIECES += [
    "api-key",
    "API_KEY",
    "Passwd",
    "secret",
    "TOKEN",
    "Authorization",
    ":",
    "=",
    "@",
    ".",
    " ",
]
PIECES += [
    "abcdefghijklmnopqrstuv",
    "0123456789",
    "ABCDEFGHIJKLMNOPQRST",
    '"',
    "\\",
    "\u212a",  # the sign for Kelvin, a k to who ignores case
    "\u017f",  # a long s
    "\n",
]


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_the_quick_looks_before_the_rules_pass_over_nothing(text: str) -> None:
    thorough = rules._NAMED.sub(rf"\g<1>{HIDDEN}", rules._SECRETS.sub(HIDDEN, text))
    assert redact(text) == thorough


@pytest.mark.parametrize("text", HARMLESS)
def test_everything_else_stays(text: str) -> None:
    assert redact(text) == text


def test_values_are_searched_to_the_bottom_and_by_field_name() -> None:
    value: dict[str, Any] = {
        "list": [{"deep": ("sk-abcdefghijkl1234", 1, None, True)}],
        "api_key": "short",
        "Set-Cookie": "a=b",
        "usage": {"total_tokens": 12},
    }
    assert redact_value(value) == {
        "list": [{"deep": [HIDDEN, 1, None, True]}],
        "api_key": HIDDEN,
        "Set-Cookie": HIDDEN,
        "usage": {"total_tokens": 12},
    }


def test_the_data_of_a_file_is_left_out() -> None:
    spans = {"input": [{"image_url": "data:image/png;base64,iVBORw0KGgo="}]}
    shown = redact_value(spans)
    assert shown == {"input": [{"image_url": "data:image/png;base64,[12 characters]"}]}
