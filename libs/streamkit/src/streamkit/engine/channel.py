"""The worker's end of the wire to an engine process."""

import socket
import threading
from collections import deque
from contextlib import suppress


class Channel:
    """Sends frames without ever blocking the sender: what the wire does not take at once is sent
    by a thread. What can't be sent any more, as the process is gone, is dropped."""

    def __init__(self, wire: socket.socket) -> None:
        self.wire = wire
        self._lock = threading.Condition()
        self._left: deque[memoryview] = deque()
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def open(self) -> bool:
        """Whether anything still can be sent, as far as is known."""
        return not self._closed

    def send(self, frame: bytes) -> None:
        """Send this after all others."""
        rest = memoryview(frame)
        with self._lock:
            if self._closed:
                return
            if not self._left:
                try:
                    rest = rest[self.wire.send(rest, socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    pass
                except OSError:
                    return
            if rest:
                self._left.append(rest)
                self._lock.notify()
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._send_left, name="engine-wire", daemon=True
                    )
                    self._thread.start()

    def close(self) -> None:
        """Drop what is left, and end."""
        with self._lock:
            self._closed = True
            self._left.clear()
            self._lock.notify()
        with suppress(OSError):
            # Also where a process that the engine has left behind holds the other end.
            self.wire.shutdown(socket.SHUT_RDWR)
        if self._thread is not None:
            self._thread.join()
        self.wire.close()

    def _send_left(self) -> None:
        while True:
            with self._lock:
                while not self._left and not self._closed:
                    self._lock.wait()
                if self._closed:
                    return
                frame = self._left[0]
            try:
                self.wire.sendall(frame)
                sent = True
            except OSError:
                sent = False
            with self._lock:
                if not sent:
                    self._closed = True
                    self._left.clear()
                if self._left:
                    self._left.popleft()
