"""Where requests may come from: a table."""

from typing import Any

import pytest
from starlette.requests import HTTPConnection

from gateway.auth.origin import base_url, comes_from_elsewhere, host_is_ours, origin_allowed
from tests.gateway.rig import gateway_settings

PUBLIC = {"BATON_DEV_MODE": False, "BATON_PUBLIC_URL": "https://chat.example.com/"}


def connection(scheme: str = "http", **headers: str) -> HTTPConnection:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection({"type": "http", "scheme": scheme, "headers": raw})


def settings(**more: Any) -> Any:
    return gateway_settings("postgresql://x/y", "redis://x", **more)


@pytest.mark.parametrize(
    ("origin", "host", "scheme", "more", "allowed"),
    [
        ("http://localhost:8000", "localhost:8000", "http", {}, True),
        ("http://localhost:8000", "localhost:8000", "ws", {}, True),
        ("HTTP://LOCALHOST:8000", "localhost:8000", "http", {}, True),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", "http", {}, True),
        ("http://[::1]:8000", "[::1]:8000", "http", {}, True),
        ("http://localhost:3000", "localhost:8000", "http", {}, False),
        ("https://localhost:8000", "localhost:8000", "http", {}, False),
        ("http://evil.example", "localhost:8000", "http", {}, False),
        ("null", "localhost:8000", "http", {}, False),
        ("", "localhost:8000", "http", {}, False),
        ("http://localhost:8000.evil.example", "localhost:8000", "http", {}, False),
        # A name that somebody pointed at us.
        ("http://evil.example:8000", "evil.example:8000", "http", {}, False),
        ("http://own.example", "own.example", "http", {"BATON_DEV_MODE": False}, True),
        ("https://chat.example.com", "chat.example.com", "http", PUBLIC, True),
        ("https://chat.example.com", "10.0.0.7:8000", "http", PUBLIC, True),
        ("http://chat.example.com", "chat.example.com", "http", PUBLIC, False),
        ("https://chat.example.com:444", "chat.example.com", "http", PUBLIC, False),
        (
            "http://localhost:3000",
            "localhost:8000",
            "http",
            {"BATON_ORIGINS": "http://localhost:3000"},
            True,
        ),
        (
            "https://app.example.com",
            "localhost:8000",
            "http",
            {"BATON_ORIGINS": "https://app.example.com:443/"},
            True,
        ),
    ],
)
def test_origins(origin: str, host: str, scheme: str, more: Any, allowed: Any) -> None:
    assert origin_allowed(origin, connection(scheme, host=host), settings(**more)) is allowed


@pytest.mark.parametrize(
    ("headers", "elsewhere"),
    [
        ({}, False),
        ({"origin": "http://localhost:8000"}, False),
        ({"origin": "http://localhost:3000"}, True),
        ({"origin": "null"}, True),
        ({"sec_fetch_site": "same-origin"}, False),
        ({"sec_fetch_site": "none"}, False),
        ({"sec_fetch_site": "cross-site"}, True),
        ({"sec_fetch_site": "same-site"}, True),
        ({"sec_fetch_site": "same-site", "origin": "http://localhost:3000"}, True),
        ({"sec_fetch_site": "cross-site", "origin": "http://localhost:8000"}, False),
    ],
)
def test_other_sites(headers: dict[str, str], elsewhere: Any) -> None:
    asked = connection(host="localhost:8000", **headers)
    assert comes_from_elsewhere(asked, settings()) is elsewhere


@pytest.mark.parametrize(
    ("host", "more", "ours"),
    [
        ("localhost", {}, True),
        ("127.0.0.1:8000", {}, True),
        ("[::1]:8000", {}, True),
        ("evil.example", {}, False),
        ("", {}, False),
        ("dev.example", {"BATON_PUBLIC_URL": "https://dev.example"}, True),
        ("anything.example", {"BATON_DEV_MODE": False}, True),
    ],
)
def test_hosts(host: str, more: Any, ours: Any) -> None:
    assert host_is_ours(host, settings(**more)) is ours


def test_links_lead_to_the_public_address() -> None:
    assert base_url(connection(host="localhost:8000"), settings()) == "http://localhost:8000"
    assert base_url(connection(host="x"), settings(**PUBLIC)) == "https://chat.example.com"
