"""Redis' wire protocol (RESP2) in one small blocking client, for the command line and the tests.

Services use `shared.bus`; this one is here so that looking at Redis needs no Debian package and
starting a stack no import of redis-py.
"""

import socket
from types import TracebackType
from typing import Self, TypeAlias
from urllib.parse import unquote, urlsplit

#: What Redis answers: a simple string is `str`, a bulk string `bytes`, an error is raised.
Reply: TypeAlias = "str | bytes | int | list[Reply] | RespError | None"


class RespError(Exception):
    """Redis refused; the text is its own."""


class RespConnection:
    """One connection to a Redis server."""

    def __init__(self, url: str, *, timeout_s: float | None = 5) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection(
            (parts.hostname or "127.0.0.1", parts.port or 6379), timeout=timeout_s
        )
        self._file = self._socket.makefile("rb")
        try:
            if parts.password:
                user = [unquote(parts.username)] if parts.username else []
                self.call("AUTH", *user, unquote(parts.password))
            if parts.path.strip("/"):
                self.call("SELECT", parts.path.strip("/"))
        except BaseException:
            self.close()
            raise

    def call(self, *words: str | bytes | int) -> Reply:
        """Send one command and return its reply; raises `RespError` on a refusal."""
        self.send(*words)
        reply = self.read()
        if isinstance(reply, RespError):
            raise reply
        return reply

    def send(self, *words: str | bytes | int) -> None:
        """Send one command without waiting."""
        encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        parts = [b"*%d\r\n" % len(encoded)]
        parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded]
        self._socket.sendall(b"".join(parts))

    def read(self) -> Reply:
        """The next reply or pub/sub message; an error inside a list is returned, not raised."""
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        match kind:
            case b"+":
                return rest.decode("utf-8", "replace")
            case b"-":
                return RespError(rest.decode("utf-8", "replace"))
            case b":":
                return int(rest)
            case b"$":
                return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
            case b"*":
                return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
            case _:
                raise ConnectionError(f"not a Redis reply: {line[:40]!r}")

    def wait_forever(self) -> None:
        """Take the time-out off, for commands that block and for subscriptions."""
        self._socket.settimeout(None)

    def close(self) -> None:
        """Close the socket."""
        self._file.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
