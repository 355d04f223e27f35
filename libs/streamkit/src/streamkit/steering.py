"""Lanes as somebody, or the settings, want them: paused, bounded, at a rate."""

from collections.abc import Mapping

import structlog

from streamkit.control import Control, Controls
from streamkit.items import LaneState
from streamkit.outside import Outside
from streamkit.rate import Bucket, parse_rate

_log = structlog.get_logger("streamkit.steering")


class Steering:
    """Applies the latest Control of each target to the lanes of a service. Not thread-safe."""

    def __init__(
        self, service: str, rate: str, lanes: Mapping[str, LaneState], outside: Outside
    ) -> None:
        self._service = service
        self._rate = rate
        self._lanes = lanes
        self._outside = outside
        self._meter = outside.meter
        self._controls = Controls(outside.clock)
        self._buckets: dict[str, tuple[str, Bucket]] = {}

    def set(self, control: Control) -> None:
        """Somebody has set something."""
        lane = control.target.partition("/")[2]
        if lane and lane not in self._lanes:
            known = ", ".join(self._lanes)
            _log.warning("control_for_no_lane", target=control.target, lanes=known)
        self._controls.set(control)
        self.apply()

    def apply(self) -> None:
        """Have it hold for the lanes. To be called every second: a pause may end by itself."""
        used: set[str] = set()
        for name, lane in self._lanes.items():
            wanted = self._controls.for_lane(self._service, name)
            if wanted.paused and not lane.paused:
                _log.warning("lane_paused", lane=name, owner=wanted.owner, reason=wanted.reason)
            elif lane.paused and not wanted.paused:
                _log.info("lane_resumed", lane=name)
            lane.paused = wanted.paused
            limits = [one for one in (lane.lane.concurrency, wanted.concurrency) if one]
            lane.limit = min(limits, default=0)
            lane.bucket, lane.per_s = None, 0.0
            rated = self._controls.rated(self._service, name) or self._rated_by_settings()
            if rated is not None:
                lane.bucket, lane.per_s = self._bucket(*rated), parse_rate(rated[1]).per_s
                used.add(rated[0])
            self._meter.paused(name, lane.paused)
            self._meter.concurrency(name, lane.limit)
            self._meter.rate(name, lane.per_s)
        for target in self._buckets.keys() - used:
            self._buckets.pop(target)[1].close()

    def close(self) -> None:
        """Let go of all buckets."""
        for _, bucket in self._buckets.values():
            bucket.close()

    def _rated_by_settings(self) -> tuple[str, str] | None:
        return (self._service, self._rate) if self._rate else None

    def _bucket(self, target: str, rate: str) -> Bucket:
        known = self._buckets.get(target)
        if known is None:
            bucket = self._outside.bucket(target, rate)
        else:
            bucket = known[1]
            if known[0] != rate:
                bucket.change(parse_rate(rate))
        self._buckets[target] = (rate, bucket)
        return bucket
