"""The topics that exist, as `topics.yaml` declares them."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

_DAY_MS: Final = 86_400_000

TIERS_VARIABLE: Final = "DARKROOM_RETRY_TIERS"
"""Environment variable with other retry tiers than `topics.yaml` has, such as `10s,1m,10m`."""

_TIER: Final = re.compile(r"[1-9][0-9]{0,3}[sm]")


def data_folder() -> Path:
    """Folder of `topics.yaml` and the .avsc files: inside the wheel, or the checkout's schemas/."""
    packaged = Path(__file__).parent / "data"
    return packaged if packaged.is_dir() else Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Topic:
    """One Kafka topic, without the prefix of an installation.

    `schema` names the .avsc file of its values, None where values have no schema of ours (retries
    and dead letters keep foreign bytes, changelogs are Faust's). `retention_ms` is None for
    compacted topics. Topics of one co-partition `group` have the same number of partitions.
    `max_message_bytes` is None for the broker's default (1 MiB). With `append_time` a record's
    time stamp is the broker's, of appending, instead of its producer's.
    """

    name: str
    schema: str | None
    key: str
    partitions: int
    group: str | None
    retention_ms: int | None
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    lane: str | None = None
    max_message_bytes: int | None = None
    append_time: bool = False

    @property
    def subject(self) -> str:
        """The registry's name for the schema of this topic's values (TopicNameStrategy)."""
        return f"{self.name}-value"

    def config(self) -> dict[str, str]:
        """The broker's settings of this topic."""
        settings = {"cleanup.policy": "compact" if self.retention_ms is None else "delete"}
        if self.retention_ms is not None:
            settings["retention.ms"] = str(self.retention_ms)
        if self.max_message_bytes is not None:
            settings["max.message.bytes"] = str(self.max_message_bytes)
        if self.append_time:
            settings["message.timestamp.type"] = "LogAppendTime"
        return settings


class UnknownTopicError(KeyError):
    """A topic that `topics.yaml` does not declare."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All declared topics by name. `tiers` are those of the retry topics, rising."""

    lanes: tuple[str, ...]
    topics: Mapping[str, Topic]
    tiers: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Topic]:
        return iter(self.topics.values())

    def __getitem__(self, name: str) -> Topic:
        try:
            return self.topics[name]
        except KeyError:
            raise UnknownTopicError(f"topic {name!r} is not declared in topics.yaml") from None

    def with_schema(self) -> tuple[Topic, ...]:
        """Topics whose values are Avro records of ours."""
        return tuple(topic for topic in self if topic.schema is not None)

    def dead_letters(self, service: str) -> str:
        """Name of a service's dead-letter topic."""
        return self[f"darkroom.{service}.dlq"].name


def _days(text: str) -> int:
    """Milliseconds of a retention such as `14d`."""
    return int(text.removesuffix("d")) * _DAY_MS


def _declared(entry: Mapping[str, Any], partitions: int, lanes: list[str]) -> Iterator[Topic]:
    name = str(entry["name"])
    for lane in lanes if "{lane}" in name else [None]:
        yield Topic(
            name=name.format(lane=lane),
            schema=entry["schema"],
            key=entry["key"],
            partitions=entry.get("partitions", partitions),
            group=entry.get("group"),
            retention_ms=None if entry.get("cleanup") == "compact" else _days(entry["retention"]),
            producers=tuple(entry["producers"]),
            consumers=tuple(entry["consumers"]),
            lane=lane,
        )


def _retries(entry: Mapping[str, Any], tiers: Sequence[str]) -> Iterator[Topic]:
    for service in entry["services"]:
        for tier in tiers:
            for name in entry["classes"]:
                yield Topic(
                    name=entry["name"].format(service=service, tier=tier, **{"class": name}),
                    schema=None,
                    key=entry["key"],
                    partitions=entry["partitions"],
                    group=None,
                    retention_ms=_days(entry["retention"]),
                    producers=(service,),
                    consumers=(service,),
                    max_message_bytes=entry["max_message_bytes"],
                    append_time=entry["timestamps"] == "append",
                )


def _dead_letters(entry: Mapping[str, Any]) -> Iterator[Topic]:
    for service in entry["services"]:
        name = entry["name"].format(service=service)
        retention = _days(entry["retention"])
        limit = entry["max_message_bytes"]
        yield Topic(
            name, None, entry["key"], 1, None, retention, (service,), (), max_message_bytes=limit
        )


def _changelog(entry: Mapping[str, Any], partitions: int) -> Topic:
    services = tuple(entry["services"])
    return Topic(
        entry["name"], None, entry["key"], partitions, entry["group"], None, services, services
    )


def load(tiers: Sequence[str] | None = None) -> Catalogue:
    """Read `topics.yaml`.

    `tiers` of the retry topics; None: what TIERS_VARIABLE says, or `topics.yaml` if it is not set.
    Raises ValueError for a tier that is none.
    """
    if tiers is None:
        named = os.environ.get(TIERS_VARIABLE, "").split(",")
        tiers = [tier.strip() for tier in named if tier.strip()]
    for tier in tiers:
        if not _TIER.fullmatch(tier):
            raise ValueError(f"{tier!r} is no retry tier: write 5s or 5m in {TIERS_VARIABLE}")
    return _load(tuple(tiers))


@cache
def _load(tiers: tuple[str, ...]) -> Catalogue:
    declared = yaml.safe_load((data_folder() / "topics.yaml").read_text(encoding="utf-8"))
    lanes, partitions = declared["lanes"], declared["partitions"]
    used = tiers or tuple(declared["retries"]["tiers"])
    topics = [t for entry in declared["topics"] for t in _declared(entry, partitions, lanes)]
    topics += _retries(declared["retries"], used)
    topics += _dead_letters(declared["dead_letters"])
    topics += [_changelog(entry, partitions) for entry in declared["changelogs"]]
    return Catalogue(tuple(lanes), {topic.name: topic for topic in topics}, used)
