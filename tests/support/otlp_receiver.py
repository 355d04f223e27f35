"""A collector of traces: takes OTLP over HTTP, as OpenTelemetry's exporters send it."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass(frozen=True, slots=True)
class SpanSeen:
    """A span as it was exported. `causes` are the span ids of its parent and its links."""

    service: str
    name: str
    kind: str
    topic: str
    trace_id: str
    span_id: str
    causes: tuple[str, ...]
    attempt: int


class Receiver:
    """Listens at `url` while it is entered, and keeps what it was sent."""

    def __init__(self) -> None:
        lock = self._lock = threading.Lock()
        spans = self._spans = dict[str, SpanSeen]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                found = _spans_of(ExportTraceServiceRequest.FromString(body))
                with lock:
                    spans.update((one.span_id, one) for one in found)
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def spans(self) -> dict[str, SpanSeen]:
        """All so far, by their ids."""
        with self._lock:
            return dict(self._spans)


def _spans_of(request: ExportTraceServiceRequest) -> Sequence[SpanSeen]:
    return [
        _seen(_attributes(resource.resource.attributes)["service.name"], span)
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _seen(service: str, span: Span) -> SpanSeen:
    about = _attributes(span.attributes)
    causes = [span.parent_span_id.hex(), *(link.span_id.hex() for link in span.links)]
    return SpanSeen(
        service,
        span.name,
        Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        about.get("messaging.destination.name", ""),
        span.trace_id.hex(),
        span.span_id.hex(),
        tuple(dict.fromkeys(one for one in causes if one)),
        int(about.get("streamkit.attempt", 0)),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in pairs}
