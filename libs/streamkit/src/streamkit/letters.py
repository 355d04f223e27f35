"""A service's dead letters as a person sees them: what lies there, and what was done about it.

Letters and marks are records of one topic. A mark says that a letter was replayed or discarded,
and names the place up to which it means it: the same record may die again later, even before the
mark is written, and then waits again. So it doesn't matter in which order they are read.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from sys import intern
from typing import Final, Literal, NamedTuple, cast

from streamkit.deadletters import PREFIX, letter_id
from streamkit.records import RawHeaders, RawRecord, Taken

State = Literal["waiting", "replayed", "discarded"]
Action = Literal["replayed", "discarded"]

_TEXT_BYTES: Final = 4000
_KEY_BYTES: Final = 300


class Place(NamedTuple):
    """Where a letter lies in the dead-letter topic."""

    partition: int
    offset: int


class Mark(NamedTuple):
    """What was done about a letter, by whom, why and when (milliseconds since 1970).

    `upto` names the last place of each partition up to which it means the letter.
    """

    action: Action
    by: str
    why: str
    at_ms: int
    upto: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Letter:
    """A record that was given up.

    `topic`, `partition`, `offset` and `timestamp_ms` are those of the record's first coming,
    `died_ms` is when it was given up last, `deaths` how often. `lane` is empty if unknown. `place`
    is where its last letter lies, `size` that letter's bytes; `valueless` says that the letter
    had to leave the record's value where it came from. `marks` from the oldest on. `ends` are the
    last places in each partition where it lies: a record without a key may die in several.
    """

    id: str
    state: State
    code: str
    message: str
    attempts: int
    service: str
    version: str
    lane: str
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    died_ms: int
    key: str
    size: int
    valueless: bool
    place: Place
    deaths: int = 1
    marks: tuple[Mark, ...] = ()
    ends: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters are meant: those that fit all that is set.

    `ids` are ids or their beginnings; `text` stands in the message, `since_ms` and `until_ms`
    bound when a record was given up (milliseconds since 1970). `state` None: any.
    """

    code: str | None = None
    topic: str | None = None
    lane: str | None = None
    key: str | None = None
    text: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    ids: tuple[str, ...] = ()
    state: State | None = "waiting"

    @property
    def narrow(self) -> bool:
        """Whether it means less than everything in that state."""
        named = (self.code, self.topic, self.lane, self.key, self.text)
        return bool(self.ids) or any(
            one is not None for one in (*named, self.since_ms, self.until_ms)
        )

    def fits(self, letter: Letter) -> bool:
        """Whether a letter is meant."""
        wanted = (
            (self.state, letter.state),
            (self.code, letter.code),
            (self.topic, letter.topic),
            (self.lane, letter.lane),
            (self.key, letter.key),
        )
        return (
            all(want is None or want == has for want, has in wanted)
            and (self.text is None or self.text.casefold() in letter.message.casefold())
            and (self.since_ms is None or letter.died_ms >= self.since_ms)
            and (self.until_ms is None or letter.died_ms < self.until_ms)
            and (not self.ids or letter.id.startswith(self.ids))
        )


WAITING: Final = Filter()
"""Everything that nobody has done anything about."""


