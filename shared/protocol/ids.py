"""Ids: public ones are text that clients may choose; inside, each thread and run has a uuid7."""

import os
import re
import time
from hashlib import sha256
from typing import NewType
from uuid import UUID

RunId = NewType("RunId", str)  #: public id of a run, unique per user
ThreadId = NewType("ThreadId", str)  #: public id of a thread, unique per user
RunKey = NewType("RunKey", UUID)  #: uuid of a run
ThreadKey = NewType("ThreadKey", UUID)  #: uuid of a thread; its Redis keys carry it

#: What a client may choose as id of a run, thread or message.
ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
_ID = re.compile(ID_PATTERN.strip("^$"), re.ASCII)
_SHORT = re.compile(r"[!-.0-~]{1,100}", re.ASCII)
#: Characters of an agent's name: longer ones fit no column and no model list.
LONGEST_AGENT_NAME = 128


def is_id(text: object) -> bool:
    """Whether `text` may be an id."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def uuid7() -> UUID:
    """A time-sortable uuid (RFC 9562, section 5.7); the standard library has it from 3.14 on."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def new_id(prefix: str) -> str:
    """A public id like `run_0199…`; sorts by time."""
    return f"{prefix}_{uuid7().hex}"


def new_run_id() -> RunId:
    """A run id for a client that gave none."""
    return RunId(new_id("run"))


def new_thread_id() -> ThreadId:
    """A thread id for a client that gave none."""
    return ThreadId(new_id("thr"))


def place_of(call_id: str) -> str:
    """What stands for a call's id in paths and keys: the id, unless it has no room or form there.

    Some servers put kilobytes of their own state into an id, which models must get back whole.
    """
    if _SHORT.fullmatch(call_id):
        return call_id
    return f"call:{sha256(call_id.encode(errors='replace')).hexdigest()[:32]}"


def trace_id(root: UUID) -> str:
    """The trace of a root run: the same for every attempt and every resume."""
    return f"trace_{root.hex}"
