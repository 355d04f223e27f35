"""More partitions for topics that are joined: all of a co-partition group at once.

A key's partition follows from how many there are, so keys move. Workers keep nothing by partition;
the aggregator's tables do, so their changelogs are made anew, empty: what is not done is said
again afterwards by the job `republish`. Therefore nothing may run meanwhile, and the aggregator
must have worked on all that lies there.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its __init__ re-exports
    AdminClient,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

from darkroom_cli.errors import DarkroomError
from darkroom_schemas.catalogue import PARTITIONS_VARIABLE, Catalogue, Topic

_TIMEOUT_S: Final = 20.0
_POLL_S: Final = 0.1
_MOVING: Final = frozenset({KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE})
_EARLIEST: Final = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: Final = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_AGGREGATOR: Final = "darkroom-aggregator"


@dataclass(frozen=True, slots=True)
class Growth:
    """What is to be done: topics that get partitions, and changelogs that are made anew."""

    group: str
    partitions: int
    grown: tuple[str, ...]
    anew: tuple[str, ...]


class Grower:
    """Grows the topics of a catalogue on a broker. Raises DarkroomError with cause and cure."""

    def __init__(
        self, bootstrap: str, catalogue: Catalogue, prefix: str, options: Mapping[str, str]
    ) -> None:
        config: dict[str, Any] = {"bootstrap.servers": bootstrap, "log_level": 0, **options}
        self._admin = AdminClient(config)
        self._catalogue = catalogue
        self._prefix = prefix

    def plan(self, group: str, partitions: int) -> Growth:
        """What would be done; nothing where all is as it shall be."""
        topics = [topic for topic in self._catalogue if topic.group == group]
        if not topics:
            known = sorted({topic.group for topic in self._catalogue if topic.group})
            raise DarkroomError(f"There is no group {group}.", f"There are {', '.join(known)}.")
        present = self._counts(topics)
        if missing := [name for name, count in present.items() if count == 0]:
            raise DarkroomError(
                f"Not on the broker: {', '.join(missing)}.", "darkroom topics apply"
            )
        if most := [f"{name} ({count})" for name, count in present.items() if count > partitions]:
            raise DarkroomError(f"More than {partitions} already: {', '.join(most)}.")
        fewer = [topic for topic in topics if present[self._prefix + topic.name] < partitions]
        return Growth(
            group,
            partitions,
            grown=tuple(self._prefix + topic.name for topic in fewer if not _is_changelog(topic)),
            anew=tuple(self._prefix + topic.name for topic in topics if _is_changelog(topic))
            if fewer
            else (),
        )

    def check(self, growth: Growth) -> None:
        """Raises DarkroomError while somebody works, or the aggregator has yet to."""
        if busy := self._members():
            raise DarkroomError(
                f"Somebody works: {', '.join(busy)}.", "Stop all services; Kafka alone has to run."
            )
        if behind := self._behind(growth.grown):
            raise DarkroomError(
                f"The aggregator has not worked on all of {', '.join(behind)}.",
                "Let it do so first: stop what hands photos in, wait, then stop the aggregator.",
            )

    def grow(self, growth: Growth) -> None:
        """Do it; may be repeated where it broke off. Changelogs first: while topics are unequal,
        nothing starts (`topics apply` refuses)."""
        wanted = {topic.name: topic for topic in self._catalogue}
        if growth.anew:
            self._all(self._admin.delete_topics(list(growth.anew), operation_timeout=_TIMEOUT_S))
        self._all(
            self._admin.create_partitions(
                [NewPartitions(name, growth.partitions) for name in growth.grown]
            )
            if growth.grown
            else {}
        )
        new = [
            NewTopic(
                name,
                num_partitions=growth.partitions,
                replication_factor=-1,
                config=wanted[name.removeprefix(self._prefix)].config(),
            )
            for name in growth.anew
        ]
        if new:
            self._all(self._admin.create_topics(new, operation_timeout=_TIMEOUT_S))
        self._await(growth)

    def _await(self, growth: Growth) -> None:
        """Until the broker says itself what its controller has done."""
        deadline = time.monotonic() + _TIMEOUT_S
        topics = [topic for topic in self._catalogue if topic.group == growth.group]
        while set(self._counts(topics).values()) != {growth.partitions}:
            if time.monotonic() > deadline:
                raise DarkroomError("Kafka has not made all partitions yet.", "Run it again.")
            time.sleep(_POLL_S)

    def _counts(self, topics: Iterable[Topic]) -> dict[str, int]:
        listed = self._asked(lambda: self._admin.list_topics(timeout=_TIMEOUT_S)).topics
        names = [self._prefix + topic.name for topic in topics]
        return {name: len(listed[name].partitions) if name in listed else 0 for name in names}

    def _members(self) -> list[str]:
        found = self._asked(lambda: self._admin.list_consumer_groups().result(_TIMEOUT_S)).valid
        ours = [one.group_id for one in found if one.group_id.startswith(f"{self._prefix}darkroom")]
        if not ours:
            return []
        described = self._admin.describe_consumer_groups(ours)
        return sorted(n for n, told in described.items() if self._result(told).members)

    def _behind(self, topics: Iterable[str]) -> list[str]:
        """Of topics that the aggregator reads those in which records wait for it."""
        read = {
            self._prefix + topic.name
            for topic in self._catalogue
            if "aggregator" in topic.consumers and topic.schema is not None
        }
        group = self._prefix + _AGGREGATOR
        asked = self._admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
        committed = {
            (place.topic, place.partition): place.offset
            for place in self._result(asked[group]).topic_partitions
        }
        listed = self._asked(lambda: self._admin.list_topics(timeout=_TIMEOUT_S)).topics
        places = [
            TopicPartition(name, number)
            for name in sorted(read & set(topics))
            for number in listed[name].partitions
        ]
        return sorted(
            {
                place.topic
                for place, ends in self._ends(places).items()
                if ends[1] > max(committed.get((place.topic, place.partition), 0), ends[0])
            }
        )

    def _ends(self, places: list[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """Where partitions begin and end. Those that are without a leader are asked again."""
        if not places:
            return {}
        deadline = time.monotonic() + _TIMEOUT_S
        while True:
            first = self._admin.list_offsets(dict.fromkeys(places, _EARLIEST))
            last = self._admin.list_offsets(dict.fromkeys(places, _LATEST))
            try:
                return {
                    place: tuple(each[place].result(_TIMEOUT_S).offset for each in (first, last))
                    for place in places
                }
            except KafkaException as error:
                if error.args[0].code() not in _MOVING or time.monotonic() > deadline:
                    raise DarkroomError(
                        f"Kafka does not do it: {error}.", "Run it again."
                    ) from None
            time.sleep(_POLL_S)

    def _all(self, futures: Mapping[str, Any]) -> None:
        for future in futures.values():
            self._result(future)

    def _result(self, future: Any) -> Any:
        return self._asked(lambda: future.result(_TIMEOUT_S))

    def _asked(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except (KafkaException, TimeoutError) as error:
            raise DarkroomError(f"Kafka does not do it: {error}.", "Run it again.") from error


def _is_changelog(topic: Topic) -> bool:
    return topic.schema is None


def next_steps(growth: Growth) -> str:
    """What a person does then."""
    return (
        f"Now set {PARTITIONS_VARIABLE}={growth.group}={growth.partitions} for every program,"
        " start them, and say: darkroom schedules run republish"
    )
