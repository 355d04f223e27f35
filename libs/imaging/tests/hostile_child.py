"""A decode process whose work goes wrong on demand: the photo's comment says how.

Run by tests in place of `imaging.child`; the real protocol, limits and confinement around it.
"""

import os
import signal
import sys
from pathlib import Path

from imaging.child import serve
from imaging.limits import Limits
from imaging.render import Prepared, prepare

_ONCE = {b"DIE ONCE": signal.SIGKILL, b"STALL ONCE": signal.SIGSTOP}


def _signal_once(number: signal.Signals) -> None:
    mark = Path(os.environ["HOSTILE_MARK"])
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), number)


def misbehave(data: bytes, limits: Limits, keep_gps: bool) -> Prepared:
    for trouble, number in _ONCE.items():
        if trouble in data:
            _signal_once(number)
    if b"DIE ALWAYS" in data:
        os.kill(os.getpid(), signal.SIGKILL)
    if b"LOOP" in data:
        while True:
            pass
    if b"EAT MEMORY" in data:
        hoard = bytearray(limits.decode_memory + 1)
        hoard[0] = 1
    if b"RAISE" in data:
        raise RuntimeError("a bug of ours")
    if b"BABBLE" in data:
        os.write(1, b"not a message, and it goes to standard error\n")
    if b"LIE" in data:
        # `serve` has duplicated its pipes: the copy for answers is the last one.
        pipes = [int(file.name) for file in Path("/proc/self/fd").iterdir() if _is_pipe(file)]
        os.write(max(pipes), b"\xff" * 64)
        sys.exit(0)
    return prepare(data, limits, keep_gps=keep_gps)


def _is_pipe(file: Path) -> bool:
    return file.is_fifo() and os.get_blocking(int(file.name))


if __name__ == "__main__":
    serve(misbehave)
