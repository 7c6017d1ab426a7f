"""Going on with a run that has ended: a new run, which replays what was done and does the rest."""

from gateway.services import Services
from gateway.store.resumes import Ended, Resumed
from shared.telemetry.logs import get_logger

log = get_logger(__name__)


def announce_resume(services: Services, ended: Ended, resumed: Resumed) -> None:
    """After the commit: wake a runner, and tell the person's sockets."""
    if not resumed.created:
        return
    log.info("run resumed", run=ended.public_id, by=resumed.public_id)
    services.tell(ended.owner, "queue", ended.thread)
    if resumed.ready:
        services.ring(resumed.key, ended.thread_key)
