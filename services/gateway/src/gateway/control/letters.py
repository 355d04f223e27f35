"""Follows the topics of dead letters into the catalog, and marks there what is done with."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Final, Protocol

import structlog

from gateway.catalog import letters
from gateway.catalog.letters import Read, Settled
from gateway.db import Conn
from streamkit import Busy, RawRecord, Taken, tracing
from streamkit.inbox import InboxError
from streamkit.letters import is_mark, letter_of, mark_of, mark_up_to

_log = structlog.get_logger("gateway.letters")

_EVERY_S: Final = 20.0
_AT_ONCE: Final = 1_000
_WHO: Final = "failures"


class LettersLog(Protocol):
    """What lies in topics (streamkit's KafkaLog). Raises InboxError if nobody answers."""

    def has(self, topic: str) -> bool:
        """Whether the topic exists."""
        ...

    def records_from(self, topic: str, offsets: Mapping[int, int]) -> Iterator[Taken]:
        """What lies in each partition from this offset on."""
        ...


class LetterKeeper:
    """Reads what is new in the topics, every few seconds. `publish` waits for the broker, and
    raises Busy if it does not answer."""

    def __init__(
        self,
        log: LettersLog,
        services: Sequence[str],
        publish: Callable[[Iterable[RawRecord]], None],
    ) -> None:
        self._log = log
        self._services = services
        self._publish = publish

    def work(self, conn: Conn, stop: threading.Event) -> None:
        """Follow until `stop`; waits for an absent broker. Raises psycopg.Error."""
        while not stop.is_set():
            try:
                self.turn(conn)
            except (InboxError, Busy) as error:
                _log.warning("letters_wait", reason=str(error))
            stop.wait(_EVERY_S)

    def turn(self, conn: Conn) -> None:
        """Read what is new, then mark what is done with. Raises InboxError, Busy."""
        for service in self._services:
            topic = _topic(service)
            if self._log.has(topic):
                self._follow(conn, service, topic)
        letters.forget(conn)
        found = letters.settled(conn)
        if found:
            self._publish([_mark(one) for one in found])
            _log.info("letters_marked", letters=len(found))

    def _follow(self, conn: Conn, service: str, topic: str) -> None:
        records = self._log.records_from(topic, letters.offsets_of(conn, service))
        while some := list(islice(records, _AT_ONCE)):
            read = Read()
            for record in some:
                read.offsets[record.partition] = record.offset + 1
                tracing.heard(record)
                if not is_mark(record):
                    read.letters.append(letter_of(record, service))
                elif (mark := mark_of(record)) is not None:
                    read.marks.append(mark)
            letters.record(conn, service, read)


def _topic(service: str) -> str:
    return f"darkroom.{service}.dlq"


def _mark(one: Settled) -> RawRecord:
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    topic = _topic(one.service)
    return mark_up_to(topic, one.letter_id, one.ends, one.action, _WHO, one.why, at)
