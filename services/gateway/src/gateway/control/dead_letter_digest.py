"""Tells of dead letters that were not told one by one: how many there are of which kind."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from darkroom_schemas import catalogue, ids
from gateway.catalog.notices import add_notice
from gateway.control.job_run import Job, JobContext, JobError
from gateway.db import Conn
from gateway.notifications.sending import line
from streamkit.inbox import InboxError
from streamkit.letters import is_mark, letter_of
from streamkit.notices import FIRST_DEAD_LETTER
from streamkit.records import Taken

DIGEST: Final = "dead-letter-digest"
"""Name of the job; its last report holds how far it has read."""

_CODE_CHARS: Final = 100  # as streamkit.telling cuts it
_MOST_CODES: Final = 1_000
_OTHER: Final = "other"
_MOST_IDS: Final = 200_000
"""Records that are told apart: one whose letter was written twice counts once."""

_SHOWN: Final = 10
_CHECK_EVERY: Final = 1_000
_CLOCKS: Final = timedelta(minutes=1)
"""How far a worker's clock may be from the database's."""

Offsets = Mapping[int, int]


class LettersLog(Protocol):
    """What lies in topics (streamkit's KafkaLog). Raises InboxError if nobody answers."""

    def has(self, topic: str) -> bool:
        """Whether the topic exists."""
        ...

    def records_from(self, topic: str, offsets: Offsets) -> Iterator[Taken]:
        """What lies in each partition from this offset on."""
        ...


@dataclass(slots=True)
class _Count:
    """What was given up, by service and code."""

    numbers: Counter[tuple[str, str]] = field(default_factory=Counter)
    seen: set[str] = field(default_factory=set)

    def add(self, service: str, record: Taken) -> None:
        """Count a letter, unless its record was counted."""
        letter = letter_of(record, service)
        if letter.id in self.seen:
            return
        if len(self.seen) < _MOST_IDS:
            self.seen.add(letter.id)
        key = (service, letter.code[:_CODE_CHARS])
        if key not in self.numbers and len(self.numbers) >= _MOST_CODES:
            key = (service, _OTHER)
        self.numbers[key] += 1


@dataclass(frozen=True, slots=True)
class _Standing:
    """How far the last digest read, and when."""

    offsets: Mapping[str, Offsets]
    at: datetime | None


def dead_letter_digest(
    conn: Conn, log: LettersLog, services: Sequence[str], context: JobContext
) -> Mapping[str, Any]:
    """Count the dead letters since the last digest and tell of them, if there are any beside those
    that were told by themselves. Returns the job's report. Raises JobError.

    The topics themselves are read, from where the last digest ended. A digest that is cut off
    between telling and reporting is told again with what came since.
    """
    standing = _last(conn, context.job)
    count = _Count()
    try:
        offsets = {
            topic: _read(log, topic, service, standing.offsets.get(topic, {}), count, context)
            for service in services
            if log.has(topic := f"darkroom.{service}.dlq")
        }
    except InboxError as error:
        raise JobError(f"The dead letters can't be read: {error}.") from error
    told = _told(conn, standing.at)
    untold = {key: number for key, number in count.numbers.items() if number > told[key]}
    if untold:
        _tell(conn, count.numbers, standing.at, json.dumps(offsets, sort_keys=True))
    given_up: dict[str, dict[str, int]] = {}
    for (service, code), number in count.numbers.most_common(_SHOWN * 5):
        given_up.setdefault(service, {})[code] = number
    return {"offsets": offsets, "given_up": given_up, "told": bool(untold)}


def services_with_letters() -> list[str]:
    """All that have a topic of dead letters."""
    parts = (topic.name.split(".") for topic in catalogue.load())
    return [part[1] for part in parts if len(part) == 3 and part[2] == "dlq"]


def digest_job(log: LettersLog, services: Sequence[str]) -> Job:
    """The digest, every hour."""

    def run(conn: Conn, context: JobContext) -> Mapping[str, Any]:
        return dead_letter_digest(conn, log, services, context)

    return Job(DIGEST, "0 * * * *", run, time_limit_s=300.0)


def _read(
    log: LettersLog,
    topic: str,
    service: str,
    offsets: Offsets,
    count: _Count,
    context: JobContext,
) -> dict[str, int]:
    """Count a topic's letters; from where the next digest goes on."""
    ends = {str(partition): offset for partition, offset in offsets.items()}
    for number, record in enumerate(log.records_from(topic, offsets)):
        if number % _CHECK_EVERY == 0:
            context.check()
        ends[str(record.partition)] = record.offset + 1
        if not is_mark(record):
            count.add(service, record)
    return ends


def _last(conn: Conn, job: str) -> _Standing:
    row = conn.execute(
        "SELECT report, started_at FROM job_runs WHERE job = %s AND state = 'done'"
        " AND report -> 'offsets' IS NOT NULL ORDER BY started_at DESC LIMIT 1",
        (job,),
    ).fetchone()
    if row is None:
        return _Standing({}, None)
    offsets = {
        topic: {int(partition): offset for partition, offset in places.items()}
        for topic, places in row["report"]["offsets"].items()
    }
    return _Standing(offsets, row["started_at"])


def _told(conn: Conn, since: datetime | None) -> Counter[tuple[str, str]]:
    """How many were told by themselves, by service and code."""
    rows = conn.execute(
        "SELECT service, subject, count(*) AS number FROM notices WHERE kind = %s"
        " AND (%s::timestamptz IS NULL OR recorded_at > %s) GROUP BY service, subject",
        (FIRST_DEAD_LETTER, since, since and since - _CLOCKS),
    )
    return Counter({(row["service"], row["subject"]): row["number"] for row in rows})


def _since(at: datetime | None) -> str:
    return f" since {at.astimezone(UTC):%H:%M} UTC" if at else ""


def _tell(
    conn: Conn, numbers: Counter[tuple[str, str]], since: datetime | None, places: str
) -> None:
    total = numbers.total()
    records = "1 record was" if total == 1 else f"{total:,} records were"
    lines = [
        f"{service}: {number:,} of {line(code)}"
        for (service, code), number in numbers.most_common(_SHOWN)
    ]
    if len(numbers) > _SHOWN:
        lines.append(f"and {len(numbers) - _SHOWN:,} more kinds")
    service = numbers.most_common(1)[0][0][0]
    lines += [
        "They are kept among the dead letters.",
        f"What they failed of: darkroom dlq list {service}",
        f"Once it is put right: darkroom dlq replay {service} --code …",
    ]
    add_notice(
        conn,
        kind="dead_letter_digest",
        service="gateway",
        subject="dead letters",
        severity="warning",
        title=f"{records} given up" + _since(since),
        detail="\n".join(lines),
        notice_id=ids.batch_event_id(ids.LOCAL_OWNER, f"dead-letters:{places}"),
    )
