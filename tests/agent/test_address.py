import pytest

from agent.address import parse_address
from agent.errors import UsageError


@pytest.mark.parametrize(
    ("given", "url", "socket_url"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000", "ws://127.0.0.1:8000/realtime"),
        (
            " HTTPS://Chat.Example.com/ ",
            "https://chat.example.com",
            "wss://chat.example.com/realtime",
        ),
        ("http://[::1]:8000/", "http://[::1]:8000", "ws://[::1]:8000/realtime"),
        ("https://a.example/baton/", "https://a.example/baton", "wss://a.example/baton/realtime"),
    ],
)
def test_an_address_has_one_form(given: str, url: str, socket_url: str) -> None:
    address = parse_address(given)
    assert (address.url, address.socket_url) == (url, socket_url)


@pytest.mark.parametrize("given", ["", "localhost:8000", "ftp://a", "http://", "http://a:port"])
def test_what_is_no_address_is_refused_in_words(given: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_address(given)
    assert refused.value.status == 2
    assert "--url or BATON_URL" in str(refused.value.hint)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError) as refused:
        parse_address("http://ada:hunter22@a.example")
    assert "hunter22" not in f"{refused.value.message} {refused.value.hint}"


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:1", True),
        ("http://[::1]:1", True),
        ("http://localhost", True),
        ("http://baton.localhost", True),
        ("http://localhost.example.com", False),
        ("http://10.0.0.1", False),
        ("https://chat.example.com", False),
    ],
)
def test_only_this_machine_is_this_machine(url: str, here: bool) -> None:
    assert parse_address(url).is_loopback is here
