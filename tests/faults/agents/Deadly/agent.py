"""An agent whose tools end the process that carries it."""

import asyncio
import os
import sys
import time
from pathlib import Path

from agents import Agent, function_tool

from baton import gateway_tool

#: Where it lies, the next process for one run alone dies before it claims that.
STILLBORN = Path(os.environ["BATON_AGENTS_HOME"]) / "stillborn"

if "--alone" in sys.argv and STILLBORN.exists():
    STILLBORN.unlink()
    print("the last word is stillborn", flush=True)
    os._exit(7)


def note(file: str) -> None:
    """Leave a line in a file: which process tries."""
    with Path(file).open("a") as tries:
        tries.write(f"{os.getpid()}\n")


@function_tool
def leave(status: int, word: str = "nothing") -> str:
    """End the process at once."""
    print(f"the last word is {word} and the key {os.environ['BATON_RUNNER_KEY']}", flush=True)
    os._exit(status)


@function_tool
def leave_until(file: str) -> str:
    """End the process unless there is a file; and the next one, should it be carried alone.

    It waits for the word that the other call is recorded: a step that the next process commits
    would be progress, and the count of deaths would begin anew.
    """
    note(f"{file}.tries")
    while not Path(f"{file}.go").exists():
        time.sleep(0.02)
    if Path(file).exists():
        return "it works"
    if "--alone" in sys.argv:
        STILLBORN.touch()
    os._exit(9)


@function_tool
def signal(number: int) -> str:
    """End the process by a signal."""
    os.kill(os.getpid(), number)
    return "it did not end"


@function_tool
async def wait_for(file: str) -> str:
    """Wait until there is a file; each try leaves a line in another one."""
    note(f"{file}.tries")
    while not Path(file).exists():  # noqa: ASYNC110, ASYNC240
        await asyncio.sleep(0.05)
    return "it is there"


agent = Agent(
    name="Deadly",
    instructions="Deadly: do what you are told.",
    tools=[leave, leave_until, signal, wait_for, gateway_tool("save_note")],
)
