"""What a check of agents' files says, between the processes that do it and that show it."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Checked(BaseModel):
    """One agent: what would be served, or why it would not be."""

    model_config = ConfigDict(frozen=True)

    name: str
    file: str | None = None
    digest: str | None = None
    about: dict[str, Any] | None = None
    #: A sentence with file and line; in further lines the traceback.
    reason: str | None = None
    #: What a replay cannot carry.
    doubts: list[str] = []
