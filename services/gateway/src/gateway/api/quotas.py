"""How many requests of a class all api doors together let begin, for each key.

Redis keeps the quotas, by its own clock. While it is away each door goes on at its share; what was
let in meanwhile is taken off once Redis is back.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
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

ANYBODY: Final = "local"
"""Who asks without a key."""

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

    def __init__(
        self, tokens: AsyncTokens, quota: Quota, clock: Clock, least_doors: Callable[[], int]
    ) -> None:
        self._tokens = tokens
        self._quota = quota
        self._rate = quota.rate
        self._clock = clock
        self._least_doors = least_doors
        self._counted = 1
        self._left = float(quota.amount)
        self._local: LocalBucket | None = None
        self._let_in = 0
        self._used_at = clock.monotonic()
        self.away: str | None = None

    @property
    def doors(self) -> int:
        """How many share it: those that were asked for it, at least."""
        return max(self._counted, self._least_doors())

    @property
    def rested(self) -> bool:
        """Whether nothing was taken for so long that it is as if it were new."""
        return self._clock.monotonic() - self._used_at > self._quota.window_s

    async def take(self) -> Verdict:
        """Take one, if there is one."""
        self._used_at = self._clock.monotonic()
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
        share = self._rate.share(self.doors)
        return min(self._let_in, max(0, math.floor(share.burst - self._local.left + _HAIR)))

    def _learn(self, answer: Answer) -> None:
        self._counted, self._left = max(1, answer.workers), answer.left

    def _go_local(self, why: str) -> LocalBucket:
        if self._local is None:
            share, tokens = self._rate.share(self.doors), int(self._left / self.doors)
            self._local, self._let_in = LocalBucket(share, self._clock, tokens), 0
        self.away = why
        return self._local

    def _verdict(self, admitted: bool, tokens: float) -> Verdict:
        left = max(0, math.floor(tokens + _HAIR))
        rate = self._rate if self._local is None else self._rate.share(self.doors)
        return Verdict(admitted, self._quota, left, max(0.0, left + 1 - tokens) / rate.per_s)


Shelf = Callable[[str, str], AsyncTokens]
"""The tokens of a class and of who asks."""


class Quotas:
    """The quotas by class; what has none is not limited. Each who asks has their own."""

    def __init__(
        self, wanted: Mapping[str, Quota], tokens: Shelf, clock: Clock | None = None
    ) -> None:
        self._wanted, self._tokens, self._clock = wanted, tokens, clock or SystemClock()
        self._quotas: dict[tuple[str, str], SharedQuota] = {}
        # Those of nobody in particular are always there, and so tell how many doors there are.
        for name in wanted:
            self._quotas[name, ANYBODY] = self._made(name, ANYBODY, lambda: 1)
        self.local = False
        """Whether this door keeps to its share."""

    async def take(self, name: str, who: str) -> Verdict | None:
        """Let one begin, if it may; None for a class that is not limited."""
        quota = self._quota(name, who)
        if quota is None:
            return None
        verdict = await quota.take()
        self._tell()
        return verdict

    def _quota(self, name: str, who: str) -> SharedQuota | None:
        if name not in self._wanted:
            return None
        if (name, who) not in self._quotas:
            anybody = self._quotas[name, ANYBODY]
            self._quotas[name, who] = self._made(name, who, lambda: anybody.doors)
        return self._quotas[name, who]

    def _made(self, name: str, who: str, least_doors: Callable[[], int]) -> SharedQuota:
        return SharedQuota(self._tokens(name, who), self._wanted[name], self._clock, least_doors)

    async def turn(self) -> float:
        """Have each quota's turn; they are due again after these seconds."""
        rested = [each for each, quota in self._quotas.items() if quota.rested]
        for each in [each for each in rested if each[1] != ANYBODY]:
            await self._quotas.pop(each).leave()
        pauses = [await quota.turn() for quota in list(self._quotas.values())]
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
        for quota in list(self._quotas.values()):
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
