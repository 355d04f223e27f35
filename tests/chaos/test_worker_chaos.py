"""Workers that are killed, stopped, joined and left while they work; a broker and a Redis too."""

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from typing import Final

import pytest

from darkroom_cli.stack import Stack
from worker_audit import Audit
from worker_chaos import Chaos, all_is_committed, asking, tasks_for
from worker_process import until
from worker_world import Task, World

RECORDS: Final = 5000

AGAIN_S: Final = 30.0
"""So long after a kill work goes on, at the latest: a session of 10 s, a rebalance, and the start
of processes on a machine that is busy with other tests."""

FAULT_EVERY_S: Final = 2.5

DONE_S: Final = 180.0
"""So long after the last fault all is done."""


def a_schedule(chaos: Chaos) -> list[Callable[[], None]]:
    """What happens, in a random order; the long stop early, so that it ends in time."""
    acts = [chaos.kill] * 4 + [chaos.stop_short, chaos.leave]
    acts += [chaos.restart_broker, chaos.restart_redis]
    chaos.chance.shuffle(acts)
    return [*acts[:2], chaos.stop_long, *acts[2:]]


@pytest.mark.timeout(2 * DONE_S + 120)  # what is waited for tells more than this does
@pytest.mark.parametrize(
    ("protocol", "broker_end"), [("consumer", signal.SIGKILL), ("classic", signal.SIGTERM)]
)
def test_whatever_happens_to_workers_nothing_is_lost_and_work_goes_on(
    world: World, stack: Stack, protocol: str, broker_end: signal.Signals
) -> None:
    seed = int(os.environ.get("CHAOS_SEED", random.randrange(10_000)))
    chance = random.Random(seed)
    chaos = Chaos(world, stack, protocol, chance, Audit(world), broker_end)
    try:
        run(chaos, tasks_for(chance, RECORDS))
    finally:
        # Shown if the test fails; CHAOS_SEED makes the same choices again.
        print(f"CHAOS_SEED={seed}", *chaos.story, sep="\n")  # noqa: T201


def run(chaos: Chaos, tasks: Sequence[Task]) -> None:
    world, audit = chaos.world, chaos.audit
    chaos.start("a").ready()
    acts = a_schedule(chaos)
    with asking(world, tasks) as asked:
        chaos.absent = {"b": time.monotonic() + 1.0, "c": time.monotonic() + 3.0}
        next_at = time.monotonic() + 6.0
        while acts or not asked.done():
            chaos.tend()
            if acts and time.monotonic() >= next_at:
                acts.pop(0)()
                next_at = time.monotonic() + FAULT_EVERY_S
            audit.look()
            time.sleep(0.1)
    names = {task.name for task in tasks}

    chaos.tell("all is asked")

    def all_is_done() -> bool:
        chaos.tend()
        audit.look()
        return names <= set(world.names())

    until(all_is_done, "nothing is lost", DONE_S, audit.left)
    until(lambda: all_is_committed(chaos), "all is committed", 20, audit.left)
    audit.look()
    repeated = audit.repeated([*chaos.harms, *chaos.losses()])
    assert sum(repeated.values()) <= RECORDS / 4, f"what was in hand, not more: {dict(repeated)}"
    assert not chaos.ended
    failed = {one.name for one in world.done() if one.failure}
    assert failed == {task.name for task in tasks if task.do == "reject"}
    silences = audit.silences(chaos.faults)
    assert max(silences) <= AGAIN_S
    chaos.story.append(f"repeated {dict(repeated)}, silences {silences}, looks {audit.looks}")
