"""Says once, by `ops.notified.v1`, what a person should know of a worker."""

import random
from typing import Final

import structlog

from streamkit.backoff import Later, delay_s
from streamkit.errors import Reject
from streamkit.gate import DEAD_LETTERS, Gate
from streamkit.notices import DEAD_LETTER_SURGE, DEPENDENCY_AWAY, notice
from streamkit.outside import Outside
from streamkit.records import RawRecord

_log = structlog.get_logger("streamkit.telling")

_MOST_TRIES: Final = 20


class Telling:
    """Publishes notices beside the records' own events, under tickets below zero."""

    def __init__(self, service: str, outside: Outside, later: Later) -> None:
        self._service = service
        self._outside = outside
        self._later = later
        self._chance: random.Random = outside.chance
        self._waiting: dict[int, tuple[RawRecord, int]] = {}
        self._told: dict[str, str] = {}
        self._number = 0

    def opened(self, gate: Gate) -> None:
        """Say of each dependency whose breaker opened that it is away."""
        while gate.opened:
            dependency, why = gate.opened.pop(0)
            _log.error("dependency_away", dependency=dependency, reason=why[:300])
            kind, subject = DEPENDENCY_AWAY, dependency
            title = f"{self._service} waits for {dependency}"
            if dependency == DEAD_LETTERS:
                kind, subject = DEAD_LETTER_SURGE, self._service
                title = f"{self._service} has stopped: most of its records fail for good"
            self._outside.meter.noticed(kind)
            self._say(dependency, kind, subject, title, why[:1000])

    def _say(self, dependency: str, kind: str, subject: str, title: str, detail: str) -> None:
        outside = self._outside
        if outside.encode is None:
            return
        emit = notice(kind, self._service, subject, title, detail, outside.clock.time())
        if self._told.get(dependency) == emit.id:
            return  # whoever reads it would take it for a repetition
        try:
            record = outside.encode(emit)
        except Exception:  # noqa: BLE001 - no notice is worth a worker
            _log.exception("notice_not_encoded", subject=subject)
            return
        self._told[dependency] = emit.id
        self._number -= 1
        self._send(self._number, record, 1)

    def _send(self, ticket: int, record: RawRecord, tries: int) -> None:
        self._waiting[ticket] = (record, tries)
        self._outside.producer.send(ticket, [record])

    def delivered(self, ticket: int, error: Exception | None) -> None:
        """What became of a ticket; those that are no notice's are ignored."""
        record, tries = self._waiting.pop(ticket, (None, 0))
        if record is None or error is None:
            return
        if tries >= _MOST_TRIES or isinstance(error, Reject):
            _log.error("notice_not_published", reason=str(error))
            return
        pause = delay_s(tries, self._chance)
        self._later(pause, lambda: self._send(ticket, record, tries + 1))
