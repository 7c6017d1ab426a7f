"""`threads`: conversations."""

import sys
from typing import Annotated, Any

import typer
from rich.text import Text

from agent.client import part
from agent.command import Cursor, Json, Limit, ListByDefault, Url, opened
from agent.errors import FAILED, UsageError
from agent.output import Listing, Output
from agent.text import NOTHING, PROMPT, ago, arguments, one_line, plain, text_of
from shared.protocol.transcript import has_failed

app = typer.Typer(cls=ListByDefault, help="List, read, rename and delete conversations.")

ThreadId = Annotated[str, typer.Argument(metavar="ID", help="Id of the thread.")]


@app.command("list")
def list_threads(
    limit: Limit = 20, cursor: Cursor = None, url: Url = None, as_json: Json = False
) -> None:
    """List your threads, the last changed first."""
    with opened(url, as_json) as cli:
        page = cli.gateway.get("/api/threads", limit=limit, cursor=cursor)
        rows = [
            (one["id"], one_line(one["title"] or NOTHING, 40), one["agent"], ago(one["updatedAt"]))
            for one in page["data"]
        ]
        shown = Listing(("thread", "title", "agent", "changed"), rows, elastic="title")
        nothing = 'No threads yet. Begin one: baton chat "hello"'
        cli.output.page(page, shown, nothing, "baton threads list")


@app.command("show")
def show_thread(
    thread: ThreadId,
    limit: Limit = 50,
    before: Annotated[
        str | None, typer.Option("--before", metavar="MESSAGE", help="Only what came before it.")
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Read a thread's messages, oldest first."""
    with opened(url, as_json) as cli:
        path = f"/api/threads/{part(thread)}/messages"
        page = cli.gateway.get(path, limit=limit, before=before)
        if as_json:
            cli.output.document(page)
            return
        if page.get("next"):
            cli.output.note(f"Older ones: baton threads show {thread} --before {page['next']}")
        if not page["data"]:
            cli.output.note("No messages yet.")
        for message in page["data"]:
            _show(cli.output, message)


@app.command("rename")
def rename_thread(
    thread: ThreadId,
    title: Annotated[str, typer.Argument(help='The new title; "" takes it away.')],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Give a thread another title."""
    with opened(url, as_json) as cli:
        changed = cli.gateway.patch(f"/api/threads/{part(thread)}", {"title": title or None})
        if as_json:
            cli.output.document(changed)
        elif changed["title"]:
            cli.output.show(f"{plain(changed['id'])} is called {plain(changed['title'])!r} now.")
        else:
            cli.output.show(f"{plain(changed['id'])} has no title now.")


@app.command("delete")
def delete_thread(
    thread: ThreadId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Delete a thread; its runs are stopped, and nobody can open it any more."""
    with opened(url, as_json) as cli:
        known = cli.gateway.get(f"/api/threads/{part(thread)}")
        if not yes:
            if not sys.stdin.isatty():
                raise UsageError("Nobody is there to ask.", "Add --yes to delete the thread.")
            name = plain(known["title"] or known["id"])
            if not typer.confirm(f"Delete {name!r}?", err=True):
                cli.output.note("Nothing was deleted.")
                raise typer.Exit(FAILED)
        cli.gateway.delete(f"/api/threads/{part(thread)}")
        if as_json:
            cli.output.document({"id": known["id"], "deleted": True})
        else:
            cli.output.show(f"Deleted {plain(known['id'])}.")


def _show(output: Output, message: dict[str, Any]) -> None:
    text, role = text_of(message), message.get("role")
    match role:
        case "user":
            output.show(Text(f"{PROMPT}{text}", "bold"))
        case "assistant":
            for call in message.get("toolCalls") or []:
                function = call.get("function") or {}
                given = arguments(str(function.get("arguments", "")))
                output.show(Text(f"  ▸ {one_line(function.get('name', ''))} {given}", "dim"))
            if text:
                output.show(Text(text))
        case "tool":
            mark = "✗" if has_failed(message) else "✓"
            output.show(Text(f"  {mark} {one_line(text)}", "dim"))
        case "reasoning":
            output.show(Text(f"  {one_line(text)}", "dim italic"))
        case _:
            output.show(Text(f"  {one_line(role)}: {one_line(text)}", "dim"))
