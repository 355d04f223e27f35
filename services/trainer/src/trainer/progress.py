"""How far a training is, by `training.progressed.v1`."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final, Protocol
from uuid import uuid4

import structlog

from darkroom_schemas.names import TRAINING_PROGRESSED
from streamkit import Busy, Emit, PublishError, Reject

_log = structlog.get_logger("trainer.progress")

_EVERY_S: Final = 1.0
_LAST_S: Final = 2.0


class Publishes(Protocol):
    """See streamkit's Publisher."""

    def publish(self, emits: Sequence[Emit]) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Progress:
    """See training.progressed.avsc."""

    request_id: str
    owner: str
    model: str
    token: int
    worker: str
    step: str
    done: float


class Teller:
    """Publishes the last progress it was told, in a thread of its own: a new step at once, else
    once a second at most. What can't be published is dropped: the next one says all that it said.
    """

    def __init__(
        self, publisher: Publishes, lost: Callable[[], None], every_s: float = _EVERY_S
    ) -> None:
        self._publisher = publisher
        self._lost = lost
        self._every_s = every_s
        self._changed = threading.Condition()
        self._next: Progress | None = None
        self._saying = False
        self._flushing = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="training-progress", daemon=True)
        self._thread.start()

    def say(self, progress: Progress) -> None:
        """This is so now. From any thread; does not block."""
        with self._changed:
            self._next = progress
            self._changed.notify_all()

    def flush(self, timeout_s: float = _LAST_S) -> None:
        """Wait until the last one was said, or could not be; but no longer."""
        with self._changed:
            self._flushing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._next is None and not self._saying, timeout_s)
            self._flushing = False

    def close(self) -> None:
        """End."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(_LAST_S)
        if not self._thread.is_alive():
            self._publisher.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._next is not None)
                if self._closing or self._next is None:
                    return
                said, self._next, self._saying = self._next, None, True
            self._publish(said)
            self._pause(said)

    def _pause(self, said: Progress) -> None:
        """Its second, unless there is something that need not wait for it."""
        with self._changed:
            self._saying = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_pressing(said), self._every_s)

    def _is_pressing(self, said: Progress) -> bool:
        if self._closing or self._next is None:
            return self._closing
        now = self._next
        is_step = (now.token, now.request_id, now.step) != (said.token, said.request_id, said.step)
        return is_step or self._flushing

    def _publish(self, progress: Progress) -> None:
        value = {**asdict(progress), "at": datetime.now(UTC)}
        key = f"{progress.owner}:{progress.model}"
        try:
            self._publisher.publish([Emit(TRAINING_PROGRESSED, key, value, str(uuid4()))])
        except (PublishError, Busy, Reject) as error:
            self._lost()
            _log.warning("progress_lost", request_id=progress.request_id, reason=str(error))
