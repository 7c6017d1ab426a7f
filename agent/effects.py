"""`effects`: what tools did, and settling calls whose outcome nobody knows."""

import json
import re
from typing import Annotated, Any

import typer
from rich.text import Text

from agent.client import Gateway, part
from agent.command import Cursor, Json, Limit, ListByDefault, Url, opened
from agent.errors import CliError, UsageError
from agent.output import Listing, fields, state
from agent.text import NOTHING, ago, arguments, one_line, plain
from shared.protocol.codes import Code
from shared.protocol.strict_json import NotJsonError, loads

app = typer.Typer(cls=ListByDefault, help="List effects of tools; settle what nobody knows.")

KEY_CHARS = 64
#: So much of a key is shown, and enough to name one that is to be settled.
SHOWN_CHARS = 12
_KEY = re.compile(rf"[0-9a-f]{{{SHOWN_CHARS},{KEY_CHARS}}}", re.ASCII)
_OUTCOMES = "Give one of --done JSON, --failed MESSAGE and --retry."


@app.command("list")
def list_effects(
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Only those that somebody has to settle.")
    ] = False,
    limit: Limit = 20,
    cursor: Cursor = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List calls of tools with their outcomes, those of the newest runs first. For admins."""
    with opened(url, as_json, admin=True) as cli:
        status = "unknown" if unknown else None
        page = cli.gateway.get("/api/effects", limit=limit, cursor=cursor, status=status)
        rows = [
            (
                one["key"][:SHOWN_CHARS],
                state(one["status"]),
                one["tool"],
                NOTHING if one["arguments"] is None else arguments(json.dumps(one["arguments"])),
                one["runId"] or NOTHING,
                ago(one["createdAt"]),
                _settled(one),
            )
            for one in page["data"]
        ]
        columns = ("key", "status", "tool", "arguments", "run", "begun", "settled")
        shown = Listing(columns, rows, elastic="arguments")
        more = "baton effects list --unknown" if unknown else "baton effects list"
        cli.output.page(page, shown, "No such effects.", more)


@app.command("settle")
def settle_effect(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its key, or how that begins.")],
    done: Annotated[
        str | None, typer.Option("--done", metavar="JSON", help="It took effect; its result.")
    ] = None,
    failed: Annotated[
        str | None, typer.Option("--failed", metavar="MESSAGE", help="It failed; why.")
    ] = None,
    code: Annotated[
        str | None, typer.Option("--code", metavar="CODE", help="With --failed: its code.")
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Run the tool once more.")] = False,
    no_resume: Annotated[
        bool, typer.Option("--no-resume", help="Leave the run that it ended as it is.")
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Say what became of a call whose outcome nobody knows. For admins."""
    verdict = _verdict(done, failed, code, retry=retry) | ({"resume": False} if no_resume else {})
    with opened(url, as_json, admin=True) as cli:
        whole = _whole(cli.gateway, key)
        settled = cli.gateway.post(f"/api/effects/{part(whole)}/settle", verdict)
        if as_json:
            cli.output.document(settled)
        else:
            cli.output.show(fields(_described(settled)))


def _verdict(
    done: str | None, failed: str | None, code: str | None, *, retry: bool
) -> dict[str, Any]:
    if sum((done is not None, failed is not None, retry)) != 1:
        raise UsageError("What became of it?", _OUTCOMES)
    if code is not None and failed is None:
        raise UsageError("--code belongs to --failed.", _OUTCOMES)
    if done is not None:
        try:
            return {"outcome": "done", "result": loads(done)}
        except NotJsonError as error:
            hint = "Text is JSON with its quotes: --done '\"sent\"'."
            raise UsageError(f"--done: {error}.", hint) from None
    if failed is not None:
        return {"outcome": "failed", "message": failed} | ({"code": code} if code else {})
    return {"outcome": "retry"}


def _whole(gateway: Gateway, key: str) -> str:
    """The whole key of the effect whose key begins so; one that is settled may be named again."""
    if not _KEY.fullmatch(key):
        raise UsageError(
            f"{one_line(key, 80)!r} names no effect.",
            f"Give its key, or at least the first {SHOWN_CHARS} characters, as `baton effects` "
            "has them.",
        )
    if len(key) == KEY_CHARS:
        return key
    page = gateway.get("/api/effects", limit=2, key=key)
    found = [one["key"] for one in page["data"] if one["key"].startswith(key)]
    if not found:
        raise CliError(
            "No effect has such a key.", "`baton effects` lists them.", code=Code.NOT_FOUND
        )
    if len(found) > 1:
        raise CliError("Several begin so.", "Give the whole key: `baton effects --json` has it.")
    return str(found[0])


def _settled(one: dict[str, Any]) -> str:
    said = one["settled"]
    return one_line(f"{said['outcome']} by {said['by']}", 40) if said else NOTHING


def _described(one: dict[str, Any]) -> list[tuple[str, str | Text]]:
    said = one["settled"]
    return [
        ("key", one["key"]),
        ("status", state(one["status"])),
        ("tool", one["tool"]),
        ("run", one["runId"] or NOTHING),
        ("goes on as", one["resumedBy"] or NOTHING),
        ("settled", f"{plain(said['outcome'])} by {plain(said['by'])}, {ago(said['at'])}"),
    ]
