"""A group's members in memory, and which partitions each shall have."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from streamkit.clock import Clock
from streamkit.records import Offsets, Partition

SESSION_S: Final = 10.0
"""A member that has not been heard of for so long is expelled."""


class Member:
    """A member, as the broker sees it.

    `owned` it has taken over, `target` it shall have. A partition is free for its new owner only
    once the old one has given it up. `busy`: it is draining; it is heard of meanwhile, as
    heartbeats of Kafka's clients go on in a thread of their own.
    """

    __slots__ = ("busy", "expelled", "owned", "seen", "target", "topics")

    def __init__(self, topics: Sequence[str], now: float) -> None:
        self.topics = frozenset(topics)
        self.seen = now
        self.busy = False
        self.expelled = False
        self.owned: set[Partition] = set()
        self.target: set[Partition] = set()


class Group:
    """Members in the order of joining. Assignment is sticky, even, and the same every time."""

    def __init__(self, clock: Clock, partitions_of: Callable[[str], int]) -> None:
        self.committed: dict[Partition, int] = {}
        self.changes = 0
        """Another number whenever a member has, or shall have, other partitions."""
        self._clock = clock
        self._partitions_of = partitions_of
        self.members: list[Member] = []

    def join(self, topics: Sequence[str]) -> Member:
        """A new member."""
        member = Member(topics, self._clock.monotonic())
        self.members.append(member)
        self._balance()
        return member

    def leave(self, member: Member) -> None:
        """The member goes; harmless if it is gone."""
        member.expelled = True
        if member in self.members:
            self.members.remove(member)
            self._balance()

    def heard_of(self, member: Member) -> None:
        """Expel whoever has not been heard of for too long, maybe this one; it was heard of now."""
        now = self._clock.monotonic()
        for one in list(self.members):
            if not one.busy and now - one.seen > SESSION_S:
                self.leave(one)
        member.seen = now

    def expel_all(self) -> None:
        """Forget every member."""
        for member in list(self.members):
            self.leave(member)

    def revive(self) -> None:
        """Begin every member's session anew, as a broker does that has started again."""
        for member in self.members:
            member.seen = self._clock.monotonic()

    def commit(self, member: Member, offsets: Offsets) -> bool:
        """Commit what the member owns of these; False if it is none of the group's any more."""
        if member.expelled:
            return False
        owned = member.owned
        self.committed.update({place: at for place, at in offsets.items() if place in owned})
        return True

    def given_up(self, member: Member, partitions: Sequence[Partition]) -> None:
        """The member has these no more."""
        member.owned.difference_update(partitions)
        self.changes += 1

    def to_give_up(self, member: Member) -> list[Partition]:
        """What the member has and shall not have."""
        return sorted(member.owned - member.target)

    def to_take_over(self, member: Member) -> list[Partition]:
        """What the member shall have, has not, and nobody else has any more."""
        wanted = member.target - member.owned
        return sorted(wanted.difference(*(one.owned for one in self.members)))

    def _balance(self) -> None:
        """Give each partition to a member that wants its topic; move as few as evenness needs."""
        self.changes += 1
        wanted = self._wanted()
        for member in self.members:
            member.target &= wanted.keys()
        held = set[Partition]().union(*(member.target for member in self.members))
        for place in sorted(wanted.keys() - held):
            min(wanted[place], key=_load).target.add(place)
        for place, giver, getter in self._uneven(wanted):
            giver.target.remove(place)
            getter.target.add(place)

    def _wanted(self) -> dict[Partition, list[Member]]:
        found: dict[Partition, list[Member]] = {}
        for member in self.members:
            for topic in member.topics:
                for number in range(self._partitions_of(topic)):
                    found.setdefault(Partition(topic, number), []).append(member)
        return found

    def _uneven(
        self, wanted: Mapping[Partition, Sequence[Member]]
    ) -> Iterator[tuple[Partition, Member, Member]]:
        """Moves from a member with two partitions more than another that could have one of them."""
        moved = True
        while moved:
            moved = False
            for giver in sorted(self.members, key=_load, reverse=True):
                for place in sorted(giver.target, reverse=True):
                    getter = min(wanted[place], key=_load)
                    if _load(giver) - _load(getter) >= 2:
                        moved = True
                        yield place, giver, getter


def _load(member: Member) -> int:
    return len(member.target)
