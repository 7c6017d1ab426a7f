from typing import Any

from tests.agent.conftest import Baton
from tests.agent.standin import StandIn, page, thread


def test_threads_are_listed_with_what_follows(known: Baton, standin: StandIn) -> None:
    threads = page(thread("thr_1", "Tides"), thread("thr_2"), following="c2")
    standin.answers["GET /api/threads"] = (200, threads)
    result = known("threads", "--limit", "2")
    assert "thr_1" in result.out
    assert "Tides" in result.out
    assert "baton threads list --cursor c2" in result.err
    assert known("threads", "list", "--json").json == threads


def test_no_threads_yet_says_how_to_begin(known: Baton, standin: StandIn) -> None:
    standin.answers["GET /api/threads"] = (200, page())
    result = known("threads")
    assert (result.status, result.out) == (0, "")
    assert "baton chat" in result.err


def test_a_title_cannot_harm_the_terminal(known: Baton, standin: StandIn) -> None:
    standin.answers["GET /api/threads"] = (200, page(thread("thr_1", "\x1b]0;owned\x07[red]x")))
    assert "]0;owned[red]x" in known("threads").out


def test_a_thread_is_read_like_a_conversation(known: Baton, standin: StandIn) -> None:
    call = {"id": "c", "function": {"name": "save_note", "arguments": '{"text":"plants"}'}}
    messages: list[dict[str, Any]] = [
        {"id": "m1", "role": "user", "content": "note: plants"},
        {"id": "m2", "role": "assistant", "toolCalls": [call]},
        {"id": "m3", "role": "tool", "content": '{"id":7}'},
        {"id": "m4", "role": "reasoning", "content": "Hm."},
        {"id": "m5", "role": "assistant", "content": "Noted."},
        {"id": "m6", "role": "surprise", "content": "?"},
    ]
    standin.answers["GET /api/threads/thr_1/messages"] = (200, page(*messages, following="m1"))
    result = known("threads", "show", "thr_1")
    assert result.out.splitlines() == [
        "> note: plants",
        '  ▸ save_note text="plants"',
        '  ✓ {"id":7}',
        "  Hm.",
        "Noted.",
        "  surprise: ?",
    ]
    assert "--before m1" in result.err
    assert known("threads", "show", "thr_1", "--json").json["data"] == messages


def test_a_thread_is_renamed(known: Baton, standin: StandIn) -> None:
    standin.answers["PATCH /api/threads/thr_1"] = lambda asked: (
        200,
        thread("thr_1", asked.body["title"]),
    )
    assert known("threads", "rename", "thr_1", "Tides").out == "thr_1 is called 'Tides' now.\n"
    assert known("threads", "rename", "thr_1", "").out == "thr_1 has no title now.\n"


def test_a_thread_is_deleted_only_on_purpose(known: Baton, standin: StandIn) -> None:
    standin.answers["GET /api/threads/thr_1"] = (200, thread("thr_1"))
    standin.answers["DELETE /api/threads/thr_1"] = (204, None)
    refused = known("threads", "delete", "thr_1")
    assert refused.status == 2
    assert "--yes" in refused.err
    assert known("threads", "delete", "thr_1", "--yes").out == "Deleted thr_1.\n"
    assert known("threads", "delete", "thr_1", "--yes", "--json").json["deleted"] is True


def test_a_person_is_asked_before_a_thread_is_deleted(known: Baton, standin: StandIn) -> None:
    standin.answers["GET /api/threads/thr_1"] = (200, thread("thr_1", "Tides"))
    standin.answers["DELETE /api/threads/thr_1"] = (204, None)
    refused = known("threads", "delete", "thr_1", typed="n\n")
    assert refused.status == 1
    assert "Nothing was deleted." in refused.err
    assert "DELETE /api/threads/thr_1" not in standin.paths()
    assert "Deleted thr_1." in known("threads", "delete", "thr_1", typed="y\n").out


def test_an_unknown_thread_is_told(known: Baton) -> None:
    for command in (("show",), ("delete", "--yes")):
        result = known("threads", command[0], "thr_9", *command[1:])
        assert result.status == 1
        assert "nothing by this id" in result.err
    assert known("threads", "rename", "thr_9", "x").status == 1
