"""`status`: processes, queue, leases, lag, broken agents."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.text import Text

from agent.command import Json, Url, opened
from agent.output import Listing, Output, fields
from agent.text import NOTHING, ago, count, one_line, plain, span


def status(
    everything: Annotated[
        bool, typer.Option("--all", help="Those too that ended in the last ten minutes.")
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show what goes on: processes, queue, leases, lag, broken agents."""
    with opened(url, as_json, admin=True) as cli:
        found = cli.gateway.get("/api/status")
        if as_json:
            cli.output.document(found)
        else:
            _show(cli.output, found, cli.gateway.address.url, everything=everything)


def _show(output: Output, found: dict[str, Any], url: str, *, everything: bool) -> None:
    output.show(fields(_summary(found, url)))
    processes = found["processes"]
    if processes is None:
        output.note("Only admins see processes; the queue above is yours alone.")
        return
    rows = [
        (
            one["id"],
            one["kind"],
            _life(one),
            f"{one['carried']}/{one['slots']}" if one["kind"] == "runner" else NOTHING,
            ago(one["startedAt"]).removesuffix(" ago"),
            one_line(", ".join(one["agents"]) or NOTHING, 40),
        )
        for one in processes
        if one["alive"] or everything
    ]
    if rows:
        output.out.print()
        columns = ("process", "kind", "lease", "runs", "up", "agents")
        output.listing(Listing(columns, rows, elastic="agents"))
    for line in _broken(processes):
        output.show(line)
    if ended := len(processes) - len(rows):
        output.note(f"{ended} more ended in the last ten minutes: baton status --all")


def _summary(found: dict[str, Any], url: str) -> Iterator[tuple[str, str | Text]]:
    gateway, queue = found["gateway"], found["queue"]
    redis = "redis ready" if gateway["redisReady"] else "redis away"
    lag = gateway.get("relayLagS")
    relay = "" if lag is None else f" · relay lag {span(lag)}"
    healthy = "" if gateway["redisReady"] else "red"
    yield "gateway", Text(plain(f"{url} · {gateway['version']} · {redis}{relay}"), healthy)
    oldest = "" if queue["oldestS"] is None else f" (oldest {span(queue['oldestS'])})"
    waiting = f"{count(queue['waiting'], 'run')} waiting{oldest} · {queue['running']} running"
    if behind := queue.get("behind"):
        waiting += f" · {behind} behind others of their thread"
    if asking := queue.get("asking"):
        waiting += f" · {count(asking, 'thread')} waiting for a decision"
    if stranded := queue.get("stranded"):
        yield "queue", Text.assemble(waiting, (f" · {stranded} to be taken over", "yellow"))
    else:
        yield "queue", waiting
    if found["leases"] is not None:
        living = count(found["leases"], "living runner")
        none = Text("no living runner: nothing is carried", "red")
        yield "leases", living if found["leases"] else none
    for one in found.get("modelServers") or ():
        if one["state"] != "works":
            yield "model", Text(_standing(one), "yellow")


def _standing(server: dict[str, Any]) -> str:
    """A model server that calls wait for, and how many do."""
    state = "counts as down" if server["state"] == "down" else "asked to be left alone"
    left = f" for {span(server['seconds'])}" if server["seconds"] else ""
    waiting = count(server["waiting"], "call")
    return f"{plain(server['name'])} {state}{left} · {waiting} waiting"


def _life(process: dict[str, Any]) -> Text:
    if process["alive"]:
        return Text("holds", "green")
    return Text(f"ended {ago(process['leaseUntil'])}", "dim")


def _broken(processes: list[dict[str, Any]]) -> Iterator[Text]:
    """Agents that could not be loaded by living runners, with file and line."""
    reasons = {
        (name, str(reason).partition("\n")[0])  # below it is the traceback
        for one in processes
        if one["alive"]
        for name, reason in one["broken"].items()
    }
    if reasons:
        yield Text("\nbroken agents", "red")
    for name, reason in sorted(reasons):
        yield Text.assemble("  ", (one_line(name), "bold"), f"  {plain(reason)}")
