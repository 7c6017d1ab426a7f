"""Secrets of one installation: made once, kept in `<home>/secrets.json`, for its owner only."""

import json
import os
import secrets
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Self

from stack.errors import StackError

FILE = "secrets.json"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Credentials:
    """Every key and password that the stack hands out. The names are those in the file."""

    installation: str  #: not secret: names this installation's folders outside of the home
    run_token_key: str
    runner_key: str
    gateway_key: str
    cookie_key: str
    operator_key: str
    postgres_superuser: str
    postgres_baton: str
    redis_admin: str
    redis_gateway: str
    redis_runner: str
    redis_toolsvc: str
    redis_reader: str
    #: An Ed25519 private key. Files that are older than receipts have none, and get it when read.
    receipt_key: str = field(default_factory=partial(secrets.token_urlsafe, 32))

    @classmethod
    def generate(cls) -> Self:
        """New secrets of 192 bits each."""
        made = {
            one.name: secrets.token_urlsafe(24) + secrets.token_hex(4)
            for one in fields(cls)
            if one.name != "receipt_key"
        }
        return cls(**made | {"installation": secrets.token_hex(6)})


def load_or_create(home: Path) -> Credentials:
    """The home's secrets, made at the first call.

    Raises:
        StackError: other people can read the file, or it is not what this version wrote.
    """
    path = home / FILE
    try:
        found = read(path)
    except FileNotFoundError:
        found = Credentials.generate()
        _write(path, found)
    else:
        if "receipt_key" not in json.loads(path.read_text("utf-8")):
            _write(path, found)
    return found


def read(path: Path) -> Credentials:
    """Read secrets that exist.

    Raises:
        FileNotFoundError: there are none.
        StackError: as `load_or_create`.
    """
    status = path.stat()
    if status.st_mode & 0o077:
        raise StackError(
            f"{path} can be read by others: if nobody has seen it, `chmod 600 {path}`; otherwise "
            "delete it and the data beside it"
        )
    if status.st_uid != os.geteuid():
        raise StackError(f"{path} belongs to another user: run as that user, or choose --home")
    try:
        return Credentials(**_strings(json.loads(path.read_text("utf-8"))))
    except (ValueError, TypeError):
        raise StackError(
            f"{path} is not a file of secrets as this version writes it: restore it, or delete it "
            "and the data beside it"
        ) from None


def _strings(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise ValueError
    return value


def _write(path: Path, credentials: Credentials) -> None:
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(asdict(credentials), file, indent=2)
        file.write("\n")
    draft.replace(path)
