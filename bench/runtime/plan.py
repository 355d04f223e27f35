"""How much is measured. All sizes in one place."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of a run.

    (a) `photos` through the fan-out, at most `window` under way, after `warm_up` others;
    `trial_photos` for each setting of a peer that is tried; a peer's round has fewer, though not
    fewer than `fewest_photos`, where the trial says that it would last above `round_s`. (b)
    `stage_records` through one stage. (c) `urgent` records idle and as many beside a `backlog`.
    `rounds` of (a) and of (b).
    """

    photos: int
    stage_records: int
    urgent: int
    rounds: int = 3
    window: int = 1000
    warm_up: int = 300
    trial_photos: int = 400
    fewest_photos: int = 2_000
    round_s: float = math.inf
    backlog: int = 10_000
    burn_ms: float = 20.0


FULL = Plan(photos=10_000, stage_records=100_000, urgent=400)
QUICK = Plan(photos=5_000, stage_records=60_000, urgent=220, trial_photos=300, round_s=45.0)


def photos_of_round(plan: Plan, per_s: float) -> int:
    """How many photos a round has on a system that did `per_s` in its trial."""
    return min(plan.photos, max(plan.fewest_photos, int(min(per_s * plan.round_s, plan.photos))))
