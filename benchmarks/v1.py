"""`/v1/chat/completions`, streamed: Baton beside the bare SDK behind FastAPI."""

import dataclasses
from dataclasses import dataclass
from typing import Self

from benchmarks import measures
from benchmarks.measures import CLIENTS, Delays, Extent, Looped, Paced, p50, p95
from benchmarks.table import Row, parts
from benchmarks.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What one server does for clients of OpenAI's API."""

    paced: Paced
    alone: Delays
    looped: dict[int, Looped]  #: by clients

    @classmethod
    async def of(cls, target: Target, model: int, extent: Extent) -> Self:
        """Measure it."""
        target = dataclasses.replace(target, door="v1")
        await measures.warm_up(target, extent)
        return cls(
            paced=await measures.paced(target, model, extent),
            alone=await measures.alone(target, model, extent),
            looped={count: await measures.looped(target, extent, count) for count in (1, CLIENTS)},
        )


def rows(baton: Answers, bare_sdk: Answers) -> list[Row]:
    """What both took, side by side."""

    def row(name: str, unit: str, ours: float, theirs: float, note: str = "") -> Row:
        return Row(name=f"/v1: {name}", unit=unit, baton=ours, bare_sdk=theirs, note=note)

    processes = parts(baton.paced.us_per_delta, lambda us: f"{us:.0f}")
    found = [row("CPU per delta", "µs", baton.paced.us, bare_sdk.paced.us, processes)]
    for title, of in (("p50", p50), ("p95", p95)):
        for who, one, other in (
            ("alone", baton.alone, bare_sdk.alone),
            (f"{CLIENTS} clients", baton.paced.delays, bare_sdk.paced.delays),
        ):
            found.append(row(f"first chunk, {who}, {title}", "ms", of(one.after), of(other.after)))
    whole = p50(baton.alone.whole), p50(bare_sdk.alone.whole)
    found.append(row("request to first chunk, alone, p50", "ms", *whole))
    for count, ours in baton.looped.items():
        theirs = bare_sdk.looped[count]
        many = "1 client" if count == 1 else f"{count} clients"
        per_s = ours.runs_per_s, theirs.runs_per_s
        processes = parts(ours.ms_per_run, lambda ms: f"{ms:.2f}")
        found += [
            row(f"five-delta answers, {many}", "answers/s", *per_s),
            row(f"CPU per five-delta answer, {many}", "ms", ours.ms, theirs.ms, processes),
        ]
    return found
