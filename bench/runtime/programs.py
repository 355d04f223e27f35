"""Programs that a measurement needs, each a process of its own; none outlives the measurement."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from darkroom_cli.supervision.identity import kill_tree

ROOT: Final = Path(__file__).parents[2]
_STOP_S: Final = 15.0
_TAIL: Final = 15


class ProgramError(RuntimeError):
    """A program failed or did not end; the last lines of its log are in the message."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to start: `arguments` of Python, and settings beside those that all share.

    `abrupt` ends it by SIGKILL: where it would first finish a backlog that nobody waits for.
    """

    name: str
    arguments: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    abrupt: bool = False


@dataclass(frozen=True, slots=True)
class Running:
    """A program that was started, and where it logs."""

    program: Program
    process: "subprocess.Popen[bytes]"
    log: Path

    def check(self) -> None:
        """Raises ProgramError if it has ended."""
        if self.process.poll() is not None:
            raise self.error(f"ended with {self.process.returncode}")

    def wait(self, timeout_s: float) -> None:
        """Wait until it ends well; raises ProgramError."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise self.error(f"has not ended after {timeout_s:.0f} s") from None
        if code:
            raise self.error(f"ended with {code}")

    def error(self, what: str) -> ProgramError:
        """An error about it, with the end of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:]
        return ProgramError("\n  ".join((f"{self.program.name} {what}", *lines)))

    def ask_to_stop(self) -> None:
        """Tell it that it shall end, unless it ends abruptly."""
        if self.process.poll() is None and not self.program.abrupt:
            self.process.send_signal(signal.SIGTERM)

    def finish(self) -> None:
        """Wait until it has ended, then end all that it started; kills what takes too long."""
        if not self.program.abrupt:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOP_S)
        kill_tree(self.process.pid)
        self.process.wait()

    def stop(self) -> None:
        """End it and all that it started."""
        self.ask_to_stop()
        self.finish()


def start(program: Program, env: Mapping[str, str], logs: Path) -> Running:
    """Start it in a process group of its own, which the kernel ends with us (Linux)."""
    leash = ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()
    log = logs / f"{program.name}.log"
    with log.open("ab") as stream:
        process = subprocess.Popen(
            (*leash, sys.executable, *program.arguments),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **env, **program.env},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Running(program, process, log)


@contextmanager
def running(
    programs: Sequence[Program], env: Mapping[str, str], logs: Path
) -> Iterator[Sequence[Running]]:
    """Start them all; end them all, at the same time."""
    started: list[Running] = []
    try:
        for program in programs:
            started.append(start(program, env, logs))  # noqa: PERF401 - one that fails ends those
        yield started
    finally:
        for one in started:
            one.ask_to_stop()
        for one in started:
            one.finish()
