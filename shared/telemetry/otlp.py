"""OpenTelemetry: spans and metrics sent by OTLP, where the usual `OTEL_*` variables say so.

Without them no exporter is imported and no thread begins. Spans are made from what is
measured anyway, when it has ended; metrics are those of `/metrics`.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from shared.telemetry.logs import bound, get_logger
from shared.telemetry.tracecontext import TRACE, TraceParent, begun, parsed

log = get_logger(__name__)

#: What has not been sent by then is lost: a collector that is away must not hold up a deploy.
CLOSE_S = 5.0
DEFAULT_EVERY_MS = 60_000
_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedSpan:
    """Something that was done: times in nanoseconds since the epoch."""

    name: str
    at: TraceParent
    #: The span it was done inside of.
    parent: str | None
    begun_ns: int
    ended_ns: int
    #: Whether it answered another process.
    serves: bool = False
    attributes: Mapping[str, str | int | float | bool]
    error: str | None = None


class Sink:
    """Where spans go; `None` in the place of its parts where they are switched off."""

    def __init__(self, process: str, environ: Mapping[str, str]) -> None:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - 0.3 s that few need

        about = {"baton.process": process}
        if not environ.get("OTEL_SERVICE_NAME"):
            about["service.name"] = f"baton-{process}"
        resource = Resource.create(about)
        self._resource = resource
        self._spans = _span_processor() if _wanted("TRACES", environ) else None
        self._metrics = _Metrics(resource, environ) if _wanted("METRICS", environ) else None

    def add(self, span: EndedSpan) -> None:
        """Send a span soon; never blocks, and drops it where the queue is full."""
        if self._spans is not None and span.at.sampled:
            self._spans.on_end(_readable(span, self._resource))

    def close(self) -> None:
        """Send what waits, for some seconds at most."""
        closing = threading.Thread(target=self._close, name="close otlp", daemon=True)
        closing.start()
        closing.join(CLOSE_S)

    def _close(self) -> None:
        if self._spans is not None:
            self._spans.shutdown()
        if self._metrics is not None:
            self._metrics.close()


#: Of this process, where something is exported.
_sink: Sink | None = None


def sink() -> Sink | None:
    """Where spans of this process go; `None` where nothing is exported."""
    return _sink


def told_outside() -> TraceParent | None:
    """The trace that others are told of when they are asked for something.

    None where nobody records it: a name that only we know would have them record it for nobody.
    """
    trace = TRACE.get()
    return trace if trace is not None and (trace.asked or _sink is not None) else None


def entered(asked: TraceParent | None, *, begins: bool = True) -> TraceParent | None:
    """A span for what is done for somebody: of his trace, or of one that begins with it.

    None where he has none and none `begins`, or nothing is exported.
    """
    if asked is not None:
        return asked.inside()
    return begun() if begins and _sink is not None else None


@contextmanager
def traced(name: str, header: object) -> Iterator[None]:
    """Do in the block what a client has asked for in this trace, else in the present one."""
    asked = parsed(header) or TRACE.get()
    here = entered(asked)
    if here is None:
        yield
        return
    within, begun_ns, failed = TRACE.set(here), time.time_ns(), None
    try:
        with bound(trace=here.trace):
            yield
    except BaseException as error:
        failed = type(error).__name__
        raise
    finally:
        TRACE.reset(within)
        if _sink is not None:
            _sink.add(
                EndedSpan(
                    name=name,
                    at=here,
                    parent=asked.span if asked else None,
                    begun_ns=begun_ns,
                    ended_ns=time.time_ns(),
                    serves=True,
                    attributes={},
                    error=failed,
                )
            )


@contextmanager
def exporting(process: str, environ: Mapping[str, str] | None = None) -> Iterator[Sink | None]:
    """Export for the block what the environment asks for; threads begin here, so fork before."""
    global _sink  # noqa: PLW0603 - one per process, as the variables are
    environ = os.environ if environ is None else environ
    if not any(_wanted(kind, environ) for kind in ("TRACES", "METRICS")):
        yield None
        return
    logging.getLogger("opentelemetry").addFilter(_without_tracebacks)
    _sink = ours = Sink(process, environ)
    log.info("exports by OTLP")
    try:
        yield ours
    finally:
        _sink = None
        ours.close()


def _wanted(kind: str, environ: Mapping[str, str]) -> bool:
    """Whether one kind (TRACES, METRICS) is to be exported."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if environ.get(f"OTEL_{kind}_EXPORTER", "otlp") != "otlp":
        return False
    if not (environ.get(f"OTEL_EXPORTER_OTLP_{kind}_ENDPOINT") or environ.get(_ENDPOINT)):
        return False
    general = environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = environ.get(f"OTEL_EXPORTER_OTLP_{kind}_PROTOCOL", general)
    if protocol in (None, "http/protobuf"):
        return True
    log.error("OTLP is spoken as http/protobuf alone; nothing is exported", wanted=protocol)
    return False


def _without_tracebacks(record: logging.LogRecord) -> bool:
    """A collector that is away is one line each time, not a page."""
    record.exc_info = None
    return True


def _span_processor() -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    return BatchSpanProcessor(OTLPSpanExporter())


def _readable(span: EndedSpan, resource: Any) -> Any:
    from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415
    from opentelemetry.trace import SpanContext, SpanKind, TraceFlags  # noqa: PLC0415
    from opentelemetry.trace.status import Status, StatusCode  # noqa: PLC0415

    def context(id_: str, *, remote: bool) -> SpanContext:
        flags = TraceFlags(TraceFlags.SAMPLED)
        return SpanContext(int(span.at.trace, 16), int(id_, 16), remote, flags)

    return ReadableSpan(
        name=span.name,
        context=context(span.at.span, remote=False),
        parent=context(span.parent, remote=span.serves) if span.parent else None,
        resource=resource,
        attributes=dict(span.attributes),
        kind=SpanKind.SERVER if span.serves else SpanKind.INTERNAL,
        status=Status(StatusCode.ERROR, span.error) if span.error else Status(),
        start_time=span.begun_ns,
        end_time=span.ended_ns,
    )


class _Metrics:
    """Sends the registry's metrics every `OTEL_METRIC_EXPORT_INTERVAL` milliseconds."""

    def __init__(self, resource: Any, environ: Mapping[str, str]) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415
            OTLPMetricExporter,
        )

        self._exporter = OTLPMetricExporter()
        self._resource = resource
        self._over = threading.Event()
        given = environ.get("OTEL_METRIC_EXPORT_INTERVAL", "")
        self._every_s = (int(given) if given.isdigit() else DEFAULT_EVERY_MS) / 1000
        self._thread = threading.Thread(target=self._run, name="otlp metrics", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        from shared.telemetry.otlp_metrics import metrics_data  # noqa: PLC0415

        over = False
        while not over:  # the last time when it is over: what came since then counts too
            over = self._over.wait(self._every_s)
            try:
                self._exporter.export(metrics_data(self._resource))
            except Exception as error:  # noqa: BLE001 - it would end the thread, and all after it
                log.warning("metrics were not exported", error=repr(error))

    def close(self) -> None:
        """Send once more, and end."""
        self._over.set()
        self._thread.join()
        self._exporter.shutdown()
