"""What `up` refuses or mentions before it starts anything."""

import socket
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.preflight import misspelt, require_stores, wrong_settings


def test_an_ordinary_environment_is_fine() -> None:
    environ = {"HOME": "/root", "OPENAI_API_KEY": "sk-x", "BATON_CONCURRENCY": "8"}
    assert wrong_settings(environ) == []
    assert misspelt(environ) == []


def test_folders_are_looked_for_from_where_the_processes_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert wrong_settings({"BATON_TOOLS_DIR": "tests/fixtures/tools"}) == []
    assert Path.cwd() == tmp_path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BATON_CONCURRENCY", "abc"),
        ("BATON_LOG_LEVEL", "LOUD"),
        ("BATON_LEASE_S", "0"),
        ("BATON_SIGN_IN_DAYS", "-1"),
        ("BATON_AGENTS_HOME", "no/such/folder"),
    ],
)
def test_a_wrong_setting_is_named_once(name: str, value: str) -> None:
    (sentence,) = wrong_settings({name: value})
    assert sentence.startswith(f"Wrong setting: {name}: th")  # this must be …, there is no …


def test_a_misspelt_setting_is_mentioned_with_what_was_meant() -> None:
    (sentence,) = misspelt({"BATON_CONCURENCY": "3"})
    assert sentence.startswith("BATON_CONCURENCY is not a setting")
    assert "BATON_CONCURRENCY" in sentence


def test_sentinels_are_left_to_the_processes_for_some_may_be_away() -> None:
    require_stores({"REDIS_URL": "redis+sentinel://:secret@127.0.0.1:1,127.0.0.1:2/main"})


def test_a_store_that_does_not_listen_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        require_stores({"DATABASE_URL": f"postgresql://u:secret@127.0.0.1:{port}/x"})
    with pytest.raises(StackError, match=rf"REDIS_URL: nothing answers at 127.0.0.1:{port}"):
        require_stores({"REDIS_URL": f"redis://:secret@127.0.0.1:{port}/0"})


@pytest.mark.parametrize("url", ["postgresql://h:port/x", "http://[::1"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(StackError, match="DATABASE_URL is not a URL"):
        require_stores({"DATABASE_URL": url})
