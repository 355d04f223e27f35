"""Kafka: how far are groups, and is the cluster well?"""

from typing import Final

from deploy.grafana.panels import (
    GREEN,
    RED,
    YELLOW,
    Dashboard,
    Look,
    Query,
    Variable,
    line,
    lines,
    row,
    stat,
    table,
)

_GROUP: Final = 'consumergroup=~"$group"'

KAFKA: Final = Dashboard(
    name="kafka",
    title="Kafka",
    about="How far are consumer groups, and is the cluster well? By the names of kafka_exporter.",
    variables=(
        Variable("group", "Group", "label_values(kafka_consumergroup_lag_sum, consumergroup)"),
        Variable("topic", "Topic", "label_values(kafka_topic_partitions, topic)"),
    ),
    rows=(
        row(
            "Cluster",
            line(
                stat("Brokers", "Brokers that are there.", Query("max(kafka_brokers)")),
                stat(
                    "Partitions",
                    "Of the topics that Darkroom declares.",
                    Query("sum(max by (topic) (kafka_topic_partitions))"),
                ),
                stat(
                    "Under-replicated",
                    "Partitions of which a replica is not in sync.",
                    Query("sum(kafka_topic_partition_under_replicated_partition)"),
                    Look(decimals=0, steps=((None, GREEN), (1, RED))),
                ),
                stat(
                    "Lag",
                    "Records that groups have not committed yet, of all groups.",
                    Query("sum(consumergroup:kafka_consumergroup_lag:sum)"),
                    Look(decimals=0, steps=((None, GREEN), (5000, YELLOW))),
                ),
                stat(
                    "Outbox",
                    "Events of the catalog that wait for Kafka.",
                    Query("max(darkroom_outbox_backlog)"),
                    Look(decimals=0, steps=((None, GREEN), (1000, YELLOW), (10_000, RED))),
                ),
                stat(
                    "Oldest in the outbox",
                    "For how long the first of them has waited.",
                    Query("max(darkroom_outbox_oldest_seconds)"),
                    Look(unit="s", steps=((None, GREEN), (10, YELLOW), (60, RED))),
                ),
                height=4,
            ),
        ),
        row(
            "Groups",
            line(
                lines(
                    "Lag by group",
                    "Records that a group has not committed yet.",
                    Query(
                        f"consumergroup:kafka_consumergroup_lag:sum{{{_GROUP}}}",
                        "{{consumergroup}}",
                    ),
                    look=Look(),
                ),
                lines(
                    "Records read",
                    "Records a second that groups commit.",
                    Query(
                        "sum by (consumergroup) (rate(kafka_consumergroup_current_offset_sum"
                        f"{{{_GROUP}}}[5m]))",
                        "{{consumergroup}}",
                    ),
                    look=Look(unit="ops"),
                ),
            ),
            line(
                table(
                    "Lag by group and topic",
                    "Only where there is any.",
                    Query(
                        "max by (consumergroup, topic)"
                        f" (kafka_consumergroup_lag_sum{{{_GROUP}}}) > 0"
                    ),
                    {"consumergroup": "group", "topic": "topic", "Value": "records"},
                    Look(decimals=0),
                ),
                lines(
                    "Members",
                    "Members of each group.",
                    Query(
                        f"max by (consumergroup) (kafka_consumergroup_members{{{_GROUP}}})",
                        "{{consumergroup}}",
                    ),
                    look=Look(decimals=0),
                ),
            ),
            line(
                lines(
                    "Rebalances",
                    "Changes of a lane's partitions, of the last ten minutes.",
                    Query(
                        "sum by (stage, kind) (increase(darkroom_rebalances_total[10m]))",
                        "{{stage}} {{kind}}",
                    ),
                    look=Look(decimals=0),
                ),
                lines(
                    "Deleted unread",
                    "Records that Kafka deleted before a group had read them. Always 0, if all is"
                    " well.",
                    Query(
                        "sum by (consumergroup, topic) (clamp_min("
                        "max by (topic, partition) (kafka_topic_partition_oldest_offset)"
                        " - on (topic, partition) group_right () (max by (consumergroup, topic,"
                        f" partition) (kafka_consumergroup_current_offset{{{_GROUP}}}) >= 0), 0))"
                        " > 0",
                        "{{consumergroup}} {{topic}}",
                    ),
                    look=Look(decimals=0),
                ),
            ),
        ),
        row(
            "Topics",
            line(
                lines(
                    "Records written, by topic",
                    "Records a second, by the ends of partitions.",
                    Query(
                        "sum by (topic) (rate(kafka_topic_partition_current_offset"
                        '{topic=~"$topic"}[5m])) > 0',
                        "{{topic}}",
                    ),
                    look=Look(unit="ops"),
                ),
                lines(
                    "Records kept, by topic",
                    "From the first record that is left to the end.",
                    Query(
                        'sum by (topic) (kafka_topic_partition_current_offset{topic=~"$topic"}'
                        ' - kafka_topic_partition_oldest_offset{topic=~"$topic"}) > 0',
                        "{{topic}}",
                    ),
                    look=Look(),
                ),
            ),
            line(
                lines(
                    "Published by processes",
                    "Records a second that the broker acknowledged.",
                    Query(
                        "sum by (process) (rate(darkroom_records_published_total"
                        '{topic=~"$topic"}[$__rate_interval]))',
                        "{{process}}",
                    ),
                    look=Look(unit="ops"),
                ),
                lines(
                    "Publications that had to be repeated",
                    "What the broker did not take at first, a second.",
                    Query(
                        "sum by (stage) (rate(darkroom_publish_retries_total[$__rate_interval]))",
                        "{{stage}}",
                    ),
                    look=Look(unit="ops"),
                ),
            ),
        ),
    ),
)
