"""Groups in memory behave as Kafka's: one owner of a partition at a time, whoever comes or goes."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.memory.backend import MemoryBackend
from streamkit.memory.broker import MemoryBroker
from streamkit.memory.consumer import COMMIT_INTERVAL_S
from streamkit.memory.groups import SESSION_S
from streamkit.records import Offsets, Partition, RawRecord, Taken

P0, P1, P2, P3 = (Partition("t", number) for number in range(4))


class Now:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def waits(self, seconds: float) -> None:
        self.now += seconds


class Member:
    """A member that notes what it is told."""

    def __init__(self, world: "World", topics: Sequence[str] = ("t",)) -> None:
        self.world = world
        self.has: set[Partition] = set()
        self.trail: list[tuple[str, list[int]]] = []
        self.answer: dict[Partition, int] = {}
        self.drain_s = 0.0
        self.consumer = world.backend.consumer("g", topics, self)

    def assigned(self, partitions: Sequence[Partition]) -> None:
        self.trail.append(("assigned", [one.number for one in partitions]))
        self.has.update(partitions)

    def revoked(self, partitions: Sequence[Partition]) -> Offsets:
        self.trail.append(("revoked", [one.number for one in partitions]))
        self.world.now.now += self.drain_s
        for other in self.world.meanwhile:
            other.step()
        self.has.difference_update(partitions)
        return {one: at for one, at in self.answer.items() if one in partitions}

    def lost(self, partitions: Sequence[Partition]) -> None:
        self.trail.append(("lost", [one.number for one in partitions]))
        self.has.difference_update(partitions)

    def step(self, most: int = 100) -> list[Taken]:
        return self.consumer.consume(most, 0)


class World:
    def __init__(self) -> None:
        self.now = Now()
        self.broker = MemoryBroker(self.now, idle=self.now.waits)
        self.backend = MemoryBackend(self.broker)
        self.meanwhile: list[Member] = []

    def member(self, *topics: str) -> Member:
        return Member(self, topics or ("t",))

    def fill(self, each: int, partitions: int = 4) -> None:
        """Put so many records into each partition of a new topic."""
        self.broker.declare("t", partitions)
        for _ in range(each * partitions):
            self.broker.append(RawRecord("t", None, b"v", []))


@pytest.fixture
def world() -> World:
    return World()


def test_a_member_alone_has_everything(world: World) -> None:
    member = world.member()
    member.step()
    assert member.trail == [("assigned", [0, 1, 2, 3])]


def test_a_member_for_whom_nothing_is_left_is_told_so(world: World) -> None:
    world.broker.declare("t", 1)
    first, second = world.member(), world.member()
    first.step()
    second.step()
    assert (first.has, second.has) == ({P0}, set())
    assert second.trail == [("assigned", [])]


def test_a_partition_moves_only_when_its_owner_gives_it_up(world: World) -> None:
    first, second = world.member(), world.member()
    first.step()
    second.step()
    assert second.has == set()
    first.step()
    second.step()
    assert (first.has, second.has) == ({P0, P1}, {P2, P3})


def test_only_what_evenness_needs_is_moved(world: World) -> None:
    members = [world.member() for _ in range(4)]
    for member in members[:2] * 2:
        member.step()
    kept = set(members[0].has)
    for member in members * 3:
        member.step()
    assert all(len(member.has) == 1 for member in members)
    assert members[0].has < kept


def test_members_with_other_topics_get_only_theirs(world: World) -> None:
    world.broker.declare("a", 2)
    world.broker.declare("b", 2)
    both, only = world.member("a", "b"), world.member("b")
    for member in (both, only) * 3:
        member.step()
    assert {one.topic for one in only.has} == {"b"}
    assert len(both.has | only.has) == 4
    assert not both.has & only.has


def test_records_of_full_partitions_starve_no_other(world: World) -> None:
    world.fill(50, partitions=2)
    member = world.member()
    seen = Counter(one.partition for _ in range(10) for one in member.step(5))
    assert seen == {0: 25, 1: 25}


def test_what_is_stored_is_committed_after_a_while(world: World) -> None:
    world.fill(1)
    member = world.member()
    member.step()
    member.consumer.store({P0: 1, Partition("other", 0): 9})
    world.now.now += COMMIT_INTERVAL_S
    assert world.broker.committed("g") == {}
    member.step()
    assert world.broker.committed("g") == {P0: 1}


def test_a_consume_that_brings_nothing_lets_time_pass(world: World) -> None:
    member = world.member()
    assert member.consumer.consume(10, 0.25) == []
    assert world.now.now == 0.25


def test_who_is_not_heard_of_loses_its_partitions(world: World) -> None:
    first, second = world.member(), world.member()
    for member in (first, second, first, second):
        member.step()
    first.consumer.store({P0: 5})
    world.now.now += SESSION_S - 1
    second.step()
    world.now.now += 2
    second.step()
    assert second.has == {P0, P1, P2, P3}
    first.step()
    assert first.trail[-1] == ("assigned", [])
    assert first.trail[-2] == ("lost", [0, 1])
    assert world.broker.committed("g") == {}


def test_a_heartbeat_keeps_a_membership(world: World) -> None:
    first, second = world.member(), world.member()
    first.consumer.heartbeat()
    for member in (first, second, first, second):
        member.step()
    for _ in range(3):
        world.now.now += SESSION_S - 1
        first.consumer.heartbeat()
        second.step()
    assert (first.has, second.has) == ({P0, P1}, {P2, P3})


def test_who_drains_for_long_is_not_expelled_meanwhile(world: World) -> None:
    first, second = world.member(), world.member()
    first.step()
    second.step()
    first.drain_s = 3 * SESSION_S
    first.answer = {P2: 7}
    world.meanwhile = [second]
    first.step()
    assert first.trail[-1] == ("revoked", [2, 3])
    assert world.broker.committed("g") == {P2: 7}
    second.step()
    assert second.has == {P2, P3}


def test_expelled_members_come_back_with_new_positions(world: World) -> None:
    world.fill(2)
    member = world.member()
    assert len(member.step()) == 8
    member.consumer.pause([P0])
    world.broker.expel_all()
    assert len(member.step()) == 8
    assert member.trail[-2:] == [("lost", [0, 1, 2, 3]), ("assigned", [0, 1, 2, 3])]


def test_who_is_expelled_while_draining_commits_nothing(world: World) -> None:
    first, second = world.member(), world.member()
    first.step()
    second.step()
    first.answer = {P2: 7}

    class Expels(Member):
        def step(self, most: int = 100) -> list[Taken]:
            self.world.broker.expel_all()
            return []

    world.meanwhile = [Expels(world)]
    first.step()
    assert world.broker.committed("g") == {}
    first.step()
    assert ("lost", [0, 1]) in first.trail


def test_a_broker_that_is_down_answers_nothing_and_forgets_nobody(world: World) -> None:
    world.fill(1)
    member = world.member()
    member.step()
    world.broker.append(RawRecord("t", None, b"late", []))
    world.broker.down = True
    member.consumer.store({P0: 1})
    world.now.now += 10 * SESSION_S
    assert member.step() == []
    member.consumer.heartbeat()
    world.broker.down = False
    assert [one.value for one in member.step()] == [b"late"]
    assert world.broker.committed("g") == {P0: 1}
    assert member.trail == [("assigned", [0, 1, 2, 3])]


def test_closing_commits_and_leaves(world: World) -> None:
    first, second = world.member(), world.member()
    for member in (first, second, first, second):
        member.step()
    first.answer = {P0: 3}
    first.consumer.store({P0: 2, P1: 2})
    first.consumer.close()
    assert first.trail[-1] == ("revoked", [0, 1])
    assert world.broker.committed("g") == {P0: 3, P1: 2}
    second.step()
    assert second.has == {P0, P1, P2, P3}


def test_closing_before_joining_or_after_being_expelled_commits_nothing(world: World) -> None:
    world.member().consumer.close()
    member, idle = world.member(), world.member()
    member.step()
    idle.step()
    member.answer = {P0: 3}
    world.broker.expel_all()
    member.consumer.close()
    idle.consumer.close()
    assert member.trail[-1] == ("lost", [0, 1, 2, 3])
    assert world.broker.committed("g") == {}


def test_who_leaves_while_the_broker_is_down_stays_until_its_session_ends(world: World) -> None:
    first, second = world.member(), world.member()
    for member in (first, second, first, second):
        member.step()
    first.answer = {P0: 3}
    world.broker.down = True
    first.consumer.close()
    world.broker.down = False
    second.step()
    assert second.has == {P2, P3}
    world.now.now += SESSION_S / 2
    second.step()
    world.now.now += SESSION_S / 2 + 1
    second.step()
    assert second.has == {P0, P1, P2, P3}
    assert world.broker.committed("g") == {}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ccccjlsew"), st.integers(0, 9)), max_size=60),
    st.integers(1, 7),
)
def test_whatever_happens_a_partition_has_one_owner_and_in_the_end_each_has_one(
    steps: list[tuple[str, int]], partitions: int
) -> None:
    world = World()
    world.broker.declare("t", partitions)
    members = [world.member()]
    for what, number in steps:
        who = members[number % len(members)]
        if what == "c":
            who.step()
        elif what == "j":
            members.append(world.member())
        elif what == "l" and len(members) > 1:
            members.remove(who)
            who.consumer.close()
        elif what == "s":
            world.now.now += SESSION_S * 0.6
        elif what == "w":
            world.now.now += SESSION_S * 2
        elif what == "e":
            world.broker.expel_all()
        _no_live_owner_twice(world, members)
    for member in members * 3:
        member.step()
    counts = sorted(len(member.has) for member in members)
    assert sum(counts) == partitions
    assert counts[-1] - counts[0] <= 1


def _no_live_owner_twice(world: World, members: Sequence[Member]) -> None:
    """Who was expelled and does not know yet may still believe in its partitions."""
    world_members = world.broker.group("g").members
    owned = Counter(place for member in world_members for place in member.owned)
    assert all(count == 1 for count in owned.values())
    assert len(members) >= 1
