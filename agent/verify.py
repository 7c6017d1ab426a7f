"""`verify`: whether the record of a run is what it was, by its chain and its signed receipt."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO
from urllib.parse import urlsplit

import httpx
import typer
from rich.text import Text

from agent.client import TIMEOUT_S, Gateway, part
from agent.command import Json, Url, opened
from agent.errors import FAILED, CliError, UsageError
from agent.output import Output, fields
from agent.text import count, plain
from shared.export import MEDIA_TYPE, lines_of
from shared.judge import Problem, Trouble, Verdict, judge
from shared.protocol.ids import is_id
from shared.receipts import KEYS_PATH
from shared.signing import PublicKey

STDIN = "-"
_PIECE_BYTES = 1_048_576
#: An installation has a few keys; whatever is larger is something else.
_MAX_KEYS_BYTES = 1_048_576


def verify(
    what: Annotated[
        str,
        typer.Argument(
            metavar="RUN|FILE",
            help="Id of a run, or a file made by `runs export`; - is standard input.",
        ),
    ],
    keys: Annotated[
        str | None,
        typer.Option(
            "--keys",
            metavar="FILE|URL",
            help="Public keys to believe; else those of the gateway, for a FILE none.",
        ),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Check that the record of a run is what it was, and name the first line that is not.

    A FILE is checked without any connection. Exit status 0: all of it holds; 1: it does not.
    """
    output = Output(as_json=as_json)
    believed = None if keys is None else _keys(keys)
    if what == STDIN or _is_file(what):
        verdict = judge(lines_of(_pieces(what)), believed)
    elif is_id(what):
        with opened(url, as_json) as cli:
            if believed is None:
                believed = _parsed(cli.gateway.get(KEYS_PATH), cli.gateway.address.url)
            verdict = judge(lines_of(exported(cli.gateway, what)), believed)
        _check_run(what, verdict)
    else:
        raise UsageError(
            f"{what[:200]!r} is neither a file nor the id of a run.",
            "Runs are listed by `baton runs`; `baton runs export RUN -o FILE` makes a file.",
        )
    if as_json:
        output.document(_told(verdict))
    else:
        _show(output, verdict)
    raise typer.Exit(FAILED if verdict.problem else 0)


def _check_run(run: str, verdict: Verdict) -> None:
    """A record that holds, but of another run, is no answer."""
    if verdict.problem is None and verdict.receipt and verdict.receipt["run"] != run:
        raise CliError(
            f"The gateway answers with the record of another run, {verdict.receipt['run']}.",
            "Somebody may have put it in the place of this one; look at the database.",
        )


def exported(gateway: Gateway, run: str) -> Iterator[bytes]:
    """The export of a run, piece by piece."""
    return gateway.download(f"/api/runs/{part(run)}/export", MEDIA_TYPE)


# ---------------------------------------------------------------------------------- reading
def _is_file(what: str) -> bool:
    try:
        return bool(what) and Path(what).exists()
    except (OSError, ValueError):  # too long, or with NUL
        return False


def _pieces(what: str) -> Iterator[bytes]:
    if what == STDIN:
        yield from _read(sys.stdin.buffer)
        return
    try:
        with Path(what).open("rb") as file:
            yield from _read(file)
    except OSError as error:
        raise CliError(f"{what} cannot be read: {error.strerror}.") from None


def _read(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE_BYTES):
        yield piece


def _keys(where: str) -> list[PublicKey]:
    """Keys of a JWK set, or a single one, from a file or from the web."""
    try:
        if urlsplit(where).scheme in ("http", "https"):
            raw = _fetched(where)
        else:
            with Path(where).open("rb") as file:
                raw = file.read(_MAX_KEYS_BYTES + 1)
        if len(raw) > _MAX_KEYS_BYTES:
            raise UsageError(f"--keys: {where[:200]} is larger than any file of keys.")
        return _parsed(json.loads(raw), where)
    except OSError as error:
        raise UsageError(f"--keys: {where[:200]} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise UsageError(f"--keys: {where[:200]} is not JSON.") from None


def _fetched(where: str) -> bytes:
    at = where if urlsplit(where).path.strip("/") else where.rstrip("/") + KEYS_PATH
    try:
        answer = httpx.get(at, timeout=TIMEOUT_S)
        answer.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = type(error).__name__
        raise CliError(f"No keys could be had from {at[:200]} ({why}).") from None
    return answer.content


def _parsed(value: Any, where: str) -> list[PublicKey]:
    found = value.get("keys", [value]) if isinstance(value, dict) else [value]
    try:
        return [PublicKey.of_jwk(one) for one in (found if isinstance(found, list) else [found])]
    except ValueError as error:
        raise UsageError(f"{where[:200]} holds no public keys of receipts: {error}.") from None


# ---------------------------------------------------------------------------------- telling
def _told(verdict: Verdict) -> dict[str, Any]:
    problem = verdict.problem
    return {
        "holds": problem is None,
        "trusted": verdict.trusted,
        "rows": verdict.rows,
        "erased": verdict.erased,
        "problem": problem
        and {
            "trouble": problem.trouble,
            "line": problem.line,
            "id": problem.id,
            "message": _sentence(problem, verdict),
        },
        "receipt": verdict.receipt,
    }


def _show(output: Output, verdict: Verdict) -> None:
    if verdict.problem:
        output.show(Text.assemble(("✗ ", "red"), plain(_sentence(verdict.problem, verdict))))
        return
    output.show(Text.assemble(("✓ ", "green"), f"{count(verdict.rows, 'row')}, each as it was."))
    output.show(fields(_facts(verdict)))
    if not verdict.trusted:
        output.note(
            "Whose key that is, only --keys can tell: anybody can make such a file with a key of "
            "their own.",
            "yellow",
        )


def _facts(verdict: Verdict) -> Iterator[tuple[str, str]]:
    said = verdict.receipt or {}
    for name in ("run", "thread", "agent"):
        yield name, str(said.get(name))
    if said.get("agentDigest"):
        yield "code", str(said["agentDigest"])
    yield "status", str(said.get("status"))
    yield "time", f"{said.get('startedAt')} to {said.get('endedAt')}"
    yield "events", f"{said.get('first')} to {said.get('last')}"
    if verdict.erased:
        yield "erased", count(verdict.erased, "row")
    yield "chain", str(said.get("chain"))
    how = "trusted" if verdict.trusted else "the file's own, not trusted"
    yield "key", f"{said.get('kid')} ({how})"


def _sentence(problem: Problem, verdict: Verdict) -> str:
    if problem.trouble is Trouble.ALTERED and not verdict.rows and not verdict.receipt:
        return f"This is no export of a run: in line {problem.line}, {problem.why}."
    where = f"{problem.line} ({problem.id})" if problem.id else str(problem.line)
    match problem.trouble:
        case Trouble.ALTERED:
            what = f"Line {where} was altered"
        case Trouble.MISSING:
            what = f"Something is missing before line {where}"
        case Trouble.ADDED:
            what = f"Line {where} was added"
        case Trouble.REORDERED:
            what = f"Line {where} is out of its place"
        case Trouble.UNSIGNED:
            what = f"The receipt in line {where} is not to be believed"
    return f"{what}: {problem.why}."
