"""Model servers as the fleet sees them: their health, and how the limit of calls is divided.

It rides on the heartbeats, in a transaction of its own: what goes wrong here costs no lease. Locks
are taken and released by one batch, so that an instance that stops in the middle holds none.
"""

from collections.abc import Mapping
from typing import NamedTuple

import psycopg

from shared.db.direct import Direct
from shared.db.line import Statement
from shared.protocol.providers import ProviderNews, ProviderReport, State
from shared.telemetry.logs import get_logger
from toolsvc.runs.shares import Load, share_of

log = get_logger(__name__)

#: Failures further apart than this are not a row of failures.
WINDOW_S = 60
#: A runner that was to try whether a server works again, and is not heard of for so long, is not.
PROBE_S = 4

_KNOW = Statement("""
    INSERT INTO model_providers (name)
    SELECT name FROM unnest(CAST(:names AS text[])) AS name ORDER BY name
    ON CONFLICT DO NOTHING
""")
# Always in the order of names, so that two heartbeats never wait for each other.
_LOCK = Statement("""
    SELECT name FROM model_providers WHERE name = ANY(CAST(:names AS text[])) ORDER BY name
    FOR UPDATE
""")


class _Health(NamedTuple):
    name: str
    state: str
    open_s: float
    held_s: float
    chosen: bool


# What a runner says are totals, so what is new is the difference to what it said before.
_HEALTH = Statement(
    f"""
    WITH said AS (
        SELECT * FROM unnest(
            CAST(:names AS text[]), CAST(:failed AS bigint[]), CAST(:answered AS bigint[]),
            CAST(:streak AS bigint[]), CAST(:hold_ms AS bigint[]), CAST(:most AS int[]),
            CAST(:open_ms AS bigint[]), CAST(:active AS int[]), CAST(:waiting AS int[])
        ) AS said (name, failed, answered, streak, hold_ms, most, open_ms, active, waiting)
    )
    UPDATE model_providers SET
        failures = counted.failures,
        failed_at = CASE WHEN new.failed > 0 THEN now() ELSE was.failed_at END,
        open_until = breaker.open_until,
        held_until = CASE WHEN said.hold_ms > 0
            THEN greatest(was.held_until, now() + said.hold_ms * interval '1 ms')
            ELSE was.held_until END,
        probe = prober.probe,
        probe_until = CASE WHEN prober.probe = :runner
            THEN now() + interval '{PROBE_S} s' ELSE was.probe_until END
    FROM said
    JOIN model_providers AS was ON was.name = said.name
    LEFT JOIN provider_loads AS before
        ON before.provider = said.name AND before.runner = :runner
    CROSS JOIN LATERAL (SELECT
        greatest(0, said.failed - coalesce(before.failed, 0)) AS failed,
        said.answered > coalesce(before.answered, 0) AS works
    ) AS new
    CROSS JOIN LATERAL (SELECT CASE
        WHEN new.works THEN said.streak
        WHEN was.failed_at < now() - interval '{WINDOW_S} s' THEN new.failed
        ELSE was.failures + new.failed END AS failures
    ) AS counted
    CROSS JOIN LATERAL (SELECT CASE
        WHEN new.works AND counted.failures < said.most THEN NULL
        WHEN was.open_until > now() THEN was.open_until
        WHEN was.open_until IS NOT NULL AND new.failed = 0 THEN was.open_until
        WHEN was.open_until IS NOT NULL OR counted.failures >= said.most
            THEN now() + said.open_ms * interval '1 ms'
        END AS open_until
    ) AS breaker
    CROSS JOIN LATERAL (SELECT CASE
        WHEN breaker.open_until IS NULL OR breaker.open_until > now() THEN NULL
        WHEN was.probe = :runner AND said.active + said.waiting > 0 THEN CAST(:runner AS text)
        WHEN was.probe <> :runner AND was.probe_until > now() THEN was.probe
        WHEN said.waiting > 0 THEN :runner
        END AS probe
    ) AS prober
    WHERE model_providers.name = said.name
    RETURNING model_providers.name,
        CASE WHEN model_providers.open_until IS NULL THEN 'closed'
            WHEN model_providers.open_until > now() THEN 'open' ELSE 'half_open' END,
        CAST(greatest(0, coalesce(
            EXTRACT(epoch FROM model_providers.open_until - now()), 0)) AS float8),
        CAST(greatest(0, coalesce(
            EXTRACT(epoch FROM model_providers.held_until - now()), 0)) AS float8),
        coalesce(model_providers.probe = :runner, false)
""",  # noqa: S608
    _Health._make,
)

