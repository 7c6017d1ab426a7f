"""What a person may attach, without stores."""

import base64
from typing import Any

import pytest

from gateway.attachments import MOST_FILES, carried_chars
from gateway.intake import NewInput, new_input, title_of
from shared.errors import BatonError
from shared.media import MAX_FILE_BYTES
from shared.protocol.codes import Code
from tests.gateway.api.test_files import PNG
from tests.gateway.rig import user_message
from tests.gateway.test_intake import submit

DATA = base64.b64encode(PNG).decode()


def image(**source: Any) -> dict[str, Any]:
    return {"type": "image", "source": source}


def data(value: str = DATA, mime: str = "image/png") -> dict[str, Any]:
    return image(type="data", value=value, mimeType=mime)


def taken(*parts: dict[str, Any]) -> NewInput:
    return new_input(submit(user_message("m", list(parts))), frozenset())


@pytest.mark.parametrize(
    "part",
    [data(), data(mime="text/plain"), image(type="url", value=f"data:image/png;base64,{DATA}")],
)
def test_bytes_that_come_along_become_a_file_of_their_own_type(part: dict[str, Any]) -> None:
    part["metadata"] = {"filename": "../cat.png", "detail": "low", "surprise": 1}
    new = taken({"type": "text", "text": "Look"}, part)
    (file,) = new.files
    assert (file.content, file.media_type, file.name) == (PNG, "image/png", "cat.png")
    shown = new.messages[0]["content"][1]
    assert shown["type"] == "image"
    assert shown["source"] == {
        "type": "file",
        "value": f"file_{file.key.hex}",
        "provider": "baton",
    }
    about = {"name": "cat.png", "mediaType": "image/png", "size": len(PNG), "detail": "low"}
    assert shown["metadata"] == about
    assert DATA not in str(new.record)


def test_a_message_may_be_a_file_alone_and_its_thread_is_called_like_it() -> None:
    part = data() | {"metadata": {"name": "cat.png"}}
    assert title_of(taken(part).messages[0]) == "cat.png"
    assert title_of(taken(data()).messages[0]) == "File"


def test_what_is_found_out_about_a_named_file_is_shown() -> None:
    id_ = f"file_{'0' * 31}1"
    new = taken({"type": "text", "text": "See"}, image(type="file", value=id_))
    found = {"type": "document", "source": {"type": "file", "value": "file_2"}}
    shown = new.showing({id_: found})
    assert shown.messages[0]["content"] == [{"type": "text", "text": "See"}, found]
    assert shown.record["messages"] == shown.messages


@pytest.mark.parametrize(
    ("part", "code"),
    [
        (image(type="url", value="https://example.com/cat.png"), Code.URL_REFUSED),
        (image(type="url", value="http://169.254.169.254/latest"), Code.URL_REFUSED),
        (image(type="url", value="file:///etc/passwd"), Code.URL_REFUSED),
        (image(type="url", value=""), Code.URL_REFUSED),
        (image(type="url", value="data:image/png,x"), Code.BAD_INPUT),
        (image(type="url", value="data:image/png;base64,%%%"), Code.BAD_INPUT),
        (data("not base64!"), Code.BAD_INPUT),
        (data(""), Code.BAD_INPUT),
        (data("A" * (MAX_FILE_BYTES * 4 // 3 + 8)), Code.TOO_LARGE),
        (image(type="file", value="file_1", provider="openai"), Code.BAD_INPUT),
        (image(type="file", value="../x"), Code.NOT_FOUND),
    ],
)
def test_what_is_no_file_is_refused(part: dict[str, Any], code: Code) -> None:
    with pytest.raises(BatonError) as caught:
        taken({"type": "text", "text": "Look"}, part)
    assert caught.value.code is code


def test_a_run_has_a_number_of_files() -> None:
    assert len(taken(*[data()] * MOST_FILES).files) == MOST_FILES
    with pytest.raises(BatonError, match="at most"):
        taken(*[data()] * (MOST_FILES + 1))


def test_only_the_data_of_files_may_make_a_body_long() -> None:
    url = "data:image/png;base64,AAAA"
    body = {"messages": [data("AAAA"), {"image_url": {"url": url}}, {"file_data": "AA"}, "text"]}
    assert carried_chars(body) == 4 + len(url) + 2
