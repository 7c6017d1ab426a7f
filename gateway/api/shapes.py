"""The shape of what goes in and out: camelCase, lists as `{data, next}`, errors as one object."""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from shared.errors import BatonError
from shared.line import one_line
from shared.protocol.codes import Code

Item = TypeVar("Item")
Row = TypeVar("Row")


def _folded(value: object) -> object:
    return one_line(value) if isinstance(value, str) else value


#: A name or title: white space is folded before its length counts, control characters are refused.
Line = Annotated[str, BeforeValidator(_folded)]


class Shape(BaseModel):
    """What we answer."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Body(BaseModel):
    """What callers send: exact types, and no field that we would overlook."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)


class ProblemDetail(Shape):
    """What went wrong."""

    code: Code
    message: str
    request_id: str


class Problem(Shape):
    """Every error over HTTP."""

    error: ProblemDetail


class Page(Shape, Generic[Item]):
    """One page of a list; `next` leads to the following one and is null at the end."""

    data: list[Item]
    next: str | None = Field(None, description="Cursor of the next page.")


def page_of(
    rows: Sequence[Row],
    limit: int,
    *,
    shape: Callable[[Row], Item],
    cursor: Callable[[Row], str],
) -> Page[Item]:
    """Up to `limit` rows as a page; one more than that says that there is a following one."""
    shown = rows[:limit]
    following = cursor(shown[-1]) if len(rows) > limit else None
    return Page(data=[shape(row) for row in shown], next=following)


Limit = Annotated[int, Query(ge=1, le=100, description="At most so many.")]
Cursor = Annotated[str | None, Query(max_length=200, description="`next` of the page before.")]


def time_cursor(moment: datetime, key: UUID) -> str:
    """Where a page ends that is ordered by time and key."""
    raw = f"{moment.isoformat()}|{key.hex}"
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def parse_time_cursor(cursor: str | None) -> tuple[datetime, UUID] | None:
    """Take such a cursor apart; BAD_CURSOR where we did not write it."""
    if cursor is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        moment, _, key = raw.partition("|")
        parsed = datetime.fromisoformat(moment), UUID(hex=key)
    except (ValueError, binascii.Error):
        raise BatonError(Code.BAD_CURSOR) from None
    if parsed[0].tzinfo is None:
        raise BatonError(Code.BAD_CURSOR)
    return parsed
