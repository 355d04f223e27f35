"""What an operator sets while workers run: rates, pauses, concurrency, by `ops.control.v1`.

The topic is compacted: the last record of a target is what holds for it, one without a value takes
everything back. Every worker reads it to its end before it starts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import structlog

from streamkit.clock import Clock
from streamkit.errors import Reject
from streamkit.kafka.follower import Follower
from streamkit.rate import parse_rate

_log = structlog.get_logger("streamkit.control")

TOPIC: Final = "ops.control.v1"


@dataclass(frozen=True, slots=True)
class Control:
    """What is set for a target, a `service` or a `service/lane`; without more, nothing is.

    `rate` as parse_rate reads it. `paused_until` in seconds since 1970, None: until it is taken
    back. `concurrency` bounds the lane's records that engines hold at a time. `owner` and `reason`
    say to the next person who did it and why.
    """

    target: str
    rate: str | None = None
    paused: bool = False
    paused_until: float | None = None
    concurrency: int | None = None
    owner: str = ""
    reason: str = ""

    def pauses(self, now_s: float) -> bool:
        """Whether it holds work back at that moment (seconds since 1970)."""
        return self.paused and (self.paused_until is None or now_s < self.paused_until)


def control_of(value: Mapping[str, Any]) -> Control:
    """The Control that an event of the topic says; raises ValueError if it makes no sense."""
    rate, concurrency, until = value["rate"], value["concurrency"], value["paused_until"]
    if rate is not None:
        parse_rate(rate)
    if concurrency is not None and concurrency < 1:
        raise ValueError(f"a concurrency of {concurrency} does no work: pause the lane instead")
    return Control(
        target=value["target"],
        rate=rate,
        paused=value["paused"],
        paused_until=until.timestamp() if isinstance(until, datetime) else until,
        concurrency=concurrency,
        owner=value["owner"],
        reason=value["reason"],
    )


class Controls:
    """The last Control of every target, and what that means for a lane. No I/O."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._latest: dict[str, Control] = {}

    def set(self, control: Control) -> None:
        """From now on this holds for its target."""
        self._latest[control.target] = control

    def for_lane(self, service: str, lane: str) -> Control:
        """What holds now for a lane.

        It is paused if it or its service is, until the later end. Of rate and concurrency its own
        is taken before its service's.
        """
        own, all_lanes = self._both(service, lane)
        now = self._clock.time()
        pausing = [one for one in (own, all_lanes) if one.pauses(now)]
        ends = [one.paused_until for one in pausing]
        known = [end for end in ends if end is not None]
        said = pausing[0] if pausing else own
        return replace(
            said,
            target=own.target,
            rate=all_lanes.rate if own.rate is None else own.rate,
            paused=bool(pausing),
            paused_until=max(known) if known and len(known) == len(ends) else None,
            concurrency=all_lanes.concurrency if own.concurrency is None else own.concurrency,
        )

    def rated(self, service: str, lane: str) -> tuple[str, str] | None:
        """The target whose bucket a lane takes its tokens from, and its rate; None: no limit.

        A lane with a rate of its own doesn't take from its service's.
        """
        for one in self._both(service, lane):
            if one.rate is not None:
                return one.target, one.rate
        return None

    def _both(self, service: str, lane: str) -> tuple[Control, Control]:
        own = f"{service}/{lane}"
        return (
            self._latest.get(own, Control(own)),
            self._latest.get(service, Control(service)),
        )


Decode = Callable[[str, bytes | None], Mapping[str, Any]]
"""See Codec.decode: by topic; raises Reject, Busy."""

_NO_OPTIONS: Final[Mapping[str, Any]] = {}


class ControlReader:
    """Reads the topic to its end, then follows it, in a thread; outside of any group.

    `changed` is called in that thread for every Control, in order, also for those that were there
    before. `service` leaves those of other services out; `options` are further settings of
    librdkafka's, such as security.*. What can't be read is logged and passed
    over: nobody's slip may stop a worker.
    """

    def __init__(
        self,
        kafka: str,
        service: str,
        decode: Decode,
        changed: Callable[[Control], None],
        *,
        prefix: str = "",
        options: Mapping[str, Any] = _NO_OPTIONS,
    ) -> None:
        self._service = service
        self._decode = decode
        self._changed = changed
        self._follower = Follower(
            kafka, prefix + TOPIC, self._tell, name="control", options=options
        )

    @property
    def ready(self) -> bool:
        """Whether everything that stood there at the start has been told."""
        return self._follower.ready

    def start(self, timeout_s: float = 10.0) -> bool:
        """Begin, and wait until ready, but no longer; whether it is.

        If it isn't, a warning says why; the worker may start, and what is set reaches it as soon
        as it can be read.
        """
        if self._follower.start(timeout_s):
            return True
        topic, why = self._follower.topic, self._follower.trouble or "no answer yet"
        _log.warning("control_unknown", topic=topic, reason=why)
        return False

    def close(self) -> None:
        """Stop following."""
        self._follower.close()

    def _tell(self, key: bytes | None, value: bytes | None) -> None:
        """Raises Busy while the registry is needed and away."""
        target = (key or b"").decode("utf-8", "replace")
        if target.partition("/")[0] != self._service:
            return
        try:
            control = self._read(target, value)
        except (Reject, ValueError, KeyError, TypeError) as error:
            _log.error("control_unreadable", target=target, reason=str(error))
            return
        _log.info("control", target=target, **_said(control))
        self._changed(control)

    def _read(self, target: str, value: bytes | None) -> Control:
        if value is None:
            return Control(target)
        control = control_of(self._decode(TOPIC, value))
        if control.target != target:
            raise ValueError(f"its key says {target}, its value {control.target}")
        return control


def _said(control: Control) -> Mapping[str, Any]:
    about = {
        "rate": control.rate,
        "paused": control.paused,
        "paused_until": control.paused_until,
        "concurrency": control.concurrency,
        "owner": control.owner,
        "reason": control.reason,
    }
    return {name: value for name, value in about.items() if value not in (None, "", False)}
