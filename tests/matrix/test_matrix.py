"""The matrix: what its report says, and one client before a real stack."""

import ast
from datetime import date
from pathlib import Path

import pytest

from matrix.cells import CONVERSATIONS, NO_PROBE, Row, page
from matrix.clients import PACKAGES, PROBE, heard, python_for
from matrix.main import tried


def table(text: str) -> dict[str, list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {cells[0]: cells[1:] for cells in rows}


def made(*rows: Row) -> str:
    return page(rows, release="1.2.3", on=date(2030, 1, 2))


def test_every_cell_says_what_came_of_it() -> None:
    row = Row("curl", "chat", "8.0", found=dict.fromkeys(CONVERSATIONS))
    row.found |= {"tools": "no | sum\nat all"}
    del row.found["leave"]
    text = made(row)
    cells = dict(zip(CONVERSATIONS, table(text)["curl"][2:], strict=True))
    assert cells == dict.fromkeys(CONVERSATIONS, "ok") | {
        "tools": "**fails**",
        "leave": "**fails**",
    }
    assert "- curl, chat, tools: no \\| sum at all" in text
    assert "- curl, chat, leave: no answer came" in text
    assert "on 2030-01-02, release 1.2.3" in text


def test_a_client_that_is_missing_is_no_failure_and_says_so() -> None:
    row = Row("litellm", "chat", missing="not installed")
    assert row.failures == {}
    assert table(made(row))["litellm"][2] == "not tried: not installed"
    assert set(NO_PROBE) <= set(table(made()))
    assert "Nothing failed." in made()


def test_the_probe_has_these_clients_and_conversations() -> None:
    dicts = {
        node.target.id: [key.value for key in node.value.keys if isinstance(key, ast.Constant)]
        for node in ast.walk(ast.parse(PROBE.read_text()))
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.value, ast.Dict)
    }
    assert dicts["CLIENTS"] == list(PACKAGES)
    assert dicts["CONVERSATIONS"] == list(CONVERSATIONS)


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"7", b'"x"', b"a warning\n"])
def test_what_others_print_is_passed_over(line: bytes) -> None:
    row = Row("curl", "chat")
    heard(row, line)
    assert row == Row("curl", "chat")


def test_what_is_not_asked_for_is_not_installed(tmp_path: Path) -> None:
    assert python_for("litellm", tmp_path, install=False) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.stores
@pytest.mark.asyncio
async def test_curl_holds_all_conversations(tmp_path: Path) -> None:
    told: list[str] = []
    rows = await tried(
        ["curl", "litellm"], tmp_path, install=False, tell=told.append, upstreams=["chat"]
    )
    assert rows[0].failures == {}
    assert set(rows[0].found) == set(CONVERSATIONS)
    assert rows[1].missing is not None
