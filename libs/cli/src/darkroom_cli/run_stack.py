"""The supervisor's process: `python -m darkroom_cli.run_stack`, wishes as JSON on stdin.

Started by `Stack`. Standard input stays open for as long as the owner of a leashed stack
lives; its end stops the stack.
"""

import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from darkroom_cli.errors import DarkroomError
from darkroom_cli.paths import DataFolder
from darkroom_cli.plan import Wishes, make_plan
from darkroom_cli.provision import provide
from darkroom_cli.settings import CliSettings
from darkroom_cli.supervision.identity import birth_of, kill_left_over
from darkroom_cli.supervision.sharing import yield_session
from darkroom_cli.supervision.state import (
    Failure,
    StackPhase,
    StackState,
    read_state,
    write_state,
)
from darkroom_cli.supervision.supervisor import Supervisor

LOCKED = 3
"""Exit code when another supervisor holds the data folder."""


def main() -> int:
    """Run a stack until it is told to stop; the exit code of the process."""
    wishes = Wishes.model_validate_json(sys.stdin.buffer.readline())
    data = DataFolder(wishes.data)
    with held(data) as mine:
        if not mine:
            return LOCKED
        end_left_over(data)
        try:
            return _supervise(data, wishes)
        except DarkroomError as error:
            _report_failure(data, str(error))
            return 1


@contextmanager
def held(data: DataFolder) -> Iterator[bool]:
    """Hold the data folder, which a supervisor does for its whole life; False if another has it."""
    with data.lock_file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def end_left_over(data: DataFolder) -> list[int]:
    """End what an earlier supervisor of this data folder left running; call with its lock."""
    state = read_state(data.state_file)
    if state is None:
        return []
    return kill_left_over((process.pid, process.birth) for process in state.processes)


def _supervise(data: DataFolder, wishes: Wishes) -> int:
    tell = lambda line: print(line, flush=True)  # noqa: E731, T201 - its log
    yield_session(CliSettings().service_nice)
    plan = make_plan(wishes, provide(tell, wishes.extras))
    supervisor = Supervisor(
        plan.specs,
        data.logs,
        lambda state: write_state(data.state_file, state),
        addresses=plan.addresses,
        leash=sys.stdin.fileno() if wishes.leashed else None,
    )
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: supervisor.request_stop())
    return supervisor.run()


def _report_failure(data: DataFolder, reason: str) -> None:
    state = StackState(
        phase=StackPhase.FAILED,
        supervisor_pid=os.getpid(),
        supervisor_birth=birth_of(os.getpid()),
        started_at=time.time(),
        failure=Failure(process="supervisor", reason=reason),
    )
    write_state(data.state_file, state)


if __name__ == "__main__":
    sys.exit(main())
