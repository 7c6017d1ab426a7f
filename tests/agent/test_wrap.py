from hypothesis import given
from hypothesis import strategies as st

from agent.wrap import Wrapper


def wrapped(*pieces: str, width: int = 20) -> str:
    wrapper = Wrapper(width)
    return "".join(map(wrapper.feed, pieces)) + wrapper.finish()


def test_lines_break_between_words() -> None:
    assert wrapped("one two three four five six") == "one two three four\nfive six"


def test_a_word_that_comes_in_pieces_stays_whole() -> None:
    assert wrapped("one two three fo", "ur", " fi", "ve") == "one two three four\nfive"


def test_every_finished_word_goes_out_at_once() -> None:
    wrapper = Wrapper(20)
    assert [wrapper.feed(piece) for piece in ("one", " two", " three")] == ["", "one", " two"]
    assert wrapper.finish() == " three"


def test_code_and_tables_keep_their_lines() -> None:
    code = "```python\nx = 'a line that is longer than the screen'\n```\nshort"
    table = "| a cell | another cell | a third cell |\nshort"
    assert wrapped(code) == code
    assert wrapped(table) == table


def test_a_word_longer_than_the_screen_goes_out_as_it_is() -> None:
    assert wrapped("a " + "x" * 100 + " b") == "a\n" + "x" * 100 + "\nb"


def test_wide_characters_take_two_cells() -> None:
    assert wrapped("日本語 日本語 日本語", width=14) == "日本語 日本語\n日本語"


@given(st.lists(st.text(alphabet="ab \n`|", max_size=12)), st.integers(5, 30))
def test_nothing_but_white_space_is_ever_changed(pieces: list[str], width: int) -> None:
    assert wrapped(*pieces, width=width).split() == "".join(pieces).split()
