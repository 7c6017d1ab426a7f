"""The SDK's spans in OpenTelemetry's form: who did what for how long; never what was said."""

from datetime import datetime
from typing import Any, Protocol

from shared.telemetry.otlp import EndedSpan
from shared.telemetry.redact import redact_value
from shared.telemetry.tracecontext import TraceParent, span_id_of


class Exportable(Protocol):
    """A span that has ended."""

    def export(self) -> dict[str, Any] | None: ...  # noqa: D102


def as_ended(span: Exportable, within: TraceParent) -> EndedSpan:
    """A span of a run that is done for `within`; those that are inside no other are inside that."""
    told: dict[str, Any] = redact_value(span.export() or {})
    data, error = told.get("span_data") or {}, told.get("error")
    parent = told.get("parent_id")
    return EndedSpan(
        name=_name(data),
        at=within.inside(span_id_of(str(told.get("id")))),
        parent=span_id_of(parent) if parent else within.span,
        begun_ns=_nanoseconds(told.get("started_at")),
        ended_ns=_nanoseconds(told.get("ended_at")),
        attributes={"baton.span": str(data.get("type")), **_counts(data.get("usage"))},
        error=str(error.get("message", "failed")) if error else None,
    )


def _name(data: dict[str, Any]) -> str:
    kind = str(data.get("type", "span"))
    about = data.get("name") or data.get("model") or data.get("to_agent") or ""
    return f"{kind} {about}".strip()


def _counts(usage: Any) -> dict[str, int]:
    """What a model call has cost, by the names of OpenTelemetry's conventions."""
    if not isinstance(usage, dict):
        return {}
    names = ("input_tokens", "output_tokens")
    return {
        f"gen_ai.usage.{name}": usage[name] for name in names if isinstance(usage.get(name), int)
    }


def _nanoseconds(moment: Any) -> int:
    """A moment as the SDK writes it; now and then it has none, for what never really began."""
    return int(datetime.fromisoformat(moment).timestamp() * 1e9) if moment else 0
