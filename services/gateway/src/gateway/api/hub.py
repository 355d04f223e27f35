"""Fan-out of news to those who wait for them: WebSockets and requests with `Prefer: wait`.

A client gets the newest state of each photo and import, not every step on the way: news of the
same thing that a slow client has not taken yet replace each other. A client that stays behind by
more different things than its bound is closed and reads the present state when it comes back.
Everything here belongs to one event loop.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

SHUTTING_DOWN: Final = 1012
"""WebSocket close code: service restart (IANA registry of RFC 6455 close codes)."""
TOO_SLOW: Final = 1013
"""WebSocket close code: try again later."""

Kind = Literal["photo", "batch", "notice"]
Thing = tuple[Kind, UUID]
"""A photo, an import, or what a person should know."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A photo or an import has a new state in the catalog, or there is something to tell people;
    `batches` are a photo's imports."""

    kind: Kind
    id: UUID
    batches: frozenset[UUID] = frozenset()


Load = Callable[[str, Sequence[Thing]], Awaitable[Mapping[Thing, str]]]
"""The present states of things, as JSON to send; those that an owner has not are left out."""


class Closed(Exception):  # noqa: N818  # an end, not an error
    """Nothing more will come; `code` and `reason` are for the WebSocket's close frame."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Subscription:
    """What one client waits for."""

    def __init__(self, owner: str, photo: UUID | None, batch: UUID | None, bound: int) -> None:
        self.owner = owner
        self._photo = photo
        self._batch = batch
        self._bound = bound
        self._waiting: dict[Thing, str] = {}
        self._closed: Closed | None = None
        self._news = asyncio.Event()

    def wants(self, notice: Notice) -> bool:
        """Whether the client asked for this."""
        if self._photo is None and self._batch is None:
            return True
        if notice.kind == "photo":
            return notice.id == self._photo or self._batch in notice.batches
        return notice.kind == "batch" and notice.id == self._batch

    def offer(self, thing: Thing, text: str) -> None:
        """Put a state into the queue; of the same thing only the newest stays."""
        if self._closed is not None:
            return
        self._waiting[thing] = text
        if len(self._waiting) > self._bound:
            self.close(Closed(TOO_SLOW, "too slow; connect again and read the present state"))
        self._news.set()

    def offer_first(self, thing: Thing, text: str) -> None:
        """Offer the state that was there at the beginning, unless news of the thing wait already:
        they came while it was loaded, so they are newer."""
        if thing not in self._waiting:
            self.offer(thing, text)

    def close(self, why: Closed) -> None:
        """Nothing more will come, and what waits is not sent any more."""
        self._closed = self._closed or why
        self._waiting.clear()
        self._news.set()

    async def take(self) -> list[str]:
        """All states that wait, at least one; raises Closed."""
        await self._news.wait()
        if self._closed is not None:
            raise self._closed
        self._news.clear()
        taken = list(self._waiting.values())
        self._waiting.clear()
        return taken

    async def changed(self, timeout_s: float) -> None:
        """Wait for news, at most so long; raises Closed."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.take()
        except TimeoutError:
            return


class Hub:
    """All subscriptions of this process."""

    def __init__(self, load: Load, bound: int) -> None:
        self._load = load
        self._bound = bound
        self._subscriptions: set[Subscription] = set()
        self.owners: set[str] = set()
        """Who ever listened here."""
        self._closing: Closed | None = None

    @contextmanager
    def subscribe(
        self, owner: str, photo: UUID | None = None, batch: UUID | None = None
    ) -> Iterator[Subscription]:
        """Be told of everything that an owner has, or of these, until the context ends."""
        self.owners.add(owner)
        subscription = Subscription(owner, photo, batch, self._bound)
        self._subscriptions.add(subscription)
        if self._closing is not None:
            subscription.close(self._closing)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    async def deliver(self, notices: Sequence[Notice]) -> None:
        """Load each thing once for each owner, if anyone wants it, and offer it to those who do."""
        for owner in {each.owner for each in self._subscriptions}:
            await self._deliver(owner, notices)

    async def _deliver(self, owner: str, notices: Sequence[Notice]) -> None:
        listening = [each for each in self._subscriptions if each.owner == owner]
        wanted = [
            (notice, wanting)
            for notice in notices
            if (wanting := [each for each in listening if each.wants(notice)])
        ]
        if not wanted:
            return
        states = await self._load(owner, list({(notice.kind, notice.id) for notice, _ in wanted}))
        for notice, wanting in wanted:
            thing = (notice.kind, notice.id)
            for subscription in wanting:
                if thing in states:
                    subscription.offer(thing, states[thing])

    def close(self) -> None:
        """The process stops: end every subscription, also those that come later."""
        self._closing = Closed(SHUTTING_DOWN, "Darkroom stops; connect again")
        for subscription in self._subscriptions:
            subscription.close(self._closing)
