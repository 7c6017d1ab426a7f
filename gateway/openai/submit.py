"""From a request to a run: its ids, and what is stored of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson
from ag_ui.core import AssistantMessage, RunAgentInput, UserMessage

from gateway.auth.caller import Caller
from gateway.intake import Submission
from gateway.openai.asked import Asked, bad
from gateway.openai.messages import Said
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.ids import is_id, new_run_id, new_thread_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Onto:
    """What a response goes on from: a thread, after its newest run, or a history of its own."""

    thread: str | None = None
    after: UUID | None = None
    history: tuple[dict[str, Any], ...] = ()


#: The same request, whether it is answered in one piece or as a stream.
_FORM = frozenset({"stream", "stream_options", "background"})


def submission(
    caller: Caller,
    asked: Asked,
    body: dict[str, Any],
    *,
    agent: str,
    key: str | None,
    site: str,
    onto: Onto | None = None,
    tools: Sequence[dict[str, Any]] = (),
) -> Submission:
    """The run that a request asks for. The same key gives the same ids, at every gateway.

    `site`: our own address; `onto`: what it goes on from; `tools`: what the client has.

    Raises:
        BatonError: NOT_FOUND for what cannot be a thread's id; BAD_INPUT where nothing is said.
    """
    if not asked.said:
        raise bad(asked.place, "there is no text to answer.")
    run, thread = ids_of(caller, key)
    if asked.thread is not None and not is_id(asked.thread):
        raise BatonError(Code.NOT_FOUND)
    named = asked.thread if onto is None else onto.thread
    thread = named or thread
    return Submission(
        thread_id=thread,
        run_id=run,
        agent=agent,
        input=RunAgentInput(
            thread_id=thread,
            run_id=run,
            state=None,
            messages=_messages(asked.said, run),
            tools=[],
            context=[],
            forwarded_props=asked.metadata,
        ),
        if_busy="enqueue",
        digest=digest_of(body, asked.thread),
        instructions=tuple(asked.instructions),
        hidden=named is None,
        history=onto.history if onto else (),
        after=onto.after if onto else None,
        tools=tuple(tools),
        site=site,
        most_tokens=asked.most_tokens,
        stop=asked.stop,
    )


def _messages(said: Sequence[Said], run: str) -> list[UserMessage | AssistantMessage]:
    return [
        UserMessage(
            id=f"msg_{run[4:]}_{number}",
            role="user",
            content=list(one.parts) if one.parts else one.text,
        )
        if one.role == "user"
        else AssistantMessage(id=f"msg_{run[4:]}_{number}", role="assistant", content=one.text)
        for number, one in enumerate(said)
    ]


def run_of(caller: Caller, key: str) -> str:
    """The run of the requests that come with this key."""
    return ids_of(caller, key)[0]


def ids_of(caller: Caller, key: str | None) -> tuple[str, str]:
    """The ids of a run, and of a thread for it; the same for the same key."""
    if key is None:
        return new_run_id(), new_thread_id()
    derived = sha256(f"{caller.user_id}\n{key}".encode()).hexdigest()[:32]
    return f"run_{derived}", f"thr_{derived}"


def digest_of(body: dict[str, Any], thread: str | None) -> bytes:
    """SHA-256 of all that makes a request what it is, whatever the order of its keys."""
    whole = {name: value for name, value in body.items() if name not in _FORM}
    return sha256(orjson.dumps([thread, whole], option=orjson.OPT_SORT_KEYS)).digest()
