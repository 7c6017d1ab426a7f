"""`python -m runner`."""

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
    serve(make_app(settings), settings, process="runner")


if __name__ == "__main__":
    main()
