"""The operator key of the gateway's own machine: `operator_key` in `<BATON_HOME>/secrets.json`."""

import json
import os
from pathlib import Path

from agent.errors import CliError


def where_to_find_it(home: Path) -> str:
    """What to do where this key would have been needed, and `home` has none."""
    return (
        "Ask an admin; or, on the gateway's own machine, set BATON_HOME to the folder of its "
        f"secrets.json (`--home` of `dev.py up`): {home} has none."
    )


def operator_key(home: Path) -> str | None:
    """The key, or `None` where this user has none here.

    Raises:
        CliError: others can read the file, or it is broken.
    """
    path = home / "secrets.json"
    try:
        status = path.stat()
        if os.name == "posix" and status.st_mode & 0o077:
            raise CliError(
                f"{path} can be read by others.",
                f"If nobody has seen it, `chmod 600 {path}`; otherwise have new secrets made.",
                code="secrets_file",
            )
        secrets = json.loads(path.read_text("utf-8"))
    except OSError:  # none here, or not this user's: then there is no operator key for them
        return None
    except ValueError:
        secrets = None
    key = secrets.get("operator_key") if isinstance(secrets, dict) else None
    if not isinstance(key, str) or not key:
        raise CliError(
            f"{path} holds no operator key.",
            "It is not a file of secrets as `dev.py up` writes it; set BATON_HOME to the right "
            "folder, or BATON_API_KEY to a key.",
            code="secrets_file",
        )
    return key
