"""Decoding in a process that may die, so that the one that asks does not."""

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Self

from imaging.errors import ImageRejected, RejectionCode
from imaging.limits import LIMITS, Limits
from imaging.metadata import Metadata
from imaging.probe import probe
from imaging.render import Prepared
from imaging.wire import BrokenMessageError, read_message, write_message

CHILD = (sys.executable, "-P", "-W", "ignore", "-m", "imaging.child")
"""The command that starts a decode process; limits and our process id are appended. Pillow warns of
every oddity in a file, which is nothing for a service's log."""

_START_SECONDS = 60.0
"""For the interpreter and its imports, on a machine that is busy starting everything else."""
_STOP_SECONDS = 2.0
_MOST_ANSWER = 32_000_000
"""Bytes of rendition and thumbnail together; a JPEG of 2048 x 2048 has at most a third of it."""
_TRIES = 2
"""A photo is blamed for a crash or a passed deadline only if a fresh process fails over it too: the
first may have been killed or stopped from outside, or worn out by earlier photos."""


class DecodeProcessUnavailableError(RuntimeError):
    """The decode process does not start: the installation is broken, no photo is to blame."""


class _DiedError(Exception):
    """The process ended, was killed, or answered nonsense."""


class _TimedOutError(Exception):
    """The process did not answer in time: the photo's doing, or somebody stopped the process."""


class _OutOfMemoryError(Exception):
    """The process says that its memory did not suffice."""


class DecodeProcess:
    """A persistent child process that decodes one photo at a time.

    It is killed and replaced when it takes longer than the limit or dies; it dies with its parent.
    Calls from several threads are served one after another. Start it from a thread that lives as
    long as it is used: on Linux the child is tied to that thread.
    """

    def __init__(self, limits: Limits = LIMITS, command: Sequence[str] = CHILD) -> None:
        """`command`: what to start as the child; it must speak `imaging.child.serve`'s protocol."""
        self._limits = limits
        self._command = [*command, json.dumps(asdict(limits)), str(os.getpid())]
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process id of the child, if one is running."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def start(self) -> None:
        """Starts the child unless it runs; about 0.2 s. Raises DecodeProcessUnavailableError."""
        with self._lock:
            self._running()

    def prepare(self, data: bytes, *, keep_gps: bool = False) -> Prepared:
        """Decodes and renders a photo; blocks, at most twice the limit's seconds.

        Raises ImageRejected, also when the photo makes the child crash, hang or run out of
        memory; the next call works again. Raises DecodeProcessUnavailableError if no child starts.
        """
        probe(data, self._limits)  # what can be refused without the child costs it nothing
        with self._lock:
            for _ in range(_TRIES):
                try:
                    return self._ask(data, keep_gps)
                except _OutOfMemoryError:
                    self._kill()
                    code, why = RejectionCode.DECODE_OUT_OF_MEMORY, "needs too much memory"
                except _DiedError:
                    self._kill()
                    code, why = RejectionCode.DECODE_CRASHED, "makes the decoder crash"
                except _TimedOutError:
                    self._kill()
                    seconds = f"more than {self._limits.decode_seconds:g} seconds"
                    code, why = RejectionCode.DECODE_TIMED_OUT, f"takes too long: {seconds}"
        raise ImageRejected(code, f"The picture {why}; it was given up after {_TRIES} tries.")

    def close(self) -> None:
        """Ends the child; a later call of `prepare` starts a new one."""
        with self._lock:
            child = self._child
            if child is None:
                return
            if child.stdin is not None:
                child.stdin.close()  # the child ends when its requests do
            with suppress(subprocess.TimeoutExpired):
                child.wait(_STOP_SECONDS)
            self._kill()

    def _ask(self, data: bytes, keep_gps: bool) -> Prepared:
        child = self._running()
        with _Deadline(child, self._limits.decode_seconds) as deadline:
            try:
                write_message(_raw(child.stdin), {"keep_gps": keep_gps}, [data])
                head, blobs = read_message(_raw(child.stdout), _MOST_ANSWER)
            except (OSError, BrokenMessageError) as error:
                raise (_TimedOutError if deadline.passed else _DiedError) from error
        return _result(head, blobs)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is not None and self._child.poll() is None:
            return self._child
        self._kill()
        # One arena: each further one of glibc's reserves 64 MB of the address space we limit.
        environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
        self._child = child = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=environment,
        )
        with _Deadline(child, _START_SECONDS):
            try:
                read_message(_raw(child.stdout), 0)
            except BrokenMessageError as error:
                self._kill()
                raise DecodeProcessUnavailableError(
                    f"the decode process ended at its start: {' '.join(self._command[:-2])}"
                ) from error
        return child

    def _kill(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()


class _Deadline:
    """Kills the child when the time is over, which ends any read or write on its pipes."""

    def __init__(self, child: subprocess.Popen[bytes], seconds: float) -> None:
        self.passed = False
        self._child = child
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        self.passed = True
        self._child.kill()


def _raw(pipe: object) -> io.RawIOBase:
    if not isinstance(pipe, io.RawIOBase):
        raise TypeError("the child's pipes must be unbuffered")
    return pipe


def _result(head: dict[str, Any], blobs: list[bytes]) -> Prepared:
    try:
        if "out_of_memory" in head:
            raise _OutOfMemoryError
        if "code" in head:
            code = RejectionCode(head["code"])
            if code is RejectionCode.DECODE_OUT_OF_MEMORY:
                raise _OutOfMemoryError
            raise ImageRejected(code, str(head["message"])[:500])
        fields = dict(head["prepared"])
        metadata = Metadata(**fields.pop("metadata"))
        thumbnail, rendition = blobs[0], blobs[1] if len(blobs) > 1 else None
        return Prepared(**fields, metadata=metadata, rendition=rendition, thumbnail=thumbnail)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise _DiedError from error
