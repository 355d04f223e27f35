"""`python -m gateway backup|restore --folder FOLDER`: progress and the end as lines of JSON."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TextIO

import psycopg

from gateway.backup.making import back_up
from gateway.backup.manifest import BackupError, Manifest
from gateway.backup.registry import Registry
from gateway.backup.restoring import Target, restore, restore_schemas, verify
from gateway.command import Command
from gateway.control.lag import KafkaOffsets
from gateway.migrations import MigrationError
from streamkit import ObjectStore

_EVERY_S: Final = 0.2

_LACKING: Final = 3
"""The exit code of a backup that was made, but lacks objects that its catalog names."""


def run_backup(command: Command, told: TextIO) -> int:
    """Back up or restore; the exit code. The last line has `done`, or `error` and `cure`."""
    telling = _Telling(told)
    try:
        if command.folder is None:
            raise BackupError("No folder is named.", "Say --folder FOLDER.")
        manifest = _run(command, command.folder.expanduser().resolve(), telling)
    except (BackupError, MigrationError, psycopg.Error, OSError) as error:
        telling.line({"error": _cause(error), "cure": getattr(error, "cure", "")})
        return 1
    telling.line({"done": summary(manifest)})
    return _LACKING if command.door == "backup" and manifest.objects.missing else 0


def summary(manifest: Manifest) -> dict[str, Any]:
    """What a backup has, in numbers."""
    rows = {table.name: table.rows for table in manifest.catalog.tables}
    files = [table.file for table in manifest.catalog.tables]
    schemas = manifest.schemas.ids if manifest.schemas else {}
    return {
        "made_at": manifest.made_at.isoformat(),
        "version": manifest.version,
        "revision": manifest.catalog.revision,
        "tables": len(rows),
        "rows": sum(rows.values()),
        "photos": rows.get("photos", 0),
        "objects": manifest.objects.count,
        "missing": manifest.objects.missing,
        "missing_keys": manifest.objects.missing_keys,
        "schemas": sum(len(versions) for versions in schemas.values()),
        "bytes": manifest.objects.bytes + sum(file.bytes for file in files),
    }


def _run(command: Command, folder: Path, tell: "_Telling") -> Manifest:
    if command.door == "restore" and command.verify_only:
        return verify(folder, tell)
    if command.door == "restore" and command.schemas_only:
        return restore_schemas(folder, Registry(command.registry), tell)
    store = ObjectStore(command.objects, command.stores)
    registry = None if command.without_schemas else Registry(command.registry)
    if command.door == "backup":
        return back_up(folder, command.database, store, registry, tell)
    offsets = KafkaOffsets(
        command.kafka, prefix=command.topic_prefix, options=command.kafka_options
    )
    target = Target(command.database, store, registry, offsets, replace=command.replace)
    return restore(folder, target, tell)


class _Telling:
    """Progress, a few lines a second."""

    def __init__(self, told: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._told = told
        self._clock = clock
        self._last: tuple[str, float] = ("", 0.0)

    def __call__(self, step: str, done: int, of: int | None) -> None:
        before, at = self._last
        now = self._clock()
        if step != before or now - at >= _EVERY_S:
            self._last = (step, now)
            self.line({"step": step, "done": done, "of": of})

    def line(self, value: Any) -> None:
        self._told.write(json.dumps(value) + "\n")
        self._told.flush()


def _cause(error: Exception) -> str:
    if isinstance(error, BackupError):
        return error.cause
    return " ".join(str(error).split()) or type(error).__name__
