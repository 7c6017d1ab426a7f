"""Messages of a thread, as AG-UI has them."""

from typing import Annotated, Any

from fastapi import Query

from gateway.api.routing import PathId, SignedIn, WithServices, api_router
from gateway.api.shapes import Limit, Page
from gateway.store import messages, threads
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.frames import PublicId

router = api_router("threads")


@router.get("/threads/{id}/messages", operation_id="listMessages")
async def list_messages(
    thread_id: PathId,
    caller: SignedIn,
    services: WithServices,
    limit: Limit = 50,
    before: Annotated[
        PublicId | None, Query(description="Only what came before this message.")
    ] = None,
) -> Page[dict[str, Any]]:
    """Read the current path, oldest first: the newest messages, with those that wait at the end.

    `next` is the oldest message's id where older ones exist; give it as `before`.
    """
    async with services.db.reading(caller.user_id) as db:
        thread = await threads.find(db, caller.user_id, thread_id)
        if thread is None:
            raise BatonError(Code.NOT_FOUND)
        path = await messages.path_messages(db, thread.key, thread.head, limit, before)
        waiting = [] if before else await messages.waiting_messages(db, thread.key)
    older = path.messages[0]["id"] if path.more else None
    return Page(data=[*path.messages, *waiting], next=older)
