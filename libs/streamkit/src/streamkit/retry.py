"""Retry topics: a record that failed waits in one of them until it is due, then is worked on again.

The record itself stays as it was; where it comes from, how often it was tried and when it is due
stand in headers beside it. Anybody may write to a topic, so what stands there is not trusted.
"""

import math
import re
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from random import Random
from typing import Final, NamedTuple

from streamkit.clock import Clock
from streamkit.errors import Reject
from streamkit.records import RawHeaders, RawRecord, Taken

PREFIX: Final = "rt_"
"""Headers that start so are ours; any that a record brings from elsewhere are dropped."""

DEFAULT_TIERS: Final = ("5s", "30s", "5m")

CLASSES: Final = ("high", "bulk")
"""Each tier has a topic for the lane `high` and one for all others, so that a person's record never
waits behind those of an import."""

JITTER: Final = 0.1
"""A record waits up to so much longer than its tier says: what failed together is spread."""

MOST_ATTEMPTS: Final = 100
_MOST_PARTITION: Final = 2**31 - 1
_LONGEST_TIER_S: Final = 600
_MOST_TIERS: Final = 10
_ERROR_CHARS: Final = 200

_AT_ONCE_MS: Final = 0
"""When a replay is due. Nobody's clock is asked: the operator's may be wrong."""

_TIER: Final = re.compile(r"([1-9][0-9]{0,3})(s|m)")
_NUMBER: Final = re.compile(rb"[0-9]{1,18}")
_LETTER_ID: Final = re.compile(r"[0-9a-f-]{36}")
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")


def tier_s(tier: str) -> int:
    """Seconds that a tier such as `30s` or `5m` makes a record wait.

    Raises ValueError for what is none, or is longer than ten minutes: longer than that a record
    is better off among the dead letters, where it is seen.
    """
    match = _TIER.fullmatch(tier)
    seconds = int(match[1]) * (60 if match[2] == "m" else 1) if match else 0
    if not 0 < seconds <= _LONGEST_TIER_S:
        raise ValueError(f"{tier!r} is no retry tier: write 5s, 30s, 5m, and at most 10m")
    return seconds


def class_of(lane: str) -> str:
    """Which of CLASSES a lane's retries belong to."""
    return "high" if lane == "high" else "bulk"


def retry_topic(service: str, tier: str, lane: str) -> str:
    """The topic in which a lane's records wait, without the prefix."""
    return f"darkroom.{service}.retry-{tier}.{class_of(lane)}"


class Due(NamedTuple):
    """A record out of a retry topic, and when its next attempt is due (broker's milliseconds).

    `record` has the topic, partition, offset, time stamp and headers of its first coming.
    `attempt` is the number of the attempt to come. `replay` is the id of the dead letter that is
    tried again, or empty.
    """

    record: Taken
    lane: str
    attempt: int
    due_ms: int
    replay: str = ""


class Origin(NamedTuple):
    """A record out of a retry topic under the place of its first coming. Its headers are still as
    they were found. `lane` is empty if unknown."""

    record: Taken
    lane: str


