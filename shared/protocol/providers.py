"""Model servers, as runners and toolsvc speak of them with each heartbeat."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

#: What a model server is called.
ProviderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]

#: A share is as wide as this at most; it is a number in SQL as well.
MOST_AT_ONCE: Final = 100_000


class State(StrEnum):
    """What the fleet holds of a provider."""

    CLOSED = "closed"  #: calls go through; the breaker's word for it
    OPEN = "open"  #: it does not work, and nobody asks it for a while
    HALF_OPEN = "half_open"  #: one call tries whether it works again


class ProviderReport(BaseModel):
    """What a runner says; totals are since its start, so that a repeat changes nothing."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    #: The fleet's limit of calls at once, as this runner has been told.
    limit: int | None = Field(None, ge=1, le=MOST_AT_ONCE)
    active: int = Field(0, ge=0, le=MOST_AT_ONCE)
    waiting: int = Field(0, ge=0, le=MOST_AT_ONCE)
    #: How long the first of those that wait has waited.
    waited_s: float = Field(0, ge=0, le=1e9)
    #: Calls in which the server failed, and calls that it answered.
    failed: int = Field(0, ge=0, le=2**53)
    answered: int = Field(0, ge=0, le=2**53)
    #: Failures since the last answer.
    streak: int = Field(0, ge=0, le=2**53)
    #: How much longer the server asked this runner to wait.
    hold_s: float = Field(0, ge=0, le=3600)
    #: So many failures in a row make the server count as down, for so long.
    breaker_failures: int = Field(10, ge=1, le=10_000)
    breaker_open_s: float = Field(10, gt=0, le=3600)


class ProviderNews(BaseModel):
    """What the fleet says to a runner."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    #: Calls at once that this runner may have; `None`: any number.
    share: int | None = None
    state: State = State.CLOSED
    #: How much longer the provider stays open, and how much longer it asked to be left alone.
    open_s: float = 0
    held_s: float = 0
