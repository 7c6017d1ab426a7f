"""The record's routes, answered before FastAPI's layers, which would be a tenth of their cost."""

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from toolsvc.runs.api import ROUTES


def _first_word(path: str) -> str:
    return path.removeprefix("/").partition("/")[0]


_BY_FIRST_WORD = {
    word: [route for route in ROUTES if _first_word(route.path) == word]
    for word in {_first_word(route.path) for route in ROUTES}
}


class Record:
    """Takes the record's routes; everything else is the app's.

    What an endpoint raises goes on to `Outermost`, which answers it.
    """

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        route = _route(scope) if scope["type"] == "http" else None
        if route is None:
            await self.app(scope, receive, send)
            return
        scope["app"] = self.app
        answer = await route.endpoint(Request(scope, receive))
        await answer(scope, receive, send)


def _route(scope: Scope) -> Route | None:
    """The route of a request's path, whose parameters go into the scope.

    Raises:
        HTTPException: 405, the path exists for other methods only.
    """
    partial = False
    for route in _BY_FIRST_WORD.get(_first_word(scope["path"]), ()):
        match, found = route.matches(scope)
        if match is Match.NONE:
            continue
        scope.update(found)
        if match is Match.FULL:
            return route
        partial = True
    if partial:
        raise HTTPException(405)
    return None
