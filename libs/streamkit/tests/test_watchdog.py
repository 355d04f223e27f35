"""The watchdog: a loop that stands still is seen, once."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from streamkit.watchdog import Watchdog, dump_on_signal, dump_stacks, stacks


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


class Watched:
    """A watchdog whose seconds pass by hand, and how often it found a stall."""

    def __init__(self) -> None:
        self.clock = Hands()
        self.stalls = 0
        self.dog = Watchdog(stall_s=10, dead_s=60, stalled=self._count, clock=self.clock)

    def _count(self) -> None:
        self.stalls += 1

    def pass_seconds(self, seconds: int, *, beating: bool = False) -> None:
        for _ in range(seconds):
            self.clock.now += 1
            if beating:
                self.dog.beat()
            self.dog.look()


def test_a_loop_that_turns_is_left_alone() -> None:
    watched = Watched()
    watched.pass_seconds(100, beating=True)
    assert watched.stalls == 0


def test_a_loop_that_stands_still_is_dumped_once(capfd: pytest.CaptureFixture[str]) -> None:
    watched = Watched()
    watched.pass_seconds(9)
    assert watched.stalls == 0
    watched.pass_seconds(50)
    assert watched.stalls == 1
    assert capfd.readouterr().err.count("Current thread") == 1


def test_it_is_dumped_again_only_after_it_has_turned() -> None:
    watched = Watched()
    watched.pass_seconds(30)
    watched.pass_seconds(3, beating=True)
    watched.pass_seconds(30)
    assert watched.stalls == 2


def test_a_process_that_was_stopped_is_no_stall() -> None:
    watched = Watched()
    watched.pass_seconds(5, beating=True)
    watched.clock.now += 3600
    watched.dog.look()
    assert watched.stalls == 0
    watched.pass_seconds(1)
    assert watched.stalls == 1


def test_trouble_is_said_after_a_minute_and_withdrawn_when_the_loop_turns() -> None:
    watched = Watched()
    with watched.dog:
        watched.clock.now += 59
        assert watched.dog.trouble() == ""
        watched.clock.now += 4
        assert watched.dog.trouble() == "The worker's loop has stood still for 63 s."
        watched.dog.beat()
        assert watched.dog.trouble() == ""


def test_before_and_after_the_loop_nothing_is_watched() -> None:
    watched = Watched()
    watched.clock.now += 100
    assert watched.dog.trouble() == ""
    with watched.dog:
        assert watched.dog.trouble() == ""
    watched.clock.now += 100
    assert watched.dog.trouble() == ""
    assert "watchdog" not in [thread.name for thread in threading.enumerate()]


def test_stacks_name_threads_and_where_they_are() -> None:
    entered, leave = threading.Event(), threading.Event()

    def stand_here() -> None:
        entered.set()
        leave.wait(30)

    thread = threading.Thread(target=stand_here, name="lane-high")
    thread.start()
    assert entered.wait(30)
    found = next(stack for name, stack in stacks().items() if name.startswith("lane-high-"))
    leave.set()
    thread.join()
    assert any(line.endswith(" stand_here") for line in found)


def test_the_thread_looks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.watchdog._LOOK_S", 0.01)
    seen = threading.Event()
    with Watchdog(stall_s=0.05, stalled=seen.set):
        assert seen.wait(30)


def test_a_process_without_standard_error_has_its_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "__stderr__", None)
    dump_on_signal()
    dump_stacks("stalled", still_s=10.0)
    assert "MainThread-" in capsys.readouterr().out


STUCK = """
import threading
from streamkit.watchdog import Watchdog
def stuck_here():
    threading.Event().wait()
with Watchdog(stall_s=0.1):
    stuck_here()
"""


def test_a_real_stall_is_written_to_standard_error_and_to_the_log() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STUCK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        line = program.stdout.readline()
        program.kill()
        assert "stalled" in line
        assert "stuck_here" in line
        assert "stuck_here" in program.stderr.read()


ASKED = """
from streamkit.watchdog import dump_on_signal
import threading
dump_on_signal()
def waiting_here():
    print("ready", flush=True)
    threading.Event().wait()
waiting_here()
"""


def test_sigusr1_writes_all_stacks_and_the_process_goes_on() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ASKED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.readline()
        os.kill(program.pid, signal.SIGUSR1)
        while "waiting_here" not in program.stderr.readline():
            assert program.poll() is None
        program.kill()
