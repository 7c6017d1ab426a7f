"""`python -m gateway.described`: the OpenAPI document of the REST interface, as JSON.

It is the one of `/openapi.json` with dev mode on, and the same on every machine: whatever is set in
the environment does not matter.
"""

import json
import os
from typing import Any

from gateway.app import make_app
from shared.settings import GatewaySettings

#: Nothing is connected to, and nothing is signed.
_SETTINGS = {
    "DATABASE_URL": "postgresql://",
    "REDIS_URL": "redis://",
    "BATON_GATEWAY_KEY": "k" * 32,
    "BATON_COOKIE_KEY": "k" * 32,
    "BATON_DEV_MODE": True,
}


def described() -> dict[str, Any]:
    """The document."""
    return make_app(GatewaySettings.model_validate(_SETTINGS)).openapi()


def main() -> None:
    """Print it."""
    os.environ.clear()
    print(json.dumps(described(), indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
