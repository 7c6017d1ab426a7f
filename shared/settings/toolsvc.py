"""Settings of toolsvc."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from shared.settings.common import (
    Folder,
    PostgresUrl,
    ProcessSettings,
    ReceiptKey,
    RedisUrl,
    Retention,
    ServiceSecret,
    split_commas,
)


class ToolsvcSettings(ProcessSettings):
    """Environment of `python -m toolsvc`."""

    port: int = Field(8100, alias="BATON_PORT", ge=1, le=65535, description="Port to listen on.")
    database_url: PostgresUrl = Field(
        alias="DATABASE_URL", description="Postgres, `postgresql://…`."
    )
    redis_url: RedisUrl = Field(
        alias="REDIS_URL",
        description="Redis or Valkey, `redis://…`, or its Sentinels, `redis+sentinel://…`.",
    )
    run_token_key: ServiceSecret = Field(
        alias="BATON_RUN_TOKEN_KEY", description="Secret that signs run tokens."
    )
    runner_key: ServiceSecret = Field(
        alias="BATON_RUNNER_KEY", description="Secret by which a runner is known."
    )
    gateway_key: ServiceSecret = Field(
        alias="BATON_GATEWAY_KEY", description="Secret by which a gateway is known."
    )
    receipt_key: ReceiptKey | None = Field(
        None,
        alias="BATON_RECEIPT_KEY",
        description="Secret that signs receipts of runs: the 32 bytes of an Ed25519 private key "
        "in base64url. Without it runs get none.",
    )
    tool_folders: Annotated[tuple[Folder, ...], NoDecode] = Field(
        (),
        alias="BATON_TOOLS_DIR",
        description="Further folders of tools, separated by commas.",
    )
    lease_s: float = Field(
        4,
        alias="BATON_LEASE_S",
        ge=2,
        le=600,
        description="Life of a runner's lease, in seconds; it is renewed once a second.",
    )
    tool_timeout_s: float = Field(
        30,
        alias="BATON_TOOL_TIMEOUT_S",
        gt=0,
        le=86_400,
        description="Longest tool call, in seconds.",
    )
    tool_calls_per_minute: int = Field(
        30_000,
        alias="BATON_TOOL_CALLS_PER_MINUTE",
        ge=0,
        description="Calls of tools that one person's runs may make in a minute; those beyond "
        "wait. 0: any number.",
    )
    max_result_bytes: int = Field(
        262_144,
        alias="BATON_MAX_RESULT_BYTES",
        ge=1024,
        description="Largest result of a tool that a model is given whole, in bytes of JSON. "
        "Of larger ones, up to 10 MiB, it gets the beginning; the rest is a file.",
    )
    stream_ttl_s: int = Field(
        600,
        alias="BATON_STREAM_TTL_S",
        ge=10,
        le=31_536_000,
        description="How long a thread's stream stays in Redis after its last run, in seconds.",
    )

    retention_events: Retention = Field(
        None,
        alias="BATON_RETENTION_EVENTS",
        description="How long events of runs stay after their end, such as `90d` or `12h`; for "
        "ever unless set. Messages always stay.",
    )
    retention_steps: Retention = Field(
        None,
        alias="BATON_RETENTION_STEPS",
        description="The same for steps, the journal; runs without theirs cannot be resumed.",
    )
    retention_spans: Retention = Field(
        None, alias="BATON_RETENTION_SPANS", description="The same for spans of traces."
    )
    retention_effects: Retention = Field(
        None,
        alias="BATON_RETENTION_EFFECTS",
        description="The same for effects, the ledger; runs without theirs cannot be resumed.",
    )
    retention_hidden_threads: Retention = Field(
        timedelta(days=30),
        alias="BATON_RETENTION_HIDDEN_THREADS",
        description="How long all of an OpenAI call without a thread of its own stays, messages "
        "included, after its last run; `0` is for ever.",
    )
    retention_unsent: Retention = Field(
        timedelta(days=7),
        alias="BATON_RETENTION_UNSENT",
        description="How long a file stays that somebody has brought, and sent in no message; "
        "`0` is for ever.",
    )

    @property
    def ends_within_s(self) -> float:
        """See ProcessSettings: a tool's time, that to store its outcome, and some to spare."""
        return self.tool_timeout_s + 20

    _split = field_validator("tool_folders", mode="before")(split_commas)
