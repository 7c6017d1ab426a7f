"""The digest by which replay recognises a model call: its agent and its input, normalised.

Ids, status and encrypted content vary between servers and attempts, so they do not count.
"""

import contextlib
from hashlib import sha256
from typing import Any

import orjson
from pydantic import BaseModel

_VARYING = frozenset({"id", "status", "encrypted_content", "provider_data"})


def digest_of(agent: str, given: Any) -> str:
    """Hex digest of a call's input (text, or a list of items) under an agent's name."""
    items = [given] if isinstance(given, str) else [_normal(item) for item in given]
    return sha256(_json([agent, items])).hexdigest()


def short_digest(given: Any) -> str:
    """Eight characters that tell the inputs of invocations apart."""
    return digest_of("", given)[:8]


def call_digest(name: str, arguments: str) -> str:
    """Hex digest of a tool call."""
    # A model may write anything; what is not JSON counts as it is.
    with contextlib.suppress(orjson.JSONDecodeError):
        arguments = _json(orjson.loads(arguments or "{}")).decode()
    return sha256(_json([name, arguments])).hexdigest()


def plain(given: Any) -> Any:
    """An item, or a list of them, as JSON has it."""
    if isinstance(given, list | tuple):
        return [plain(one) for one in given]
    if isinstance(given, BaseModel):
        return given.model_dump(mode="json", exclude_unset=True, warnings=False)
    return given


def _normal(item: Any) -> Any:
    if isinstance(item, BaseModel):
        item = plain(item)
    if isinstance(item, dict):
        # Each call's input holds all that was before it, so the plainest values go the short way.
        return {
            key: value if type(value) is str else _normal(value)
            for key, value in item.items()
            if key not in _VARYING
        }
    if isinstance(item, (list, tuple)):
        return [_normal(one) for one in item]
    return item


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str)
