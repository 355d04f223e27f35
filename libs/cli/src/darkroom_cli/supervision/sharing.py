"""How a stack's programs share the CPU with each other, and with all others."""

import os
import sys
from pathlib import Path
from typing import Final

_SESSION: Final = Path("/proc/self/autogroup")


def yield_session(nice: int, session: Path = _SESSION) -> None:
    """Have this process' session yield the CPU to all others, as `nice` says of programs.

    Linux shares cores out among sessions first (`sched(7)`, autogroup), and each connection to
    PostgreSQL is a session. Does nothing where the kernel does not do so, or won't be told.
    """
    if nice and session.exists():
        try:
            session.write_text(str(nice))
        except OSError as error:
            print(f"The session does not yield to others: {error}", flush=True)  # noqa: T201


def put_first(pid: int) -> bool:
    """Have a program go before all others of the machine whenever it has something to do; False
    where this user may not decide that, or the system knows no such thing.

    Real-time priority, see `sched(7)`; the kernel keeps a twentieth of each second for all others.
    Raises ProcessLookupError.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))
    except ProcessLookupError:
        raise
    except OSError:  # EPERM, or what a sandbox answers
        return False
    return True
