"""Files over HTTP: their owner reads them, byte by byte, and nobody else."""

import httpx
import pytest

from tests.gateway.api.test_isolation import adas
from tests.gateway.rig import Rig, code_of

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


async def test_its_owner_reads_it_as_a_download(rig: Rig, ada: httpx.AsyncClient) -> None:
    path = f"/api/files/{(await adas(rig, ada))['file']}"
    answer = await ada.get(path)
    assert (answer.status_code, answer.content) == (200, b"milk")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_it_is_gone_with_its_thread(rig: Rig, ada: httpx.AsyncClient) -> None:
    path = f"/api/files/{(await adas(rig, ada))['file']}"
    assert (await ada.delete("/api/threads/thr_1")).status_code == 204
    assert code_of(await ada.get(path)) == "not_found"


@pytest.mark.parametrize("id_", ["x", "file_x", "file_", "0" * 32, f"file_{'A' * 32}", "file_%00"])
async def test_what_is_no_id_is_unknown(ada: httpx.AsyncClient, id_: str) -> None:
    assert code_of(await ada.get(f"/api/files/{id_}")) == "not_found"
