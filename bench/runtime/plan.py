"""How much is measured. All sizes in one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of a run.

    (a) `photos` through the fan-out, at most `window` under way, after `warm_up` others;
    `trial_photos` for each setting of a peer that is tried. (b) `stage_records` through one stage.
    (c) `urgent` records idle and as many beside a `backlog`. `rounds` of (a) and of (b).
    """

    photos: int
    stage_records: int
    urgent: int
    rounds: int = 3
    window: int = 1000
    warm_up: int = 300
    trial_photos: int = 400
    backlog: int = 10_000
    burn_ms: float = 20.0


FULL = Plan(photos=10_000, stage_records=100_000, urgent=400)
QUICK = Plan(photos=5_000, stage_records=60_000, urgent=220)
