"""How routes are called."""

import inspect
from collections.abc import Iterator
from typing import Any

from fastapi.routing import APIRoute

from gateway.app import make_app
from tests.gateway.rig import gateway_settings


def routes(of: Any) -> Iterator[APIRoute]:
    for route in of:
        if isinstance(route, APIRoute):
            yield route
        elif inner := getattr(route, "original_router", None):
            yield from routes(inner.routes)


def calls(dependant: Any) -> Iterator[Any]:
    yield dependant.call
    for one in dependant.dependencies:
        yield from calls(one)


def test_no_request_goes_through_a_thread() -> None:
    app = make_app(gateway_settings("postgresql://x/y", "redis://x", GOOGLE_CLIENT_ID="id"))
    found = list(routes(app.routes))
    assert {"/v1/chat/completions", "/api/runs/{id}"} <= {route.path for route in found}
    for route in found:
        for call in calls(route.dependant):
            kinds = call, getattr(call, "__call__", None)  # noqa: B004 - of classes with one
            assert any(map(inspect.iscoroutinefunction, kinds)), (route.path, call)
