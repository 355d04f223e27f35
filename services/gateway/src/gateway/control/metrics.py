"""The metrics of the control door, with their meaning; names leave the process and are final."""

from typing import Final, get_args

from prometheus_client import Counter, Gauge

from gateway.catalog.notice_shapes import ChannelKind
from gateway.control.suspects import What
from gateway.snapshot import Family, Snapshot

OUTBOX_BACKLOG: Final = Gauge(
    "darkroom_outbox_backlog", "Events that wait for the broker's acknowledgement."
)
OUTBOX_OLDEST: Final = Gauge(
    "darkroom_outbox_oldest_seconds", "Age of the event that has waited longest; 0 if none waits."
)
OUTBOX_PUBLISHED: Final = Counter(
    "darkroom_outbox_published_total", "Events acknowledged by the broker, repetitions included."
)
LEADING: Final = Gauge(
    "darkroom_leading", "1 while this process is the one replica that does the duty.", ["duty"]
)
IMPORT_FILES: Final = Counter(
    "darkroom_import_files_total", "Files recorded: submitted, duplicate, refused.", ["state"]
)
IMPORT_IN_FLIGHT: Final = Gauge(
    "darkroom_import_in_flight", "Photos of all scanning imports that wait for their outcome."
)
NOTIFICATIONS: Final = Counter(
    "darkroom_notifications_total",
    "Tries to send a notice, by the kind of channel and how they ended: delivered, retry, failed.",
    ["channel", "outcome"],
)
JOB_RUNS: Final = Counter(
    "darkroom_job_runs_total",
    "Runs of scheduled jobs that came to an end: done, failed, interrupted.",
    ["job", "state"],
)
RECONCILED: Final = Counter(
    "darkroom_reconciled_total",
    "Things that were missed and are said again: outcomes, ends, totals, items, submissions,"
    " deadlines.",
    ["what"],
)
for _what in get_args(What):
    RECONCILED.labels(_what)
for _channel in get_args(ChannelKind):
    for _outcome in ("delivered", "retry", "failed"):
        NOTIFICATIONS.labels(_channel, _outcome)

ADMISSION_SHARE: Final = Gauge(
    "darkroom_admission_share",
    "How much of a lane is let in, as a multiple of the configured limits: 0.5, 1 or 2.",
    ["lane"],
)
WORKERS_USAGE: Final = Gauge(
    "darkroom_workers_usage",
    "Highest share, 0 to 1, of its CPU or memory that a worker uses; NaN if none says.",
    ["resource"],
)
LANE_LOAD: Final = Gauge(
    "darkroom_lane_load",
    "Photos of a lane that wait: outbox, intake and the most loaded stage together.",
    ["lane"],
)
LANE_STATE: Final = Gauge(
    "darkroom_lane_state",
    "Whether a lane takes new photos in: 0 open, 1 warned, 2 closed.",
    ["lane"],
)
STAGE_WAITING: Final = Gauge(
    "darkroom_stage_waiting",
    "Records of a lane that a stage has not done yet, those it works on included.",
    ["service", "lane"],
)
STAGE_DONE_RATE: Final = Gauge(
    "darkroom_stage_done_per_second",
    "Records of a lane that a stage does a second, by its committed offsets.",
    ["service", "lane"],
)
STAGE_OLDEST: Final = Gauge(
    "darkroom_stage_oldest_waiting_seconds",
    "For how long the first of them has waited; 0 if none waits.",
    ["service", "lane"],
)
WORKERS: Final = Gauge(
    "darkroom_gateway_workers",
    "Workers of a service by their state: starting, working, stopping, gone, or missing.",
    ["service", "state"],
)

_AT_BROKER: Final = ("topic", "partition")
_OF_GROUP: Final = ("consumergroup", "topic")

BROKER: Final = Snapshot(
    Family("kafka_brokers", "Brokers of the cluster."),
    Family("kafka_topic_partitions", "Partitions of a topic.", ("topic",)),
    Family(
        "kafka_topic_partition_current_offset",
        "Where a partition ends: the next record's offset.",
        _AT_BROKER,
    ),
    Family("kafka_topic_partition_oldest_offset", "Where a partition begins.", _AT_BROKER),
    Family(
        "kafka_topic_partition_under_replicated_partition",
        "1 while a replica of the partition is not in sync, else 0.",
        _AT_BROKER,
    ),
    Family(
        "kafka_consumergroup_current_offset",
        "What a group has committed: the next record that it will read; -1 if nothing yet.",
        (*_OF_GROUP, "partition"),
    ),
    Family(
        "kafka_consumergroup_current_offset_sum", "The same over a topic's partitions.", _OF_GROUP
    ),
    Family(
        "kafka_consumergroup_lag",
        "Records that a group has not committed yet; -1 if it has committed nothing there.",
        (*_OF_GROUP, "partition"),
    ),
    Family("kafka_consumergroup_lag_sum", "The same over a topic's partitions.", _OF_GROUP),
    Family("kafka_consumergroup_members", "Members of a group.", ("consumergroup",)),
    Family(
        "darkroom_stage_retention_seconds",
        "For how long the broker keeps the records that a stage reads of a lane; none if for ever.",
        ("service", "lane"),
    ),
)
"""What the broker says; the names that begin with kafka_ are those of kafka_exporter."""

CATALOG: Final = Snapshot(
    Family(
        "darkroom_photos",
        "Photos by their newest outcome: auto_labeled, suggested, review; or rejected.",
        ("outcome",),
    ),
    Family("darkroom_imports", "Imports by their state.", ("state",)),
    Family(
        "darkroom_reviews_waiting",
        "Photos that wait for a person: review (somebody has to say), suggested (unsure, but"
        " labelled), audit (drawn by lot).",
        ("why",),
    ),
    Family(
        "darkroom_reviews_oldest_seconds",
        "For how long the first photo of `review` has waited; 0 if none waits.",
    ),
    Family(
        "darkroom_review_answers",
        "What people said of photos and have not taken back: confirm, correct, none, skip.",
        ("answer",),
    ),
    Family("darkroom_trainings", "Trainings by their state.", ("state",)),
    Family(
        "darkroom_model_replicas",
        "Engine processes that have a stage's model, by what they say: ready, loading, failed.",
        ("model", "state"),
    ),
    Family("darkroom_heads_failed", "Models of the user's own that an embedder could not load."),
    Family("darkroom_dead_letters_waiting", "Dead letters that wait for somebody.", ("service",)),
    Family("darkroom_catalog_bytes", "Size of the catalog's database."),
)
"""What the catalog has in all."""

MEASURED: Final = Gauge(
    "darkroom_measured_timestamp_seconds",
    "When the leading control door last measured: broker, catalog.",
    ["what"],
)