class RetryPlan:
    """Which retry topic a failed record goes to, and what a record out of one means. No I/O.

    `tiers` in rising order; after the last one a record has no further attempt. Raises ValueError
    for tiers that are none, fall, or are more than ten.
    """

    def __init__(self, service: str, tiers: Sequence[str] = DEFAULT_TIERS) -> None:
        delays = [tier_s(tier) for tier in tiers]
        if len(delays) > _MOST_TIERS or delays != sorted(set(delays)):
            raise ValueError(f"retry tiers are at most {_MOST_TIERS}, rising: {', '.join(tiers)}")
        self._service = service
        self._ours = f"darkroom.{service}.retry-"
        self._tiers = tuple(zip(tiers, delays, strict=True))
        self._places = {
            retry_topic(service, tier, name): (name, delay)
            for tier, delay in self._tiers
            for name in CLASSES
        }

    def topics(self) -> tuple[str, ...]:
        """All retry topics of the service, the shortest tier's first."""
        return tuple(self._places)

    def attempts(self) -> int:
        """How often a record is tried in all, if every attempt fails."""
        return len(self._tiers) + 1

    def waits_in(self, topic: str) -> bool:
        """Whether this is a retry topic of the service, of these tiers or of earlier ones."""
        return topic.startswith(self._ours)

    def next(
        self,
        record: Taken,
        lane: str,
        attempt: int,
        error_code: str,
        message: str,
        now_ms: int,
        random: Random,
    ) -> RawRecord | None:
        """What is to be published after the `attempt`-th attempt failed.

        None if no attempt is left: the record belongs to the dead letters. `now_ms` is the
        broker's clock.
        """
        if attempt > len(self._tiers):
            return None
        tier, delay_s = self._tiers[attempt - 1]
        wait_ms = delay_s * 1000 * (1 + JITTER * random.random())
        topic = retry_topic(self._service, tier, lane)
        error = f"{error_code}: {message}"
        return _waiting(topic, record, lane, attempt + 1, now_ms + int(wait_ms), error)

    def replay(self, record: Taken, lane: str, letter: str) -> RawRecord | None:
        """What gives a record its attempts anew, at once, to this service alone.

        `letter` is the id of its dead letter. None if the service has no retry topics.
        """
        if not self._tiers:
            return None
        topic = retry_topic(self._service, self._tiers[0][0], lane)
        raw = _waiting(topic, record, lane, 1, _AT_ONCE_MS, "replayed")
        return raw._replace(headers=[*raw.headers, ("rt_replay", letter.encode())])

    def read(self, record: Taken, lanes: Mapping[str, Collection[str]]) -> Due | Reject:
        """What a record out of a retry topic is, with `lanes` naming the topics of each lane.

        Gives a Reject for one whose headers say what this service can't have written. A due time
        later than its tier ever gives is taken for what the tier gives, since the clock that it
        was written by may have been wrong. A record whose lane is not there any more goes to the
        one that takes its topic now.
        """
        try:
            return self._read(record, lanes)
        except Reject as error:
            return error

    def origin(self, record: Taken, lanes: Mapping[str, Collection[str]]) -> Origin | None:
        """Where a record that `read` refused came from, as far as its headers say.

        The lane is the one of `lanes` that takes its topic, else the one that is written there.
        None if the headers don't say where it came from. Raises nothing.
        """
        ours, _ = _ours(record.headers)
        topic = _text(ours.get("topic", b""))
        if not _TOPIC.fullmatch(topic) or self.waits_in(topic):
            return None
        try:
            partition, offset = _number(ours, "partition", _MOST_PARTITION), _number(ours, "offset")
        except Reject:
            return None
        try:
            timestamp_ms = _number(ours, "timestamp")
        except Reject:
            timestamp_ms = record.timestamp_ms
        first = record._replace(
            topic=topic, partition=partition, offset=offset, timestamp_ms=timestamp_ms
        )
        lane = _text(ours.get("lane", b""))
        return Origin(first, _lane_of(topic, lane, lanes) or lane)

    def wait_s(self, topic: str, due: Due, now_ms: int) -> float:
        """Seconds that a record out of this retry topic is yet to wait; 0 if it is due.

        `now_ms` is the broker's clock. Never more than the tier ever gives, however wrong that is.
        """
        _, delay_s = self._places[topic]
        return min(max(0.0, (due.due_ms - now_ms) / 1000), delay_s * (1 + JITTER))

    def least_wait_s(self, record: Taken, now_ms: int) -> float:
        """Seconds until a record out of a retry topic has waited for as long as its tier gives, but
        for the chance in that; 0 once it has."""
        _, delay_s = self._places[record.topic]
        return max(0.0, (record.timestamp_ms - now_ms) / 1000 + delay_s)

    def _read(self, record: Taken, lanes: Mapping[str, Collection[str]]) -> Due:
        if record.topic not in self._places:
            raise _bad(f"{record.topic} is no retry topic of {self._service}")
        name, delay_s = self._places[record.topic]
        ours, twice = _ours(record.headers)
        if twice:
            raise _bad(f"has two headers {PREFIX}{min(twice)[:50]}")
        topic, written = _text(_needed(ours, "topic")), _text(_needed(ours, "lane"))
        lane = _lane_of(topic, written, lanes)
        if lane is None:
            raise _bad(f"no lane, neither its own {written!r} nor another, has a topic {topic!r}")
        if class_of(lane) != name:
            raise _bad(f"lane {lane!r} does not wait in {record.topic}")
        attempt = _number(ours, "attempt")
        if not 1 <= attempt <= MOST_ATTEMPTS:
            raise _bad(f"there is no attempt {attempt}")
        original = Taken(
            topic=topic,
            partition=_number(ours, "partition", _MOST_PARTITION),
            offset=_number(ours, "offset"),
            key=record.key,
            value=record.value,
            headers=without_ours(record.headers),
            timestamp_ms=_number(ours, "timestamp"),
        )
        due_ms = _due(_number(ours, "due"), record.timestamp_ms, delay_s * 1000)
        return Due(original, lane, attempt, due_ms, _replayed(ours))


def without_ours(headers: RawHeaders) -> RawHeaders:
    """Headers without those of retries."""
    return [header for header in headers if not header[0].startswith(PREFIX)]


def _waiting(
    topic: str, record: Taken, lane: str, attempt: int, due_ms: int, error: str
) -> RawRecord:
    about = {
        "rt_topic": record.topic,
        "rt_partition": str(record.partition),
        "rt_offset": str(record.offset),
        "rt_timestamp": str(max(0, record.timestamp_ms)),
        "rt_lane": lane,
        "rt_attempt": str(attempt),
        "rt_due": str(due_ms),
        "rt_error": error[:_ERROR_CHARS],
    }
    named = [(name, text.encode("utf-8", "replace")) for name, text in about.items()]
    return RawRecord(topic, record.key, record.value, [*without_ours(record.headers), *named])


