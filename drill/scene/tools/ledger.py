"""A tool whose effects are counted outside: one line in a file for each time it was carried out."""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from toolsvc.tool import ToolCall, tool

LEDGER = Path(__file__).with_name("ledger.ndjson")

#: Before and after the effect, so that a kill meets both sides of it.
PAUSE_S = 0.05


class Written(BaseModel):
    """What was written."""

    written: str


@tool(name="ledger", description="Write a line into the ledger.", scope="ledger:write")
async def ledger(
    call: ToolCall, text: Annotated[str, Field(max_length=200, description="The line.")]
) -> Written:
    """Have the effect, once for each time that this function is run."""
    await asyncio.sleep(PAUSE_S)
    line = {
        "run": call.public_run,
        "key": call.idempotency_key,
        "text": text,
        "at": time.time(),
        "pid": os.getpid(),
    }
    file = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
    finally:
        os.close(file)
    await asyncio.sleep(PAUSE_S)
    return Written(written=text)
