"""`python -m agent …`, installed as `baton`: the one place where commands are put together."""

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from agent import agents, effects, files, keys, runs, threads
from agent.approvals import approve, reject
from agent.chat import chat
from agent.deploy_check import deploy_check
from agent.doctor import doctor
from agent.drill import drill
from agent.errors import INTERRUPTED, CliError, UnexpectedError, UsageError
from agent.matrix import matrix
from agent.output import print_error
from agent.people import invite, login, logout
from agent.release_check import release_check
from agent.status import status
from agent.trace import trace
from agent.verify import verify
from shared.wording import said

CONVERSE, OPERATE = "Talk and watch", "Operate"


class Commands(TyperGroup):
    """The commands. A first word that is none of them is answered in words."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that `args` begin with."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            raise UsageError(
                f"There is no command {args[0][:80]!r}.",
                f'Commands: {", ".join(self.commands)}. To say something: baton chat "…"',
            )
        return super().resolve_command(ctx, args)


def make_app() -> typer.Typer:
    """All commands."""
    app = typer.Typer(
        cls=Commands,
        name="baton",
        help="Talk to agents, watch their runs, operate Baton.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.command(rich_help_panel=CONVERSE)(chat)
    app.add_typer(agents.app, name="agents", rich_help_panel=CONVERSE)
    app.command(rich_help_panel=CONVERSE)(approve)
    app.command(rich_help_panel=CONVERSE)(reject)
    app.add_typer(threads.app, name="threads", rich_help_panel=CONVERSE)
    app.add_typer(files.app, name="files", rich_help_panel=CONVERSE)
    app.add_typer(runs.app, name="runs", rich_help_panel=CONVERSE)
    app.command(rich_help_panel=CONVERSE)(trace)
    app.command(rich_help_panel=CONVERSE)(verify)
    app.command(rich_help_panel=OPERATE)(status)
    app.command(rich_help_panel=OPERATE)(doctor)
    app.add_typer(effects.app, name="effects", rich_help_panel=OPERATE)
    app.add_typer(keys.app, name="keys", rich_help_panel=OPERATE)
    app.command(rich_help_panel=OPERATE)(invite)
    app.command(rich_help_panel=OPERATE)(login)
    app.command(rich_help_panel=OPERATE)(logout)
    app.command(rich_help_panel=OPERATE)(deploy_check)
    app.command(rich_help_panel=OPERATE)(drill)
    app.command(rich_help_panel=OPERATE)(matrix)
    app.command(rich_help_panel=OPERATE)(release_check)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = make_app()(given, prog_name="baton", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except CliError as error:
        problem = error
    except typer.Abort:
        return INTERRUPTED
    except typer.TyperException as error:  # the words of typer, as our own
        if not error.format_message():
            return 0  # nothing was asked for, and the help is printed
        words = _in_our_words(error.format_message())
        problem = UsageError(words, "Add --help to see how it is used.")
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        sys.stdout = None  # whoever read is gone; Python need not flush
        return 1
    except Exception as error:  # noqa: BLE001 - nobody who types should meet a traceback
        problem = UnexpectedError(error)
    print_error(problem, as_json="--json" in given)
    return problem.status


def _in_our_words(message: str) -> str:
    """`Invalid value for '--limit': …`, where typer passes pydantic's words on."""
    option, colon, why = message.partition("': ")
    return f"{option}{colon}{said(why)}"


if __name__ == "__main__":
    raise SystemExit(main())
