from rich.text import Text

from agent.output import Listing


def lines(width: int) -> list[str]:
    rows: list[tuple[str | Text, ...]] = [
        ("thr_1234567890", "A title that is rather long", Text("now")),
        ("thr_1", "日本", "—"),
    ]
    listing = Listing(("thread", "title", "changed"), rows, elastic="title")
    return [line.plain for line in listing.lines(width)]


def test_a_listing_is_as_wide_as_it_has_to_be() -> None:
    assert lines(80) == [
        "thread          title                        changed",
        "thr_1234567890  A title that is rather long  now",
        "thr_1           日本                         —",
    ]


def test_only_the_elastic_column_gives_way() -> None:
    assert lines(40) == [
        "thread          title            changed",
        "thr_1234567890  A title that i…  now",
        "thr_1           日本             —",
    ]


def test_on_a_very_narrow_screen_nothing_that_is_copied_is_cut() -> None:
    assert lines(10)[1] == "thr_1234567890  A title…  now"
