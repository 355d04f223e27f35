"""What lies in a backup's folder, and how it can be told to be whole."""

import hashlib
import os
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

FORMAT: Final = 1

_NAME: Final = "manifest.json"
_AT_ONCE: Final = 1 << 20


class BackupError(Exception):
    """Why there is no backup, or no restore: cause and cure are sentences for a person."""

    def __init__(self, cause: str, cure: str = "") -> None:
        self.cause = cause
        self.cure = cure
        super().__init__(f"{cause} {cure}".strip())


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class File(_Shape):
    """A file of the backup: its path below the folder, bytes, SHA-256 in hex."""

    path: str
    bytes: int
    sha256: str


class Table(_Shape):
    """A table's rows, as PostgreSQL's COPY writes them in binary."""

    name: str
    columns: tuple[str, ...]
    rows: int
    file: File


class Catalog(_Shape):
    """All tables, those first that others refer to; `revision` is the migration's."""

    revision: str
    postgres: str
    tables: tuple[Table, ...]


class Schemas(_Shape):
    """The registry's own export, and the ids that it must have again: subject → version → id."""

    file: File
    ids: dict[str, dict[int, int]]


class Objects(_Shape):
    """The objects below `location`; `listing` has a line of JSON for each: key, bytes, sha256.

    `missing`: how many the catalog names that were not in the store, or not what their names say;
    `missing_keys`: the path of a file that has their keys, a line each. What an earlier backup had
    of these is among the objects still.
    """

    location: str
    count: int
    bytes: int
    listing: File
    missing: int
    missing_keys: str | None = None


class Manifest(_Shape):
    """A whole backup. Written last, so that without it there is none."""

    format: Literal[1]
    made_at: datetime
    version: str
    catalog: Catalog
    schemas: Schemas | None
    objects: Objects


class Object(_Shape):
    """A line of the listing; the file lies below `objects/`."""

    key: str
    bytes: int
    sha256: str


def read_manifest(folder: Path) -> Manifest:
    """Raises BackupError where there is no whole backup, or none of this program's."""
    try:
        text = (folder / _NAME).read_bytes()
    except OSError as error:
        raise BackupError(
            f"There is no whole backup in {folder}.", "Name the folder that has manifest.json."
        ) from error
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise BackupError(
            f"This version does not understand the manifest in {folder}.",
            "Restore it with the version of Darkroom that made it.",
        ) from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put it in place at once, once all that it names is on disk."""
    fresh = folder / f"{_NAME}.new"
    with fresh.open("w", encoding="utf-8") as file:
        file.write(manifest.model_dump_json(indent=2) + "\n")
    os.sync()
    fresh.replace(folder / _NAME)
    os.sync()


def described(folder: Path, path: str) -> File:
    """A file as it is now. Raises OSError."""
    digest = hashlib.sha256()
    size = 0
    with (folder / path).open("rb") as file:
        while data := file.read(_AT_ONCE):
            digest.update(data)
            size += len(data)
    return File(path=path, bytes=size, sha256=digest.hexdigest())


def check(folder: Path, expected: File) -> None:
    """Raises BackupError unless the file is as it was written."""
    try:
        found = described(folder, expected.path)
    except OSError as error:
        raise _broken(folder / expected.path, error.strerror or "it can't be read") from error
    if found != expected:
        raise _broken(folder / expected.path, "its bytes are not those that were backed up")


def _broken(path: Path, reason: str) -> BackupError:
    return BackupError(
        f"The backup is damaged: {path}: {reason}.", "Nothing was changed. Use another backup."
    )
