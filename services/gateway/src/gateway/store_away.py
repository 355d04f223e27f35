"""Tells people that the object store is away, where the gateway is who finds out."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

import psycopg
import structlog

from gateway.catalog.notices import tell_away
from gateway.db import Conn
from streamkit.objects import OBJECT_STORE

_log = structlog.get_logger("gateway.store")

_AGAIN_S: Final = 60.0
"""What was written down is not brought up again for so long; the catalog tells it once an hour."""


class StoreAway:
    """Called by streamkit's ObjectStore with the reason (`away`). While workers have photos they
    say so themselves; but those who are refused at the door give them none. Thread-safe."""

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[Conn]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._lock = threading.Lock()
        self._after = clock()

    def __call__(self, why: str) -> None:
        """Tell it. While the catalog is away, too, the next failures try again."""
        if self._clock() < self._after or not self._lock.acquire(blocking=False):
            return
        try:
            with self._connect() as conn, conn.transaction():
                tell_away(conn, OBJECT_STORE, why)
            self._after = self._clock() + _AGAIN_S
        except psycopg.Error as error:
            _log.warning("store_away_untold", reason=why, error=str(error))
        finally:
            self._lock.release()
