"""Files in a model's input: named until the call, shown in it as the model takes them."""

import base64
from typing import Any

import pytest

from runner.conversation import as_input
from runner.models.attached import Reads, Remembered, mentions, with_files
from runner.models.digest import digest_of
from shared.errors import BatonError
from shared.protocol.codes import Code

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 20
FILES = {
    "file_png": PNG,
    "file_pdf": b"%PDF-1.7\n",
    "file_text": "häl\n".encode(),
    "file_zip": b"PK\x03\x04" + b"\x00" * 30,
}


async def read(id_: str) -> bytes:
    if id_ not in FILES:
        raise BatonError(Code.NOT_FOUND)
    return FILES[id_]


def said(kind: str, id_: str, name: str | None = None) -> list[dict[str, Any]]:
    """The input of a run in which a person has sent a file."""
    about = {"name": name} if name else {}
    source = {"type": "file", "value": id_, "provider": "baton"}
    parts = [
        {"type": "text", "text": "Look"},
        {"type": kind, "source": source, "metadata": about | {"detail": "low"}},
    ]
    return as_input([{"id": "m", "role": "user", "content": parts}])


async def shown(kind: str, id_: str, name: str | None = None, reads: Reads | None = None) -> Any:
    given = said(kind, id_, name)
    before = digest_of("A", given)
    (item,) = await with_files(given, read, reads or Reads(), "m")
    assert mentions(given)
    assert digest_of("A", given) == before  # what is journalled stays as it was
    assert item["content"][0] == {"type": "input_text", "text": "Look"}
    return item["content"][1]


@pytest.mark.asyncio
async def test_each_kind_of_file_is_shown_as_models_take_it() -> None:
    data = base64.b64encode(PNG).decode()
    assert await shown("image", "file_png") == {
        "type": "input_image",
        "image_url": f"data:image/png;base64,{data}",
        "detail": "low",
    }
    pdf = await shown("document", "file_pdf", "a.pdf")
    assert (pdf["type"], pdf["filename"]) == ("input_file", "a.pdf")
    assert pdf["file_data"].startswith("data:application/pdf;base64,")
    text = await shown("document", "file_text", "a.md")
    assert text == {"type": "input_text", "text": "[file a.md]\nhäl\n\n[end of file a.md]"}
    assert "application/zip" in (await shown("document", "file_zip", "a.zip"))["text"]
    assert (await shown("image", "file_gone"))["text"] == "[the file file_gone was deleted]"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "id_", "reads"),
    [("image", "file_png", Reads(images=False)), ("document", "file_pdf", Reads(documents=False))],
)
async def test_a_model_that_reads_none_of_it_is_not_asked(
    kind: str, id_: str, reads: Reads
) -> None:
    with pytest.raises(BatonError) as caught:
        await shown(kind, id_, reads=reads)
    assert caught.value.code is Code.MEDIA_NOT_SUPPORTED


@pytest.mark.asyncio
async def test_text_that_looks_like_a_reference_is_none() -> None:
    for given in ("baton-file:file_png", [{"role": "user", "content": "baton-file:file_png"}]):
        assert await with_files(given, read, Reads(), "m") is given
    parts = [{"type": "input_text", "text": "baton-file:file_png"}]
    assert not mentions([{"role": "user", "content": parts}])


@pytest.mark.asyncio
async def test_files_are_remembered_by_thread_and_forgotten_when_there_are_too_many() -> None:
    asked: list[str] = []

    async def counted(id_: str) -> bytes:
        asked.append(id_)
        return b"12345"

    files = Remembered(10)
    for thread, id_ in ((1, "a"), (1, "a"), (2, "a"), (1, "a"), (1, "b"), (2, "a")):
        assert await files.of(thread, counted)(id_) == b"12345"
    assert asked == ["a", "a", "b", "a"]
