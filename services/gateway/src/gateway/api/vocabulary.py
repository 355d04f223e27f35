"""The ids of the schemas that the api door writes with."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Final, Protocol

import structlog

from gateway.catalog.produced import PRODUCED
from streamkit import Busy

_log = structlog.get_logger("gateway.vocabulary")

AGAIN_S: Final = 5.0
"""So long after some could not be learned these are tried again."""


class Learns(Protocol):
    """What learns the id of a topic's schema (streamkit's Codec)."""

    def learn(self, topic: str) -> None:
        """Learn it; raises Busy while the registry is away, and what else is in the way."""
        ...


class Vocabulary:
    """Learns all ids as soon as the registry can be asked.

    The door is open meanwhile, and asks for an id when it needs one: a request would have to wait
    for a registry that hangs, or be refused (503) while it is away.
    """

    def __init__(self, codec: Learns, again_s: float = AGAIN_S) -> None:
        self._codec = codec
        self._again_s = again_s

    async def run(self) -> None:
        """Have a thread of its own learn, until cancelled."""
        stop = threading.Event()
        # The door's end does not wait for a registry that hangs.
        thread = threading.Thread(target=self._run, args=(stop,), name="vocabulary", daemon=True)
        thread.start()
        try:
            await asyncio.Event().wait()
        finally:
            stop.set()

    def _run(self, stop: threading.Event) -> None:
        left: Sequence[str] = PRODUCED
        told = ""
        while True:
            left, why = self._tried(left, stop)
            if not left or stop.is_set():
                return
            if why != told:  # not each time
                told = why
                _log.warning("schemas_unknown", reason=why, topics=len(left))
            if stop.wait(self._again_s):
                return

    def _tried(self, topics: Sequence[str], stop: threading.Event) -> tuple[list[str], str]:
        """Which are still unknown, and why."""
        left: list[str] = []
        why = ""
        for number, topic in enumerate(topics):
            if stop.is_set():
                break
            try:
                self._codec.learn(topic)
            except Busy:
                # The next ones would meet the same, after as long.
                return [*left, *topics[number:]], "the registry is away"
            except Exception as error:  # noqa: BLE001 - told; it must not end in silence
                left.append(topic)
                why = why or str(error)
        return left, why
