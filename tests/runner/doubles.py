"""A claimed run that nothing stands behind but a double of toolsvc."""

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from runner.carried import CarriedRun
from runner.outbox import Outbox
from shared.protocol.record import ClaimedRun


def carried(toolsvc: Any) -> CarriedRun:
    """A run just claimed, of which nothing is sent or traced."""
    run, thread = uuid4(), uuid4()
    claimed = ClaimedRun(
        run=run,
        root=run,
        thread=thread,
        user=uuid4(),
        run_id="r",
        thread_id="t",
        agent="A",
        fence=1,
        starts=[],
        sql_last=(0, 0),
        history=[],
        messages=[],
        input={},
        token="token",
        token_expires=0,
    )
    outbox = Outbox(thread=thread, run_id="r", fence=1, starts=[], ttl_s=60, changed=lambda _: None)
    nothing: Any = None
    trace: Any = SimpleNamespace(take=list, cut_off=list, stored=lambda _: None, silent=False)
    return CarriedRun(claimed, record=toolsvc, outbox=outbox, run_config=nothing, trace=trace)
