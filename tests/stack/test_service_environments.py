"""Least privilege: what each process may know."""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import pytest

from shared.settings import GatewaySettings, RunnerSettings, ToolsvcSettings
from shared.settings.models import load_models
from shared.signing import SigningKey
from stack.credentials import Credentials
from stack.program import Program
from stack.services import Ports, Wiring

CALLER = {
    "PATH": "/bin",
    "HOME": "/home/ada",
    "DATABASE_URL": "postgresql://of-the-caller",
    "REDIS_URL": "redis://of-the-caller",
    "BATON_RUN_TOKEN_KEY": "of-the-caller",
    "BATON_RECEIPT_PUBLIC_KEYS": SigningKey("A" * 43).public.text,
    "BATON_CONCURRENCY": "7",
    "BATON_LEASE_S": "9",
    "BATON_LOG_LEVEL": "DEBUG",
    "BATON_PORT": "1",
    "BATON_HOST": "0.0.0.0",
    "GOOGLE_CLIENT_SECRET": "google",
    "OPENAI_API_KEY": "sk-real",
    "OPENAI_ORG_ID": "org",
    "AGENT_MODEL": "small",
    "AWS_SECRET_ACCESS_KEY": "aws",
}


def programs(*, demo: bool = False, told: Mapping[str, str] = {}) -> dict[str, Program]:
    wiring = Wiring(
        ports=Ports(
            gateways=(8000, 8001),
            runners=(20001,),
            toolsvc=(20002, 20003),
            demo=20004 if demo else None,
        ),
        credentials=Credentials.generate(),
        database_url="postgresql://baton",
        redis_url=lambda user: f"redis://{user}",
        environ=CALLER | dict(told),
        home=Path("/home/of/baton"),
    )
    return {program.name: program for program in wiring.programs()}


def test_a_runner_has_no_database_and_no_key_but_its_own() -> None:
    env = programs()["runner-1"].env
    assert "DATABASE_URL" not in env
    assert {name for name in env if name.endswith("_KEY")} == {"BATON_RUNNER_KEY", "OPENAI_API_KEY"}


def test_only_toolsvc_can_sign_run_tokens() -> None:
    having = {name for name, each in programs().items() if "BATON_RUN_TOKEN_KEY" in each.env}
    assert having == {"toolsvc-1", "toolsvc-2"}
    assert programs()["toolsvc-1"].env["BATON_RUN_TOKEN_KEY"] != CALLER["BATON_RUN_TOKEN_KEY"]


def test_only_toolsvc_can_sign_receipts_and_gateways_know_whose_they_are() -> None:
    started = programs()
    having = {name for name, each in started.items() if "BATON_RECEIPT_KEY" in each.env}
    assert having == {"toolsvc-1", "toolsvc-2"}
    present = SigningKey(started["toolsvc-1"].env["BATON_RECEIPT_KEY"]).public.text
    for gateway in ("gateway-1", "gateway-2"):
        published = started[gateway].env["BATON_RECEIPT_PUBLIC_KEYS"].split(",")
        assert published == [present, CALLER["BATON_RECEIPT_PUBLIC_KEYS"]]


def test_model_keys_go_to_runners_alone() -> None:
    having = {name for name, each in programs().items() if "OPENAI_API_KEY" in each.env}
    assert having == {"runner-1"}
    assert programs()["runner-1"].env["OPENAI_ORG_ID"] == "org"


