"""Dividing a limit of calls among runners: nobody gets too much, and nobody starves."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolsvc.runs.shares import Load, share_of


def share(limit: int, mine: tuple[int, int], *others: tuple[int, int, int]) -> int:
    """For (active, waiting) of mine and (active, waiting, share) of others."""
    loads = [
        Load(runner=f"r{n}", active=active, waiting=waiting, share=had)
        for n, (active, waiting, had) in enumerate(others)
    ]
    return share_of(Load(runner="me", active=mine[0], waiting=mine[1]), loads, limit)


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (share(6, (0, 0)), 6),
        (share(6, (0, 0), (0, 0, 3)), 3),
        (share(6, (2, 8), (2, 8, 3)), 3),
        (share(6, (2, 8), (1, 0, 1)), 5),
        (share(7, (2, 8), (2, 8, 3)), 4),
        (share(6, (0, 9), (6, 0, 6)), 0),
        (share(6, (0, 9), (4, 0, 3)), 2),
        (share(1, (0, 1), (0, 0, 0)), 1),
        (share(1, (0, 1), (1, 0, 1)), 0),
    ],
)
def test_what_is_there_goes_to_who_needs_it_as_soon_as_it_is_free(
    given_: int, expected: int
) -> None:
    assert given_ == expected


loads = st.lists(
    st.builds(
        Load,
        runner=st.just(""),
        active=st.integers(0, 5),
        waiting=st.integers(0, 20),
        waited_s=st.floats(0, 100),
        share=st.just(0),
    ),
    min_size=1,
    max_size=6,
).map(lambda made: [replace(one, runner=f"r{n}") for n, one in enumerate(made)])


@given(loads, st.integers(1, 20), st.lists(st.integers(0, 5), max_size=40))
def test_promises_never_exceed_the_limit_whoever_asks_in_which_order(
    fleet: list[Load], limit: int, order: list[int]
) -> None:
    fleet = [replace(one, active=0) for one in fleet]
    for number in order:
        at = number % len(fleet)
        others = [one for place, one in enumerate(fleet) if place != at]
        fleet[at] = replace(fleet[at], share=share_of(fleet[at], others, limit))
        assert sum(one.share for one in fleet) <= limit


@given(loads, st.integers(1, 20))
def test_after_two_rounds_the_whole_limit_is_given_out(fleet: list[Load], limit: int) -> None:
    fleet = [replace(one, active=0) for one in fleet]
    for _ in range(2):
        for at, mine in enumerate(fleet):
            others = [one for place, one in enumerate(fleet) if place != at]
            fleet[at] = replace(mine, share=share_of(mine, others, limit))
    assert sum(one.share for one in fleet) == limit


@given(st.integers(2, 6), st.integers(1, 5), st.integers(1, 4))
def test_with_less_than_one_for_each_all_are_served_in_the_end(
    runners: int, waiting: int, limit: int
) -> None:
    """Each beat of the clock: everybody asks once, starts what it may, and ends it by the next."""
    fleet = [Load(runner=f"r{n}", waiting=waiting) for n in range(runners)]
    for _ in range(3 * runners * waiting + 3):
        for at, mine in enumerate(fleet):
            mine = replace(mine, active=0, waited_s=mine.waited_s + 1 if mine.waiting else 0)
            others = [one for place, one in enumerate(fleet) if place != at]
            may = share_of(mine, others, limit)
            begun = min(may, mine.waiting)
            fleet[at] = replace(
                mine,
                share=may,
                active=begun,
                waiting=mine.waiting - begun,
                waited_s=0 if begun else mine.waited_s,
            )
        assert sum(one.active for one in fleet) <= limit
    assert [one.waiting for one in fleet] == [0] * runners
