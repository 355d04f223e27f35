"""What the core reaches the world by."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from streamkit.clock import Clock
from streamkit.messages import Emit
from streamkit.metrics import Meter
from streamkit.ports import Producer
from streamkit.rate import Bucket, LocalBucket, parse_rate
from streamkit.records import RawRecord
from streamkit.standing import Tell


@dataclass(frozen=True, slots=True)
class Outside:
    """The core's clock, producer and meter.

    `encode` makes records of notices, None if nobody is to be told. `bucket_of` gives the bucket
    of a target at a rate, None: each worker has its own. `tell` is told how the worker stands,
    None: nobody is. `chance` is for jitter.
    """

    clock: Clock
    producer: Producer
    meter: Meter
    encode: Callable[[Emit], RawRecord] | None = None
    bucket_of: Callable[[str, str], Bucket] | None = None
    tell: Tell | None = None
    chance: random.Random = field(default_factory=random.Random)

    def bucket(self, target: str, rate: str) -> Bucket:
        """A new bucket."""
        if self.bucket_of is None:
            return LocalBucket(parse_rate(rate), self.clock)
        return self.bucket_of(target, rate)
