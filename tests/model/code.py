"""Where each action of the model stands in the code. Whoever moves one of these looks at the model.

A test holds that all of them exist, and that random walks make use of every action.
"""

from importlib import import_module

#: What the code does, as `module:name`.
CODE: dict[str, tuple[str, ...]] = {
    # toolsvc: who may carry a run
    "claim": ("toolsvc.runs.claim:claim_next", "toolsvc.runs.claim:_take"),
    "close": ("toolsvc.runs.close:close_cancelled", "toolsvc.runs.claim:claim_to_close"),
    "strand": ("toolsvc.runs.lease:renew",),
    # a carrier: fence Redis, read and commit what the one before left
    "start": ("runner.run:Driver._append_starts", "toolsvc.runs.close:_fence_and_read_tail"),
    "tail": ("runner.run:Driver._read_tail", "toolsvc.runs.close:_fence_and_read_tail"),
    "settle": ("runner.run:Driver._take_over", "runner.committer:Committer.settle"),
    # a carrier: steps, one after another, and the end
    "say": ("runner.outbox:Outbox.delta", "runner.outbox:Outbox.emit"),
    "events": ("runner.run:Driver._committing_events", "runner.committer:Committer.events"),
    "commit": ("runner.committer:Committer.step", "toolsvc.runs.commit:apply_commit"),
    "finish": (
        "runner.run:Driver._finish",
        "runner.committer:Committer.finish",
        "toolsvc.runs.close:_end",
        "toolsvc.runs.commit:apply_commit",
    ),
    # a carrier: what Redis lacks
    "append": (
        "runner.publisher:Publisher._send",
        "runner.outbox:Outbox.take",
        "runner.outbox:Outbox.answered",
        "toolsvc.runs.close:_tell",
        "shared.bus.append:append_all",
    ),
    "confirm": ("runner.carrying:Carrying._confirm", "toolsvc.runs.lease:confirm"),
    "hand over": ("runner.worker:Worker.drain", "toolsvc.runs.lease:release"),
    # a gateway and its client
    "subscribe": ("gateway.performer:Performer._subscribe", "gateway.relay.relay:Relay.join"),
    "place": ("gateway.performer:Performer._continues", "gateway.relay.relay:Relay.covers"),
    "reset": ("gateway.performer:Performer.reset", "gateway.reset:read_reset"),
    "hear": ("gateway.relay.relay:Relay._spread", "gateway.relay.feed:follows"),
    "read": ("gateway.relay.relay:Relay._pass", "gateway.relay.relay:Relay._entries"),
    "fill": ("gateway.relay.feed:fill", "gateway.relay.sql:read_rows"),
    "look": ("gateway.relay.relay:Relay._look_once", "gateway.relay.relay:Relay._compare"),
    "cancel": ("gateway.stopping:request_cancel",),
}

#: What the world does.
WORLD = frozenset({"crash", "freeze", "flush", "lose", "disconnect"})


def named(place: str) -> object:
    """What stands at `module:name`.

    Raises:
        ImportError, AttributeError: nothing does.
    """
    module, _, path = place.partition(":")
    found: object = import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return found
