"""What is counted of trainings: in an engine process, which has no door, for the worker that has.

Counts go as datagrams through a socket of this machine. Nobody waits for one, and one that is lost
is lost: they are for pictures, not for books.
"""

import json
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Self

from prometheus_client import Counter, Histogram

_LONGEST: Final = 1024

ENDED: Final = Counter(
    "darkroom_training_ended_total",
    "Trainings that ended, by end and whether the gate let the head be used.",
    ["end", "publish"],
)
SECONDS: Final = Histogram(
    "darkroom_training_seconds",
    "That trainings took to their end.",
    buckets=(0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1200, 2400, 3600),
)
FOLDS: Final = Counter(
    "darkroom_training_folds_total", "Folds, computed or kept from an attempt before.", ["how"]
)
LOCKS: Final = Counter(
    "darkroom_training_locks_total",
    "Locks of models: taken, held by another trainer, lost.",
    ["what"],
)
PROGRESS_LOST: Final = Counter(
    "darkroom_training_progress_lost_total", "Reports of progress that could not be published."
)


class Counts:
    """Sends what is counted; an empty path: nowhere."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def ended(self, end: str, publish: bool, seconds: float) -> None:
        """A training has ended."""
        self._send({"ended": end, "publish": publish, "seconds": seconds})

    def fold(self, how: str) -> None:
        """A fold was `computed`, or was `kept`."""
        self._send({"fold": how})

    def lock(self, what: str) -> None:
        """A lock was `taken`, is `held` by another, or was `lost`."""
        self._send({"lock": what})

    def progress_lost(self) -> None:
        """A report of progress could not be published."""
        self._send({"progress": "lost"})

    def close(self) -> None:
        """End."""
        self._socket.close()

    def _send(self, what: Mapping[str, object]) -> None:
        if self._path:
            with suppress(OSError):
                self._socket.sendto(json.dumps(what).encode(), self._path)


class Counting:
    """Takes them in, in a thread of the worker's, as long as the context lasts."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="darkroom-trainer-")
        self.path = str(Path(self._folder.name, "counts"))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._thread = threading.Thread(target=self._run, name="training-counts", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._socket.sendto(b"", self.path)
        self._thread.join(1.0)
        self._socket.close()
        self._folder.cleanup()

    def _run(self) -> None:
        while data := self._socket.recv(_LONGEST):
            with suppress(ValueError, KeyError, TypeError):
                count(json.loads(data))


def count(what: Mapping[str, object]) -> None:
    """Count what an engine process sent."""
    if "ended" in what:
        ENDED.labels(str(what["ended"]), "yes" if what["publish"] else "no").inc()
        SECONDS.observe(float(str(what["seconds"])))
    elif "fold" in what:
        FOLDS.labels(str(what["fold"])).inc()
    elif "lock" in what:
        LOCKS.labels(str(what["lock"])).inc()
    elif "progress" in what:
        PROGRESS_LOST.inc()
