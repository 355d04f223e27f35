"""The work that every system does alike: requests, empty parts, outcomes; burning CPU.

All values are what JSON and Avro both take as they are (times as milliseconds since 1970).
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID, uuid5

from darkroom_schemas import ids, names

STAGES: Final = ("detector", "ocr", "embedder")

PART_TOPICS: Final = {
    "detector": names.PHOTO_OBJECTS_DETECTED,
    "ocr": names.PHOTO_TEXT_READ,
    "embedder": names.PHOTO_EMBEDDED,
}
OUTCOME_TOPIC: Final = names.PHOTO_REVIEW_REQUESTED

_SUBMISSION: Final = "0b9d1f0e-6f5e-4d3e-9a55-6b1f3c1d2e4f"
_STORE: Final = "file:///srv/darkroom/objects"
_OWN_FIELDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "detector": {
        "category": None,
        "labels": [],
        "objects": [],
        "caption": None,
        "calibrated": False,
    },
    "ocr": {"text": "", "lines": []},
    "embedder": {"vector": [], "labels": []},
}
_IDENTITY: Final = ("owner", "photo_id", "analysis_id", "revision", "policy_revision", "lane")

Event = dict[str, Any]


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def request(number: int, lane: str) -> Event:
    """A realistic photo.analysis-requested event: 0.6 kB as Avro, 1 kB as JSON.

    Its photo differs for every number and lane.
    """
    sha256 = hashlib.sha256(f"{lane}-{number}".encode()).hexdigest()
    photo = ids.photo_id(ids.LOCAL_OWNER, sha256)
    path = f"{sha256[:2]}/{sha256}"
    now = now_ms()
    return {
        "owner": ids.LOCAL_OWNER,
        "photo_id": photo,
        "analysis_id": ids.analysis_id(photo, _SUBMISSION),
        "revision": 1,
        "policy_revision": 1,
        "lane": lane,
        "submission_id": _SUBMISSION,
        "source_uri": f"{_STORE}/originals/{path}",
        "sha256": sha256,
        "byte_size": 240512,
        "media_type": "image/jpeg",
        "width": 4032,
        "height": 3024,
        "orientation": 6,
        "frames": 1,
        "rendition_uri": f"{_STORE}/renditions/{path}.jpg",
        "rendition_width": 2048,
        "rendition_height": 1536,
        "thumbnail_uri": f"{_STORE}/thumbnails/{path}.jpg",
        "file_name": "chelsea.jpg",
        "taken_at": "2026-05-17T14:03:22",
        "camera_make": "Canon",
        "camera_model": "EOS R6",
        "latitude": None,
        "longitude": None,
        "intake_ms": 88.0,
        "submitted_at": now,
        "requested_at": now,
        "stages": None,
    }


def part(asked: Mapping[str, Any], stage: str) -> Event:
    """The part of an engine that finds nothing, in no time."""
    identity = {name: asked[name] for name in _IDENTITY}
    about = {"stage": stage, "engine": "empty", "model_version": "empty@0123456789ab", "ms": 0.0}
    return {**identity, **about, "finished_at": now_ms(), **_OWN_FIELDS[stage]}


def outcome(parts: Sequence[Mapping[str, Any]]) -> Event:
    """What the parts of all stages come to: a person is asked, for nothing was found."""
    used = ("stage", "revision", "engine", "model_version")
    return {
        **{name: parts[0][name] for name in _IDENTITY},
        "outcome": "review",
        "label": None,
        "confidence": None,
        "calibrated": False,
        "category": None,
        "labels": [],
        "partial": False,
        "failed_stages": [],
        "parts": [{name: one[name] for name in used} for one in parts],
        "reason": "nothing was recognised",
        "decided_at": max(one["finished_at"] for one in parts),
    }


def kept(made: Mapping[str, Any]) -> Event:
    """What an outcome needs of a part."""
    used = (*_IDENTITY, "stage", "engine", "model_version", "finished_at")
    return {name: made[name] for name in used}


def part_id(made: Mapping[str, Any]) -> str:
    """CloudEvents id of a part: the same part always has the same."""
    return str(uuid5(UUID(made["analysis_id"]), f"{made['stage']}:{made['revision']}"))


def burn(cpu_ms: float) -> None:
    """Use this thread's CPU for so long; time in which others had the processor doesn't count."""
    end = time.thread_time() + cpu_ms / 1000
    while time.thread_time() < end:
        pass
