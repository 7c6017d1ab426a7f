"""What follows a cursor and how gaps are filled: a table, and any history that hypothesis finds."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.relay.feed import Fill, Shown, SqlRow, fill, follows
from shared.bus.append import Entry
from shared.bus.events import Announcement
from shared.protocol.position import START, Position
from tests.gateway.relay.world import Fills, Follows, Listening, Thread, entry, token


def p(text: str) -> Position:
    fence, _, seq = text.partition("-")
    return Position(int(fence), int(seq))


def news(before: str, first: str, count: int = 1, *, settled: bool = True) -> Announcement:
    return Announcement(p(before), settled, p(first), [b"{}"] * count)


@pytest.mark.parametrize(
    ("cursor", "message", "first"),
    [
        ("3-4", news("3-4", "3-5"), 0),
        ("3-4", news("3-4", "3-5", 3), 0),
        ("3-4", news("3-2", "3-3", 4), 2),  # an overlap: the known part is dropped
        ("3-4", news("3-2", "3-3", 2), 2),  # nothing new
        ("3-4", news("2-8", "2-9"), 1),  # a zombie's, long settled
        ("3-4", news("3-5", "3-6"), None),  # one was lost
        ("3-0", news("2-9", "3-1"), 0),  # after a reset
        ("3-4", news("3-4", "4-1"), 0),  # RUN_STARTED, and nothing lies between
        ("3-4", news("3-5", "4-1"), None),  # something lies between
        ("3-4", news("4-1", "4-1"), None),  # a refill names itself
        ("3-4", news("3-4", "4-2"), None),  # RUN_STARTED was lost
        ("3-4", news("3-4", "4-1", settled=False), 1),  # a take-over before its first commit
        ("0-0", news("0-0", "1-1"), 0),
    ],
)
def test_what_follows_a_cursor(cursor: str, message: Announcement, first: int | None) -> None:
    assert follows(p(cursor), message) == first


def row(text: str, to: int | None = None) -> SqlRow:
    at = p(text)
    return SqlRow(at.fence, at.seq, to or at.seq, f"sql {text}")


def in_stream(*ids: str) -> list[Entry]:
    return [Entry(p(id_), "X", "run", f"redis {id_}") for id_ in ids]


@pytest.mark.parametrize(
    ("cursor", "entries", "rows", "shown"),
    [
        ("3-1", [], [], []),
        ("3-1", ["3-2", "3-3"], [], ["redis 3-2", "redis 3-3"]),
        ("3-1", ["3-2", "3-4"], [], ["redis 3-2"]),  # never over a hole
        ("3-1", ["3-3"], [], []),
        ("3-1", ["3-3"], ["3-2"], ["sql 3-2", "redis 3-3"]),
        ("2-5", ["2-6", "3-1"], ["3-1"], ["redis 3-1"]),  # below settled SQL alone counts
        ("2-5", [], ["2-6", "3-1"], ["sql 2-6", "sql 3-1"]),
        ("3-1", ["3-2", "4-1", "4-2"], [], ["redis 3-2"]),  # above settled nothing counts
        ("3-1", [], ["3-2", "4-1"], ["sql 3-2"]),
        ("2-5", ["3-1", "3-2"], [], []),  # SQL has not said that it has everything before 3-1
    ],
)
def test_stream_and_sql_are_merged(
    cursor: str, entries: list[str], rows: list[str], shown: list[str]
) -> None:
    found = fill(
        p(cursor), in_stream(*entries), [row(id_) for id_ in rows], settled=3, rows_complete=True
    )
    assert ([data for _, data in found.shown], found.inside) == (shown, False)


@pytest.mark.parametrize(
    ("cursor", "entries", "expected"),
    [
        ("3-1", [], Fill([Shown(p("3-5"), "sql 3-2")])),
        ("3-1", ["3-2", "3-3", "3-4"], Fill([Shown(p("3-5"), "sql 3-2")])),
        ("3-3", ["3-4", "3-5"], Fill([Shown(p("3-4"), "redis 3-4"), Shown(p("3-5"), "redis 3-5")])),
        ("3-3", [], Fill([], inside=True)),
        ("3-3", ["3-5"], Fill([], inside=True)),
        ("3-3", ["3-4"], Fill([Shown(p("3-4"), "redis 3-4")], partly=True)),
        ("3-5", [], Fill([])),
    ],
)
def test_a_joined_row_is_shown_whole_or_as_the_events_it_was(
    cursor: str, entries: list[str], expected: Fill
) -> None:
    joined = row("3-2", to=5)
    found = fill(p(cursor), in_stream(*entries), [joined], settled=3, rows_complete=True)
    assert found == expected


def test_a_page_of_rows_says_nothing_about_what_lies_behind_it() -> None:
    entries = [entry(p("3-2")), entry(p("3-3"))]
    found = fill(p("3-1"), entries, [row("3-2")], settled=3, rows_complete=False)
    assert found.shown == [Shown(p("3-2"), token(p("3-2")))]


# ---------------------------------------------------------------------- any history
Step = tuple[str, int]
History = tuple[bool, int, list[Step]]
#: Weighted: much is written and heard, little is lost.
KINDS = (
    *("emit", "emit", "emit", "commit", "commit", "claim", "finish"),
    *("hear", "hear", "hear", "hear all", "drop", "again", "swap", "look"),
    *("stream", "sql", "fill", "fill", "lose", "trim", "flush"),
)


def history(seed: int, *, without: tuple[str, ...] = ()) -> History:
    """A long history without a pattern; what hypothesis draws by itself is mostly short."""
    chance = Random(seed)
    kinds = [kind for kind in KINDS if kind not in without]
    steps = [(chance.choice(kinds), chance.randrange(256)) for _ in range(chance.randint(20, 90))]
    return chance.random() < 0.5, chance.randint(1, 6), [("claim", 0), *steps]


SEEDS = st.integers(0, 2**64)


def happen(history_: History, follows_: Follows = follows, fill_: Fills = fill) -> Listening:
    """Let a history happen to a thread and its listener, then let everything come to rest."""
    forgets, page, steps = history_
    thread = Thread(forgets=forgets)
    listener = Listening(thread, follows_, fill_, page)
    for kind, number in steps:
        step(kind, number, thread, listener)
        listener.check()
    rest(thread, listener)
    listener.check_end()
    return listener


def step(kind: str, number: int, thread: Thread, listener: Listening) -> None:
    doings: dict[str, Callable[[], None]] = {
        "emit": lambda: thread.emit(number % 4 + 1),
        "commit": lambda: thread.commit(number),
        "claim": thread.claim,
        "finish": thread.finish,
        "lose": lambda: thread.lose(number % 3 + 1),
        "trim": lambda: thread.trim(number % 3 + 1),
        "flush": lambda: thread.lose(1000),
        "look": listener.look,
        "stream": listener.read_stream,
        "sql": listener.read_sql,
        "fill": listener.read_both,
    }
    doings.get(kind, lambda: pass_on(kind, thread.stream.published, listener))()


def pass_on(kind: str, waiting: list[Announcement], listener: Listening) -> None:
    """What becomes of the messages that the channel holds."""
    if kind == "swap":
        waiting[:2] = reversed(waiting[:2])
    elif kind == "again" and waiting:
        listener.hear(waiting[0])
    elif kind == "hear all":
        while waiting:
            listener.hear(waiting.pop(0))
    elif waiting:
        message = waiting.pop(0)
        if kind == "hear":
            listener.hear(message)


def rest(thread: Thread, listener: Listening) -> None:
    """The run ends, every message of its last moments is lost, and the looks go on."""
    if thread.settled < thread.fence:
        thread.claim()
    thread.finish()
    thread.stream.published.clear()
    for _ in range(200):
        listener.look()
        if listener.live and listener.cursor >= thread.last:
            return
        listener.read_stream()
        listener.read_sql()
    raise AssertionError("the listener never came to the end")


@given(SEEDS)
@settings(max_examples=600, deadline=None)
def test_every_settled_event_is_delivered_once_and_in_order(seed: int) -> None:
    happen(history(seed))


@given(SEEDS)
@settings(max_examples=200, deadline=None)
def test_a_stream_that_loses_nothing_needs_no_reset(seed: int) -> None:
    assert happen(history(seed, without=("lose", "trim", "flush"))).resets == 0


def test_the_histories_have_what_is_rare() -> None:
    """Else the properties would hold for want of trouble."""
    ends = [happen(history(seed)) for seed in range(300)]
    assert sum(end.resets > 0 for end in ends) > 10
    assert sum(end.thread.fence > 3 for end in ends) > 100
    assert sum(bool(set(end.got) - set(end.thread.stored())) for end in ends) > 3  # lost for ever
    assert sum(any(row.seq_to > row.seq for row in end.thread.rows) for end in ends) > 100


# ---------------------------------------------------------------------- the power of the property
def shows_unsettled(cursor: Position, message: Announcement) -> int | None:
    return follows(cursor, message._replace(settled=True))


def forgets_the_fence(cursor: Position, message: Announcement) -> int | None:
    if message.settled and message.first.fence > cursor.fence:
        return 0
    return follows(cursor, message)


def trusts_any_id_before(cursor: Position, message: Announcement) -> int | None:
    if message.settled and message.before == cursor:
        return 0
    return follows(cursor, message)


def skips_a_hole(cursor: Position, message: Announcement) -> int | None:
    found = follows(cursor, message)
    return 0 if found is None and message.first.fence == cursor.fence else found


def repeats_an_overlap(cursor: Position, message: Announcement) -> int | None:
    found = follows(cursor, message)
    return 0 if found and found < len(message.events) else found


def never_a_gap(cursor: Position, message: Announcement) -> int | None:
    found = follows(cursor, message)
    return len(message.events) if found is None else found


def shows_what_is_not_settled(
    cursor: Position, entries: Sequence[Entry], rows: Sequence[SqlRow], **about: Any
) -> Fill:
    return (
        fill(cursor, entries, rows, **about | {"settled": 10**6})
        if rows
        else Fill([Shown(one.at, one.data) for one in entries])
    )


def takes_the_stream_below_settled(
    cursor: Position, entries: Sequence[Entry], rows: Sequence[SqlRow], **about: Any
) -> Fill:
    found = fill(cursor, entries, rows, **about)
    known = {one.at for one in found.shown}
    more = [Shown(one.at, one.data) for one in entries if one.at not in known]
    below = [one for one in more if cursor < one.at and one.at.fence < about["settled"]]
    return replace(found, shown=sorted([*found.shown, *below]))


def cuts_joined_rows(
    cursor: Position, entries: Sequence[Entry], rows: Sequence[SqlRow], **about: Any
) -> Fill:
    found = fill(cursor, entries, rows, **about)
    joined = [one for one in rows if one.end > cursor] if found.inside else []
    return Fill([Shown(one.end, one.data) for one in joined[:1]]) if joined else found


def runs_on_over_holes(
    cursor: Position, entries: Sequence[Entry], rows: Sequence[SqlRow], **about: Any
) -> Fill:
    found = fill(cursor, entries, rows, **about)
    last = found.shown[-1].at if found.shown else cursor
    beyond = [one for one in entries if one.at.fence == about["settled"] and one.at > last]
    return replace(found, shown=[*found.shown, *(Shown(one.at, one.data) for one in beyond)])


def forgets_a_page(
    cursor: Position, entries: Sequence[Entry], rows: Sequence[SqlRow], **about: Any
) -> Fill:
    return fill(cursor, entries, rows, **about | {"rows_complete": True})


@pytest.mark.parametrize(
    ("follows_", "fill_"),
    [
        (shows_unsettled, fill),
        (forgets_the_fence, fill),
        (trusts_any_id_before, fill),
        (skips_a_hole, fill),
        (repeats_an_overlap, fill),
        (follows, shows_what_is_not_settled),
        (follows, takes_the_stream_below_settled),
        (follows, cuts_joined_rows),
        (follows, runs_on_over_holes),
    ],
)
def test_the_property_finds_planted_bugs(follows_: Follows, fill_: Fills) -> None:
    def fails(seed: int) -> bool:
        try:
            happen(history(seed), follows_, fill_)
        except AssertionError:
            return True
        return False

    assert any(fails(seed) for seed in range(3000)), "nobody would notice this bug"


@pytest.mark.parametrize(("follows_", "fill_"), [(never_a_gap, fill), (follows, forgets_a_page)])
def test_what_only_costs_time_is_made_good_by_the_looks(follows_: Follows, fill_: Fills) -> None:
    """A message that is passed over, and a page that is taken for the last one."""
    happen((False, 2, [("claim", 0), ("emit", 3), ("commit", 255), ("emit", 3)]), follows_, fill_)


def test_a_cursor_from_before_everything_gets_everything() -> None:
    listener = happen((False, 3, [("claim", 0), ("emit", 2), ("finish", 0), ("claim", 0)]))
    assert (listener.base, listener.got[0]) == (START, Position(1, 1))
