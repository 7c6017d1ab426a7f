"""What toolsvc's parts share; wired together in app.py, nowhere else."""

from dataclasses import dataclass, field
from secrets import token_bytes

import httpx
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.bus.connect import Redis
from shared.bus.limits import Limiter
from shared.db.direct import Direct
from shared.settings import ToolsvcSettings
from shared.signing import SigningKey
from toolsvc.registry import Registry
from toolsvc.runs.lease import LeaseJudge


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """One process's connections, settings and tools."""

    settings: ToolsvcSettings
    engine: AsyncEngine
    #: Connections for claims and commits.
    direct: Direct
    redis: Redis
    #: To the services that tools call.
    connections: httpx.AsyncBaseTransport
    registry: Registry
    limiter: Limiter
    #: This process as holder of leases and effects, and what nobody else may act for it without.
    instance: str
    secret: bytes = field(default_factory=lambda: token_bytes(32))
    judge: LeaseJudge = field(default_factory=lambda: LeaseJudge(4))
    #: Signs receipts; without it there are none.
    receipt_key: SigningKey | None = None
