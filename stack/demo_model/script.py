"""The script: which words of a user lead to which answer.

`RULES` is read from top to bottom; the first rule whose phrase occurs in the user's text, and whose
tool is offered, answers. A rule with a tool first calls it and speaks once its output is there.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from stack.demo_model import forced, wording
from stack.demo_model.arguments import fitted
from stack.demo_model.question import HANDOFF_PREFIX, Question
from stack.demo_model.reply import Reply, ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """If the user's text holds `phrase` (and `when` holds), then `reply`."""

    phrase: re.Pattern[str]
    reply: Callable[[Question, re.Match[str]], Reply]
    when: Callable[[Question], bool] = lambda _: True


def answer(question: Question) -> Reply:
    """The script's reply to one model call, bent by the directives."""
    return forced.bend(_forced_call(question) or _by_rules(question), question)


def _forced_call(question: Question) -> Reply | None:
    asked = question.directives
    if not asked.calls:
        return None
    if len(question.outputs) < asked.turns * len(asked.calls):
        return Reply(calls=asked.calls)
    return Reply(text=wording.of_outputs(question.outputs[-len(asked.calls) :]))


def _by_rules(question: Question) -> Reply:
    for rule in RULES:
        found = rule.phrase.search(question.text)
        if found and rule.when(question):
            return rule.reply(question, found)
    if question.outputs:
        return Reply(text=wording.of_outputs(question.outputs))
    return Reply(text=wording.echo(question.text))


def _phrase(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


def _says(text: str, *, reasoning: str = "") -> Callable[[Question, re.Match[str]], Reply]:
    """A rule's reply in words; `{name}` stands for that group of the phrase."""

    def reply(_: Question, found: re.Match[str]) -> Reply:
        return Reply(text=_filled(text, found), reasoning=_filled(reasoning, found))

    return reply


def _tool(phrase: str, tool: str, arguments: dict[str, str], *, then: str) -> Rule:
    """A rule that calls `tool` and then says `then`, in which `{output}` is what it answered."""

    def reply(question: Question, found: re.Match[str]) -> Reply:
        output = question.output_of(tool)
        if output is None:
            return Reply(calls=(_call(question, tool, arguments, found),))
        return Reply(text=wording.from_output(_filled(then, found), output))

    return Rule(phrase=_phrase(phrase), reply=reply, when=lambda question: tool in question.tools)


def _call(
    question: Question, tool: str, arguments: dict[str, str], found: re.Match[str]
) -> ToolCall:
    filled = {name: _filled(value, found) for name, value in arguments.items()}
    fitting: dict[str, Any] = fitted(filled, question.tools[tool])
    return ToolCall(name=tool, arguments=orjson.dumps(fitting).decode())


def _filled(text: str, found: re.Match[str]) -> str:
    for name, value in found.groupdict().items():
        text = text.replace("{" + name + "}", (value or "").strip())
    return text


def _time_and_profile(question: Question, found: re.Match[str]) -> Reply:
    if question.outputs:
        return Reply(text=wording.of_outputs(question.outputs))
    return Reply(calls=tuple(_call(question, tool, {}, found) for tool in _BOTH))


def _research(question: Question, found: re.Match[str]) -> Reply:
    """Hand over to a researcher, or answer when this agent is the one."""
    topic = found["topic"].strip(" .?!")
    handoff = None if question.was_handed_off() else _handoff_for_research(question)
    if handoff is not None:
        return Reply(calls=(_call(question, handoff, {}, found),))
    return Reply(
        reasoning=f"The user wants to know about {topic}. I weigh what I have and keep it short.",
        text=wording.specialist(topic),
    )


def _handoff_for_research(question: Question) -> str | None:
    """The hand-off to take; None for the researcher itself, whose only way may lead back."""
    offered = list(question.handoffs_offered())
    named = (name for name in offered if "research" in name.removeprefix(HANDOFF_PREFIX))
    is_researcher = "research" in question.instructions.lower()
    return next(named, None if is_researcher else next(iter(offered), None))


def _summary(question: Question, found: re.Match[str]) -> Reply:
    return Reply(text=wording.summary(found["topic"] or question.text))


def _summarizes(question: Question) -> bool:
    """Whether this is the agent behind the tool `summarize`, which gets the bare text."""
    return not question.tools and "summar" in question.instructions.lower()


_BOTH = ("current_time", "get_profile")

RULES: tuple[Rule, ...] = (
    Rule(phrase=_phrase(r"(?P<topic>)\S"), when=_summarizes, reply=_summary),
    Rule(
        phrase=_phrase(r"\bdo both\b|\btime and (?:my )?profile\b"),
        when=lambda question: all(tool in question.tools for tool in _BOTH),
        reply=_time_and_profile,
    ),
    _tool(
        r"^\W*(?:note|remember)\b(?:\s+that\b)?\s*:?\s+(?P<note>.+)",
        "save_note",
        {"text": "{note}"},
        then='Noted: "{note}". Ask me "search notes for …" to find it again.',
    ),
    _tool(
        r"\bsearch (?:my |the )?notes? for (?P<query>.+?)\W*$"
        r"|\bwhat did I note (?:about|on) (?P<about>.+?)\W*$",
        "search_notes",
        {"query": "{query}{about}"},
        then="I found: {output}.",
    ),
    _tool(
        r"\bdelete (?:the |my )?note (?:number |id )?#?(?P<id>[\w-]+)",
        "delete_note",
        {"note_id": "{id}"},
        then="The note {id} is deleted.",
    ),
    _tool(
        r"\bwhat(?:'s| is) my (?:display )?name\b|\bwhat my (?:display )?name is\b|\bwho am I\b"
        r"|\b(?:show|get|see|read)(?: me)? my profile\b",
        "get_profile",
        {},
        then="Your profile says: {output}.",
    ),
    _tool(
        r"(?:\bname to|\bcall me|\bmy name is|\bI am called)\s+[\"“]?"
        r"(?P<name>[^\n\"“”,!?;]{1,80}?)"
        r"(?=[\n\"”,!?;]|\s+(?:in|on|please|from now)\b|(?<=\w\w)\.\s|[.\s]*$)",
        "update_profile",
        {"display_name": "{name}"},
        then="Done: your display name is now {name}.",
    ),
    _tool(
        r"\bwhat time is it\b|\bwhat(?:'s| is) the time\b|\bcurrent time\b",
        "current_time",
        {},
        then="It is {output}.",
    ),
    _tool(
        r"^\W*echo\s+(?P<text>.+)", "echo_context", {"text": "{text}"}, then="The echo: {output}."
    ),
    Rule(phrase=_phrase(r"\bresearch\s+(?P<topic>.+)"), reply=_research),
    _tool(
        r"\bsummari[sz]e\b:?\s+(?P<topic>.+)",
        "summarize",
        {"input": "{topic}"},
        then="{output}",
    ),
    Rule(
        phrase=_phrase(r"\bsummari[sz]e\b:?\s+(?P<topic>.+)"),
        when=lambda question: not question.tools,
        reply=_summary,
    ),
    Rule(
        phrase=_phrase(r"^\W*think\b(?:\s+about\b)?\s*(?P<topic>.*)"),
        reply=_says(
            "I have thought about it ({topic}): the short answer is that it depends, and the long "
            "answer needs a real model.",
            reasoning="Let me think about this step by step. First I look at what was asked: "
            "{topic}. Then I look for what could go wrong. Nothing stands out, so I can answer.",
        ),
    ),
    Rule(
        phrase=_phrase(r"^\W*(?:hello|hi|hey|good (?:morning|evening|afternoon))\b"),
        reply=_says(wording.GREETING),
    ),
)
