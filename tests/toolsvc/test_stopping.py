"""How long a toolsvc that is asked to stop lets calls go on."""

from typing import Any

import pytest

from shared.settings import ToolsvcSettings
from toolsvc import __main__ as process
from toolsvc.execution import LEASE_MARGIN_S


@pytest.mark.parametrize("tool_timeout_s", [0.5, 30, 600])
def test_a_call_under_way_has_all_its_time_and_that_to_store_its_outcome(
    monkeypatch: pytest.MonkeyPatch, tool_timeout_s: float
) -> None:
    settings = ToolsvcSettings.model_validate(
        {
            "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x",
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "BATON_RUN_TOKEN_KEY": "t" * 40,
            "BATON_RUNNER_KEY": "r" * 40,
            "BATON_GATEWAY_KEY": "g" * 40,
            "BATON_TOOL_TIMEOUT_S": tool_timeout_s,
        }
    )
    told: dict[str, Any] = {}
    monkeypatch.setattr(process, "load_settings", lambda _: settings)
    monkeypatch.setattr(process, "set_up_logging", lambda *_: None)
    monkeypatch.setattr(process, "serve", lambda *_, **how: told.update(how))
    process.main()
    assert told["grace_s"] >= tool_timeout_s + LEASE_MARGIN_S
    assert settings.ends_within_s > told["grace_s"]
