"""One engine process, from its start to its end."""

import multiprocessing
import select
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Final

import structlog

from streamkit.engine import child
from streamkit.engine.channel import Channel
from streamkit.engine.wire import Frame, Frames
from streamkit.family import Family

_log = structlog.get_logger("streamkit.engine")

_PIECE: Final = 256 * 1024

_LAST_S: Final = 5.0
"""So long a process is waited for that has closed its end of the wire or was killed."""

_FAMILY: Final = threading.Lock()
"""multiprocessing looks after all its processes whenever one starts, and isn't thread-safe."""

# Not fork: a copy of the worker would have the locks of its Kafka clients, but not their threads.
# Not spawn: each process would import everything again.
_context: Final = multiprocessing.get_context("forkserver")


def preload(names: tuple[str, ...]) -> None:
    """Have the fork server import these when it starts; what it can't is left to each process."""
    _context.set_forkserver_preload([child.__name__, *names])


class Life:
    """Starts a process at once. Raises OSError or EOFError if the fork server doesn't do it.

    `kill` and `resident` may be called by any thread, before `end` has begun; the rest by one.
    """

    def __init__(self, setup: child.Setup) -> None:
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        self._process = _context.Process(
            target=child.main, args=(setup, theirs), name=f"{setup.source}-{setup.engine}"
        )
        try:
            with _FAMILY:
                self._process.start()
        except BaseException:
            self.channel.close()
            raise
        finally:
            theirs.close()
        self._family = Family(self._process.pid or 0)

    def frames(self) -> Iterator[Frame]:
        """What the process says, until it has ended or says no more."""
        wire, frames = self.channel.wire, Frames()
        poller = select.poll()
        poller.register(wire, select.POLLIN)
        poller.register(self._process.sentinel, select.POLLIN)
        while True:
            ready = [number for number, _ in poller.poll()]
            piece = b""
            if wire.fileno() in ready:  # else it has ended; others may hold its end of the wire
                with suppress(ConnectionResetError):
                    piece = wire.recv(_PIECE)
            if not piece:
                return
            yield from frames.feed(piece)

    def kill(self) -> None:
        """End the process by SIGKILL; `frames` ends."""
        if not wait([self._process.sentinel], 0):  # else its number may be another's by now
            self._process.kill()
        with suppress(OSError):
            self.channel.wire.shutdown(socket.SHUT_RDWR)

    def resident(self) -> int:
        """See Family."""
        return self._family.resident()

    def end(self) -> int | None:
        """Wait for the end, kill if need be, clean up; the exit code, negative for a signal.

        None: even killed it hasn't ended (the machine's storage hangs).
        """
        self.channel.close()
        if not wait([self._process.sentinel], _LAST_S):
            self._process.kill()
            wait([self._process.sentinel], _LAST_S)
        with _FAMILY:
            self._process.join(0)
            code = self._process.exitcode
            if code is not None:
                self._process.close()
        return code


def described(code: int | None) -> str:
    """How a process ended, by its exit code."""
    if code is None:
        return "does not end"
    if code >= 0:
        return f"exited with {code}"
    with suppress(ValueError):
        name = signal.Signals(-code).name
        return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"killed by signal {-code}"
