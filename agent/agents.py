"""`agents`: who can be talked to, what serves them, and whether a file would be served."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from agent.command import Cli, Json, ListByDefault, Url, opened
from agent.errors import FAILED, CliError, RefusedError, UsageError
from agent.output import Listing, Output, fields
from agent.text import NOTHING, count, one_line, plain
from shared.protocol.codes import Code
from shared.protocol.drop_ins import Checked
from shared.settings.common import WRONG_SETTING

app = typer.Typer(cls=ListByDefault, help="List, show and check agents.")


@app.command("list")
def list_agents(url: Url = None, as_json: Json = False) -> None:
    """List the agents that are served; for admins, the broken ones too."""
    with opened(url, as_json) as cli:
        page = cli.gateway.get("/api/agents")
        rows = [
            (
                one["name"],
                (one.get("digest") or NOTHING)[:8],
                _others(one),
                one_line(one.get("description") or "", 60),
            )
            for one in page["data"]
        ]
        nothing = "No agent is served; `baton status` shows runners and broken agents."
        columns = ("agent", "code", "works with", "about")
        cli.output.page(page, Listing(columns, rows, elastic="about"), nothing, "")
        if not as_json:
            for one in _known(cli):
                for broken in one["broken"]:
                    why = f"✗ {plain(one['name'])}: {plain(broken['reason'])}"
                    cli.output.note(why, style="red")


def _known(cli: Cli) -> list[dict[str, Any]]:
    """What admins are told; of nothing for others, who see what is served."""
    try:
        found: list[dict[str, Any]] = cli.gateway.get("/admin/agents")["data"]
    except RefusedError as error:
        if error.code in (Code.FORBIDDEN, Code.NOT_FOUND):  # a gateway of before has no such list
            return []
        raise
    return found


def _others(agent: dict[str, Any]) -> str:
    inside = (agent.get("capabilities") or {}).get("multiAgent") or {}
    names = [str(one.get("name")) for one in inside.get("subAgents") or []]
    return one_line(", ".join(names) or NOTHING, 40)


@app.command("show")
def show_agent(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the agent.")],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show an agent: who serves which code of it, and what is broken, with the traceback."""
    with opened(url, as_json, admin=True) as cli:
        listed = {one["name"]: one for one in cli.gateway.get("/api/agents")["data"]}
        state = next((one for one in _known(cli) if one["name"] == name), None)
        if name not in listed and state is None:
            raise CliError(
                f"There is no agent {name[:80]!r}.",
                "`baton agents` lists those that are served.",
                code=Code.UNKNOWN_AGENT,
            )
        found = (listed.get(name) or {"name": name}) | {"state": state}
        if as_json:
            cli.output.document(found)
        else:
            _show(cli.output, found)


def _show(output: Output, found: dict[str, Any]) -> None:
    state = found["state"] or {"served": [], "broken": []}
    served = [(str(one["digest"])[:12], ", ".join(one["runners"])) for one in state["served"]]
    about = one_line(found.get("description") or NOTHING, 200)
    output.show(
        fields(
            [
                ("agent", plain(found["name"])),
                ("about", about),
                ("works with", _others(found)),
                *(("served", plain(f"{digest} by {runners}")) for digest, runners in served),
            ]
        )
    )
    for one in state["broken"]:
        output.show(Text(f"\n✗ {plain(one['reason'])}", "red"))
        if one["traceback"]:
            output.show(plain(one["traceback"]))


@app.command("check")
def check(
    path: Annotated[
        Path,
        typer.Argument(metavar="PATH", help="A folder of agents, an agent's folder, or its file."),
    ],
    as_json: Json = False,
) -> int:
    """Check what a runner would serve of a file or folder; no gateway is asked.

    Exit status 1: something of it would not be served.
    """
    if not path.exists():
        raise UsageError(f"There is nothing at {str(path)[:200]!r}.", "Give a file or a folder.")
    output, found = Output(as_json=as_json), list(checked(path))
    if as_json:
        output.document({"data": [one.model_dump(mode="json") for one in found]})
    else:
        for one in found:
            _tell(output, one)
        if not found:
            output.note("There is no agent here: a folder with an agent.py is one.")
    return FAILED if any(one.reason for one in found) or not found else 0


def checked(path: Path) -> Iterator[Checked]:
    """What a runner would serve, by a process of its code: the CLI knows none of agents' code."""
    done = subprocess.run(  # noqa: S603 - a module of ours
        [sys.executable, "-m", "runner.drop_ins.check", str(path)],
        env=os.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        if done.returncode == WRONG_SETTING:
            raise CliError(" ".join(said[:-1])[:1000], " ".join(said[-1:]))
        raise CliError(f"It could not be looked at: {' '.join(said[-1:])[:300]}", "")
    for line in done.stdout.splitlines():
        yield Checked.model_validate_json(line)


def _tell(output: Output, one: Checked) -> None:
    if one.reason is not None:
        reason, _, traceback = one.reason.partition("\n")
        output.show(Text(f"✗ {plain(one.name)}: {plain(reason)}", "red"))
        if traceback:
            output.show(plain(traceback))
        return
    about = one.about or {}
    inside = (about.get("capabilities") or {}).get("multiAgent") or {}
    others = len(inside.get("subAgents") or [])
    beside = f", with {count(others, 'more agent')}" if others else ""
    output.show(Text(f"✓ {plain(one.name)} would be served{beside}", "green"))
    for doubt in one.doubts:
        output.show(Text(f"  {plain(doubt)}", "yellow"))
