"""Files in a model's input: references until the call itself, which puts their bytes there.

So the journal, its digests, and what an agent's code sees are small, and the same in every replay.
"""

import base64
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from shared.errors import BatonError
from shared.media import IMAGES, PDF, is_text, media_type_of
from shared.protocol.codes import Code

_SCHEME = "baton-file:"
#: Bytes of files that a process remembers: each turn of a run shows the same ones.
MOST_BYTES = 64 * 1_048_576

#: Reads a file of the run's by its id; NOT_FOUND where it was deleted.
Read = Callable[[str], Awaitable[bytes]]
Part = dict[str, Any]


class Reads(NamedTuple):
    """What a model server takes besides text."""

    images: bool = True
    documents: bool = True


def reference(id_: str) -> str:
    """What stands for a file where its data will be."""
    return f"{_SCHEME}{id_}"


def mentions(given: Any) -> bool:
    """Whether an input holds references."""
    return any(_id_of(part) for item in _items(given) for part in _parts(item))


async def with_files(given: Any, read: Read, reads: Reads, model: str) -> Any:
    """The input with the files themselves.

    Raises:
        BatonError: MEDIA_NOT_SUPPORTED; what `read` raises, but for NOT_FOUND.
    """
    if not mentions(given):
        return given
    made = []
    for item in given:
        if any(_id_of(part) for part in _parts(item)):
            parts = [await _shown(part, read, reads, model) for part in _parts(item)]
            made.append({**item, _field(item): parts})
        else:
            made.append(item)
    return made


async def _shown(part: Part, read: Read, reads: Reads, model: str) -> Part:
    id_ = _id_of(part)
    if id_ is None:
        return part
    name = str(part.get("filename") or id_)
    try:
        content = await read(id_)
    except BatonError as error:
        if error.code is not Code.NOT_FOUND:
            raise
        return _note(f"[the file {name} was deleted]")
    media_type = media_type_of(content, name=name)
    if media_type in IMAGES:
        _require(reads.images, model, "pictures", name)
        detail = part.get("detail", "auto")
        return {
            "type": "input_image",
            "image_url": _data_url(media_type, content),
            "detail": detail,
        }
    if media_type == PDF:
        _require(reads.documents, model, "PDF files", name)
        return {
            "type": "input_file",
            "filename": name,
            "file_data": _data_url(media_type, content),
        }
    if is_text(media_type):
        return _note(f"[file {name}]\n{content.decode()}\n[end of file {name}]")
    return _note(f"[the file {name}, {media_type}, {len(content):,} bytes: not shown]")


def _require(can: bool, model: str, what: str, name: str) -> None:
    if not can:
        raise BatonError(Code.MEDIA_NOT_SUPPORTED, f"{model} reads no {what}, such as {name}.")


def _note(text: str) -> Part:
    return {"type": "input_text", "text": text}


def _data_url(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _items(given: Any) -> list[Any]:
    return given if isinstance(given, list) else []


def _field(item: Any) -> str:
    return "output" if item.get("type") == "function_call_output" else "content"


def _parts(item: Any) -> list[Part]:
    """The parts of what was said or returned."""
    found = item.get(_field(item)) if isinstance(item, dict) else None
    return found if isinstance(found, list) else []


def _id_of(part: Any) -> str | None:
    if not isinstance(part, dict):
        return None
    for field in ("image_url", "file_data"):
        value = part.get(field)
        if isinstance(value, str) and value.startswith(_SCHEME):
            return value.removeprefix(_SCHEME)
    return None


class Remembered:
    """Bytes of files read lately, by thread and id: nobody else's come out of here."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._held = most_bytes, 0
        self._files: OrderedDict[tuple[Any, str], bytes] = OrderedDict()

    def of(self, thread: Any, read: Read) -> Read:
        """`read`, which asks once for what is remembered."""

        async def remembered(id_: str) -> bytes:
            key = (thread, id_)
            if key in self._files:
                self._files.move_to_end(key)
                return self._files[key]
            content = await read(id_)
            self._keep(key, content)
            return content

        return remembered

    def _keep(self, key: tuple[Any, str], content: bytes) -> None:
        self._held += len(content) - len(self._files.pop(key, b""))
        self._files[key] = content
        while self._held > self._most:
            _, dropped = self._files.popitem(last=False)
            self._held -= len(dropped)


#: Those of this process.
FILES = Remembered()
