"""Ends a text where its caller wants it to: after so many tokens, or before one of some texts."""

from dataclasses import replace

import orjson

from stack.demo_model import pieces
from stack.demo_model.reply import Finish, Reply


def limited(reply: Reply, *, most_tokens: int | None, stop: tuple[str, ...]) -> Reply:
    """The reply, its text cut; every delta counts as a token. What is thought is never cut."""
    found = [at for one in stop if (at := reply.text.find(one)) >= 0]
    if found:
        reply = replace(reply, text=reply.text[: min(found)], text_deltas=None)
    said = pieces.of_text(reply.text, reply.text_deltas)
    if most_tokens is None or len(said) <= most_tokens:
        return reply
    text = "".join(orjson.loads(piece) for piece in said[:most_tokens])
    deltas = reply.text_deltas and most_tokens
    return replace(reply, text=text, text_deltas=deltas, calls=(), finish=Finish.INCOMPLETE)
