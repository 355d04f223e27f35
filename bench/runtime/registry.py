"""A schema registry in a few lines: enough of Confluent's API for codecs to start with.

Ids are asked for once, at the start of each program, so what answers has no part in any figure;
the real one takes 16 s to start and CPU while it idles.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class _Schemas:
    """Schemas by their id, from 1."""

    def __init__(self) -> None:
        self._known: list[str] = []
        self._lock = threading.Lock()

    def id_of(self, schema: str) -> int:
        text = json.dumps(json.loads(schema), sort_keys=True)
        with self._lock:
            if text not in self._known:
                self._known.append(text)
            return self._known.index(text) + 1

    def schema(self, number: int) -> str | None:
        with self._lock:
            return self._known[number - 1] if 0 < number <= len(self._known) else None


def _handler(schemas: _Schemas) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """POST /subjects/SUBJECT: the schema's id, as if it had been registered."""
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(200, {"id": schemas.id_of(asked["schema"])})

        def do_GET(self) -> None:
            """GET /schemas/ids/ID."""
            schema = schemas.schema(int(self.path.rsplit("/", 1)[-1]))
            if schema is None:
                self._answer(404, {})
            else:
                self._answer(200, {"schema": schema})

        def _answer(self, code: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def registry() -> Iterator[str]:
    """The URL of a registry on a free loopback port, until the context ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(_Schemas()))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
