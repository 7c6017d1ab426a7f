"""References to items of earlier responses, which clients send instead of the items themselves.

A client that leaves its history with the server (Vercel's AI SDK does, unless told otherwise) names
each item by its id. The item takes the place of its name before the request is read.
"""

from collections.abc import Iterable
from typing import Any

import orjson

from gateway.auth.caller import Caller
from gateway.openai.answer import BETWEEN_MESSAGES
from gateway.openai.asked import MOST_MESSAGES, bad
from gateway.services import Services
from gateway.store import answers, interrupts
from gateway.store.answers import Made
from gateway.store.interrupts import Waiting
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.ids import is_id
from shared.protocol.record import InterruptReason
from shared.web.middleware import DEFAULT_BODY_LIMIT

REFERENCE = "item_reference"
_MESSAGE, _CALL = "msg_", "fc_"

Item = dict[str, Any]


async def spelled_out(services: Services, caller: Caller, body: Any) -> Any:
    """A request's body, with the items themselves where it names them.

    Raises:
        BatonError: BAD_INPUT, an id names nothing of the caller's; TOO_LARGE.
    """
    items = body.get("input") if isinstance(body, dict) else None
    if not isinstance(items, list) or len(items) > MOST_MESSAGES:
        return body
    named = {place: _id_of(place, one) for place, one in enumerate(items) if _is_reference(one)}
    if not named:
        return body
    found = await _found(services, caller, set(named.values()))
    for place, id_ in named.items():
        if id_ not in found:
            raise bad(f"input[{place}].id", "there is no such item, or it is not yours.")
    # As much as a body may have that brings the items itself.
    if sum(len(orjson.dumps(found[id_])) for id_ in named.values()) > DEFAULT_BODY_LIMIT:
        message = f"input: what it names has more than {DEFAULT_BODY_LIMIT:,} bytes in all."
        raise BatonError(Code.TOO_LARGE, message, param="input")
    return body | {"input": [found[named[n]] if n in named else one for n, one in enumerate(items)]}


def _is_reference(item: Any) -> bool:
    """Its type may be left out, says OpenAI; then it is an id and nothing else."""
    return isinstance(item, dict) and (item.get("type") == REFERENCE or item.keys() == {"id"})


def _id_of(place: int, item: Item) -> str:
    id_ = item.get("id")
    if not isinstance(id_, str):
        raise bad(f"input[{place}].id", "it is the id of an item.", "invalid_type")
    return id_


async def _found(services: Services, caller: Caller, ids: set[str]) -> dict[str, Item]:
    """Items by their ids."""
    known = {id_ for id_ in ids if is_id(id_)}
    runs = [id_.removeprefix(_MESSAGE) for id_ in known if id_.startswith(_MESSAGE)]
    asked = [id_.removeprefix(_CALL) for id_ in known if not id_.startswith(_MESSAGE)]
    async with services.db.reading(caller.user_id) as db:
        made = await answers.made_by(db, caller.user_id, runs) if runs else []
        questions = await interrupts.asked(db, caller.user_id, asked) if asked else []
    return dict([*_messages(made), *map(_question, questions)])


def _messages(made: Iterable[Made]) -> Iterable[tuple[str, Item]]:
    """Each run's answer: what its models said, or else what its last tool returned."""
    said: dict[str, list[str]] = {}
    returned: dict[str, str] = {}
    for run, message in made:
        texts = said.setdefault(run, [])
        match message:
            case {"role": "assistant", "content": str(content)} if content:
                texts.append(content)
            case {"role": "tool", "content": str(content)}:
                returned[run] = content
    for run, texts in said.items():
        content = BETWEEN_MESSAGES.join(texts) or returned.get(run, "")
        yield _MESSAGE + run, {"type": "message", "role": "assistant", "content": content}


def _question(asked: Waiting) -> tuple[str, Item]:
    call = {"name": asked.tool, "arguments": asked.arguments}
    if asked.reason == InterruptReason.CLIENT_TOOL:
        return _CALL + asked.id, {"type": "function_call", "call_id": asked.id, **call}
    return asked.id, {"type": "mcp_approval_request", "id": asked.id, **call}
