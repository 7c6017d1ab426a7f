"""The profile of the person who asks: reading it, changing it, and what time it is for them."""

import re
from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field
from sqlalchemy import TextClause, text

from shared.line import one_line
from toolsvc.tool import SqlCall, ToolError, tool

_COLUMNS = "email, display_name, locale, time_zone, about"
_READ = text(f"SELECT {_COLUMNS} FROM users WHERE id = :user")  # noqa: S608 - our own names
#: NULL leaves a column as it is, an empty text clears it; no column ever holds an empty text.
_CHANGE = text(f"""
    UPDATE users SET
        display_name = nullif(coalesce(:display_name, display_name), ''),
        locale = nullif(coalesce(:locale, locale), ''),
        time_zone = nullif(coalesce(:time_zone, time_zone), ''),
        about = nullif(coalesce(:about, about), '')
    WHERE id = :user RETURNING {_COLUMNS}
""")  # noqa: S608
#: Language, then script, region and variants; the shape of BCP 47, not its registry.
_LOCALE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,4}", re.ASCII)
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}", re.ASCII)


class Profile(BaseModel):
    """What is known of a person; `None` where nothing is."""

    email: str
    display_name: str | None
    locale: str | None
    time_zone: str | None
    about: str | None


@tool(
    name="get_profile",
    description="Read the user's profile: display name, locale, time zone, and about.",
    scope="profile:read",
    idempotent=True,
)
async def get_profile(call: SqlCall) -> Profile:
    """The caller's profile."""
    return await _profile(call, _READ)


@tool(
    name="update_profile",
    description="Change the user's profile. Only given fields change; an empty text clears one.",
    scope="profile:write",
    idempotent=True,
    on_error="model",
)
async def update_profile(
    call: SqlCall,
    display_name: Annotated[
        str | None, Field(max_length=80, description="What to call the user, up to 80 characters.")
    ] = None,
    locale: Annotated[
        str | None, Field(max_length=35, description="A BCP 47 language tag, like en-GB.")
    ] = None,
    time_zone: Annotated[
        str | None, Field(max_length=64, description="An IANA time zone, like Europe/Berlin.")
    ] = None,
    about: Annotated[
        str | None,
        Field(max_length=2000, description="A few words on the user, up to 2000 characters."),
    ] = None,
) -> Profile:
    """Change what is given, and return the whole."""
    given = {
        "display_name": _one_line(display_name),
        "locale": _locale(locale),
        "time_zone": time_zone and _zone(time_zone).key,
        "about": about,
    }
    if all(value is None for value in given.values()):
        return await _profile(call, _READ)
    return await _profile(call, _CHANGE, **given)


class CurrentTime(BaseModel):
    """One moment, as clocks show it there."""

    time_zone: str
    local: datetime
    weekday: str
    utc: datetime


@tool(
    name="current_time",
    description="Tell the date and time, in the user's time zone unless another one is given.",
    scope="profile:read",
    idempotent=True,
    on_error="model",
)
async def current_time(
    call: SqlCall,
    time_zone: Annotated[
        str | None, Field(max_length=64, description="An IANA time zone, like Asia/Tokyo.")
    ] = None,
) -> CurrentTime:
    """Now, there."""
    if not time_zone:
        time_zone = (await _profile(call, _READ)).time_zone or "UTC"
    now = datetime.now(UTC).replace(microsecond=0)
    local = now.astimezone(_zone(time_zone))
    return CurrentTime(time_zone=time_zone, local=local, weekday=f"{local:%A}", utc=now)


async def _profile(call: SqlCall, statement: TextClause, **values: str | None) -> Profile:
    rows = await call.connection.execute(statement, {"user": call.user, **values})
    row = rows.one_or_none()
    if row is None:
        raise ToolError("not_found", "The user is not there any more.", status=404)
    return Profile.model_validate(row, from_attributes=True)


def _one_line(name: str | None) -> str | None:
    if name is None:
        return None
    try:
        return one_line(name)
    except ValueError as error:
        raise ToolError("bad_input", f"display_name: {error}.") from None


def _locale(locale: str | None) -> str | None:
    if locale and not _LOCALE.fullmatch(locale):
        raise ToolError("bad_input", "locale must be a language tag like `en` or `de-AT`.")
    return locale


def _zone(name: str) -> ZoneInfo:
    try:
        if _ZONE.fullmatch(name):
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass  # unknown, or a folder of zones
    raise ToolError("bad_input", "time_zone must be an IANA name like `Europe/Berlin` or `UTC`.")
