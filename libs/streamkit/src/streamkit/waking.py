"""Waking a thread that waits on a queue when a service shall stop."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_LOOK_S: Final = 0.5


@contextmanager
def wakes(stop: threading.Event, wake: Callable[[], None]) -> Iterator[None]:
    """Until the context ends: call `wake` when `stop` is set, and now and then after that.

    Who waits on a SimpleQueue in the main thread needs it, however short its timeout is. In CPython
    3.11 a wait whose time runs out while a signal's handler runs has no end, and SIGTERM's handler
    is what sets `stop`: only what is put into the queue ends it.
    """
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            if stop.wait(_LOOK_S):
                wake()
                over.wait(_LOOK_S)

    thread = threading.Thread(target=run, name="waker", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
