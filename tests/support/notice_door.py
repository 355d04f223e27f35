"""The part of the control door that sends notices, in a thread of the test."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import uuid4

from gateway import db, locks
from gateway.control.duty import Duty
from gateway.control.notices import Notifier
from gateway.notifications.mail import Mailer
from gateway.notifications.ways import WayMeans, open_ways


def poll(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it does not become so"
        time.sleep(0.02)


class NoticeDoor:
    """A replica that sends notices, in a thread."""

    def __init__(self, database: str, redis: str, prefix: str = "", mail: Mailer | None = None):
        notifier = Notifier(partial(open_ways, WayMeans(redis, prefix, mail)))
        self.name = f"notices-{uuid4().hex[:8]}"
        connect = partial(db.connect, database, name=self.name)
        self.duty = Duty("notices", locks.NOTICES, connect, notifier.work)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.duty.run, args=(self.stop,))
        self.thread.start()

    def end(self) -> None:
        self.stop.set()
        self.thread.join(8)
        assert not self.thread.is_alive()


@contextmanager
def notice_door(
    database: str, redis: str = "redis://127.0.0.1:1", **more: Any
) -> Iterator[NoticeDoor]:
    replica = NoticeDoor(database, redis, **more)
    try:
        yield replica
    finally:
        replica.end()
