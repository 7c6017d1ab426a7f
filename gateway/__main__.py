"""`python -m gateway`: serve people and their programs."""

from shared.process import importing

with importing():
    from gateway.app import PROCESS, make_app
    from shared.settings import GatewaySettings, load_settings
    from shared.telemetry.logs import set_up_logging
    from shared.web.serve import serve


def main() -> None:
    """Run until a signal, or the supervisor's end, says stop."""
    settings = load_settings(GatewaySettings)
    set_up_logging(PROCESS, settings)
    serve(make_app(settings), settings, process=PROCESS)


if __name__ == "__main__":
    main()
