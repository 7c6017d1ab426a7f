"""Settings of the gateway."""

import ipaddress
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from shared.media import MAX_FILE_BYTES
from shared.settings.common import (
    CommaList,
    HttpUrl,
    HttpUrlList,
    PostgresUrl,
    ProcessSettings,
    PublicKeyList,
    RedisUrl,
    ServiceSecret,
    split_commas,
)


class GatewaySettings(ProcessSettings):
    """Environment of `python -m gateway`."""

    port: int = Field(8000, alias="BATON_PORT", ge=1, le=65535, description="Port to listen on.")
    database_url: PostgresUrl = Field(
        alias="DATABASE_URL", description="Postgres, `postgresql://…`."
    )
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
    gateway_key: ServiceSecret = Field(
        alias="BATON_GATEWAY_KEY", description="Secret by which toolsvc knows a gateway."
    )
    cookie_key: ServiceSecret = Field(
        alias="BATON_COOKIE_KEY", description="Secret that signs the cookie of a sign-in under way."
    )
    operator_key: ServiceSecret | None = Field(
        None,
        alias="BATON_OPERATOR_KEY",
        description="Secret by which the CLI on the machine itself acts as an admin.",
    )
    receipt_public_keys: PublicKeyList = Field(
        (),
        alias="BATON_RECEIPT_PUBLIC_KEYS",
        description="Public keys of receipts: that of toolsvc's `BATON_RECEIPT_KEY` first, then "
        "all former ones.",
    )
    public_url: HttpUrl | None = Field(
        None,
        alias="BATON_PUBLIC_URL",
        description="The address people use, e.g. `https://chat.example.com`; decides about "
        "secure cookies, links and the default origin.",
    )
    origins: HttpUrlList = Field(
        (),
        alias="BATON_ORIGINS",
        description="Further origins that may open the socket, exact scheme, host and port.",
    )
    dev_mode: bool = Field(
        False,
        alias="BATON_DEV_MODE",
        description="Sign in by e-mail alone. Refused on an address that is not loopback.",
    )
    allowed_emails: CommaList = Field(
        (),
        alias="BATON_ALLOWED_EMAILS",
        description="Who may sign in and stay signed in: addresses or domains. Invited people "
        "always may.",
    )
    admin_emails: CommaList = Field(
        (),
        alias="BATON_ADMIN_EMAILS",
        description="Addresses of admins. They alone are: who leaves the list is none any more.",
    )
    oidc_issuer: HttpUrl = Field(
        "https://accounts.google.com",
        alias="BATON_OIDC_ISSUER",
        description="OpenID Connect issuer; Google unless set.",
    )
    oidc_client_id: str | None = Field(
        None, alias="GOOGLE_CLIENT_ID", description="Client id at the issuer."
    )
    oidc_client_secret: SecretStr | None = Field(
        None, alias="GOOGLE_CLIENT_SECRET", description="Client secret at the issuer."
    )
    sign_in_days: float = Field(
        14,
        alias="BATON_SIGN_IN_DAYS",
        gt=0,
        le=3650,
        description="How long a sign-in lives, in days.",
    )
    max_file_bytes: int = Field(
        MAX_FILE_BYTES,
        alias="BATON_MAX_FILE_BYTES",
        ge=1,
        le=MAX_FILE_BYTES,
        description="Largest file that a person may bring, in bytes.",
    )
    files_quota_bytes: int = Field(
        1_073_741_824,
        alias="BATON_FILES_QUOTA_BYTES",
        ge=0,
        description="Room for the files of one person, in bytes: those that they bring, and those "
        "that their runs make, which are never refused.",
    )
    requests_per_minute: int = Field(
        60_000,
        alias="BATON_REQUESTS_PER_MINUTE",
        ge=0,
        description="Runs that one person may ask for in a minute, by whatever door; 0: any "
        "number.",
    )
    key_requests_per_minute: int = Field(
        30_000,
        alias="BATON_KEY_REQUESTS_PER_MINUTE",
        ge=0,
        description="The same with one key.",
    )
    runs_at_once: int = Field(
        2_000,
        alias="BATON_RUNS_AT_ONCE",
        ge=0,
        description="Runs of one person that may go on or wait at once; 0: any number.",
    )
    drain_s: float = Field(
        5,
        alias="BATON_DRAIN_S",
        ge=0,
        le=3600,
        description="How long a gateway that is told to stop serves on while `/readyz` says 503, "
        "and sends sockets away one after another, in seconds; 0: all at once, as under "
        "`dev.py up`.",
    )

    @property
    def ends_within_s(self) -> float:
        """See ProcessSettings: the drain, and twice 10 s for what is still being done."""
        return self.drain_s + 30

    _split = field_validator(
        "toolsvc_urls",
        "origins",
        "allowed_emails",
        "admin_emails",
        "receipt_public_keys",
        mode="before",
    )(split_commas)

    @model_validator(mode="after")
    def _dev_mode_is_local(self) -> Self:
        if self.dev_mode and not is_loopback(self.host):
            raise ValueError(
                f"BATON_DEV_MODE lets anybody sign in as anybody, so it refuses BATON_HOST="
                f"{self.host}; listen on 127.0.0.1 or turn dev mode off"
            )
        return self

    @property
    def secure(self) -> bool:
        """Whether people reach us over https."""
        return urlsplit(self.public_url or "").scheme == "https"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
