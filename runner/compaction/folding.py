"""Long runs: what a run itself adds, results of tools above all, is summarised near the window.

The SDK's loop knows nothing of it: it gives each model call everything, and what the call's server
is sent is folded: its beginning is replaced by a summary, a step of the invocation like any other.
From then on the same beginning is replaced in each later call. The record, its digests and the
thread keep everything. What a server refuses as too long is folded once more and sent again.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from itertools import count as count_up
from itertools import takewhile
from typing import Any

import openai

from runner.carried import CarriedRun
from runner.compaction.agent import (
    SHARE,
    Summariser,
    piece_tokens,
    shown,
    summarised,
    tokens_of,
    told,
)
from runner.compaction.cutting import Items, call_ids, call_of, cut, kept, line
from runner.journal import Key
from runner.models.digest import digest_of, plain
from runner.models.errors import is_too_long
from runner.scope import Fold, Scope
from shared.telemetry.logs import get_logger

log = get_logger(__name__)

Record = dict[str, Any]
#: Makes the call with the given input.
Make = Callable[[Any], Awaitable[Record]]


def fold_of(record: Record) -> Fold | None:
    """What a recorded step folds: nothing yet, where it failed or where another piece follows."""
    if record["summary"] is None or record["more"]:
        return None
    return Fold(
        count=record["count"],
        digest=record["folded"],
        kept=tuple(record["kept"]),
        summary=record["summary"],
    )


class Folding:
    """The input of one model call, brought to size.

    `digest` is the call's; `compactor` is the model that the hidden agent asks. Nothing is done
    where the input is not the `whole` that the model is told.
    """

    def __init__(
        self,
        run: CarriedRun,
        scope: Scope,
        given: Any,
        digest: str,
        *,
        whole: bool,
        above: int | None,
        compactor: Summariser,
    ) -> None:
        self._foldable = whole and isinstance(given, list)
        self._run, self._scope, self._given, self._digest = run, scope, given, digest
        self._above, self._compactor = above, compactor
        place = f"{scope.position}.{scope.failures}"
        self._first, self._again = place, f"{place}.again"
        #: Whether the outcome of this very call is recorded.
        self._over = any(
            run.journal.holds(Key(scope.name, kind, at)) is not None
            for kind, at in (("model", str(scope.position)), ("error", place))
        )

    async def prepare(self) -> None:
        """Fold what was folded for this call, or is due to be now."""
        if not self._foldable:
            return
        again = self._recorded(self._again)
        # What a snapshot holds the outcome of has been handed out.
        if not self._run.journal.handed_out(self._key(self._first, 0)):
            await self._fold(self._first, None if self._over or again else self._due())
        if again:
            await self._fold(self._again, None)

    async def carried_out(self, make: Make, seen: Callable[[], bool]) -> Record:
        """Make the call; once more, folded, should its server find it too long.

        Not where somebody has `seen` a part of the answer.
        """
        try:
            return await make(self._folded())
        except openai.APIError as error:
            if seen() or not is_too_long(error) or not await self._shortened():
                raise
        return await make(self._folded())

    async def _shortened(self) -> bool:
        """Fold more than seemed due; false where that was tried before, or there is nothing."""
        if not self._foldable or self._recorded(self._again):
            return False
        refused = tokens_of(plain(self._folded())) // SHARE
        above = min(refused, self._above) if self._above else refused
        return await self._fold(self._again, above // SHARE)

    def _recorded(self, place: str) -> bool:
        return self._run.journal.holds(self._key(place, 0)) is not None

    def _key(self, place: str, number: int) -> Key:
        return Key(self._scope.name, "compaction", f"{place}.{number}")

    def _standing(self) -> Fold | None:
        """The newest fold, if this call begins with what was folded: filters may make it anew."""
        fold = self._scope.fold
        if fold is None or len(self._given) < fold.count:
            return None
        return fold if digest_of("", self._given[: fold.count]) == fold.digest else None

    def _folded(self) -> Any:
        """What the server is sent."""
        fold = self._standing() if self._foldable else None
        if fold is None:
            return self._given
        stays = [self._given[place] for place in fold.kept]
        roles = [plain(one).get("role") for one in stays]
        said = roles.index("user") if "user" in roles else len(stays)
        return [*stays[:said], told(fold.summary), *stays[said:], *self._given[fold.count :]]

    def _due(self) -> int | None:
        """For how much there is room behind the summary; `None` where none is due."""
        if self._above is None or tokens_of(plain(self._folded())) <= self._above:
            return None
        room, fold = self._above // SHARE, self._standing()
        fresh = self._given[fold.count :] if fold else self._given
        # Where what stays is long by itself, it is not gone through at every call.
        return room if tokens_of(plain(fresh)) > room else None

    async def _fold(self, place: str, room: int | None) -> bool:
        """Carry out the steps of a fold, recorded or new; whether this call has one by that.

        Without a `room`, in tokens, nothing begins that was not begun before.
        """
        fold = self._standing()
        summary, count = (fold.summary, fold.count) if fold else (None, 0)
        target: int | None = None
        for number in count_up():
            key = self._key(place, number)
            if target is None and self._run.journal.holds(key) is None:
                target = cut(self._given, beyond=count, room=room) if room else None
                if target is None:
                    return False
            piece = _Piece(self._given, summary, count, target or 0, room or 0)
            live = partial(self._summarised, piece)
            record = await self._run.step(self._scope, key, self._digest, live)
            if (made := fold_of(record)) is not None:
                self._scope.fold = made
                if not self._scope.nested:
                    self._run.shown += record["shown"]
                return True
            if record["summary"] is None:
                return False
            summary, count = record["summary"], record["count"]
            target, room = record["target"], record["room"]
        raise AssertionError("unreachable")

    async def _summarised(self, piece: "_Piece") -> Record:
        """Summarise the next piece; the record of it."""
        run, scope = self._run, self._scope
        most = piece_tokens(piece.room, self._compactor)
        count = piece.end(most)
        lines = [line(one) for one in piece.given[piece.begins : count]]
        try:
            made = await summarised(
                run, scope, self._compactor, before=piece.summary, lines=lines, room=most
            )
        except Exception as error:  # noqa: BLE001 - without it the call may do as well
            log.warning("a long run could not be summarised", error=repr(error))
            return {"shown": [], "summary": None, "more": False}
        more, folded = count < piece.target, piece.given[:count]
        tell = not (more or scope.nested)
        return {
            "shown": [shown(run, made.text, self._until(folded))] if tell else [],
            "summary": made.text,
            "count": count,
            "more": more,
            "target": piece.target,
            "room": piece.room,
            "kept": [] if more else kept(folded, count, room=piece.room),
            "folded": digest_of("", folded),
            "model": made.model,
            "usage": made.usage,
        }

    def _until(self, folded: Items) -> str | None:
        """The message that ends what is folded, where later runs may begin with the summary.

        That is where all results up to some message are in it, and an agent's own code has not
        chosen what is.
        """
        messages = [*self._run.conversation, *self._run.shown]
        results = [(one.get("toolCallId"), one["id"]) for one in messages if one["role"] == "tool"]
        inside = call_ids(folded)
        if self._scope.of_author or not results or call_of(folded[-1]) is None:
            return None
        known = list(takewhile(lambda result: result[0] in inside, results))
        return known[-1][1] if len(known) == len(inside) else None


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of an input that is summarised at once.

    `summary` speaks of the items before `begins`; `target` is how many are to be folded in the end.
    """

    given: Items
    summary: str | None
    begins: int
    target: int
    #: Tokens that may stay behind the fold.
    room: int

    def end(self, most: int) -> int:
        """Behind the last item of the piece: as many as `most` tokens are, but one at least."""
        count, taken = self.begins, 0
        while count < self.target:
            taken += tokens_of(plain(self.given[count]))
            if taken > most and count > self.begins:
                break
            count += 1
        return count
