"""Doing something about many letters: chunk after chunk, each marked before the next begins."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from streamkit.clock import Clock
from streamkit.errors import Reject
from streamkit.letters import Letter
from streamkit.ports import Producer
from streamkit.publishing import MESSAGE_TIMEOUT_S, PublishError
from streamkit.rate import LocalBucket
from streamkit.records import RawRecord

CHUNK: Final = 100
"""So many are published before they are marked: what a kill in between may repeat at most."""

_GRACE_S: Final = 5.0


class Deed(NamedTuple):
    """What is to be published for a letter before its mark is; None: nothing is."""

    letter: Letter
    record: RawRecord | None


class Stop(Protocol):
    """Asked to stop? A threading.Event is one."""

    def is_set(self) -> bool:
        """Whether to stop."""

    def wait(self, timeout: float) -> bool:
        """Wait so long, or until set; whether it is."""


Progress = Callable[[int, int], None]
"""Told how many are over, and of how many."""


def untold(_over: int, _of: int) -> None:
    """A Progress that nobody watches."""


@dataclass(slots=True)
class Report:
    """What became of a replay or a discarding.

    `by_code` counts what was meant. `failed` has the id and the reason of each letter that could
    not be done and still waits. `stopped` says why it ended before it was through; empty: it was.
    """

    meant: int
    by_code: Mapping[str, int]
    dry_run: bool = False
    done: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    stopped: str = ""

    @property
    def untouched(self) -> int:
        """How many were not come to."""
        return self.meant - self.done - len(self.failed)


def paced(
    deeds: Iterator[Deed], bucket: LocalBucket | None, clock: Clock, stop: Stop
) -> Iterator[list[Deed]]:
    """The deeds in chunks, as fast as the bucket lets them go, until asked to stop."""
    first = next(deeds, None)
    while first is not None and not stop.is_set():
        most = CHUNK if bucket is None else bucket.take(CHUNK)
        if bucket is not None and not most:
            stop.wait(max(0.0, bucket.next_at() - clock.monotonic()))
            continue
        yield [first, *itertools.islice(deeds, most - 1)]
        first = next(deeds, None)


class Marker:
    """Publishes deeds, then the marks of those that were acknowledged; keeps the Report."""

    def __init__(
        self,
        producer: Producer,
        mark: Callable[[Letter], RawRecord],
        report: Report,
        progress: Progress,
    ) -> None:
        self._producer = producer
        self._mark = mark
        self._report = report
        self._progress = progress
        self._tickets = itertools.count(1)

    def run(self, chunks: Iterator[list[Deed]]) -> None:
        """Do them all, unless Kafka stops answering."""
        self._tell()
        for chunk in chunks:
            trouble = self._chunk(chunk)
            self._tell()
            if trouble is not None:
                self._report.stopped = f"Kafka did not acknowledge: {trouble}"
                return
        if self._report.untouched:
            self._report.stopped = "asked to stop"

    def _tell(self) -> None:
        self._progress(self._report.meant - self._report.untouched, self._report.meant)

    def _chunk(self, chunk: Sequence[Deed]) -> Exception | None:
        """Publish and mark; gives the trouble that makes it useless to go on."""
        errors = self._publish([record for _, record in chunk])
        for (letter, _), error in zip(chunk, errors, strict=True):
            if error is not None:
                self._report.failed.append((letter.id, str(error)))
        fit = [letter for (letter, _), error in zip(chunk, errors, strict=True) if error is None]
        unmarked = self._publish([self._mark(letter) for letter in fit])
        for letter, error in zip(fit, unmarked, strict=True):
            if error is None:
                self._report.done += 1
            else:
                self._report.failed.append((letter.id, f"done, but not marked as such: {error}"))
        # A Reject is about one record; all else will meet the next ones too.
        known = (error for error in (*errors, *unmarked) if error is not None)
        return next((error for error in known if not isinstance(error, Reject)), None)

    def _publish(self, records: Sequence[RawRecord | None]) -> list[Exception | None]:
        """What became of each; None for one that is nothing, or was acknowledged."""
        places = {next(self._tickets): i for i, record in enumerate(records) if record is not None}
        errors: list[Exception | None] = [None] * len(records)
        for ticket, place in places.items():
            self._producer.send(ticket, [one for one in (records[place],) if one is not None])
        while places:
            decided = self._producer.poll(MESSAGE_TIMEOUT_S + _GRACE_S)
            for delivery in decided:
                if delivery.ticket in places:  # else it is of a call that gave up waiting
                    errors[places.pop(delivery.ticket)] = delivery.error
            if not decided:
                for place in places.values():
                    errors[place] = PublishError("no acknowledgement")
                break
        return errors
