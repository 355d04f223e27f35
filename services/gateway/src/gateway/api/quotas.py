"""How many requests of a class all api doors together let begin.

Redis keeps the quotas, by its own clock. While it is away each door goes on at its share; what was
let in meanwhile is taken off once Redis is back.
"""

import asyncio
import math
from collections.abc import Mapping
from typing import Final, NamedTuple

import structlog

from streamkit.clock import Clock, SystemClock
from streamkit.rate import (
    AWAY_S,
    HELLO_S,
    Answer,
    AsyncTokens,
    LocalBucket,
    Quota,
    TokensAwayError,
)

_log = structlog.get_logger("gateway.api.quotas")

_HAIR: Final = 1e-6
"""Parts of a token are known to that precision."""


class Verdict(NamedTuple):
    """Whether a request may begin, how many more may, and the seconds until that is one more."""

    admitted: bool
    quota: Quota
    left: int
    more_s: float


class SharedQuota:
    """One quota. To be used from one event loop; `away` says why Redis is, None: it is there."""

    def __init__(self, tokens: AsyncTokens, quota: Quota, clock: Clock) -> None:
        self._tokens = tokens
        self._quota = quota
        self._rate = quota.rate
        self._clock = clock
        self._doors = 1
        self._left = float(quota.amount)
        self._local: LocalBucket | None = None
        self._let_in = 0
        self.away: str | None = None

    async def take(self) -> Verdict:
        """Take one, if there is one."""
        local = self._local
        if local is None:
            try:
                answer = await self._tokens.ask(1, self._rate)
            except TokensAwayError as error:
                local = self._go_local(str(error))
            else:
                self._learn(answer)
                return self._verdict(answer.granted > 0, answer.left)
        admitted = local.take(1) > 0
        self._let_in += admitted
        return self._verdict(admitted, local.left)

    async def turn(self) -> float:
        """Say that this door is there, and see whether Redis is; due again after these seconds."""
        try:
            answer = await self._tokens.ask(0, self._rate)
            # Not at once: a Redis that stands still would take it off for each time it was asked.
            if owed := self._owed():
                answer = await self._tokens.ask(owed, self._rate)
        except TokensAwayError as error:
            self._go_local(str(error))
            return AWAY_S
        self._learn(answer)
        self._local, self._let_in, self.away = None, 0, None
        return HELLO_S

    async def leave(self) -> None:
        """This door goes."""
        await self._tokens.leave()

    def _owed(self) -> int:
        """What was let in without Redis, less what has come back since."""
        if self._local is None:
            return 0
        share = self._rate.share(self._doors)
        return min(self._let_in, max(0, math.floor(share.burst - self._local.left + _HAIR)))

    def _learn(self, answer: Answer) -> None:
        self._doors, self._left = max(1, answer.workers), answer.left

    def _go_local(self, why: str) -> LocalBucket:
        if self._local is None:
            share, tokens = self._rate.share(self._doors), int(self._left / self._doors)
            self._local, self._let_in = LocalBucket(share, self._clock, tokens), 0
        self.away = why
        return self._local

    def _verdict(self, admitted: bool, tokens: float) -> Verdict:
        left = max(0, math.floor(tokens + _HAIR))
        rate = self._rate if self._local is None else self._rate.share(self._doors)
        return Verdict(admitted, self._quota, left, max(0.0, left + 1 - tokens) / rate.per_s)


class Quotas:
    """The quotas by class; what has none is not limited."""

    def __init__(
        self, wanted: Mapping[str, tuple[AsyncTokens, Quota]], clock: Clock | None = None
    ) -> None:
        clock = clock or SystemClock()
        self._quotas = {
            name: SharedQuota(tokens, quota, clock) for name, (tokens, quota) in wanted.items()
        }
        self.local = False
        """Whether this door keeps to its share."""

    async def take(self, name: str) -> Verdict | None:
        """Let one begin, if it may; None for a class that is not limited."""
        quota = self._quotas.get(name)
        if quota is None:
            return None
        verdict = await quota.take()
        self._tell()
        return verdict

    async def turn(self) -> float:
        """Have each quota's turn; they are due again after these seconds."""
        pauses = [await quota.turn() for quota in self._quotas.values()]
        self._tell()
        return min(pauses, default=HELLO_S)

    async def run(self) -> None:
        """Take turns until cancelled; then this door is not counted any more."""
        try:
            while True:
                due_s = await self.turn()
                await asyncio.sleep(due_s)
        finally:
            await self.leave()

    async def leave(self) -> None:
        """This door goes."""
        for quota in self._quotas.values():
            await quota.leave()

    def _tell(self) -> None:
        reasons = [quota.away for quota in self._quotas.values() if quota.away is not None]
        if bool(reasons) == self.local:
            return
        self.local = bool(reasons)
        if reasons:
            _log.warning("rate_local", reason=reasons[0])
        else:
            _log.info("rate_shared_again")
