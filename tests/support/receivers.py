"""Receivers of notices: a real HTTP server that behaves as a test wants, and a mail server."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller


@dataclass(frozen=True, slots=True)
class Post:
    """A request that came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class Hooks:
    """An HTTP server. By path: /hang never answers, /drip sends its head a byte at a time, any
    other answers what `answers` holds for it, one after the other, and then 204."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.answers: dict[str, list[int]] = {}
        self.closing = threading.Event()
        hooks = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hooks._answer(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def url(self, path: str) -> str:
        """Where to post to."""
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    def ids(self, path: str) -> list[str]:
        """Ids of the messages that came there."""
        return [post.id for post in list(self.posts) if post.path == path]

    def close(self) -> None:
        """Stop; those that hang are let go."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["content-length"]))
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.posts.append(Post(request.path, headers, body))
        if request.path == "/hang":
            self.closing.wait(30)
            return
        if request.path == "/drip":
            self._drip(request)
            return
        answers = self.answers.get(request.path)
        request.send_response(answers.pop(0) if answers else 204)
        request.end_headers()

    def _drip(self, request: BaseHTTPRequestHandler) -> None:
        try:
            while not self.closing.wait(0.2):
                request.wfile.write(b"H")
                request.wfile.flush()
        except OSError:
            return


@contextmanager
def hooks() -> Iterator[Hooks]:
    """An HTTP server for webhooks."""
    server = Hooks()
    try:
        yield server
    finally:
        server.close()


class Mailbox:
    """What came by SMTP. Addresses that begin with `nobody` are refused."""

    def __init__(self) -> None:
        self.mails: list[tuple[Sequence[str], bytes]] = []

    async def handle_RCPT(  # noqa: N802 - as aiosmtpd calls it
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if address.startswith("nobody"):
            return "550 no such user\x1b[2J here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        self.mails.append((list(envelope.rcpt_tos), envelope.content))
        return "250 taken"


@contextmanager
def mailbox(port: int) -> Iterator[Mailbox]:
    """A mail server on this port of the loopback."""
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()
