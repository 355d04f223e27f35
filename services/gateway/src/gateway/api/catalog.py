"""Asking the catalog from the event loop."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Concatenate, Final, ParamSpec, TypeVar

import psycopg

from gateway.api.hub import Thing
from gateway.catalog.deliveries import notices_by_id
from gateway.catalog.read import photos_by_id
from gateway.catalog.read_batches import batches_by_id
from gateway.db import Conn, Pool
from streamkit.backoff import delay_s

P = ParamSpec("P")
T = TypeVar("T")

CONNECTION_S: Final = 3.0
"""How long a question waits for a connection before the database counts as away."""

_ANSWER_S: Final = 20.0
"""A database that stands still (a stopped process, a disk that hangs) never says so by itself."""

_TRIES: Final = 3

_UNTOLD: Final = {"deliveries"}
"""Of a notice: how others are told of it changes while it is sent."""


class Catalog:
    """The catalog as one owner sees it. Questions run in threads and may be asked at once."""

    def __init__(self, pool: Pool, owner: str) -> None:
        self._pool = pool
        self.owner = owner

    def of(self, owner: str) -> "Catalog":
        """The same as another owner sees it."""
        return self if owner == self.owner else Catalog(self._pool, owner)

    async def ask(
        self,
        question: Callable[Concatenate[Conn, str, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """The answer of `question(connection, owner, …)`; raises psycopg's errors, PoolTimeout.

        What PostgreSQL ended because it and another transaction waited for each other is asked
        again. An answer that does not come is waited for no longer than a person would: whatever
        becomes of the question then, repeating it is harmless.
        """

        def asking() -> T:
            with self._pool.connection(timeout=CONNECTION_S) as conn:
                return question(conn, self.owner, *args, **kwargs)

        for tries in count(1):
            try:
                return await asyncio.wait_for(asyncio.to_thread(asking), _ANSWER_S)
            except psycopg.errors.DeadlockDetected:
                if tries == _TRIES:
                    raise
                await asyncio.sleep(delay_s(tries))
            except TimeoutError as error:
                raise psycopg.OperationalError(f"no answer within {_ANSWER_S:.0f} s") from error
        raise AssertionError  # pragma: no cover  # the loop above has no end of its own

    async def load(self, things: Sequence[Thing]) -> Mapping[Thing, str]:
        """The present states of photos and imports, as the WebSocket sends them."""
        photos = [each for kind, each in things if kind == "photo"]
        batches = [each for kind, each in things if kind == "batch"]
        notices = [each for kind, each in things if kind == "notice"]
        states: dict[Thing, str] = {}
        if photos:
            for photo_id, photo in (await self.ask(photos_by_id, photos)).items():
                text = f'{{"type":"photo","photo":{photo.model_dump_json()}}}'
                states[("photo", photo_id)] = text
        if batches:
            for batch_id, batch in (await self.ask(batches_by_id, batches)).items():
                text = f'{{"type":"batch","batch":{batch.model_dump_json()}}}'
                states[("batch", batch_id)] = text
        if notices:
            for notice_id, notice in (await self.ask(notices_by_id, notices)).items():
                text = f'{{"type":"notice","notice":{notice.model_dump_json(exclude=_UNTOLD)}}}'
                states[("notice", notice_id)] = text
        return states
