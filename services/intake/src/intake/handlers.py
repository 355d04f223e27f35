"""A submission in; a request to analyse the photo, or the reason why not, out."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Final

from darkroom_schemas.names import PHOTO_ANALYSIS_REQUESTED, PHOTO_REJECTED, PHOTO_SUBMITTED
from darkroom_schemas.stages import now
from intake.prepare import Accepted, Intake
from intake.submission import Refused, Submission, read
from streamkit import Emit, Failure, Handler, Message, Reject

SERVICE: Final = "intake"


def submitted(message: Message, intake: Intake) -> Sequence[Emit]:
    """One event: the photo is to be analysed, or is rejected. Raises Retry or Reject."""
    started = time.perf_counter()
    submission = read(message)
    try:
        accepted = intake.accept(submission)
    except Refused as refused:
        return [rejected(submission, refused.code, refused.message)]
    return [requested(submission, accepted, 1000 * (time.perf_counter() - started))]


def requested(submission: Submission, accepted: Accepted, ms: float) -> Emit:
    """The one record that every stage reads."""
    photo = accepted.photo
    value = {
        **submission.identity,
        "source_uri": submission.source_uri,
        "byte_size": accepted.byte_size,
        "media_type": photo.media_type,
        "width": photo.width,
        "height": photo.height,
        "orientation": photo.orientation,
        "frames": photo.frames,
        "rendition_uri": accepted.rendition_uri,
        "rendition_width": photo.rendition_width,
        "rendition_height": photo.rendition_height,
        "thumbnail_uri": accepted.thumbnail_uri,
        **asdict(photo.metadata),
        "intake_ms": round(ms, 3),
        "submitted_at": submission.submitted_at,
        "requested_at": now(),
        "stages": None,
    }
    topic = PHOTO_ANALYSIS_REQUESTED[submission.lane]
    return Emit(topic, submission.photo_id, value, submission.event_id("analysis-requested"))


def rejected(submission: Submission, code: str, message: str) -> Emit:
    """The end of the analysis, with the reason."""
    value = {
        **submission.identity,
        "code": str(code),
        "message": message,
        "rejected_at": now(),
    }
    return Emit(PHOTO_REJECTED, submission.photo_id, value, submission.event_id("rejected"))


def give_up(message: Message, failure: Failure) -> Sequence[Emit]:
    """Ends the analysis of a record that goes to the dead letters, if it names one."""
    try:
        submission = read(message)
    except Reject:
        return ()
    # The failure's own words are about our machinery; the dead letter keeps them.
    sentence = (
        f"The photo could not be taken in after {failure.attempts} attempts; submit it again."
    )
    return [rejected(submission, failure.code, sentence)]


def handlers(intake: Intake) -> Mapping[str, Handler]:
    """Topic → what is done with its records."""
    return dict.fromkeys(PHOTO_SUBMITTED.values(), partial(submitted, intake=intake))
