"""Messages between a worker and its engine processes: length, then a tuple by marshal.

marshal is the fastest there is for plain tuples, and both ends are the same program. A frame is
(kind, payload).
"""

import marshal
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal

from streamkit.engine.work import Result, Work
from streamkit.messages import Failure
from streamkit.records import RawRecord, Taken

_LENGTH: Final = struct.Struct("=Q")

FrameKind = Literal["work", "recall", "close", "begun", "ready", "failed", "results", "counted"]
"""To the engine: work, recall, close. From it: begun (our code runs there), ready, failed (a
sentence, whether it is for good, a traceback if one helps), results, counted (see traffic)."""

Frame = tuple[FrameKind, Any]


def frame(kind: FrameKind, payload: Any = None) -> bytes:
    """A frame as it goes over the wire."""
    try:
        body = marshal.dumps((kind, payload))
    except ValueError:  # an enum's member as a topic, a lane or a code
        body = marshal.dumps((kind, _plain(payload)))
    return _LENGTH.pack(len(body)) + body


def work_frame(works: Iterable[Work]) -> bytes:
    """A frame that submits these."""
    return frame(
        "work",
        [
            (
                number,
                lane,
                attempt,
                tuple(record),
                None if failure is None else (failure.code, failure.message, failure.attempts),
            )
            for number, lane, attempt, record, failure in works
        ],
    )


def works_of(payload: Iterable[Any]) -> Sequence[Work]:
    """What a `work` frame submits."""
    # Their constructors would take longer than all the rest.
    new = tuple.__new__
    return [
        new(
            Work,
            (
                number,
                lane,
                attempt,
                new(Taken, record),
                None if failure is None else Failure(*failure),
            ),
        )
        for number, lane, attempt, record, failure in payload
    ]


def results_frame(results: Iterable[Result]) -> bytes:
    """A frame that reports these."""
    return frame(
        "results",
        [
            (number, kind, ms, [tuple(event) for event in events], code, message, dependency)
            for number, kind, ms, events, code, message, dependency in results
        ],
    )


def results_of(payload: Iterable[Any]) -> Sequence[Result]:
    """What a `results` frame reports."""
    new = tuple.__new__
    return [
        new(
            Result,
            (
                number,
                kind,
                ms,
                tuple([new(RawRecord, event) for event in events]),
                code,
                message,
                dependency,
            ),
        )
        for number, kind, ms, events, code, message, dependency in payload
    ]


class Frames:
    """Puts frames together from the pieces in which they are read."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, piece: bytes) -> Sequence[Frame]:
        """The frames that are complete with this piece."""
        held = self._bytes
        held += piece
        found: list[Frame] = []
        start = 0
        while len(held) >= start + _LENGTH.size:
            (length,) = _LENGTH.unpack_from(held, start)
            end = start + _LENGTH.size + length
            if len(held) < end:
                break
            found.append(marshal.loads(held[start + _LENGTH.size : end]))  # noqa: S302 - ours
            start = end
        del held[:start]
        return found


_EXACT: Final[Sequence[tuple[type, Callable[[Any], Any]]]] = (
    (list, lambda value: [_plain(one) for one in value]),
    (tuple, lambda value: tuple([_plain(one) for one in value])),
    (str, str.__str__),
    (bytes, bytes),
    (bool, bool),
    (int, int),
    (float, float),
)


def _plain(value: Any) -> Any:
    """The same without instances of subclasses, which marshal refuses."""
    exact = next((exact for kind, exact in _EXACT if isinstance(value, kind)), None)
    return value if exact is None else exact(value)
