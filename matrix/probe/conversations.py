"""What is talked about with each client, and what has to come of it.

Each returns what is worth telling of how it went, or nothing.
"""

import json
import uuid
from collections.abc import Callable, Iterator

from matrix.probe import rest
from matrix.probe.client import Client, MisfitError

COUNTED = " ".join(f"word{n}" for n in range(1, 21))
COUNT = "[[deltas=20]] [[tokens_per_s=60]] count"
#: Twenty seconds: a run that is stopped in it does not end by itself before.
COUNT_LONG = "[[deltas=600]] [[tokens_per_s=30]] count"
MOST_AFTER_STOP = 500


def _holds(text: str, *wanted: str) -> None:
    for one in wanted:
        if one.lower() not in text.lower():
            raise MisfitError(f"{one!r} is not in {text[:200]!r}")


def _ends(run: str, wanted: str) -> None:
    if (status := rest.end_of(run)) != wanted:
        raise MisfitError(f"the run ended {status!r}, not {wanted!r}")


def _begun(client: Client, text: str, key: str | None = None) -> tuple[Iterator[str], str]:
    """A stream in its middle, and its run."""
    pieces = client.pieces("Plain", text, key)
    while not next(pieces):
        pass
    return pieces, rest.newest_run()


def _plain(client: Client) -> None:
    _holds(client.answer("Plain", "hello"), "hello")


def _stream(client: Client) -> None:
    pieces = [one for one in client.pieces("Plain", COUNT) if one]
    _holds("".join(pieces), COUNTED)
    if len(pieces) < 2:
        raise MisfitError("it came in one piece")


def _tools(client: Client) -> None:
    _holds(client.answer("Tools", '[[tool=add {"a": 2, "b": 3}]] add'), "the sum is 5")


def _hand_off(client: Client) -> None:
    _holds(client.answer("Desk", "[[tool=transfer_to_billing]] pay"), "Billing")


def _guardrail(client: Client) -> None:
    try:
        said = client.answer("Guarded", "hello")
    except Exception as error:
        _holds(f"{error}", "guardrail")
    else:
        raise MisfitError(f"it was answered: {said[:200]!r}")


def _approval(client: Client) -> str:
    """A person is asked, approves, and the tool works once."""
    order = f"A{uuid.uuid4().hex}"
    question = client.question("Careful", f'[[tool=refund {{"order": "{order}"}}]] refund')
    _holds(question.text, "refund")
    if times := rest.times_paid(order):
        raise MisfitError(f"the tool has worked {times} times before it was approved")
    _holds(question.approve(), f"{order} is paid back")
    if (times := rest.times_paid(order)) != 1:
        raise MisfitError(f"the tool has worked {times} times")
    return f"{question.means}: the tool worked once"


def _structured(client: Client) -> None:
    if set(json.loads(client.structured("Extractor", "Tea with Ada"))) != {"title", "people"}:
        raise MisfitError("the answer has other fields")


def _leave(client: Client) -> str:
    """Going in the middle stops neither the run nor what is asked next."""
    pieces, run = _begun(client, COUNT)
    pieces.close()  # type: ignore[attr-defined]
    _plain(client)
    _ends(run, "finished")
    _holds(rest.said_in(run), COUNTED)
    return f"{client.leaving}: the run went on and ended `finished`, nothing missing"


def _cancel(client: Client) -> str:
    """Stopping it stops it, and the stream ends; what is deleted besides is not there any more."""
    told = []
    for means, stop in client.stops().items():
        pieces, run = _begun(client, COUNT_LONG)
        stop(run)
        end = "it ended"
        said = 0
        try:
            for _ in pieces:
                said += 1
        except Exception as error:
            end = f"it was told {_short(error)}"
        if said > MOST_AFTER_STOP:
            raise MisfitError("the stream went on")
        if (status := rest.end_of(run)) not in ("cancelled", "deleted"):
            raise MisfitError(f"the run ended {status!r}")
        told.append(f"{means}: the run was {status}, {end}")
    _plain(client)
    return "; ".join(told)


def _short(error: Exception) -> str:
    """An error of the client's; what a script or program of it has said is ours to pass on."""
    name = "" if isinstance(error, MisfitError) else f"{type(error).__name__}: "
    return f"`{name}{' '.join(str(error).split())}`"[:100].rstrip("`") + "`"


def _reconnect(client: Client) -> None:
    """The same key gives the same answer from its beginning, and no second run."""
    key = uuid.uuid4().hex
    pieces, run = _begun(client, COUNT, key)
    pieces.close()  # type: ignore[attr-defined]
    _holds("".join(client.pieces("Plain", COUNT, key)), COUNTED)
    if (newest := rest.newest_run()) != run:
        raise MisfitError(f"{newest} was begun beside {run}")


HELD: dict[str, Callable[[Client], str | None]] = {
    "plain": _plain,
    "stream": _stream,
    "tools": _tools,
    "hand-off": _hand_off,
    "guardrail": _guardrail,
    "approval": _approval,
    "structured": _structured,
    "leave": _leave,
    "cancel": _cancel,
    "reconnect": _reconnect,
}
