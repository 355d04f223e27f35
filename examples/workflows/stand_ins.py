"""The photo pipeline's work without any model, so that its examples run anywhere, in a moment.

A photo's file name says what the stages find, as `cat-0.9.jpg`, or that one gives up, as
`broken-0.9.jpg`.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any, Final

from darkroom_schemas import ids, stages
from darkroom_schemas.names import PHOTO_ANALYSIS_REQUESTED, PHOTO_STAGE_FAILED, PHOTO_SUBMITTED
from streamkit import Emit, Failure, Handlers, Message, Reject
from streamkit.workflow import Joined

Look = Callable[[str], Mapping[str, Any]]
"""What a stage finds, by the file's name; may raise Reject."""


_NAME: Final = re.compile(r"\w+-(0(\.\d+)?|1(\.0+)?)\.jpg")


def file_names(given: Sequence[str], usual: str) -> Sequence[str]:
    """What the command line names, or the usual name. Ends the program if that says nothing."""
    wrong = [name for name in given if not _NAME.fullmatch(name)]
    if wrong:
        sys.exit(f"{wrong[0]!r} says no label and confidence: name photos as {usual}")
    return given or [usual]


def submission(file_name: str) -> tuple[str, dict[str, Any]]:
    """Key and value of a submitted photo, as any producer may write them."""
    digest = sha256(file_name.encode()).hexdigest()
    photo = ids.photo_id(ids.LOCAL_OWNER, digest)
    return photo, {
        "owner": ids.LOCAL_OWNER,
        "photo_id": photo,
        "submission_id": file_name,
        "analysis_id": None,
        "revision": None,
        "policy_revision": None,
        "lane": "high",
        "source_uri": f"file:///photos/{file_name}",
        "sha256": digest,
        "byte_size": None,
        "file_name": file_name,
        "submitted_at": stages.now(),
    }


def _requested(message: Message) -> Sequence[Emit]:
    """Intake: the one request that all stages read."""
    photo = message.value
    analysis = ids.analysis_id(photo["photo_id"], photo["submission_id"])
    value = {
        **{name: photo[name] for name in photo if name != "byte_size"},
        **dict.fromkeys(("taken_at", "camera_make", "camera_model", "latitude", "longitude")),
        **dict.fromkeys(("width", "height", "rendition_width", "rendition_height"), 640),
        **dict.fromkeys(("revision", "policy_revision", "byte_size", "orientation", "frames"), 1),
        **dict.fromkeys(("rendition_uri", "thumbnail_uri"), photo["source_uri"]),
        "analysis_id": analysis,
        "media_type": "image/jpeg",
        "intake_ms": 1.0,
        "requested_at": photo["submitted_at"],
        "stages": None,
    }
    event_id = ids.event_id(analysis, "requested", 1)
    return [Emit(PHOTO_ANALYSIS_REQUESTED[message.lane], message.key, value, event_id)]


def intake() -> Handlers:
    """What intake does with submissions."""
    return Handlers(dict.fromkeys(PHOTO_SUBMITTED.values(), _requested))


def stage(name: str, topic: str, look: Look) -> Handlers:
    """What a stage does with requests: its part to `topic`, or word of its failure."""

    def part(message: Message) -> Sequence[Emit]:
        asked = message.value
        common = stages.part(asked, stage=name, engine="none", model_version="1", ms=1.0)
        value = {**common, **look(asked["file_name"])}
        return [Emit(topic, message.key, value, ids.event_id(asked["analysis_id"], name, 1))]

    def failed(message: Message, why: Failure) -> Sequence[Emit]:
        asked, code, text = message.value, why.code, why.message
        value = stages.failed(asked, stage=name, code=code, message=text, attempts=why.attempts)
        event_id = ids.event_id(asked["analysis_id"], f"{name}-failed", 1)
        return [Emit(PHOTO_STAGE_FAILED, message.key, value, event_id)]

    return Handlers(dict.fromkeys(PHOTO_ANALYSIS_REQUESTED.values(), part), failed)


def detected(file_name: str) -> Mapping[str, Any]:
    """The detector: label and confidence are in the name."""
    label, _, confidence = file_name.removesuffix(".jpg").partition("-")
    labels = [{"name": label, "confidence": float(confidence)}]
    return {"category": None, "labels": labels, "objects": [], "caption": None, "calibrated": True}


def read(file_name: str) -> Mapping[str, Any]:
    """The ocr: gives up on what is broken."""
    if file_name.startswith("broken"):
        raise Reject("image_truncated", "The file ends too early.")
    return {"text": file_name, "lines": []}


def embedded(_file_name: str) -> Mapping[str, Any]:
    """The embedder."""
    return {"vector": [0.6, 0.8], "labels": []}


def outcome(joined: Joined) -> dict[str, Any]:
    """The aggregator: sure, not so sure, or a question to a person. Pure."""
    detector = joined.parts["detector"]
    best = detector["labels"][0]
    sure = "auto_labeled" if best["confidence"] > 0.8 else "suggested"
    return {
        **{name: detector[name] for name in ("owner", "policy_revision", "lane", "category")},
        "photo_id": joined.key,
        "analysis_id": joined.identity.partition(":")[0],
        "revision": joined.revision,
        "outcome": "review" if joined.partial else sure,
        "label": best["name"],
        "confidence": best["confidence"],
        "calibrated": detector["calibrated"],
        "labels": detector["labels"],
        "partial": joined.partial,
        "failed_stages": list(joined.failed),
        "parts": [
            {"stage": name, "revision": 1, "engine": "none", "model_version": "1"}
            for name in joined.parts
        ],
        "reason": "It is an example.",
        "decided_at": max(part["finished_at"] for part in joined.parts.values()),
    }


WORK: Final[Mapping[str, Callable[..., Any]]] = {
    "intake": intake,
    "detector": partial(stage, "detector", "photo.objects-detected.v1", detected),
    "ocr": partial(stage, "ocr", "photo.text-read.v1", read),
    "embedder": partial(stage, "embedder", "photo.embedded.v1", embedded),
    "aggregator": outcome,
}
"""What PHOTO.bind needs to be able to run."""
