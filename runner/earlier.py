"""What stands when a claim begins: messages of finished steps, and what earlier runs have left."""

from collections.abc import Sequence
from typing import Any

from runner.journal import Key
from runner.steps import parsed
from shared.protocol.record import ClaimedRun, StepRecord

Message = dict[str, Any]


class Earlier:
    """What other runs of the same root did and said; nothing, unless this one resumes them."""

    def __init__(self, claimed: ClaimedRun) -> None:
        self._claimed, self._continued = claimed, claimed.continued
        steps = claimed.journal[: self._continued.steps] if self._continued else []
        self._steps = {Key(one.scope, one.kind, one.place) for one in steps}
        #: Ids of messages that they showed and stored.
        self.shown = {message["id"] for message in recorded_messages(steps)}

    def made(self, key: Key) -> bool:
        """Whether one of them made this step, and counted what it cost."""
        return key in self._steps

    @property
    def withdrawn(self) -> list[str]:
        """Ids of messages that they left half-written: the step comes again, under new ids."""
        if self._continued is None:
            return []
        said = {message["id"] for message in self._claimed.messages}
        return [id_ for id_ in self._continued.messages if id_ not in said | self.shown]

    def conversation(self) -> list[Message]:
        """What clients show before anything of this run, the withdrawn excluded."""
        claimed = self._claimed
        if self._continued is None:
            return [*claimed.history, *claimed.messages]
        withdrawn = set(self.withdrawn)
        return [one for one in self._continued.path if one["id"] not in withdrawn]

    def own_messages(self) -> list[Message]:
        """What the finished steps of this run itself showed."""
        first = self._continued.steps if self._continued else 0
        return recorded_messages(self._claimed.journal[first:])


def recorded_messages(steps: Sequence[StepRecord]) -> list[Message]:
    """What finished steps of the root invocation showed."""
    found: list[Message] = []
    for step in steps:
        if "/" in step.scope:
            continue
        record = parsed(step) or {"shown": []}
        found += record.get("uncalled", [])
        shown = record["shown"]
        found += shown if isinstance(shown, list) else [shown]
    return found
