"""Puts a backup back, into places that are empty."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from psycopg import sql

from darkroom_schemas import catalogue
from gateway import db, migrations
from gateway.backup import objects, tables
from gateway.backup.making import NAMED, Progress
from gateway.backup.manifest import BackupError, Manifest, check, read_manifest
from gateway.backup.registry import Registry, differing
from gateway.catalog.schedules import REPUBLISH
from gateway.control.lag import Hop, KafkaOffsets
from streamkit import Busy, ObjectStore, Reject, Retry

_NOBODY: Final = "darkroom.restore"
"""A group that has committed nothing."""

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Target:
    """Where a backup is put. `registry` None: no schemas are; `replace`: the catalog that is there
    may go."""

    database: str
    store: ObjectStore
    registry: Registry | None
    offsets: KafkaOffsets
    replace: bool = False


def verify(folder: Path, tell: Progress) -> Manifest:
    """Read every byte of a backup. Raises BackupError for one that is not as it was made."""
    manifest = read_manifest(folder)
    if not migrations.knows(manifest.catalog.revision):
        raise BackupError(
            f"The backup is of a newer Darkroom ({manifest.version}, catalog"
            f" {manifest.catalog.revision}).",
            "Restore it with that version.",
        )
    files = [table.file for table in manifest.catalog.tables]
    files += [manifest.schemas.file] if manifest.schemas else []
    for file in (*files, manifest.objects.listing):
        check(folder, file)
    listed = objects.listed_in(folder, manifest.objects.listing)
    for number, _ in enumerate(objects.checked(folder, listed), 1):
        tell("verify", number, manifest.objects.count)
    return manifest


def restore(folder: Path, target: Target, tell: Progress) -> Manifest:
    """Verify a backup, then put objects and schemas back, and at last, in one transaction, the
    catalog. What broke off before that is gone on with when it is called again.

    Raises BackupError, psycopg.Error, OSError.
    """
    manifest = verify(folder, tell)
    _check_target(target)
    listed = objects.listed_in(folder, manifest.objects.listing)
    try:
        for number, _ in enumerate(objects.copy_in(target.store, folder, listed), 1):
            tell("objects", number, manifest.objects.count)
    except (Retry, Reject) as error:
        raise objects.told_of_store(error) from error
    tell("schemas", 0, None)
    _fill_registry(folder, manifest, target.registry)
    tell("catalog", 0, None)
    _fill_catalog(folder, manifest, target)
    return manifest


def restore_schemas(folder: Path, registry: Registry, tell: Progress) -> Manifest:
    """Put back the registry's schemas alone: where Kafka was lost with it, and the catalog was not.

    Raises BackupError.
    """
    manifest = read_manifest(folder)
    if manifest.schemas is None:
        raise BackupError(
            f"The backup in {folder} has no schemas: it was made with --without-schemas.",
            "Restore the registry by its own means.",
        )
    check(folder, manifest.schemas.file)
    tell("schemas", 0, None)
    _fill_registry(folder, manifest, registry)
    return manifest


def _check_target(target: Target) -> None:
    """Raises BackupError where something would be lost, or mixed up."""
    with db.connect(target.database, name="darkroom-restore") as conn:
        doors = _doors(conn)
        if doors:
            raise BackupError(
                f"Programs of Darkroom use this catalog: {', '.join(doors)}.", "Stop them first."
            )
        there = tables.filled(conn)
        if there and not target.replace:
            raise BackupError(
                f"The catalog is not empty: there are {', '.join(there[:_SHOWN])}.",
                "Restore into another database, or say --replace to lose what it has.",
            )
    lies = _topics_with_records(target.offsets)
    if lies:
        raise BackupError(
            f"Kafka is not empty: there are records in {', '.join(lies[:_SHOWN])}.",
            "They may be of a life that the backup knows nothing of: delete Darkroom's topics, or"
            " use another broker or DARKROOM_TOPIC_PREFIX.",
        )


def _doors(conn: db.Conn) -> list[str]:
    rows = conn.execute(
        "SELECT DISTINCT application_name AS name FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'darkroom-gateway%'"
        " ORDER BY 1"
    )
    return [row["name"] for row in rows]


def _topics_with_records(offsets: KafkaOffsets) -> list[str]:
    topics = tuple(topic.name for topic in catalogue.load())
    try:
        look = offsets.look([Hop(_NOBODY, topics)], topics)
    except Busy as error:
        raise BackupError(f"No answer from Kafka: {error}.") from error
    ends = look.ends.items()
    return sorted({place[0] for place, end in ends if end > look.starts.get(place, 0)})


def _fill_registry(folder: Path, manifest: Manifest, registry: Registry | None) -> None:
    if registry is None or manifest.schemas is None:
        return
    if not (found := registry.ids()):
        registry.fill(folder / manifest.schemas.file.path)
        found = registry.ids()
    other = differing(found, manifest.schemas.ids)
    if other:
        raise BackupError(
            f"The registry has other ids than the backup for {', '.join(other[:_SHOWN])}.",
            "Restore into an empty registry: records name schemas by these ids.",
        )


def _fill_catalog(folder: Path, manifest: Manifest, target: Target) -> None:
    with migrations.moving(target.database) as catalog:
        if target.replace:
            catalog.move("base")
        catalog.move(manifest.catalog.revision)
        tables.read_in(catalog.raw, folder, manifest.catalog)
        catalog.move("head")
        _move_objects(catalog.raw, manifest.objects.location, target.store.uri_of("").rstrip("/"))
        _begin_anew(catalog.raw)


def _move_objects(conn: tables.Connection, before: str, now: str) -> None:
    """Have the catalog name objects where they are now."""
    if before == now:
        return
    for table, columns in NAMED.items():
        for column in columns:
            statement = sql.SQL(
                "UPDATE {t} SET {c} = %(now)s || substr({c}, length(%(before)s) + 1)"
                " WHERE starts_with({c}, %(before)s || '/')"
            ).format(t=sql.Identifier(table), c=sql.Identifier(column))
            conn.execute(statement, {"before": before, "now": now})
    conn.execute(
        "UPDATE batches SET location = jsonb_set(location, '{uri}',"
        " to_jsonb(%(now)s || substr(location ->> 'uri', length(%(before)s) + 1)))"
        " WHERE kind = 'archive' AND starts_with(location ->> 'uri', %(before)s || '/')",
        {"before": before, "now": now},
    )


def _begin_anew(conn: tables.Connection) -> None:
    """What was under way somewhere else is under way no more; and all that brokers must know is
    said again as soon as a control door runs."""
    conn.execute(_TRAININGS)
    conn.execute(_ASK, (REPUBLISH, "restore"))
    conn.execute(
        "INSERT INTO audit (who, what, subject) VALUES ('restore', 'catalog.restored', 'catalog')"
    )


_TRAININGS: Final = """
UPDATE trainings SET state = 'requested', note = NULL, waits_since = NULL, prepared_at = NULL,
  against = NULL, token = NULL, worker = NULL, step = NULL, done = NULL, said_at = NULL,
  progressed_at = NULL, started_at = NULL
WHERE state IN ('prepared', 'running')
"""

_ASK: Final = """
INSERT INTO jobs (name, schedule, asked_at, asked_by) VALUES (%s, '', now(), %s)
ON CONFLICT (name) DO UPDATE SET asked_at = now(), asked_by = excluded.asked_by
"""
