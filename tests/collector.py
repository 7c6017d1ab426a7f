"""A little collector of OpenTelemetry on loopback."""

import gzip
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Collected:
    """A span that came; ids in hexadecimal."""

    service: str
    name: str
    trace: str
    span: str
    parent: str


class Collector:
    """Takes what is exported, for the block."""

    def __init__(self) -> None:
        self.spans: list[Collected] = []
        #: Of a service, the name of a metric that came.
        self._metrics: set[tuple[str, str]] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def of(self, trace: str) -> list[Collected]:
        """The spans of a trace."""
        return [one for one in list(self.spans) if one.trace == trace]

    def of_service(self, service: str) -> set[str]:
        """Names of the metrics of a service."""
        return {name for of, name in list(self._metrics) if of == service}

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for of in ExportTraceServiceRequest.FromString(body).resource_spans:
                service = _service(of.resource)
                for scope in of.scope_spans:
                    self.spans += [_collected(service, one) for one in scope.spans]
        elif path == "/v1/metrics":
            for metrics in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                names = {one.name for part in metrics.scope_metrics for one in part.metrics}
                self._metrics.update((_service(metrics.resource), name) for name in names)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                zipped = self.headers.get("content-encoding") == "gzip"
                collector.take(self.path, gzip.decompress(body) if zipped else body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        return Handler


def _service(resource: Any) -> str:
    named = (one.value.string_value for one in resource.attributes if one.key == "service.name")
    return str(next(named))


def _collected(service: str, span: Any) -> Collected:
    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
    return Collected(service, span.name, *ids)
