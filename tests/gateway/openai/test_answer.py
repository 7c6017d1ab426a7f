"""What a caller who sees one text is told of a run."""

from typing import Any

import pytest

from gateway.openai.answer import Added, Answer, Question
from shared.errors import BatonError
from shared.protocol.codes import Code

Event = dict[str, Any]


def says(delta: str, message: str = "m1", **more: Any) -> Event:
    shared = {"messageId": message, "role": "assistant"}
    return {"type": "TEXT_MESSAGE_CHUNK", "delta": delta, **shared, **more}


def snapshot(*kept: str) -> Event:
    return {"type": "MESSAGES_SNAPSHOT", "messages": [{"id": one} for one in kept]}


def finished(outcome: str = "success", **more: Any) -> Event:
    return {"type": "RUN_FINISHED", "outcome": {"type": outcome}, **more}


def told(*events: Event, streamed: bool = True) -> tuple[list[str], Answer]:
    answer = Answer(streamed=streamed, link="http://x/approvals")
    added = [answer.feed(event) for event in events]
    assert not any(one.refusal for one in added)
    return [one.text for one in added if one.text], answer


def refused(*events: Event) -> Code:
    with pytest.raises(BatonError) as caught:
        told(*events)
    return caught.value.code


def test_texts_of_several_messages_have_a_blank_line_between() -> None:
    pieces, answer = told(says("Let me "), says("look."), says("It is 5.", "m2"), finished())
    assert pieces == ["Let me ", "look.", "\n\nIt is 5."]
    assert answer.whole.text == "Let me look.\n\nIt is 5."
    assert answer.ended


def test_texts_of_sub_agents_and_of_people_are_not_part_of_it() -> None:
    inner = {"type": "TEXT_MESSAGE_CONTENT", "messageId": "s", "delta": "x", "subagentRunId": "1"}
    pieces, _ = told(inner, says("steer", "u", role="user"), says("yes"), says(""))
    assert pieces == ["yes"]


def test_what_is_written_anew_is_swallowed_while_it_repeats_what_was_sent() -> None:
    pieces, answer = told(
        says("one two thr"),
        snapshot("usr"),
        says("one ", "m2"),
        says("two three", "m2"),
        says(" four", "m2"),
        finished(),
    )
    assert pieces == ["one two thr", "ee", " four"]
    assert answer.whole.text == "one two three four"


def test_messages_that_a_snapshot_restates_stay() -> None:
    pieces, _ = told(
        says("done."),
        says("half", "m2"),
        snapshot("m1"),
        says("half", "m3"),
        says(" more", "m3"),
        finished(),
    )
    assert pieces == ["done.", "\n\nhalf", " more"]


def test_a_second_take_over_still_knows_all_that_was_sent() -> None:
    pieces, _ = told(
        *(says("one two"), snapshot(), says("one", "m2"), snapshot()),
        *(says("one two three", "m3"), finished()),
    )
    assert pieces == ["one two", " three"]


def test_a_snapshot_that_takes_nothing_back_changes_nothing() -> None:
    pieces, _ = told(says("one"), snapshot("m1"), says(" two"), finished())
    assert pieces == ["one", " two"]


@pytest.mark.parametrize(
    "anew",
    [
        [says("another", "m2")],
        [says("one too", "m2")],
        [says("one", "m2"), finished()],
        [finished(), finished()],
    ],
)
def test_another_text_than_was_sent_ends_the_answer(anew: list[Event]) -> None:
    assert refused(says("one two"), snapshot(), *anew) is Code.ANSWER_RESTARTED


def test_in_one_piece_only_the_last_text_counts() -> None:
    _, answer = told(says("one"), snapshot(), says("other", "m2"), finished(), streamed=False)
    assert answer.whole.text == "other"


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (finished(result={"city": "Paris"}), '{"city":"Paris"}'),
        (finished(), "42"),
    ],
)
def test_an_agent_that_ends_without_a_text_has_its_output_told(end: Event, text: str) -> None:
    result = {"type": "TOOL_CALL_RESULT", "content": "42"}
    pieces, answer = told(result, end)
    assert pieces == [text]
    assert answer.whole.text == text


