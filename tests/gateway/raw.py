"""HTTP and WebSockets by hand, for what no honest client would send."""

import base64
import os
import socket
from contextlib import closing, suppress
from typing import Self


def exchange(port: int, *parts: bytes) -> bytes:
    """Send parts, then read until the server closes or says nothing for five seconds."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as connection:
        with suppress(OSError):
            for part in parts:
                connection.sendall(part)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    found = b""
    with suppress(ConnectionResetError):
        while data := connection.recv(65536):
            found += data
    return found


def post(*headers: str, body: bytes = b"") -> bytes:
    lines = ["POST /echo HTTP/1.1", "host: x", "connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def upgrade(path: str = "/realtime", *more: str, method: str = "GET") -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"{method} {path} HTTP/1.1",
        "host: x",
        "connection: Upgrade",
        "upgrade: websocket",
        f"sec-websocket-key: {key}",
        "sec-websocket-version: 13",
        "sec-websocket-protocol: baton.v1",
        *more,
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


def frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    head = bytes([(0x80 if fin else 0) | opcode])
    size = len(payload)
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65536:
        head += bytes([0x80 | 126]) + size.to_bytes(2)
    else:
        head += bytes([0x80 | 127]) + size.to_bytes(8)
    return head + b"\0\0\0\0" + payload


class RawSocket:
    """A WebSocket client that may do anything."""

    def __init__(self, port: int, path: str = "/realtime", *more: str) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.connection.sendall(upgrade(path, *more))
        self.head = b""
        while b"\r\n\r\n" not in self.head:
            self.head += self.connection.recv(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def send(self, *frames: bytes) -> None:
        with suppress(OSError):
            self.connection.sendall(b"".join(frames))

    def receive(self) -> tuple[int, bytes]:
        """One frame: opcode and payload."""
        first, second = self._exactly(2)
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(self._exactly(2 if size == 126 else 8))
        return first & 0x0F, self._exactly(size)

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            data = self.connection.recv(count - len(found))
            assert data, "the server closed without a close frame"
            found += data
        return found

    def close_code(self) -> int:
        while True:
            opcode, payload = self.receive()
            if opcode == 8:
                return int.from_bytes(payload[:2])