class Ledger:
    """Letters and marks, added in any order, as letters. Keeps no values."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._letters: dict[str, list[Letter]] = {}
        self._marks: dict[str, list[Mark]] = {}

    def add(self, record: Taken) -> None:
        """A record of the dead-letter topic. Raises nothing: anybody may write there."""
        if is_mark(record):
            known = mark_of(record)
            if known is not None:
                self._marks.setdefault(known[0], []).append(known[1])
            return
        letter = letter_of(record, self._service)
        self._letters.setdefault(letter.id, []).append(letter)

    def letters(self) -> list[Letter]:
        """All of them, in the order in which they were given up."""
        folded = [
            _folded(letters, self._marks.get(name, ())) for name, letters in self._letters.items()
        ]
        return sorted(folded, key=lambda one: (one.died_ms, one.place))


def is_mark(record: Taken) -> bool:
    """Whether a record of a dead-letter topic is no letter, but says what was done about one."""
    return any(name == f"{PREFIX}mark" for name, _ in record.headers)


def mark_of(record: Taken) -> tuple[str, Mark] | None:
    """The letter's id and the mark in a record; None if it says of no place that can be what was
    done."""
    about = _about(record.headers)
    mark = _mark(about, record.headers)
    return None if mark is None else (_text(about, "id"), mark)


def letter_of(record: Taken, service: str) -> Letter:
    """What a dead letter's headers say of it. What they don't say is empty, or -1."""
    about = _about(record.headers)
    topic = _text(about, "topic")
    partition, offset = _number(about, "partition"), _number(about, "offset")
    known = (topic, partition, offset) if topic else record[:3]
    return Letter(
        id=_text(about, "id") or letter_id(service, *known),
        state="waiting",
        code=intern(_text(about, "code") or "unknown"),
        message=_text(about, "message"),
        attempts=_number(about, "attempts"),
        service=intern(_text(about, "service")),
        version=intern(_text(about, "version")),
        lane=intern(_text(about, "lane")),
        topic=intern(topic),
        partition=partition,
        offset=offset,
        timestamp_ms=_number(about, "timestamp"),
        died_ms=_when(about, record.timestamp_ms),
        key=(record.key or b"")[:_KEY_BYTES].decode("utf-8", "replace"),
        size=len(record.value or b""),
        valueless="value" in about,
        place=Place(record.partition, record.offset),
    )


def original(letter: Letter, record: Taken) -> Taken:
    """The record that died, out of its dead letter: where it came from, without our headers."""
    return Taken(
        letter.topic,
        letter.partition,
        letter.offset,
        record.key,
        record.value,
        [header for header in record.headers if not header[0].startswith(PREFIX)],
        letter.timestamp_ms,
    )


def mark_record(
    topic: str, letter: Letter, action: Action, by: str, why: str, at: str
) -> RawRecord:
    """The mark that says what was done, about all that is known to lie there of the letter; `at`
    in ISO 8601."""
    return mark_up_to(topic, letter.id, letter.ends or (letter.place,), action, by, why, at)


def mark_up_to(
    topic: str, letter: str, ends: Iterable[Place], action: Action, by: str, why: str, at: str
) -> RawRecord:
    """The mark about the letters with this id up to these places."""
    about = {
        "dl_mark": action,
        "dl_id": letter,
        "dl_by": by,
        "dl_why": why[:_TEXT_BYTES],
        "dl_time": at,
    }
    headers = [(name, text.encode("utf-8", "replace")) for name, text in about.items()]
    upto = [("dl_upto", f"{end.partition}/{end.offset}".encode()) for end in ends]
    return RawRecord(topic, letter.encode("utf-8", "replace"), None, [*headers, *upto])


def by_code(letters: Iterable[Letter]) -> Mapping[str, int]:
    """How many there are of each code, the most frequent first."""
    return dict(Counter(letter.code for letter in letters).most_common())


def _folded(letters: Sequence[Letter], marks: Sequence[Mark]) -> Letter:
    """The letters of one record as one, with what was done about it."""
    last = max(letters, key=lambda one: (one.died_ms, one.place))
    ends = _ends(letter.place for letter in letters)
    covered = dict(_ends(place for mark in marks for place in mark.upto))
    open_ends = [end for end in ends if covered.get(end.partition, -1) < end.offset]
    done = max(marks, key=lambda mark: mark.at_ms, default=None)
    state: State = "waiting" if open_ends or done is None else done.action
    history = tuple(sorted(marks, key=lambda mark: mark.at_ms))
    return replace(last, state=state, deaths=len(letters), marks=history, ends=ends)


def _ends(places: Iterable[Place]) -> tuple[Place, ...]:
    """The last place of each partition."""
    # In rising order, so that the last one of each partition is what remains.
    return tuple(Place(*end) for end in dict(sorted(places)).items())


def _about(headers: RawHeaders) -> Mapping[str, bytes]:
    return {name.removeprefix(PREFIX): value for name, value in headers if name.startswith(PREFIX)}


def _text(about: Mapping[str, bytes], name: str) -> str:
    return about.get(name, b"")[:_TEXT_BYTES].decode("utf-8", "replace")


def _number(about: Mapping[str, bytes], name: str) -> int:
    text = about.get(name, b"")
    return int(text) if text.isdigit() and len(text) < 19 else -1


def _when(about: Mapping[str, bytes], otherwise_ms: int) -> int:
    try:
        return int(datetime.fromisoformat(_text(about, "time")).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        return otherwise_ms


def _mark(about: Mapping[str, bytes], headers: RawHeaders) -> Mark | None:
    """The mark, unless it says of no place that can be what was done."""
    action = _text(about, "mark")
    places = (_place(value) for name, value in headers if name == f"{PREFIX}upto")
    upto = tuple(place for place in places if min(place) >= 0)
    if action not in ("replayed", "discarded") or not upto:
        return None
    return Mark(
        cast(Action, action), _text(about, "by"), _text(about, "why"), _when(about, 0), upto
    )


def _place(text: bytes) -> Place:
    partition, _, offset = text.partition(b"/")
    return Place(_number({"": partition}, ""), _number({"": offset}, ""))
