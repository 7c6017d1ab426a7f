"""`python -m runner`."""

import argparse
import logging
import os
from uuid import UUID

from shared.process import importing

with importing():
    from runner.alone import carry_alone
    from runner.app import make_app
    from runner.drop_ins.inspector import Inspector, fork_inspector
    from runner.nursery import born
    from shared.settings import RunnerSettings, load_settings
    from shared.telemetry.logs import set_up_logging
    from shared.telemetry.otlp import exporting
    from shared.web.serve import serve


def main() -> None:
    """Carry runs until told to end."""
    parser = argparse.ArgumentParser(prog="python -m runner", description=main.__doc__)
    parser.add_argument("--alone", type=UUID, metavar="RUN", help="for runners: this one run only")
    parser.add_argument("--nursery", action="store_true", help="for runners: forks such processes")
    options = parser.parse_args()
    alone: UUID | None = options.alone
    serves = not (alone or options.nursery)
    inspector = Inspector(fork_inspector() if serves else None)
    settings = load_settings(RunnerSettings)
    set_up_logging("runner", settings)
    if options.nursery:
        alone = born()
    status: object = 0
    try:
        with exporting("runner"):
            if alone:
                carry_alone(settings, alone)
            else:
                serve(make_app(settings, inspector), settings, process="runner")
    except SystemExit as ending:
        status = ending.code
    # Everything of ours has ended; a thread of agent code may never do so, and would be waited for.
    logging.shutdown()
    os._exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
