"""Further model ids: no two agents may answer to one.

A name comes before an alias. Of two agents with one alias, the one that has it already keeps it,
and else neither is served.
"""

from collections.abc import Callable
from pathlib import Path

from runner.drop_ins.declared import read_declaration
from runner.drop_ins.find import YAML, Findings, Found
from runner.drop_ins.overrides import read_overrides
from shared.settings.yaml_file import YamlFileError

#: The aliases that an agent is served with.
Served = Callable[[str], tuple[str, ...]]


def refuse_clashes(found: Findings, served: Served = lambda _: ()) -> None:
    """Take out agents whose aliases are taken, and say why."""
    names = {name.casefold(): one for name, one in found.agents.items()}
    claims: dict[str, list[Found]] = {}
    for one in list(found.agents.values()):
        for alias in _aliases(one):
            folded = alias.casefold()
            if (other := names.get(folded, one)) is not one:
                _refuse(found, one, f"the alias {alias!r} is the name of {other.file}")
            claims.setdefault(folded, []).append(one)
    for alias, rivals in claims.items():
        if len({one.name for one in rivals}) > 1:
            for one in rivals:
                _settle(found, one, rivals, alias, served)


def _settle(found: Findings, one: Found, rivals: list[Found], alias: str, served: Served) -> None:
    if alias in map(str.casefold, served(one.name)):
        return
    others = " and ".join(str(yaml_of(rival)) for rival in rivals if rival is not one)
    _refuse(found, one, f"the alias {alias!r} is one of {others}, too")


def _refuse(found: Findings, one: Found, why: str) -> None:
    found.agents.pop(one.name, None)
    found.refused.setdefault(one.name, f"{yaml_of(one)}: {why}. Rename one of them.")


def yaml_of(one: Found) -> Path:
    """Where an agent's overrides are, if it has any."""
    return one.folder / YAML


def _aliases(one: Found) -> tuple[str, ...]:
    """What its file says now; a file that says something wrong is refused elsewhere."""
    if one.single:
        return ()
    try:
        written = yaml_of(one).read_bytes()
        if one.file.name == YAML:
            return read_declaration(written, "", one.name)[0].aliases
        return read_overrides(written, "").aliases
    except (OSError, YamlFileError):
        return ()
