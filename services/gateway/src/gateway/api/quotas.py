"""How many requests of a class all api doors together let begin, for each key.

Redis keeps the quotas, by its own clock. While it is away each door goes on at its share; what was
let in meanwhile is taken off once Redis is back.

A lane of which more or less is let in for now (its share, see `gateway.adapting`) takes from the
same tokens as the others of its class, at another rate: where half as many are let in, each takes
two.
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
    LocalTokens,
    Quota,
    Rate,
    TokensAwayError,
)

_log = structlog.get_logger("gateway.api.quotas")

ANYBODY: Final = "local"
"""Who asks without a key."""

_HAIR: Final = 1e-6
"""Parts of a token are known to that precision."""


_PARTS: Final = 2
"""A request costs whole halves of a token."""


class Verdict(NamedTuple):
    """Whether a request may begin, how many more like it may, and the seconds until that is one
    more; `quota` is what holds for such."""

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
        self._left_s = float(quota.window_s)
        self._local: LocalTokens | None = None
        self._let_in = 0.0
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

    async def take(self, share: float) -> Verdict:
        """Take one, if there is one, where so many times the quota is let in."""
        self._used_at = self._clock.monotonic()
        rate, local = self._rate.times(share), self._local
        if local is None:
            try:
                answer = await self._tokens.ask(1, rate)
            except TokensAwayError as error:
                local = self._go_local(str(error))
            else:
                self._learn(answer, rate)
                return self._verdict(answer, share, rate)
        rate = rate.share(self.doors)
        answer = local.ask(1, rate)
        self._let_in += answer.granted / share
        return self._verdict(answer, share, rate)

    async def turn(self) -> float:
        """Say that this door is there, and see whether Redis is; due again after these seconds."""
        rate = self._rate
        try:
            answer = await self._tokens.ask(0, rate)
            # Not at once: a Redis that stands still would take it off for each time it was asked.
            if owed := self._owed():
                rate = rate.times(_PARTS)
                answer = await self._tokens.ask(owed, rate)
        except TokensAwayError as error:
            self._go_local(str(error))
            return AWAY_S
        self._learn(answer, rate)
        self._local, self._let_in, self.away = None, 0.0, None
        return HELLO_S

    async def leave(self) -> None:
        """This door goes."""
        await self._tokens.leave()

    def _owed(self) -> int:
        """What was let in without Redis, less what has come back since; in parts of a token."""
        if self._local is None:
            return 0
        share = self._rate.share(self.doors)
        gone = max(0.0, share.burst - self._local.ask(0, share).left)
        return math.floor(min(self._let_in, gone) * _PARTS + _HAIR)

    def _learn(self, answer: Answer, rate: Rate) -> None:
        self._counted, self._left_s = max(1, answer.workers), answer.left / rate.per_s

    def _go_local(self, why: str) -> LocalTokens:
        if self._local is None:
            share = self._rate.share(self.doors)
            tokens = math.floor(self._left_s * share.per_s + _HAIR)
            self._local, self._let_in = LocalTokens(self._clock, tokens / share.per_s), 0.0
        self.away = why
        return self._local

    def _verdict(self, answer: Answer, share: float, rate: Rate) -> Verdict:
        left = max(0, math.floor(answer.left + _HAIR))
        more_s = max(0.0, left + 1 - answer.left) / rate.per_s
        return Verdict(answer.granted > 0, self._quota.times(share), left, more_s)


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

    def __contains__(self, name: str) -> bool:
        """Whether a class is limited."""
        return name in self._wanted

    async def take(self, name: str, who: str, share: float = 1.0) -> Verdict:
        """Let one begin, if it may, where so many times the quota is let in. Raises KeyError for a
        class that is not limited."""
        verdict = await self._quota(name, who).take(share)
        self._tell()
        return verdict

    def _quota(self, name: str, who: str) -> SharedQuota:
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
