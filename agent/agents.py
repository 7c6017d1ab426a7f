"""`agents`: who can be talked to."""

from typing import Any

from agent.command import Json, Url, opened
from agent.output import Listing
from agent.text import NOTHING, one_line


def agents(url: Url = None, as_json: Json = False) -> None:
    """List the agents that are served."""
    with opened(url, as_json) as cli:
        page = cli.gateway.get("/api/agents")
        rows = [
            (one["name"], _others(one), one_line(one.get("description") or "", 60))
            for one in page["data"]
        ]
        nothing = "No agent is served; `baton status` shows runners and broken agents."
        cli.output.page(
            page, Listing(("agent", "works with", "about"), rows, elastic="about"), nothing, ""
        )


def _others(agent: dict[str, Any]) -> str:
    inside = (agent.get("capabilities") or {}).get("multiAgent") or {}
    names = [str(one.get("name")) for one in inside.get("subAgents") or []]
    return one_line(", ".join(names) or NOTHING, 40)
