"""The page at `/`: a few static files, served with headers that leave scripts nowhere to go."""

from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).resolve().parent.parent / "page"

HEADERS = {
    # `'self'` covers ws:// and wss:// of this host, too.
    "content-security-policy": (
        "default-src 'self'; connect-src 'self'; img-src 'self' data:; style-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    # The files have no digests in their names: browsers ask each time, and mostly hear 304.
    "cache-control": "no-cache",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}

_files = StaticFiles(directory=FOLDER)


@router.get("/")
async def index(request: Request) -> Response:
    """The page itself; everything else on it comes by scripts."""
    return await _file("index.html", request)


@router.get("/page/{name}")
async def part(name: str, request: Request) -> Response:
    """A script or a style sheet; 304 where the browser has it, 404 where there is none."""
    return await _file(name, request)


async def _file(name: str, request: Request) -> Response:
    response = await _files.get_response(name, request.scope)
    response.headers.update(HEADERS)
    return response
