"""What a client asks for in these tests, and a short way to say what it got."""

from typing import Any

from prometheus_client import REGISTRY

from tests.scenarios.client import Socket


async def subscribe(opened: Socket, thread: str = "thr_1", **more: Any) -> list[dict[str, Any]]:
    """Subscribe, and everything up to `live`."""
    begun = len(opened.frames)
    await opened.send(op="subscribe", threadId=thread, **more)
    await opened.until(lambda frame: frame["op"] in ("live", "error"))
    return [one for one in opened.frames[begun:] if one["op"] != "welcome"]


def ops(frames: list[dict[str, Any]]) -> list[str]:
    return [one.get("id", "") if one["op"] == "event" else one["op"] for one in frames]


def closes(code: int) -> float:
    return REGISTRY.get_sample_value("baton_sockets_closed_total", {"code": str(code)}) or 0


def gauge(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0
