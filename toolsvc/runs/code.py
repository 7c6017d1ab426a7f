"""Which runner has the code that a run began with: in a fleet of mixed versions it goes there.

Conditions on `runs` and a row of `runners`, as SQL. A run that never began has no digest, and fits
everywhere. Where no living runner has a run's code, it is replayed with the newest, unless its
runners want to wait for the old one.
"""

from shared.protocol.record import LONE_PREFIX

#: A runner that serves a run's agent, for whatever runs it carries.
SERVES = "jsonb_exists(CAST({0}.agents AS jsonb), runs.agent)"
_HAS = (
    "(CAST({0}.agents AS jsonb) -> runs.agent ->> 'digest' = runs.agent_digest"
    " OR runs.agent_digest = ANY({0}.former))"
)
# Those that carry one run alone take no other.
_LIVES = "({0}.lease_until > now() AND NOT starts_with({0}.id, '" + LONE_PREFIX + "'))"


def fits(runner: str) -> str:
    """Whether this runner may carry the run: it has its code, or nobody has and it would do."""
    other = " AND ".join(part.format("other") for part in (_LIVES, SERVES, _HAS))
    return (
        f"(runs.agent_digest IS NULL OR {_HAS.format(runner)}"
        f" OR NOT {runner}.same_code AND NOT EXISTS (SELECT FROM runners AS other WHERE {other}))"
    )


#: Id of a runner that alone of all living ones may take the run, by its code; one of several.
#: Null where the doorbell will do, for any runner may.
KEEPER = f"""CASE WHEN runs.agent_digest IS NOT NULL AND EXISTS (
    SELECT FROM runners AS lacking WHERE {_LIVES.format("lacking")} AND {SERVES.format("lacking")}
        AND NOT {_HAS.format("lacking")}
) THEN (
    SELECT keeping.id FROM runners AS keeping WHERE {_LIVES.format("keeping")}
        AND {SERVES.format("keeping")} AND {_HAS.format("keeping")}
    ORDER BY keeping.carried - keeping.slots LIMIT 1
) END"""  # noqa: S608
