"""What the runtime needs of a log (Kafka, or memory) and of what runs handlers."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from streamkit.engine.work import Result, Work
from streamkit.records import Offsets, Partition, RawRecord, Taken


class Listener(Protocol):
    """Is told which partitions a consumer has. Called from inside the consumer's own methods."""

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """These are ours now, beside those that were. Returns at once."""

    def revoked(self, partitions: Sequence[Partition]) -> Offsets:
        """These go to another worker once this returns. May block until work on them is drained;
        what it returns is committed before they go."""

    def lost(self, partitions: Sequence[Partition]) -> None:
        """These were taken away already; nothing may be committed. Returns at once."""


class Consumer(Protocol):
    """A member of a group. All calls from one thread. Topics are without the prefix."""

    def consume(self, most: int, timeout_s: float) -> list[Taken]:
        """Up to `most` records (0: none, but rebalances are served), within `timeout_s`.

        Gets over passing troubles on its own (reopening itself if it must: `lost`, then
        `assigned`); raises ConsumerLostError if it can't go on.
        """

    def store(self, offsets: Offsets) -> None:
        """Have these committed soon, in the background; harmless for partitions that are gone."""

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Fetch nothing of these; harmless for partitions that are gone. A new assignment of a
        partition begins unpaused."""

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Fetch them again, from where consume left off."""

    def close(self) -> None:
        """`revoked` for all partitions, commit, leave the group."""


class ConsumerLostError(RuntimeError):
    """The consumer can't go on: missing rights, a protocol that the broker doesn't know."""


class Delivery(NamedTuple):
    """What became of one `send`: `error` is None if the broker has acknowledged all of it.

    `error` is a Reject if a record of it never will be taken, else PublishError (then part of it
    may be there), or ProducerLostError. `appended_ms` is the broker's time stamp of the last
    record where the topic keeps the time of appending, else 0.
    """

    ticket: int
    error: Exception | None
    appended_ms: int


class Producer(Protocol):
    """Publishes with acks=all, idempotently, with murmur2 partitioning. Thread-safe."""

    def send(self, ticket: int, records: Sequence[RawRecord], *, urgent: bool = False) -> None:
        """Publish these; does not block. How it went comes out of `poll`, once per ticket, also
        if the records were refused at once. What is `urgent` doesn't wait to share a request."""

    def poll(self, timeout_s: float) -> list[Delivery]:
        """What has been decided since; waits up to `timeout_s` for a first one."""

    def flush(self, timeout_s: float) -> None:
        """Wait until everything sent is decided; `poll` still gives it."""

    def close(self) -> None:
        """Let go of the connection; what is not acknowledged is given up."""


class Backend(Protocol):
    """A log with groups: Kafka, or memory."""

    def consumer(self, group: str, topics: Sequence[str], listener: Listener) -> Consumer:
        """A new member of `group`. `group` and `topics` without the prefix."""

    def producer(self, client: str) -> Producer:
        """A new producer."""

    def missing(self, topics: Sequence[str]) -> list[str]:
        """Those of the topics that do not exist; none if nobody answers within seconds."""


class EngineReady(NamedTuple):
    """An engine has loaded its handlers and takes work."""

    engine: str
    loading_s: float


class EngineResults(NamedTuple):
    """Work that an engine has finished, in the order in which it did."""

    engine: str
    results: Sequence[Result]


class EngineGone(NamedTuple):
    """An engine's process ended, or was ended, with work unfinished; a new one is on its way.

    `unfinished` holds Work.id in the order of submission. `fatal` says that handlers can't be
    loaded at all (a wrong setting, missing weights): a new process would fail likewise.
    """

    engine: str
    unfinished: Sequence[int]
    why: str
    fatal: bool = False


EngineEvent = EngineReady | EngineResults | EngineGone
Report = Callable[[EngineEvent], None]
"""Called by an engine from any thread; must not block."""


class Engine(Protocol):
    """Runs handlers, one piece of work after another: in a process of its own, in a thread, or at
    once. Called from one thread; no method blocks but close. Tells the rest by its Report."""

    name: str

    def start(self) -> None:
        """Load the handlers; EngineReady follows."""

    def submit(self, works: Sequence[Work]) -> None:
        """Do these, after what was submitted before. With a batch handler they are one
        micro-batch. Only after EngineReady and before EngineGone."""

    def recall(self) -> None:
        """Hand back what has not begun, as Results of kind `returned`; sliced work ends at its
        next slice."""

    def replace(self, why: str) -> None:
        """End the process at once (SIGKILL) and start another: EngineGone, then EngineReady.
        Where there is no process to end (a thread), the whole program ends loudly."""

    def memory_bytes(self) -> int:
        """Resident memory of the process and its children; 0 where it has none of its own."""

    def close(self, timeout_s: float) -> None:
        """Finish, let the handlers close, end; kills after `timeout_s`."""
