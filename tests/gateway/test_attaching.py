"""Files and threads: a file belongs to the thread it is sent in first, and to its owner always."""

import base64
from typing import Any

import httpx
import pytest

from tests.gateway.api.test_files import PNG
from tests.gateway.rig import Rig, code_of, user_message

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]

DATA = base64.b64encode(PNG).decode()
URL = f"data:image/png;base64,{DATA}"


def showing(id_: str) -> dict[str, Any]:
    return {"type": "document", "source": {"type": "file", "value": id_}}


async def say(client: httpx.AsyncClient, thread: str, run: str, *parts: Any) -> httpx.Response:
    message = user_message(f"m_{run}", list(parts))
    body = {"agent": "Assistant", "input": {"runId": run, "messages": [message]}}
    return await client.post(f"/api/threads/{thread}/runs", json=body)


async def shown(client: httpx.AsyncClient, thread: str) -> list[dict[str, Any]]:
    data = (await client.get(f"/api/threads/{thread}/messages")).json()["data"]
    return [part for message in data for part in message["content"]]


async def test_a_file_goes_with_the_first_thread_it_is_sent_in_and_others_have_a_copy(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await rig.announce("Assistant")
    made = (await ada.post("/api/files?name=cat.png", content=PNG)).json()
    for thread, run in (("thr_1", "run_1"), ("thr_1", "run_2"), ("thr_2", "run_3")):
        answer = await say(ada, thread, run, showing(made["id"]), showing(made["id"]))
        assert answer.status_code == 202, answer.text
    first = await shown(ada, "thr_1")
    assert {part["source"]["value"] for part in first} == {made["id"]}
    assert {part["type"] for part in first} == {"image"}
    assert first[0]["metadata"] == {"name": "cat.png", "mediaType": "image/png", "size": len(PNG)}
    copies = {part["source"]["value"] for part in await shown(ada, "thr_2")}
    assert len(copies) == 1
    (copy,) = copies - {made["id"]}
    assert (await ada.get(f"/api/files/{made['id']}/about")).json()["threadId"] == "thr_1"
    await ada.delete("/api/threads/thr_1")
    assert code_of(await ada.get(f"/api/files/{made['id']}")) == "not_found"
    assert await rig.value("SELECT count(*) FROM files") == 1
    assert (await ada.get(f"/api/files/{copy}")).content == PNG


async def test_what_is_somebody_elses_or_gone_is_unknown_and_nothing_is_kept(
    rig: Rig, ada: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    await rig.announce("Assistant")
    made = (await ada.post("/api/files", content=PNG)).json()
    foreign = await say(bob, "thr_1", "run_1", showing(made["id"]))
    missing = await say(bob, "thr_1", "run_1", showing(f"file_{'0' * 32}"))
    assert code_of(foreign) == code_of(missing) == "not_found"
    assert await rig.value("SELECT count(*) FROM threads") == 0
    assert await rig.value("SELECT count(*) FROM runs") == 0


async def test_beyond_ones_room_neither_the_message_nor_its_file_is_kept(
    rig: Rig, ada: httpx.AsyncClient
) -> None:
    await rig.announce("Assistant")
    settings = rig.services.settings
    rig.services.settings = settings.model_copy(update={"files_quota_bytes": len(PNG)})
    part = {"type": "image", "source": {"type": "data", "value": DATA, "mimeType": "image/png"}}
    assert (await say(ada, "thr_1", "run_1", part)).status_code == 202
    assert code_of(await say(ada, "thr_1", "run_2", part)) == "quota_exceeded"
    assert await rig.value("SELECT count(*) FROM files") == 1
    assert await rig.value("SELECT count(*) FROM runs") == 1
    again = await say(ada, "thr_1", "run_1", part)
    assert again.json()["status"] == "queued"
    assert await rig.value("SELECT count(*) FROM files") == 1


async def test_parts_of_a_request_become_files(rig: Rig, ada: httpx.AsyncClient) -> None:
    await rig.announce("Assistant")
    parts = [
        {"type": "input_text", "text": "Look:"},
        {"type": "input_image", "image_url": URL, "detail": "high"},
        {"type": "input_file", "file_data": URL, "filename": "cat.png"},
    ]
    body = {"model": "Assistant", "input": [{"role": "user", "content": parts}], "background": True}
    answer = await ada.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    ((content,),) = await rig.sql("SELECT content FROM messages")
    text, picture, file = content["content"]
    assert text == {"type": "text", "text": "Look:"}
    assert picture["metadata"] == {"mediaType": "image/png", "size": len(PNG), "detail": "high"}
    assert file["metadata"]["name"] == "cat.png"
    items = await ada.get(f"/v1/responses/{answer.json()['id']}/input_items")
    (item,) = items.json()["data"]
    assert item["content"][1:] == [
        {"type": "input_image", "file_id": picture["source"]["value"], "detail": "high"},
        {"type": "input_image", "file_id": file["source"]["value"], "detail": "auto"},
    ]
    assert await rig.value("SELECT count(*) FROM files WHERE thread_id IS NOT NULL") == 2
    assert DATA not in str(await rig.sql("SELECT input FROM runs"))


@pytest.mark.parametrize(
    ("part", "status", "code"),
    [
        ({"type": "input_image", "image_url": "http://10.0.0.1/x.png"}, 400, "url_refused"),
        ({"type": "input_file", "file_url": "https://example.com/x.pdf"}, 400, "url_refused"),
        ({"type": "input_image", "image_url": "data:image/png;base64,!"}, 400, "invalid_value"),
        ({"type": "input_image"}, 400, "invalid_value"),
        ({"type": "input_image", "image_url": URL, "file_id": "file_1"}, 400, "invalid_value"),
        ({"type": "input_file", "filename": "x"}, 400, "invalid_value"),
        ({"type": "input_file", "file_id": "file-abc"}, 404, "not_found"),
        ({"type": "input_file", "file_id": f"file_{'0' * 32}"}, 404, "not_found"),
    ],
)
async def test_bad_parts_are_refused_and_nothing_is_kept(
    rig: Rig, ada: httpx.AsyncClient, part: dict[str, Any], status: int, code: str
) -> None:
    await rig.announce("Assistant")
    given = [{"role": "user", "content": [part]}]
    answer = await ada.post("/v1/responses", json={"model": "Assistant", "input": given})
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    assert await rig.value("SELECT count(*) FROM runs") == 0
    assert await rig.value("SELECT count(*) FROM files") == 0


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/agui/Assistant"])
async def test_a_prompt_may_not_be_longer_because_files_may(
    ada: httpx.AsyncClient, path: str
) -> None:
    text = "x" * 2_000_000
    for given in (text, [{"type": "text", "text": text}]):
        message = {"id": "m", "role": "user", "content": given}
        body = {"model": "Assistant", "messages": [message], "input": [message]}
        answer = await ada.post(path, json=body)
        assert answer.status_code == 413, answer.text[:200]
