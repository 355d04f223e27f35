"""How many records a stage may begin, in all its workers together: token buckets.

A bucket is asked before work begins and answers at once, from memory. What the workers share lies
in Redis (`rate_redis`); while that is away, each goes on at its share of the rate.
"""

import contextlib
import math
import re
import threading
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

import structlog

from streamkit.clock import Clock

_log = structlog.get_logger("streamkit.rate")

_RATE: Final = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)/(s|m|h)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}

_HAIR: Final = 1e-6
"""Of a token: what is due now may lack as much, since numbers are rounded."""


class Rate(NamedTuple):
    """So many a second in the long run, and up to `burst` at once after a rest."""

    per_s: float
    burst: int

    def share(self, workers: int) -> "Rate":
        """What one of so many workers may do on its own."""
        return Rate(self.per_s / workers, max(1, self.burst // workers))

    def times(self, factor: float) -> "Rate":
        """So many times as many. Those who take at multiples of one rate may take from one bucket:
        what one of them takes costs the others what it is worth in their own rate."""
        return Rate(self.per_s * factor, max(1, math.ceil(self.burst * factor)))


def parse_rate(text: str) -> Rate:
    """The rate that a text such as `100/m`, `2.5/s` or `1000/h` says.

    May burst by what a second brings, at least one: in any minute `100/m` lets 102 pass at most.
    Raises ValueError for what is none, zero included: to stop a lane is to pause it.
    """
    count, window_s = _read(text)
    per_s = count / window_s
    return Rate(per_s, max(1, round(per_s)))


class Quota(NamedTuple):
    """So many in so many seconds, as people are told of it: all at once after a rest, if they like.

    What was used comes back evenly, one after the other, so that a window which begins with a rest
    may see nearly twice the number, and all that follow together no more than the rate.
    """

    amount: int
    window_s: int

    @property
    def rate(self) -> Rate:
        """As a bucket keeps it."""
        return Rate(self.amount / self.window_s, self.amount)

    def times(self, factor: float) -> "Quota":
        """So many times as many; in a longer window where they would be no whole number."""
        amount = float(self.amount * factor)
        if amount.is_integer():
            return Quota(int(amount), self.window_s)
        return Quota(self.amount, round(self.window_s / factor))


def parse_quota(text: str) -> Quota:
    """The quota that a text such as `100/m` says: whole numbers only. Raises ValueError."""
    count, window_s = _read(text)
    if not count.is_integer():
        raise ValueError(f"{text!r} is no quota: {count:g} is no whole number")
    return Quota(int(count), window_s)


def _read(text: str) -> tuple[float, int]:
    """How many in how many seconds. Raises ValueError."""
    match = _RATE.fullmatch(text)
    if match is None or not float(match[1]):
        raise ValueError(f"{text[:40]!r} is no rate: write for example 100/m, 2.5/s or 1000/h")
    return float(match[1]), _SECONDS[match[2]]


class Bucket(Protocol):
    """What the core asks before it lets records of a stage go. Called by the core's thread."""

    def take(self, most: int) -> int:
        """How many of `most` may begin now; they count as begun. Never blocks."""

    def next_at(self) -> float:
        """The monotonic second from which asking makes sense: one that is over, if it does already.

        Never merely now: who has asked since then, and wants no more, would never rest.
        """

    def change(self, rate: Rate) -> None:
        """From now on another rate."""

    def close(self) -> None:
        """Let go of what it holds."""


class LocalBucket:
    """A bucket of one worker's own; `tokens` it begins with, None: full."""

    def __init__(self, rate: Rate, clock: Clock, tokens: int | None = None) -> None:
        self._rate = rate
        self._clock = clock
        self._tokens = float(rate.burst if tokens is None else min(tokens, rate.burst))
        self._at = self._one_since = clock.monotonic()
        """Until when tokens are counted; since when there is a whole one, if there is."""

    def take(self, most: int) -> int:
        """See Bucket."""
        self._fill()
        granted = max(0, min(most, int(self._tokens)))
        self._tokens -= granted
        return granted

    def next_at(self) -> float:
        """See Bucket."""
        self._fill()
        return self._one_since if self._tokens >= 1 else self._whole_at()

    def change(self, rate: Rate) -> None:
        """See Bucket."""
        self._fill()
        self._rate = rate
        self._tokens = min(self._tokens, float(rate.burst))

    def close(self) -> None:
        """See Bucket; it holds nothing."""

    @property
    def left(self) -> float:
        """The tokens in it, and the part of the next one that has come."""
        self._fill()
        return self._tokens

    def _fill(self) -> None:
        now = self._clock.monotonic()
        # Without the hair a token that is due now may lack one part in 10^16 and come late.
        grown = self._tokens + (now - self._at) * self._rate.per_s + 1e-9
        if self._tokens < 1 <= grown:
            self._one_since = min(now, self._whole_at())
        self._tokens = min(grown, float(self._rate.burst))
        self._at = now

    def _whole_at(self) -> float:
        return self._at + (1.0 - self._tokens) / self._rate.per_s


class Answer(NamedTuple):
    """What the shared tokens say: how many were granted, seconds until there is another one, how
    many workers asked lately, and the tokens left with the part of the next one that has come."""

    granted: int
    wait_s: float
    workers: int
    left: float


class LocalTokens:
    """Tokens of one process's own, by the algorithm of those in Redis (`rate_redis`): `left_s` is
    for how long they have been coming since there were none; as long as can be, if not given."""

    def __init__(self, clock: Clock, left_s: float = math.inf) -> None:
        self._clock = clock
        self._empty = clock.monotonic() - left_s

    def ask(self, wanted: int, rate: Rate) -> Answer:
        """See Tokens."""
        now, interval_s = self._clock.monotonic(), 1 / rate.per_s
        full = now - rate.burst * interval_s
        empty = min(max(self._empty, full), now)
        granted = min(wanted, math.floor((now - empty) / interval_s + _HAIR))
        if granted:
            empty = self._empty = min(max(empty + granted * interval_s, full), now)
        wait_s = max(0.0, empty + interval_s - now)
        return Answer(granted, wait_s, 1, (now - empty) / interval_s)


class TokensAwayError(Exception):
    """Who keeps the shared tokens doesn't answer."""


class Tokens(Protocol):
    """Tokens that all workers of a stage share. May block for a moment."""

    def ask(self, wanted: int, rate: Rate) -> Answer:
        """Take up to `wanted`, or give so many back if it is negative; 0 says only that this
        worker is there. Raises TokensAwayError."""

    def leave(self) -> None:
        """This worker goes. Raises nothing."""


class AsyncTokens(Protocol):
    """Tokens, asked from an event loop. Answers within a moment."""

    async def ask(self, wanted: int, rate: Rate) -> Answer:
        """See Tokens."""

    async def leave(self) -> None:
        """See Tokens."""


HELLO_S: Final = 3.0
"""A worker says so often that it is there, also when it wants nothing."""

AWAY_S: Final = 1.0
"""So often it asks whether the shared tokens are back."""

IDLE_S: Final = 1.0
"""Tokens that were fetched and not taken for so long are given back."""

_SHARE_OF_SECOND: Final = 0.1
"""A worker fetches at most what a tenth of a second brings, so that none hoards."""

_IN_FLIGHT_S: Final = 0.02


def _nobody() -> None:
    """Wake nobody."""


def _unseen(_local: bool) -> None:
    """Nobody watches."""


class SharedBucket:
    """A bucket that all workers of a stage share.

    `take` answers from what was fetched; fetching is the work of `turn`, which a thread does once
    `start` was called. `wake` is called when tokens have come, `on_local` with True when the
    worker goes on at its own share because the shared tokens are away, and with False when they
    are back. `workers` is how many there are believed to be until the tokens tell.
    """

    def __init__(
        self,
        tokens: Tokens,
        rate: Rate,
        clock: Clock,
        workers: int = 1,
        *,
        wake: Callable[[], None] = _nobody,
        on_local: Callable[[bool], None] = _unseen,
    ) -> None:
        self._tokens = tokens
        self._rate = rate
        self._clock = clock
        self._workers = max(1, workers)
        self._wake = wake
        self._on_local = on_local
        self._lock = threading.Condition()
        self._closed = False
        self._held = 0
        self._wanted = False
        self._local: LocalBucket | None = None
        self._touched = self._ask_at = self._hello_at = clock.monotonic()
        self._thread: threading.Thread | None = None

    # -- called by the core ---------------------------------------------------------------------

    def take(self, most: int) -> int:
        """See Bucket."""
        with self._lock:
            if self._local is not None:
                return self._local.take(most)
            granted = max(0, min(most, self._held))
            self._held -= granted
            self._touched = self._clock.monotonic()
            batch = self._batch()
            # Ahead of need only where the next tokens are milliseconds away.
            if granted < most or (batch > 1 and self._held < batch // 2):
                self._wanted = True
                self._lock.notify()
            return granted

    def next_at(self) -> float:
        """See Bucket. When tokens come, `wake` is called."""
        with self._lock:
            if self._local is not None:
                return self._local.next_at()
            if self._held:
                return -math.inf
            return max(self._ask_at, self._clock.monotonic() + _IN_FLIGHT_S)

    def change(self, rate: Rate) -> None:
        """See Bucket."""
        with self._lock:
            self._rate = rate
            self._held = min(self._held, self._batch())
            self._ask_at = self._clock.monotonic()
            if self._local is not None:
                self._local.change(rate.share(self._workers))
            self._lock.notify()

    def start(self) -> None:
        """Fetch from now on, in a thread."""
        self._thread = threading.Thread(target=self._run, name="rate", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """See Bucket. Doesn't wait: the thread gives back what is held, and ends."""
        with self._lock:
            self._closed = True
            self._lock.notify()
        if self._thread is None:
            self._leave()

    # -- called by the thread -------------------------------------------------------------------

    def turn(self) -> float:
        """Ask if there is a reason to; gives the seconds after which there may be one again."""
        with self._lock:
            wanted = self._reason(self._clock.monotonic())
            if wanted is None:
                return self._pause()
            if wanted < 0:
                self._held = 0
        try:
            answer = self._tokens.ask(wanted, self._rate)
        except TokensAwayError as error:
            self._go_local(str(error))
        else:
            self._learn(max(0, wanted), answer)
        with self._lock:
            return self._pause()

    def _reason(self, now: float) -> int | None:
        """How many to ask for; None if there is no reason to ask."""
        if self._local is not None:
            return 0 if now >= self._ask_at else None
        if self._held and now - self._touched >= IDLE_S:
            return -self._held
        if self._wanted and now >= self._ask_at:
            return max(1, self._batch() - self._held)
        return 0 if now >= self._hello_at else None

    def _pause(self) -> float:
        """Until there may be a reason, if nobody takes meanwhile."""
        moments = [self._ask_at if self._local is not None else self._hello_at]
        if self._local is None and self._wanted:
            moments.append(self._ask_at)
        if self._local is None and self._held:
            moments.append(self._touched + IDLE_S)
        return max(0.0, min(moments) - self._clock.monotonic())

    def _learn(self, wanted: int, answer: Answer) -> None:
        with self._lock:
            now = self._clock.monotonic()
            back, self._local = self._local is not None, None
            self._workers = max(1, answer.workers)
            self._hello_at = now + HELLO_S
            self._held += max(0, answer.granted)
            self._ask_at = (
                now if answer.granted and answer.granted >= wanted else now + answer.wait_s
            )
            if answer.granted > 0:
                self._wanted, self._touched = False, now
        if back:
            _log.info("rate_shared_again", workers=self._workers)
            self._on_local(False)
        if back or answer.granted > 0:
            self._wake()

    def _go_local(self, why: str) -> None:
        with self._lock:
            self._ask_at = self._clock.monotonic() + AWAY_S
            if self._local is not None:
                return
            share = self._rate.share(self._workers)
            self._local, self._held = LocalBucket(share, self._clock, self._held), 0
        _log.warning("rate_local", per_s=round(share.per_s, 3), workers=self._workers, reason=why)
        self._on_local(True)
        self._wake()

    def _batch(self) -> int:
        return max(1, min(self._rate.burst, math.floor(self._rate.per_s * _SHARE_OF_SECOND)))

    def _leave(self) -> None:
        """Give back what is held; without an answer it is lost, which harms nobody."""
        with self._lock:
            held, self._held = self._held, 0
        if held:
            with contextlib.suppress(TokensAwayError):
                self._tokens.ask(-held, self._rate)
        self._tokens.leave()

    def _run(self) -> None:
        while not self._closed:
            try:
                pause_s = self.turn()
            except Exception as error:  # noqa: BLE001 - this thread must not end in silence
                _log.exception("rate_failed")
                self._go_local(str(error))
                pause_s = AWAY_S
            with self._lock:
                if not self._closed and not self._due():
                    self._lock.wait(pause_s)
        self._leave()

    def _due(self) -> bool:
        """Whether somebody gave a reason to ask since `turn` looked."""
        return self._reason(self._clock.monotonic()) is not None
