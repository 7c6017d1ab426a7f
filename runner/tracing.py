"""Traces: spans of each run are kept until a commit has stored them, then exported once.

A run is one trace (`trace_` + its root's uuid). Spans that end while the run replays recorded steps
tell nothing new and go nowhere. The key for exporting is always set on purpose: a key for a local
model server must never reach OpenAI.
"""

import threading
from datetime import UTC, datetime
from typing import Any

from agents import set_trace_processors
from agents.tracing import GenerationSpanData, ResponseSpanData, Span, Trace, TracingProcessor
from agents.tracing.processors import BackendSpanExporter, BatchTraceProcessor

from runner.otlp_spans import as_ended
from shared.protocol.record import SpanRecord
from shared.settings import RunnerSettings
from shared.settings.runner import TraceContent
from shared.telemetry.otlp import sink
from shared.telemetry.redact import redact_value
from shared.telemetry.tracecontext import TraceParent

#: 20 spans a run and 128 a request: room for bursts while the ingest is slow.
QUEUE, BATCH = 65_536, 512
#: What a runner that dies has not exported is in SQL alone, so it does not keep much.
EXPORT_EVERY_S = 1.0
#: The error of a span whose run ended before it.
CUT_OFF = {"message": "the run ended"}


class EndedForIt:
    """A span that could not end by itself, as the exporter takes it: its record, ended."""

    tracing_api_key = None

    def __init__(self, trace_id: str, record: SpanRecord) -> None:
        self.trace_id, self.record = trace_id, record

    @property
    def span_id(self) -> str:
        """The span's own id."""
        return self.record.id

    def export(self) -> dict[str, Any]:
        """The payload; see SpanImpl.export."""
        record = self.record
        return {
            "object": "trace.span",
            "id": record.id,
            "trace_id": self.trace_id,
            "parent_id": record.parent,
            "started_at": record.started,
            "ended_at": record.ended,
            "span_data": record.data,
            "error": record.error,
        }


Exported = Span[Any] | EndedForIt


class RunTrace:
    """The spans of one run that SQL does not have yet.

    `silent`: recorded steps are replayed, so what begins is not news. What began aloud is told to
    its end, whatever its siblings do meanwhile.
    """

    def __init__(
        self,
        exporter: "Exporter",
        trace_id: str,
        *,
        silent: bool = False,
        within: TraceParent | None = None,
    ) -> None:
        self._exporter, self.trace_id, self.silent = exporter, trace_id, silent
        #: What the run is done for, across processes.
        self.within = within
        self._changed: dict[str, Span[Any]] = {}
        self._open: dict[str, Span[Any]] = {}
        self._ended: list[Exported] = []  # in the commit that is under way
        self._over = False
        self._lock = threading.Lock()  # tools may end spans in threads

    def began(self, span: Span[Any]) -> None:
        """A span has begun; it is stored open, so that a running run shows where it is."""
        with self._lock:
            if not self.silent:
                self._open[span.span_id] = self._changed[span.span_id] = span

    def ended(self, span: Span[Any]) -> None:
        """A span has ended."""
        with self._lock:
            if self._over:
                return
            if self._open.pop(span.span_id, None) is not None or not self.silent:
                self._changed[span.span_id] = span

    def take(self) -> list[SpanRecord]:
        """What has changed since the last commit."""
        with self._lock:
            changed, self._changed = self._changed, {}
            records = [self._exporter.record_of(span) for span in changed.values()]
            # One that ends from now on comes again with the next commit, and is exported then.
            self._ended = [changed[one.id] for one in records if one.ended is not None]
        return records

    def cut_off(self) -> list[SpanRecord]:
        """The run ends: what is still open will not end any more."""
        with self._lock:
            spans, self._open, self._over = list(self._open.values()), {}, True
        now = datetime.now(UTC).isoformat()
        records = [
            self._exporter.record_of(span).model_copy(update={"ended": now, "error": CUT_OFF})
            for span in spans
        ]
        with self._lock:
            self._ended += [EndedForIt(self.trace_id, one) for one in records]
        return records

    def taken_over(self, spans: list[SpanRecord]) -> None:
        """What another process had begun and SQL has ended is exported for it."""
        for span in spans:
            self._export(EndedForIt(self.trace_id, span))

    def stored(self, _spans: list[SpanRecord]) -> None:
        """The commit stands: what has ended is exported now, and only now."""
        ended, self._ended = self._ended, []
        for span in ended:
            self._export(span)

    def _export(self, span: Exported) -> None:
        self._exporter.export(span)
        sending = sink()
        if sending is not None and self.within is not None:
            sending.add(as_ended(span, self.within))


