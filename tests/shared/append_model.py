"""What append.lua promises, in plain Python: a stream that fences, recognises and publishes."""

from dataclasses import dataclass, field

from shared.bus.append import Answer, Batch, Entry, Mode, Reply
from shared.bus.events import Announcement
from shared.protocol.position import START, Position


@dataclass
class StreamModel:
    """One thread's stream and everything that was published on its channel."""

    entries: list[Entry] = field(default_factory=list)
    published: list[Announcement] = field(default_factory=list)

    @property
    def last(self) -> Position:
        return self.entries[-1].at if self.entries else START

    def have(self, fence: int) -> int:
        return self.last.seq if self.last.fence == fence else 0

    def append(self, batch: Batch) -> Reply:
        if not self.entries and batch.mode is not Mode.CREATE:
            return Reply(Answer.EMPTY)
        if self.last.fence > batch.fence:
            return Reply(Answer.FENCED, self.last.fence)
        new = [entry for entry in batch.entries if entry.at > self.last]
        if not new:
            return Reply(Answer.HAVE, self.last.seq)
        have, first = self.have(batch.fence), batch.entries[0].at.seq
        if batch.mode is not Mode.CREATE and first <= have:
            return Reply(Answer.HAVE, have)
        if batch.mode is Mode.APPEND and first > have + 1:
            return Reply(Answer.HAVE, have)
        self._publish(batch, new)
        self.entries += new
        return Reply(Answer.OK, new[-1].at.seq)

    def _publish(self, batch: Batch, new: list[Entry]) -> None:
        before = self.last
        if batch.mode is Mode.CREATE:
            before = new[0].at if batch.sql_last is None else max(before, batch.sql_last)
        for run in _consecutive(new):
            data = [entry.data.encode() for entry in run]
            first = run[0].at
            self.published.append(
                Announcement(before if run[0] is new[0] else first, batch.settled, first, data)
            )


def _consecutive(entries: list[Entry]) -> list[list[Entry]]:
    runs = [[entries[0]]]
    for entry in entries[1:]:
        if runs[-1][-1].at.precedes(entry.at):
            runs[-1].append(entry)
        else:
            runs.append([entry])
    return runs
