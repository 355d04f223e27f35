"""How an engine process keeps the memory that it has freed."""

import ctypes
import sys
from typing import Final

_M_TRIM_THRESHOLD: Final = -1  # malloc.h of glibc
_M_MMAP_THRESHOLD: Final = -3

KEPT_BYTES: Final = 128 * 1024**2
"""Free memory at the heap's end that a process keeps."""

LARGE_BYTES: Final = (64 * 1024**2, 32 * 1024**2)
"""From this size on a block is mapped by itself, and given back when it is freed. Before 2.35 glibc
takes no more than the second."""


def keep_freed_memory() -> bool:
    """Have malloc use again what was freed; whether it can be told so (glibc's can).

    Work on one record after the other asks for the same large blocks again and again. By itself,
    glibc gives each back and has it mapped anew, and the kernel fills it with zeros page by page:
    for one photo the ocr had 22,000 page faults, an eighth of its CPU (measured; 2 after this, with
    the same largest memory). mallopt(3) says what is set here.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return False
    # Each of them by itself would make it worse: glibc then adapts neither any more.
    return any(mallopt(_M_MMAP_THRESHOLD, size) for size in LARGE_BYTES) and bool(
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
    )
