"""What keeps a thread waiting, told to callers who cannot wait along with it.

The page and the socket show what is asked, so there a new message may stand behind it. Who has one
answer to one request would only see silence.
"""

from collections.abc import Sequence
from typing import NamedTuple

from shared.errors import BatonError
from shared.line import line_of
from shared.protocol.codes import Code
from shared.protocol.record import InterruptReason

#: Of each call's arguments; all of them stand where it is decided.
SHOWN_CHARS = 200
#: So many are named; the rest are counted.
_NAMED = 3


class Asking(NamedTuple):
    """An open question of a thread, and the run that ended with it."""

    id: str
    run: str
    reason: str
    agent: str
    tool: str
    arguments: str


class AskedError(BatonError):
    """A thread waits for a person, or for its client's own tools, and nothing else goes on in it.

    `kept`: the message is stored, and has its turn after that; otherwise nothing of it is.
    """

    def __init__(self, asks: Sequence[Asking], thread: str, site: str, *, kept: bool) -> None:
        first = asks[0]
        said = [
            f"The thread waits: {'; '.join(map(_in_words, asks[:_NAMED]))}{_more(len(asks))}.",
            _how_to_answer(asks, page_of(site, thread)),
            "This message is kept, and answered after that: ask for it again then."
            if kept
            else "Nothing of this request was stored: send it again after that.",
        ]
        waits_for = [one.id for one in asks]
        super().__init__(
            Code.DECISION_NEEDED, " ".join(said), run=first.run, thread=thread, waitsFor=waits_for
        )


def page_of(site: str, thread: str) -> str:
    """Where a person reads a thread, and decides what it asks."""
    return f"{site}/#/{thread}"


def _in_words(one: Asking) -> str:
    given = line_of(one.arguments)
    given = given if len(given) <= SHOWN_CHARS else given[: SHOWN_CHARS - 1] + "…"
    if one.reason == InterruptReason.CLIENT_TOOL:
        return f"{one.agent} has called {one.tool} of its client with {given} ({one.id})"
    return f"{one.agent} asks whether it may call {one.tool} with {given} ({one.id})"


def _more(number: int) -> str:
    return f"; and {number - _NAMED} more" if number > _NAMED else ""


def _how_to_answer(asks: Sequence[Asking], page: str) -> str:
    """A call of the client's tools wants a result, which nobody can decide on a page."""
    run = asks[0].run
    ways: list[str] = []
    if any(one.reason == InterruptReason.CLIENT_TOOL for one in asks):
        ways.append(
            f"tell its result (a tool message, or a function_call_output to resp_{run}) "
            f"or cancel the run {run}"
        )
    if any(one.reason != InterruptReason.CLIENT_TOOL for one in asks):
        ways.append(
            f"decide at {page} (programs: POST /api/runs/{run}/approvals, "
            f"an mcp_approval_response to resp_{run}, or AG-UI's resume)"
        )
    return f"First {'; and '.join(ways)}."
