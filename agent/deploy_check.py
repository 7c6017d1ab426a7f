"""`deploy-check`: whether this release can work beside the one that runs."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from agent.command import Json
from agent.errors import FAILED, CliError, UsageError
from agent.output import Output
from agent.text import count, plain
from shared.protocol.rehearsal import Ending, Rehearsed, WhoseCode


def deploy_check(
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            metavar="URL",
            envvar="DATABASE_URL",
            help="The running installation's Postgres; it is only read.",
        ),
    ] = None,
    agents: Annotated[
        Path,
        typer.Option(
            "--agents",
            metavar="DIR",
            envvar="BATON_AGENTS_HOME",
            help="The agents that will be deployed, judged by BATON_SECURITY_CONFIG.",
        ),
    ] = Path("src/agents"),
    kept: Annotated[
        Path | None,
        typer.Option(
            "--kept",
            metavar="DIR",
            help="Former code, as a runner keeps it; without it all runs are tried with the new.",
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Check, before a deploy, that processes of both releases can run side by side.

    Exit status 1: they cannot. Nothing is changed, and no gateway is asked.
    """
    output = Output(as_json=as_json)
    if database is not None:
        _require_postgres(database)
    found = _examined()
    if agents.is_dir():
        found |= _agents(found, agents)
    if database is not None:
        found |= _of_installation(found, database, agents, kept)
    if as_json:
        output.document(found)
    else:
        _show(output, found)
    return FAILED if found["problems"] else 0


def _require_postgres(database: str) -> None:
    """Other databases would be opened, some made, and found without any migration."""
    if database.partition("://")[0] not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise UsageError(
            "--database: Baton's database is Postgres.", "Its URL begins with postgresql://"
        )


# ---------------------------------------------------------------------------------- looking
def _examined() -> dict[str, Any]:
    """What this release is by itself, and beside those that are recorded."""
    # Only this command needs migrations and protocols: the others start faster without them.
    from agent.release import examined, recorded_releases  # noqa: PLC0415
    from shared.db.additive import breaches, migrations  # noqa: PLC0415

    known = migrations()
    problems = [
        f"migration {one.revision} ({one.why}): {one.statement}"
        for migration in known
        for one in breaches(migration)
    ]
    releases = {}
    for folder in recorded_releases():
        findings = examined(folder)
        releases[folder.name] = findings.tried
        problems += [f"release {folder.name}: {one}" for one in findings.problems]
    return {
        "migrations": [one.revision for one in known],
        "releases": releases,
        "problems": problems,
    }


def _agents(found: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What runners would serve of the agents, and refuse, by the rules of `security.yaml` too."""
    from agent.agents import checked  # noqa: PLC0415

    looked_at = list(checked(folder))
    refused = [
        f"agent {one.name} would not be served: {one.reason.partition(chr(10))[0]}"
        for one in looked_at
        if one.reason is not None
    ]
    served = [one.name for one in looked_at if one.reason is None]
    return {"agents": served, "problems": [*found["problems"], *refused]}


def _of_installation(
    found: dict[str, Any], database: str, agents: Path, kept: Path | None
) -> dict[str, Any]:
    """What of this release an installation has not had yet, and how its runs would fare."""
    from agent.rehearsal import rehearsed  # noqa: PLC0415
    from shared.db.additive import migrations, revision_of  # noqa: PLC0415

    names, problems = found["migrations"], list(found["problems"])
    try:
        present = revision_of(database)
    except ValueError as error:
        why = f"The database cannot be asked: {str(error)[:200]}"
        raise CliError(why, "Look at --database.") from None
    newer = present is not None and present not in names
    if newer:
        problems.append(f"the database is newer: this release does not know migration {present}")
    following = [] if newer or problems else names[names.index(present) + 1 if present else 0 :]
    runs = rehearsed(database, agents, kept) if present and not newer else []
    problems += [_sentence(one) for one in runs if one.ending is not Ending.REPLAYS]
    about = {one.revision: one.about for one in migrations()}
    return {
        "database": present,
        "pending": [{"revision": one, "about": about[one]} for one in following],
        "runs": [one.model_dump(mode="json") for one in runs],
        "problems": problems,
    }


def _sentence(one: Rehearsed) -> str:
    where = f"run {one.run} of {one.agent}, {one.replayed} of {one.steps} steps"
    return f"{where}: it {_WORDS[one.ending]}: {one.why}"


_WORDS = {
    Ending.REPLAYS: "replays",
    Ending.DIVERGES: "would diverge",
    Ending.FAILS: "would fail",
    Ending.NO_AGENT: "has no agent",
}


# ---------------------------------------------------------------------------------- telling
def _show(output: Output, found: dict[str, Any]) -> None:
    for problem in found["problems"]:
        output.show(Text(f"✗ {plain(problem)}", "red"))
    fine = not found["problems"]
    if fine:
        _good(output, f"{count(len(found['migrations']), 'migration')}: all of them only add")
        for release, tried in found["releases"].items():
            what = ", ".join(f"{number} {kind}" for kind, number in tried.items())
            _good(output, f"release {release} is understood: {what}")
        if names := found.get("agents"):
            _good(output, f"{count(len(names), 'agent')} would be served: {', '.join(names)}")
    if "database" not in found:
        output.note("Add --database URL to try the runs of the installation, too.")
        return
    _show_runs(output, [Rehearsed.model_validate(one) for one in found["runs"]], fine=fine)
    for one in found["pending"]:
        output.show(f"  to come: {one['revision']} {plain(one['about'])}")
    if fine and not found["pending"]:
        _good(output, "the database has had all migrations")


def _show_runs(output: Output, runs: list[Rehearsed], *, fine: bool) -> None:
    if fine:
        _good(output, f"{count(len(runs), 'run')} under way: the journals fit the agents' code")
    others = sum(one.code is WhoseCode.OTHER for one in runs)
    if others:
        many = count(others, "run")
        output.show(f"  {many} began with other code than is here; runners that have it keep it")
    for one in runs:
        if one.ending is Ending.REPLAYS and one.why:
            output.show(f"  run {one.run} of {plain(one.agent)}: {plain(one.why)}")


def _good(output: Output, text: str) -> None:
    output.show(Text(f"✓ {text}", "green"))
