"""What a caller who sees one answer is told of a run: rules without I/O.

The texts of a run's messages, those of sub-agents excluded, are one text with a blank line between
them; what a model said when it refused stands apart. What has been sent cannot be taken back: after
a take-over in mid-text, new text is swallowed while it repeats what was sent, and at the first
difference the answer ends.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from shared.errors import BatonError
from shared.protocol.codes import MEANINGS, Code
from shared.protocol.record import InterruptReason
from shared.web.files import LINK

BETWEEN_MESSAGES = "\n\n"
_TEXTS = frozenset({"TEXT_MESSAGE_CHUNK", "TEXT_MESSAGE_CONTENT"})


def is_text(event: dict[str, Any]) -> bool:
    """Whether an event is told by the text alone."""
    return event["type"] in _TEXTS and not event.get("subagentRunId")


def is_refusal(message: dict[str, Any]) -> bool:
    """Whether a message, or an event of its text, is what a model said when it refused."""
    return bool(((message.get("metadata") or {}).get("baton") or {}).get("refusal"))


def why_incomplete(event: dict[str, Any]) -> str | None:
    """Why its model ended a text before its end, by an event of it."""
    why = ((event.get("metadata") or {}).get("baton") or {}).get("incomplete")
    return why if isinstance(why, str) else None


class Added(NamedTuple):
    """What an event adds to what the client has."""

    text: str = ""
    refusal: str = ""


NOTHING = Added()


class Question(NamedTuple):
    """A call that waits: for a person's decision, or for the client that has the tool.

    `arguments` are as the model wrote them.
    """

    id: str
    agent: str
    tool: str
    arguments: str
    of_client: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A whole answer; `usage` as AG-UI has it, `asked` what it waits for.

    `incomplete`: why its model ended it early, as responses have it.
    `refused_first`: the refusal came before the text, which hardly any answer has both of.
    """

    text: str = ""
    refusal: str = ""
    refused_first: bool = False
    usage: list[dict[str, Any]] = field(default_factory=list)
    asked: tuple[Question, ...] = ()
    incomplete: str | None = None


