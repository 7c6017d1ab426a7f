"""An agent whose guardrail stops everything."""

from typing import Any

from agents import Agent, GuardrailFunctionOutput, RunContextWrapper, input_guardrail


@input_guardrail(name="nothing", run_in_parallel=False)
def nothing(
    _run: RunContextWrapper[Any], _agent: Agent[Any], _given: Any
) -> GuardrailFunctionOutput:
    """Trip, always."""
    return GuardrailFunctionOutput(None, tripwire_triggered=True)


agent = Agent(name="Guarded", input_guardrails=[nothing])
