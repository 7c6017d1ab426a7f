"""A tool whose effect is in our own Postgres, and whose answer is the same each time."""

from typing import Annotated
from uuid import uuid4

from pydantic import BaseModel, Field
from sqlalchemy import text as sql

from toolsvc.tool import SqlCall, tool

_SAVE = sql("INSERT INTO notes (id, user_id, body) VALUES (:id, :user, :body)")


class Jotted(BaseModel):
    """What was jotted down."""

    jotted: str


@tool(name="jot", description="Jot something down.", scope="notes:write")
async def jot(
    call: SqlCall, text: Annotated[str, Field(max_length=200, description="The note.")]
) -> Jotted:
    """Have the effect."""
    await call.connection.execute(_SAVE, {"id": uuid4(), "user": call.user, "body": text})
    return Jotted(jotted=text)
