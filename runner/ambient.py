"""OpenTelemetry's context inside of agent code: the run's trace, at the SDK's present span.

So what instruments HTTP clients, drivers and MCP goes on with the trace by itself, whether the
author's code has a tracer of its own (its spans are part of the run's trace) or none.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.context import attach, detach
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from baton.trace import here
from shared.telemetry.otlp import told_outside


@contextmanager
def traced() -> Iterator[None]:
    """Have the code in the block find the trace; nothing where nobody records one."""
    trace = told_outside()
    if trace is None:
        yield
        return
    at = here(trace)
    flags = TraceFlags(TraceFlags.SAMPLED if at.sampled else TraceFlags.DEFAULT)
    span = SpanContext(int(at.trace, 16), int(at.span, 16), is_remote=False, trace_flags=flags)
    token = attach(set_span_in_context(NonRecordingSpan(span)))
    try:
        yield
    finally:
        detach(token)
