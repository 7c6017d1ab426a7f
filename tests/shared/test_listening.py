"""The addresses a process listens on, or the sentence that refuses them."""

import socket
from contextlib import ExitStack, closing

import pytest

from shared.settings import ProcessSettings
from shared.web.listening import MOST_UNSENT_BYTES, bound_sockets


def bound(host: str, port: int = 0) -> list[tuple[str, int]]:
    with ExitStack() as open_ones:
        made = bound_sockets(ProcessSettings(host=host, port=port))
        for one in made:
            open_ones.enter_context(one)
            one.listen()
        return [one.getsockname()[:2] for one in made]


def test_a_name_of_this_machine_is_listened_to_at_all_its_addresses() -> None:
    there = {str(one[4][0]) for one in socket.getaddrinfo("localhost", 0)}
    found = bound("localhost")
    assert {host for host, _ in found} <= there
    assert all(port > 0 for _, port in found)
    assert bound("127.0.0.1")[0][0] == "127.0.0.1"


def test_what_a_client_has_not_read_stays_with_the_process_that_serves() -> None:
    """The system's own buffer is megabytes, in which a slow client's progress cannot be seen."""
    (listening,) = bound_sockets(ProcessSettings(host="127.0.0.1", port=0))
    with closing(listening), closing(socket.socket()) as client:
        listening.listen()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listening.getsockname())
        with closing(listening.accept()[0]) as accepted:
            accepted.setblocking(False)
            taken = accepted.send(b"x" * 2_000_000)
    assert taken < 4 * MOST_UNSENT_BYTES


def test_a_port_that_was_used_just_now_is_free() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as before:
        port = before.getsockname()[1]
        with closing(socket.create_connection(("127.0.0.1", port))), closing(before.accept()[0]):
            pass
    assert bound("127.0.0.1", port) == [("127.0.0.1", port)]


@pytest.mark.parametrize(
    "host", ["no such host", "127.0.0.1:80", "x" * 64 + ".", "192.0.2.1", "::g"]
)
def test_what_is_no_address_of_this_machine_is_refused_in_words(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        bound(host)
    assert ended.value.code == 2
    assert f"Wrong setting: BATON_HOST: {host!r} is not" in capsys.readouterr().err
