"""The supervisor on tiny programs: order, restarts, failures, stopping, orphans."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from darkroom_cli.supervision.backoff import Backoff
from darkroom_cli.supervision.identity import birth_of, is_alive, kill_left_over
from darkroom_cli.supervision.sharing import yield_session
from darkroom_cli.supervision.spec import Kind, NotReadyError, Probe, ProcessSpec, WrongPeerError
from darkroom_cli.supervision.state import Phase, StackPhase, StackState
from darkroom_cli.supervision.supervisor import Supervisor

QUICK = Backoff(first=0.01, limit=0.05)
WAIT = "import signal\nwhile True: signal.pause()"
STUBBORN = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up')\n{WAIT}"


def python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", code, *arguments)


def daemon(name: str, code: str = WAIT, **more: object) -> ProcessSpec:
    return ProcessSpec(name=name, argv=python(code), **more)  # type: ignore[arg-type]


class Running:
    """A supervisor on a thread, and every state it has told."""

    def __init__(self, specs: Sequence[ProcessSpec], logs: Path, leash: int | None = None) -> None:
        self.states: list[StackState] = []
        self.full = False
        self.supervisor = Supervisor(specs, logs, self._told, backoff=QUICK, leash=leash)
        self.code: int | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _told(self, state: StackState) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.states.append(state)

    def _run(self) -> None:
        self.code = self.supervisor.run()

    @property
    def now(self) -> StackState:
        return self.states[-1]

    def until(self, condition: Callable[[StackState], bool], seconds: float = 10.0) -> StackState:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.states and condition(self.now):
                return self.now
            threading.Event().wait(0.01)
        pytest.fail(f"never happened; last state: {self.now if self.states else None}")

    def end(self) -> int:
        self.thread.join(15)
        assert not self.thread.is_alive()
        assert self.code is not None
        return self.code


@contextmanager
def running(
    specs: Sequence[ProcessSpec], logs: Path, leash: int | None = None
) -> Iterator[Running]:
    stack = Running(specs, logs, leash)
    try:
        yield stack
    finally:
        stack.supervisor.request_stop()
        stack.thread.join(15)


def is_ready(state: StackState) -> bool:
    return state.all_ready


def file_exists(path: Path) -> Probe:
    def probe() -> None:
        if not path.exists():
            raise NotReadyError("not there yet")

    return probe


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if birth_of(pid) is None:
            return True
        threading.Event().wait(0.01)
    return False


def test_a_program_starts_only_when_those_before_it_are_ready(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    first = daemon("first", f"open({str(mark)!r}, 'w').close()\n{WAIT}", probe=file_exists(mark))
    step = ProcessSpec("step", python("pass"), kind=Kind.STEP, after=("first",))
    last = daemon("last", after=("step",))
    with running([last, step, first], tmp_path) as stack:
        stack.until(is_ready)
        for state in stack.states:
            phases = {process.name: process.phase for process in state.processes}
            assert phases["step"] is Phase.WAITING or phases["first"] is Phase.READY
            assert phases["last"] is Phase.WAITING or phases["step"] is Phase.DONE


def test_a_killed_program_is_started_again_and_its_restart_is_counted(tmp_path: Path) -> None:
    with running([daemon("worker")], tmp_path) as stack:
        before = stack.until(is_ready).process("worker")
        assert before.pid is not None
        os.kill(before.pid, signal.SIGKILL)
        after = stack.until(lambda s: s.all_ready and s.process("worker").restarts == 1)
        assert after.process("worker").pid != before.pid
    assert "ended with SIGKILL" in (tmp_path / "worker.log").read_text()


def test_a_state_for_which_the_disk_has_no_room_is_told_later(tmp_path: Path) -> None:
    with running([daemon("worker")], tmp_path) as stack:
        before = stack.until(is_ready).process("worker")
        assert before.pid is not None
        stack.full = True
        os.kill(before.pid, signal.SIGKILL)
        while psutil.pid_exists(before.pid):
            threading.Event().wait(0.01)
        assert stack.now.process("worker") == before
        stack.full = False
        stack.until(lambda s: s.all_ready and s.process("worker").restarts == 1)


def test_a_program_that_never_comes_up_fails_the_start_and_all_is_stopped(tmp_path: Path) -> None:
    # Ready only when a file is there that never is: it ends before.
    broken = daemon(
        "broken", "raise SystemExit('no such setting')", probe=file_exists(tmp_path / "never")
    )
    stack = Running([daemon("other"), broken], tmp_path)
    assert stack.end() == 1
    assert stack.now.phase is StackPhase.FAILED
    assert stack.now.failure is not None
    assert stack.now.failure.process == "broken"
    assert stack.now.failure.reason == "ended with exit code 1, 5 times in a row"
    assert stack.now.process("other").phase is Phase.STOPPED
    assert "no such setting" in (tmp_path / "broken.log").read_text()


def test_a_program_that_says_it_will_never_come_up_is_started_once(tmp_path: Path) -> None:
    broken = daemon("broken", "raise SystemExit(78)", probe=file_exists(tmp_path / "never"))
    stack = Running([broken], tmp_path)
    assert stack.end() == 1
    assert stack.now.failure is not None
    assert stack.now.failure.reason == "ended with exit code 78"
    assert (tmp_path / "broken.log").read_text().count("[started") == 1


def test_a_program_that_is_not_ready_in_time_fails_the_start_with_the_reason(
    tmp_path: Path,
) -> None:
    slow = daemon("slow", probe=file_exists(tmp_path / "never"), start_deadline=0.3)
    stack = Running([slow], tmp_path)
    assert stack.end() == 1
    assert stack.now.failure is not None
    assert stack.now.failure.reason == "not ready after 0.3 s: not there yet"


def test_a_stranger_at_the_programs_address_fails_the_start_at_once(tmp_path: Path) -> None:
    def stranger() -> None:
        raise WrongPeerError("another Kafka answers here")

    stack = Running([daemon("kafka", probe=stranger)], tmp_path)
    assert stack.end() == 1
    assert stack.now.failure is not None
    assert stack.now.failure.reason == "another Kafka answers here"


def test_a_step_that_fails_for_a_while_is_repeated_until_it_succeeds(tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    code = (
        f"f = open({str(tries)!r}, 'a'); f.write('x'); f.close()\n"
        f"raise SystemExit(len(open({str(tries)!r}).read()) < 3)"
    )
    step = ProcessSpec("step", python(code), kind=Kind.STEP)
    with running([step], tmp_path) as stack:
        state = stack.until(is_ready)
    assert tries.read_text() == "xxx"
    assert state.process("step").restarts == 2


def test_programs_stop_in_the_opposite_order(tmp_path: Path) -> None:
    order, names = tmp_path / "order", ("base", "middle", "top")
    code = (
        "import signal, sys\n"
        "def end(*_):\n"
        f"    f = open({str(order)!r}, 'a'); f.write(sys.argv[1] + ' '); f.close(); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "open(sys.argv[2], 'w').close()\n"
        "while True: signal.pause()"
    )
    specs = [
        ProcessSpec(
            name,
            python(code, name, str(tmp_path / name)),
            after=names[:index],
            probe=file_exists(tmp_path / name),
        )
        for index, name in enumerate(names)
    ]
    with running(specs, tmp_path) as stack:
        stack.until(is_ready)
        stack.supervisor.request_stop()
        assert stack.end() == 0
    assert order.read_text().split() == ["top", "middle", "base"]
    assert stack.now.phase is StackPhase.STOPPED


def test_a_program_that_ignores_its_stop_signal_is_killed_at_its_deadline(tmp_path: Path) -> None:
    log = tmp_path / "stubborn.log"
    code = STUBBORN.replace("print('up')", "print('up', flush=True)")

    def said_up() -> None:
        if "| up" not in log.read_text():
            raise NotReadyError("silent")

    with running([daemon("stubborn", code, probe=said_up, stop_deadline=0.2)], tmp_path) as stack:
        pid = stack.until(is_ready).process("stubborn").pid
        stack.supervisor.request_stop()
        assert stack.end() == 0
    assert pid is not None
    assert gone(pid)
    assert "did not stop within 0.2 s: killed" in log.read_text()


def test_what_a_program_left_in_its_group_ends_with_it(tmp_path: Path) -> None:
    mark = tmp_path / "child"
    code = (
        "import os, subprocess, sys\n"
        f"p = subprocess.Popen([sys.executable, '-S', '-c', {WAIT!r}])\n"
        f"f = open({str(mark)!r} + '.new', 'w'); f.write(str(p.pid)); f.close()\n"
        f"os.rename({str(mark)!r} + '.new', {str(mark)!r})\n"
        f"{WAIT}"
    )
    with running([daemon("parent", code, probe=file_exists(mark))], tmp_path) as stack:
        stack.until(is_ready)
        child = int(mark.read_text())
        assert birth_of(child) is not None
    assert gone(child)


def test_a_daemon_that_stops_answering_shows_as_unready_until_it_answers_again(
    tmp_path: Path,
) -> None:
    mark = tmp_path / "mark"
    mark.touch()
    spec = daemon("service", probe=file_exists(mark), watch_every=0.02)
    with running([spec], tmp_path) as stack:
        stack.until(is_ready)
        mark.unlink()
        state = stack.until(lambda s: s.process("service").phase is Phase.UNREADY)
        assert not state.all_ready
        mark.touch()
        stack.until(is_ready)
        assert stack.now.process("service").restarts == 0


def test_the_stack_stops_when_its_owners_end_of_the_leash_closes(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    with running([daemon("worker")], tmp_path, leash=read_end) as stack:
        stack.until(is_ready)
        os.close(write_end)
        assert stack.end() == 0
    os.close(read_end)
    assert stack.now.phase is StackPhase.STOPPED


@pytest.mark.parametrize("signal_name", ["KILL", "QUIT"])
def test_programs_die_when_the_supervisor_is_killed(tmp_path: Path, signal_name: str) -> None:
    if sys.platform != "linux":
        return  # only Linux can tell a process that its parent has died
    code = (
        "import pathlib, sys\n"
        "from darkroom_cli.supervision.spec import ProcessSpec\n"
        "from darkroom_cli.supervision.supervisor import Supervisor\n"
        f"spec = ProcessSpec('w', {python(WAIT)!r}, orphan_signal={signal_name!r})\n"
        "tell = lambda s: print(s.process('w').pid, s.all_ready, flush=True)\n"
        f"Supervisor([spec], pathlib.Path({str(tmp_path)!r}), tell).run()"
    )
    with subprocess.Popen(
        (sys.executable, "-c", code), stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout is not None
        ready = next(line for line in supervisor.stdout if line.rstrip().endswith("True"))
        supervisor.kill()
    assert gone(int(ready.split()[0]))


def test_programs_share_a_session_so_that_niceness_counts_and_have_groups_of_their_own(
    tmp_path: Path,
) -> None:
    with running([daemon("one"), daemon("other", nice=3)], tmp_path) as stack:
        state = stack.until(is_ready)
        pids = [process.pid for process in state.processes if process.pid]
        ours = os.getpriority(os.PRIO_PROCESS, 0)
        nices = [os.getpriority(os.PRIO_PROCESS, pid) for pid in pids]
        assert nices == [ours, min(ours + 3, 19)]
        assert {os.getsid(pid) for pid in pids} == {os.getsid(0)}
        assert [os.getpgid(pid) for pid in pids] == pids


def test_a_program_goes_before_others_if_that_may_be_said_and_else_its_log_tells(
    tmp_path: Path,
) -> None:
    with running([daemon("one"), daemon("first", realtime=True)], tmp_path) as stack:
        state = stack.until(is_ready)
        pids = {process.name: process.pid for process in state.processes}
        assert os.sched_getscheduler(pids["one"] or 0) == os.SCHED_OTHER
        policy = os.sched_getscheduler(pids["first"] or 0)
        log = (tmp_path / "first.log").read_text(encoding="utf-8")
        assert (policy == os.SCHED_RR) != ("runs without real-time priority" in log)


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS])
def test_a_program_that_may_not_go_before_others_runs_all_the_same(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(os, "sched_setscheduler", refused)
    with running([daemon("first", realtime=True)], tmp_path) as stack:
        stack.until(is_ready)
        log = (tmp_path / "first.log").read_text(encoding="utf-8")
        assert "runs without real-time priority" in log


def test_a_session_yields_to_others_where_sessions_share_the_cpu(tmp_path: Path) -> None:
    session = tmp_path / "autogroup"
    yield_session(10, session)
    assert not session.exists(), "this kernel knows none"
    session.write_text("/autogroup-7 nice 0\n")
    yield_session(0, session)
    assert session.read_text() == "/autogroup-7 nice 0\n"
    yield_session(10, session)
    assert session.read_text() == "10"


def test_a_session_that_may_not_be_told_is_no_reason_to_stop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    yield_session(10, tmp_path)
    assert "does not yield to others" in capsys.readouterr().out


def test_left_over_programs_are_ended_but_not_a_stranger_with_the_same_pid() -> None:
    ours, stranger = (subprocess.Popen(python(WAIT), start_new_session=True) for _ in range(2))
    try:
        ended = kill_left_over([(ours.pid, birth_of(ours.pid)), (stranger.pid, "1"), (None, None)])
        assert ended == [ours.pid]
        assert gone(ours.pid)
        assert is_alive(stranger.pid, birth_of(stranger.pid))
    finally:
        for program in (ours, stranger):
            program.kill()
            program.wait()


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 0.5), (2, 1.0), (3, 2.0), (5, 8.0), (6, 10.0), (1000, 10.0)]
)
def test_the_wait_before_a_restart_doubles_up_to_its_limit(failures: int, seconds: float) -> None:
    assert Backoff().delay(failures) == seconds


def test_thirty_seconds_up_forgive_earlier_failures() -> None:
    assert Backoff().failures_after(4, uptime=29.9) == 5
    assert Backoff().failures_after(4, uptime=30.0) == 1


def logged(folder: Path) -> Iterator[bytes]:
    for file in folder.glob("a.log*"):
        with suppress(FileNotFoundError):
            yield file.read_bytes()


def test_logs_are_as_large_and_as_many_as_the_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_LOG_BYTES", "10000")
    monkeypatch.setenv("DARKROOM_LOG_FILES", "2")
    talk = f"for n in range(1000): print('x' * 50)\nprint('done', flush=True)\n{WAIT}"
    with running([daemon("a", talk)], tmp_path) as stack:
        stack.until(is_ready)
        deadline = time.monotonic() + 10
        # A file that is just being renamed has no name for a moment.
        while not any(b"done" in text for text in logged(tmp_path)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    sizes = {file.name: file.stat().st_size for file in tmp_path.glob("a.log*")}
    assert set(sizes) == {"a.log", "a.log.1"}
    assert max(sizes.values()) <= 10_000
