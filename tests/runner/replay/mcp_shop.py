"""An MCP server over standard input and output: `python mcp_shop.py BOOK`; it books each call.

Beside the book, `BOOK.lives` has the ids of its processes, one a line.
"""

import os
import sys
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("shop")
book = Path(sys.argv[1])


def note(what: str) -> None:
    with book.open("a") as file:
        file.write(f"{what}\n")


@server.tool()
def price(mark: str, what: str) -> dict[str, Any]:
    """The price of something."""
    note(mark)
    return {"what": what, "cents": 100 * len(what)}


@server.tool()
def buy(mark: str, what: str) -> str:
    """Buy something."""
    note(mark)
    if what == "bomb":
        os._exit(1)
    if what == "tnt":
        raise ToolError(f"nobody sells {what}")
    return f"bought {what}"


with book.with_name(f"{book.name}.lives").open("a") as lives:
    lives.write(f"{os.getpid()}\n")
server.run("stdio")
