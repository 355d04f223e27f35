"""What goes to an engine and what comes back: plain tuples, cheap to send to another process."""

from typing import Literal, NamedTuple

from streamkit.messages import Failure
from streamkit.records import RawRecord, Taken


class Work(NamedTuple):
    """One record to handle.

    `id` is unique within the worker. `record` has the topic that its handler is for, also when it
    came by way of a retry topic. `attempt` counts from 1. `failure` None: handle it; else: say
    what is to be said as it is given up (GiveUp).
    """

    id: int
    lane: str
    attempt: int
    record: Taken
    failure: Failure | None = None


Kind = Literal["done", "retry", "reject", "busy", "memory", "deadline", "returned", "defect"]
"""done: `events` are to be published. retry, reject, busy: as the instruction of that name.
memory: OutOfMemory. deadline: the soft deadline passed. returned: not begun, or given back at a
slice (recall). defect: any other exception; `message` is the traceback."""


class Result(NamedTuple):
    """What became of one piece of work; `ms` is its time (its share, in a micro-batch)."""

    id: int
    kind: Kind
    ms: float
    events: tuple[RawRecord, ...] = ()
    code: str = ""
    message: str = ""
    dependency: str = ""