class Answer:
    """Feed it the run's events in order, until `ended`.

    `streamed`: what `feed` returns is sent at once. Otherwise only `whole` counts, at the end.
    `link`: where a person decides what the run asks; with one, the text ends with the questions.
    `site`: our own address; the text ends with links to the files that tools have made.
    """

    def __init__(self, *, streamed: bool, link: str | None, site: str = "") -> None:
        self._streamed, self._link, self._site = streamed, link, site
        #: Their names by their ids.
        self._files: dict[str, str] = {}
        #: By message, in order; the pieces of all of them make the answer.
        self._pieces: dict[str, list[str]] = {}
        #: Those of the messages in which a model refused; and whether the newest is one.
        self._refusals: set[str] = set()
        self._refused = False
        self._result: str | None = None
        #: What the client has, while the run writes it once more, and how much has come again.
        self._sent, self._again = "", 0
        self._error: BatonError | None = None
        self._usage: list[dict[str, Any]] = []
        self._asked: tuple[Question, ...] = ()
        self._incomplete: str | None = None
        self.ended = False

    @property
    def whole(self) -> Whole:
        """The whole answer of a run that has ended.

        Raises:
            BatonError: it has none: the run's own error, or CANCELLED.
        """
        if self._error is not None:
            raise self._error
        return Whole(
            text=self._joined(self._pieces.keys() - self._refusals),
            refusal=self._joined(self._refusals),
            refused_first=next(iter(self._pieces), None) in self._refusals,
            usage=self._usage,
            asked=self._asked,
            incomplete=self._incomplete,
        )

    def _joined(self, messages: Collection[str]) -> str:
        return "".join(
            piece for one, pieces in self._pieces.items() if one in messages for piece in pieces
        )

    def feed(self, event: dict[str, Any]) -> Added:
        """What the event adds to what the client has.

        Raises:
            BatonError: ANSWER_RESTARTED.
        """
        if event.get("subagentRunId"):
            return NOTHING
        kind = event["type"]
        if kind in _TEXTS:
            if event.get("role") == "user":
                return NOTHING
            self._incomplete = why_incomplete(event)
            return self._write(
                event["messageId"], event.get("delta") or "", refused=is_refusal(event)
            )
        if kind == "TOOL_CALL_RESULT":
            self._result = event["content"]
            self._files |= {id_: name for name, id_ in LINK.findall(str(self._result))}
        elif kind == "MESSAGES_SNAPSHOT":
            self._withdraw({message["id"] for message in event["messages"]})
        elif kind == "RUN_FINISHED":
            return self._finish(event)
        elif kind == "RUN_ERROR":
            self._fail(event)
        return NOTHING

    def _write(self, message: str, text: str, *, refused: bool = False) -> Added:
        if not text:
            return NOTHING
        self._refused = refused
        pieces = self._pieces.get(message)
        if pieces is None:
            alike = any((one in self._refusals) == refused for one in self._pieces)
            text = (BETWEEN_MESSAGES if alike else "") + text
            pieces = self._pieces[message] = []
            if refused:
                self._refusals.add(message)
        pieces.append(text)
        told = self._beyond(text) if self._sent else text
        return Added(refusal=told) if refused else Added(text=told)

    def _beyond(self, text: str) -> str:
        """The part of a text that goes beyond what the client has."""
        expected = self._sent[self._again : self._again + len(text)]
        if not text.startswith(expected):
            raise BatonError(Code.ANSWER_RESTARTED)
        self._again += len(expected)
        if self._again == len(self._sent):
            self._sent = ""
        return text[len(expected) :]

    def _withdraw(self, kept: Collection[str]) -> None:
        """A snapshot takes back the messages that it does not restate."""
        if all(message in kept for message in self._pieces):
            return
        sent = self._sent or self._joined(self._pieces)
        self._pieces = {one: pieces for one, pieces in self._pieces.items() if one in kept}
        if not self._streamed:
            return
        left = self._joined(self._pieces)
        if not sent.startswith(left):
            raise BatonError(Code.ANSWER_RESTARTED)
        self._sent, self._again = sent, len(left)

    def _finish(self, event: dict[str, Any]) -> Added:
        outcome = event["outcome"]
        self.ended, self._usage = True, event.get("usage") or []
        if outcome["type"] == "cancelled":
            self._error = BatonError(Code.CANCELLED, repeatable=False)
            return NOTHING
        last = ""
        if outcome["type"] == "interrupt":
            self._asked = tuple(map(_question, outcome.get("interrupts", ())))
            decided = [one for one in self._asked if not one.of_client]
            last = _in_words(decided, self._link) if self._link and decided else ""
        elif not self._pieces:
            last = self._said_otherwise(event)
        links = (f"[{name}]({self._site}/api/files/{id_})" for id_, name in self._files.items())
        added = self._write("", BETWEEN_MESSAGES.join(filter(None, (last, *links))))
        if self._sent:  # the new answer is shorter than what was sent
            raise BatonError(Code.ANSWER_RESTARTED)
        return added

    def _fail(self, event: dict[str, Any]) -> None:
        """The SDK calls it an error when a model refuses; for its caller that is the answer."""
        self.ended, self._usage = True, event.get("usage") or []
        if not (self._refused and event.get("code") == Code.AGENT_ERROR):
            self._error = _failure(event)

    def _said_otherwise(self, event: dict[str, Any]) -> str:
        """The final output of an agent that ends without a text: an object, or a tool's result."""
        if "result" in event:
            return orjson.dumps(event["result"]).decode()
        return self._result or ""


def _question(interrupt: dict[str, Any]) -> Question:
    about = interrupt["metadata"]["baton"]
    of_client = interrupt.get("reason") == InterruptReason.CLIENT_TOOL
    return Question(
        interrupt["id"], about["agent"], about["tool"], about["arguments"], of_client=of_client
    )


def _in_words(asked: Iterable[Question], link: str) -> str:
    """What the run asks a person, for whoever reads the answer."""
    lines = [
        f"{one.agent} asks whether it may call {one.tool} with {one.arguments}" for one in asked
    ]
    return "\n".join([*lines, f"It goes on when that is decided: {link}"])


def _failure(event: dict[str, Any]) -> BatonError:
    """A run's own error; asking again would begin another run, with its effects."""
    name = event.get("code")
    code = Code(name) if name in MEANINGS else Code.AGENT_ERROR
    return BatonError(code, event.get("message") or None, repeatable=False)
