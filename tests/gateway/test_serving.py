"""The limits of the server itself, seen from raw sockets on a real port."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import uvicorn
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.settings.common import ProcessSettings
from shared.web.errors import install_error_handlers
from shared.web.middleware import Outermost
from shared.web.serve import CHUNK_BYTES, CHUNKS_BURST, BoundedH11, accepted, server_config
from shared.web.wire import MAX_FRAME_BYTES, Wire
from stack.program import free_port
from tests.gateway.raw import RawSocket, exchange, frame, post, read_all, upgrade

SHORT_S = 0.4
KEEP_ALIVE_S = 1
#: A busy machine is late; the limits that count elsewhere are longer than this.
SLACK_S = 3
#: Never set: something to wait for between two tries.
FLOOD_TRIED = threading.Event()


def small_app() -> FastAPI:
    app = FastAPI()
    app.add_middleware(Sockets)
    app.add_middleware(Outermost, process="test")
    install_error_handlers(app)

    @app.post("/echo")
    async def echo(request: Request) -> JSONResponse:
        return JSONResponse({"read": len(await request.body())})

    return app


class Echo:
    """Says how long every message is, one after another."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        wire.receiver = self

    def received(self, message: str | None) -> None:
        self.wire.hold()
        asyncio.get_running_loop().call_soon(self._answer, message)

    def _answer(self, message: str | None) -> None:
        self.wire.send("binary" if message is None else str(len(message)))
        self.wire.go_on()

    def flooded(self) -> None:
        self.wire.close(4429, "too many frames")

    def writable(self) -> None:
        pass

    def lost(self) -> None:
        pass


