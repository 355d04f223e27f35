"""What each agent does with its records: decode, step, write the table, publish, acknowledge."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import structlog

from aggregator.delivery import Delivery, Outgoing
from aggregator.handlers import Route
from aggregator.tables import JoinedTable
from darkroom_schemas import catalogue
from streamkit import (
    Busy,
    Codec,
    Failure,
    Reject,
    Taken,
    dead_letter,
    delay_s,
    event_headers,
    metrics,
    readable,
)

_log = structlog.get_logger("aggregator.agents")

SERVICE: Final = "aggregator"
DEAD_LETTERS: Final = catalogue.load().dead_letters(SERVICE)

LARGEST_RECORD: Final = 1_000_000
"""Bytes of key, value and headers of what is published, changelogs included: what a broker takes by
default is 1,048,588 with the framing. A dead letter may be larger; its topic is declared so."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one agent knows: the routes of its topics, the table that they change, how to encode."""

    lane: str
    routes: Mapping[str, Route]
    table: JoinedTable
    codec: Codec
    prefix: str
    version: str

    def records_of(self, message: Any) -> list[Outgoing]:
        """Change the table by a record, and give all that is to be published for it.

        To be called while the stream is at this record. Raises Reject if the record cannot be
        what it says, or makes a state or an event that is too large, Busy if the registry is
        needed and away; the table is then unchanged.
        """
        topic = message.topic.removeprefix(self.prefix)
        value = self.codec.decode(topic, message.value)
        stored = self.table.get(message.key)
        state, emits = self.routes[topic].apply(_text(message.key), stored, value)
        traceparent = readable(message.headers).get("traceparent")
        events = []
        for emit in emits:
            headers = event_headers(emit, source=SERVICE, traceparent=traceparent)
            body = self.codec.encode(emit.topic, emit.value)
            events.append(Outgoing(self.prefix + emit.topic, emit.key.encode(), body, headers))
            _check_size(emit.topic, emit.key.encode(), body, headers)
        _check_size("the state", message.key, state)
        self.table[message.key] = state
        return [*self.table.collect(), *events]

    def dead_letter_of(self, message: Any, reason: Reject) -> Outgoing:
        """The record to publish for one that is given up."""
        original = Taken(
            topic=message.topic.removeprefix(self.prefix),
            partition=message.partition,
            offset=message.offset,
            key=message.key,
            value=message.value,
            headers=[(name, value or b"") for name, value in message.headers or ()],
            timestamp_ms=round(message.timestamp * 1000),
        )
        failure = Failure(reason.code, reason.message, 1)
        letter = dead_letter(DEAD_LETTERS, original, failure, service=SERVICE, version=self.version)
        return Outgoing(self.prefix + letter.topic, letter.key, letter.value, letter.headers)


class Tenure(Protocol):
    """Says how long a record may be worked on: while the partitions stay as they are."""

    def term(self) -> int:
        """The present term; to be asked when a record is received."""
        ...

    def holds(self, term: int) -> bool:
        """Whether that term still lasts."""
        ...


async def consume(stream: Any, work: Work, delivery: Delivery, tenure: Tenure) -> None:
    """The body of an agent. Raises only what is a defect: records never make it raise."""
    async for event in stream.noack().events():
        started, term = time.monotonic(), tenure.term()
        settled = await _settled(work, event.message, partial(tenure.holds, term))
        if settled is None:
            continue
        records, outcome = settled
        ours = partial(tenure.holds, term)
        done = partial(_done, work.lane, outcome, started, event, ours)
        await delivery.admit(records, done, ours)


async def _settled(
    work: Work, message: Any, ours: Callable[[], bool]
) -> tuple[list[Outgoing], str] | None:
    """What a record came to, for as long as it takes: its effects, or its dead letter.

    None if it is not ours any more.
    """
    for attempt in itertools.count(1):
        if not ours():
            break
        try:
            return work.records_of(message), "done"
        except Reject as reason:
            _count_dead_letter(work, message, reason)
            return [work.dead_letter_of(message, reason)], "dead_letter"
        except Busy as reason:
            _log.warning("busy", lane=work.lane, reason=str(reason), times=attempt)
            metrics.RETRIES.labels(SERVICE, work.lane, type(reason).__name__).inc()
            await asyncio.sleep(delay_s(attempt))
    return None


def _text(key: bytes | None) -> str:
    try:
        return (key or b"").decode()
    except UnicodeDecodeError as error:
        raise Reject("bad_key", "The key is not UTF-8 text.") from error


def _check_size(
    what: str, key: bytes, value: bytes, headers: Iterable[tuple[str, bytes]] = ()
) -> None:
    size = len(key) + len(value) + sum(len(name) + len(text) for name, text in headers)
    if size > LARGEST_RECORD:
        message = f"{what} would have {size:,} bytes; {LARGEST_RECORD:,} are allowed."
        raise Reject("too_large", message)


def _count_dead_letter(work: Work, message: Any, reason: Reject) -> None:
    metrics.DEAD_LETTERS.labels(SERVICE, work.lane, reason.code).inc()
    _log.error(
        "dead_letter",
        code=reason.code,
        reason=reason.message,
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
    )


def _done(lane: str, outcome: str, started: float, event: Any, ours: Callable[[], bool]) -> None:
    if not ours():
        return
    event.ack()
    metrics.PROCESSED.labels(SERVICE, lane, outcome).inc()
    metrics.DURATION.labels(SERVICE, lane).observe(time.monotonic() - started)
    age_s = max(0.0, time.time() - event.message.timestamp)
    metrics.END_TO_END.labels(SERVICE, lane).observe(age_s)
