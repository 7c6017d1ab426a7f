"""Notes that an agent keeps for the person who asks."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy import text as sql

from shared.protocol.ids import uuid7
from toolsvc.tool import SqlCall, ToolError, tool

#: Whole words by index; only where these find nothing, parts of words, among this person's notes.
_SEARCH = sql("""
    WITH by_words AS (
        SELECT id, body, created_at FROM notes
        WHERE user_id = :user
            AND to_tsvector('simple', body) @@ websearch_to_tsquery('simple', :query)
        ORDER BY created_at DESC, id DESC LIMIT :limit
    )
    SELECT * FROM by_words
    UNION ALL (
        SELECT id, body, created_at FROM notes
        WHERE user_id = :user AND body ILIKE :pattern AND NOT EXISTS (SELECT FROM by_words)
        ORDER BY created_at DESC, id DESC LIMIT :limit
    )
    ORDER BY created_at DESC, id DESC
""")
_SAVE = sql("INSERT INTO notes (id, user_id, body) VALUES (:id, :user, :body) RETURNING created_at")
_DELETE = sql("DELETE FROM notes WHERE id = :id AND user_id = :user")


class SavedNote(BaseModel):
    """A note as agents see it."""

    id: UUID
    text: str
    created_at: datetime


class FoundNotes(BaseModel):
    """What a search found, newest first."""

    notes: list[SavedNote]


class DeletedNote(BaseModel):
    """Which note is gone."""

    deleted: UUID


@tool(name="save_note", description="Keep a note for the user.", scope="notes:write")
async def save_note(
    call: SqlCall,
    text: Annotated[
        str,
        Field(min_length=1, max_length=10_000, description="The note, up to 10,000 characters."),
    ],
) -> SavedNote:
    """Add a note."""
    new = {"id": uuid7(), "user": call.user, "body": text}
    created_at = (await call.connection.execute(_SAVE, new)).scalar_one()
    return SavedNote(id=new["id"], text=text, created_at=created_at)


@tool(
    name="search_notes",
    description="Search the user's notes, newest first; an empty query lists them.",
    scope="notes:read",
    idempotent=True,
)
async def search_notes(
    call: SqlCall,
    query: Annotated[str, Field(max_length=500, description="Words that the note contains.")] = "",
    limit: Annotated[int, Field(ge=1, le=50, description="At most so many notes, 1 to 50.")] = 10,
) -> FoundNotes:
    """Find notes by words, or by parts of words."""
    asked = {"user": call.user, "query": query, "pattern": f"%{_literally(query)}%", "limit": limit}
    rows = await call.connection.execute(_SEARCH, asked)
    return FoundNotes(
        notes=[SavedNote(id=row.id, text=row.body, created_at=row.created_at) for row in rows]
    )


@tool(
    name="delete_note",
    description="Delete one of the user's notes by its id.",
    scope="notes:write",
    on_error="model",
)
async def delete_note(
    call: SqlCall,
    id: Annotated[UUID, Field(description="The id of the note.")],  # noqa: A002
) -> DeletedNote:
    """Delete a note of the caller's own."""
    gone = await call.connection.execute(_DELETE, {"id": id, "user": call.user})
    if gone.rowcount == 0:
        raise ToolError("not_found", f"There is no note {id}.", status=404)
    return DeletedNote(deleted=id)


def _literally(query: str) -> str:
    """The text itself, where ILIKE would read `%`, `_` and the backslash as patterns."""
    return query.strip().replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
