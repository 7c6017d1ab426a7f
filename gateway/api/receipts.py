"""Receipts, runs as files that prove themselves, and the keys to check them with."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import orjson
from fastapi import APIRouter
from pydantic import Field
from starlette.responses import JSONResponse, Response, StreamingResponse

from gateway.api.routing import PROBLEMS, PathId, SignedIn, WithServices, api_router
from gateway.api.shapes import Shape
from gateway.auth.caller import Caller
from gateway.services import Services
from gateway.store import receipts
from gateway.store.receipts import Proof
from shared.db.conversations import LIVE, RunStatus
from shared.errors import BatonError
from shared.export import MEDIA_TYPE, ExportedRow, header_line, receipt_line, row_line
from shared.protocol.codes import Code
from shared.protocol.position import START, Position
from shared.receipts import KEYS_PATH
from shared.signing import PublicKey

router = api_router("runs")
public_router = APIRouter(tags=["runs"], responses=PROBLEMS)

#: Rows read at once: a row may be as large as a step, and the socket is slower than SQL.
ROWS_AT_ONCE = 100
#: How long others may keep the keys. New ones are published before they sign.
KEYS_LIFE_S = 300


class Receipt(Shape):
    """What a run was, and where its thread's chain stood before and after it, signed at its end."""

    kind: str = Field(examples=["baton.receipt"])
    version: int
    run: str
    root: str = Field(description="The run whose journal this one continues; mostly itself.")
    thread: str
    agent: str
    agent_digest: str | None = Field(description="SHA-256 of the agent's files.")
    status: RunStatus
    started_at: str
    ended_at: str
    first: str = Field(description="Id of its first event.", examples=["3-1"])
    last: str = Field(description="Id of its last event.", examples=["3-17"])
    rows: int = Field(description="Stored rows; adjacent deltas of a message are one.")
    before: str = Field(description="Hash of the chain before the first row, in hexadecimal.")
    chain: str = Field(description="Hash of the chain after the last row.")
    kid: str = Field(description="Which key signed it.")
    signature: str = Field(description="Ed25519, in base64url, over the rest in canonical form.")


class ReceiptKey(Shape):
    """A public key as RFC 8037 writes it."""

    kty: str = Field(examples=["OKP"])
    crv: str = Field(examples=["Ed25519"])
    x: str
    kid: str
    use: str = Field(examples=["sig"])
    alg: str = Field(examples=["EdDSA"])


class ReceiptKeys(Shape):
    """A JWK set (RFC 7517): the present key first, then former ones."""

    keys: list[ReceiptKey]


@router.get("/runs/{id}/receipt", operation_id="getReceipt", response_model=Receipt)
async def get_receipt(run_id: PathId, caller: SignedIn, services: WithServices) -> Response:
    """Read the signed receipt of a run that has ended, byte by byte as it was signed."""
    _, receipt = await _proof(run_id, caller, services)
    return Response(receipt, media_type="application/json")


@router.get(
    "/runs/{id}/export",
    operation_id="exportRun",
    response_class=Response,
    responses={200: {"content": {MEDIA_TYPE: {}}, "description": "A JSON object on each line."}},
)
async def export_run(run_id: PathId, caller: SignedIn, services: WithServices) -> Response:
    """Read a run that has ended as lines that prove themselves: header, stored rows, receipt."""
    proof, receipt = await _proof(run_id, caller, services)
    if proof.gone:
        raise BatonError(Code.GONE, "The run's events were deleted; its receipt is there.")
    first = await _rows(services, caller, proof.key, START)
    lines = _lines(services, caller, proof.key, orjson.loads(receipt), first)
    name = f'attachment; filename="{run_id}.ndjson"'
    headers = {"content-disposition": name, "cache-control": "private, no-store"}
    return StreamingResponse(lines, media_type=MEDIA_TYPE, headers=headers)


@public_router.get(KEYS_PATH, operation_id="listReceiptKeys", response_model=ReceiptKeys)
async def list_receipt_keys(services: WithServices) -> Response:
    """Read the public keys of receipts. Needs no sign-in; pages of other sites may read it, too."""
    headers = {
        "cache-control": f"public, max-age={KEYS_LIFE_S}",
        "access-control-allow-origin": "*",
    }
    return JSONResponse({"keys": [key.jwk for key in _keys(services).values()]}, headers=headers)


async def _proof(run_id: str, caller: Caller, services: Services) -> tuple[Proof, str]:
    async with services.db.reading(caller.user_id) as db:
        proof = await receipts.find(db, caller.user_id, run_id)
    if proof is None:
        raise BatonError(Code.NOT_FOUND)
    if proof.status in LIVE:
        raise BatonError(Code.BUSY, "The run goes on; its receipt is made at its end.")
    if proof.receipt is None:
        why = "The run has no receipt: at its end toolsvc had no key, or did not make any yet."
        raise BatonError(Code.NOT_SUPPORTED, why)
    return proof, proof.receipt


async def _lines(
    services: Services, caller: Caller, run: UUID, receipt: dict[str, Any], rows: list[ExportedRow]
) -> AsyncIterator[bytes]:
    """The file, in pieces; a connection is held for none of them."""
    yield header_line(receipt, _keys(services).get(receipt["kid"]))
    while rows:
        yield b"".join(row_line(row) for row in rows)
        last = Position(rows[-1].fence, rows[-1].seq)
        rows = await _rows(services, caller, run, last) if len(rows) == ROWS_AT_ONCE else []
    yield receipt_line(receipt)


async def _rows(
    services: Services, caller: Caller, run: UUID, after: Position
) -> list[ExportedRow]:
    async with services.db.reading(caller.user_id) as db:
        return [*await receipts.rows(db, run, after, ROWS_AT_ONCE)]


def _keys(services: Services) -> dict[str, PublicKey]:
    """By their ids; a key that was set twice counts once."""
    found = [PublicKey.parse(text) for text in services.settings.receipt_public_keys]
    return {key.id: key for key in found}
