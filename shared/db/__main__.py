"""`python -m shared.db upgrade`: bring the schema of `DATABASE_URL` up to date."""

import os
import sys

from shared.db.migrate import upgrade


def main(arguments: list[str]) -> int:
    """Run the one command there is; returns the exit status."""
    url = os.environ.get("DATABASE_URL")
    if arguments != ["upgrade"] or not url:
        print("usage: DATABASE_URL=postgresql://… python -m shared.db upgrade", file=sys.stderr)
        return 2
    upgrade(url)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
