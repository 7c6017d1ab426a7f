"""Long threads: what nears the model's window is summarised first, and the summary stands for it.

The summary is made by a hidden agent, recorded as a step like any other, and left in the thread as
an activity that says up to which message it speaks; later runs begin with it. The messages
themselves stay as they are. Where it fails, that is recorded too, and the run goes on with
all of them: whether they fit, the model server says.
"""

from collections.abc import Sequence
from typing import Any

from runner.carried import CarriedRun
from runner.compaction.agent import (
    ACTIVITY,
    SHARE,
    piece_tokens,
    shown,
    summarised,
    tokens_of,
    told,
)
from runner.conversation import as_input, text_of
from runner.journal import Key
from runner.models.digest import digest_of
from runner.models.journaled import JournaledModel
from shared.telemetry.logs import get_logger

log = get_logger(__name__)

Message = dict[str, Any]


def standing(conversation: Sequence[Message]) -> tuple[str | None, list[Message]]:
    """The newest summary in a conversation, and the messages that it does not speak of."""
    messages = [one for one in conversation if not _is_mark(one)]
    marks = (one for one in reversed(conversation) if _is_mark(one))
    newest = next((one for one in marks if one["content"]["until"] is not None), None)
    if newest is None:
        return None, messages
    return newest["content"]["summary"], _after(messages, newest["content"]["until"])


def model_input(summary: str | None, messages: Sequence[Message]) -> list[Message]:
    """What the model is given of the past."""
    return [*([told(summary)] if summary else []), *as_input(messages)]


async def brought_to_size(run: CarriedRun, model: JournaledModel | None) -> list[Message]:
    """The run's conversation as input, summarised where it takes more than `compacts_above`."""
    summary, messages = standing(run.conversation)
    if model is None:
        return model_input(summary, messages)
    own = {one["id"] for one in run.claimed.messages}
    for number in range(len(messages) + 1):
        key = Key(run.root.name, "compaction", str(number))
        work = _Compaction(run, model, summary, messages, own)
        # Whether it is time was decided where the run began, whatever the settings say by now.
        if run.journal.holds(key) is None and not (number or work.wanted):
            break
        digest = digest_of(ACTIVITY, [{"summary": summary}])
        record = await run.step(run.root, key, digest, work.live)
        run.shown += record["shown"]
        if record["summary"] is None:
            break
        summary, messages = record["summary"], _after(messages, record["until"])
        if not record["more"]:
            break
    run.stage.leave(run.root)
    return model_input(summary, messages)


class _Compaction:
    """One piece of a conversation, to become part of the summary."""

    def __init__(
        self,
        run: CarriedRun,
        model: JournaledModel,
        summary: str | None,
        messages: list[Message],
        own: set[str],
    ) -> None:
        self.run, self.model, self.summary, self.messages = run, model, summary, messages
        self.above = model.compacts_above
        self._own = own

    @property
    def wanted(self) -> bool:
        """Whether a run that only begins needs it."""
        if self.above is None or self.run.claimed.journal:
            return False
        whole = tokens_of(model_input(self.summary, self.messages))
        return whole > self.above and self._cut() > 0

    async def live(self) -> dict[str, Any]:
        """Summarise the next piece."""
        piece = self._piece()
        more = len(piece) < self._cut()
        try:
            made = await summarised(
                self.run,
                self.run.root,
                self.model.compactor,
                before=self.summary,
                lines=[_line(one) for one in piece],
                room=self._room,
            )
        except Exception as error:  # noqa: BLE001 - without it the run may do as well
            log.warning("a long thread could not be summarised", error=repr(error))
            return {"shown": [], "summary": None, "until": None, "more": False}
        until = piece[-1]["id"]
        return {
            "shown": [] if more else [shown(self.run, made.text, until)],
            "summary": made.text,
            "until": until,
            "more": more,
            "model": made.model,
            "usage": made.usage,
        }

    def _cut(self) -> int:
        """How many messages are summarised: the newest stay, from something that was said on."""
        said = [
            index
            for index, one in enumerate(self.messages)
            if one["role"] == "user" and index and one["id"] not in self._own
        ]
        first_own = next(
            (index for index, one in enumerate(self.messages) if one["id"] in self._own),
            len(self.messages),
        )
        room = (self.above or 0) // SHARE
        fitting = [one for one in said if tokens_of(as_input(self.messages[one:])) <= room]
        return min([*fitting, first_own])

    @property
    def _room(self) -> int:
        return piece_tokens((self.above or 0) // SHARE, self.model.compactor)

    def _piece(self) -> list[Message]:
        """The oldest messages, as many as are summarised at once."""
        room = self._room
        piece: list[Message] = []
        for message in self.messages[: self._cut()]:
            if piece and tokens_of([*piece, message]) > room:
                break
            piece.append(message)
        return piece


def _is_mark(message: Message) -> bool:
    """Whether it says that something was summarised; where it names no end, for one run alone."""
    return message["role"] == "activity" and message.get("activityType") == ACTIVITY


def _after(messages: list[Message], until: str) -> list[Message]:
    """The messages behind one; all of them where it is older than what is known."""
    ids = [one["id"] for one in messages]
    return messages[ids.index(until) + 1 :] if until in ids else messages


def _line(message: Message) -> str:
    """A message as the summariser reads it."""
    said = message.get("content")
    text = text_of(said) if isinstance(said, str | list) else ""
    calls = [
        f"[calls {call['function']['name']} with {call['function']['arguments']}]"
        for call in message.get("toolCalls") or ()
    ]
    shown = [
        f"[file {(part.get('metadata') or {}).get('name', '')} {part['source']['value']}]"
        for part in (said if isinstance(said, list) else ())
        if (part.get("source") or {}).get("type") == "file"
    ]
    return f"{message['role']}: {' '.join(filter(None, [text, *shown, *calls]))}"
