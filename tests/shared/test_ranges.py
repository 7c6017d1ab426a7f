"""Which part of a download is meant, by RFC 9110."""

import pytest

from shared.errors import UnsatisfiableRangeError
from shared.web.ranges import Part, asked_part

ETAG = '"abc"'


def asked(range_: str, **headers: str) -> Part | None:
    return asked_part({"range": range_} | headers, size=10, etag=ETAG)


@pytest.mark.parametrize(
    ("range_", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=2-5", 2, 5),
        ("bytes=2-", 2, 9),
        ("bytes=2-99", 2, 9),
        ("bytes=-3", 7, 9),
        ("bytes=-99", 0, 9),
        ("BYTES= 9-9 ", 9, 9),
    ],
)
def test_one_part_is_given(range_: str, first: int, last: int) -> None:
    assert asked(range_) == Part(first, last, 10)
    assert str(Part(first, last, 10)) == f"bytes {first}-{last}/10"


@pytest.mark.parametrize("range_", ["bytes=10-", "bytes=10-12", "bytes=-0", f"bytes={'9' * 20}-"])
def test_what_is_not_there_is_refused(range_: str) -> None:
    with pytest.raises(UnsatisfiableRangeError) as refused:
        asked(range_)
    assert refused.value.size == 10


@pytest.mark.parametrize(
    "range_",
    [
        *("", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-2", "lines=0-1", "bytes=0x1-2"),
        *("bytes=0-1,3-4", "bytes=0-1-2", "bytes=+1-2", "bytes=-1-2", "bytes=\u0661-", "\x00"),
        *(f"bytes={'9' * 21}-", f"bytes=0-{'9' * 5000}"),
    ],
)
def test_what_is_no_single_range_is_answered_with_the_whole(range_: str) -> None:
    assert asked(range_) is None


def test_who_has_the_beginning_of_something_else_gets_the_whole() -> None:
    assert asked("bytes=2-", **{"if-range": ETAG}) == Part(2, 9, 10)
    for other in ('"other"', f"W/{ETAG}", "Sun, 22 Nov 2026 09:00:00 GMT", ""):
        assert asked("bytes=2-", **{"if-range": other}) is None
    assert asked_part({}, size=10, etag=ETAG) is None
