"""What a client may send as input of a run: the rules, without I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson
from ag_ui.core import (
    AssistantMessage,
    ContentPart,
    ResumeEntry,
    RunAgentInput,
    TextPart,
    UserMessage,
)
from pydantic import ValidationError

from gateway.attachments import MOST_FILES, Attachment, attachment_of, shown_in
from shared.db.interrupts import InterruptStatus
from shared.errors import BatonError
from shared.line import line_of
from shared.protocol.codes import Code
from shared.protocol.frames import IfBusy
from shared.protocol.ids import is_id, new_run_id
from shared.wording import first_problem

#: A thread's first title is this much of its first message.
TITLE_CHARS = 60
#: Of what a person says with a decision.
MOST_CHARS = 2000
#: Keys of a message's metadata that only the protocol and we ourselves may set.
_RESERVED = ("ag-ui", "baton")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said about one question; `message` is what the model is told of a refusal."""

    interrupt: str
    approved: bool
    message: str | None = None
    #: Whether `message` is the result of a tool that the client has.
    result: bool = False

    @property
    def status(self) -> InterruptStatus:
        """As the table has it."""
        return InterruptStatus.APPROVED if self.approved else InterruptStatus.REJECTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A run as it was sent, found well-formed.

    `hidden`: it brings its whole conversation along, on a thread of its own that nobody lists.
    `instructions` are added to the agent's own, for this run alone.
    """

    thread_id: str
    run_id: str
    agent: str | None
    input: RunAgentInput
    if_busy: IfBusy
    digest: bytes
    instructions: tuple[str, ...] = ()
    hidden: bool = False
    #: What was said before, as it is stored elsewhere: with it a thread of its own begins.
    history: tuple[dict[str, Any], ...] = ()
    #: The run that has to be its thread's newest, or it is refused.
    after: UUID | None = None
    #: Tools that the client has, if the agent takes them.
    tools: tuple[dict[str, Any], ...] = ()
    #: Our own address, for callers who cannot wait behind what a thread asks: they are refused.
    site: str | None = None
    #: How long each answer of the agent's model may get, in tokens, and texts that it ends before.
    most_tokens: int | None = None
    stop: tuple[str, ...] = ()
    #: What it says to questions of a run that waits; then it is a resume, and says nothing else.
    verdicts: tuple[Verdict, ...] = ()

    @property
    def message_ids(self) -> list[str]:
        """Ids of all messages sent, old and new."""
        return [message.id for message in self.input.messages]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInput:
    """What is stored of a submission: messages that the thread does not hold, and the rest."""

    messages: Sequence[dict[str, Any]]
    record: dict[str, Any]
    files: Sequence[Attachment] = ()

    def showing(self, parts: Mapping[str, dict[str, Any]]) -> "NewInput":
        """The same, with what has been found out about files, by their ids."""
        messages = [_showing(one, parts) for one in self.messages]
        return replace(self, messages=messages, record=self.record | {"messages": messages})


def run_input(thread_id: str, given: dict[str, Any]) -> RunAgentInput:
    """AG-UI's input as a client has written it; ids that it does not name are made.

    Raises:
        BatonError: BAD_INPUT.
    """
    filled = {"threadId": thread_id, "runId": new_run_id()} | given
    try:
        return RunAgentInput.model_validate(filled)
    except ValidationError as error:
        raise BatonError(Code.BAD_INPUT, first_problem(error, within=["input"])) from None


def examine(
    *,
    thread_id: str,
    agent: str | None,
    input: RunAgentInput,  # noqa: A002
    if_busy: IfBusy,
) -> Submission:
    """Check everything that needs no look at what is stored.

    Raises:
        BatonError: BAD_INPUT, NOT_SUPPORTED, or TOO_LARGE.
    """
    _require(is_id(thread_id), "threadId: letters, digits, _ and -, at most 64.")
    _require(is_id(input.run_id), "runId: letters, digits, _ and -, at most 64.")
    _require(input.thread_id == thread_id, "input.threadId: it names another thread.")
    if if_busy in ("rollback", "steer"):
        raise BatonError(Code.NOT_SUPPORTED, f"ifBusy: {if_busy} comes later.")
    ids = [message.id for message in input.messages]
    _require(all(is_id(id_) for id_ in ids), "messages: an id is malformed.")
    _require(len(set(ids)) == len(ids), "messages: two have the same id.")
    return Submission(
        thread_id=thread_id,
        run_id=input.run_id,
        agent=agent,
        input=input,
        if_busy=if_busy,
        digest=_digest(thread_id, agent, input),
        verdicts=_verdicts(input.resume or ()),
    )


def _verdicts(resume: Sequence[ResumeEntry]) -> tuple[Verdict, ...]:
    _require(len({one.interrupt_id for one in resume}) == len(resume), "resume: one comes twice.")
    return tuple(map(_verdict, resume))


def _verdict(entry: ResumeEntry) -> Verdict:
    """One answer as AG-UI has it; a question that was called off is a refusal without words."""
    _require(is_id(entry.interrupt_id), "resume: an interruptId is malformed.")
    if entry.status == "cancelled":
        return Verdict(entry.interrupt_id, approved=False)
    said = entry.payload if isinstance(entry.payload, dict) else {}
    if isinstance(result := said.get("result"), str) and said.keys() == {"result"}:
        return Verdict(entry.interrupt_id, approved=True, message=result, result=True)
    _require(
        isinstance(said.get("approved"), bool),
        "resume: a payload needs `approved`, true or false; or a `result`, text.",
    )
    if said.keys() - {"approved", "message"}:
        raise BatonError(Code.NOT_SUPPORTED, "resume: a payload has `approved` and `message`.")
    message = said.get("message")
    _require(
        message is None or (isinstance(message, str) and 0 < len(message) <= MOST_CHARS),
        f"resume: a message is text of at most {MOST_CHARS:,} characters.",
    )
    return Verdict(entry.interrupt_id, said["approved"], message)


def new_input(submission: Submission, held: frozenset[str]) -> NewInput:
    """What a submission adds to a thread that holds the messages `held`.

    Raises:
        BatonError: BAD_INPUT, and what `attachment_of` raises.
    """
    fresh = [message for message in submission.input.messages if message.id not in held]
    _require(bool(fresh), "messages: none of them is new.")
    messages = list(submission.history)
    files: list[Attachment] = []
    for message in fresh:
        if submission.hidden and isinstance(message, AssistantMessage):
            messages.append({"id": message.id, "role": "assistant", "content": message.content})
            continue
        if not isinstance(message, UserMessage):
            raise BatonError(
                Code.BAD_INPUT, f"messages: a new one has role {message.role}; only user may."
            )
        messages.append(_stored(message, files))
    _require(len(files) <= MOST_FILES, f"messages: at most {MOST_FILES} files.")
    files += [one for message in submission.history for one in shown_in(message)]
    sent = submission.input
    extras = {
        "state": sent.state,
        "context": [one.model_dump(by_alias=True, mode="json") for one in sent.context or ()],
        "forwardedProps": sent.forwarded_props,
        "instructions": list(submission.instructions),
        "before": len(submission.history),
        "tools": list(submission.tools),
        "limits": _limits(submission),
    }
    record = {"messages": messages} | {key: value for key, value in extras.items() if value}
    return NewInput(messages=messages, record=record, files=files)


def _limits(submission: Submission) -> dict[str, Any]:
    most, stop = submission.most_tokens, submission.stop
    return ({"maxTokens": most} if most else {}) | ({"stop": list(stop)} if stop else {})


def _stored(message: UserMessage, files: list[Attachment]) -> dict[str, Any]:
    """The message with what the protocol names, and nothing that only we may say."""
    content: str | list[dict[str, Any]]
    if isinstance(message.content, str):
        content = message.content
        text, shows = content, False
    else:
        content = [_part(part, files) for part in message.content]
        text = "".join(part.get("text", "") for part in content)
        shows = any(part["type"] != "text" for part in content)
    _require(shows or bool(text.strip()), "messages: the text is empty.")
    stored: dict[str, Any] = {"id": message.id, "role": "user", "content": content}
    if message.name:
        stored["name"] = message.name
    metadata = {k: v for k, v in (message.metadata or {}).items() if k not in _RESERVED}
    return stored | ({"metadata": metadata} if metadata else {})


def _part(part: ContentPart, files: list[Attachment]) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    files.append(attachment_of(part))
    return files[-1].part


def _showing(message: dict[str, Any], parts: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    content = message["content"]
    if not isinstance(content, list):
        return message
    shown = [
        part if part["type"] == "text" else parts.get(part["source"]["value"], part)
        for part in content
    ]
    return message | {"content": shown}


def _digest(thread_id: str, agent: str | None, sent: RunAgentInput) -> bytes:
    """SHA-256 of all that makes a run what it is, whatever the order of its keys."""
    whole = {
        "threadId": thread_id,
        "agent": agent,
        "input": sent.model_dump(by_alias=True, mode="json"),
    }
    return sha256(orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)).digest()


def _require(fine: bool, sentence: str) -> None:
    if not fine:
        raise BatonError(Code.BAD_INPUT, sentence)


def title_of(message: dict[str, Any]) -> str:
    """What a thread is called that begins with this message: its first words."""
    content = message["content"]
    names: list[str] = []
    if isinstance(content, str):
        said = content
    else:
        said = " ".join(part["text"] for part in content if part["type"] == "text")
        names = [part.get("metadata", {}).get("name") or "File" for part in content]
    words = line_of(said) or line_of(next(iter(names), ""))
    return words if len(words) <= TITLE_CHARS else words[: TITLE_CHARS - 1].rstrip() + "…"
