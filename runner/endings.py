"""How a run is said to have ended: its terminal event, and what SQL keeps of it."""

from typing import Any

from runner import codec
from runner.carried import CarriedRun, Stop, StopKind
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.record import End, Outcome

_OUTCOMES = {
    StopKind.FINISHED: Outcome.FINISHED,
    StopKind.CANCELLED: Outcome.CANCELLED,
    StopKind.FAILED: Outcome.FAILED,
    StopKind.INTERRUPTED: Outcome.INTERRUPTED,
}


def terminal(run: CarriedRun, stop: Stop) -> dict[str, Any]:
    """The last event of a run that stops like this."""
    used = {"usage": _usage(run)} if run.usage else {}
    if stop.kind is StopKind.FAILED:
        error = stop.error or BatonError(Code.INTERNAL)
        code = error.details.get("code", error.code)
        return {"type": "RUN_ERROR", "message": error.message, "code": code, **used}
    event = {
        "type": "RUN_FINISHED",
        "threadId": run.claimed.thread_id,
        "runId": run.claimed.run_id,
        "outcome": _outcome(stop),
        **used,
    }
    if stop.result is not None and not isinstance(stop.result, str):
        event["result"] = codec.shown(stop.result)
    return event


def end_of(run: CarriedRun, stop: Stop) -> End:
    """What goes along with the last commit of a run that stops like this."""
    error = stop.error
    return End(
        outcome=_OUTCOMES[stop.kind],
        error_code=error.details.get("code", error.code) if error else None,
        error_message=error.message if error else None,
        usage=_usage(run),
        messages=run.messages(),
        withdrawn=run.earlier.withdrawn,
        asked=[one.record for one in stop.asked],
    )


def _usage(run: CarriedRun) -> list[dict[str, Any]]:
    return [{"model": model, **counts} for model, counts in run.usage.items() if counts]


def _outcome(stop: Stop) -> dict[str, Any]:
    if stop.kind is StopKind.INTERRUPTED:
        return {"type": "interrupt", "interrupts": [one.event for one in stop.asked]}
    return {"type": "success" if stop.kind is StopKind.FINISHED else "cancelled"}
