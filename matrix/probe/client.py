"""What every client can do, in its own way."""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from matrix.probe import rest

#: What the `output_type` of Extractor promises, for clients that ask for a form.
EVENT: dict[str, Any] = {
    "title": "Event",
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "people": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["title", "people"],
    "additionalProperties": False,
}


class MisfitError(Exception):
    """A conversation went otherwise than it should."""


class NotOfferedError(Exception):
    """The client has no way to do this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A run waits for a person: what the client was told of it, and how it is approved."""

    text: str
    means: str
    #: Approves, and returns the answer that comes then.
    approve: Callable[[], str]


class Client(ABC):
    """One way to ask; `key` is an Idempotency-Key."""

    version: str
    #: How it leaves in mid-stream, when an iterator of `pieces` is closed.
    leaving: str

    @abstractmethod
    def answer(self, model: str, text: str, key: str | None = None) -> str:
        """The whole answer."""

    @abstractmethod
    def pieces(self, model: str, text: str, key: str | None = None) -> Iterator[str]:
        """The answer as it comes. Closing the iterator is leaving."""

    def structured(self, model: str, text: str) -> str:
        """An answer that has a shape, as JSON."""
        return self.answer(model, text)

    def stops(self) -> Mapping[str, Callable[[str], object]]:
        """Each way to stop a run, by its id."""
        return {"`POST /api/runs/{id}/cancel`": rest.stop}

    def question(self, model: str, text: str) -> Question:
        """Ask for what a person has to approve."""
        key = uuid.uuid4().hex

        def approve() -> str:
            rest.approve_all(run)
            return self.answer(model, text, key)

        said = self.answer(model, text, key)
        run = rest.newest_run()
        means = "`POST /api/runs/{id}/approvals`, then the same `Idempotency-Key`"
        return Question(text=said, means=means, approve=approve)

    def close(self) -> None:  # noqa: B027 - most have started nothing
        """End what it has started."""


def headers(key: str | None) -> dict[str, str]:
    """What a request says of its Idempotency-Key."""
    return {"Idempotency-Key": key} if key else {}
