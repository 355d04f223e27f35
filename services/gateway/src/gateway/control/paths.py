"""Through which groups an answer has to come until the catalog has it, by what is waited for."""

from typing import Final

from darkroom_schemas import catalogue
from darkroom_schemas.names import (
    ANALYSIS_DEADLINE_REACHED,
    BATCH_CHUNK_COUNTED,
    BATCH_COMPLETED,
    BATCH_INTAKE,
    BATCH_PHOTO_ENDED,
    BATCH_PROGRESSED,
    PHOTO_ANALYSIS_CANCELLED,
    PHOTO_ANALYSIS_REQUESTED,
    PHOTO_AUTO_LABELED,
    PHOTO_BATCH_JOINED,
    PHOTO_REJECTED,
    PHOTO_REVIEW_REQUESTED,
    PHOTO_STAGE_FAILED,
    PHOTO_SUBMITTED,
    PHOTO_SUGGESTED,
)
from gateway.catalog.repairs import PART_TOPICS
from gateway.control.lag import Hop

OUTBOX: Final = "outbox"
"""The relay as a group, the outbox as its topic."""

_AGGREGATOR: Final = "darkroom-aggregator"

_PARTS: Final = (*PART_TOPICS.values(), PHOTO_STAGE_FAILED, ANALYSIS_DEADLINE_REACHED)
_OUTCOMES: Final = (PHOTO_AUTO_LABELED, PHOTO_SUGGESTED, PHOTO_REVIEW_REQUESTED)
_MEMBERS: Final = (PHOTO_BATCH_JOINED, PHOTO_REJECTED, PHOTO_ANALYSIS_CANCELLED)

Path = tuple[Hop, ...]


def retries(service: str, lane: str) -> Path:
    """The tiers in which a lane's records wait for another attempt, rising: each may hand its
    record on to the next."""
    name = "high" if lane == "high" else "bulk"
    topics = [f"darkroom.{service}.retry-{tier}.{name}" for tier in catalogue.load().tiers]
    return tuple(Hop(f"darkroom.{service}.retry", (topic,)) for topic in topics)


def _recorded(*topics: str) -> Path:
    return (Hop("darkroom.gateway.recorder", topics), *retries("gateway", "recorder"))


def _worked(service: str, lane: str, topic: str) -> Path:
    return (Hop(f"darkroom.{service}.{lane}", (topic,)), *retries(service, lane))


_RELAYED: Final = Hop(OUTBOX, (OUTBOX,))

OUTCOME: Final[Path] = (_RELAYED, Hop(_AGGREGATOR, _PARTS), *_recorded(*_OUTCOMES))
"""From parts to an outcome."""

END: Final[Path] = (
    _RELAYED,
    Hop(_AGGREGATOR, (*_PARTS, *_MEMBERS)),
    *_recorded(BATCH_PHOTO_ENDED),
)
"""From what an analysis came to, to the end of a file."""

TOTALS: Final[Path] = (
    _RELAYED,
    Hop(_AGGREGATOR, (BATCH_PHOTO_ENDED,)),
    Hop(_AGGREGATOR, (BATCH_INTAKE, BATCH_CHUNK_COUNTED)),
    *_recorded(BATCH_PROGRESSED, BATCH_COMPLETED),
)
"""From the ends of files to an import's completion."""

ITEMS: Final[Path] = (_RELAYED, *_recorded(BATCH_PHOTO_ENDED))
"""From an import's completion to the ends of its files, which lay in their topic before."""


def submission(lane: str) -> Path:
    """From a submission to intake's answer."""
    asked = PHOTO_SUBMITTED[lane]
    answers = (PHOTO_ANALYSIS_REQUESTED[lane], PHOTO_REJECTED)
    return (_RELAYED, *_worked("intake", lane, asked), *_recorded(*answers))


def stage(name: str, lane: str) -> Path:
    """From a request to a stage's part or failure, or to its deadline once that was said."""
    asked = PHOTO_ANALYSIS_REQUESTED[lane]
    answers = (PART_TOPICS[name], PHOTO_STAGE_FAILED, ANALYSIS_DEADLINE_REACHED)
    return (_RELAYED, *_worked(name, lane, asked), *_recorded(*answers))


def optional_topics() -> frozenset[str]:
    """Those that need not exist: services may have other tiers than ours."""
    return frozenset(topic.name for topic in catalogue.load() if ".retry-" in topic.name)
