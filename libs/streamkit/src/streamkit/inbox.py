"""Looking at a service's dead letters, trying them again, putting them away."""

import getpass
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from streamkit.clock import Clock, SystemClock
from streamkit.letters import (
    WAITING,
    Action,
    Filter,
    Ledger,
    Letter,
    Place,
    by_code,
    mark_record,
    original,
)
from streamkit.marking import Deed, Marker, Progress, Report, Stop, paced, untold
from streamkit.ports import Producer
from streamkit.rate import LocalBucket, Rate
from streamkit.records import RawRecord, Taken
from streamkit.retry import DEFAULT_TIERS, Origin, RetryPlan
from streamkit.tracing import forwarded

_FEW: Final = 10
"""So few are fetched one by one; for more the topic is read through."""


class Log(Protocol):
    """What lies in topics, seen from outside of any group. Topics are without the prefix. Methods
    block, and raise InboxError if nobody answers."""

    def has(self, topic: str) -> bool:
        """Whether the topic exists."""

    def records(self, topic: str) -> Iterator[Taken]:
        """Everything from its beginning to where it ends as the first one is asked for."""

    def record(self, topic: str, partition: int, offset: int) -> Taken | None:
        """The record at that place, or None if none lies there any more."""


class InboxError(RuntimeError):
    """What was asked for can't be done at all; the message says why and what helps."""


