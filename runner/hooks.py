"""Our hooks around the author's: who works now is known, and agents made on the way are wrapped."""

from typing import Any

from agents import Agent, RunHooks

from runner.scope import SCOPE
from runner.wrap import wrap_agent


class ComposedHooks(RunHooks[Any]):
    """Hooks of one invocation: ours first, then the author's own."""

    def __init__(self, author: RunHooks[Any] | None) -> None:
        self._author: RunHooks[Any] = author or RunHooks()

    async def on_agent_start(self, context: Any, agent: Any) -> None:
        """An agent begins, or has taken over from another."""
        if isinstance(agent, Agent):
            wrap_agent(agent)
        if (scope := SCOPE.get()) is not None:
            scope.agent = agent.name
        await self._author.on_agent_start(context, agent)

    async def on_agent_end(self, context: Any, agent: Any, output: Any) -> None:
        """The author's hook."""
        await self._author.on_agent_end(context, agent, output)

    async def on_llm_start(
        self, context: Any, agent: Any, system_prompt: Any, input_items: Any
    ) -> None:
        """The author's hook."""
        await self._author.on_llm_start(context, agent, system_prompt, input_items)

    async def on_llm_end(self, context: Any, agent: Any, response: Any) -> None:
        """The author's hook."""
        await self._author.on_llm_end(context, agent, response)

    async def on_handoff(self, context: Any, from_agent: Any, to_agent: Any) -> None:
        """The author's hook; the SDK calls it by keyword."""
        await self._author.on_handoff(context=context, from_agent=from_agent, to_agent=to_agent)

    async def on_tool_start(self, context: Any, agent: Any, tool: Any) -> None:
        """The author's hook."""
        await self._author.on_tool_start(context, agent, tool)

    async def on_tool_end(self, context: Any, agent: Any, tool: Any, result: Any) -> None:
        """The author's hook."""
        await self._author.on_tool_end(context, agent, tool, result)
