"""`/healthz` (the process lives), `/readyz` (it can do its work, honestly), `/metrics`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import orjson
from fastapi import APIRouter
from starlette.responses import Response

from shared.telemetry.metrics import metrics_page

#: An honest answer must come within the 3 s that every request has.
CHECK_TIMEOUT_S = 2.0

Check = Callable[[], Awaitable[object]]


def health_router(checks: Mapping[str, Check]) -> APIRouter:
    """Routes for health; a check that raises or takes too long makes the process not ready."""
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz")
    async def healthz() -> Response:
        return Response(b'{"status":"ok"}', media_type="application/json")

    @router.get("/readyz")
    async def readyz() -> Response:
        results = await asyncio.gather(*(_passes(check) for check in checks.values()))
        found = dict(zip(checks, results, strict=True))
        ready = all(found.values())
        body = {"ready": ready, "checks": found}
        return Response(orjson.dumps(body), 200 if ready else 503, media_type="application/json")

    @router.get("/metrics")
    async def metrics() -> Response:
        body, content_type = metrics_page()
        return Response(body, media_type=content_type)

    return router


async def _passes(check: Check) -> bool:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await check() is not False
    except Exception:  # noqa: BLE001 - whatever it is, the process is not ready
        return False
