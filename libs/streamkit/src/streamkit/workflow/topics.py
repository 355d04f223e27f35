"""The topics of a workflow, and how those are named that belong to a service."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

_ROOM: Final = {"max.message.bytes": str(2 * 1024 * 1024)}
"""For a record of the largest size that a broker takes by default, and what is said of it."""

_CONFIGS: Final[Mapping[str, Mapping[str, str]]] = {
    "events": {},
    "changelog": {"cleanup.policy": "compact"},
    "dead_letters": _ROOM,
    "retries": {"message.timestamp.type": "LogAppendTime", **_ROOM},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic of a workflow, without the prefix.

    `key` says what its keys are. Topics of one `group` have equal keys and partition counts, so
    that a join finds all parts of a thing in the same partition. `producers` and `consumers` are
    the workflow's steps that write and read it.
    """

    name: str
    key: str
    partitions: int
    group: str | None
    kind: Literal["events", "retries", "dead_letters", "changelog"] = "events"
    producers: tuple[str, ...] = ()
    consumers: tuple[str, ...] = ()

    def config(self) -> Mapping[str, str]:
        """What it has to be made with, beside the retention that you want."""
        return _CONFIGS[self.kind]


def dead_letters_of(service: str) -> str:
    """The topic of what a service gives up."""
    return f"darkroom.{service}.dlq"


def application_of(join: str) -> str:
    """The Faust application of a join: its consumer group, and the begin of its changelog."""
    return f"darkroom-{join}"


def changelog_of(join: str) -> str:
    """The topic that a join's states are read back from."""
    return f"{application_of(join)}-joins-changelog"
