"""`invite`, `login`, `logout`: who may do what, and who we are."""

from typing import Annotated

import typer

from agent.command import Cli, Json, Url, opened
from agent.errors import CliError
from agent.keyring import StoredKey
from agent.sign_in import ask_for_key, default_email
from agent.text import plain
from shared.protocol.codes import Code


def invite(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="Whom to invite.")],
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Make a link that signs somebody in once; from then on they may sign in. For admins."""
    with opened(url, as_json, admin=True) as cli:
        made = cli.gateway.post("/api/invites", {"email": email})
        if as_json:
            cli.output.document(made)
            return
        cli.output.note(
            f"A link for {plain(made['email'])}; it works once, until {plain(made['expiresAt'])}:"
        )
        cli.output.show(plain(made["url"]))


def login(
    email: Annotated[
        str | None,
        typer.Option("--email", metavar="E", help="Who to be, where that may be chosen."),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Sign in and store a key for this gateway.

    In dev mode by e-mail alone. Elsewhere it asks for a key; on the gateway's own machine --email
    has one made with the operator key.
    """
    with opened(url, as_json, known=False) as cli:
        stored = _stored(cli, email)
        cli.sign_in.keep(stored)
        told = {"url": cli.gateway.address.url, "email": stored.email}
        if as_json:
            cli.output.document(told)
        else:
            cli.output.show(f"Signed in at {told['url']} as {plain(told['email'])}.")
        if cli.sign_in.has_given_key:
            cli.output.note("BATON_API_KEY is set and comes first; unset it to be this person.")


def logout(url: Url = None, as_json: Json = False) -> None:
    """Forget the stored key of this gateway, and revoke it where it was made by signing in."""
    with opened(url, as_json, known=False) as cli:
        address = cli.gateway.address.url
        stored = cli.keyring.find(address)
        revoked = stored is not None and cli.sign_in.revoke(stored)
        cli.keyring.drop(address)
        if as_json:
            forgot = stored is not None
            cli.output.document({"url": address, "forgotten": forgot, "revoked": revoked})
        elif stored is None:
            cli.output.show(f"No key is stored for {address}.")
        elif revoked or stored.id is None:
            cli.output.show(f"Signed out of {address}.")
        else:
            cli.output.show(f"Forgot the key for {address}; it could not be revoked there.")


def _stored(cli: Cli, email: str | None) -> StoredKey:
    if cli.sign_in.dev_mode():
        return cli.sign_in.by_email(email or default_email())
    if email is None:
        return cli.sign_in.check(ask_for_key())
    if made := cli.sign_in.made_by_operator(email):
        return made
    raise CliError(
        "Only on the gateway's own machine can one sign in by e-mail.",
        "Leave --email away and give a key; an admin makes one with `baton keys create --email "
        "YOU`.",
        code=Code.FORBIDDEN,
    )
