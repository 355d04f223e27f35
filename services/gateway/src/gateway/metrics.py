"""The gateway's own metrics, with their meaning; names leave the process and are final."""

from typing import Final

from prometheus_client import Counter, Gauge

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
NEWS_LOST: Final = Counter(
    "darkroom_news_lost_total",
    "News of recorded results that Redis did not take; readers find them in the catalog.",
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
