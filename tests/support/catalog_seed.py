"""Photos in a catalog as the recorder would have written them."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from PIL import Image
from psycopg.types.json import Jsonb

from darkroom_schemas import ids
from gateway import db
from gateway.catalog import results

OWNER = ids.LOCAL_OWNER
MODEL = "stub@1"
BOX = (0.25, 0.5, 0.75, 0.5, 0.75, 0.7, 0.25, 0.7)
"""Corners of the one line that a seeded text has."""


@dataclass(frozen=True, slots=True)
class Seeded:
    """A photo in the catalog."""

    photo_id: str
    analysis_id: str
    file_name: str


@dataclass(frozen=True, slots=True)
class Look:
    """What an analysis found."""

    labels: Sequence[tuple[str, float]] = (("tabby", 0.9),)
    category: str = "cat"
    outcome: str = "auto_labeled"
    text: str = ""
    vector: Sequence[float] = (1.0, 0.0, 0.0)
    calibrated: bool = False
    own: Sequence[tuple[str, float, str]] = ()
    """The user's own labels, each with the head that gave it."""


def picture(colour: str = "#446688", size: tuple[int, int] = (400, 300)) -> bytes:
    """A plain JPEG."""
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "JPEG")
    return data.getvalue()


class Seed:
    """Writes photos, rejections and imports; pictures go below `objects`."""

    def __init__(self, conn: db.Conn, objects: Path) -> None:
        self._conn = conn
        self._objects = objects
        self._at = datetime.now(UTC) - timedelta(minutes=1)

    def requested(self, file_name: str, data: bytes) -> Seeded:
        """Intake is done, nothing else."""
        sha256 = hashlib.sha256(data).hexdigest()
        photo = ids.photo_id(OWNER, sha256)
        seeded = Seeded(photo, ids.analysis_id(photo, "seed"), file_name)
        self._at += timedelta(seconds=1)
        uri = f"file://{self._objects}/{sha256}"
        (self._objects / sha256).write_bytes(data)
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
        event: Any = {
            **self._identity(seeded),
            **dict.fromkeys(("taken_at", "camera_make", "camera_model", "latitude", "longitude")),
            **{"submission_id": "seed", "source_uri": uri, "sha256": sha256},
            **{"byte_size": len(data), "media_type": "image/jpeg", "width": width},
            **{"height": height, "orientation": 1, "frames": 1, "rendition_uri": uri},
            **{"rendition_width": width, "rendition_height": height, "thumbnail_uri": uri},
            **{"file_name": file_name, "intake_ms": 9.0, "submitted_at": self._at},
            "requested_at": self._at,
        }
        results.record_request(self._conn, event)
        return seeded

    def analyzed(self, file_name: str, data: bytes, look: Look = Look()) -> Seeded:
        """A photo with all its parts and its outcome."""
        seeded = self.requested(file_name, data)
        self.parts(seeded, look)
        self.outcome(seeded, look)
        return seeded

    def parts(self, seeded: Seeded, look: Look, *, detector: bool = True) -> None:
        """What the stages found; the detector too, unless it failed."""
        labels = [{"name": name, "confidence": sure} for name, sure in look.labels]
        body: Any = {"category": look.category, "labels": labels, "objects": [], "caption": None}
        conn = self._conn
        if detector:
            results.record_objects(
                conn,
                self._part(seeded, "detector", **body, calibrated=look.calibrated),  # type: ignore[arg-type]
            )
        own = [
            {"name": name, "confidence": sure, "head": head, "head_version": "head@1"}
            for name, sure, head in look.own
        ]
        word = {"text": look.text, "confidence": 0.9, "polygon": list(BOX)}
        lines = [{**word, "words": [word]}] if look.text else []
        results.record_text(
            conn,
            self._part(seeded, "ocr", text=look.text, lines=lines),  # type: ignore[arg-type]
        )
        results.record_embedding(
            conn,
            self._part(seeded, "embedder", vector=list(look.vector), labels=own),  # type: ignore[arg-type]
        )

    def outcome(
        self, seeded: Seeded, look: Look, *, failed: Sequence[str] = (), revision: int = 1
    ) -> None:
        """What the analysis came to, with these stages failed."""
        name, sure = look.labels[0]
        stages = [each for each in ("detector", "ocr", "embedder") if each not in failed]
        used = [{"stage": stage, "revision": 1} for stage in stages]
        event: Any = {
            **self._identity(seeded),
            **{"outcome": look.outcome, "label": name, "confidence": sure},
            "calibrated": look.calibrated,
            **{"category": look.category, "partial": bool(failed), "parts": used},
            **{"failed_stages": list(failed), "revision": revision},
            "labels": [{"name": name, "confidence": sure} for name, sure in look.labels],
            **{"reason": f"{name} as it is", "decided_at": datetime.now(UTC)},
        }
        results.record_outcome(self._conn, (event, str(uuid4())))

    def rejected(self, file_name: str, code: str, message: str) -> Seeded:
        """A file that intake refused."""
        sha256 = hashlib.sha256(file_name.encode()).hexdigest()
        photo = ids.photo_id(OWNER, sha256)
        seeded = Seeded(photo, ids.analysis_id(photo, "seed"), file_name)
        event: Any = {
            **self._identity(seeded),
            **{"submission_id": "seed", "sha256": sha256, "file_name": file_name, "code": code},
            **{"message": message, "rejected_at": datetime.now(UTC)},
        }
        results.record_rejection(self._conn, event)
        return seeded

    def batch(self, files: Sequence[Seeded], totals: dict[str, int]) -> str:
        """A running, sealed import of these files."""
        batch_id = str(uuid4())
        self._conn.execute(
            "INSERT INTO batches (batch_id, owner, lane, state, sealed, roots, found, submitted,"
            " totals, started_at)"
            " VALUES (%s, %s, 'batch', 'running', true, %s, %s, %s, %s, now())",
            (batch_id, OWNER, Jsonb(["/photos/trip"]), len(files), len(files), Jsonb(totals)),
        )
        for index, file in enumerate(files):
            self.item(batch_id, index, file.file_name, photo=file)
        return batch_id

    def item(self, batch_id: str, index: int, name: str, *, photo: Seeded) -> None:
        """A submitted file of an import."""
        self._conn.execute(
            "INSERT INTO batch_items (batch_id, index, path, state, photo_id, analysis_id)"
            " VALUES (%s, %s, %s, 'submitted', %s, %s)",
            (batch_id, index, f"/photos/trip/{name}", photo.photo_id, photo.analysis_id),
        )

    def ended(self, batch_id: str, index: int, end: str, *, partial: bool = False) -> None:
        """A submitted file of an import has its end."""
        self._conn.execute(
            "UPDATE batch_items SET ended = %s, partial = %s, ended_at = recorded_at + '2 s'"
            " WHERE batch_id = %s AND index = %s",
            (end, partial, batch_id, index),
        )

    def refused(self, batch_id: str, index: int, name: str, code: str, message: str) -> None:
        """A file of an import that could not be read."""
        self._conn.execute(
            "INSERT INTO batch_items (batch_id, index, path, state, code, message)"
            " VALUES (%s, %s, %s, 'refused', %s, %s)",
            (batch_id, index, f"/photos/trip/{name}", code, message),
        )

    def stage_failed(self, seeded: Seeded, stage: str, code: str, message: str) -> None:
        """A stage gave up on a photo."""
        event: Any = {
            **self._identity(seeded),
            **{"stage": stage, "code": code, "message": message, "attempts": 4},
            "failed_at": datetime.now(UTC),
        }
        results.record_failure(self._conn, event)

    def duplicate(self, batch_id: str, index: int, name: str, *, of: Seeded) -> None:
        """A file of an import with the bytes of a known photo."""
        self._conn.execute(
            "INSERT INTO batch_items (batch_id, index, path, state, photo_id, duplicate_of)"
            " VALUES (%s, %s, %s, 'duplicate', %s, %s)",
            (batch_id, index, f"/photos/trip/{name}", of.photo_id, of.photo_id),
        )

    def _identity(self, seeded: Seeded) -> dict[str, Any]:
        return {
            **{"owner": OWNER, "photo_id": seeded.photo_id, "analysis_id": seeded.analysis_id},
            **{"revision": 1, "policy_revision": 1, "lane": "batch"},
        }

    def _part(self, seeded: Seeded, stage: str, **body: Any) -> dict[str, Any]:
        about = {"stage": stage, "engine": "stub", "model_version": MODEL, "ms": 4.0}
        return {**self._identity(seeded), **about, "finished_at": datetime.now(UTC), **body}
