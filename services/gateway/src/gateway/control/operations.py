"""Follows what workers say of themselves, and keeps a day of measurements."""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import structlog
from pydantic import ValidationError

from darkroom_schemas import ids
from darkroom_schemas.names import OPS_WORKER
from gateway.catalog import operations, samples, workers
from gateway.catalog.workers import Heartbeat
from gateway.control import metrics
from gateway.db import Conn
from streamkit import Busy, Reject
from streamkit.codec import RegistryRefusesError
from streamkit.control import Decode
from streamkit.kafka.follower import Follower
from streamkit.metrics import Bounded

_log = structlog.get_logger("gateway.operations")

_EVERY_S: Final = 1.0
_BACK_S: Final = 60.0
"""Who works says so again within this. What is older is read only for the last words of those who
were not heard since."""

_FIRST_S: Final = 5.0
"""So long the first look waits until that is read: who was only not listened to is not missing."""

_MOST_WORKERS: Final = 500
_MOST_BYTES: Final = 100_000
_MOST_TOLD: Final = 100
_NO_OPTIONS: Final[Mapping[str, Any]] = {}


class Heard:
    """The last heartbeat of each worker since it was taken, of so many workers; thread-safe."""

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._lock = threading.Lock()
        self._latest: dict[str, Heartbeat] = {}
        self._unreadable: set[str] = set()

    def tell(self, key: bytes | None, value: bytes | None) -> None:
        """A record of the topic. Raises Busy while the registry is needed and away, and while
        nobody takes what was said."""
        name = (key or b"").decode("utf-8", "replace")
        try:
            heartbeat = self._read(name, value)
        except (Reject, ValueError) as error:
            self._pass_over(name, error)
            return
        except RegistryRefusesError as error:
            raise Busy(str(error), dependency="schema registry") from error
        self._unreadable.discard(name)
        with self._lock:
            if name not in self._latest and len(self._latest) >= _MOST_WORKERS:
                raise Busy("nobody takes what workers say", dependency="the catalog")
            self._latest[name] = heartbeat

    def take(self) -> Collection[Heartbeat]:
        """What was said since the last time."""
        with self._lock:
            taken, self._latest = self._latest, {}
        return taken.values()

    def _read(self, name: str, value: bytes | None) -> Heartbeat:
        """Raises Reject, ValueError, Busy, RegistryRefusesError."""
        if value is not None and len(value) > _MOST_BYTES:
            raise ValueError(f"it has {len(value):,} bytes, which no heartbeat needs")
        heartbeat = Heartbeat.model_validate(self._decode(OPS_WORKER, value))
        if heartbeat.worker != name:
            raise ValueError(f"its key says {name[:100]}, its value {heartbeat.worker}")
        return heartbeat

    def _pass_over(self, name: str, error: Exception) -> None:
        """Said once of a worker, until it can be read again."""
        if name in self._unreadable:
            return
        if len(self._unreadable) >= _MOST_TOLD:
            self._unreadable.clear()
        self._unreadable.add(name)
        _log.warning("heartbeat_unreadable", worker=name[:100], reason=_reason(error))


_IN_HASTE: Final = {"fetch.queue.backoff.ms": 10}
"""A day of ten workers fills the queue 90 times; by itself it waits a second each time."""


class LastWords:
    """Who of those that were not heard any more said last that they go, while nobody listened.

    Of all that was said since then only their records are kept and decoded, one of each.
    """

    def __init__(
        self,
        kafka: str,
        topic: str,
        silent: Mapping[str, float],
        decode: Decode,
        options: Mapping[str, Any],
    ) -> None:
        """`silent`: for how many seconds who was not heard; `options` as of Operations."""
        self._heard = Heard(decode)
        self._names = frozenset(name.encode() for name in silent)
        self._latest: dict[bytes, bytes | None] = {}
        back_s = max(silent.values(), default=0.0) + _BACK_S
        self._follower = Follower(
            kafka,
            topic,
            self._keep,
            name="last-words",
            back_s=back_s,
            options={**_IN_HASTE, **options},
        )
        if silent:
            self._follower.start(0.0)

    @property
    def read(self) -> bool:
        """Whether the topic was read to its end, if anybody's words are looked for."""
        return not self._names or self._follower.ready

    def take(self) -> Collection[Heartbeat]:
        """Each of them once, as soon as they are read and the registry answers. Whoever said
        something else is missing all the same: it was long ago."""
        if not self.read:
            return ()
        self.close()
        with suppress(Busy):
            while self._latest:
                name = next(iter(self._latest))
                self._heard.tell(name, self._latest[name])
                del self._latest[name]
        return [one for one in self._heard.take() if one.state == workers.GONE]

    def close(self) -> None:
        """Read no more."""
        self._follower.close()

    def _keep(self, key: bytes | None, value: bytes | None) -> None:
        if key in self._names:
            self._latest[key] = value


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(step) for step in first['loc'])}: {first['msg']}"


class Operations:
    """Writes into the catalog who works, and every ten seconds what can be measured. `options` are
    further settings of librdkafka's, such as security.*."""

    def __init__(
        self,
        kafka: str,
        decode: Decode,
        *,
        prefix: str = "",
        options: Mapping[str, Any] = _NO_OPTIONS,
    ) -> None:
        self._kafka, self._topic, self._decode = kafka, prefix + OPS_WORKER, decode
        self._options = options
        self._sampled: datetime | None = None
        self._services = Bounded()
        self._shown: set[tuple[str, str]] = set()

    def work(self, conn: Conn, stop: threading.Event) -> None:
        """Follow and measure until `stop`; broker and registry are waited for. Raises
        psycopg.Error."""
        heard = Heard(self._decode)
        follower = Follower(
            self._kafka,
            self._topic,
            heard.tell,
            name="workers",
            back_s=_BACK_S,
            options=self._options,
        )
        silent = workers.unheard(conn, _BACK_S)
        last = LastWords(self._kafka, self._topic, silent, self._decode, self._options)
        follower.start(0.0)
        try:
            _await(lambda: follower.ready and last.read, stop)
            while not stop.is_set():
                workers.note(conn, last.take())
                self.turn(conn, heard.take())
                stop.wait(_EVERY_S)
        finally:
            follower.close()
            last.close()
            self._show({})

    def turn(self, conn: Conn, heartbeats: Collection[Heartbeat] = ()) -> None:
        """Write down what was said, and measure if it is time to. Raises psycopg.Error."""
        workers.note(conn, heartbeats)
        at = samples.slot(conn)
        if at != self._sampled:
            self._sample(conn, at)
            self._sampled = at
        self._show(workers.counts(conn))

    def _sample(self, conn: Conn, at: datetime) -> None:
        workers.forget(conn)
        now = operations.overview(conn, ids.LOCAL_OWNER)
        samples.add(conn, at, samples.measured(now))
        samples.forget(conn)

    def _show(self, counts: Mapping[tuple[str, str], int]) -> None:
        """What is no more goes from the metrics."""
        found: dict[tuple[str, str], int] = {}
        for (service, state), number in counts.items():
            place = (self._services(service), state if state in _STATES else "other")
            found[place] = found.get(place, 0) + number
        for place in self._shown - found.keys():
            metrics.WORKERS.remove(*place)
        for place, number in found.items():
            metrics.WORKERS.labels(*place).set(number)
        self._shown = set(found)


_STATES: Final = frozenset({"starting", "working", "stopping", workers.GONE, workers.MISSING})


def _await(ready: Callable[[], bool], stop: threading.Event) -> None:
    until = time.monotonic() + _FIRST_S
    while not ready() and time.monotonic() < until and not stop.wait(0.1):
        pass