def _bad(why: str) -> Reject:
    return Reject("bad_retry_headers", f"The record waited for a retry, but {why[:300]}.")


def _ours(headers: RawHeaders) -> tuple[Mapping[str, bytes], Collection[str]]:
    """Our headers by their name without the prefix, and the names of those that stand there more
    than once, which therefore say nothing."""
    found: dict[str, bytes] = {}
    twice: set[str] = set()
    for name, value in headers:
        if name.startswith(PREFIX):
            short = name.removeprefix(PREFIX)
            if short in found:
                twice.add(short)
            found[short] = value
    for name in twice:
        del found[name]
    return found, twice


def _lane_of(topic: str, lane: str, lanes: Mapping[str, Collection[str]]) -> str | None:
    """The lane that takes a topic: the one named if it does, since lanes may have been renamed
    while the record waited any other that does; None if none does."""
    return next((name for name in (lane, *lanes) if topic in lanes.get(name, ())), None)


def _needed(ours: Mapping[str, bytes], name: str) -> bytes:
    if name not in ours:
        raise _bad(f"lacks the header {PREFIX}{name}")
    return ours[name]


def _text(value: bytes) -> str:
    return value[:300].decode("utf-8", "replace")


def _number(ours: Mapping[str, bytes], name: str, most: int = 2**63 - 1) -> int:
    value = _needed(ours, name)
    if not _NUMBER.fullmatch(value) or int(value) > most:
        raise _bad(f"{PREFIX}{name} is no number")
    return int(value)


def _due(due_ms: int, appended_ms: int, delay_ms: int) -> int:
    return min(due_ms, appended_ms + int(delay_ms * (1 + JITTER)))


def _replayed(ours: Mapping[str, bytes]) -> str:
    letter = _text(ours.get("replay", b""))
    if letter and not _LETTER_ID.fullmatch(letter):
        raise _bad("the id of its dead letter is none")
    return letter


class _Seen(NamedTuple):
    at: float
    round_trip: float
    offset_ms: float


class BrokerClock:
    """The broker's clock as far as acknowledgements show it; until one does, the machine's own; in
    either case never behind a time stamp that the broker has given.

    A record was appended between being sent and being acknowledged, so the shortest round trip of
    the last five minutes knows best: long ones (a queue, a broker that restarts) are outliers.
    Follows the monotonic clock, so a machine's clock that is set meanwhile does no harm. That one
    stands still while a machine is suspended, and a broker's clock may be set too: what an
    acknowledgement shows to be impossible is forgotten.
    """

    WINDOW_S: Final = 300.0

    STEP_MS: Final = 100.0
    """Clocks of brokers, and the pace of clocks, differ by so much without one having been set."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # A sliding minimum: rising by round trip, so that the first is the shortest of the window.
        self._seen: deque[_Seen] = deque()
        self._least_ms = -math.inf

    def at_least(self, appended_ms: int) -> None:
        """A record was read that the broker dated so: its clock is past that."""
        self._least_ms = max(self._least_ms, appended_ms - self._clock.monotonic() * 1000)

    def observe(self, sent_s: float, acked_s: float, appended_ms: int) -> None:
        """A record, sent and acknowledged at these monotonic seconds, has this time stamp.

        Ignores 0 (a topic that does not keep the time of appending).
        """
        if appended_ms <= 0 or acked_s < sent_s:
            return
        self._forget_impossible(appended_ms - acked_s * 1000, appended_ms - sent_s * 1000)
        round_trip = acked_s - sent_s
        while self._seen and self._seen[-1].round_trip >= round_trip:
            self._seen.pop()
        middle_ms = (sent_s + acked_s) / 2 * 1000
        self._seen.append(_Seen(acked_s, round_trip, appended_ms - middle_ms))

    def _forget_impossible(self, least_ms: float, most_ms: float) -> None:
        """The broker's clock is between these ahead of the monotonic one."""
        if self._least_ms > most_ms + self.STEP_MS:
            self._least_ms = -math.inf
        if self._seen:
            believed = self._seen[0].offset_ms
            if not least_ms - self.STEP_MS <= believed <= most_ms + self.STEP_MS:
                self._seen.clear()

    def now_ms(self) -> int:
        """Milliseconds since 1970 on the broker."""
        now = self._clock.monotonic()
        # The last one stays however old it is: still better than a clock never compared.
        while len(self._seen) > 1 and self._seen[0].at < now - self.WINDOW_S:
            self._seen.popleft()
        known_ms = self._clock.time() * 1000
        if self._seen:
            known_ms = now * 1000 + self._seen[0].offset_ms
        return int(max(known_ms, now * 1000 + self._least_ms))
