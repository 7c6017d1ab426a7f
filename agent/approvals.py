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

#: What to answer; words for the model may follow a no.
ASK = "    y, or n and why: "
#: Of arguments; who decides wants to see what it is about.
MOST_CHARS = 2000

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
        str | None, typer.Option("--message", metavar="TEXT", help="What the model is told of it.")
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Refuse calls that a run asks about; it goes on without them."""
    said = {"message": message} if message else {}
    with opened(url, as_json) as cli:
        _decide(cli, run, call, {"approved": False} | said)


def how_to_decide(run: str) -> str:
    """What to enter about a run that asks."""
    return f"decide: baton approve {plain(run)}, or reject"


def asked_by(gateway: Gateway, run: str) -> list[Text]:
    """The calls that a run asks about and that nobody has decided, one a line."""
    return [_line(one) for one in _open(_asked(gateway, run))]


def decided_here(cli: Cli, run: str) -> str | None:
    """Ask who sits at the terminal about all that a run asks; the run that goes on, if one does.

    Who leaves leaves the rest open.
    """
    after = _asked(cli.gateway, run)
    for one in _open(after):
        said = _answer(cli, one)
        if said is None:
            return None
        after = _decided(cli.gateway, run, [{"id": one["id"]} | said])
    return str(after["resumedBy"]) if after["resumedBy"] else None


def _answer(cli: Cli, one: dict[str, Any]) -> dict[str, Any] | None:
    cli.output.err.print(Text.assemble("  ? ", _question(one)), soft_wrap=True)
    while True:
        try:
            word, _, rest = input(ASK).strip().partition(" ")
        except (EOFError, KeyboardInterrupt):
            cli.output.err.print()
            return None
        if word.lower() in ("y", "yes"):
            return {"approved": True}
        if word.lower() in ("n", "no"):
            return {"approved": False} | ({"message": rest.strip()} if rest.strip() else {})


def _open(asked: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in asked["data"] if one["status"] == "open"]


def _decided(gateway: Gateway, run: str, decisions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Tell the gateway what a person says; all that the run asks, as it stands after that."""
    path = f"/api/runs/{part(run)}/approvals"
    answer: dict[str, Any] = gateway.post(path, {"decisions": list(decisions)})
    return answer


def _question(one: dict[str, Any]) -> Text:
    given = one["arguments"]
    text = given if isinstance(given, str) else json.dumps(given)
    tool = (plain(one["tool"]), "cyan")
    return Text.assemble(tool, " ", (arguments(text, MOST_CHARS), "dim"))


def _line(one: dict[str, Any]) -> Text:
    return Text.assemble(plain(one["id"]), "  ", _question(one))


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
            f"`baton runs show {one_line(run, 80)}` tells what became of it.",
            code=Code.NOT_FOUND,
        )
    after = _decided(cli.gateway, run, [{"id": one["id"]} | said for one in meant])
    if cli.output.as_json:
        cli.output.document(after)
        return
    left = _open(after)
    if after["resumedBy"]:
        cli.output.show(f"{plain(run)} goes on as {plain(after['resumedBy'])}.")
    else:
        cli.output.show(f"Recorded. It still asks about {count(len(left), 'call')}:")
        for one in left:
            cli.output.show(Text.assemble("  ", _line(one)))
