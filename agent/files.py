"""`files`: what you brought, and what your runs made."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.client import Gateway, part
from agent.command import Cursor, Json, Limit, ListByDefault, Url, opened
from agent.errors import FAILED, UsageError
from agent.output import Listing
from agent.saving import read_file, require_size, write_file
from agent.text import NOTHING, ago, one_line, plain
from shared.media import MAX_FILE_BYTES

app = typer.Typer(cls=ListByDefault, help="List, bring, fetch and delete files.")

#: In the place of a file of this machine: standard input or output.
STREAM = "-"

FileId = Annotated[str, typer.Argument(metavar="ID", help="Id of the file.")]


@app.command("list")
def list_files(
    limit: Limit = 20, cursor: Cursor = None, url: Url = None, as_json: Json = False
) -> None:
    """List your files, the newest first."""
    with opened(url, as_json) as cli:
        page = cli.gateway.get("/api/files", limit=limit, cursor=cursor)
        rows = [
            (
                one["id"],
                one_line(one["name"] or NOTHING, 60),
                one_line(one["mediaType"].partition(";")[0], 40),
                f"{one['size']:,}",
                one["threadId"] or "not sent",
                ago(one["createdAt"]),
            )
            for one in page["data"]
        ]
        columns = ("file", "name", "type", "bytes", "thread", "made")
        shown = Listing(columns, rows, elastic="name")
        nothing = "No files yet. Bring one: baton files put FILE"
        cli.output.page(page, shown, nothing, "baton files list")


@app.command("put")
def put_file(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Which; - is standard input.")],
    name: Annotated[
        str | None, typer.Option("--name", metavar="N", help="What it is called; else as it is.")
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Bring a file. Sent in no message, it is deleted after some days."""
    if file == STREAM:
        content = require_size(sys.stdin.buffer.read(MAX_FILE_BYTES + 1), "standard input")
    else:
        content, name = read_file(Path(file)), name or Path(file).name
    with opened(url, as_json) as cli:
        made = brought(cli.gateway, content, name)
        if as_json:
            cli.output.document(made)
            return
        cli.output.show(plain(made["id"]))
        cli.output.note(f"{made['size']:,} bytes of {plain(made['mediaType'])}")


@app.command("get")
def get_file(
    file: FileId,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to; else standard output."),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Fetch a file, whatever it holds."""
    if output is None and as_json:
        raise UsageError("A file's bytes are no JSON.", "Say where to: --output FILE")
    if output is None and sys.stdout.isatty():
        raise UsageError(
            "Nobody knows what the bytes would do to your terminal.",
            "Say where to: --output FILE, or send them on: baton files get ID | …",
        )
    with opened(url, as_json) as cli:
        pieces = cli.gateway.download(f"/api/files/{part(file)}")
        if output is None:
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        size = write_file(Path(output), pieces)
        if as_json:
            cli.output.document({"id": file, "file": output, "bytes": size})
        else:
            cli.output.note(f"{size:,} bytes in {output}")


@app.command("delete")
def delete_file(
    file: FileId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Delete a file for good. Messages that show it stay, without it."""
    with opened(url, as_json) as cli:
        known = cli.gateway.get(f"/api/files/{part(file)}/about")
        if not yes:
            if not sys.stdin.isatty():
                raise UsageError("Nobody is there to ask.", "Add --yes to delete the file.")
            if not typer.confirm(f"Delete {plain(known['name'] or known['id'])!r}?", err=True):
                cli.output.note("Nothing was deleted.")
                raise typer.Exit(FAILED)
        cli.gateway.delete(f"/api/files/{part(file)}")
        if as_json:
            cli.output.document({"id": known["id"], "deleted": True})
        else:
            cli.output.show(f"Deleted {plain(known['id'])}.")


def brought(gateway: Gateway, content: bytes, name: str | None) -> dict[str, Any]:
    """A file that the gateway has by now, as it tells of it."""
    sound = name.encode("utf-8", "replace").decode() if name else None
    return dict(gateway.upload("/api/files", content, name=sound))


def attached(gateway: Gateway, path: str) -> dict[str, Any]:
    """A file of this machine as a part of a message."""
    made = brought(gateway, read_file(Path(path)), Path(path).name)
    kind = "image" if made["mediaType"].startswith("image/") else "document"
    return {"type": kind, "source": {"type": "file", "value": made["id"], "provider": "baton"}}
