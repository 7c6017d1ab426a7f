"""Reads the bodies of `POST /v1/responses` and `POST /v1/chat/completions`."""

from dataclasses import dataclass
from typing import Any

import orjson

from stack.demo_model.conversation import Conversation, text_of
from stack.demo_model.errors import bad_request
from stack.demo_model.question import Question

#: Roughly what OpenAI's tokenisers need for English text; usage only has to look plausible.
_BYTES_PER_TOKEN = 4

#: What the limit of an answer is called, here and there, now and formerly.
_MOST_TOKENS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """A model call as asked, ready for the script and for rendering the answer."""

    model: str
    stream: bool
    include_usage: bool  #: Chat Completions only: `stream_options.include_usage`
    question: Question
    user_text: str  #: the last user text with its directives
    input_tokens: int
    body: dict[str, Any]
    most_tokens: int | None = None
    stop: tuple[str, ...] = ()  #: Chat Completions only


def parse_object(raw: bytes) -> dict[str, Any]:
    """The body as a JSON object; raises a 400 `ApiError`."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"We could not parse the JSON body of your request: {error}") from error
    if not isinstance(body, dict):
        raise bad_request("The JSON body of your request must be an object.")
    return body


def read_responses(raw: bytes) -> ModelRequest:
    """Read a body of the Responses API; raises a 400 `ApiError`."""
    body = parse_object(raw)
    if body.get("previous_response_id") or body.get("conversation"):
        raise bad_request(
            "This server keeps no responses: send the whole conversation as input.",
            code="previous_response_not_found",
            param="previous_response_id",
        )
    conversation = Conversation()
    conversation.instructions.append(text_of(body.get("instructions")))
    given = _required(body, "input", (str, list))
    if isinstance(given, str):
        conversation.user_said(given)
    else:
        for index, item in enumerate(given):
            _add_item(conversation, _object(item, f"input[{index}]"))
    schema = _section(_section(body, "text"), "format").get("schema")
    return _request(raw, body, conversation, schema)


def read_chat(raw: bytes) -> ModelRequest:
    """Read a body of the Chat Completions API; raises a 400 `ApiError`."""
    body = parse_object(raw)
    conversation = Conversation()
    for index, message in enumerate(_required(body, "messages", (list,))):
        _add_message(conversation, _object(message, f"messages[{index}]"))
    schema = _section(_section(body, "response_format"), "json_schema").get("schema")
    return _request(raw, body, conversation, schema)


def _request(
    raw: bytes, body: dict[str, Any], conversation: Conversation, schema: object
) -> ModelRequest:
    answer_schema = schema if isinstance(schema, dict) else None
    return ModelRequest(
        model=_required(body, "model", (str,)),
        stream=body.get("stream") is True,
        include_usage=_section(body, "stream_options").get("include_usage") is True,
        question=conversation.question(_tools(body), answer_schema),
        user_text=conversation.user_text,
        input_tokens=max(1, len(raw) // _BYTES_PER_TOKEN),
        body=body,
        most_tokens=_most_tokens(body),
        stop=_stop(body),
    )


def _most_tokens(body: dict[str, Any]) -> int | None:
    given = [body.get(name) for name in _MOST_TOKENS]
    counts = [one for one in given if isinstance(one, int) and one > 0]
    return min(counts, default=None)


def _stop(body: dict[str, Any]) -> tuple[str, ...]:
    given = body.get("stop") or ()
    return (given,) if isinstance(given, str) else tuple(given)


def _add_item(conversation: Conversation, item: dict[str, Any]) -> None:
    """One input item; kinds that no rule looks at (reasoning, …) are passed over."""
    match item.get("type", "message"):
        case "message":
            _add_text(conversation, item)
        case "function_call":
            conversation.tool_called(item.get("call_id"), item.get("name"))
        case "function_call_output":
            conversation.tool_answered(item.get("call_id"), item.get("output"))


def _add_message(conversation: Conversation, message: dict[str, Any]) -> None:
    if message.get("role") == "tool":
        conversation.tool_answered(message.get("tool_call_id"), message.get("content"))
        return
    _add_text(conversation, message)
    for index, call in enumerate(_list(message, "tool_calls")):
        function = _object(_object(call, f"tool_calls[{index}]").get("function"), "function")
        conversation.tool_called(call.get("id"), function.get("name"))


def _add_text(conversation: Conversation, message: dict[str, Any]) -> None:
    match message.get("role"):
        case "user":
            conversation.user_said(text_of(message.get("content")))
        case "system" | "developer":
            conversation.instructions.append(text_of(message.get("content")))


def _tools(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The function tools on offer; Chat Completions has them one level deeper."""
    tools: dict[str, dict[str, Any]] = {}
    for index, tool in enumerate(_list(body, "tools")):
        function = _object(tool, f"tools[{index}]")
        function = function.get("function", function)
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            tools[function["name"]] = _section(function, "parameters")
    return tools


def _required(body: dict[str, Any], name: str, kinds: tuple[type, ...]) -> Any:
    if name not in body:
        raise bad_request(
            f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name
        )
    if not isinstance(body[name], kinds):
        raise bad_request(f"Invalid type for '{name}'.", code="invalid_type", param=name)
    return body[name]


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise bad_request(
            f"Invalid type for '{where}': expected an object.", code="invalid_type", param=where
        )
    return value


def _list(body: dict[str, Any], name: str) -> list[Any]:
    """An optional list inside the body."""
    value = body.get(name)
    if value is not None and not isinstance(value, list):
        raise bad_request(
            f"Invalid type for '{name}': expected a list.", code="invalid_type", param=name
        )
    return value or []


def _section(body: dict[str, Any], name: str) -> dict[str, Any]:
    """An optional object inside the body; anything else counts as absent."""
    section = body.get(name)
    return section if isinstance(section, dict) else {}
