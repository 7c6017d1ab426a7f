"""Files over HTTP: their ids, and how their bytes are answered."""

from urllib.parse import quote
from uuid import UUID

from starlette.responses import Response

from shared.errors import BatonError
from shared.protocol.codes import Code

_PREFIX = "file_"
#: Whose ids of files these are, in messages.
PROVIDER = "baton"


def file_id(key: UUID) -> str:
    """How a file is called in messages and paths."""
    return f"{_PREFIX}{key.hex}"


def file_key(id_: str) -> UUID:
    """The key of a file.

    Raises:
        BatonError: NOT_FOUND for what is no id of a file.
    """
    try:
        key = UUID(hex=id_.removeprefix(_PREFIX))
    except ValueError:
        raise BatonError(Code.NOT_FOUND) from None
    if file_id(key) != id_:
        raise BatonError(Code.NOT_FOUND)
    return key


def file_response(
    id_: str, media_type: str, content: bytes, *, name: str | None = None
) -> Response:
    """A file to be stored, never to be shown as a page of ours."""
    called = f"; filename*=UTF-8''{quote(name, safe='')}" if name else ""
    headers = {
        "content-type": media_type,
        "content-disposition": f'attachment; filename="{id_}"{called}',
        "content-security-policy": "sandbox",
        "cache-control": "private, no-store",
    }
    return Response(content, headers=headers)
