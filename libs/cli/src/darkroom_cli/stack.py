"""A local stack as a Python object: for the commands, the demo and the tests.

It runs in a supervisor process of its own (`run_stack`); this side starts it, reads its
state file and asks it to stop.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from darkroom_cli.errors import StackError
from darkroom_cli.infra.services import INFRASTRUCTURE, SERVICES
from darkroom_cli.paths import DataFolder
from darkroom_cli.plan import Wishes, service_environment
from darkroom_cli.provision import provide
from darkroom_cli.run_stack import LOCKED, end_left_over, held
from darkroom_cli.supervision.identity import is_alive, kill_tree
from darkroom_cli.supervision.logreader import last_lines
from darkroom_cli.supervision.memory import MemoryPeaks
from darkroom_cli.supervision.state import Phase, StackPhase, StackState, read_state

__all__ = ["INFRASTRUCTURE", "SERVICES", "Stack"]

_POLL = 0.05
_STOP_DEADLINE = 40.0

Progress = Callable[[str], None]


def _silent(_: str) -> None:
    return None


class Stack:
    """One local stack in one data folder.

    `services`: names out of SERVICES; None means all, () infrastructure only (no topics,
    schemas or tables are applied then). `infrastructure`: names out of INFRASTRUCTURE.
    `extras`: what else shall run, out of EXTRAS.
    `env`: settings for all programs of ours, `process_env` for one by its name.
    `api_port`: tried first for the gateway's page. As a context manager it starts and stops.

    Raises DarkroomError (SetupError, StackError) with cause and cure. Methods block.
    """

    def __init__(
        self,
        data: Path,
        services: Sequence[str] | None = None,
        *,
        infrastructure: Sequence[str] = INFRASTRUCTURE,
        env: Mapping[str, str] | None = None,
        process_env: Mapping[str, Mapping[str, str]] | None = None,
        api_port: int | None = None,
        extras: Sequence[str] = (),
    ) -> None:
        self.data = DataFolder(data.resolve())
        self._wishes = Wishes(
            data=self.data.root,
            infrastructure=tuple(infrastructure),
            services=tuple(SERVICES if services is None else services),
            extras=tuple(dict.fromkeys(extras)),
            env=dict(env or {}),
            process_env={name: dict(own) for name, own in (process_env or {}).items()},
            api_port=api_port,
        )
        self._wishes.check()
        self._supervisor: subprocess.Popen[bytes] | None = None

    # -- life

    def start(
        self, *, progress: Progress = _silent, timeout: float = 300.0, detach: bool = False
    ) -> StackState:
        """Start everything and wait until all is ready; the state it is in then.

        Unless detached, the stack stops when this process ends, however it ends. Raises
        StackError when the folder's stack is up already, when a program fails (all is
        stopped again, its last log lines are in the message) or the time is over.
        """
        progress("looking for the programs")
        provide(progress, self._wishes.extras)
        self.data.create()
        self._supervisor = self._launch(detach)
        try:
            return self._wait_ready(progress, time.monotonic() + timeout)
        except BaseException:
            self._abandon()
            raise

    def stop(self, timeout: float = _STOP_DEADLINE) -> None:
        """Stop everything in reverse order and end what is left; no error if nothing runs."""
        state = self.state()
        if state and is_alive(state.supervisor_pid, state.supervisor_birth):
            with contextlib.suppress(ProcessLookupError):
                os.kill(state.supervisor_pid, signal.SIGTERM)
            self._wait_gone(state, time.monotonic() + timeout)
        if self._supervisor:
            self._let_go(self._supervisor)
            self._supervisor = None
        if self.data.run.is_dir():
            with held(self.data) as mine:
                if mine:  # else somebody has started it again
                    end_left_over(self.data)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # -- what is known about it

    def state(self) -> StackState | None:
        """What the supervisor last wrote; None before the first start."""
        return read_state(self.data.state_file)

    @property
    def running(self) -> bool:
        """Whether a supervisor runs for this data folder."""
        state = self.state()
        return state is not None and is_alive(state.supervisor_pid, state.supervisor_birth)

    @property
    def addresses(self) -> dict[str, str]:
        """kafka (host:port), registry, database, redis, objects, api, and extras (URLs), as far as
        asked for.

        Holds passwords.
        """
        return self._require().addresses

    def address(self, name: str) -> str:
        """One of `addresses`. Raises StackError if it is not up."""
        known = self.addresses if self.running else {}
        if name not in known:
            raise StackError("Darkroom is not up.", "Start it with ./darkroom up --detach.")
        return known[name]

    @property
    def environment(self) -> dict[str, str]:
        """The DARKROOM_ settings with which a program of ours finds this stack, what of it runs."""
        known = dict.fromkeys(("kafka", "registry", "database", "redis", "objects"), "")
        found = service_environment(self.data, {**known, **self.addresses})
        return {**{name: value for name, value in found.items() if value}, **self._wishes.env}

    def lacking(self) -> list[str]:
        """Those of the extras that were wished for and do not run in the stack that is up."""
        there = {process.name for process in self._require().processes}
        return [name for name in self._wishes.extras if name not in there]

    def pid(self, name: str) -> int:
        """The process id of a program now. Raises StackError while it has none."""
        for process in self._require().processes:
            if process.name == name and process.pid:
                return process.pid
        raise StackError(f"{name} does not run now.", "See ./darkroom status.")

    def pids(self) -> dict[str, int]:
        """Process id by name of what runs now, the supervisor among them."""
        state = self._require()
        found = {process.name: process.pid for process in state.processes if process.pid}
        return {**found, "supervisor": state.supervisor_pid}

    def memory_peaks(self) -> MemoryPeaks:
        """A context manager that samples the memory of every program (MB by name)."""
        return MemoryPeaks(self.pids)

    def log(self, name: str, lines: int = 20) -> list[str]:
        """The last lines of a program's log."""
        return last_lines(self.data.log_file(name), lines)

    def wait_ready(self, timeout: float) -> StackState:
        """Wait until a stack that runs is ready (another process may have started it).

        Raises StackError when it is not after `timeout` seconds.
        """
        return self.wait_until(lambda state: state.all_ready, timeout, "the stack is ready")

    def wait_until(
        self, condition: Callable[[StackState], bool], timeout: float, what: str
    ) -> StackState:
        """Poll the state until the condition holds. Raises StackError after `timeout` s."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            state = self.state()
            if state and condition(state):
                return state
            time.sleep(_POLL)
        raise StackError(f"{what}: did not happen within {timeout:g} s.")

    # -- inside

    def _require(self) -> StackState:
        state = self.state()
        if state is None:
            raise StackError("The stack is not up.", "Start it with ./darkroom up.")
        return state

    def _launch(self, detach: bool) -> subprocess.Popen[bytes]:
        wishes = self._wishes.model_copy(update={"leashed": not detach})
        with self.data.log_file("supervisor").open("ab") as log:
            supervisor = subprocess.Popen(
                (sys.executable, "-m", "darkroom_cli.run_stack"),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if supervisor.stdin:
            supervisor.stdin.write(wishes.model_dump_json().encode() + b"\n")
            supervisor.stdin.flush()
            if detach:
                supervisor.stdin.close()
        return supervisor

    def _wait_ready(self, progress: Progress, deadline: float) -> StackState:
        said = ""
        while time.monotonic() < deadline:
            state = self._own_state()
            if state and state.phase is StackPhase.READY:
                return state
            if self._supervisor and self._supervisor.poll() is not None:
                raise self._start_error(self._supervisor.returncode)
            line = _waiting_for(state) if state else "starting the supervisor"
            if line != said:
                progress(line)
                said = line
            time.sleep(_POLL)
        raise StackError(f"Not ready in time; {said}.", f"See the logs in {self.data.logs}.")

    def _abandon(self) -> None:
        """Stop what this object started, and never a stack that somebody else did."""
        if self._own_state():
            self.stop()
        elif self._supervisor:
            self._supervisor.terminate()
            self._let_go(self._supervisor)
            self._supervisor = None

    def _own_state(self) -> StackState | None:
        """The state, unless another supervisor wrote it."""
        state = self.state()
        mine = self._supervisor and state and state.supervisor_pid == self._supervisor.pid
        return state if mine else None

    def _start_error(self, code: int) -> StackError:
        if code == LOCKED:
            return StackError(
                f"The stack in {self.data.root} is already up.", "Stop it with ./darkroom down."
            )
        state = self._own_state()
        name = state.failure.process if state and state.failure else "supervisor"
        reason = state.failure.reason if state and state.failure else f"ended with code {code}"
        tail = "\n".join(f"  {line}" for line in self.log(name, 15))
        return StackError(f"{name}: {reason}", f"Last lines of its log:\n{tail}" if tail else "")

    def _wait_gone(self, state: StackState, deadline: float) -> None:
        while is_alive(state.supervisor_pid, state.supervisor_birth):
            if self._supervisor:
                self._supervisor.poll()
            if time.monotonic() > deadline:
                kill_tree(state.supervisor_pid)
                return
            time.sleep(_POLL)

    def _let_go(self, supervisor: subprocess.Popen[bytes]) -> None:
        if supervisor.stdin and not supervisor.stdin.closed:
            supervisor.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            supervisor.wait(timeout=_STOP_DEADLINE)


def _waiting_for(state: StackState) -> str:
    """One line about what a start is waiting for."""
    done = [p for p in state.processes if p.phase in (Phase.READY, Phase.DONE)]
    busy = [p.name for p in state.processes if p.phase in (Phase.STARTING, Phase.BACKOFF)]
    return f"{len(done)} of {len(state.processes)} ready; starting {', '.join(busy) or '…'}"
