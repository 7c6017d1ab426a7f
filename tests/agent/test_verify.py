"""`verify` and `runs export`, at a stand-in gateway and without any."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from shared.protocol.codes import Code
from shared.receipts import KEYS_PATH
from tests.agent.conftest import Baton
from tests.agent.standin import StandIn, refusal
from tests.shared.exported import KEY, OTHER, export

LINES = export([[1, 4, 1], [1, 1]])
KEYS = {"keys": [OTHER.public.jwk, KEY.public.jwk]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where somebody works; there is an export of a run, and the keys of its installation."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.ndjson").write_bytes(whole(LINES))
    (tmp_path / "keys.json").write_text(json.dumps(KEYS))
    return tmp_path


@pytest.fixture
def gateway(standin: StandIn) -> StandIn:
    standin.answers[f"GET {KEYS_PATH}"] = (200, KEYS)
    standin.downloads["/api/runs/run_1/export"] = whole(LINES)
    return standin


def whole(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


# ---------------------------------------------------------------------------------- files
def test_a_file_that_holds_says_so_and_by_which_key(baton: Baton, folder: Path) -> None:
    found = baton("verify", "run.ndjson", "--keys", "keys.json")
    assert (found.status, found.err) == (0, "")
    assert "5 rows, each as it was" in found.out
    assert f"{KEY.public.id} (trusted)" in found.out


def test_without_keys_it_is_not_called_trusted(baton: Baton, folder: Path) -> None:
    found = baton("verify", "run.ndjson")
    assert found.status == 0
    assert "not trusted" in found.out
    assert "--keys" in found.err
    assert baton("verify", "run.ndjson", "--json").json["trusted"] is False


def test_a_file_needs_no_gateway(baton: Baton, folder: Path) -> None:
    found = baton("verify", "run.ndjson", "--url", "http://127.0.0.1:9", "--json")
    assert (found.status, found.json["holds"]) == (0, True)


def test_the_end_of_the_last_line_does_not_matter(baton: Baton, folder: Path) -> None:
    Path("run.ndjson").write_bytes(whole(LINES)[:-1])
    assert baton("verify", "run.ndjson").status == 0


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([*LINES[:2], LINES[2].replace(b"CHUNK", b"CHUNKS"), *LINES[3:]], "Line 3 (3-2) was alt"),
        ([*LINES[:2], *LINES[3:]], "missing before line 3 (3-6): rows between 3-1 and 3-6"),
        ([*LINES[:2], LINES[5], *LINES[2:]], "Line 3 (4-2) was added"),
        ([*LINES[:2], LINES[3], LINES[2], *LINES[4:]], "Line 3 (3-6) is out of its place"),
        (LINES[:-1], "missing before line 7: the file ends after 4-2"),
        (LINES[1:], "missing before line 1 (3-1): there is no header"),
        ([*LINES[:-1], LINES[-1].replace(b"finished", b"canceled")], "Line 7 was altered"),
    ],
)
def test_what_happened_is_said_in_words(
    baton: Baton, folder: Path, lines: list[bytes], words: str
) -> None:
    Path("run.ndjson").write_bytes(whole(lines))
    for keys in ((), ("--keys", "keys.json")):
        found = baton("verify", "run.ndjson", *keys)
        assert found.status == 1
        assert words in found.out
        assert found.err == ""


def test_programs_get_the_line_and_the_event(baton: Baton, folder: Path) -> None:
    Path("run.ndjson").write_bytes(whole([*LINES[:2], *LINES[3:]]))
    found = baton("verify", "run.ndjson", "--json")
    assert found.status == 1
    assert found.json["holds"] is False
    problem = found.json["problem"]
    assert (problem["trouble"], problem["line"], problem["id"]) == ("missing", 3, "3-6")
    assert problem["message"].startswith("Something is missing before line 3 (3-6)")
    assert found.json["receipt"]["run"] == "run_1"


def test_another_installations_keys_do_not_do(baton: Baton, folder: Path) -> None:
    Path("keys.json").write_text(json.dumps(OTHER.public.jwk))
    found = baton("verify", "run.ndjson", "--keys", "keys.json")
    assert found.status == 1
    assert "is not to be believed" in found.out


BAD = {
    "nothing": b"",
    "a newline": b"\n",
    "text": b"hello\n",
    "binary": bytes(range(256)) * 100,
    "brackets": b"[" * 100_000,
    "nested objects": b'{"a":' * 100_000,
    "a surrogate": b'{"id":"\\ud800"}\n',
    "a long line": b"x" * 3_000_000,
    "a long number": b'{"seqTo":' + b"9" * 5000 + b"}",
    "other json lines": b'{"event":{}}\n' * 3,
    "an array": b"[1,2]\n",
    "half a line": whole(LINES)[:100],
    "utf-16": whole(LINES).decode().encode("utf-16"),
    "windows": whole(LINES).replace(b"\n", b"\r\n"),
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_a_file_of_something_else_is_refused_in_words(
    baton: Baton, folder: Path, content: bytes
) -> None:
    Path("run.ndjson").write_bytes(content)
    found = baton("verify", "run.ndjson", "--keys", "keys.json", "--json")
    assert found.status == 1
    assert found.json["problem"]["line"] == 1
    assert baton("verify", "run.ndjson").status == 1


def test_what_is_no_export_at_all_is_not_said_to_be_altered(baton: Baton, folder: Path) -> None:
    Path("run.ndjson").write_bytes(b"# A page\n")
    found = baton("verify", "run.ndjson")
    assert "This is no export of a run: in line 1, " in found.out
    assert "altered" not in found.out


def test_standard_input_is_read(
    baton: Baton, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Piped(io.StringIO):
        buffer = io.BytesIO(whole(LINES))

    monkeypatch.setattr(io, "StringIO", lambda _: Piped())
    assert baton("verify", "-").status == 0
    assert isinstance(sys.stdin, Piped)


def test_a_folder_and_a_name_of_nothing_are_refused(baton: Baton, folder: Path) -> None:
    found = baton("verify", str(folder))
    assert (found.status, "cannot be read" in found.err) == (1, True)
    for what in ("nothing.ndjson", "a/b", "", "x" * 5000, "a\0b"):
        found = baton("verify", what)
        assert (found.status, "neither a file" in found.err) == (2, True)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "7", '{"keys":7}', '{"keys":[7]}', '{"kty":"RSA"}', "[" * 100_000]
)
def test_keys_that_are_none_are_wrong_usage(baton: Baton, folder: Path, content: str) -> None:
    Path("keys.json").write_text(content)
    found = baton("verify", "run.ndjson", "--keys", "keys.json")
    assert (found.status, found.out) == (2, "")
    assert "keys.json" in found.err


def test_keys_that_cannot_be_had_are_named(baton: Baton, folder: Path) -> None:
    found = baton("verify", "run.ndjson", "--keys", "missing.json")
    assert (found.status, "missing.json cannot be read" in found.err) == (2, True)
    found = baton("verify", "run.ndjson", "--keys", "http://127.0.0.1:9/")
    assert (found.status, "No keys could be had" in found.err) == (1, True)


def test_keys_come_from_an_installation_too(baton: Baton, folder: Path, gateway: StandIn) -> None:
    for where in (gateway.url, f"{gateway.url}{KEYS_PATH}"):
        found = baton("verify", "run.ndjson", "--keys", where, "--json")
        assert (found.status, found.json["trusted"]) == (0, True)


# ---------------------------------------------------------------------------------- runs
def test_a_run_is_checked_with_the_gateways_keys(known: Baton, gateway: StandIn) -> None:
    found = known("verify", "run_1")
    assert found.status == 0
    assert "(trusted)" in found.out
    assert gateway.paths()[-2:] == [f"GET {KEYS_PATH}", "GET /api/runs/run_1/export"]


def test_a_run_can_be_checked_with_ones_own_keys(
    known: Baton, gateway: StandIn, folder: Path
) -> None:
    Path("keys.json").write_text(json.dumps(OTHER.public.jwk))
    assert known("verify", "run_1", "--keys", "keys.json").status == 1


def test_a_run_that_was_altered_is_found(known: Baton, gateway: StandIn) -> None:
    gateway.downloads["/api/runs/run_1/export"] = whole([*LINES[:3], *LINES[4:]])
    found = known("verify", "run_1", "--json")
    assert (found.status, found.json["problem"]["id"]) == (1, "4-1")


def test_the_record_of_another_run_is_no_answer(known: Baton, gateway: StandIn) -> None:
    gateway.downloads["/api/runs/run_2/export"] = whole(LINES)
    found = known("verify", "run_2")
    assert (found.status, found.out) == (1, "")
    assert "of another run, run_1" in found.err


@pytest.mark.parametrize("command", [("verify", "run_1"), ("runs", "export", "run_1")])
@pytest.mark.parametrize("code", [Code.NOT_FOUND, Code.BUSY, Code.NOT_SUPPORTED])
def test_a_refusal_is_passed_on(
    known: Baton, standin: StandIn, command: tuple[str, ...], code: Code
) -> None:
    standin.answers[f"GET {KEYS_PATH}"] = (200, KEYS)
    standin.answers["GET /api/runs/run_1/export"] = refusal(code)
    found = known(*command, "--json")
    assert (found.status, found.out) == (1, "")
    assert json.loads(found.err)["error"]["code"] == code


def test_an_export_goes_to_standard_output_as_it_came(known: Baton, gateway: StandIn) -> None:
    found = known("runs", "export", "run_1")
    assert (found.status, found.out.encode(), found.err) == (0, whole(LINES), "")


@pytest.mark.parametrize("option", ["-o", "--output"])
def test_an_export_goes_to_a_file(
    known: Baton, gateway: StandIn, folder: Path, option: str
) -> None:
    found = known("runs", "export", "run_1", option, "out.ndjson")
    assert (found.status, found.out) == (0, "")
    assert Path("out.ndjson").read_bytes() == whole(LINES)
    assert known("verify", "out.ndjson", "--keys", "keys.json").status == 0
    told = known("runs", "export", "run_1", option, "out.ndjson", "--json").json
    assert told == {"run": "run_1", "file": "out.ndjson", "bytes": len(whole(LINES))}


def test_a_failed_export_leaves_no_file(known: Baton, standin: StandIn, folder: Path) -> None:
    before = sorted(folder.iterdir())
    standin.answers["GET /api/runs/run_1/export"] = refusal(Code.NOT_FOUND)
    assert known("runs", "export", "run_1", "-o", "out.ndjson").status == 1
    standin.downloads["/api/runs/run_1/export"] = whole(LINES)
    found = known("runs", "export", "run_1", "-o", "no/such/folder.ndjson")
    assert (found.status, "cannot be written" in found.err) == (1, True)
    assert sorted(folder.iterdir()) == before


def test_what_is_no_export_is_not_taken_for_one(known: Baton, standin: StandIn) -> None:
    standin.answers["GET /api/runs/run_1/export"] = (200, {"hello": 1})
    found = known("runs", "export", "run_1")
    assert (found.status, "not a Baton gateway" in found.err) == (1, True)


def test_who_is_not_signed_in_gets_another_try(
    baton: Baton, gateway: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATON_URL", gateway.url)
    gateway.be_in_dev_mode()
    assert baton("verify", "run_1").status == 0
    download = gateway.downloads.pop("/api/runs/run_1/export")

    def forgotten(asked: Any) -> Any:
        gateway.downloads["/api/runs/run_1/export"] = download
        return refusal(Code.NOT_SIGNED_IN)

    gateway.answers["GET /api/runs/run_1/export"] = forgotten
    assert baton("verify", "run_1").status == 0
