"""The checklist, in Markdown."""

from collections.abc import Sequence
from datetime import date

from agent.releasing.item import Looked
from agent.text import span

#: Lines below an item: who wants all of them finds them in its output.
MOST_LINES = 50


def checklist(looked: Sequence[Looked], *, version: str, commit: str, on: date) -> str:
    """What was looked at, what came of it, by which command, and where more of it is."""
    open_ = [one.item.name for one in looked if not one.finding.done]
    verdict = f"**Not ready.** Open: {', '.join(open_)}." if open_ else "**Ready.**"
    head = f"# Release checklist\n\nBy `baton release-check` on {on.isoformat()}, for {version}"
    lines = [line for one in looked for line in _lines(one)]
    return f"{head} at {commit}.\n\n{verdict}\n\n" + "\n".join(lines) + "\n"


def _lines(one: Looked) -> list[str]:
    box = "x" if one.finding.done else " "
    took = "" if one.seconds is None else f" ({span(one.seconds)})"
    more = one.finding.more[:MOST_LINES]
    rest = len(one.finding.more) - len(more)
    return [
        f"- [{box}] **{one.item.name}**: {one.finding.why}{took}  ",
        f"  `{one.item.command}`" + (f" → `{one.item.output}`" if one.item.output else ""),
        *(f"  - {line}" for line in more),
        *([f"  - and {rest} more"] if rest else ()),
    ]
