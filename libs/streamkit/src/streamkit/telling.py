"""Says once, by `ops.notified.v1`, what a person should know of a worker."""

import random
from typing import Final

import structlog

from streamkit.backoff import Later, delay_s
from streamkit.errors import Reject
from streamkit.first_letters import FirstLetters
from streamkit.gate import DEAD_LETTERS, Gate
from streamkit.messages import Emit, Failure
from streamkit.notices import (
    DEAD_LETTER_SURGE,
    DEPENDENCY_AWAY,
    FIRST_DEAD_LETTER,
    Severity,
    notice,
)
from streamkit.outside import Outside
from streamkit.records import RawRecord

_log = structlog.get_logger("streamkit.telling")

_MOST_TRIES: Final = 20

_WHY_CHARS: Final = 1000


class Telling:
    """Publishes notices beside the records' own events, under tickets below zero."""

    def __init__(self, service: str, outside: Outside, later: Later) -> None:
        self._service = service
        self._outside = outside
        self._later = later
        self._chance: random.Random = outside.chance
        self._waiting: dict[int, tuple[RawRecord, int]] = {}
        self._told: dict[str, str] = {}
        self._first_letters = FirstLetters(service)
        self._number = 0

    def opened(self, gate: Gate) -> None:
        """Say of each dependency whose breaker opened that it is away."""
        while gate.opened:
            dependency, why = gate.opened.pop(0)
            _log.error("dependency_away", dependency=dependency, reason=why[:300])
            emit = self._surge(why) if dependency == DEAD_LETTERS else self._away(dependency, why)
            self._outside.meter.noticed(emit.value["kind"])
            if self._told.get(dependency) == emit.id:
                continue  # whoever reads it would take it for a repetition
            if self._say(emit):
                self._told[dependency] = emit.id

    def gave_up(self, failure: Failure) -> None:
        """Say of a dead letter that it is the first of its kind within the hour, if it is."""
        emit = self._first_letters.told(failure, self._outside.clock.time())
        if emit is not None and self._say(emit):
            self._outside.meter.noticed(FIRST_DEAD_LETTER)

    def _away(self, dependency: str, why: str) -> Emit:
        title = f"{self._service} waits for {dependency}"
        cure = "Its records wait, nothing is lost, and work goes on by itself once it answers."
        return self._notice(DEPENDENCY_AWAY, dependency, title, f"{why[:_WHY_CHARS]}\n{cure}")

    def _surge(self, why: str) -> Emit:
        service = self._service
        title = f"{service} has stopped: most of its records fail for good"
        cure = (
            "It tries one record every half minute and goes on once they succeed. What they fail"
            f" of: darkroom dlq list {service}\n"
            f"Once it is put right: darkroom dlq replay {service} --all"
        )
        return self._notice(
            DEAD_LETTER_SURGE, service, title, f"{why[:_WHY_CHARS]}\n{cure}", "critical"
        )

    def _notice(
        self, kind: str, subject: str, title: str, detail: str, severity: Severity = "warning"
    ) -> Emit:
        now_s = self._outside.clock.time()
        return notice(kind, self._service, subject, title, detail, now_s, severity=severity)

    def _say(self, emit: Emit) -> bool:
        """Publish it; whether there is anybody to say it to."""
        if self._outside.encode is None:
            return False
        try:
            record = self._outside.encode(emit)
        except Exception:  # noqa: BLE001 - no notice is worth a worker
            _log.exception("notice_not_encoded", subject=emit.key)
            return False
        self._number -= 1
        self._send(self._number, record, 1)
        return True

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
