"""`python -m gateway`: serve people and their programs."""

from shared.process import importing

with importing():
    from functools import partial

    from gateway.app import PROCESS, drain, make_app
    from shared.settings import GatewaySettings, load_settings
    from shared.telemetry.logs import set_up_logging
    from shared.telemetry.otlp import exporting
    from shared.web.serve import serve


def main() -> None:
    """Run until a signal, or the supervisor's end, says stop."""
    settings = load_settings(GatewaySettings)
    set_up_logging(PROCESS, settings)
    app = make_app(settings)
    with exporting(PROCESS):
        serve(app, settings, process=PROCESS, drain=partial(drain, app))


if __name__ == "__main__":
    main()
