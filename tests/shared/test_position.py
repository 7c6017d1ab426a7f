"""Positions as people and clients write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.protocol.position import START, Position, parse_position

POSITIONS = st.builds(Position, st.integers(0, 10**15 - 1), st.integers(0, 10**10 - 1))


@given(POSITIONS)
def test_a_position_is_read_as_it_is_written(at: Position) -> None:
    assert parse_position(str(at)) == at


@given(POSITIONS, POSITIONS)
def test_positions_order_by_fence_then_seq(one: Position, other: Position) -> None:
    assert (one < other) == ((one.fence, one.seq) < (other.fence, other.seq))
    assert one >= START


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "1",
        "1-",
        "-1",
        "01-1",
        "1-01",
        "+1-1",
        "1 -1",
        "1-1\n",
        " 1-1",
        "1-1-1",
        "1.0-1",
        "1_0-1",
        "\u0661-\u0661",
        "0x1-1",
        "1000000000000000-1",
        "1-10000000000",
        "a-b",
        "1-*",
        "$",
        "9" * 10_000,
    ],
)
def test_everything_else_is_no_cursor(text: str) -> None:
    assert parse_position(text) is None


def test_nothing_stands_between_a_position_and_the_next_seq_of_its_fence() -> None:
    assert Position(3, 4).precedes(Position(3, 5))
    assert not Position(3, 4).precedes(Position(3, 6))
    assert not Position(3, 4).precedes(Position(3, 4))
    assert not Position(3, 4).precedes(Position(4, 1))
