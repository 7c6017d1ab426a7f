"""Files over HTTP: their owner reads them, byte by byte, and nobody else."""

import asyncio
from hashlib import sha256
from typing import Any

import httpx
import pytest

from tests.gateway.api.test_isolation import adas
from tests.gateway.rig import Rig, code_of

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154"
    "08d763f8cfc000000301010018dd8db00000000049454e44ae426082"
)


async def test_its_owner_reads_it_as_a_download(rig: Rig, ada: httpx.AsyncClient) -> None:
    path = f"/api/files/{(await adas(rig, ada))['file']}"
    answer = await ada.get(path)
    assert (answer.status_code, answer.content) == (200, b"milk")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_part_of_it_may_be_asked_for(
    ada: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    content = bytes(range(256)) * 40
    made = (await ada.post("/api/files?name=a.bin", content=content)).json()
    path = f"/api/files/{made['id']}"
    whole = await ada.get(path)
    etag = f'"{made["sha256"]}"'
    assert (whole.headers["etag"], whole.headers["accept-ranges"]) == (etag, "bytes")
    for range_, first, last in (
        ("bytes=0-9", 0, 9),
        ("bytes=10000-", 10_000, 10_239),
        ("bytes=-1", 10_239, 10_239),
    ):
        part = await ada.get(path, headers={"range": range_, "if-range": etag})
        assert part.status_code == 206
        assert part.content == content[first : last + 1]
        assert part.headers["content-range"] == f"bytes {first}-{last}/10240"
        assert part.headers["content-disposition"] == whole.headers["content-disposition"]
    past = await ada.get(path, headers={"range": "bytes=10240-"})
    assert (past.status_code, code_of(past)) == (416, "bad_range")
    assert past.headers["content-range"] == "bytes */10240"
    for headers in ({"range": "bytes=0-1,5-6"}, {"range": "bytes=0-1", "if-range": '"x"'}):
        answer = await ada.get(path, headers=headers)
        assert (answer.status_code, answer.content) == (200, content)
    assert code_of(await bob.get(path, headers={"range": "bytes=99999-"})) == "not_found"


async def test_it_is_gone_with_its_thread(rig: Rig, ada: httpx.AsyncClient) -> None:
    path = f"/api/files/{(await adas(rig, ada))['file']}"
    assert (await ada.delete("/api/threads/thr_1")).status_code == 204
    assert code_of(await ada.get(path)) == "not_found"


@pytest.mark.parametrize("id_", ["x", "file_x", "file_", "0" * 32, f"file_{'A' * 32}", "file_%00"])
async def test_what_is_no_id_is_unknown(ada: httpx.AsyncClient, id_: str) -> None:
    assert code_of(await ada.get(f"/api/files/{id_}")) == "not_found"


@pytest.mark.parametrize(
    ("content", "name", "said", "media_type"),
    [
        (PNG, "p.txt", "text/html", "image/png"),
        (b"%PDF-1.7\n%", "x", "image/png", "application/pdf"),
        (b"<script>alert(1)</script>", "x.html", "text/html", "text/plain; charset=utf-8"),
        ("häl".encode(), "a.md", "", "text/markdown; charset=utf-8"),
        (b'{"a":1}', "a", "application/json", "application/json; charset=utf-8"),
        (
            b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>",
            "x.svg",
            "image/svg+xml",
            "text/plain; charset=utf-8",
        ),
        (b"\xff\xfe\x00\x01", "a.txt", "text/plain", "application/octet-stream"),
    ],
)
async def test_its_bytes_say_what_it_is(
    ada: httpx.AsyncClient, content: bytes, name: str, said: str, media_type: str
) -> None:
    form = {"file": (name, content, said)}
    answer = await ada.post("/api/files", files=form)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["mediaType"] == media_type
    assert (made["name"], made["size"]) == (name, len(content))
    assert made["sha256"] == sha256(content).hexdigest()
    read = await ada.get(f"/api/files/{made['id']}")
    assert (read.content, read.headers["content-type"]) == (content, media_type)
    assert read.headers["content-security-policy"] == "sandbox"
    assert read.headers["x-content-type-options"] == "nosniff"


async def test_it_may_be_the_body_itself_and_is_listed_described_and_deleted(
    ada: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    path = "/api/files?name=..%2F..%2Fschöne grüße.txt"
    made = (await ada.post(path, content=b"hello")).json()
    assert made["name"] == "schöne grüße.txt"
    other = (await ada.post("/api/files", content=PNG)).json()
    assert other["name"] is None
    page = (await ada.get("/api/files?limit=1")).json()
    assert page["data"] == [other]
    assert (await ada.get(f"/api/files?cursor={page['next']}")).json()["data"] == [made]
    here = f"/api/files/{made['id']}"
    assert (await ada.get(f"{here}/about")).json() == made
    said = (await ada.get(here)).headers["content-disposition"]
    assert said.endswith("filename*=UTF-8''sch%C3%B6ne%20gr%C3%BC%C3%9Fe.txt")
    assert (await bob.delete(here)).status_code == 404
    assert (await ada.delete(here)).status_code == 204
    for answer in (await ada.get(here), await ada.get(f"{here}/about"), await ada.delete(here)):
        assert code_of(answer) == "not_found"


async def test_what_is_no_file_is_refused_and_nothing_is_kept(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    boundary = {"content-type": "multipart/form-data; boundary=x"}
    most = rig.services.settings.max_file_bytes
    for answer, code in (
        (await ada.post("/api/files", content=b""), "bad_input"),
        (await ada.post("/api/files", files={"file": ("a", b"")}), "bad_input"),
        (await ada.post("/api/files", files={"other": ("a", b"x")}), "bad_input"),
        (await ada.post("/api/files", data={"file": "x"}, files={"o": b"x"}), "bad_input"),
        (await ada.post("/api/files", content=b"--x", headers=boundary), "bad_input"),
        (
            await ada.post(
                "/api/files", content=b"x", headers={"content-type": "multipart/form-data"}
            ),
            "bad_input",
        ),
        (await ada.post("/api/files", content=b"x" * (most + 1)), "too_large"),
        (await ada.post("/api/files", content=b"x" * (most + 100_000)), "too_large"),
        (await ada.post("/api/files", files={"file": ("a", b"x" * (most + 1))}), "too_large"),
        (await ada.post(f"/api/files?name={'x' * 1001}", content=b"x"), "bad_input"),
    ):
        assert code_of(answer) == code, answer.text
        assert code != "too_large" or f"A file may have {most:,} bytes" in answer.text
    assert await rig.value("SELECT count(*) FROM files") == 0


async def test_what_ends_before_its_end_is_refused_and_nothing_is_kept(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nbegun'
    form = {"content-type": "multipart/form-data; boundary=x"}
    assert code_of(await ada.post("/api/files", content=part, headers=form)) == "bad_input"
    whole = part + b"\r\n--x--\r\n"
    assert (await ada.post("/api/files", content=whole, headers=form)).json()["size"] == 5

    asked = ada.build_request("POST", "/api/files", content=b"begun and never ended")
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/files",
        "query_string": b"",
        "headers": [(name.lower(), value) for name, value in asked.headers.raw],
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 8000),
        "http_version": "1.1",
        "root_path": "",
    }
    received = [{"type": "http.request", "body": b"begun", "more_body": True}]
    answered: list[Any] = []

    async def receive() -> Any:
        return received.pop() if received else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        answered.append(message)

    await rig.app(scope, receive, send)
    assert [one["status"] for one in answered if "status" in one] in ([], [400])
    assert await rig.value("SELECT count(*) FROM files") == 1


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\a.txt", "a.txt"),
        ("a\0b\r\nc.txt", "a b c.txt"),
        ("cod\u202egpj.exe", "cod gpj.exe"),
        ("a\u200f\u061cb\u2066c", "a b c"),
        ("/", None),
        ("\u202e", None),
    ],
)
async def test_a_name_is_one_line_that_hides_nothing(
    ada: httpx.AsyncClient, sent: str, kept: str | None
) -> None:
    made = (await ada.post("/api/files", params={"name": sent}, content=b"x")).json()
    assert made["name"] == kept
    said = (await ada.get(f"/api/files/{made['id']}")).headers["content-disposition"]
    assert said.isascii()
    assert said.startswith('attachment; filename="file_')


async def test_a_page_of_another_site_brings_none(ada: httpx.AsyncClient) -> None:
    headers = {"origin": "https://elsewhere.example"}
    answer = await ada.post("/api/files", files={"file": ("a", b"x")}, headers=headers)
    assert code_of(answer) == "forbidden"


async def test_everybody_has_room_of_their_own_and_no_more(
    rig: Rig, ada: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    rig.services.settings = rig.services.settings.model_copy(update={"files_quota_bytes": 10})
    first = await ada.post("/api/files", content=b"123456")
    assert first.status_code == 201
    both = await asyncio.gather(
        *(ada.post("/api/files", content=b"1234") for _ in range(2)),
    )
    assert sorted(one.status_code for one in both) == [201, 413]
    refused = await ada.post("/api/files", content=b"1")
    assert code_of(refused) == "quota_exceeded"
    assert (await bob.post("/api/files", content=b"1234567890")).status_code == 201
    await ada.delete(f"/api/files/{first.json()['id']}")
    assert (await ada.post("/api/files", content=b"123456")).status_code == 201
