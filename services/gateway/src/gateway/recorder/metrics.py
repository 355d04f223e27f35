"""The metrics of the recorder door, with their meaning; names leave the process and are final."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from prometheus_client import Counter, Histogram

from darkroom_schemas.names import PHOTO_SUBMITTED
from streamkit.metrics import OTHER

_OUTCOMES: Final = ("auto_labeled", "suggested", "review", "rejected")

PHOTOS_ENDED: Final = Counter(
    "darkroom_photos_ended_total",
    "Analyses that came to a first end: auto_labeled, suggested, review, rejected; events that come"
    " again are counted again.",
    ["lane", "outcome"],
)
PHOTO_DURATION: Final = Histogram(
    "darkroom_photo_duration_seconds",
    "From a photo's submission to its first outcome.",
    ["lane"],
    buckets=(0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400),
)

for _lane in PHOTO_SUBMITTED:
    PHOTO_DURATION.labels(_lane)
    for _outcome in _OUTCOMES:
        PHOTOS_ENDED.labels(_lane, _outcome)


def count_ends(events: Iterable[Mapping[str, Any]]) -> None:
    """Outcomes and rejections were recorded."""
    for event in events:
        if event["revision"] == 1:
            PHOTOS_ENDED.labels(_known(event["lane"]), event.get("outcome", "rejected")).inc()


def count_durations(found: Iterable[tuple[str, float]]) -> None:
    """Photos of these lanes took so many seconds."""
    for lane, seconds in found:
        PHOTO_DURATION.labels(_known(lane)).observe(seconds)


def _known(lane: str) -> str:
    return lane if lane in PHOTO_SUBMITTED else OTHER
