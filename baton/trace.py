"""The trace of the present run, for code that asks other services for something.

What OpenTelemetry instruments needs none of this: inside of a run its context is the run's.
"""

from agents.tracing import get_current_span

from shared.telemetry.otlp import sink, told_outside
from shared.telemetry.tracecontext import TraceParent, span_id_of

#: The id of spans that nobody keeps: the SDK's tracing is switched off.
_NO_SPAN = "no-op"


def traceparent() -> str | None:
    """The value of the header `traceparent` for a request that is made here (W3C Trace Context).

    Returns:
        None outside of a run, and where nobody records traces: then the header is to be left out.
    """
    trace = told_outside()
    return here(trace).header if trace else None


def here(trace: TraceParent) -> TraceParent:
    """A trace at the SDK's present span, where spans are sent; else as it came to this process."""
    span = get_current_span() if sink() is not None else None
    if span is None or span.span_id == _NO_SPAN:
        return trace
    return trace.inside(span_id_of(span.span_id))
