"""Server-sent events out of bytes, however these are cut: rules without I/O.

The outcome is that of openai's own decoder, quirks included (a byte order mark hides the first
line, an id is never forgotten), for a part of the time: lines are split by the whole read, and the
kinds that matter are known by how they begin.
"""

from collections.abc import Iterator


class EventSplitter:
    """Feed it what is read; it gives events as (name or `None`, data)."""

    def __init__(self) -> None:
        self._rest = bytearray()  # of a line whose end has not come
        self._after_cr = False  # a line feed that comes next belongs to the last line's end
        self._name = self._id = ""
        self._data: list[str] = []
        self._retry = False

    def feed(self, read: bytes) -> Iterator[tuple[str | None, str]]:
        """The events that end in what was read.

        Raises:
            UnicodeDecodeError: a line is not UTF-8; events before it have been given.
        """
        if not read:
            return
        if self._after_cr and read.startswith(b"\n"):
            read = read[1:]
            self._after_cr = False
        if read:
            self._after_cr = read.endswith(b"\r")
        if b"\r" in read:
            read = read.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        end = read.rfind(b"\n")
        if end < 0:
            self._rest += read
            return
        lines = self._rest + read[:end]
        self._rest = bytearray(read[end + 1 :])
        for line in lines.split(b"\n"):
            if (event := self._line(line.decode())) is not None:
                yield event

    def finish(self) -> None:
        """There is no more: an event without its empty line does not count.

        Raises:
            UnicodeDecodeError: what is left is not UTF-8.
        """
        self._rest.decode()

    def _line(self, line: str) -> tuple[str | None, str] | None:
        if line.startswith("data:"):
            self._data.append(line[6:] if line.startswith(" ", 5) else line[5:])
        elif line.startswith("event:"):
            self._name = line[7:] if line.startswith(" ", 6) else line[6:]
        elif line:
            self._field(line)
        elif self._data or self._name or self._id or self._retry:
            event = self._name or None, "\n".join(self._data)
            self._name, self._data, self._retry = "", [], False
            return event
        return None

    def _field(self, line: str) -> None:
        """Any other line; a comment is a field without a name."""
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._name = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._id = value
            case "retry":
                self._retry = self._retry or _is_number(value)


def _is_number(text: str) -> bool:
    try:
        int(text)
    except ValueError:
        return False
    return True
