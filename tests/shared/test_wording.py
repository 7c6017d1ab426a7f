"""Problems with input are told in words for people."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.wording import first_problem, sentence_of


class _Inner(BaseModel):
    text: str = Field(min_length=1, max_length=3)


class _A(BaseModel):
    role: Literal["a"]


class _B(BaseModel):
    role: Literal["b"]


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid")

    count: int
    kind: Literal["a", "b"] = "a"
    inner: _Inner | None = None
    part: Annotated[_A | _B, Field(discriminator="role")] | None = None


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "count: it is missing."),
        ({"count": "x"}, "count: this must be a valid integer."),
        ({"count": 1, "other": 1}, "other: there is no such field."),
        ({"count": 1, "kind": "c"}, "kind: this must be 'a' or 'b'."),
        ({"count": 1, "inner": []}, "inner: this must be an object."),
        ({"count": 1, "inner": {"text": ""}}, "inner.text: this must have at least 1 character."),
        ({"count": 1, "part": {}}, "part: its role is missing."),
        ({"count": 1, "part": {"role": "c"}}, "part: its role is none of 'a', 'b'."),
        ([], "This must be an object."),
    ],
)
def test_the_first_problem_is_a_sentence_without_pydantics_words(given: Any, sentence: str) -> None:
    with pytest.raises(ValidationError) as refused:
        _Sent.model_validate(given)
    assert first_problem(refused.value) == sentence


def test_a_sentence_names_what_the_value_is_a_part_of_and_stays_short() -> None:
    with pytest.raises(ValidationError) as refused:
        _Sent.model_validate({"count": None})
    whole = first_problem(refused.value, within=["input"])
    assert whole == "input.count: this must be a valid integer."
    assert len(sentence_of(["x" * 500], "too long")) == 301
