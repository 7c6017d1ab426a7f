"""The Model wrapper: every model call of a run passes here, streamed or not.

A recorded call returns what was recorded, without a request and without events. A live one is
tapped for deltas, checked, given unique call ids, and committed before the SDK sees its response,
hence before any of its tools starts. Deltas end here: the SDK's loop gets the response alone.
"""

from collections.abc import AsyncIterator
from typing import Any

from agents import Model, ModelResponse
from openai.types.responses import Response, ResponseCompletedEvent

from runner.carried import CARRIED, CarriedRun
from runner.compaction.folding import Folding
from runner.journal import Key
from runner.models.arguments import Arguments
from runner.models.caught import failing_again
from runner.models.digest import digest_of
from runner.models.gate import Gate
from runner.models.live_call import LiveCall
from runner.models.response import (
    call_ids,
    rebuilt,
    sdk_usage,
)
from runner.scope import SCOPE, NoRunContextError, Scope
from runner.showing import answered_by


class JournaledModel(Model):
    """`inner`, journalled; `name` is what metrics and usage call it.

    Without a gate nothing is known of the server: a call is made at once, and once.
    """

    def __init__(
        self,
        inner: Model,
        name: str,
        *,
        timeout_s: float,
        gate: Gate | None = None,
        compacts_above: int | None = None,
        compactor: "JournaledModel | None" = None,
    ) -> None:
        self.inner, self.name, self.timeout_s, self.gate = inner, name, timeout_s, gate
        #: Tokens above which input is summarised first (`None`: never until the server refuses it),
        #: and the model that does so.
        self.compacts_above = compacts_above
        self.compactor: JournaledModel = compactor or self

    async def close(self) -> None:
        """Close the inner model."""
        await self.inner.close()

    def get_retry_advice(self, request: Any) -> Any:
        """The inner model knows its provider's errors."""
        return self.inner.get_retry_advice(request)

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        """A response for a run that is not streamed; people see its deltas all the same."""
        response = await self._response(Arguments(args, kwargs))
        return ModelResponse(
            output=response.output, usage=sdk_usage(response), response_id=response.id
        )

    async def stream_response(
        self, *args: Any, **kwargs: Any
    ) -> AsyncIterator[ResponseCompletedEvent]:
        """A response for a streamed run: one event, the last."""
        response = await self._response(Arguments(args, kwargs))
        yield ResponseCompletedEvent.construct(
            type="response.completed", sequence_number=0, response=response
        )

    async def _response(self, asked: Arguments) -> Response:
        run, scope = CARRIED.get(), SCOPE.get()
        if run is None or scope is None:
            raise NoRunContextError("A model")
        return await run.home.run(self._answer, run, scope, asked)

    async def _answer(self, run: CarriedRun, scope: Scope, asked: Arguments) -> Response:
        call = LiveCall(self, run, scope, asked)
        key = Key(scope.name, "model", str(scope.position))
        given = asked.get("input")
        digest = digest_of(scope.agent, given)

        async def made(given: Any) -> dict[str, Any]:
            call.give(given)
            with call.kept():
                return await run.step(scope, key, digest, call.live)

        folding = Folding(
            *(run, scope, given, digest),
            whole=call.has_all,
            above=self.compacts_above,
            compactor=self.compactor,
        )
        await folding.prepare()
        async with failing_again(run, scope, digest):
            record = await folding.carried_out(made, call.begun)
        scope.position += 1
        scope.failures = 0
        if not call.ran:
            run.saw_call_ids(call_ids(record))
            if scope.of_author:
                run.answered.update(filter(None, map(answered_by, asked.get("input"))))
        run.answered.update(one["toolCallId"] for one in record["shown"] if "toolCallId" in one)
        if not scope.nested:
            run.shown += record["shown"]
        if call.ran:
            run.used(self.name, record["usage"])
        return rebuilt(record["response"])
