"""A Consumer of the broker in memory."""

from collections.abc import Sequence
from typing import Final

import structlog

from streamkit.memory.broker import MemoryBroker
from streamkit.memory.groups import Member
from streamkit.ports import Listener
from streamkit.records import Offsets, Partition, Taken

_log = structlog.get_logger("streamkit.memory")

COMMIT_INTERVAL_S: Final = 0.5
"""As the Kafka backend has it."""


class MemoryConsumer:
    """A Consumer. As with Kafka, whatever concerns its group happens inside `consume` and `close`:
    joining, giving up, taking over, and the commits in the background."""

    def __init__(
        self, broker: MemoryBroker, group: str, topics: Sequence[str], listener: Listener
    ) -> None:
        self._broker = broker
        self._group = broker.group(group)
        self._topics = tuple(topics)
        self._listener = listener
        self._member: Member | None = None
        self._positions: dict[Partition, int] = {}
        self._paused: set[Partition] = set()
        self._stored: dict[Partition, int] = {}
        self._committed_at = broker.clock.monotonic()
        self._turn = 0
        self._nothing_at = -1
        """The broker's count of changes at which there was nothing to be done."""

    def consume(self, most: int, timeout_s: float) -> list[Taken]:
        """See Consumer. Never waits itself: see MemoryBroker.idle."""
        records = self._consumed(most)
        if not records and timeout_s > 0:
            self._broker.idle(timeout_s)
            records = self._consumed(most)
        return records

    def store(self, offsets: Offsets) -> None:
        """See Consumer."""
        ours = self._positions
        self._stored.update({place: at for place, at in offsets.items() if place in ours})

    def pause(self, partitions: Sequence[Partition]) -> None:
        """See Consumer."""
        self._paused.update(place for place in partitions if place in self._positions)

    def resume(self, partitions: Sequence[Partition]) -> None:
        """See Consumer."""
        self._paused.difference_update(partitions)
        self._nothing_at = -1

    def heartbeat(self) -> None:
        """Stay a member without consuming, as Kafka's clients do in the background."""
        if self._member is not None and not self._broker.down:
            self._group.heard_of(self._member)

    def close(self) -> None:
        """See Consumer. If the broker is down, the group learns of it when the session ends."""
        member, self._member = self._member, None
        if member is None:
            return
        if not member.expelled:
            self._give_up(member, sorted(self._positions))
        elif self._positions:
            self._lose()
        if not self._broker.down:
            self._group.leave(member)

    def _consumed(self, most: int) -> list[Taken]:
        if self._broker.down:
            return []
        member = self._joined()
        self._commit_in_background(member)
        if self._nothing_at == self._broker.changes:
            return []
        going = self._group.to_give_up(member)
        if going:
            self._give_up(member, going)
        if not member.expelled:
            self._take_over(member)
        changes = self._broker.changes
        found = self._fetched(most)
        if most and not found and not member.expelled:
            self._nothing_at = changes
        return found

    def _joined(self) -> Member:
        """Our membership; a new one if there was none, or if we have been expelled."""
        member = self._member
        if member is not None:
            self._group.heard_of(member)
            if not member.expelled:
                return member
            self._lose()
        self._member = member = self._group.join(self._topics)
        if not self._group.to_take_over(member):
            self._listener.assigned(())
        return member

    def _lose(self) -> None:
        lost = sorted(self._positions)
        self._forget(lost)
        self._listener.lost(lost)

    def _give_up(self, member: Member, partitions: Sequence[Partition]) -> None:
        member.busy = True
        try:
            answer = self._listener.revoked(partitions)
        finally:
            member.busy = False
        stored = {place: at for place, at in self._stored.items() if place in partitions}
        if self._broker.down or not self._group.commit(member, {**stored, **answer}):
            _log.warning("commit_failed", partitions=partitions)
        self._group.given_up(member, partitions)
        member.seen = self._broker.clock.monotonic()
        self._forget(partitions)

    def _take_over(self, member: Member) -> None:
        coming = self._group.to_take_over(member)
        if coming:
            member.owned.update(coming)
            committed = self._group.committed
            self._positions.update({place: committed.get(place, 0) for place in coming})
            self._listener.assigned(coming)

    def _forget(self, partitions: Sequence[Partition]) -> None:
        for place in partitions:
            self._positions.pop(place, None)
            self._stored.pop(place, None)
            self._paused.discard(place)

    def _commit_in_background(self, member: Member) -> None:
        now = self._broker.clock.monotonic()
        if now - self._committed_at >= COMMIT_INTERVAL_S and self._stored:
            self._group.commit(member, self._stored)
            self._stored = {}
            self._committed_at = now

    def _fetched(self, most: int) -> list[Taken]:
        """Records of the partitions in turn, so that none starves behind a full one."""
        places = sorted(place for place in self._positions if place not in self._paused)
        found: list[Taken] = []
        if not places:
            return found
        self._turn = turn = (self._turn + 1) % len(places)
        for place in places[turn:] + places[:turn]:
            room = most - len(found)
            if room <= 0:
                break
            records = self._broker.read(place, self._positions[place], room)
            if records:
                self._positions[place] = records[-1].offset + 1
                found += records
        return found
