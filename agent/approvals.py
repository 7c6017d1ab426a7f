"""`approve` and `reject`: deciding what a run asks before it goes on."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.text import Text

from agent.client import Gateway, part
from agent.command import Cli, Json, Url, opened
from agent.errors import CliError
from agent.text import arguments, count, one_line, plain
from shared.protocol.codes import Code

RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run that asks.")]
Call = Annotated[
    str | None,
    typer.Argument(metavar="CALL", help="Id of the question, or of its call; all without it."),
]


def approve(run: RunId, call: Call = None, url: Url = None, as_json: Json = False) -> None:
    """Let a run make the calls that it asks about. With the last decision it goes on."""
    with opened(url, as_json) as cli:
        _decide(cli, run, call, {"approved": True})


def reject(
    run: RunId,
    call: Call = None,
    message: Annotated[
        str | None, typer.Option("--message", metavar="TEXT", help="What the model is told.")
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Refuse calls that a run asks about; it goes on without them."""
    said = {"message": message} if message else {}
    with opened(url, as_json) as cli:
        _decide(cli, run, call, {"approved": False} | said)


def open_questions(gateway: Gateway, run: str) -> list[dict[str, Any]]:
    """What a run asks and nobody has decided."""
    return [one for one in _asked(gateway, run)["data"] if one["status"] == "open"]


def decide(gateway: Gateway, run: str, decisions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Tell the gateway what a person says; all that the run asks, as it stands after that."""
    path = f"/api/runs/{part(run)}/approvals"
    answer: dict[str, Any] = gateway.post(path, {"decisions": list(decisions)})
    return answer


def question(one: dict[str, Any], width: int = 100) -> Text:
    """What is asked, in a line."""
    tool, given = plain(one["tool"]), one["arguments"]
    text = given if isinstance(given, str) else json.dumps(given)
    return Text.assemble((tool, "cyan"), " ", (arguments(text, max(20, width - len(tool))), "dim"))


def _asked(gateway: Gateway, run: str) -> dict[str, Any]:
    found: dict[str, Any] = gateway.get(f"/api/runs/{part(run)}/approvals")
    return found


def _decide(cli: Cli, run: str, call: str | None, said: dict[str, Any]) -> None:
    asked = _asked(cli.gateway, run)["data"]
    meant = [
        one
        for one in asked
        if (one["status"] == "open" if call is None else call in (one["id"], one["callId"]))
    ]
    if not meant:
        what = "nothing that is open" if call is None else f"nothing called {one_line(call, 80)!r}"
        raise CliError(
            f"The run {one_line(run, 80)!r} asks {what}.",
            "`baton runs --status interrupted` lists runs that ask.",
            code=Code.NOT_FOUND,
        )
    after = decide(cli.gateway, run, [{"id": one["id"]} | said for one in meant])
    if cli.output.as_json:
        cli.output.document(after)
        return
    left = [one for one in after["data"] if one["status"] == "open"]
    if after["resumedBy"]:
        cli.output.show(f"{plain(run)} goes on as {plain(after['resumedBy'])}.")
    else:
        cli.output.show(f"Recorded. It still asks about {count(len(left), 'call')}:")
        for one in left:
            cli.output.show(Text.assemble("  ", plain(one["id"]), "  ", question(one)))
