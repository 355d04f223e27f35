"""Measures how much of each lane waits, every other second."""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Final, Protocol

import structlog

from darkroom_schemas.names import PHOTO_ANALYSIS_REQUESTED, PHOTO_SUBMITTED
from gateway.catalog import loads
from gateway.catalog.outbox import Outbox
from gateway.control import metrics
from gateway.control.lag import Hop, Look
from gateway.control.paths import retries
from gateway.db import Conn
from gateway.load import LaneLoad, Lanes, Limits, Progress
from streamkit import Busy

_log = structlog.get_logger("gateway.loads")

INTAKE: Final = "intake"
STAGES: Final = ("detector", "ocr", "embedder")


class Offsets(Protocol):
    """What looks at the broker (`lag.KafkaOffsets`)."""

    def look(
        self,
        hops: Collection[Hop],
        optional: Collection[str] = (),
        before_ends: Callable[[], None] = ...,
    ) -> Look:
        """What groups have committed, and where topics end; raises Busy."""
        ...

    def members(self, groups: Collection[str]) -> Mapping[str, int]:
        """How many members groups have; raises Busy."""
        ...


def _hop(service: str, lane: str) -> Hop:
    topics = PHOTO_SUBMITTED if service == INTAKE else PHOTO_ANALYSIS_REQUESTED
    return Hop(f"darkroom.{service}.{lane}", (topics[lane],))


_SERVICES: Final = (INTAKE, *STAGES)
_HOPS: Final = {
    lane: {service: _hop(service, lane) for service in _SERVICES} for lane in PHOTO_SUBMITTED
}
_RETRIES: Final = {
    lane: {service: retries(service, lane) for service in _SERVICES} for lane in PHOTO_SUBMITTED
}


def hops() -> Mapping[tuple[str, str], Hop]:
    """The group and the topic of each stage and lane that is measured."""
    return {(service, lane): hop for lane, hops in _HOPS.items() for service, hop in hops.items()}


class Loads:
    """Measures, and writes what it found into the catalog, whence all replicas of the api door read
    whether they may take more in."""

    def __init__(
        self, outbox: Outbox, offsets: Offsets, limits: Limits, every_s: float = 2.0
    ) -> None:
        self._outbox, self._offsets = outbox, offsets
        self._limits, self._every_s = limits, every_s
        self._lanes = Lanes(_SERVICES, limits)
        self._away = False

    def work(self, conn: Conn, stop: threading.Event) -> None:
        """Measure until `stop`; an absent broker is waited for. Raises psycopg.Error."""
        self._lanes = Lanes(_SERVICES, self._limits)
        try:
            while not stop.is_set():
                self._try(conn)
                stop.wait(self._every_s)
        finally:
            for gauge in _SHOWN:
                gauge.clear()

    def _try(self, conn: Conn) -> None:
        try:
            self.turn(conn)
        except Busy as error:
            if not self._away:
                _log.warning("load_unknown", reason=str(error))
            self._away = True
        else:
            self._away = False

    def turn(self, conn: Conn) -> list[LaneLoad]:
        """One look. Raises Busy if the broker does not answer."""
        hops = [hop for lane in _HOPS.values() for hop in lane.values()]
        again = {hop for lane in _RETRIES.values() for path in lane.values() for hop in path}
        optional = [topic for hop in again for topic in hop.topics]
        counted: list[tuple[datetime, Mapping[str, int]]] = []
        # What leaves the outbox after it was counted, and lies in a topic when that's end is asked
        # for, counts twice: so one right after the other.
        look = self._offsets.look(
            [*hops, *again],
            optional,
            before_ends=lambda: counted.append((loads.clock(conn), loads.waiting(conn))),
        )
        ((measured_at, outbox),) = counted
        busy = [hop.group for hop in hops if look.behind(hop)]
        members = self._offsets.members(busy)
        now = time.monotonic()
        waits = {lane: _waiting_again(look, lane) for lane in _HOPS}
        with conn.transaction():
            # Under a lock: an api door closes a lane that has filled up since it was measured.
            self._lanes.restore(loads.hold_states(conn))
            found = [
                self._lanes.saw(
                    now,
                    lane,
                    outbox.get(lane, 0),
                    {name: _progress(look, hop, members) for name, hop in services.items()},
                )
                for lane, services in _HOPS.items()
            ]
            loads.record(conn, self._outbox, found, waits, measured_at, self._limits)
        for load in found:
            _show(load)
        return found


def _progress(look: Look, hop: Hop, members: Mapping[str, int]) -> Progress:
    behind = look.behind(hop)
    return Progress(behind, look.done(hop), members[hop.group] if behind else None)


def _waiting_again(look: Look, lane: str) -> dict[str, int]:
    waits = {
        service: sum(look.behind(hop) for hop in path) for service, path in _RETRIES[lane].items()
    }
    return {service: records for service, records in waits.items() if records}


_SHOWN: Final = (
    metrics.LANE_LOAD,
    metrics.LANE_STATE,
    metrics.STAGE_WAITING,
    metrics.STAGE_DONE_RATE,
    metrics.STAGE_OLDEST,
)


def _show(load: LaneLoad) -> None:
    metrics.LANE_LOAD.labels(load.lane).set(load.records)
    metrics.LANE_STATE.labels(load.lane).set(load.state.number)
    for stage in load.stages:
        metrics.STAGE_WAITING.labels(stage.name, load.lane).set(stage.records)
        metrics.STAGE_DONE_RATE.labels(stage.name, load.lane).set(stage.per_s)
        metrics.STAGE_OLDEST.labels(stage.name, load.lane).set(stage.oldest_s)
