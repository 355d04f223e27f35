"""What a process says of itself over HTTP: /livez, /readyz, /metrics."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

_log = structlog.get_logger("streamkit.health")

WaitingFor = Callable[[], Sequence[str]]
"""What readiness still lacks, as words for a person; empty when ready. Must not block."""


@contextmanager
def health_server(host: str, port: int, waiting_for: WaitingFor) -> Iterator[int]:
    """Serve until the context ends; gives the port. Raises OSError if the port is taken."""
    handler = _handler(waiting_for)
    server = ThreadingHTTPServer((host, port), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    _log.info("health_server", host=host, port=server.server_port)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(waiting_for: WaitingFor) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/livez":
                    self._answer(200, "application/json", b'{"alive": true}')
                case "/readyz":
                    lacking = list(waiting_for())
                    body = json.dumps({"ready": not lacking, "waiting_for": lacking}).encode()
                    self._answer(503 if lacking else 200, "application/json", body)
                case "/metrics":
                    self._answer(200, CONTENT_TYPE_LATEST, generate_latest())
                case _:
                    self._answer(404, "application/json", b'{"error": "no such page"}')

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            _log.debug("request", line=format % args)

    return Handler
