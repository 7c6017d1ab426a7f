"""What every command has in common: its words when something is wrong."""

import socket

import pytest

from agent.__main__ import make_app
from shared.protocol.codes import Code
from tests.agent.conftest import Baton
from tests.agent.standin import KEY, StandIn, page, refusal


def test_without_words_the_help_is_shown(baton: Baton) -> None:
    result = baton()
    assert result.status == 0
    assert "Talk to agents" in result.out
    assert result.err == ""


def test_an_unknown_command_names_those_that_exist(baton: Baton) -> None:
    result = baton("conquer")
    assert result.status == 2
    assert "There is no command 'conquer'." in result.err
    for name in ("chat", "threads", "runs", "trace", "keys", "status", "invite", "login"):
        assert name in result.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("runs", "show"), "Missing argument 'RUN'"),
        (("runs", "--what"), "No such option: --what"),
        (("runs", "--limit", "0"), "'--limit'"),
        (("runs", "--status", "odd"), "'--status'"),
        (("runs", "conquer"), "No such command 'conquer'"),
        (("keys", "create", "--expires-days", "-1"), "more than 0"),
        (("keys", "create", "--expires-days", "soon"), "'--expires-days'"),
        (("chat", "hello", "--thread", "no/id"), "not the id of a thread"),
        (("runs", "tail", "run_1", "--after", "x"), "not a cursor"),
        (("status", "--url", "nonsense"), "not the URL of a gateway"),
        (("runs", "--limit", "x"), "'--limit': this must be a valid integer\n"),
        (("runs", "--status", "foo"), "'--status': 'foo' is not one of"),
    ],
)
def test_wrong_usage_ends_with_two_and_one_sentence(
    baton: Baton, arguments: tuple[str, ...], words: str
) -> None:
    result = baton(*arguments)
    assert result.status == 2
    assert words in result.err
    assert result.out == ""
    assert len(result.err.splitlines()) <= 2


def test_a_gateway_that_is_away_is_named_with_what_to_do(baton: Baton) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        result = baton("runs", "--url", url)
    assert result.status == 1
    assert f"No gateway answers at {url}." in result.err
    assert "dev.py up" in result.err


def test_a_gateways_url_with_a_path_is_told_of(known: Baton, standin: StandIn) -> None:
    standin.answers["GET /foo/api/runs"] = refusal(Code.NOT_FOUND, "There is no such address.")
    result = known("runs", "--url", f"{standin.url}/foo")
    assert "There is no such address." in result.err
    assert "/foo has a path" in result.err


def test_errors_are_json_where_json_is_asked_for(known: Baton) -> None:
    result = known("runs", "show", "run_9", "--json")
    assert result.status == 1
    assert result.out == ""
    assert '"code": "not_found"' in result.err


def test_a_wrong_key_is_told_without_the_key(
    known: Baton, standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    standin.answers["GET /api/runs"] = refusal(Code.NOT_SIGNED_IN)
    result = known("runs")
    assert result.status == 1
    assert "baton login" in result.err
    assert standin.asked[-1].key == KEY


@pytest.mark.parametrize("key", ["bt_a b", "bt_ä", "bt_a\nx: y", "x" * 600])
def test_what_cannot_be_a_key_is_never_sent_nor_shown(
    known: Baton, standin: StandIn, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("BATON_API_KEY", key)
    result = known("runs")
    assert result.status == 2
    assert "BATON_API_KEY does not hold a key" in result.err
    assert key not in result.err
    assert standin.asked == []


def test_a_store_that_is_away_asks_for_another_try(known: Baton, standin: StandIn) -> None:
    standin.answers["GET /api/runs"] = refusal(Code.UNAVAILABLE)
    result = known("runs")
    assert result.status == 1
    assert "Try again" in result.err


def test_an_internal_error_leads_to_the_log(known: Baton, standin: StandIn) -> None:
    standin.answers["GET /api/runs"] = refusal(Code.INTERNAL)
    result = known("runs")
    assert result.status == 1
    assert "req_1" in result.err


@pytest.mark.parametrize("answer", [(200, "<html>"), (404, "<html>"), (200, "[1]")])
def test_something_else_that_answers_is_told_apart(
    known: Baton, standin: StandIn, answer: tuple[int, str]
) -> None:
    standin.answers["GET /api/runs"] = answer
    result = known("runs")
    assert result.status == 1
    assert "not a Baton gateway" in result.err


def test_a_proxy_that_fails_is_no_other_program(known: Baton, standin: StandIn) -> None:
    standin.answers["GET /api/runs"] = (502, "<html>")
    result = known("runs")
    assert result.status == 1
    assert "answers 502" in result.err


def test_a_bad_cursor_is_refused_by_the_gateway_and_told(known: Baton, standin: StandIn) -> None:
    standin.answers["GET /api/threads"] = refusal(Code.BAD_CURSOR)
    result = known("threads", "--cursor", "nonsense")
    assert result.status == 1
    assert "leave it out" in result.err
    assert standin.asked[-1].query["cursor"] == "nonsense"


def test_whatever_an_id_holds_it_stays_one_segment_of_the_path(
    known: Baton, standin: StandIn
) -> None:
    for odd in ("../me", "a/b?c=d", "..", "%2e%2e"):
        assert known("runs", "show", odd).status == 1
    assert all("/api/me" not in asked.path or "runs" in asked.path for asked in standin.asked)


def test_json_is_ascii_and_keeps_what_came(known: Baton, standin: StandIn) -> None:
    standin.answers["GET /api/agents"] = (200, page({"name": "Zoë\x9b31m"}, following="c1"))
    result = known("agents", "--json")
    assert result.out.isascii()
    assert result.json == {"data": [{"name": "Zoë\x9b31m"}], "next": "c1"}


def test_an_answer_that_cannot_be_read_is_told_with_its_place_and_no_traceback(
    known: Baton, standin: StandIn
) -> None:
    standin.answers["GET /api/runs"] = (200, {"surprise": KEY})
    result = known("runs")
    assert result.status == 1
    assert "KeyError in agent/runs.py" in result.err


def test_colours_stay_off_where_nobody_looks(known: Baton) -> None:
    assert "\x1b" not in known("agents").out + known("nothing").err


def test_commands_leave_room_for_a_goal() -> None:
    groups = {group.name for group in make_app().registered_groups}
    assert groups == {"agents", "threads", "runs", "keys", "effects", "files"}
