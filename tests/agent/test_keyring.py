import json
import os
import stat
from pathlib import Path

import pytest

from agent.errors import CliError
from agent.keyring import Keyring, StoredKey

URL = "http://127.0.0.1:8000"
ADA = StoredKey(key="bt_ada", email="ada@localhost", id="k1", dev=True)


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def keyring(tmp_path: Path, notes: list[str]) -> Keyring:
    return Keyring(tmp_path / "baton" / "keys.json", notes.append)


def test_a_stored_key_is_found_again_and_is_for_its_owner_only(keyring: Keyring) -> None:
    keyring.keep(URL, ADA)
    assert keyring.find(URL) == ADA
    assert stat.S_IMODE(keyring.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(keyring.path.parent.stat().st_mode) == 0o700


def test_each_gateway_has_a_key_of_its_own(keyring: Keyring) -> None:
    other = StoredKey(key="bt_other", email="ada@example.com")
    keyring.keep(URL, ADA)
    keyring.keep("https://chat.example.com", other)
    keyring.drop(URL)
    assert keyring.find(URL) is None
    assert keyring.find("https://chat.example.com") == other


def test_without_a_file_there_is_no_key(keyring: Keyring) -> None:
    keyring.drop(URL)
    assert keyring.find(URL) is None
    assert not keyring.path.exists()


def test_a_file_open_to_others_is_closed_with_a_word_about_it(
    keyring: Keyring, notes: list[str]
) -> None:
    keyring.keep(URL, ADA)
    keyring.path.chmod(0o644)
    assert keyring.find(URL) == ADA
    assert stat.S_IMODE(keyring.path.stat().st_mode) == 0o600
    assert "could be read by others" in notes[0]
    assert keyring.find(URL) == ADA
    assert len(notes) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{half",
        b"[]",
        b"\xff\xfe",
        json.dumps({URL: "bt_ada"}).encode(),
        json.dumps({URL: {"key": 3, "email": "a@b"}}).encode(),
        json.dumps({URL: {"key": "bt_ada"}}).encode(),
    ],
)
def test_a_broken_file_is_refused_in_words(keyring: Keyring, content: bytes) -> None:
    keyring.path.parent.mkdir()
    keyring.path.touch(0o600)
    keyring.path.write_bytes(content)
    with pytest.raises(CliError, match="is not a file of keys") as refused:
        keyring.find(URL)
    assert "baton login" in str(refused.value.hint)
    assert "bt_ada" not in str(refused.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_somebody_else_is_refused(keyring: Keyring) -> None:
    keyring.keep(URL, ADA)
    os.chown(keyring.path, 65534, 65534)
    with pytest.raises(CliError, match="belongs to another user"):
        keyring.find(URL)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    keyring = Keyring(tmp_path / "file" / "keys.json", print)
    with pytest.raises(CliError, match="cannot be"):
        keyring.keep(URL, ADA)


def test_the_configuration_folder_is_xdgs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert Keyring.of_user(print).path == tmp_path / "baton" / "keys.json"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "ada"))
    assert Keyring.of_user(print).path == tmp_path / "ada" / ".config" / "baton" / "keys.json"


def test_a_key_does_not_show_in_a_repr() -> None:
    assert "bt_ada" not in repr(ADA)
