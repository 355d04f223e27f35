"""What the supervisor is told about a program."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class NotReadyError(Exception):
    """The program does not answer yet; the message says what is missing. Asked again soon."""


class WrongPeerError(Exception):
    """Something else answers at the program's address. Waiting does not help."""


Probe = Callable[[], None]
"""Called on a worker thread: returns when the program is ready, else raises NotReadyError.

May block for a few seconds. WrongPeerError fails the whole start.
"""


class Kind(StrEnum):
    """Daemons stay up and are started again; steps run once and must exit with 0."""

    DAEMON = "daemon"
    STEP = "step"


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One program of a stack.

    `after` names what must be ready (a daemon) or done (a step) before it starts; stopping
    goes the other way round. `prepare` runs in the supervisor just before each start.
    Times are seconds: `start_deadline` from the first start to ready or done with all
    attempts, `stop_deadline` from the stop signal to SIGKILL, `watch_every` between probes
    of a ready daemon (0: never). `orphan_signal` is what the kernel sends when the
    supervisor dies (Linux). `nice`: by how much more than the supervisor it yields the CPU to
    others. `realtime`: it goes before all others whenever it has something to do (Linux), as far
    as the supervisor may decide that.
    """

    name: str
    argv: tuple[str, ...]
    kind: Kind = Kind.DAEMON
    after: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None
    probe: Probe | None = None
    prepare: Callable[[], None] | None = None
    start_deadline: float = 120.0
    stop_deadline: float = 10.0
    watch_every: float = 0.0
    attempts: int = 5
    stop_signal: str = "TERM"
    orphan_signal: str = "KILL"
    launch_with: tuple[str, ...] = ()
    nice: int = 0
    realtime: bool = False
