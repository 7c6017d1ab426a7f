"""Tools whose effect is a line in a file, before which and after which they can be held."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

from pydantic import Field

from toolsvc.tool import ToolCall, tool

Folder = Annotated[str, Field(description="Where the lines go, and the file `go` comes.")]


async def _strike(call: ToolCall, folder: str) -> str:
    with (Path(folder) / "strikes").open("a") as lines:
        lines.write(f"{os.getpid()} {call.idempotency_key}\n")
    while not (Path(folder) / "go").exists():  # noqa: ASYNC110 - a test makes it
        await asyncio.sleep(0.02)
    return f"struck by {os.getpid()}"


@tool(name="strike", description="Strike.", scope="test:strike")
async def strike(call: ToolCall, folder: Folder) -> str:
    """Strike: twice is twice."""
    return await _strike(call, folder)


@tool(name="strike_again", description="Strike.", scope="test:strike", idempotent=True)
async def strike_again(call: ToolCall, folder: Folder) -> str:
    """Strike, where twice is once."""
    return await _strike(call, folder)
