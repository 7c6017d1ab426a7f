"""An export proves itself: whatever is done to one of its lines is found, and named right."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.chain import extend, sealed
from shared.export import MAX_LINE_BYTES, ExportedRow, lines_of, row_line
from shared.judge import Trouble, Verdict, judge
from shared.receipts import canonical
from tests.shared.exported import KEY, OTHER, export

TRUSTED = [OTHER.public, KEY.public]

#: Lengths of rows under each fence: two fences where the run was taken over once.
SHAPES = st.lists(
    st.lists(st.integers(1, 9), min_size=1, max_size=6).map(lambda one: [1, *one[1:]]),
    min_size=1,
    max_size=3,
)


def id_at(lines: list[bytes], number: int) -> str | None:
    found = json.loads(lines[number])
    return found.get("id") if isinstance(found, dict) else None


def named(verdict: Verdict) -> tuple[Trouble, int, str | None]:
    assert verdict.problem is not None
    assert not verdict.trusted
    return verdict.problem[:3]


#: What Postgres can hold.
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
keys_or_none = st.sampled_from([TRUSTED, None])
any_file = st.builds(export, SHAPES)


@given(any_file, keys_or_none)
def test_what_nobody_touched_holds(lines: list[bytes], keys: Any) -> None:
    verdict = judge(lines, keys)
    assert verdict.problem is None
    assert verdict.trusted is (keys is not None)
    assert verdict.rows == len(lines) - 2


@given(any_file, keys_or_none, st.data())
def test_any_other_byte_is_found_in_its_line(
    lines: list[bytes], keys: Any, data: st.DataObject
) -> None:
    number = data.draw(st.integers(0, len(lines) - 1))
    place = data.draw(st.integers(0, len(lines[number]) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda one: one not in (10, lines[number][place])))
    changed = lines[number][:place] + bytes([byte]) + lines[number][place + 1 :]
    verdict = judge([*lines[:number], changed, *lines[number + 1 :]], keys)
    assert named(verdict)[:2] == (Trouble.ALTERED, number + 1)


#: A value for a field that is none of those that stand there; of the same form where there is one.
OTHER_VALUES: dict[str, list[Any]] = {
    "id": ["3-2", "3-7", "9-1", "0-0", "x", 5, None],
    "seqTo": [1, 4, 99, 0, -1, "1", 2**60, 1.5, True, None],
    "type": ["CUSTOM", "RUN_ERROR", "", None, 7],
    "data": ["{}", "", 7, None],
    "salt": ["00" * 16, "AB" * 16, "zz", "", 7, None],
    "digest": ["00" * 32, "00", None, 7],
    "hash": ["00" * 32, "11" * 32, "00", None],
    "run": ["run_2", None],
    "root": ["run_2"],
    "thread": ["thr_2", 7],
    "before": ["00" * 32, "0"],
    "key": [OTHER.public.jwk, KEY.public.jwk | {"kid": "0" * 16}, KEY.public.jwk | {"x": 7}, {}],
    "kind": ["baton.export", "baton.receipt", "x", None],
    "version": [2, 1.0, True, "1"],
    "agent": ["Eve"],
    "agentDigest": ["00"],
    "status": ["failed"],
    "startedAt": ["2026-11-21T12:00:00.000006Z"],
    "endedAt": ["2026-11-21T12:00:00.000006Z"],
    "first": ["3-2", 7],
    "last": ["3-999", None],
    "rows": [0, 1, 99, "1"],
    "chain": ["00" * 32, None],
    "kid": ["0" * 16, OTHER.public.id, 7],
    "signature": ["", "A" * 86, 7],
}


@given(any_file, st.sampled_from([TRUSTED, [KEY.public], None]), st.data())
def test_any_other_value_is_found_in_its_line(
    lines: list[bytes], keys: Any, data: st.DataObject
) -> None:
    number = data.draw(st.integers(0, len(lines) - 1))
    said = json.loads(lines[number])
    field = data.draw(st.sampled_from(sorted(said)))
    value = data.draw(st.sampled_from(OTHER_VALUES[field]))
    if canonical(value) == canonical(said[field]):
        return
    changed = canonical(said | {field: value})
    verdict = judge([*lines[:number], changed, *lines[number + 1 :]], keys)
    assert named(verdict)[:2] == (Trouble.ALTERED, number + 1)


@given(any_file, keys_or_none, st.data())
def test_content_that_was_sealed_anew_is_found(
    lines: list[bytes], keys: Any, data: st.DataObject
) -> None:
    number = data.draw(st.integers(1, len(lines) - 2))
    said = json.loads(lines[number])
    again = sealed(1, 1, 1, "X", data.draw(TEXTS))
    new = {"data": again.data, "salt": again.salt.hex(), "digest": again.digest.hex()}
    verdict = judge([*lines[:number], canonical(said | new), *lines[number + 1 :]], keys)
    assert named(verdict) == (Trouble.ALTERED, number + 1, said["id"])


@given(any_file, keys_or_none, st.data())
def test_content_that_was_chained_anew_is_found_there_or_in_the_next_line(
    lines: list[bytes], keys: Any, data: st.DataObject
) -> None:
    number = data.draw(st.integers(1, len(lines) - 2))
    said, earlier = json.loads(lines[number]), json.loads(lines[number - 1])
    fence, _, seq = said["id"].partition("-")
    row = sealed(int(fence), int(seq), said["seqTo"], said["type"], "{}")
    before = bytes.fromhex(earlier.get("hash") or earlier["before"])
    ((_, hash_),) = extend(before, [row])
    new = row_line(ExportedRow(*row, hash_)).strip()
    verdict = judge([*lines[:number], new, *lines[number + 1 :]], keys)
    trouble, line, _ = named(verdict)
    assert trouble is Trouble.ALTERED
    assert line == (number + 1 if number == len(lines) - 2 else number + 2)
    assert verdict.problem
    assert number == len(lines) - 2 or said["id"] in verdict.problem.why


@given(any_file, keys_or_none, st.data())
def test_a_line_taken_out_is_missed_in_its_place(
    lines: list[bytes], keys: Any, data: st.DataObject
) -> None:
    number = data.draw(st.integers(0, len(lines) - 1))
    verdict = judge([*lines[:number], *lines[number + 1 :]], keys)
    after = id_at(lines, number + 1) if number + 1 < len(lines) else None
    if keys is None and number == 0:
        # Its key went with the header; that it is missing comes first all the same.
        assert named(verdict)[:2] == (Trouble.MISSING, 1)
    assert named(verdict) == (Trouble.MISSING, number + 1, after)


@given(any_file, keys_or_none, st.data())
def test_a_file_that_was_cut_is_missing_its_end(
    lines: list[bytes], keys: Any, data: st.DataObject
) -> None:
    kept = data.draw(st.integers(0, len(lines) - 1))
    assert named(judge(lines[:kept], keys)) == (Trouble.MISSING, kept + 1, None)


@given(any_file, keys_or_none, st.data())
def test_rows_cut_before_the_receipt_are_missing(
    lines: list[bytes], keys: Any, data: st.DataObject
) -> None:
    first = data.draw(st.integers(1, len(lines) - 2))
    last = data.draw(st.integers(first, len(lines) - 2))
    verdict = judge([*lines[:first], *lines[last + 1 :]], keys)
    assert named(verdict) == (Trouble.MISSING, first + 1, id_at(lines, last + 1))


FOREIGN = export([[1, 2, 3], [1, 4]], fence=3, key=OTHER)
RUBBISH = [b"", b"{}", b"[]", b"null", b"\xff\x00", b"[" * 100_000, b'{"id":"\\ud800"}', b"NaN"]


@given(any_file, keys_or_none, st.data())
def test_a_line_put_in_is_named(lines: list[bytes], keys: Any, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(lines)))
    put = data.draw(st.sampled_from([*FOREIGN, *RUBBISH]))
    verdict = judge([*lines[:number], put, *lines[number:]], keys)
    trouble, line, _ = named(verdict)
    if number == 0 and put == FOREIGN[0]:
        # Two headers: the first one is taken for the header, until it does not fit.
        assert (trouble, line) in {(Trouble.ALTERED, 1), (Trouble.ADDED, 2)}
    else:
        assert (trouble, line) == (Trouble.ADDED, number + 1)


@given(any_file, keys_or_none, st.data())
def test_a_line_that_stands_there_twice_is_added(
    lines: list[bytes], keys: Any, data: st.DataObject
) -> None:
    which = data.draw(st.integers(0, len(lines) - 1))
    number = data.draw(st.integers(0, len(lines)))
    verdict = judge([*lines[:number], lines[which], *lines[number:]], keys)
    # Beside itself, either of the two may be called the one too many.
    assert named(verdict)[:2] == (Trouble.ADDED, number + 1 + (number == which))


@given(any_file, keys_or_none, st.data())
def test_a_row_that_continues_the_chain_is_added_all_the_same(
    lines: list[bytes], keys: Any, data: st.DataObject
) -> None:
    number = data.draw(st.integers(1, len(lines) - 1))
    earlier = json.loads(lines[number - 1])
    before = bytes.fromhex(earlier.get("hash") or earlier["before"])
    ((row, hash_),) = extend(before, [sealed(3, 2, 2, "CUSTOM", "{}")])
    put = row_line(ExportedRow(*row, hash_)).strip()
    verdict = judge([*lines[:number], put, *lines[number:]], keys)
    assert named(verdict) == (Trouble.ADDED, number + 1, "3-2")


@given(any_file, keys_or_none, st.data())
def test_lines_that_changed_places_are_reordered(
    lines: list[bytes], keys: Any, data: st.DataObject
) -> None:
    one = data.draw(st.integers(0, len(lines) - 2))
    two = data.draw(st.integers(one + 1, len(lines) - 1))
    swapped = [*lines]
    swapped[one], swapped[two] = lines[two], lines[one]
    assert named(judge(swapped, keys)) == (Trouble.REORDERED, one + 1, id_at(lines, two))


@given(any_file, keys_or_none, st.data())
def test_a_line_that_was_moved_is_reordered(
    lines: list[bytes], keys: Any, data: st.DataObject
) -> None:
    which = data.draw(st.integers(0, len(lines) - 1))
    rest = [*lines[:which], *lines[which + 1 :]]
    to = data.draw(st.integers(0, len(rest)).filter(lambda number: number != which))
    moved = [*rest[:to], lines[which], *rest[to:]]
    assert named(judge(moved, keys))[:2] == (Trouble.REORDERED, min(which, to) + 1)


@given(SHAPES, st.data())
def test_erased_rows_still_prove_what_stands_around_them(
    shape: list[list[int]], data: st.DataObject
) -> None:
    erased = data.draw(st.sets(st.integers(0, sum(map(len, shape)) - 1), min_size=1))
    lines = export(shape, erased=erased)
    verdict = judge(lines, TRUSTED)
    assert (verdict.problem, verdict.erased) == (None, len(erased))
    number = data.draw(st.sampled_from(sorted(erased))) + 1
    said = json.loads(lines[number])
    changed = canonical(said | {"digest": "00" * 32})
    changed_verdict = judge([*lines[:number], changed, *lines[number + 1 :]], TRUSTED)
    assert named(changed_verdict) == (Trouble.ALTERED, number + 1, said["id"])


# ---------------------------------------------------------------------------------- keys
def test_a_receipt_of_another_key_is_not_trusted() -> None:
    lines = export([[1, 3]])
    trouble, line, _ = named(judge(lines, [OTHER.public]))
    assert (trouble, line) == (Trouble.UNSIGNED, 4)
    assert named(judge(lines, []))[0] is Trouble.UNSIGNED
    assert judge(lines, None).trusted is False


def test_a_file_made_anew_holds_for_nobody_who_has_the_keys() -> None:
    forged = export([[1, 3]], key=OTHER)
    assert judge(forged, None).problem is None
    assert named(judge(forged, [KEY.public]))[0] is Trouble.UNSIGNED


def test_a_former_key_still_verifies_what_it_signed() -> None:
    for key in (KEY, OTHER):
        assert judge(export([[1]], key=key), TRUSTED).trusted


def test_a_file_without_a_key_needs_one() -> None:
    lines = export([[1, 3]])
    lines[0] = canonical(json.loads(lines[0]) | {"key": None})
    assert named(judge(lines, None))[0] is Trouble.UNSIGNED
    assert judge(lines, TRUSTED).trusted


# ---------------------------------------------------------------------------------- bad files
@pytest.mark.parametrize("line", RUBBISH)
def test_rubbish_is_not_an_export(line: bytes) -> None:
    assert named(judge([line], TRUSTED)) == (Trouble.ALTERED, 1, None)


def test_an_empty_file_is_missing_all() -> None:
    assert named(judge([], None)) == (Trouble.MISSING, 1, None)


def test_a_huge_line_costs_no_more_than_the_limit() -> None:
    piece = b"x" * 1_048_576
    pieces = (piece for _ in range(2 * MAX_LINE_BYTES // len(piece)))
    (line,) = lines_of(pieces)
    assert len(line) <= MAX_LINE_BYTES + len(piece)
    assert named(judge([line], None)) == (Trouble.ALTERED, 1, None)


def test_a_file_of_ever_more_lines_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.judge.MAX_LINES", 10)
    assert named(judge(itertools.repeat(b""), None)) == (Trouble.ADDED, 11, None)


@given(st.lists(st.binary(max_size=6)), st.integers(1, 5))
def test_lines_are_put_together_from_pieces(texts: list[bytes], size: int) -> None:
    whole = b"".join(texts)
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    *ended, begun = whole.split(b"\n")
    assert list(lines_of(pieces)) == [*ended, *([begun] if begun else [])]
