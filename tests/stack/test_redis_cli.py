from pathlib import Path

import pytest

from stack import redis_cli
from stack.errors import StackError
from stack.redis_cli import plain, readable
from stack.resp import Reply, RespConnection, RespError


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        (None, "(nil)"),
        (3, "(integer) 3"),
        ("OK", "OK"),
        (b"caf\xc3\xa9", '"café"'),
        (b'say "hi"\n', '"say \\"hi\\"\\n"'),
        (b"\x1b[31mred", '"\\x1b[31mred"'),
        (b"\xff\x01a", '"\\xff\\x01a"'),
        ([], "(empty array)"),
        (RespError("ERR no"), "(error) ERR no"),
    ],
)
def test_single_replies_look_as_in_redis_cli(reply: Reply, shown: str) -> None:
    assert readable(reply) == shown


def test_a_stream_looks_as_in_redis_cli() -> None:
    reply: Reply = [[b"1-1", [b"type", b"RUN_STARTED"]], [b"1-2", [b"type", b"X"]]]
    assert readable(reply).splitlines() == [
        '1) 1) "1-1"',
        '   2) 1) "type"',
        '      2) "RUN_STARTED"',
        '2) 1) "1-2"',
        '   2) 1) "type"',
        '      2) "X"',
    ]


def test_a_pipe_gets_values_alone() -> None:
    assert plain([[b"1-1", [b"type", b"X"]], 2, None]) == "1-1\ntype\nX\n2\n"


def test_nothing_running_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    with pytest.raises(StackError, match=r"dev\.py up"):
        redis_cli.main(["--home", str(tmp_path), "PING"])


@pytest.mark.stores
def test_one_command_is_run(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    with RespConnection(redis_url) as redis:
        redis.call("XADD", "runs", "1-1", "run", "r1")
    assert redis_cli.main(["XRANGE", "runs", "-", "+"]) == 0
    assert capsys.readouterr().out == "1-1\nrun\nr1\n"
    assert redis_cli.main(["NONSENSE"]) == 1
    assert "unknown command" in capsys.readouterr().err


@pytest.mark.stores
def test_the_prompt_goes_on_after_mistakes(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = iter(["", 'SET "unclosed', "NONSENSE", "SET a 'b c'", "GET a", "quit"])
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setattr("builtins.input", lambda _: next(typed))
    assert redis_cli.main([]) == 0
    out = capsys.readouterr().out
    assert "No closing quotation" in out
    assert out.endswith("OK\nb c\n")
