"""`chat`: one message and its answer, or a conversation."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from agent.approvals import decided_here, how_to_decide
from agent.client import Gateway, part
from agent.command import Cli, Json, Url, opened
from agent.conversation import Conversation
from agent.errors import FAILED, INTERRUPTED, WAITS, CliError, UsageError
from agent.files import attached
from agent.follow import tail_command
from agent.interrupts import LeftError
from agent.text import plain
from agent.turn import Turn, printer, shown_from
from agent.watch import Watch
from shared.protocol.ids import is_id, new_id, new_run_id, new_thread_id

#: The agent that comes with Baton; it is meant where several are served and none is named.
USUAL_AGENT = "Assistant"


def chat(
    text: Annotated[
        str | None, typer.Argument(help="What to say; without it, a conversation begins.")
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option(
            "--agent",
            metavar="NAME",
            help="Who shall answer; else the thread's, the only one, or Assistant.",
        ),
    ] = None,
    thread: Annotated[
        str | None, typer.Option("--thread", metavar="ID", help="Go on in this thread.")
    ] = None,
    attach: Annotated[
        list[str] | None,
        typer.Option("--attach", metavar="FILE", help="Send a file along; as often as you like."),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Talk to an agent.

    The answer streams to standard output. Ctrl-C cancels the run on the server, a second one leaves
    at once. Exit status: 0 answered, 1 failed, 3 waits for a person's decision, 130 cancelled.
    """
    if thread is not None and not is_id(thread):
        raise UsageError(f"{thread[:80]!r} is not the id of a thread.", "`baton threads` has them.")
    if text is None and not sys.stdin.isatty():
        text = sys.stdin.read()
    if text is not None and not text.strip():
        raise UsageError("There is nothing to say.", 'Try: baton chat "hello"')
    if text is None and attach:
        raise UsageError("Files go along with a message.", 'Try: baton chat "…" --attach FILE')
    if text is None and as_json:
        raise UsageError("A conversation cannot be JSON.", 'Say what to ask: baton chat --json "…"')
    with opened(url, as_json) as cli:
        known = cli.gateway.get(f"/api/threads/{part(thread)}") if thread else None
        agent = agent or (str(known["agent"]) if known else choose_agent(cli.gateway))
        if text is None:
            raise typer.Exit(_converse(cli, agent, known))
        parts = [attached(cli.gateway, file) for file in attach or ()]
        frame = request(text, agent, thread or new_thread_id(), parts)
        raise typer.Exit(_say(cli, frame))


def request(
    text: str, agent: str, thread: str, parts: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """A `run` frame for a text, and `parts` behind it; its run id makes a repeat harmless."""
    sound = text.encode("utf-8", "replace").decode()  # what no encoding can hold, JSON cannot
    content = [{"type": "text", "text": sound}, *parts] if parts else sound
    message = {"id": new_id("msg"), "role": "user", "content": content}
    run_input = {"threadId": thread, "runId": new_run_id(), "messages": [message]}
    return {"op": "run", "agent": agent, "input": run_input | {"tools": [], "context": []}}


def choose_agent(gateway: Gateway) -> str:
    """Who answers where nobody was named.

    Raises:
        CliError: nobody is served, or it is not clear who is meant.
    """
    names = [str(one["name"]) for one in gateway.get("/api/agents")["data"]]
    if len(names) == 1 or USUAL_AGENT in names:
        return USUAL_AGENT if USUAL_AGENT in names else names[0]
    if names:
        raise UsageError("Several agents are served.", f"Say which: --agent {'|'.join(names)}")
    raise CliError(
        "No agent is served.", "`baton status` shows runners and broken agents.", code="no_agent"
    )


def _say(cli: Cli, frame: dict[str, Any]) -> int:
    thread = frame["input"]["threadId"]
    watch = Watch(thread, frame["input"]["runId"], request=frame)
    try:
        status = ask(cli, watch)
    except LeftError:
        return INTERRUPTED
    if cli.output.err.is_terminal and not cli.output.as_json:
        cli.output.note(
            f"  more: baton trace {watch.run_id}"
            if status == FAILED
            else f"  go on: baton chat --thread {thread} …"
        )
    return status


def ask(cli: Cli, watch: Watch) -> int:
    """Show a run from its start to its end; returns the exit status.

    What it asks meanwhile, whoever sits at the terminal decides.

    Raises:
        LeftError: the person has left before.
    """
    turn = Turn(cli.gateway, watch, printer(cli.output))
    try:
        status = asyncio.run(turn.run(cancellable=True))
    except LeftError:
        cli.output.note(f"Left. To look again: {tail_command(watch.run_id, watch.cursor)}")
        raise
    run = watch.run_id
    while status == WAITS and _somebody_is_there(cli):
        goes_on = decided_here(cli, run)
        if goes_on is None:
            break
        run = goes_on
        status = asyncio.run(shown_from(cli, run, question=False, cancellable=True))
    if status == WAITS and not cli.output.as_json:
        cli.output.note(f"  {how_to_decide(run)}")
    return status


def _somebody_is_there(cli: Cli) -> bool:
    return sys.stdin.isatty() and not cli.output.as_json


def _converse(cli: Cli, agent: str, thread: dict[str, Any] | None) -> int:
    def say(text: str, agent: str, thread_id: str) -> int:
        frame = request(text, agent, thread_id)
        return ask(cli, Watch(thread_id, frame["input"]["runId"], request=frame))

    conversation = Conversation(cli, say, agent=plain(agent))
    if thread is not None:
        conversation.open(str(thread["id"]))
    return conversation.run()
