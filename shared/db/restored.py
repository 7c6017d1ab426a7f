"""After a backup was restored: what the lost time has handed out must not come again.

Clients may hold positions of events that the backup does not know. Were the same fences given to
other events, such a client would take these for the ones that follow its own.
"""

from sqlalchemy import NullPool, create_engine, text

from shared.db.engine import driver_url

#: More claims of one thread than there can be between a backup and its restoring.
LEAP = 1_000_000

_LEAP = text("UPDATE threads SET fence = fence + :leap")
_FORGET = text("UPDATE runners SET lease_until = LEAST(lease_until, now())")


def restored(url: str) -> int:
    """Leap over all positions of the lost time, and end all leases; how many threads there are."""
    engine = create_engine(driver_url(url), poolclass=NullPool)
    with engine.begin() as db:
        db.execute(_FORGET)
        return db.execute(_LEAP, {"leap": LEAP}).rowcount
