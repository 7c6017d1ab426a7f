"""Settings: one typed class per process, read from the environment, explained in docs/settings.md.

A wrong value ends the process with exit status 2 and one sentence that names the variable.
"""

from shared.settings.cli import CliSettings
from shared.settings.common import ProcessSettings, load_settings
from shared.settings.gateway import GatewaySettings
from shared.settings.runner import RunnerSettings
from shared.settings.toolsvc import ToolsvcSettings

__all__ = [
    "CliSettings",
    "GatewaySettings",
    "ProcessSettings",
    "RunnerSettings",
    "ToolsvcSettings",
    "load_settings",
]
