"""`python -m runner.drop_ins.check PATH`: what a runner would serve of it, a line of JSON each.

PATH is a folder of agents, an agent's folder, or its file. Nothing is asked over the network; each
agent is looked at in a process of its own, as by a runner.
"""

import argparse
import os
from pathlib import Path

from runner.drop_ins.aliases import refuse_clashes
from runner.drop_ins.find import FILE, YAML, Findings, Found, file_in, find
from runner.drop_ins.inspection import Limits, Order, Report, adopt_orphans, hide_secrets, inspected
from runner.drop_ins.rules import rules_of
from shared.process import answers
from shared.protocol.drop_ins import Checked
from shared.settings import ProcessSettings, load_settings
from shared.settings.security import AgentRules


def found_at(path: Path) -> Findings:
    """The agents of a folder, or the one that a path is of."""
    path = path.resolve()
    file = file_in(path) if path.is_dir() else path
    if file and file.is_file():
        name = file.parent.name if file.name in (FILE, YAML) else file.stem
        return Findings(agents={name: Found(name, file, file.parent)})
    found = find([path])
    refuse_clashes(found)
    return found


def checked(one: Found, rules: AgentRules) -> Checked:
    """What would be served of one agent."""
    order = Order(name=one.name, file=one.file, root=one.root, tools=None, rules=rules)
    report: Report = inspected(order, Limits())
    return Checked(
        name=one.name,
        file=str(one.file),
        digest=report.digest,
        about=report.about,
        reason=report.reason,
        doubts=report.doubts,
    )


def main() -> None:
    """Look at them all, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m runner.drop_ins.check")
    parser.add_argument("path", type=Path)
    given = parser.parse_args()
    rules = rules_of(load_settings(ProcessSettings))
    hide_secrets(os.environ)
    adopt_orphans()
    found = found_at(given.path)
    with answers() as out:
        for name, reason in found.refused.items():
            print(Checked(name=name, file=None, reason=reason).model_dump_json(), file=out)
        for one in found.agents.values():
            print(checked(one, rules).model_dump_json(), file=out, flush=True)


if __name__ == "__main__":
    main()
