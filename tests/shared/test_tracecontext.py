from uuid import UUID

import pytest

from shared.telemetry.tracecontext import TraceParent, begun, parsed, span_id_of, trace_of_run

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"
ROOT = UUID("01a201d8-12a3-7500-a7f2-259a78d36c5c")


def test_a_header_is_read_and_written_as_it_was() -> None:
    assert parsed(GOOD) == TraceParent(TRACE, SPAN)
    assert TraceParent(TRACE, SPAN).header == GOOD
    unsampled = parsed(GOOD[:-2] + "00")
    assert unsampled is not None
    assert not unsampled.sampled
    assert unsampled.header.endswith("-00")


def test_later_versions_may_say_more() -> None:
    assert parsed(f"01-{TRACE}-{SPAN}-01-more") == TraceParent(TRACE, SPAN)


@pytest.mark.parametrize(
    "header",
    [
        *("", "x", GOOD.upper(), GOOD + "-more", GOOD + "\n", GOOD[:-1], "ff" + GOOD[2:], None, 7),
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-0\N{ARABIC-INDIC DIGIT ONE}",
    ],
)
def test_what_is_no_header_is_as_if_it_were_not_there(header: object) -> None:
    assert parsed(header) is None
    assert trace_of_run(ROOT, header) == TraceParent(ROOT.hex, ROOT.hex[16:], asked=False)


def test_a_run_belongs_to_the_trace_it_was_asked_for_in() -> None:
    assert trace_of_run(ROOT, GOOD) == TraceParent(TRACE, SPAN)


def test_what_begins_here_can_be_read_elsewhere() -> None:
    here = begun()
    assert parsed(here.header) == here
    assert parsed(here.inside().header) is not None
    assert here.inside().span != here.span
    assert here.inside(span_id_of("span_1")).span == span_id_of("span_1") != span_id_of("span_2")
