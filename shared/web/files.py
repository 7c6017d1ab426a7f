"""Files over HTTP: their ids, and how their bytes are answered."""

import re
from urllib.parse import quote
from uuid import UUID

from starlette.responses import Response

from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.web.ranges import Part

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


#: A file that a tool has made, as its result shows it: models repeat it, and pages know it.
LINK = re.compile(r"\[([^\[\]\n]{1,400})\]\(/api/files/(file_[0-9a-f]{32})\)")
_UNLINKABLE = re.compile(r"[\[\]()\\\"`<>]")


def file_link(key: UUID, name: str | None) -> str:
    """A file as text: Markdown, which stays whole inside of JSON."""
    shown = _UNLINKABLE.sub("", name or "") or file_id(key)
    return f"[{shown}](/api/files/{file_id(key)})"


def file_etag(sha256: bytes) -> str:
    """By which a file's bytes are known: nobody changes them, so it is a strong one."""
    return f'"{sha256.hex()}"'


def file_response(
    id_: str,
    media_type: str,
    content: bytes,
    *,
    name: str | None = None,
    etag: str | None = None,
    part: Part | None = None,
) -> Response:
    """A file, or the `part` of it that `content` is; to be stored, never to be shown as a page."""
    called = f"; filename*=UTF-8''{quote(name, safe='')}" if name else ""
    headers = {
        "content-type": media_type,
        "content-disposition": f'attachment; filename="{id_}"{called}',
        "content-security-policy": "sandbox",
        "cache-control": "private, no-store",
    }
    if etag is not None:
        headers |= {"etag": etag, "accept-ranges": "bytes"}
    if part is not None:
        headers["content-range"] = str(part)
    return Response(content, 206 if part else 200, headers=headers)