def test_keys_that_the_file_of_model_servers_names_go_to_runners(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("providers: {a: {base_url: http://a, key_env: A_KEY, models: [a]}}")
    told = {"BATON_MODELS_CONFIG": str(file), "A_KEY": "secret"}
    having = {name for name, each in programs(told=told).items() if "A_KEY" in each.env}
    assert having == {"runner-1"}


def test_each_service_is_its_own_redis_user() -> None:
    users = {name: each.env["REDIS_URL"] for name, each in programs().items()}
    assert users["gateway-1"] == "redis://gateway"
    assert users["runner-1"] == "redis://runner"
    assert users["toolsvc-2"] == "redis://toolsvc"


def test_what_a_settings_class_knows_is_passed_on_to_its_process_only() -> None:
    started = programs()
    assert [n for n, each in started.items() if "BATON_CONCURRENCY" in each.env] == ["runner-1"]
    assert "BATON_LEASE_S" in started["toolsvc-1"].env
    assert "GOOGLE_CLIENT_SECRET" in started["gateway-1"].env
    assert "GOOGLE_CLIENT_SECRET" not in started["runner-1"].env
    assert all(each.env["BATON_LOG_LEVEL"] == "DEBUG" for each in started.values())


def test_what_nobody_asked_for_stays_outside() -> None:
    for name in chain.from_iterable(each.env for each in programs(demo=True).values()):
        assert name != "AWS_SECRET_ACCESS_KEY"


def test_ports_are_the_supervisors_business() -> None:
    started = programs()
    assert started["gateway-2"].env["BATON_PORT"] == "8001"
    assert started["runner-1"].env["BATON_HOST"] == "127.0.0.1"


def test_every_service_knows_all_of_toolsvc() -> None:
    for name in ("gateway-1", "runner-1"):
        urls = programs()[name].env["TOOLSVC_URL"]
        assert urls == "http://127.0.0.1:20002,http://127.0.0.1:20003"


def test_the_demo_replaces_the_model_server_and_the_trace_endpoint() -> None:
    env = programs(demo=True)["runner-1"].env
    assert env["OPENAI_BASE_URL"] == "http://127.0.0.1:20004/v1"
    assert env["OPENAI_API_KEY"] == env["OPENAI_TRACING_KEY"] == "demo"
    assert env["BATON_TRACE_ENDPOINT"] == "http://127.0.0.1:20004/v1/traces/ingest"
    (only,) = load_models(Path(env["BATON_MODELS_CONFIG"])).providers.values()
    assert (only.base_url, only.key_env, only.models) == (None, None, ())


def test_the_demo_model_is_called_so_unless_the_caller_names_one() -> None:
    assert programs(demo=True, told={"AGENT_MODEL": ""})["runner-1"].env["AGENT_MODEL"] == "demo"
    assert programs(demo=True)["runner-1"].env["AGENT_MODEL"] == CALLER["AGENT_MODEL"]


def test_a_file_that_is_named_is_read_beside_the_demo_too() -> None:
    told = {"BATON_MODELS_CONFIG": "/of/the/caller"}
    assert programs(demo=True, told=told)["runner-1"].env.items() >= told.items()


@pytest.mark.parametrize(
    ("name", "settings"),
    [("gateway-1", GatewaySettings), ("runner-1", RunnerSettings), ("toolsvc-1", ToolsvcSettings)],
)
def test_the_settings_classes_accept_their_environment(
    name: str, settings: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in {field.alias for field in settings.model_fields.values()}:  # type: ignore[attr-defined]
        monkeypatch.delenv(variable, raising=False)
    for variable, value in (dict(programs()[name].env) | {"BATON_HOST": "127.0.0.1"}).items():
        monkeypatch.setenv(variable, value)
    assert settings().supervised


def test_each_service_may_take_as_long_to_end_as_its_settings_say() -> None:
    told = {"BATON_DRAIN_S": "100", "BATON_TOOL_TIMEOUT_S": "200", "BATON_HOST": "127.0.0.1"}
    patience = {name: each.patience_s for name, each in programs(told=told).items()}
    assert patience["gateway-1"] > 100
    assert patience["toolsvc-1"] > 200
    assert patience["runner-1"] == programs()["runner-1"].patience_s == 35


def test_a_service_with_a_wrong_setting_is_left_to_say_so() -> None:
    assert programs(told={"BATON_DRAIN_S": "much"})["gateway-1"].env["BATON_DRAIN_S"] == "much"
