"""Settings come from their own variables, and from no others."""

import pytest

from shared.settings import (
    CliSettings,
    GatewaySettings,
    RunnerSettings,
    ToolsvcSettings,
    load_settings,
)
from shared.settings.common import BatonSettings

ALL = (CliSettings, GatewaySettings, RunnerSettings, ToolsvcSettings)


@pytest.fixture
def _required(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.setenv(name, "x://y")
    for name in ("GATEWAY", "COOKIE", "RUNNER", "RUN_TOKEN"):
        monkeypatch.setenv(f"BATON_{name}_KEY", "k" * 32)


@pytest.mark.usefixtures("_required")
@pytest.mark.parametrize("kind", ALL)
def test_other_programs_variables_are_not_settings(
    kind: type[BatonSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = kind()
    for name, field in kind.model_fields.items():
        if name.upper() != field.alias:
            monkeypatch.setenv(name.upper(), "7")
    assert kind() == plain


@pytest.mark.usefixtures("_required")
@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (RunnerSettings, "BATON_CONCURRENCY", "abc"),
        (RunnerSettings, "BATON_TRACE_CONTENT", "some"),
        (GatewaySettings, "BATON_PORT", "99999"),
        (GatewaySettings, "BATON_COOKIE_KEY", "short"),
        (ToolsvcSettings, "BATON_LEASE_S", "0.5"),
        (ToolsvcSettings, "BATON_LOG_LEVEL", "LOUD"),
    ],
)
def test_a_wrong_setting_is_named_and_ends_the_process(
    kind: type[BatonSettings],
    name: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        load_settings(kind)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert f"Wrong setting: {name}: " in said
    assert "short" not in said  # what may be a secret is not repeated
