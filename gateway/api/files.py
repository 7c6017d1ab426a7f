"""Files: what people bring, what agents make for them, and what was too large for a message."""

import re
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.datastructures import UploadFile
from starlette.responses import Response

from gateway.api.routing import PROBLEMS, PathId, SignedIn, WithServices, api_router
from gateway.api.shapes import Cursor, Limit, Page, Shape, page_of, parse_time_cursor, time_cursor
from gateway.store import files
from gateway.store.files import FileRow
from shared.errors import BatonError
from shared.media import file_name, media_type_of
from shared.protocol.codes import Code
from shared.protocol.ids import uuid7
from shared.telemetry.logs import get_logger
from shared.web.files import file_etag, file_id, file_key, file_response
from shared.web.ranges import asked_part

log = get_logger(__name__)

PATH = "/api/files"
#: Of a body in parts: what stands around the file's own bytes.
AROUND_BYTES = 16_384
_FORM = "multipart/form-data"
_BOUNDARY = re.compile(r'boundary="?([^";]{1,200})', re.IGNORECASE)

router = api_router("files")
#: Of what comes as it is, not as JSON.
uploads = APIRouter(prefix="/api", tags=["files"], responses=PROBLEMS)
_BINARY = {"type": "string", "format": "binary"}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            _FORM: {
                "schema": {
                    "type": "object",
                    "properties": {"file": _BINARY},
                    "required": ["file"],
                }
            },
            "*/*": {"schema": _BINARY},
        },
    }
}


class File(Shape):
    """A file without its bytes."""

    id: str = Field(examples=["file_01993b7c5d5e7c0f8a51c6f7b1f2a3d4"])
    name: str | None = Field(examples=["invoice.pdf"])
    media_type: str = Field(examples=["application/pdf"])
    size: int = Field(description="In bytes.")
    sha256: str
    thread_id: str | None = Field(description="It goes with this thread; null until it is sent.")
    created_at: datetime


def shape(row: FileRow) -> File:
    """A file as people see it."""
    return File(
        id=file_id(row.key),
        name=row.name,
        media_type=row.media_type,
        size=row.size,
        sha256=row.sha256.hex(),
        thread_id=row.thread,
        created_at=row.created_at,
    )


@uploads.post("/files", status_code=201, operation_id="uploadFile", openapi_extra=_BODY)
async def upload_file(
    request: Request,
    caller: SignedIn,
    services: WithServices,
    name: Annotated[
        str | None, Query(max_length=1000, description="What it is called, of a plain body.")
    ] = None,
) -> File:
    """Bring a file: as the body itself, or as `file` of a form. Its bytes say what it is."""
    content, said, name = await _sent(request, name, services.settings.max_file_bytes)
    name = file_name(name)
    async with services.db.writing(caller.user_id) as db:
        stored = await files.store(
            db,
            caller.user_id,
            uuid7(),
            name=name,
            media_type=media_type_of(content, said=said, name=name),
            content=content,
            quota=services.settings.files_quota_bytes,
        )
    if stored is None:
        raise BatonError(Code.QUOTA_EXCEEDED)
    log.info("a file was brought", file=file_id(stored.key), size=stored.size)
    return shape(stored)


async def _sent(
    request: Request, name: str | None, most: int
) -> tuple[bytes, str | None, str | None]:
    """Bytes, type and name as they were sent."""
    said = request.headers.get("content-type")
    content: bytes
    if said and said.partition(";")[0].strip().lower() == _FORM:
        _require_end(await request.body(), said)
        async with request.form(max_files=1, max_fields=10) as form:
            part = form.get("file")
            if not isinstance(part, UploadFile):
                raise BatonError(Code.BAD_INPUT, "file: the form has no file of this name.")
            content, said, name = await part.read(), part.content_type, part.filename or name
    else:
        content = await request.body()
    if not content:
        raise BatonError(Code.BAD_INPUT, "file: it is empty.")
    if len(content) > most:
        raise BatonError(Code.TOO_LARGE, too_large(most))
    return content, said, name


def too_large(most: int) -> str:
    """What is said of a file that has more bytes than `most`."""
    return f"A file may have {most:,} bytes at most."


def _require_end(body: bytes, said: str) -> None:
    """Refuse a form that was cut off: its reader would leave what it has begun open."""
    boundary = _BOUNDARY.search(said)
    if boundary is None or f"--{boundary[1]}--".encode() not in body[-AROUND_BYTES:]:
        raise BatonError(Code.BAD_INPUT, "The form has no end; send it again.")


@router.get("/files", operation_id="listFiles")
async def list_files(
    caller: SignedIn,
    services: WithServices,
    limit: Limit = 50,
    cursor: Annotated[Cursor, Query()] = None,
) -> Page[File]:
    """List my files, the newest first: those that I brought, and those that my runs made."""
    before = parse_time_cursor(cursor)
    async with services.db.reading(caller.user_id) as db:
        rows = await files.page(db, caller.user_id, limit=limit + 1, before=before)
    return page_of(
        rows, limit, shape=shape, cursor=lambda row: time_cursor(row.created_at, row.key)
    )


@router.get(
    "/files/{id}",
    operation_id="getFile",
    response_class=Response,
    responses={
        200: {"content": {"*/*": {}}, "description": "The file's bytes."},
        206: {"content": {"*/*": {}}, "description": "The part that `Range` asks for."},
    },
)
async def get_file(
    file: PathId, request: Request, caller: SignedIn, services: WithServices
) -> Response:
    """Download a file of mine, or a part of it: `Range`, with `If-Range` and its `ETag`."""
    async with services.db.reading(caller.user_id) as db:
        row = await files.about(db, caller.user_id, file_key(file))
        if row is None:
            raise BatonError(Code.NOT_FOUND)
        etag = file_etag(row.sha256)
        part = asked_part(request.headers, size=row.size, etag=etag)
        content = await files.content(db, caller.user_id, row.key, part)
    if content is None:
        raise BatonError(Code.NOT_FOUND)
    return file_response(file, row.media_type, content, name=row.name, etag=etag, part=part)


@router.get("/files/{id}/about", operation_id="describeFile")
async def describe_file(file: PathId, caller: SignedIn, services: WithServices) -> File:
    """Read what is known of a file of mine."""
    async with services.db.reading(caller.user_id) as db:
        row = await files.about(db, caller.user_id, file_key(file))
    if row is None:
        raise BatonError(Code.NOT_FOUND)
    return shape(row)


@router.delete("/files/{id}", status_code=204, operation_id="deleteFile")
async def delete_file(file: PathId, caller: SignedIn, services: WithServices) -> None:
    """Delete a file of mine for good. Messages that show it stay, without it."""
    async with services.db.writing(caller.user_id) as db:
        if not await files.remove(db, caller.user_id, file_key(file)):
            raise BatonError(Code.NOT_FOUND)
