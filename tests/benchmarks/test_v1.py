"""What the bench sees of streamed chat completions, and its rows."""

from typing import Any

import orjson
import pytest

from benchmarks import v1
from benchmarks.dialects import BatonDialect, FloorDialect, V1Dialect, dialect_of
from benchmarks.measures import Delays, Looped, Paced
from benchmarks.raw_http import RawHttp
from benchmarks.table import Result, Row

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
#: One event in two chunks, two in one, and the end.
BODY = b"5\r\ndata:\r\n3\r\n a\n\r\n10\r\n\ndata: b\n\ndata: \r\n3\r\nc\n\n\r\n0\r\n\r\n"


class Seen:
    """What a client was told, and what it wrote."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.lost: list[str] = []
        self.written = b""
        self.closed = False
        self.http = RawHttp(b"POST /\r\nlength: %d\r\n\r\n", self.events.append, self.lost.append)
        transport: Any = self
        self.http.connection_made(transport)

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_events_are_seen_however_the_bytes_fall_and_answer_after_answer(size: int) -> None:
    seen = Seen()
    raw = (HEAD + BODY) * 2
    for start in range(0, len(raw), size):
        seen.http.data_received(raw[start : start + size])
    assert seen.events == [b"data: a", b"data: b", b"data: c"] * 2
    assert seen.lost == []


def test_an_answer_that_is_no_stream_ends_it() -> None:
    seen = Seen()
    seen.http.data_received(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno")
    assert seen.lost
    assert "404" in seen.lost[0]
    assert seen.closed


def test_a_request_says_its_length() -> None:
    seen = Seen()
    seen.http.send(b"{}")
    assert seen.written == b"POST /\r\nlength: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    ("frame", "token", "end", "failure"),
    [
        (b'data: {"choices":[{"delta":{"content":"a"}}]}', True, False, False),
        (b'data: {"choices": [{"delta": {"content": "a"}}]}', True, False, False),
        (b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}', False, False, False),
        (b"data: [DONE]", False, True, False),
        (b'data: {"error":{"code":"busy"}}', False, False, True),
    ],
)
def test_what_a_chunk_means(frame: bytes, token: bool, end: bool, failure: bool) -> None:
    dialect = V1Dialect("key", "Bench")
    assert dialect.is_token(frame) == token
    assert dialect.is_end(frame) == end
    assert dialect.is_failure(frame) == failure


def test_each_door_has_its_dialect() -> None:
    spec = {"keys": ["a", "b"], "agent": "Bench", "door": "v1"}
    of_baton = dialect_of(spec, 3)
    assert isinstance(of_baton, V1Dialect)
    assert orjson.loads(of_baton.run(run="r", thread="t", text="hi"))["model"] == "Bench"
    assert isinstance(dialect_of(spec | {"keys": []}, 0), V1Dialect)
    assert isinstance(dialect_of(spec | {"door": "socket"}, 0), BatonDialect)
    assert isinstance(dialect_of(spec | {"door": "socket", "keys": []}, 0), FloorDialect)


def answers(us: float) -> v1.Answers:
    delays = Delays(after=[us] * 2, whole=[us * 2] * 2)
    return v1.Answers(
        paced=Paced(us_per_delta={"one": us, "two": us}, delays=delays),
        alone=delays,
        looped={1: Looped(runs_per_s=us, ms_per_run={"one": us})},
    )


def test_both_stand_side_by_side_with_their_ratio() -> None:
    found = {row.name: row for row in v1.rows(answers(30), answers(20))}
    assert found["/v1: CPU per delta"].of_bare_sdk == 1.5
    assert found["/v1: CPU per delta"].note == "one 30, two 30"
    assert found["/v1: request to first chunk, alone, p50"].baton == 60
    assert found["/v1: five-delta answers, 1 client"].unit == "answers/s"


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([Row(name="a", unit="s", baton=1)], "none of these rows has a goal"),
        ([Row(name="a", unit="s", baton=1, goal=1)], "1 of 1 goals reached"),
        (
            [Row(name="a", unit="s", baton=2, goal=1), Row(name="b", unit="s", baton=1, goal=1)],
            "1 of 2 goals reached; not a",
        ),
    ],
)
def test_the_last_line_tells_which_goals_are_missed(rows: list[Row], told: str) -> None:
    assert Result(rows=rows)._verdict() == told
