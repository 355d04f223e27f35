"""Runs a set of programs: in order, watched, restarted, and stopped in the opposite order."""

import errno
import os
import selectors
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from darkroom_cli.settings import CliSettings
from darkroom_cli.supervision.backoff import Backoff
from darkroom_cli.supervision.child import Child
from darkroom_cli.supervision.identity import birth_of
from darkroom_cli.supervision.logfile import LogFile
from darkroom_cli.supervision.spec import ProcessSpec
from darkroom_cli.supervision.state import Failure, Phase, StackPhase, StackState

_TICK = 0.05
_QUIET_TICK = 0.2  # once everything runs


class Supervisor:
    """Owns the programs of one stack.

    `run` blocks in the main thread (programs die with the thread that started them) until
    `request_stop` was called, which is safe in a signal handler, or the start failed; it
    returns the process's exit code. `publish` gets the state at every change. `leash` is a
    descriptor whose end of file means that the owner has gone: the stack stops.
    """

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        logs: Path,
        publish: Callable[[StackState], None],
        *,
        environment: Mapping[str, str] | None = None,
        addresses: Mapping[str, str] | None = None,
        backoff: Backoff | None = None,
        leash: int | None = None,
    ) -> None:
        self._publish = publish
        self._environment = dict(os.environ if environment is None else environment)
        self._addresses = dict(addresses or {})
        self._probes = ThreadPoolExecutor(8, thread_name_prefix="probe")
        policy = backoff or Backoff()
        self._children = {
            spec.name: Child(spec, _log_file(logs / f"{spec.name}.log"), self._probes, policy)
            for spec in specs
        }
        self._dependents = _dependents(specs)
        self._selector = selectors.DefaultSelector()
        self._watched: dict[int, Child] = {}
        self._leash = leash
        self._phase = StackPhase.STARTING
        self._failure: Failure | None = None
        self._started_at = time.time()
        self._began = time.monotonic()
        self._ready_s: float | None = None
        self._stops_wanted = 0
        self._published: StackState | None = None

    def request_stop(self) -> None:
        """Stop everything in order; a second call kills what is left."""
        self._stops_wanted += 1

    def run(self) -> int:
        """See the class. 0 after a stop that was asked for, 1 after a failed start."""
        if self._leash is not None:
            self._selector.register(self._leash, selectors.EVENT_READ)
        try:
            while not self._over():
                self._step()
        finally:
            for child in self._children.values():
                child.kill()
                child.close()
            self._probes.shutdown(wait=False, cancel_futures=True)
        self._phase = StackPhase.FAILED if self._failure else StackPhase.STOPPED
        self._announce()
        return 1 if self._failure else 0

    def _step(self) -> None:
        self._collect_output()
        now = time.monotonic()
        for child in self._children.values():
            child.advance(now, self._environment)
        if self._stops_wanted or self._failure:
            self._stop_some(now)
        else:
            self._start_some(now)
        self._watch_outputs()
        self._judge(now)
        self._announce()

    def _collect_output(self) -> None:
        tick = _QUIET_TICK if self._phase is StackPhase.READY else _TICK
        for key, _ in self._selector.select(tick):
            if key.fd == self._leash:
                self._read_leash()
            elif key.fd in self._watched:
                self._watched[key.fd].pump()

    def _read_leash(self) -> None:
        if self._leash is not None and not os.read(self._leash, 4096):
            self._selector.unregister(self._leash)
            self._leash = None
            self.request_stop()

    def _watch_outputs(self) -> None:
        current = {
            descriptor: child
            for child in self._children.values()
            if (descriptor := child.output()) is not None
        }
        for gone in self._watched.keys() - current.keys():
            self._selector.unregister(gone)
        for descriptor, child in current.items():
            if self._watched.get(descriptor) is child:
                continue
            if descriptor in self._watched:
                self._selector.unregister(descriptor)
            self._selector.register(descriptor, selectors.EVENT_READ)
        self._watched = current

    def _start_some(self, now: float) -> None:
        for child in self._children.values():
            earlier = (self._children[name] for name in child.spec.after if name in self._children)
            if child.phase is Phase.WAITING and all(other.finished for other in earlier):
                child.start(now, self._environment)

    def _stop_some(self, now: float) -> None:
        self._phase = StackPhase.STOPPING
        for name, child in self._children.items():
            if self._stops_wanted > 1:
                child.kill()
            if not any(self._children[later].running for later in self._dependents[name]):
                child.stop(now)

    def _judge(self, now: float) -> None:
        if self._phase is not StackPhase.STARTING:
            return
        for child in self._children.values():
            if child.phase is Phase.FAILED:
                self._failure = Failure(process=child.spec.name, reason=child.reason)
                return
        if all(child.finished for child in self._children.values()):
            self._phase = StackPhase.READY
            self._ready_s = round(now - self._began, 2)

    def _over(self) -> bool:
        stopping = bool(self._stops_wanted or self._failure)
        return stopping and not any(
            child.running or child.phase in (Phase.WAITING, Phase.BACKOFF)
            for child in self._children.values()
        )

    def _announce(self) -> None:
        state = StackState(
            phase=self._phase,
            supervisor_pid=os.getpid(),
            supervisor_birth=birth_of(os.getpid()),
            started_at=self._started_at,
            ready_s=self._ready_s,
            failure=self._failure,
            addresses=self._addresses,
            processes=tuple(child.state for child in self._children.values()),
        )
        if state == self._published:
            return
        try:
            self._publish(state)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            return  # a full disk ends no program; it is told at a later step
        self._published = state


def _log_file(path: Path) -> LogFile:
    settings = CliSettings()
    return LogFile(path, limit=settings.log_bytes, copies=settings.log_files)


def _dependents(specs: Sequence[ProcessSpec]) -> dict[str, set[str]]:
    """Every program that directly or indirectly comes after the key."""
    direct = {spec.name: {s.name for s in specs if spec.name in s.after} for spec in specs}
    closed: dict[str, set[str]] = {}
    for name, nearest in direct.items():
        reached: set[str] = set()
        frontier = set(nearest)
        while frontier:
            reached |= frontier
            frontier = {n for f in frontier for n in direct[f]} - reached
        closed[name] = reached
    return closed
