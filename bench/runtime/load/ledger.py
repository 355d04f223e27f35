"""What was sent and what has come back, and when."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from bench.runtime.load.target import Target
from bench.runtime.workload import Event

_LOOK_S: Final = 0.2


class LateError(RuntimeError):
    """Not all that was sent came back in time."""


class Ledger:
    """Sends to a Target in the caller's thread and follows its outcomes in another.

    Times are `time.monotonic` seconds, which all processes of a machine share on Linux.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._failed: Exception | None = None
        self.sent: dict[str, float] = {}
        self.came: dict[str, float] = {}
        self.repeats = 0

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follow outcomes within the context."""
        follower = threading.Thread(target=self._follow, daemon=True)
        follower.start()
        try:
            yield
        finally:
            self._closed.set()
            follower.join()

    def send(self, request: Event) -> None:
        """Send it now."""
        self.sent[str(request["photo_id"])] = time.monotonic()
        self._target.send(request)

    def flush(self) -> None:
        """Wait until all is with the broker."""
        self._target.flush()

    def wait_for(self, count: int, timeout_s: float, what: str) -> None:
        """Wait until `count` different outcomes have come; raises LateError."""
        self._wait(lambda: len(self.came) >= count, timeout_s, what)

    def wait_for_all(self, photos: Sequence[str], timeout_s: float, what: str) -> None:
        """Wait until the outcomes of all of these have come; raises LateError."""
        self._wait(lambda: all(photo in self.came for photo in photos), timeout_s, what)

    def _wait(self, done: Callable[[], bool], timeout_s: float, what: str) -> None:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not done():
                if self._failed:
                    raise self._failed
                left = deadline - time.monotonic()
                if left <= 0:
                    told = f"{len(self.came)} outcomes of {len(self.sent)} came"
                    raise LateError(f"{what}: {told} within {timeout_s:.0f} s")
                self._changed.wait(min(left, _LOOK_S))

    def _follow(self) -> None:
        try:
            while not self._closed.is_set():
                self._note(self._target.arrived(_LOOK_S))
        except Exception as error:  # noqa: BLE001 - raised in the caller's thread
            self._failed = error

    def _note(self, photos: Sequence[str]) -> None:
        if not photos:
            return
        now = time.monotonic()
        with self._changed:
            for photo in photos:
                self.repeats += photo in self.came
                self.came.setdefault(photo, now)
            self._changed.notify()
