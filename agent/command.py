"""What every command shares: its options, and the gateway it talks to."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from agent.address import parse_address
from agent.client import Gateway
from agent.errors import RefusedError
from agent.keyring import Keyring
from agent.operator_key import operator_key, where_to_find_it
from agent.output import Output
from agent.sign_in import SignIn
from shared.protocol.codes import Code
from shared.settings import load_settings
from shared.settings.cli import CliSettings

Url = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="The gateway; else BATON_URL.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100, help="At most so many.")]
Cursor = Annotated[
    str | None, typer.Option("--cursor", metavar="CURSOR", help="Where the page before ended.")
]


class ListByDefault(TyperGroup):
    """A family of commands; `baton runs --limit 3` means `baton runs list --limit 3`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `list` where no command stands."""
        if not args or (args[0].startswith("-") and args[0] != "--help"):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cli:
    """One command at work."""

    gateway: Gateway
    output: Output
    sign_in: SignIn
    keyring: Keyring


@contextmanager
def opened(
    url: str | None, as_json: bool, *, admin: bool = False, known: bool = True
) -> Iterator[Cli]:
    """A gateway to talk to, for the block; as nobody yet where `known` is false.

    Raises:
        CliError: a setting is wrong, or nobody lets us in.
    """
    settings = load_settings(CliSettings)
    output = Output(as_json=as_json)
    gateway = Gateway(parse_address(url or settings.url))
    keyring = Keyring.of_user(output.note)
    sign_in = SignIn(gateway, settings, keyring)
    try:
        if known:
            sign_in.identify(admin=admin)
        yield Cli(gateway=gateway, output=output, sign_in=sign_in, keyring=keyring)
    except RefusedError as error:
        if error.code == Code.FORBIDDEN and admin and operator_key(settings.home) is None:
            error.hint = where_to_find_it(settings.home)
        raise
    finally:
        gateway.close()
