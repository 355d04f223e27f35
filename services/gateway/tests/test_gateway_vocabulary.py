"""The api door learns the ids of what it writes before anybody hands something in."""

import asyncio
import threading
from collections import Counter

import pytest
from structlog.testing import capture_logs

from gateway.api.vocabulary import Vocabulary
from gateway.catalog.produced import PRODUCED
from streamkit import Busy
from streamkit.codec import UnregisteredSchemaError


class Registry:
    """As a codec: each topic is learned but where `troubles` has something for it, once each."""

    def __init__(self, troubles: dict[str, list[Exception]]) -> None:
        self.troubles = troubles
        self.asked: Counter[str] = Counter()
        self.learned: set[str] = set()
        self.all_learned = threading.Event()

    def learn(self, topic: str) -> None:
        self.asked[topic] += 1
        if self.troubles.get(topic):
            raise self.troubles[topic].pop()
        self.learned.add(topic)
        if self.learned == set(PRODUCED):
            self.all_learned.set()


async def until_all_are_learned(registry: Registry) -> None:
    learning = asyncio.create_task(Vocabulary(registry, again_s=0.01).run())
    assert await asyncio.to_thread(registry.all_learned.wait, 20)
    learning.cancel()
    await asyncio.wait([learning])
    assert learning.cancelled()


@pytest.mark.parametrize("trouble", [UnregisteredSchemaError("register it"), ValueError("no JSON")])
async def test_what_one_topic_lacks_holds_up_no_other_and_is_asked_for_again(
    trouble: Exception,
) -> None:
    registry = Registry({PRODUCED[3]: [trouble] * 3})
    with capture_logs() as logs:
        await until_all_are_learned(registry)
    assert registry.asked == {topic: 4 if topic == PRODUCED[3] else 1 for topic in PRODUCED}
    assert [line["reason"] for line in logs] == [str(trouble)], "told once"


async def test_a_registry_that_is_away_is_asked_once_each_time_and_told_of_once() -> None:
    registry = Registry({PRODUCED[0]: [Busy("away") for _ in range(5)]})
    with capture_logs() as logs:
        await until_all_are_learned(registry)
    assert registry.asked == {topic: 6 if topic == PRODUCED[0] else 1 for topic in PRODUCED}
    assert len(logs) == 1


async def test_a_door_that_closes_waits_for_no_registry() -> None:
    hangs, over = threading.Event(), threading.Event()

    class Hanging:
        def learn(self, _topic: str) -> None:
            hangs.set()
            over.wait(20)

    learning = asyncio.create_task(Vocabulary(Hanging()).run())
    assert await asyncio.to_thread(hangs.wait, 20)
    learning.cancel()
    await asyncio.wait([learning])
    assert learning.cancelled()
    over.set()
