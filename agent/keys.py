"""`keys`: API keys, for programs."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from agent.client import Gateway, part
from agent.command import Cli, Cursor, Json, Limit, ListByDefault, Url, opened
from agent.errors import CliError, UsageError
from agent.output import Listing
from agent.text import NOTHING, ago, one_line, plain, when
from shared.protocol.codes import Code

app = typer.Typer(cls=ListByDefault, help="Make, list and revoke API keys.")

KEY_PREFIX = "bt_"
#: With fewer characters of a key, somebody else's might be meant.
SHORTEST_BEGINNING = 6


@app.command("create")
def create_key(
    email: Annotated[
        str | None,
        typer.Option("--email", metavar="E", help="Whose key; another's needs an admin."),
    ] = None,
    name: Annotated[str, typer.Option("--name", metavar="N", help="What it is for.")] = "",
    expires_days: Annotated[
        float | None,
        typer.Option("--expires-days", metavar="D", help="It ends by itself after so many days."),
    ] = None,
    cancel_on_disconnect: Annotated[
        bool,
        typer.Option(
            "--cancel-on-disconnect", help="Who leaves an answer of /v1 early stops its run."
        ),
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Make a key and print it as the last line. It is shown this once."""
    if expires_days is not None and not expires_days > 0:
        raise UsageError("--expires-days must be more than 0.")
    with opened(url, as_json, known=False) as cli:
        wishes = {"cancelOnDisconnect": True} if cancel_on_disconnect else {}
        made = _make(cli, email, {"name": name} | _expiry(expires_days) | wishes)
        if as_json:
            cli.output.document(made)
            return
        until = f", until {plain(made['expiresAt'])}" if made["expiresAt"] else ""
        cli.output.note(f"A key for {plain(made['email'])}{until}. It is shown this once:")
        cli.output.show(plain(made["key"]))


@app.command("list")
def list_keys(
    everybody: Annotated[bool, typer.Option("--all", help="Everybody's; for admins.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List keys, the newest first; their secrets are not kept anywhere."""
    with opened(url, as_json, admin=everybody) as cli:
        page = cli.gateway.get(
            "/api/keys", limit=limit, cursor=cursor, everybody=True if everybody else None
        )
        rows = [
            (
                f"{one['shown']}…",
                one["email"],
                one_line(one["name"] or NOTHING, 30),
                _state(one),
                ago(one["createdAt"]),
                ago(one["usedAt"]),
                "cancels" if one.get("cancelOnDisconnect") else NOTHING,
            )
            for one in page["data"]
        ]
        shown = Listing(
            ("key", "of", "name", "state", "made", "used", "who leaves"), rows, elastic="name"
        )
        cli.output.page(page, shown, "No keys yet.", "baton keys list")


@app.command("revoke")
def revoke_key(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="Its id, or how it begins (bt_Zq3kT8).")
    ],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """End a key at once."""
    with opened(url, as_json, admin=True) as cli:
        id_ = _find(cli.gateway, key) if key.startswith(KEY_PREFIX) else key
        cli.gateway.delete(f"/api/keys/{part(id_)}")
        stored = cli.keyring.find(cli.gateway.address.url)
        if stored and stored.id == id_:
            cli.keyring.drop(cli.gateway.address.url)
        if as_json:
            cli.output.document({"id": id_, "revoked": True})
        else:
            cli.output.show(f"Revoked {id_}.")


def _make(cli: Cli, email: str | None, body: dict[str, Any]) -> dict[str, Any]:
    """Make the key: in dev mode as its owner, elsewhere by our own right."""
    if email is None:
        cli.sign_in.identify()
        made = cli.gateway.post("/api/keys", body)
    elif cli.sign_in.dev_mode():
        made = cli.sign_in.made_in_dev_mode(email, body)
    else:
        cli.sign_in.identify(admin=True)
        made = cli.gateway.post("/api/keys", body | {"email": email})
    return dict(made)


def _expiry(days: float | None) -> dict[str, Any]:
    return {} if days is None else {"expiresInDays": days}


def _state(key: dict[str, Any]) -> Text:
    if key["revokedAt"]:
        return Text("revoked", "dim")
    expires = when(key["expiresAt"])
    if expires is None:
        return Text("valid", "green")
    if expires <= datetime.now(UTC):
        return Text("expired", "dim")
    return Text(f"ends {ago(key['expiresAt'])}", "green")


def _find(gateway: Gateway, beginning: str) -> str:
    """The id of the key that begins so; a whole key serves, too."""
    if len(beginning) < SHORTEST_BEGINNING:
        raise UsageError(
            f"At least the first {SHORTEST_BEGINNING} characters of a key name it.",
            "Give as much of it as `baton keys list` has.",
        )
    everybody = gateway.get("/api/me").get("admin") is True or None
    found: set[str] = set()
    cursor = None
    while True:
        page = gateway.get("/api/keys", limit=100, cursor=cursor, everybody=everybody)
        found |= {
            str(one["id"])
            for one in page["data"]
            if not one["revokedAt"]
            and (beginning.startswith(one["shown"]) or one["shown"].startswith(beginning))
        }
        cursor = page.get("next")
        if cursor is None:
            break
    if not found:
        raise CliError(
            "No living key of yours begins so.", "`baton keys` lists them.", code=Code.NOT_FOUND
        )
    if len(found) > 1:
        raise CliError("Several keys begin so.", "Give the id: `baton keys list --json` has it.")
    return found.pop()
