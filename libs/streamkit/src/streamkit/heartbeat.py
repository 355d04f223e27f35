"""A worker's heartbeats: what it has, does and uses, as events of `ops.worker.v1`.

Who hears none of a worker for some times as long as they say knows that something is wrong with it.
"""

import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Self
from uuid import uuid4

import structlog

from streamkit.clock import Clock, SystemClock
from streamkit.messages import Emit
from streamkit.ports import Producer
from streamkit.publishing import ProducerLostError
from streamkit.records import RawRecord
from streamkit.standing import Standing, State
from streamkit.usage import Usage, Used

_log = structlog.get_logger("streamkit.heartbeat")

TOPIC: Final = "ops.worker.v1"

_MOST_UNDER_WAY: Final = 8
"""Heartbeats that the broker has not acknowledged yet; beyond that they are not worth the wait."""

_FLUSH_S: Final = 1.0
_CLOSE_S: Final = 2.0
"""Longest time that a worker's last word takes, whatever is away."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who speaks; `started_at` in seconds since 1970."""

    service: str
    version: str
    started_at: float
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)

    @property
    def worker(self) -> str:
        """The worker's name, unlike any other's: the key of its heartbeats."""
        return f"{self.service}@{self.host}:{self.pid}"


def heartbeat(
    who: Identity, standing: Standing, used: Used, now_s: float, every_s: float
) -> Mapping[str, Any]:
    """The value of the event. `now_s`: when the standing was so, in seconds since 1970."""
    return {
        "worker": who.worker,
        "service": who.service,
        "host": who.host,
        "pid": who.pid,
        "version": who.version,
        "state": standing.state,
        "started_at": _moment(who.started_at),
        "reported_at": _moment(now_s),
        "every_s": every_s,
        **used._asdict(),
        "lanes": [
            {
                **asdict(lane),
                "partitions": [{"topic": t, "partition": number} for t, number in lane.partitions],
            }
            for lane in standing.lanes
        ],
        "work": [{**asdict(task), "since": _moment(task.since)} for task in standing.work],
    }


def gone(last: Standing) -> Standing:
    """A worker's last word: it has nothing any more, and had done so much."""
    lanes = (replace(lane, partitions=(), waiting=0, in_engine=0) for lane in last.lanes)
    return Standing("gone", tuple(lanes))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds * 1000) / 1000, UTC)


@dataclass(frozen=True, slots=True)
class HeartbeatMeans:
    """What heartbeats are published with. All of it is used by their own thread alone: a registry
    or a broker that is away, or the machine's list of processes, may take its time."""

    producer: Callable[[], Producer]
    encode: Callable[[Emit], RawRecord]
    usage: Callable[[], Usage] = Usage


class Heartbeats:
    """Publishes what a worker tells of itself, in a thread of its own.

    A heartbeat that can't be published is lost, which the log says once until one gets through
    again; nothing is kept for later, and nobody waits. A context manager: it begins by saying that
    the worker starts, and ends by saying that it is gone, if that can be said within two seconds.
    """

    def __init__(
        self,
        service: str,
        version: str,
        every_s: float,
        means: HeartbeatMeans,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._who = Identity(service, version, self._clock.time())
        self._every_s = every_s
        self._means = means
        self._news = threading.Condition()
        self._pending: dict[State, tuple[Standing, float]] = {}
        self._last = Standing("starting")
        self._ended = False
        self._producer: Producer | None = None
        self._usage: Usage | None = None
        self._under_way = 0
        self._lost = False
        self._thread = threading.Thread(target=self._run, name="heartbeats", daemon=True)

    def tell(self, standing: Standing) -> None:
        """Have it published soon; what waits is not, but for changes of the worker's state. From
        any thread; does not block."""
        with self._news:
            self._last = standing
            self._pending[standing.state] = (standing, self._clock.time())
            self._news.notify()

    def __enter__(self) -> Self:
        self.tell(self._last)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._news:
            self.tell(gone(self._last))
            self._ended = True
        self._thread.join(_CLOSE_S)

    # -- in the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        while (told := self._next()) is not None:
            try:
                self._say(*told)
            except Exception as error:  # noqa: BLE001 - no heartbeat is worth a worker
                self._miss(error)
        if self._producer is not None:
            self._producer.flush(_FLUSH_S)
            self._hear()
        self._let_go()

    def _next(self) -> tuple[Standing, float] | None:
        """What is to be said next; None once everything was said."""
        with self._news:
            while not self._pending:
                if self._ended:
                    return None
                self._news.wait()
            return self._pending.pop(next(iter(self._pending)))

    def _say(self, standing: Standing, now_s: float) -> None:
        """Raises what keeps it from being said."""
        self._usage = self._usage or self._means.usage()
        self._hear()
        if self._under_way >= _MOST_UNDER_WAY:
            raise TimeoutError("the broker acknowledges none")
        value = heartbeat(self._who, standing, self._usage.measure(), now_s, self._every_s)
        record = self._means.encode(Emit(TOPIC, self._who.worker, value, str(uuid4())))
        self._producer = self._producer or self._means.producer()
        self._under_way += 1
        self._producer.send(0, [record])

    def _hear(self) -> None:
        """What has become of those that were sent."""
        for delivery in self._producer.poll(0) if self._producer is not None else ():
            self._under_way -= 1
            if delivery.error is None:
                self._arrived()
            else:
                self._miss(delivery.error)
            if isinstance(delivery.error, ProducerLostError):
                self._let_go()
                return

    def _let_go(self) -> None:
        """Of the producer; the next heartbeat gets another."""
        if self._producer is not None:
            self._producer.close()
        self._producer, self._under_way = None, 0

    def _arrived(self) -> None:
        if self._lost:
            _log.info("heartbeats_again")
        self._lost = False

    def _miss(self, error: Exception) -> None:
        if not self._lost:
            _log.warning("heartbeat_lost", reason=str(error) or repr(error))
        self._lost = True
