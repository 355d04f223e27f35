"""Waiting between attempts."""

import random
import threading
from collections.abc import Callable
from typing import Final

_FIRST_DELAY_S: Final = 0.2
_LONGEST_DELAY_S: Final = 5.0

Later = Callable[[float, Callable[[], None]], None]
"""Calls a function after so many seconds, in the thread of whoever offers it."""


class Stopped(Exception):  # noqa: N818 - it is an event, not an error
    """The process was asked to stop while something was waited for."""


_chance: Final = random.Random()  # noqa: S311 - jitter


def delay_s(attempt: int, chance: random.Random = _chance) -> float:
    """Seconds to wait after the `attempt`-th failure (from 1): exponential, with full jitter.

    Jitter as in Brooker, "Exponential Backoff and Jitter" (2015), kept above half of the value so
    that a wait is never nothing; `chance` makes it.
    """
    # The exponent is bounded first: a dependency may be away for thousands of attempts.
    longest = min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** min(attempt - 1, 16))
    return longest * chance.uniform(0.5, 1.0)


def wait(attempt: int, stop: threading.Event) -> None:
    """Wait as `delay_s` says; raises Stopped as soon as `stop` is set."""
    if stop.wait(delay_s(attempt)):
        raise Stopped
