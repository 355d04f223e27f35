"""What the core is told: everything that happens to a worker comes by its inbox as one of these."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from streamkit.ports import Delivery, EngineEvent
from streamkit.records import Offsets, Partition, Taken

if TYPE_CHECKING:
    from streamkit.control import Control


class Records(NamedTuple):
    """A feed has these records, of partitions that it has."""

    feed: str
    records: Sequence[Taken]


class Assigned(NamedTuple):
    """A feed has these partitions now, beside those that it had."""

    feed: str
    partitions: Sequence[Partition]


class Drain:
    """Work on partitions that are to go: the core answers with what may be committed of them.

    The lane's thread waits for the answer, the core never waits for the lane: no deadlock.
    """

    def __init__(self) -> None:
        self.offsets: Offsets = {}
        self._answered = threading.Event()

    @property
    def over(self) -> bool:
        """Whether the core has answered."""
        return self._answered.is_set()

    def answer(self, offsets: Offsets) -> None:
        """Called by the core, once."""
        self.offsets = offsets
        self._answered.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the answer; whether it came."""
        return self._answered.wait(timeout_s)


class Revoking(NamedTuple):
    """A feed is to give these partitions up, once `drain` is answered."""

    feed: str
    partitions: Sequence[Partition]
    drain: Drain


class Lost(NamedTuple):
    """A feed has lost these partitions; nothing of them may be committed."""

    feed: str
    partitions: Sequence[Partition]


class FeedClosed(NamedTuple):
    """A feed has left its group; or it, or the publisher's thread, broke by `error`."""

    feed: str
    error: BaseException | None


class Delivered(NamedTuple):
    """The producer knows of these."""

    deliveries: Sequence[Delivery]


class Controlled(NamedTuple):
    """Somebody has set something for this stage or one of its lanes."""

    control: "Control"


class Woken(NamedTuple):
    """Something that a lane waited for may be there: tokens of its rate."""


class Stop(NamedTuple):
    """Drain and end."""


Event = (
    Records
    | Assigned
    | Revoking
    | Lost
    | FeedClosed
    | Delivered
    | Controlled
    | Woken
    | Stop
    | EngineEvent
)
