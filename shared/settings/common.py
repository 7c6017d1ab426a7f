"""What all processes share, and how a wrong value is reported."""

import sys
from enum import StrEnum
from typing import Annotated, NoReturn, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class LogFormat(StrEnum):
    """How log lines look."""

    AUTO = "auto"  #: readable on a terminal, JSON elsewhere
    JSON = "json"  #: one JSON object a line
    TEXT = "text"  #: readable lines


#: A comma-separated list in the environment; `NoDecode` keeps pydantic-settings from wanting JSON.
CommaList = Annotated[tuple[str, ...], NoDecode]

#: A secret of a service: at least 32 characters, for it signs or opens everything.
ServiceSecret = Annotated[SecretStr, Field(min_length=32)]


def split_commas(value: object) -> object:
    """`"a, b"` → `("a", "b")`; anything but a string is left to pydantic."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


class BatonSettings(BaseSettings):
    """Base of all settings: read from the environment only, never changed afterwards."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        # Code may use the fields' names. The environment must not: `HOME` or `PORT` are others'
        # variables. No shell can set a variable of this prefix.
        populate_by_name=True,
        env_prefix="-",
    )


class ProcessSettings(BatonSettings):
    """What each service process has: where it listens, and how it logs."""

    host: str = Field("127.0.0.1", alias="BATON_HOST", description="Address to listen on.")
    port: int = Field(0, alias="BATON_PORT", ge=0, le=65535, description="Port to listen on.")
    log_format: LogFormat = Field(
        LogFormat.AUTO, alias="BATON_LOG_FORMAT", description="`auto`, `json` or `text`."
    )
    log_level: str = Field(
        "INFO",
        alias="BATON_LOG_LEVEL",
        pattern="^(DEBUG|INFO|WARNING|ERROR)$",
        description="`DEBUG`, `INFO`, `WARNING` or `ERROR`.",
    )
    supervised: bool = Field(
        False,
        alias="BATON_SUPERVISED",
        description="Set by `dev.py up`: end when standard input closes, so that no process "
        "outlives its supervisor.",
    )


S = TypeVar("S", bound=BaseSettings)


def load_settings(settings: type[S]) -> S:
    """Read `settings` from the environment, or end the process in words with exit status 2."""
    try:
        return settings()
    except ValidationError as error:
        _refuse(settings, error)


def _refuse(settings: type[BaseSettings], error: ValidationError) -> NoReturn:
    for problem in error.errors(include_input=False, include_url=False):
        name = _variable(settings, problem["loc"])
        print(f"Wrong setting: {name}: {problem['msg']}.", file=sys.stderr)
    print("docs/settings.md explains every setting.", file=sys.stderr)
    raise SystemExit(2)


def _variable(settings: type[BaseSettings], location: tuple[int | str, ...]) -> str:
    name = str(location[0]) if location else "the settings together"
    field = settings.model_fields.get(name)
    return str(field.alias) if field and field.alias else name
