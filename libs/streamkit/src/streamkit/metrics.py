"""The metrics of a worker, with their meaning; names leave the process and are final."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

PROCESSED: Final = Counter(
    "darkroom_messages_processed_total",
    "Records whose work is over, by outcome: done, dead_letter.",
    ["stage", "lane", "outcome"],
)
DURATION: Final = Histogram(
    "darkroom_processing_duration_seconds",
    "From taking a record up to its acknowledgement.",
    ["stage", "lane"],
    buckets=_SECONDS,
)
END_TO_END: Final = Histogram(
    "darkroom_end_to_end_duration_seconds",
    "From the record's own time stamp to its acknowledgement.",
    ["stage", "lane"],
    buckets=(*_SECONDS, 300, 900, 3600),
)
IN_FLIGHT: Final = Gauge("darkroom_in_flight", "Records being worked on.", ["stage"])
RETRIES: Final = Counter(
    "darkroom_retries_total", "Attempts that failed and were repeated.", ["stage", "lane", "reason"]
)
DEAD_LETTERS: Final = Counter(
    "darkroom_dead_letters_total", "Records given up.", ["stage", "lane", "code"]
)
