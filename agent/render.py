"""Events of one run as a person reads them: the answer streams, everything else is a quiet line.

The answer goes to standard output and the rest to standard error, so `baton chat … > file` holds
the answer alone. After a reset the events come again; what was printed is not printed twice.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.status import Status
from rich.text import Text

from agent.output import Output
from agent.text import PROMPT, arguments, count, one_line, plain, text_of
from agent.watch import Placed
from agent.wrap import Wrapper
from shared.protocol.transcript import has_failed

HANDOFF = "transfer_to_"
TAKEN_OVER = "↻ another runner has taken over; what was unfinished is written anew"
RESTARTED = "↻ the model's answer broke off; it is written anew"


class Lines:
    """For programs: every event is a line `{"id", "event"}`; a reset is a line of its own."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def placed(self, placed: Placed) -> None:
        """Print an event."""
        self._output.line({"id": placed.id, "event": placed.event})

    def restarted(self) -> None:
        """Say that the run's events come again from the first."""
        self._output.line({"reset": True})

    def remark(self, text: str) -> None:
        """Nothing: programs read events."""


class Screen:
    """For people."""

    def __init__(
        self, output: Output, *, question: bool = False, calls: Mapping[str, str] | None = None
    ) -> None:
        self._output = output
        self._earlier = calls or {}  #: names of tools that runs before this one called
        self._question = question  #: show what was asked, too
        self._width = max(40, output.err.width - 5)
        self._console = output.out  #: where it is written
        self._notes = 0  #: since the last restart
        self._notes_shown = 0
        self._seen: dict[str, int] = {}  #: characters of each message since the last restart
        self._shown: dict[str, int] = {}
        self._open: str | None = None  #: the message in whose line the cursor stands
        self._wrapper: Wrapper | None = None  #: of that message
        self._calls: dict[str, list[str]] = {}  #: name, then pieces of arguments
        self._agent: str | None = None
        self._status: Status | None = None

    def __enter__(self) -> Self:
        self._wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._fresh_line()

    def restarted(self) -> None:
        """The run's events come again from the first."""
        self._notes, self._agent = 0, None
        self._seen.clear()
        self._calls.clear()

    def remark(self, text: str) -> None:
        """A quiet line about the connection; not part of the run."""
        self._step_aside()
        self._output.note(f"  {text}")
        self._wait()

    def placed(self, placed: Placed) -> None:
        """Show an event; kinds without a meaning for people are passed over."""
        event = placed.event
        kind = str(event.get("type"))
        if event.get("subagentRunId"):
            self._subagent(kind, event)
        elif kind in ("TEXT_MESSAGE_CHUNK", "TEXT_MESSAGE_CONTENT"):
            self._text(event)
        elif kind == "REASONING_MESSAGE_CONTENT":
            self._thought(event)
        elif kind.startswith("TOOL_CALL_"):
            self._call(kind, event)
        else:
            self._other(kind, event)

    # ------------------------------------------------------------------ what streams
    def _text(self, event: dict[str, Any]) -> None:
        if news := self._news(event):
            self._continue(str(event.get("messageId")), self._output.out)
            self._write(plain(news))

    def _thought(self, event: dict[str, Any]) -> None:
        news = self._news(event)
        if news and self._output.err.is_terminal:
            self._continue(str(event.get("messageId")), self._output.err)
            self._write(plain(news))

    def _news(self, event: dict[str, Any]) -> str:
        """What of a delta was not shown before."""
        message, delta = str(event.get("messageId")), str(event.get("delta") or "")
        begins = self._seen.get(message, 0)
        self._seen[message] = ends = begins + len(delta)
        shown = self._shown.get(message, 0)
        self._shown[message] = max(shown, ends)
        return delta[max(0, shown - begins) :]

    def _continue(self, message: str, console: Console) -> None:
        """Put the cursor behind what was shown of a message."""
        self._quiet()
        if self._open == message:
            return
        self._fresh_line()
        self._open, self._console = message, console
        self._wrapper = Wrapper(console.width) if console.is_terminal else None

    def _write(self, text: str) -> None:
        self._print(self._wrapper.feed(text) if self._wrapper else text)

    def _print(self, text: str) -> None:
        if self._console is self._output.err:
            self._console.print(Text(text, "dim italic"), end="", soft_wrap=True)
        else:
            self._console.file.write(text)
        self._console.file.flush()

    # ------------------------------------------------------------------ quiet lines
    def _call(self, kind: str, event: dict[str, Any]) -> None:
        id_ = str(event.get("toolCallId"))
        known = event.get("toolCallName") or self._earlier.get(id_, "a tool")
        call = self._calls.setdefault(id_, [str(known)])
        name = plain(call[0])
        if name.startswith(HANDOFF):
            return  # the step that follows tells who goes on
        if kind == "TOOL_CALL_ARGS":
            call.append(str(event.get("delta") or ""))
        elif kind == "TOOL_CALL_END":
            given = arguments("".join(call[1:]), self._width - len(name))
            self._note(Text.assemble("▸ ", (name, "cyan"), " ", (given, "dim")))
        elif kind == "TOOL_CALL_RESULT":
            room = self._width - len(name)
            mark = ("✗ ", "red") if has_failed(event) else ("✓ ", "")
            self._note(Text.assemble(mark, name, " ", one_line(event.get("content", ""), room)))

    def _subagent(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "SUBAGENT_STARTED":
            self._note(Text.assemble("  ⇢ ", (one_line(event.get("name", "an agent")), "magenta")))
        elif kind.startswith("TOOL_CALL_") and kind != "TOOL_CALL_RESULT":
            call = self._calls.setdefault(
                str(event.get("toolCallId")), [str(event.get("toolCallName", "a tool"))]
            )
            if kind == "TOOL_CALL_END":
                self._note(Text.assemble("    ▸ ", (plain(call[0]), "cyan")))

    def _other(self, kind: str, event: dict[str, Any]) -> None:
        match kind:
            case "RUN_STARTED" if self._question:
                for message in (event.get("input") or {}).get("messages") or []:
                    self._note(Text(f"{PROMPT}{text_of(message)}", "bold"))
            case "STEP_STARTED":
                name = one_line(event.get("stepName", ""))
                if self._agent not in (None, name):
                    self._note(Text.assemble("⇢ ", (name, "magenta")))
                self._agent = name
            case "CUSTOM" if event.get("name") == "baton.resumed":
                self._note(Text(TAKEN_OVER))
            case "CUSTOM" if event.get("name") == "baton.restarted":
                self._note(Text(RESTARTED))
            case "CUSTOM" if event.get("name") == "baton.waiting":
                value = event.get("value")
                said = value.get("message") if isinstance(value, dict) else None
                self._note(Text(f"… {one_line(said or 'waits for the model server', 200)}"))
            case "RUN_FINISHED":
                self._note(Text(finish_line(event)))
            case "RUN_ERROR":
                self._note(Text(f"✗ {one_line(event.get('message', ''), 500)}", "red"))

    def _note(self, line: Text) -> None:
        """A line beside the answer, unless it was shown before a restart."""
        self._notes += 1
        if self._notes > self._notes_shown:
            self._notes_shown = self._notes
            self._step_aside()
            line.stylize("dim", 0, 1)
            self._output.err.print(Text("  ").append_text(line), style="dim", soft_wrap=True)
            self._wait()

    # ------------------------------------------------------------------ the cursor
    def _step_aside(self) -> None:
        """Make room for a note. Where the answer goes elsewhere, as into a file, it goes on."""
        if self._console.is_terminal:
            self._fresh_line()
        self._quiet()

    def _fresh_line(self) -> None:
        self._quiet()
        if self._open is not None:
            self._print((self._wrapper.finish() if self._wrapper else "") + "\n")
            self._open = self._wrapper = None

    def _wait(self) -> None:
        """Show that something goes on, where somebody looks."""
        if self._output.err.is_terminal and self._status is None:
            self._status = self._output.err.status("", spinner="dots", spinner_style="dim")
            self._status.start()

    def _quiet(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


def finish_line(event: dict[str, Any]) -> str:
    """How a run ended, in few words."""
    outcome = str((event.get("outcome") or {}).get("type"))
    usage = [one for one in event.get("usage") or [] if isinstance(one, dict)]
    tokens = sum(int(one.get("totalTokens") or 0) for one in usage)
    used = f" · {count(tokens, 'token')}" if tokens else ""
    match outcome:
        case "success":
            return f"done{used}"
        case "cancelled":
            return f"stopped{used}"
        case "interrupt":
            return f"waits for a person's decision{used}"
    return f"{one_line(outcome)}{used}"
