from datetime import UTC, datetime

import pytest

from agent.text import ago, arguments, between, count, one_line, plain, span, text_of


def test_what_could_harm_a_terminal_is_taken_out() -> None:
    assert plain("a\x1b[2Jb\x9b31mc\x07\rd\n\te") == "a[2Jb31mcd\n\te"
    assert plain("ab\u202ecd\u2066e\u2028f") == "abcdef"
    assert plain("half\ud800") == "half"


def test_a_line_is_one_line_and_not_too_long() -> None:
    assert one_line("a\n b\t\tc") == "a b c"
    assert one_line("x" * 50, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ('{"name":"Ada","limit":3}', 'name="Ada" limit=3'),
        ("{}", ""),
        ("", ""),
        ("[1,2]", "[1,2]"),
        ('{"half', '{"half'),
    ],
)
def test_arguments_read_like_options(given: str, shown: str) -> None:
    assert arguments(given) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0121, "12 ms"), (3.44, "3.4 s"), (300, "5 min"), (7200, "2 h"), (864_000, "10 d")],
)
def test_a_length_of_time_has_one_fitting_unit(seconds: float, shown: str) -> None:
    assert span(seconds) == shown


def test_a_moment_is_told_from_now() -> None:
    now = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
    assert ago("2026-01-01T11:55:00Z", now) == "5 min ago"
    assert ago("2026-01-01T12:00:00Z", now) == "now"
    assert ago("2026-01-01T13:00:00Z", now) == "in 1 h"
    assert ago(None, now) == "—"
    assert ago("yesterday", now) == "—"


def test_what_has_not_ended_took_no_time_yet() -> None:
    assert between("2026-01-01T11:55:00Z", None) == "—"
    assert between("2026-01-01T11:55:00Z", "2026-01-01T11:55:02Z") == "2.0 s"


def test_nouns_agree_with_their_numbers() -> None:
    assert (count(1, "run"), count(0, "run"), count(1200, "run")) == (
        "1 run",
        "0 runs",
        "1,200 runs",
    )


def test_a_message_of_parts_is_read_as_text() -> None:
    parts = [{"type": "text", "text": "look"}, {"type": "image", "source": {}}]
    assert text_of({"content": parts}) == "look\n[image]"
    assert text_of({"content": None}) == ""
