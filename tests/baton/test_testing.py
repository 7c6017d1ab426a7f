import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, RunConfig, Runner
from agents.testing import ModelStep, ScriptedModel, assistant_message

from baton.testing import AgentUnderTest, Called, baton_agent, calls
from runner.trials import NotServedError
from stack.program import ROOT

__all__ = ["baton_agent"]  # the fixture

Load = Callable[..., AgentUnderTest]
Write = Callable[[str], Path]

WITH_A_TOOL = """
from agents import Agent, function_tool

@function_tool
def add(a: int, b: int) -> int:
    return a + b

agent = Agent(name="Adder", tools=[add])
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(code: str) -> Path:
        (tmp_path / "agent.py").write_text(code)
        return tmp_path

    return written


def test_the_example_of_the_guide_passes(
    baton_agent: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide = (ROOT / "docs" / "drop-in-agents.md").read_text()
    (code,) = re.findall(r"```python\n(# test_refunds.py.*?)```", guide, re.DOTALL)
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    exec(compile(code, "the guide", "exec"), names)
    tests = [one for name, one in names.items() if name.startswith("test_")]
    for test in tests:
        test(baton_agent)
    assert tests


def test_calls_have_arguments_and_results(baton_agent: Load, write: Write) -> None:
    ended = baton_agent(write(WITH_A_TOOL)).run("2 + 3?", [calls("add", a=2, b=3), "5"])
    assert ended.calls == [Called("add", {"a": 2, "b": 3}, "5")]
    assert (ended.final_output, ended.last_agent, ended.error) == ("5", "Adder", None)
    ended.check_replay()


def test_events_are_those_that_clients_get(baton_agent: Load, write: Write) -> None:
    ended = baton_agent(write(WITH_A_TOOL)).run("2 + 3?", [calls("add", a=2, b=3), "5"])
    assert [one["type"] for one in ended.events] == [
        "RUN_STARTED",
        "STEP_STARTED",
        "TOOL_CALL_START",
        "TOOL_CALL_ARGS",
        "TOOL_CALL_END",
        "TOOL_CALL_RESULT",
        "TEXT_MESSAGE_CHUNK",
        "STEP_FINISHED",
        "RUN_FINISHED",
    ]
    assert [one["role"] for one in ended.messages] == ["assistant", "tool", "assistant"]


def test_history_and_metadata_reach_the_agent(baton_agent: Load, write: Write) -> None:
    code = (
        "from agents import Agent\n"
        "agent = Agent(name='A', instructions=lambda run, _: run.context.metadata['tone'])\n"
    )
    ended = baton_agent(write(code)).run(
        "again",
        ["ok"],
        history=[{"role": "user", "content": "before"}],
        metadata={"tone": "be brief"},
    )
    assert isinstance(ended.model, ScriptedModel)
    (asked,) = ended.model.calls
    assert asked.system_instructions == "be brief"
    assert [one["content"] for one in asked.input] == ["before", "again"]


def test_an_error_has_its_code(baton_agent: Load, write: Write) -> None:
    ended = baton_agent(write(WITH_A_TOOL)).run("?", [ValueError("no")])
    assert ended.error is not None
    assert (ended.error.code, ended.events[-1]["type"]) == ("agent_error", "RUN_ERROR")


def test_a_script_that_is_too_short_says_so(baton_agent: Load, write: Write) -> None:
    ended = baton_agent(write(WITH_A_TOOL)).run("?", [calls("add", a=1, b=1)])
    assert ended.error is not None
    assert "UnexpectedModelCall" in ended.error.message


def test_arguments_that_are_no_json_are_shown_as_they_are(baton_agent: Load, write: Write) -> None:
    call = calls("add")
    call.arguments = "{"
    ended = baton_agent(write(WITH_A_TOOL)).run("?", [call, "?"])
    assert ended.calls[0].arguments == {"": "{"}


def test_a_tool_of_toolsvc_without_a_stand_in_is_named(baton_agent: Load) -> None:
    ended = baton_agent(ROOT / "examples/agents/Refunds").run("?", [calls("save_note", text="x")])
    assert ended.error is not None
    assert "'save_note' has no stand-in" in ended.error.message


def test_chance_in_control_flow_fails_the_check_of_a_replay(
    baton_agent: Load, write: Write
) -> None:
    code = (
        "import random\nfrom agents import Agent, Runner\nhelper = Agent(name='A')\n"
        "async def run(text: str) -> str:\n"
        "    return (await Runner.run(helper, str(random.random()))).final_output\n"
    )
    random.seed(1)
    ended = baton_agent(write(code)).run("?", ["x"])
    with pytest.raises(AssertionError):
        ended.check_replay()


@pytest.mark.parametrize("verdicts", [(), (True, True)])
def test_each_interruption_wants_one_verdict(verdicts: tuple[bool, ...], baton_agent: Load) -> None:
    asked = baton_agent(ROOT / "examples/agents/Refunds").run(
        "?", [calls("refund", order="A1", euros=1), "x"]
    )
    with pytest.raises(ValueError, match="verdicts for 1"):
        asked.resume(*verdicts)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("examples/agents", "one agent's folder or file; it has Concierge, "),
        ("docs", "one agent's folder or file; it has none"),
        ("nowhere", "There is nothing at "),
    ],
)
def test_a_path_has_to_be_one_agents(path: str, told: str, baton_agent: Load) -> None:
    with pytest.raises(NotServedError, match=told):
        baton_agent(ROOT / path)


def test_a_file_that_cannot_be_imported_raises_what_it_raises(
    baton_agent: Load, write: Write
) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        baton_agent(write("import no_such_package"))


@pytest.mark.asyncio
async def test_the_plain_sdk_works_beside_it(baton_agent: Load, write: Write) -> None:
    ended = baton_agent(write(WITH_A_TOOL)).run("?", ScriptedModel([ModelStep(output=[])]))
    assert ended.final_output is None or ended.error is None
    plain = Agent(name="Plain", model=ScriptedModel([[assistant_message("hello")]]))
    untraced = RunConfig(tracing_disabled=True)
    assert (await Runner.run(plain, "hi", run_config=untraced)).final_output == "hello"


WITH_FILES = """
from agents import Agent, function_tool
from baton import put_file, read_file

@function_tool
async def export() -> str:
    return await put_file("rows.csv", "a,b")

@function_tool
async def size(id: str) -> int:
    return len(await read_file(id))

agent = Agent(name="Exporter", tools=[export, size])
"""


def test_files_of_an_agents_code_are_kept_while_it_is_tested(
    baton_agent: Load, write: Write
) -> None:
    ended = baton_agent(write(WITH_FILES)).run("Export.", [calls("export"), "Done."])
    (call,) = ended.calls
    ((name, id_),) = re.findall(r"\[(.*)\]\(/api/files/(file_[0-9a-f]{32})\)", str(call.result))
    assert name == "rows.csv"
    ended.check_replay()
    later = baton_agent(write(WITH_FILES)).run("Size?", [calls("size", id=id_), "None."])
    assert "error occurred" in str(later.calls[0].result)  # of another run there is nothing here
