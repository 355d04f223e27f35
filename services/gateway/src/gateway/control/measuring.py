"""Measures, for Prometheus, what no process knows by itself: how far consumer groups have come, and
how much the catalog has of everything."""

import threading
import time
from collections.abc import Collection, Mapping
from typing import Final, Protocol

import structlog

from darkroom_schemas import catalogue
from gateway.catalog.totals import totals
from gateway.control import metrics
from gateway.control.broker_values import broker_values
from gateway.control.lag import Hop, Layout, Look
from gateway.control.loads import hops
from gateway.db import Conn
from gateway.snapshot import Values
from streamkit import Busy

_log = structlog.get_logger("gateway.measuring")

_OURS: Final = "darkroom"
"""How all groups of Darkroom begin."""

_MOST_SHARE: Final = 20
"""Looking takes one part of so many of the time, at most: in a large catalog it is done less
often."""


class Broker(Protocol):
    """What looks at the broker (`lag.KafkaOffsets`); all of it raises Busy."""

    def groups(self, beginning: str) -> Collection[str]: ...

    def layout(self, topics: Collection[str]) -> Layout: ...

    def look(self, hops: Collection[Hop], optional: Collection[str] = ()) -> Look: ...

    def members(self, groups: Collection[str]) -> Mapping[str, int]: ...

    def kept_s(self, topics: Collection[str]) -> Mapping[str, float]: ...


class Measuring:
    """Looks at broker and catalog as long as it leads."""

    def __init__(self, broker: Broker, *, prefix: str = "", every_s: float = 15.0) -> None:
        self._broker = broker
        self._prefix = prefix
        self._every_s = every_s
        self._away = False

    def work(self, conn: Conn, stop: threading.Event) -> None:
        """Measure until `stop`; an absent broker is waited for. Raises psycopg.Error."""
        try:
            while not stop.is_set():
                began = time.monotonic()
                self.turn(conn)
                took = time.monotonic() - began
                stop.wait(max(self._every_s, _MOST_SHARE * took))
        finally:
            metrics.BROKER.forget()
            metrics.CATALOG.forget()
            metrics.MEASURED.clear()

    def turn(self, conn: Conn) -> None:
        """One look. Raises psycopg.Error."""
        metrics.CATALOG.tell(totals(conn))
        metrics.MEASURED.labels("catalog").set_to_current_time()
        try:
            metrics.BROKER.tell(self._seen())
        except Busy as error:
            if not self._away:
                _log.warning("broker_unknown", reason=str(error))
            self._away = True
            metrics.BROKER.forget()
            return
        self._away = False
        metrics.MEASURED.labels("broker").set_to_current_time()

    def _seen(self) -> Mapping[str, Values]:
        """Raises Busy."""
        topics = [topic.name for topic in catalogue.load()]
        layout = self._broker.layout(topics)
        there = tuple({topic for topic, _ in layout.replicas})
        groups = self._broker.groups(_OURS)
        look = self._broker.look([Hop(group, there) for group in groups or (_OURS,)], there)
        members = self._broker.members(groups)
        stages = {place: hop.topics[0] for place, hop in hops().items() if hop.topics[0] in there}
        kept = self._broker.kept_s(sorted(set(stages.values())))
        retention: dict[tuple[str, ...], float] = {
            place: kept[topic] for place, topic in stages.items() if topic in kept
        }
        return {
            **broker_values(layout, look, members, self._prefix),
            "darkroom_stage_retention_seconds": retention,
        }