class Exporter(TracingProcessor):
    """Gets every trace and span of the process and gives them to their runs."""

    def __init__(self, settings: RunnerSettings) -> None:
        self._settings = settings
        self._runs: dict[str, RunTrace] = {}
        self._batch = self._make_batch(settings)

    def run_trace(
        self, trace_id: str, *, silent: bool, within: TraceParent | None = None
    ) -> RunTrace:
        """The spans of a run that begins here, `silent` until its replay is over."""
        self._runs[trace_id] = trace = RunTrace(self, trace_id, silent=silent, within=within)
        return trace

    def forget(self, trace: RunTrace) -> None:
        """The run has ended here."""
        if self._runs.get(trace.trace_id) is trace:
            del self._runs[trace.trace_id]

    def on_trace_start(self, trace: Trace) -> None:
        """The trace itself is exported when it begins."""
        if self._batch is not None:
            self._batch.on_trace_start(trace)

    def on_trace_end(self, trace: Trace) -> None:
        """Nothing: its spans tell when it ended."""

    def on_span_start(self, span: Span[Any]) -> None:
        """Give the span to its run."""
        if run := self._runs.get(span.trace_id):
            run.began(span)

    def on_span_end(self, span: Span[Any]) -> None:
        """Give the span to its run."""
        if not self._settings.at_openai:
            _show_content(span)
        if run := self._runs.get(span.trace_id):
            run.ended(span)

    def export(self, span: Exported) -> None:
        """Send a span that is committed."""
        if self._batch is not None:
            self._batch.on_span_end(span)  # type: ignore[arg-type]

    def record_of(self, span: Span[Any]) -> SpanRecord:
        """A span as it is stored; inputs and outputs redacted, or left out."""
        exported = span.export() or {}
        data = redact_value(exported.get("span_data") or {})
        if isinstance(span.span_data, ResponseSpanData) and self._content:
            data |= redact_value(_content_of(span.span_data))
        error: Any = redact_value(exported.get("error"))
        return SpanRecord(
            id=span.span_id,
            parent=span.parent_id,
            started=str(span.started_at),
            ended=span.ended_at,
            data=data,
            error=dict(error) if error else None,
        )

    @property
    def _content(self) -> bool:
        return self._settings.trace_content is not TraceContent.NONE

    def force_flush(self) -> None:
        """Export what waits; blocks."""
        if self._batch is not None:
            self._batch.force_flush()  # type: ignore[no-untyped-call]

    def shutdown(self) -> None:
        """Export what waits, for five seconds at most."""
        if self._batch is not None:
            self._batch.shutdown(timeout=5.0)

    def _make_batch(self, settings: RunnerSettings) -> BatchTraceProcessor | None:
        key = settings.export_key
        if key is None:
            return None
        options: dict[str, Any] = {"api_key": key.get_secret_value()}
        if settings.trace_endpoint:
            options["endpoint"] = settings.trace_endpoint
        return BatchTraceProcessor(
            RedactingExporter(**options),
            max_queue_size=QUEUE,
            max_batch_size=BATCH,
            schedule_delay=EXPORT_EVERY_S,
        )


class RedactingExporter(BackendSpanExporter):
    """The SDK's exporter, which takes secrets out of what it sends."""

    def export(self, items: list[Trace | Span[Any]]) -> None:
        """Send items; see BackendSpanExporter."""
        super().export([_Redacted(item) for item in items])  # type: ignore[misc]


class _Redacted:
    """A trace or span whose export hides secrets; everything else is the original's."""

    def __init__(self, item: Trace | Span[Any]) -> None:
        self._item = item

    def __getattr__(self, name: str) -> Any:
        return getattr(self._item, name)

    def export(self) -> Any:
        """The payload without secrets."""
        return redact_value(self._item.export())


def install_tracing(settings: RunnerSettings) -> Exporter:
    """Put our processor in place of the SDK's own, which would use any key it finds."""
    exporter = Exporter(settings)
    set_trace_processors([exporter])
    return exporter


def _content_of(data: ResponseSpanData) -> dict[str, Any]:
    """What the dashboard looks up by the response's id; here it is stored."""
    response = data.response
    if response is None:
        return {}
    return {
        "input": data.input,
        "output": [item.model_dump(mode="json", exclude_none=True) for item in response.output],
        "model": str(response.model),
    }


def _show_content(span: Span[Any]) -> None:
    """OpenAI cannot look up responses of other servers, so their spans carry the content."""
    data = span.span_data
    if not isinstance(data, ResponseSpanData) or data.response is None:
        return
    content = _content_of(data)
    given = content["input"]
    span._span_data = GenerationSpanData(  # type: ignore[attr-defined]
        input=[{"role": "user", "content": given}] if isinstance(given, str) else given,
        output=content["output"],
        model=content["model"],
        model_config={},
        usage=data.usage,
    )
