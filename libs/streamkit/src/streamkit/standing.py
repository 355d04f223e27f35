"""What a worker has and does at a moment, and when that is worth telling. No I/O."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from streamkit.records import Partition

State = Literal["starting", "working", "stopping", "gone"]

MOST_TASKS: Final = 20
"""Records under way that are told of."""

_LOOK_S: Final = 1.0
_KEY_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class LaneStanding:
    """A lane of a worker: what it has of it, what is set for it, and what it has done since it
    began."""

    lane: str
    partitions: tuple[Partition, ...] = ()
    waiting: int = 0
    """Records that were fetched and have not begun."""
    in_engine: int = 0
    concurrency: int | None = None
    rate: float | None = None
    """Records a second."""
    paused: bool = False
    done: int = 0
    failed: int = 0
    """Of `done`: given up."""


@dataclass(frozen=True, slots=True)
class Task:
    """A record that an engine has, and since when (seconds since 1970)."""

    lane: str
    topic: str
    partition: int
    offset: int
    key: str
    attempt: int
    engine: str
    since: float


@dataclass(frozen=True, slots=True)
class Standing:
    """All of it. `work` begins with the oldest."""

    state: State
    lanes: tuple[LaneStanding, ...] = ()
    work: tuple[Task, ...] = ()


Tell = Callable[[Standing], None]
"""Does not block."""


def readable_key(key: bytes | None) -> str:
    """A record's key as text: keys may be anything, of any size."""
    return (key or b"")[:_KEY_CHARS].decode("utf-8", "replace")


class Pulse:
    """Tells the standing of a worker: every `every_s`, at once when its state changes, and within a
    second when its partitions change, or what is set for its lanes."""

    def __init__(self, tell: Tell, every_s: float, take: Callable[[State], Standing]) -> None:
        self._tell = tell
        self._every_s = every_s
        self._take = take
        self._told: Standing | None = None
        self._tell_at = self._look_at = 0.0

    def next_at(self) -> float:
        """Monotonic second at which to turn again."""
        return min(self._tell_at, self._look_at)

    def turn(self, state: State, now: float) -> None:
        """Tell what is to be told by now. Costs 0.1 µs if there is nothing."""
        told = self._told
        if told is not None and state == told.state and now < self.next_at():
            return
        self._look_at = now + _LOOK_S
        standing = self._take(state)
        if told is None or now >= self._tell_at or _constant(standing) != _constant(told):
            self._told, self._tell_at = standing, now + self._every_s
            self._tell(standing)

    def last(self) -> None:
        """Tell it once more: nothing is worked on any more."""
        self._tell(self._take("stopping"))


def _constant(standing: Standing) -> object:
    """What of it changes only if somebody changes it."""
    return standing.state, [
        (one.partitions, one.concurrency, one.rate, one.paused) for one in standing.lanes
    ]