class Sockets:
    """`/nobody` may not open a socket, `/flood` sends until the client does not read.

    `/reading` says whether it was read from before it was accepted.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket" or scope["path"] == "/none":
            await self.app(scope, receive, send)
            return
        reading = scope["extensions"]["baton.accept"].__self__.transport.is_reading()
        wire = accepted(scope, "baton.v1")
        assert wire
        match scope["path"]:
            case "/nobody":
                wire.close(4401, "no sign-in")
            case "/reading":
                wire.send(str(reading))
            case "/flood":
                while not wire.paused:
                    wire.send("x" * 65536)
                wire.close(4429, "the client does not read")
            case _:
                Echo(wire).wire.go_on()


class Patient(BoundedH11):
    """The same with short limits."""

    head_timeout_s = SHORT_S
    body_timeout_s = SHORT_S


def run_server(protocol: type[BoundedH11]) -> Iterator[int]:
    settings = ProcessSettings.model_validate({"BATON_PORT": free_port()})
    config = server_config(small_app(), settings)
    config.http = protocol
    config.timeout_keep_alive = KEEP_ALIVE_S
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="server")
    thread.start()
    until = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < until
        time.sleep(0.01)
    yield settings.port
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    yield from run_server(BoundedH11)


@pytest.fixture(scope="module")
def hasty_port() -> Iterator[int]:
    yield from run_server(Patient)


def test_an_ordinary_request(port: int) -> None:
    answer = exchange(port, post("content-length: 5", body=b"hello"))
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b'{"read":5}')
    assert b"\r\nserver:" not in answer.lower()


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (upgrade(method="POST"), b"HTTP/1.1 400"),
        (upgrade("/realtime", "x-long: " + "x" * 100_000), b"HTTP/1.1 400"),
        (post("x-long: " + "x" * 100_000), b"HTTP/1.1 400"),
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", b"HTTP/1.1 400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 600, b"HTTP/1.1 400"),
        (b"nonsense\r\n\r\n", b"HTTP/1.1 400"),
        (b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", b"HTTP/1.1 400"),
        (
            post("content-length: 3", "transfer-encoding: chunked", body=b"0\r\n\r\n"),
            b"HTTP/1.1 400",
        ),
        (post("content-length: 1048577"), b"HTTP/1.1 413"),
        (upgrade("/realtime").replace(b"version: 13", b"version: 8"), b"HTTP/1.1 426"),
    ],
    ids=[
        "upgrade by POST",
        "upgrade with a long header",
        "long header",
        "long address",
        "TLS on a plain port",
        "nonsense",
        "negative length",
        "two lengths",
        "declared too long",
        "old websocket version",
    ],
)
def test_what_is_wrong_is_answered_and_closed(port: int, request_: bytes, answer: bytes) -> None:
    begun = time.monotonic()
    found = exchange(port, request_)
    assert found.startswith(answer), found[:100]
    assert b"Traceback" not in found
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize(
    "headers",
    [
        ("content-length: 6", "transfer-encoding: chunked"),
        ("Transfer-Encoding: chunked", "X-Other: 1", "CONTENT-LENGTH: 6"),
    ],
)
@pytest.mark.parametrize("before", [b"", post("content-length: 2", body=b"hi")])
def test_a_request_with_two_lengths_ends_the_connection(
    port: int, headers: tuple[str, ...], before: bytes
) -> None:
    """RFC 9112, 6.1: what follows it may be meant as its body, and is never read as a request."""
    asked = post(*headers, body=b"0\r\n\r\n")
    smuggled = post("content-length: 3", body=b"abc")
    sent = (before + asked + smuggled).replace(b"connection: close\r\n", b"")
    found = exchange(port, sent)
    assert found.count(b"HTTP/1.1 200") == (1 if before else 0)
    assert found.count(b"HTTP/1.1 400") == 1
    assert b"connection: close" in found.lower()
    assert b'{"read":3}' not in found


def test_an_oversize_chunked_body_is_refused_while_it_comes(port: int) -> None:
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    head = post("transfer-encoding: chunked")
    answer = exchange(port, head, *[chunk] * 64)
    assert not answer or answer.startswith(b"HTTP/1.1 413")


def test_an_oversize_chunked_body_gets_its_answer_when_the_client_listens(port: int) -> None:
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    answer = exchange(port, post("transfer-encoding: chunked"), *[chunk] * 17)
    assert answer.startswith(b"HTTP/1.1 413")


def chunks(size: int, count: int) -> bytes:
    return (b"%x\r\n" % size + b"x" * size + b"\r\n") * count


def test_a_body_in_crumbs_is_refused_while_it_comes(port: int) -> None:
    head = post("transfer-encoding: chunked")
    answer = exchange(port, head + chunks(1, CHUNKS_BURST + 2))
    assert answer.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("before", [b"", post("content-length: 2", body=b"hi")])
def test_long_trailers_are_refused_also_of_a_request_that_waited(port: int, before: bytes) -> None:
    asked = post("transfer-encoding: chunked", body=b"0\r\n" + b"a: b\r\n" * 20_000 + b"\r\n")
    found = exchange(port, before.replace(b"connection: close\r\n", b"") + asked)
    assert (found.count(b"HTTP/1.1 200"), found.count(b"HTTP/1.1 400")) == (1 if before else 0, 1)


def test_crumbs_after_the_answer_end_the_connection(port: int) -> None:
    head = post("transfer-encoding: chunked").replace(b"connection: close\r\n", b"")
    with closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as connection:
        connection.sendall(head.replace(b"/echo", b"/nothing"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 404")
        connection.sendall(chunks(1, CHUNKS_BURST + 2))
        assert b"HTTP" not in read_all(connection)


@pytest.mark.parametrize(("size", "count"), [(1, CHUNKS_BURST), (CHUNK_BYTES, 2000)])
def test_a_body_in_chunks_is_taken_one_request_after_another(
    port: int, size: int, count: int
) -> None:
    asked = post("transfer-encoding: chunked", body=chunks(size, count) + b"0\r\n\r\n")
    answer = exchange(port, asked.replace(b"connection: close\r\n", b"") + asked)
    assert answer.count(b'{"read":%d}' % (size * count)) == 2


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"POST /echo HTT",
        b"POST /echo HTTP/1.1\r\nhost: x\r\n",
        upgrade()[:-2],
        post("content-length: 10", body=b"12345"),
        post("transfer-encoding: chunked", body=b"5\r\n123"),
    ],
    ids=["silence", "half a line", "half a head", "half an upgrade", "half a body", "half a chunk"],
)
def test_half_a_request_is_closed_in_time(hasty_port: int, beginning: bytes) -> None:
    begun = time.monotonic()
    answer = exchange(hasty_port, beginning)
    assert SHORT_S - 0.05 <= time.monotonic() - begun < SHORT_S + SLACK_S
    assert b"200" not in answer


def test_a_head_that_trickles_in_is_closed_all_the_same(hasty_port: int) -> None:
    begun = time.monotonic()
    address = ("127.0.0.1", hasty_port)
    with closing(socket.create_connection(address, timeout=0.05)) as connection:
        while time.monotonic() - begun < 5:
            try:
                connection.sendall(b"x")
                if connection.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
    assert time.monotonic() - begun < SHORT_S + SLACK_S


def test_an_idle_connection_between_requests_has_uvicorns_own_limit(hasty_port: int) -> None:
    request = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx"
    with closing(socket.create_connection(("127.0.0.1", hasty_port), timeout=30)) as connection:
        connection.sendall(request)
        answer = b""
        while not answer.endswith(b'{"read":1}'):
            answer += connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200")
        begun = time.monotonic()
        assert read_all(connection) == b""
        assert KEEP_ALIVE_S - 0.1 <= time.monotonic() - begun < KEEP_ALIVE_S + SLACK_S


def test_half_a_second_request_is_closed_in_time(hasty_port: int) -> None:
    request = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx"
    begun = time.monotonic()
    answer = exchange(hasty_port, request + b"POST /echo HT")
    assert answer.startswith(b"HTTP/1.1 200")
    assert time.monotonic() - begun < SHORT_S + SLACK_S


def test_a_socket_speaks_the_sub_protocol_without_deflate(port: int) -> None:
    offered = "sec-websocket-extensions: permessage-deflate"
    with RawSocket(port, "/realtime", offered) as client:
        assert client.head.startswith(b"HTTP/1.1 101")
        assert b"sec-websocket-protocol: baton.v1" in client.head.lower()
        assert b"permessage-deflate" not in client.head.lower()
        client.send(frame(1, b"hello"))
        assert client.receive() == (1, b"5")


def test_a_socket_that_nobody_signed_in_for_learns_why(port: int) -> None:
    with RawSocket(port, "/nobody") as client:
        assert client.close_code() == 4401


def test_a_socket_is_not_read_from_before_it_is_accepted(port: int) -> None:
    """Who asks may take its time to be looked up, and send without end meanwhile."""
    with RawSocket(port, "/reading") as client:
        assert client.receive() == (1, b"False")


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([frame(1, b"x" * (MAX_FRAME_BYTES + 1))], 1009),
        ([frame(1, b"x" * 600_000, fin=False), frame(0, b"x" * 600_000)], 1009),
        ([frame(1, b"\xff\xfe")], 1007),
        ([frame(3, b"x")], 1002),
        ([b"\x81\x05hello"], 1002),
        ([frame(1, b"half", fin=False), frame(8, (1000).to_bytes(2))], 1000),
    ],
    ids=["too long", "too long in pieces", "not UTF-8", "bad opcode", "not masked", "close within"],
)
def test_bad_frames_are_closed_with_their_code(port: int, frames: list[bytes], code: int) -> None:
    with RawSocket(port) as client:
        client.send(*frames)
        assert client.close_code() == code


def test_a_frame_of_just_one_mebibyte_is_taken(port: int) -> None:
    with RawSocket(port) as client:
        client.send(frame(1, b"x" * MAX_FRAME_BYTES))
        assert client.receive() == (1, str(MAX_FRAME_BYTES).encode())


def test_frames_that_come_at_once_are_handed_on_one_after_another(port: int) -> None:
    with RawSocket(port) as client:
        client.send(b"".join(frame(1, b"x" * size) for size in (1, 126, 65_536, 3)))
        assert [client.receive() for _ in range(4)] == [
            (1, size) for size in (b"1", b"126", b"65536", b"3")
        ]


def test_a_message_in_pieces_is_one_and_a_ping_between_them_is_answered(port: int) -> None:
    with RawSocket(port) as client:
        client.send(frame(1, b"ab", fin=False), frame(9, b"?"), frame(0, b"c"))
        assert [client.receive(), client.receive()] == [(10, b"?"), (1, b"3")]


def test_a_socket_that_nobody_takes_is_refused(port: int) -> None:
    with RawSocket(port, "/none") as client:
        assert client.head.startswith(b"HTTP/1.1 403")


def test_a_close_is_answered(port: int) -> None:
    with RawSocket(port) as client:
        client.send(frame(8, (1000).to_bytes(2) + b"bye"))
        assert client.close_code() == 1000


def test_a_client_that_reads_nothing_is_cut_off(port: int) -> None:
    with closing(socket.create_connection(("127.0.0.1", port), timeout=20)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(upgrade("/flood"))
        # The flood has ended when the server has given up: from then on writing is refused.
        with pytest.raises(OSError, match=r"reset|pipe|closed"):
            _ask_for_ever(connection)


def _ask_for_ever(connection: socket.socket) -> None:
    while True:
        connection.sendall(frame(9, b"are you there?"))
        FLOOD_TRIED.wait(0.05)
