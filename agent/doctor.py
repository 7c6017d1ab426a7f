"""`doctor`: find what is wrong and does not mend itself, and mend it."""

from itertools import groupby
from typing import Annotated, Any

import typer
from rich.text import Text

from agent.command import Json, Url, opened
from agent.errors import FAILED
from agent.output import Output
from agent.text import one_line, plain

#: Where the same is wrong with many things, so many of them are named.
NAMED = 10


def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> int:
    """Look for what is wrong and does not mend itself. Exit status 1: something is left."""
    with opened(url, as_json, admin=True) as cli:
        found = cli.gateway.post("/api/doctor/fix") if fix else cli.gateway.get("/api/doctor")
        if as_json:
            cli.output.document(found)
        else:
            _show(cli.output, found["findings"], fix=fix)
    return FAILED if any(not one["fixed"] for one in found["findings"]) else 0


def _show(output: Output, findings: list[dict[str, Any]], *, fix: bool) -> None:
    if not findings:
        output.show(Text("Healthy: nothing is wrong that does not mend itself.", "green"))
        return
    for code, same in groupby(sorted(findings, key=_code), key=_code):
        each = list(same)
        output.show(Text.assemble((plain(code), "bold"), f"  {plain(each[0]['means'])}"))
        for one in each[:NAMED]:
            output.show(Text.assemble("  ", _state(one), f"  {_named(one)}"))
        if len(each) > NAMED:
            output.show(f"  and {len(each) - NAMED} more")
        if any(not one["fixed"] for one in each):
            how = "--fix would" if each[0]["fixable"] and not fix else "to do"
            output.show(Text(f"  {how}: {plain(each[0]['cure'])}", "dim"))


def _code(finding: dict[str, Any]) -> str:
    return str(finding["code"])


def _state(finding: dict[str, Any]) -> Text:
    return Text("mended", "green") if finding["fixed"] else Text("found", "red")


def _named(finding: dict[str, Any]) -> str:
    detail = f" ({one_line(finding['detail'])})" if finding["detail"] else ""
    return f"{one_line(finding['subject'])}{detail}"
