"""What a failed model call says of its server, and how long to wait."""

import math
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.models.retry import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    LONGEST_RETRY_AFTER_S,
    Fault,
    Kind,
    judged,
    pause_s,
    retry_after_s,
)
from shared.errors import BatonError
from shared.protocol.codes import Code

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT
REQUEST = httpx2.Request("POST", "http://model")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:30 GMT"}, 10.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:30"}, 10.0),
        ({"retry-after": "Tue, 14 Nov 2023 23:13:30 +0100"}, 10.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:10 GMT"}, None),
        ({"retry-after": "Tue, 14 Nov 99999 22:13:10 GMT"}, None),
        ({"retry-after": "Tue, 14 Nov 2093 22:13:10 GMT"}, LONGEST_RETRY_AFTER_S),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, LONGEST_RETRY_AFTER_S),
        ({"retry-after": "-inf"}, None),
        ({"retry-after": "1e400"}, LONGEST_RETRY_AFTER_S),
        ({"retry-after": "86400"}, LONGEST_RETRY_AFTER_S),
        ({"retry-after": ""}, None),
        ({"retry-after": "after lunch"}, None),
    ],
)
def test_retry_after_is_understood_and_rubbish_is_not_believed(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after_s(headers, now=NOW) == seconds


@given(st.text(), st.text())
def test_nothing_that_a_server_writes_there_does_harm(seconds: str, millis: str) -> None:
    found = retry_after_s({"retry-after": seconds, "retry-after-ms": millis}, now=NOW)
    assert found is None or 0 < found <= LONGEST_RETRY_AFTER_S


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_pauses_grow_to_a_limit_and_are_chance(tried: int, chance: float) -> None:
    fault = Fault(kind=Kind.DOWN, again=True)
    longest = pause_s(fault, tried, spread=lambda _, high: high)
    assert longest == min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(tried - 1, 30))
    assert pause_s(fault, tried, spread=lambda low, high: low + chance * (high - low)) <= longest


def test_what_the_server_asks_for_is_never_undercut() -> None:
    fault = Fault(kind=Kind.BUSY, again=True, after_s=10)
    assert pause_s(fault, 1, spread=lambda low, _: low) == 10
    assert pause_s(fault, 9, spread=lambda _, high: high) == 11


def status(code: int, *, error: Any = None, **headers: str) -> openai.APIStatusError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = httpx2.Response(code, request=REQUEST, headers=named)
    return openai.APIStatusError("no", response=response, body=error)


def after(error: openai.APIError, cause: Exception) -> openai.APIError:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind", "again"),
    [
        (status(429), Kind.BUSY, True),
        (status(429, error={"code": "insufficient_quota"}), Kind.ANSWERED, False),
        (status(429, error={"type": "insufficient_quota"}), Kind.ANSWERED, False),
        (status(408), Kind.DOWN, True),
        (status(409), Kind.ANSWERED, True),
        (status(500), Kind.DOWN, True),
        (status(599), Kind.DOWN, True),
        (status(500, x_should_retry="false"), Kind.DOWN, False),
        (status(400, x_should_retry="true"), Kind.ANSWERED, True),
        (status(400), Kind.ANSWERED, False),
        (status(401), Kind.ANSWERED, False),
        (status(404), Kind.ANSWERED, False),
        (openai.APIConnectionError(request=REQUEST), Kind.DOWN, True),
        (httpx2.ReadError("gone"), Kind.DOWN, True),
        (openai.APITimeoutError(REQUEST), Kind.HUNG, False),
        (after(openai.APITimeoutError(REQUEST), httpx2.ReadTimeout("")), Kind.HUNG, False),
        (after(openai.APITimeoutError(REQUEST), httpx2.ConnectTimeout("")), Kind.DOWN, True),
        (httpx2.ReadTimeout("silence"), Kind.HUNG, False),
        (TimeoutError(), Kind.HUNG, False),
        (openai.APIError("x", REQUEST, body={"code": "server_error"}), Kind.DOWN, True),
        (openai.APIError("x", REQUEST, body={"code": "rate_limit_exceeded"}), Kind.BUSY, True),
        (openai.APIError("x", REQUEST, body={"code": "insufficient_quota"}), Kind.ANSWERED, False),
        (
            openai.APIError("x", REQUEST, body={"type": "invalid_request_error"}),
            Kind.ANSWERED,
            False,
        ),
        (BatonError(Code.UPSTREAM_UNAVAILABLE), Kind.DOWN, True),
        (BatonError(Code.UPSTREAM_INVALID), Kind.UNKNOWN, False),
        (ValueError("ours"), Kind.UNKNOWN, False),
    ],
)
def test_each_error_is_judged(error: Exception, kind: Kind, again: bool) -> None:
    fault = judged(error, now=NOW)
    assert (fault.kind, fault.again) == (kind, again)


def test_a_busy_server_is_believed_when_it_says_how_long() -> None:
    assert judged(status(429, retry_after="3"), now=NOW).after_s == 3
    assert judged(status(503, retry_after="3"), now=NOW).after_s == 3
    assert not math.isnan(judged(status(503, retry_after="nan"), now=NOW).after_s or 0)
