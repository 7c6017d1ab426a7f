"""Parts of messages that are pictures and files, as both of OpenAI's APIs have them.

What stands in a request is checked here, where its place is known; it becomes a part as AG-UI has
it, and from there on goes the way of all files.
"""

from typing import Literal

from ag_ui.core import DataSource, DocumentPart, FileSource, ImagePart
from pydantic import BaseModel, ConfigDict

from gateway.attachments import decoded, split_data_url
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.web.files import PROVIDER, file_key

_UNTYPED = "application/octet-stream"


class Given(BaseModel):
    """A part of a request: exact types; fields that we do not know are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class ImageUrl(Given):
    """A picture by URL."""

    url: str
    detail: str | None = None


class FileGiven(Given):
    """A file: one of ours, or its bytes."""

    file_id: str | None = None
    file_data: str | None = None
    filename: str | None = None


class ImageUrlPart(Given):
    """A picture in a chat completion."""

    type: Literal["image_url"]
    image_url: ImageUrl


class FilePart(Given):
    """A file in a chat completion."""

    type: Literal["file"]
    file: FileGiven


class InputImage(Given):
    """A picture in a response."""

    type: Literal["input_image"]
    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None


class InputFile(FileGiven):
    """A file in a response."""

    type: Literal["input_file"]
    file_url: str | None = None


class OtherPart(Given):
    """What is not read."""

    type: Literal["input_audio"]


Media = ImageUrlPart | FilePart | InputImage | InputFile
Shown = ImagePart | DocumentPart


def shown(part: Media) -> Shown:
    """The part as AG-UI has it.

    Raises:
        BatonError: BAD_INPUT, TOO_LARGE, URL_REFUSED; NOT_FOUND for what is no id of a file.
    """
    match part:
        case ImageUrlPart(image_url=picture):
            return _picture(picture.url, None, picture.detail)
        case InputImage():
            return _picture(part.image_url, part.file_id, part.detail)
        case FilePart(file=file):
            return _file(file, None)
        case InputFile():
            return _file(part, part.file_url)


def checked(part: Media, place: str) -> None:
    """Raise, with its place, what is wrong with a part."""
    try:
        shown(part)
    except BatonError as error:
        raise BatonError(error.code, f"{place}: {error.message}", param=place) from None


def _picture(url: str | None, id_: str | None, detail: str | None) -> ImagePart:
    if (url is None) == (id_ is None):
        raise BatonError(Code.BAD_INPUT, "Either a URL or a file_id is needed.")
    source = _named(id_) if url is None else _carried(url)
    return ImagePart(source=source, metadata={"detail": detail} if detail else None)


def _file(file: FileGiven, url: str | None) -> DocumentPart:
    given = [one for one in (file.file_id, file.file_data, url) if one is not None]
    if len(given) != 1:
        raise BatonError(Code.BAD_INPUT, "Either file_data or a file_id is needed.")
    if file.file_id is not None:
        source: FileSource | DataSource = _named(file.file_id)
    elif url is not None:
        source = _carried(url)
    else:
        source = _data(given[0])
    return DocumentPart(source=source, metadata={"name": file.filename} if file.filename else None)


def _named(id_: str | None) -> FileSource:
    file_key(id_ or "")
    return FileSource(value=id_ or "", provider=PROVIDER)


def _carried(url: str) -> DataSource:
    encoded, mime = split_data_url(url)
    decoded(encoded)
    return DataSource(value=encoded, mime_type=mime or _UNTYPED)


def _data(text: str) -> DataSource:
    """OpenAI takes a data URL here, and plain base64 as well."""
    if text[:5].lower() == "data:":
        return _carried(text)
    decoded(text)
    return DataSource(value=text, mime_type=_UNTYPED)
