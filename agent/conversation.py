"""A conversation on the terminal. What was said in a thread is the history of the input line."""

from collections.abc import Callable
from typing import Any

from rich.text import Text

from agent.client import part
from agent.command import Cli
from agent.errors import INTERRUPTED, CliError, RefusedError
from agent.interrupts import LeftError
from agent.text import PROMPT, one_line, text_of
from shared.protocol.codes import Code
from shared.protocol.ids import is_id, new_thread_id

try:
    import readline
except ImportError:  # not everywhere; the input line then has no history
    readline = None  # type: ignore[assignment]

#: Says something in a thread (text, agent, thread) and shows the answer; the exit status.
Say = Callable[[str, str, str], int]

#: So much of a thread is shown when it is opened.
SHOWN_MESSAGES = 6

HELP = """\
/new            begin a new thread
/thread ID      go on in another thread
/agent [NAME]   who is there; or let NAME answer from now on
/quit           leave (also Ctrl-D)
Ctrl-C          stop the answer; a second one leaves"""


class Conversation:
    """Reads lines, says them, obeys commands."""

    def __init__(self, cli: Cli, say: Say, *, agent: str) -> None:
        self._cli = cli
        self._output = cli.output
        self._say = say
        self._agent = agent
        self._thread: str | None = None
        self._said = False

    def run(self) -> int:
        """Talk until the person leaves; the exit status."""
        where = f"thread {self._thread}" if self._thread else "new thread"
        self._output.note(f"{self._agent} · {where} · /help")
        while True:
            try:
                line = input(PROMPT).strip()
            except EOFError:
                self._output.err.print()
                return self._leave()
            except KeyboardInterrupt:
                self._output.err.print()
                self._output.note("Ctrl-D or /quit leaves.")
                continue
            if line in ("/quit", "/exit", "/q"):
                return self._leave()
            try:
                if line.startswith("/"):
                    self._obey(line)
                elif line:
                    self._ask(line)
            except LeftError:
                return INTERRUPTED
            except CliError as error:
                self._complain(error)

    def open(self, thread: str) -> None:
        """Go on in a thread that exists: show its end, and let the input line remember."""
        page = self._cli.gateway.get(f"/api/threads/{part(thread)}/messages", limit=50)
        self._thread, self._said = thread, True
        self._remember([text_of(one) for one in page["data"] if one.get("role") == "user"])
        for message in _spoken(page["data"])[-SHOWN_MESSAGES:]:
            self._show(message)

    def _ask(self, text: str) -> None:
        if self._thread is None:
            self._thread = new_thread_id()
        self._say(text, self._agent, self._thread)
        self._said = True

    def _obey(self, line: str) -> None:
        command, _, rest = line.partition(" ")
        rest = rest.strip()
        match command:
            case "/new":
                self._thread, self._said = None, False
                self._remember([])
                self._output.note(f"{self._agent} · new thread")
            case "/agent":
                self._choose(rest)
            case "/thread" if is_id(rest):
                thread = self._cli.gateway.get(f"/api/threads/{part(rest)}")
                self._agent = one_line(thread["agent"])
                self.open(str(thread["id"]))
                self._output.note(f"{self._agent} · thread {self._thread}")
            case "/thread":
                self._output.note(f"thread {self._thread}" if self._thread else "new thread")
            case "/help":
                self._output.note(HELP)
            case _:
                self._output.note(f"There is no {one_line(command, 40)}.")
                self._output.note(HELP)

    def _choose(self, name: str) -> None:
        names = [str(one["name"]) for one in self._cli.gateway.get("/api/agents")["data"]]
        if not name:
            marked = (f"{one} (answers now)" if one == self._agent else one for one in names)
            self._output.note("\n".join(marked) or "No agent is served.")
        elif name in names:
            self._agent = name
            self._output.note(f"{name} answers from now on")
        else:
            said = f"No agent is called {one_line(name, 80)!r}; /agent lists those that are."
            raise RefusedError(Code.UNKNOWN_AGENT, said)

    def _show(self, message: dict[str, Any]) -> None:
        text = text_of(message)
        if message.get("role") == "user":
            self._output.err.print(Text(f"{PROMPT}{text}", "bold"))
        else:
            self._output.err.print(Text(text))

    def _remember(self, lines: list[str]) -> None:
        if readline is None:
            return
        readline.clear_history()
        for line in lines:
            readline.add_history(line)

    def _complain(self, error: CliError) -> None:
        self._output.note(error.message, "red")
        if error.hint:
            self._output.note(error.hint)

    def _leave(self) -> int:
        if self._thread and self._said:
            self._output.note(f"Go on later: baton chat --thread {self._thread}")
        return 0


def _spoken(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in messages if one.get("role") in ("user", "assistant") and text_of(one)]
