"""A line to a server on the loopback, which tests may cut and mend."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_CHUNK: Final = 1 << 16


class CutLine:
    """Passes connections on to a server. While it is cut, those that were open are gone, and new
    ones are ended at once, as where a server has died behind a proxy."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._is_cut = False
        self.refused = 0
        """Connections that came while it was cut."""
        threading.Thread(target=self._accept, name="line", daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    def cut(self) -> None:
        """Nobody gets through from now on."""
        with self._lock:
            self._is_cut = True
            ends = list(self._open)
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Whoever comes now gets through."""
        with self._lock:
            self._is_cut = False

    def close(self) -> None:
        """Listen no more."""
        self.cut()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            with self._lock:
                if self._is_cut:
                    self.refused += 1
                    return
            with socket.create_connection(self._target) as server:
                with self._lock:
                    if self._is_cut:
                        return
                    self._open |= {client, server}
                try:
                    back = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
                    back.start()
                    _pass_on(client, server)
                    back.join()
                finally:
                    with self._lock:
                        self._open -= {client, server}


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def line_to(host: str, port: int) -> Iterator[CutLine]:
    """A line for as long as the block lasts."""
    line = CutLine((host, port))
    try:
        yield line
    finally:
        line.close()
