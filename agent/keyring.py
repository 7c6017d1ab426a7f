"""Stored keys: `baton/keys.json` in the user's configuration folder, one key per gateway, 0600."""

import json
import os
import stat
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.errors import CliError

#: Says something beside the answer.
Note = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StoredKey:
    """A key and whose it is. `dev`: made by signing in without a password, so it can be renewed."""

    key: str
    email: str
    id: str | None = None
    dev: bool = False


class Keyring:
    """The file of keys; read anew each time, replaced as a whole."""

    def __init__(self, path: Path, note: Note) -> None:
        self.path = path
        self._note = note

    @classmethod
    def of_user(cls, note: Note) -> "Keyring":
        """The file where XDG says it belongs; a relative XDG_CONFIG_HOME does not count (XDG)."""
        given = os.environ.get("XDG_CONFIG_HOME", "")
        base = Path(given) if Path(given).is_absolute() else Path("~/.config").expanduser()
        return cls(base / "baton" / "keys.json", note)

    def find(self, url: str) -> StoredKey | None:
        """The key for a gateway.

        Raises:
            CliError: the file is broken, or not ours alone.
        """
        entry = self._read().get(url)
        return None if entry is None else self._entry(entry)

    def keep(self, url: str, key: StoredKey) -> None:
        """Store a key in place of the one before."""
        self._write(self._read() | {url: asdict(key)})

    def drop(self, url: str) -> None:
        """Forget a gateway's key."""
        entries = self._read()
        if entries.pop(url, None) is not None:
            self._write(entries)

    def _read(self) -> dict[str, Any]:
        try:
            status = self.path.stat()
            self._close_to_others(status)
            entries = json.loads(self.path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise CliError(
                f"{self.path} cannot be read: {error.strerror}.",
                "Mend its rights, or set BATON_API_KEY instead.",
                code="keys_file",
            ) from None
        except ValueError:
            raise self._broken() from None
        if not isinstance(entries, dict):
            raise self._broken()
        return entries

    def _close_to_others(self, status: os.stat_result) -> None:
        if os.name != "posix":
            return
        if status.st_uid != os.geteuid():
            raise CliError(
                f"{self.path} belongs to another user.",
                "Remove it, or point XDG_CONFIG_HOME at a folder of your own.",
                code="keys_file",
            )
        if stat.S_IMODE(status.st_mode) & 0o077:
            self.path.chmod(0o600)
            self._note(
                f"{self.path} could be read by others; it is closed now. If somebody may have "
                "looked, sign in anew: `baton logout`, `baton login`."
            )

    def _entry(self, entry: object) -> StoredKey:
        if not isinstance(entry, dict):
            raise self._broken()
        key, email, id_ = entry.get("key"), entry.get("email"), entry.get("id")
        if not (isinstance(key, str) and isinstance(email, str) and isinstance(id_, str | None)):
            raise self._broken()
        return StoredKey(key=key, email=email, id=id_, dev=entry.get("dev") is True)

    def _broken(self) -> CliError:
        return CliError(
            f"{self.path} is not a file of keys.",
            "Remove it and sign in again with `baton login`.",
            code="keys_file",
        )

    def _write(self, entries: dict[str, Any]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile(  # made with 0600
                "w", dir=self.path.parent, prefix=".keys-", delete=False, encoding="utf-8"
            ) as draft:
                json.dump(entries, draft, indent=2)
                draft.write("\n")
            Path(draft.name).replace(self.path)
        except OSError as error:
            raise CliError(
                f"{self.path} cannot be written: {error.strerror}.",
                "Mend the folder's rights, or set BATON_API_KEY instead.",
                code="keys_file",
            ) from None
