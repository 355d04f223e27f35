"""A group of workers that is restarted one by one while it works, without violence."""

import random
from collections import Counter
from typing import Final

import pytest

from darkroom_cli.stack import Stack
from worker_audit import Audit
from worker_chaos import Chaos, all_is_committed, asking, tasks_for
from worker_process import until
from worker_tasks import LANES
from worker_world import World

RECORDS: Final = 5000
SLOTS: Final = ("a", "b", "c")


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_a_group_is_restarted_one_by_one_under_load_with_nothing_lost_and_nothing_twice(
    world: World, stack: Stack, protocol: str
) -> None:
    chaos = Chaos(world, stack, protocol, random.Random(1), Audit(world))
    for worker in [chaos.start(slot) for slot in SLOTS]:
        worker.ready()
    tasks = tasks_for(chaos.chance, RECORDS)
    with asking(world, tasks):
        until(lambda: len(world.names()) > 100, "they work")
        for slot in SLOTS:
            before = len(world.names())
            assert chaos.slots[slot].stop() == 0
            chaos.start(slot).ready()
            chaos.audit.look()
            until(lambda: len(world.names()) > before + 100, "work goes on")  # noqa: B023
    asked = len(world.all_of(LANES["batch"])) + len(world.all_of(LANES["high"]))
    until(lambda: len(world.names()) >= asked, "all is done")
    until(lambda: all_is_committed(chaos), "all is committed", 20)
    chaos.audit.look()
    assert chaos.audit.repeated([]) == {}
    assert set(Counter(one.id for one in world.all_done()).values()) == {1}
    assert len(world.done()) == asked
