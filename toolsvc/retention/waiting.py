"""Which runs retention leaves alone, in SQL: they live, or wait for a person's decision."""

from datetime import datetime, timedelta
from uuid import UUID

#: Rows deleted in one transaction, which holds the lock of one thread meanwhile.
MOST_ROWS = 500
#: Candidates looked for at once.
PAGE = 100
#: Ids tell when something was made by the clock of the gateway that made it, which may be ahead.
CLOCKS_DIFFER = timedelta(days=1)

#: A run `r` that is not over, or ended for a decision that nobody has made yet, or too lately.
KEPT = """(
    r.status IN ('queued', 'running')
    OR (r.status = 'interrupted' AND NOT EXISTS (
        SELECT FROM interrupts WHERE interrupts.root_id = r.root_id
            AND interrupts.run_id = r.id AND interrupts.status = 'superseded'
    ) OR r.error_code = 'tool_outcome_unknown') AND NOT EXISTS (
        SELECT FROM runs AS later WHERE later.user_id = r.user_id AND later.resumes = r.public_id
    )
    OR COALESCE(r.ended_at, 'infinity') >= :before
)"""


def made_before(moment: datetime) -> UUID:
    """An id above all those made before a moment: uuid7 begins with the time of its making."""
    return UUID(int=int((moment + CLOCKS_DIFFER).timestamp() * 1000) << 80)
