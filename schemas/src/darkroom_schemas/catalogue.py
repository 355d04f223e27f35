"""The topics that exist, as `topics.yaml` declares them."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

_DAY_MS: Final = 86_400_000

TIERS_VARIABLE: Final = "DARKROOM_RETRY_TIERS"
"""Environment variable with other retry tiers than `topics.yaml` has, such as `10s,1m,10m`."""

PARTITIONS_VARIABLE: Final = "DARKROOM_TOPIC_PARTITIONS"
"""Environment variable with other numbers of partitions, such as `photo=12,chunk=12`: of a
co-partition group, or of a topic that is in none."""

RETENTION_VARIABLE: Final = "DARKROOM_TOPIC_RETENTION"
"""Environment variable with other retentions, such as `photo.*=21d,darkroom.*.dlq=60d`; of several
that fit a topic the last one holds."""

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
    `least_ms` is the shortest retention that a setting may ask for, None for `retention_ms`.
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
    least_ms: int | None = None

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

    def log_keys(self) -> dict[str, str]:
        """Topics whose keys are, or begin with, ids of photos or imports, with their keys' names:
        what log lines about records say."""
        return {
            topic.name: topic.key
            for topic in self
            if topic.key.partition("/")[0] in ("photo_id", "batch_id")
        }

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
            least_ms=_days(entry["least"]) if "least" in entry else None,
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
            name,
            None,
            entry["key"],
            1,
            None,
            retention,
            (service,),
            tuple(entry["consumers"]),
            max_message_bytes=limit,
        )


def _changelog(entry: Mapping[str, Any], partitions: int) -> Topic:
    services = tuple(entry["services"])
    return Topic(
        entry["name"], None, entry["key"], partitions, entry["group"], None, services, services
    )


def load(tiers: Sequence[str] | None = None) -> Catalogue:
    """Read `topics.yaml`, and what the variables above say instead.

    `tiers` of the retry topics; None: what TIERS_VARIABLE says, or `topics.yaml` if it is not set.
    Raises ValueError for a tier that is none, and for what else the variables can't mean.
    """
    if tiers is None:
        tiers = _words(TIERS_VARIABLE)
    for tier in tiers:
        if not _TIER.fullmatch(tier):
            raise ValueError(f"{tier!r} is no retry tier: write 5s or 5m in {TIERS_VARIABLE}")
    return _changed(tuple(tiers), _words(PARTITIONS_VARIABLE), _words(RETENTION_VARIABLE))


def _words(variable: str) -> tuple[str, ...]:
    named = os.environ.get(variable, "").split(",")
    return tuple(word.strip() for word in named if word.strip())


@cache
def _changed(
    tiers: tuple[str, ...], partitions: tuple[str, ...], retention: tuple[str, ...]
) -> Catalogue:
    declared = _load(tiers)
    topics = {topic.name: topic for topic in declared}
    for word in partitions:
        topics |= {one.name: one for one in _grown(topics.values(), word)}
    for word in retention:
        topics |= {one.name: one for one in _kept(topics.values(), word)}
    return replace(declared, topics=topics)


def _grown(topics: Iterable[Topic], word: str) -> list[Topic]:
    """The topics that a word such as `photo=12` means, with so many partitions."""
    name, _, number = word.partition("=")
    meant = [topic for topic in topics if name in (topic.group, topic.group or topic.name)]
    if not meant or not number.isdecimal() or int(number) < 1:
        raise ValueError(
            f"{word!r} in {PARTITIONS_VARIABLE}: write a co-partition group, or a topic that is in"
            " none, and its partitions: photo=12"
        )
    if int(number) < max(topic.partitions for topic in meant):
        raise ValueError(f"{word!r} in {PARTITIONS_VARIABLE}: partitions can't become fewer")
    return [replace(topic, partitions=int(number)) for topic in meant]


def _kept(topics: Iterable[Topic], word: str) -> list[Topic]:
    """The topics that a word such as `photo.*=21d` means, kept for so long. Compacted ones are
    kept anyway."""
    pattern, _, days = word.partition("=")
    named = [topic for topic in topics if fnmatchcase(topic.name, pattern)]
    meant = [(topic, topic.retention_ms) for topic in named]
    if not named or not re.fullmatch(r"[1-9][0-9]{0,4}d", days):
        raise ValueError(
            f"{word!r} in {RETENTION_VARIABLE}: write topics, with * for any text, and for how long"
            " they are kept: photo.*=21d"
        )
    for topic, before in meant:
        if before is not None and _days(days) < (topic.least_ms or before):
            least = (topic.least_ms or before) // _DAY_MS
            raise ValueError(f"{word!r} in {RETENTION_VARIABLE}: {topic.name} needs {least}d")
    return [replace(topic, retention_ms=_days(days)) for topic, before in meant if before]


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
