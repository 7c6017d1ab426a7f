"""The programs that are ours: demo model, toolsvc, runners, gateways, and what each may know.

A process gets the variables its settings class names, and no other secret. So a runner, which
executes other people's Python, never sees a database URL or the key that signs run tokens.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from shared.settings import GatewaySettings, ProcessSettings, RunnerSettings, ToolsvcSettings
from shared.settings.common import ENDS_WITHIN_S
from shared.settings.yaml_file import YamlFileError
from shared.signing import SigningKey
from stack import model_servers
from stack.credentials import Credentials
from stack.program import Program, Tier, answers_ok

#: What any program may need from its surroundings; nothing secret.
SURROUNDINGS = frozenset(
    {
        *("HOME", "LOGNAME", "PATH", "TMPDIR", "USER", "XDG_CACHE_HOME", "BATON_VERSION"),
        *("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "NO_COLOR", "TERM", "TZ"),
        *("REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
        *("http_proxy", "https_proxy", "no_proxy", "all_proxy"),
    }
)

#: Of OpenTelemetry: where to export, and what to call it.
TELEMETRY = "OTEL_"
#: Prefixes that go to runners as a whole: the model SDKs read more than our settings name.
OF_MODELS = ("OPENAI_", "AGENT_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Who listens where on loopback."""

    gateways: tuple[int, ...]
    runners: tuple[int, ...]
    toolsvc: tuple[int, ...]
    demo: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What the services need to know of each other and of the stores."""

    ports: Ports
    credentials: Credentials
    database_url: str
    redis_url: Callable[[str], str]  #: by the name of the Redis user
    environ: Mapping[str, str]  #: of whoever starts the stack
    home: Path  #: of the installation
    demo_tokens_per_s: float | None = None  #: `None`: as fast as possible

    def programs(self) -> list[Program]:
        """All services, those first that take longest to import what they need."""
        ports = self.ports
        return [
            *(self._runner(f"runner-{n}", port) for n, port in enumerate(ports.runners, 1)),
            *(self._gateway(f"gateway-{n}", port) for n, port in enumerate(ports.gateways, 1)),
            *(self._toolsvc(f"toolsvc-{n}", port) for n, port in enumerate(ports.toolsvc, 1)),
            *([self._demo(ports.demo)] if ports.demo else []),
        ]

    def _demo(self, port: int) -> Program:
        return Program(
            name="demo",
            tier=Tier.MODEL,
            argv=(sys.executable, "-m", "stack.demo_model", "--port", str(port), *self._pace()),
            env=self._surroundings(),
            ready=partial(answers_ok, port, "/healthz"),
            leashed=True,
            patience_s=5,
        )

    def _pace(self) -> tuple[str, ...]:
        pace = self.demo_tokens_per_s
        return ("--tokens-per-s", str(pace)) if pace else ()

    def _toolsvc(self, name: str, port: int) -> Program:
        secrets = self.credentials
        return self._service(
            name,
            Tier.TOOLSVC,
            ToolsvcSettings,
            port,
            DATABASE_URL=self.database_url,
            REDIS_URL=self.redis_url("toolsvc"),
            BATON_RUN_TOKEN_KEY=secrets.run_token_key,
            BATON_RUNNER_KEY=secrets.runner_key,
            BATON_GATEWAY_KEY=secrets.gateway_key,
            BATON_RECEIPT_KEY=secrets.receipt_key,
        )

    def _runner(self, name: str, port: int) -> Program:
        keys = self._names_of_model_keys()
        models = {
            name: value
            for name, value in self.environ.items()
            if name.startswith(OF_MODELS) or name in keys
        }
        return self._service(
            name,
            Tier.RUNNER,
            RunnerSettings,
            port,
            **models | self._demo_model(),
            REDIS_URL=self.redis_url("runner"),
            TOOLSVC_URL=self._toolsvc_urls(),
            BATON_RUNNER_KEY=self.credentials.runner_key,
            BATON_AGENTS_KEPT=self.environ.get("BATON_AGENTS_KEPT", str(self.home / "agents")),
        )

    def _names_of_model_keys(self) -> set[str]:
        """The variables that the file of model servers names; the runner tells what is wrong."""
        try:
            config = model_servers.read_file(self.environ, demo=bool(self.ports.demo))
        except YamlFileError:
            return set()
        return {name for one in config.providers.values() for name in one.variables()}

    def _demo_model(self) -> dict[str, str]:
        """Send models and traces to the demo model, where there is one."""
        if not self.ports.demo:
            return {}
        at = f"http://127.0.0.1:{self.ports.demo}"
        return {
            "OPENAI_BASE_URL": f"{at}/v1",
            "OPENAI_API_KEY": "demo",
            "AGENT_MODEL": self.environ.get("AGENT_MODEL") or "demo",
            "OPENAI_TRACING_KEY": "demo",
            "BATON_TRACE_ENDPOINT": f"{at}/v1/traces/ingest",
            model_servers.VARIABLE: str(model_servers.path_of_file(self.environ, demo=True)),
        }

    def _gateway(self, name: str, port: int) -> Program:
        secrets = self.credentials
        return self._service(
            name,
            Tier.GATEWAY,
            GatewaySettings,
            port,
            DATABASE_URL=self.database_url,
            REDIS_URL=self.redis_url("gateway"),
            TOOLSVC_URL=self._toolsvc_urls(),
            BATON_GATEWAY_KEY=secrets.gateway_key,
            BATON_COOKIE_KEY=secrets.cookie_key,
            BATON_OPERATOR_KEY=secrets.operator_key,
            BATON_RECEIPT_PUBLIC_KEYS=self._receipt_keys(),
            BATON_DEV_MODE="true",
            # Nobody balances load here, and nobody wants to wait after Ctrl-C.
            BATON_DRAIN_S=self.environ.get("BATON_DRAIN_S", "0"),
        )

    def _receipt_keys(self) -> str:
        """The public half of the present key, then the former ones that the caller names."""
        present = SigningKey(self.credentials.receipt_key).public.text
        former = self.environ.get("BATON_RECEIPT_PUBLIC_KEYS", "")
        return f"{present},{former}"

    def _service(
        self, name: str, tier: Tier, settings: type[ProcessSettings], port: int, **own: str
    ) -> Program:
        known = {field.alias for field in settings.model_fields.values()}
        given = {
            key: value
            for key, value in self.environ.items()
            if key in known or key.startswith(TELEMETRY)
        }
        host = {} if tier is Tier.GATEWAY else {"BATON_HOST": "127.0.0.1"}
        made = {"BATON_PORT": str(port), "BATON_SUPERVISED": "true"}
        env = given | host | made | own
        return Program(
            name=name,
            tier=tier,
            argv=(sys.executable, "-m", tier.name.lower()),
            env=self._surroundings() | env,
            ready=partial(answers_ok, port),
            patience_s=_patience_s(settings, env),
        )

    def _surroundings(self) -> dict[str, str]:
        kept = {name: value for name, value in self.environ.items() if name in SURROUNDINGS}
        return kept | {"PYTHONUNBUFFERED": "1"}

    def _toolsvc_urls(self) -> str:
        return ",".join(f"http://127.0.0.1:{port}" for port in self.ports.toolsvc)


def _patience_s(settings: type[ProcessSettings], env: Mapping[str, str]) -> float:
    """How long a service may take to end: as long as its own settings say."""
    try:
        return settings.model_validate(
            {key: value for key, value in env.items() if value}
        ).ends_within_s
    except ValidationError:  # it will not start, and say why itself
        return ENDS_WITHIN_S
