"""The clients: what each one needs, and where its probe stands. Nothing but tables."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A client, and what it runs by besides a Python."""

    #: Module below `matrix.probe`, and class.
    probe: tuple[str, str]
    #: Of PyPI, for a Python of its own; `None`: ours has what it needs.
    package: str | None = None
    #: It is JavaScript, and its packages are those of `matrix/node`.
    node: bool = False
    #: A program that has to be on PATH: what is there is tried, and never installed.
    command: str | None = None


CLIENTS = {
    "curl": Kind(probe=("curl", "Curl"), command="curl"),
    "openai-chat": Kind(probe=("openai_python", "OpenAIChat")),
    "openai-responses": Kind(probe=("openai_python", "OpenAIResponses")),
    "openai-node-chat": Kind(probe=("node", "OpenAIChat"), node=True),
    "openai-node-responses": Kind(probe=("node", "OpenAIResponses"), node=True),
    "agents-sdk": Kind(probe=("agents_sdk", "AgentsSdk")),
    "langchain": Kind(probe=("langchain", "LangChain"), package="langchain-openai"),
    "litellm": Kind(probe=("litellm", "LiteLlm"), package="litellm"),
    "ai-sdk-chat": Kind(probe=("node", "AiSdkChat"), node=True),
    "ai-sdk-responses": Kind(probe=("node", "AiSdkResponses"), node=True),
    "llm": Kind(probe=("llm", "Llm"), package="llm"),
    "ag-ui": Kind(probe=("node", "AgUi"), node=True),
    "open-webui": Kind(probe=("open_webui", "OpenWebUi"), command="open-webui"),
}
#: The columns; `matrix/probe/conversations.py` holds them.
CONVERSATIONS = (
    *("plain", "stream", "tools", "hand-off", "guardrail", "approval", "structured"),
    *("leave", "cancel", "reconnect"),
)
UPSTREAMS = {
    "responses": "a model server that speaks Responses",
    "chat": "a model server that speaks Chat Completions alone",
}
