"""Which runner has the code for a run: in a fleet of mixed versions it goes there.

Conditions on `runs` and a row of `runners`, as SQL. A run that began goes on with the code it began
with; where no living runner has that, it is replayed with the newest, unless its runners want to
wait for the old one. A run that never began has no digest, and fits everywhere; but one that tries
a poisoned run again goes to other code than what was poisonous, where a living runner has any.
"""

from shared.protocol.record import LONE_PREFIX

#: A runner that serves a run's agent, for whatever runs it carries.
SERVES = "jsonb_exists(CAST({0}.agents AS jsonb), runs.agent)"
_NEWEST = "CAST({0}.agents AS jsonb) -> runs.agent ->> 'digest'"
_BEGINS_WELL = f"""(runs.resumes IS NULL OR NOT EXISTS (
    SELECT FROM runs AS tried
    WHERE tried.thread_id = runs.thread_id AND tried.root_id = runs.root_id
        AND tried.error_code = 'poisoned' AND tried.agent_digest = {_NEWEST}
))"""
_HAS = f"""(CASE WHEN runs.agent_digest IS NULL THEN {_BEGINS_WELL}
    ELSE {_NEWEST} = runs.agent_digest OR runs.agent_digest = ANY({{0}}.former) END)"""
# Those that carry one run alone take no other.
_LIVES = "({0}.lease_until > now() AND NOT starts_with({0}.id, '" + LONE_PREFIX + "'))"


def fits(runner: str) -> str:
    """Whether this runner may carry the run: it has its code, or nobody has and it would do."""
    other = " AND ".join(part.format("other") for part in (_LIVES, SERVES, _HAS))
    return (
        f"({_HAS.format(runner)} OR NOT ({runner}.same_code AND runs.agent_digest IS NOT NULL)"
        f" AND NOT EXISTS (SELECT FROM runners AS other WHERE {other}))"
    )


#: Id of a runner that alone of all living ones may take the run, by its code; one of several.
#: Null where the doorbell will do, for any runner may.
KEEPER = f"""CASE WHEN (runs.agent_digest IS NOT NULL OR runs.resumes IS NOT NULL) AND EXISTS (
    SELECT FROM runners AS lacking WHERE {_LIVES.format("lacking")} AND {SERVES.format("lacking")}
        AND NOT {_HAS.format("lacking")}
) THEN (
    SELECT keeping.id FROM runners AS keeping WHERE {_LIVES.format("keeping")}
        AND {SERVES.format("keeping")} AND {_HAS.format("keeping")}
    ORDER BY keeping.carried - keeping.slots LIMIT 1
) END"""  # noqa: S608