_SAY = Statement("""
    INSERT INTO provider_loads
        (provider, runner, active, waiting, waits_since, failed, answered, seen_at)
    SELECT name, CAST(:runner AS text), active, waiting,
        CASE WHEN waiting > 0 THEN now() - waited_ms * interval '1 ms' END,
        failed, answered, now()
    FROM unnest(
        CAST(:names AS text[]), CAST(:failed AS bigint[]), CAST(:answered AS bigint[]),
        CAST(:active AS int[]), CAST(:waiting AS int[]), CAST(:waited_ms AS bigint[])
    ) AS said (name, failed, answered, active, waiting, waited_ms)
    ON CONFLICT (provider, runner) DO UPDATE SET
        active = excluded.active, waiting = excluded.waiting, waits_since = excluded.waits_since,
        failed = excluded.failed, answered = excluded.answered, seen_at = excluded.seen_at
""")
_FORGET = Statement("""
    DELETE FROM provider_loads
    WHERE provider = ANY(CAST(:names AS text[])) AND seen_at < now() - interval '1 minute'
""")


class _Said(NamedTuple):
    provider: str
    runner: str
    active: int
    waiting: int
    waited_s: float
    share: int


_LOADS = Statement(
    """
    SELECT provider, runner, active, waiting,
        CAST(coalesce(EXTRACT(epoch FROM now() - waits_since), 0) AS float8), share
    FROM provider_loads
    WHERE provider = ANY(CAST(:names AS text[]))
        AND seen_at > now() - :life_ms * interval '1 ms'
""",
    _Said._make,
)
_PROMISE = Statement("""
    UPDATE provider_loads SET share = given.share
    FROM unnest(CAST(:names AS text[]), CAST(:shares AS int[])) AS given (name, share)
    WHERE provider = given.name AND runner = :runner
""")


async def consulted(
    direct: Direct, runner: str, reports: Mapping[str, ProviderReport], *, life_s: float
) -> dict[str, ProviderNews]:
    """Take what a runner says into account; what the fleet says to it.

    Nothing, should SQL not answer: the runner then goes by what it heard last.
    """
    if not reports:
        return {}
    try:
        return await _consulted(direct, runner, reports, life_s)
    except psycopg.Error as error:
        log.warning("what a runner says of model servers was not kept", error=str(error))
        return {}


async def _consulted(
    direct: Direct, runner: str, reports: Mapping[str, ProviderReport], life_s: float
) -> dict[str, ProviderNews]:
    names, said = sorted(reports), [reports[name] for name in sorted(reports)]
    totals = {
        "names": names,
        "runner": runner,
        "failed": [one.failed for one in said],
        "answered": [one.answered for one in said],
        "active": [one.active for one in said],
        "waiting": [one.waiting for one in said],
    }
    health = _HEALTH(
        **totals,
        streak=[one.streak for one in said],
        hold_ms=[round(one.hold_s * 1000) for one in said],
        most=[one.breaker_failures for one in said],
        open_ms=[round(one.breaker_open_s * 1000) for one in said],
    )
    loads = _LOADS(names=names, life_ms=round(life_s * 1000))
    async with direct.line() as line:
        await line.run(
            _KNOW(names=names),
            _LOCK(names=names),
            health,
            _SAY(**totals, waited_ms=[round(one.waited_s * 1000) for one in said]),
            _FORGET(names=names),
            loads,
        )
        shares = {name: _share(runner, name, loads.rows, reports[name].limit) for name in names}
        had = {one.provider: one.share for one in loads.rows if one.runner == runner}
        changed = {
            name: share
            for name, share in shares.items()
            if share is not None and share != had.get(name)
        }
        if changed:
            given = {"names": list(changed), "shares": list(changed.values())}
            await line.run(_PROMISE(runner=runner, **given))
    return {one.name: _news(one, shares[one.name]) for one in health.rows}


def _share(runner: str, provider: str, said: list[_Said], limit: int | None) -> int | None:
    if limit is None:
        return None
    loads = [
        Load(
            runner=one.runner,
            active=one.active,
            waiting=one.waiting,
            waited_s=one.waited_s,
            share=one.share,
        )
        for one in said
        if one.provider == provider
    ]
    mine = next(one for one in loads if one.runner == runner)
    return share_of(mine, [one for one in loads if one.runner != runner], limit)


def _news(health: _Health, share: int | None) -> ProviderNews:
    state = State(health.state)
    if state is State.HALF_OPEN:
        share = 1 if health.chosen else 0
    return ProviderNews(share=share, state=state, open_s=health.open_s, held_s=health.held_s)
