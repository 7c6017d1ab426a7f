"""Tools whose effects can be counted, held, and made to fail."""

import asyncio
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.media import MAX_FILE_BYTES
from shared.protocol.ids import uuid7
from toolsvc.tool import SqlCall, Tool, ToolCall, ToolError, tool


class World:
    """What tools outside our Postgres change, and a gate that holds them."""

    def __init__(self) -> None:
        self.effects: list[str] = []
        self.keys: list[str] = []
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()

    def tools(self) -> list[Tool]:
        async def act(call: ToolCall, what: str = "x") -> dict[str, Any]:
            self.effects.append(what)
            self.keys.append(call.idempotency_key)
            self.begun.set()
            await self.may_end.wait()
            return {"effect": len(self.effects)}

        async def refuse(call: ToolCall) -> None:
            self.effects.append("refused")
            raise ToolError("too_many", "There are too many of them.", status=429)

        async def note_then(
            call: SqlCall, how: Annotated[str, Field(description="How it ends.")]
        ) -> str:
            self.effects.append(how)
            await call.connection.execute(
                text("INSERT INTO notes (id, user_id, body) VALUES (:id, :user, :how)"),
                {"id": uuid7(), "user": call.user, "how": how},
            )
            return await _end(call.connection, how)

        return [
            tool(name="act", description="Act.", scope="w:w")(act),
            tool(name="act_again", description="Act.", scope="w:w", idempotent=True)(act),
            tool(name="refuse", description="Refuse.", scope="w:w", on_error="model")(refuse),
            tool(name="note_then", description="Note, then end.", scope="w:w")(note_then),
        ]


async def _end(connection: AsyncConnection, how: str) -> str:
    match how:
        case "refuse":
            raise ToolError("not_now", "Not now.", status=409)
        case "fail":
            raise RuntimeError("the password is hunter2")
        case "hang":
            await connection.execute(text("SELECT pg_sleep(30)"))
        case "sql error":
            await connection.execute(text("SELECT 1/0"))
        case "too large":
            return "x" * (MAX_FILE_BYTES + 1)
        case "commit":
            await connection.commit()
        case "exit":
            raise SystemExit(3)
        case "be cancelled":
            raise asyncio.CancelledError
        case "not json":
            return "\ud800"
    return how
