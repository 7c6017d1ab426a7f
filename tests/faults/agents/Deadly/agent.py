"""An agent whose tools end the process that carries it."""

import asyncio
import os
from pathlib import Path

from agents import Agent, function_tool


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
def signal(number: int) -> str:
    """End the process by a signal."""
    os.kill(os.getpid(), number)
    return "it did not end"


@function_tool
def leave_at_first(times: int, file: str) -> str:
    """End the process the first times."""
    note(file)
    if len(Path(file).read_text().splitlines()) <= times:
        os._exit(9)
    return "it works"


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
    tools=[leave, signal, leave_at_first, wait_for],
)
