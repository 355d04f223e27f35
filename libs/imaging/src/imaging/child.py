"""The decode process itself: `python -m imaging.child LIMITS`, started by `imaging.sandbox`.

Reads requests from its standard input and answers on its standard output until the input ends.
"""

import ctypes
import io
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from PIL import Image

from imaging.errors import ImageRejected
from imaging.limits import Limits
from imaging.render import Prepared, prepare
from imaging.wire import BrokenMessageError, read_message, write_message

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_ALARM_GRACE = 5
"""Seconds after the parent's own deadline at which the child ends itself."""

Job = Callable[[bytes, Limits, bool], Prepared]
"""(the file, the limits, whether to keep the place) → the prepared photo, or ImageRejected."""


def main() -> None:
    """Serves `imaging.render.prepare` under the limits given as JSON in the first argument."""
    serve(lambda data, limits, keep_gps: prepare(data, limits, keep_gps=keep_gps))


def serve(job: Job) -> None:
    """Confines this process, says that it is ready, and does `job` for each request."""
    limits = Limits(**json.loads(sys.argv[1]))
    requests = io.FileIO(os.dup(0))
    answers = io.FileIO(os.dup(1), "w")
    os.dup2(2, 1)  # a library that prints must not write into our messages
    confine(limits, parent=int(sys.argv[2]))
    write_message(answers, {"ready": True})
    with suppress(BrokenMessageError, BrokenPipeError):
        while True:
            head, (data,) = read_message(requests, limits.max_bytes)
            # Also ends a decoder that loops where nobody is left to kill it.
            signal.alarm(int(limits.decode_seconds) + _ALARM_GRACE)
            answer, blobs = _answer(job, data, limits, bool(head["keep_gps"]))
            signal.alarm(0)
            write_message(answers, answer, blobs)


def _answer(
    job: Job, data: bytes, limits: Limits, keep_gps: bool
) -> tuple[dict[str, object], list[bytes]]:
    try:
        prepared = job(data, limits, keep_gps)
    except ImageRejected as rejected:
        return {"code": rejected.code, "message": rejected.message}, []
    except MemoryError:
        return {"out_of_memory": True}, []
    fields = asdict(prepared)
    rendition, thumbnail = fields.pop("rendition"), fields.pop("thumbnail")
    return {"prepared": fields}, [thumbnail] if rendition is None else [thumbnail, rendition]


def confine(limits: Limits, parent: int) -> None:
    """Bounds this process's memory and ties its life to `parent` (a process id).

    RLIMIT_AS counts all mapped address space, libraries and reserved stacks included, so the limit
    lies `decode_memory` above what is mapped once everything is imported. Where the system has no
    /proc (macOS), memory stays unbounded: its kernel does not honour RLIMIT_AS.
    """
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)  # the parent drains first; its end ends this process
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)  # the parent ended before the kernel was told to watch it
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + limits.decode_memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Image.MAX_IMAGE_PIXELS = limits.max_pixels


if __name__ == "__main__":
    main()
