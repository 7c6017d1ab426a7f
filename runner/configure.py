"""The SDK's RunConfig for our runs: our models, the run's trace, the agent's own wishes."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

from agents import Model, ModelSettings, RunConfig

from runner.models.provider import UpstreamProvider, WrappedProvider, journaled
from shared.protocol.ids import trace_id
from shared.protocol.record import ClaimedRun
from shared.settings import RunnerSettings
from shared.settings.runner import TraceContent
from shared.telemetry.logs import user_hash


class RunConfigs:
    """Makes run configs; one provider serves the whole process."""

    def __init__(self, settings: RunnerSettings, provider: UpstreamProvider) -> None:
        self._settings, self._provider = settings, provider
        #: What is the same in all runs. To make a RunConfig costs most of a millisecond: the SDK
        #: evaluates its own annotations each time.
        self._plain = RunConfig(
            model_provider=provider,
            model_settings=ModelSettings(include_usage=True),
            trace_include_sensitive_data=settings.trace_content is not TraceContent.NONE,
            tool_not_found_behavior="return_error_to_model",
        )

    def of(self, claimed: ClaimedRun) -> Callable[[Any], RunConfig]:
        """For one run: what to make of the config that some code gave, or of none."""
        base = copy.copy(self._plain)
        base.workflow_name = claimed.agent
        base.trace_id = trace_id(claimed.root)
        base.group_id = claimed.thread_id
        base.trace_metadata = {
            "run": claimed.run_id,
            "user": user_hash(claimed.user),
            "agent": claimed.agent,
        }

        def make(given: Any) -> RunConfig:
            if given is None:
                return base
            asked = RunConfig(**given) if isinstance(given, dict) else given
            return self._merged(base, asked)

        return make

    def _merged(self, base: RunConfig, asked: RunConfig) -> RunConfig:
        """The agent's own config, with its models journalled and its trace ours."""
        timeout_s = self._settings.model_timeout_s
        own = asked.model_provider
        model = asked.model
        return dataclasses.replace(
            asked,
            model=journaled(model, timeout_s=timeout_s) if isinstance(model, Model) else model,
            model_provider=own
            if isinstance(own, (UpstreamProvider, WrappedProvider))
            else self._provider_for(own, timeout_s),
            workflow_name=base.workflow_name,
            trace_id=base.trace_id,
            group_id=base.group_id,
            trace_metadata=base.trace_metadata,
            # The code may keep content out, and never let in what the operator keeps out.
            trace_include_sensitive_data=base.trace_include_sensitive_data
            and asked.trace_include_sensitive_data,
        )

    def _provider_for(self, own: Any, timeout_s: float) -> Any:
        """A config that says nothing about models has the SDK's default provider in it."""
        if type(own).__name__ == "MultiProvider":
            return self._provider
        return WrappedProvider(own, timeout_s=timeout_s)
