"""Photos that are handed in at the same time are recorded together.

A transaction costs the door, the database and the disk about as much for ten photos as for one, so
under load, when most are handed in, each costs the least; alone, none waits for another.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import psycopg

from gateway.api.catalog import Catalog
from gateway.api.writes import Recorded, Writes
from gateway.catalog.submissions import HandedIn, Submission
from gateway.db import away

_MOST: Final = 32
"""Photos of a transaction: it holds their locks until its end."""
_AT_ONCE: Final = 2
"""Transactions: one that waits for a lock holds no others up."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    catalog: Catalog
    photo_id: str
    photo: HandedIn
    answer: asyncio.Future[Recorded] = field(default_factory=asyncio.Future)

    def end(self, result: Recorded | Exception) -> None:
        """Tell who waits, if anybody does by now."""
        if self.answer.done():
            return
        if isinstance(result, Exception):
            self.answer.set_exception(result)
        else:
            self.answer.set_result(result)


class HandingIn:
    """Records photos, those together that come while others are recorded. Of one event loop."""

    def __init__(self, writes: Writes) -> None:
        self._writes = writes
        self._waiting: list[_Waiting] = []
        self._work: set[asyncio.Task[None]] = set()

    async def record(self, catalog: Catalog, submission: Submission) -> Recorded:
        """Record a photo whose bytes are stored. Raises ProblemError, psycopg's errors,
        PoolTimeout."""
        one = _Waiting(catalog, submission.photo_id, HandedIn(submission))
        self._waiting.append(one)
        if len(self._work) < _AT_ONCE:
            task = asyncio.create_task(self._record_all())
            self._work.add(task)
            task.add_done_callback(self._work.discard)
        return await one.answer

    async def _record_all(self) -> None:
        while chosen := self._next():
            try:
                await self._record(chosen)
            except Exception as error:  # noqa: BLE001 - told to those who wait for it
                for one in chosen:
                    one.end(error)
            finally:
                for one in chosen:
                    one.answer.cancel()  # where the door closes

    def _next(self) -> list[_Waiting]:
        """Those that waited longest: of one owner, each another photo."""
        chosen: dict[str, _Waiting] = {}
        left: list[_Waiting] = []
        for one in self._waiting:
            first = next(iter(chosen.values()), one)
            same = one.catalog.owner == first.catalog.owner and one.photo_id not in chosen
            if same and len(chosen) < _MOST:
                chosen[one.photo_id] = one
            else:
                left.append(one)
        self._waiting = left
        return list(chosen.values())

    async def _record(self, chosen: Sequence[_Waiting]) -> None:
        try:
            answers = await chosen[0].catalog.ask(
                self._writes.photos, [one.photo for one in chosen]
            )
        except psycopg.Error as error:
            if len(chosen) == 1 or away(error):
                raise
            # One of them may be what the database refuses; the others are not to blame.
            for one in chosen:
                await self._alone(one)
            return
        for one, answer in zip(chosen, answers, strict=True):
            one.end(answer)

    async def _alone(self, one: _Waiting) -> None:
        try:
            await self._record([one])
        except Exception as error:  # noqa: BLE001 - told to who waits for it
            one.end(error)
