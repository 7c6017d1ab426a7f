"""Spans are stored as they are, exported once, and none is left open."""

from types import SimpleNamespace
from typing import Any

from runner.tracing import RunTrace
from shared.protocol.record import SpanRecord


class Exporting:
    """What becomes of spans; a record says what a span is at that moment."""

    def __init__(self) -> None:
        self.exported: list[str] = []

    def record_of(self, span: Any) -> SpanRecord:
        return SpanRecord(id=span.span_id, started="s", ended=span.ended_at, data={})

    def export(self, span: Any) -> None:
        self.exported.append(span.span_id)


def span(id_: str) -> Any:
    return SimpleNamespace(span_id=id_, ended_at=None)


def made(*, silent: bool = False) -> tuple[RunTrace, Exporting]:
    exporting: Any = Exporting()
    return RunTrace(exporting, "trace_1", silent=silent), exporting


def end(trace: RunTrace, one: Any) -> None:
    one.ended_at = "e"
    trace.ended(one)


def shown(records: list[SpanRecord]) -> list[tuple[str, str | None]]:
    return [(one.id, one.ended) for one in records]


def test_a_span_that_ends_while_its_commit_is_under_way_is_exported_once() -> None:
    trace, exporting = made()
    one = span("a")
    trace.began(one)
    assert shown(trace.take()) == [("a", None)]
    end(trace, one)
    trace.stored([])
    assert exporting.exported == []
    assert shown(trace.take()) == [("a", "e")]
    trace.stored([])
    trace.stored([])
    assert exporting.exported == ["a"]


def test_what_begins_while_steps_are_replayed_is_told_when_it_ends_live() -> None:
    trace, exporting = made(silent=True)
    replayed, agent = span("replayed"), span("agent")
    trace.began(agent)
    trace.began(replayed)
    end(trace, replayed)
    trace.silent = False
    assert trace.take() == []
    end(trace, agent)
    assert shown(trace.take()) == [("agent", "e")]
    trace.stored([])
    assert exporting.exported == ["agent"]


def test_what_began_aloud_is_told_to_its_end_whatever_its_siblings_replay() -> None:
    trace, _ = made()
    one = span("a")
    trace.began(one)
    trace.take()
    trace.silent = True
    end(trace, one)
    assert shown(trace.take()) == [("a", "e")]


def test_what_is_open_at_the_end_of_the_run_is_closed_and_exported_as_cut_off() -> None:
    trace, exporting = made()
    one, two = span("a"), span("b")
    trace.began(one)
    trace.began(two)
    end(trace, two)
    trace.take()
    (cut,) = trace.cut_off()
    assert (cut.id, cut.ended is not None, cut.error) == ("a", True, {"message": "the run ended"})
    trace.stored([])
    assert exporting.exported == ["b", "a"]
    assert trace.cut_off() == []
    end(trace, one)  # its task is cancelled now
    trace.take()
    trace.stored([])
    assert exporting.exported == ["b", "a"]
