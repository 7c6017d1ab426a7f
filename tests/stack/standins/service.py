"""A stand-in for a service: answers every GET with its environment, ends with its supervisor."""

import json
import os
import signal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from shared.process import end_with_supervisor


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(dict(os.environ)).encode())

    def log_message(self, *args: object) -> None:
        pass


def main(name: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: ended(name))
    end_with_supervisor()
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["BATON_PORT"])), Handler)
    print(f"{name} listens", flush=True)
    server.serve_forever()


def ended(name: str) -> None:
    print(f"{name} ends", flush=True)
    os._exit(0)
