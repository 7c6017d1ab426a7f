"""Items that need no program of their own: a file is made, and looked at."""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from agent.errors import CliError
from agent.releasing.git import Checkout, may_break
from agent.releasing.item import Finding, Item
from agent.releasing.openapi import openapi_changes
from agent.releasing.protocol import protocol_changes, protocol_document
from agent.releasing.sbom import sbom, unlicensed
from agent.releasing.schemas import Change
from agent.text import count, one_line

NOTES: Final = Path("docs/release-notes.md")
BOM: Final = Path("docs/reports/sbom.json")
LICENCES: Final = Path("docs/reports/licences.md")
OPENAPI: Final = Path("docs/reports/openapi.json")
PROTOCOL: Final = Path("docs/reports/protocol.json")
LOCK: Final = Path("requirements.lock")
FIRST: Final = "first release: nothing to compare with"

Document = Mapping[str, Any]
Changes = Callable[[Document, Document], list[Change]]


def looks(root: Path, version: str) -> list[Item]:
    """The items, for the code at `root`."""

    def item(name: str, output: Path | None, look: Callable[[], Finding]) -> Item:
        file = str(output) if output else None
        return Item(name, f"baton release-check --only {name}", file, lambda _: look())

    documents: list[tuple[str, Path, Callable[[], Document], Changes]] = [
        ("openapi", OPENAPI, partial(openapi_document, root), openapi_changes),
        ("protocol", PROTOCOL, partial(protocol_document, root), protocol_changes),
    ]
    return [
        item("last-tag", None, partial(last_tag, root)),
        *(
            item(name, file, partial(compared, root, version, file, document, changes))
            for name, file, document, changes in documents
        ),
        item("sbom", BOM, partial(materials, root, version)),
        item("licences", LICENCES, partial(licences, root, version)),
        item("release-notes", NOTES, partial(notes, root, version)),
    ]


def last_tag(root: Path) -> Finding:
    """What the interfaces are compared with."""
    try:
        tag = Checkout(root).last_tag()
    except CliError as error:
        return Finding(False, error.message)
    return Finding(True, f"compared with {tag}" if tag else FIRST)


def compared(
    root: Path, version: str, file: Path, document: Callable[[], Document], changes: Changes
) -> Finding:
    """Write what others go by, and tell what of it has changed since the last tag."""
    try:
        tag = Checkout(root).last_tag()
        now = document()
    except (CliError, OSError) as error:
        return Finding(False, str(error))
    _write(root / file, json.dumps(now, indent=1, sort_keys=True))
    if tag is None:
        return Finding(True, FIRST)
    was = Checkout(root).file_at(tag, file)
    if was is None:
        return Finding(False, f"{tag} has no {file}: compare by hand, and tag a commit that has it")
    found = changes(json.loads(was), json.loads(json.dumps(now)))
    breaking = [str(one) for one in found if one.breaking]
    more = (*(f"breaking: {one}" for one in breaking), *(str(o) for o in found if not o.breaking))
    why = f"{count(len(found), 'change')} since {tag}, {len(breaking) or 'none'} of them breaking"
    if breaking and not may_break(tag, version):
        return Finding(False, f"{why}: version {version} does not say so", more)
    return Finding(True, why, more)


def openapi_document(root: Path) -> Document:
    """As the gateway of this code describes it.

    Raises:
        CliError: it could not.
    """
    command = (sys.executable, "-m", "gateway.described")
    done = subprocess.run(  # noqa: S603 - a module of ours
        command, cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise CliError(f"gateway.described failed: {one_line(' '.join(last))}")
    found: Document = json.loads(done.stdout)
    return found


def materials(root: Path, version: str) -> Finding:
    """Write the bill of materials."""
    bom = _bom(root, version)
    _write(root / BOM, json.dumps(bom, indent=1))
    return Finding(True, count(len(bom["components"]), "package"))


def licences(root: Path, version: str) -> Finding:
    """Write which package is under which licence; every one that is installed has to say it."""
    bom = _bom(root, version)
    under: dict[str, list[str]] = defaultdict(list)
    for one in bom["components"]:
        under[_licence(one)].append(f"{one['name']} {one['version']}")
    rows = [f"| {licence} | {', '.join(under[licence])} |" for licence in sorted(under)]
    head = "What `requirements.lock` pins, by licence, as each package says it."
    table = "\n".join(("| licence | packages |", "|---|---|", *rows))
    _write(root / LICENCES, f"# Licences\n\n{head}\n\n{table}")
    if silent := unlicensed(bom):
        return Finding(False, f"no licence is known of {', '.join(silent)}")
    return Finding(True, count(len(under), "licence"))


def notes(root: Path, version: str) -> Finding:
    """Whether the release notes speak of this version."""
    file = root / NOTES
    told = file.is_file() and f"\n## {version}\n" in file.read_text("utf-8")
    why = f"they tell of {version}" if told else f"{NOTES} has no heading `## {version}`"
    return Finding(told, why)


def _bom(root: Path, version: str) -> dict[str, Any]:
    return sbom((root / LOCK).read_text("utf-8"), name="baton", version=version)


def _licence(component: Mapping[str, Any]) -> str:
    if "licenses" not in component:
        return "(not for this machine)"
    named = [one.get("expression") or one["license"]["name"] for one in component["licenses"]]
    return " and ".join(named) or "(unknown)"


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n", "utf-8")
