"""Examples from a folder for each label: the files of an import, which handed the photos in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from gateway.catalog.audit import audit
from gateway.catalog.label_shapes import Ambiguous, ImportedExamples, Wish
from gateway.catalog.labels import check_labels, give, hold_set, read_examples
from gateway.db import Conn

_NAMED: Final = 20
"""Ambiguous photos, and paths of each."""


@dataclass(slots=True)
class Sorted:
    """Files of an import by what they tell."""

    labels: dict[str, set[str | None]] = field(default_factory=dict)
    paths: dict[str, list[str]] = field(default_factory=dict)
    outside: int = 0
    without_photo: int = 0

    def wishes(self) -> list[Wish]:
        """Photos whose files agree."""
        return [
            Wish(photo, label)
            for photo, labels in self.labels.items()
            if len(labels) == 1
            for label in labels
        ]

    def ambiguous(self) -> list[Ambiguous]:
        """Photos that lie in folders of several labels."""
        return [
            Ambiguous(photo_id=photo, paths=self.paths[photo][:_NAMED])
            for photo, labels in self.labels.items()
            if len(labels) > 1
        ]


def sort_files(
    files: Sequence[tuple[str, str | None]], folders: Mapping[str, str | None]
) -> Sorted:
    """Paths and photos of an import's files, by `folders`: a folder's path to the label that all
    below it show, or None."""
    found = Sorted()
    for path, photo in files:
        folder = next((one for one in _above(path) if one in folders), None)
        if folder is None:
            found.outside += 1
        elif photo is None:
            found.without_photo += 1
        else:
            found.labels.setdefault(photo, set()).add(folders[folder])
            found.paths.setdefault(photo, []).append(path)
    return found


def _above(path: str) -> list[str]:
    """The folders that a file lies in, the nearest first."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts) - 1, 0, -1)]


def import_examples(
    conn: Conn,
    owner: str,
    name: str,
    batch_id: UUID,
    folders: Mapping[str, str | None],
    by: str,
) -> ImportedExamples | None:
    """Have the photos of an import be examples of a set; repeating is harmless, and takes in what
    has come since. None if the owner has no such import; raises LabelSetError."""
    with conn.transaction():
        known = "SELECT FROM batches WHERE batch_id = %s AND owner = %s"
        if conn.execute(known, (batch_id, owner)).fetchone() is None:
            return None
        check_labels(name, hold_set(conn, owner, name), list(folders.values()))
        rows = conn.execute(_FILES, (batch_id,)).fetchall()
        found = sort_files([_file(row) for row in rows], folders)
        wishes = found.wishes()
        before = read_examples(conn, owner, name, [one.photo_id for one in wishes])
        changed = [
            one
            for one in wishes
            if (example := before.get(one.photo_id)) is None or example.label != one.label
        ]
        if changed:
            give(conn, (owner, name), changed, "folder", by)
            detail = {"import": str(batch_id), "examples": len(changed), "labels": _labels(changed)}
            audit(conn, by, "example.imported", name, detail)
    ambiguous = found.ambiguous()
    return ImportedExamples(
        changed=len(changed),
        unchanged=len(wishes) - len(changed),
        outside=found.outside,
        without_photo=found.without_photo,
        ambiguous=ambiguous[:_NAMED],
        ambiguous_of=len(ambiguous),
    )


_FILES: Final = """
SELECT i.path, i.photo_id,
  EXISTS (SELECT FROM rejections r WHERE r.photo_id = i.photo_id)
    AND NOT EXISTS (SELECT FROM outcomes o WHERE o.photo_id = i.photo_id) AS rejected
FROM batch_items i WHERE i.batch_id = %s ORDER BY i.index
"""


def _file(row: Mapping[str, Any]) -> tuple[str, str | None]:
    usable = row["photo_id"] is not None and not row["rejected"]
    return row["path"], str(row["photo_id"]) if usable else None


def _labels(wishes: Sequence[Wish]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in wishes:
        word = one.label or "none"
        counts[word] = counts.get(word, 0) + 1
    return counts
