"""One program: started, probed, started again, stopped. Never blocks; `advance` moves it on."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import Executor, Future

from darkroom_cli.supervision.backoff import Backoff
from darkroom_cli.supervision.identity import birth_of, kill_tree
from darkroom_cli.supervision.logfile import LogFile
from darkroom_cli.supervision.sharing import put_first
from darkroom_cli.supervision.spec import Kind, NotReadyError, ProcessSpec, WrongPeerError
from darkroom_cli.supervision.state import Phase, ProcessState

_PROBE_EVERY = 0.1
_RUNNING = (Phase.STARTING, Phase.READY, Phase.UNREADY, Phase.STOPPING)


def leashed(spec: ProcessSpec) -> list[str]:
    """The command line that dies with the supervisor where the kernel can arrange it (Linux).

    setpriv (util-linux) sets PR_SET_PDEATHSIG after any change of user, which would clear it.
    The signal is tied to the thread that starts the program: always the supervisor's main one.
    """
    if sys.platform == "linux" and shutil.which("setpriv"):
        options = ["--pdeathsig", spec.orphan_signal, *spec.launch_with]
        return ["setpriv", *options, "--", *spec.argv]
    return list(spec.argv)


class Child:
    """One program and where it stands. All times given to it are `time.monotonic` seconds."""

    def __init__(self, spec: ProcessSpec, log: LogFile, probes: Executor, backoff: Backoff) -> None:
        self.spec = spec
        self.phase = Phase.WAITING
        self.reason = ""
        self.was_ready = False
        self._log = log
        self._probes = probes
        self._backoff = backoff
        self._process: subprocess.Popen[bytes] | None = None
        self._birth: str | None = None
        self._answer: Future[None] | None = None
        self._failures = 0
        self._starts = 0
        self._first_start = 0.0
        self._last_start = 0.0
        self._wall_start = 0.0
        self._next_move = 0.0
        self._ready_s: float | None = None

    @property
    def running(self) -> bool:
        return self.phase in _RUNNING

    @property
    def finished(self) -> bool:
        """Whether what comes after this program may start."""
        return self.was_ready

    @property
    def state(self) -> ProcessState:
        alive = self.running and self._process is not None
        return ProcessState(
            name=self.spec.name,
            kind=self.spec.kind,
            phase=self.phase,
            pid=self._process.pid if alive and self._process else None,
            birth=self._birth if alive else None,
            port=self.spec.port,
            restarts=max(0, self._starts - 1),
            started_at=self._wall_start if alive else None,
            ready_s=self._ready_s,
            reason=self.reason,
        )

    def output(self) -> int | None:
        """File descriptor of the program's output while it runs."""
        stream = self._process.stdout if self._process else None
        return stream.fileno() if stream and not stream.closed else None

    def pump(self) -> None:
        """Move waiting output to the log."""
        stream = self._process.stdout if self._process else None
        if stream is None or stream.closed:
            return
        with contextlib.suppress(BlockingIOError):
            while data := os.read(stream.fileno(), 65536):
                self._log.feed(data)
            stream.close()  # it closed its output and may live on

    def start(self, now: float, environment: Mapping[str, str]) -> None:
        """Start the program; `environment` is the base that its own settings are added to."""
        self._starts += 1
        self._last_start = now
        self._wall_start = time.time()
        self._first_start = self._first_start or now
        self.phase = Phase.STARTING
        self.reason = ""
        self._next_move = now
        try:
            if self.spec.prepare:
                self.spec.prepare()
            self._process = self._spawn(environment)
        except OSError as error:
            self._process = None
            self._ended(now, f"could not be started: {error}")
            return
        self._birth = birth_of(self._process.pid)
        self._log.note(f"started, pid {self._process.pid}")

    def advance(self, now: float, environment: Mapping[str, str]) -> None:
        """Take notice of an exit, of a probe's answer or of the time."""
        if self.running and self._process and self._process.poll() is not None:
            self._reap(now)
        elif self.phase is Phase.BACKOFF and now >= self._next_move:
            self.start(now, environment)
        elif self.phase is Phase.STOPPING and now >= self._next_move and self._process:
            self._log.note(f"did not stop within {self.spec.stop_deadline:g} s: killed")
            kill_tree(self._process.pid)
            self._next_move = now + 1.0
        elif self.phase in (Phase.STARTING, Phase.READY, Phase.UNREADY):
            self._watch(now)

    def stop(self, now: float) -> None:
        """Ask the program to stop; SIGKILL follows at its deadline."""
        if not self.running or not self._process:
            if self.phase not in (Phase.DONE, Phase.FAILED):
                self.phase = Phase.STOPPED
            return
        if self.phase is not Phase.STOPPING:
            self.phase = Phase.STOPPING
            self._next_move = now + self.spec.stop_deadline
            self._process.send_signal(signal.Signals[f"SIG{self.spec.stop_signal}"])

    def kill(self) -> None:
        """End the program and its descendants at once."""
        if self._process and self._process.poll() is None:
            kill_tree(self._process.pid)

    def close(self) -> None:
        self._log.close()

    def _spawn(self, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        # A group of its own, to be ended together, but no session: Linux shares cores out among
        # sessions first (sched_autogroup_enabled), and only within one are bulk engines nice to
        # the urgent ones of all the other programs.
        process = subprocess.Popen(
            leashed(self.spec),
            env={**environment, **self.spec.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
            bufsize=0,
        )
        if self.spec.nice:
            nice = min(os.getpriority(os.PRIO_PROCESS, 0) + self.spec.nice, 19)
            with contextlib.suppress(ProcessLookupError):  # it may have ended by now
                os.setpriority(os.PRIO_PROCESS, process.pid, nice)
        if self.spec.realtime:
            with contextlib.suppress(ProcessLookupError):
                if not put_first(process.pid):
                    self._log.note("runs without real-time priority: this user can't give it here")
        if process.stdout:
            os.set_blocking(process.stdout.fileno(), False)
        return process

    def _reap(self, now: float) -> None:
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # what it left behind in its group
        self.pump()
        if process.stdout:
            process.stdout.close()
        self._process = None
        self._answer = None
        code = process.returncode
        if self.phase is Phase.STOPPING:
            self.phase = Phase.STOPPED
            self._log.note(f"stopped with {_exit_text(code)}")
        elif self.spec.kind is Kind.STEP and code == 0:
            self._mark_ready(now, Phase.DONE)
        else:
            self._ended(now, f"ended with {_exit_text(code)}", in_vain=code == os.EX_CONFIG)

    def _ended(self, now: float, reason: str, *, in_vain: bool = False) -> None:
        """`in_vain`: it says itself that it will end like this again."""
        self._failures = self._backoff.failures_after(self._failures, now - self._last_start)
        self.reason = reason
        if not self.was_ready and (in_vain or self._failures >= self.spec.attempts):
            self.phase = Phase.FAILED
            if not in_vain:
                self.reason = f"{reason}, {self._failures} times in a row"
            self._log.note(f"{self.reason}: given up")
            return
        delay = self._backoff.delay(self._failures)
        self.phase = Phase.BACKOFF
        self._next_move = now + delay
        self._log.note(f"{reason}; starts again in {delay:g} s")

    def _watch(self, now: float) -> None:
        late = now - self._first_start > self.spec.start_deadline
        if late and not self.was_ready:
            self._fail(f"not ready after {self.spec.start_deadline:g} s: {self.reason}")
        elif self.spec.kind is Kind.STEP:
            return
        elif self._answer is not None:
            self._take_answer(now)
        elif now >= self._next_move and (self.spec.probe or self.phase is Phase.STARTING):
            self._ask(now)

    def _ask(self, now: float) -> None:
        if self.spec.probe is None:
            self._mark_ready(now, Phase.READY)
            self._next_move = float("inf")
        else:
            self._answer = self._probes.submit(self.spec.probe)

    def _take_answer(self, now: float) -> None:
        if self._answer is None or not self._answer.done():
            return
        answer, self._answer = self._answer, None
        try:
            answer.result()
        except NotReadyError as error:
            self.reason = str(error)
            if self.phase is Phase.READY:
                self.phase = Phase.UNREADY
            self._next_move = now + _PROBE_EVERY
            return
        except WrongPeerError as error:
            self._fail(str(error))
            return
        self._mark_ready(now, Phase.READY)
        self._next_move = now + self.spec.watch_every if self.spec.watch_every else float("inf")

    def _mark_ready(self, now: float, phase: Phase) -> None:
        self.phase = phase
        self.reason = ""
        if not self.was_ready:
            self._ready_s = round(now - self._first_start, 2)
        self.was_ready = True

    def _fail(self, reason: str) -> None:
        self._log.note(reason)
        self.kill()
        self.reason = reason
        self.phase = Phase.FAILED


def _exit_text(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
