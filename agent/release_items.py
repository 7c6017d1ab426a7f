"""What has to be true before a release, item by item; each is a command, or a look at a file."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from agent.sbom import sbom, unlicensed

NOTES = Path("docs/release-notes.md")
BOM = Path("docs/reports/sbom.json")
LOCK = Path("requirements.lock")
#: What others are told by us, and go by.
INTERFACES = ("shared/protocol", "docs/protocol.md", "docs/openai-api.md", "docs/ag-ui.md")
#: Characters of a command's last words in the report.
LAST_WORDS = 300


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the checklist; `why` tells what came of it."""

    name: str
    done: bool
    why: str


Look = Callable[[Path, str], Item]


def commands() -> dict[str, Sequence[str]]:
    """Items that a command decides, by its exit status; the quickest first."""
    baton = (sys.executable, "-m", "agent")
    return {
        "checks": (sys.executable, "dev.py", "check"),
        "deploy-check": (*baton, "deploy-check"),
        "matrix": (*baton, "matrix", "--install"),
        "bench": (sys.executable, "dev.py", "bench"),
        "drill": (*baton, "drill"),
        "tests": (sys.executable, "dev.py", "test"),
    }


def by_command(name: str, command: Sequence[str], root: Path) -> Item:
    """Run a command, and take its exit status for the answer."""
    try:
        done = subprocess.run(  # noqa: S603 - ours
            command, cwd=root, capture_output=True, text=True, check=False
        )
    except OSError as error:
        return Item(name, done=False, why=str(error))
    words = (done.stdout.strip() or done.stderr.strip()).splitlines()
    last = words[-1][-LAST_WORDS:] if words else "it said nothing"
    why = last if done.returncode == 0 else f"exit status {done.returncode}: {last}"
    return Item(name, done.returncode == 0, why)


def materials(root: Path, version: str) -> Item:
    """Write the bill of materials; every package has to say its licence."""
    bom = sbom((root / LOCK).read_text("utf-8"), name="baton", version=version)
    (root / BOM).parent.mkdir(parents=True, exist_ok=True)
    (root / BOM).write_text(json.dumps(bom, indent=1) + "\n", "utf-8")
    if silent := unlicensed(bom):
        return Item("materials", done=False, why=f"no licence is known of {', '.join(silent)}")
    return Item("materials", done=True, why=f"{len(bom['components'])} packages, see {BOM}")


def notes(root: Path, version: str) -> Item:
    """Whether the release notes speak of this version."""
    file = root / NOTES
    told = file.is_file() and f"\n## {version}" in file.read_text("utf-8")
    why = f"{NOTES} tells of {version}" if told else f"{NOTES} has no heading `## {version}`"
    return Item("release notes", done=told, why=why)


def interfaces(root: Path, _version: str) -> Item:
    """What has changed since the last tag in what others go by; nobody can but read it."""

    def git(*arguments: str) -> str:
        command = ("git", *arguments)
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
        return done.stdout.strip() if done.returncode == 0 else ""

    tag = git("describe", "--tags", "--abbrev=0")
    if not tag:
        return Item("interfaces", done=True, why="there is no tag: nothing to compare with")
    changed = git("diff", "--stat", tag, "--", *INTERFACES).splitlines()
    why = f"since {tag}: {changed[-1].strip() if changed else 'nothing has changed'}"
    return Item("interfaces", done=True, why=why)


#: Items that a look decides.
LOOKS: Mapping[str, Look] = {
    "materials": materials,
    "release notes": notes,
    "interfaces": interfaces,
}


def checklist(items: Sequence[Item], *, version: str, on: date) -> str:
    """The report, in Markdown."""
    still = [one.name for one in items if not one.done]
    verdict = f"**Not ready**: {', '.join(still)}." if still else "**Ready.**"
    lines = [f"- [{'x' if one.done else ' '}] {one.name}: {one.why}" for one in items]
    head = f"# Release checklist\n\nBy `baton release-check` on {on.isoformat()}, for {version}."
    return f"{head}\n\n{verdict}\n\n" + "\n".join(lines) + "\n"
