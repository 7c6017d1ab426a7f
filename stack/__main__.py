"""`python -m stack COMMAND`: what `dev.py` hands over to."""

import sys
from importlib import import_module

from stack.errors import StackError

#: Each command's module, with a `main(arguments) -> exit status`; imported only when asked for.
COMMANDS = {
    "up": "stack.up",
    "test": "stack.testing",
    "check": "stack.checks",
    "redis": "stack.redis_cli",
    "lock": "stack.lock",
}


def main(arguments: list[str]) -> int:
    """Run one command."""
    if not arguments or arguments[0] not in COMMANDS:
        print(f"usage: python -m stack {{{','.join(COMMANDS)}}} …", file=sys.stderr)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    try:
        return int(import_module(COMMANDS[arguments[0]]).main(arguments[1:]))
    except StackError as error:
        print(f"baton: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
