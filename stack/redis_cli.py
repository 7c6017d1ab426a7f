"""`python3 dev.py redis [--home DIR] [--admin] [COMMAND …]`: a small redis-cli for what runs here.

Without a command it asks for one, again and again. It connects as the user `reader`, who can look
and not touch; `--admin` may do everything. A URL in REDIS_URL comes first.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from shared.bus.sentinel_url import names_sentinels
from stack.credentials import FILE, read
from stack.errors import StackError
from stack.home import Home
from stack.resp import Reply, RespConnection, RespError

#: After these the server keeps talking.
_SUBSCRIPTIONS = {"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "MONITOR"}

#: These may wait longer than a socket should for anything else.
_BLOCKING = {"XREAD", "XREADGROUP", "BLPOP", "BRPOP", "WAIT"}


def main(arguments: list[str]) -> int:
    """Run one command, or a prompt; returns the exit status."""
    options = _parse(arguments)
    url = os.environ.get("REDIS_URL") or _url(options.home, admin=options.admin)
    if names_sentinels(url):
        raise StackError("REDIS_URL names Sentinels: give the URL of one server here")
    try:
        with RespConnection(url) as redis:
            if options.command:
                return _run(redis, options.command)
            return _prompt(redis)
    except (OSError, RespError) as error:
        raise StackError(f"Redis cannot be reached: {error}") from None
    except KeyboardInterrupt:
        return 130


def readable(reply: Reply, *, indent: str = "") -> str:
    """A reply as redis-cli shows it, but text in UTF-8 stays as it is."""
    match reply:
        case None:
            return "(nil)"
        case RespError():
            return f"(error) {reply}"
        case int():
            return f"(integer) {reply}"
        case str():
            return reply
        case bytes():
            return _quoted(reply)
        case []:
            return "(empty array)"
        case list():
            width = len(str(len(reply)))
            below = indent + " " * (width + 2)
            lines = [
                f"{number:>{width}}) {readable(item, indent=below)}"
                for number, item in enumerate(reply, 1)
            ]
            return f"\n{indent}".join(lines)


def plain(reply: Reply) -> str:
    """A reply for another program to read: values alone, one a line."""
    match reply:
        case list():
            return "\n".join(plain(item) for item in reply)
        case bytes():
            return reply.decode("utf-8", "replace")
        case None:
            return ""
        case _:
            return str(reply)


def _quoted(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return '"' + "".join(_escaped(byte) for byte in value) + '"'
    if "\r\n" in text and text.startswith("#"):  # INFO is made for reading
        return text.rstrip()
    shown = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(_visible(character) for character in shown) + '"'


def _visible(character: str) -> str:
    # Control characters in what a model said could otherwise repaint the terminal.
    if character.isprintable():
        return character
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character) or "".join(
        f"\\x{byte:02x}" for byte in character.encode()
    )


def _escaped(byte: int) -> str:
    return chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}"


def _run(redis: RespConnection, words: list[str]) -> int:
    show: Callable[[Reply], str] = readable if sys.stdout.isatty() else plain
    command = words[0].upper()
    if command in _SUBSCRIPTIONS | _BLOCKING:
        redis.wait_forever()
    redis.send(*words)
    while True:
        reply = redis.read()
        if isinstance(reply, RespError):
            print(f"(error) {reply}{_advice(reply, command)}", file=sys.stderr)
            return 1
        print(show(reply), flush=True)
        if command not in _SUBSCRIPTIONS:
            return 0


def _advice(error: RespError, command: str) -> str:
    if not str(error).startswith("NOPERM"):
        return ""
    hint = "SCAN 0 lists keys; " if command == "KEYS" else ""
    return f"\n{hint}--admin may do everything"


def _prompt(redis: RespConnection) -> int:
    with suppress(ImportError):  # not every Python has it
        import readline  # noqa: F401, PLC0415 - gives input() a history
    while True:
        try:
            words = shlex.split(input("redis> "))
        except EOFError:
            return 0
        except ValueError as error:
            print(f"(error) {error}")
            continue
        if words and words[0].lower() in {"exit", "quit"}:
            return 0
        if words:
            _run(redis, words)


def _url(home: Path, *, admin: bool) -> str:
    running = Home(home).running()
    if running is None:
        raise StackError(f"nothing runs in {home}: start it with `python3 dev.py up --demo`")
    if running.redis_port is None:
        raise StackError("this installation uses a Redis of yours: set REDIS_URL here too")
    user = "admin" if admin else "reader"
    password = getattr(read(home / FILE), f"redis_{user}")
    return f"redis://{user}:{password}@127.0.0.1:{running.redis_port}/0"


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py redis", description=__doc__.split("\n\n")[1])
    parser.add_argument("--home", type=Path, default=Path(".baton"), help="as given to up")
    parser.add_argument("--admin", action="store_true", help="connect with every right")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND …")
    return parser.parse_args(arguments)
