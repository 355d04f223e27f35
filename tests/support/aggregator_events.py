"""Events as the stages and the gateway publish them, for tests."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from darkroom_schemas import ids

OWNER = ids.LOCAL_OWNER
START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
STAGE_TOPICS = {
    "detector": "photo.objects-detected.v1",
    "ocr": "photo.text-read.v1",
    "embedder": "photo.embedded.v1",
}

Event = tuple[str, str, dict[str, Any]]
"""Topic, key, value."""


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def photo(number: int = 0) -> str:
    return ids.photo_id(OWNER, f"{number:064x}")


def batch(number: int = 0) -> str:
    return str(uuid5(UUID(OWNER), f"batch {number}"))


def analysis(number: int = 0, submission: str = "one") -> str:
    return ids.analysis_id(photo(number), submission)


def identity(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "owner": OWNER,
        "photo_id": photo(number),
        "analysis_id": analysis(number),
        "revision": 1,
        "policy_revision": 1,
        "lane": "batch",
        **changes,
    }


def _part(stage: str, number: int, seconds: float, own: dict[str, Any], changes: Any) -> Event:
    value = {
        **identity(number),
        "stage": stage,
        "engine": f"stub-{stage}",
        "model_version": f"stub-{stage}@1",
        "ms": 12.5,
        "finished_at": at(seconds),
        **own,
        **changes,
    }
    return STAGE_TOPICS[stage], value["photo_id"], value


def labels(*pairs: tuple[str, float]) -> list[dict[str, Any]]:
    return [{"name": name, "confidence": confidence} for name, confidence in pairs]


def detected(
    number: int = 0, confidence: float = 0.9, seconds: float = 1.0, **changes: Any
) -> Event:
    own = {
        "category": "animal",
        "labels": labels(("cat", confidence), ("dog", confidence / 2)),
        "objects": [],
        "caption": None,
        "calibrated": True,
    }
    return _part("detector", number, seconds, own, changes)


def read(number: int = 0, seconds: float = 2.0, **changes: Any) -> Event:
    return _part("ocr", number, seconds, {"text": "words", "lines": []}, changes)


def embedded(number: int = 0, seconds: float = 3.0, **changes: Any) -> Event:
    return _part("embedder", number, seconds, {"vector": [0.6, 0.8], "labels": []}, changes)


def failed(stage: str, number: int = 0, seconds: float = 4.0, **changes: Any) -> Event:
    value = {
        **identity(number),
        "stage": stage,
        "code": "engine_error",
        "message": "The engine could not do it.",
        "attempts": 5,
        "failed_at": at(seconds),
        **changes,
    }
    return "photo.stage-failed.v1", value["photo_id"], value


def rescored(
    number: int = 0,
    *own: tuple[str, float],
    seconds: float = 100.0,
    confidence: float = 0.9,
    without: Sequence[str] = (),
    **changes: Any,
) -> Event:
    """By a head; as made of the parts above, `without` those of some stages."""
    others = [detected(number, confidence)[2], read(number)[2]]
    value = {
        **identity(number),
        "revision": 2,
        "lane": "learning",
        "stage": "embedder",
        "engine": "stub-embedder",
        "model_version": "stub-embedder@1",
        "labels": [
            {**label, "head": "head:o:labels", "head_version": "head@1"} for label in labels(*own)
        ],
        "others": [
            {
                **{name: one[name] for name in ("stage", "revision", "engine", "model_version")},
                "finished_at": one["finished_at"],
                "labels": one.get("labels", []),
                "category": one.get("category"),
                "calibrated": one.get("calibrated", False),
            }
            for one in others
            if one["stage"] not in without
        ],
        "failed": [{"stage": stage, "failed_at": at(4)} for stage in without],
        "rescored_at": at(seconds),
        **changes,
    }
    return "photo.rescored.v1", value["photo_id"], value


def rejected(number: int = 0, seconds: float = 1.0, **changes: Any) -> Event:
    value = {
        **identity(number),
        "submission_id": "one",
        "file_name": "broken.jpg",
        "sha256": f"{number:064x}",
        "code": "image_truncated",
        "message": "The file ends too early.",
        "rejected_at": at(seconds),
        **changes,
    }
    return "photo.rejected.v1", value["photo_id"], value


def cancelled(number: int = 0, seconds: float = 4.0, **changes: Any) -> Event:
    value = {**identity(number), "cancelled_at": at(seconds), **changes}
    return "photo.analysis-cancelled.v1", value["photo_id"], value


def deadline(*stages: str, number: int = 0, seconds: float = 900.0, **changes: Any) -> Event:
    own = {"stages": list(stages), "reached_at": at(seconds)}
    value = {**identity(number), **own, **changes}
    return "analysis.deadline-reached.v1", value["photo_id"], value


def joined(number: int = 0, index: int = 0, in_batch: int = 0, **changes: Any) -> Event:
    value = {
        "owner": OWNER,
        "photo_id": photo(number),
        "analysis_id": analysis(number),
        "batch_id": batch(in_batch),
        "index": index,
        "joined_at": at(0),
        **changes,
    }
    return "photo.batch-joined.v1", value["photo_id"], value


def intake(in_batch: int = 0, state: str = "sealed", seconds: float = 0.0, **changes: Any) -> Event:
    value = {
        "owner": OWNER,
        "batch_id": batch(in_batch),
        "lane": "batch",
        "state": state,
        "found": 0,
        "duplicates": 0,
        "refused": 0,
        "submitted": 0,
        "started_at": START,
        "occurred_at": at(seconds),
        **changes,
    }
    return "batch.intake.v1", value["batch_id"], value


def ended(index: int = 0, end: str = "suggested", seconds: float = 5.0, **changes: Any) -> Event:
    value = {
        "owner": OWNER,
        "batch_id": batch(),
        "index": index,
        "photo_id": photo(index),
        "analysis_id": analysis(index),
        "revision": 1,
        "end": end,
        "partial": False,
        "ended_at": at(seconds),
        **changes,
    }
    key = ids.chunk_key(value["batch_id"], ids.chunk_of(index))
    return "batch.photo-ended.v1", key, value
