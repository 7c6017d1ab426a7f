"""A helper that runs agents itself, one after the other."""

from agents import Agent, Runner

writer = Agent(name="Writer", instructions="Write a short text about what you are told.")
editor = Agent(
    name="Editor", instructions="Make the text shorter and clearer. Answer with it alone."
)


async def run(text: str) -> str:
    """Write, then edit."""
    draft = await Runner.run(writer, text)
    final = await Runner.run(editor, str(draft.final_output))
    return str(final.final_output)
