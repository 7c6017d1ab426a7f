"""Hot reload: what is saved is served, and what is saved broken leaves the last good version.

Good news count at once. Bad news (an agent is broken, clashes or is gone) count when a second look
finds the same: files are half-written for a moment, and gone for a moment where an editor or a
checkout replaces them.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from watchfiles import awatch

from runner.catalog import Catalog
from runner.drop_ins.aliases import refuse_clashes
from runner.drop_ins.find import Found, find
from runner.drop_ins.imports import hold_to
from runner.drop_ins.inspection import Order, Report
from runner.drop_ins.inspector import Inspector
from runner.drop_ins.lanes import Lanes
from runner.drop_ins.load import LoadedAgent, Tools, load, require_still_allowed
from runner.drop_ins.reason import reason_of
from runner.drop_ins.rules import NotAllowedError
from runner.drop_ins.source import Source, is_temporary, read_source
from shared.settings.security_file import LOOK_EVERY_S, SecurityFile
from shared.telemetry.logs import get_logger
from shared.telemetry.metrics import AGENT_LOADS, RULES_REFUSED

log = get_logger(__name__)

#: Between the two looks that bad news take.
SETTLE_S = 0.3
#: The file system's own news may be missing (network file systems, mounts of containers).
LOOK_ANYWAY_S = 5.0
#: Changes that come within this time of each other are looked at together.
DEBOUNCE_MS = 200
#: An import that was fine in the inspector takes no longer than this here, or never ends.
IMPORT_S = 20.0
#: Between two looks where watching fails.
PAUSE_S = 1.0

GONE = "gone"


class Judged(NamedTuple):
    """What a look at some code came to; no reason means that it is good."""

    digest: str | None
    saved_ns: int
    reason: str | None
    #: The rule of security.yaml that forbids it.
    rule: str | None = None


#: Its code is still looked at; until that ends, all stays as it is.
LATER = Judged(None, 0, None)


class DropIns:
    """Keeps a catalogue as the folders are."""

    def __init__(
        self,
        folders: Sequence[Path],
        catalog: Catalog,
        *,
        inspector: Inspector | None,
        tools: Callable[[], Awaitable[list[dict[str, Any]]]],
    ) -> None:
        self._folders, self._catalog, self._tools = folders, catalog, tools
        self._lanes = Lanes(inspector) if inspector else None
        #: At the start everything is waited for.
        self._patient = True
        self._judged: dict[str, Judged] = {}
        #: Bad news that were seen once.
        self._doubtful: dict[str, str] = {}
        self._stamp: object = None
        self._looking = asyncio.Lock()

    async def load(self) -> None:
        """Load what there is, at the start: here nothing is served yet, and bad news count."""
        self._catalog.know(await self._tools())
        self._stamp = await asyncio.to_thread(_stamp_of, self._folders)
        await self._look()
        await self._look()
        self._patient = False

    def close(self) -> None:
        """Look at nothing any more."""
        if self._lanes:
            self._lanes.close()

    async def watch(self, changed: Callable[[], Awaitable[None]]) -> None:
        """Reload whatever changes, until cancelled; `changed` is called when something did."""
        said = ""
        while True:
            try:
                async for _ in awatch(
                    *self._folders,
                    watch_filter=lambda _, path: not is_temporary(Path(path).name),
                    debounce=DEBOUNCE_MS,
                    rust_timeout=int(LOOK_ANYWAY_S * 1000),
                    yield_on_timeout=True,
                    ignore_permission_denied=True,
                ):
                    await self.refresh(changed)
            except (OSError, RuntimeError) as error:  # no watches left, or a folder is gone
                if str(error) != said:
                    said = str(error)
                    log.warning("the folders of agents are looked at, not watched", error=said)
                await asyncio.sleep(PAUSE_S)
                await self.refresh(changed)

    async def refresh(self, changed: Callable[[], Awaitable[None]]) -> None:
        """Bring the catalogue up to date, if any file has changed."""
        async with self._looking:
            stamp = await asyncio.to_thread(_stamp_of, self._folders)
            if stamp == self._stamp and not (self._lanes and self._lanes.news):
                return
            self._stamp = stamp
            if self._lanes:
                self._lanes.news = False
            self._catalog.know(await self._tools())
            await self._look_until_certain(changed)

    async def watch_rules(
        self, file: SecurityFile[Any], changed: Callable[[], Awaitable[None]]
    ) -> None:
        """Hold all code to the rules of a file as it is now, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if await asyncio.to_thread(file.look):
                await self.rule(file, changed)

    async def rule(self, file: SecurityFile[Any], changed: Callable[[], Awaitable[None]]) -> None:
        """Hold all code to other rules: what they forbid goes at once, what they allow comes."""
        async with self._looking:
            catalog = self._catalog
            catalog.rules, catalog.rules_problem = file.rules, file.problem
            hold_to(catalog.rules)
            for name, loaded in list(catalog.agents.items()):
                source = catalog.sources[name]
                try:
                    await asyncio.to_thread(require_still_allowed, loaded, source, catalog.rules)
                except NotAllowedError as error:
                    catalog.withdraw(name, reason_of(error, source.file))
                    AGENT_LOADS.labels("refused").inc()
                    RULES_REFUSED.labels(error.rule).inc()
            self._judged.clear()
            await changed()
            await self._look_until_certain(changed)

    async def _look_until_certain(self, changed: Callable[[], Awaitable[None]]) -> None:
        while True:
            if await self._look():
                await changed()
            if not self._doubtful:
                return
            await asyncio.sleep(SETTLE_S)

    # ------------------------------------------------------------------ one look
    async def _look(self) -> bool:
        """Look at everything once; whether the catalogue has changed."""
        served = dict(self._catalog.files)
        found = await asyncio.to_thread(find, self._folders, served)
        await asyncio.to_thread(refuse_clashes, found, self._catalog.aliases)
        if self._lanes:
            self._lanes.keep(found.agents)
        bad = dict(found.refused)
        changed = False
        for one in found.agents.values():
            if (judged := await self._judge(one)) is LATER:
                continue
            if judged is None:
                changed = True
            elif judged.reason:
                bad[one.name] = judged.reason
            elif one.name not in bad and self._catalog.broken.pop(one.name, ""):
                changed = True  # it is again what is served
        bad |= dict.fromkeys(self._known() - set(found.agents) - set(bad), GONE)
        return self._take(bad) or changed

    def _known(self) -> set[str]:
        return {*self._catalog.agents, *self._catalog.broken}

    def _take(self, bad: dict[str, str]) -> bool:
        """Let bad news count that were seen twice."""
        certain = {name: why for name, why in bad.items() if self._doubtful.get(name) == why}
        known = {name: why for name, why in bad.items() if self._catalog.broken.get(name) == why}
        self._doubtful = {
            name: why for name, why in bad.items() if name not in certain and name not in known
        }
        new = {name: why for name, why in certain.items() if name not in known}
        for name, why in new.items():
            if why == GONE:
                self._catalog.forget(name)
                self._judged.pop(name, None)
                AGENT_LOADS.labels("gone").inc()
                log.info("an agent is gone", agent=name)
            else:
                AGENT_LOADS.labels("refused").inc()
                self._catalog.refuse(name, why)
                if (judged := self._judged.get(name)) is not None and judged.rule:
                    RULES_REFUSED.labels(judged.rule).inc()
        return bool(new)

    async def _judge(self, one: Found) -> Judged | None:
        """What is to be said of an agent's code; `None` where it is new and good, and serves."""
        try:
            saved_ns = one.file.stat().st_mtime_ns
            source = await asyncio.to_thread(read_source, one.name, one.file, one.root)
        except Exception as error:  # noqa: BLE001 - a file may be anything
            return Judged(None, 0, reason_of(error, one.file))
        known = self._judged.get(one.name)
        if known and (known.digest, known.saved_ns) == (source.digest, saved_ns):
            return known
        serving = self._catalog.agents.get(one.name)
        if (
            serving
            and serving.digest == source.digest
            and self._catalog.files[one.name] == one.file
        ):
            judged = Judged(source.digest, saved_ns, None)
            self._judged[one.name] = judged
            return judged
        report = await self._inspected(source, one.root)
        if report is None:
            return LATER
        reason = report.reason or await self._replace(source)
        judged = Judged(source.digest, saved_ns, reason, report.rule)
        self._judged[one.name] = judged
        return judged if judged.reason else None

    async def _inspected(self, source: Source, root: Path) -> Report | None:
        """What the inspector says; nothing bad without one, and nothing yet where it takes long."""
        if self._lanes is None:
            return Report()
        order = Order(
            name=source.name,
            file=source.file,
            root=root,
            tools=self._catalog.tools,
            rules=self._catalog.rules,
        )
        return await self._lanes.inspect(order, source.digest, patient=self._patient)

    async def _replace(self, source: Source) -> str | None:
        """Serve this code, if it is fine; else the reason why not."""
        try:
            async with asyncio.timeout(IMPORT_S):
                loaded = await asyncio.to_thread(self._load, source, self._catalog.tools)
        except TimeoutError:
            return f"{source.file}: its import did not end within {IMPORT_S:g} s."
        if isinstance(loaded, str):
            return loaded
        self._catalog.serve(source, loaded)
        AGENT_LOADS.labels("served").inc()
        log.info("serves an agent", agent=source.name, digest=source.digest)
        return None

    def _load(self, source: Source, tools: Tools) -> LoadedAgent | str:
        try:
            loaded = load(source, tools, self._catalog.rules)
        except BaseException as error:  # noqa: BLE001 - others' code may raise anything
            return reason_of(error, source.file)
        self._catalog.kept.keep(source)
        return loaded


def _stamp_of(folders: Sequence[Path]) -> object:
    """Something that differs when a file does."""
    found = []
    for folder in folders:
        for place, inside, files in os.walk(folder):
            inside[:] = [one for one in inside if one not in ("__pycache__", ".git")]
            for name in files:
                if not is_temporary(name):
                    try:
                        about = os.lstat(os.path.join(place, name))  # noqa: PTH118 - by the thousand
                    except OSError:
                        continue
                    found.append((place, name, about.st_mtime_ns, about.st_size, about.st_ino))
    return sorted(found)
