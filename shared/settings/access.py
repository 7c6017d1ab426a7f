"""Who may use something, and how much: rules that `agent.yaml` and `security.yaml` have."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from shared.settings.yaml_file import Part

KEY_PREFIX = "bt_"
#: Of a key no more is kept: that and so much of the rest that people can tell keys apart, and
#: nobody can guess one.
SHOWN_CHARS = 9


def _key(entry: str) -> str:
    if entry.startswith(KEY_PREFIX) and len(entry) > SHOWN_CHARS:
        raise ValueError(
            f"of a key only the first {SHOWN_CHARS} characters may stand here, never the key itself"
        )
    return entry


_Word = Annotated[str, StringConstraints(min_length=1, max_length=256, strip_whitespace=True)]
_Words = Annotated[tuple[_Word, ...], Field(max_length=1000, strict=False)]
Role = Literal["member", "admin"]


class Access(Part):
    """Who may see and use an agent; where nothing is said, everybody who is signed in.

    `users` (addresses and domains) and `roles` name people: one of the two is enough. `keys` names
    those of their keys that will do (names, or the first characters); browsers need none.
    """

    users: _Words | None = None
    roles: Annotated[tuple[Role, ...], Field(strict=False)] | None = None
    keys: (
        Annotated[
            tuple[Annotated[_Word, AfterValidator(_key)], ...], Field(max_length=1000, strict=False)
        ]
        | None
    ) = None


class Allowance(Part):
    """How much one person may ask of an agent."""

    requests_per_minute: int | None = Field(None, ge=1, le=1_000_000)
    runs_at_once: int | None = Field(None, ge=1, le=1_000_000)
