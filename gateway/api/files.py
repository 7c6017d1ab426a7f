"""Files: what was too large for a message."""

from starlette.responses import Response

from gateway.api.routing import PathId, SignedIn, WithServices, api_router
from gateway.store import files
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.web.files import file_key, file_response

router = api_router("files")


@router.get(
    "/files/{id}",
    operation_id="getFile",
    response_class=Response,
    responses={200: {"content": {"*/*": {}}, "description": "The file's bytes."}},
)
async def get_file(file_id: PathId, caller: SignedIn, services: WithServices) -> Response:
    """Read a file of mine: the whole result of a tool that was given to the model cut."""
    async with services.db.reading(caller.user_id) as db:
        found = await files.find(db, caller.user_id, file_key(file_id))
    if found is None:
        raise BatonError(Code.NOT_FOUND)
    return file_response(file_id, *found)
