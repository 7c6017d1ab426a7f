"""`python -m matrix.probe CLIENT [CONVERSATION …]`: hold them, or all, one after the other."""

import json
import sys
from importlib import import_module
from typing import Any

from matrix.kinds import CLIENTS, CONVERSATIONS
from matrix.probe.client import Client, NotOfferedError
from matrix.probe.conversations import HELD


def main(client: str, *conversations: str) -> None:
    """Tell of each conversation in a line."""
    module, name = CLIENTS[client].probe
    try:
        one: Client = getattr(import_module(f"matrix.probe.{module}"), name)()
    except Exception as error:
        _tell(missing=f"{type(error).__name__}: {error}")
        return
    _tell(version=one.version)
    try:
        for conversation in conversations or CONVERSATIONS:
            _hold(one, conversation)
    finally:
        one.close()


def _hold(client: Client, conversation: str) -> None:
    try:
        note = HELD[conversation](client)
    except NotOfferedError as error:
        _tell(conversation=conversation, offered=False, note=str(error))
    except Exception as error:
        _tell(conversation=conversation, why=f"{type(error).__name__}: {error}"[:400])
    else:
        _tell(conversation=conversation, note=note)


def _tell(**line: Any) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
