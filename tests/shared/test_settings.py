"""Settings come from their own variables, and from no others."""

import os
import re
from datetime import timedelta
from pathlib import Path

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
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:short@h/d")
    monkeypatch.setenv("REDIS_URL", "redis://u:short@h:6379/0")
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
        (GatewaySettings, "DATABASE_URL", "mysql://u:short@h/d"),
        (GatewaySettings, "DATABASE_URL", "postgresql://u:short@h:99999/d"),
        (GatewaySettings, "REDIS_URL", "redis://u:short@h:abc"),
        (RunnerSettings, "REDIS_URL", "http://short"),
        (RunnerSettings, "REDIS_URL", "redis+sentinel://u:short@h:26379,i"),
        (RunnerSettings, "TOOLSVC_URL", "http://127.0.0.1:8100,short"),
        (RunnerSettings, "TOOLSVC_URL", ","),
        (RunnerSettings, "OPENAI_BASE_URL", "127.0.0.1:1234/v1"),
        (RunnerSettings, "BATON_TRACE_ENDPOINT", "short"),
        (RunnerSettings, "BATON_MODEL_TIMEOUT_S", "inf"),
        (GatewaySettings, "BATON_PUBLIC_URL", "chat.example.com"),
        (GatewaySettings, "BATON_ORIGINS", "https://one.example.com,*"),
        (GatewaySettings, "BATON_OIDC_ISSUER", "short"),
        (GatewaySettings, "BATON_SIGN_IN_DAYS", "1e999"),
        (ToolsvcSettings, "BATON_LEASE_S", "inf"),
        (ToolsvcSettings, "BATON_RETENTION_STEPS", "30"),
        (ToolsvcSettings, "BATON_RETENTION_EVENTS", "0d"),
        (ToolsvcSettings, "BATON_RETENTION_SPANS", "-1d"),
        (ToolsvcSettings, "BATON_RETENTION_EFFECTS", "1e9d"),
        (ToolsvcSettings, "BATON_TOOLS_DIR", "no/such/folder"),
        (ToolsvcSettings, "BATON_TOOLS_DIR", f"tests,{__file__}"),
        (ToolsvcSettings, "BATON_TOOLS_DIR", "x" * 5000),
        (RunnerSettings, "BATON_AGENTS_HOME", "no/such/folder"),
        (RunnerSettings, "BATON_AGENTS_HOME", __file__),
        (RunnerSettings, "BATON_AGENTS_DIR", f"tests{os.pathsep}no/such/folder"),
        (ToolsvcSettings, "BATON_RUN_TOKEN_KEY", "-----BEGIN PUBLIC KEY-----" + "x" * 40),
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
    assert not re.search("Value|Input|[Ii]tems|unable to|validation", said)


@pytest.mark.usefixtures("_required")
@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("90d", timedelta(days=90)),
        ("12h", timedelta(hours=12)),
        ("5m", timedelta(minutes=5)),
        ("0", None),
        ("", None),
    ],
)
def test_a_retention_is_a_time_or_for_ever(
    text: str, kept: timedelta | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATON_RETENTION_EVENTS", text)
    assert ToolsvcSettings().retention_events == kept


@pytest.mark.usefixtures("_required")
@pytest.mark.parametrize(
    ("url", "at_openai"),
    [
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("https://api.openai.com.example.com/v1", False),
        ("http://127.0.0.1:1234//api.openai.com", False),
    ],
)
def test_only_openais_own_hosts_are_openais(
    url: str, at_openai: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    assert (RunnerSettings().export_key is not None) == at_openai


@pytest.mark.usefixtures("_required")
def test_the_folder_of_the_agents_is_looked_for_where_nobody_named_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        load_settings(RunnerSettings)
    assert "BATON_AGENTS_HOME: there is no folder at 'src/agents'" in (capsys.readouterr().err)
