import json
from pathlib import Path

import pytest

from agent.errors import CliError
from agent.operator_key import operator_key


def secrets_file(home: Path, content: str, mode: int = 0o600) -> Path:
    path = home / "secrets.json"
    path.touch(mode)
    path.write_text(content)
    path.chmod(mode)
    return path


def test_the_operator_key_is_read(tmp_path: Path) -> None:
    secrets_file(tmp_path, json.dumps({"operator_key": "op", "runner_key": "r"}))
    assert operator_key(tmp_path) == "op"


def test_elsewhere_there_is_none(tmp_path: Path) -> None:
    assert operator_key(tmp_path) is None
    assert operator_key(tmp_path / "nothing") is None


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    secrets_file(tmp_path, json.dumps({"operator_key": "op"}), 0o644)
    with pytest.raises(CliError, match="can be read by others") as refused:
        operator_key(tmp_path)
    assert "chmod 600" in str(refused.value.hint)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"operator_key": 3}', '{"operator_key": ""}'])
def test_a_broken_file_is_refused_in_words(tmp_path: Path, content: str) -> None:
    secrets_file(tmp_path, content)
    with pytest.raises(CliError, match="holds no operator key"):
        operator_key(tmp_path)
