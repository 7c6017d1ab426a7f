"""What a release asks for: an item that fails or is left out is open, and then nothing is ready."""

import signal
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

import dev
from agent import release_check as command
from agent.__main__ import main
from agent.errors import INTERRUPTED
from agent.releasing.commands import COMMANDS, by_command
from agent.releasing.item import Finding, Item, Looked, Tell
from agent.releasing.report import MOST_LINES, checklist
from stack.program import ROOT


def said(_: str) -> None:
    pass


def item(name: str, look: Callable[[Tell], Finding]) -> Item:
    return Item(name, f"do {name}", f"{name}.log", look)


def done(_: Tell) -> Finding:
    return Finding(True, "so")


def open_(_: Tell) -> Finding:
    return Finding(False, "not so", ("for one thing",))


def fails(_: Tell) -> Finding:
    raise RuntimeError("nobody thought of it")


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[str]]]:
    """Run the command over these items; its status, and the report's lines."""

    def run(items: list[Item], *options: str) -> tuple[int, list[str]]:
        monkeypatch.setattr(command, "every_item", lambda _: items)
        report = tmp_path / "new" / "list.md"
        status = main(["release-check", "--report", str(report), *options])
        return status, report.read_text().splitlines() if report.exists() else []

    return run


def test_all_done_is_ready(check: Callable[..., tuple[int, list[str]]]) -> None:
    status, lines = check([item("one", done), item("two", done)])
    assert status == 0
    assert "**Ready.**" in lines
    assert any(line.startswith("- [x] **one**: so (") for line in lines)


@pytest.mark.parametrize("look", [open_, fails])
def test_one_open_item_is_not_ready_and_the_others_are_looked_at(
    check: Callable[..., tuple[int, list[str]]],
    look: Callable[[Tell], Finding],
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, lines = check([item("one", look), item("two", done)])
    assert status == 1
    assert "**Not ready.** Open: one." in lines
    assert any(line.startswith("- [x] **two**") for line in lines)
    shown = capsys.readouterr()
    assert shown.out.endswith("is not ready. Open: one.\n")
    assert "by `do one`; see one.log" in shown.err


@pytest.mark.parametrize("options", [("--skip", "one"), ("--only", "two")])
def test_what_is_left_out_is_open(
    check: Callable[..., tuple[int, list[str]]], options: tuple[str, ...]
) -> None:
    status, lines = check([item("one", fails), item("two", done)], *options)
    assert status == 1
    assert "- [ ] **one**: left out  " in lines
    assert any(line.startswith("- [x] **two**") for line in lines)


@pytest.mark.parametrize("option", ["--skip", "--only"])
def test_an_item_that_there_is_not_is_refused(
    check: Callable[..., tuple[int, list[str]]], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check([item("one", done)], option, "on") == (2, [])
    assert "There is no item 'on'." in capsys.readouterr().err


def test_whoever_stops_it_has_a_report_of_what_was_looked_at(
    check: Callable[..., tuple[int, list[str]]],
) -> None:
    def stop(_: Tell) -> Finding:
        signal.raise_signal(signal.SIGTERM)
        return Finding(True, "it went on")

    status, lines = check([item("one", done), item("two", stop), item("three", done)])
    assert status == INTERRUPTED
    assert "**Not ready.** Open: two, three." in lines


def test_the_report_names_command_and_output_and_cuts_long_findings() -> None:
    many = Finding(True, "much", tuple(f"line {n}" for n in range(MOST_LINES + 2)))
    looked = [Looked(item("a", done), many, 61.0), Looked(Item("b", "do b", None, done), many)]
    text = checklist(looked, version="1", commit="abc", on=date(2030, 1, 2))
    assert "on 2030-01-02, for 1 at abc." in text
    assert "- [x] **a**: much (1 min)  \n  `do a` → `a.log`\n  - line 0\n" in text
    assert f"  - line {MOST_LINES - 1}\n  - and 2 more\n- [x] **b**: much  \n  `do b`\n" in text


# ---------------------------------------------------------------------------------- programs
@pytest.mark.parametrize(
    ("script", "finding"),
    [
        ("print('a'); print('fine'); print()", Finding(True, "fine")),
        ("print('no'); raise SystemExit(3)", Finding(False, "exit status 3: no")),
        ("", Finding(True, "it said nothing")),
        ("print('✓ all of it'); print('a hint')", Finding(True, "✓ all of it")),
        (
            "print('baton: why\\nx\\na hint'); raise SystemExit(1)",
            Finding(False, "exit status 1: baton: why"),
        ),
        ("import sys; print('x'); sys.stderr.write('last\\n')", Finding(True, "last")),
        ("print('\\x1b]0;x\\x07it')", Finding(True, "]0;xit")),
    ],
)
def test_a_program_decides_by_its_exit_status(
    tmp_path: Path, script: str, finding: Finding
) -> None:
    assert by_command("x", ["-c", script], tmp_path).look(said) == finding


def test_what_a_program_says_is_kept_and_the_report_tells_no_place(tmp_path: Path) -> None:
    script = (
        "import os; print(f'{os.getcwd()}/a from https://u:p@example.com/x ' + os.environ['A'])"
    )
    found = by_command("x", ["-c", script], tmp_path, {"A": "1"})
    assert found.command.startswith("A=1 python -c ")
    assert found.look(said).why == "…/a from … 1"
    assert str(tmp_path) in (tmp_path / str(found.output)).read_text()


def test_while_a_program_works_its_last_words_are_told(tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    script = (
        "import pathlib, time; print('half', flush=True)\n"
        f"while not pathlib.Path({str(go_on)!r}).exists(): time.sleep(0.01)"
    )

    def tell(words: str) -> None:
        if words == "half":
            go_on.touch()

    assert by_command("x", ["-c", script], tmp_path).look(tell) == Finding(True, "half")


def test_a_program_ends_with_whoever_waits_for_it(tmp_path: Path) -> None:
    script = (
        "import signal, sys, threading\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('told', flush=True), sys.exit()))\n"
        "print('ready', flush=True)\n"
        "threading.Event().wait()"
    )

    def tell(words: str) -> None:
        if words == "ready":
            raise KeyboardInterrupt

    waiting = by_command("x", ["-c", script], tmp_path)
    with pytest.raises(KeyboardInterrupt):
        waiting.look(tell)
    assert (tmp_path / str(waiting.output)).read_text() == "ready\ntold\n"


def test_a_program_that_is_not_there_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    assert not by_command("x", [], tmp_path).look(said).done


def test_the_programs_are_programs() -> None:
    for program, *words in COMMANDS.values():
        if program == "dev.py":
            assert words[0] in dev.COMMANDS
        else:
            assert [program, words[0]] == ["-m", "agent"]
            assert f"### `{words[1]}`" in (ROOT / "docs" / "cli.md").read_text()


def test_every_item_is_on_the_page() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    for one in command.every_item("1"):
        assert f"| `{one.name}` |" in page
