"""What the broker says of topics and groups, by kafka_exporter's names and meanings.

So what asks for lag by those names works with it, and nobody needs one more process: of
topics that Darkroom declares and of groups of its own. What they mean was read in kafka_exporter's
source: a topic counts as a group's if it has committed anything there; where it has not, its offset
and lag are -1, and the sum of lags leaves that out.
"""

from collections import defaultdict
from collections.abc import Mapping

from gateway.control.lag import Layout, Look
from gateway.snapshot import Values


def broker_values(
    layout: Layout, look: Look, members: Mapping[str, int], prefix: str
) -> Mapping[str, Values]:
    """The families of `metrics.BROKER` that begin with kafka_; topics and groups by the names that
    they have at the broker."""
    return {
        "kafka_brokers": {(): float(layout.brokers)},
        "kafka_consumergroup_members": {
            (prefix + group,): float(number) for group, number in members.items()
        },
        **_topics(layout, look, prefix),
        **_groups(look, prefix),
    }


def _topics(layout: Layout, look: Look, prefix: str) -> Mapping[str, Values]:
    partitions: dict[tuple[str, ...], float] = defaultdict(float)
    under: dict[tuple[str, ...], float] = {}
    for (topic, number), (replicas, in_sync) in layout.replicas.items():
        partitions[(prefix + topic,)] += 1
        under[prefix + topic, str(number)] = float(in_sync < replicas)
    return {
        "kafka_topic_partitions": partitions,
        "kafka_topic_partition_under_replicated_partition": under,
        "kafka_topic_partition_current_offset": _places(look.ends, prefix),
        "kafka_topic_partition_oldest_offset": _places(look.starts, prefix),
    }


def _places(offsets: Mapping[tuple[str, int], int], prefix: str) -> Values:
    return {(prefix + topic, str(number)): float(o) for (topic, number), o in offsets.items()}


def _groups(look: Look, prefix: str) -> Mapping[str, Values]:
    offsets: dict[tuple[str, ...], float] = {}
    lags: dict[tuple[str, ...], float] = {}
    offset_sums: dict[tuple[str, ...], float] = defaultdict(float)
    lag_sums: dict[tuple[str, ...], float] = defaultdict(float)
    for group, committed in look.committed.items():
        read = {topic for topic, _ in committed}
        for (topic, number), end in look.ends.items():
            if topic not in read:
                continue
            offset = committed.get((topic, number), -1)
            lag = -1 if offset < 0 else max(0, end - offset)
            whole = (prefix + group, prefix + topic)
            offsets[*whole, str(number)] = float(offset)
            lags[*whole, str(number)] = float(lag)
            offset_sums[whole] += offset
            lag_sums[whole] += max(0, lag)
    return {
        "kafka_consumergroup_current_offset": offsets,
        "kafka_consumergroup_current_offset_sum": offset_sums,
        "kafka_consumergroup_lag": lags,
        "kafka_consumergroup_lag_sum": lag_sums,
    }
