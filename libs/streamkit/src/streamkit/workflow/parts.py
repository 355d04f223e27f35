"""What a join waits for, and what it decides on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from streamkit.workflow.branches import Value

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Joined:
    """What an outcome is a function of: a revision's parts, and failures instead of the others.

    Both by name, in the order of names.
    """

    key: str
    identity: str
    revision: int
    parts: Mapping[str, Any]
    failed: Mapping[str, Any]

    @property
    def partial(self) -> bool:
        """Whether a part is missing."""
        return bool(self.failed)


def everything(value: Value) -> Any:
    """Keep all of an event; moments become milliseconds since 1970."""
    return {name: _plain(item) for name, item in value.items()}


@dataclass(frozen=True, slots=True)
class Part:
    """Something that a join waits for: an event of `topic`.

    `keep` gives what the state keeps of it, as JSON: the less, the better. `each` makes it many
    (as many as `Join.expects` says): it gives an event's member of them, and the part's name is
    NAME/MEMBER.
    """

    name: str
    topic: str
    keep: Callable[[Value], Any] = everything
    each: Callable[[Value], object] | None = None


@dataclass(frozen=True, slots=True)
class Failures:
    """A topic whose events say that a stage gave up: `part` gives the name of what won't come."""

    topic: str
    part: Callable[[Value], str]
    keep: Callable[[Value], Any] = everything


@dataclass(frozen=True, slots=True)
class Expiry:
    """Bounds how long states are kept: whatever has not changed for `after_s` ends.

    Time is an input like any other: events of `topic`, keyed as the parts are, with the moment as
    `occurred_at` (TICK_SCHEMA). What runs the join publishes them for keys that are due. At the
    first tick after its time a join without outcome ends without the parts that are missing, at
    the next one it is forgotten. `after_s` must be longer than topics keep their records: a part
    that is read again after its state was forgotten begins anew.
    """

    topic: str
    after_s: float


EXPIRED: Final = "expired"
"""`code` of the failure of a part that was not there in time."""

TICK_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "record",
    "name": "Tick",
    "namespace": "streamkit",
    "doc": "So late it is, for this key.",
    "fields": [
        {
            "name": "occurred_at",
            "type": {"type": "long", "logicalType": "timestamp-millis"},
            "doc": "The moment.",
        }
    ],
}

Source = Part | Failures | Expiry


def _plain(item: Any) -> Any:
    if isinstance(item, datetime):
        return to_ms(item)
    if isinstance(item, Mapping):
        return everything(item)
    if isinstance(item, (list, tuple)):
        return [_plain(one) for one in item]
    return item


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return round((moment - _EPOCH).total_seconds() * 1000)
