"""Files in what a person sends: the rules, without I/O.

A message refers to files. Bytes that come inside of one become a file first, and nothing that lies
behind a URL is ever fetched: neither here nor by a model server, whose network is not the sender's.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from ag_ui.core import AudioPart, DataSource, DocumentPart, FileSource, ImagePart, VideoPart

from shared.errors import BatonError
from shared.media import IMAGES, MAX_FILE_BYTES, file_name, media_type_of
from shared.protocol.codes import Code
from shared.protocol.ids import uuid7
from shared.web.files import PROVIDER, file_id, file_key

#: Files of one run's messages.
MOST_FILES = 20
_DATA_URL = re.compile(r"data:([^;,]{0,100})(?:;[^;,]{1,100})*?;base64,", re.IGNORECASE)
_DETAILS = ("low", "high", "auto")
_HOW = "bring the file first (POST /api/files), or send it as a data URL."

MediaPart = ImagePart | AudioPart | VideoPart | DocumentPart


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that a message shows: one that is there, or `content` that comes along."""

    key: UUID
    media_type: str = ""
    name: str | None = None
    size: int = 0
    content: bytes | None = field(default=None, repr=False)
    #: How closely a picture shall be looked at, if its sender said so.
    detail: str | None = None
    #: Whether it was shown before, and may have been deleted since.
    shown: bool = False

    @property
    def part(self) -> dict[str, Any]:
        """How a message shows it."""
        about = {"name": self.name, "mediaType": self.media_type, "size": self.size}
        given = {**about, "detail": self.detail}
        return {
            "type": _kind(self.media_type),
            "source": {"type": "file", "value": file_id(self.key), "provider": PROVIDER},
            "metadata": {name: value for name, value in given.items() if value is not None},
        }


def attachment_of(part: MediaPart) -> Attachment:
    """The file that a part speaks of.

    Raises:
        BatonError: BAD_INPUT, TOO_LARGE, NOT_FOUND, or URL_REFUSED.
    """
    said = part.metadata if isinstance(part.metadata, dict) else {}
    name = said.get("name", said.get("filename"))
    name = file_name(name) if isinstance(name, str) else None
    detail = said.get("detail") if said.get("detail") in _DETAILS else None
    source = part.source
    if isinstance(source, FileSource):
        if source.provider not in (None, PROVIDER):
            raise BatonError(Code.BAD_INPUT, f"messages: a file of another provider; {_HOW}")
        return Attachment(key=file_key(source.value), detail=detail)
    if isinstance(source, DataSource):
        encoded, mime = source.value, source.mime_type
    else:
        encoded, mime = split_data_url(source.value)
    content = decoded(encoded)
    return Attachment(
        key=uuid7(),
        media_type=media_type_of(content, said=mime, name=name),
        name=name,
        size=len(content),
        content=content,
        detail=detail,
    )


def shown_in(message: Mapping[str, Any]) -> list[Attachment]:
    """Files that a stored message shows."""
    content = message.get("content")
    return [
        Attachment(
            key=file_key(part["source"]["value"]),
            detail=part.get("metadata", {}).get("detail"),
            shown=True,
        )
        for part in (content if isinstance(content, list) else ())
        if part.get("source", {}).get("provider") == PROVIDER
    ]


def split_data_url(url: str) -> tuple[str, str]:
    """Base64 and type of a data URL.

    Raises:
        BatonError: URL_REFUSED for one that leads elsewhere, BAD_INPUT for one of another form.
    """
    if not url[:5].lower() == "data:":
        raise BatonError(Code.URL_REFUSED, f"Nothing is fetched from a URL: {_HOW}")
    begins = _DATA_URL.match(url)
    if begins is None:
        raise BatonError(Code.BAD_INPUT, "A data URL has the form data:TYPE;base64,DATA.")
    return url[begins.end() :], begins[1]


def decoded(encoded: str) -> bytes:
    """The bytes of some base64.

    Raises:
        BatonError: BAD_INPUT, or TOO_LARGE.
    """
    if len(encoded) > MAX_FILE_BYTES * 4 // 3 + 4:
        raise BatonError(Code.TOO_LARGE, f"A file may have {MAX_FILE_BYTES:,} bytes at most.")
    try:
        content = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise BatonError(Code.BAD_INPUT, "The data of a file is not base64.") from None
    if not content:
        raise BatonError(Code.BAD_INPUT, "The data of a file is empty.")
    return content


def carried_chars(value: Any) -> int:
    """How much of a request's JSON is the data of files."""
    total, todo = 0, [value]
    while todo:
        match todo.pop():
            case {"type": "data", "value": str(data)}:
                total += len(data)
            case {"file_data": str(data)}:
                total += len(data)
            case dict() as one:
                todo += one.values()
            case list() as some:
                todo += some
            case str() as text if text[:5] == "data:":
                total += len(text)
    return total


def _kind(media_type: str) -> str:
    """What AG-UI calls it."""
    if media_type in IMAGES:
        return "image"
    family = media_type.partition("/")[0]
    return family if family in ("audio", "video") else "document"
