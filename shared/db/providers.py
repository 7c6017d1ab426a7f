"""Tables of model servers: what the fleet knows of each, and what its runners have to do there."""

from datetime import datetime

from sqlalchemy import BigInteger, Column, text
from sqlmodel import Field, SQLModel

from shared.db.people import time_known, time_or_null


class ModelProvider(SQLModel, table=True):
    """The health of a model server. `open_until` in the past: it is being tried again."""

    __tablename__ = "model_providers"

    name: str = Field(primary_key=True)
    #: Failures in a row, over all runners.
    failures: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default=text("0"))
    )
    failed_at: datetime | None = time_or_null()
    open_until: datetime | None = time_or_null()
    held_until: datetime | None = time_or_null()
    #: The runner that may try whether it works again, and until when that holds.
    probe: str | None = None
    probe_until: datetime | None = time_or_null()


class ProviderLoad(SQLModel, table=True):
    """What a runner said of a model server last, and what it was promised."""

    __tablename__ = "provider_loads"

    provider: str = Field(primary_key=True)
    runner: str = Field(primary_key=True)
    active: int
    waiting: int
    waits_since: datetime | None = time_or_null()
    share: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    #: Totals since the runner's start.
    failed: int = Field(sa_column=Column(BigInteger, nullable=False))
    answered: int = Field(sa_column=Column(BigInteger, nullable=False))
    seen_at: datetime = time_known()
