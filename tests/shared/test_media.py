"""Names of files are shown to people, so they are one short line."""

import pytest

from shared.media import MOST_NAME_CHARS, file_name, is_text, media_type_of


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (None, None),
        ("", None),
        ("/", None),
        ("..\\secret.txt", "secret.txt"),
        ("a\nb\u202etxt.exe", "a b txt.exe"),
        (f"{'x' * 300}.pdf", f"{'x' * (MOST_NAME_CHARS - 4)}.pdf"),
        ("x" * 300, "x" * MOST_NAME_CHARS),
        (f".{'x' * 300}", "x" * 0 + f".{'x' * 300}"[:MOST_NAME_CHARS]),
    ],
)
def test_a_name_is_one_line_without_folders(given: str | None, name: str | None) -> None:
    assert file_name(given) == name


def test_only_text_is_believed_about_its_kind() -> None:
    assert is_text(media_type_of(b"a,b", said="text/csv"))
    assert not is_text(media_type_of(b"\x00\x01", said="text/csv"))
