"""What can be seen before anything starts: wrong or misspelt settings, stores that are away."""

import contextlib
import difflib
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from shared.bus.sentinel_url import names_sentinels
from shared.settings import (
    CliSettings,
    GatewaySettings,
    ProcessSettings,
    RunnerSettings,
    ToolsvcSettings,
)
from shared.settings.common import BatonSettings, variable
from shared.wording import said
from stack.errors import StackError
from stack.program import ROOT

SERVICES: tuple[type[ProcessSettings], ...] = (GatewaySettings, RunnerSettings, ToolsvcSettings)
#: Variables of ours that are no setting of a process.
OF_THE_STACK = frozenset(
    {
        *("BATON_VERSION", "BATON_FAIL_ON_SKIP", "BATON_BROWSER"),
        *("BATON_TEST_DATABASE_URL", "BATON_TEST_REDIS_URL", "BATON_TEST_STORES"),
    }
)
#: Where a store listens when its URL names no port.
PORTS = {"DATABASE_URL": 5432, "REDIS_URL": 6379}
ANSWERS_WITHIN_S = 3.0


def wrong_settings(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that some process would refuse."""
    found = [sentence for kind in SERVICES for sentence in _wrong(kind, environ)]
    return list(dict.fromkeys(found))


def misspelt(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each `BATON_` variable that nobody knows."""
    kinds: tuple[type[BatonSettings], ...] = (*SERVICES, CliSettings)
    known = OF_THE_STACK | {alias for kind in kinds for alias in _aliases(kind)}
    unknown = sorted(name for name in environ if name.startswith("BATON_") and name not in known)
    return [_nobody_knows(name, known) for name in unknown]


def require_stores(environ: Mapping[str, str]) -> None:
    """Raise StackError where a store whose URL is given does not listen."""
    for name, port in PORTS.items():
        if url := environ.get(name):
            _require(name, url, port)


def _require(name: str, url: str, port: int) -> None:
    if names_sentinels(url):
        return  # several hosts too, of which some may be away
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "localhost", parts.port or port
    except ValueError:
        raise StackError(f"{name} is not a URL") from None
    if parts.query and not parts.hostname:
        return  # a socket's folder, or several hosts: the driver knows better
    try:
        socket.create_connection((host, port), timeout=ANSWERS_WITHIN_S).close()
    except OSError as error:
        raise StackError(f"{name}: nothing answers at {host}:{port} ({error.strerror})") from None


def _wrong(kind: type[ProcessSettings], environ: Mapping[str, str]) -> Iterator[str]:
    given: dict[str, Any] = {
        alias: environ[alias] for alias in _aliases(kind) if environ.get(alias)
    }
    stand_ins = {
        str(field.alias): "x" * 32
        for field in kind.model_fields.values()
        if field.is_required() and field.alias not in given
    }
    try:
        with contextlib.chdir(ROOT):  # as the processes will be
            kind.model_validate(stand_ins | given)
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = variable(kind, problem["loc"])
            if name in stand_ins:
                continue
            yield f"Wrong setting: {name}: {said(problem['msg'])}."


def _aliases(kind: type[BatonSettings]) -> list[str]:
    return [str(field.alias) for field in kind.model_fields.values()]


def _nobody_knows(name: str, known: frozenset[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    meant = f" Did you mean {near[0]}?" if near else ""
    return f"{name} is not a setting and changes nothing.{meant}"
