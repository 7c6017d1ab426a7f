"""What Baton itself says of a run: the other side of what a client was told."""

import json
import os
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Any

URL, KEY = os.environ["BATON_URL"], os.environ["BATON_KEY"]
BASE = f"{URL}/v1"
#: Orders that were paid back, a line each; the agent's tool writes them.
PAID = Path(os.environ["BATON_PAID"])
#: How long a run may take to end.
PATIENCE_S = 60.0

# A proxy of the machine is none for a stack on loopback.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def asked(method: str, path: str, body: Any = None) -> Any:
    """What Baton's REST answers.

    Raises:
        urllib.error.HTTPError: it refuses.
    """
    request = urllib.request.Request(
        URL + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
    )
    with _OPENER.open(request, timeout=PATIENCE_S) as answer:
        return json.loads(answer.read() or b"null")


def newest_run() -> str:
    """The id of the run that was asked for last."""
    return str(asked("GET", "/api/runs?limit=1")["data"][0]["id"])


def end_of(run: str) -> str:
    """How a run has ended, as soon as it has: its status, or `deleted`.

    Raises:
        TimeoutError: it goes on and on.
    """
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            status = str(asked("GET", f"/api/runs/{run}")["status"])
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.NOT_FOUND:
                raise
            return "deleted"
        if status not in ("queued", "running"):
            return status
        time.sleep(0.05)
    raise TimeoutError(f"{run} does not end")


def said_in(run: str) -> str:
    """The text of the thread of a run."""
    thread = asked("GET", f"/api/runs/{run}")["threadId"]
    messages = asked("GET", f"/api/threads/{thread}/messages")["data"]
    return " ".join(f"{one.get('content')}" for one in messages if one["role"] == "assistant")


def stop(run: str) -> None:
    """Cancel a run by REST."""
    asked("POST", f"/api/runs/{run}/cancel")


def approve_all(run: str) -> None:
    """Approve everything that a run asks, by REST."""
    open_ones = asked("GET", f"/api/runs/{run}/approvals")["data"]
    decisions = [{"id": one["id"], "approved": True} for one in open_ones]
    asked("POST", f"/api/runs/{run}/approvals", {"decisions": decisions})


def times_paid(order: str) -> int:
    """How often an order was paid back."""
    return PAID.read_text().splitlines().count(order) if PAID.exists() else 0
