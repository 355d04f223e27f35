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

Trouble = Callable[[], str]
"""Why this process should be replaced, as a sentence; empty while it is alive. Must not block."""


def no_trouble() -> str:
    """A process that answers is alive."""
    return ""


@contextmanager
def health_server(
    host: str, port: int, waiting_for: WaitingFor, trouble: Trouble = no_trouble
) -> Iterator[int]:
    """Serve until the context ends; gives the port. Raises OSError if the port is taken.

    /livez answers 503 while there is trouble, /readyz while something is waited for.
    """
    handler = _handler(waiting_for, trouble)
    server = _Server((host, port), handler)
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    _log.info("health_server", host=host, port=server.server_port)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    """Says in the log, not by a stack on standard error, that somebody asked and did not wait."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        _log.debug("request_failed", exc_info=True)


def _handler(waiting_for: WaitingFor, trouble: Trouble) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/livez":
                    wrong = trouble()
                    self._say(not wrong, {"alive": not wrong, "trouble": wrong or None})
                case "/readyz":
                    lacking = list(waiting_for())
                    self._say(not lacking, {"ready": not lacking, "waiting_for": lacking})
                case "/metrics":
                    self._answer(200, CONTENT_TYPE_LATEST, generate_latest())
                case _:
                    self._answer(404, "application/json", b'{"error": "no such page"}')

        def _say(self, well: bool, what: object) -> None:
            self._answer(200 if well else 503, "application/json", json.dumps(what).encode())

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            _log.debug("request", line=format % args)

    return Handler
