"""The HTTP server around the application, with an end that leaves nobody hanging."""

import signal
import socket
from types import FrameType

import structlog
import uvicorn

from gateway.api.application import application
from gateway.api.door import Door

_log = structlog.get_logger("gateway.api")

_DRAIN_S = 5
"""How long requests in progress may go on after SIGTERM."""


class Server(uvicorn.Server):
    """Tells those who wait (WebSockets, `Prefer: wait`) that it stops, then stops."""

    def __init__(self, config: uvicorn.Config, door: Door) -> None:
        super().__init__(config)
        self._door = door

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Drain at the first signal, give up at a second Ctrl+C.

        uvicorn would raise the signal again at the end, so that a clean stop looked like a kill.
        """
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say where."""
        await super().startup(sockets)
        for server in self.servers:
            for each in server.sockets:
                _log.info("listening", host=each.getsockname()[0], port=each.getsockname()[1])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the waiting first: uvicorn waits for requests before it ends the application."""
        _log.info("stopping")
        self._door.hub.close()
        await super().shutdown(sockets)


def server(door: Door) -> Server:
    """The server for a door; `run()` blocks until SIGTERM or SIGINT."""
    settings = door.settings
    config = uvicorn.Config(
        application(door),
        host=settings.api_host,
        port=settings.api_port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_DRAIN_S,
        ws_max_size=4096,
        ws_ping_interval=20,
        ws_ping_timeout=20,
    )
    return Server(config, door)
