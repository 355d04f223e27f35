"""An object store, spoken to as S3, that lets nobody read until it is opened."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Self

from s3_kit import s3_environment

BUCKET: Final = "late"


class LateStore:
    """Serves while it is entered; what it holds is `kept`, by key."""

    def __init__(self) -> None:
        kept = self.kept = dict[str, bytes]()
        opened = self._opened = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                data = kept.get(self.path.removeprefix(f"/{BUCKET}/"))
                known = opened.is_set() and data is not None
                self.send_response(200 if known else 403)
                self.send_header("Content-Length", str(len(data or b"") if known else 0))
                self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
                self.send_header("ETag", '"1"')
                self.end_headers()
                if known:
                    self.wfile.write(data or b"")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """Settings of a stack that may read there."""
        stores = {"DARKROOM_STORES": f'["s3://{BUCKET}"]'}
        return {**s3_environment("127.0.0.1", self._server.server_port), **stores}

    def put(self, key: str, data: bytes) -> str:
        """Keep it; its URI."""
        self.kept[key] = data
        return f"s3://{BUCKET}/{key}"

    def open(self) -> None:
        """From now on let everybody read."""
        self._opened.set()
