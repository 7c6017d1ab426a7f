"""The addresses a process listens on: taken before anything else starts, or refused in words."""

import errno
import os
import socket
from contextlib import ExitStack, suppress

from shared.settings.common import WRONG_SETTING, ProcessSettings, refuse_setting

#: Ends a supervised process whose port is taken: whoever has it may just be on the way out.
TAKEN = 1
#: The system takes this much that it cannot send yet, and not its usual megabytes: what a slow
#: client has not read stays with us, where its progress is seen and a ping does not wait behind.
MOST_UNSENT_BYTES = 32_768


def bound_sockets(settings: ProcessSettings) -> list[socket.socket]:
    """Sockets at every address of `BATON_HOST`, bound and not yet listening.

    Ends the process with one sentence where there is no such address or the port is not free.
    """
    host, port = settings.host, settings.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = os.strerror(errno.EINVAL) if isinstance(error, UnicodeError) else error.strerror
        refuse_setting("BATON_HOST", f"{host!r} is not a name or address to listen on ({why})")
    absent: OSError | None = None
    with ExitStack() as made:
        sockets = []
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                one = made.enter_context(socket.socket(family, kind, protocol))
                _bind(one, address)
                sockets.append(one)
            except OSError as error:
                if error.errno in (errno.EADDRINUSE, errno.EACCES):
                    _refuse_port(settings, error)
                absent = error
        if not sockets:
            why = absent.strerror if absent else "it has no address"
            refuse_setting("BATON_HOST", f"{host!r} is not an address of this machine ({why})")
        made.pop_all()
    return sockets


def _bind(one: socket.socket, address: object) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with suppress(OSError):  # not every system has it; accepted connections inherit it
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MOST_UNSENT_BYTES)
    if one.family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    one.bind(address)  # type: ignore[arg-type] # whatever getaddrinfo said


def _refuse_port(settings: ProcessSettings, error: OSError) -> None:
    taken = error.errno == errno.EADDRINUSE
    why = "another program listens there" if taken else error.strerror
    status = TAKEN if taken and settings.supervised else WRONG_SETTING
    where = f"port {settings.port} of {settings.host} cannot be used"
    refuse_setting("BATON_PORT", f"{where}: {why}", status=status)
