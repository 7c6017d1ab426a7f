"""What is wrong with an input, in our words instead of pydantic's."""

import re
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

#: Others choose how long a name is.
MOST_CHARS = 300

#: From pydantic's words to ours, one after the other.
_WORDS = (
    (r"^Value error, ", ""),
    (r", unable to .*", ""),
    (r"^Value should have (at (?:least|most) \d+) items after.*", r"this must have \1 characters"),
    (r" after validation, not \d+", ""),
    (r"^(?:Input|String|List|Tuple|Dictionary|URL) should ", "this must "),
    (r"^Field required$", "it is missing"),
    (r"^Extra inputs are not permitted$", "there is no such field"),
    (r" or (?:instance of|object of|object to) .*", ""),
    (r"a valid dictionary", "an object"),
    (r"^Unable to extract tag using discriminator '(\w+)'$", r"its \1 is missing"),
    (
        r"^Input tag '.*' found using '(\w+)' does not match any of the expected tags: (.*)",
        r"its \1 is none of \2",
    ),
)


def said(message: str) -> str:
    """What is wrong, without pydantic's own words for it."""
    for theirs, ours in _WORDS:
        message = re.sub(theirs, ours, message)
    return message


def ended(sentence: str) -> str:
    """The sentence with a full stop, unless something else ends it."""
    return sentence if sentence.endswith((".", "?")) else f"{sentence}."


def first_problem(error: ValidationError, *, within: Sequence[str] = (), skipped: int = 0) -> str:
    """The first thing that is wrong, as a sentence that names the field.

    `within` names what the validated value is a part of; so many leading parts of the field's place
    are `skipped`, as the name of a union's member, which nobody has written.
    """
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return sentence_of((*within, *problem["loc"][skipped:]), problem["msg"])


def sentence_of(place: Sequence[Any], message: str) -> str:
    """Field and fault, at most 300 characters."""
    where = ".".join(map(str, place))
    why = said(message)
    sentence = f"{where}: {why}" if where else f"{why[:1].upper()}{why[1:]}"
    return f"{sentence[:MOST_CHARS].rstrip('.')}."
