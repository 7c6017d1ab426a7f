"""What is said to each agent of tests/fixtures/features, and what the model says to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents import ModelBehaviorError
from agents.testing import assistant_message
from openai.types.responses import ResponseOutputMessage, ResponseOutputRefusal
from openai.types.responses.response_reasoning_item import ResponseReasoningItem, Summary

from baton.testing import calls

Script = list[Any]


@dataclass(frozen=True)
class Story:
    """One run of one agent; `verdicts` are what people say where it asks."""

    agent: str
    what: str
    script: Callable[[], Script]
    said: str = "go"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    verdicts: tuple[bool | str, ...] = ()
    #: The code of the error that clients get.
    code: str | None = None

    def __str__(self) -> str:
        return f"{self.agent}: {self.what}"


def story(agent: str, what: str, *script: Any, **more: Any) -> Story:
    """A story whose script is made anew for each run: call ids are used once."""
    return Story(agent, what, lambda: [one() if callable(one) else one for one in script], **more)


def call(tool: str, **arguments: Any) -> Callable[[], Any]:
    return lambda: calls(tool, **arguments)


def together(*made: Callable[[], Any]) -> Callable[[], list[Any]]:
    return lambda: [one() for one in made]


def thinking(text: str, said: str) -> list[Any]:
    summary = [Summary(type="summary_text", text=text)]
    thought = ResponseReasoningItem(id="rs_1", type="reasoning", summary=summary)
    return [thought, assistant_message(said)]


def refusing(text: str) -> list[Any]:
    part = ResponseOutputRefusal(type="refusal", refusal=text)
    return [
        ResponseOutputMessage(
            id="m", type="message", role="assistant", status="completed", content=[part]
        )
    ]


EVENT = '{"title": "Tea", "people": ["Ada", "Grace"]}'

STORIES = [
    story("Plain", "answers", "Yes."),
    story("Plain", "reasons", thinking("Hm.", "Yes.")),
    story("Plain", "refuses", refusing("I will not."), code="agent_error"),
    story("Plain", "meets an error", ModelBehaviorError("nonsense"), code="upstream_invalid"),
    story("SyncTool", "calls", call("add", a=1, b=2), "3"),
    story("SyncTool", "calls with wrong arguments", call("add", a="x"), "Sorry."),
    story("AsyncTool", "calls", call("look_up", word="tea"), "It has none."),
    story("ParallelTools", "calls both", together(call("left"), call("right")), "Met."),
    story("HandOff", "goes to the first", call("transfer_to_billing"), "Five euros."),
    story(
        "HandOff",
        "wants to go to both",
        together(call("transfer_to_billing"), call("transfer_to_shipping")),
        "Five euros.",
    ),
    story("HandOff", "stays", "What is it about?"),
    story("HandOffInput", "escalates", call("escalate", why="odd"), "I see."),
    story(
        "HandOffBack",
        "goes there and back",
        call("transfer_to_second"),
        call("transfer_to_first"),
        "Here again.",
    ),
    story("HandOffClosed", "is open", call("transfer_to_staff"), "In.", metadata={"staff": True}),
    story("AgentAsTool", "asks", call("translate", input="tea"), "Tee", "In German: Tee"),
    story(
        "AgentToolStructured", "orders", call("order", what="tea", many=2), "Here is tea", "Thanks."
    ),
    story("SameNames", "asks its namesake", call("ask", input="who?"), "The second.", "Both."),
    story("InputGuardrail", "lets it pass", "Fine."),
    story("InputGuardrail", "trips", "-", said="my password", code="guardrail_tripped"),
    story("OutputGuardrail", "lets it pass", "Fine."),
    story("OutputGuardrail", "trips", "Call 555.", code="guardrail_tripped"),
    story("ToolGuardrails", "lets it pass", call("read", file="a"), "Read."),
    story("ToolGuardrails", "answers itself", call("read", file="/root"), "Not that one, then."),
    story("ToolGuardrails", "trips", call("read", file="secret"), code="guardrail_tripped"),
    story("Hooks", "tells what its hooks saw", call("seen"), call("seen"), "Much."),
    story("DynamicInstructions", "is told", "Yes.", metadata={"tone": "brief"}),
    story("EnabledTools", "is staff", call("open_safe"), "Open.", metadata={"staff": True}),
    story("EnabledTools", "is not", call("ring"), "Somebody comes."),
    story(
        "Approval",
        "is allowed",
        together(call("look"), call("delete", file="a")),
        "Gone.",
        verdicts=(True,),
    ),
    story("Approval", "is refused", call("delete", file="a"), "Kept.", verdicts=(False,)),
    story("Approval", "is told why", call("delete", file="a"), "Kept.", verdicts=("It is mine.",)),
    story(
        "Approval",
        "asks for two",
        together(call("delete", file="a"), call("delete", file="b")),
        "One is gone.",
        verdicts=(True, False),
    ),
    story("ApprovalPredicate", "asks", call("pay", euros=500), "Paid.", verdicts=(True,)),
    story("ApprovalPredicate", "need not ask", call("pay", euros=5), "Paid."),
    story(
        "ApprovalInside",
        "asks",
        call("buy", input="tea"),
        call("order", what="tea"),
        "Ordered.",
        "Bought.",
        verdicts=(True,),
    ),
    story("PydanticOutput", "answers", EVENT),
    story("PydanticOutput", "answers amiss", "Tea!", code="upstream_invalid"),
    story("DataclassOutput", "answers", '{"response": {"x": 1, "y": 2}}'),
    story("ListOutput", "answers", '{"response": [1, 2]}'),
    story("StopOnFirstTool", "stops", call("answer")),
    story("StopAtTools", "stops", call("think"), call("conclude", result="tea")),
    story("OwnToolUse", "stops at six", call("roll", value=2), call("roll", value=6)),
    story("Context", "keeps", call("put", item="tea"), call("put", item="milk"), call("cart"), "2"),
    story("ToolTimeout", "is told", call("wait"), "Too slow."),
    story("ToolFails", "is told", call("plain"), call("polite"), "Both fail."),
    story("ToolRaises", "fails", call("fragile"), code="agent_error"),
    story("ToolResults", "gets them", together(call("weather"), call("picture")), "Nice."),
    story("Siblings", "goes on", call("transfer_to_billing"), "Money."),
    story("Helper", "runs two", "A long text.", "A text."),
    story("SyncHelper", "waits", "Yes."),
    story("StreamHelper", "streams", "Yes."),
    story("CatchingHelper", "goes on", call("again"), "Calm."),
    story("Memory", "remembers", "One.", "Two."),
    story("Factory", "is made", "Oui.", metadata={"language": "French"}),
    story("RunnerMaker", "runs", "Yes."),
    story("MaxTurns", "is stopped", *[call("more")] * 4, code="max_turns"),
    story("ToolAgents", "asks", call("ask", question="?"), "Inside.", "Outside."),
]
