"""`python -m toolsvc.underway`: the runs under way, as claims would answer them; none is claimed.

For rehearsals: standard output gets the tools of this code, then a line for each run that goes on,
waits, or may be resumed, and has finished steps. The database is only read.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, TextIO

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from shared.db.direct import Direct, direct
from shared.db.line import Statement
from shared.db.path import PATH, path_of
from shared.process import answers
from shared.protocol.rehearsal import Ending, Rehearsed, Tools, UnderWay
from shared.settings import load_settings
from shared.settings.common import BatonSettings, PostgresUrl, split_commas
from toolsvc.registry import load_registry
from toolsvc.runs.claim import HISTORY_LIMIT, Claim, answer_of, base_of, look_back_for
from toolsvc.runs.past import DECISIONS, JOURNAL
from toolsvc.runs.pick import LOOK, UNDER_WAY, ClaimRow

_ONLY_READ = Statement("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")


class ReadingSettings(BatonSettings):
    """What of toolsvc's settings it takes to read."""

    database_url: PostgresUrl = Field(alias="DATABASE_URL")
    tool_folders: Annotated[tuple[Path, ...], NoDecode] = Field((), alias="BATON_TOOLS_DIR")

    _split = field_validator("tool_folders", mode="before")(split_commas)


async def under_way(db: Direct) -> AsyncGenerator[UnderWay]:
    """Each run that goes on or may be gone on with, and has a journal; the oldest first."""
    async with db.transaction() as reading:
        reading.add(_ONLY_READ())
        ids = await reading.all(UNDER_WAY())
    for id_ in ids:
        async with db.transaction() as reading:
            reading.add(_ONLY_READ())
            row = await reading.one(LOOK(run=id_))
            if row is None:
                continue  # it has ended meanwhile
            leaf = base_of(row)
            journal = reading.add(JOURNAL(root=row.root_id))
            decisions = reading.add(DECISIONS(root=row.root_id))
            path = reading.add(PATH(thread=row.thread_id, leaf=leaf, limit=HISTORY_LIMIT))
            earlier = look_back_for(reading, row)
            await reading.run()
        try:
            history = path_of(path.rows, HISTORY_LIMIT).messages
            continued = earlier.read() if earlier else None
            claim = Claim(
                row,
                row.fence,
                [],
                history,
                journal.rows,
                [],
                continued=continued,
                decisions=decisions.rows,
            )
            yield UnderWay.model_construct(claimed=answer_of(claim, token="", expires=0))
        except (TypeError, ValueError):  # as at a claim
            yield UnderWay(unreadable=_unreadable(row, len(journal.rows)))


def _unreadable(row: ClaimRow, steps: int) -> Rehearsed:
    return Rehearsed(
        run=row.public_id,
        thread=row.thread_public_id,
        agent=row.agent,
        ending=Ending.FAILS,
        digest=row.agent_digest,
        steps=steps,
        why="its conversation cannot be read; somebody has altered it in the database",
    )


async def _tell(settings: ReadingSettings, out: TextIO) -> None:
    tools = load_registry(settings.tool_folders).tools.values()
    _say(out, Tools(tools=[tool.catalogue_entry() for tool in tools]))
    url = settings.database_url.get_secret_value()
    async with direct(url, size=1) as db, aclosing(under_way(db)) as found:
        async for run in found:
            _say(out, run)


def _say(out: TextIO, line: Tools | UnderWay) -> None:
    out.write(line.model_dump_json() + "\n")


def main() -> None:
    """Write them all."""
    with answers() as out:
        asyncio.run(_tell(load_settings(ReadingSettings), out))


if __name__ == "__main__":
    main()
