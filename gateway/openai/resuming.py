"""Requests that answer what a run waits for: results of the client's own tools, and decisions.

They go on with that run, by the ids of its questions, and add nothing else to it. What a client
says of the call besides, its name and arguments, decides nothing; it only has to be true.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from ag_ui.core import RunAgentInput

from gateway.auth.caller import Caller
from gateway.intake import MOST_CHARS, Submission, Verdict
from gateway.openai.asked import Asked, bad
from gateway.openai.earlier import Found
from gateway.openai.messages import Called, Told
from gateway.openai.submit import digest_of, ids_of
from gateway.services import Services
from gateway.store import interrupts
from gateway.store.interrupts import InterruptRow, Waiting
from shared.db.interrupts import InterruptStatus
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.record import InterruptReason


async def resuming(
    services: Services,
    caller: Caller,
    asked: Asked,
    body: dict[str, Any],
    *,
    agent: str,
    key: str | None,
    previous: Found | None = None,
) -> Submission | None:
    """What goes on with a run that waits; `None` where the request begins one of its own.

    `previous`: the response that it goes on from.

    Raises:
        BatonError: BAD_INPUT, the answers do not fit what is asked; NOT_SUPPORTED, something new is
            said beside them.
    """
    async with services.db.reading(caller.user_id) as db:
        ids = [one.id for one in asked.told]
        waiting = await interrupts.waiting(db, caller.user_id, ids) if ids else []
        known = {one.id: one for one in waiting if asked.thread in (None, one.thread)}
        run = waiting[0].run if known else previous.newest.key if previous else None
        asks = await interrupts.of_run(db, run) if run else []
    told = [one for one in asked.told if _fits(one, known.get(one.id))]
    _check_known(asked, told)
    if not told:
        if previous and previous.waits:
            _check_complete("input", asks, told)
        return None
    if asked.news:
        message = f"{asked.place}: what is new needs a request of its own, after this one."
        raise BatonError(Code.NOT_SUPPORTED, message, param=asked.place)
    _check_one(asked, [known[one.id] for one in told], agent, previous)
    _check_calls(asked.place, asked.calls, known)
    if any(one.result for one in told):
        _check_complete(asked.place, asks, told)
    return _resume(
        known[told[0].id].thread,
        ids_of(caller, key)[0],
        digest=digest_of(body, asked.thread),
        verdicts=tuple(map(_verdict, told)),
    )


def _resume(thread: str, run: str, *, digest: bytes, verdicts: tuple[Verdict, ...]) -> Submission:
    """Verdicts and nothing else."""
    given = RunAgentInput(
        thread_id=thread, run_id=run, state=None, messages=[], tools=[], context=[],
        forwarded_props=None,
    )  # fmt: skip
    return Submission(
        thread_id=thread,
        run_id=run,
        agent=None,
        input=given,
        if_busy="enqueue",
        digest=digest,
        verdicts=verdicts,
    )


def _fits(told: Told, waiting: Waiting | None) -> bool:
    """Whether it answers a question: a result never decides about an approval."""
    if waiting is None:
        return False
    return told.result is (waiting.reason == InterruptReason.CLIENT_TOOL)


def _check_known(asked: Asked, told: Sequence[Told]) -> None:
    """Results of calls that nobody waits for are history, but not beside others."""
    for one in asked.told:
        if one in told or (one.result and not told):
            continue
        what = "call that waits for a result" if one.result else "request for an approval"
        raise bad(asked.place, f"{one.id[:64]!r} is no {what} of yours.")


def _check_one(
    asked: Asked, waiting: Sequence[Waiting], agent: str, previous: Found | None
) -> None:
    first = waiting[0]
    if any(one.run != first.run for one in waiting):
        raise bad(asked.place, "these belong to several runs; answer one after another.")
    if previous is not None and first.run not in [row.key for row in previous.rows]:
        raise bad("previous_response_id", "another response has asked this.")
    if first.agent != agent:
        raise bad("model", f"the run that waits is one of {first.agent}.")
    if len({one.id for one in asked.told}) != len(asked.told):
        raise bad(asked.place, "two are about the same question.")


def _check_calls(place: str, calls: Mapping[str, Called], known: Mapping[str, Waiting]) -> None:
    for id_, call in calls.items():
        one = known.get(id_)
        if one is None:
            continue
        if call.name != one.tool or _value(call.arguments) != _value(one.arguments):
            raise bad(place, f"{id_!r} is a call of {one.tool} with other arguments.")


def _value(arguments: str) -> Any:
    """What arguments say, however they are written."""
    try:
        return orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        return arguments


def _check_complete(place: str, asks: Sequence[InterruptRow], told: Sequence[Told]) -> None:
    """All calls of the client's tools are answered at once, as OpenAI wants it."""
    said = {one.id for one in told}
    for one in asks:
        open_ = one.status == InterruptStatus.OPEN and one.reason == InterruptReason.CLIENT_TOOL
        if open_ and one.id not in said:
            raise bad(place, f"no result is told of the call {one.id!r} of {one.tool}.")


def _verdict(told: Told) -> Verdict:
    text = None if told.text is None else told.text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if not told.result and text is not None and len(text) > MOST_CHARS:
        raise bad("input", f"a reason has at most {MOST_CHARS:,} characters.")
    return Verdict(told.id, approved=told.approved, message=text or None, result=told.result)
