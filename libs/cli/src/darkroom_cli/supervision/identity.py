"""Telling a process from a later one that got the same number, and ending what was left over."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil


def birth_of(pid: int) -> str | None:
    """A mark that differs between two processes with the same pid; None if there is none.

    Linux: the start time in clock ticks since boot (proc(5), field 22 of stat), which does not
    move when the clock is set. Elsewhere the time of creation.
    """
    if sys.platform == "linux":
        return _ticks_since_boot(pid)
    try:
        return str(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def _ticks_since_boot(pid: int) -> str | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold blanks
    return None if fields[0] in ("Z", "X") else fields[19]


def is_alive(pid: int | None, birth: str | None) -> bool:
    """Whether that very process still runs (a zombie does not)."""
    return pid is not None and birth is not None and birth_of(pid) == birth


def kill_tree(pid: int) -> None:
    """SIGKILL a process, its descendants and its process group; no error if all are gone."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        family = []
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for member in family:
        with contextlib.suppress(psutil.Error):
            member.kill()


def kill_left_over(recorded: Iterable[tuple[int | None, str | None]]) -> list[int]:
    """End the recorded processes that still run, after checking that they are the same ones.

    Waits up to 5 s for them to go. Returns the pids that were ended.
    """
    found = [pid for pid, birth in recorded if pid is not None and is_alive(pid, birth)]
    processes = []
    for pid in found:
        with contextlib.suppress(psutil.Error):
            processes.append(psutil.Process(pid))
        kill_tree(pid)
    psutil.wait_procs(processes, timeout=5)
    return found
