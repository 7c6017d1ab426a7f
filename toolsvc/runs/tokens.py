"""Run tokens: made at the claim, renewed with the heartbeat, dead with the run's fence."""

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from shared.protocol.record import Carried
from shared.tokens import RUN_TOKEN_LIFE_S, RunClaims, mint_run_token
from toolsvc.services import Services

_RUNS = text("""
    SELECT runs.id, runs.public_id, runs.root_id, runs.user_id, runs.thread_id, runs.project_id,
        runs.agent, threads.public_id AS thread_public_id, threads.fence
    FROM runs JOIN threads ON threads.id = runs.thread_id
    WHERE runs.id = ANY(CAST(:runs AS uuid[]))
""")


def token_for(services: Services, row: Any, fence: int) -> tuple[str, int]:
    """A token for a run's present claim, and until when it holds (epoch seconds)."""
    claims = RunClaims(
        run=row.id,
        root=row.root_id,
        thread=row.thread_id,
        user=row.user_id,
        fence=fence,
        tools=None,
        scopes=services.registry.scopes,
        project=row.project_id,
        public_run=row.public_id,
        public_thread=row.thread_public_id,
        agent=row.agent,
    )
    key = services.settings.run_token_key.get_secret_value()
    return mint_run_token(key, claims), int(time.time()) + RUN_TOKEN_LIFE_S


async def renewed_tokens(
    services: Services, carried: Sequence[Carried]
) -> dict[UUID, tuple[str, int]]:
    """New tokens for those runs whose token has lived more than half of its life."""
    soon = time.time() + RUN_TOKEN_LIFE_S / 2
    fences = {one.run: one.fence for one in carried if one.token_expires < soon}
    if not fences:
        return {}
    async with services.engine.connect() as db:
        rows = (await db.execute(_RUNS, {"runs": list(fences)})).all()
    return {
        row.id: token_for(services, row, row.fence) for row in rows if row.fence == fences[row.id]
    }
