"""Values of agent code: a replayed step gives exactly what the live one gave."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from agents.tool import ToolOutputFileContent, ToolOutputImage, ToolOutputText
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from runner import codec
from shared.errors import BatonError
from shared.protocol.codes import Code


class Model(BaseModel):
    x: int
    at: datetime


@dataclasses.dataclass
class Data:
    x: tuple[int, ...]
    inner: Model


AT = datetime(2026, 11, 21, tzinfo=UTC)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("ab$:"), inner),
    max_leaves=20,
)


def through(value: Any) -> Any:
    """As a record goes: encoded, written, read, decoded."""
    return codec.decode(orjson.loads(orjson.dumps(codec.encode(value))))


@given(JSON)
def test_json_comes_back_as_it_was(value: Any) -> None:
    assert through(value) == value


@given(JSON)
def test_what_came_back_once_comes_back_the_same_again(value: Any) -> None:
    assert through(through({"v": (value,)})) == through({"v": (value,)})


@pytest.mark.parametrize(
    "output",
    [
        ToolOutputText(text="hello"),
        ToolOutputImage(image_url="http://x/y.png"),
        ToolOutputFileContent(file_id="f"),
    ],
)
def test_outputs_of_the_sdk_stay_what_they_are(output: Any) -> None:
    assert through(output) == output
    assert type(through([output])[0]) is type(output)


def test_models_dataclasses_tuples_and_keys_become_plain() -> None:
    value = {1: Data((1, 2), Model(x=3, at=AT)), "t": (Model(x=4, at=AT),)}
    at = "2026-11-21T00:00:00Z"
    assert through(value) == {
        "1": {"x": [1, 2], "inner": {"x": 3, "at": at}},
        "t": [{"x": 4, "at": at}],
    }


@pytest.mark.parametrize(
    "value", [{"$sdk:Evil": 1}, {"$sdk:": {}}, {"$sdk:ToolOutputText": {}, "a": 1}]
)
def test_what_only_looks_like_an_output_of_the_sdk_is_a_dict(value: dict[str, Any]) -> None:
    assert through(value) == value


@pytest.mark.parametrize("value", [object(), b"bytes", {1, 2}, 2**70, "\ud800", [lambda: None]])
def test_what_json_cannot_carry_is_refused_in_words(value: Any) -> None:
    with pytest.raises(BatonError, match="cannot be recorded") as refused:
        codec.encode(value)
    assert refused.value.code is Code.AGENT_ERROR


def test_texts_are_shown_as_they_are_and_the_rest_as_json() -> None:
    assert codec.as_text("plain") == "plain"
    assert codec.as_text({"a": [1, None]}) == '{"a":[1,null]}'
