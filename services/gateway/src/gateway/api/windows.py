"""How fast uploads of an import may come, as this door reckons it."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final
from uuid import UUID

from gateway.pacing import Pacer, share

_MOST_IMPORTS: Final = 100
"""That are remembered; one that is forgotten begins with a small window again."""


_ACTIVE_S: Final = 30.0
"""So long ago an import was asked about that is still being uploaded."""


class Windows:
    """The windows of the imports that are uploaded through this door. Thread-safe."""

    def __init__(
        self, most: int = 100, wait_s: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._wait_s, self._clock = most, wait_s, clock
        self._known: OrderedDict[UUID, tuple[Pacer, int]] = OrderedDict()
        self._lock = threading.Lock()

    def see(self, batch_id: UUID, in_flight: int, ended: int) -> int:
        """Photos that may be under way, of an import of which so many are, and so many in all had
        their end."""
        with self._lock:
            now = self._clock()
            fresh = (Pacer(self._most, self._wait_s, now, in_flight), ended)
            pacer, before = self._known.pop(batch_id, fresh)
            pacer.saw(now, max(0, ended - before), in_flight)
            self._known[batch_id] = (pacer, max(ended, before))
            if len(self._known) > _MOST_IMPORTS:
                self._known.popitem(last=False)
            active = sum(now - one.now < _ACTIVE_S for one, _ in self._known.values())
            return min(pacer.window, share(self._most, active))
