"""The photo pipeline, declared in one place.

It says who reads and writes what, and where the parts of a photo meet again. The work itself is
each service's own: `PHOTO.bind` puts it in. The aggregator joins by the same rules, but knows
imports and the confidence policy besides, which are no part of this.
"""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any, Final

from darkroom_schemas import ids
from darkroom_schemas.names import (
    PHOTO_ANALYSIS_REQUESTED,
    PHOTO_AUTO_LABELED,
    PHOTO_EMBEDDED,
    PHOTO_OBJECTS_DETECTED,
    PHOTO_REJECTED,
    PHOTO_REVIEW_REQUESTED,
    PHOTO_STAGE_FAILED,
    PHOTO_SUBMITTED,
    PHOTO_SUGGESTED,
    PHOTO_TEXT_READ,
)
from streamkit.workflow import (
    Branch,
    Failures,
    Join,
    Joined,
    Part,
    Stage,
    Workflow,
    chain,
    everything,
    group,
)


def _analysis_of(event: Mapping[str, Any]) -> str:
    """One pass over a photo: what is joined under the key of the photo."""
    return f"{event['analysis_id']}:{event['revision']}"


_KEPT: Final = (
    "owner",
    "policy_revision",
    "lane",
    "engine",
    "model_version",
    "finished_at",
    "category",
    "labels",
    "calibrated",
)


def _for_an_outcome(event: Mapping[str, Any]) -> Any:
    """What an outcome can be made of: neither vectors nor text."""
    return everything({name: event[name] for name in _KEPT if name in event})


def _outcome_id(joined: Joined) -> str:
    """As every service names an outcome; a late part makes a revision after the asked-for one."""
    analysis, _, asked = joined.identity.rpartition(":")
    return ids.event_id(analysis, "outcome", int(asked) + joined.revision - 1)


PHOTO: Final = Workflow(
    name="photo",
    key="photo_id",
    entries=PHOTO_SUBMITTED,
    flow=chain(
        Stage(name="intake", into=PHOTO_ANALYSIS_REQUESTED, also=(PHOTO_REJECTED,)),
        group(
            Stage(name="detector", into=PHOTO_OBJECTS_DETECTED, also=(PHOTO_STAGE_FAILED,)),
            Stage(name="ocr", into=PHOTO_TEXT_READ, also=(PHOTO_STAGE_FAILED,)),
            Stage(name="embedder", into=PHOTO_EMBEDDED, also=(PHOTO_STAGE_FAILED,)),
        ),
        Join(
            name="aggregator",
            parts=(
                Part("detector", PHOTO_OBJECTS_DETECTED, _for_an_outcome),
                Part("ocr", PHOTO_TEXT_READ, _for_an_outcome),
                Part("embedder", PHOTO_EMBEDDED, _for_an_outcome),
            ),
            failures=(Failures(PHOTO_STAGE_FAILED, part=itemgetter("stage")),),
            identity=_analysis_of,
            event_id=_outcome_id,
        ),
        Branch(
            name="confidence",
            choose=itemgetter("outcome"),
            topics={
                "auto_labeled": PHOTO_AUTO_LABELED,
                "suggested": PHOTO_SUGGESTED,
                "review": PHOTO_REVIEW_REQUESTED,
            },
        ),
    ),
)
"""Intake makes a photo safe to look at, three stages look at it, the aggregator says what it is."""
