"""The sentences of the demo, and what it makes of tools' outputs."""

import re

import orjson

from stack.demo_model.question import ToolOutput

GREETING = (
    "Hello! I am Baton's demo model: a small script, so you can try everything without a key. "
    'Ask me "what time is it", tell me "Please set my display name to Ada in my profile", '
    'say "note: water the plants" and later "search notes for plants", or "research tidal power" '
    "to be handed to another agent."
)

#: How the SDK and Baton's tools say that a call did not succeed.
_FAILURE = re.compile(r"\bnot approved\b|\brejected\b|^an error occurred|^error\b", re.IGNORECASE)


def echo(text: str) -> str:
    """What the demo answers when no rule fits."""
    if not text:
        return "I did not get any text. Say hello to see what I can do."
    return f'You said: "{text}". I am only a script and know a few phrases; say hello to see them.'


def specialist(topic: str) -> str:
    """A researcher's answer."""
    return (
        f"Here is what I found about {topic}. First, it is better understood than most people "
        "think. Second, the sources agree on the main points and differ in the details. Third, "
        "a scripted researcher never leaves the library, so please connect a real model for more."
    )


def summary(text: str) -> str:
    """The first dozen words, which is what many summaries come to."""
    words = text.split()
    short = " ".join(words[:12]).rstrip(".,;:")
    return f"In short: {short}{'…' if len(words) > 12 else '.'}"


def from_output(sentence: str, output: str) -> str:
    """The sentence with `{output}` filled in, or the bare truth when the tool failed."""
    if failed(output):
        return f"That did not work. The tool answered: {output}"
    return sentence.replace("{output}", plain(output))


def failed(output: str) -> bool:
    """Whether a tool's output reads like a failure."""
    value = _json(output)
    if isinstance(value, dict):
        return bool(value.get("error"))
    return _FAILURE.search(output) is not None


def plain(output: str) -> str:
    """A tool's output as a person would read it out: JSON objects become `key: value` pairs."""
    value = _json(output)
    if isinstance(value, dict):
        return ", ".join(f"{_spaced(key)}: {_shown(each)}" for key, each in value.items())
    if isinstance(value, list):
        return "; ".join(_shown(each) for each in value) or "nothing"
    return output or "nothing"


def of_outputs(outputs: tuple[ToolOutput, ...]) -> str:
    """One sentence for each tool that answered."""
    return " ".join(f"The tool {each.name} answered: {plain(each.output)}." for each in outputs)


def _json(output: str) -> object:
    try:
        return orjson.loads(output)
    except orjson.JSONDecodeError:
        return None


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(str(each) for each in value.values())
    return str(value)


def _spaced(name: str) -> str:
    """`displayName` and `display_name` as words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", name).lower()
