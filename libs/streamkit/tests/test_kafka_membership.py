"""What a broker says of a member without partitions, over an admin client that a test answers."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from confluent_kafka import ConsumerGroupState, KafkaException

from streamkit.kafka import membership
from streamkit.kafka.membership import AFTER_S, Membership


class FakeAdmin:
    asked: ClassVar[list["Future[Any]"]] = []

    def __init__(self, config: dict[str, Any]) -> None:
        assert config["bootstrap.servers"] == "b"

    def describe_consumer_groups(
        self, groups: list[str], *, request_timeout: float
    ) -> dict[str, "Future[Any]"]:
        assert request_timeout > 0
        self.asked.append(Future())
        return {groups[0]: self.asked[-1]}


class Now:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    now = Now()
    monkeypatch.setattr(membership, "time", now)
    monkeypatch.setattr(membership, "AdminClient", FakeAdmin)
    monkeypatch.setattr(FakeAdmin, "asked", [])
    return now


def described(
    state: ConsumerGroupState = ConsumerGroupState.STABLE, member: str = "me", partitions: int = 0
) -> Any:
    assignment = SimpleNamespace(topic_partitions=[None] * partitions)
    others = SimpleNamespace(member_id="other", assignment=SimpleNamespace(topic_partitions=[]))
    me = SimpleNamespace(member_id=member, assignment=assignment)
    return SimpleNamespace(state=state, members=[others, me])


def asked_once(now: Now, answer: Any) -> bool:
    it = Membership({"bootstrap.servers": "b", "group.id": "g"})
    now.now += AFTER_S
    assert not it.without_partitions("me")
    (future,) = FakeAdmin.asked
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
    return it.without_partitions("me")


def test_a_member_of_a_group_at_rest_that_has_nothing_knows_it(now: Now) -> None:
    assert asked_once(now, described())


@pytest.mark.parametrize(
    "answer",
    [
        described(member="before"),
        described(partitions=1),
        described(state=ConsumerGroupState.PREPARING_REBALANCING),
        KafkaException("away"),
    ],
)
def test_anything_else_is_no_answer(now: Now, answer: Any) -> None:
    assert not asked_once(now, answer)


def test_it_asks_seldom_and_waits_for_no_answer(now: Now) -> None:
    it = Membership({"bootstrap.servers": "b", "group.id": "g"})
    now.now += AFTER_S - 1
    assert not it.without_partitions("me")
    assert FakeAdmin.asked == []
    now.now += 1
    for _ in range(3):
        assert not it.without_partitions("me")
    (first,) = FakeAdmin.asked
    first.set_result(described(member="before"))
    for _ in range(3):
        assert not it.without_partitions("me")
    assert FakeAdmin.asked == [first]
    now.now += AFTER_S
    assert not it.without_partitions("me")
    FakeAdmin.asked[1].set_result(described())
    assert it.without_partitions("me")
