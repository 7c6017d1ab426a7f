"""`python -m runner`."""

import logging
import os

from shared.process import importing

with importing():
    from runner.app import make_app
    from shared.settings import RunnerSettings, load_settings
    from shared.telemetry.logs import set_up_logging
    from shared.web.serve import serve


def main() -> None:
    """Carry runs until told to end."""
    settings = load_settings(RunnerSettings)
    set_up_logging("runner", settings)
    status: object = 0
    try:
        serve(make_app(settings), settings, process="runner")
    except SystemExit as ending:
        status = ending.code
    # Everything of ours has ended; a thread of agent code may never do so, and would be waited for.
    logging.shutdown()
    os._exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
