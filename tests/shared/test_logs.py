"""What a log line shows of an exception."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from shared.settings import RunnerSettings
from shared.telemetry.logs import get_logger, set_up_logging
settings = RunnerSettings.model_validate(
    {{"REDIS_URL": "redis://x", "BATON_RUNNER_KEY": "k" * 32, "BATON_LOG_FORMAT": {form!r},
      "BATON_AGENTS_HOME": {root!r}}}
)
set_up_logging("runner", settings)
def fail():
    local = "kept to myself"
    raise ValueError("told")
try:
    fail()
except ValueError:
    get_logger("x").exception("it failed")
"""


def test_the_sdk_does_not_tell_without_facts_what_we_tell_with_them() -> None:
    said = """
import logging
sdk = logging.getLogger("openai.agents")
sdk.error("%s", "Error streaming response")
sdk.error("%s", "something else went wrong")
"""
    program = PROGRAM.format(root=str(ROOT), form="json") + said
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "something else went wrong" in done.stdout
    assert "Error streaming" not in done.stdout


def test_a_traceback_shows_no_local_variables() -> None:
    for form in ("text", "json"):
        program = PROGRAM.format(root=str(ROOT), form=form)
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        assert "ValueError: told" in done.stdout
        assert "kept to myself" not in done.stdout, form
