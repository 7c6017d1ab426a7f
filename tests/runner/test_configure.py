"""The SDK's RunConfig for a run: what the operator decides is not the agent's to change."""

from types import SimpleNamespace
from typing import Any

import pytest
from agents import RunConfig

from runner.configure import RunConfigs
from shared.protocol.ids import uuid7
from shared.settings.runner import TraceContent


@pytest.mark.parametrize(
    ("operator", "code", "expected"),
    [
        (TraceContent.NONE, True, False),
        (TraceContent.REDACTED, True, True),
        (TraceContent.REDACTED, False, False),
    ],
)
def test_content_is_in_a_trace_only_where_operator_and_code_allow_it(
    operator: TraceContent, code: bool, expected: bool
) -> None:
    settings: Any = SimpleNamespace(model_timeout_s=1, trace_content=operator)
    run: Any = SimpleNamespace(
        agent="A", root=uuid7(), thread_id="thr_1", run_id="run_1", user=uuid7()
    )
    provider: Any = object()
    config = RunConfigs(settings, provider).of(run)
    made = config(RunConfig(trace_include_sensitive_data=code, workflow_name="mine"))
    assert made.trace_include_sensitive_data is expected
    assert (made.workflow_name, made.group_id) == ("A", "thr_1")
    assert config(None).trace_include_sensitive_data is (operator is not TraceContent.NONE)
