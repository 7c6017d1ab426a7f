"""`python -m toolsvc`."""

from shared.process import importing

with importing():
    from shared.settings import ToolsvcSettings, load_settings
    from shared.telemetry.logs import set_up_logging
    from shared.telemetry.otlp import exporting
    from shared.web.serve import serve
    from toolsvc.app import make_app
    from toolsvc.execution import grace_s


def main() -> None:
    """Serve until told to end."""
    settings = load_settings(ToolsvcSettings)
    set_up_logging("toolsvc", settings)
    with exporting("toolsvc"):
        serve(make_app(settings), settings, process="toolsvc", grace_s=grace_s(settings))


if __name__ == "__main__":
    main()
