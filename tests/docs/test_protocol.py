"""docs/protocol.md: its tables are those of the code, its examples are what the code would take."""

from typing import Any

import orjson
import pytest
from ag_ui.core import Event
from fastapi import FastAPI
from pydantic import TypeAdapter

from gateway.app import make_app
from gateway.auth.oidc import oidc_router
from shared.protocol.codes import MEANINGS, Close, Code
from shared.protocol.frames import CLIENT_FRAME, CLIENT_OPS
from shared.protocol.position import parse_position
from shared.settings import GatewaySettings
from tests.docs.pages import blocks, code, page, rows, section
from toolsvc.mcp_door import PATH as MCP_PATH
from toolsvc.runs.api import ROUTES
from toolsvc.tool_api import router

PAGE = page("docs/protocol.md")
EVENT: TypeAdapter[Any] = TypeAdapter(Event)
KEY = "k" * 32


def test_every_code_is_there_with_its_meaning() -> None:
    shown = {code(cells[0])[0]: tuple(cells[1:]) for cells in rows(section(PAGE, "## Codes"))}
    assert shown == {
        one.value: (str(meaning.status), "yes" if meaning.retryable else "no", meaning.text)
        for one, meaning in MEANINGS.items()
    }
    assert set(MEANINGS) == set(Code)


def test_every_close_code_is_there() -> None:
    shown = [cells[:2] for cells in rows(section(PAGE, "## Close codes"))]
    assert shown == [[str(int(one)), f"`{one.name}`"] for one in Close]


def test_every_op_of_clients_is_there() -> None:
    table = rows(section(PAGE, "### Client to gateway").partition("**`run`.**")[0])
    assert {code(cells[0])[0] for cells in table} == CLIENT_OPS


def test_examples_of_clients_are_understood() -> None:
    frames = [one.text for one in blocks(PAGE) if one.language == "json client"]
    assert frames
    for text in frames:
        CLIENT_FRAME.validate_python(orjson.loads(text))


def test_examples_of_the_gateway_are_ag_ui_under_cursors() -> None:
    documented = {code(cells[0])[0] for cells in rows(section(PAGE, "### Gateway to client"))}
    frames = [
        orjson.loads(line)
        for one in blocks(PAGE)
        if one.language == "json frame"
        for line in one.text.splitlines()
    ]
    assert {frame["op"] for frame in frames} <= documented
    for frame in frames:
        if frame["op"] == "event":
            EVENT.validate_python(frame["event"])
            assert parse_position(frame["id"])


def test_every_rest_route_is_there() -> None:
    shown = {code(cells[0])[0] for cells in rows(section(PAGE, "## REST"))}
    assert shown == _openapi(make_app(_settings()))


def test_every_route_of_toolsvc_is_there() -> None:
    shown = {code(cells[0])[0] for cells in rows(section(PAGE, "## Between the processes"))}
    record = {f"{method} {route.path}" for route in ROUTES for method in _methods(route)}
    tools = {f"{method} {_path(route)}" for route in router.routes for method in _methods(route)}
    assert shown == record | tools | {f"POST {MCP_PATH}"}


@pytest.mark.parametrize("path", ["/auth/login", "/auth/callback"])
def test_the_way_to_an_issuer_exists_where_there_is_one(path: str) -> None:
    settings = _settings(GOOGLE_CLIENT_ID="id")
    assert path in {_path(route) for route in oidc_router(settings).routes}
    assert path in section(PAGE, "## REST")


def _settings(**more: str) -> GatewaySettings:
    return GatewaySettings.model_validate(
        {
            "DATABASE_URL": "postgresql://",
            "REDIS_URL": "redis://",
            "BATON_GATEWAY_KEY": KEY,
            "BATON_COOKIE_KEY": KEY,
            "BATON_DEV_MODE": True,
        }
        | more
    )


def _openapi(app: FastAPI) -> set[str]:
    paths: dict[str, dict[str, Any]] = app.openapi()["paths"]
    return {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}


def _path(route: Any) -> str:
    return str(route.path)


def _methods(route: Any) -> set[str]:
    found: set[str] = route.methods - {"HEAD"}
    return found
