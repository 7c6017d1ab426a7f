"""Bends a reply the way the directives ask."""

from dataclasses import replace

from stack.demo_model import structured
from stack.demo_model.question import Question
from stack.demo_model.reply import Fault, Finish, Reply

_FILLER = "The quick brown fox jumps over the lazy dog, and then it does it all again. "

#: `[[large=N]]` alone streams pieces of about this many characters, as busy providers do.
_LARGE_PIECE = 100


def bend(reply: Reply, question: Question) -> Reply:
    """The reply with forced text, pace and fault."""
    asked = question.directives
    return replace(
        _with_fault(_with_text(reply, question), asked.fault),
        repeat_call_ids=asked.repeat_call_ids,
        delay_s=asked.delay_s,
        tokens_per_s=asked.tokens_per_s,
    )


def _with_text(reply: Reply, question: Question) -> Reply:
    """Forced sizes replace the text; a reply that only calls tools has none to replace."""
    asked = question.directives
    if not reply.text:
        return reply
    if asked.large:
        deltas = asked.deltas or max(1, asked.large // _LARGE_PIECE)
        return replace(reply, text=_filler(asked.large), text_deltas=deltas)
    if asked.deltas:
        words = " ".join(f"word{number}" for number in range(1, asked.deltas + 1))
        return replace(reply, text=words, text_deltas=None)
    if question.answer_schema is not None:
        return replace(reply, text=structured.answer(question.answer_schema, reply.text))
    return reply


def _with_fault(reply: Reply, fault: Fault | None) -> Reply:
    """Faults of the answer itself are settled here; those of its delivery stay on the reply."""
    match fault:
        case Fault.REFUSAL:
            return Reply(text="I'm sorry, but I can't help with that.", is_refusal=True)
        case Fault.INCOMPLETE:
            return _half(reply, Finish.INCOMPLETE)
        case Fault.FAILED:
            return _half(reply, Finish.FAILED)
        case _:
            return replace(reply, fault=fault)


def _half(reply: Reply, finish: Finish) -> Reply:
    text = reply.text or "I was just about to call a tool when"
    deltas = reply.text_deltas and max(1, reply.text_deltas // 2)
    half = text[: (len(text) + 1) // 2]
    return replace(reply, text=half, text_deltas=deltas, calls=(), finish=finish)


def _filler(length: int) -> str:
    return (_FILLER * (length // len(_FILLER) + 1))[:length]
