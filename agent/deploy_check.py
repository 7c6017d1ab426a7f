"""`deploy-check`: whether this release can work beside the one that runs."""

from typing import Annotated, Any

import typer
from rich.text import Text

from agent.command import Json
from agent.errors import FAILED, CliError
from agent.output import Output
from agent.text import count, plain


def deploy_check(
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            metavar="URL",
            envvar="DATABASE_URL",
            help="The running installation's Postgres; only its schema's number is read.",
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Check, before a deploy, that processes of both releases can run side by side.

    Exit status 1: they cannot. Nothing is changed, and no gateway is asked.
    """
    output = Output(as_json=as_json)
    found = _examined(database)
    if as_json:
        output.document(found)
    else:
        _show(output, found)
    return FAILED if found["problems"] else 0


def _examined(database: str | None) -> dict[str, Any]:
    # Only this command needs migrations: the others start faster without them.
    from shared.db.additive import breaches, migrations, revision_of  # noqa: PLC0415

    known = migrations()
    names = [one.revision for one in known]
    problems = [
        f"migration {one.revision} ({one.why}): {one.statement}"
        for migration in known
        for one in breaches(migration)
    ]
    document: dict[str, Any] = {"migrations": names, "problems": problems}
    if database is None:
        return document
    try:
        present = revision_of(database)
    except ValueError as error:
        why = f"The database cannot be asked: {str(error)[:200]}"
        raise CliError(why, "Look at --database.") from None
    if present is not None and present not in names:
        problems.append(f"the database is newer: this release does not know migration {present}")
    following = names[names.index(present) + 1 :] if present in names else names
    pending = [one for one in known if one.revision in following] if not problems else []
    return document | {
        "database": present,
        "pending": [{"revision": one.revision, "about": one.about} for one in pending],
    }


def _show(output: Output, found: dict[str, Any]) -> None:
    many = count(len(found["migrations"]), "migration")
    for problem in found["problems"]:
        output.show(Text(f"✗ {plain(problem)}", "red"))
    if not found["problems"]:
        output.show(Text(f"✓ {many}: all of them only add", "green"))
    if "database" not in found:
        output.note("Add --database URL to see which of them the installation has not had yet.")
        return
    for one in found["pending"]:
        output.show(f"  to come: {one['revision']} {plain(one['about'])}")
    if not found["problems"] and not found["pending"]:
        output.show(Text("✓ the database has had all of them", "green"))
