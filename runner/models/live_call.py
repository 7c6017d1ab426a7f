"""One model call as it is really made: tried, tapped for deltas, and told to whoever looks on."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from openai.types.responses import Response

from runner.carried import CarriedRun
from runner.models.arguments import Arguments
from runner.models.attached import FILES, Reads, mentions, with_files
from runner.models.attempts import Attempts
from runner.models.limits import OF_CHAT, limits_of, why_cut, within
from runner.models.response import (
    NOTHING_SAID,
    dumped,
    gave_up,
    is_answer,
    says_nothing,
    usage_of,
)
from runner.models.tap import tapped
from runner.scope import Scope
from runner.showing import show_hand_offs, show_uncalled
from runner.theirs import theirs
from runner.translate import CALLS, Translator
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.telemetry.metrics import MODEL_SECONDS

if TYPE_CHECKING:  # which makes the calls
    from runner.models.journaled import JournaledModel

#: Where a server keeps what was said before.
_ELSEWHERE = ("previous_response_id", "conversation_id")


class LiveCall:
    """One live model call."""

    def __init__(
        self, model: "JournaledModel", run: CarriedRun, scope: Scope, asked: Arguments
    ) -> None:
        self.model, self.run, self.scope, self.asked = model, run, scope, asked
        self.ran = False
        self._translator: Translator | None = None
        self._made: dict[str, Any] | None = None
        self._limits = {} if scope.nested else limits_of(run.claimed.input)
        self._answered = False  # the present try
        self._cut: str | None = None  # why the server has ended it early

    @property
    def has_all(self) -> bool:
        """Whether the input is all that the model is told, and nobody else shortens it."""
        settings = self.asked.get("model_settings")
        managed = settings is not None and settings.context_management
        return not (managed or any(self.asked.kwargs.get(name) for name in _ELSEWHERE))

    def give(self, given: Any) -> None:
        """Put another input in the place of the one that was asked with."""
        self.asked = self.asked.having("input", given)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """What is said belongs to the run, also when the call fails or a stop cuts its commit."""
        run, nested = self.run, self.scope.nested
        if not nested:
            run.writing.append(self._said)
        try:
            yield
        except BaseException:
            if not nested:
                run.shown += self._said()
            if self._made is not None:
                run.used(self.model.name, self._made["usage"])
            raise
        finally:
            if not nested:
                run.writing.remove(self._said)

    def _said(self) -> list[dict[str, Any]]:
        if self._made is not None:
            return list(self._made["shown"])
        return self._translator.shown() if self._translator else []

    async def live(self) -> dict[str, Any]:
        """Call the model, show what comes, and give the journal's record of it."""
        self.ran = True
        run, model = self.run, self.model
        run.stage.enter(self.scope, self.scope.agent)
        if self.scope.of_author:  # else AgentLoop sees what comes of calls, and sooner
            for item in self.asked.get("input"):
                show_uncalled(run, self.scope, item)
        snapshot = run.begin_snapshot(self.scope)
        await self._read_files()
        if model.gate is None:
            self._made = await self._once()
        else:
            tries = Attempts(model.gate, run, most_s=model.timeout_s, say=self._say)
            self._made = await tries.until_made(self._once, self)
        if snapshot is not None:
            run.committer.snapshot = await snapshot
        return self._made

    async def _read_files(self) -> None:
        """Put the files into the input that it only names; the step's digest is over the names."""
        run, gate = self.run, self.model.gate
        given = self.asked.get("input")
        if not mentions(given):
            return
        reads = Reads(gate.policy.images, gate.policy.documents) if gate else Reads()
        read = FILES.of(run.claimed.thread, partial(run.record.file, run.committer.token))
        shown = await with_files(given, read, reads, self.model.name)
        self.give(shown)

    async def _once(self) -> dict[str, Any]:
        """One try."""
        run, self._answered, self._cut = self.run, False, None
        translator = self._translator = Translator(
            run.outbox.emit,
            run.outbox.delta,
            run.unique_call_id,
            subagent=run.stage.subagent(self.scope),
        )
        response = await self._stream(translator)
        translator.end(incomplete=self._cut)
        return self._recorded(response, translator)

    def begun(self) -> bool:
        """See Shown."""
        return self._translator is not None and bool(self._translator.shown())

    def withdraw(self) -> bool:
        """See Shown: close what is open, name what is taken back, restate the rest.

        Not beside a call of the root invocation, whose text a snapshot would cut in two.
        """
        half, run = self._translator, self.run
        if half is None or (self.scope.nested and run.writing):
            return False
        half.end()
        self._translator = None
        messages = half.shown()
        withdrawn = {"messageIds": [one["id"] for one in messages]}
        run.outbox.emit({"type": "CUSTOM", "name": "baton.restarted", "value": withdrawn})
        # Clients keep reasoning that a snapshot does not name.
        emptied = [one | {"content": ""} for one in messages if one["role"] == "reasoning"]
        emptied = [] if self.scope.nested else emptied
        restated = [*run.conversation, *run.messages(), *emptied]
        run.outbox.emit({"type": "MESSAGES_SNAPSHOT", "messages": restated})
        return True

    def _say(self, event: dict[str, Any]) -> None:
        """Say something of the wait, unless it would come between the deltas of another call."""
        if not (self.scope.nested and self.run.writing):
            self.run.outbox.emit(event)

    async def _stream(self, translator: Translator) -> Response:
        begun, outcome = time.perf_counter(), "failed"
        try:
            with theirs():
                async with asyncio.timeout(self.model.timeout_s):
                    response = await self._consume(translator)
            outcome = "finished"
            return response
        finally:
            MODEL_SECONDS.labels(self.model.name, outcome).observe(time.perf_counter() - begun)

    async def _consume(self, translator: Translator) -> Response:
        final: Response | None = None
        items: list[Any] = []

        def show(event: Any) -> None:
            if event.type.endswith(".delta"):
                self._first_delta()
            translator.feed(event)

        asked = await self._within_limits()
        stream: Any = self.model.inner.stream_response(*asked.args, **asked.kwargs)
        with tapped(show) as tap:
            async with aclosing(stream) as events:
                async for event in events:
                    tap.pass_on(event)
                    kind = event.type
                    if kind == "response.output_item.done":
                        items.append(event.item)
                    elif kind in ("response.failed", "response.incomplete"):
                        final = self._as_far_as_it_goes(event, items)
                        break  # the SDK calls it an error
                    elif kind == "response.completed":
                        final = event.response
        if final is None:
            raise BatonError(Code.UPSTREAM_INVALID, "The model server's answer has no end.")
        # Some servers leave the last event's output empty after streaming its items.
        final.output = final.output or items
        if says_nothing(final):
            raise BatonError(Code.UPSTREAM_INVALID, NOTHING_SAID)
        if tap.finish_reason and is_answer(final):
            self._cut = OF_CHAT.get(tap.finish_reason)
        return final

    def _as_far_as_it_goes(self, event: Any, items: list[Any]) -> Response:
        """A response that its server did not complete, where that is an answer.

        Raises:
            BatonError: it is none.
        """
        final: Response = event.response
        final.output = final.output or items
        self._cut = why_cut(event, self._limits)
        if self._cut is None or not is_answer(final):
            raise gave_up(event)
        return final

    async def _within_limits(self) -> Arguments:
        if not self._limits:
            return self.asked
        settings = self.asked.get("model_settings")
        limited = await within(settings, self._limits, self.model.inner)
        return self.asked.having("model_settings", limited)

    def _first_delta(self) -> None:
        self.run.first_delta()
        if not self._answered and self.model.gate is not None:
            self._answered = True
            self.model.gate.answered()

    def _recorded(self, response: Response, translator: Translator) -> dict[str, Any]:
        plain = dumped(response)
        for index, item in enumerate(plain["output"]):
            if item.get("type") in CALLS:
                unique = translator.call_id(index)
                item["call_id"] = unique or self.run.unique_call_id(item.get("call_id", ""))
        shown = [*translator.shown(), *self._handed_off(plain)]
        record = {
            "response": plain,
            "shown": shown,
            "model": self.model.name,
            "usage": usage_of(response),
        }
        notes = self.scope.notes.get(self.scope.position)
        return record | ({"notes": notes} if notes else {})

    def _handed_off(self, plain: dict[str, Any]) -> list[dict[str, Any]]:
        """A hand-off answers its own call; what the SDK will say is known already here."""
        handoffs = self.asked.get("handoffs", ())
        names = {one.tool_name: one.agent_name for one in handoffs}
        return show_hand_offs(self.run, self.scope, plain["output"], names)
