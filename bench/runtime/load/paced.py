"""An open loop of urgent records, first alone and then beside a backlog of others."""

import itertools
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bench.runtime.load.ledger import Ledger
from bench.runtime.load.target import Target
from bench.runtime.workload import request

_BETWEEN_S: Final = (0.1, 0.2)
_SEED: Final = 5
_WARM_UP: Final = 20
_UNDER_WAY: Final = 50
"""Records of the backlog that must be done before the urgent ones are measured beside it."""


@dataclass(frozen=True, slots=True)
class Paced:
    """What is sent: `records` urgent ones, twice; before the second time a `backlog`."""

    records: int
    backlog: int
    timeout_s: float


def run(target: Target, plan: Paced) -> dict[str, object]:
    """Milliseconds of each urgent record, idle and loaded; what was left of the backlog then."""
    ledger = Ledger(target)
    numbers = itertools.count()
    with ledger.following():
        _measured(ledger, numbers, _WARM_UP, plan.timeout_s)
        idle = _measured(ledger, numbers, plan.records, plan.timeout_s)
        came = len(ledger.came)
        for number in range(plan.backlog):
            ledger.send(request(number, "batch"))
        ledger.flush()
        ledger.wait_for(came + _UNDER_WAY, plan.timeout_s, "backlog")
        loaded = _measured(ledger, numbers, plan.records, plan.timeout_s)
        left = len(ledger.sent) - len(ledger.came)
    return {"idle": idle, "loaded": loaded, "backlog_left": left, "repeats": ledger.repeats}


def _measured(
    ledger: Ledger, numbers: Iterator[int], records: int, timeout_s: float
) -> dict[str, object]:
    """How long each of so many urgent records took, from before it was sent until its outcome was
    seen; they are sent at moments drawn beforehand, whatever has come back."""
    draw = random.Random(_SEED)  # noqa: S311 - the same moments each time
    due, late, photos = time.monotonic(), 0.0, []
    for number in itertools.islice(numbers, records):
        one = request(number, "high")
        due += draw.uniform(*_BETWEEN_S)
        time.sleep(max(0.0, due - time.monotonic()))
        late = max(late, time.monotonic() - due)
        ledger.send(one)
        photos.append(str(one["photo_id"]))
    ledger.wait_for_all(photos, timeout_s, "urgent records")
    took = [1000 * (ledger.came[one] - ledger.sent[one]) for one in photos]
    return {"ms": took, "latest_send_ms": 1000 * late}
