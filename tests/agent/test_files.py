"""`files`, and files that go along with a message: what is sent, shown, written and refused."""

from pathlib import Path
from typing import Any

import pytest

from shared.media import MAX_FILE_BYTES
from shared.protocol.codes import Code
from tests.agent.conftest import Baton
from tests.agent.standin import SOME_TIME, StandIn, Talk, answer, page, refusal

ID = "file_01993b7c5d5e7c0f8a51c6f7b1f2a3d4"


def file(name: str | None = "cat.png", **fields: Any) -> dict[str, Any]:
    known = {"id": ID, "name": name, "mediaType": "image/png", "size": 1234, "sha256": "00"}
    return {**known, "threadId": None, "createdAt": SOME_TIME, **fields}


def test_files_are_listed(known: Baton, standin: StandIn) -> None:
    listed = page(file(), file("a\x1b[2J\n\u202eb", threadId="thr_1"), file(None), following="c1")
    standin.answers["GET /api/files"] = (200, listed)
    result = known("files")
    for word in (ID, "cat.png", "image/png", "1,234", "not sent", "thr_1", "—"):
        assert word in result.out
    assert not {"\x1b", "\u202e"} & set(result.out)
    assert "baton files list --cursor c1" in result.err
    assert known("files", "list", "--json").json == listed
    standin.answers["GET /api/files"] = (200, page())
    assert "No files yet" in known("files").err


@pytest.mark.parametrize(
    ("options", "name"), [((), "schöne grüße.txt"), (("--name", "b.txt"), "b.txt")]
)
def test_a_file_is_brought_as_it_is(
    known: Baton, standin: StandIn, tmp_path: Path, options: tuple[str, ...], name: str
) -> None:
    path = tmp_path / "schöne grüße.txt"
    path.write_bytes(b"\x00\xff")
    standin.answers["POST /api/files"] = (201, file())
    result = known("files", "put", str(path), *options)
    assert (result.status, result.out) == (0, f"{ID}\n")
    assert standin.asked[-1].body == b"\x00\xff"
    assert standin.asked[-1].query == {"name": name}
    assert known("files", "put", str(path), "--json").json == file()


def test_what_cannot_be_brought_is_told_before_anybody_is_asked(
    known: Baton, standin: StandIn, tmp_path: Path
) -> None:
    (tmp_path / "empty").touch()
    with (tmp_path / "large").open("wb") as large:
        large.truncate(MAX_FILE_BYTES + 1)
    for name, why in (
        ("empty", "is empty"),
        ("large", "is larger than 10,485,760 bytes"),
        ("nowhere", "No such file"),
        (".", "Is a directory"),
        ("a\0b", "its name makes no sense"),
    ):
        for command in (("files", "put"), ("chat", "look", "--attach")):
            result = known(*command, f"{tmp_path}/{name}")
            assert result.status == 2, result
            assert why in result.err
    assert "POST /api/files" not in standin.paths()


def test_a_refusal_of_the_gateway_is_told(known: Baton, standin: StandIn, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    standin.answers["POST /api/files"] = refusal(Code.QUOTA_EXCEEDED)
    result = known("files", "put", str(tmp_path / "a"))
    assert result.status == 1
    assert "delete some first" in result.err


def test_a_file_is_written_whole_or_not_at_all(
    known: Baton, standin: StandIn, tmp_path: Path
) -> None:
    standin.downloads[f"/api/files/{ID}"] = b"\x00\xff\x1b"
    target = tmp_path / "here"
    told = known("files", "get", ID, "--output", str(target), "--json").json
    assert told == {"id": ID, "file": str(target), "bytes": 3}
    assert target.read_bytes() == b"\x00\xff\x1b"
    assert list(tmp_path.iterdir()) == [target]
    assert known("files", "get", "file_other", "-o", str(tmp_path / "other")).status == 1
    assert [one.name for one in tmp_path.iterdir() if "other" in one.name] == []
    assert "cannot be written" in known("files", "get", ID, "-o", str(tmp_path / "no" / "a")).err
    assert "--output" in known("files", "get", ID, "--json").err


def test_a_file_is_deleted_after_a_question(known: Baton, standin: StandIn) -> None:
    standin.answers[f"GET /api/files/{ID}/about"] = (200, file())
    standin.answers[f"DELETE /api/files/{ID}"] = (204, None)
    refused = known("files", "delete", ID)
    assert refused.status == 2
    assert "--yes" in refused.err
    assert f"DELETE /api/files/{ID}" not in standin.paths()
    assert known("files", "delete", ID, "-y").out == f"Deleted {ID}.\n"
    assert known("files", "delete", ID, "--yes", "--json").json == {"id": ID, "deleted": True}
    assert known("files", "delete", "../x", "-y").status == 1


def test_files_go_along_with_a_message(known: Baton, standin: StandIn, tmp_path: Path) -> None:
    async def talk(talk: Talk) -> None:
        await answer(talk, await talk.begin(), "A cat.")

    for name in ("cat.png", "b.pdf"):
        (tmp_path / name).write_bytes(b"x")
    standin.scripts.append(talk)
    kinds = {"cat.png": "image/png", "b.pdf": "application/pdf"}
    standin.answers["POST /api/files"] = lambda asked: (
        201,
        file(mediaType=kinds[asked.query["name"]]),
    )
    files = [word for name in kinds for word in ("--attach", str(tmp_path / name))]
    result = known("chat", "what is it?", *files)
    assert (result.status, result.out) == (0, "A cat.\n")
    (frame,) = standin.frames
    source = {"type": "file", "value": ID, "provider": "baton"}
    assert frame["input"]["messages"][0]["content"] == [
        {"type": "text", "text": "what is it?"},
        {"type": "image", "source": source},
        {"type": "document", "source": source},
    ]
