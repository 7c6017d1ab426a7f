"""Settings of the CLI."""

from pathlib import Path

from pydantic import Field, SecretStr

from shared.settings.common import BatonSettings


class CliSettings(BatonSettings):
    """Environment of `python -m agent`."""

    url: str = Field(
        "http://127.0.0.1:8000", alias="BATON_URL", description="Where the gateway answers."
    )
    api_key: SecretStr | None = Field(
        None, alias="BATON_API_KEY", description="Key to use instead of the stored one."
    )
    home: Path = Field(
        Path(".baton"),
        alias="BATON_HOME",
        description="Where `secrets.json` lies; on the machine itself it holds the operator key.",
    )
