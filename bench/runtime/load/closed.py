"""A closed loop: as much as the system takes, with a bounded number of photos under way.

The bound is what makes a rate steady: without it, work could pile up between the steps of a
pipeline and come out at the end faster than it can be kept up.
"""

import time
from dataclasses import dataclass

from bench.runtime.load.ledger import Ledger
from bench.runtime.load.target import Target
from bench.runtime.workload import request


@dataclass(frozen=True, slots=True)
class Closed:
    """What is sent: `photos`, of which at most `window` are under way, after `warm_up` others."""

    photos: int
    window: int
    warm_up: int
    timeout_s: float


def run(target: Target, plan: Closed) -> dict[str, object]:
    """When it began, when each outcome came (seconds since), how many came twice."""
    ledger = Ledger(target)
    warm = [request(number, "batch") for number in range(-plan.warm_up, 0)]
    photos = [request(number, "batch") for number in range(plan.photos)]
    with ledger.following():
        for one in warm:
            ledger.send(one)
        ledger.flush()
        ledger.wait_for(plan.warm_up, plan.timeout_s, "warm-up")
        began = time.monotonic()
        for sent, one in enumerate(photos, start=plan.warm_up + 1):
            ledger.wait_for(sent - plan.window, plan.timeout_s, "measured run")
            ledger.send(one)
        ledger.flush()
        ledger.wait_for(plan.warm_up + plan.photos, plan.timeout_s, "measured run")
    times = [ledger.came[str(one["photo_id"])] for one in photos]
    return {"began": began, "came": sorted(times), "repeats": ledger.repeats}
