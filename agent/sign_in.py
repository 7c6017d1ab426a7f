"""By what right the command line asks.

In this order: BATON_API_KEY, the key stored for this gateway, a sign-in by e-mail alone where the
gateway is in dev mode, the operator key of this very machine. For what only admins may do, the
operator key comes before a stored key that is no admin's.
"""

import getpass
import platform
import re
import sys
from typing import Any

from agent.client import Gateway, part
from agent.errors import CliError, RefusedError, UsageError
from agent.keyring import Keyring, StoredKey
from agent.operator_key import operator_key
from shared.protocol.codes import Code
from shared.settings.cli import CliSettings

#: What a key can look like; anything else must not get into a header.
_KEY = re.compile(r"[A-Za-z0-9._~+/=-]{1,512}", re.ASCII)


class SignIn:
    """Finds, makes and forgets the key for one gateway."""

    def __init__(self, gateway: Gateway, settings: CliSettings, keyring: Keyring) -> None:
        self._gateway = gateway
        self._settings = settings
        self._keyring = keyring
        self._url = gateway.address.url

    @property
    def has_given_key(self) -> bool:
        """Whether BATON_API_KEY decides who we are, whatever is stored."""
        return self._settings.api_key is not None

    def identify(self, *, admin: bool = False) -> None:
        """Give the gateway's client a key.

        Raises:
            CliError: there is none, and no way to get one.
        """
        if self._settings.api_key is not None:
            self._gateway.key = checked(self._settings.api_key.get_secret_value(), "BATON_API_KEY")
            return
        stored = self._keyring.find(self._url)
        if stored is not None:
            self._use(stored)
            if not admin or self._is_admin():
                return
        if admin and (key := self._operator_key()):
            self._gateway.key, self._gateway.renew = key, None
        elif stored is None:
            self._get_in()

    def by_email(self, email: str) -> StoredKey:
        """Sign in by e-mail alone, and have a key made; only in dev mode."""
        name = f"baton on {platform.node()[:80] or 'this machine'}"
        made = self.made_in_dev_mode(email, {"name": name})
        return StoredKey(key=made["key"], email=made["email"], id=made["id"], dev=True)

    def made_in_dev_mode(self, email: str, body: dict[str, Any]) -> dict[str, Any]:
        """Be somebody for the moment that it takes to make a key."""
        visitor = Gateway(self._gateway.address)
        try:
            visitor.post("/auth/dev-login", {"email": email})
            made: dict[str, Any] = visitor.post("/api/keys", body)
            visitor.post("/auth/logout")
        finally:
            visitor.close()
        return made

    def made_by_operator(self, email: str) -> StoredKey | None:
        """A key for somebody, made with this machine's operator key; `None` where there is none."""
        key = self._operator_key()
        if key is None:
            return None
        self._gateway.key, self._gateway.renew = key, None
        made = self._gateway.post("/api/keys", {"email": email, "name": "baton login"})
        return StoredKey(key=made["key"], email=made["email"], id=made["id"])

    def check(self, key: str) -> StoredKey:
        """Try a key that a person gave."""
        self._gateway.key, self._gateway.renew = key, None
        return StoredKey(key=key, email=str(self._gateway.get("/api/me").get("email")))

    def keep(self, key: StoredKey) -> None:
        """Store a key; the one before is revoked where we made it."""
        before = self._keyring.find(self._url)
        if before is not None and before.key != key.key:
            self.revoke(before)
        self._keyring.keep(self._url, key)

    def revoke(self, stored: StoredKey) -> bool:
        """End a key by its own right, if it is one that we made; whether it is ended now."""
        if stored.id is None:
            return False
        self._gateway.key, self._gateway.renew = stored.key, None
        try:
            self._gateway.delete(f"/api/keys/{part(stored.id)}")
        except RefusedError as error:
            return error.code in (Code.NOT_SIGNED_IN, Code.NOT_FOUND)
        except CliError:
            return False
        return True

    def dev_mode(self) -> bool:
        """Whether the gateway lets everybody in by e-mail alone."""
        return self._gateway.get("/auth/ways").get("dev") is True

    def _get_in(self) -> None:
        if self.dev_mode():
            key = self.by_email(default_email())
            self._keyring.keep(self._url, key)
            self._use(key)
        elif key_here := self._operator_key():
            self._gateway.key = key_here
        else:
            raise CliError(
                f"You are not signed in at {self._url}.",
                "Ask an admin for a key (`baton keys create --email YOU`), then `baton login`, or "
                "set BATON_API_KEY.",
                code=Code.NOT_SIGNED_IN,
            )

    def _use(self, stored: StoredKey) -> None:
        self._gateway.key = checked(stored.key, str(self._keyring.path))
        if stored.dev:
            self._gateway.renew = lambda: self._renewed(stored)

    def _renewed(self, stored: StoredKey) -> str | None:
        """A new key after a gateway in dev mode was made anew and forgot ours."""
        anonymous = SignIn(Gateway(self._gateway.address), self._settings, self._keyring)
        try:
            if not anonymous.dev_mode():
                return None
        finally:
            anonymous._gateway.close()
        key = self.by_email(stored.email)
        self._keyring.keep(self._url, key)
        return key.key

    def _is_admin(self) -> bool:
        try:
            return self._gateway.get("/api/me").get("admin") is True
        except RefusedError:
            return False

    def _operator_key(self) -> str | None:
        """The key of this machine. It is shown to this machine only."""
        if not self._gateway.address.is_loopback:
            return None
        key = operator_key(self._settings.home)
        return checked(key, str(self._settings.home / "secrets.json")) if key else None


def checked(key: str, where: str) -> str:
    """A key that a header can hold; its text is never repeated.

    Raises:
        UsageError: it is none.
    """
    key = key.strip()
    if not _KEY.fullmatch(key):
        raise UsageError(f"{where} does not hold a key.", "Keys look like bt_… and have no spaces.")
    return key


def default_email() -> str:
    """Who somebody is in dev mode who does not say: `ada@localhost`."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # nameless in a container
        user = ""
    return f"{re.sub(r'[^A-Za-z0-9._-]', '', user)[:64] or 'developer'}@localhost".lower()


def ask_for_key() -> str:
    """A key from the terminal, unseen, or from the first line of standard input."""
    given = getpass.getpass("Key: ") if sys.stdin.isatty() else sys.stdin.readline()
    return checked(given, "Standard input")
