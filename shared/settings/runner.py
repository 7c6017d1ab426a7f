"""Settings of the runner."""

import os
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from shared.settings.common import (
    Folder,
    FolderList,
    HttpUrl,
    HttpUrlList,
    ProcessSettings,
    RedisUrl,
    ServiceSecret,
    split_commas,
    split_paths,
)
from shared.settings.models import DEFAULT_PATH


class TraceContent(StrEnum):
    """What spans show of models' and tools' inputs and outputs."""

    REDACTED = "redacted"  #: everything but what looks like a secret
    NONE = "none"  #: nothing


class ChangedAgents(StrEnum):
    """What becomes of a run that began with code which is not there any more."""

    REPLAY = "replay"  #: the newest code; where that does something else, the run ends
    WAIT = "wait"  #: it waits for a runner that has the code
    FAIL = "fail"  #: it ends with `agent_changed`


class RunnerSettings(ProcessSettings):
    """Environment of `python -m runner`; its port serves /healthz, /readyz and /metrics."""

    redis_url: RedisUrl = Field(
        alias="REDIS_URL",
        description="Redis or Valkey, `redis://…`, or its Sentinels, `redis+sentinel://…`.",
    )
    toolsvc_urls: HttpUrlList = Field(
        ("http://127.0.0.1:8100",),
        alias="TOOLSVC_URL",
        min_length=1,
        description="Where toolsvc answers; several, separated by commas, are tried in turn.",
    )
    runner_key: ServiceSecret = Field(
        alias="BATON_RUNNER_KEY", description="Secret by which toolsvc knows a runner."
    )
    agents_dir: Folder = Field(
        Path("src/agents"),
        alias="BATON_AGENTS_HOME",
        validate_default=True,
        description="Folder of the agents.",
    )
    more_agents: FolderList = Field(
        (),
        alias="BATON_AGENTS_DIR",
        description="More folders of agents, separated as in `PATH`.",
    )
    agents_kept: Path = Field(
        Path(".baton/agents"),
        alias="BATON_AGENTS_KEPT",
        description="Folder for the code that runs under way began with; made where it is missing.",
    )
    changed_agents: ChangedAgents = Field(
        ChangedAgents.REPLAY,
        alias="BATON_CHANGED_AGENTS",
        description="A run whose code no runner has any more: `replay` it with the newest, `wait` "
        "for a runner that has it, or `fail` it.",
    )
    concurrency: int = Field(
        32, alias="BATON_CONCURRENCY", ge=1, le=1000, description="Runs at once in one runner."
    )
    max_turns: int = Field(
        20, alias="BATON_MAX_TURNS", ge=1, description="Model calls a run may make."
    )
    stream_ttl_s: int = Field(
        600,
        alias="BATON_STREAM_TTL_S",
        ge=10,
        le=31_536_000,
        description="How long a thread's stream stays in Redis after its last run, in seconds.",
    )
    openai_api_key: SecretStr | None = Field(
        None, alias="OPENAI_API_KEY", description="Key for the model server."
    )
    openai_base_url: HttpUrl | None = Field(
        None, alias="OPENAI_BASE_URL", description="Model server; OpenAI's unless set."
    )
    default_model: str = Field(
        "gpt-4o-mini", alias="AGENT_MODEL", description="Model of agents that name none."
    )
    force_chat_completions: bool = Field(
        False,
        alias="AGENT_FORCE_CHAT_COMPLETIONS",
        description="Speak Chat Completions to all model servers, "
        "whatever they are found or said to speak.",
    )
    model_timeout_s: float = Field(
        600,
        alias="BATON_MODEL_TIMEOUT_S",
        gt=0,
        le=86_400,
        description="Longest model call, in seconds.",
    )
    model_silence_s: float = Field(
        120,
        alias="BATON_MODEL_SILENCE_S",
        gt=0,
        le=86_400,
        description="Longest silence of a model server before the call counts as hung, in seconds.",
    )
    compact_at: float = Field(
        0.75,
        alias="BATON_COMPACT_AT",
        gt=0,
        le=1,
        description="The part of a model's window (`windows` in `models.yaml`) above which the "
        "beginning of what it would be given is summarised first.",
    )
    models_config: Path = Field(
        DEFAULT_PATH,
        alias="BATON_MODELS_CONFIG",
        description="File of the model servers and the policy towards each; "
        "only at the default place it may be missing.",
    )
    tracing_key: SecretStr | None = Field(
        None,
        alias="OPENAI_TRACING_KEY",
        description="Key for exporting traces; `OPENAI_API_KEY` where the base URL is OpenAI's.",
    )
    trace_endpoint: HttpUrl | None = Field(
        None, alias="BATON_TRACE_ENDPOINT", description="Where traces go; OpenAI's unless set."
    )
    trace_content: TraceContent = Field(
        TraceContent.REDACTED,
        alias="BATON_TRACE_CONTENT",
        description="`redacted`: spans show inputs and outputs without secrets; `none`: nothing.",
    )

    _split = field_validator("toolsvc_urls", mode="before")(split_commas)
    _split_paths = field_validator("more_agents", mode="before")(split_paths)

    @property
    def agents_folders(self) -> tuple[Path, ...]:
        """All folders of agents."""
        return (self.agents_dir, *self.more_agents)

    @property
    def at_openai(self) -> bool:
        """Whether the model server is OpenAI itself."""
        host = urlsplit(self.openai_base_url or "https://api.openai.com").hostname or ""
        return host == "api.openai.com" or host.endswith(".api.openai.com")

    @property
    def export_key(self) -> SecretStr | None:
        """The key traces are exported with; `None` means that they are only stored here."""
        return self.tracing_key or (self.openai_api_key if self.at_openai else None)

    @property
    def code_version(self) -> str:
        """What this process runs, as people named it."""
        return os.environ.get("BATON_VERSION", "dev")