class DeadLetterBox:
    """The dead letters of one service.

    Each call looks at what lies there at that moment. `who` is written down with what is done.
    `tiers` are the retry tiers that the service runs with. All methods block and raise InboxError.
    """

    def __init__(
        self,
        log: Log,
        producer: Producer,
        service: str,
        *,
        tiers: Sequence[str] = DEFAULT_TIERS,
        who: str = "",
        clock: Clock | None = None,
    ) -> None:
        self._log = log
        self._producer = producer
        self._service = service
        self._plan = RetryPlan(service, tiers)
        self._who = who or getpass.getuser()
        self._clock = clock or SystemClock()
        self._topic = f"darkroom.{service}.dlq"

    # -- looking --------------------------------------------------------------------------------

    def letters(self, wanted: Filter = WAITING) -> list[Letter]:
        """The letters that are meant, the last given up first."""
        return self._meant(wanted)[::-1]

    def show(self, letter: str) -> tuple[Letter, Taken]:
        """A letter, by its id or the beginning of it, and the record that died.

        The record's value is None if the letter had to leave it and it no longer lies where it
        came from.
        """
        (found,) = self._meant(Filter(ids=(letter,), state=None))
        record = self._log.record(self._topic, *found.place)
        if record is None:
            raise InboxError(f"letter {found.id} has gone meanwhile")
        return found, self._died(found, record)

    def _meant(self, wanted: Filter | Sequence[Letter]) -> list[Letter]:
        if not isinstance(wanted, Filter):
            return sorted(wanted, key=lambda letter: (letter.died_ms, letter.place))
        if not self._log.has(self._topic):
            raise InboxError(
                f"there is no topic {self._topic}; `darkroom topics apply` makes those of all "
                "services"
            )
        ledger = Ledger(self._service)
        for record in self._log.records(self._topic):
            ledger.add(record)
        letters = ledger.letters()
        for beginning in wanted.ids:
            found = sum(letter.id.startswith(beginning) for letter in letters)
            if found != 1:
                raise InboxError(
                    f"{found or 'no'} letters of {self._service} have an id that begins with "
                    f"{beginning!r}; "
                    + ("give more of it" if found else "`list --state all` shows all there are")
                )
        return [letter for letter in letters if wanted.fits(letter)]

    # -- doing ----------------------------------------------------------------------------------

    def replay(
        self,
        wanted: Filter | Sequence[Letter],
        *,
        rate: Rate | None = None,
        dry_run: bool = False,
        progress: Progress = untold,
        stop: Stop | None = None,
    ) -> Report:
        """Give these records their attempts anew, in this service alone; the oldest first.
        `wanted` says which, or are letters that `letters` gave.

        Each is published to the service's own shortest retry topic, due at once, and marked as
        replayed once that was acknowledged: a crash in between repeats a replay and loses none.
        Not faster than `rate`. Ends early, with all that was published marked, once `stop` is set.
        """
        letters = self._meant(wanted)
        report = Report(len(letters), by_code(letters), dry_run)
        if letters:
            self._check_tiers()
        possible = [letter for letter in letters if _possible(letter, report)]
        if dry_run:
            deque(self._replays(possible, report), maxlen=0)  # for what can't be done
        else:
            bucket = LocalBucket(rate, self._clock) if rate else None
            deeds = self._replays(possible, report)
            chunks = paced(deeds, bucket, self._clock, stop or threading.Event())
            self._marker("replayed", "", report, progress).run(chunks)
        return report

    def discard(
        self,
        wanted: Filter | Sequence[Letter],
        reason: str,
        *,
        dry_run: bool = False,
        progress: Progress = untold,
        stop: Stop | None = None,
    ) -> Report:
        """Put these, named as for `replay`, away for `reason`: they no longer wait.

        Nothing is deleted, and what is discarded can be replayed as long as the topic keeps it.
        """
        letters = self._meant(wanted)
        report = Report(len(letters), by_code(letters), dry_run)
        if not dry_run:
            deeds = (Deed(letter, None) for letter in letters)
            chunks = paced(deeds, None, self._clock, stop or threading.Event())
            self._marker("discarded", reason, report, progress).run(chunks)
        return report

    def _marker(self, action: Action, why: str, report: Report, progress: Progress) -> Marker:
        def mark(letter: Letter) -> RawRecord:
            now = datetime.fromtimestamp(self._clock.time(), UTC).isoformat(timespec="milliseconds")
            return mark_record(self._topic, letter, action, self._who, why, now)

        return Marker(self._producer, mark, report, progress)

    def _check_tiers(self) -> None:
        topics = self._plan.topics()
        if not topics or not self._log.has(topics[0]):
            raise InboxError(
                f"{self._service} has no retry topics ({', '.join(topics[:1]) or 'no tiers'}), so "
                "nothing can be replayed to it alone; `darkroom topics apply` makes those of the "
                "services that have them"
            )

    def _replays(self, letters: Sequence[Letter], report: Report) -> Iterator[Deed]:
        """What is to be published for each letter whose record can still be had."""
        for letter, record in self._with_records(letters):
            if record is None:
                report.failed.append((letter.id, "it has gone meanwhile"))
                continue
            died = self._died(letter, record)
            if letter.valueless and died.value is None:
                where = f"{letter.topic}/{letter.partition}/{letter.offset}"
                report.failed.append((letter.id, f"its value no longer lies at {where}"))
                continue
            known = self._origin(letter, died)
            if known is None:
                where = f"{letter.topic}/{letter.partition}/{letter.offset}"
                why = f"the record at {where} does not say where it came from; discard it"
                report.failed.append((letter.id, why))
                continue
            again = self._plan.replay(known.record, known.lane, letter.id)
            yield Deed(letter, None if again is None else forwarded(again))

    def _origin(self, letter: Letter, died: Taken) -> Origin | None:
        """Where the record belongs. One whose letter names a retry topic was not understood when
        it came out of it: what is still written on it says more, if anything does."""
        if not self._plan.waits_in(letter.topic):
            return Origin(died, letter.lane)
        known = self._plan.origin(died, {})
        if known is None or known.lane:
            return known
        return known._replace(lane=letter.lane)

    def _with_records(self, letters: Sequence[Letter]) -> Iterator[tuple[Letter, Taken | None]]:
        if len(letters) <= _FEW:
            for letter in letters:
                yield letter, self._log.record(self._topic, *letter.place)
            return
        missing = {letter.place: letter for letter in letters}
        for record in self._log.records(self._topic):
            found = missing.pop(Place(record.partition, record.offset), None)
            if found is not None:
                yield found, record
        for letter in missing.values():
            yield letter, None

    def _died(self, letter: Letter, record: Taken) -> Taken:
        """The record that died; its value is fetched from where it came if the letter left it."""
        died = original(letter, record)
        if letter.valueless:
            origin = self._log.record(letter.topic, letter.partition, letter.offset)
            died = died._replace(value=None if origin is None else origin.value)
        return died


def _possible(letter: Letter, report: Report) -> bool:
    """Whether the letter says what a replay needs to know; else the report says that it doesn't."""
    if letter.topic and letter.lane:
        return True
    lacks = "its lane" if letter.topic else "where it came from"
    report.failed.append((letter.id, f"the letter does not say {lacks}"))
    return False
