"""How much one person may ask for: what settings say for all agents, and agent.yaml for its own.

Counted is what asks for a run, by whatever door; reading is not.
"""

from typing import Any

from pydantic import ValidationError

from gateway.access import Visible
from gateway.auth.caller import Caller, How
from gateway.intake import Submission
from gateway.services import Services
from gateway.store import threads
from shared.bus.limits import Limit
from shared.errors import RateLimitedError
from shared.settings.access import Allowance
from shared.telemetry.metrics import LIMITED

#: When a place may be free that somebody's own run takes: nobody knows.
RETRY_AFTER_S = 5


async def count_request(
    services: Services, caller: Caller, agents: Visible, sent: Submission
) -> None:
    """Count that a caller asks for a run.

    Raises:
        RateLimitedError: it is one too many in this minute.
    """
    settings, user = services.settings, str(caller.user_id)
    limits = [Limit("requests", user, settings.requests_per_minute)]
    if caller.how is How.KEY:
        key = caller.credential.hex()[:32]
        limits.append(Limit("key_requests", key, settings.key_requests_per_minute))
    agent = await _agent(services, caller, agents, sent)
    if agent and (most := _allowance(agent).requests_per_minute):
        limits.append(Limit("agent_requests", f"{agent['name']}/{user}", most))
    await services.limiter.count(*limits)


async def _agent(
    services: Services, caller: Caller, agents: Visible, sent: Submission
) -> dict[str, Any] | None:
    """The agent that a run is asked of; the thread's is looked up only where some have limits."""
    if sent.agent is not None:
        return agents.about(sent.agent)
    if not any(one.get("limits") for one in agents.all()):
        return None
    async with services.db.reading(caller.user_id) as db:
        thread = await threads.find(db, caller.user_id, sent.thread_id)
    return agents.about(thread.agent) if thread else None


def require_room(services: Services, agent: dict[str, Any] | None, live: dict[str, int]) -> None:
    """Refuse a run to whoever has too many that go on or wait; `live` counts them by agent.

    Two gateways that look at the same moment may let in one too many.

    Raises:
        RateLimitedError: there are.
    """
    most = services.settings.runs_at_once
    if most and sum(live.values()) >= most:
        raise _too_many(f"{most:,} runs of yours go on or wait already")
    own = _allowance(agent).runs_at_once if agent else None
    if agent and own and live.get(agent["name"], 0) >= own:
        raise _too_many(f"{own:,} runs of {agent['name']} go on or wait already")


def _too_many(why: str) -> RateLimitedError:
    LIMITED.labels("runs_at_once").inc()
    message = f"{why}, and more are not allowed; wait until one has ended."
    return RateLimitedError(message, retry_after_s=RETRY_AFTER_S)


def _allowance(agent: dict[str, Any]) -> Allowance:
    """What an agent.yaml says; nothing, where a runner has announced what nobody understands."""
    try:
        return Allowance.model_validate(agent.get("limits") or {})
    except ValidationError:
        return Allowance()
