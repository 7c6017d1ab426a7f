"""docs/openai-api.md: the routes and codes of the door are those of the code."""

from typing import Any

from gateway.openai import chat, models, responses
from gateway.openai.asked import ChatRequest
from gateway.openai.errors import error_object, openai_status
from gateway.openai.wanted import ResponseRequest
from shared.errors import BatonError
from shared.protocol.codes import MEANINGS
from tests.docs.pages import code, page, rows, section

PAGE = page("docs/openai-api.md")
#: A place in a request has the code of what is wrong with it.
OF_PLACES = {
    *("invalid_value", "invalid_type", "missing_required_parameter", "invalid_json_schema"),
    "previous_response_not_found",
}


def test_every_route_is_there() -> None:
    shown = {code(cells[0])[0] for cells in rows(PAGE.partition("\n## ")[0])}
    routes: list[Any] = [*models.router.routes, *chat.router.routes, *responses.router.routes]
    assert shown == {
        f"{method} {route.path.replace('{model:path}', '{id}').replace('response_id', 'id')}"
        for route in routes
        for method in route.methods - {"HEAD"}
    }


def test_clients_that_were_tried_have_the_versions_of_the_report() -> None:
    report = page("docs/reports/compatibility-matrix.md")
    tried = {version for cells in rows(report) for version in cells[1].split()}
    told = {cells[1] for cells in rows(section(PAGE, "## Clients that were tried"))}
    assert told <= tried


def test_every_parameter_that_has_an_effect_is_there() -> None:
    table = rows(section(PAGE, "## What a request says").partition("| header")[0])
    shown = {name.partition(".")[0] for cells in table[:-1] for name in code(cells[0])}
    assert shown == set(ChatRequest.model_fields)
    shown = {
        name.partition(".")[0]
        for cells in rows(section(PAGE, "### Responses"))
        for name in code(cells[0])
    }
    assert shown == set(ResponseRequest.model_fields)


def test_every_code_is_one_that_answers_have_with_this_status() -> None:
    told: set[tuple[str, Any]] = set()
    for one, meaning in MEANINGS.items():
        status = openai_status(meaning.status)
        told.add((str(status), error_object(BatonError(one), status)["code"]))
    for shown_status, codes, *_ in rows(section(PAGE, "## Errors")):
        for shown in set(code(codes)) - OF_PLACES:
            assert (shown_status, shown) in told
