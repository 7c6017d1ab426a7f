"""The description of the API says enough to use it."""

from typing import Any

import pytest

from gateway.app import make_app
from tests.gateway.rig import gateway_settings


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return make_app(gateway_settings("postgresql://x/y", "redis://x")).openapi()


def operations(described: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for methods in described["paths"].values() for one in methods.values()]


def test_it_is_called_baton_and_every_operation_has_a_readable_id(
    described: dict[str, Any],
) -> None:
    assert described["info"]["title"] == "Baton"
    ids = [one["operationId"] for one in operations(described)]
    assert len(set(ids)) == len(ids)
    assert all(id_.isalpha() for id_ in ids), ids


def test_every_operation_says_what_it_does_and_how_it_fails(described: dict[str, Any]) -> None:
    for one in operations(described):
        assert one["description"], one["operationId"]
        assert {"4XX", "503"} <= set(one["responses"]), one["operationId"]


def test_every_body_has_an_example(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    bodies = [one["requestBody"] for one in operations(described) if "requestBody" in one]
    names = {
        body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for body in bodies
        if "application/json" in body["content"]
    }
    assert names
    for name in names - {"InviteToken"}:
        kinds = [one["$ref"].rpartition("/")[2] for one in schemas[name].get("oneOf", ())] or [name]
        fields = [field for kind in kinds for field in schemas[kind]["properties"].values()]
        assert any("examples" in field for field in fields), name


def test_names_on_the_wire_are_camel_case(described: dict[str, Any]) -> None:
    for name, schema in described["components"]["schemas"].items():
        if name in ("HTTPValidationError", "ValidationError"):
            continue
        for field in schema.get("properties", {}):
            assert "_" not in field, (name, field)
