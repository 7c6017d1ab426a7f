"""What a response was asked, as items of the Responses API: rules without I/O."""

from collections.abc import Sequence
from typing import Any, Literal

from gateway.openai.asked import bad

Item = dict[str, Any]


def input_items(run: str, given: dict[str, Any]) -> list[Item]:
    """Items of what was stored of a run's input, in order; instructions come first."""
    told = [
        _item(f"msg_{run.removeprefix('run_')}_told_{number}", "developer", text)
        for number, text in enumerate(given.get("instructions") or ())
    ]
    own = (given.get("messages") or ())[given.get("before", 0) :]
    return [*told, *(_item(one["id"], one["role"], one["content"]) for one in own)]


def _item(id_: str, role: str, content: Any) -> Item:
    kind = "output_text" if role == "assistant" else "input_text"
    said = [{"type": "text", "text": content}] if isinstance(content, str) else content
    more: Item = {"annotations": []} if role == "assistant" else {}
    parts = [
        {"type": kind, "text": part["text"], **more} if part["type"] == "text" else _file(part)
        for part in said
    ]
    return {"id": id_, "type": "message", "role": role, "status": "completed", "content": parts}


def _file(part: dict[str, Any]) -> Item:
    about, id_ = part.get("metadata", {}), part["source"]["value"]
    if part["type"] == "image":
        return {"type": "input_image", "file_id": id_, "detail": about.get("detail", "auto")}
    return {"type": "input_file", "file_id": id_, "filename": about.get("name", id_)}


def page_of(
    items: Sequence[Item], *, limit: int, order: Literal["asc", "desc"], after: str | None
) -> dict[str, Any]:
    """A page of items, from behind `after`.

    Raises:
        BatonError: BAD_INPUT, there is no such item.
    """
    ordered = list(items) if order == "asc" else list(reversed(items))
    ids = [one["id"] for one in ordered]
    if after is not None and after not in ids:
        raise bad("after", "there is no such item.")
    begin = ids.index(after) + 1 if after is not None else 0
    data = ordered[begin : begin + limit]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": begin + limit < len(ordered),
    }
