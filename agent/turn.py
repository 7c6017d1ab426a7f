"""One run on the terminal: from its start, or from where it stands, to its end."""

from collections.abc import Iterable, Mapping
from contextlib import aclosing

from agent.aside import aside
from agent.client import Gateway, part
from agent.command import Cli
from agent.errors import FAILED, INTERRUPTED, WAITS, CliError, RefusedError
from agent.follow import Away, Ended, News, follow, tail_command, watch_from
from agent.interrupts import LeftError, interrupts
from agent.output import Output
from agent.render import Lines, Screen
from agent.watch import Accepted, Placed, Restarted, Watch
from shared.protocol.codes import Code
from shared.protocol.position import Position

#: Exit statuses by how a run ended.
_BY_OUTCOME = {"success": 0, "finished": 0, "interrupt": WAITS, "interrupted": WAITS}


def printer(
    output: Output, *, question: bool = False, calls: Mapping[str, str] | None = None
) -> Lines | Screen:
    """What shows a run's events, as asked for; `calls`: names of tools that were called before."""
    return Lines(output) if output.as_json else Screen(output, question=question, calls=calls)


class Turn:
    """Shows one run. `status` is the exit status that its end stands for."""

    def __init__(self, gateway: Gateway, watch: Watch, shown: Lines | Screen) -> None:
        self._gateway = gateway
        self._watch = watch
        self._shown = shown
        self._stopping = False
        self._stop_asked = False
        self._away = False
        self.status = FAILED

    async def run(self, *, cancellable: bool, first: Iterable[Placed] = ()) -> int:
        """Show `first`, then everything until the run ends; returns the exit status.

        Raises:
            LeftError: the person has left before.
            CliError: the gateway refuses, or stays away.
        """
        with self._shown, interrupts(self._cancel if cancellable else None):
            for placed in first:
                self._show(placed)
            async with aclosing(follow(self._gateway, self._watch)) as news:
                async for one in news:
                    await self._take(one)
        return self.status

    def _show(self, placed: Placed) -> None:
        self._shown.placed(placed)
        self._mind(placed)

    async def _take(self, news: News) -> None:
        was_away, self._away = self._away, isinstance(news, Away)
        match news:
            case Placed():
                self._show(news)
            case Accepted(queued):
                await self._accepted(queued)
            case Restarted():
                self._shown.restarted()
            case Away() if not was_away:
                self._shown.remark("connection lost; it is being made anew")
            case Ended(status):
                self._shown.remark(f"{status} before it began")
                self._ended(status)

    def _mind(self, placed: Placed) -> None:
        if placed.event.get("type") == "RUN_FINISHED":
            self._ended(str((placed.event.get("outcome") or {}).get("type")))

    def _ended(self, how: str) -> None:
        stopped = how == "cancelled" and self._stopping
        self.status = INTERRUPTED if stopped else _BY_OUTCOME.get(how, FAILED)

    async def _accepted(self, queued: bool) -> None:
        if queued:
            self._shown.remark("waits for another run of this thread")
        if self._stopping:
            await self._ask_to_stop()

    async def _cancel(self) -> None:
        self._stopping = True
        self._shown.remark("stopping; Ctrl-C again leaves at once")
        if self._watch.accepted:
            await self._ask_to_stop()

    async def _ask_to_stop(self) -> None:
        if self._stop_asked:
            return
        self._stop_asked = True
        self._watch.waits = True  # a run that has not begun may end without an event
        path = f"/api/runs/{part(self._watch.run_id)}/cancel"
        try:
            await aside(self._gateway.post, path)
        except RefusedError as error:
            if error.code != Code.NOT_RUNNING:
                self._shown.remark(f"cannot be stopped: {error.message}")
        except CliError as error:
            self._shown.remark(f"cannot be stopped: {error.message}")
            self._stop_asked = False


async def shown_from(
    cli: Cli, run: str, after: Position | None = None, *, question: bool, cancellable: bool
) -> int:
    """Show a run that exists, from a cursor to its end; returns the exit status.

    Raises:
        LeftError: the person has left before.
        CliError: the gateway refuses, or stays away.
    """
    followed = await watch_from(cli.gateway, run, after)
    watch = followed.watch
    shown = printer(cli.output, question=question, calls=followed.earlier_calls)
    turn = Turn(cli.gateway, watch, shown)
    try:
        return await turn.run(cancellable=cancellable, first=followed.stored)
    except LeftError:
        cli.output.note(f"Left. Go on with: {tail_command(watch.run_id, watch.cursor)}")
        raise
