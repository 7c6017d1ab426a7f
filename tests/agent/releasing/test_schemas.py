"""What breaks whoever goes by a schema: it depends on who writes."""

from typing import Any

import pytest

from agent.releasing.schemas import Change, Comparison, Way

TEXT: dict[str, Any] = {"type": "string"}
MAYBE = {"anyOf": [TEXT, {"type": "null"}]}
BREAKS, FINE = True, False


def changes(old: Any, new: Any, way: Way, **definitions: Any) -> list[Change]:
    comparison = Comparison({"$defs": definitions}, {"$defs": definitions}, way)
    comparison.schemas(old, new, "it")
    return comparison.found


def thing(fields: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(required)}


@pytest.mark.parametrize(
    ("old", "new", "told", "taken", "given"),
    [
        (TEXT, {"type": "integer"}, "it: string → integer", BREAKS, BREAKS),
        ({"type": "integer"}, {"type": "number"}, "it: integer → number", FINE, BREAKS),
        (TEXT, {}, "it: string → anything", FINE, BREAKS),
        (TEXT, MAYBE, "it: may be null now", FINE, BREAKS),
        (MAYBE, TEXT, "it: is no longer null", BREAKS, FINE),
        ({"type": ["string", "null"]}, TEXT, "it: is no longer null", BREAKS, FINE),
        ({"enum": ["a", "b"]}, {"enum": ["a"]}, "it: is no longer 'b'", BREAKS, FINE),
        ({"enum": ["a"]}, {"enum": ["a", "b"]}, "it: may be 'b' now", FINE, FINE),
        (TEXT, TEXT | {"enum": ["a"]}, "it: only certain values now", BREAKS, FINE),
        (TEXT, TEXT | {"maxLength": 3}, "it: maxLength none → 3", BREAKS, FINE),
        (TEXT | {"maxLength": 2}, TEXT | {"maxLength": 3}, "it: maxLength 2 → 3", FINE, FINE),
        (TEXT | {"minLength": 2}, TEXT | {"minLength": 3}, "it: minLength 2 → 3", BREAKS, FINE),
        (TEXT, TEXT | {"pattern": "^a$"}, "it: pattern none → ^a$", BREAKS, FINE),
        (thing({"a": TEXT}), thing({}), "it.a: is gone", BREAKS, BREAKS),
        (thing({}), thing({"a": TEXT}), "it.a: is new", FINE, FINE),
        (thing({"a": TEXT}), thing({"a": TEXT}, "a"), "it.a: is required now", BREAKS, FINE),
        (thing({"a": TEXT}, "a"), thing({"a": TEXT}), "it.a: may be missing now", FINE, BREAKS),
        (
            thing({"a": TEXT}),
            thing({"a": {"type": "boolean"}}),
            "it.a: string → boolean",
            BREAKS,
            BREAKS,
        ),
        (
            {"type": "array", "items": TEXT},
            {"type": "array", "items": {"type": "integer"}},
            "it[]: string → integer",
            BREAKS,
            BREAKS,
        ),
        (
            {"type": "object"},
            {"type": "object", "additionalProperties": False},
            "it.*: takes nothing more",
            BREAKS,
            FINE,
        ),
        (
            {"type": "array", "prefixItems": [TEXT]},
            {"type": "array", "prefixItems": [TEXT, TEXT]},
            "it: 1 places → 2",
            BREAKS,
            BREAKS,
        ),
    ],
)
def test_a_change_is_told_and_judged(
    old: Any, new: Any, told: str, taken: bool, given: bool
) -> None:
    for way, breaking in ((Way.TAKEN, taken), (Way.GIVEN, given)):
        assert [(str(one), one.breaking) for one in changes(old, new, way)] == [(told, breaking)]


def test_a_new_field_that_has_to_be_sent_breaks() -> None:
    old, new = thing({}), thing({"a": TEXT}, "a")
    (taken,) = changes(old, new, Way.TAKEN)
    assert (str(taken), taken.breaking) == ("it.a: is new, and required", True)
    assert not changes(old, new, Way.GIVEN)[0].breaking


@pytest.mark.parametrize("way", Way)
def test_words_and_order_are_no_change(way: Way) -> None:
    old = thing({"a": TEXT | {"title": "A", "description": "x"}, "b": MAYBE}, "a", "b")
    new = thing({"b": {"anyOf": [{"type": "null"}, TEXT]}, "a": TEXT | {"examples": ["y"]}})
    assert changes(old, new | {"required": ["b", "a"]}, way) == []


def test_a_definition_is_told_of_once_and_one_inside_itself_ends() -> None:
    tree = {"$ref": "#/$defs/Tree"}
    was = {"$defs": {"Tree": thing({"left": tree, "right": tree, "name": TEXT})}}
    now = {"$defs": {"Tree": thing({"left": tree, "right": tree})}}
    comparison = Comparison(was, now, Way.GIVEN)
    comparison.schemas(tree, tree, "one")
    comparison.schemas(tree, tree, "two")
    assert [str(one) for one in comparison.found] == ["Tree.name: is gone"]


def test_another_name_of_the_same_thing_is_no_change() -> None:
    (renamed,) = changes(
        {"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}, Way.GIVEN, A=thing({"a": TEXT}), B=thing({})
    )
    assert str(renamed) == "B.a: is gone"
