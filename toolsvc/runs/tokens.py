"""Run tokens: made at the claim, renewed with the heartbeat, dead with the run's fence."""

import time
from collections.abc import Collection
from typing import Any
from uuid import UUID

from shared.errors import BatonError
from shared.protocol.record import RUN_TOKEN_LIFE_S, Heartbeat
from shared.telemetry.logs import get_logger
from shared.tokens import RunClaims, mint_run_token, renewed_run_token
from toolsvc.services import Services

log = get_logger(__name__)


def token_for(services: Services, row: Any, fence: int) -> tuple[str, int]:
    """A token for a run's present claim, and until when it holds (epoch seconds)."""
    claims = RunClaims(
        run=row.id,
        root=row.root_id,
        thread=row.thread_id,
        user=row.user_id,
        fence=fence,
        tools=_allowed(services, row.tools),
        scopes=services.registry.scopes,
        project=row.project_id,
        public_run=row.public_id,
        public_thread=row.thread_public_id,
        agent=row.agent,
    )
    return mint_run_token(_key(services), claims), _expiry()


def _allowed(services: Services, named: Any) -> tuple[str, ...] | None:
    """Of the tools that a runner's announcement names, those that there are."""
    if named is None:
        return None
    wanted = named if isinstance(named, list) else []
    return tuple(name for name in services.registry.tools if name in wanted)


def renewed_tokens(
    services: Services, beat: Heartbeat, lost: Collection[UUID]
) -> dict[UUID, tuple[str, int]]:
    """New tokens for those that the heartbeat brings, of runs whose claim it names and holds.

    A token that cannot be renewed is left out: the others count, and SQL takes its run back when
    its runner can commit no more.
    """
    renewed = {}
    for carried in beat.runs:
        token = beat.tokens.get(carried.run)
        if token is None or carried.run in lost:
            continue
        try:
            scopes = services.registry.scopes
            new = renewed_run_token(
                _key(services), token, run=carried.run, fence=carried.fence, scopes=scopes
            )
        except BatonError as error:
            log.warning("a run token was not renewed", run=str(carried.run), why=error.message)
            continue
        renewed[carried.run] = new, _expiry()
    return renewed


def _key(services: Services) -> str:
    return services.settings.run_token_key.get_secret_value()


def _expiry() -> int:
    return int(time.time()) + RUN_TOKEN_LIFE_S
