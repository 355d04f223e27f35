"""The ids of the schemas that the api door writes with."""

import asyncio
import threading
from contextlib import suppress
from typing import Final

import structlog

from gateway.catalog.produced import PRODUCED
from streamkit import Codec
from streamkit.backoff import Stopped
from streamkit.codec import UnregisteredSchemaError

_log = structlog.get_logger("gateway.vocabulary")

AGAIN_S: Final = 30.0
"""So long after the registry did not know a schema it is asked again."""


class Vocabulary:
    """Learns all ids as soon as the registry can be asked.

    The door is open meanwhile, and asks for an id when it needs one: a request would have to wait
    for a registry that hangs, or be refused (503) while it is away.
    """

    def __init__(self, codec: Codec, again_s: float = AGAIN_S) -> None:
        self._codec = codec
        self._again_s = again_s

    async def run(self) -> None:
        """Until all are known, or cancelled."""
        stop = threading.Event()
        try:
            await asyncio.to_thread(self._learn, stop)
        finally:
            stop.set()

    def _learn(self, stop: threading.Event) -> None:
        with suppress(Stopped):
            while not self._all_known(stop):
                stop.wait(self._again_s)

    def _all_known(self, stop: threading.Event) -> bool:
        if stop.is_set():
            raise Stopped
        try:
            self._codec.preload(PRODUCED, stop)
        except UnregisteredSchemaError as error:
            _log.warning("schema_unregistered", reason=str(error))
            return False
        return True
