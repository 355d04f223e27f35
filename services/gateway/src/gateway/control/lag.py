"""How far consumer groups have come: whether what lay in a topic at some moment has been through.

A look reads first what groups have committed and then where topics end. So a group that in some
look has committed as much as topics held in an earlier one (or in the same) has worked on all that
was there then; and what it published for that, which workers do before they commit, lies before
the ends of that very look. This makes a chain of groups a matter of comparing numbers: no clocks.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    ConsumerGroupDescription,
    OffsetSpec,
)

from streamkit import Busy

BROKER: Final = "kafka"
"""The dependency, in Busy."""

Partition = tuple[str, int]
"""Topic, without prefix, and number."""


class Hop(NamedTuple):
    """A consumer group that works on topics; names without prefix."""

    group: str
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What groups had committed, and after that where partitions began and ended.

    An offset that is committed is that of the next record to read.
    """

    committed: Mapping[str, Mapping[Partition, int]]
    starts: Mapping[Partition, int]
    ends: Mapping[Partition, int]

    def behind(self, hop: Hop) -> int:
        """Records in its topics that the group has not worked on yet."""
        return self._total(hop, self.ends) - self.done(hop)

    def done(self, hop: Hop) -> int:
        """Records that it has worked on, or that are gone, since its topics were made."""
        committed = self.committed.get(hop.group, {})
        reached = {
            place: min(end, max(committed.get(place, 0), self.starts.get(place, 0)))
            for place, end in self.ends.items()
        }
        return self._total(hop, reached)

    def _total(self, hop: Hop, offsets: Mapping[Partition, int]) -> int:
        return sum(offset for (topic, _), offset in offsets.items() if topic in hop.topics)

    def passed(self, hop: Hop, since: "Look") -> bool:
        """Whether the group had worked on all that lay in its topics at the end of `since`.

        What retention has deleted counts as worked on: nobody will.
        """
        committed = self.committed.get(hop.group, {})
        return all(
            max(committed.get(place, 0), self.starts.get(place, 0)) >= end
            for place, end in since.ends.items()
            if place[0] in hop.topics
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """How topics lie on brokers: of each partition how many replicas it has, and in sync."""

    brokers: int
    replicas: Mapping[Partition, tuple[int, int]]


def settled(looks: Sequence[Look], path: Sequence[Hop]) -> int | None:
    """Number of the newest look of which all that lay in the first hop's topics, and all that came
    of it in the following ones, has been worked on; None if that is true of none.

    What a group reads must be published by the group before it in the path before that commits.
    """
    for start in reversed(range(len(looks))):
        if _through(looks, start, path):
            return start
    return None


def _through(looks: Sequence[Look], start: int, path: Sequence[Hop]) -> bool:
    at = start
    for hop in path:
        later = range(at, len(looks))
        passed = next((i for i in later if looks[i].passed(hop, looks[at])), None)
        if passed is None:
            return False
        at = passed
    return True


def _nothing() -> None:
    """There is nothing to do."""


_EARLIEST: Final = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: Final = OffsetSpec.latest()  # type: ignore[no-untyped-call]


class KafkaOffsets:
    """Looks at a broker. Blocks; each look has `timeout_s` for each of its questions.

    `options` are further settings of librdkafka's, such as security.*.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        prefix: str = "",
        timeout_s: float = 5.0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        # Made at the first look, since its threads need not run where nobody looks.
        self._admin: AdminClient | None = None
        self._config = {"bootstrap.servers": bootstrap, "log_level": 2, **(options or {})}
        self._prefix = prefix
        self._timeout_s = timeout_s

    def look(
        self,
        hops: Collection[Hop],
        optional: Collection[str] = (),
        before_ends: Callable[[], None] = _nothing,
    ) -> Look:
        """What the hops' groups have committed of the hops' topics, and where those end.

        `before_ends` is called between the two. `optional` topics need not exist. Raises Busy if
        the broker does not answer in time, is not complete (a topic is missing, a coordinator
        moves), or refuses.
        """
        admin = self._admin = self._admin or AdminClient(self._config)
        wanted = {topic for hop in hops for topic in hop.topics}
        try:
            places = self._places(admin, wanted, optional)
            starts = self._offsets(admin, places, _EARLIEST)
            committed = self._committed(admin, {hop.group for hop in hops}, wanted)
            before_ends()
            ends = self._offsets(admin, places, _LATEST)
        except (KafkaException, TimeoutError) as error:
            raise Busy(f"looking at offsets failed: {error}", dependency=BROKER) from error
        return Look(committed, starts, ends)

    def members(self, groups: Collection[str]) -> Mapping[str, int]:
        """How many members each group has; one that nobody ever joined has none.

        Raises Busy as `look` does.
        """
        admin = self._admin = self._admin or AdminClient(self._config)
        names = [self._prefix + group for group in groups]
        if not names:
            return {}
        try:
            answers = admin.describe_consumer_groups(names, request_timeout=self._timeout_s)
            return {
                name.removeprefix(self._prefix): self._members(answer)
                for name, answer in answers.items()
            }
        except (KafkaException, TimeoutError) as error:
            raise Busy(f"looking at groups failed: {error}", dependency=BROKER) from error

    def groups(self, beginning: str) -> list[str]:
        """The groups whose names, without the prefix, begin so; those without members, too.

        Raises Busy as `look` does.
        """
        admin = self._admin = self._admin or AdminClient(self._config)
        try:
            asked = admin.list_consumer_groups(request_timeout=self._timeout_s)
            found = [one.group_id for one in asked.result(self._timeout_s).valid]
        except (KafkaException, TimeoutError) as error:
            raise Busy(f"looking at groups failed: {error}", dependency=BROKER) from error
        ours = [name for name in found if name.startswith(self._prefix + beginning)]
        return sorted(name.removeprefix(self._prefix) for name in ours)

    def layout(self, topics: Collection[str]) -> Layout:
        """How those of the topics that exist lie on the brokers. Raises Busy as `look` does."""
        admin = self._admin = self._admin or AdminClient(self._config)
        try:
            known = admin.list_topics(timeout=self._timeout_s)
        except KafkaException as error:
            raise Busy(f"looking at topics failed: {error}", dependency=BROKER) from error
        replicas = {
            (topic, number): (len(place.replicas), len(place.isrs))
            for topic in topics
            if self._prefix + topic in known.topics
            for number, place in known.topics[self._prefix + topic].partitions.items()
        }
        return Layout(len(known.brokers), replicas)

    def kept_s(self, topics: Collection[str]) -> Mapping[str, float]:
        """For how many seconds the broker keeps records of these topics; without those that it
        keeps for ever. Raises Busy as `look` does."""
        admin = self._admin = self._admin or AdminClient(self._config)
        places = [ConfigResource(ConfigResource.Type.TOPIC, self._prefix + t) for t in topics]
        try:
            asked = admin.describe_configs(places, request_timeout=self._timeout_s)
            said = {
                self._topic(place.name): int(answer.result(self._timeout_s)["retention.ms"].value)
                for place, answer in asked.items()
            }
        except (KafkaException, TimeoutError) as error:
            raise Busy(f"looking at topics failed: {error}", dependency=BROKER) from error
        return {topic: kept_ms / 1000 for topic, kept_ms in said.items() if kept_ms >= 0}

    def _members(self, answer: "Future[ConsumerGroupDescription]") -> int:
        try:
            return len(answer.result(self._timeout_s).members)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return 0
            raise

    def _places(
        self, admin: AdminClient, wanted: set[str], optional: Collection[str]
    ) -> list[TopicPartition]:
        known = admin.list_topics(timeout=self._timeout_s).topics
        names = {self._prefix + topic: topic for topic in wanted}
        missing = {topic for name, topic in names.items() if name not in known} - set(optional)
        if missing:
            raise Busy(f"topics are missing: {', '.join(sorted(missing))}", dependency=BROKER)
        there = [name for name in names if name in known]
        return [TopicPartition(name, number) for name in there for number in known[name].partitions]

    def _committed(
        self, admin: AdminClient, groups: Collection[str], wanted: set[str]
    ) -> dict[str, dict[Partition, int]]:
        # A request can name one group only; they are under way together.
        asked = {
            group: admin.list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(self._prefix + group)],
                request_timeout=self._timeout_s,
            )[self._prefix + group]
            for group in groups
        }
        return {group: self._commits(answer, wanted) for group, answer in asked.items()}

    def _commits(
        self, answer: "Future[ConsumerGroupTopicPartitions]", wanted: set[str]
    ) -> dict[Partition, int]:
        try:
            found = answer.result(self._timeout_s).topic_partitions or []
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return {}
            raise
        # An offset below 0 means that nothing is committed.
        places = ((self._topic(one.topic), one) for one in found)
        return {
            (topic, one.partition): one.offset
            for topic, one in places
            if topic in wanted and one.offset >= 0
        }

    def _offsets(
        self, admin: AdminClient, places: Sequence[TopicPartition], which: OffsetSpec
    ) -> dict[Partition, int]:
        if not places:
            return {}
        answers = admin.list_offsets(dict.fromkeys(places, which), request_timeout=self._timeout_s)
        return {
            (self._topic(place.topic), place.partition): answer.result(self._timeout_s).offset
            for place, answer in answers.items()
        }

    def _topic(self, name: str) -> str:
        return name.removeprefix(self._prefix)
