"""Ids that clients choose, and ours."""

import time
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.protocol.ids import is_id, new_id, new_run_id, new_thread_id, trace_id, uuid7


@given(st.from_regex(r"\A[A-Za-z0-9_-]{1,64}\Z"))
def test_what_the_protocol_allows_is_an_id(text: str) -> None:
    assert is_id(text)


@pytest.mark.parametrize(
    "text", ["", "a" * 65, "a b", "a\n", "\na", "é", "a/b", "a.b", "a%", "\u0661"]
)
def test_everything_else_is_none(text: str) -> None:
    assert not is_id(text)


@pytest.mark.parametrize("value", [None, 1, b"abc", ["a"]])
def test_what_is_no_text_is_no_id(value: object) -> None:
    assert not is_id(value)


def test_our_ids_are_ids_that_name_their_kind() -> None:
    assert new_run_id().startswith("run_")
    assert new_thread_id().startswith("thr_")
    assert is_id(new_id("msg"))


def test_uuids_are_of_version_7_sort_by_time_and_never_repeat() -> None:
    before = time.time_ns() // 1_000_000
    made = [uuid7() for _ in range(2000)]
    after = time.time_ns() // 1_000_000
    assert len(set(made)) == len(made)
    for one in made:
        assert (one.version, one.variant) == (7, "specified in RFC 4122")
        assert before <= one.int >> 80 <= after
    assert [one.int >> 80 for one in made] == sorted(one.int >> 80 for one in made)


def test_a_trace_is_named_after_its_root_run() -> None:
    root = UUID("0199f0a0-0000-7000-8000-000000000001")
    assert trace_id(root) == "trace_0199f0a0000070008000000000000001"
