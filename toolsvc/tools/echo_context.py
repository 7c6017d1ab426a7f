"""A tool that shows what a tool gets to know; good for trying things out."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from toolsvc.tool import ToolCall, tool


class Echo(BaseModel):
    """The text, and the run's context."""

    text: str
    run_id: str
    thread_id: str
    user_id: UUID
    project_id: UUID | None
    agent: str
    scopes: list[str]


@tool(
    name="echo_context",
    description="Return the given text together with the context of this run.",
    scope="context:read",
    idempotent=True,
)
async def echo_context(
    call: ToolCall,
    text: Annotated[str, Field(max_length=10_000, description="Any text; it comes back.")],
) -> Echo:
    """Say back what is known."""
    return Echo(
        text=text,
        run_id=call.public_run,
        thread_id=call.public_thread,
        user_id=call.user,
        project_id=call.project,
        agent=call.agent,
        scopes=list(call.scopes),
    )
