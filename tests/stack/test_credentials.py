import json
from pathlib import Path

import pytest

from stack.credentials import FILE, load_or_create, read
from stack.errors import StackError


def test_secrets_are_made_once_and_for_the_owner_only(tmp_path: Path) -> None:
    made = load_or_create(tmp_path)
    assert load_or_create(tmp_path) == made
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert len(made.run_token_key) >= 32


def test_no_two_secrets_are_alike(tmp_path: Path) -> None:
    load_or_create(tmp_path)
    values = json.loads((tmp_path / FILE).read_text()).values()
    assert len(set(values)) == len(values)


def test_secrets_do_not_show_in_a_repr(tmp_path: Path) -> None:
    made = load_or_create(tmp_path)
    assert made.runner_key not in repr(made)


def test_secrets_that_others_can_read_are_refused(tmp_path: Path) -> None:
    load_or_create(tmp_path)
    (tmp_path / FILE).chmod(0o640)
    with pytest.raises(StackError, match="chmod 600"):
        load_or_create(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"runner_key": 1}', '{"other": "x"}'])
def test_a_broken_file_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).touch(mode=0o600)
    (tmp_path / FILE).write_text(text)
    with pytest.raises(StackError, match="restore it"):
        load_or_create(tmp_path)
    assert (tmp_path / FILE).read_text() == text


def test_a_file_older_than_receipts_gets_a_key_for_good(tmp_path: Path) -> None:
    made = load_or_create(tmp_path)
    path = tmp_path / FILE
    old = json.loads(path.read_text())
    del old["receipt_key"]
    path.write_text(json.dumps(old))
    upgraded = load_or_create(tmp_path)
    assert upgraded == load_or_create(tmp_path)
    assert upgraded.receipt_key != made.receipt_key
    assert upgraded.runner_key == made.runner_key
    assert path.stat().st_mode & 0o777 == 0o600


def test_reading_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / FILE)
