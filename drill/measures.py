"""What is measured, not judged: how long people had to wait because something broke."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from drill.evidence import ThreadRow
from drill.judge_streams import is_end
from drill.network import Network
from drill.plan import KILLS, NETWORK, STORES, FaultKind
from drill.records import Hit, Request, Seen, Watched

#: A frame on a socket; opening one is another thing.
FRAMES = frozenset({"run", "subscribe", "cancel", "ping"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Some durations in seconds."""

    values: tuple[float, ...]

    def at(self, share: float) -> float | None:
        """The value that so large a share of them does not exceed; `None` where there are none."""
        ordered = sorted(self.values)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None

    @property
    def longest(self) -> float | None:
        """The largest."""
        return max(self.values, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """How long things took, as clients saw it."""

    take_overs: Times  #: kill -9 of a runner → the next event of a run that it carried
    undisturbed: Times  #: those with nothing else broken in between
    longest_request: Request | None  #: of those whose network did not fail meanwhile
    recoveries: Times  #: death of a store → a run accepted and an event shown again
    calm_s: float | None  #: last fault → the last run's end
    ended: Times  #: accepted → its end was seen


def measure(
    watched: Sequence[Watched],
    threads: Mapping[str, ThreadRow],
    hits: Sequence[Hit],
    net: Network,
) -> Measures:
    """All measures of a drill."""
    taken = list(_take_overs(watched, threads, hits, net))
    carried_out = [hit for hit in hits if not hit.missed]
    ends = [at for one in watched for at in one.ended.values()]
    last_fault = max((hit.at + hit.lasts_s for hit in carried_out), default=None)
    return Measures(
        take_overs=Times(values=tuple(seconds for seconds, _ in taken)),
        undisturbed=Times(values=tuple(seconds for seconds, alone in taken if alone)),
        longest_request=longest_request(watched, net),
        recoveries=Times(values=tuple(_recoveries(watched, carried_out))),
        calm_s=max(0.0, max(ends) - last_fault) if ends and last_fault else None,
        ended=Times(
            values=tuple(
                one.ended[run] - at
                for one in watched
                for run, at in one.accepted.items()
                if run in one.ended
            )
        ),
    )


def longest_request(watched: Sequence[Watched], net: Network) -> Request | None:
    """The frame that waited longest for its answer, where the drill's own network was well."""
    found = [
        request
        for one in watched
        for request in one.requests
        if request.op in FRAMES
        and request.over_at is not None
        and not net.links[one.client].troubled(request.asked_at, request.over_at)
    ]
    return max(found, key=waited, default=None)


def waited(request: Request) -> float:
    """For how long a request had no answer, in seconds."""
    return (request.over_at or request.asked_at) - request.asked_at


def _take_overs(
    watched: Sequence[Watched],
    threads: Mapping[str, ThreadRow],
    hits: Sequence[Hit],
    net: Network,
) -> Iterator[tuple[float, bool]]:
    of_run = {ask.run: one for one in watched for ask in one.asks}
    for hit in hits:
        if hit.missed or hit.kind is not FaultKind.KILL_RUNNER:
            continue
        for victim in hit.victims or ():
            one = of_run.get(victim.run)
            thread = threads.get(one.thread) if one else None
            if one is None or thread is None or _was_over(thread, victim.run, victim.fence):
                continue
            shown = _next_shown(one, hit.at, victim.fence)
            if shown is not None:
                alone = _alone(hit, shown, hits) and not net.links[one.client].troubled(
                    hit.at, shown
                )
                yield shown - hit.at, alone


def _was_over(thread: ThreadRow, run: str, fence: int) -> bool:
    """Whether the run ended under the claim that the dead runner had."""
    return any(
        one.run == run and one.row.fence == fence and is_end(one.row.type) for one in thread.rows
    )


def _next_shown(one: Watched, since: float, fence: int) -> float | None:
    for frame in one.frames:
        if isinstance(frame, Seen) and frame.at >= since and frame.position.fence > fence:
            return frame.at
    return None


def _alone(hit: Hit, until: float, hits: Sequence[Hit]) -> bool:
    """Whether nothing else broke from the fault until then."""
    return not any(
        other is not hit
        and not other.missed
        and other.kind not in NETWORK
        and hit.at <= other.at + other.lasts_s
        and other.at <= until
        for other in hits
    )


def _recoveries(watched: Sequence[Watched], hits: Sequence[Hit]) -> Iterator[float]:
    acks = sorted(
        (request.asked_at, request.over_at)
        for one in watched
        for request in one.requests
        if request.op == "run" and request.code == "ok" and request.over_at
    )
    shown = sorted(frame.at for one in watched for frame in one.frames if isinstance(frame, Seen))
    for hit in hits:
        if hit.kind not in STORES:
            continue
        accepted = next((over for asked, over in acks if asked > hit.at), None)
        event = next((at for at in shown if at > hit.at), None)
        if accepted and event:
            yield max(accepted, event) - hit.at


def kills(hits: Sequence[Hit]) -> int:
    """How many processes were ended by kill -9."""
    return sum(hit.kind in KILLS and not hit.missed for hit in hits)