def test_a_text_is_told_and_not_the_output_made_of_it() -> None:
    pieces, _ = told(says('{"a": 1}'), finished(result={"a": 1}))
    assert pieces == ['{"a": 1}']


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ({"type": "RUN_ERROR", "code": "max_turns", "message": "Too many."}, Code.MAX_TURNS),
        ({"type": "RUN_ERROR", "code": "their_own", "message": "No."}, Code.AGENT_ERROR),
        (finished("cancelled"), Code.CANCELLED),
    ],
)
def test_a_run_without_an_answer_is_an_error_that_nobody_repeats(end: Event, code: Code) -> None:
    _, answer = told(says("half"), end)
    assert answer.ended
    with pytest.raises(BatonError) as failed:
        _ = answer.whole
    assert failed.value.code is code
    assert failed.value.details["repeatable"] is False


def test_what_a_run_asks_is_told_in_words_with_a_link() -> None:
    about = {"tool": "send", "agent": "Mailer", "arguments": '{"to": "ada"}'}
    outcome = {"type": "interrupt", "interrupts": [{"id": "i", "metadata": {"baton": about}}]}
    pieces, answer = told(says("I will."), {"type": "RUN_FINISHED", "outcome": outcome})
    assert answer.ended
    assert answer.whole.asked == (Question("i", "Mailer", "send", '{"to": "ada"}'),)
    assert pieces[-1] == (
        '\n\nMailer asks whether it may call send with {"to": "ada"}\n'
        "It goes on when that is decided: http://x/approvals"
    )


def test_who_reads_questions_apart_has_none_in_the_text() -> None:
    about = {"tool": "send", "agent": "Mailer", "arguments": "{}"}
    outcome = {"type": "interrupt", "interrupts": [{"id": "i", "metadata": {"baton": about}}]}
    answer = Answer(streamed=True, link=None)
    assert answer.feed({"type": "RUN_FINISHED", "outcome": outcome}) == Added()
    assert answer.whole.text == ""
    assert [one.id for one in answer.whole.asked] == ["i"]


def refuses(delta: str, message: str = "m1") -> Event:
    return says(delta, message, metadata={"baton": {"refusal": True}})


REFUSED = {"type": "RUN_ERROR", "code": "agent_error", "message": "The model refused to answer."}


def test_a_refusal_is_an_answer_that_stands_apart_from_the_text() -> None:
    answer = Answer(streamed=True, link=None)
    given = [says("Well. "), refuses("I can", "m2"), refuses("not.", "m2"), REFUSED]
    assert [answer.feed(one) for one in given] == [
        *(Added("Well. "), Added(refusal="I can"), Added(refusal="not."), Added())
    ]
    assert (answer.whole.text, answer.whole.refusal) == ("Well. ", "I cannot.")


def test_a_refusal_that_was_sent_is_not_sent_twice_after_a_take_over() -> None:
    answer = Answer(streamed=True, link=None)
    given = [refuses("I can"), snapshot(), refuses("I cannot.", "m2"), REFUSED]
    assert "".join(answer.feed(one).refusal for one in given) == "I cannot."
    assert answer.whole.refusal == "I cannot."


@pytest.mark.parametrize(
    "events",
    [
        [refuses("no"), {"type": "RUN_ERROR", "code": "upstream_cut", "message": "Cut."}],
        [refuses("no"), says("but", "m2"), REFUSED],
    ],
)
def test_a_run_that_fails_otherwise_has_not_refused(events: list[Event]) -> None:
    answer = Answer(streamed=True, link=None)
    for one in events:
        answer.feed(one)
    with pytest.raises(BatonError):
        _ = answer.whole


def test_files_that_tools_have_made_are_linked_at_the_end() -> None:
    ids = [f"file_{number:032x}" for number in (1, 2)]
    results = [
        {"type": "TOOL_CALL_RESULT", "content": f'{{"a":"[{name}](/api/files/{id_})"}}'}
        for name, id_ in zip(("a.csv", "b.csv"), ids, strict=True)
    ]
    answer = Answer(streamed=True, link=None, site="http://x")
    events = [*results, says("Here."), snapshot("m1"), results[0], finished()]
    links = [f"[{name}](http://x/api/files/{id_})" for name, id_ in zip("ab", ids, strict=True)]
    links = [link.replace("]", ".csv]", 1) for link in links]
    assert [answer.feed(event).text for event in events][-1] == "\n\n" + "\n\n".join(links)
    assert answer.whole.text == "Here.\n\n" + "\n\n".join(links)
