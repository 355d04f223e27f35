"""What the demo found, for programs, and whether all went as it should."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from darkroom_cli.client import Json
from darkroom_cli.sample import SampleFile, SampleKind, SampleManifest

COUNTS: Final = (
    "found",
    "accepted",
    "duplicates",
    "rejected",
    "auto_labeled",
    "suggested",
    "review",
    "partial",
)
_EXPECTED_LABELS: Final = {"chelsea": ("cat", "tabby", "lynx"), "coffee": ("espresso", "cup")}
"""What a label must contain for photographs whose content is known."""


def batch_json(batch: Json) -> Json:
    """The import in the report's form."""
    return {
        "id": batch["batch_id"],
        **{name: batch[name] for name in COUNTS},
        "elapsed_s": batch["elapsed_s"],
    }


def photo_json(item: Json) -> Json:
    """A file of the import in the report's form; all of a photo null for a duplicate."""
    photo: Mapping[str, Any] = item["photo"] or {}
    return {
        "path": item["path"],
        "status": item["status"],
        "photo_id": item["photo_id"],
        "outcome": photo.get("outcome"),
        "confidence": photo.get("confidence"),
        "calibrated": photo.get("calibrated"),
        "category": photo.get("category"),
        "labels": photo.get("labels"),
        "text": photo.get("text"),
        "embedding_dim": photo.get("embedding_dim"),
        "stages": photo.get("stages"),
        "duplicate_of": item["duplicate_of_path"] or item["duplicate_of"],
        "error": item["error"],
    }


def problems(batch: Json, photos: Sequence[Json], sample: SampleManifest) -> list[str]:
    """Everything that is not as the sample promises; empty if all is well."""
    by_name = {Path(photo["path"]).name: photo for photo in photos}
    return [
        *_wrong_totals(batch, photos),
        *_same_reasons([by_name[f.name] for f in sample.of(SampleKind.BAD) if f.name in by_name]),
        *(reason for file in sample.files for reason in _wrong(file, by_name)),
    ]


def _wrong_totals(batch: Json, photos: Sequence[Json]) -> Iterator[str]:
    if batch["found"] != batch["duplicates"] + batch["rejected"] + batch["accepted"]:
        yield "found is not duplicates + rejected + accepted"
    if batch["accepted"] != batch["auto_labeled"] + batch["suggested"] + batch["review"]:
        yield "accepted is not auto-labelled + suggested + review"
    if batch["partial"]:
        yield f"{batch['partial']} photos have a stage that failed"
    told = Counter(photo["status"] for photo in photos)
    counted = {
        "analyzed": batch["accepted"],
        "duplicate": batch["duplicates"],
        "rejected": batch["rejected"],
    }
    for status, count in counted.items():
        if told[status] != count:
            yield f"{told[status]} files are {status}, the import counts {count}"


def _same_reasons(rejected: Sequence[Json]) -> Iterator[str]:
    reasons = Counter(photo["error"]["message"] for photo in rejected if photo["error"])
    for reason, count in reasons.items():
        if count > 1:
            yield f"{count} bad files were refused with the same words: {reason}"


def _wrong(file: SampleFile, photos: Mapping[str, Json]) -> Iterator[str]:
    photo = photos.get(file.name)
    if photo is None:
        yield f"{file.name} is missing"
        return
    expected = {SampleKind.BAD: "rejected", SampleKind.DUPLICATE: "duplicate"}
    status = expected.get(file.kind, "analyzed")
    # Of two files with the same bytes, the one that is met first is the original.
    twins = {"analyzed", "duplicate"} if _has_twin(file, photos) else {status}
    if photo["status"] not in twins:
        yield f"{file.name} is {photo['status']}, not {status}"
    elif photo["status"] == "analyzed":
        yield from _wrong_content(file, photo)


def _has_twin(file: SampleFile, photos: Mapping[str, Json]) -> bool:
    same = [p for p in photos.values() if p["photo_id"] == photos[file.name]["photo_id"]]
    return len(same) > 1


def _wrong_content(file: SampleFile, photo: Json) -> Iterator[str]:
    if file.text is not None and _words(photo["text"]) != _words(file.text):
        yield f"{file.name}: read {photo['text']!r} instead of {file.text!r}"
    for name, words in _EXPECTED_LABELS.items():
        labels = [label["name"].lower() for label in photo["labels"]]
        if name in file.name and not any(word in label for word in words for label in labels):
            yield f"{file.name} is labelled {', '.join(labels)}"
    if not photo["embedding_dim"]:
        yield f"{file.name} has no embedding"
    if set(photo["stages"]) != {"detector", "ocr", "embedder"}:
        yield f"{file.name} was seen by {', '.join(photo['stages'])} only"


def _words(text: str | None) -> list[str]:
    return (text or "").split()
