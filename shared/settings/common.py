"""What all processes share, and how a wrong value is reported."""

import os
import re
import sys
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, NoReturn, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.bus.sentinel_url import parse_sentinel_url
from shared.signing import PublicKey, SigningKey
from shared.wording import ended, said

#: A process that ends with this status would end so again: nobody has to start it anew.
WRONG_SETTING = 2


class LogFormat(StrEnum):
    """How log lines look."""

    AUTO = "auto"  #: readable on a terminal, JSON elsewhere
    JSON = "json"  #: one JSON object a line
    TEXT = "text"  #: readable lines


#: A runner gives its runs away within 20 s of SIGTERM; what still lives long after is stuck.
ENDS_WITHIN_S = 35.0

#: Rules about who may do what; without a file there, everything is allowed.
SECURITY_FILE = Path("src/config/security.yaml")

#: A comma-separated list in the environment; `NoDecode` keeps pydantic-settings from wanting JSON.
CommaList = Annotated[tuple[str, ...], NoDecode]


def _url_of(*schemes: str) -> Callable[[str], str]:
    def checked(url: str) -> str:
        try:
            parts = urlsplit(url)
            fine = parts.scheme in schemes and (parts.port is None or parts.port > 0)
        except ValueError:
            fine = False
        if not fine or (schemes[0] == "http" and not parts.hostname):
            raise ValueError(f"this must be a URL that begins with {schemes[0]}://")
        return url

    return checked


def _secret_url_of(*schemes: str) -> Callable[[SecretStr], SecretStr]:
    check = _url_of(*schemes)

    def checked(url: SecretStr) -> SecretStr:
        check(url.get_secret_value())
        return url

    return checked


def _redis_url(url: SecretStr) -> SecretStr:
    if parse_sentinel_url(url.get_secret_value()):
        return url
    return _secret_url_of("redis", "rediss", "unix")(url)


def _can_be_a_key(secret: SecretStr) -> SecretStr:
    """Keys travel in headers; one that is public by nature is no secret."""
    text = secret.get_secret_value()
    if not (text.isascii() and text.isprintable()) or text.startswith(("-----BEGIN", "ssh-")):
        raise ValueError("this must be one line of ASCII, and not an asymmetric key")
    return secret


#: A secret of a service: at least 32 characters, for it signs or opens everything.
ServiceSecret = Annotated[SecretStr, Field(min_length=32), AfterValidator(_can_be_a_key)]


def _signs(secret: SecretStr) -> SecretStr:
    SigningKey(secret.get_secret_value())
    return secret


def _verifies(text: str) -> str:
    return PublicKey.parse(text).text


#: An Ed25519 private key, and public keys: 32 bytes each, in base64url.
ReceiptKey = Annotated[SecretStr, AfterValidator(_signs)]
PublicKeyList = Annotated[tuple[Annotated[str, AfterValidator(_verifies)], ...], NoDecode]

#: Where something answers; how it is spelt is seen at the start and not at the first use.
HttpUrl = Annotated[str, AfterValidator(_url_of("http", "https"))]
PostgresUrl = Annotated[SecretStr, AfterValidator(_secret_url_of("postgresql", "postgres"))]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
HttpUrlList = Annotated[tuple[HttpUrl, ...], NoDecode]


def _folder(path: Path) -> Path:
    try:
        there = path.is_dir()
    except OSError:
        there = False
    if not there:
        raise ValueError(f"there is no folder at {str(path)!r}")
    if not os.access(path, os.R_OK | os.X_OK):
        raise ValueError(f"the folder {str(path)!r} cannot be read by this user")
    return path


#: A folder that others fill: one that is not there is a mistake, and no empty one.
Folder = Annotated[Path, AfterValidator(_folder)]
FolderList = Annotated[tuple[Folder, ...], NoDecode]


_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_DURATION = re.compile(rf"(\d{{1,6}})([{''.join(_UNITS)}])", re.ASCII)


def _duration(value: object) -> object:
    """`30d` → 30 days, `0` → `None`: for ever; anything but a string is left to pydantic."""
    if not isinstance(value, str):
        return value
    if value == "0":
        return None
    parts = _DURATION.fullmatch(value)
    if parts is None or not int(parts[1]):
        raise ValueError("this must be a number with d, h or m, such as 30d, or 0 for ever")
    return timedelta(**{_UNITS[parts[2]]: int(parts[1])})


#: How long something is kept; `None` is for ever.
Retention = Annotated[timedelta | None, BeforeValidator(_duration)]


def split_commas(value: object) -> object:
    """`"a, b"` → `("a", "b")`; anything but a string is left to pydantic."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def split_paths(value: object) -> object:
    """`"/a:/b"` → `("/a", "/b")`, as PATH is written here; else left to pydantic."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(os.pathsep) if part.strip())
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
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO",
        alias="BATON_LOG_LEVEL",
        description="`DEBUG`, `INFO`, `WARNING` or `ERROR`.",
    )
    security_config: Path = Field(
        SECURITY_FILE,
        alias="BATON_SECURITY_CONFIG",
        description="File of the rules about who may use which agents, and what agents may do; "
        "only at the default place it may be missing.",
    )
    supervised: bool = Field(
        False,
        alias="BATON_SUPERVISED",
        description="Set by `dev.py up`: end when standard input closes, so that no process "
        "outlives its supervisor.",
    )

    @property
    def ends_within_s(self) -> float:
        """Seconds from SIGTERM until the process has ended in its own way, or is stuck."""
        return ENDS_WITHIN_S


S = TypeVar("S", bound=BaseSettings)


def load_settings(settings: type[S]) -> S:
    """Read `settings` from the environment, or end the process in words with exit status 2."""
    try:
        return settings()
    except ValidationError as error:
        _refuse(settings, error)


#: Where people read on.
_PAGES = {
    "docs/settings.md": "every setting",
    "docs/models.md": "the file of model servers",
    "docs/access.md": "the file of rules",
}


def refuse_setting(
    name: str, why: str, *, status: int = WRONG_SETTING, page: str = "docs/settings.md"
) -> NoReturn:
    """End the process in words, for a setting of which only trying could tell that it is wrong."""
    _end([ended(f"Wrong setting: {name}: {why}")], status, page)


def _refuse(settings: type[BaseSettings], error: ValidationError) -> NoReturn:
    problems = error.errors(include_input=False, include_url=False)
    named = [(variable(settings, one["loc"]), said(one["msg"])) for one in problems]
    _end([ended(f"Wrong setting: {name}: {why}") for name, why in named], WRONG_SETTING)


def _end(sentences: list[str], status: int, page: str = "docs/settings.md") -> NoReturn:
    for sentence in (*sentences, f"{page} explains {_PAGES[page]}."):
        print(sentence, file=sys.stderr)
    raise SystemExit(status)


def variable(settings: type[BaseSettings], location: tuple[int | str, ...]) -> str:
    """What people call the setting that a problem is about."""
    name = str(location[0]) if location else "the settings together"
    field = settings.model_fields.get(name)
    return str(field.alias) if field and field.alias else name
