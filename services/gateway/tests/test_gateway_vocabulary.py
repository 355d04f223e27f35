"""The api door learns the ids of what it writes before anybody hands something in."""

import asyncio
import threading
from collections.abc import Iterable
from typing import cast

from gateway.api.vocabulary import Vocabulary
from gateway.catalog.produced import PRODUCED
from streamkit import Codec
from streamkit.backoff import Stopped
from streamkit.codec import UnregisteredSchemaError


class Registry:
    """As a codec whose registry does not know our schemas at the first `unknown` questions; or
    that is away, where that is less than nothing."""

    def __init__(self, unknown: int) -> None:
        self.left = unknown
        self.asked: list[tuple[str, ...]] = []
        self.waits, self.stopped = threading.Event(), threading.Event()

    def preload(self, topics: Iterable[str], stop: threading.Event) -> None:
        self.asked.append(tuple(topics))
        if self.left > 0:
            self.left -= 1
            raise UnregisteredSchemaError("register it")
        if self.left < 0:
            self.waits.set()
            stop.wait(20)
            self.stopped.set()
            raise Stopped


def vocabulary(registry: Registry) -> Vocabulary:
    return Vocabulary(cast(Codec, registry), again_s=0.01)


async def test_all_are_learned_and_asked_for_again_where_one_is_not_registered_yet() -> None:
    registry = Registry(2)
    await vocabulary(registry).run()
    assert registry.asked == [PRODUCED] * 3


async def test_a_door_that_closes_waits_for_no_registry() -> None:
    registry = Registry(-1)
    learning = asyncio.create_task(vocabulary(registry).run())
    await asyncio.to_thread(registry.waits.wait, 20)
    learning.cancel()
    await asyncio.wait([learning])
    assert learning.cancelled()
    assert await asyncio.to_thread(registry.stopped.wait, 20)
