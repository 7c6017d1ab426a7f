"""Collects a conversation item by item, whichever API it came in, into a `Question`."""

from typing import Any

from stack.demo_model import directives
from stack.demo_model.question import Question, ToolOutput


class Conversation:
    """Knows the last user text, the outputs since then, and which call asked for which output."""

    def __init__(self) -> None:
        self.instructions: list[str] = []
        self.user_text = ""
        self._outputs: list[ToolOutput] = []
        self._names: dict[str, str] = {}

    def user_said(self, text: str) -> None:
        """A user message: what came before it no longer matters."""
        self.user_text = text
        self._outputs.clear()

    def tool_called(self, call_id: object, name: object) -> None:
        """A model's call; some local servers repeat call ids, so the newest name counts."""
        self._names[str(call_id)] = str(name)

    def tool_answered(self, call_id: object, content: object) -> None:
        """The output of the newest call with that id."""
        name = self._names.get(str(call_id), "unknown_tool")
        self._outputs.append(ToolOutput(name=name, output=text_of(content)))

    def question(
        self, tools: dict[str, dict[str, Any]], answer_schema: dict[str, Any] | None
    ) -> Question:
        """What the script is asked; raises a 400 `ApiError` for a malformed directive."""
        text, asked = directives.read(self.user_text)
        return Question(
            text=text,
            directives=asked,
            tools=tools,
            outputs=tuple(self._outputs),
            instructions="\n".join(self.instructions),
            answer_schema=answer_schema,
        )


def text_of(content: object) -> str:
    """What a message's content says; of its parts, pictures and files are named."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (_seen(part) for part in content if isinstance(part, dict))
    return " ".join(text for text in texts if isinstance(text, str))


def _seen(part: dict[str, Any]) -> object:
    """What the script reads of a part."""
    match part.get("type"):
        case "input_image" | "image_url":
            return "[picture]"
        case "input_file" | "file":
            return f"[file {part.get('filename') or part.get('file', {}).get('filename')}]"
    return part.get("text")
