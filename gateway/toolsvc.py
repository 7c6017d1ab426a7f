"""Calls to toolsvc: the gateway asks it to close runs that somebody stopped."""

from http import HTTPStatus
from uuid import UUID

import httpx

from gateway.services import Services
from shared.telemetry.logs import get_logger

log = get_logger(__name__)

#: A cancel waits up to half a second for the runner, then closes the run itself.
TIMEOUT_S = 5.0


def toolsvc_client() -> httpx.AsyncClient:
    """A client for one toolsvc or several; the environment's proxies do not concern it."""
    return httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False)


async def close_run(services: Services, run: UUID) -> None:
    """Ask every toolsvc in turn until one has taken the request.

    SQL knows already that the run shall stop and every runner reads that with its heartbeat, so a
    request that reaches nobody costs time, not truth.
    """
    key = services.settings.gateway_key.get_secret_value()
    for url in services.settings.toolsvc_urls:
        try:
            answer = await services.toolsvc.post(
                f"{url.rstrip('/')}/runs/{run}/close", headers={"authorization": f"Bearer {key}"}
            )
        except httpx.HTTPError as error:
            log.info("toolsvc cannot be reached", url=url, error=type(error).__name__)
            continue
        if answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            return
        log.info("toolsvc could not close a run", url=url, status=answer.status_code)
    log.warning("no toolsvc closed the run; its runner will read of it", run=str(run))
