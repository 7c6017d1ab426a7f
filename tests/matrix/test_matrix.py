"""The matrix: its tables, what its report says, and what it takes from a probe."""

import importlib
from datetime import date
from pathlib import Path

import pytest

from matrix import clients
from matrix.cells import Cell, Row, page
from matrix.clients import NotHereError, heard, python_for
from matrix.kinds import CLIENTS, CONVERSATIONS
from matrix.main import python_or_why


def table(text: str) -> dict[str, list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {cells[0]: cells[1:] for cells in reversed(rows)}  # the first table counts


def made(*rows: Row) -> str:
    return page(rows, release="1.2.3", on=date(2030, 1, 2), by="Python 9 and Node.js 99")


def fine() -> dict[str, Cell]:
    return dict.fromkeys(CONVERSATIONS, Cell())


def test_every_cell_says_what_came_of_it() -> None:
    row = Row("curl", "chat", "8.0", found=fine())
    row.found |= {"tools": Cell(why="no | sum\nat all")}
    row.found |= {"reconnect": Cell(offered=False, note="it sends\nno key")}
    del row.found["leave"]
    text = made(row)
    assert table(text)["curl"][:3] == ["8.0", "chat", "2030-01-02"]
    cells = dict(zip(CONVERSATIONS, table(text)["curl"][3:], strict=True))
    assert cells == dict.fromkeys(CONVERSATIONS, "ok") | {
        "tools": "**fails**",
        "leave": "**fails**",
        "reconnect": "n/a",
    }
    assert "- curl, chat, tools: no \\| sum at all" in text
    assert "- curl, chat, leave: no answer came" in text
    assert "- curl, reconnect: it sends no key" in text
    assert "on 2030-01-02, release 1.2.3, with Python 9 and Node.js 99" in text


def test_what_a_client_did_is_told_once_for_both_upstreams_unless_it_differs() -> None:
    rows = [Row("curl", upstream, "8.0", found=fine()) for upstream in ("chat", "responses")]
    for row in rows:
        row.found["leave"] = Cell(note="killed")
        row.found["cancel"] = Cell(note=f"by {row.upstream}")
    assert "\n| curl | - | killed | by chat / by responses |\n" in made(*rows)


def test_a_client_that_is_missing_is_no_failure_and_says_so() -> None:
    row = Row("litellm", "chat", missing="not installed")
    assert row.failures == {}
    assert table(made(row))["litellm"][3].startswith("not tried: not installed")
    assert "Nothing failed." in made(row)


def test_the_probe_has_these_clients_and_conversations(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BATON_URL", "BATON_KEY", "BATON_PAID"):
        monkeypatch.setenv(name, "x")
    held = importlib.import_module("matrix.probe.conversations").HELD
    assert tuple(held) == CONVERSATIONS
    for kind in CLIENTS.values():
        module, name = kind.probe
        source = Path(clients.__file__).parent / "probe" / f"{module}.py"
        assert f"\nclass {name}(" in source.read_text()


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"7", b'"x"', b"a warning\n"])
def test_what_others_print_is_passed_over(line: bytes) -> None:
    row = Row("curl", "chat")
    heard(row, line)
    assert row == Row("curl", "chat")


def test_what_is_not_asked_for_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(NotHereError, match="`pip install litellm`"):
        python_for("litellm", tmp_path, install=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("client", "says"), [("ag-ui", "npm ci"), ("open-webui", "pip install open-webui")]
)
def test_a_client_that_is_not_here_is_told_with_how_it_gets_here(
    client: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "NODE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    why = python_or_why(client, tmp_path, install=False)
    assert isinstance(why, str)
    assert why.startswith("not installed")
    assert says in why
