"""`python -m runner.rehearse`: rehearse the runs that standard input tells of, a line each.

Standard input is what `python -m toolsvc.underway` writes; standard output gets a line for each
run, with what came of it. Nothing is asked over the network by us, and nothing is written.
"""

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import TextIO

from runner.catalog import Catalog, load_catalog
from runner.drop_ins.rules import rules_of
from runner.drop_ins.source import Source
from runner.home import ToolThreads
from runner.invocations import patch_runner
from runner.kept import KeptCode
from runner.rehearsal import rehearse
from shared.process import answers
from shared.protocol.rehearsal import Tools, UnderWay
from shared.settings import ProcessSettings, load_settings
from shared.settings.security import AgentRules


class _Unkept(KeptCode):
    """Former code that is looked at, and not added to."""

    def keep(self, source: Source) -> None:
        """See KeptCode."""


async def _rehearse(agents: Path, kept: Path, rules: AgentRules, out: TextIO) -> None:
    patch_runner()
    asyncio.get_running_loop().set_default_executor(ToolThreads())
    catalog: Catalog | None = None
    for line in sys.stdin.buffer:
        if catalog is None:
            tools = Tools.model_validate_json(line).tools
            catalog = load_catalog([agents], tools, _Unkept(kept), rules)
            continue
        one = UnderWay.model_validate_json(line)
        found = await rehearse(one.claimed, catalog) if one.claimed else one.unreadable
        if found is not None:
            out.write(found.model_dump_json() + "\n")
            out.flush()


def main() -> None:
    """Rehearse them all, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m runner.rehearse", description=main.__doc__)
    parser.add_argument("--agents", type=Path, required=True, help="folder of the agents")
    parser.add_argument("--kept", type=Path, default=Path(os.devnull), help="folder of former code")
    given = parser.parse_args()
    rules = rules_of(load_settings(ProcessSettings))
    with answers() as out:
        asyncio.run(_rehearse(given.agents, given.kept, rules, out))
    logging.shutdown()
    os._exit(0)  # a thread of agent code may never end, and would be waited for


if __name__ == "__main__":
    main()
