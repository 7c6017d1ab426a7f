"""REST and the protocol as documents, and what of them has changed."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from agent.errors import CliError
from agent.releasing.looks import openapi_document
from agent.releasing.openapi import openapi_changes
from agent.releasing.protocol import protocol_changes, protocol_document
from gateway.described import described
from shared.protocol.codes import Code
from stack.program import ROOT


def operation(**more: Any) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Answer"}}}
    return {"responses": {"200": {"content": content}, "503": {}}} | more


def document(**paths: Any) -> dict[str, Any]:
    fields = {"id": {"type": "string"}, "more": {"type": "string"}}
    answer = {"type": "object", "properties": fields, "required": ["id"]}
    body = {"type": "object", "properties": {"name": {"type": "string"}}}
    schemas = {"Answer": answer, "Body": body}
    return {
        "paths": {f"/{name}": item for name, item in paths.items()},
        "components": {"schemas": schemas},
    }


BODY = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Body"}}}}
LIMIT = {"in": "query", "name": "limit", "schema": {"type": "integer"}}
OLD = document(things={"get": operation(parameters=[LIMIT]), "post": operation(requestBody=BODY)})


def changed(change: Any) -> list[tuple[str, bool]]:
    new = copy.deepcopy(OLD)
    change(new, new["paths"]["/things"], new["components"]["schemas"])
    return [(str(one), one.breaking) for one in openapi_changes(OLD, new)]


@pytest.mark.parametrize(
    ("change", "told", "breaking"),
    [
        (lambda new, *_: new["paths"].clear(), "POST /things: is gone", True),
        (lambda _, item, __: item.pop("get"), "GET /things: is gone", True),
        (lambda _, item, __: item.update(put=operation()), "PUT /things: is new", False),
        (
            lambda _, item, __: item["get"]["parameters"].clear(),
            "GET /things, query limit: is gone",
            True,
        ),
        (
            lambda _, item, __: item["get"].update(parameters=[LIMIT | {"required": True}]),
            "GET /things, query limit: is required now",
            True,
        ),
        (
            lambda _, item, __: item.update(parameters=[LIMIT | {"name": "x"}]),
            "GET /things, query x: is new",
            False,
        ),
        (
            lambda _, item, __: item.update(
                parameters=[LIMIT | {"in": "header", "required": True}]
            ),
            "GET /things, header limit: is new, and required",
            True,
        ),
        (
            lambda _, item, __: item["get"].update(requestBody=BODY | {"required": True}),
            "GET /things, body: is new, and required",
            True,
        ),
        (
            lambda _, item, __: item["post"].pop("requestBody"),
            "POST /things, body: is gone",
            True,
        ),
        (
            lambda _, item, __: item["post"].update(requestBody={"content": {"text/plain": {}}}),
            "POST /things, body: application/json is gone",
            True,
        ),
        (
            lambda _, item, __: item["get"]["responses"].pop("200"),
            "GET /things, 200: is gone",
            True,
        ),
        (
            lambda _, item, __: item["get"]["responses"].pop("503"),
            "GET /things, 503: is gone",
            False,
        ),
        (
            lambda _, __, schemas: schemas["Answer"]["properties"].pop("more"),
            "Answer.more: is gone",
            True,
        ),
        (
            lambda _, __, schemas: schemas["Body"].update(required=["name"]),
            "Body.name: is required now",
            True,
        ),
        (
            lambda _, __, schemas: schemas["Answer"]["properties"].update(x={"type": "null"}),
            "Answer.x: is new",
            False,
        ),
    ],
)
def test_what_callers_notice_is_told(change: Any, told: str, breaking: bool) -> None:
    assert (told, breaking) in changed(change)


def test_what_callers_do_not_notice_is_not_told() -> None:
    def other_words(new: dict[str, Any], item: dict[str, Any], _: Any) -> None:
        new["info"] = {"version": "2"}
        item["get"]["description"] = item["get"]["operationId"] = "other"

    assert changed(other_words) == []


def test_the_description_of_rest_is_the_same_in_any_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BATON_DEV_MODE", "0")
    monkeypatch.setenv("GOOGLE_CLIENT_ID", "x")
    monkeypatch.setenv("BATON_SECURITY_CONFIG", "/nowhere.yaml")
    found = openapi_document(ROOT)
    assert found["openapi"].startswith("3.")
    monkeypatch.undo()
    assert found == described()


def test_a_gateway_that_cannot_describe_itself_is_told(tmp_path: Path) -> None:
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "__init__.py").touch()
    (tmp_path / "gateway" / "described.py").write_text("raise ValueError('broken')")
    with pytest.raises(CliError, match=r"gateway\.described failed: ValueError: broken"):
        openapi_document(tmp_path)


@pytest.fixture(scope="module")
def protocol() -> dict[str, Any]:
    return protocol_document(ROOT)


def test_the_protocol_has_what_is_said_by_hand_too(protocol: dict[str, Any]) -> None:
    assert set(protocol["codes"]) == {code.value for code in Code}
    assert {"welcome", "event.id", "reset.messages", "ack.waitsFor"} <= set(protocol["frames"])
    assert {"POST /v1/chat/completions", "POST /agui/{}", "POST /claims"} <= set(
        protocol["requests"]
    )
    assert "baton.resumed" in protocol["custom events"]
    said = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    assert all(re.search(rf"`{name}`", said) for name in protocol["custom events"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda new: new["codes"].pop("busy"), "codes, busy: is gone"),
        (
            lambda new: new["codes"].update(busy="400, again"),
            "codes, busy: 409, again → 400, again",
        ),
        (lambda new: new["closes"].update(TOO_SLOW="4430"), "closes, TOO_SLOW: 4429 → 4430"),
        (lambda new: new["frames"].pop("reset.more"), "frames, reset.more: is gone"),
        (
            lambda new: new["schemas"]["given"]["CommitAnswer"]["properties"].pop("cancelled"),
            "CommitAnswer.cancelled: is gone",
        ),
        (
            lambda new: new["schemas"]["taken"]["ClaimRequest"]["required"].append("hint"),
            "ClaimRequest.hint: is required now",
        ),
        (
            lambda new: new["schemas"]["taken"]["Commit"]["$defs"]["Row"]["prefixItems"].pop(),
            "Row: 4 places → 3",
        ),
        (lambda new: new["schemas"]["given"].pop("event"), "messages, event: is gone"),
    ],
)
def test_what_breaks_the_other_side_is_told(
    protocol: dict[str, Any], change: Any, told: str
) -> None:
    new = copy.deepcopy(protocol)
    change(new)
    assert [str(one) for one in protocol_changes(protocol, new) if one.breaking] == [told]


def test_more_than_before_breaks_nobody(protocol: dict[str, Any]) -> None:
    new = copy.deepcopy(protocol)
    new["codes"]["brand_new"] = "400, not again"
    new["schemas"]["given"]["CommitAnswer"]["properties"]["brandNew"] = {"type": "string"}
    found = protocol_changes(protocol, new)
    assert len(found) == 2
    assert not any(one.breaking for one in found)
