"""The agent of the drill: tools with effects, a hand-off, an agent as tool, a tool that kills."""

import json
import os
import sys
import time

from agents import Agent, function_tool

from baton import gateway_tool

researcher = Agent(
    name="Researcher",
    handoff_description="Answers questions that need thought.",
    instructions="Researcher: think it through and research the answer.",
)

summarizer = Agent(name="Summarizer", instructions="Summarizer: summarize what you are given.")


@function_tool
def end_process(run: str) -> str:
    """End the process that carries the run, at once, with all that it carries besides."""
    pid, alone = os.getpid(), "--alone" in sys.argv
    line = {"run": run, "pid": pid, "alone": alone, "at": time.time()}
    # Everything that the drill knows of these deaths is in this file.
    file = os.open(os.environ["AGENT_DRILL_KILLED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, json.dumps(line).encode() + b"\n")
    os._exit(13)


agent = Agent(
    name="Drill",
    instructions="Drill: do what you are told.",
    handoffs=[researcher],
    tools=[
        gateway_tool("ledger"),
        gateway_tool("save_note"),
        gateway_tool("current_time"),
        end_process,
        summarizer.as_tool(tool_name="summarize", tool_description="Summarize a text."),
    ],
)
