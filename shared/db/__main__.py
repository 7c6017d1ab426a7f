"""`python -m shared.db`: what is done to the database of `DATABASE_URL` while nothing else runs.

`upgrade` brings its schema up to date (and may well be done while others run); `restored` follows
the restoring of a backup.
"""

import os
import sys

from shared.db.migrate import upgrade
from shared.db.restored import restored

USAGE = "usage: DATABASE_URL=postgresql://… python -m shared.db (upgrade | restored)"


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit status."""
    url = os.environ.get("DATABASE_URL")
    match arguments:
        case ["upgrade"] if url:
            upgrade(url)
        case ["restored"] if url:
            print(f"{restored(url)} threads go on with fences that nobody has seen")
        case _:
            print(USAGE, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
