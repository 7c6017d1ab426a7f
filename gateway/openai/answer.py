"""What a caller who sees one text is told of a run: rules without I/O.

The texts of a run's messages, those of sub-agents excluded, are one text with a blank line between
them. What has been sent cannot be taken back: after a take-over in mid-text, new text is swallowed
while it repeats what was sent, and at the first difference the answer ends.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from shared.errors import BatonError
from shared.protocol.codes import MEANINGS, Code

BETWEEN_MESSAGES = "\n\n"
_TEXTS = frozenset({"TEXT_MESSAGE_CHUNK", "TEXT_MESSAGE_CONTENT"})


def is_text(event: dict[str, Any]) -> bool:
    """Whether an event is told by the text alone."""
    return event["type"] in _TEXTS and not event.get("subagentRunId")


@dataclass(frozen=True, slots=True)
class Ended:
    """How the run ended: `error` where there is no whole answer; `usage` as AG-UI has it."""

    error: BatonError | None
    usage: list[dict[str, Any]]


class Answer:
    """Feed it the run's events in order.

    `streamed`: what `feed` returns is sent at once. Otherwise only `text` counts, at the end.
    `link`: where a person decides what the run asks.
    """

    def __init__(self, *, streamed: bool, link: str) -> None:
        self._streamed, self._link = streamed, link
        #: By message, in order; the pieces of all of them make the text.
        self._pieces: dict[str, list[str]] = {}
        self._result: str | None = None
        #: What the client has, while the run writes it once more, and how much has come again.
        self._sent, self._again = "", 0
        self.ended: Ended | None = None

    @property
    def text(self) -> str:
        """All of it so far."""
        return "".join(piece for pieces in self._pieces.values() for piece in pieces)

    def feed(self, event: dict[str, Any]) -> str:
        """What the event adds to what the client has.

        Raises:
            BatonError: ANSWER_RESTARTED.
        """
        if event.get("subagentRunId"):
            return ""
        kind = event["type"]
        if kind in _TEXTS:
            return self._write(event["messageId"], event) if event.get("role") != "user" else ""
        if kind == "TOOL_CALL_RESULT":
            self._result = event["content"]
        elif kind == "MESSAGES_SNAPSHOT":
            self._withdraw({message["id"] for message in event["messages"]})
        elif kind == "RUN_FINISHED":
            return self._finish(event)
        elif kind == "RUN_ERROR":
            self.ended = Ended(_failure(event), event.get("usage") or [])
        return ""

    def _write(self, message: str, event: dict[str, Any]) -> str:
        text = event.get("delta") or ""
        if not text:
            return ""
        pieces = self._pieces.get(message)
        if pieces is None:
            text = (BETWEEN_MESSAGES if self._pieces else "") + text
            pieces = self._pieces[message] = []
        pieces.append(text)
        return self._beyond(text) if self._sent else text

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
        sent = self._sent or self.text
        self._pieces = {one: pieces for one, pieces in self._pieces.items() if one in kept}
        if not self._streamed:
            return
        left = self.text
        if not sent.startswith(left):
            raise BatonError(Code.ANSWER_RESTARTED)
        self._sent, self._again = sent, len(left)

    def _finish(self, event: dict[str, Any]) -> str:
        outcome = event["outcome"]
        usage = event.get("usage") or []
        if outcome["type"] == "cancelled":
            self.ended = Ended(BatonError(Code.CANCELLED, repeatable=False), usage)
            return ""
        last = ""
        if outcome["type"] == "interrupt":
            last = _questions(outcome.get("interrupts", ()), self._link)
        elif not self._pieces:
            last = self._said_otherwise(event)
        text = self._write("", {"delta": last})
        if self._sent:  # the new answer is shorter than what was sent
            raise BatonError(Code.ANSWER_RESTARTED)
        self.ended = Ended(None, usage)
        return text

    def _said_otherwise(self, event: dict[str, Any]) -> str:
        """The final output of an agent that ends without a text: an object, or a tool's result."""
        if "result" in event:
            return orjson.dumps(event["result"]).decode()
        return self._result or ""


def _questions(interrupts: Iterable[dict[str, Any]], link: str) -> str:
    """What the run asks a person, for whoever reads the answer."""
    lines = [
        f"{about['agent']} asks whether it may call {about['tool']} with {about['arguments']}"
        for about in (one["metadata"]["baton"] for one in interrupts)
    ]
    return "\n".join([*lines, f"It goes on when that is decided: {link}"])


def _failure(event: dict[str, Any]) -> BatonError:
    """A run's own error; asking again would begin another run, with its effects."""
    name = event.get("code")
    code = Code(name) if name in MEANINGS else Code.AGENT_ERROR
    return BatonError(code, event.get("message") or None, repeatable=False)
