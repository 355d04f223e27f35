"""Says which version an engine process has, and what one may be, by `model.reported.v1`."""

import multiprocessing
import os
import platform
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, Protocol
from uuid import NAMESPACE_URL, uuid4, uuid5

import structlog

from darkroom_schemas.names import MODEL_REPORTED
from darkroom_schemas.stages import now
from stagekit.versions import Takes
from streamkit import Busy, Emit, PublishError, Reject

_log = structlog.get_logger("stagekit.models")

EVERY_S: Final = 10.0
"""A replica that is silent for three times as long is taken for gone."""

_LAST_S: Final = 2.0

_NOT_TOLD: Final = Takes()


class Publishes(Protocol):
    """See streamkit's Publisher."""

    def publish(self, emits: list[Emit]) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Report:
    """See model.reported.avsc."""

    state: Literal["ready", "loading", "failed", "gone"]
    generation: int
    wanted: int
    version: str | None
    engine: str | None
    shadow: str | None = None
    message: str | None = None


def replica_name() -> str:
    """Of this engine process: the same after it was replaced, another for each worker."""
    worker = multiprocessing.parent_process()
    number = os.getpid() if worker is None else worker.pid
    return f"{multiprocessing.current_process().name}@{platform.node() or 'localhost'}:{number}"


class Reporter:
    """Publishes the last report at once and then every few seconds, in a thread of its own.

    Each says too what versions of the model may be (`takes`), for whoever registers one, and which
    heads hold.
    Reports that can't be published are dropped: the next one says all that they said.
    """

    def __init__(
        self,
        model: str,
        publisher: Publishes,
        replica: str = "",
        every_s: float = EVERY_S,
        takes: Takes = _NOT_TOLD,
    ) -> None:
        self._model = model
        self._publisher = publisher
        self._replica = replica or replica_name()
        self._every_s = every_s
        self._takes = asdict(takes)
        self._lock = threading.Condition()
        self._report: Report | None = None
        self._heads: tuple[Mapping[str, int], Mapping[str, str]] = ({}, {})
        self._said = 0
        self._wanted = 0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="model-reporter", daemon=True)
        self._thread.start()

    def say(self, report: Report) -> None:
        """This holds from now on."""
        with self._lock:
            self._report = report
            self._wanted += 1
            self._lock.notify_all()

    def heads(self, generations: Mapping[str, int], failed: Mapping[str, str]) -> None:
        """These heads hold from now on, by name; and why others do not label."""
        with self._lock:
            self._heads = (generations, failed)
            self._wanted += 1
            self._lock.notify_all()

    def flush(self, timeout_s: float = _LAST_S) -> None:
        """Wait until the last report was said, or could not be; but no longer."""
        with self._lock:
            self._lock.wait_for(lambda: self._said >= self._wanted, timeout_s)

    def close(self) -> None:
        """Say that this replica is gone, and end."""
        if (report := self._report) is not None and report.state != "failed":
            self.say(replace(report, state="gone", message=None))
        self.flush()
        with self._lock:
            self._closing = True
            self._lock.notify_all()
        self._thread.join(_LAST_S)
        if not self._thread.is_alive():
            self._publisher.close()

    def _run(self) -> None:
        while True:
            with self._lock:
                news = self._lock.wait_for(
                    lambda: self._closing or self._said < self._wanted, self._every_s
                )
                if self._closing:
                    return
                number, report, heads = self._wanted, self._report, self._heads
            if report is not None and (news or report.state != "gone"):
                self._publish(report, *heads)
            with self._lock:
                self._said = number
                self._lock.notify_all()

    def _publish(self, report: Report, heads: Mapping[str, int], failed: Mapping[str, str]) -> None:
        value: dict[str, Any] = {
            "replica": self._replica,
            "name": self._model,
            **asdict(report),
            **self._takes,
            "heads": heads,
            "heads_failed": failed,
            "reported_at": now(),
        }
        name = str(uuid5(NAMESPACE_URL, f"{self._replica}:{uuid4()}"))
        try:
            self._publisher.publish([Emit(MODEL_REPORTED, self._replica, value, name)])
        except (PublishError, Busy, Reject) as error:
            _log.warning("report_lost", reason=str(error))
