"""JSON that `json` lets pass and we do not."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.protocol.strict_json import MAX_DEPTH, NotJsonError, loads

REFUSED: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", "not JSON"),
    "a cut text": ('{"a":', "not JSON"),
    "something after the end": ("{} {}", "not JSON"),
    "single quotes": ("{'a': 1}", "not JSON"),
    "a comma too many": ("[1,]", "not JSON"),
    "a byte order mark": ("\ufeff{}", "not JSON"),
    "a raw control character": ('"a\nb"', "not JSON"),
    "a leading zero": ("01", "not JSON"),
    "NaN": ('{"a": NaN}', "NaN"),
    "Infinity": ("[-Infinity]", "Infinity"),
    "a number beyond a double": ("1e999", "too large"),
    "a number below a double": ("[-1e999]", "too large"),
    "an integer beyond 64 bits": (str(2**64), "too large"),
    "an integer below 64 bits": (str(-(2**63) - 1), "too large"),
    "a million digits": ("9" * 1_000_000, "too large"),
    "a key twice": ('{"a": 1, "a": 1}', "twice"),
    "a key twice, spelt differently": ('{"a": 1, "\\u0061": 2}', "twice"),
    "a key twice, deep inside": ('[{"x": {"a": 1, "a": 2}}]', "twice"),
    "a lone surrogate by escape": ('["\\ud800"]', "Unicode"),
    "a lone surrogate in a key": ('{"\\udfff": 1}', "Unicode"),
    "a lone surrogate in the text": ('["\ud800"]', "Unicode"),
    "bytes that are not UTF-8": (b'["\xff"]', "Unicode"),
    "an overlong encoding": (b'["\xc0\x80"]', "Unicode"),
    "NUL by escape": ('["a\\u0000b"]', "NUL"),
    "NUL in a key": ('{"\\u0000": 1}', "NUL"),
    "nesting too deep": ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "deep"),
    "objects too deep": ('{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1), "deep"),
    "100,000 brackets": ("[" * 100_000, "deep"),
    "100,000 pairs of brackets": ("[" * 100_000 + "]" * 100_000, "deep"),
}

TAKEN: dict[str, tuple[str | bytes, Any]] = {
    "the largest integers": (f"[{2**64 - 1}, {-(2**63)}]", [2**64 - 1, -(2**63)]),
    "a large double": ("1e308", 1e308),
    "a double that underflows": ("1e-999", 0.0),
    "a surrogate pair": ('"\\ud83d\\ude00"', "😀"),
    "bytes": ('{"a": "é"}'.encode(), {"a": "é"}),
    "the word NaN in a text": ('["NaN"]', ["NaN"]),
    "equal keys in two objects": ('[{"a": 1}, {"a": 1}]', [{"a": 1}, {"a": 1}]),
    "many brackets side by side": ("[" + "[]," * 500 + "[]]", [[]] * 501),
    "brackets in a text": (json.dumps("[" * 1000), "[" * 1000),
    "the deepest nesting": ("[" * MAX_DEPTH + "]" * MAX_DEPTH, None),
    "a scalar": ("null", None),
}

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('abc\\"é'), inner),
    max_leaves=20,
)


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_strict_json_is_refused_in_words(case: str) -> None:
    text, why = REFUSED[case]
    with pytest.raises(NotJsonError, match=why) as refused:
        loads(text)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("case", TAKEN)
def test_odd_but_strict_json_is_taken(case: str) -> None:
    text, value = TAKEN[case]
    assert value is None or loads(text) == value
    loads(text)


@given(JSON, st.booleans())
def test_whatever_is_json_comes_back(value: Any, ascii_only: bool) -> None:
    assert loads(json.dumps(value, ensure_ascii=ascii_only)) == value


@given(st.text() | st.binary())
def test_nothing_else_is_ever_raised(text: str | bytes) -> None:
    with contextlib.suppress(NotJsonError):
        loads(text)
