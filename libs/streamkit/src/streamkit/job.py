"""What a worker is for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from streamkit.messages import Handlers

HIGH: Final = "high"
"""The lane of work that a person waits for: it has an engine of its own, and goes first."""


def group_of(service: str, lane: str) -> str:
    """The consumer group that works on a service's lane, without the prefix."""
    return f"darkroom.{service}.{lane}"


@dataclass(frozen=True, slots=True)
class Lane:
    """Topics that are worked on with one priority; names without the prefix.

    `concurrency` bounds the lane's records that engines hold at a time (0: no bound of its own).
    `ordered` keeps records of one key in order: one at a time, and its successors wait while it is
    retried, which then happens inside the worker instead of by retry topics.
    """

    name: str
    topics: tuple[str, ...]
    concurrency: int = 0
    ordered: bool = False


def lanes_of(topics: Mapping[str, str]) -> tuple[Lane, ...]:
    """A lane for each name and its topic, in their order."""
    return tuple(Lane(name, (topic,)) for name, topic in topics.items())


@dataclass(frozen=True, slots=True)
class Batching:
    """Micro-batches: closed at `largest` records, after `wait_ms`, or at a predicted `budget_ms`;
    a record of the lane `high` closes one at once."""

    largest: int = 32
    wait_ms: float = 20.0
    budget_ms: float = 500.0


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker does.

    `lanes` in order of priority. `handlers` builds what does the work; with `isolation` "process"
    it is called in engine processes, and has to be picklable (a function of a module, or a partial
    of one); with "thread" in a thread of the worker's own. `preload` names modules that engine
    processes share (imported once). `dead_letters` is the topic of what is given up.
    `keys` says by topic what log lines call the parts of its keys (see `name_keys`); records of
    topics whose keys are one id have a line each.
    """

    service: str
    version: str
    lanes: tuple[Lane, ...]
    handlers: Callable[[], Handlers]
    dead_letters: str
    isolation: Literal["process", "thread"] = "process"
    batching: Batching | None = None
    preload: tuple[str, ...] = ()
    keys: Mapping[str, str] = field(default_factory=dict)
